#pragma once

#include <span>
#include <string_view>

#include "chat/jinja/call.h"

namespace millrace::jinja {

struct Filter {
  std::string_view name;
  Function function;
};
const Filter* find_filter(std::string_view name);

// The tables.
std::span<const Filter> text_filters();
std::span<const Filter> markup_filters();
std::span<const Filter> wrap_filters();
std::span<const Filter> sequence_filters();
std::span<const Filter> selection_filters();
std::span<const Filter> value_filters();

}  // namespace millrace::jinja
