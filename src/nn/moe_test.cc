#include "nn/moe.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "quant/format.h"
#include "tests/fixtures/kernels/op_cases.h"
#include "tests/fixtures/nn/body_runs.h"

namespace millrace {
namespace {

using Doubles = std::vector<double>;

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

double apply(const ActivationFunction& function, double gate, double up) {
  if (function.kind == ActivationFunction::Kind::kSilu) return gate * sigmoid_of(gate) * up;
  if (function.kind == ActivationFunction::Kind::kReluSquared) {
    return std::pow(std::max(gate, 0.0), 2) * up;
  }
  const double limit = function.limit;
  const double g = std::min(gate, limit);
  return g * sigmoid_of(function.alpha * g) * (std::clamp(up, -limit, limit) + 1);
}

// What a mixture is, in double, for one row.
class Reference {
 public:
  Reference(const MoeSpec& spec, const MadeWeights& weights) : spec_(spec), weights_(weights) {}

  Doubles operator()(const Doubles& in) const {
    if (spec_.part_norms) return normed_parts(in);
    Doubles sum = of_experts(in, in);
    if (spec_.shared_hidden == 0) return sum;
    const double share =
        spec_.shared_gate ? sigmoid_of(product("ffn_gate_inp_shexp", 0, 1, in)[0]) : 1;
    const Doubles out = network("shexp", 0, spec_.shared_hidden, in);
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += share * out[k];
    return sum;
  }

 private:
  Doubles of_experts(const Doubles& routed, const Doubles& in) const {
    const auto [experts, shares] = route(routed);
    Doubles sum(at(spec_.width));
    for (size_t i = 0; i < experts.size(); ++i) {
      Doubles own = in;
      for (double& x : own) x *= spec_.weighs_inputs ? shares[i] : 1;
      const Doubles out = network("exps", experts[i], spec_.hidden, own);
      for (size_t k = 0; k < sum.size(); ++k)
        sum[k] += (spec_.weighs_inputs ? 1 : shares[i]) * out[k];
    }
    return sum;
  }

  Doubles normed_parts(const Doubles& in) const {
    const MoeSpec::PartNormsSpec& norms = *spec_.part_norms;
    Doubles routed = normed("ffn_gate_inp.scale", norms.router_epsilon, in);
    for (double& x : routed) x /= std::sqrt(static_cast<double>(spec_.width));
    Doubles sum = normed(norms.after_experts, of_experts(routed, normed(norms.experts, in)));
    const Doubles shared = normed(
        norms.after_shared, network("shexp", 0, spec_.shared_hidden, normed(norms.shared, in)));
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += shared[k];
    return sum;
  }
  Doubles normed(const NormSpec& norm, const Doubles& in) const {
    return normed(std::string(norm.name) + ".weight", norm.epsilon, in);
  }
  Doubles normed(const std::string& weight, float epsilon, Doubles in) const {
    const Floats& weights = weights_.floats.find(weight)->second;
    double squares = 0;
    for (const double x : in) squares += x * x / static_cast<double>(in.size());
    for (size_t k = 0; k < in.size(); ++k) in[k] *= weights[k] / std::sqrt(squares + epsilon);
    return in;
  }

  Doubles product(const std::string& name, int64_t expert, int64_t rows, const Doubles& in) const {
    const Floats& matrix = weights_.floats.find(name)->second;
    const auto bias = weights_.floats.find(name + ".bias");
    Doubles out(at(rows));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = (expert * rows + row) * std::ssize(in);
      for (size_t k = 0; k < in.size(); ++k) out[at(row)] += double{matrix[at(first) + k]} * in[k];
      if (bias != weights_.floats.end()) out[at(row)] += bias->second[at(expert * rows + row)];
    }
    return out;
  }

  Doubles network(const std::string& kind, int64_t expert, int64_t hidden,
                  const Doubles& in) const {
    const Doubles ups = product("ffn_up_" + kind, expert, hidden, in);
    Doubles values = spec_.gated ? product("ffn_gate_" + kind, expert, hidden, in) : ups;
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = apply(spec_.function, values[i], spec_.gated ? ups[i] : 1);
    }
    return product("ffn_down_" + kind, expert, spec_.width, values);
  }

  static void score(ops::Routing::Score score, Doubles& values) {
    double sum = 0;
    const bool softmax = score == ops::Routing::Score::kSoftmax;
    for (double& x : values) sum += x = softmax ? std::exp(x) : sigmoid_of(x);
    if (softmax) std::ranges::for_each(values, [&](double& x) { x /= sum; });
  }

  std::pair<std::vector<int64_t>, Doubles> route(const Doubles& in) const {
    const ops::Routing& routing = spec_.routing;
    Doubles values = product("ffn_gate_inp", 0, spec_.experts, in);
    if (!routing.after_choice) score(routing.score, values);
    Doubles choice = values;
    if (spec_.selection_bias) {
      const Floats& bias = weights_.floats.find("exp_probs_b.bias")->second;
      for (size_t i = 0; i < choice.size(); ++i) choice[i] += bias[i];
    }
    std::vector<int64_t> order(choice.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order,
                             [&](int64_t a, int64_t b) { return choice[at(a)] > choice[at(b)]; });
    order.resize(at(routing.chosen));
    Doubles shares;
    for (const int64_t expert : order) shares.push_back(values[at(expert)]);
    if (routing.after_choice) score(routing.score, shares);
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share *= routing.scale / (routing.renormalise ? sum : 1);
    for (size_t i = 0; i < order.size() && spec_.expert_scales; ++i) {
      shares[i] *= weights_.floats.find("ffn_down_exps.scale")->second[at(order[i])];
    }
    return {order, shares};
  }

