#include "server/observe/http_metrics.h"

#include <algorithm>
#include <array>
#include <string>

namespace millrace {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const std::vector<double> kSecondsBuckets = {.1, .5, 1};
const std::vector<double> kFineSecondsBuckets = {
    .01, .025, .05, .075, .1, .25, .5, .75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60};
constexpr std::string_view kNoHandler = "none";
constexpr std::string_view kOtherMethod = "other";
constexpr std::string_view kMethods[] = {"GET",    "HEAD",  "POST",    "PUT",
                                         "DELETE", "PATCH", "OPTIONS", kOtherMethod};

struct StatusClass {
  int hundreds;
  const char* name;
};
constexpr StatusClass kStatuses[] = {{2, "2xx"}, {4, "4xx"}, {5, "5xx"}};

ClientMetric summary(int64_t count, int64_t sum, std::string_view handler) {
  ClientMetric metric;
  metric.summary.sample_count = static_cast<uint64_t>(count);
  metric.summary.sample_sum = static_cast<double>(sum);
  metric.label = {{"handler", std::string(handler)}};
  return metric;
}

}  // namespace

HttpMetrics::MethodSeries::MethodSeries(std::string_view handler_path, std::string_view method_name)
    : handler(handler_path), method(method_name), seconds(kSecondsBuckets) {}

HttpMetrics::HttpMetrics(std::span<const Handler> handlers) : seconds_(kFineSecondsBuckets) {
  for (const Handler& handler : handlers) {
    if (handler.operates) continue;
    add(handler.path, handler.method);
    if (handler.method == "GET") add(handler.path, "HEAD");
  }
  for (const std::string_view method : kMethods) add(kNoHandler, method);
}

void HttpMetrics::add(std::string_view handler, std::string_view method) {
  methods_.emplace_back(handler, method);
  if (handlers_.empty() || handlers_.back().handler != handler) handlers_.push_back({handler});
}

void HttpMetrics::answered(const RequestRecord& record) {
  if (record.handler && record.handler->operates) return;
  const std::string_view handler = record.handler ? record.handler->path : kNoHandler;
  const double seconds = std::chrono::duration<double>(record.took).count();
  const std::lock_guard lock(mutex_);
  seconds_.Observe(seconds);
  const auto by_handler = std::ranges::find(handlers_, handler, &HandlerSeries::handler);
  by_handler->requests += 1;
  by_handler->body_bytes += record.body_bytes;
  by_handler->bytes += record.bytes;
  const auto found = std::ranges::find_if(methods_, [&](const MethodSeries& series) {
    return series.handler == handler &&
           (series.method == record.method || series.method == kOtherMethod);
  });
  if (found == methods_.end()) return;
  found->seconds.Observe(seconds);
  for (size_t i = 0; i < std::size(kStatuses); ++i) {
    if (kStatuses[i].hundreds == record.status / 100) ++found->statuses[i];
  }
}

void HttpMetrics::collect(std::vector<MetricFamily>& families) const {
  MetricFamily requests = {
      "http_requests_total", "HTTP requests answered.", MetricType::Counter, {}};
  MetricFamily seconds = {"http_request_duration_seconds",
                          "From an HTTP request's first byte to its answer's last, by handler.",
                          MetricType::Histogram,
                          {}};
  MetricFamily fine = {"http_request_duration_highr_seconds",
                       "From an HTTP request's first byte to its answer's last, in many buckets.",
                       MetricType::Histogram,
                       {}};
  MetricFamily received = {
      "http_request_size_bytes", "Bodies of HTTP requests.", MetricType::Summary, {}};
  MetricFamily sent = {"http_response_size_bytes",
                       "Answers to HTTP requests, heads included.",
                       MetricType::Summary,
                       {}};
  const std::lock_guard lock(mutex_);
  for (const MethodSeries& series : methods_) {
    const MetricLabels labels = {{"handler", std::string(series.handler)},
                                 {"method", std::string(series.method)}};
    seconds.metric.push_back(labelled(series.seconds.Collect(), labels));
    for (size_t i = 0; i < std::size(kStatuses); ++i) {
      MetricLabels with_status = labels;
      with_status.push_back({"status", kStatuses[i].name});
      requests.metric.push_back(
          metric_of(static_cast<double>(series.statuses[i]), std::move(with_status)));
    }
  }
  for (const HandlerSeries& series : handlers_) {
    received.metric.push_back(summary(series.requests, series.body_bytes, series.handler));
    sent.metric.push_back(summary(series.requests, series.bytes, series.handler));
  }
  fine.metric.push_back(seconds_.Collect());
  for (MetricFamily* family : {&requests, &seconds, &fine, &received, &sent}) {
    families.push_back(std::move(*family));
  }
}

}  // namespace millrace
