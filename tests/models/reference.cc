#include "tests/models/reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/check.h"
#include "models/weights_plan.h"
#include "quant/format.h"

namespace millrace {
namespace {

using Vector = std::vector<double>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double activate(const ops::ActivationFunction& function, double x) {
  using enum ops::ActivationFunction::Kind;
  switch (function.kind) {
    case kSilu:
      return x * sigmoid(x);
    case kGelu:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case kGeluQuick:
      return x * sigmoid(1.702 * x);
    case kRelu:
      return std::max(0.0, x);
    case kReluSquared:
      return std::max(0.0, x) * std::max(0.0, x);
    case kXielu:
      if (x > 0) return double{function.positive} * x * x + double{function.beta} * x;
      return (double{function.negative} + double{function.beta}) *
                 (std::expm1(std::min(x, double{function.epsilon})) - x) +
             double{function.beta} * x;
    case kClampedSwiglu:
      break;
  }
  CHECK(false, "function {}", static_cast<int>(function.kind));
}

class Reference {
 public:
  Reference(const Checkpoint& checkpoint, const ModelSpec& spec)
      : checkpoint_(checkpoint), spec_(spec) {}

  Vector next(TokenId token) {
    Vector x = row("token_embd.weight", token);
    for (double& value : x) value *= double{spec_.embedding_scale};
    if (spec_.learned_positions > 0) add(row("position_embd.weight", position_), 1, x);
    x = normed(spec_.embedding_norm, x);
    if (spec_.layer_inputs.width > 0) layer_inputs_ = make_layer_inputs(token, x);
    body_ = 0;
    x = spec_.altup ? through_streams(x) : through_layers(x);
    layer_ = kNoLayer;
    ++position_;
    Vector logits =
        product(spec_.tied_embeddings ? "token_embd" : "output", normed(spec_.output_norm, x));
    if (spec_.head_bias) add(floats("output.bias"), 1, logits);
    for (double& logit : logits)
      logit = capped(logit * double{spec_.logit_scale}, spec_.logit_softcap);
    return logits;
  }

 private:
  Vector through_layers(Vector x) {
    for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
      layer_ = static_cast<int32_t>(layer);
      for (const StageSpec& stage : spec_.layers[layer].stages) run(stage, x);
    }
    return x;
  }

  void run(const StageSpec& stage, Vector& x) {
    const Vector in = x;
    CHECK(!stage[0].kept.normed, "the reference keeps no stream that is normed");
    for (double& value : x) value *= double{stage[0].kept.factor};
    for (const BranchSpec& branch : stage) {
      if (body_ == keys_.size()) keys_.emplace_back(), values_.emplace_back();
      const Vector change = std::visit(
          [&](const auto& s) { return apply(s, normed(branch.pre_norm, in)); }, branch.body);
      add(normed(branch.post_norm, change), double{branch.scale}, x);
      ++body_;
    }
  }

  // Alternating updates (nn/residual/altup.h).
  Vector through_streams(const Vector& x) {
    const auto count = static_cast<size_t>(spec_.altup->streams);
    const auto active = static_cast<size_t>(spec_.altup->active);
    std::vector<Vector> streams = {x};
    for (size_t i = 1; i < count; ++i) streams.push_back(projected("altup_proj", i, x, x));
    for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
      layer_ = static_cast<int32_t>(layer);
      predict(streams);
      const std::span<const StageSpec> stages = spec_.layers[layer].stages;
      const Vector predicted = streams[active];
      for (const StageSpec& stage : stages.first(stages.size() - 1)) run(stage, streams[active]);
      correct(predicted, streams);
      Vector spread = streams[active];
      const Vector scale = floats("altup_correct_scale.weight");
      for (size_t k = 0; k < spread.size(); ++k) spread[k] *= scale[k];
      run(stages.back(), spread);
      for (size_t i = 1; i < count; ++i) add(spread, 1, streams[i]);
    }
    layer_ = kNoLayer;
    Vector sum = streams[0];
    for (size_t i = 1; i < count; ++i) {
      add(projected("altup_unembd_proj", i, streams[i], streams[0]), 1, sum);
    }
    for (double& value : sum) value /= static_cast<double>(count);
    return sum;
  }

