#pragma once

#include <cstdint>
#include <string>

// The model files of rwkv.cpp (magic `ggmf`), which hold RWKV 4 to 7 as their authors
// name the tensors.

namespace millrace {

enum class RwkvVersion : uint8_t { k4 = 4, k5 = 5, k6 = 6, k7 = 7 };

// Writes the same model as GGUF.
void write_rwkv_as_gguf(const std::string& ggmf, RwkvVersion version, const std::string& gguf);

}  // namespace millrace
