#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

// What reader and writer of GGUF share (github.com/ggml-org/ggml, docs/gguf.md): a header (magic,
// version, number of tensors, number of keys), the keys with their values, a description of each
// tensor, and the tensors' data. Numbers are little endian; strings are a 64-bit length and bytes.

namespace millrace::gguf {

static_assert(std::endian::native == std::endian::little,
              "values are read and written as they lie");

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr uint32_t kVersionMin = 2;  // version 1 has 32-bit counts and is extinct
inline constexpr uint32_t kVersionMax = 3;  // 3 differs from 2 only in allowing big endian

inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr uint64_t kAlignmentDefault = 32;

// Limits on what a file may say, besides that everything must lie within it.
inline constexpr uint64_t kKeyBytesMax = 65535;      // as the format says
inline constexpr uint64_t kTensorNameBytesMax = 64;  // as the format says
inline constexpr uint64_t kStringBytesMax = uint64_t{1} << 30;
inline constexpr uint64_t kArrayElementsMax = uint64_t{1} << 30;
inline constexpr uint32_t kDimensionsMax = 4;
// Each takes more memory than its few bytes in the file; published files have some dozens of keys
// and at most some ten thousand tensors.
inline constexpr uint64_t kEntriesMax = uint64_t{1} << 16;
inline constexpr uint64_t kTensorsMax = uint64_t{1} << 17;
inline constexpr uint64_t kAlignmentMax = uint64_t{1} << 20;

// The fewest bytes that each can take in a file, which bounds every count.
inline constexpr uint64_t kStringBytesMin = 8;              // an empty one
inline constexpr uint64_t kEntryBytesMin = 8 + 4 + 1;       // key, type, an 8-bit value
inline constexpr uint64_t kTensorBytesMin = 8 + 4 + 4 + 8;  // name, rank, type, offset

}  // namespace millrace::gguf
