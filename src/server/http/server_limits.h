#pragma once

#include <cstdint>

#include <absl/time/time.h>

namespace millrace {

// What a client may cost. Beyond a limit it gets an error that names the limit, or its connection
// is closed.
struct ServerLimits {
  int64_t header_bytes = int64_t{64} << 10;  // the whole request head
  int32_t header_count = 100;
  int64_t body_bytes = int64_t{16} << 20;
  int64_t input_bytes = int64_t{256} << 20;  // of all requests that are held at once
  int32_t connections = 1024;
  int64_t connection_requests = 10000;  // then the connection is closed
  int32_t json_depth = 64;
  int32_t json_keys = 1000;   // of one object
  int32_t choices = 1024;     // of one request: its prompts times n
  int32_t logprobs = 20;      // likeliest tokens reported for each token
  int32_t stops = 16;         // strings
  int64_t stop_bytes = 1024;  // of one string
  int32_t stop_tokens = 256;
  int64_t bad_word_bytes = int64_t{64} << 10;  // of all bad words
  int32_t biases = 1000;
  int64_t tokens = int64_t{4} << 20;         // of one request: prompts and all that they may give
  int64_t answer_bytes = int64_t{64} << 20;  // of one answer: log-probabilities, prompts repeated
  int64_t pending_bytes = int64_t{8} << 20;  // of one answer, computed and not yet sent
  absl::Duration head_timeout = absl::Seconds(10);
  absl::Duration body_timeout = absl::Seconds(30);
  absl::Duration idle_timeout = absl::Seconds(120);  // between requests of one connection
  absl::Duration stall_timeout = absl::Seconds(30);  // a client that reads nothing
  absl::Duration ping_interval = absl::Seconds(15);  // of silence on a stream
};

}  // namespace millrace
