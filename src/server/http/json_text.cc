#include "server/http/json_text.h"

#include <vector>

#include <absl/container/flat_hash_set.h>

#include "base/string_map.h"
#include "server/http/api_error.h"

namespace millrace {
namespace {

constexpr int kNumberOverflow = 406;  // of nlohmann's exceptions

using KeySet = absl::flat_hash_set<std::string, StringHash, StringEqual>;

class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const JsonLimits& limits, bool unique_keys)
      : limits_(limits), unique_keys_(unique_keys) {}

  absl::Status take_error() { return std::move(error_); }
  Json take_root() { return std::move(root_); }

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t& /*spelling*/) override {
    return add(value) != nullptr;
  }
  bool string(string_t& value) override { return add(std::move(value)) != nullptr; }
  bool binary(binary_t& /*value*/) override { return fail("binary values are not JSON"); }

  bool start_object(size_t /*elements*/) override { return open(Json::object()); }
  bool start_array(size_t /*elements*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    Frame& frame = frames_.back();
    if (std::ssize(frame.keys) >= limits_.keys) {
      if (frames_.size() == 1) field_.clear();
      return fail(fmt::format("an object in the request body has more than {} keys", limits_.keys));
    }
    if (frames_.size() == 1) field_ = value;
    if (!frame.keys.insert(value).second && unique_keys_) {
      return fail("an object in the request body has the same key twice");
    }
    key_ = std::move(value);
    return true;
  }

  bool parse_error(size_t position, const std::string& /*last_token*/,
                   const nlohmann::json::exception& cause) override {
    if (cause.id == kNumberOverflow) return fail("a number in the request body is too large");
    field_.clear();
    return fail(fmt::format("the request body is not valid JSON near byte {}", position));
  }

 private:
  struct Frame {
    Json* container;
    KeySet keys;  // of an object
  };

  bool fail(std::string_view message) {
    error_ = invalid_argument("{}", message);
    if (!field_.empty()) error_ = at_field(field_, std::move(error_));
    return false;
  }

  Json* add(Json value) {
    if (++values_ > limits_.values) {
      fail(fmt::format("the request body has more than {} values", limits_.values));
      return nullptr;
    }
    if (frames_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& container = *frames_.back().container;
    if (container.is_array()) {
      auto& elements = container.get_ref<Json::array_t&>();
      return &elements.emplace_back(std::move(value));
    }
    // Past ordered_map's own insert, which looks at every key that is already there.
    using Members = std::vector<std::pair<const std::string, Json>>;
    Members& members = container.get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }

  bool open(Json empty) {
    if (std::ssize(frames_) >= limits_.depth) {
      return fail(fmt::format("the request body is nested deeper than {} levels", limits_.depth));
    }
    Json* container = add(std::move(empty));
    if (container == nullptr) return false;
    frames_.push_back({container, {}});
    return true;
  }

  bool close() {
    frames_.pop_back();
    if (frames_.empty()) field_.clear();
    return true;
  }

  const JsonLimits limits_;
  const bool unique_keys_;
  Json root_;
  std::vector<Frame> frames_;
  std::string key_;
  std::string field_;  // of the outermost object, in which the reading is
  int64_t values_ = 0;
  absl::Status error_;
};

}  // namespace

std::string json_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_element(std::string_view element, std::string& list) {
  if (!list.empty()) list += ',';
  list += element;
}

absl::StatusOr<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  // The lexer takes a NUL for the end of its input.
  if (text.find('\0') != std::string_view::npos) {
    return invalid_argument("the request body is not valid JSON: it has a NUL byte");
  }
  Builder builder(limits, true);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) return builder.take_error();
  return builder.take_root();
}

bool is_json_within(std::string_view text, const JsonLimits& limits) {
  Builder builder(limits, false);
  return Json::sax_parse(text.begin(), text.end(), &builder);
}

}  // namespace millrace
