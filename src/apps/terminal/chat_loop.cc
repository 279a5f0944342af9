#include "apps/terminal/chat_loop.h"

#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/terminal/line_reader.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHelp =
    "/help           this\n"
    "/clear          forget the conversation\n"
    "/system TEXT    set what the model is told first, and forget the conversation; without TEXT: "
    "nothing\n"
    "/exit           leave, as Ctrl-D does\n"
    "Ctrl-C stops an answer. Arrow keys edit the line and bring earlier ones back.\n";

class Conversation {
 public:
  explicit Conversation(std::string system) : system_(std::move(system)) { clear(); }

  void clear() {
    messages_ = Json::array();
    if (!system_.empty()) add("system", system_);
  }
  void set_system(std::string system) {
    system_ = std::move(system);
    clear();
  }
  void add(std::string_view role, std::string_view content) {
    messages_.push_back({{"role", role}, {"content", content}});
  }
  void drop_last() { messages_.erase(messages_.size() - 1); }
  const Json& messages() const { return messages_; }

 private:
  std::string system_;
  Json messages_;
};

enum class Done { kNo, kYes };

// Does what a line that begins with a slash says.
Done obey(std::string_view line, Conversation& conversation) {
  const size_t space = line.find(' ');
  const std::string_view command = line.substr(0, space);
  const std::string_view rest = space == std::string_view::npos ? "" : line.substr(space + 1);
  if (command == "/exit" || command == "/quit") return Done::kYes;
  if (command == "/help") {
    fmt::print(stderr, "{}", kHelp);
  } else if (command == "/clear") {
    conversation.clear();
  } else if (command == "/system") {
    conversation.set_system(std::string(rest));
  } else {
    fmt::print(stderr, "unknown command {}; /help lists them\n", command);
  }
  return Done::kNo;
}

}  // namespace

absl::Status chat_loop(Session& session, const RunOptions& options) {
  LineReader reader;
  Conversation conversation(options.system);
  if (reader.on_terminal()) fmt::print(stderr, "Type a message. /help shows what else there is.\n");
  while (const auto line = reader.read("> ")) {
    if (line->empty()) continue;
    if (line->front() == '/') {
      if (obey(*line, conversation) == Done::kYes) break;
      continue;
    }
    conversation.add("user", *line);
    auto reply = session.reply(conversation.messages());
    if (reply.ok()) {
      conversation.add("assistant", *reply);
      if (reader.on_terminal()) fmt::print(stderr, "\x1b[2m[{}]\x1b[0m\n", session.timings());
    } else if (reader.on_terminal()) {
      conversation.drop_last();
      fmt::print(stderr, "{}\n", message_of(reply.status()));
    } else {
      return reply.status();
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