  static double mean_square(const Vector& x) {
    double squares = 0;
    for (const double value : x) squares += value * value / static_cast<double>(x.size());
    return squares;
  }

  // What the matrix of stream i makes, with the magnitude of `like`.
  Vector projected(const std::string& name, size_t i, const Vector& in, const Vector& like) const {
    const Vector all = product(name, in);
    const auto first = all.begin() + static_cast<std::ptrdiff_t>((i - 1) * in.size());
    Vector out(first, first + std::ssize(in));
    const double factor = std::sqrt(mean_square(like) / std::max(1e-5, mean_square(out)));
    for (double& value : out) value *= factor;
    return out;
  }

  Vector coefficients(const std::string& name, const Vector& active) const {
    Vector modes = product("altup_router", normed(spec_.altup->router_norm, active));
    for (double& mode : modes) mode = std::tanh(mode / static_cast<double>(spec_.width));
    return product(name, modes);
  }

  void predict(std::vector<Vector>& streams) const {
    const std::vector<Vector> before = streams;
    const Vector all =
        coefficients("altup_predict_coef", before[static_cast<size_t>(spec_.altup->active)]);
    for (size_t i = 0; i < all.size(); ++i) {
      add(before[i % before.size()], all[i], streams[i / before.size()]);
    }
  }

  void correct(const Vector& predicted, std::vector<Vector>& streams) const {
    const auto active = static_cast<size_t>(spec_.altup->active);
    const Vector all = coefficients("altup_correct_coef", streams[active]);
    Vector change = streams[active];
    add(predicted, -1, change);
    streams[active] = predicted;
    for (size_t i = 0; i < streams.size(); ++i) add(change, 1 + all[i], streams[i]);
  }

  // [layers * width]
  Vector make_layer_inputs(TokenId token, const Vector& embedded) {
    const LayerInputsSpec& spec = spec_.layer_inputs;
    const Vector all = floats("per_layer_token_embd.weight");
    const Vector projection = product("per_layer_model_proj", embedded);
    Vector out;
    for (int64_t at = 0; at < spec.all_width(); at += spec.width) {
      Vector part(projection.begin() + at, projection.begin() + at + spec.width);
      for (double& x : part) x /= std::sqrt(static_cast<double>(spec_.width));
      part = normed(spec.projection_norm, part);
      const int64_t first = token * spec.all_width() + at;
      const Vector own(all.begin() + first, all.begin() + first + spec.width);
      add(own, double{spec.table_scale}, part);
      for (const double x : part) out.push_back(x / std::numbers::sqrt2);
    }
    return out;
  }

