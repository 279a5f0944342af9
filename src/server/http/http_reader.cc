#include "server/http/http_reader.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/status.h"
#include "server/http/api_error.h"
#include "server/http/random_id.h"

namespace millrace {
namespace http = boost::beast::http;

namespace {

constexpr size_t kIdBytesMax = 128;

std::string_view view(boost::beast::string_view s) { return {s.data(), s.size()}; }

// Safe in a header and in a log line.
bool is_plain(std::string_view id) {
  return !id.empty() && id.size() <= kIdBytesMax &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c <= '~'; });
}

// Reads a target as a server may get it (RFC 9112, section 3.2): a path, a URL of this or any host,
// or the star of an OPTIONS. The path goes without the query; it stays empty where the target is
// none of them.
void read_target(std::string_view target, HttpHead& head) {
  const auto is_visible = [](char c) { return c > ' ' && c <= '~' && c != '#'; };
  if (!std::ranges::all_of(target, is_visible)) return;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!boost::beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t host_end = std::min(target.find_first_of("/?"), target.size());
    if (host_end == 0) return;
    head.hosts.emplace_back(target.substr(0, host_end));
    target.remove_prefix(host_end);
    if (!target.starts_with('/')) target = "/";
    break;
  }
  if (!target.starts_with('/') && target != "*") return;
  head.path = std::string(target.substr(0, target.find('?')));
}

// Several of one name are one whose values are parted by commas (RFC 9110, section 5.3).
void add_value(std::string_view value, std::optional<std::string>& field) {
  field = field ? fmt::format("{}, {}", *field, value) : std::string(value);
}

