#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/string_map.h"
#include "chat/jinja/syntax/ast.h"
#include "chat/jinja/syntax/source.h"
#include "chat/jinja/values/workspace.h"

namespace millrace::jinja {

enum class TokenType : uint8_t {
  kData,           // text between tags, whitespace control applied
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  size_t offset = 0;
  std::string_view text;  // as in the source; of data, what is left after stripping
  std::string string{};   // of kString: escapes read
  int64_t integer = 0;
  double number = 0;

  bool is(TokenType wanted, std::string_view spelling) const {
    return type == wanted && text == spelling;
  }
  bool is_name(std::string_view name) const { return is(TokenType::kName, name); }
  bool is_operator(std::string_view sign) const { return is(TokenType::kOperator, sign); }
  // For "expected X, found Y".
  std::string describe() const;
};

// With trim_blocks and lstrip_blocks, as transformers renders chat templates. Ends with one kEnd.
// Views look into the source.
absl::StatusOr<std::vector<Token>> tokenize(const Source& source, const Limits& limits);

// The grammar of jinja2, statement for statement and precedence for precedence.
class Parser {
 public:
  static absl::StatusOr<Tree> parse(const Source& source, const Limits& limits);

 private:
  // An unknown filter or test. jinja2 rejects it when it compiles, except in a branch that may
  // never be taken.
  struct Unknown {
    size_t offset;
    absl::Status status;
  };

  Parser(const Source& source, const Limits& limits, std::vector<Token> tokens);

  // Statements (statement_parser.cc).
  absl::StatusOr<Body> body(std::vector<std::string_view> ends);
  absl::StatusOr<Body> block(std::vector<std::string_view> ends);  // from the tag's end
  absl::StatusOr<Body> scoped_block(std::string_view end);         // the end tag's name is taken
  absl::Status statement(Body& out);
  absl::Status if_statement(Body& out);
  absl::Status for_statement(Body& out);
  absl::Status set_statement(Body& out);
  absl::Status macro_statement(Body& out);
  absl::Status generation_statement(Body& out);
  absl::Status loop_control(Body& out);
  absl::Status signature(Macro& macro);
  absl::StatusOr<Target> target(bool allow_attribute);
  absl::StatusOr<Target> single_target(bool allow_attribute);

  // Expressions (expression_parser.cc).
  absl::StatusOr<ExprPtr> tuple(bool with_conditional);
  absl::StatusOr<ExprPtr> expression();
  absl::StatusOr<ExprPtr> either();
  absl::StatusOr<ExprPtr> both();
  absl::StatusOr<ExprPtr> negation();
  absl::StatusOr<ExprPtr> comparison();
  absl::StatusOr<ExprPtr> sum();
  absl::StatusOr<ExprPtr> concatenation();
  absl::StatusOr<ExprPtr> product();
  absl::StatusOr<ExprPtr> power();
  absl::StatusOr<ExprPtr> unary(bool with_filter);
  absl::StatusOr<ExprPtr> primary();
  absl::StatusOr<ExprPtr> name_or_constant();
  absl::StatusOr<ExprPtr> string();
  absl::StatusOr<ExprPtr> parenthesized();
  absl::StatusOr<ExprPtr> list();
  absl::StatusOr<ExprPtr> dict();
  absl::StatusOr<ExprPtr> postfix(ExprPtr object);
  absl::StatusOr<ExprPtr> filters_and_tests(ExprPtr subject);
  absl::StatusOr<ExprPtr> attribute(ExprPtr object);
  absl::StatusOr<ExprPtr> subscript(ExprPtr object);
  absl::StatusOr<ExprPtr> call(ExprPtr callee);
  absl::StatusOr<ExprPtr> filter(ExprPtr subject);  // at the filter's name
  absl::StatusOr<ExprPtr> test(ExprPtr subject);
  absl::StatusOr<CallArguments> arguments();
  absl::Status argument(CallArguments& arguments);
  bool begins_test_argument() const;
  bool ends_tuple() const;
  template <typename Node>
  absl::StatusOr<ExprPtr> make(Node node, size_t offset);

  // Tokens.
  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() { return tokens_[at_ < tokens_.size() - 1 ? at_++ : at_]; }
  bool take_name(std::string_view name);
  bool take_operator(std::string_view sign);
  absl::Status expect_operator(std::string_view sign);
  absl::Status expect_comma(std::string_view close);  // between what `close` ends
  absl::Status expect_type(TokenType type, std::string_view what);
  absl::StatusOr<std::string_view> expect_name(std::string_view what);
  absl::Status fail(size_t offset, const absl::Status& status) const {
    return source_.locate(status, offset);
  }
  absl::Status expected(std::string_view what) const;
  absl::Status count_node(size_t offset);
  NameId intern(std::string_view name);
  absl::Status refuse_unknown(size_t from);

  const Source& source_;
  const Limits& limits_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  Tree tree_;
  StringViewMap<NameId> ids_;
  std::vector<NameId> loads_;  // every name read, in order
  std::vector<Unknown> unknown_;
  std::vector<std::vector<std::string_view>> open_ends_;  // the end tags that are waited for
  int32_t nodes_ = 0;
  int32_t depth_ = 0;
  int32_t loops_ = 0;  // open around here, within this macro
};

}  // namespace millrace::jinja
