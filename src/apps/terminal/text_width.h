#pragma once

#include <string_view>

namespace millrace {

// To be called first: the environment's locale for characters, or C.UTF-8 where that is not UTF-8.
void use_unicode_locale();

// Columns of a character on a terminal: 0 for those that combine with the one before and for
// controls, 2 for wide ones.
int columns_of(char32_t code);

// Columns of the terminal at this file descriptor; 80 where it does not say.
int terminal_columns(int fd);

}  // namespace millrace
