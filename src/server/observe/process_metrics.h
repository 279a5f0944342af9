#pragma once

#include <vector>

#include <prometheus/metric_family.h>

namespace millrace {

// The metrics that every Prometheus client has of its process, read from /proc now.
void collect_process(std::vector<prometheus::MetricFamily>& families);

}  // namespace millrace
