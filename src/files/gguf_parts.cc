#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "files/file_kind.h"
#include "files/gguf_format.h"
#include "files/gguf_reader.h"

namespace millrace {
namespace {

// Which part of how many a file says that it is.
struct PartNumber {
  int64_t number = 0;  // from 0
  int64_t count = 1;
  int64_t tensors = -1;  // of all parts; -1: it does not say

  bool is_whole() const { return count <= 1; }
};

absl::StatusOr<PartNumber> part_number(const Metadata& metadata) {
  PartNumber part;
  ASSIGN_OR_RETURN(part.count, metadata.integer_or("split.count", 0, UINT16_MAX, 1));
  if (part.is_whole()) return part;
  ASSIGN_OR_RETURN(part.number, metadata.integer("split.no", 0, part.count - 1));
  ASSIGN_OR_RETURN(part.tensors, metadata.integer_or("split.tensors.count", 0,
                                                     int64_t{gguf::kTensorsMax}, part.tensors));
  return part;
}

std::string name_of(std::string_view prefix, const PartNumber& part) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, part.number + 1, part.count);
}

// What the names of all parts begin with.
absl::StatusOr<std::string_view> prefix_of(const std::string& path, const PartNumber& part) {
  const std::string ending = name_of("", part);
  const std::string_view text = path;
  if (text.ends_with(ending)) return text.substr(0, text.size() - ending.size());
  return invalid_argument(
      "the file is part {} of {} of a model, but is not named so (NAME{}), and the other parts are "
      "found by their names",
      part.number + 1, part.count, ending);
}

absl::StatusOr<CheckpointContents> read_contents(FileBytes file) {
  if (file.size() == 0) return invalid_argument("the file is empty");
  std::vector<std::byte> start(std::min<uint64_t>(file.size(), kFileKindBytes));
  RETURN_IF_ERROR(file.read(0, start));
  RETURN_IF_ERROR(check_is_gguf(start));
  CheckpointContents contents;
  contents.files.push_back({std::move(file), {}});
  RETURN_IF_ERROR(GgufReader(contents).read());
  return contents;
}

absl::StatusOr<CheckpointContents> read_part(const std::string& path, const PartNumber& expected) {
  ASSIGN_OR_RETURN(FileBytes file, FileBytes::open(path));
  ASSIGN_OR_RETURN(CheckpointContents contents, read_contents(std::move(file)));
  ASSIGN_OR_RETURN(const PartNumber part, part_number(contents.metadata));
  if (part.number != expected.number || part.count != expected.count) {
    return invalid_argument("the file says that it is part {} of {}, but is named part {} of {}",
                            part.number + 1, part.count, expected.number + 1, expected.count);
  }
  if (part.tensors != expected.tensors) {
    return invalid_argument(
        "the file is part of a model of {} tensors ('split.tensors.count'), "
        "but another part says {}",
        part.tensors, expected.tensors);
  }
  return contents;
}

// What parts say about their model, the first one says for all of them.
absl::Status check_agrees(const Metadata& first, const Metadata& other) {
  for (const std::string_view key : {"general.architecture", "general.name", "general.uuid"}) {
    if (!first.has(key) || !other.has(key)) continue;
    ASSIGN_OR_RETURN(const std::string_view expected, first.string(key));
    ASSIGN_OR_RETURN(const std::string_view value, other.string(key));
    if (value == expected) continue;
    return invalid_argument("it is of another model: key '{}' is '{}', but '{}' in the first part",
                            key, escape_for_log(value.substr(0, 80)),
                            escape_for_log(expected.substr(0, 80)));
  }
  return absl::OkStatus();
}

absl::Status append(CheckpointContents part, CheckpointContents& whole) {
  RETURN_IF_ERROR(check_agrees(whole.metadata, part.metadata));
  const auto file = static_cast<int32_t>(whole.files.size());
  for (NamedTensor& tensor : part.tensors) {
    tensor.file = file;
    if (!whole.index.emplace(tensor.name, whole.tensors.size()).second) {
      return invalid_argument("tensor '{}' is in an earlier part too", escape_for_log(tensor.name));
    }
    whole.tensors.push_back(std::move(tensor));
  }
  for (UnknownTensor& tensor : part.unknown) {
    tensor.file = file;
    whole.unknown.push_back(std::move(tensor));
  }
  whole.files.push_back(std::move(part.files.front()));
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> join_parts(std::string_view prefix, PartNumber part) {
  std::optional<CheckpointContents> whole;
  for (part.number = 0; part.number < part.count; ++part.number) {
    const std::string path = name_of(prefix, part);
    absl::StatusOr<CheckpointContents> contents = read_part(path, part);
    absl::Status status = contents.status();
    if (status.ok() && whole) {
      status = append(*std::move(contents), *whole);
    } else if (status.ok()) {
      whole = *std::move(contents);
    }
    if (!status.ok()) {
      return make_error(status.code(), "part {} of {}, '{}': {}", part.number + 1, part.count, path,
                        message_of(status));
    }
  }
  const int64_t tensors = std::ssize(whole->tensors) + std::ssize(whole->unknown);
  if (part.tensors >= 0 && part.tensors != tensors) {
    return invalid_argument("the {} parts hold {} tensors, but say {} ('split.tensors.count')",
                            part.count, tensors, part.tensors);
  }
  whole->format += fmt::format(" in {} files", part.count);
  return Checkpoint(*std::move(whole));
}

}  // namespace

absl::StatusOr<Checkpoint> open_gguf(const std::string& path, FileBytes file) {
  ASSIGN_OR_RETURN(CheckpointContents contents, read_contents(std::move(file)));
  ASSIGN_OR_RETURN(const PartNumber part, part_number(contents.metadata));
  if (part.is_whole() || path.empty()) return Checkpoint(std::move(contents));
  ASSIGN_OR_RETURN(const std::string_view prefix, prefix_of(path, part));
  return join_parts(prefix, part);
}

}  // namespace millrace