// The key of "Bearer KEY", whatever case the scheme is in.
std::optional<std::string> bearer_key(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  if (!boost::beast::iequals(value.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  value.remove_prefix(std::min(value.find_first_not_of(' ', kScheme.size()), value.size()));
  return std::string(value);
}

HttpHead head_of(const http::fields& fields, std::string_view method, std::string_view target) {
  HttpHead head;
  head.method = std::string(method);
  read_target(target, head);
  for (const auto& field : fields) {
    const std::string_view value = view(field.value());
    if (field.name() == http::field::authorization) {
      if (auto key = bearer_key(value)) head.keys.push_back(*std::move(key));
    } else if (boost::beast::iequals(field.name_string(), "X-Api-Key")) {
      head.keys.emplace_back(value);
    } else if (field.name() == http::field::origin) {
      add_value(value, head.origin);
    } else if (field.name() == http::field::host && !value.empty()) {
      head.hosts.emplace_back(value);
    }
  }
  head.asks_preflight =
      method == "OPTIONS" && fields.find("Access-Control-Request-Method") != fields.end();
  return head;
}

// A header that goes on on the next line, which some parsers join and others take for two.
bool has_folded_line(std::string_view head) {
  return head.starts_with(' ') || head.starts_with('\t') ||
         head.find("\n ") != std::string_view::npos || head.find("\n\t") != std::string_view::npos;
}

// Where lines have to end with CR LF: no more bytes can make it valid.
bool has_bare_line_feed(std::string_view lines) {
  for (size_t at = lines.find('\n'); at != std::string_view::npos; at = lines.find('\n', at + 1)) {
    if (at == 0 || lines[at - 1] != '\r') return true;
  }
  return false;
}

}  // namespace

struct HttpReader::Parser : http::request_parser<http::string_body> {
  explicit Parser(int64_t extension_bytes_max) : extension_bytes_left(extension_bytes_max) {
    on_chunk_header(count_extension);
  }

  boost::beast::error_code take_from(std::string_view& bytes) {
    boost::beast::error_code error;
    try {
      const bool in_head = !is_header_done();
      const size_t used = put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
      if (in_head && has_folded_line(bytes.substr(0, used))) {
        error = http::error::bad_value;
      }
      bytes.remove_prefix(used);
    } catch (const std::length_error&) {
      error = http::error::header_limit;  // a trailer larger than its fields can hold
    }
    return error;
  }

  int64_t extension_bytes_left;
  std::function<void(uint64_t, boost::beast::string_view, boost::beast::error_code&)>
      count_extension = [this](uint64_t /*size*/, boost::beast::string_view extension,
                               boost::beast::error_code& error) {
        extension_bytes_left -= static_cast<int64_t>(extension.size());
        if (extension_bytes_left < 0) error = http::error::header_limit;
        // Beast takes one between quotation marks.
        if (view(extension).find('\n') != std::string_view::npos) {
          error = http::error::bad_chunk_extension;
        }
      };
};

HttpReader::HttpReader(const ServerLimits& limits, HeadJudge judge)
    : limits_(limits), judge_(std::move(judge)) {
  reset();
}
HttpReader::~HttpReader() = default;

void HttpReader::reset() {
  parser_ = std::make_unique<Parser>(limits_.header_bytes);
  parser_->header_limit(static_cast<uint32_t>(
      std::min<int64_t>(limits_.header_bytes, std::numeric_limits<uint32_t>::max())));
  parser_->body_limit(boost::none);  // until the head was judged
  parser_->eager(false);
  head_seen_ = keep_alive_ = old_ = expects_continue_ = false;
  head_ = {};
  verdict_ = {};
  id_ = "req-" + random_hex();
}

HttpReader::Progress HttpReader::fail(HttpResponse error) {
  error_ = std::move(error);
  error_.close = true;
  return Progress::kFailed;
}

HttpReader::Progress HttpReader::read(std::string_view& bytes) {
  while (!parser_->is_done() || !head_seen_) {
    if (bytes.empty()) return Progress::kMore;
    const boost::beast::error_code error = parser_->take_from(bytes);
    if (error == http::error::need_more && !has_bare_line_feed(bytes)) {
      // Only a head, a chunk's header or a trailer must be seen whole.
      if (std::cmp_greater(bytes.size(), limits_.header_bytes)) {
        return fail(http_error(431, "The request has a header that is too large."));
      }
      return Progress::kMore;
    }
    if (error == http::error::header_limit) {
      return fail(http_error(
          431, fmt::format("The request head is larger than {} bytes.", limits_.header_bytes)));
    }
    if (error == http::error::body_limit) return fail(too_large());
    if (error) return fail(http_error(400, "The request is not valid HTTP/1.1."));
    if (parser_->is_header_done() && !head_seen_) return accept_head();
  }
  // Trailers are not used, and their fields could contradict the head that was judged.
  if (field_count() > head_fields_) return fail(http_error(400, "The request has a trailer."));
  return Progress::kDone;
}

int64_t HttpReader::field_count() const {
  return std::distance(parser_->get().begin(), parser_->get().end());
}

HttpResponse HttpReader::too_large() const {
  return http_error(413,
                    fmt::format("The request body is larger than {} bytes.", limits_.body_bytes));
}

HttpReader::Progress HttpReader::accept_head() {
  head_seen_ = true;
  head_fields_ = field_count();
  const auto& head = parser_->get();
  keep_alive_ = head.keep_alive();
  old_ = head.version() < 11;
  if (const auto id = head.find("X-Request-Id"); id != head.end() && is_plain(view(id->value()))) {
    id_ = std::string(view(id->value()));
  }
  head_ = head_of(head, view(head.method_string()), view(head.target()));
  verdict_ = judge_(head_);
  std::optional<HttpResponse> fault = head_fault();
  if (fault && !verdict_.locked) return fail(*std::move(fault));
  // The body of a refused request is not read, so a request behind it cannot be found.
  if (verdict_.refused && (fault || has_body())) return fail(*std::move(verdict_.answer));
  expects_continue_ = !old_ && !verdict_.answer && head.find(http::field::expect) != head.end();
  parser_->body_limit(static_cast<uint64_t>(limits_.body_bytes));
  parser_->eager(true);
  return Progress::kHead;
}

bool HttpReader::has_body() const {
  return parser_->chunked() || parser_->content_length().value_or(0) > 0;
}

std::optional<HttpResponse> HttpReader::head_fault() const {
  const auto& head = parser_->get();
  if (head_fields_ > limits_.header_count) {
    return http_error(431,
                      fmt::format("The request has more than {} headers.", limits_.header_count));
  }
  if (head_.path.empty()) return http_error(400, "The request target is neither a path nor a URL.");
  const auto hosts = head.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && !old_)) {
    return http_error(400, "The request must have one Host header.");
  }
  const auto length = head.find(http::field::content_length);
  if (head.count(http::field::content_length) > 1 ||
      (length != head.end() && view(length->value()).find(',') != std::string_view::npos)) {
    return http_error(400, "The request has more than one Content-Length.");
  }
  const auto encoding = head.find(http::field::transfer_encoding);
  if (encoding != head.end() && (old_ || head.count(http::field::transfer_encoding) > 1 ||
                                 !boost::beast::iequals(encoding->value(), "chunked"))) {
    return http_error(400, "The request has a Transfer-Encoding other than chunked.");
  }
  const auto coding = head.find(http::field::content_encoding);
  if (has_body() && coding != head.end() &&
      (head.count(http::field::content_encoding) > 1 ||
       !boost::beast::iequals(coding->value(), "identity"))) {
    HttpResponse fault = http_error(
        415, fmt::format("The request body has the Content-Encoding {}; send it without one.",
                         view(coding->value())));
    fault.headers.emplace_back("Accept-Encoding", "identity");
    return fault;
  }
  const auto expected = head.find(http::field::expect);
  if (!old_ && expected != head.end() &&
      (head.count(http::field::expect) > 1 ||
       !boost::beast::iequals(expected->value(), "100-continue"))) {
    return http_error(417, "The server can only be expected to continue with 100.");
  }
  if (const auto body = parser_->content_length();
      body && std::cmp_greater(*body, limits_.body_bytes)) {
    return too_large();
  }
  return std::nullopt;
}

const std::string& HttpReader::body() const { return parser_->get().body(); }

HttpRequest HttpReader::take() {
  auto message = parser_->release();
  HttpRequest request;
  request.method = head_.method;
  request.path = head_.path;
  request.body = std::move(message.body());
  request.id = id_;
  request.answer = std::move(verdict_.answer);
  request.cache_salt = verdict_.cache_salt;
  return request;
}

}  // namespace millrace
