#include <array>
#include <utility>

#include "chat/jinja/access.h"
#include "chat/jinja/arithmetic.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/tests.h"

namespace millrace::jinja {

absl::StatusOr<Value> Evaluator::evaluate(const Expr& expr) {
  const Workspace::Level level(work_);
  absl::Status status = level.check();
  if (status.ok()) status = work_.spend(1 + std::exchange(hops_, 0) / 16);
  absl::StatusOr<Value> value =
      status.ok() ? std::visit([this](const auto& node) { return evaluate(node); }, expr.node)
                  : absl::StatusOr<Value>(std::move(status));
  if (!value.ok() && !has_fault_) {
    has_fault_ = true;
    fault_offset_ = expr.offset;
  }
  return value;
}

absl::StatusOr<Value> Evaluator::evaluate(const Literal& node) { return node.value; }

Value Evaluator::lookup(NameId name) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent, ++hops_) {
    for (const Binding* at = scope->first; at != nullptr; at = at->next, ++hops_) {
      if (at->name == name) return at->value;
    }
  }
  return globals_[static_cast<size_t>(name)];
}

absl::StatusOr<Value> Evaluator::evaluate(const NameRef& node) { return lookup(node.name); }

absl::StatusOr<Value> Evaluator::evaluate(const ListDisplay& node) {
  const std::span<Value> items = work_.arena().make_array<Value>(node.items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(items[i], evaluate(*node.items[i]));
  }
  return Value(work_.arena().make<List>(items, node.is_tuple));
}

absl::StatusOr<Value> Evaluator::evaluate(const DictDisplay& node) {
  std::vector<Entry> entries;
  entries.reserve(node.entries.size());
  for (const auto& [key_expr, value_expr] : node.entries) {
    ASSIGN_OR_RETURN(const Value key, evaluate(*key_expr));
    RETURN_IF_ERROR(expect_key(work_, key));
    ASSIGN_OR_RETURN(const Value value, evaluate(*value_expr));
    entries.push_back({key, value});
  }
  return Value(work_.dict(entries));
}

absl::StatusOr<Value> Evaluator::evaluate(const AttributeOf& node) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object));
  if (Loop* const* loop = std::get_if<Loop*>(&object)) return loop_attribute(**loop, node.name);
  return get_attribute(work_, object, node.name);
}

absl::StatusOr<Value> Evaluator::evaluate(const ItemOf& node) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object));
  ASSIGN_OR_RETURN(const Value key, evaluate(*node.index));
  if (Loop* const* loop = std::get_if<Loop*>(&object)) {
    if (const Text* name = as_text(key)) return loop_attribute(**loop, name->view());
  }
  return get_item(work_, object, key);
}

absl::StatusOr<Value> Evaluator::evaluate(const SliceOf& node) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object));
  std::array<Value, 3> values;
  std::array<const Value*, 3> bounds{};
  const std::array<const Expr*, 3> exprs = {node.start.get(), node.stop.get(), node.step.get()};
  for (size_t i = 0; i < exprs.size(); ++i) {
    if (exprs[i] == nullptr) continue;
    ASSIGN_OR_RETURN(values[i], evaluate(*exprs[i]));
    bounds[i] = &values[i];
  }
  return get_slice(work_, object, bounds[0], bounds[1], bounds[2]);
}

absl::StatusOr<Value> Evaluator::evaluate(const Call& node) {
  ASSIGN_OR_RETURN(const Value callee, evaluate(*node.callee));
  ASSIGN_OR_RETURN(const Given given, evaluate_arguments(node.arguments));
  return call(callee, given);
}

absl::StatusOr<Value> Evaluator::evaluate(const FilterCall& node) {
  if (node.filter == nullptr) return invalid_argument("no filter named '{}'", node.name);
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject));
  ASSIGN_OR_RETURN(const Given given, evaluate_arguments(node.arguments));
  return node.filter->function(work_, subject, given.view());
}

absl::StatusOr<Value> Evaluator::evaluate(const TestCall& node) {
  if (node.test == nullptr) return invalid_argument("no test named '{}'", node.name);
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject));
  ASSIGN_OR_RETURN(const Given given, evaluate_arguments(node.arguments));
  ASSIGN_OR_RETURN(const bool result, node.test->function(work_, subject, given.view()));
  return Value(result);
}

absl::StatusOr<Value> Evaluator::evaluate(const Unary& node) {
  ASSIGN_OR_RETURN(const Value value, evaluate(*node.operand));
  switch (node.op) {
    case Unary::Op::kMinus:
      return negative(work_, value);
    case Unary::Op::kPlus:
      return positive(value);
    case Unary::Op::kNot:
      break;
  }
  return Value(!is_true(value));
}

absl::StatusOr<Value> Evaluator::evaluate(const Binary& node) {
  ASSIGN_OR_RETURN(const Value left, evaluate(*node.left));
  ASSIGN_OR_RETURN(const Value right, evaluate(*node.right));
  return binary(work_, node.op, left, right);
}

absl::StatusOr<Value> Evaluator::evaluate(const Logic& node) {
  ASSIGN_OR_RETURN(Value left, evaluate(*node.left));
  if (is_true(left) != node.is_and) return left;
  return evaluate(*node.right);
}

absl::StatusOr<bool> Evaluator::compare(CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kEqual:
      return equal(work_, left, right);
    case CompareOp::kNotEqual: {
      ASSIGN_OR_RETURN(const bool same, equal(work_, left, right));
      return !same;
    }
    case CompareOp::kLess:
      return less(work_, left, right, "<");
    case CompareOp::kGreater:
      return less(work_, right, left, ">");
    case CompareOp::kLessEqual:
      return less_or_equal(work_, left, right, "<=");
    case CompareOp::kGreaterEqual:
      return less_or_equal(work_, right, left, ">=");
    case CompareOp::kIn:
      return contains(work_, right, left);
    case CompareOp::kNotIn: {
      ASSIGN_OR_RETURN(const bool is_in, contains(work_, right, left));
      return !is_in;
    }
  }
  return false;
}

absl::StatusOr<Value> Evaluator::evaluate(const Comparison& node) {
  ASSIGN_OR_RETURN(Value left, evaluate(*node.first));
  for (const auto& [op, expr] : node.rest) {
    ASSIGN_OR_RETURN(const Value right, evaluate(*expr));
    ASSIGN_OR_RETURN(const bool holds, compare(op, left, right));
    if (!holds) return Value(false);
    left = right;
  }
  return Value(true);
}

absl::StatusOr<Value> Evaluator::evaluate(const Concat& node) {
  TextBuilder out(work_);
  for (const ExprPtr& part : node.parts) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*part));
    RETURN_IF_ERROR(append_text(out, work_, value));
  }
  return out.finish();
}

absl::StatusOr<Value> Evaluator::evaluate(const Conditional& node) {
  ASSIGN_OR_RETURN(const Value condition, evaluate(*node.condition));
  if (is_true(condition)) return evaluate(*node.value);
  if (node.otherwise != nullptr) return evaluate(*node.otherwise);
  return Value(undefined_because(
      "the inline if-expression evaluated to false and no else section was defined"));
}

}  // namespace millrace::jinja
