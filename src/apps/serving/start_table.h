#pragma once

#include <string>

#include "apps/serving/served.h"

namespace millrace {

// What a start decided and why, a line each: the model, the instruction set, threads, memory, the
// longest context, sequences at once.
std::string start_table(const ServedOptions& options, const Served& served);

}  // namespace millrace
