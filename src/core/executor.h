#pragma once

#include <absl/status/status.h>

#include "core/batch.h"
#include "core/draw_order.h"
#include "core/kv_spec.h"

namespace millrace {

// The door to the compute wing. Called from the engine's thread only.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual const Capacity& capacity() const = 0;
  // Takes a batch and returns at once; `batch` stays unchanged until its finish() returns. At most
  // one batch is between start and finish.
  virtual absl::Status start(const Batch& batch) = 0;
  // Waits for the oldest batch and draws from its wanted rows. An error means that the executor is
  // broken for good; what is wrong with one row is in its Drawn::error.
  virtual absl::Status finish(const DrawOrders& orders, StepOutput& output) = 0;
};

}  // namespace millrace
