#include "kernels/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "kernels/panel_product.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

constexpr int64_t kAlignment = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
int64_t bytes_of(int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
T* take(std::byte*& workspace, int64_t count) {
  auto* const piece = reinterpret_cast<T*>(workspace);
  workspace += bytes_of<T>(count);
  return piece;
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

void softmax(std::span<float> logits) {
  float top = logits[0];
  for (const float x : logits) top = std::max(top, x);
  float sum = 0;
  for (float& x : logits) {
    x = std::exp(x - top);
    sum += x;
  }
  for (float& x : logits) x /= sum;
}

// Descending; of equals the first stays first. What is not a number beats nothing.
struct Best {
  int32_t* experts;
  float* values;
  int32_t size;
  int32_t count = 0;

  void offer(int32_t expert, float value) {
    int32_t at = count;
    while (at > 0 && value > values[at - 1]) --at;
    if (at == size) return;
    count = std::min(count + 1, size);
    for (int32_t i = count - 1; i > at; --i) {
      experts[i] = experts[i - 1];
      values[i] = values[i - 1];
    }
    experts[at] = expert;
    values[at] = value;
  }
};

float worth_of_group(std::span<const float> values, bool by_two) {
  int32_t experts[2];
  float best[2];
  Best two{.experts = experts, .values = best, .size = 2};
  for (const float value : values) two.offer(0, value);
  return by_two ? best[0] + best[1] : best[0];
}

// Nothing in the groups that are not among the best can be chosen.
void leave_best_groups(const Routing& routing, std::span<float> values) {
  const size_t size = values.size() / static_cast<size_t>(routing.groups);
  int32_t groups[kExpertGroupsMax];
  float scores[kExpertGroupsMax];
  Best best{.experts = groups, .values = scores, .size = routing.groups};
  for (int32_t group = 0; group < routing.groups; ++group) {
    const auto own = values.subspan(static_cast<size_t>(group) * size, size);
    best.offer(group, worth_of_group(own, routing.groups_by_two));
  }
  for (int32_t i = routing.groups_chosen; i < routing.groups; ++i) {
    std::ranges::fill(values.subspan(static_cast<size_t>(groups[i]) * size, size), -kInfinity);
  }
}

// The share of `top` in the softmax of the logits that are not far below it.
float near_share(std::span<const float> logits, float threshold, float top, int32_t except) {
  float sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (static_cast<int32_t>(i) == except) continue;
    const float distance = (top - logits[i]) / std::max(std::fabs(logits[i]), top);
    if (!(distance > threshold)) sum += std::exp(logits[i] - top);
  }
  return 1 / sum;
}

void choose(std::span<const float> values, Best best) {
  for (size_t i = 0; i < values.size(); ++i) best.offer(static_cast<int32_t>(i), values[i]);
}

void score(Routing::Score score, std::span<float> values) {
  if (score == Routing::Score::kSoftmax) return softmax(values);
  for (float& x : values) x = sigmoid(x);
}

// values: [experts], the logits, changed; choice: [experts], memory; experts, weights: [chosen].
void route_row(const Routing& routing, std::span<float> values, std::span<float> choice,
               int32_t* experts, float* weights) {
  const std::span<float> chosen(weights, static_cast<size_t>(routing.chosen));
  const Best best{.experts = experts, .values = weights, .size = routing.chosen};
  const bool sparse = routing.score == Routing::Score::kSparsemixer;
  const bool before = !sparse && !routing.after_choice;
  if (before) score(routing.score, values);
  std::ranges::copy(values, choice.begin());
  if (!routing.selection_bias.empty()) {
    for (size_t i = 0; i < choice.size(); ++i) choice[i] += routing.selection_bias[i];
  }
  if (routing.groups > 1) leave_best_groups(routing, choice);
  choose(choice, best);
  for (int32_t i = 0; i < routing.chosen; ++i) weights[i] = values[static_cast<size_t>(experts[i])];
  if (sparse) {
    weights[0] = near_share(values, routing.threshold, weights[0], -1);
    weights[1] = near_share(values, routing.threshold, weights[1], experts[0]);
  } else if (!before) {
    score(routing.score, chosen);
  }
  float factor = routing.scale;
  if (routing.renormalise) {
    float sum = 1e-20F;  // as DeepSeek-V3 has it: not zero
    for (const float weight : chosen) sum += weight;
    factor /= sum;
  }
  for (float& weight : chosen) weight *= factor;
  if (routing.expert_scales.empty()) return;
  for (int32_t i = 0; i < routing.chosen; ++i) {
    weights[i] *= routing.expert_scales[static_cast<size_t>(experts[i])];
  }
}

// Where an expert's rows lie among the dispatched.
struct Stretch {
  int64_t first = 0;
  int64_t rows = 0;

  int64_t groups() const { return row_groups_of(rows); }
  RowGroup group(int64_t index) const {
    const RowGroup group = row_group_at(rows, index);
    return {first + group.first, group.rows};
  }
};

Stretch stretch_of(const Dispatch& dispatch, int64_t expert) {
  return {dispatch.starts[expert], dispatch.starts[expert + 1] - dispatch.starts[expert]};
}

template <typename Block>
void copy_blocks(const Block* in, int64_t in_step, int64_t blocks, Block* out, int64_t out_step) {
  for (int64_t i = 0; i < blocks; ++i) out[i * out_step] = in[i * in_step];
}

// Row `row` of `in`, as it is, to row `column` of a group.
void copy_row(const Activations& in, int64_t row, const Activations& out, const RowGroup& group,
              int64_t column) {
  const RowGroup from = row_group_at(in.rows, row / kGroupRows);
  const int64_t at = row - from.first;
  const int64_t blocks = in.width / kQ8Width;
  if (out.forms.f32) std::copy_n(f32_of(in, row), in.width, f32_of(out, group.first + column));
  if (out.forms.bf16) std::copy_n(bf16_of(in, row), in.width, bf16_of(out, group.first + column));
  if (out.forms.q8) {
    copy_blocks(q8_of(in, from) + at, from.rows, blocks, q8_of(out, group) + column, group.rows);
  }
  if (out.forms.q16) {
    copy_blocks(q16_of(in, from) + at, from.rows, 2 * blocks, q16_of(out, group) + column,
                group.rows);
  }
  const int64_t k_blocks = in.width / kQ8KWidth;
  if (out.forms.q8_k) {
    copy_blocks(q8_k_of(in, from) + at, from.rows, k_blocks, q8_k_of(out, group) + column,
                group.rows);
  }
  if (out.forms.q16_k) {
    copy_blocks(q16_k_of(in, from) + at, from.rows, 2 * k_blocks, q16_k_of(out, group) + column,
                group.rows);
  }
}

// Calls `work` for each `together` panels of each expert that has rows, each once, on one lane or
// another. How much there is to claim does not depend on the routing, which a lane that lags may
// read too late.
template <typename Work>
void for_each_expert_panel(Lane& lane, const Dispatch& dispatch, int64_t panels, int64_t together,
                           const Work& work) {
  const int64_t units = (panels + together - 1) / together;
  lane.for_each_piece(dispatch.busy_max() * units, 1, [&](WorkRange piece) {
    const int64_t end = std::min(piece.end, dispatch.busy[0] * units);
    for (int64_t unit = piece.begin; unit < end; ++unit) {
      work(dispatch.busy[1 + unit / units], unit % units * together);
    }
  });
}

const float* part_of(std::span<const float> bias, int64_t at) {
  return bias.empty() ? nullptr : bias.data() + at;
}

// The matrices of experts' hidden layers times the activations, and their biases.
class ExpertProducts {
 public:
  ExpertProducts(const Kernels& kernels, const ExpertHidden& hidden, const Activations& in)
      : kernels_(kernels),
        hidden_(hidden),
        is_one_row_(in.rows == 1),
        up_(product_of(kernels, hidden.up->matrix, in)) {
    if (hidden.gate != nullptr) gate_.emplace(product_of(kernels, hidden.gate->matrix, in));
  }

  // Of an expert's panels, times a weight for each column or null.
  HiddenSums operator()(int64_t expert, int64_t panel, int64_t panels, const RowGroup& group,
                        const float* weights) {
    const int64_t first = expert * hidden_.up->panels() + panel;
    const RowGroup from = is_one_row_ ? RowGroup{0, 1} : group;
    for (int64_t i = 0; i < panels; ++i) {
      const int64_t at = i * group.rows * kPanelRows;
      up_(first + i, from, ups_ + at);
      if (gate_) (*gate_)(first + i, from, gates_ + at);
      for (int64_t c = 0; weights != nullptr && c < group.rows; ++c) {
        kernels_.scale(ups_ + at + c * kPanelRows, kPanelRows, weights[c], 0);
        if (gate_) kernels_.scale(gates_ + at + c * kPanelRows, kPanelRows, weights[c], 0);
      }
    }
    const int64_t bias = expert * hidden_.up->rows + panel * kPanelRows;
    return {.gate = gate_ ? gates_ : nullptr,
            .up = ups_,
            .gate_bias = part_of(hidden_.gate_bias, bias),
            .up_bias = part_of(hidden_.up_bias, bias)};
  }

 private:
  const Kernels& kernels_;
  const ExpertHidden& hidden_;
  bool is_one_row_;
  std::optional<PanelProduct> gate_;
  PanelProduct up_;
  alignas(64) float gates_[2 * kPanelSums] = {};
  alignas(64) float ups_[2 * kPanelSums] = {};
};

}  // namespace

