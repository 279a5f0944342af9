#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "files/hub/hub_model.h"
#include "models/arch/arch.h"
#include "tensor/dtype.h"

// docs/models.md is made of the tables that the program reads models by. Run with MILLRACE_RENEW=1
// to write it anew.

namespace millrace {
namespace {

constexpr const char* kDocument = "docs/models.md";
constexpr const char* kBegin = "<!-- made by tests/models/models_doc_test.cc -->\n";
constexpr const char* kEnd = "<!-- end -->\n";

// The classes that config.json names, with commas between.
std::string classes_of(std::string_view architecture) {
  std::string classes;
  for (const HubArch& arch : all_hub_archs()) {
    if (arch.name != architecture) continue;
    std::string names(arch.hub);
    for (size_t bar; (bar = names.find('|')) != std::string::npos;) names.replace(bar, 1, ", ");
    classes += (classes.empty() ? "" : ", ") + names;
  }
  return classes;
}

std::string tables() {
  std::string text =
      "| `general.architecture` | models, for example | `architectures` of config.json |\n"
      "|---|---|---|\n";
  for (const Arch& arch : all_archs()) {
    const std::string classes = classes_of(arch.name);
    text += fmt::format("| `{}` | {} | {} |\n", arch.name, arch.models,
                        classes.empty() ? "GGUF files only" : classes);
  }
  text += "\nFormats of weights:";
  for (const DTypeInfo& info : kDTypes) text += fmt::format(" {}", info.name);
  return text + "\n";
}

TEST(ModelsDoc, IsWhatTheProgramReads) {
  std::stringstream stream;
  stream << std::ifstream(kDocument).rdbuf();
  const std::string document = stream.str();
  const size_t begin = document.find(kBegin);
  const size_t end = document.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::string expected = document.substr(0, begin) + kBegin + tables() + document.substr(end);
  if (std::getenv("MILLRACE_RENEW") != nullptr) {
    std::ofstream(kDocument) << expected;
    return;
  }
  EXPECT_EQ(document, expected) << "MILLRACE_RENEW=1 writes " << kDocument << " anew";
}

}  // namespace
}  // namespace millrace
