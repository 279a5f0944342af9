#include "apps/commands/bench.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/commands/busy_cpus.h"
#include "apps/input/loaded.h"
#include "apps/terminal/output.h"
#include "apps/terminal/progress.h"
#include "base/clock.h"
#include "base/random.h"
#include "exec/fixed_sequences.h"

namespace millrace {
namespace {

// Prompt tokens computed in one step, as many as llama-bench's default micro-batch.
constexpr int32_t kBenchRows = 512;

// One row of the table.
struct BenchResult {
  std::string test;
  std::vector<double> tokens_per_s;  // [repeat]

  double mean() const {
    double sum = 0;
    for (const double speed : tokens_per_s) sum += speed;
    return sum / static_cast<double>(tokens_per_s.size());
  }
  double deviation() const {
    if (tokens_per_s.size() < 2) return 0;
    double squares = 0;
    for (const double speed : tokens_per_s) squares += (speed - mean()) * (speed - mean());
    return std::sqrt(squares / static_cast<double>(tokens_per_s.size() - 1));
  }
};

// Drives an executor as an engine would, greedily, without one.
class BenchDriver {
 public:
  BenchDriver(LocalExecutor& executor, int32_t vocab_size, int32_t tokens_max)
      : executor_(executor), vocab_size_(vocab_size), sequences_(executor.capacity(), tokens_max) {}

  // Computes a prompt of random tokens from an empty cache.
  absl::Status prompt(int32_t tokens) {
    std::vector<TokenId> chunk;
    for (int32_t at = 0; at < tokens; at += kBenchRows) {
      const int32_t rows = std::min(kBenchRows, tokens - at);
      chunk.clear();
      for (int32_t i = 0; i < rows; ++i) chunk.push_back(random_token(at + i));
      sequences_.clear();
      sequences_.add(0, at, chunk, at + rows == tokens ? SliceWants::kLast : SliceWants::kNone);
      RETURN_IF_ERROR(step());
    }
    return absl::OkStatus();
  }

  // Generates `tokens` tokens for each of `batch` sequences, from an empty cache.
  absl::Status generate(int32_t tokens, int32_t batch) {
    std::vector<TokenId> next;
    for (int32_t i = 0; i < batch; ++i) next.push_back(random_token(i));
    for (int32_t at = 0; at < tokens; ++at) {
      sequences_.clear();
      for (int32_t i = 0; i < batch; ++i) {
        sequences_.add(i, at, {&next[static_cast<size_t>(i)], 1}, SliceWants::kLast);
      }
      RETURN_IF_ERROR(step());
      for (size_t i = 0; i < next.size(); ++i) next[i] = output_.drawn[i].token;
    }
    return absl::OkStatus();
  }

 private:
  TokenId random_token(int32_t i) const {
    return static_cast<TokenId>(sampling_uniform(0, 0, i) * vocab_size_);
  }

  absl::Status step() {
    RETURN_IF_ERROR(executor_.start(sequences_.batch()));
    orders_.clear();
    for (int32_t i = 0; i < std::ssize(sequences_.batch().wants); ++i) {
      DrawOrder greedy;
      greedy.want = i;
      greedy.temperature = 0;
      orders_.draws.push_back(greedy);
    }
    return executor_.finish(orders_, output_);
  }

