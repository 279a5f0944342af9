#pragma once

#include <cstdio>
#include <string_view>

#include "base/status.h"

namespace millrace {

// What a program may read. INTERNAL, saying why: it could not be written.
absl::Status write_output(std::string_view text, std::FILE* out);
// Of all that was written to `out` before.
absl::Status flush_output(std::FILE* out);

// What only a person reads, to standard error; whether it arrives is not checked.
void tell(std::string_view text);

// Opens what is closed of the three standard streams so that using it fails: the number would be
// given to the next file or socket that is opened.
void occupy_closed_streams();

}  // namespace millrace
