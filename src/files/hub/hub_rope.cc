#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "files/hub/hub_model.h"

namespace millrace {
namespace {

void add_factors(std::string_view name, std::vector<float> values, HubModel& model) {
  NamedTensor tensor = {.name = std::string(name)};
  tensor.layout.rank = 1;
  tensor.layout.shape[0] = std::ssize(values);
  tensor.values = std::move(values);
  model.computed.push_back(std::move(tensor));
}

// The divisors of frequencies of Llama 3.1: long waves are stretched, short ones are not.
absl::Status read_llama3(HubConfig& rope, double base, int64_t rotated, HubModel& model) {
  ASSIGN_OR_RETURN(const double factor, rope.number_or("factor", 8));
  ASSIGN_OR_RETURN(const double low, rope.number_or("low_freq_factor", 1));
  ASSIGN_OR_RETURN(const double high, rope.number_or("high_freq_factor", 4));
  ASSIGN_OR_RETURN(const int64_t context,
                   rope.integer_or("original_max_position_embeddings", 1, kHubContextMax, 8192));
  if (!(factor > 0) || !(low > 0) || !(high >= low)) {
    return rope.error("factor",
                      "and low_freq_factor must be positive, and high_freq_factor not "
                      "below that");
  }
  std::vector<float> factors;
  for (int64_t i = 0; i < rotated; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(rotated);
    const double wave = 2 * std::numbers::pi * std::pow(base, exponent);
    const double original = static_cast<double>(context);
    double divisor = factor;
    if (wave < original / high) {
      divisor = 1;
    } else if (wave <= original / low && high > low) {
      const double smooth = (original / wave - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    factors.push_back(static_cast<float>(divisor));
  }
  add_factors("rope_freqs.weight", std::move(factors), model);
  return absl::OkStatus();
}

// All of a head has frequencies, but those of the pairs that do not turn are divided away.
void add_proportional(int64_t rotated, HubModel& model) {
  constexpr float kNever = 1e30F;
  const int64_t pairs = model.shape.head_dim / 2;
  std::vector<float> factors(static_cast<size_t>(pairs), kNever);
  std::fill_n(factors.begin(), std::min(rotated / 2, pairs), 1.F);
  model.keys.integer("rope.dimension_count", model.shape.head_dim);
  add_factors("rope_freqs.weight", std::move(factors), model);
}

// By which YaRN multiplies cosine and sine (Peng et al. 2023, section 3.4).
double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

absl::Status read_yarn(HubConfig& rope, HubModel& model) {
  ASSIGN_OR_RETURN(const double factor, rope.number("factor"));
  ASSIGN_OR_RETURN(const int64_t context, rope.integer_or("original_max_position_embeddings", 1,
                                                          kHubContextMax, model.context));
  if (!(factor > 0)) return rope.error("factor", "must be positive");
  model.keys.text("rope.scaling.type", "yarn");
  model.keys.number("rope.scaling.factor", factor);
  model.keys.integer("rope.scaling.original_context_length", context);
  for (const auto& [from, to] : {std::pair("beta_fast", "rope.scaling.yarn_beta_fast"),
                                 std::pair("beta_slow", "rope.scaling.yarn_beta_slow")}) {
    if (!rope.has(from)) continue;
    ASSIGN_OR_RETURN(const double beta, rope.number(from));
    model.keys.number(to, beta);
  }
  ASSIGN_OR_RETURN(const bool truncates, rope.boolean_or("truncate", true));
  if (truncates != model.arch.rope.truncates) {
    return rope.not_done("truncate",
                         fmt::format("is {}: not supported for {}", truncates, model.arch.hub));
  }
  ASSIGN_OR_RETURN(const double scale, rope.number_or("mscale", 0));
  ASSIGN_OR_RETURN(const double scale_all, rope.number_or("mscale_all_dim", 0));
  const double usual = yarn_magnitude(factor, 1);
  double magnitude = usual;
  if (scale != 0 && scale_all != 0) {
    magnitude = yarn_magnitude(factor, scale) / yarn_magnitude(factor, scale_all);
  }
  ASSIGN_OR_RETURN(magnitude, rope.number_or("attention_factor", magnitude));
  if (model.arch.rope.stretches_scores) {
    if (scale_all != 0) {
      model.keys.number("rope.scaling.yarn_log_multiplier", 0.1 * scale_all);
    } else {
      magnitude /= usual;
    }
    if (magnitude != 1) model.keys.number("rope.scaling.attn_factor", magnitude);
    return absl::OkStatus();
  }
  if (magnitude == usual) return absl::OkStatus();
  if (model.arch.name == "mistral3" && scale == 1 && !rope.has("attention_factor")) {
    model.keys.number("rope.scaling.yarn_log_multiplier", scale_all);
  } else {
    model.keys.number("rope.scaling.attn_factor", magnitude / usual);
  }
  return absl::OkStatus();
}

absl::Status read_longrope(HubConfig& rope, int64_t rotated, HubModel& model) {
  ASSIGN_OR_RETURN(const int64_t outside,
                   model.config.integer_or("original_max_position_embeddings", 1, kHubContextMax,
                                           model.context));
  ASSIGN_OR_RETURN(const int64_t context,
                   rope.integer_or("original_max_position_embeddings", 1, kHubContextMax, outside));
  const double contexts = static_cast<double>(model.context) / static_cast<double>(context);
  ASSIGN_OR_RETURN(const double stretch, rope.number_or("factor", contexts));
  double magnitude = 1;
  if (stretch > 1) magnitude = std::sqrt(1 + std::log(stretch) / std::log(context));
  ASSIGN_OR_RETURN(const double both, rope.number_or("long_mscale", magnitude));
  ASSIGN_OR_RETURN(const double brief, rope.number_or("short_mscale", both));
  if (both != brief) return rope.not_done("short_mscale", "is not long_mscale: not supported");
  ASSIGN_OR_RETURN(magnitude, rope.number_or("attention_factor", both));
  model.keys.text("rope.scaling.type", "longrope");
  model.keys.integer("rope.scaling.original_context_length", context);
  model.keys.number("rope.scaling.attn_factor", magnitude);
  for (const auto& [from, to] : {std::pair("long_factor", "rope_factors_long.weight"),
                                 std::pair("short_factor", "rope_factors_short.weight")}) {
    ASSIGN_OR_RETURN(const std::vector<double> factors, rope.numbers(from));
    if (std::ssize(factors) != rotated / 2) {
      return rope.error(
          from, fmt::format("has {} numbers for {} rotated pairs", factors.size(), rotated / 2));
    }
    add_factors(to, std::vector<float>(factors.begin(), factors.end()), model);
  }
  return absl::OkStatus();
}

absl::Status read_scaling(HubConfig& rope, double base, int64_t rotated, HubModel& model) {
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type|type", "default"));
  rope.pass_over("type");
  if (type == "default" || type == "mrope") {
    if (type == "mrope") return rope.not_done("rope_type", "is 'mrope', which is not supported");
    return absl::OkStatus();
  }
  if (type == "linear") {
    ASSIGN_OR_RETURN(const double factor, rope.number("factor"));
    if (!(factor > 0)) return rope.error("factor", "must be positive");
    model.keys.text("rope.scaling.type", "linear");
    model.keys.number("rope.scaling.factor", factor);
    return absl::OkStatus();
  }
  if (type == "dynamic") {  // stretches only what is beyond the context
    if (model.arch.rope.stretches_scores && rope.has("mscale_all_dim")) {
      return rope.not_done("mscale_all_dim", "stretches scores: supported with 'yarn' alone");
    }
    rope.pass_over(
        "factor|original_max_position_embeddings|beta_fast|beta_slow|mscale|mscale_all_dim");
    return absl::OkStatus();
  }
  if (type == "proportional") {
    add_proportional(rotated, model);
    return absl::OkStatus();
  }
  if (type == "llama3") return read_llama3(rope, base, rotated, model);
  if (type == "yarn") return read_yarn(rope, model);
  if (type == "longrope" || type == "su") return read_longrope(rope, rotated, model);
  return rope.not_done("rope_type|type", fmt::format("is '{}', which is not supported",
                                                     escape_for_log(type.substr(0, 40))));
}

// Of HunYuan: a base for a longer context (its alpha).
absl::StatusOr<double> stretched_base(HubConfig& rope, double base, int64_t dim) {
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type|type", "default"));
  ASSIGN_OR_RETURN(const double alpha, rope.number_or("alpha", 0));
  if (type != "dynamic" || alpha == 0 || dim <= 2) return base;
  if (!(alpha > 0)) return rope.error("alpha", "must be positive");
  const auto d = static_cast<double>(dim);
  return base * std::pow(alpha, d / (d - 2));
}

struct Ropes {
  HubConfig full;
  HubConfig windowed;
};

// The rope of full layers and, where they have one of their own, that of windowed ones.
absl::StatusOr<Ropes> find_ropes(HubConfig& config) {
  ASSIGN_OR_RETURN(HubConfig rope, config.object("rope_parameters|rope_scaling"));
  const bool is_by_layer = rope.has("full_attention") || rope.has("sliding_attention");
  if (!is_by_layer) {
    ASSIGN_OR_RETURN(HubConfig none, rope.object("sliding_attention"));
    return Ropes{std::move(rope), std::move(none)};
  }
  ASSIGN_OR_RETURN(HubConfig full, rope.object("full_attention"));
  ASSIGN_OR_RETURN(HubConfig windowed, rope.object("sliding_attention"));
  RETURN_IF_ERROR(rope.check_all_read());
  return Ropes{std::move(full), std::move(windowed)};
}

absl::Status read_windowed(HubConfig& rope, double base, HubModel& model) {
  ASSIGN_OR_RETURN(const double outside, model.config.number_or("rope_local_base_freq", base));
  ASSIGN_OR_RETURN(base, rope.number_or("rope_theta", outside));
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type|type", "default"));
  if (type != "default") return rope.not_done("rope_type", "is not 'default' in windowed layers");
  model.keys.number("rope.freq_base_swa", base);
  return rope.check_all_read();
}

}  // namespace

absl::Status read_hub_rope(HubModel& model) {
  HubConfig& config = model.config;
  const HubRope& usual = model.arch.rope;
  ASSIGN_OR_RETURN(Ropes ropes, find_ropes(config));
  HubConfig& rope = ropes.full;
  ASSIGN_OR_RETURN(const double outside,
                   config.number_or("rope_theta|rotary_emb_base|global_rope_theta", usual.base));
  ASSIGN_OR_RETURN(double base, rope.number_or("rope_theta", outside));
  constexpr std::string_view kPartial = "partial_rotary_factor|rotary_pct|rope_pct";
  ASSIGN_OR_RETURN(const double share, config.number_or(kPartial, usual.partial));
  ASSIGN_OR_RETURN(const double partial, rope.number_or("partial_rotary_factor", share));
  if (!(partial > 0 && partial <= 1)) {
    return rope.error("partial_rotary_factor", "must be above 0 and at most 1");
  }
  if (partial != 1 && usual.partial == 1 && !usual.may_be_partial) {
    return rope.not_done("partial_rotary_factor",
                         fmt::format("is not 1: not supported for {}", model.arch.hub));
  }
  const auto rotated = static_cast<int64_t>(partial * static_cast<double>(model.shape.head_dim));
  if (!(base > 1)) return rope.error("rope_theta", "must be above 1");
  ASSIGN_OR_RETURN(base, stretched_base(rope, base, model.shape.head_dim));
  model.keys.integer("rope.dimension_count", rotated);
  model.keys.number("rope.freq_base", base);
  RETURN_IF_ERROR(read_scaling(rope, base, rotated, model));
  rope.pass_over("max_position_embeddings|original_max_position_embeddings");
  if (usual.windowed_base > 0) {
    const double windowed = usual.windowed_base == usual.base ? base : usual.windowed_base;
    RETURN_IF_ERROR(read_windowed(ropes.windowed, windowed, model));
  }
  if (usual.in_sections) rope.pass_over("mrope_section|mrope_interleaved");
  // Says nothing where the scaling has not asked for it.
  if (model.arch.name == "mistral3") rope.pass_over("llama_4_scaling_beta");
  return rope.check_all_read();
}

}  // namespace millrace
