#include "apps/commands/eval.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

// Weights that are numbers, of which the logits are none.
Edit beyond_float32() {
  return {.tensors = [](EditedTensors& tensors) {
    for (EditedTensor& tensor : tensors) {
      if (tensor.plan.name != "output.weight") continue;
      for (size_t i = 0; i < tensor.bytes.size() / sizeof(float); ++i) {
        const float value = i % 2 == 0 ? 3e38F : -3e38F;
        std::memcpy(tensor.bytes.data() + i * sizeof(float), &value, sizeof value);
      }
    }
  }};
}

class Eval : public testing::Test {
 protected:
  Eval() {
    std::filesystem::create_directory(folder_);
    const auto file = edited({}, beyond_float32()).value();
    std::ofstream(path("model.gguf"), std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), std::ssize(file));
    std::ofstream(path("tokens.json")) << "[1, 2, 3]";
  }
  ~Eval() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ / name; }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-eval-{}", ::getpid());
};

TEST_F(Eval, WritesNoLogitsThatAreNotNumbers) {
  EvalOptions options;
  options.compute.model = path("model.gguf");
  options.tokens = path("tokens.json");
  options.logits = path("logits.bin");
  const absl::Status status = run_eval(options, stdout);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(message_of(status), "the logits of token 0 are not all numbers");
  EXPECT_FALSE(std::filesystem::exists(options.logits));
}

}  // namespace
}  // namespace millrace
