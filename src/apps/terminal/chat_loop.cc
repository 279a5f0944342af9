#include "apps/terminal/chat_loop.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/line_editor/line_reader.h"
#include "apps/serving/session.h"
#include "apps/terminal/one_line.h"
#include "apps/terminal/output.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHelp =
    "/help           this\n"
    "/clear          forget the conversation\n"
    "/system         show what the model is told first\n"
    "/system TEXT    tell it TEXT first, and forget the conversation; `/system none`: nothing\n"
    "/bye            leave, as /exit, /quit and Ctrl-D do\n"
    "//TEXT          send /TEXT as a message\n"
    "Ctrl-C stops an answer. Alt-Enter begins a new line; pasted lines are one message.\n"
    "Arrow keys edit the message and bring earlier ones back.\n";

constexpr std::string_view kCommands[] = {"/help", "/?",    "/clear", "/system",
                                          "/bye",  "/exit", "/quit"};

constexpr std::string_view kContextIsFull =
    "the context is full; /clear forgets the conversation, --max-model-len makes the context "
    "longer where the model and the cache (--kv-cache-memory-bytes) allow it";

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
  const std::string& system() const { return system_; }
  void drop_last() { messages_.erase(messages_.size() - 1); }
  const Json& messages() const { return messages_; }

 private:
  std::string system_;
  Json messages_;
};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\n") == std::string_view::npos;
}

class Chat {
 public:
  Chat(const Served& served, const RunOptions& options)
      : session_(served, options, is_stopped()), conversation_(options.system) {}

  absl::Status talk() {
    if (by_person()) tell("Type a message. /help shows what else there is.\n");
    while (!done_) {
      const auto message = reader_.read("> ");
      if (!message) break;
      if (!is_blank(*message)) RETURN_IF_ERROR(take(*message));
    }
    return absl::OkStatus();
  }

 private:
  bool by_person() { return reader_.terminal() != nullptr; }
  std::function<bool()> is_stopped() {
    if (!by_person()) return {};
    return [terminal = reader_.terminal()] { return terminal->take_stop(); };
  }

  absl::Status take(std::string_view message) {
    if (message.starts_with("//")) return send(message.substr(1));
    if (message.starts_with('/')) return obey(message);
    return send(message);
  }

  absl::Status obey(std::string_view message);
  absl::Status misunderstood(std::string_view why, std::string_view command,
                             std::string_view message);
  absl::Status send(std::string_view message);

  LineReader reader_;
  Session session_;
  Conversation conversation_;
  bool done_ = false;
};

absl::Status Chat::misunderstood(std::string_view why, std::string_view command,
                                 std::string_view message) {
  if (!by_person()) {
    return invalid_argument("{} {}; a message that begins with / is written /{}", why,
                            one_line(command), one_line(message));
  }
  tell(fmt::format("{} {}; /help lists the commands, and /{} is sent as a message\n", why,
                   one_line(command), one_line(message)));
  return absl::OkStatus();
}

// Does what a message that begins with a slash says; but for a system message, no command has
// lines.
absl::Status Chat::obey(std::string_view message) {
  const size_t word_end = std::min(message.find_first_of(" \n"), message.size());
  const std::string_view command = message.substr(0, word_end);
  std::string_view rest = message.substr(word_end);
  while (!rest.empty() && is_blank(rest.substr(0, 1))) rest.remove_prefix(1);
  const bool takes_words = command == "/system";
  if (message.find('\n') != std::string_view::npos && !takes_words) return send(message);
  if (std::ranges::find(kCommands, command) == std::end(kCommands)) {
    return misunderstood("unknown command", command, message);
  }
  if (!rest.empty() && !takes_words) {
    return misunderstood("nothing may stand behind", command, message);
  }
  if (command == "/bye" || command == "/exit" || command == "/quit") {
    done_ = true;
  } else if (command == "/help" || command == "/?") {
    tell(kHelp);
  } else if (command == "/clear") {
    conversation_.clear();
    if (by_person()) tell("The conversation is forgotten.\n");
  } else if (command == "/system" && rest.empty()) {
    const std::string& system = conversation_.system();
    tell(system.empty() ? "There is no system message but what the chat template may add; "
                          "`/system TEXT` sets one.\n"
                        : "The model is told first: " + one_line(system) + "\n");
  } else if (command == "/system") {
    conversation_.set_system(rest == "none" ? "" : std::string(rest));
    if (by_person()) tell("The conversation begins anew.\n");
  }
  return absl::OkStatus();
}

absl::Status Chat::send(std::string_view message) {
  conversation_.add("user", message);
  const auto reply = session_.reply(conversation_.messages());
  if (by_person() && reader_.terminal()->ended()) {
    done_ = true;
    return absl::OkStatus();
  }
  if (reply.ok()) {
    conversation_.add("assistant", *reply);
    if (session_.context_is_full()) tell(fmt::format("[{}]\n", kContextIsFull));
    if (by_person()) tell(fmt::format("\x1b[2m[{}]\x1b[0m\n", session_.timings()));
    return absl::OkStatus();
  }
  if (!by_person() || absl::IsInternal(reply.status())) return reply.status();
  conversation_.drop_last();
  tell(fmt::format(
      "{}\n", absl::IsOutOfRange(reply.status()) ? kContextIsFull : message_of(reply.status())));
  return absl::OkStatus();
}

}  // namespace

absl::Status chat_loop(const Served& served, const RunOptions& options) {
  return Chat(served, options).talk();
}

}  // namespace millrace
