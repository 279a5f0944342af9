#include <algorithm>
#include <array>
#include <utility>

#include "chat/jinja/evaluator.h"
#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"

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
  if (node.filter == nullptr) return no_filter(node.name);
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject));
  ASSIGN_OR_RETURN(const Given given, evaluate_arguments(node.arguments));
  return node.filter->function(work_, *node.filter, subject, given.view());
}

absl::StatusOr<Value> Evaluator::evaluate(const TestCall& node) {
  if (node.test == nullptr) return no_test(node.name);
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject));
  ASSIGN_OR_RETURN(const Given given, evaluate_arguments(node.arguments));
  return node.test->function(work_, *node.test, subject, given.view());
}

absl::StatusOr<Value> Evaluator::evaluate(const Unary& node) {
  ASSIGN_OR_RETURN(const Value value, evaluate(*node.operand));
  switch (node.op) {
    case Unary::Op::kMinus:
      return negative(value);
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

absl::StatusOr<Value> Evaluator::evaluate(const Comparison& node) {
  ASSIGN_OR_RETURN(Value left, evaluate(*node.first));
  for (const auto& [op, expr] : node.rest) {
    ASSIGN_OR_RETURN(const Value right, evaluate(*expr));
    ASSIGN_OR_RETURN(const bool holds, compare(work_, op, left, right));
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

absl::StatusOr<Evaluator::Given> Evaluator::evaluate_arguments(const CallArguments& node) {
  Given given;
  given.positional.reserve(node.positional.size());
  for (const ExprPtr& expr : node.positional) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*expr));
    given.positional.push_back(value);
  }
  for (const auto& [name, expr] : node.named) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*expr));
    given.named.push_back({name, value});
  }
  return given;
}

absl::StatusOr<Value> Evaluator::call(const Value& callee, const Given& given) {
  if (is_undefined(callee)) return undefined_error(callee);
  const auto* callable = std::get_if<const Callable*>(&callee);
  if (callable == nullptr) return invalid_argument("{} cannot be called", type_name(callee));
  const Routine* routine = (*callable)->routine;
  if (routine == nullptr) return call_macro(**callable, given);
  return routine->function(work_, *routine, (*callable)->self, given.view());
}

absl::StatusOr<Value> Evaluator::call_macro(const Callable& callable, const Given& given) {
  const Macro& macro = *callable.macro;
  TextBuilder out(work_);
  const Replace scope_here(scope_, work_.arena().make<Scope>(callable.scope, nullptr));
  const Replace out_here(out_, &out);
  RETURN_IF_ERROR(bind_parameters(macro, given));
  bind_unset(macro.body);
  RETURN_IF_ERROR(execute(macro.body).status());
  return out.finish();
}

absl::Status Evaluator::bind_parameters(const Macro& macro, const Given& given) {
  RETURN_IF_ERROR(work_.spend(std::ssize(macro.parameters) * (1 + std::ssize(given.named)) / 8));
  const size_t taken = given.positional.size();
  if (taken > macro.parameters.size()) {
    return invalid_argument("macro '{}' takes at most {} arguments, got {}", macro.name,
                            macro.parameters.size(), taken);
  }
  for (const NamedValue& named : given.named) {
    const bool is_parameter =
        std::any_of(macro.parameters.begin() + static_cast<ptrdiff_t>(taken),
                    macro.parameters.end(), [&](const Macro::Parameter& parameter) {
                      return tree_.names[static_cast<size_t>(parameter.name)] == named.name;
                    });
    if (!is_parameter) {
      return invalid_argument("macro '{}' has no parameter '{}'", macro.name, named.name);
    }
  }
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const Macro::Parameter& parameter = macro.parameters[i];
    const std::string_view name = tree_.names[static_cast<size_t>(parameter.name)];
    if (i < given.positional.size()) {
      bind_name(parameter.name, given.positional[i]);
      continue;
    }
    const auto named = std::find_if(given.named.begin(), given.named.end(),
                                    [&](const NamedValue& each) { return each.name == name; });
    if (named != given.named.end()) {
      bind_name(parameter.name, named->value);
    } else if (parameter.fallback != nullptr) {
      ASSIGN_OR_RETURN(const Value value, evaluate(*parameter.fallback));
      bind_name(parameter.name, value);
    } else {
      bind_name(parameter.name, undefined_name(parameter.name));
    }
  }
  return absl::OkStatus();
}

namespace {

Value integer(size_t number) { return static_cast<int64_t>(number); }

}  // namespace

absl::StatusOr<Value> Evaluator::loop_attribute(Loop& loop, std::string_view name) {
  const size_t index0 = loop.index0;
  if (name == "index") return integer(index0 + 1);
  if (name == "index0") return integer(index0);
  if (name == "first") return Value(index0 == 0);
  if (name == "cycle" || name == "changed" || name == "depth" || name == "depth0") {
    return unimplemented("the attribute '{}' of a loop is not supported", name);
  }
  if (name == "previtem") {
    if (index0 == 0) return Value(undefined_because("there is no previous item"));
    return item_of(loop, index0 - 1);
  }
  if (name == "last" || name == "nextitem") {
    ASSIGN_OR_RETURN(const bool has_next, reaches(loop, index0 + 1));
    if (name == "last") return Value(!has_next);
    if (!has_next) return Value(undefined_because("there is no next item"));
    return item_of(loop, index0 + 1);
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    RETURN_IF_ERROR(reaches(loop, loop.source.size()).status());
    const size_t length =
        loop.statement->filter == nullptr ? loop.source.size() : loop.accepted_size;
    if (name == "length") return integer(length);
    return integer(length - index0 - (name == "revindex0" ? 1 : 0));
  }
  return Value(missing_attribute(Value(&loop), name));
}

}  // namespace millrace::jinja
