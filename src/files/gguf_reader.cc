#include "files/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "files/gguf_format.h"

namespace millrace {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A name from the file, fit for an error message.
std::string shown(std::string_view name) {
  constexpr size_t kShown = 80;
  return escape_for_log(name.substr(0, kShown)) + (name.size() > kShown ? "..." : "");
}

}  // namespace

GgufReader::GgufReader(CheckpointContents& into)
    : into_(into), file_(into.files.front()), size_(file_.bytes.size()) {}

absl::Status GgufReader::read() {
  RETURN_IF_ERROR(read_header());
  RETURN_IF_ERROR(read_metadata());
  RETURN_IF_ERROR(read_alignment());
  RETURN_IF_ERROR(read_tensors());
  RETURN_IF_ERROR(locate_tensors());
  return check_overlaps();
}

template <typename... Args>
absl::Status GgufReader::fail(uint64_t at, fmt::format_string<Args...> format,
                              Args&&... args) const {
  return invalid_argument("{} at byte {}: {}", subject_, at,
                          fmt::format(format, std::forward<Args>(args)...));
}

absl::Status GgufReader::read_header() {
  subject_ = "header";
  RETURN_IF_ERROR(take(gguf::kMagic.size()).status());
  ASSIGN_OR_RETURN(const uint32_t version, read_number<uint32_t>());
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= gguf::kVersionMax) {
    return unimplemented("GGUF version {} in big endian; only little endian is read", swapped);
  }
  if (version < gguf::kVersionMin || version > gguf::kVersionMax) {
    return unimplemented("GGUF version {}; only versions {} to {} are read", version,
                         gguf::kVersionMin, gguf::kVersionMax);
  }
  into_.format = fmt::format("GGUF v{}", version);
  ASSIGN_OR_RETURN(tensors_, read_count("tensors", gguf::kTensorBytesMin, gguf::kTensorsMax));
  ASSIGN_OR_RETURN(entries_, read_count("metadata keys", gguf::kEntryBytesMin, gguf::kEntriesMax));
  return absl::OkStatus();
}

absl::Status GgufReader::read_metadata() {
  for (uint64_t i = 0; i < entries_; ++i) {
    subject_ = fmt::format("metadata key {} of {}", i + 1, entries_);
    const uint64_t from = at();
    ASSIGN_OR_RETURN(const std::string_view key, read_string(gguf::kKeyBytesMax));
    subject_ = fmt::format("metadata key '{}'", shown(key));
    if (into_.metadata.has(key)) return fail(from, "appears twice");
    ASSIGN_OR_RETURN(MetaValue value, read_value());
    RETURN_IF_ERROR(into_.metadata.add(std::string(key), std::move(value)));
  }
  return absl::OkStatus();
}

