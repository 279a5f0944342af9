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

template <typename T>
auto widen(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<int64_t>(value);  // u64 wraps, as MetaValue says
  }
}

template <typename T>
std::vector<decltype(widen(T()))> widen_all(const std::byte* bytes, uint64_t count) {
  std::vector<decltype(widen(T()))> values(count);
  for (uint64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    values[i] = widen(value);
  }
  return values;
}

}  // namespace

GgufReader::GgufReader(std::span<const std::byte> bytes, Checkpoint& into)
    : bytes_(bytes), into_(into) {}

absl::Status GgufReader::read() {
  into_.bytes_ = bytes_;
  RETURN_IF_ERROR(read_header());
  RETURN_IF_ERROR(read_metadata());
  RETURN_IF_ERROR(read_alignment());
  RETURN_IF_ERROR(read_tensors());
  RETURN_IF_ERROR(place_tensors());
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
  if (bytes_.empty()) return invalid_argument("the file is empty");
  if (!text_of(bytes_).starts_with(gguf::kMagic)) {
    constexpr size_t kShown = 16;
    return invalid_argument("not a GGUF file: begins with \"{}\"",
                            escape_for_log(text_of(bytes_).substr(0, kShown)));
  }
  at_ = gguf::kMagic.size();
  ASSIGN_OR_RETURN(const uint32_t version, read_number<uint32_t>());
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= gguf::kVersionMax) {
    return unimplemented("GGUF version {} in big endian; only little endian is read", swapped);
  }
  if (version < gguf::kVersionMin || version > gguf::kVersionMax) {
    return unimplemented("GGUF version {}; only versions {} to {} are read", version,
                         gguf::kVersionMin, gguf::kVersionMax);
  }
  into_.format_ = fmt::format("GGUF v{}", version);
  ASSIGN_OR_RETURN(tensors_, read_count("tensors", gguf::kTensorBytesMin));
  ASSIGN_OR_RETURN(entries_, read_count("metadata keys", gguf::kEntryBytesMin));
  return absl::OkStatus();
}

absl::Status GgufReader::read_metadata() {
  for (uint64_t i = 0; i < entries_; ++i) {
    subject_ = fmt::format("metadata key {} of {}", i + 1, entries_);
    const uint64_t at = at_;
    ASSIGN_OR_RETURN(const std::string_view key, read_string(gguf::kKeyBytesMax));
    subject_ = fmt::format("metadata key '{}'", shown(key));
    if (into_.metadata_.has(key)) return fail(at, "appears twice");
    ASSIGN_OR_RETURN(MetaValue value, read_value());
    RETURN_IF_ERROR(into_.metadata_.add(std::string(key), std::move(value)));
  }
  return absl::OkStatus();
}

