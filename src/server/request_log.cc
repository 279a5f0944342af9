#include "server/request_log.h"

#include "base/log.h"

namespace millrace {
namespace {

constexpr size_t kPathBytesMax = 200;  // of a path of nobody's, which may be as long as a head

}  // namespace

void log_request(const RequestRecord& record) {
  const double took_ms = std::chrono::duration<double, std::milli>(record.took).count();
  spdlog::info("request id={} method={} path={} status={} bytes={} ms={:.1f}",
               escape_for_log(record.id), escape_for_log(record.method),
               escape_for_log(std::string_view(record.path).substr(0, kPathBytesMax)),
               record.status, record.bytes, took_ms);
}

}  // namespace millrace
