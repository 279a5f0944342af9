#include "quant/format.h"

#include "quant/formats.h"

namespace millrace {

void unpack_row(DType type, const std::byte* blocks, int64_t elements, float* out) {
  visit_format(type, [&]<typename Block>(std::type_identity<Block>) {
    CHECK(elements % Block::kElements == 0, "{} elements of {}", elements, info_of(type).name);
    for (int64_t e = 0; e < elements; e += Block::kElements, blocks += sizeof(Block)) {
      load_block<Block>(blocks).unpack(out + e);
    }
  });
}

void pack_row(DType type, const float* in, int64_t elements, std::byte* out) {
  visit_format(type, [&]<typename Block>(std::type_identity<Block>) {
    CHECK(elements % Block::kElements == 0, "{} elements of {}", elements, info_of(type).name);
    for (int64_t e = 0; e < elements; e += Block::kElements, out += sizeof(Block)) {
      const Block block = Block::pack(in + e);
      std::memcpy(out, &block, sizeof block);
    }
  });
}

}  // namespace millrace
