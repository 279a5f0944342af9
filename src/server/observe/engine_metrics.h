#pragma once

#include <deque>
#include <string>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/histogram.h>

#include "core/generator.h"
#include "core/observer.h"
#include "server/observe/metric_family.h"

namespace millrace {

// vLLM's metrics of one engine. What the generator counts anyway is read at a scrape; the rest is
// observed on the engine's thread: a short lock and a search among some twenty buckets each, no
// allocation.
class EngineMetrics final : public Observer {
 public:
  // `generator` outlives this.
  EngineMetrics(const Generator& generator, std::string model_name);

  void stepped(const StepReport& report) override;
  void finished(const RequestReport& report) override;
  void rejected();  // a request for which the queue has no room

  void collect(std::vector<prometheus::MetricFamily>& families) const;

 private:
  void collect_infos(std::vector<prometheus::MetricFamily>& families) const;

  const Generator& generator_;
  const MetricLabels labels_;
  std::deque<prometheus::Histogram> histograms_;    // by HistogramId
  std::deque<prometheus::Counter> finish_reasons_;  // of kFinishReasons
  std::deque<prometheus::Counter> rejections_;      // of kRejections
};

}  // namespace millrace
