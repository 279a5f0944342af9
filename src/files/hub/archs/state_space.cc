#include "files/hub/archs/state_space.h"

#include <vector>

namespace millrace {
namespace {

constexpr TensorRule kMamba[] = {
    {"backbone.embeddings", "token_embd"},
    {"backbone.embedding", "token_embd"},
    {"backbone.layers.#.norm", "blk.#.attn_norm"},
    {"backbone.layers.#.mixer.in_proj", "blk.#.ssm_in"},
    {"backbone.layers.#.mixer.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"backbone.layers.#.mixer.x_proj", "blk.#.ssm_x"},
    {"backbone.layers.#.mixer.dt_proj", "blk.#.ssm_dt"},
    {"backbone.layers.#.mixer.A_log", "blk.#.ssm_a", Transform::kNegatedExp},
    {"backbone.layers.#.mixer.D", "blk.#.ssm_d"},
    {"backbone.layers.#.mixer.out_proj", "blk.#.ssm_out"},
    {"backbone.norm_f", "output_norm"},
};

constexpr TensorRule kMamba2[] = {
    {"backbone.embeddings", "token_embd"},
    {"backbone.embedding", "token_embd"},
    {"backbone.layers.#.norm", "blk.#.attn_norm"},
    {"backbone.layers.#.mixer.in_proj", "blk.#.ssm_in"},
    {"backbone.layers.#.mixer.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"backbone.layers.#.mixer.dt_bias", "blk.#.ssm_dt.bias"},
    {"backbone.layers.#.mixer.A_log", "blk.#.ssm_a", Transform::kNegatedExpColumn},
    {"backbone.layers.#.mixer.D", "blk.#.ssm_d", Transform::kColumn},
    {"backbone.layers.#.mixer.norm", "blk.#.ssm_norm", Transform::kGroups},
    {"backbone.layers.#.mixer.out_proj", "blk.#.ssm_out"},
    {"backbone.norm_f", "output_norm"},
};

constexpr StateSpaceNames kStateSpaceNames = {"conv_kernel", "state_size", "intermediate_size",
                                              "expand"};

absl::Status read_mamba(HubModel& model) {
  RETURN_IF_ERROR(read_state_space(model, kStateSpaceNames, 16));
  const bool is_falcon = model.arch.hub == "FalconMambaForCausalLM";
  model.keys.boolean("ssm.dt_b_c_rms", is_falcon);
  if (is_falcon) {
    ASSIGN_OR_RETURN(const double epsilon, model.config.number_or("mixer_rms_eps", 1e-6));
    model.keys.number("ssm.dt_b_c_rms_epsilon", epsilon);
  }
  return read_step_rank(model, "time_step_rank");
}

absl::Status read_mamba2(HubModel& model) {
  StateSpaceNames names = kStateSpaceNames;
  names.inner = "";
  model.config.pass_over("intermediate_size");
  RETURN_IF_ERROR(read_state_space(model, names, 128));
  RETURN_IF_ERROR(read_state_space_heads(model, "num_heads", "head_dim", "n_groups", 8));
  return read_step_limits(model);
}

// How weights are made at first, and how a scan is run by other programs; and sizes of attention.
constexpr std::string_view kIgnored =
    "time_step_min|time_step_max|time_step_floor|time_step_scale|time_step_init_scheme|"
    "time_step_rank|rescale_prenorm_residual|residual_in_fp32|use_mambapy|use_falcon_mambapy|"
    "use_associative_scan|chunk_size|num_attention_heads|num_key_value_heads|rms_norm_eps|rms_norm|"
    "fused_add_norm|ssm_cfg|d_inner|d_model|n_layer|pad_vocab_size_multiple|intermediate_size";

constexpr HubNames kMambaNames = {
    .hidden = "", .heads = "", .kv_heads = "", .head_dim = "", .epsilon = "layer_norm_epsilon"};
constexpr int64_t kContext = 1 << 20;  // states do not say for how many tokens they are good

constexpr HubArch kStateSpaceArchs[] = {
    {.hub = "MambaForCausalLM",
     .name = "mamba",
     .names = kMambaNames,
     .epsilon = 1e-5,
     .tied = true,
     .context = kContext,
     .rope = {.base = 0},
     .biases = "use_bias|use_conv_bias",
     .ignored = kIgnored,
     .read = read_mamba,
     .rules = kMamba},
    {.hub = "FalconMambaForCausalLM",
     .name = "mamba",
     .names = kMambaNames,
     .epsilon = 1e-5,
     .tied = true,
     .context = kContext,
     .rope = {.base = 0},
     .biases = "use_bias|use_conv_bias",
     .ignored = kIgnored,
     .read = read_mamba,
     .rules = kMamba},
    {.hub = "Mamba2ForCausalLM",
     .name = "mamba2",
     .names = kMambaNames,
     .epsilon = 1e-5,
     .context = kContext,
     .rope = {.base = 0},
     .biases = "use_bias|use_conv_bias",
     .ignored = kIgnored,
     .read = read_mamba2,
     .rules = kMamba2},
};

}  // namespace

absl::Status read_state_space(HubModel& model, const StateSpaceNames& names, int64_t usual_state) {
  HubConfig& config = model.config;
  HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(const int64_t kernel, config.integer_or(names.kernel, 1, kHubSizeMax, 4));
  ASSIGN_OR_RETURN(shape.state_dim, config.integer_or(names.state, 1, kHubSizeMax, usual_state));
  ASSIGN_OR_RETURN(const int64_t expand, config.integer_or(names.expand, 1, 1024, 2));
  shape.inner = expand * shape.width;
  if (!names.inner.empty() && config.has(names.inner)) {
    ASSIGN_OR_RETURN(shape.inner, config.integer(names.inner, 1, kHubSizeMax));
  }
  model.keys.integer("ssm.conv_kernel", kernel);
  model.keys.integer("ssm.inner_size", shape.inner);
  model.keys.integer("ssm.state_size", shape.state_dim);
  return absl::OkStatus();
}

absl::Status read_step_rank(HubModel& model, std::string_view key) {
  int64_t rank = (model.shape.width + 15) / 16;
  if (!model.config.is_text(key, "auto")) {
    ASSIGN_OR_RETURN(rank, model.config.integer_or(key, 1, kHubSizeMax, rank));
  }
  model.keys.integer("ssm.time_step_rank", rank);
  return absl::OkStatus();
}

// Of Mamba-2: heads, and groups of them.
absl::Status read_state_space_heads(HubModel& model, std::string_view heads, std::string_view dim,
                                    std::string_view groups, int64_t usual_groups) {
  HubConfig& config = model.config;
  HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(shape.recurrent_heads, config.integer_or(heads, 1, kHubSizeMax, 128));
  ASSIGN_OR_RETURN(shape.groups, config.integer_or(groups, 1, kHubSizeMax, usual_groups));
  if (shape.inner % shape.recurrent_heads != 0 || shape.recurrent_heads % shape.groups != 0) {
    return config.error(heads, fmt::format("must divide the {} channels, and be a multiple of {} "
                                           "groups",
                                           shape.inner, shape.groups));
  }
  if (config.has(dim) && !config.is_text(dim, "auto")) {
    ASSIGN_OR_RETURN(const int64_t head_dim, config.integer(dim, 1, kHubSizeMax));
    if (head_dim * shape.recurrent_heads != shape.inner) {
      return config.error(dim, fmt::format("is not the share of each of {} heads of {} channels",
                                           shape.recurrent_heads, shape.inner));
    }
  }
  model.keys.integer("ssm.time_step_rank", shape.recurrent_heads);
  model.keys.integer("ssm.group_count", shape.groups);
  return absl::OkStatus();
}

void set_step_limits(HubModel& model, double smallest, double largest) {
  constexpr double kMost = 3e38;
  if (smallest > 0) model.keys.number("ssm.time_step_min", smallest);
  if (largest < kMost) model.keys.number("ssm.time_step_max", largest);
}

absl::Status read_step_limits(HubModel& model) {
  ASSIGN_OR_RETURN(const std::vector<double> limits, model.config.numbers("time_step_limit"));
  if (limits.empty()) return absl::OkStatus();
  if (limits.size() != 2 || !(limits[0] <= limits[1])) {
    return model.config.error("time_step_limit", "must be two numbers, the smaller first");
  }
  set_step_limits(model, limits[0], limits[1]);
  return absl::OkStatus();
}

std::span<const HubArch> state_space_archs() { return kStateSpaceArchs; }

}  // namespace millrace
