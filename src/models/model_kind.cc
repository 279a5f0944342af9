#include "models/model_kind.h"

#include <string>
#include <string_view>

#include "base/log.h"
#include "models/arch/arch.h"
#include "models/arch/foreign_archs.h"

namespace millrace {
namespace {

absl::Status check_type(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const std::string_view type, metadata.string_or("general.type", "model"));
  ASSIGN_OR_RETURN(const std::string_view arch, metadata.string_or("general.architecture", ""));
  if (type == "adapter" || metadata.has("adapter.type")) {
    return unimplemented(
        "the file is an adapter (LoRA), which changes a model and is none: adapters are not "
        "supported yet");
  }
  if (type == "imatrix" || metadata.has("imatrix.datasets")) {
    return unimplemented(
        "the file is an importance matrix, with which models are quantised, and no model");
  }
  if (type == "mmproj" || arch == "clip") {
    return unimplemented(
        "the file is the vision or audio projector of a model, and no model: images and sound are "
        "not supported yet");
  }
  if (type == "model" || type == "vocab") return absl::OkStatus();
  return unimplemented("the file is of the type '{}' ('general.type'), and no model",
                       escape_for_log(type.substr(0, 40)));
}

// How blocks of quantised formats lie.
absl::Status check_quantisation(const Metadata& metadata) {
  constexpr std::string_view kKey = "general.quantization_version";
  constexpr int64_t kVersion = 2;
  ASSIGN_OR_RETURN(const int64_t version, metadata.integer_or(kKey, 0, UINT32_MAX, kVersion));
  if (version == kVersion) return absl::OkStatus();
  return unimplemented("key '{}' is {}: only {} is supported", kKey, version, kVersion);
}

absl::Status check_architecture(std::string_view name) {
  if (find_arch(name) != nullptr) return absl::OkStatus();
  const std::string shown = escape_for_log(name.substr(0, 80));
  if (is_foreign_arch(name)) {
    return unimplemented("architecture '{}' is not supported yet; supported are: {}", shown,
                         arch_names());
  }
  return unimplemented(
      "architecture '{}' is not known: the file may be newer than this Millrace; supported are: {}",
      shown, arch_names());
}

}  // namespace

absl::Status check_is_model(const Checkpoint& checkpoint) {
  const Metadata& metadata = checkpoint.metadata();
  RETURN_IF_ERROR(check_type(metadata));
  RETURN_IF_ERROR(check_quantisation(metadata));
  if (checkpoint.tensors().empty() && checkpoint.unknown_tensors().empty()) {
    return unimplemented(
        "the file holds no weights: it is {}, and no model",
        metadata.has("tokenizer.ggml.tokens") ? "a vocabulary alone" : "metadata alone");
  }
  ASSIGN_OR_RETURN(const std::string_view name, metadata.string("general.architecture"));
  return check_architecture(name);
}

}  // namespace millrace
