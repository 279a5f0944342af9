#pragma once

#include <string_view>

#include "base/metadata.h"
#include "base/status.h"

namespace millrace {

// `key` is `name` behind an architecture's own, and the architecture does not read it. OK: its
// value asks for nothing. UNIMPLEMENTED, naming the key and, where it is known, what it is for: it
// may change the model's answers.
absl::Status check_asks_nothing(std::string_view key, std::string_view name,
                                const MetaValue& value);

}  // namespace millrace
