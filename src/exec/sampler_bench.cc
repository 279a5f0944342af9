#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "exec/sampler.h"

// Time of the draws of one step by kind of order, vocabulary, rows and lanes. Most rows are likely
// in a few tokens, as a language model's are; others are normally distributed.

namespace millrace {
namespace {

constexpr int kCounts = 400;  // tokens with penalties in a row: as a long answer has

struct Kind {
  const char* name;
  DrawOrder order;
  bool penalised = false;
  bool masked = false;
  float deviation = 0;  // of normally distributed rows; zero: other rows
};

std::vector<Kind> kinds() {
  const DrawOrder plain;
  DrawOrder greedy;
  greedy.temperature = 0;
  DrawOrder greedy_logprob = greedy;
  greedy_logprob.logprobs = 0;
  DrawOrder logprobs = plain;
  logprobs.logprobs = 5;
  DrawOrder top_k;
  top_k.top_k = 40;
  DrawOrder top_p;
  top_p.temperature = 0.8F;
  top_p.top_p = 0.95F;
  DrawOrder min_p;
  min_p.min_p = 0.05F;
  DrawOrder typical;
  typical.typical = 0.95F;
  DrawOrder usual = top_p;
  usual.top_k = 40;
  usual.repetition = 1.1F;
  usual.presence = 0.2F;
  usual.frequency = 0.1F;
  DrawOrder all = usual;
  all.logprobs = 5;
  DrawOrder penalties = usual;
  penalties.temperature = 0;
  DrawOrder many = top_k;
  many.top_k = 5000;
  return {{"greedy", greedy},
          {"greedy,penalties", penalties, true},
          {"greedy,logprobs:0", greedy_logprob},
          {"temperature", plain},
          {"temperature,logprobs:5", logprobs},
          {"temperature,mask", plain, false, true},
          {"temperature,normal:1", plain, false, false, 1},
          {"top_k:40", top_k},
          {"top_k:5000", many},
          {"top_p:0.95", top_p},
          {"top_p:0.95,normal:1", top_p, false, false, 1},
          {"top_p:0.95,normal:2.5", top_p, false, false, 2.5F},
          {"min_p:0.05", min_p},
          {"min_p:0.05,normal:1", min_p, false, false, 1},
          {"typical:0.95", typical},
          {"top_k:40,top_p:0.95,penalties", usual, true},
          {"top_k:40,top_p:0.95,penalties,logprobs:5", all, true}};
}

std::vector<float> make_logits(int64_t vocab, float deviation) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, deviation > 0 ? deviation : 2.5F);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& logit : logits) logit = normal(random);
  if (deviation > 0) return logits;
  for (int i = 0; i < 300; ++i) {
    logits[random() % logits.size()] = 18 - 2 * std::log(1.0F + static_cast<float>(i));
  }
  return logits;
}

// Orders of one kind for every row.
DrawOrders make_orders(const Kind& kind, int64_t vocab, int rows) {
  std::mt19937 random(8);
  DrawOrders orders;
  for (int want = 0; want < rows; ++want) {
    DrawOrder& order = orders.draws.emplace_back(kind.order);
    order.want = want;
    if (kind.penalised) {
      order.counts.begin = static_cast<int32_t>(orders.counts.size());
      for (int i = 0; i < kCounts; ++i) {
        const auto token = static_cast<TokenId>(random() % static_cast<uint64_t>(vocab));
        orders.counts.push_back({token, 1, 1});
      }
      order.counts.end = static_cast<int32_t>(orders.counts.size());
    }
    if (!kind.masked) continue;
    order.mask.begin = static_cast<int32_t>(orders.mask.size());
    for (int64_t word = 0; word < (vocab + 31) / 32; ++word) {
      orders.mask.push_back(static_cast<uint32_t>(random()));
    }
    order.mask.end = static_cast<int32_t>(orders.mask.size());
  }
  return orders;
}

void run_sampler(benchmark::State& state, const Kind& kind, int64_t vocab, int rows, int lanes) {
  const std::vector<float> row = make_logits(vocab, kind.deviation);
  std::vector<float> logits;
  for (int i = 0; i < rows; ++i) logits.insert(logits.end(), row.begin(), row.end());
  const WantedLogits wanted = {0, {logits.data(), rows, vocab, vocab}};
  const DrawOrders orders = make_orders(kind, vocab, rows);
  Sampler sampler(vocab, lanes);
  LanePool pool(lanes);
  StepOutput output;
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  int32_t position = 0;
  for (auto _ : state) {
    std::ranges::fill(positions, position++);
    sampler.prepare(orders, output);
    pool.run([&](Lane& lane) { sampler.sample(lane, wanted, positions, orders, output); });
    benchmark::DoNotOptimize(output.drawn.data());
  }
}

void add_benchmarks() {
  for (const int64_t vocab : {49152, 151936}) {
    for (const Kind& kind : kinds()) {
      for (const auto& [rows, lanes] : {std::pair(1, 1), {1, 2}, {8, 1}, {8, 2}}) {
        const std::string name =
            fmt::format("draw/{}/vocab:{}/rows:{}/lanes:{}", kind.name, vocab, rows, lanes);
        auto* bench = benchmark::RegisterBenchmark(
            name.c_str(), [=, r = rows, l = lanes](benchmark::State& state) {
              run_sampler(state, kind, vocab, r, l);
            });
        bench->Unit(benchmark::kMicrosecond);
        if (lanes > 1) bench->UseRealTime();  // one lane by its CPU's time, as kernels_bench does
      }
    }
  }
}

}  // namespace
}  // namespace millrace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  millrace::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
