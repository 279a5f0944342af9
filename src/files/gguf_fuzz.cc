#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"

namespace millrace {
namespace {

std::string written(const Checkpoint& checkpoint) {
  std::string file;
  GgufWriter writer([&file](std::span<const std::byte> bytes) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  });
  std::vector<TensorPlan> plan;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const auto* shape = tensor.layout.shape.data();
    plan.push_back({tensor.name, tensor.layout.dtype, {shape, shape + tensor.layout.rank}});
  }
  CHECK(writer.begin(checkpoint.metadata(), std::move(plan)).ok());
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    CHECK(writer.write(checkpoint.read(tensor).value()).ok());
  }
  CHECK(writer.end().ok());
  return file;
}

// What is read can be written, and is then read the same.
void try_bytes(std::span<const std::byte> bytes) {
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(bytes);
  if (!checkpoint.ok()) {
    CHECK(message_of(checkpoint.status()).find('\n') == std::string_view::npos);
    return;
  }
  const std::string once = written(*checkpoint);
  const absl::StatusOr<Checkpoint> again = Checkpoint::parse(std::as_bytes(std::span(once)));
  CHECK(again.ok(), "{}", message_of(again.status()));
  CHECK(again->tensors().size() == checkpoint->tensors().size());
  CHECK(written(*again) == once);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::try_bytes(std::as_bytes(std::span(data, size)));
  return 0;
}
