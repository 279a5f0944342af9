#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "apps/commands/run.h"
#include "apps/serving/served.h"
#include "base/status.h"
#include "core/generator.h"

namespace millrace {

// Asks one served model for answers and prints them as they come.
class Session {
 public:
  // Both outlive the session.
  Session(const Served& served, const RunOptions& options) : served_(served), options_(options) {}

  // Streams the continuation of `prompt` to standard output and returns it. Ctrl-C stops the
  // answer, which is then what had come until there.
  absl::StatusOr<std::string> complete(std::string_view prompt);
  // Streams the next message of a conversation.
  absl::StatusOr<std::string> reply(const nlohmann::ordered_json& messages);

  // How long the last answer took: "12 prompt tokens in 0.05 s (240/s), 80 tokens in 0.62 s
  // (129/s)".
  std::string timings() const;

 private:
  absl::StatusOr<std::string> generate(std::vector<TokenId> prompt);

  const Served& served_;
  const RunOptions& options_;
  FinishEvent last_;
};

}  // namespace millrace
