#include <array>
#include <utility>

#include "text/tokenizer_json/readers.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// Published ones have at most ten.
constexpr int64_t kPartsMax = 64;

absl::Status for_each_nested(
    const JsonNode& node, std::string_view list, int64_t& parts,
    absl::FunctionRef<absl::Status(std::string_view type, const JsonNode& part)> each) {
  ASSIGN_OR_RETURN(const std::string_view type, node.string_at("type"));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const JsonNode nested, node.at(list));
    return nested.for_each_element(
        [&](int64_t, const JsonNode& part) { return for_each_nested(part, list, parts, each); });
  }
  if (++parts > kPartsMax) return node.error(fmt::format("is one part of more than {}", kPartsMax));
  return each(type, node);
}

}  // namespace

absl::Status for_each_part(
    const JsonNode& node, std::string_view list,
    absl::FunctionRef<absl::Status(std::string_view type, const JsonNode& part)> each) {
  if (node.is_null()) return absl::OkStatus();
  int64_t parts = 0;
  return for_each_nested(node, list, parts, each);
}

absl::StatusOr<ReadMetaspace> read_metaspace(const JsonNode& node) {
  ASSIGN_OR_RETURN(const JsonNode mark_node, node.at("replacement"));
  ASSIGN_OR_RETURN(const std::string_view mark, mark_node.string_or("\xE2\x96\x81"));
  ASSIGN_OR_RETURN(const JsonNode scheme_node, node.at("prepend_scheme"));
  ASSIGN_OR_RETURN(const bool prefix, node.boolean_at("add_prefix_space", true));
  ASSIGN_OR_RETURN(const std::string_view scheme,
                   scheme_node.string_or(prefix ? "always" : "never"));
  if (mark.empty() || decode_utf8(mark).length != mark.size()) {
    return mark_node.error("is not one character");
  }
  using Prepend = ReadMetaspace::Prepend;
  if (scheme == "never") return ReadMetaspace{std::string(mark), Prepend::kNever};
  if (scheme == "first") return ReadMetaspace{std::string(mark), Prepend::kFirst};
  if (scheme == "always") return ReadMetaspace{std::string(mark), Prepend::kAlways};
  return scheme_node.not_done(fmt::format("is '{}', not always, first or never", scheme));
}

absl::StatusOr<ReadPattern> read_pattern(const JsonNode& node) {
  ASSIGN_OR_RETURN(const JsonNode string_node, node.at("String"));
  if (!string_node.is_null()) {
    ASSIGN_OR_RETURN(const std::string_view text, string_node.string());
    return ReadPattern{.text = std::string(text)};
  }
  ASSIGN_OR_RETURN(const std::string_view expression, node.string_at("Regex"));
  return ReadPattern{.expression = std::string(expression)};
}

}  // namespace millrace
