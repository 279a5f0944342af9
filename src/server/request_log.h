#pragma once

#include "server/connection.h"

namespace millrace {

// One line for each request.
void log_request(const RequestRecord& record);

}  // namespace millrace
