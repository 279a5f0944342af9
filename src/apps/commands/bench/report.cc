#include "apps/commands/bench/report.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/commands/bench/profile_lines.h"

namespace millrace {
namespace {

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

std::string roofline_text(const BenchMeasured& measured, int lanes) {
  const Roofline& roofline = measured.roofline;
  std::string text = fmt::format(
      "\nmemory {:.1f} GB/s; peaks: int8 {:.0f} GOPS, by 6 bits {:.0f}, by 8 bits {:.0f}, ",
      roofline.bandwidth * 1e-9, roofline.int8 * 1e-9, roofline.int8_halves * 1e-9,
      roofline.int8_signed * 1e-9);
  if (roofline.bf16 > 0) text += fmt::format("bfloat16 {:.0f} GFLOPS, ", roofline.bf16 * 1e-9);
  text += fmt::format("float32 {:.0f} GFLOPS on {} threads, medians\n", roofline.f32 * 1e-9, lanes);
  if (measured.foreign_cpus) {
    text += fmt::format("other processes used {:.2f} CPUs meanwhile\n", *measured.foreign_cpus);
  }
  return text;
}

std::string disk_text(const StreamedWeights& streamed, const BenchMeasured& measured) {
  const StreamPlan& plan = streamed.plan();
  std::string text = fmt::format(
      "weights: {:.0f} MB stay, {:.0f} MB are read in each step; disk {:.2f} GB/s ({}), of which",
      static_cast<double>(plan.resident_bytes()) * 1e-6,
      static_cast<double>(plan.pass_bytes()) * 1e-6, *measured.disk * 1e-9,
      streamed.is_direct() ? "past the page cache" : "through the page cache");
  for (const BenchResult& result : measured.results) {
    text += fmt::format("{} {} {:.0f} %", &result == measured.results.data() ? "" : ",",
                        result.test.name, result.disk_percent(*measured.disk));
  }
  return text + "\n";
}

nlohmann::ordered_json json_of(const BenchResult& result) {
  return {{"test", result.test.name},
          {"tokens_per_s", result.median()},
          {"least", result.least()},
          {"most", result.most()},
          {"all", result.tokens_per_s},
          {"roofline_percent", result.roofline_percent()},
          {"limit", result.memory_bound() ? "memory" : "products"},
          {"bytes_per_step", result.bytes}};
}

nlohmann::ordered_json json_of(const Roofline& roofline) {
  return {{"int8", roofline.int8},
          {"int8_halves", roofline.int8_halves},
          {"int8_signed", roofline.int8_signed},
          {"bf16", roofline.bf16},
          {"f32", roofline.f32},
          {"bytes_per_s", roofline.bandwidth}};
}

nlohmann::ordered_json json_of(const BenchProfile& profile) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const ProfileLine& line : profile_lines(profile)) {
    lines.push_back({{"op", line.op},
                     {"shape", line.shape},
                     {"format", line.format},
                     {"calls", line.calls},
                     {"ms", line.ms},
                     {"percent", line.percent},
                     {"gb_per_s", line.gigabytes_per_s},
                     {"gops", line.gigaoperations_per_s}});
  }
  return {{"test", profile.test.name}, {"lines", std::move(lines)}};
}

}  // namespace

std::string bench_table(const BenchOptions& options, const Loaded& loaded,
                        const Checkpoint& checkpoint, const BenchMeasured& measured) {
  const FileSummary summary = summarise(checkpoint);
  const std::string parameters = parameters_text(summary.parameters);
  const std::string model =
      fmt::format("{} {} {}", loaded.model->spec().architecture, parameters, summary.format);
  constexpr auto* kRow =
      "| {:<28} | {:>11} | {:>8} | {:<14} | {:>7} | {:>13} | {:>8} | {:>18} | {:>15} |\n";
  std::string table = fmt::format(kRow, "model", "size", "params", "backend", "threads", "test",
                                  "t/s", "least to most", "roofline");
  table += fmt::format(
      "| {:-<28} | {:->10}: | {:->7}: | {:-<14} | {:->6}: | {:->12}: | {:->7}: | {:->17}: | "
      "{:->14}: |\n",
      "", "", "", "", "", "", "", "", "");
  for (const BenchResult& result : measured.results) {
    table += fmt::format(
        kRow, model, fmt::format("{:.2f} MiB", static_cast<double>(summary.bytes) / (1 << 20)),
        parameters, fmt::format("CPU {}", name_of(loaded.isa)), options.compute.lanes(),
        result.test.name, fmt::format("{:.2f}", result.median()),
        fmt::format("{:.2f} to {:.2f}", result.least(), result.most()),
        fmt::format("{:.0f} % {}", result.roofline_percent(),
                    result.memory_bound() ? "memory" : "products"));
  }
  table += roofline_text(measured, options.compute.lanes());
  if (measured.disk) table += disk_text(*loaded.model->streamed(), measured);
  if (const std::optional<double> ratio = measured.contended_ratio()) {
    table += fmt::format("on busy CPUs generation keeps {:.0f} % of its speed\n", *ratio * 100);
  }
  for (const BenchProfile& profile : measured.profiles) table += profile_table(profile);
  return table;
}

std::string bench_json(const BenchOptions& options, const Loaded& loaded,
                       const Checkpoint& checkpoint, const BenchMeasured& measured) {
  const FileSummary summary = summarise(checkpoint);
  nlohmann::ordered_json json = {{"architecture", loaded.model->spec().architecture},
                                 {"bytes", summary.bytes},
                                 {"parameters", summary.parameters},
                                 {"format", summary.format},
                                 {"isa", name_of(loaded.isa)},
                                 {"threads", options.compute.lanes()},
                                 {"roofline", json_of(measured.roofline)}};
  if (measured.disk) {
    const StreamedWeights& streamed = *loaded.model->streamed();
    json["disk"] = {{"bytes_per_s", *measured.disk},
                    {"direct", streamed.is_direct()},
                    {"bytes_per_step", streamed.plan().pass_bytes()},
                    {"resident_bytes", streamed.plan().resident_bytes()}};
  }
  if (measured.foreign_cpus) json["foreign_cpus"] = *measured.foreign_cpus;
  if (const auto ratio = measured.contended_ratio()) json["contended_ratio"] = *ratio;
  json["results"] = nlohmann::ordered_json::array();
  for (const BenchResult& result : measured.results) {
    json["results"].push_back(json_of(result));
    if (measured.disk) json["results"].back()["disk_percent"] = result.disk_percent(*measured.disk);
  }
  for (const BenchProfile& profile : measured.profiles) {
    json["profiles"].push_back(json_of(profile));
  }
  return json.dump() + "\n";
}

}  // namespace millrace
