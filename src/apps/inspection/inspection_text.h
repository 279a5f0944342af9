#pragma once

#include <string>

#include "apps/inspection/inspection.h"

namespace millrace {

// The report of `millrace inspect` for people, and for programs: one JSON object.
std::string inspection_text(const Checkpoint& checkpoint, const InspectedLoad& load,
                            const Inspection& inspection);
std::string inspection_json(const Checkpoint& checkpoint, const InspectedLoad& load,
                            const Inspection& inspection);

}  // namespace millrace
