#include <algorithm>

#include "chat/jinja/library/library.h"
#include "chat/jinja/syntax/parser.h"

namespace millrace::jinja {

namespace {

struct CompareSign {
  std::string_view sign;
  CompareOp op;
};
constexpr CompareSign kCompareSigns[] = {
    {"==", CompareOp::kEqual},     {"!=", CompareOp::kNotEqual}, {"<", CompareOp::kLess},
    {"<=", CompareOp::kLessEqual}, {">", CompareOp::kGreater},   {">=", CompareOp::kGreaterEqual},
};

struct ProductSign {
  std::string_view sign;
  BinaryOp op;
};
constexpr ProductSign kProductSigns[] = {
    {"*", BinaryOp::kMultiply},
    {"/", BinaryOp::kDivide},
    {"//", BinaryOp::kFloorDivide},
    {"%", BinaryOp::kModulo},
};

}  // namespace

// A tree grows by loops (`a + b + ...`) as well as by recursion, so its height is bounded here: the
// evaluator and the destructor walk it recursively.
template <typename Node>
absl::StatusOr<ExprPtr> Parser::make(Node node, size_t offset) {
  RETURN_IF_ERROR(count_node(offset));
  auto expr = std::make_unique<Expr>();
  expr->offset = offset;
  expr->node = std::move(node);
  for_each_operand(*expr, [&](const Expr& operand) {
    expr->height = std::max(expr->height, 1 + operand.height);
  });
  if (expr->height > limits_.parse_depth_max) {
    return fail(offset, resource_exhausted("this expression nests deeper than {} levels",
                                           limits_.parse_depth_max));
  }
  return ExprPtr(std::move(expr));
}

bool Parser::ends_tuple() const {
  const Token& next = peek();
  return next.type == TokenType::kVariableEnd || next.type == TokenType::kBlockEnd ||
         next.is_operator(")");
}

absl::StatusOr<ExprPtr> Parser::tuple(bool with_conditional) {
  const size_t offset = peek().offset;
  const auto item = [&] { return with_conditional ? expression() : either(); };
  ASSIGN_OR_RETURN(ExprPtr first, item());
  if (!peek().is_operator(",")) return first;
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (take_operator(",")) {
    if (ends_tuple()) break;
    ASSIGN_OR_RETURN(ExprPtr next, item());
    items.push_back(std::move(next));
  }
  return make(ListDisplay{std::move(items), true}, offset);
}

absl::StatusOr<ExprPtr> Parser::expression() {
  if (++depth_ > limits_.parse_depth_max) {
    return fail(peek().offset, resource_exhausted("this expression nests deeper than {} levels",
                                                  limits_.parse_depth_max));
  }
  const size_t unknown = unknown_.size();
  ASSIGN_OR_RETURN(ExprPtr value, either());
  while (peek().is_name("if")) {
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr condition, either());
    ExprPtr otherwise;
    if (take_name("else")) {
      ASSIGN_OR_RETURN(otherwise, expression());
    }
    unknown_.resize(unknown);
    ASSIGN_OR_RETURN(
        value,
        make(Conditional{std::move(condition), std::move(value), std::move(otherwise)}, offset));
  }
  --depth_;
  return value;
}

