#include "chat/folder_templates.h"

#include <string>

#include "base/json/json_node.h"

namespace millrace {
namespace {

constexpr std::string_view kKey = "tokenizer.chat_template";
constexpr std::string_view kConfig = "tokenizer_config.json";

// A name tells when a template is used; "default" is the one that is used otherwise.
absl::Status add_named(const JsonNode& node, Metadata& metadata) {
  ASSIGN_OR_RETURN(const std::string_view name, node.string_at("name"));
  ASSIGN_OR_RETURN(const std::string_view source, node.string_at("template"));
  metadata.set_string(name == "default" ? std::string(kKey) : fmt::format("{}.{}", kKey, name),
                      std::string(source));
  return absl::OkStatus();
}

absl::Status add_templates(const JsonNode& config, Metadata& metadata) {
  ASSIGN_OR_RETURN(const JsonNode node, config.at("chat_template"));
  if (node.is_null()) return absl::OkStatus();
  if (node.is_array()) {
    return node.for_each_element(
        [&](int64_t, const JsonNode& named) { return add_named(named, metadata); });
  }
  ASSIGN_OR_RETURN(const std::string_view source, node.string());
  metadata.set_string(std::string(kKey), std::string(source));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Metadata> folder_templates(std::string_view config, std::string_view jinja) {
  Metadata metadata;
  if (!jinja.empty()) {
    metadata.set_string(std::string(kKey), std::string(jinja));
    return metadata;
  }
  if (config.empty()) return metadata;
  ASSIGN_OR_RETURN(const JsonNode root, JsonNode::parse(config, kConfig));
  const absl::Status added = add_templates(root, metadata);
  if (!added.ok()) return invalid_argument("{}: {}", kConfig, message_of(added));
  return metadata;
}

}  // namespace millrace
