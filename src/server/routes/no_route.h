#pragma once

#include <string>
#include <string_view>

namespace millrace {

// The message of a 404: what to use instead where another server has a route at this path, else the
// route whose path is nearest.
std::string no_route_message(std::string_view path);

}  // namespace millrace
