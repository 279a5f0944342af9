#include "models/packing/pack_saver.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/system/signals_blocked.h"

namespace millrace {
namespace {

// Between two looks at whether to stop.
constexpr int64_t kWrittenAtOnce = 64 * kPackChunkBytes;

}  // namespace

void warn_of_lost_pack(const absl::Status& why) {
  spdlog::warn("the packed weights are not kept: {}", message_of(why));
}

PackSaver::~PackSaver() {
  stop_ = true;
  await();
}

void PackSaver::start(PackWriter writer, std::span<const std::byte> packed) {
  CHECK(!thread_.joinable(), "one pack after another");
  const SignalsBlocked blocked;
  thread_ = std::thread([this, packed, writer = std::move(writer)]() mutable {
    const absl::Status written = write(writer, packed);
    if (!written.ok()) warn_of_lost_pack(written);
  });
}

absl::Status PackSaver::write(PackWriter& writer, std::span<const std::byte> packed) const {
  for (int64_t at = 0; at < std::ssize(packed); at += kWrittenAtOnce) {
    if (stop_) return absl::OkStatus();
    const int64_t bytes = std::min(kWrittenAtOnce, std::ssize(packed) - at);
    RETURN_IF_ERROR(
        writer.add(packed.subspan(static_cast<size_t>(at), static_cast<size_t>(bytes))));
  }
  return writer.finish();
}

void PackSaver::await() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace millrace
