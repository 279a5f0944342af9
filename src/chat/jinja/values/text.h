#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "chat/jinja/values/value.h"
#include "chat/jinja/values/workspace.h"

namespace millrace::jinja {

// Linear in the bytes, whatever they are; npos where there is none. An empty needle is found at
// once.
// Of the most expensive texts, so many bytes are searched in the time of a step.
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
// Byte offset of the index-th character.
size_t offset_of(std::string_view text, int64_t index);

// As Python's str methods judge a character.
bool is_space(int32_t code_point);
bool is_letter(int32_t code_point);
bool is_digit(int32_t code_point);  // decimal digits only
bool is_alphanumeric(int32_t code_point);
bool is_upper(int32_t code_point);
bool is_lower(int32_t code_point);
bool is_printable(int32_t code_point);

// What Python's str methods do, marks kept.

enum class Side : uint8_t { kLeft, kRight, kBoth };
// Of white space, or of the characters in `chars`.
absl::StatusOr<Text> strip(Workspace& work, const Text& text, const Text* chars, Side side);

// `count` < 0: all.
absl::StatusOr<Value> replace(Workspace& work, const Text& text, const Text& old_part,
                              const Text& new_part, int64_t count);

// Pieces between white space or between `separator`s; at most `splits` cuts, < 0: all.
absl::StatusOr<std::vector<Value>> split(Workspace& work, const Text& text, const Text* separator,
                                         int64_t splits);
absl::StatusOr<std::vector<Value>> split_from_right(Workspace& work, const Text& text,
                                                    const Text* separator, int64_t splits);
absl::StatusOr<std::vector<Value>> split_lines(Workspace& work, const Text& text, bool keep_ends);

// Byte offset of the first or last occurrence; npos: none.
absl::StatusOr<size_t> find_first(Workspace& work, std::string_view text, std::string_view part);
absl::StatusOr<size_t> find_last(Workspace& work, std::string_view text, std::string_view part);

enum class Case : uint8_t { kUpper, kLower, kCapitalized, kTitle };
// One character for one, as Unicode's simple mappings have it: what Python maps to several ("ß") or
// by what stands around it (a final sigma) becomes one that does not depend on others.
absl::StatusOr<Value> change_case(Workspace& work, const Text& text, Case to);
// Whether there is a letter of this case, kUpper or kLower, and none of the other one.
absl::StatusOr<bool> has_case(Workspace& work, const Text& text, Case wanted);

absl::StatusOr<Value> join(Workspace& work, const Text& separator, std::span<const Text> parts);
absl::StatusOr<Value> pad(Workspace& work, const Text& text, int64_t width, const Text& fill,
                          Side side);

}  // namespace millrace::jinja
