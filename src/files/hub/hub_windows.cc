#include <algorithm>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

// Whether each layer is of the other kind than "full_attention"; empty: config.json does not say.
absl::StatusOr<std::vector<bool>> read_layer_types(HubModel& model, std::string_view other) {
  ASSIGN_OR_RETURN(const std::vector<std::string> types, model.config.strings("layer_types"));
  if (types.empty()) return std::vector<bool>();
  if (std::ssize(types) != model.shape.layers) {
    return model.config.error("layer_types", fmt::format("has {} elements for {} layers",
                                                         types.size(), model.shape.layers));
  }
  std::vector<bool> is_other;
  for (const std::string& type : types) {
    is_other.push_back(type == other);
    if (type == other || type == "full_attention") continue;
    return model.config.not_done(
        "layer_types",
        fmt::format("has '{}', which is not supported for {}", type.substr(0, 40), model.arch.hub));
  }
  return is_other;
}

// Layers but every `period`th; with a switch, those from `max_window_layers` on.
absl::StatusOr<std::vector<bool>> usual_windows(HubModel& model) {
  std::vector<bool> windowed;
  int64_t first = 0, period = model.arch.window_period;
  if (model.arch.window == HubWindow::kSwitched) {
    ASSIGN_OR_RETURN(first, model.config.integer_or("max_window_layers", 0, kHubContextMax, 28));
  } else {
    ASSIGN_OR_RETURN(
        period,
        model.config.integer_or("sliding_window_pattern|_sliding_window_pattern", 1, 4096, period));
  }
  for (int64_t i = 0; i < model.shape.layers; ++i) {
    windowed.push_back(i >= first && (period == 0 || (i + 1) % period != 0));
  }
  return windowed;
}

absl::StatusOr<int64_t> read_width(HubModel& model) {
  return model.config.integer_or("sliding_window", 0, kHubContextMax, 0);
}

}  // namespace

absl::StatusOr<std::vector<bool>> read_windows(HubModel& model) {
  const std::string_view other =
      model.arch.name == "llama4" ? "chunked_attention" : "sliding_attention";
  ASSIGN_OR_RETURN(std::vector<bool> windowed, read_layer_types(model, other));
  if (windowed.empty()) return usual_windows(model);
  model.config.pass_over("sliding_window_pattern|_sliding_window_pattern|max_window_layers");
  return windowed;
}

absl::Status read_hub_windows(HubModel& model) {
  const HubWindow kind = model.arch.window;
  if (kind == HubWindow::kOwn) return absl::OkStatus();
  if (kind == HubWindow::kNone) {
    ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                     read_layer_types(model, "sliding_attention"));
    if (std::ranges::find(windowed, true) == windowed.end()) return absl::OkStatus();
    return model.config.not_done("layer_types", "asks for sliding windows");
  }
  ASSIGN_OR_RETURN(const int64_t width, read_width(model));
  if (kind == HubWindow::kUniform) {
    if (width > 0) model.keys.integer("attention.sliding_window", width);
    return absl::OkStatus();
  }
  if (kind == HubWindow::kUniformSwitched) model.config.pass_over("max_window_layers");
  ASSIGN_OR_RETURN(const std::vector<bool> windowed, read_windows(model));
  const bool switched = kind == HubWindow::kSwitched || kind == HubWindow::kUniformSwitched;
  ASSIGN_OR_RETURN(const bool use, switched ? model.config.boolean_or("use_sliding_window", false)
                                            : absl::StatusOr<bool>(true));
  const bool any = std::ranges::find(windowed, true) != windowed.end();
  if (width == 0 || !use || (switched && !any)) return absl::OkStatus();
  model.keys.integer("attention.sliding_window", width);
  model.keys.booleans("attention.sliding_window_pattern", windowed);
  return absl::OkStatus();
}

}  // namespace millrace
