#include "models/random.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

bool is_recurrent(const RandomModelShape& shape, int64_t layer) {
  if (shape.architecture == "mamba2") return true;
  return shape.architecture == "granitehybrid" && (layer + 1) % shape.attention_period != 0;
}

constexpr int64_t kStreams = 3;  // of gemma3n, and its other sizes
constexpr int64_t kActiveStream = 1;
constexpr int64_t kLayerInputWidth = 32;
constexpr int64_t kLaurelRank = 32;
constexpr int64_t kOwnCaches = 2;

constexpr int64_t kConvKernel = 4;
int64_t inner_of(const RandomModelShape& shape) { return 2 * shape.width; }
int64_t state_heads_of(const RandomModelShape& shape) {
  return inner_of(shape) / shape.state_head_dim;
}

class MetadataWriter {
 public:
  explicit MetadataWriter(const RandomModelShape& shape) : shape_(shape) {}

  Metadata write() {
    metadata_.set_string("general.architecture", shape_.architecture);
    metadata_.set_string("general.name", "random");
    integer("block_count", shape_.layers);
    integer("context_length", shape_.context);
    integer("embedding_length", shape_.width);
    if (shape_.architecture != "mamba2") {
      integer("feed_forward_length", shape_.hidden);
      write_attention();
    }
    if (is_recurrent(shape_, 0)) write_recurrent();
    if (shape_.architecture == "gemma3n") write_streams();
    if (shape_.experts > 0) {
      integer("expert_count", shape_.experts);
      integer("expert_used_count", shape_.chosen);
      integer("expert_feed_forward_length", shape_.hidden);
    }
    if (shape_.architecture.starts_with("granite")) number("logit_scale", 1);
    number(shape_.architecture == "command-r" ? "attention.layer_norm_epsilon"
                                              : "attention.layer_norm_rms_epsilon",
           1e-5);
    return std::move(metadata_);
  }

 private:
  void integer(std::string_view key, int64_t value) {
    metadata_.set_integer(fmt::format("{}.{}", shape_.architecture, key), MetaType::kU32, value);
  }
  void number(std::string_view key, double value) {
    metadata_.set_number(fmt::format("{}.{}", shape_.architecture, key), value);
  }

  void write_attention() {
    const int64_t head_dim = shape_.head_dim;
    integer("attention.head_count", shape_.heads);
    if (shape_.architecture == "deepseek2") {
      integer("attention.head_count_kv", 1);
      integer("attention.kv_lora_rank", shape_.latent_dim);
      integer("attention.key_length", shape_.latent_dim + shape_.rotated_dim);
      integer("attention.value_length", shape_.latent_dim);
      integer("attention.key_length_mla", head_dim + shape_.rotated_dim);
      integer("attention.value_length_mla", head_dim);
      integer("rope.dimension_count", shape_.rotated_dim);
      return;
    }
    if (is_recurrent(shape_, 0)) {
      std::vector<int64_t> heads;
      for (int64_t layer = 0; layer < shape_.layers; ++layer) {
        heads.push_back(is_recurrent(shape_, layer) ? 0 : shape_.kv_heads);
      }
      metadata_.set_integers(shape_.architecture + ".attention.head_count_kv", MetaType::kI32,
                             heads);
    } else {
      integer("attention.head_count_kv", shape_.kv_heads);
    }
    integer("attention.key_length", head_dim);
    integer("attention.value_length", head_dim);
    integer("rope.dimension_count", head_dim);
    if (shape_.window > 0) integer("attention.sliding_window", shape_.window);
    if (shape_.architecture == "gemma3") integer("attention.sliding_window_pattern", 2);
  }

  void write_streams() {
    std::vector<int64_t> windowed;
    std::vector<double> deviations;
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      windowed.push_back(layer % 2 == 0 ? 1 : 0);
      deviations.push_back(layer % 2 == 0 ? 0.5 : -std::numeric_limits<double>::infinity());
    }
    metadata_.set_integers("gemma3n.attention.sliding_window_pattern", MetaType::kBool, windowed);
    metadata_.set_numbers("gemma3n.activation_sparsity_scale", deviations);
    integer("altup.num_inputs", kStreams);
    integer("altup.active_idx", kActiveStream);
    integer("embedding_length_per_layer_input", kLayerInputWidth);
    integer("attention.shared_kv_layers", std::max<int64_t>(0, shape_.layers - kOwnCaches));
  }

  void write_recurrent() {
    integer("ssm.conv_kernel", kConvKernel);
    integer("ssm.inner_size", inner_of(shape_));
    integer("ssm.state_size", shape_.state_dim);
    integer("ssm.time_step_rank", state_heads_of(shape_));
    integer("ssm.group_count", 1);
  }

  const RandomModelShape& shape_;
  Metadata metadata_;
};

