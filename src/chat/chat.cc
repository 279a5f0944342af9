#include "chat/chat.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "chat/jinja/syntax/source.h"
#include "chat/jinja/template.h"
#include "chat/messages.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Origin;
using jinja::Variable;

constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

// All probes together take at most a tenth of a second whatever the template does; published
// templates need a few hundred steps each.
constexpr jinja::Limits kProbeLimits = {.steps_max = 20'000, .memory_bytes_max = 1 << 20};

Origin origin_of(std::string_view name) {
  if (name == "messages") return Origin::kMessages;
  return name.ends_with("_token") ? Origin::kTrusted : Origin::kWritten;
}

std::vector<Variable> variables_of(const Json& object) {
  std::vector<Variable> variables;
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    variables.push_back({name, &value, origin_of(name)});
  }
  return variables;
}

bool is_given(const Json& tools) { return tools.is_array() && !tools.empty(); }

// A compiled source and its capabilities.
struct Variant {
  jinja::Template source;
  ChatCapabilities can;
};

absl::StatusOr<Variant> compile(std::string_view source, std::string_view name) {
  ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::parse(source, name));
  const ChatCapabilities can =
      probe_capabilities([&](const Json& variables) -> absl::StatusOr<std::string> {
        ASSIGN_OR_RETURN(MarkedText text,
                         parsed.render(variables_of(variables), absl::UnixEpoch(), kProbeLimits));
        return std::move(text.text);
      });
  return Variant{std::move(parsed), can};
}

// A conversation can have what either variant shows of tools.
ChatCapabilities capabilities_of(const Variant& usual, const std::optional<Variant>& with_tools) {
  ChatCapabilities can = usual.can;
  if (!with_tools) return can;
  can.tools = with_tools->can.tools;
  can.tool = with_tools->can.tool;
  can.tool_calls = with_tools->can.tool_calls;
  can.parallel_tool_calls = with_tools->can.parallel_tool_calls;
  can.text_arguments = with_tools->can.text_arguments;
  return can;
}

absl::StatusOr<std::optional<Variant>> compile_key(const Metadata& metadata,
                                                   const std::string& key) {
  if (!metadata.has(key)) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string_view source, metadata.string(key));
  if (source.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(Variant variant, compile(source, key));
  return std::optional<Variant>(std::move(variant));
}

}  // namespace

struct ChatTemplate::Compiled {
  Variant usual;
  std::optional<Variant> with_tools;
  ChatCapabilities can = capabilities_of(usual, with_tools);

  const Variant& variant_for(const Json& tools) const {
    return with_tools && is_given(tools) ? *with_tools : usual;
  }
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::parse(std::string_view source, std::string_view name) {
  ASSIGN_OR_RETURN(Variant usual, compile(source, name));
  return ChatTemplate(std::make_unique<const Compiled>(Compiled{std::move(usual), std::nullopt}));
}

absl::StatusOr<ChatTemplate> ChatTemplate::of_model(const Metadata& metadata,
                                                    std::string_view variant) {
  const std::string key =
      variant.empty() ? std::string(kTemplateKey) : fmt::format("{}.{}", kTemplateKey, variant);
  ASSIGN_OR_RETURN(std::optional<Variant> usual, compile_key(metadata, key));
  if (!usual) return not_found("the model has no chat template ('{}')", key);
  std::optional<Variant> with_tools;
  if (variant.empty()) {
    ASSIGN_OR_RETURN(with_tools, compile_key(metadata, fmt::format("{}.tool_use", kTemplateKey)));
  }
  return ChatTemplate(
      std::make_unique<const Compiled>(Compiled{*std::move(usual), std::move(with_tools)}));
}

const ChatCapabilities& ChatTemplate::capabilities() const { return compiled_->can; }

absl::StatusOr<MarkedText> ChatTemplate::render(const ChatContext& context) const {
  if (!context.extra.is_null() && !context.extra.is_object()) {
    return invalid_argument("the template's keyword arguments must be an object");
  }
  const Variant& variant = compiled_->variant_for(context.tools);
  if (is_given(context.tools) && !variant.can.tools) {
    return invalid_argument("the chat template knows no tools");
  }
  ASSIGN_OR_RETURN(const Json messages, fit_messages(context.messages, variant.can));
  const Json bos = context.bos_token;
  const Json eos = context.eos_token;
  const Json add_generation_prompt = context.add_generation_prompt;
  std::vector<Variable> variables;
  // Later variables replace earlier ones of the same name, so that no keyword argument of a client
  // replaces one of ours.
  if (context.extra.is_object()) {
    for (const auto& [name, value] : context.extra.get_ref<const Json::object_t&>()) {
      variables.push_back({name, &value, Origin::kWritten});
    }
  }
  variables.push_back({"messages", &messages, Origin::kMessages});
  // transformers defines tools always, as none where there are none; some templates never met that.
  const bool leaves_tools = context.tools.is_null() && variant.can.undefined_tools;
  if (!leaves_tools) variables.push_back({"tools", &context.tools, Origin::kWritten});
  variables.push_back({"add_generation_prompt", &add_generation_prompt, Origin::kTrusted});
  variables.push_back({"bos_token", &bos, Origin::kTrusted});
  variables.push_back({"eos_token", &eos, Origin::kTrusted});
  return variant.source.render(variables, context.now);
}

std::string ChatTemplate::reason_of(const absl::Status& status) { return jinja::reason_of(status); }

absl::StatusOr<MarkedText> ChatTemplate::render_exactly(const Json& variables,
                                                        absl::Time now) const {
  if (!variables.is_object()) return invalid_argument("the context must be an object");
  const Variant& variant = compiled_->variant_for(variables.value("tools", Json()));
  return variant.source.render(variables_of(variables), now);
}

}  // namespace millrace
