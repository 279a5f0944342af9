#include "apps/commands/bench/profile_lines.h"

#include <fmt/format.h>

namespace millrace {
namespace {

std::string_view quantised_form(const OpSubject& subject) {
  const bool k = compact_forms(subject.format).q8_k;
  if (subject.in.includes(compact_forms(subject.format))) return k ? "q8_k" : "q8";
  if (subject.in.includes(exact_forms(subject.format))) return k ? "q16_k" : "q16";
  return "f32";
}

std::string format_of(const OpSubject& subject) {
  if (!subject.op.ends_with("linear") && !subject.op.ends_with("hidden")) {
    return subject.format == DType::kF32 ? "" : std::string(info_of(subject.format).name);
  }
  std::string_view form = "f32";
  if (is_quantised(subject.format)) form = quantised_form(subject);
  if (subject.in.bf16 && subject.format == DType::kBF16) form = "bf16";
  return fmt::format("{} x {}", info_of(subject.format).name, form);
}

std::string rate_text(double rate) { return rate > 0 ? fmt::format("{:.1f}", rate) : ""; }

}  // namespace

std::vector<ProfileLine> profile_lines(const BenchProfile& profile) {
  const auto steps = static_cast<double>(profile.steps);
  const double step_ms = absl::ToDoubleMilliseconds(profile.time) / steps;
  double left_ms = step_ms;
  std::vector<ProfileLine> lines;
  const auto add = [&](std::string op, int64_t calls, absl::Duration of_lanes) -> ProfileLine& {
    const double ms = absl::ToDoubleMilliseconds(of_lanes) / profile.lanes / steps;
    left_ms -= ms;
    lines.push_back({.op = std::move(op),
                     .shape = {},
                     .format = {},
                     .calls = calls,
                     .ms = ms,
                     .percent = ms / step_ms * 100});
    return lines.back();
  };
  for (const OpTotal& op : profile.recording.ops) {
    const int64_t calls = (op.calls + profile.steps - 1) / profile.steps;
    ProfileLine& line = add(std::string(op.subject.op), calls, op.time);
    line.shape =
        fmt::format("{} x {} -> {}", op.subject.rows, op.subject.width, op.subject.outputs);
    line.format = format_of(op.subject);
    const double seconds = absl::ToDoubleSeconds(op.time) / profile.lanes;
    if (seconds <= 0) continue;
    line.gigabytes_per_s = op.bytes / seconds * 1e-9;
    line.gigaoperations_per_s = op.operations / seconds * 1e-9;
  }
  add("barriers", profile.recording.barriers / profile.steps, profile.recording.barrier);
  add("waits for slower lanes", 0, profile.recording.waits);
  lines.push_back({.op = "sampling, starting and ending",
                   .shape = {},
                   .format = {},
                   .calls = 0,
                   .ms = left_ms,
                   .percent = left_ms / step_ms * 100});
  return lines;
}

std::string profile_table(const BenchProfile& profile) {
  constexpr auto* kRow = "| {:<29} | {:>22} | {:<11} | {:>5} | {:>9} | {:>5} | {:>6} | {:>6} |\n";
  std::string table = fmt::format(
      "\n{}: {} of {:.3f} ms\n\n", profile.test.name, profile.test.prompt ? "a prompt" : "a step",
      absl::ToDoubleMilliseconds(profile.time) / static_cast<double>(profile.steps));
  table += fmt::format(kRow, "op", "rows x width -> outputs", "format", "calls", "ms", "%", "GB/s",
                       "GOPS");
  table += fmt::format(
      "| {:-<29} | {:->22}: | {:-<11} | {:->4}: | {:->8}: | {:->4}: | {:->5}: | {:->5}: |\n", "",
      "", "", "", "", "", "", "");
  for (const ProfileLine& line : profile_lines(profile)) {
    table += fmt::format(kRow, line.op, line.shape, line.format,
                         line.calls > 0 ? fmt::to_string(line.calls) : "",
                         fmt::format("{:.3f}", line.ms), fmt::format("{:.1f}", line.percent),
                         rate_text(line.gigabytes_per_s), rate_text(line.gigaoperations_per_s));
  }
  return table;
}

}  // namespace millrace
