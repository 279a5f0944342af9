#include "base/json/json_node.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using Json = nlohmann::json;

// The largest published files have 35 MB, two million values and ten levels.
constexpr size_t kBytesMax = 128 << 20;
constexpr int64_t kValuesMax = 16 << 20;
constexpr int64_t kDepthMax = 64;

// Names and values may be as long as the file; an error shows their beginnings.
constexpr size_t kShownNameBytes = 40;
constexpr size_t kShownBytes = 300;

std::string shortened(std::string_view what) {
  if (what.size() <= kShownBytes) return std::string(what);
  size_t end = kShownBytes;  // not within a character
  while (end > 0 && (static_cast<unsigned char>(what[end]) & 0xC0) == 0x80) --end;
  return std::string(what.substr(0, end)) + "...";
}

bool is_name(std::string_view key) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !key.empty() && key.size() <= kShownNameBytes && std::ranges::all_of(key, fits);
}

std::string in_quotes(std::string_view key) {
  std::string text(key.substr(0, kShownNameBytes));
  const std::string shown =
      Json(std::move(text)).dump(-1, ' ', true, Json::error_handler_t::ignore);
  return key.size() <= kShownNameBytes ? shown : shown.substr(0, shown.size() - 1) + "...\"";
}

class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::string_view name) : name_(name) {}

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
  bool binary(binary_t& /*value*/) override { return fail("has binary values"); }
  bool start_object(size_t /*elements*/) override { return open(Json::object()); }
  bool start_array(size_t /*elements*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    const auto [member, is_new] = open_.back()->get_ref<Json::object_t&>().try_emplace(value);
    if (!is_new) {
      const std::string shown = is_name(value) ? fmt::format("'{}'", value) : in_quotes(value);
      return fail(fmt::format("has the key {} twice in one object", shown));
    }
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t position, const std::string& /*last_token*/,
                   const nlohmann::json::exception& /*cause*/) override {
    return fail(fmt::format("is not valid JSON near byte {}", position));
  }

 private:
  bool fail(std::string_view what) {
    error_ = invalid_argument("{} {}", name_, shortened(what));
    return false;
  }

  Json* add(Json value) {
    if (++values_ > kValuesMax) {
      fail(fmt::format("has more than {} values", kValuesMax));
      return nullptr;
    }
    Json* place = &root_;
    if (!open_.empty()) {
      place = open_.back()->is_array() ? &open_.back()->get_ref<Json::array_t&>().emplace_back()
                                       : member_;
    }
    *place = std::move(value);
    return place;
  }

  bool open(Json empty) {
    if (std::ssize(open_) >= kDepthMax) {
      return fail(fmt::format("is nested deeper than {} levels", kDepthMax));
    }
    Json* const container = add(std::move(empty));
    if (container == nullptr) return false;
    open_.push_back(container);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view name_;
  Json root_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // whose key was read
  int64_t values_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<JsonNode> JsonNode::parse(std::string_view text, std::string_view name) {
  if (text.size() > kBytesMax) {
    return invalid_argument("{} has {} bytes; at most {}", name, text.size(), kBytesMax);
  }
  // The lexer takes a NUL for the end of its input.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return invalid_argument("{} is not valid JSON near byte {}", name, nul);
  }
  Builder builder(name);
  if (!Json::sax_parse(text, &builder)) return builder.take_error();
  const auto root = std::make_shared<const Json>(builder.take_root());
  if (!root->is_object()) return invalid_argument("{} is not a JSON object", name);
  return JsonNode(root, root.get());
}

bool JsonNode::is_null() const { return value_ == nullptr || value_->is_null(); }
bool JsonNode::is_string() const { return value_ != nullptr && value_->is_string(); }
bool JsonNode::is_array() const { return value_ != nullptr && value_->is_array(); }
bool JsonNode::is_object() const { return value_ != nullptr && value_->is_object(); }
bool JsonNode::is_number() const { return value_ != nullptr && value_->is_number(); }
bool JsonNode::is_boolean() const { return value_ != nullptr && value_->is_boolean(); }
int64_t JsonNode::size() const {
  return value_ != nullptr && value_->is_structured() ? std::ssize(*value_) : 0;
}

