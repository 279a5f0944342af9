#pragma once

namespace millrace {

class ChatTemplate;
class Generator;
class Tokenizer;

// What the server generates with. All three outlive the server's stop().
struct ServedModel {
  Generator& generator;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template = nullptr;  // null: the model has none, and chats are refused
};

}  // namespace millrace
