#include "chat/jinja/template.h"

#include <algorithm>

#include "chat/jinja/ast.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/parser.h"
#include "chat/jinja/source.h"
#include "chat/jinja/workspace.h"
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
