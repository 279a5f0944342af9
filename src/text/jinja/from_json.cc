#include <algorithm>

#include <nlohmann/json.hpp>

#include "text/jinja/integers.h"
#include "text/jinja/json.h"

namespace millrace::jinja {

namespace {

using Json = nlohmann::ordered_json;

// Templates make tokens of these, as in '<|' + role + '|>'. Another role is only text: with
// "im_end" this would end a turn.
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

bool is_known_role(const Json& role) {
  return role.is_string() && std::find(std::begin(kRoles), std::end(kRoles),
                                       role.get_ref<const std::string&>()) != std::end(kRoles);
}

absl::StatusOr<Value> text_of(Workspace& work, const std::string& text, bool is_written) {
  RETURN_IF_ERROR(work.expect_text(std::ssize(text)));
  Text view = make_view(text);
  if (is_written && !text.empty()) view.marks = &kAllWritten;
  return Value(view);
}

absl::StatusOr<Value> convert(Workspace& work, const Json& json, bool is_written,
                              bool is_message_list);

absl::StatusOr<Value> convert_array(Workspace& work, const Json& json, bool is_written,
                                    bool is_message_list) {
  RETURN_IF_ERROR(work.expect_items(static_cast<int64_t>(json.size())));
  const std::span<Value> items = work.arena().make_array<Value>(json.size());
  size_t at = 0;
  for (const Json& item : json) {
    if (is_message_list && item.is_object()) {
      std::vector<Entry> entries;
      for (const auto& [key, value] : item.items()) {
        const bool is_role = key == "role" && is_known_role(value);
        ASSIGN_OR_RETURN(const Value converted, convert(work, value, !is_role, false));
        ASSIGN_OR_RETURN(const Value name, text_of(work, key, true));
        entries.push_back({name, converted});
      }
      items[at++] = work.dict(entries);
    } else {
      ASSIGN_OR_RETURN(items[at++], convert(work, item, is_written, false));
    }
  }
  return Value(work.list(items));
}

absl::StatusOr<Value> convert_object(Workspace& work, const Json& json, bool is_written) {
  RETURN_IF_ERROR(work.expect_items(static_cast<int64_t>(json.size())));
  std::vector<Entry> entries;
  entries.reserve(json.size());
  for (const auto& [key, value] : json.get_ref<const Json::object_t&>()) {
    ASSIGN_OR_RETURN(const Value name, text_of(work, key, is_written));
    ASSIGN_OR_RETURN(const Value converted, convert(work, value, is_written, false));
    entries.push_back({name, converted});
  }
  return Value(work.dict(entries));
}

absl::StatusOr<Value> convert(Workspace& work, const Json& json, bool is_written,
                              bool is_message_list) {
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  RETURN_IF_ERROR(work.spend(0));
  switch (json.type()) {
    case Json::value_t::null:
      return Value(None{});
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      return make_integer(work, BigInt(json.get<uint64_t>()));
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return text_of(work, json.get_ref<const std::string&>(), is_written);
    case Json::value_t::array:
      return convert_array(work, json, is_written, is_message_list);
    case Json::value_t::object:
      return convert_object(work, json, is_written);
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return invalid_argument("the context holds something that is no JSON value");
}

}  // namespace

absl::StatusOr<Value> from_json(Workspace& work, const Json& json, Origin origin) {
  return convert(work, json, origin != Origin::kTrusted, origin == Origin::kMessages);
}

}  // namespace millrace::jinja
