#include "tests/models/reference.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quant/format.h"

namespace millrace {
namespace {

using Vector = std::vector<double>;

class Reference {
 public:
  Reference(const Checkpoint& checkpoint, const ModelSpec& spec)
      : checkpoint_(checkpoint), spec_(spec), keys_(spec.layers.size()), values_(keys_) {
    std::vector<float> factors;
    if (spec.rope.has_factors) factors = floats(Role::kRopeFactors, 0);
    frequencies_ = rope_frequencies(spec.rope, factors);
  }

  Vector next(TokenId token) {
    const auto width = static_cast<size_t>(spec_.width);
    const std::vector<float> table = floats(Role::kTokenEmbedding, 0);
    const auto row = table.begin() + static_cast<int64_t>(static_cast<size_t>(token) * width);
    Vector x(row, row + static_cast<int64_t>(width));
    for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
      layer_ = static_cast<int32_t>(layer);
      for (const SublayerBody& body : spec_.layers[layer].sublayers) {
        const Vector change = std::visit([&](const auto& s) { return apply(s, x); }, body);
        for (size_t i = 0; i < width; ++i) x[i] += change[i];
      }
    }
    ++position_;
    return product(spec_.tied_embeddings ? Role::kTokenEmbedding : Role::kOutput,
                   norm(x, floats(Role::kOutputNorm, 0), spec_.norm_epsilon));
  }

 private:
  std::vector<float> floats(Role role, int32_t layer) const {
    const std::string name = spec_.tensor_name(role, layer);
    const NamedTensor* tensor = checkpoint_.find(name);
    CHECK(tensor != nullptr, "{}", name);
    const int64_t elements = tensor->layout.elements();
    std::vector<float> out(static_cast<size_t>(elements));
    const auto bytes = checkpoint_.read(*tensor);
    CHECK(bytes.ok(), "{}", name);
    unpack_row(tensor->layout.dtype, bytes->data(), elements, out.data());
    return out;
  }

  Vector product(Role role, const Vector& in) const {
    const std::vector<float> weights = floats(role, layer_);
    Vector out(weights.size() / in.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      out[i / in.size()] += double{weights[i]} * in[i % in.size()];
    }
    return out;
  }

  static Vector norm(std::span<const double> in, std::span<const float> weight, double epsilon) {
    double squares = 0;
    for (const double value : in) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(in.size()) + epsilon);
    Vector out;
    for (size_t i = 0; i < in.size(); ++i) out.push_back(in[i] * scale * double{weight[i]});
    return out;
  }

  void rotate(std::span<double> head) const {
    const auto pairs = static_cast<size_t>(spec_.rope.rotated) / 2;
    const double magnitude = rope_magnitude(spec_.rope.scaling);
    for (size_t i = 0; i < pairs; ++i) {
      const bool neighbours = spec_.rope.pairs == ops::Rope::Pairs::kNeighbours;
      double& a = head[neighbours ? 2 * i : i];
      double& b = head[neighbours ? 2 * i + 1 : i + pairs];
      const double angle = position_ * double{frequencies_[i]};
      const double cosine = std::cos(angle) * magnitude;
      const double sine = std::sin(angle) * magnitude;
      const double turned = a * cosine - b * sine;
      b = a * sine + b * cosine;
      a = turned;
    }
  }

  Vector heads(const AttentionSpec& spec, const Vector& in, Role weight, Role bias, Role head_norm,
               bool rotated) const {
    Vector out = product(weight, in);
    if (spec.biases) {
      const std::vector<float> values = floats(bias, layer_);
      for (size_t i = 0; i < out.size(); ++i) out[i] += double{values[i]};
    }
    const auto head_dim = static_cast<size_t>(spec.head_dim);
    for (size_t at = 0; at < out.size() && rotated; at += head_dim) {
      const auto head = std::span(out).subspan(at, head_dim);
      if (spec.head_norms) {
        std::ranges::copy(norm(head, floats(head_norm, layer_), spec.norm_epsilon), head.begin());
      }
      rotate(head);
    }
    return out;
  }

  Vector apply(const AttentionSpec& spec, const Vector& x) {
    const Vector in = norm(x, floats(Role::kAttentionNorm, layer_), spec.norm_epsilon);
    const auto layer = static_cast<size_t>(layer_);
    const Vector query = heads(spec, in, Role::kQuery, Role::kQueryBias, Role::kQueryNorm, true);
    keys_[layer].push_back(heads(spec, in, Role::kKey, Role::kKeyBias, Role::kKeyNorm, true));
    values_[layer].push_back(
        heads(spec, in, Role::kValue, Role::kValueBias, Role::kKeyNorm, false));
    const auto head_dim = static_cast<size_t>(spec.head_dim);
    Vector mixed(query.size());
    for (size_t head = 0; head < static_cast<size_t>(spec.heads); ++head) {
      const size_t shared =
          head * static_cast<size_t>(spec.kv_heads) / static_cast<size_t>(spec.heads) * head_dim;
      double weights = 0;
      for (int32_t p = spec.window == 0 ? 0 : std::max(0, position_ - spec.window + 1);
           p <= position_; ++p) {
        const Vector& key = keys_[layer][static_cast<size_t>(p)];
        const Vector& value = values_[layer][static_cast<size_t>(p)];
        double score = 0;
        for (size_t d = 0; d < head_dim; ++d) score += query[head * head_dim + d] * key[shared + d];
        const double weight = std::exp(score * double{spec.scale});
        weights += weight;
        for (size_t d = 0; d < head_dim; ++d) {
          mixed[head * head_dim + d] += weight * value[shared + d];
        }
      }
      for (size_t d = 0; d < head_dim; ++d) mixed[head * head_dim + d] /= weights;
    }
    return product(Role::kAttentionOutput, mixed);
  }

  Vector apply(const FfnSpec& spec, const Vector& x) {
    const Vector in = norm(x, floats(Role::kFfnNorm, layer_), spec.norm_epsilon);
    Vector hidden = product(Role::kGate, in);
    const Vector up = product(Role::kUp, in);
    for (size_t i = 0; i < hidden.size(); ++i) {
      hidden[i] = hidden[i] / (1 + std::exp(-hidden[i])) * up[i];
    }
    return product(Role::kDown, hidden);
  }

  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  std::vector<float> frequencies_;
  std::vector<std::vector<Vector>> keys_, values_;  // [layers, positions, kv_heads * head_dim]
  int32_t layer_ = 0;
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
