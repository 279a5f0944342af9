#include "files/hub/hub_weights.h"

#include <filesystem>
#include <set>
#include <utility>

#include "base/json/json_node.h"
#include "base/log.h"

namespace millrace {
namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr uint64_t kIndexBytesMax = 128 << 20;
constexpr size_t kFilesMax = 1024;

std::string join(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

absl::Status about(std::string_view file, const absl::Status& status) {
  return make_error(status.code(), "{}: {}", escape_for_log(file.substr(0, 120)),
                    message_of(status));
}

absl::Status add_file(const std::string& folder, std::string_view name, HubWeights& weights) {
  ASSIGN_OR_RETURN(FileBytes bytes, FileBytes::open(join(folder, name)));
  CheckpointFile file = {std::move(bytes), {}};
  absl::StatusOr<std::vector<StoredTensor>> tensors = read_safetensors(file);
  if (!tensors.ok()) return about(name, tensors.status());
  for (StoredTensor& tensor : *tensors) {
    tensor.file = static_cast<int32_t>(weights.files.size());
    weights.tensors.push_back(std::move(tensor));
  }
  weights.files.push_back(std::move(file));
  return absl::OkStatus();
}

// File by tensor, as the index has it.
absl::StatusOr<StringMap<std::string>> read_index(std::string_view text) {
  ASSIGN_OR_RETURN(const JsonNode root, JsonNode::parse(text, "it"));
  ASSIGN_OR_RETURN(const JsonNode map, root.at("weight_map"));
  StringMap<std::string> files;
  RETURN_IF_ERROR(
      map.for_each_member([&](std::string_view tensor, const JsonNode& node) -> absl::Status {
        ASSIGN_OR_RETURN(const std::string_view file, node.string());
        if (file.find_first_of(std::string_view("/\\\0", 3)) != std::string_view::npos ||
            !file.ends_with(".safetensors")) {
          return node.error("is not the name of a .safetensors file of the folder");
        }
        files.emplace(tensor, file);
        return absl::OkStatus();
      }));
  return files;
}

absl::Status check_index(const StringMap<std::string>& index, const std::vector<std::string>& names,
                         const HubWeights& weights) {
  for (const StoredTensor& tensor : weights.tensors) {
    const std::string& file = names[static_cast<size_t>(tensor.file)];
    const auto said = index.find(tensor.name);
    if (said != index.end() && said->second == file) continue;
    return invalid_argument("tensor '{}' is in {}, but the index says {}",
                            escape_for_log(tensor.name.substr(0, 120)), escape_for_log(file),
                            said == index.end() ? "nothing of it" : escape_for_log(said->second));
  }
  if (index.size() == weights.tensors.size()) return absl::OkStatus();
  StringMap<bool> there;
  for (const StoredTensor& tensor : weights.tensors) there.emplace(tensor.name, true);
  for (const auto& [tensor, file] : index) {
    if (there.contains(tensor)) continue;
    return invalid_argument("tensor '{}' is not in {}, where the index says that it is",
                            escape_for_log(tensor.substr(0, 120)), escape_for_log(file));
  }
  return invalid_argument("a tensor is in two files");
}

absl::StatusOr<HubWeights> open_indexed(const std::string& folder) {
  HubWeights weights;
  std::string_view text;
  ASSIGN_OR_RETURN(CheckpointFile index_file,
                   open_whole(join(folder, kIndex), kIndexBytesMax, text));
  absl::StatusOr<StringMap<std::string>> index = read_index(text);
  if (!index.ok()) return about(kIndex, index.status());
  std::set<std::string> sorted;
  for (const auto& [tensor, file] : *index) sorted.insert(file);
  if (sorted.size() > kFilesMax) {
    return invalid_argument("{}: {} files, at most {} expected", kIndex, sorted.size(), kFilesMax);
  }
  const std::vector<std::string> names(sorted.begin(), sorted.end());
  for (const std::string& name : names) RETURN_IF_ERROR(add_file(folder, name, weights));
  RETURN_IF_ERROR(check_index(*index, names, weights));
  weights.files.push_back(std::move(index_file));
  return weights;
}

absl::Status no_weights(const std::string& folder) {
  for (const std::string_view other :
       {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"}) {
    if (!std::filesystem::exists(join(folder, other))) continue;
    return unimplemented(
        "the folder has its weights in {} alone, which is a Python pickle: save it with "
        "safe_serialization, as {}",
        other, kSingle);
  }
  return not_found("the folder has no {} and no {}", kSingle, kIndex);
}

}  // namespace

absl::StatusOr<CheckpointFile> open_whole(const std::string& path, uint64_t bytes_max,
                                          std::string_view& text) {
  ASSIGN_OR_RETURN(FileBytes bytes, FileBytes::open(path));
  if (bytes.size() > bytes_max) {
    return invalid_argument("'{}' has more than {} bytes", path, bytes_max);
  }
  CheckpointFile file = {std::move(bytes), {}};
  ASSIGN_OR_RETURN(const auto whole, file.head.take(file.bytes, file.bytes.size()));
  text = {reinterpret_cast<const char*>(whole.data()), whole.size()};
  return file;
}

absl::StatusOr<HubWeights> open_hub_weights(const std::string& folder) {
  if (std::filesystem::exists(join(folder, kSingle))) {
    HubWeights weights;
    RETURN_IF_ERROR(add_file(folder, kSingle, weights));
    return weights;
  }
  if (std::filesystem::exists(join(folder, kIndex))) return open_indexed(folder);
  return no_weights(folder);
}

}  // namespace millrace
