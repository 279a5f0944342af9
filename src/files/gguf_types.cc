#include "files/gguf_types.h"

#include <array>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "tensor/dtype.h"

namespace millrace {
namespace {

struct ForeignType {
  uint32_t id;
  std::string_view name;
};

// Types that files may hold and Millrace does not read (github.com/ggml-org/ggml, docs/gguf.md).
constexpr std::array kForeignTypes = std::to_array<ForeignType>({
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {40, "NVFP4"},
});

}  // namespace

std::string gguf_type_name(uint32_t id) {
  if (const std::optional<DType> type = dtype_of_gguf(id)) return std::string(info_of(*type).name);
  for (const ForeignType& type : kForeignTypes) {
    if (type.id == id) return std::string(type.name);
  }
  return fmt::format("type {}", id);
}

}  // namespace millrace
