#include "models/model_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/spec.h"
#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

TEST(ModelKind, SaysWhatElseAFileIs) {
  Edit nothing;
  nothing.tensors = [](EditedTensors& tensors) { tensors.clear(); };
  Edit vocabulary = nothing;
  vocabulary.metadata = [](Metadata& metadata) {
    metadata.set_strings("tokenizer.ggml.tokens", std::vector<std::string>{"a"});
  };
  const struct {
    Edit edit;
    std::string_view message;
  } cases[] = {
      {set_string("general.type", "adapter"), "the file is an adapter (LoRA)"},
      {set_string("adapter.type", "lora"), "the file is an adapter (LoRA)"},
      {set_string("general.type", "imatrix"), "the file is an importance matrix"},
      {set_string("general.type", "mmproj"), "vision or audio projector"},
      {set_string("general.architecture", "clip"), "vision or audio projector"},
      {set_string("general.type", "poem"), "of the type 'poem'"},
      {set_integer("general.quantization_version", 3), "only 2 is supported"},
      {nothing, "the file holds no weights: it is metadata alone"},
      {vocabulary, "the file holds no weights: it is a vocabulary alone"},
      {set_string("general.architecture", "grok"),
       "architecture 'grok' is not supported yet; supported are: apertus, arcee, "},
      {set_string("general.architecture", "gpt-9"),
       "architecture 'gpt-9' is not known: the file may be newer than this Millrace"},
  };
  for (const auto& c : cases) {
    const auto file = edited({}, c.edit);
    ASSERT_TRUE(file.ok()) << file.status();
    const absl::Status status = read_spec(Checkpoint::parse(*file).value()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(message_of(status), HasSubstr(std::string(c.message)));
  }
  EXPECT_TRUE(load_edited({}, set_integer("split.count", 1)).ok());
  EXPECT_TRUE(load_edited({}, set_string("general.type", "model")).ok());
  EXPECT_TRUE(load_edited({}, set_integer("general.quantization_version", 2)).ok());
}

}  // namespace
}  // namespace millrace
