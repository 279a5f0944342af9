#include "chat/jinja/ast.h"

namespace millrace::jinja {

namespace {

struct Operands {
  absl::FunctionRef<void(const Expr&)> visit;

  void operator()(const Literal&) {}
  void operator()(const NameRef&) {}
  void operator()(const ListDisplay& node) { each(node.items); }
  void operator()(const DictDisplay& node) {
    for (const auto& [key, value] : node.entries) these(key, value);
  }
  void operator()(const AttributeOf& node) { these(node.object); }
  void operator()(const ItemOf& node) { these(node.object, node.index); }
  void operator()(const SliceOf& node) { these(node.object, node.start, node.stop, node.step); }
  void operator()(const Call& node) { these(node.callee), arguments(node.arguments); }
  void operator()(const FilterCall& node) { these(node.subject), arguments(node.arguments); }
  void operator()(const TestCall& node) { these(node.subject), arguments(node.arguments); }
  void operator()(const Unary& node) { these(node.operand); }
  void operator()(const Binary& node) { these(node.left, node.right); }
  void operator()(const Logic& node) { these(node.left, node.right); }
  void operator()(const Comparison& node) {
    these(node.first);
    for (const auto& [op, operand] : node.rest) these(operand);
  }
  void operator()(const Concat& node) { each(node.parts); }
  void operator()(const Conditional& node) { these(node.condition, node.value, node.otherwise); }

 private:
  template <typename... Operand>
  void these(const Operand&... operands) {
    ((operands != nullptr ? visit(*operands) : void()), ...);
  }
  void each(const std::vector<ExprPtr>& operands) {
    for (const ExprPtr& operand : operands) these(operand);
  }
  void arguments(const CallArguments& given) {
    each(given.positional);
    for (const auto& [name, value] : given.named) these(value);
    these(given.spread, given.named_spread);
  }
};

}  // namespace

void for_each_operand(const Expr& expr, absl::FunctionRef<void(const Expr&)> visit) {
  std::visit(Operands{visit}, expr.node);
}

}  // namespace millrace::jinja
