#include "apps/commands/render.h"

#include <filesystem>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <absl/time/civil_time.h>
#include <absl/time/clock.h>
#include <nlohmann/json.hpp>

#include "apps/input/chat_source.h"
#include "apps/input/input_text.h"
#include "apps/input/vocabulary_input.h"
#include "apps/terminal/output.h"
#include "chat/folder_templates.h"
#include "files/checkpoint.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

struct Source {
  ChatTemplate chat;
  std::unique_ptr<const Tokenizer> tokenizer;  // null: only a template was given
};

absl::StatusOr<Source> source_of(const Metadata& metadata,
                                 std::unique_ptr<const Tokenizer> tokenizer,
                                 const std::string& choice) {
  ASSIGN_OR_RETURN(ChatTemplate chat,
                   chosen_chat_template(metadata, tokenizer->vocab().add_bos(), choice));
  return Source{std::move(chat), std::move(tokenizer)};
}

absl::StatusOr<Source> open_folder(const RenderOptions& options) {
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(options.source));
  ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer,
                   open_vocabulary(folder, options.vocabulary));
  ASSIGN_OR_RETURN(const Metadata templates, folder_templates(folder.config, folder.chat_template));
  return source_of(templates, std::move(tokenizer), options.chat_template);
}

absl::StatusOr<Source> open_gguf(const RenderOptions& options) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.source));
  ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer,
                   Tokenizer::create(checkpoint.metadata(), options.vocabulary.pre));
  return source_of(checkpoint.metadata(), std::move(tokenizer), options.chat_template);
}

absl::StatusOr<Source> open_template(const RenderOptions& options) {
  if (!options.chat_template.empty()) {
    return invalid_argument("--chat-template needs a model; '{}' is a template itself",
                            options.source);
  }
  ASSIGN_OR_RETURN(const std::string text, read_file(options.source));
  const std::string name = std::filesystem::path(options.source).filename().string();
  ASSIGN_OR_RETURN(ChatTemplate chat, ChatTemplate::parse(text, name));
  return Source{std::move(chat), nullptr};
}

bool is_gguf(const std::string& path) {
  constexpr std::string_view kMagic = "GGUF";
  return std::filesystem::is_regular_file(path) &&
         read_file(path, kMagic.size()).value_or("") == kMagic;
}

// Whatever is no model is a template.
absl::StatusOr<Source> open_source(const RenderOptions& options) {
  if (names_model_folder(options.source)) return open_folder(options);
  return is_gguf(options.source) ? open_gguf(options) : open_template(options);
}

// The variables that the template shall see. A bare list is the messages of a conversation that
// waits for its answer.
absl::StatusOr<Json> read_context(const RenderOptions& options, std::FILE* in) {
  ASSIGN_OR_RETURN(const std::string text,
                   options.context == "-" ? read_stream(in) : read_file(options.context));
  Json context = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (context.is_array()) {
    return Json({{"messages", std::move(context)}, {"add_generation_prompt", true}});
  }
  if (context.is_object() && context.contains("messages")) return context;
  return invalid_argument(
      "'{}' must hold a JSON list of messages, or an object with messages, tools, "
      "add_generation_prompt and other keyword arguments",
      options.context);
}

void add_spellings(const Vocab& vocab, Json& context) {
  const auto add = [&](const char* name, std::optional<TokenId> token) {
    if (token && !context.contains(name)) context[name] = vocab.text(*token);
  };
  add("bos_token", vocab.bos());
  add("eos_token", vocab.eos());
}

absl::StatusOr<absl::Time> date_of(const RenderOptions& options) {
  if (options.date.empty()) return absl::Now();
  absl::CivilSecond second;
  if (!absl::ParseCivilTime(options.date, &second)) {
    return invalid_argument("--date '{}' must look like 2026-01-31T12:00:00", options.date);
  }
  return absl::FromCivil(second, absl::UTCTimeZone());
}

// As a client's request, in which everything that has no field of its own is a keyword argument.
absl::StatusOr<MarkedText> render_as_served(const ChatTemplate& chat, Json variables,
                                            absl::Time now) {
  ChatContext context;
  const auto take = [&](const char* name) {
    const Json value = variables.value(name, Json());
    variables.erase(name);
    return value;
  };
  context.messages = take("messages");
  context.tools = take("tools");
  const Json asks_answer = take("add_generation_prompt");
  const Json bos = take("bos_token");
  const Json eos = take("eos_token");
  context.add_generation_prompt = !asks_answer.is_boolean() || asks_answer.get<bool>();
  if (bos.is_string()) context.bos_token = bos.get<std::string>();
  if (eos.is_string()) context.eos_token = eos.get<std::string>();
  context.extra = std::move(variables);
  context.now = now;
  return chat.render(context);
}

}  // namespace

void bind(CLI::App& command, RenderOptions& options) {
  command
      .add_option("model", options.source,
                  "the model: a GGUF file, a tokenizer.json, or its folder; or a Jinja template")
      ->required()
      ->type_name("MODEL|TEMPLATE");
  command
      .add_option("context", options.context,
                  "JSON: an object with messages, tools, add_generation_prompt and other keyword "
                  "arguments, or a list of messages; '-' reads standard input")
      ->required()
      ->type_name("CONTEXT");
  bind_chat_template(command, options.chat_template);
  bind(command, options.vocabulary);
  const std::string group = "Conversations";
  command
      .add_flag("--as-served", options.as_served,
                "give the messages the shapes that the template wants, as run and serve do; "
                "without it the template sees the context exactly as it is")
      ->group(group);
  command.add_option("--date", options.date, "what the template is told of the time, in UTC")
      ->type_name("YYYY-MM-DDTHH:MM:SS")
      ->group(group);
  command.add_flag("--tokens", options.tokens, "write a JSON list of token ids, not the text")
      ->group(group);
}

absl::Status run_render(const RenderOptions& options, std::FILE* in, std::FILE* out) {
  ASSIGN_OR_RETURN(const Source source, open_source(options));
  if (options.tokens && source.tokenizer == nullptr) {
    return invalid_argument("--tokens needs a model: a template has no vocabulary");
  }
  ASSIGN_OR_RETURN(Json context, read_context(options, in));
  if (source.tokenizer != nullptr) add_spellings(source.tokenizer->vocab(), context);
  ASSIGN_OR_RETURN(const absl::Time now, date_of(options));
  const absl::StatusOr<MarkedText> text =
      options.as_served ? render_as_served(source.chat, std::move(context), now)
                        : source.chat.render_exactly(context, now);
  // A template that asks for too much is at fault as much as one that refuses.
  if (!text.ok()) return invalid_argument("{}", message_of(text.status()));
  if (!options.tokens) return write_output(text->text, out);
  const std::vector<TokenId> ids = source.tokenizer->encode(*text, {.add_special = false});
  return write_output(fmt::format("[{}]\n", fmt::join(ids, ", ")), out);
}

}  // namespace millrace
