#include "server/http_reader.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/status.h"
#include "server/api_error.h"
#include "server/random_id.h"

namespace millrace {
namespace http = boost::beast::http;

namespace {

constexpr size_t kIdBytesMax = 128;

std::string_view view(boost::beast::string_view s) { return {s.data(), s.size()}; }

// Fit to be sent back and to stand in a log line.
bool is_plain(std::string_view id) {
  return !id.empty() && id.size() <= kIdBytesMax &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c <= '~'; });
}

// The path of "/path?query" or "http://host/path?query".
std::string path_of(std::string_view target) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    const size_t slash = target.find('/', target.find("//") + 2);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  return std::string(target.substr(0, target.find('?')));
}

}  // namespace

struct HttpReader::Parser : http::request_parser<http::string_body> {
  boost::beast::error_code take_from(std::string& bytes) {
    boost::beast::error_code error;
    try {
      const size_t used = put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
      bytes.erase(0, used);
    } catch (const std::length_error&) {
      error = http::error::header_limit;  // a trailer larger than its fields can hold
    }
    return error;
  }
};

HttpReader::HttpReader(const ServerLimits& limits) : limits_(limits) { reset(); }
HttpReader::~HttpReader() = default;

void HttpReader::reset() {
  parser_ = std::make_unique<Parser>();
  parser_->header_limit(static_cast<uint32_t>(
      std::min<int64_t>(limits_.header_bytes, std::numeric_limits<uint32_t>::max())));
  parser_->body_limit(static_cast<uint64_t>(limits_.body_bytes));
  parser_->eager(false);
  head_seen_ = keep_alive_ = old_ = expects_continue_ = false;
  id_ = "req-" + random_hex();
}

HttpReader::Progress HttpReader::fail(int status, std::string_view message) {
  error_ = http_error(status, message);
  error_.close = true;
  return Progress::kFailed;
}

HttpReader::Progress HttpReader::read(std::string& bytes) {
  while (!parser_->is_done()) {
    if (bytes.empty()) return Progress::kMore;
    const boost::beast::error_code error = parser_->take_from(bytes);
    if (error == http::error::need_more) {
      // Only a head, a chunk's header or a trailer must be seen whole.
      if (std::cmp_greater(bytes.size(), limits_.header_bytes)) {
        return fail(431, "The request has a header that is too large.");
      }
      return Progress::kMore;
    }
    if (error == http::error::header_limit) {
      return fail(431,
                  fmt::format("The request head is larger than {} bytes.", limits_.header_bytes));
    }
    if (error == http::error::body_limit) {
      return fail(413,
                  fmt::format("The request body is larger than {} bytes.", limits_.body_bytes));
    }
    if (error) return fail(400, "The request is not valid HTTP/1.1.");
    if (parser_->is_header_done() && !head_seen_) return check_head();
  }
  return Progress::kDone;
}

HttpReader::Progress HttpReader::check_head() {
  head_seen_ = true;
  parser_->eager(true);
  const auto& head = parser_->get();
  keep_alive_ = head.keep_alive();
  old_ = head.version() < 11;
  if (const auto id = head.find("X-Request-Id"); id != head.end() && is_plain(view(id->value()))) {
    id_ = std::string(view(id->value()));
  }
  if (std::distance(head.begin(), head.end()) > limits_.header_count) {
    return fail(431, fmt::format("The request has more than {} headers.", limits_.header_count));
  }
  const auto hosts = head.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && !old_)) {
    return fail(400, "The request must have one Host header.");
  }
  const auto length = head.find(http::field::content_length);
  if (head.count(http::field::content_length) > 1 ||
      (length != head.end() && view(length->value()).find(',') != std::string_view::npos)) {
    return fail(400, "The request has more than one Content-Length.");
  }
  const auto encoding = head.find(http::field::transfer_encoding);
  if (encoding != head.end() && (old_ || head.count(http::field::transfer_encoding) > 1 ||
                                 !boost::beast::iequals(encoding->value(), "chunked"))) {
    return fail(400, "The request has a Transfer-Encoding other than chunked.");
  }
  expects_continue_ = !old_ && boost::beast::iequals(head[http::field::expect], "100-continue");
  return Progress::kHead;
}

HttpRequest HttpReader::take() {
  auto message = parser_->release();
  HttpRequest request;
  request.method = std::string(view(message.method_string()));
  request.path = path_of(view(message.target()));
  request.body = std::move(message.body());
  request.id = id_;
  return request;
}

}  // namespace millrace
