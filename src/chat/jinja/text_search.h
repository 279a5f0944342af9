#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace millrace::jinja {

// Linear in the bytes, whatever they are; npos where there is none. An empty needle is found at
// once.
// Of the dearest texts, so many bytes are searched in the time of a step.
inline constexpr int64_t kSearchedBytesPerStep = 16;
size_t find_bytes(std::string_view text, std::string_view needle, size_t from);

// Texts are UTF-8; a byte that is no part of a character counts as one of its own.
struct CodePoint {
  int32_t value = 0;
  size_t size = 1;  // bytes
};
CodePoint code_point_at(std::string_view text, size_t at);
// Where the character that ends before `end` begins.
size_t previous_boundary(std::string_view text, size_t end);
int64_t count_code_points(std::string_view text);
bool is_ascii(std::string_view text);
// Byte offset of the index-th character.
size_t offset_of(std::string_view text, int64_t index);

// As Python's str methods judge a character.
bool is_space(int32_t code_point);
bool is_letter(int32_t code_point);
bool is_decimal(int32_t code_point);
bool is_digit(int32_t code_point);  // decimals, and the likes of superscripts
bool is_numeric(int32_t code_point);
bool is_upper(int32_t code_point);
bool is_lower(int32_t code_point);
bool is_printable(int32_t code_point);
bool begins_name(int32_t code_point);
bool continues_name(int32_t code_point);

}  // namespace millrace::jinja
