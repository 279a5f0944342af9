#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/generator.h"
#include "core/observer.h"
#include "server/observe/request_record.h"

namespace millrace {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// All that /metrics tells. The engine's series begin with its model: before, there is no request
// that could count.
class Metrics final : public Observer {
 public:
  Metrics();
  ~Metrics() override;

  // Once.
  void set_model(const Generator& generator, std::string model_name);

  void stepped(const StepReport& report) override;
  void finished(const RequestReport& report) override;
  void answered(const RequestRecord& record);

  // In Prometheus's text format. From any thread, as answered().
  std::string text() const;

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
