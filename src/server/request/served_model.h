#pragma once

namespace millrace {

struct AnswerDefaults;
class ChatTemplate;
class Generator;
class Tokenizer;

// What the server generates with. All of it outlives the server's stop().
struct ServedModel {
  Generator& generator;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template = nullptr;  // null: the model has none, and chats are refused
  const AnswerDefaults* defaults = nullptr;     // null: the model has none
};

}  // namespace millrace
