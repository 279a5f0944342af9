#pragma once

#include <string_view>

#include "base/status.h"
#include "chat/jinja/call.h"

namespace millrace::jinja {

struct Test {
  std::string_view name;
  absl::StatusOr<bool> (*function)(Workspace& work, const Value& subject,
                                   const Arguments& arguments);
};
const Test* find_test(std::string_view name);

}  // namespace millrace::jinja
