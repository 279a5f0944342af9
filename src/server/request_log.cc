#include "server/request_log.h"

#include "base/log.h"

namespace millrace {

void log_request(const RequestRecord& record) {
  const double took_ms = std::chrono::duration<double, std::milli>(record.took).count();
  spdlog::info("request id={} method={} path={} status={} bytes={} ms={:.1f}",
               escape_for_log(record.id), escape_for_log(record.method),
               escape_for_log(record.path), record.status, record.bytes, took_ms);
}

}  // namespace millrace
