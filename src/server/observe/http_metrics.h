#pragma once

#include <deque>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include <prometheus/histogram.h>

#include "server/http/request_record.h"
#include "server/observe/metric_family.h"

namespace millrace {

// Counts and times of HTTP requests, under the names of Prometheus's instrumentation of FastAPI,
// which vLLM has. What operates the server (health, metrics) is not counted. The series are those
// of the routes, one method of theirs each, and of one handler for everything else, so no client
// makes them grow.
class HttpMetrics {
 public:
  explicit HttpMetrics(std::span<const Handler> handlers);

  void answered(const RequestRecord& record);
  void collect(std::vector<prometheus::MetricFamily>& families) const;

 private:
  struct MethodSeries {
    MethodSeries(std::string_view handler_path, std::string_view method_name);
    const std::string_view handler, method;
    prometheus::Histogram seconds;
    std::array<int64_t, 3> statuses{};  // of kStatuses
  };
  struct HandlerSeries {
    std::string_view handler;
    int64_t requests = 0, body_bytes = 0, bytes = 0;
  };

  void add(std::string_view handler, std::string_view method);

  mutable std::mutex mutex_;
  std::deque<MethodSeries> methods_;
  std::vector<HandlerSeries> handlers_;
  prometheus::Histogram seconds_;
};

}  // namespace millrace
