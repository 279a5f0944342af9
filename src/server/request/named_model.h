#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/request/served_model.h"

namespace millrace {

// The served model as the routes see it. Constant once made.
struct NamedModel {
  ServedModel served;
  std::vector<std::string> names;  // at least one
  int64_t created = 0;             // seconds since 1970
  int64_t context_max = 0;
  int32_t vocab_size = 0;
  int64_t token_bytes_max = 1;  // of the text a token stands for, but for an unknown one
};

}  // namespace millrace
