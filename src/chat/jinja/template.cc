#include "chat/jinja/template.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "chat/jinja/evaluator.h"
#include "chat/jinja/syntax/parser.h"
#include "chat/jinja/syntax/source.h"
#include "chat/jinja/values/operators.h"
#include "text/unicode/unicode.h"

namespace millrace::jinja {

// The tree looks into the source, so neither moves.
struct Template::Parsed {
  Parsed(std::string_view text, std::string_view name, const Limits& bounds)
      : source(text, name), limits(bounds) {}

  const Source source;
  const Limits limits;
  Tree tree;
};

namespace {

using Json = nlohmann::ordered_json;

// Templates make tokens of these, as in '<|' + role + '|>'. Another role is only text: with
// "im_end" this would end a turn.
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

bool is_known_role(const Json& role) {
  return role.is_string() && std::find(std::begin(kRoles), std::end(kRoles),
                                       role.get_ref<const std::string&>()) != std::end(kRoles);
}

// Walks a context's variable, and remembers on the way out of a failure where it was.
class Converter {
 public:
  explicit Converter(Workspace& work) : work_(work) {}

  absl::StatusOr<Value> convert(const Json& json, bool is_written, bool is_message_list);
  // What failed, as a template would write it behind the variable's name.
  std::string_view path() const { return path_; }

 private:
  absl::StatusOr<Value> array(const Json& json, bool is_written, bool is_message_list);
  absl::StatusOr<Value> object(const Json& json, bool is_written);
  absl::StatusOr<Value> message(const Json& json);
  absl::StatusOr<Value> text(const std::string& bytes, bool is_written);
  absl::Status behind(const std::string& step, const absl::Status& status) {
    constexpr size_t kPathBytesMax = 200;
    path_ = path_.size() < kPathBytesMax ? step + path_ : path_;
    return status;
  }
  absl::Status behind_key(std::string_view key, const absl::Status& status) {
    constexpr size_t kShownBytes = 64;
    return behind(fmt::format(".{}", key.substr(0, kShownBytes)), status);
  }

  Workspace& work_;
  std::string path_;
};

absl::StatusOr<Value> Converter::text(const std::string& bytes, bool is_written) {
  RETURN_IF_ERROR(work_.expect_text(std::ssize(bytes)));
  Text view = make_view(bytes);
  if (is_written && !bytes.empty()) view.marks = &kAllWritten;
  return Value(view);
}

absl::StatusOr<Value> Converter::message(const Json& json) {
  std::vector<Entry> entries;
  for (const auto& [key, value] : json.get_ref<const Json::object_t&>()) {
    const bool is_role = key == "role" && is_known_role(value);
    const absl::StatusOr<Value> converted = convert(value, !is_role, false);
    if (!converted.ok()) return behind_key(key, converted.status());
    ASSIGN_OR_RETURN(const Value name, text(key, true));
    entries.push_back({name, *converted});
  }
  return Value(work_.dict(entries));
}

absl::StatusOr<Value> Converter::array(const Json& json, bool is_written, bool is_message_list) {
  RETURN_IF_ERROR(work_.expect_items(static_cast<int64_t>(json.size())));
  const std::span<Value> items = work_.arena().make_array<Value>(json.size());
  size_t at = 0;
  for (const Json& item : json) {
    const absl::StatusOr<Value> converted =
        is_message_list && item.is_object() ? message(item) : convert(item, is_written, false);
    if (!converted.ok()) return behind(fmt::format("[{}]", at), converted.status());
    items[at++] = *converted;
  }
  return Value(work_.list(items));
}

absl::StatusOr<Value> Converter::object(const Json& json, bool is_written) {
  RETURN_IF_ERROR(work_.expect_items(static_cast<int64_t>(json.size())));
  std::vector<Entry> entries;
  entries.reserve(json.size());
  for (const auto& [key, value] : json.get_ref<const Json::object_t&>()) {
    ASSIGN_OR_RETURN(const Value name, text(key, is_written));
    const absl::StatusOr<Value> converted = convert(value, is_written, false);
    if (!converted.ok()) return behind_key(key, converted.status());
    entries.push_back({name, *converted});
  }
  return Value(work_.dict(entries));
}

absl::StatusOr<Value> Converter::convert(const Json& json, bool is_written, bool is_message_list) {
  const Workspace::Level level(work_);
  RETURN_IF_ERROR(level.check());
  RETURN_IF_ERROR(work_.spend(0));
  switch (json.type()) {
    case Json::value_t::null:
      return Value(None{});
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) return integer_overflow();
      return Value(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return text(json.get_ref<const std::string&>(), is_written);
    case Json::value_t::array:
      return array(json, is_written, is_message_list);
    case Json::value_t::object:
      return object(json, is_written);
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return invalid_argument("this is no JSON value");
}

absl::StatusOr<Value> from_json(Workspace& work, std::string_view name, const Json& json,
                                Origin origin) {
  Converter converter(work);
  absl::StatusOr<Value> value =
      converter.convert(json, origin != Origin::kTrusted, origin == Origin::kMessages);
  if (value.ok()) return value;
  return make_error(value.status().code(), "{}{} of the context: {}", name, converter.path(),
                    message_of(value.status()));
}

// Shows what comes before the first bad byte.
absl::Status not_utf8(std::string_view source, std::string_view name) {
  constexpr std::string_view kReplacement = "\uFFFD";
  const Source shown(fmt::format("{}{}", source.substr(0, utf8_prefix(source)), kReplacement),
                     name);
  return shown.locate(invalid_argument("the template is not UTF-8"),
                      shown.text().size() - kReplacement.size());
}

}  // namespace

Template::Template(std::unique_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

absl::StatusOr<Template> Template::parse(std::string_view source, std::string_view name,
                                         const Limits& limits) {
  if (std::ssize(source) > limits.source_bytes_max) {
    return resource_exhausted("{}: the template has {} bytes, more than {}", name, source.size(),
                              limits.source_bytes_max);
  }
  if (!is_utf8(source)) return not_utf8(source, name);
  auto parsed = std::make_unique<Parsed>(source, name, limits);
  ASSIGN_OR_RETURN(parsed->tree, Parser::parse(parsed->source, parsed->limits));
  return Template(std::move(parsed));
}

absl::StatusOr<MarkedText> Template::render(std::span<const Variable> variables,
                                            absl::Time now) const {
  return render(variables, now, parsed_->limits);
}

absl::StatusOr<MarkedText> Template::render(std::span<const Variable> variables, absl::Time now,
                                            const Limits& limits, Usage* usage) const {
  Workspace work(limits, now);
  Evaluator evaluator(parsed_->tree, work);
  const auto& names = parsed_->tree.names;
  for (const Variable& variable : variables) {
    const auto at = std::find(names.begin(), names.end(), variable.name);
    if (at == names.end()) continue;
    absl::StatusOr<Value> value = from_json(work, variable.name, *variable.value, variable.origin);
    if (!value.ok()) {
      return parsed_->source.name_in(value.status());
    }
    evaluator.define(static_cast<NameId>(at - names.begin()), *value);
  }
  absl::StatusOr<MarkedText> text = evaluator.run();
  if (usage != nullptr) *usage = {work.steps(), work.memory_bytes()};
  if (!text.ok()) return parsed_->source.locate(text.status(), evaluator.fault_offset());
  return text;
}

}  // namespace millrace::jinja
