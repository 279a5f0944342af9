#include "apps/commands/convert.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include <CLI/CLI.hpp>
#include <absl/strings/ascii.h>
#include <spdlog/spdlog.h>

#include "apps/conversion/gguf_vocabulary.h"
#include "apps/conversion/gguf_weights.h"
#include "apps/terminal/progress.h"
#include "base/system/cpus.h"
#include "base/system/lanes.h"
#include "files/checkpoint.h"
#include "files/gguf_types.h"
#include "files/gguf_writer.h"

namespace millrace {
namespace {

std::string lower(std::string_view name) {
  return absl::AsciiStrToLower({name.data(), name.size()});
}

std::vector<std::string> type_names() {
  std::vector<std::string> names = {"auto"};
  for (const DTypeInfo& info : kDTypes) names.push_back(lower(info.name));
  return names;
}

std::optional<DType> chosen_type(const std::string& name) {
  for (const DTypeInfo& info : kDTypes) {
    if (lower(info.name) == name) return info.type;
  }
  return std::nullopt;
}

// Which part of a model in several files a file was, the whole one does not say.
void copy_keys(const Metadata& from, Metadata& to) {
  for (const auto& [key, value] : from.entries()) {
    if (key.starts_with("split.")) continue;
    const absl::Status added = to.add(key, value);
    CHECK(added.ok(), "{}", message_of(added));
  }
}

absl::Status check_can_be_written(const Checkpoint& checkpoint) {
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    return unimplemented("tensor '{}' has element type {}, which is not supported", tensor.name,
                         gguf_type_name(tensor.gguf_type));
  }
  if (checkpoint.find("token_embd.weight") != nullptr) return absl::OkStatus();
  return not_found("tensor 'token_embd.weight' is missing: this is no model");
}

}  // namespace

void bind(CLI::App& command, ConvertOptions& options) {
  command
      .add_option("model", options.model,
                  "the model: a Hugging Face folder, or a GGUF file (of several, any part)")
      ->required()
      ->type_name("MODEL");
  command.add_option("out", options.out, "the GGUF file to write")->required()->type_name("FILE");
  command
      .add_option(
          "--type", options.type,
          "of the matrices; auto: each keeps its own. Vectors, norms and routers are f32; a "
          "matrix whose rows are no whole blocks of the type keeps its own")
      ->check(CLI::IsMember(type_names()))
      ->type_name("TYPE");
  command.add_option("--threads,-t", options.threads, "0: the CPUs this process may use")
      ->check(CLI::Range(0, 1024))
      ->type_name("N");
}

absl::Status run_convert(const ConvertOptions& options) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.model));
  RETURN_IF_ERROR(check_can_be_written(checkpoint));
  Metadata metadata;
  copy_keys(checkpoint.metadata(), metadata);
  const WeightsToWrite weights = plan_weights_to_write(checkpoint, chosen_type(options.type));
  metadata.set_integer("general.file_type", MetaType::kU32, gguf_file_type(weights.plan));
  metadata.set_integer("general.quantization_version", MetaType::kU32, 2);
  if (std::filesystem::is_directory(options.model)) {
    const int64_t rows = checkpoint.find("token_embd.weight")->layout.rows();
    RETURN_IF_ERROR(add_vocabulary(options.model, static_cast<int32_t>(rows), metadata));
  }
  if (weights.kept > 0) {
    spdlog::warn("{} matrices keep their type: their rows are no whole blocks of {}", weights.kept,
                 options.type);
  }
  LanePool lanes(options.threads > 0 ? options.threads : usable_cpus());
  Progress progress("converting " + std::filesystem::path(options.out).filename().string());
  return write_gguf(options.out, [&](GgufWriter& writer) -> absl::Status {
    RETURN_IF_ERROR(writer.begin(metadata, weights.plan));
    return write_weights(checkpoint, weights, writer, lanes,
                         [&](double part) { progress.update(part); });
  });
}

}  // namespace millrace