absl::Status GgufReader::read_alignment() {
  ASSIGN_OR_RETURN(const int64_t alignment,
                   into_.metadata_.integer_or(gguf::kAlignmentKey, 1, int64_t{gguf::kAlignmentMax},
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
    return fail(at_, "{} bytes are needed, but the file ends at byte {}", sizeof(T), bytes_.size());
  }
  T value;
  std::memcpy(&value, bytes_.data() + at_, sizeof(T));
  at_ += sizeof(T);
  return value;
}

absl::StatusOr<uint64_t> GgufReader::read_count(std::string_view things, uint64_t bytes_each) {
  const uint64_t at = at_;
  ASSIGN_OR_RETURN(const uint64_t count, read_number<uint64_t>());
  if (count > left() / bytes_each) {
    return fail(at, "{} {} do not fit into the {} bytes that are left", count, things, left());
  }
  return count;
}

absl::StatusOr<std::string_view> GgufReader::read_string(uint64_t bytes_max) {
  const uint64_t at = at_;
  ASSIGN_OR_RETURN(const uint64_t size, read_number<uint64_t>());
  if (size > left()) {
    return fail(at, "a string of {} bytes, but {} are left in the file", size, left());
  }
  if (size > bytes_max)
    return fail(at, "a string of {} bytes, at most {} expected", size, bytes_max);
  const std::string_view text = text_of(bytes_.subspan(at_, size));
  at_ += size;
  return text;
}

absl::StatusOr<MetaType> GgufReader::read_type() {
  const uint64_t at = at_;
  ASSIGN_OR_RETURN(const uint32_t type, read_number<uint32_t>());
  if (type > static_cast<uint32_t>(MetaType::kF64)) return fail(at, "unknown value type {}", type);
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
  return gguf::visit_number_type(
      type, [&]<typename T>(std::type_identity<T>) -> absl::StatusOr<MetaValue> {
        const uint64_t at = at_;
        ASSIGN_OR_RETURN(const T number, read_number<T>());
        if (type == MetaType::kBool && number > T{1}) return fail(at, "a bool is {}", number);
        return MetaValue{type, widen(number)};
      });
}

absl::StatusOr<MetaArray> GgufReader::read_array() {
  const uint64_t at = at_;
  ASSIGN_OR_RETURN(const MetaType element, read_type());
  if (element == MetaType::kArray) return fail(at, "arrays of arrays are not supported");
  const uint64_t element_bytes =
      element == MetaType::kString
          ? gguf::kStringBytesMin
          : gguf::visit_number_type(
                element, []<typename T>(std::type_identity<T>) -> uint64_t { return sizeof(T); });
  ASSIGN_OR_RETURN(const uint64_t count, read_count("elements", element_bytes));
  if (count > gguf::kArrayElementsMax) {
    return fail(at, "{} elements, at most {} expected", count, gguf::kArrayElementsMax);
  }
  MetaArray array{element, {}};
  if (element == MetaType::kString) {
    std::vector<std::string_view> texts;
    texts.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(texts.emplace_back(), read_string(gguf::kStringBytesMax));
    }
    array.values = std::move(texts);
    return array;
  }
  array.values = gguf::visit_number_type(
      element, [&]<typename T>(std::type_identity<T>) -> decltype(array.values) {
        return widen_all<T>(bytes_.data() + at_, count);
      });
  if (element == MetaType::kBool) {
    const auto& values = std::get<std::vector<int64_t>>(array.values);
    const auto wrong = std::ranges::find_if(values, [](int64_t value) { return value > 1; });
    if (wrong != values.end()) {
      return fail(at_ + static_cast<uint64_t>(wrong - values.begin()), "a bool is {}", *wrong);
    }
  }
  at_ += count * element_bytes;
  return array;
}

absl::Status GgufReader::read_tensors() {
  into_.tensors_.reserve(tensors_);
  for (uint64_t i = 0; i < tensors_; ++i) {
    subject_ = fmt::format("tensor {} of {}", i + 1, tensors_);
    RETURN_IF_ERROR(read_tensor());
  }
  return absl::OkStatus();
}

absl::Status GgufReader::read_tensor() {
  const uint64_t at = at_;
  ASSIGN_OR_RETURN(const std::string_view name, read_string(gguf::kTensorNameBytesMax));
  subject_ = fmt::format("tensor '{}'", shown(name));
  const uint64_t rank_at = at_;
  ASSIGN_OR_RETURN(const uint32_t rank, read_number<uint32_t>());
  if (rank > gguf::kDimensionsMax) {
    return fail(rank_at, "{} dimensions, at most {} expected", rank, gguf::kDimensionsMax);
  }
  TensorView view;
  view.rank = static_cast<int32_t>(rank);
  const uint64_t shape_at = at_;
  for (uint32_t i = rank; i-- > 0;) {  // the file lists the contiguous one first
    const uint64_t dimension_at = at_;
    ASSIGN_OR_RETURN(const uint64_t dimension, read_number<uint64_t>());
    if (dimension == 0 || dimension > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return fail(dimension_at, "a dimension is {}", dimension);
    }
    view.shape[i] = static_cast<int64_t>(dimension);
  }
  ASSIGN_OR_RETURN(const uint32_t type, read_number<uint32_t>());
  const uint64_t offset_at = at_;
  ASSIGN_OR_RETURN(const uint64_t offset, read_number<uint64_t>());
  if (offset % alignment_ != 0) {
    return fail(offset_at, "its offset {} is not a multiple of {}", offset, alignment_);
  }
  if (!names_.insert(name).second) return fail(at, "appears twice");
  const std::optional<DType> dtype = dtype_of_gguf(type);
  if (!dtype) {
    into_.unknown_.push_back({std::string(name), type, view.rank, view.shape, offset});
    return absl::OkStatus();
  }
  view.dtype = *dtype;
  RETURN_IF_ERROR(check_shape(view, shape_at));
  into_.index_.emplace(name, into_.tensors_.size());
  into_.tensors_.push_back({std::string(name), view, offset});
  return absl::OkStatus();
}

