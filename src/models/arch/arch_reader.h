#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_set.h>

#include "base/status.h"
#include "files/checkpoint.h"

namespace millrace {

// A model file as its architecture reads it: the keys that begin with the architecture's name, and
// the tensors. It remembers the keys it was asked for, so that those that no architecture reads are
// found.
class ArchReader {
 public:
  // The checkpoint outlives the reader. NOT_FOUND: it names no architecture.
  static absl::StatusOr<ArchReader> create(const Checkpoint& checkpoint);

  std::string_view architecture() const { return architecture_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }

  // Keys without the architecture's name; errors have the whole one.
  std::string name(std::string_view key) const;  // "llama.context_length"
  bool has(std::string_view key) const { return checkpoint_->metadata().has(name(key)); }
  absl::StatusOr<int64_t> integer(std::string_view key, int64_t min, int64_t max);
  absl::StatusOr<int64_t> integer_or(std::string_view key, int64_t min, int64_t max,
                                     int64_t fallback);
  // Of one layer, where the key may be an array with a value for each of them.
  absl::StatusOr<int64_t> integer_of(std::string_view key, int64_t layer, int64_t min, int64_t max);
  absl::StatusOr<int64_t> integer_of_or(std::string_view key, int64_t layer, int64_t min,
                                        int64_t max, int64_t fallback);
  absl::StatusOr<int64_t> layer_count();
  absl::StatusOr<double> number_or(std::string_view key, double fallback);
  absl::StatusOr<double> number(std::string_view key);
  absl::StatusOr<bool> boolean_or(std::string_view key, bool fallback);
  absl::StatusOr<double> positive(std::string_view key);
  absl::StatusOr<double> positive_or(std::string_view key, double fallback);
  absl::StatusOr<std::string_view> string_or(std::string_view key, std::string_view fallback);
  // Each 0 or 1, one a layer. INVALID_ARGUMENT: it has another size.
  absl::StatusOr<std::vector<bool>> booleans(std::string_view key, int64_t size);
  // INVALID_ARGUMENT: it has another size.
  absl::StatusOr<std::vector<double>> numbers(std::string_view key, int64_t size);
  bool is_array(std::string_view key) const;
  // Of a key that does not begin with the architecture's name: one a layer, or one for all.
  absl::StatusOr<std::vector<double>> bare_numbers(std::string_view key, int64_t size) const;
  // What the key says has no meaning for this file.
  void pass_over(std::string_view key) { read_.insert(name(key)); }

  // Tensors by their names without a layer: of one layer, or outside of all.
  bool has_tensor(std::string_view tensor) const { return find_tensor(tensor) != nullptr; }
  const NamedTensor* find_tensor(std::string_view tensor, int64_t layer = 0) const;
  // The first layer that has it, or 0.
  int64_t first_layer_with(std::string_view tensor) const;

  // UNIMPLEMENTED, naming it: a key that was not read and may ask for something.
  absl::Status check_all_read() const;

 private:
  ArchReader(const Checkpoint& checkpoint, std::string_view architecture)
      : checkpoint_(&checkpoint), architecture_(architecture) {}
  absl::Status check_is_one_value(std::string_view key) const;

  const Checkpoint* checkpoint_;
  std::string_view architecture_;
  absl::flat_hash_set<std::string> read_;
};

}  // namespace millrace
