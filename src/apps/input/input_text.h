#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "base/status.h"

namespace millrace {

constexpr size_t kWhole = SIZE_MAX;

// The bytes of a stream, or of a file, but for what lies beyond `bytes_max`. NOT_FOUND: the file
// cannot be opened.
absl::StatusOr<std::string> read_stream(std::FILE* in, size_t bytes_max = kWhole);
absl::StatusOr<std::string> read_file(const std::string& path, size_t bytes_max = kWhole);

}  // namespace millrace
