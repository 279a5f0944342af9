#include <vector>

#include <benchmark/benchmark.h>

#include "core/observer.h"
#include "server/observe/metrics.h"

namespace millrace {
namespace {

class StillGenerator final : public Generator {
 public:
  absl::StatusOr<std::vector<RequestId>> submit_all(std::vector<Submission>) override {
    return absl::UnavailableError("still");
  }
  void cancel(RequestId) override {}
  const ModelCard& card() const override { return card_; }
  GeneratorStats stats() const override { return {}; }
  bool healthy() const override { return true; }

 private:
  ModelCard card_ = {.id = "still", .context_max = 8192};
};

// What the engine's thread spends in a step in which every sequence got a token.
void BM_Step(benchmark::State& state) {
  const StillGenerator generator;
  Metrics metrics({});
  metrics.set_model(generator, "still");
  const std::vector<TokenGap> gaps(static_cast<size_t>(state.range(0)),
                                   {absl::Milliseconds(40), 1});
  for (auto _ : state) {
    metrics.stepped({.rows = static_cast<int32_t>(state.range(0)), .gaps = gaps});
  }
}
BENCHMARK(BM_Step)->Arg(1)->Arg(8)->Arg(64);

void BM_Scrape(benchmark::State& state) {
  const StillGenerator generator;
  Metrics metrics({});
  metrics.set_model(generator, "still");
  for (auto _ : state) benchmark::DoNotOptimize(metrics.text());
}
BENCHMARK(BM_Scrape);

void BM_Answered(benchmark::State& state) {
  Metrics metrics({});
  RequestRecord record;
  record.method = "POST";
  record.status = 400;
  for (auto _ : state) metrics.answered(record);
}
BENCHMARK(BM_Answered);

}  // namespace
}  // namespace millrace
