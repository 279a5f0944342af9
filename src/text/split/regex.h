#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "text/marked_text.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace millrace {

// An expression over UTF-8, in PCRE2's syntax with Unicode classes. \s is White_Space and \p{Han}
// the script and no more, as in the engines that published expressions were written for. Immutable:
// safe from many threads.
class Regex {
 public:
  // Where a match is written; one serves any expression, but one thread at a time.
  class Room {
   public:
    Room();

   private:
    friend class Regex;
    struct Free {
      void operator()(pcre2_real_match_data_8* data) const;
    };
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  };

  // INVALID_ARGUMENT, saying what and where, if this is no expression.
  static absl::StatusOr<Regex> compile(std::string_view expression);

  // The first match at `from` or later; it may be empty. `text` is UTF-8. An expression that takes
  // more steps or memory than PCRE2's limits matches nothing there.
  std::optional<ByteRange> find(std::string_view text, size_t from, Room& room) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code);

  std::unique_ptr<pcre2_real_code_8, Free> code_;
  bool compiled_to_machine_code_ = false;
};

}  // namespace millrace