std::string JsonNode::path() const {
  if (parent_ == nullptr) return {};
  if (index_ >= 0) return fmt::format("{}[{}]", *parent_, index_);
  if (!is_name(key_)) return fmt::format("{}[{}]", *parent_, in_quotes(key_));
  return parent_->empty() ? std::string(key_) : fmt::format("{}.{}", *parent_, key_);
}

absl::Status JsonNode::error(std::string_view what) const {
  return invalid_argument("{} {}", path(), shortened(what));
}
absl::Status JsonNode::not_done(std::string_view what) const {
  return unimplemented("{} {}", path(), shortened(what));
}
absl::Status JsonNode::is_not(std::string_view type) const {
  return error(
      fmt::format("is {}, not {}", value_ == nullptr ? "missing" : value_->type_name(), type));
}

absl::StatusOr<std::string_view> JsonNode::string() const {
  if (!is_string()) return is_not("a string");
  return std::string_view(value_->get_ref<const std::string&>());
}

absl::StatusOr<std::string_view> JsonNode::string_or(std::string_view fallback) const {
  if (is_null()) return fallback;
  return string();
}

absl::StatusOr<bool> JsonNode::boolean_or(bool fallback) const {
  if (is_null()) return fallback;
  if (!value_->is_boolean()) return is_not("true or false");
  return value_->get<bool>();
}

absl::StatusOr<int64_t> JsonNode::integer(int64_t min, int64_t max) const {
  if (is_null() || !value_->is_number_integer()) return is_not("an integer");
  const bool too_large =
      value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t value = too_large ? INT64_MAX : value_->get<int64_t>();
  if (too_large || value < min || value > max) {
    return error(fmt::format("is {}; {} to {} is possible", value_->dump(), min, max));
  }
  return value;
}

absl::StatusOr<int64_t> JsonNode::integer_or(int64_t min, int64_t max, int64_t fallback) const {
  if (is_null()) return fallback;
  return integer(min, max);
}

absl::StatusOr<double> JsonNode::number() const {
  if (is_null() || !value_->is_number()) return is_not("a number");
  const double value = value_->get<double>();
  if (!std::isfinite(value)) return error("is not a finite number");
  return value;
}

JsonNode JsonNode::child(const Json* value, std::shared_ptr<const std::string> parent) const {
  JsonNode node(root_, value);
  node.parent_ = std::move(parent);
  return node;
}

absl::StatusOr<JsonNode> JsonNode::at(std::string_view key) const {
  if (!is_null() && !value_->is_object()) return is_not("an object");
  JsonNode node = child(nullptr, std::make_shared<const std::string>(path()));
  node.key_ = key;
  if (is_null()) return node;
  const auto found = value_->find(std::string(key));
  if (found != value_->end()) node.value_ = &*found;
  return node;
}

absl::StatusOr<std::string_view> JsonNode::string_at(std::string_view key) const {
  ASSIGN_OR_RETURN(const JsonNode node, at(key));
  return node.string();
}

absl::StatusOr<std::string_view> JsonNode::string_at(std::string_view key,
                                                     std::string_view fallback) const {
  ASSIGN_OR_RETURN(const JsonNode node, at(key));
  return node.string_or(fallback);
}

absl::StatusOr<bool> JsonNode::boolean_at(std::string_view key, bool fallback) const {
  ASSIGN_OR_RETURN(const JsonNode node, at(key));
  return node.boolean_or(fallback);
}

absl::Status JsonNode::for_each_member(EachMember each) const {
  if (is_null() || !value_->is_object()) return is_not("an object");
  const auto parent = std::make_shared<const std::string>(path());
  for (auto member = value_->begin(); member != value_->end(); ++member) {
    JsonNode node = child(&*member, parent);
    node.key_ = member.key();
    RETURN_IF_ERROR(each(node.key_, node));
  }
  return absl::OkStatus();
}

absl::Status JsonNode::for_each_element(EachElement each) const {
  if (!is_array()) return is_not("an array");
  const auto parent = std::make_shared<const std::string>(path());
  for (int64_t i = 0; i < std::ssize(*value_); ++i) {
    JsonNode node = child(&(*value_)[static_cast<size_t>(i)], parent);
    node.index_ = i;
    RETURN_IF_ERROR(each(i, node));
  }
  return absl::OkStatus();
}

}  // namespace millrace