absl::Status GgufReader::read_alignment() {
  ASSIGN_OR_RETURN(const int64_t alignment,
                   into_.metadata.integer_or(gguf::kAlignmentKey, 1, int64_t{gguf::kAlignmentMax},
                                             int64_t{gguf::kAlignmentDefault}));
  alignment_ = static_cast<uint64_t>(alignment);
  if (!std::has_single_bit(alignment_)) {
    return invalid_argument("metadata key '{}' is {}, expected a power of two", gguf::kAlignmentKey,
                            alignment_);
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> GgufReader::read_number() {
  if (left() < sizeof(T)) {
    return fail(at(), "{} bytes are needed, but the file ends at byte {}", sizeof(T), size_);
  }
  ASSIGN_OR_RETURN(const auto bytes, take(sizeof(T)));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

absl::StatusOr<std::span<const std::byte>> GgufReader::take(uint64_t size) {
  return file_.head.take(file_.bytes, size);
}

absl::StatusOr<uint64_t> GgufReader::read_count(std::string_view things, uint64_t bytes_each,
                                                uint64_t count_max) {
  const uint64_t from = at();
  ASSIGN_OR_RETURN(const uint64_t count, read_number<uint64_t>());
  if (count > left() / bytes_each) {
    return fail(from, "{} {} do not fit into the {} bytes that are left", count, things, left());
  }
  if (count > count_max) return fail(from, "{} {}, at most {} expected", count, things, count_max);
  return count;
}

absl::StatusOr<std::string_view> GgufReader::read_string(uint64_t bytes_max) {
  const uint64_t from = at();
  ASSIGN_OR_RETURN(const uint64_t size, read_number<uint64_t>());
  if (size > left()) {
    return fail(from, "a string of {} bytes, but {} are left in the file", size, left());
  }
  if (size > bytes_max)
    return fail(from, "a string of {} bytes, at most {} expected", size, bytes_max);
  ASSIGN_OR_RETURN(const auto bytes, take(size));
  return text_of(bytes);
}

absl::StatusOr<MetaType> GgufReader::read_type() {
  const uint64_t from = at();
  ASSIGN_OR_RETURN(const uint32_t type, read_number<uint32_t>());
  if (type > static_cast<uint32_t>(MetaType::kF64))
    return fail(from, "unknown value type {}", type);
  return static_cast<MetaType>(type);
}

absl::StatusOr<MetaValue> GgufReader::read_value() {
  ASSIGN_OR_RETURN(const MetaType type, read_type());
  if (type == MetaType::kArray) {
    ASSIGN_OR_RETURN(MetaArray array, read_array());
    return MetaValue{type, std::move(array)};
  }
  if (type == MetaType::kString) {
    ASSIGN_OR_RETURN(const std::string_view text, read_string(gguf::kStringBytesMax));
    return MetaValue{type, text};
  }
  return visit_number_type(
      type, [&]<typename T>(std::type_identity<T>) -> absl::StatusOr<MetaValue> {
        const uint64_t from = at();
        ASSIGN_OR_RETURN(const T number, read_number<T>());
        if (type == MetaType::kBool && number > T{1}) return fail(from, "a bool is {}", number);
        using Held = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
        return MetaValue{type, static_cast<Held>(number)};  // u64 wraps
      });
}

absl::StatusOr<MetaArray> GgufReader::read_array() {
  const uint64_t from = at();
  ASSIGN_OR_RETURN(const MetaType element, read_type());
  if (element == MetaType::kArray) return fail(from, "arrays of arrays are not supported");
  const uint64_t element_bytes =
      element == MetaType::kString
          ? gguf::kStringBytesMin
          : visit_number_type(
                element, []<typename T>(std::type_identity<T>) -> uint64_t { return sizeof(T); });
  ASSIGN_OR_RETURN(const uint64_t count,
                   read_count("elements", element_bytes, gguf::kArrayElementsMax));
  if (element == MetaType::kString) {
    std::vector<std::string_view> texts;
    texts.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(texts.emplace_back(), read_string(gguf::kStringBytesMax));
    }
    return MetaArray{element, std::move(texts)};
  }
  const uint64_t values_at = at();
  ASSIGN_OR_RETURN(const auto bytes, take(count * element_bytes));
  if (element == MetaType::kBool) {
    const auto wrong =
        std::ranges::find_if(bytes, [](std::byte value) { return value > std::byte{1}; });
    if (wrong != bytes.end()) {
      return fail(values_at + static_cast<uint64_t>(wrong - bytes.begin()), "a bool is {}",
                  static_cast<int>(*wrong));
    }
  }
  return MetaArray{element, bytes};
}

absl::Status GgufReader::read_tensors() {
  into_.tensors.reserve(tensors_);
  for (uint64_t i = 0; i < tensors_; ++i) {
    subject_ = fmt::format("tensor {} of {}", i + 1, tensors_);
    RETURN_IF_ERROR(read_tensor());
  }
  return absl::OkStatus();
}

absl::Status GgufReader::read_tensor() {
  const uint64_t from = at();
  ASSIGN_OR_RETURN(const std::string_view name, read_string(gguf::kTensorNameBytesMax));
  subject_ = fmt::format("tensor '{}'", shown(name));
  const uint64_t rank_at = at();
  ASSIGN_OR_RETURN(const uint32_t rank, read_number<uint32_t>());
  if (rank > gguf::kDimensionsMax) {
    return fail(rank_at, "{} dimensions, at most {} expected", rank, gguf::kDimensionsMax);
  }
  TensorLayout layout;
  layout.rank = static_cast<int32_t>(rank);
  const uint64_t shape_at = at();
  for (uint32_t i = rank; i-- > 0;) {  // the file lists the contiguous one first
    const uint64_t dimension_at = at();
    ASSIGN_OR_RETURN(const uint64_t dimension, read_number<uint64_t>());
    if (dimension == 0 || dimension > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return fail(dimension_at, "a dimension is {}", dimension);
    }
    layout.shape[i] = static_cast<int64_t>(dimension);
  }
  ASSIGN_OR_RETURN(const uint32_t type, read_number<uint32_t>());
  const uint64_t offset_at = at();
  ASSIGN_OR_RETURN(const uint64_t offset, read_number<uint64_t>());
  if (offset % alignment_ != 0) {
    return fail(offset_at, "its offset {} is not a multiple of {}", offset, alignment_);
  }
  if (!names_.insert(name).second) return fail(from, "appears twice");
  const std::optional<DType> dtype = dtype_of_gguf(type);
  if (!dtype) {
    into_.unknown.push_back({std::string(name), type, layout.rank, layout.shape, offset});
    return absl::OkStatus();
  }
  layout.dtype = *dtype;
  RETURN_IF_ERROR(check_shape(layout, shape_at));
  into_.index.emplace(name, into_.tensors.size());
  into_.tensors.push_back({.name = std::string(name), .layout = layout, .file_offset = offset});
  return absl::OkStatus();
}

absl::Status GgufReader::check_shape(const TensorLayout& layout, uint64_t from) const {
  const DTypeInfo& info = info_of(layout.dtype);
  const auto shape = std::span(layout.shape).first(static_cast<size_t>(layout.rank));
  // No product that TensorView forms exceeds this one.
  std::optional<int64_t> bound = info.block_bytes;
  for (const int64_t dimension : shape) bound = bound ? checked_multiply(*bound, dimension) : bound;
  if (!bound) return fail(from, "the size of its shape [{}] overflows", fmt::join(shape, ", "));
  if (layout.width() % info.block_elements != 0) {
    return fail(from, "rows of {} elements are not whole blocks of {}, which hold {}",
                layout.width(), info.name, info.block_elements);
  }
  return absl::OkStatus();
}

// Until here file_offset counts from the beginning of the data section.
absl::Status GgufReader::locate_tensors() {
  subject_ = "tensor data";
  const std::optional<uint64_t> begin = checked_align_up(at(), alignment_);
  if (!begin) return fail(at(), "no room for padding to {}", alignment_);
  for (NamedTensor& tensor : into_.tensors) {
    const auto bytes = static_cast<uint64_t>(tensor.layout.bytes());
    RETURN_IF_ERROR(locate(tensor.name, *begin, bytes, tensor.file_offset));
  }
  for (UnknownTensor& tensor : into_.unknown) {
    RETURN_IF_ERROR(locate(tensor.name, *begin, 0, tensor.file_offset));
  }
  return absl::OkStatus();
}

absl::Status GgufReader::locate(std::string_view name, uint64_t begin, uint64_t bytes,
                                uint64_t& offset) {
  const std::optional<uint64_t> from = checked_add(begin, offset);
  const std::optional<uint64_t> to = from ? checked_add(*from, bytes) : std::nullopt;
  if (!to || *to > size_) {
    subject_ = fmt::format("tensor '{}'", shown(name));
    return fail(from.value_or(begin), "its {} bytes (offset {}) do not lie within the file of {}",
                bytes, offset, size_);
  }
  offset = *from;
  return absl::OkStatus();
}

absl::Status GgufReader::check_overlaps() const {
  std::vector<const NamedTensor*> order;
  order.reserve(into_.tensors.size());
  for (const NamedTensor& tensor : into_.tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, &NamedTensor::file_offset);
  for (size_t i = 1; i < order.size(); ++i) {
    const NamedTensor& before = *order[i - 1];
    const NamedTensor& tensor = *order[i];
    if (before.file_offset + static_cast<uint64_t>(before.layout.bytes()) > tensor.file_offset) {
      return invalid_argument("tensor '{}' at byte {}: overlaps tensor '{}' at byte {}",
                              shown(tensor.name), tensor.file_offset, shown(before.name),
                              before.file_offset);
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