class LayerPlanner {
 public:
  LayerPlanner(const RandomModelShape& shape, int32_t layer, std::vector<TensorPlan>& plans)
      : shape_(shape), layer_(layer), plans_(plans) {}

  void plan() {
    vector("attn_norm.weight", shape_.width);
    if (is_recurrent(shape_, layer_)) {
      plan_recurrent();
    } else if (shape_.architecture == "deepseek2") {
      plan_latent();
    } else {
      plan_attention();
    }
    if (shape_.architecture == "gemma3n") plan_streams();
    if (shape_.architecture.starts_with("gemma3")) {
      vector("post_attention_norm.weight", shape_.width);
      vector("post_ffw_norm.weight", shape_.width);
    }
    if (shape_.architecture == "mamba2") return;
    if (shape_.architecture != "command-r") vector("ffn_norm.weight", shape_.width);
    if (shape_.experts > 0) {
      plan_experts();
    } else {
      matrix("ffn_gate", shape_.hidden, shape_.width);
      matrix("ffn_up", shape_.hidden, shape_.width);
      matrix("ffn_down", shape_.width, shape_.hidden);
    }
  }

 private:
  void tensor(std::string_view name, DType format, std::vector<int64_t> dimensions) {
    plans_.push_back({tensor_name(name, layer_), format, std::move(dimensions)});
  }
  void matrix(std::string_view name, int64_t rows, int64_t width) {
    tensor(fmt::format("{}.weight", name), shape_.format, {rows, width});
  }
  void matrices(std::string_view name, int64_t count, int64_t rows, int64_t width) {
    tensor(fmt::format("{}.weight", name), shape_.format, {count, rows, width});
  }
  void vector(std::string_view name, int64_t size) { tensor(name, DType::kF32, {size}); }

  void plan_attention() {
    const int64_t queries = shape_.heads * shape_.head_dim;
    const int64_t keys = shape_.kv_heads * shape_.head_dim;
    matrix("attn_q", queries, shape_.width);
    matrix("attn_k", keys, shape_.width);
    matrix("attn_v", keys, shape_.width);
    matrix("attn_output", shape_.width, queries);
    if (shape_.architecture == "qwen2") {
      vector("attn_q.bias", queries);
      vector("attn_k.bias", keys);
      vector("attn_v.bias", keys);
    }
    if (shape_.architecture.starts_with("qwen3") || shape_.architecture.starts_with("gemma3")) {
      vector("attn_q_norm.weight", shape_.head_dim);
      vector("attn_k_norm.weight", shape_.head_dim);
    }
    if (shape_.architecture == "olmoe") {
      vector("attn_q_norm.weight", queries);
      vector("attn_k_norm.weight", keys);
    }
    if (shape_.architecture == "command-r") {
      tensor("attn_q_norm.weight", DType::kF32, {shape_.heads, shape_.head_dim});
      tensor("attn_k_norm.weight", DType::kF32, {shape_.kv_heads, shape_.head_dim});
    }
  }

  void plan_streams() {
    vector("altup_router_norm.weight", shape_.width);
    tensor("altup_router.weight", DType::kF32, {kStreams, shape_.width});
    tensor("altup_predict_coef.weight", DType::kF32, {kStreams * kStreams, kStreams});
    tensor("altup_correct_coef.weight", DType::kF32, {kStreams, kStreams});
    vector("altup_correct_scale.weight", shape_.width);
    matrix("laurel_l", kLaurelRank, shape_.width);
    matrix("laurel_r", shape_.width, kLaurelRank);
    vector("laurel_post_norm.weight", shape_.width);
    matrix("inp_gate", kLayerInputWidth, shape_.width);
    matrix("proj", shape_.width, kLayerInputWidth);
    vector("post_norm.weight", shape_.width);
  }

  void plan_latent() {
    const int64_t head_dim = shape_.head_dim;
    matrix("attn_q", shape_.heads * (head_dim + shape_.rotated_dim), shape_.width);
    matrix("attn_kv_a_mqa", shape_.latent_dim + shape_.rotated_dim, shape_.width);
    vector("attn_kv_a_norm.weight", shape_.latent_dim);
    matrices("attn_k_b", shape_.heads, shape_.latent_dim, head_dim);
    matrices("attn_v_b", shape_.heads, head_dim, shape_.latent_dim);
    matrix("attn_output", shape_.width, shape_.heads * head_dim);
  }