absl::StatusOr<ExprPtr> Parser::either() {
  ASSIGN_OR_RETURN(ExprPtr left, both());
  while (peek().is_name("or")) {
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr right, both());
    ASSIGN_OR_RETURN(left, make(Logic{false, std::move(left), std::move(right)}, offset));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::both() {
  ASSIGN_OR_RETURN(ExprPtr left, negation());
  while (peek().is_name("and")) {
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr right, negation());
    ASSIGN_OR_RETURN(left, make(Logic{true, std::move(left), std::move(right)}, offset));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::negation() {
  std::vector<size_t> offsets;
  while (peek().is_name("not")) offsets.push_back(take().offset);
  ASSIGN_OR_RETURN(ExprPtr operand, comparison());
  for (; !offsets.empty(); offsets.pop_back()) {
    ASSIGN_OR_RETURN(operand, make(Unary{Unary::Op::kNot, std::move(operand)}, offsets.back()));
  }
  return operand;
}

absl::StatusOr<ExprPtr> Parser::comparison() {
  ASSIGN_OR_RETURN(ExprPtr first, sum());
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
  const size_t offset = peek().offset;
  while (true) {
    CompareOp op = CompareOp::kIn;
    const Token& next = peek();
    const auto* sign =
        std::find_if(std::begin(kCompareSigns), std::end(kCompareSigns),
                     [&](const CompareSign& entry) { return next.is_operator(entry.sign); });
    if (sign != std::end(kCompareSigns)) {
      op = sign->op;
    } else if (next.is_name("not") && peek(1).is_name("in")) {
      op = CompareOp::kNotIn;
      take();
    } else if (!next.is_name("in")) {
      break;
    }
    take();
    ASSIGN_OR_RETURN(ExprPtr right, sum());
    rest.emplace_back(op, std::move(right));
  }
  if (rest.empty()) return first;
  return make(Comparison{std::move(first), std::move(rest)}, offset);
}

absl::StatusOr<ExprPtr> Parser::sum() {
  ASSIGN_OR_RETURN(ExprPtr left, concatenation());
  while (peek().is_operator("+") || peek().is_operator("-")) {
    const BinaryOp op = peek().is_operator("+") ? BinaryOp::kAdd : BinaryOp::kSubtract;
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr right, concatenation());
    ASSIGN_OR_RETURN(left, make(Binary{op, std::move(left), std::move(right)}, offset));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::concatenation() {
  ASSIGN_OR_RETURN(ExprPtr first, product());
  if (!peek().is_operator("~")) return first;
  const size_t offset = peek().offset;
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(first));
  while (take_operator("~")) {
    ASSIGN_OR_RETURN(ExprPtr next, product());
    parts.push_back(std::move(next));
  }
  return make(Concat{std::move(parts)}, offset);
}

absl::StatusOr<ExprPtr> Parser::product() {
  ASSIGN_OR_RETURN(ExprPtr left, power());
  while (true) {
    const auto* sign =
        std::find_if(std::begin(kProductSigns), std::end(kProductSigns),
                     [&](const ProductSign& entry) { return peek().is_operator(entry.sign); });
    if (sign == std::end(kProductSigns)) return left;
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr right, power());
    ASSIGN_OR_RETURN(left, make(Binary{sign->op, std::move(left), std::move(right)}, offset));
  }
}

absl::StatusOr<ExprPtr> Parser::power() {
  ASSIGN_OR_RETURN(ExprPtr left, unary(true));
  while (peek().is_operator("**")) {
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(ExprPtr right, unary(true));
    ASSIGN_OR_RETURN(left,
                     make(Binary{BinaryOp::kPower, std::move(left), std::move(right)}, offset));
  }
  return left;
}

// jinja2 lets a sign bind tighter than a filter, and what follows the sign has no filters of its
// own: -x|abs is (-x)|abs.
absl::StatusOr<ExprPtr> Parser::unary(bool with_filter) {
  ExprPtr operand;
  if (peek().is_operator("-") || peek().is_operator("+")) {
    if (++depth_ > limits_.parse_depth_max) {
      return fail(peek().offset, resource_exhausted("this expression nests deeper than {} levels",
                                                    limits_.parse_depth_max));
    }
    const Unary::Op op = peek().is_operator("-") ? Unary::Op::kMinus : Unary::Op::kPlus;
    const size_t offset = take().offset;
    ASSIGN_OR_RETURN(operand, unary(false));
    ASSIGN_OR_RETURN(operand, make(Unary{op, std::move(operand)}, offset));
    --depth_;
  } else {
    ASSIGN_OR_RETURN(operand, primary());
  }
  ASSIGN_OR_RETURN(operand, postfix(std::move(operand)));
  if (!with_filter) return operand;
  return filters_and_tests(std::move(operand));
}

absl::StatusOr<ExprPtr> Parser::primary() {
  const Token& token = peek();
  switch (token.type) {
    case TokenType::kName:
      return name_or_constant();
    case TokenType::kString:
      return string();
    case TokenType::kInteger:
      take();
      return make(Literal{token.integer}, token.offset);
    case TokenType::kFloat:
      take();
      return make(Literal{token.number}, token.offset);
    default:
      break;
  }
  if (token.is_operator("(")) return parenthesized();
  if (token.is_operator("[")) return list();
  if (token.is_operator("{")) return dict();
  return expected("an expression");
}

absl::StatusOr<ExprPtr> Parser::name_or_constant() {
  const Token& token = take();
  const std::string_view name = token.text;
  if (name == "true" || name == "True") return make(Literal{true}, token.offset);
  if (name == "false" || name == "False") return make(Literal{false}, token.offset);
  if (name == "none" || name == "None") return make(Literal{None{}}, token.offset);
  loads_.push_back(intern(name));
  return make(NameRef{loads_.back()}, token.offset);
}

absl::StatusOr<ExprPtr> Parser::string() {
  const size_t offset = peek().offset;
  std::string text;
  while (peek().type == TokenType::kString) text += take().string;
  tree_.strings.push_back(std::move(text));
  return make(Literal{make_view(tree_.strings.back())}, offset);
}

absl::StatusOr<ExprPtr> Parser::parenthesized() {
  const size_t offset = take().offset;
  if (take_operator(")")) return make(ListDisplay{{}, true}, offset);
  ASSIGN_OR_RETURN(ExprPtr inside, tuple(true));
  RETURN_IF_ERROR(expect_operator(")"));
  return inside;
}

absl::StatusOr<ExprPtr> Parser::list() {
  const size_t offset = take().offset;
  std::vector<ExprPtr> items;
  while (!peek().is_operator("]")) {
    if (!items.empty()) RETURN_IF_ERROR(expect_comma("]"));
    if (peek().is_operator("]")) break;
    ASSIGN_OR_RETURN(ExprPtr item, expression());
    items.push_back(std::move(item));
  }
  take();
  return make(ListDisplay{std::move(items), false}, offset);
}

absl::StatusOr<ExprPtr> Parser::dict() {
  const size_t offset = take().offset;
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
  while (!peek().is_operator("}")) {
    if (!entries.empty()) RETURN_IF_ERROR(expect_comma("}"));
    if (peek().is_operator("}")) break;
    ASSIGN_OR_RETURN(ExprPtr key, expression());
    RETURN_IF_ERROR(expect_operator(":"));
    ASSIGN_OR_RETURN(ExprPtr value, expression());
    entries.emplace_back(std::move(key), std::move(value));
  }
  take();
  return make(DictDisplay{std::move(entries)}, offset);
}

absl::StatusOr<ExprPtr> Parser::postfix(ExprPtr object) {
  while (true) {
    absl::StatusOr<ExprPtr> next;
    if (peek().is_operator(".")) {
      next = attribute(std::move(object));
    } else if (peek().is_operator("[")) {
      next = subscript(std::move(object));
    } else if (peek().is_operator("(")) {
      next = call(std::move(object));
    } else {
      return object;
    }
    ASSIGN_OR_RETURN(object, std::move(next));
  }
}

absl::StatusOr<ExprPtr> Parser::filters_and_tests(ExprPtr subject) {
  while (true) {
    absl::StatusOr<ExprPtr> next;
    if (take_operator("|")) {
      next = filter(std::move(subject));
    } else if (peek().is_name("is")) {
      next = test(std::move(subject));
    } else if (peek().is_operator("(")) {
      next = call(std::move(subject));
    } else {
      return subject;
    }
    ASSIGN_OR_RETURN(subject, std::move(next));
  }
}

absl::StatusOr<ExprPtr> Parser::attribute(ExprPtr object) {
  const size_t offset = take().offset;
  const Token& token = peek();
  if (token.type == TokenType::kName) {
    take();
    return make(AttributeOf{std::move(object), token.text}, token.offset);
  }
  if (token.type != TokenType::kInteger) return expected("a name or a number after '.'");
  take();
  ASSIGN_OR_RETURN(ExprPtr index, make(Literal{token.integer}, token.offset));
  return make(ItemOf{std::move(object), std::move(index)}, offset);
}

absl::StatusOr<ExprPtr> Parser::subscript(ExprPtr object) {
  const size_t offset = take().offset;
  ExprPtr parts[3];
  size_t part = 0;
  while (!peek().is_operator("]")) {
    if (take_operator(":")) {
      if (++part > 2) return expected("']'");
      continue;
    }
    if (parts[part] != nullptr && !peek().is_operator(",")) return expected("']'");
    if (peek().is_operator(",")) {
      return fail(peek().offset, unimplemented("a tuple as an index is not supported"));
    }
    ASSIGN_OR_RETURN(parts[part], expression());
  }
  if (part == 0 && parts[0] == nullptr) return expected("an index or a slice");
  take();
  if (part == 0) return make(ItemOf{std::move(object), std::move(parts[0])}, offset);
  return make(
      SliceOf{std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2])},
      offset);
}

