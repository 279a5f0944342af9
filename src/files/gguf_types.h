#pragma once

#include <cstdint>
#include <string>

namespace millrace {

// The name of a tensor's element type as files number them, known to Millrace or not: "IQ4_XS",
// "type 77".
std::string gguf_type_name(uint32_t id);

}  // namespace millrace
