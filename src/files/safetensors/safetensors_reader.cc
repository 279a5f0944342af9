#include "files/safetensors/safetensors_reader.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/checked.h"
#include "base/json/json_node.h"
#include "base/log.h"

namespace millrace {
namespace {

// The format (github.com/huggingface/safetensors): a little-endian 64-bit length, a JSON object of
// that many bytes, and the tensors' data. Its own library has the same limit on the length.
constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderBytesMax = 100'000'000;
constexpr int64_t kTensorsMax = 1 << 20;
constexpr int64_t kRankMax = 8;
constexpr int64_t kDimensionMax = int64_t{1} << 48;
constexpr std::string_view kMetadata = "__metadata__";

struct StoredType {
  std::string_view name;
  int64_t bits;
  std::optional<DType> dtype;
};

constexpr StoredType kTypes[] = {
    {"F32", 32, DType::kF32},         {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},       {"F64", 64, std::nullopt},
    {"I64", 64, std::nullopt},        {"U64", 64, std::nullopt},
    {"C64", 64, std::nullopt},        {"I32", 32, std::nullopt},
    {"U32", 32, std::nullopt},        {"I16", 16, std::nullopt},
    {"U16", 16, std::nullopt},        {"I8", 8, std::nullopt},
    {"U8", 8, std::nullopt},          {"BOOL", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},     {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},     {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},     {"F4", 4, std::nullopt},
};

absl::Status about(std::string_view name, std::string_view what) {
  constexpr size_t kShown = 120;
  return invalid_argument("tensor '{}': {}", escape_for_log(name.substr(0, kShown)), what);
}

absl::StatusOr<std::vector<int64_t>> read_integers(const JsonNode& node, int64_t count_max,
                                                   int64_t max) {
  if (node.size() > count_max) {
    return node.error(fmt::format("has {} numbers; at most {} expected", node.size(), count_max));
  }
  std::vector<int64_t> numbers;
  RETURN_IF_ERROR(node.for_each_element([&](int64_t, const JsonNode& element) -> absl::Status {
    ASSIGN_OR_RETURN(numbers.emplace_back(), element.integer(0, max));
    return absl::OkStatus();
  }));
  return numbers;
}

// As many bytes as the type and shape say; nothing where that overflows or ends within a byte.
std::optional<uint64_t> size_of(const StoredType& type, std::span<const int64_t> shape) {
  std::optional<int64_t> bits = type.bits;
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  for (const int64_t dimension : shape) bits = bits ? checked_multiply(*bits, dimension) : bits;
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return static_cast<uint64_t>(*bits / 8);
}

// data_bytes: of the part of the file behind its header, from which offsets count.
absl::StatusOr<StoredTensor> read_tensor(std::string_view name, const JsonNode& node,
                                         uint64_t data_bytes) {
  StoredTensor tensor;
  tensor.name = name;
  ASSIGN_OR_RETURN(tensor.type, node.string_at("dtype"));
  const auto* type = std::ranges::find(kTypes, std::string_view(tensor.type), &StoredType::name);
  if (type == std::end(kTypes)) {
    return unimplemented("tensor '{}' has element type '{}', which is not known",
                         escape_for_log(name.substr(0, 120)),
                         escape_for_log(tensor.type.substr(0, 40)));
  }
  tensor.dtype = type->dtype;
  ASSIGN_OR_RETURN(const JsonNode shape, node.at("shape"));
  ASSIGN_OR_RETURN(tensor.shape, read_integers(shape, kRankMax, kDimensionMax));
  ASSIGN_OR_RETURN(const JsonNode offsets, node.at("data_offsets"));
  ASSIGN_OR_RETURN(const auto ends, read_integers(offsets, 2, INT64_MAX));
  if (ends.size() != 2 || node.size() != 3) {
    return about(name, "has not just 'dtype', 'shape' and two 'data_offsets'");
  }
  const auto begin = static_cast<uint64_t>(ends[0]), end = static_cast<uint64_t>(ends[1]);
  if (begin > end || end > data_bytes) {
    return about(name, fmt::format("its bytes {} to {} do not lie within the {} of the file's data",
                                   begin, end, data_bytes));
  }
  const std::optional<uint64_t> size = size_of(*type, tensor.shape);
  if (!size || *size != end - begin) {
    return about(name, fmt::format("{} bytes, which a shape of [{}] in {} does not have",
                                   end - begin, fmt::join(tensor.shape, ", "), tensor.type));
  }
  tensor.offset = begin;
  tensor.bytes = end - begin;
  return tensor;
}

absl::Status check_metadata(const JsonNode& node) {
  return node.for_each_member(
      [](std::string_view, const JsonNode& value) { return value.string().status(); });
}

// Sorted by offset: each begins where the one before it ends, and the last one ends the file.
absl::Status check_fills(std::span<const StoredTensor> tensors, uint64_t data_bytes) {
  uint64_t end = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = tensors[i];
    if (tensor.offset < end) {
      return about(tensor.name, fmt::format("overlaps tensor '{}'",
                                            escape_for_log(tensors[i - 1].name.substr(0, 120))));
    }
    if (tensor.offset > end) {
      return about(tensor.name,
                   fmt::format("{} bytes before it are of no tensor", tensor.offset - end));
    }
    end += tensor.bytes;
  }
  if (end == data_bytes) return absl::OkStatus();
  return invalid_argument("the last {} bytes of the file are of no tensor", data_bytes - end);
}

absl::StatusOr<std::string_view> take_header(CheckpointFile& file) {
  const uint64_t size = file.bytes.size();
  if (size < kLengthBytes) return invalid_argument("the file ends at byte {}", size);
  ASSIGN_OR_RETURN(const auto bytes, file.head.take(file.bytes, kLengthBytes));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kHeaderBytesMax) {
    return invalid_argument("a header of {} bytes, at most {} expected", length, kHeaderBytesMax);
  }
  if (length > size - kLengthBytes) {
    return invalid_argument("a header of {} bytes, but {} are left in the file", length,
                            size - kLengthBytes);
  }
  ASSIGN_OR_RETURN(const auto text, file.head.take(file.bytes, length));
  return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
}

}  // namespace

absl::StatusOr<std::vector<StoredTensor>> read_safetensors(CheckpointFile& file) {
  ASSIGN_OR_RETURN(const std::string_view header, take_header(file));
  const uint64_t begin = file.head.position();
  const uint64_t data_bytes = file.bytes.size() - begin;
  ASSIGN_OR_RETURN(const JsonNode root, JsonNode::parse(header, "the header"));
  if (root.size() > kTensorsMax) {
    return invalid_argument("{} tensors, at most {} expected", root.size(), kTensorsMax);
  }
  std::vector<StoredTensor> tensors;
  tensors.reserve(static_cast<size_t>(root.size()));
  RETURN_IF_ERROR(
      root.for_each_member([&](std::string_view name, const JsonNode& node) -> absl::Status {
        if (name == kMetadata) return check_metadata(node);
        ASSIGN_OR_RETURN(tensors.emplace_back(), read_tensor(name, node, data_bytes));
        return absl::OkStatus();
      }));
  // Empty tensors before the one that begins at the same byte.
  std::ranges::stable_sort(tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  RETURN_IF_ERROR(check_fills(tensors, data_bytes));
  for (StoredTensor& tensor : tensors) tensor.offset += begin;
  return tensors;
}

}  // namespace millrace
