#include "apps/commands/bench/bench.h"

#include <memory>

#include <CLI/CLI.hpp>

#include "apps/commands/bench/busy_cpus.h"
#include "apps/commands/bench/report.h"
#include "apps/terminal/output.h"

namespace millrace {

void bind(CLI::App& command, BenchOptions& options) {
  bind(command, options.compute);
  const std::string group = "Measuring";
  const auto count = [&](const char* name, auto& value, int least, int most, const char* help) {
    command.add_option(name, value, help)
        ->check(CLI::Range(least, most))
        ->type_name("N")
        ->group(group);
  };
  const auto list = [&](const char* name, auto& value, int least, int most, const char* help) {
    command.add_option(name, value, help)
        ->delimiter(',')
        ->check(CLI::Range(least, most))
        ->type_name("N,...")
        ->group(group);
  };
  constexpr int kTokensMax = 1 << 20;
  count("--pp", options.pp, 0, kTokensMax, "prompt tokens; 0: do not measure prompts");
  count("--tg", options.tg, 0, kTokensMax, "generated tokens; 0: do not measure generation");
  list(
      "--depth", options.depth, 0, kTokensMax,
      "tokens in the cache before a prompt, or before one sequence generates; a model that keeps a "
      "state alone is not run up to them, as its steps cost the same at any depth");
  list("--batch", options.batch, 1, 4096, "sequences that generate at once, all together counted");
  count("--repeat", options.repeat, 1, 1000,
        "rounds of all tests in turns, after one to warm up; their median counts");
  command
      .add_flag("--profile", options.profile,
                "also where the time of each test's steps goes, op by op")
      ->group(group);
  command
      .add_flag("--contended", options.contended,
                "generation of one sequence also with a foreign busy process on each CPU")
      ->group(group);
  command.add_flag("--json", options.json, "print one JSON object")->group(group);

  CLI::App* make = command.add_subcommand("make", "write a model of random weights to measure");
  bind(*make, options.make);
  make->preparse_callback([&options](size_t) { options.making = true; });
  // A positional that is required takes every word before a command can.
  command.get_option("--model")->required(false);
}

absl::Status run_bench(const BenchOptions& options, std::FILE* out) {
  if (options.making) return run_make(options.make, out);
  if (options.compute.model.empty()) {
    return invalid_argument(
        "bench: --model is required; `millrace help bench` says how it is used");
  }
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
  ASSIGN_OR_RETURN(const BenchMeasured measured, measure_all(options, loaded, busy.get()));
  return write_output(options.json ? bench_json(options, loaded, checkpoint, measured)
                                   : bench_table(options, loaded, checkpoint, measured),
                      out);
}

}  // namespace millrace
