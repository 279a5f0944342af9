#include <algorithm>
#include <array>

#include "chat/jinja/syntax/parser.h"

namespace millrace::jinja {

namespace {

// 'a', 'b' or 'c'
std::string quoted_list(std::span<const std::string_view> names, std::string_view last) {
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) list += i + 1 == names.size() ? " " + std::string(last) + " " : ", ";
    list += "'" + std::string(names[i]) + "'";
  }
  return list;
}

constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};

// Statements of jinja2 that read other templates, escape HTML, or that no template uses.
constexpr std::string_view kUnsupported[] = {"extends", "block",      "include", "import",
                                             "from",    "autoescape", "do",      "trans",
                                             "with",    "print",      "call",    "filter"};

template <size_t N>
bool is_one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool assigns_loop(const Target& target) {
  return target.name == kLoopName ||
         std::any_of(target.parts.begin(), target.parts.end(), assigns_loop);
}

}  // namespace

Parser::Parser(const Source& source, const Limits& limits, std::vector<Token> tokens)
    : source_(source), limits_(limits), tokens_(std::move(tokens)) {}

absl::StatusOr<Tree> Parser::parse(const Source& source, const Limits& limits) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source, limits));
  Parser parser(source, limits, std::move(tokens));
  parser.intern("loop");  // as kLoopName
  ASSIGN_OR_RETURN(parser.tree_.body, parser.body({}));
  RETURN_IF_ERROR(parser.refuse_unknown(0));
  find_unset_names(parser.tree_);
  return std::move(parser.tree_);
}

bool Parser::take_name(std::string_view name) {
  if (!peek().is_name(name)) return false;
  take();
  return true;
}

bool Parser::take_operator(std::string_view sign) {
  if (!peek().is_operator(sign)) return false;
  take();
  return true;
}

absl::Status Parser::expected(std::string_view what) const {
  return fail(peek().offset, invalid_argument("expected {}, found {}", what, peek().describe()));
}

absl::Status Parser::expect_operator(std::string_view sign) {
  if (take_operator(sign)) return absl::OkStatus();
  return expected(fmt::format("'{}'", sign));
}

absl::Status Parser::expect_comma(std::string_view close) {
  if (take_operator(",")) return absl::OkStatus();
  return expected(fmt::format("',' or '{}'", close));
}

