#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/generator.h"
#include "core/observer.h"
#include "server/http/request_record.h"

namespace millrace {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// All series of /metrics. The engine's exist once there is a model: before, no request could count.
class Metrics final : public Observer {
 public:
  explicit Metrics(std::span<const Handler> handlers);
  ~Metrics() override;

  // Once.
  void set_model(const Generator& generator, std::string model_name);

  void stepped(const StepReport& report) override;
  void finished(const RequestReport& report) override;
  void answered(const RequestRecord& record);
  void rejected();  // a request for which the queue has no room

  // In Prometheus's text format. From any thread, as answered() and rejected().
  std::string text() const;

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
