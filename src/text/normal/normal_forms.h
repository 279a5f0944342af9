#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

// Unicode Standard Annex 15.
enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// Whether what comes before `code` has no part in its normal form, nor the other way round.
bool begins_normal_run(char32_t code, NormalForm form);
// Appends the normal form of `text`, UTF-8: O(n log n).
void append_normal(std::string_view text, NormalForm form, std::string& out);

}  // namespace millrace