  void plan_recurrent() {
    const int64_t inner = inner_of(shape_);
    const int64_t heads = state_heads_of(shape_);
    const int64_t channels = inner + 2 * shape_.state_dim;
    matrix("ssm_in", inner + channels + heads, shape_.width);
    tensor("ssm_conv1d.weight", DType::kF32, {channels, kConvKernel});
    vector("ssm_conv1d.bias", channels);
    vector("ssm_dt.bias", heads);
    tensor("ssm_a", DType::kF32, {heads, 1});
    tensor("ssm_d", DType::kF32, {heads, 1});
    tensor("ssm_norm.weight", DType::kF32, {1, inner});
    matrix("ssm_out", shape_.width, inner);
  }

  void plan_experts() {
    tensor("ffn_gate_inp.weight", DType::kF32, {shape_.experts, shape_.width});
    matrices("ffn_gate_exps", shape_.experts, shape_.hidden, shape_.width);
    matrices("ffn_up_exps", shape_.experts, shape_.hidden, shape_.width);
    matrices("ffn_down_exps", shape_.experts, shape_.width, shape_.hidden);
  }

  const RandomModelShape& shape_;
  int32_t layer_;
  std::vector<TensorPlan>& plans_;
};

std::vector<TensorPlan> plan_tensors(const RandomModelShape& shape) {
  std::vector<TensorPlan> plans;
  plans.push_back({"token_embd.weight", shape.format, {shape.vocab, shape.width}});
  plans.push_back({"output_norm.weight", DType::kF32, {shape.width}});
  if (!shape.tied_embeddings) {
    plans.push_back({"output.weight", shape.format, {shape.vocab, shape.width}});
  }
  if (shape.architecture == "gemma3n") {
    const int64_t inputs = shape.layers * kLayerInputWidth;
    const std::vector<int64_t> of_streams = {kStreams - 1, shape.width, shape.width};
    plans.push_back({"per_layer_token_embd.weight", shape.format, {shape.vocab, inputs}});
    plans.push_back({"per_layer_model_proj.weight", shape.format, {inputs, shape.width}});
    plans.push_back({"per_layer_proj_norm.weight", DType::kF32, {kLayerInputWidth}});
    plans.push_back({"altup_proj.weight", shape.format, of_streams});
    plans.push_back({"altup_unembd_proj.weight", shape.format, of_streams});
  }
  for (int32_t layer = 0; layer < shape.layers; ++layer) LayerPlanner(shape, layer, plans).plan();
  return plans;
}

// About which a tensor's values lie. Decays of states are negative, and their steps are short, as
// far as a step's softplus of a bias makes them so.
float mean_of(const TensorPlan& plan) {
  if (plan.name.ends_with("norm.weight") || plan.name.ends_with("ssm_d")) return 1;
  if (plan.name.ends_with("_scale.weight")) return 1;
  if (plan.name.ends_with("ssm_a")) return -1;
  return plan.name.ends_with("ssm_dt.bias") ? -2.0F : 0.0F;
}

// A matrix keeps the size of its input, or doubles it at the embedding and the head. The modes of
// streams are of a product over the width.
float deviation_of(const TensorPlan& plan) {
  if (plan.shape.size() < 2 || plan.shape.back() == 1) return 0.2F;
  const float root = std::sqrt(static_cast<float>(plan.shape.back()));
  if (plan.name.ends_with("altup_router.weight")) return root;
  if (plan.name.ends_with("_coef.weight")) return 0.2F;
  return (plan.name.starts_with("blk.") ? 1.0F : 2.0F) / root;
}

// The first `rows` rows of a tensor, or all of a vector.
std::vector<std::byte> tensor_rows(const TensorPlan& plan, uint64_t seed, size_t index,
                                   int64_t rows) {
  const int64_t width = plan.shape.back();
  const std::vector<float> values =
      random_values(seed, index, rows * width, mean_of(plan), deviation_of(plan));
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
  RETURN_IF_ERROR(writer.begin(MetadataWriter(shape).write(), plans));
  for (size_t i = 0; i < plans.size(); ++i) {
    RETURN_IF_ERROR(writer.write(tensor_rows(plans[i], shape.seed, i, rows_of(plans[i]))));
  }
  RETURN_IF_ERROR(writer.end());
  return file;
}

absl::Status write_random_model(const std::string& path, const RandomModelShape& shape,
                                absl::FunctionRef<void(double)> progress) {
  const std::vector<TensorPlan> plans = plan_tensors(shape);
  Metadata metadata = MetadataWriter(shape).write();
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
