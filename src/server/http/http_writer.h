#pragma once

#include <string>
#include <string_view>

#include "server/http/http_message.h"

namespace millrace {

// How a response is framed on its connection.
struct HttpFraming {
  std::string_view request_id;
  std::string origin_lines = {};  // header lines for a browser's page
  bool old = false;               // to an HTTP/1.0 client: no chunks, and keep-alive must be said
  bool close = false;             // the connection ends after it
  bool head_only = false;         // HEAD was asked
  int64_t idle_seconds = 0;       // that the connection may be idle; 0: not said
};

std::string http_bytes(const HttpResponse& response, const HttpFraming& framing);
// The head of an event stream; its events follow as chunks, or bare to an old client.
std::string event_stream_head(const HttpFraming& framing);
std::string http_chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace millrace
