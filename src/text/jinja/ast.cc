#include "text/jinja/ast.h"

#include <algorithm>

namespace millrace::jinja {

namespace {

int32_t height_of(const ExprPtr& expr) { return expr == nullptr ? 0 : expr->height; }

int32_t height_of(const CallArguments& arguments) {
  int32_t height = std::max(height_of(arguments.spread), height_of(arguments.named_spread));
  for (const ExprPtr& each : arguments.positional) height = std::max(height, each->height);
  for (const auto& [name, each] : arguments.named) height = std::max(height, each->height);
  return height;
}

struct Height {
  int32_t operator()(const Literal&) { return 0; }
  int32_t operator()(const NameRef&) { return 0; }
  int32_t operator()(const ListDisplay& node) { return tallest(node.items); }
  int32_t operator()(const DictDisplay& node) {
    int32_t height = 0;
    for (const auto& [key, value] : node.entries) {
      height = std::max({height, key->height, value->height});
    }
    return height;
  }
  int32_t operator()(const AttributeOf& node) { return node.object->height; }
  int32_t operator()(const ItemOf& node) { return of(node.object, node.index); }
  int32_t operator()(const SliceOf& node) {
    return std::max(of(node.object, node.start), of(node.stop, node.step));
  }
  int32_t operator()(const Call& node) {
    return std::max(node.callee->height, height_of(node.arguments));
  }
  int32_t operator()(const FilterCall& node) {
    return std::max(node.subject->height, height_of(node.arguments));
  }
  int32_t operator()(const TestCall& node) {
    return std::max(node.subject->height, height_of(node.arguments));
  }
  int32_t operator()(const Unary& node) { return node.operand->height; }
  int32_t operator()(const Binary& node) { return of(node.left, node.right); }
  int32_t operator()(const Logic& node) { return of(node.left, node.right); }
  int32_t operator()(const Comparison& node) {
    int32_t height = node.first->height;
    for (const auto& [op, each] : node.rest) height = std::max(height, each->height);
    return height;
  }
  int32_t operator()(const Concat& node) { return tallest(node.parts); }
  int32_t operator()(const Conditional& node) {
    return std::max(of(node.condition, node.value), height_of(node.otherwise));
  }

  static int32_t of(const ExprPtr& a, const ExprPtr& b) {
    return std::max(height_of(a), height_of(b));
  }
  static int32_t tallest(const std::vector<ExprPtr>& exprs) {
    int32_t height = 0;
    for (const ExprPtr& each : exprs) height = std::max(height, each->height);
    return height;
  }
};

}  // namespace

int32_t tallest_operand(const Expr& expr) { return std::visit(Height{}, expr.node); }

}  // namespace millrace::jinja
