#include "apps/input/chat_source.h"

#include <filesystem>

#include <CLI/CLI.hpp>

#include "apps/input/input_text.h"
#include "chat/named_templates.h"

namespace millrace {

void bind_chat_template(CLI::App& command, std::string& name_or_file) {
  command
      .add_option("--chat-template", name_or_file,
                  "instead of the model's own: a Jinja file, a variant that the model brings (such "
                  "as rag), or one of " +
                      named_template_names())
      ->type_name("NAME|FILE")
      ->group("Conversations");
}

absl::StatusOr<ChatTemplate> chosen_chat_template(const Metadata& metadata, bool begins_with_bos,
                                                  const std::string& name_or_file) {
  if (name_or_file.empty()) {
    auto own = ChatTemplate::of_model(metadata);
    if (!absl::IsNotFound(own.status())) return own;
    return not_found("the model has no chat template; --chat-template NAME|FILE chooses one");
  }
  if (const auto source = named_template(name_or_file, begins_with_bos)) {
    return ChatTemplate::parse(*source, name_or_file);
  }
  auto variant = ChatTemplate::of_model(metadata, name_or_file);
  if (!absl::IsNotFound(variant.status())) return variant;
  const absl::StatusOr<std::string> source = read_file(name_or_file);
  // Without its folder: what fails while a server renders is told to its clients.
  const std::string name = std::filesystem::path(name_or_file).filename();
  if (source.ok()) return ChatTemplate::parse(*source, name);
  return not_found(
      "'{}' is no file, no variant of the model's chat template and none of those known by name: "
      "{}",
      name_or_file, named_template_names());
}

}  // namespace millrace
