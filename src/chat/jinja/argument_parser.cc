#include "chat/jinja/parser.h"

namespace millrace::jinja {

absl::StatusOr<CallArguments> Parser::arguments() {
  RETURN_IF_ERROR(expect_operator("("));
  CallArguments given;
  bool is_first = true;
  while (!peek().is_operator(")")) {
    if (!is_first) {
      RETURN_IF_ERROR(expect_comma(")"));
      if (peek().is_operator(")")) break;
    }
    is_first = false;
    RETURN_IF_ERROR(argument(given));
  }
  take();
  return given;
}

absl::Status Parser::argument(CallArguments& given) {
  const size_t offset = peek().offset;
  const auto misplaced = [&] {
    return fail(offset, invalid_argument("this argument cannot come here; expected positional "
                                         "arguments, then named ones, then *list and **dict"));
  };
  if (take_operator("*")) {
    if (given.spread != nullptr || given.named_spread != nullptr) return misplaced();
    ASSIGN_OR_RETURN(given.spread, expression());
  } else if (take_operator("**")) {
    if (given.named_spread != nullptr) return misplaced();
    ASSIGN_OR_RETURN(given.named_spread, expression());
  } else if (peek().type == TokenType::kName && peek(1).is_operator("=")) {
    if (given.named_spread != nullptr) return misplaced();
    const std::string_view name = take().text;
    take();
    ASSIGN_OR_RETURN(ExprPtr value, expression());
    for (const auto& [known, expr] : given.named) {
      if (known == name) {
        return fail(offset, invalid_argument("the argument '{}' is given twice", name));
      }
    }
    given.named.emplace_back(name, std::move(value));
    if (std::ssize(given.named) > limits_.parameters_max) {
      return fail(offset, resource_exhausted("a call takes at most {} named arguments",
                                             limits_.parameters_max));
    }
  } else {
    if (given.spread != nullptr || given.named_spread != nullptr || !given.named.empty()) {
      return misplaced();
    }
    ASSIGN_OR_RETURN(ExprPtr value, expression());
    given.positional.push_back(std::move(value));
  }
  return absl::OkStatus();
}

}  // namespace millrace::jinja
