#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "apps/commands/run.h"
#include "apps/serving/served.h"
#include "apps/terminal/wrapped_text.h"
#include "base/status.h"
#include "core/generator.h"

namespace millrace {

// Asks one served model for answers and prints them as they come.
class Session {
 public:
  // Both outlive the session. `is_stopped` is asked again and again whether the answer is still
  // wanted; without it Ctrl-C stops an answer.
  Session(const Served& served, const RunOptions& options, std::function<bool()> is_stopped = {});

  // Streams the continuation of `prompt` to standard output and returns it; of a stopped answer
  // what had come until there. INTERNAL: standard output cannot be written.
  absl::StatusOr<std::string> complete(std::string_view prompt);
  // Streams the next message of a conversation.
  absl::StatusOr<std::string> reply(const nlohmann::ordered_json& messages);

  // How long the last answer took: "12 prompt tokens in 0.05 s (240/s), 80 tokens in 0.62 s
  // (129/s)"; where tokens were drafted, the steps and how many were accepted.
  std::string timings() const;
  // Whether the last answer ended because the context, or the cache, holds no more.
  bool context_is_full() const;

 private:
  absl::StatusOr<std::string> generate(std::vector<TokenId> prompt);
  absl::Status show(std::string_view text);
  absl::Status end_line();

  const Served& served_;
  const RunOptions& options_;
  std::function<bool()> is_stopped_;
  std::optional<WrappedText> wrapped_;  // where standard output is a terminal
  FinishEvent last_;
  bool cut_short_ = false;  // the last answer, by a length
};

}  // namespace millrace
