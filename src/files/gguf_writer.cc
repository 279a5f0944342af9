#include "files/gguf_writer.h"

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "files/gguf_format.h"

namespace millrace {
namespace {

// Grows a string by values as they lie in memory.
class Encoder {
 public:
  template <typename T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void string(std::string_view text) {
    number<uint64_t>(text.size());
    text_.append(text);
  }
  void type(MetaType type) { number(static_cast<uint32_t>(type)); }

  void value(const MetaValue& value);
  void array(const MetaArray& array);
  const std::string& text() const { return text_; }

 private:
  // A number that a MetaValue holds, as its type is stored.
  template <typename Held>
  void narrow(MetaType type, Held held) {
    visit_number_type(type, [&]<typename T>(std::type_identity<T>) {
      CHECK(std::is_floating_point_v<T> == std::is_floating_point_v<Held>, "{}", name_of(type));
      number(static_cast<T>(held));
    });
  }

  std::string text_;
};

void Encoder::value(const MetaValue& value) {
  type(value.type);
  if (const auto* entries = std::get_if<MetaArray>(&value.value)) {
    array(*entries);
  } else if (const auto* text = std::get_if<std::string_view>(&value.value)) {
    string(*text);
  } else if (const auto* integer = std::get_if<int64_t>(&value.value)) {
    narrow(value.type, *integer);
  } else {
    narrow(value.type, std::get<double>(value.value));
  }
}

void Encoder::array(const MetaArray& array) {
  type(array.element);
  number<uint64_t>(static_cast<uint64_t>(array.size()));
  if (const auto* texts = std::get_if<std::vector<std::string_view>>(&array.values)) {
    for (const std::string_view text : *texts) string(text);
  } else {
    const auto bytes = std::get<std::span<const std::byte>>(array.values);
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

absl::Status check_plan(const TensorPlan& plan) {
  const std::string name = escape_for_log(plan.name);
  if (plan.name.size() > gguf::kTensorNameBytesMax) {
    return invalid_argument("tensor '{}': a name of {} bytes, at most {} expected", name,
                            plan.name.size(), gguf::kTensorNameBytesMax);
  }
  if (plan.shape.size() > gguf::kDimensionsMax) {
    return invalid_argument("tensor '{}': {} dimensions, at most {} expected", name,
                            plan.shape.size(), gguf::kDimensionsMax);
  }
  std::optional<int64_t> bound = info_of(plan.dtype).block_bytes;
  for (const int64_t dimension : plan.shape) {
    if (dimension <= 0) return invalid_argument("tensor '{}': a dimension is {}", name, dimension);
    if (bound) bound = checked_multiply(*bound, dimension);
  }
  if (!bound) return invalid_argument("tensor '{}': the size of its shape overflows", name);
  const int64_t width = plan.shape.empty() ? 1 : plan.shape.back();
  if (width % info_of(plan.dtype).block_elements != 0) {
    return invalid_argument("tensor '{}': rows of {} elements are not whole blocks of {}", name,
                            width, info_of(plan.dtype).name);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> alignment_of(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const int64_t alignment,
                   metadata.integer_or(gguf::kAlignmentKey, 1, int64_t{gguf::kAlignmentMax},
                                       int64_t{gguf::kAlignmentDefault}));
  if (!std::has_single_bit(static_cast<uint64_t>(alignment))) {
    return invalid_argument("metadata key '{}' is {}, expected a power of two", gguf::kAlignmentKey,
                            alignment);
  }
  return static_cast<uint64_t>(alignment);
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

absl::Status cannot_write(const std::string& path, int error) {
  return invalid_argument("cannot write '{}': {}", path, std::strerror(error));
}

absl::Status write_to(const std::string& path, absl::FunctionRef<absl::Status(GgufWriter&)> fill) {
  std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "wbe"));
  if (file == nullptr) return cannot_write(path, errno);
  GgufWriter writer([&](std::span<const std::byte> bytes) {
    const size_t written = std::fwrite(bytes.data(), 1, bytes.size(), file.get());
    return written == bytes.size() ? absl::OkStatus() : cannot_write(path, errno);
  });
  RETURN_IF_ERROR(fill(writer));
  RETURN_IF_ERROR(writer.end());
  if (std::fclose(file.release()) != 0) return cannot_write(path, errno);
  return absl::OkStatus();
}

}  // namespace

int64_t TensorPlan::bytes() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows * row_bytes(dtype, shape.empty() ? 1 : shape.back());
}

GgufWriter::GgufWriter(Sink sink, uint32_t version) : sink_(std::move(sink)), version_(version) {
  CHECK(version >= gguf::kVersionMin && version <= gguf::kVersionMax, "version {}", version);
}

absl::Status GgufWriter::begin(const Metadata& metadata, std::vector<TensorPlan> tensors) {
  ASSIGN_OR_RETURN(alignment_, alignment_of(metadata));
  tensors_ = std::move(tensors);
  Encoder header;
  for (const char c : gguf::kMagic) header.number(c);
  header.number(version_);
  header.number<uint64_t>(tensors_.size());
  header.number<uint64_t>(metadata.entries().size());
  for (const auto& [key, value] : metadata.entries()) {
    if (key.size() > gguf::kKeyBytesMax) {
      return invalid_argument("a metadata key of {} bytes, at most {} expected", key.size(),
                              gguf::kKeyBytesMax);
    }
    header.string(key);
    header.value(value);
  }
  std::optional<uint64_t> offset = 0;
  StringViewMap<bool> names;
  for (const TensorPlan& plan : tensors_) {
    RETURN_IF_ERROR(check_plan(plan));
    if (!names.emplace(plan.name, true).second) {
      return invalid_argument("tensor '{}' appears twice", escape_for_log(plan.name));
    }
    if (!offset) return invalid_argument("the tensors' sizes overflow");
    header.string(plan.name);
    header.number(static_cast<uint32_t>(plan.shape.size()));
    for (size_t i = plan.shape.size(); i-- > 0;) header.number<int64_t>(plan.shape[i]);
    header.number(info_of(plan.dtype).gguf_id);
    header.number<uint64_t>(*offset);
    const std::optional<uint64_t> end = checked_add(*offset, static_cast<uint64_t>(plan.bytes()));
    offset = end ? checked_align_up(*end, alignment_) : std::nullopt;
  }
  RETURN_IF_ERROR(put(std::as_bytes(std::span(header.text()))));
  return pad();
}

absl::Status GgufWriter::write(std::span<const std::byte> bytes) {
  if (tensor_ == tensors_.size()) {
    return invalid_argument("{} bytes after the data of the last tensor", bytes.size());
  }
  const int64_t left = tensors_[tensor_].bytes() - tensor_bytes_;
  if (static_cast<int64_t>(bytes.size()) > left) {
    return invalid_argument("tensor '{}': {} bytes of data where {} are left",
                            escape_for_log(tensors_[tensor_].name), bytes.size(), left);
  }
  RETURN_IF_ERROR(put(bytes));
  tensor_bytes_ += static_cast<int64_t>(bytes.size());
  if (static_cast<int64_t>(bytes.size()) < left) return absl::OkStatus();
  ++tensor_;
  tensor_bytes_ = 0;
  return pad();
}

absl::Status GgufWriter::end() const {
  if (tensor_ == tensors_.size()) return absl::OkStatus();
  return invalid_argument("tensor '{}': its data is missing",
                          escape_for_log(tensors_[tensor_].name));
}

absl::Status GgufWriter::put(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  return sink_(bytes);
}

absl::Status GgufWriter::pad() {
  const uint64_t missing = (alignment_ - written_ % alignment_) % alignment_;
  if (missing == 0) return absl::OkStatus();
  const std::vector<std::byte> zeros(missing);
  return put(zeros);
}

absl::Status write_gguf(const std::string& path,
                        absl::FunctionRef<absl::Status(GgufWriter&)> fill) {
  const std::string partial = path + ".partial";
  absl::Status status = write_to(partial, fill);
  std::error_code error;
  if (status.ok()) {
    std::filesystem::rename(partial, path, error);
    if (error) status = cannot_write(path, error.value());
  }
  if (!status.ok()) std::filesystem::remove(partial, error);
  return status;
}

absl::Status write_gguf(const std::string& path, const Metadata& metadata,
                        std::span<const TensorSource> tensors) {
  std::vector<TensorPlan> plan;
  for (const TensorSource& tensor : tensors) {
    const auto* shape = tensor.view.shape.data();
    plan.push_back({tensor.name, tensor.view.dtype, {shape, shape + tensor.view.rank}});
  }
  return write_gguf(path, [&](GgufWriter& writer) -> absl::Status {
    RETURN_IF_ERROR(writer.begin(metadata, plan));
    for (const TensorSource& tensor : tensors) RETURN_IF_ERROR(writer.write(tensor.view.span()));
    return absl::OkStatus();
  });
}

}  // namespace millrace
