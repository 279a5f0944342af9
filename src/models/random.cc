#include "models/random.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/random.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "models/weights_plan.h"
#include "quant/format.h"

namespace millrace {
namespace {

// Uniform numbers with mean `mean` and standard deviation `deviation`, a function of seed, tensor
// and index alone.
std::vector<float> random_values(uint64_t seed, size_t tensor, int64_t size, float mean,
                                 float deviation) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const float spread = deviation * std::sqrt(12.0F);  // of a uniform number with deviation 1
  std::vector<float> values;
  values.reserve(static_cast<size_t>(size) + 3);
  for (uint32_t i = 0; std::ssize(values) < size; ++i) {
    for (const uint32_t bits : philox(key, {i, static_cast<uint32_t>(tensor), 0, 0})) {
      values.push_back(mean + (uniform_float(bits) - 0.5F) * spread);
    }
  }
  values.resize(static_cast<size_t>(size));
  return values;
}

Metadata metadata_of(const RandomModelShape& shape) {
  Metadata metadata;
  const auto integer = [&](std::string_view key, int64_t value) {
    metadata.set_integer(fmt::format("{}.{}", shape.architecture, key), MetaType::kU32, value);
  };
  metadata.set_string("general.architecture", shape.architecture);
  metadata.set_string("general.name", "random");
  integer("block_count", shape.layers);
  integer("context_length", shape.context);
  integer("embedding_length", shape.width);
  integer("feed_forward_length", shape.hidden);
  integer("attention.head_count", shape.heads);
  integer("attention.head_count_kv", shape.kv_heads);
  integer("attention.key_length", shape.head_dim);
  integer("attention.value_length", shape.head_dim);
  integer("rope.dimension_count", shape.head_dim);
  if (shape.window > 0) integer("attention.sliding_window", shape.window);
  if (shape.architecture == "gemma3") integer("attention.sliding_window_pattern", 2);
  if (shape.experts > 0) {
    integer("expert_count", shape.experts);
    integer("expert_used_count", shape.chosen);
    integer("expert_feed_forward_length", shape.hidden);
  }
  if (shape.architecture == "granitemoe") metadata.set_number("granitemoe.logit_scale", 1);
  const std::string_view epsilon =
      shape.architecture == "command-r" ? "layer_norm_epsilon" : "layer_norm_rms_epsilon";
  metadata.set_number(fmt::format("{}.attention.{}", shape.architecture, epsilon), 1e-5);
  return metadata;
}

void plan_layer(const RandomModelShape& shape, int32_t layer, std::vector<TensorPlan>& plans) {
  const int64_t queries = shape.heads * shape.head_dim;
  const int64_t keys = shape.kv_heads * shape.head_dim;
  const auto matrix = [&](std::string_view name, int64_t rows, int64_t width) {
    plans.push_back(
        {tensor_name(fmt::format("{}.weight", name), layer), shape.format, {rows, width}});
  };
  const auto vector = [&](std::string_view name, int64_t size) {
    plans.push_back({tensor_name(name, layer), DType::kF32, {size}});
  };
  vector("attn_norm.weight", shape.width);
  matrix("attn_q", queries, shape.width);
  matrix("attn_k", keys, shape.width);
  matrix("attn_v", keys, shape.width);
  matrix("attn_output", shape.width, queries);
  if (shape.architecture == "qwen2") {
    vector("attn_q.bias", queries);
    vector("attn_k.bias", keys);
    vector("attn_v.bias", keys);
  }
  if (shape.architecture.starts_with("qwen3") || shape.architecture == "gemma3") {
    vector("attn_q_norm.weight", shape.head_dim);
    vector("attn_k_norm.weight", shape.head_dim);
  }
  if (shape.architecture == "olmoe") {
    vector("attn_q_norm.weight", queries);
    vector("attn_k_norm.weight", keys);
  }
  if (shape.architecture == "command-r") {
    for (const auto& [name, heads] : {std::pair("attn_q_norm.weight", shape.heads),
                                      std::pair("attn_k_norm.weight", shape.kv_heads)}) {
      plans.push_back({tensor_name(name, layer), DType::kF32, {heads, shape.head_dim}});
    }
  }
  if (shape.architecture == "gemma3") {
    vector("post_attention_norm.weight", shape.width);
    vector("post_ffw_norm.weight", shape.width);
  }
  if (shape.architecture != "command-r") vector("ffn_norm.weight", shape.width);
  if (shape.experts > 0) {
    const auto experts = [&](std::string_view name, int64_t rows, int64_t width) {
      plans.push_back({tensor_name(fmt::format("{}.weight", name), layer),
                       shape.format,
                       {shape.experts, rows, width}});
    };
    plans.push_back(
        {tensor_name("ffn_gate_inp.weight", layer), DType::kF32, {shape.experts, shape.width}});
    experts("ffn_gate_exps", shape.hidden, shape.width);
    experts("ffn_up_exps", shape.hidden, shape.width);
    experts("ffn_down_exps", shape.width, shape.hidden);
    return;
  }
  matrix("ffn_gate", shape.hidden, shape.width);
  matrix("ffn_up", shape.hidden, shape.width);
  matrix("ffn_down", shape.width, shape.hidden);
}

std::vector<TensorPlan> plan_tensors(const RandomModelShape& shape) {
  std::vector<TensorPlan> plans;
  plans.push_back({"token_embd.weight", shape.format, {shape.vocab, shape.width}});
  plans.push_back({"output_norm.weight", DType::kF32, {shape.width}});
  if (!shape.tied_embeddings) {
    plans.push_back({"output.weight", shape.format, {shape.vocab, shape.width}});
  }
  for (int32_t layer = 0; layer < shape.layers; ++layer) plan_layer(shape, layer, plans);
  return plans;
}

// The first `rows` rows of a tensor, or all of a vector. Norm weights lie about 1, biases about 0;
// a matrix keeps the size of its input, or doubles it at the embedding and the head.
std::vector<std::byte> tensor_rows(const TensorPlan& plan, uint64_t seed, size_t index,
                                   int64_t rows) {
  const bool is_matrix = plan.shape.size() > 1;
  const bool is_norm = plan.name.ends_with("norm.weight");
  const bool in_layer = plan.name.starts_with("blk.");
  const int64_t width = plan.shape.back();
  const float deviation =
      is_matrix ? (in_layer ? 1.0F : 2.0F) / std::sqrt(static_cast<float>(width)) : 0.2F;
  const std::vector<float> values =
      random_values(seed, index, rows * width, is_norm ? 1.0F : 0.0F, deviation);
  const int64_t bytes_of_row = row_bytes(plan.dtype, width);
  std::vector<std::byte> bytes(static_cast<size_t>(rows * bytes_of_row));
  for (int64_t row = 0; row < rows; ++row) {
    pack_row(plan.dtype, values.data() + row * width, width, bytes.data() + row * bytes_of_row);
  }
  return bytes;
}

int64_t rows_of(const TensorPlan& plan) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < plan.shape.size(); ++i) rows *= plan.shape[i];
  return rows;
}

