#pragma once

#include <span>
#include <string>
#include <string_view>

namespace millrace::jinja {

// 'a', 'b' or 'c'
inline std::string quoted_list(std::span<const std::string_view> names, std::string_view last) {
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) list += i + 1 == names.size() ? " " + std::string(last) + " " : ", ";
    list += "'" + std::string(names[i]) + "'";
  }
  return list;
}

}  // namespace millrace::jinja
