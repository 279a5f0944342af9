#include "nn/expert_linear.h"

#include <string>

namespace millrace {

absl::Status ExpertLinear::load(Weights& weights, const ExpertOrder& order, InputForm form,
                                bool biased) {
  ASSIGN_OR_RETURN(matrices_.matrix, weights.experts(order));
  matrices_.experts = order.experts;
  matrices_.rows = order.rows;
  input_forms_ = weights.input_forms(matrices_.matrix.format(), form);
  if (!biased) return absl::OkStatus();
  const std::string name = std::string(order.name) + ".bias";
  ASSIGN_OR_RETURN(bias_, weights.vector({name, order.rows, order.experts}));
  return absl::OkStatus();
}

}  // namespace millrace