// Rows of a matrix that are unlike each other where a file need only be as large as its model.
constexpr int64_t kDifferentRows = 64;

absl::Status write_tensors(GgufWriter& writer, const std::vector<TensorPlan>& plans, uint64_t seed,
                           absl::FunctionRef<void(double)> progress) {
  double all = 0;
  double written = 0;
  for (const TensorPlan& plan : plans) all += static_cast<double>(plan.bytes());
  for (size_t i = 0; i < plans.size(); ++i) {
    const int64_t rows = rows_of(plans[i]);
    const int64_t different = std::min(rows, kDifferentRows);
    const std::vector<std::byte> bytes = tensor_rows(plans[i], seed, i, different);
    const auto bytes_of_row = bytes.size() / static_cast<size_t>(different);
    for (int64_t row = 0; row < rows; row += different) {
      const auto count = static_cast<size_t>(std::min(different, rows - row));
      RETURN_IF_ERROR(writer.write(std::span(bytes).first(count * bytes_of_row)));
    }
    written += static_cast<double>(plans[i].bytes());
    progress(written / all);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::byte>> random_model(const RandomModelShape& shape) {
  std::vector<std::byte> file;
  GgufWriter writer([&](std::span<const std::byte> bytes) {
    file.insert(file.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  });
  const std::vector<TensorPlan> plans = plan_tensors(shape);
  RETURN_IF_ERROR(writer.begin(metadata_of(shape), plans));
  for (size_t i = 0; i < plans.size(); ++i) {
    RETURN_IF_ERROR(writer.write(tensor_rows(plans[i], shape.seed, i, rows_of(plans[i]))));
  }
  RETURN_IF_ERROR(writer.end());
  return file;
}

absl::Status write_random_model(const std::string& path, const RandomModelShape& shape,
                                absl::FunctionRef<void(double)> progress) {
  const std::vector<TensorPlan> plans = plan_tensors(shape);
  Metadata metadata = metadata_of(shape);
  metadata.set_string("tokenizer.ggml.model", "no_vocab");
  metadata.set_integer(shape.architecture + ".vocab_size", MetaType::kU32, shape.vocab);
  return write_gguf(path, [&](GgufWriter& writer) -> absl::Status {
    RETURN_IF_ERROR(writer.begin(metadata, plans));
    return write_tensors(writer, plans, shape.seed, progress);
  });
}

absl::StatusOr<std::unique_ptr<Model>> load_random_model(const RandomModelShape& shape,
                                                         const LoadOptions& options,
                                                         LanePool& lanes) {
  ASSIGN_OR_RETURN(const std::vector<std::byte> file, random_model(shape));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::parse(file));
  return load_model(checkpoint, options, lanes);
}

}  // namespace millrace