int64_t Dispatch::bytes(int64_t rows, int64_t chosen, int64_t experts) {
  return 2 * bytes_of<int32_t>(rows * chosen) + 2 * bytes_of<float>(rows * chosen) +
         2 * bytes_of<int32_t>(experts + 1);
}

Dispatch Dispatch::lay_out(int64_t rows, int64_t chosen, int64_t experts, std::byte* workspace) {
  Dispatch result{.rows = rows, .chosen = chosen, .experts = experts};
  if (workspace == nullptr) return result;
  result.experts_of = take<int32_t>(workspace, rows * chosen);
  result.weights = take<float>(workspace, rows * chosen);
  result.places = take<int32_t>(workspace, rows * chosen);
  result.place_weights = take<float>(workspace, rows * chosen);
  result.starts = take<int32_t>(workspace, experts + 1);
  result.busy = take<int32_t>(workspace, experts + 1);
  return result;
}

void CpuOps::route(Lane& lane, const Routing& routing, Rows<float> logits, Rows<float> choice,
                   const Dispatch& out) const {
  CHECK(routing.chosen == out.chosen && routing.chosen <= logits.width, "{} of {} experts for {}",
        routing.chosen, logits.width, out.chosen);
  const bool sparse = routing.score == Routing::Score::kSparsemixer;
  CHECK(!sparse || (routing.chosen == 2 && routing.selection_bias.empty() && routing.groups == 1),
        "a sparse mixer of {} experts, with a bias or groups", routing.chosen);
  const auto width = static_cast<size_t>(logits.width);
  lane.for_each_piece(logits.rows, 1, [&](WorkRange rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      route_row(routing, {logits.row(row), width}, {choice.row(row), width},
                out.experts_of + row * out.chosen, out.weights + row * out.chosen);
    }
  });
}

