#include "apps/options/option_names.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(OptionNames, HaveAVariableEach) {
  EXPECT_EQ(variable_of("--max-num-seqs"), "MILLRACE_MAX_NUM_SEQS");
  EXPECT_EQ(variable_of("port"), "MILLRACE_PORT");
}

TEST(OptionNames, AreFoundFromWhatWasNearlyWritten) {
  const std::vector<std::string> known = {"--max-num-seqs", "--max-model-len", "--port", "-t"};
  EXPECT_EQ(nearest("--max-num-seq", known), "--max-num-seqs");
  EXPECT_EQ(nearest("--max_model_len", known), "--max-model-len");
  EXPECT_EQ(nearest("--prot", known), "--port");
  EXPECT_EQ(nearest("-port", known), "--port");
  EXPECT_EQ(nearest("--port", known), "--port");
  EXPECT_EQ(nearest("--PORT", known), "--port");
  EXPECT_EQ(nearest("--max-model", known), "--max-model-len");
}

TEST(OptionNames, AreNotGuessedFromAfar) {
  const std::vector<std::string> known = {"--max-num-seqs", "--port", "-t"};
  EXPECT_EQ(nearest("--temperature", known), "");
  EXPECT_EQ(nearest("-x", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest("--port", {}), "");
}

}  // namespace
}  // namespace millrace
