#include "apps/options/foreign_options.h"

#include <algorithm>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

namespace millrace {
namespace {

// What CLI11 says of `arguments` of a command that has these options alone; empty: it takes them.
std::string fault_of(std::vector<std::string> arguments) {
  CLI::App command;
  bind_foreign_options(command);
  std::ranges::reverse(arguments);
  try {
    command.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return {};
}

TEST(ForeignOptions, EachIsRefusedByItsNameWithAReason) {
  CLI::App command;
  bind_foreign_options(command);
  int count = 0;
  for (const CLI::Option* option : command.get_options()) {
    if (option == command.get_help_ptr()) continue;
    ++count;
    const bool is_flag = option->get_expected_min() == 0;
    for (const std::string& name : option->get_lnames()) {
      // A flag may be harmless without a value; then its opposite is not, unless both are.
      std::string fault = fault_of(is_flag ? std::vector{"--" + name}
                                           : std::vector{"--" + name, std::string("of-others")});
      if (fault.empty()) fault = fault_of({"--" + name + "=false"});
      if (fault.empty()) {
        EXPECT_EQ(name, "disable-log-stats");
        continue;
      }
      const std::string named = "--" + option->get_lnames().front() + ": not supported: ";
      EXPECT_TRUE(fault.starts_with(named)) << name << ": " << fault;
      EXPECT_GT(fault.size(), named.size() + 10) << fault;
    }
  }
  EXPECT_GT(count, 60);
}

TEST(ForeignOptions, ShortSpellingsAreNamedInFull) {
  for (const char* word : {"-tb", "-ub", "-ngl", "-fa", "-ctk", "-ctv", "-hf", "-to"}) {
    const std::string name = long_name_of(word);
    EXPECT_TRUE(fault_of({name, "of-others"}).starts_with(name + ": not supported: ")) << word;
  }
  EXPECT_EQ(long_name_of("-md"), "--spec-draft-model");
  EXPECT_EQ(fault_of({"-c", "4096"}).find("--ctx-size: not supported: "), 0U);
  EXPECT_EQ(fault_of({"-n", "5"}).find("--n-predict: not supported: "), 0U);
}

TEST(ForeignOptions, AreNotInTheHelp) {
  CLI::App command;
  bind_foreign_options(command);
  EXPECT_EQ(command.help().find("--tensor-parallel-size"), std::string::npos);
  EXPECT_NE(command.help().find("--help"), std::string::npos);
  EXPECT_TRUE(fault_of({"--tensor-parallel-size", "2"}).starts_with("--tensor-parallel-size: "));
}

}  // namespace
}  // namespace millrace
