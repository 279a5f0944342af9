#include "nn/recurrent/state_spec.h"

namespace millrace {

absl::Status check_state_rows(int64_t rows) {
  if (rows <= kStateRowsMax) return absl::OkStatus();
  return unimplemented("states of {} rows are not supported, at most {} are", rows, kStateRowsMax);
}

}  // namespace millrace
