#include "models/arch/arch_reader.h"

#include <cmath>
#include <variant>

#include "base/log.h"
#include "models/arch/unread_keys.h"

namespace millrace {
namespace {

constexpr int64_t kLayersMax = 4096;  // far above every published model

}  // namespace

absl::StatusOr<ArchReader> ArchReader::create(const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const std::string_view architecture,
                   checkpoint.metadata().string("general.architecture"));
  return ArchReader(checkpoint, architecture);
}

std::string ArchReader::name(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}

bool ArchReader::is_array(std::string_view key) const {
  const MetaValue* value = checkpoint_->metadata().find(name(key));
  return value != nullptr && value->type == MetaType::kArray;
}

const NamedTensor* ArchReader::find_tensor(std::string_view tensor, int64_t layer) const {
  const NamedTensor* found = checkpoint_->find(fmt::format("blk.{}.{}", layer, tensor));
  return found == nullptr ? checkpoint_->find(tensor) : found;
}

int64_t ArchReader::first_layer_with(std::string_view tensor) const {
  for (int64_t layer = 0; layer < kLayersMax; ++layer) {
    if (checkpoint_->find(fmt::format("blk.{}.{}", layer, tensor)) != nullptr) return layer;
  }
  return 0;
}

absl::Status ArchReader::check_is_one_value(std::string_view key) const {
  if (!is_array(key)) return absl::OkStatus();
  return unimplemented("key '{}' is an array: layers that differ are not supported", name(key));
}

absl::StatusOr<int64_t> ArchReader::integer(std::string_view key, int64_t min, int64_t max) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  return checkpoint_->metadata().integer(name(key), min, max);
}

absl::StatusOr<int64_t> ArchReader::integer_or(std::string_view key, int64_t min, int64_t max,
                                               int64_t fallback) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  return checkpoint_->metadata().integer_or(name(key), min, max, fallback);
}

absl::StatusOr<int64_t> ArchReader::layer_count() { return integer("block_count", 1, kLayersMax); }

absl::StatusOr<int64_t> ArchReader::integer_of(std::string_view key, int64_t layer, int64_t min,
                                               int64_t max) {
  if (!is_array(key)) return integer(key, min, max);
  pass_over(key);
  ASSIGN_OR_RETURN(const std::vector<int64_t> values, checkpoint_->metadata().integers(name(key)));
  ASSIGN_OR_RETURN(const int64_t layers, layer_count());
  if (std::ssize(values) != layers) {
    return invalid_argument("key '{}' has {} values for {} layers", name(key), values.size(),
                            layers);
  }
  const int64_t value = values[static_cast<size_t>(layer)];
  if (value >= min && value <= max) return value;
  return invalid_argument("key '{}' is {} for layer {}, but must be {} to {}", name(key), value,
                          layer, min, max);
}

absl::StatusOr<int64_t> ArchReader::integer_of_or(std::string_view key, int64_t layer, int64_t min,
                                                  int64_t max, int64_t fallback) {
  if (!has(key)) return fallback;
  return integer_of(key, layer, min, max);
}

absl::StatusOr<bool> ArchReader::boolean_or(std::string_view key, bool fallback) {
  pass_over(key);
  return checkpoint_->metadata().boolean_or(name(key), fallback);
}

absl::StatusOr<double> ArchReader::number_or(std::string_view key, double fallback) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  ASSIGN_OR_RETURN(const double value, checkpoint_->metadata().number_or(name(key), fallback));
  if (std::isfinite(static_cast<float>(value))) return value;
  return invalid_argument("key '{}' is {}, which is beyond float32", name(key), value);
}

absl::StatusOr<double> ArchReader::number(std::string_view key) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  RETURN_IF_ERROR(checkpoint_->metadata().number(name(key)).status());
  return number_or(key, 0);
}

absl::StatusOr<double> ArchReader::positive(std::string_view key) {
  ASSIGN_OR_RETURN(const double value, number(key));
  if (static_cast<float>(value) > 0) return value;
  return invalid_argument("key '{}' is {}, but must be positive", name(key), value);
}

absl::StatusOr<double> ArchReader::positive_or(std::string_view key, double fallback) {
  if (!has(key)) return fallback;
  return positive(key);
}

absl::StatusOr<std::string_view> ArchReader::string_or(std::string_view key,
                                                       std::string_view fallback) {
  pass_over(key);
  return checkpoint_->metadata().string_or(name(key), fallback);
}

absl::StatusOr<std::vector<bool>> ArchReader::booleans(std::string_view key, int64_t size) {
  pass_over(key);
  ASSIGN_OR_RETURN(const std::vector<int64_t> values, checkpoint_->metadata().integers(name(key)));
  if (std::ssize(values) == size) return std::vector<bool>(values.begin(), values.end());
  return invalid_argument("key '{}' has {} values for {} layers", name(key), values.size(), size);
}

absl::StatusOr<std::vector<double>> ArchReader::numbers(std::string_view key, int64_t size) {
  pass_over(key);
  ASSIGN_OR_RETURN(std::vector<double> values, checkpoint_->metadata().numbers(name(key)));
  if (std::ssize(values) == size) return values;
  return invalid_argument("key '{}' has {} values, but must have {}", name(key), values.size(),
                          size);
}

absl::StatusOr<std::vector<double>> ArchReader::bare_numbers(std::string_view key,
                                                             int64_t size) const {
  const Metadata& metadata = checkpoint_->metadata();
  const MetaValue* value = metadata.find(key);
  if (value != nullptr && value->type != MetaType::kArray) {
    ASSIGN_OR_RETURN(const double number, metadata.number(key));
    return std::vector<double>(static_cast<size_t>(size), number);
  }
  ASSIGN_OR_RETURN(std::vector<double> values, metadata.numbers(key));
  if (std::ssize(values) == size) return values;
  return invalid_argument("key '{}' has {} values for {} layers", key, values.size(), size);
}

absl::Status ArchReader::check_all_read() const {
  const std::string prefix = name("");
  for (const auto& [key, value] : checkpoint_->metadata().entries()) {
    if (!key.starts_with(prefix) || read_.contains(key)) continue;
    RETURN_IF_ERROR(check_asks_nothing(key, std::string_view(key).substr(prefix.size()), value));
  }
  return absl::OkStatus();
}

}  // namespace millrace
