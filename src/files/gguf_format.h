#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/check.h"
#include "base/metadata.h"

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
inline constexpr uint64_t kAlignmentMax = uint64_t{1} << 20;

// The fewest bytes that each can take in a file, which bounds every count.
inline constexpr uint64_t kStringBytesMin = 8;              // an empty one
inline constexpr uint64_t kEntryBytesMin = 8 + 4 + 1;       // key, type, an 8-bit value
inline constexpr uint64_t kTensorBytesMin = 8 + 4 + 4 + 8;  // name, rank, type, offset

// Calls visitor(std::type_identity<T>()) for the C++ type that stores a number or bool of `type`.
template <typename Visitor>
decltype(auto) visit_number_type(MetaType type, Visitor&& visitor) {
  switch (type) {
    case MetaType::kU8:
    case MetaType::kBool:
      return visitor(std::type_identity<uint8_t>());
    case MetaType::kI8:
      return visitor(std::type_identity<int8_t>());
    case MetaType::kU16:
      return visitor(std::type_identity<uint16_t>());
    case MetaType::kI16:
      return visitor(std::type_identity<int16_t>());
    case MetaType::kU32:
      return visitor(std::type_identity<uint32_t>());
    case MetaType::kI32:
      return visitor(std::type_identity<int32_t>());
    case MetaType::kU64:
      return visitor(std::type_identity<uint64_t>());
    case MetaType::kI64:
      return visitor(std::type_identity<int64_t>());
    case MetaType::kF32:
      return visitor(std::type_identity<float>());
    case MetaType::kF64:
      return visitor(std::type_identity<double>());
    case MetaType::kString:
    case MetaType::kArray:
      break;
  }
  check_failed(__FILE__, __LINE__, "type is a number", name_of(type));
}

}  // namespace millrace::gguf
