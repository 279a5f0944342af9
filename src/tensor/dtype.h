#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace {

// Element types. A block is the smallest piece that can be stored: `elements` neighbours along a
// row in `bytes` bytes.
enum class DType : uint8_t {
#define DTYPE(name, elements, bytes, gguf) k##name,
#include "tensor/dtypes.def"
#undef DTYPE
};

struct DTypeInfo {
  DType type;
  std::string_view name;
  int32_t block_elements;
  int32_t block_bytes;
  uint32_t gguf_id;
};

inline constexpr std::array kDTypes = {
#define DTYPE(name, elements, bytes, gguf) DTypeInfo{DType::k##name, #name, elements, bytes, gguf},
#include "tensor/dtypes.def"
#undef DTYPE
};

constexpr const DTypeInfo& info_of(DType type) { return kDTypes[static_cast<size_t>(type)]; }

// Bytes of a row of `elements`, which are a whole number of blocks.
constexpr int64_t row_bytes(DType type, int64_t elements) {
  return elements / info_of(type).block_elements * info_of(type).block_bytes;
}

constexpr bool is_quantised(DType type) { return info_of(type).block_elements > 1; }

constexpr std::optional<DType> dtype_of_gguf(uint32_t id) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.gguf_id == id) return info.type;
  }
  return std::nullopt;
}

}  // namespace millrace
