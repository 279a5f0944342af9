#pragma once

#include <string_view>

namespace millrace {

// An architecture that GGUF files are made of, and that Millrace does not run.
bool is_foreign_arch(std::string_view name);

}  // namespace millrace
