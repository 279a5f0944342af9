#include "models/arch/arch_reader.h"

#include <cmath>
#include <variant>

#include "base/log.h"
#include "models/arch/unread_keys.h"

namespace millrace {

absl::StatusOr<ArchReader> ArchReader::create(const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const std::string_view architecture,
                   checkpoint.metadata().string("general.architecture"));
  return ArchReader(checkpoint, architecture);
}

std::string ArchReader::name(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}

absl::Status ArchReader::check_is_one_value(std::string_view key) const {
  const MetaValue* value = checkpoint_->metadata().find(name(key));
  if (value == nullptr || value->type != MetaType::kArray) return absl::OkStatus();
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

absl::StatusOr<double> ArchReader::number_or(std::string_view key, double fallback) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  ASSIGN_OR_RETURN(const double value, checkpoint_->metadata().number_or(name(key), fallback));
  if (std::isfinite(static_cast<float>(value))) return value;
  return invalid_argument("key '{}' is {}, which is beyond float32", name(key), value);
}

absl::StatusOr<double> ArchReader::positive(std::string_view key) {
  pass_over(key);
  RETURN_IF_ERROR(check_is_one_value(key));
  RETURN_IF_ERROR(checkpoint_->metadata().number(name(key)).status());
  ASSIGN_OR_RETURN(const double value, number_or(key, 0));
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

absl::Status ArchReader::check_all_read() const {
  const std::string prefix = name("");
  for (const auto& [key, value] : checkpoint_->metadata().entries()) {
    if (!key.starts_with(prefix) || read_.contains(key)) continue;
    RETURN_IF_ERROR(check_asks_nothing(key, std::string_view(key).substr(prefix.size()), value));
  }
  return absl::OkStatus();
}

}  // namespace millrace
