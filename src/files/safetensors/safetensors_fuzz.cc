#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "files/safetensors/safetensors_reader.h"

namespace millrace {
namespace {

// What is accepted lies within the file, in order, apart, and as large as it says.
void try_bytes(std::span<const std::byte> bytes) {
  CheckpointFile file = {FileBytes(bytes), {}};
  const absl::StatusOr<std::vector<StoredTensor>> tensors = read_safetensors(file);
  if (!tensors.ok()) {
    CHECK(message_of(tensors.status()).find('\n') == std::string_view::npos);
    return;
  }
  uint64_t end = file.head.position();
  for (const StoredTensor& tensor : *tensors) {
    CHECK(tensor.offset == end && tensor.bytes <= bytes.size() - end);
    end += tensor.bytes;
    if (!tensor.dtype) continue;
    int64_t elements = 1;
    for (const int64_t dimension : tensor.shape) {
      elements *= tensor.bytes == 0 ? 0 : dimension;
    }
    CHECK(static_cast<uint64_t>(row_bytes(*tensor.dtype, elements)) == tensor.bytes);
  }
  CHECK(end == bytes.size());
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::try_bytes(std::as_bytes(std::span(data, size)));
  return 0;
}
