#pragma once

#include <string>
#include <string_view>

namespace millrace {

// The alphabet in which byte-level vocabularies spell their tokens: a printable character for each
// of the 256 bytes.
std::string spelled(std::string_view bytes);
// The bytes that `text` spells; text that is not in the alphabet stands for itself.
std::string unspelled(std::string_view text);

}  // namespace millrace