void CpuOps::dispatch(Lane& lane, const Dispatch& d) const {
  lane.for_each_piece(1, 1, [&](WorkRange) {
    std::fill_n(d.starts, d.experts + 1, 0);
    for (int64_t i = 0; i < d.all_places(); ++i) ++d.starts[d.experts_of[i] + 1];
    d.busy[0] = 0;
    for (int32_t expert = 0; expert < d.experts; ++expert) {
      if (d.starts[expert + 1] != 0) d.busy[++d.busy[0]] = expert;
      d.starts[expert + 1] += d.starts[expert];
    }
    for (int64_t i = 0; i < d.all_places(); ++i) {
      const int32_t place = d.starts[d.experts_of[i]]++;
      d.places[i] = place;
      d.place_weights[place] = d.weights[i];
    }
    for (int64_t expert = d.experts; expert > 0; --expert) d.starts[expert] = d.starts[expert - 1];
    d.starts[0] = 0;
  });
}

void CpuOps::gather_dispatched(Lane& lane, const Activations& in, const Dispatch& dispatch,
                               const Activations& out) const {
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin * dispatch.chosen; i < rows.end * dispatch.chosen; ++i) {
      const Stretch stretch = stretch_of(dispatch, dispatch.experts_of[i]);
      const int64_t at = dispatch.places[i] - stretch.first;
      copy_row(in, i / dispatch.chosen, out, stretch.group(at / kGroupRows), at % kGroupRows);
    }
  });
}