  static double capped(double x, float softcap) {
    return softcap == 0 ? x : double{softcap} * std::tanh(x / double{softcap});
  }
  static void add(const Vector& change, double scale, Vector& x) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += scale * change[i];
  }

  // A whole weight, or the rows of a tensor that it is.
  Vector floats(const std::string& name) const {
    const auto slice = std::ranges::find(spec_.slices, name, &TensorSlice::name);
    const bool sliced = slice != spec_.slices.end();
    const std::string tensor_of = tensor_name(sliced ? slice->source : name, layer_);
    const NamedTensor* tensor = checkpoint_.find(tensor_of);
    CHECK(tensor != nullptr, "{}", tensor_of);
    const int64_t elements = tensor->layout.elements();
    std::vector<float> all(static_cast<size_t>(elements));
    const auto bytes = checkpoint_.read(*tensor);
    CHECK(bytes.ok(), "{}", tensor_of);
    unpack_row(tensor->layout.dtype, bytes->data(), elements, all.data());
    if (!sliced) return Vector(all.begin(), all.end());
    // What lies behind a slice is another's: products take as many rows as they want.
    const int64_t first = elements / slice->source_rows * slice->first_row;
    return Vector(all.begin() + first, all.end());
  }

  Vector row(const std::string& table, int64_t index) {
    layer_ = kNoLayer;
    const Vector all = floats(table);
    return Vector(all.begin() + index * spec_.width, all.begin() + (index + 1) * spec_.width);
  }

  // rows: of a slice; 0: all there are.
  Vector product(const std::string& name, const Vector& in, int64_t rows = 0) const {
    const Vector weights = floats(name + ".weight");
    Vector out(rows > 0 ? static_cast<size_t>(rows) : weights.size() / in.size());
    for (size_t i = 0; i < out.size() * in.size(); ++i) {
      out[i / in.size()] += weights[i] * in[i % in.size()];
    }
    return out;
  }
  Vector biased(const std::string& name, bool has_bias, const Vector& in, int64_t rows) const {
    Vector out = product(name, in, rows);
    if (has_bias) add(floats(name + ".bias"), 1, out);
    return out;
  }

  // weight_at: the first weight of this vector.
  Vector normed(const NormSpec& norm, const Vector& in, size_t weight_at = 0) const {
    if (!norm) return in;
    double mean = 0;
    for (const double value : in) mean += value / static_cast<double>(in.size());
    if (norm.kind == NormSpec::Kind::kRms) mean = 0;
    double squares = 0;
    for (const double value : in) squares += (value - mean) * (value - mean);
    const double scale =
        1 / std::sqrt(squares / static_cast<double>(in.size()) + double{norm.epsilon});
    const std::string name(norm.name);
    const Vector weight = norm.has_weight ? floats(name + ".weight") : Vector();
    const Vector bias = norm.has_bias ? floats(name + ".bias") : Vector();
    Vector out;
    for (size_t i = 0; i < in.size(); ++i) {
      out.push_back((in[i] - mean) * scale * (weight.empty() ? 1 : weight[weight_at + i]) +
                    (bias.empty() ? 0 : bias[weight_at + i]));
    }
    return out;
  }

  Vector rope_factors(const RopeSpec& rope) {
    if (rope.factors.empty()) return {};
    const int32_t layer = std::exchange(layer_, kNoLayer);
    const Vector factors = floats(std::string(rope.factors));
    layer_ = layer;
    return factors;
  }

  void rotate(const RopeSpec& rope, std::span<double> head) {
    const Vector divisors = rope_factors(rope);
    const std::vector<float> factors(divisors.begin(), divisors.end());
    const std::vector<float> frequencies = rope_frequencies(rope, factors);
    const auto pairs = static_cast<size_t>(rope.rotated) / 2;
    for (size_t i = 0; i < pairs; ++i) {
      const bool neighbours = rope.pairs == ops::Rope::Pairs::kNeighbours;
      double& a = head[neighbours ? 2 * i : i];
      double& b = head[neighbours ? 2 * i + 1 : i + pairs];
      const double angle = position_ * double{frequencies[i]};
      const double cosine = std::cos(angle) * rope.magnitude;
      const double sine = std::sin(angle) * rope.magnitude;
      const double turned = a * cosine - b * sine;
      b = a * sine + b * cosine;
      a = turned;
    }
  }

  // Norms and rotates queries or keys.
  void place(const AttentionSpec& spec, const NormSpec& norm, Vector& all) {
    using Scope = QueryKeyNormSpec::Scope;
    if (norm && spec.norms.scope == Scope::kAllHeads) all = normed(norm, all);
    const auto head_dim = static_cast<size_t>(spec.head_dim);
    for (size_t at = 0; at < all.size(); at += head_dim) {
      const auto head = std::span(all).subspan(at, head_dim);
      if (spec.rope && spec.norms.after_rotation) rotate(*spec.rope, head);
      if (norm && spec.norms.scope != Scope::kAllHeads) {
        const Vector out = normed(norm, Vector(head.begin(), head.end()),
                                  spec.norms.scope == Scope::kEachHead ? at : 0);
        std::ranges::copy(out, head.begin());
      }
      if (spec.rope && !spec.norms.after_rotation) rotate(*spec.rope, head);
    }
  }

  // Bodies whose operations have references of their own.
  template <typename Spec>
  Vector apply(const Spec&, const Vector& in) {
    CHECK(false, "the reference has no such body");
    return in;
  }

  Vector apply(const AttentionSpec& spec, const Vector& in) {
    Vector query = biased("attn_q", spec.biases, in, spec.query_width());
    place(spec, spec.norms.query, query);
    const size_t kept_by = spec.keeps() ? body_ : static_cast<size_t>(spec.shared);
    if (spec.keeps()) keep(spec, in);
    if (spec.temperature > 0) {
      const double steps = std::floor(position_ / double{1} / spec.temperature_length);
      for (double& q : query) q *= 1 + double{spec.temperature} * std::log1p(steps);
    }
    const Vector sinks = spec.sinks ? floats("attn_sinks.weight") : Vector();
    Vector mixed;
    for (int32_t head = 0; head < spec.heads; ++head) {
      const Vector out = attend(spec, kept_by, head, query,
                                sinks.empty() ? nullptr : &sinks[static_cast<size_t>(head)]);
      mixed.insert(mixed.end(), out.begin(), out.end());
    }
    Vector out = product("attn_output", normed(spec.output_norm, mixed));
    if (spec.output_bias) add(floats("attn_output.bias"), 1, out);
    return out;
  }

  void keep(const AttentionSpec& spec, const Vector& in) {
    Vector key = biased("attn_k", spec.biases, in, spec.kv_width());
    Vector value = biased("attn_v", spec.biases, in, spec.kv_width());
    place(spec, spec.norms.key, key);
    for (int64_t at = 0; at < spec.kv_width() && spec.value_norm; at += spec.head_dim) {
      const auto first = value.begin() + at;
      std::ranges::copy(normed(spec.value_norm, Vector(first, first + spec.head_dim)), first);
    }
    keys_[body_].push_back(key);
    values_[body_].push_back(value);
  }

  int32_t first_key(const AttentionSpec& spec) const {
    if (spec.chunk > 0) return position_ - position_ % spec.chunk;
    return spec.window == 0 ? 0 : std::max(0, position_ - spec.window + 1);
  }

  // ALiBi (Press et al. 2022), for numbers of heads that are a power of two.
  static double slope(const AttentionSpec& spec, int32_t head) {
    return std::exp2(-double{spec.alibi_bias_max} * (head + 1) / spec.heads);
  }

  Vector attend(const AttentionSpec& spec, size_t kept_by, int32_t head, const Vector& query,
                const double* sink) {
    const auto head_dim = static_cast<size_t>(spec.head_dim);
    const auto at = static_cast<size_t>(head) * head_dim;
    const auto shared = static_cast<size_t>(head * spec.kv_heads / spec.heads) * head_dim;
    double weights = sink == nullptr ? 0 : std::exp(*sink);
    Vector out(head_dim);
    for (int32_t p = first_key(spec); p <= position_; ++p) {
      const Vector& key = keys_[kept_by][static_cast<size_t>(p)];
      const Vector& value = values_[kept_by][static_cast<size_t>(p)];
      double score = 0;
      for (size_t d = 0; d < head_dim; ++d) score += query[at + d] * key[shared + d];
      score = capped(score * double{spec.scale}, spec.softcap);
      if (spec.alibi_bias_max > 0) score += slope(spec, head) * (p - position_);
      const double weight = std::exp(score);
      weights += weight;
      for (size_t d = 0; d < head_dim; ++d) out[d] += weight * value[shared + d];
    }
    for (double& value : out) value /= weights;
    return out;
  }

  Vector apply(const FfnSpec& spec, const Vector& in) {
    Vector hidden = biased("ffn_up", spec.up_bias, in, spec.hidden);
    const Vector gate = spec.gated ? biased("ffn_gate", spec.gate_bias, in, spec.hidden) : Vector();
    for (size_t i = 0; i < hidden.size(); ++i) {
      hidden[i] = spec.gated ? activate(spec.function, gate[i]) * hidden[i]
                             : activate(spec.function, hidden[i]);
    }
    Vector out = product("ffn_down", normed(spec.hidden_norm, hidden));
    if (spec.down_bias) add(floats("ffn_down.bias"), 1, out);
    return out;
  }

  Vector apply(const SparseFfnSpec& spec, const Vector& in) {
    Vector hidden = product("ffn_up", in);
    const Vector gate = product("ffn_gate", in);
    double mean = 0;
    for (const double x : gate) mean += x / static_cast<double>(gate.size());
    double squares = 0;
    for (const double x : gate) squares += (x - mean) * (x - mean);
    const double cutoff =
        mean + double{spec.deviations} * std::sqrt(squares / static_cast<double>(gate.size()));
    for (size_t i = 0; i < hidden.size(); ++i) {
      hidden[i] *= activate(spec.function, std::max(0.0, gate[i] - cutoff));
    }
    return product("ffn_down", hidden);
  }

  Vector apply(const LaurelSpec& spec, const Vector& in) {
    Vector out = normed(spec.norm, product("laurel_r", product("laurel_l", in)));
    add(in, 1, out);
    return out;
  }

  Vector apply(const LayerInputSpec& spec, const Vector& in) {
    Vector hidden = product("inp_gate", in);
    for (size_t i = 0; i < hidden.size(); ++i) {
      const auto at = static_cast<size_t>(spec.layer * spec.input_width) + i;
      hidden[i] = activate(spec.function, hidden[i]) * layer_inputs_[at];
    }
    return product("proj", hidden);
  }

  // The matrix of one expert times a vector, with its bias.
  Vector of_expert(const MoeSpec& spec, const std::string& name, int64_t expert, int64_t rows,
                   const Vector& in) const {
    const Vector weights = floats(name + ".weight");
    const Vector bias = spec.biases ? floats(name + ".bias") : Vector();
    Vector out;
    for (int64_t row = expert * rows; row < (expert + 1) * rows; ++row) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(row)];
      const size_t first = static_cast<size_t>(row) * in.size();
      for (size_t k = 0; k < in.size(); ++k) sum += weights[first + k] * in[k];
      out.push_back(sum);
    }
    return out;
  }

  // A softmax of all logits, of which the best are taken and made to add up to one again. What
  // else there is of mixtures, src/nn/moe_test.cc has.
  Vector apply(const MoeSpec& spec, const Vector& in) {
    CHECK(spec.routing.renormalise && spec.shared_hidden == 0, "a mixture of another kind");
    const Vector logits = product("ffn_gate_inp", in);
    std::vector<size_t> order(logits.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    order.resize(static_cast<size_t>(spec.routing.chosen));
    double weights = 0;
    for (const size_t expert : order) weights += std::exp(logits[expert]);
    Vector sum(in.size());
    for (const size_t chosen : order) {
      const auto expert = static_cast<int64_t>(chosen);
      Vector hidden = of_expert(spec, "ffn_up_exps", expert, spec.hidden, in);
      const Vector gate = of_expert(spec, "ffn_gate_exps", expert, spec.hidden, in);
      for (size_t i = 0; i < hidden.size(); ++i) hidden[i] *= activate(spec.function, gate[i]);
      add(of_expert(spec, "ffn_down_exps", expert, spec.width, hidden),
          std::exp(logits[chosen]) / weights, sum);
    }
    return sum;
  }

  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  std::vector<std::vector<Vector>> keys_, values_;  // [bodies, positions, kv_heads * head_dim]
  Vector layer_inputs_;
  int32_t layer_ = kNoLayer;
  size_t body_ = 0;
  int32_t position_ = 0;
};

}  // namespace

std::vector<double> reference_logits(const Checkpoint& checkpoint, const ModelSpec& spec,
                                     std::span<const TokenId> tokens) {
  Reference reference(checkpoint, spec);
  std::vector<double> logits;
  for (const TokenId token : tokens) {
    const Vector row = reference.next(token);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

}  // namespace millrace
