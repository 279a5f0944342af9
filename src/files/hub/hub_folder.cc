#include "files/hub/hub_folder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/string_map.h"
#include "files/hub/hub_model.h"
#include "files/hub/hub_weights.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

constexpr uint64_t kConfigBytesMax = 4 << 20;

bool is_listed(std::string_view name, std::string_view names) {
  while (!names.empty()) {
    const std::string_view one = names.substr(0, names.find('|'));
    if (one == name) return true;
    names.remove_prefix(std::min(names.size(), one.size() + 1));
  }
  return false;
}

const HubArch* find_arch(std::string_view hub, HubConfig& config) {
  for (const HubArch& arch : all_hub_archs()) {
    if (!is_listed(hub, arch.hub)) continue;
    if (arch.applies == nullptr || arch.applies(config)) return &arch;
  }
  return nullptr;
}

absl::StatusOr<const HubArch*> read_arch(HubConfig& config) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, config.strings("architectures"));
  if (names.size() != 1) {
    return config.error("architectures", fmt::format("has {} names; one is needed", names.size()));
  }
  if (const HubArch* arch = find_arch(names[0], config)) return arch;
  return unimplemented("config.json: architecture '{}' is not supported",
                       escape_for_log(names[0].substr(0, 80)));
}

// The value of a tensor of one element.
absl::StatusOr<double> read_scalar(const HubWeights& weights,
                                   const StringViewMap<const StoredTensor*>& by_name,
                                   std::string_view name) {
  const auto place = by_name.find(name);
  if (place == by_name.end()) return not_found("tensor '{}' is missing", name);
  const StoredTensor* found = place->second;
  if (!found->dtype || static_cast<int64_t>(found->bytes) != row_bytes(*found->dtype, 1)) {
    return invalid_argument("tensor '{}' is not a single number", name);
  }
  std::array<std::byte, sizeof(float)> bytes = {};
  const FileBytes& file = weights.files[static_cast<size_t>(found->file)].bytes;
  RETURN_IF_ERROR(file.read(found->offset, std::span(bytes).first(found->bytes)));
  float value = 0;
  uint16_t bits = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  std::memcpy(&bits, bytes.data(), sizeof bits);
  if (*found->dtype == DType::kBF16) value = f32_of_bf16(bits);
  if (*found->dtype == DType::kF16) value = f32_of_f16(bits);
  return value;
}

// A tied head is the embedding, whatever the files hold besides.
constexpr TensorRule kTied[] = {
    {"lm_head.weight", "", Transform::kNone},
    {"embed_out.weight", "", Transform::kNone},
};

absl::Status add_tensors(std::span<const StoredTensor> stored, HubModel& model,
                         CheckpointContents& contents) {
  const std::span<const TensorRule> lists[] = {
      model.tied ? std::span<const TensorRule>(kTied) : std::span<const TensorRule>(),
      model.own_rules, model.arch.rules, shared_rules()};
  ASSIGN_OR_RETURN(std::vector<NamedTensor> tensors, apply_rules(stored, lists, model.shape));
  contents.tensors = std::move(model.computed);
  std::ranges::move(tensors, std::back_inserter(contents.tensors));
  for (size_t i = 0; i < contents.tensors.size(); ++i) {
    contents.index.emplace(contents.tensors[i].name, i);
  }
  if (model.tied || contents.index.contains("output.weight")) return absl::OkStatus();
  return not_found(
      "the folder has no tensor 'lm_head.weight', and config.json does not say that "
      "it is the embedding (tie_word_embeddings)");
}

std::string name_of(const std::string& folder) {
  const auto path = std::filesystem::path(folder).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

}  // namespace

absl::StatusOr<Checkpoint> open_hub_folder(const std::string& folder) {
  const auto path = std::filesystem::path(folder) / "config.json";
  if (!std::filesystem::exists(path)) {
    return not_found("'{}' is a folder without config.json, and so no model", folder);
  }
  std::string_view text;
  ASSIGN_OR_RETURN(CheckpointFile file, open_whole(path.string(), kConfigBytesMax, text));
  ASSIGN_OR_RETURN(HubConfig config, HubConfig::parse(text));
  ASSIGN_OR_RETURN(const HubArch* arch, read_arch(config));
  ASSIGN_OR_RETURN(HubWeights weights, open_hub_weights(folder));
  CheckpointContents contents;
  contents.metadata.set_string("general.architecture", std::string(arch->name));
  contents.metadata.set_string("general.type", "model");
  contents.metadata.set_string("general.name", name_of(folder));
  StringViewMap<const StoredTensor*> by_name;
  for (const StoredTensor& tensor : weights.tensors) by_name.emplace(tensor.name, &tensor);
  const auto scalar = [&](std::string_view name) { return read_scalar(weights, by_name, name); };
  HubModel model = {.arch = *arch,
                    .config = std::move(config),
                    .keys = HubKeys(contents.metadata, arch->name),
                    .shape = {},
                    .own_rules = {},
                    .computed = {},
                    .scalar = scalar};
  RETURN_IF_ERROR(read_hub_model(model));
  RETURN_IF_ERROR(add_tensors(weights.tensors, model, contents));
  contents.format = weights.files.size() == 1
                        ? "Hugging Face folder"
                        : fmt::format("Hugging Face folder of {} files", weights.files.size() - 1);
  contents.files = std::move(weights.files);
  contents.files.push_back(std::move(file));
  return Checkpoint(std::move(contents));
}

}  // namespace millrace
