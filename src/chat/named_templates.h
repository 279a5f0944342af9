#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace {

// The Jinja source of a conversation's shape that the field knows by name (`chatml`, `llama3`,
// ...), for models whose file brings none. With `begins_with_bos`, what it renders begins with
// bos_token.
std::optional<std::string> named_template(std::string_view name, bool begins_with_bos);

// "chatml, llama2, ..."
std::string named_template_names();

}  // namespace millrace