absl::Status GgufReader::check_shape(const TensorView& view, uint64_t at) const {
  const DTypeInfo& info = info_of(view.dtype);
  const auto shape = std::span(view.shape).first(static_cast<size_t>(view.rank));
  // No product that TensorView forms exceeds this one.
  std::optional<int64_t> bound = info.block_bytes;
  for (const int64_t dimension : shape) bound = bound ? checked_multiply(*bound, dimension) : bound;
  if (!bound) return fail(at, "the size of its shape [{}] overflows", fmt::join(shape, ", "));
  if (view.width() % info.block_elements != 0) {
    return fail(at, "rows of {} elements are not whole blocks of {}, which hold {}", view.width(),
                info.name, info.block_elements);
  }
  return absl::OkStatus();
}

// Until here file_offset counts from the beginning of the data section.
absl::Status GgufReader::place_tensors() {
  subject_ = "tensor data";
  const std::optional<uint64_t> begin = checked_align_up(at_, alignment_);
  if (!begin) return fail(at_, "no room for padding to {}", alignment_);
  for (NamedTensor& tensor : into_.tensors_) {
    const auto bytes = static_cast<uint64_t>(tensor.view.bytes());
    RETURN_IF_ERROR(place(tensor.name, *begin, bytes, tensor.file_offset));
    tensor.view.data = bytes_.data() + tensor.file_offset;
  }
  for (UnknownTensor& tensor : into_.unknown_) {
    RETURN_IF_ERROR(place(tensor.name, *begin, 0, tensor.file_offset));
  }
  return absl::OkStatus();
}

absl::Status GgufReader::place(std::string_view name, uint64_t begin, uint64_t bytes,
                               uint64_t& offset) {
  const std::optional<uint64_t> from = checked_add(begin, offset);
  const std::optional<uint64_t> to = from ? checked_add(*from, bytes) : std::nullopt;
  if (!to || *to > bytes_.size()) {
    subject_ = fmt::format("tensor '{}'", shown(name));
    return fail(from.value_or(begin), "its {} bytes (offset {}) do not lie within the file of {}",
                bytes, offset, bytes_.size());
  }
  offset = *from;
  return absl::OkStatus();
}

absl::Status GgufReader::check_overlaps() const {
  std::vector<const NamedTensor*> order;
  order.reserve(into_.tensors_.size());
  for (const NamedTensor& tensor : into_.tensors_) order.push_back(&tensor);
  std::ranges::sort(order, {}, &NamedTensor::file_offset);
  for (size_t i = 1; i < order.size(); ++i) {
    const NamedTensor& before = *order[i - 1];
    const NamedTensor& tensor = *order[i];
    if (before.file_offset + static_cast<uint64_t>(before.view.bytes()) > tensor.file_offset) {
      return invalid_argument("tensor '{}' at byte {}: overlaps tensor '{}' at byte {}",
                              shown(tensor.name), tensor.file_offset, shown(before.name),
                              before.file_offset);
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
