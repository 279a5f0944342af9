#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"

namespace millrace {

// As many bytes from a file's beginning as its kind is known by.
inline constexpr size_t kFileKindBytes = 512;

// INVALID_ARGUMENT for a file that begins otherwise than GGUF files do: it says what the file is,
// where it is of a kind that is often given instead of a model. `start`: at most the first
// kFileKindBytes of it.
absl::Status check_is_gguf(std::span<const std::byte> start);

}  // namespace millrace