absl::Status Parser::expect_type(TokenType type, std::string_view what) {
  if (peek().type != type) return expected(what);
  take();
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> Parser::expect_name(std::string_view what) {
  if (peek().type != TokenType::kName) return expected(what);
  return take().text;
}

absl::Status Parser::count_node(size_t offset) {
  if (++nodes_ <= limits_.nodes_max) return absl::OkStatus();
  return fail(offset, resource_exhausted("the template has more than {} nodes", limits_.nodes_max));
}

NameId Parser::intern(std::string_view name) {
  const auto [at, is_new] = ids_.try_emplace(name, static_cast<NameId>(tree_.names.size()));
  if (is_new) tree_.names.push_back(name);
  return at->second;
}

absl::Status Parser::refuse_unknown(size_t from) {
  if (unknown_.size() <= from) return absl::OkStatus();
  return fail(unknown_[from].offset, unknown_[from].status);
}

absl::StatusOr<Body> Parser::body(std::vector<std::string_view> ends) {
  if (++depth_ > limits_.parse_depth_max) {
    return fail(peek().offset,
                resource_exhausted("the template's blocks nest deeper than {} levels",
                                   limits_.parse_depth_max));
  }
  open_ends_.push_back(std::move(ends));
  Body out;
  while (peek().type != TokenType::kEnd) {
    const Token& token = take();
    RETURN_IF_ERROR(count_node(token.offset));
    if (token.type == TokenType::kData) {
      out.statements.push_back({Data{token.text}, token.offset});
    } else if (token.type == TokenType::kVariableBegin) {
      const size_t offset = peek().offset;
      ASSIGN_OR_RETURN(ExprPtr value, tuple(true));
      out.statements.push_back({Print{std::move(value)}, offset});
      RETURN_IF_ERROR(expect_type(TokenType::kVariableEnd, "'}}'"));
    } else {
      const auto& waited = open_ends_.back();
      if (std::any_of(waited.begin(), waited.end(),
                      [&](std::string_view name) { return peek().is_name(name); })) {
        break;
      }
      RETURN_IF_ERROR(statement(out));
      RETURN_IF_ERROR(expect_type(TokenType::kBlockEnd, "'%}'"));
    }
  }
  if (peek().type == TokenType::kEnd && !open_ends_.back().empty()) {
    return expected(quoted_list(open_ends_.back(), "or"));
  }
  open_ends_.pop_back();
  --depth_;
  return out;
}

absl::StatusOr<Body> Parser::block(std::vector<std::string_view> ends) {
  take_operator(":");
  RETURN_IF_ERROR(expect_type(TokenType::kBlockEnd, "'%}'"));
  return body(std::move(ends));
}

absl::StatusOr<Body> Parser::scoped_block(std::string_view end) {
  const size_t unknown = unknown_.size();
  ASSIGN_OR_RETURN(Body inside, block({end}));
  RETURN_IF_ERROR(refuse_unknown(unknown));
  take();
  return inside;
}

absl::Status Parser::statement(Body& out) {
  struct Statement {
    std::string_view name;
    absl::Status (Parser::*parse)(Body&);
  };
  static constexpr Statement kStatements[] = {
      {"if", &Parser::if_statement},
      {"for", &Parser::for_statement},
      {"set", &Parser::set_statement},
      {"macro", &Parser::macro_statement},
      {"generation", &Parser::generation_statement},
      {"break", &Parser::loop_control},
      {"continue", &Parser::loop_control},
  };
  const Token& token = peek();
  if (token.type != TokenType::kName) return expected("the name of a statement");
  for (const Statement& each : kStatements) {
    if (each.name == token.text) return (this->*each.parse)(out);
  }
  if (is_one_of(token.text, kUnsupported)) {
    return fail(token.offset, unimplemented("the statement '{}' is not supported", token.text));
  }
  if (!open_ends_.back().empty()) return expected(quoted_list(open_ends_.back(), "or"));
  return expected("a statement");
}

// An unknown filter in a branch is an error only when the branch is taken.
absl::Status Parser::if_statement(Body& out) {
  const size_t offset = take().offset;
  const size_t unknown = unknown_.size();
  If node;
  while (true) {
    ASSIGN_OR_RETURN(ExprPtr condition, tuple(false));
    ASSIGN_OR_RETURN(Body inside, block({"elif", "else", "endif"}));
    node.branches.push_back({std::move(condition), std::move(inside)});
    const Token& end = take();
    if (end.text == "elif") continue;
    if (end.text == "else") {
      ASSIGN_OR_RETURN(node.otherwise, block({"endif"}));
      take();
    }
    break;
  }
  unknown_.resize(unknown);
  out.statements.push_back({std::move(node), offset});
  return absl::OkStatus();
}

absl::Status Parser::for_statement(Body& out) {
  const size_t offset = take().offset;
  For node;
  ASSIGN_OR_RETURN(node.target, target(false));
  if (assigns_loop(node.target)) {
    return fail(node.target.offset, invalid_argument("a loop cannot assign to 'loop'"));
  }
  if (!take_name("in")) return expected("'in'");
  ASSIGN_OR_RETURN(node.iterable, tuple(false));
  const size_t unknown = unknown_.size();
  if (take_name("if")) {
    ASSIGN_OR_RETURN(node.filter, expression());
  }
  if (peek().is_name("recursive")) {
    return fail(peek().offset, unimplemented("'recursive' loops are not supported"));
  }
  ++loops_;
  ASSIGN_OR_RETURN(node.body, block({"endfor", "else"}));
  --loops_;
  if (take().text == "else") {
    ASSIGN_OR_RETURN(node.otherwise, block({"endfor"}));
    take();
  }
  RETURN_IF_ERROR(refuse_unknown(unknown));
  out.statements.push_back({std::move(node), offset});
  return absl::OkStatus();
}

absl::Status Parser::set_statement(Body& out) {
  const size_t offset = take().offset;
  ASSIGN_OR_RETURN(Target where, target(true));
  if (take_operator("=")) {
    ASSIGN_OR_RETURN(ExprPtr value, tuple(true));
    out.statements.push_back({Set{std::move(where), std::move(value)}, offset});
    return absl::OkStatus();
  }
  SetBlock node;
  node.target = std::move(where);
  if (peek().is_operator("|")) {
    return fail(peek().offset, unimplemented("filters of a 'set' block are not supported"));
  }
  if (peek().type != TokenType::kBlockEnd) return expected("'=' or '%}'");
  ASSIGN_OR_RETURN(node.body, scoped_block("endset"));
  out.statements.push_back({std::move(node), offset});
  return absl::OkStatus();
}

absl::Status Parser::signature(Macro& macro) {
  const size_t unknown = unknown_.size();
  RETURN_IF_ERROR(expect_operator("("));
  while (!peek().is_operator(")")) {
    if (!macro.parameters.empty()) RETURN_IF_ERROR(expect_comma(")"));
    const Token& token = peek();
    ASSIGN_OR_RETURN(const std::string_view name, expect_name("the name of a parameter"));
    if (is_one_of(name, kConstants)) {
      return fail(token.offset, invalid_argument("cannot assign to '{}'", name));
    }
    Macro::Parameter parameter{intern(name), nullptr};
    if (take_operator("=")) {
      ASSIGN_OR_RETURN(parameter.fallback, expression());
    } else if (!macro.parameters.empty() && macro.parameters.back().fallback != nullptr) {
      return expected("'=', since the parameter before has a default");
    }
    macro.parameters.push_back(std::move(parameter));
    if (std::ssize(macro.parameters) > limits_.parameters_max) {
      return fail(token.offset, resource_exhausted("a macro takes at most {} parameters",
                                                   limits_.parameters_max));
    }
  }
  take();
  return refuse_unknown(unknown);
}

absl::Status Parser::macro_statement(Body& out) {
  const size_t offset = take().offset;
  Macro macro;
  const Token& token = peek();
  ASSIGN_OR_RETURN(macro.name, expect_name("the name of a macro"));
  if (is_one_of(macro.name, kConstants)) {
    return fail(token.offset, invalid_argument("cannot assign to '{}'", macro.name));
  }
  const NameId name = intern(macro.name);
  RETURN_IF_ERROR(signature(macro));
  const int32_t loops = std::exchange(loops_, 0);
  const auto loads = static_cast<ptrdiff_t>(loads_.size());
  ASSIGN_OR_RETURN(macro.body, scoped_block("endmacro"));
  loops_ = loops;
  // jinja2 defines these names in a macro that reads them.
  for (const std::string_view given : {"caller", "varargs", "kwargs"}) {
    const bool is_read =
        std::find(loads_.begin() + loads, loads_.end(), intern(given)) != loads_.end();
    const bool is_parameter = std::any_of(
        macro.parameters.begin(), macro.parameters.end(),
        [&](const Macro::Parameter& parameter) { return parameter.name == intern(given); });
    if (!is_read || is_parameter) continue;
    return fail(offset, unimplemented("'{}' of a macro is not supported", given));
  }
  out.statements.push_back({MacroDefinition{name, std::move(macro)}, offset});
  return absl::OkStatus();
}

// transformers marks with it what the assistant said; the text is what it would be without.
absl::Status Parser::generation_statement(Body& out) {
  const size_t offset = take().offset;
  Generation node;
  // transformers makes it a call of a function, which 'break' cannot leave.
  const int32_t loops = std::exchange(loops_, 0);
  ASSIGN_OR_RETURN(node.body, scoped_block("endgeneration"));
  loops_ = loops;
  out.statements.push_back({std::move(node), offset});
  return absl::OkStatus();
}

absl::Status Parser::loop_control(Body& out) {
  const Token& token = take();
  if (loops_ == 0) {
    return fail(token.offset, invalid_argument("'{}' stands outside of a loop", token.text));
  }
  if (token.text == "break") {
    out.statements.push_back({Break{}, token.offset});
  } else {
    out.statements.push_back({Continue{}, token.offset});
  }
  return absl::OkStatus();
}

absl::StatusOr<Target> Parser::target(bool allow_attribute) {
  const size_t offset = peek().offset;
  ASSIGN_OR_RETURN(Target first, single_target(allow_attribute));
  if (!peek().is_operator(",")) return first;
  Target tuple;
  tuple.offset = offset;
  tuple.parts.push_back(std::move(first));
  while (take_operator(",")) {
    if (peek().is_name("in") || peek().is_operator("=") || ends_tuple()) break;
    ASSIGN_OR_RETURN(Target next, single_target(allow_attribute));
    tuple.parts.push_back(std::move(next));
  }
  return tuple;
}

absl::StatusOr<Target> Parser::single_target(bool allow_attribute) {
  const Token& token = peek();
  if (take_operator("(")) {
    if (++depth_ > limits_.parse_depth_max) {
      return fail(token.offset, resource_exhausted("this target nests deeper than {} levels",
                                                   limits_.parse_depth_max));
    }
    ASSIGN_OR_RETURN(Target inside, target(allow_attribute));
    --depth_;
    RETURN_IF_ERROR(expect_operator(")"));
    return inside;
  }
  ASSIGN_OR_RETURN(const std::string_view name, expect_name("the name of a variable"));
  if (is_one_of(name, kConstants)) {
    return fail(token.offset, invalid_argument("cannot assign to '{}'", name));
  }
  Target result;
  result.name = intern(name);
  result.offset = token.offset;
  if (allow_attribute && take_operator(".")) {
    ASSIGN_OR_RETURN(result.attribute, expect_name("the name of an attribute"));
  }
  return result;
}

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
  if (peek().is_operator("*") || peek().is_operator("**")) {
    return fail(offset, unimplemented("'{}' before an argument is not supported", peek().text));
  }
  const bool is_named = peek().type == TokenType::kName && peek(1).is_operator("=");
  if (!is_named) {
    if (!given.named.empty()) {
      return fail(offset, invalid_argument("a positional argument cannot follow a named one"));
    }
    ASSIGN_OR_RETURN(ExprPtr value, expression());
    given.positional.push_back(std::move(value));
    return absl::OkStatus();
  }
  const std::string_view name = take().text;
  take();
  ASSIGN_OR_RETURN(ExprPtr value, expression());
  for (const auto& [known, expr] : given.named) {
    if (known == name) {
      return fail(offset, invalid_argument("the argument '{}' is given twice", name));
    }
  }
  given.named.emplace_back(name, std::move(value));
  if (std::ssize(given.named) <= limits_.parameters_max) return absl::OkStatus();
  return fail(offset, resource_exhausted("a call takes at most {} named arguments",
                                         limits_.parameters_max));
}

}  // namespace millrace::jinja
