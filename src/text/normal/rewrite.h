#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/marked_text.h"

namespace millrace {

// A text on its way through normalisers: which bytes come from a client, and whether its first byte
// still comes from the first byte of what was encoded.
struct Normalised {
  MarkedText marked;
  bool from_start = true;
};

// Makes a text from another, front to back. New bytes count as written where any byte that they
// replace, or that they are put beside, was.
class Rewrite {
 public:
  // `from` outlives this object.
  explicit Rewrite(const Normalised& from);

  std::string_view text() const { return from_.marked.text; }
  // What lies from where the last call ended up to `end` stays as it is.
  void keep(size_t end);
  // It becomes `bytes`; up to the same place: they are inserted there.
  void put(size_t end, std::string_view bytes);
  void drop(size_t end) { put(end, {}); }
  // The first byte no longer counts as the first.
  void leave_start() { leaves_start_ = true; }

  // Keeps what is left.
  Normalised finish();

 private:
  bool is_written(size_t begin, size_t end);
  void mark(size_t begin, size_t end);

  const Normalised& from_;
  Normalised to_;
  size_t at_ = 0;         // in the old text
  size_t next_mark_ = 0;  // the first old range that ends at `at_` or later
  bool leaves_start_ = false;
};

}  // namespace millrace