  LocalExecutor& executor_;
  int32_t vocab_size_;
  FixedSequences sequences_;
  DrawOrders orders_;
  StepOutput output_;
};

// Runs `work`, which computes `tokens` tokens, and adds its speed.
template <typename Work>
absl::Status add_run(int64_t tokens, Work work, BenchResult& result) {
  const RealClock clock;
  const Instant start = clock.now();
  RETURN_IF_ERROR(work());
  result.tokens_per_s.push_back(static_cast<double>(tokens) /
                                absl::ToDoubleSeconds(clock.now() - start));
  return absl::OkStatus();
}

// Once to warm up and then `repeat` times.
template <typename Work>
absl::StatusOr<BenchResult> measure(std::string test, int64_t tokens, int64_t repeat, Work work) {
  BenchResult result = {std::move(test), {}};
  RETURN_IF_ERROR(work());
  for (int64_t i = 0; i < repeat; ++i) RETURN_IF_ERROR(add_run(tokens, work, result));
  return result;
}

// Generation on quiet and on busy CPUs in turns: two results.
absl::Status measure_contended(BenchDriver& driver, int32_t tokens, int64_t repeat,
                               const BusyCpus& busy, std::vector<BenchResult>& results) {
  BenchResult quiet = {fmt::format("tg{}", tokens), {}};
  BenchResult contended = {fmt::format("tg{} busy", tokens), {}};
  const auto work = [&] { return driver.generate(tokens, 1); };
  RETURN_IF_ERROR(work());
  for (int64_t i = 0; i < repeat; ++i) {
    RETURN_IF_ERROR(add_run(tokens, work, quiet));
    busy.resume();
    RETURN_IF_ERROR(add_run(tokens, work, contended));
    busy.rest();
  }
  results.push_back(std::move(quiet));
  results.push_back(std::move(contended));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BenchResult>> measure_all(const BenchOptions& options,
                                                     const Loaded& loaded, const BusyCpus* busy) {
  const auto pp = static_cast<int32_t>(options.pp);
  const auto tg = static_cast<int32_t>(options.tg);
  int32_t sequences = 1;
  for (const int32_t batch : options.batch) sequences = std::max(sequences, batch);
  const int32_t tokens_max = std::max(pp, tg);
  const int32_t rows_max = std::max(std::min(pp, kBenchRows), sequences);
  ASSIGN_OR_RETURN(const auto executor,
                   make_executor(loaded, options.compute, sequences, tokens_max, rows_max));
  BenchDriver driver(*executor, loaded.model->spec().vocab_size, tokens_max);
  std::vector<BenchResult> results;
  Progress progress("measuring");
  if (pp > 0) {
    ASSIGN_OR_RETURN(results.emplace_back(), measure(fmt::format("pp{}", pp), pp, options.repeat,
                                                     [&] { return driver.prompt(pp); }));
  }
  if (tg == 0) return results;
  if (busy != nullptr) {
    RETURN_IF_ERROR(measure_contended(driver, tg, options.repeat, *busy, results));
  } else {
    ASSIGN_OR_RETURN(results.emplace_back(), measure(fmt::format("tg{}", tg), tg, options.repeat,
                                                     [&] { return driver.generate(tg, 1); }));
  }
  for (const int32_t batch : options.batch) {
    progress.update(static_cast<double>(results.size()) /
                    static_cast<double>(options.batch.size() + 2));
    ASSIGN_OR_RETURN(results.emplace_back(),
                     measure(fmt::format("tg{}@{}", tg, batch), int64_t{tg} * batch, options.repeat,
                             [&] { return driver.generate(tg, batch); }));
  }
  return results;
}

struct FileSummary {
  int64_t bytes = 0;
  int64_t parameters = 0;
  std::string format;  // the one that most bytes are in
};

FileSummary summarise(const Checkpoint& checkpoint) {
  FileSummary summary;
  std::map<DType, int64_t> bytes_of;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    summary.bytes += tensor.layout.bytes();
    summary.parameters += tensor.layout.elements();
    bytes_of[tensor.layout.dtype] += tensor.layout.bytes();
  }
  const auto most = std::ranges::max_element(bytes_of, {}, [](const auto& e) { return e.second; });
  if (most != bytes_of.end()) summary.format = info_of(most->first).name;
  return summary;
}

std::string parameters_text(int64_t parameters) {
  const auto count = static_cast<double>(parameters);
  return count < 1e9 ? fmt::format("{:.2f} M", count / 1e6) : fmt::format("{:.2f} B", count / 1e9);
}

// Of the speed on busy CPUs to that on quiet ones; none unless both were measured.
std::optional<double> contended_ratio(const std::vector<BenchResult>& results) {
  const auto contended = std::ranges::find_if(
      results, [](const BenchResult& result) { return result.test.ends_with(" busy"); });
  if (contended == results.end()) return std::nullopt;
  return contended->mean() / (contended - 1)->mean();
}

std::string table_of(const BenchOptions& options, const Loaded& loaded,
                     const Checkpoint& checkpoint, const std::vector<BenchResult>& results) {
  const FileSummary summary = summarise(checkpoint);
  const std::string parameters = parameters_text(summary.parameters);
  const std::string model =
      fmt::format("{} {} {}", loaded.model->spec().architecture, parameters, summary.format);
  constexpr auto* kRow = "| {:<30} | {:>10} | {:>10} | {:<13} | {:>7} | {:>12} | {:>20} |\n";
  std::string table =
      fmt::format(kRow, "model", "size", "params", "backend", "threads", "test", "t/s");
  table +=
      fmt::format("| {:-<30} | {:->9}: | {:->9}: | {:-<13} | {:->6}: | {:->11}: | {:->19}: |\n", "",
                  "", "", "", "", "", "");
  for (const BenchResult& result : results) {
    table += fmt::format(
        kRow, model, fmt::format("{:.2f} MiB", static_cast<double>(summary.bytes) / (1 << 20)),
        parameters, fmt::format("CPU {}", name_of(loaded.isa)), options.compute.lanes(),
        result.test, fmt::format("{:.2f} ± {:.2f}", result.mean(), result.deviation()));
  }
  if (const std::optional<double> ratio = contended_ratio(results)) {
    table += fmt::format("\nOn busy CPUs generation keeps {:.1f} % of its speed.\n", *ratio * 100);
  }
  return table;
}

std::string json_of(const std::vector<BenchResult>& results) {
  std::string json = "{\"results\": [";
  for (const BenchResult& result : results) {
    json += fmt::format("{}{{\"test\": \"{}\", \"tokens_per_s\": {:.3f}, \"stddev\": {:.3f}}}",
                        &result == results.data() ? "" : ", ", result.test, result.mean(),
                        result.deviation());
  }
  json += "]";
  if (const std::optional<double> ratio = contended_ratio(results)) {
    json += fmt::format(", \"contended_ratio\": {:.3f}", *ratio);
  }
  return json + "}\n";
}

}  // namespace

void bind(CLI::App& command, BenchOptions& options) {
  bind(command, options.compute);
  const std::string group = "Measuring";
  command.add_option("--pp", options.pp, "prompt tokens; 0: do not measure prompts")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N")
      ->group(group);
  command.add_option("--tg", options.tg, "generated tokens; 0: do not measure generation")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N")
      ->group(group);
  command
      .add_option("--batch", options.batch, "sequences that generate at once, all together counted")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->type_name("N,...")
      ->group(group);
  command.add_option("--repeat", options.repeat, "times that each test runs, after one to warm up")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->group(group);
  command
      .add_flag("--contended", options.contended,
                "generation of one sequence also with a foreign busy process on each CPU, in turns")
      ->group(group);
  command.add_flag("--json", options.json, "print one JSON object")->group(group);
}

absl::Status run_bench(const BenchOptions& options, std::FILE* out) {
  if (options.pp == 0 && options.tg == 0) {
    return invalid_argument("--pp 0 and --tg 0 leave nothing to measure");
  }
  if (options.contended && options.tg == 0) {
    return invalid_argument("--contended measures generation, of which --tg 0 leaves nothing");
  }
  std::unique_ptr<BusyCpus> busy;
  if (options.contended) {
    ASSIGN_OR_RETURN(busy, BusyCpus::start());
  }
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.compute.model));
  ASSIGN_OR_RETURN(const Loaded loaded, load_for(checkpoint, options.compute));
  ASSIGN_OR_RETURN(const std::vector<BenchResult> results,
                   measure_all(options, loaded, busy.get()));
  return write_output(
      options.json ? json_of(results) : table_of(options, loaded, checkpoint, results), out);
}

}  // namespace millrace
