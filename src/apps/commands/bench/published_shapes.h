#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "models/random.h"

namespace millrace {

// The shape of a published model by its name, "llama-3.2-1b"; the format is left as it is in
// RandomModelShape.
std::optional<RandomModelShape> published_shape(std::string_view name);
std::string published_shape_names();  // "llama-3.1-8b, llama-3.2-1b, ..."

}  // namespace millrace
