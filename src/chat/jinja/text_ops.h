#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

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

absl::StatusOr<Value> join(Workspace& work, const Text& separator, std::span<const Text> parts);
absl::StatusOr<Value> pad(Workspace& work, const Text& text, int64_t width, const Text& fill,
                          Side side);

}  // namespace millrace::jinja