void CpuOps::expert_hidden(Lane& lane, const ExpertHidden& hidden, const Activations& in,
                           const Dispatch& dispatch, const Activations& out) const {
  const int64_t width = hidden.up->rows;
  CHECK(out.width == width && (hidden.gate == nullptr || hidden.gate->rows == width),
        "up of {} rows for an output of {}", width, out.width);
  ExpertProducts products(kernels_, hidden, in);
  HiddenStore store(kernels_, hidden.function, out);
  const int64_t panels = hidden.up->panels();
  const int64_t together = store.together();
  for_each_expert_panel(lane, dispatch, panels, together, [&](int64_t expert, int64_t first) {
    const int64_t end = std::min(first + together, panels);
    const Stretch stretch = stretch_of(dispatch, expert);
    for (int64_t t = 0; t < stretch.groups(); ++t) {
      const RowGroup group = stretch.group(t);
      const float* const weights = hidden.weighted ? dispatch.place_weights + group.first : nullptr;
      for (int64_t panel = first; panel < end; panel += kHiddenPanels) {
        const int64_t count = std::min(kHiddenPanels, end - panel);
        store(products(expert, panel, count, group, weights), group, panel);
      }
    }
  });
}

void CpuOps::expert_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in,
                           std::span<const float> bias, const Dispatch& dispatch,
                           Rows<float> out) const {
  const PanelProduct product = product_of(kernels_, weights.matrix, in);
  alignas(64) float sums[kPanelSums];
  const int64_t panels = weights.panels();
  for_each_expert_panel(lane, dispatch, panels, 1, [&](int64_t expert, int64_t panel) {
    const Stretch stretch = stretch_of(dispatch, expert);
    const int64_t first = panel * kPanelRows;
    const int64_t outputs = std::min<int64_t>(kPanelRows, weights.rows - first);
    for (int64_t t = 0; t < stretch.groups(); ++t) {
      const RowGroup group = stretch.group(t);
      product(expert * panels + panel, group, sums);
      kernels_.store_panel(sums, group.rows, outputs, part_of(bias, expert * weights.rows + first),
                           false, out.row(group.first) + first, out.stride);
    }
  });
}

void CpuOps::combine(Lane& lane, const Dispatch& dispatch, const Combination& combination,
                     Rows<float> outputs, Store store, Rows<float> out) const {
  const int64_t width = out.width;
  lane.for_each_piece(out.rows, 1, [&](WorkRange rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int32_t* const places = dispatch.places + row * dispatch.chosen;
      const float* const weights = dispatch.weights + row * dispatch.chosen;
      float* const sum = outputs.row(places[0]);  // this row's alone
      if (combination.weighted) kernels_.scale(sum, width, weights[0], 0);
      for (int64_t i = 1; i < dispatch.chosen; ++i) {
        const float weight = combination.weighted ? weights[i] : 1;
        kernels_.add(outputs.row(places[i]), nullptr, width, weight, sum);
      }
      if (combination.shared.width != 0) {
        const bool gated = combination.shared_gates.width != 0;
        const float share = gated ? sigmoid(*combination.shared_gates.row(row)) : 1;
        kernels_.add(combination.shared.row(row), nullptr, width, share, sum);
      }
      if (store == Store::kAdd) {
        kernels_.add(sum, nullptr, width, 1, out.row(row));
      } else {
        std::copy_n(sum, width, out.row(row));
      }
    }
  });
}

}  // namespace millrace::ops
