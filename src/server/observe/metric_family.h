#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <prometheus/metric_family.h>

namespace millrace {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

inline prometheus::ClientMetric labelled(prometheus::ClientMetric metric, MetricLabels labels) {
  metric.label = std::move(labels);
  return metric;
}

// A counter's or a gauge's value.
inline prometheus::ClientMetric metric_of(double value, MetricLabels labels = {}) {
  prometheus::ClientMetric metric;
  metric.counter.value = metric.gauge.value = value;
  metric.label = std::move(labels);
  return metric;
}

}  // namespace millrace
