#include <utility>

#include "chat/jinja/evaluator.h"
#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"

namespace millrace::jinja {

Evaluator::Evaluator(const Tree& tree, Workspace& work) : tree_(tree), work_(work) {
  globals_.reserve(tree.names.size());
  for (const std::string_view name : tree.names) {
    if (const Routine* function = find_function(name)) {
      globals_.emplace_back(work_.arena().make<Callable>(name, function));
    } else {
      globals_.emplace_back(undefined_name(static_cast<NameId>(globals_.size())));
    }
  }
}

absl::StatusOr<MarkedText> Evaluator::run() {
  TextBuilder out(work_);
  const Replace out_here(out_, &out);
  bind_unset(tree_.body);
  RETURN_IF_ERROR(execute(tree_.body).status());
  return out.take();
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Body& body) {
  for (const Stmt& stmt : body.statements) {
    ASSIGN_OR_RETURN(const Flow flow, execute(stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Stmt& stmt) {
  const Workspace::Level level(work_);
  absl::Status status = level.check();
  if (status.ok()) status = work_.spend(1 + std::exchange(hops_, 0) / 16);
  absl::StatusOr<Flow> flow = Flow::kNext;
  if (status.ok()) {
    flow = std::visit([this](const auto& node) { return execute(node); }, stmt.node);
  } else {
    flow = std::move(status);
  }
  if (!flow.ok() && !has_fault_) {
    has_fault_ = true;
    fault_offset_ = stmt.offset;
  }
  return flow;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Data& data) {
  out_->append(data.text);
  RETURN_IF_ERROR(out_->check());
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Print& print) {
  ASSIGN_OR_RETURN(const Value value, evaluate(*print.value));
  RETURN_IF_ERROR(append_text(*out_, work_, value));
  RETURN_IF_ERROR(out_->check());
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const If& node) {
  for (const auto& [condition, body] : node.branches) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*condition));
    if (is_true(value)) return execute(body);
  }
  return execute(node.otherwise);
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const For& node) {
  ASSIGN_OR_RETURN(const Value iterable, evaluate(*node.iterable));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work_, iterable));
  Scope* const around = scope_;
  Loop* loop = work_.arena().make<Loop>(&node, around, items);
  if (node.filter != nullptr) loop->accepted = work_.arena().make_array<Value>(items.size());
  const Replace scope_after(scope_, around);
  // In jinja2 an iteration that 'break' or 'continue' cut short does not keep `else` away.
  bool has_completed = false;
  for (;; ++loop->index0) {
    ASSIGN_OR_RETURN(const bool has_item, reaches(*loop, loop->index0));
    if (!has_item) break;
    scope_ = work_.arena().make<Scope>(around, nullptr);
    bind_name(kLoopName, loop);
    RETURN_IF_ERROR(assign(node.target, item_of(*loop, loop->index0)));
    bind_unset(node.body);
    RETURN_IF_ERROR(work_.spend());
    ASSIGN_OR_RETURN(const Flow flow, execute(node.body));
    if (flow == Flow::kBreak) break;
    has_completed = has_completed || flow == Flow::kNext;
  }
  if (has_completed || node.otherwise.statements.empty()) return Flow::kNext;
  scope_ = work_.arena().make<Scope>(around, nullptr);
  bind_unset(node.otherwise);
  return execute(node.otherwise);
}

absl::StatusOr<bool> Evaluator::reaches(Loop& loop, size_t index) {
  if (loop.statement->filter == nullptr) return index < loop.source.size();
  const Replace scope_after(scope_, scope_);
  while (loop.accepted_size <= index && loop.source_next < loop.source.size()) {
    const Value& item = loop.source[loop.source_next++];
    scope_ = work_.arena().make<Scope>(loop.scope, nullptr);
    RETURN_IF_ERROR(assign(loop.statement->target, item));
    ASSIGN_OR_RETURN(const Value wanted, evaluate(*loop.statement->filter));
    if (is_true(wanted)) loop.accepted[loop.accepted_size++] = item;
  }
  return index < loop.accepted_size;
}

Value Evaluator::item_of(const Loop& loop, size_t index) const {
  return loop.statement->filter == nullptr ? loop.source[index] : loop.accepted[index];
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Set& node) {
  ASSIGN_OR_RETURN(const Value value, evaluate(*node.value));
  RETURN_IF_ERROR(assign(node.target, value));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const SetBlock& node) {
  Flow flow = Flow::kNext;
  ASSIGN_OR_RETURN(const Value text, capture(node.body, flow));
  if (flow != Flow::kNext) return flow;
  RETURN_IF_ERROR(assign(node.target, text));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const Generation& node) {
  const Replace scope_here(scope_, work_.arena().make<Scope>(scope_, nullptr));
  bind_unset(node.body);
  return execute(node.body);
}

absl::StatusOr<Evaluator::Flow> Evaluator::execute(const MacroDefinition& node) {
  bind_name(node.name, work_.arena().make<Callable>(node.macro.name, nullptr, Value(None{}),
                                                    &node.macro, scope_));
  return Flow::kNext;
}

absl::StatusOr<Value> Evaluator::capture(const Body& body, Flow& flow) {
  TextBuilder out(work_);
  const Replace out_here(out_, &out);
  const Replace scope_here(scope_, work_.arena().make<Scope>(scope_, nullptr));
  bind_unset(body);
  ASSIGN_OR_RETURN(flow, execute(body));
  return out.finish();
}

Value Evaluator::undefined_name(NameId name) const {
  const std::string_view view = tree_.names[static_cast<size_t>(name)];
  return Undefined{view.data(), nullptr, static_cast<uint32_t>(view.size()), Undefined::Why::kName};
}

void Evaluator::bind_unset(const Body& body) {
  for (const NameId name : body.unset) bind_name(name, undefined_name(name));
}

void Evaluator::bind_name(NameId name, const Value& value) {
  if (scope_ == nullptr) {
    globals_[static_cast<size_t>(name)] = value;
    return;
  }
  for (Binding* at = scope_->first; at != nullptr; at = at->next, ++hops_) {
    if (at->name == name) {
      at->value = value;
      return;
    }
  }
  scope_->first = work_.arena().make<Binding>(name, value, scope_->first);
}

absl::Status Evaluator::assign(const Target& target, const Value& value) {
  if (target.name >= 0 && target.attribute.empty()) {
    bind_name(target.name, value);
    return absl::OkStatus();
  }
  if (target.name >= 0) {
    const Value object = lookup(target.name);
    Namespace* const* space = std::get_if<Namespace*>(&object);
    if (space == nullptr) {
      return invalid_argument("only a namespace's attributes can be set; '{}' is {}",
                              tree_.names[static_cast<size_t>(target.name)], type_name(object));
    }
    return set_attribute(work_, **space, make_view(target.attribute), value);
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work_, value));
  if (items.size() != target.parts.size()) {
    return invalid_argument("{} values cannot be unpacked into {} names", items.size(),
                            target.parts.size());
  }
  for (size_t i = 0; i < items.size(); ++i) RETURN_IF_ERROR(assign(target.parts[i], items[i]));
  return absl::OkStatus();
}

}  // namespace millrace::jinja