absl::StatusOr<ExprPtr> Parser::call(ExprPtr callee) {
  const size_t offset = callee->offset;
  ASSIGN_OR_RETURN(CallArguments given, arguments());
  return make(Call{std::move(callee), std::move(given)}, offset);
}

absl::StatusOr<ExprPtr> Parser::filter(ExprPtr subject) {
  const size_t offset = peek().offset;
  ASSIGN_OR_RETURN(const std::string_view name, expect_name("the name of a filter"));
  CallArguments given;
  if (peek().is_operator("(")) {
    ASSIGN_OR_RETURN(given, arguments());
  }
  const Routine* known = find_filter(name);
  if (known == nullptr) unknown_.push_back({offset, no_filter(name)});
  return make(FilterCall{std::move(subject), name, known, std::move(given)}, offset);
}

bool Parser::begins_test_argument() const {
  const Token& next = peek();
  switch (next.type) {
    case TokenType::kName:
      return next.text != "else" && next.text != "or" && next.text != "and";
    case TokenType::kString:
    case TokenType::kInteger:
    case TokenType::kFloat:
      return true;
    default:
      return next.is_operator("[") || next.is_operator("{");
  }
}

absl::StatusOr<ExprPtr> Parser::test(ExprPtr subject) {
  take();
  const bool is_negated = take_name("not");
  const size_t offset = peek().offset;
  ASSIGN_OR_RETURN(const std::string_view name, expect_name("the name of a test"));
  CallArguments given;
  if (peek().is_operator("(")) {
    ASSIGN_OR_RETURN(given, arguments());
  } else if (peek().is_name("is")) {
    return fail(peek().offset, invalid_argument("tests cannot be chained with 'is'"));
  } else if (begins_test_argument()) {
    ASSIGN_OR_RETURN(ExprPtr argument, primary());
    ASSIGN_OR_RETURN(argument, postfix(std::move(argument)));
    given.positional.push_back(std::move(argument));
  }
  const Routine* known = find_test(name);
  if (known == nullptr) unknown_.push_back({offset, no_test(name)});
  ASSIGN_OR_RETURN(ExprPtr expr,
                   make(TestCall{std::move(subject), name, known, std::move(given)}, offset));
  if (!is_negated) return expr;
  return make(Unary{Unary::Op::kNot, std::move(expr)}, offset);
}

}  // namespace millrace::jinja