  const MoeSpec& spec_;
  const MadeWeights& weights_;
};

MoeSpec basic_spec() {
  return {.width = 96, .hidden = 64, .experts = 6, .routing = {.chosen = 2, .renormalise = true}};
}

// As published mixtures are.
std::vector<MoeSpec> specs() {
  using enum ops::Routing::Score;
  MoeSpec gpt_oss = basic_spec();
  gpt_oss.routing = {.after_choice = true, .chosen = 4};
  gpt_oss.router_bias = gpt_oss.biases = true;
  gpt_oss.function = {
      .kind = ActivationFunction::Kind::kClampedSwiglu, .alpha = 1.702F, .limit = 7};
  MoeSpec qwen2 = basic_spec();
  qwen2.routing.renormalise = false;
  qwen2.shared_hidden = 32;
  qwen2.shared_gate = true;
  MoeSpec llama4 = basic_spec();
  llama4.routing = {.score = kSigmoid, .after_choice = true, .chosen = 1};
  llama4.weighs_inputs = true;
  llama4.shared_hidden = 64;
  MoeSpec deepseek = basic_spec();
  deepseek.routing = {.score = kSigmoid, .chosen = 3, .renormalise = true, .scale = 2.5F};
  deepseek.selection_bias = true;
  MoeSpec gemma4 = basic_spec();
  gemma4.shared_hidden = 128;
  gemma4.expert_scales = true;
  const auto norm = [](std::string_view name) {
    return NormSpec{.kind = NormSpec::Kind::kRms, .name = name, .epsilon = 1e-3F};
  };
  gemma4.part_norms = {.router_epsilon = 1e-2F,
                       .experts = norm("pre_ffw_norm_2"),
                       .after_experts = norm("post_ffw_norm_2"),
                       .shared = norm("ffn_norm"),
                       .after_shared = norm("post_ffw_norm_1")};
  MoeSpec nemotron = deepseek;
  nemotron.gated = false;
  nemotron.shared_hidden = 96;
  nemotron.function = {.kind = ActivationFunction::Kind::kReluSquared};
  MoeSpec all = basic_spec();
  all.routing.chosen = 6;
  MoeSpec one = basic_spec();
  one.experts = one.routing.chosen = 1;
  return {basic_spec(), all, one, gpt_oss, qwen2, llama4, deepseek, gemma4, nemotron};
}

// [rows, width] after `lanes` lanes added it to `start`.
Floats run(const Body& moe, Isa isa, const Floats& in, int64_t rows, int lanes,
           const Floats& start) {
  return run_body(moe, isa, in, rows, lanes, ops::Store::kAdd, start);
}

TEST(MoeTest, IsTheSumOfTheChosenExperts) {
  for (const MoeSpec& spec : specs()) {
    MadeWeights weights(DType::kF32, {.f32 = true});
    const std::unique_ptr<Body> moe = make_body(spec, weights);
    for (const int64_t rows : {1, 9}) {
      const Floats in = random_floats(rows * spec.width, 21);
      const Floats start = random_floats(rows * spec.width, 22);
      const Floats out = run(*moe, best_isa(), in, rows, 2, start);
      for (int64_t row = 0; row < rows; ++row) {
        const auto first = in.begin() + row * spec.width;
        const Doubles expected = Reference(spec, weights)({first, first + spec.width});
        for (int64_t k = 0; k < spec.width; ++k) {
          const size_t i = at(row * spec.width + k);
          ASSERT_NEAR(out[i], start[i] + expected[at(k)], 5e-5)
              << spec.routing.chosen << " chosen, row " << row;
        }
      }
    }
  }
}

TEST(MoeTest, ARowDependsOnItselfAlone) {
  for (const auto& [format, forms] : {std::pair{DType::kMXFP4, ActivationForms{.q8 = true}},
                                      {DType::kQ8_0, ActivationForms{.q16 = true}},
                                      {DType::kF16, ActivationForms{.f32 = true}}}) {
    for (const MoeSpec& spec : specs()) {
      MadeWeights weights(format, forms);
      const std::unique_ptr<Body> moe = make_body(spec, weights);
      const int64_t rows = 150;
      const Floats in = random_floats(rows * spec.width, 23);
      const Floats start(in.size());
      const Floats all = run(*moe, best_isa(), in, rows, 3, start);
      EXPECT_EQ(bits_of(run(*moe, best_isa(), in, rows, 1, start)), bits_of(all));
      for (const auto& [first, count] : {std::pair{0, 1}, {149, 1}, {7, 2}, {40, 100}}) {
        const auto from = std::span(in).subspan(at(first * spec.width), at(count * spec.width));
        const auto expected = std::span(all).subspan(at(first * spec.width), from.size());
        const Floats part(from.begin(), from.end());
        EXPECT_EQ(bits_of(run(*moe, best_isa(), part, count, 2, Floats(part.size()))),
                  bits_of(expected))
            << first << " " << info_of(format).name;
      }
    }
  }
}

}  // namespace
}  // namespace millrace
