#include "apps/commands/bench/make.h"

#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/commands/bench/published_shapes.h"
#include "apps/terminal/amounts.h"
#include "apps/terminal/output.h"
#include "apps/terminal/progress.h"
#include "tensor/dtype.h"

namespace millrace {
namespace {

absl::StatusOr<DType> format_named(std::string_view name) {
  std::string names;
  for (const DTypeInfo& info : kDTypes) {
    if (info.name == name) return info.type;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", info.name);
  }
  return invalid_argument("unknown format '{}' (known: {})", name, names);
}

absl::Status check_widths(const RandomModelShape& shape) {
  for (const int64_t width : {shape.width, shape.hidden, shape.heads * shape.head_dim}) {
    if (width % info_of(shape.format).block_elements == 0) continue;
    return invalid_argument("rows of {} elements are no whole blocks of {}", width,
                            info_of(shape.format).name);
  }
  return absl::OkStatus();
}

}  // namespace

void bind(CLI::App& command, MakeOptions& options) {
  command.add_option("out", options.out, "the file to write")->required()->type_name("OUT.gguf");
  command.add_option("--shape", options.shape, "whose shape it has: " + published_shape_names())
      ->required()
      ->type_name("NAME");
  command.add_option("--format", options.format, "of its matrices: Q4_0, Q8_0, Q4_K, BF16, ...")
      ->type_name("FORMAT");
}

absl::Status run_make(const MakeOptions& options, std::FILE* out) {
  std::optional<RandomModelShape> shape = published_shape(options.shape);
  if (!shape) {
    return invalid_argument("unknown shape '{}' (known: {})", options.shape,
                            published_shape_names());
  }
  ASSIGN_OR_RETURN(shape->format, format_named(options.format));
  RETURN_IF_ERROR(check_widths(*shape));
  Progress progress("writing " + std::filesystem::path(options.out).filename().string());
  RETURN_IF_ERROR(
      write_random_model(options.out, *shape, [&](double part) { progress.update(part); }));
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(options.out, error));
  return write_output(fmt::format("{}: {} in {}, {}\n", options.out, options.shape, options.format,
                                  bytes_text(bytes)),
                      out);
}

}  // namespace millrace
