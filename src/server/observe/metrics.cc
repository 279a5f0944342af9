#include "server/observe/metrics.h"

#include <atomic>
#include <sstream>
#include <vector>

#include <prometheus/text_serializer.h>

#include "base/check.h"
#include "server/observe/engine_metrics.h"
#include "server/observe/http_metrics.h"
#include "server/observe/process_metrics.h"

namespace millrace {

struct Metrics::Parts {
  explicit Parts(std::span<const Handler> handlers) : http(handlers) {}

  HttpMetrics http;
  std::unique_ptr<EngineMetrics> engine;
  std::atomic<EngineMetrics*> ready = nullptr;  // `engine`, once it is whole
};

Metrics::Metrics(std::span<const Handler> handlers) : parts_(std::make_unique<Parts>(handlers)) {}
Metrics::~Metrics() = default;

void Metrics::set_model(const Generator& generator, std::string model_name) {
  CHECK(parts_->engine == nullptr, "metrics get their model once");
  parts_->engine = std::make_unique<EngineMetrics>(generator, std::move(model_name));
  parts_->ready = parts_->engine.get();
}

void Metrics::stepped(const StepReport& report) {
  if (EngineMetrics* const engine = parts_->ready) engine->stepped(report);
}

void Metrics::finished(const RequestReport& report) {
  if (EngineMetrics* const engine = parts_->ready) engine->finished(report);
}

void Metrics::answered(const RequestRecord& record) { parts_->http.answered(record); }

void Metrics::rejected() {
  if (EngineMetrics* const engine = parts_->ready) engine->rejected();
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families;
  if (const EngineMetrics* const engine = parts_->ready) engine->collect(families);
  parts_->http.collect(families);
  collect_process(families);
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

}  // namespace millrace
