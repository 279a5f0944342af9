#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "chat/jinja/library/library.h"
#include "chat/jinja/syntax/ast.h"
#include "chat/jinja/values/value.h"
#include "chat/jinja/values/workspace.h"

namespace millrace::jinja {

struct Binding {
  NameId name;
  Value value;
  Binding* next;
};

// The variables of one block. The outermost ones live in the Evaluator.
struct Scope {
  Scope* parent;  // null: the outermost
  Binding* first;
};

// Sets a variable for as long as it lives.
template <typename T>
class Replace {
 public:
  Replace(T& place, T value) : place_(place), before_(std::exchange(place, value)) {}
  ~Replace() { place_ = before_; }
  Replace(const Replace&) = delete;
  Replace& operator=(const Replace&) = delete;

 private:
  T& place_;
  T before_;
};

// A loop as its body sees it. Items that a filter refuses are left out when they are reached, since
// the filter may depend on what the body did before.
struct Loop {
  const For* statement;
  Scope* scope;  // around the loop
  std::span<const Value> source;
  size_t source_next = 0;       // of source, not yet looked at
  std::span<Value> accepted{};  // as large as source; without a filter not used
  size_t accepted_size = 0;
  size_t index0 = 0;
};

// Walks a template's tree and writes its text.
class Evaluator {
 public:
  Evaluator(const Tree& tree, Workspace& work);

  // A variable of the context. Names that the template does not use are ignored by the caller.
  void define(NameId name, const Value& value) { globals_[static_cast<size_t>(name)] = value; }
  absl::StatusOr<MarkedText> run();
  // Where in the source run() failed.
  size_t fault_offset() const { return fault_offset_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Statements (statements.cc).
  absl::StatusOr<Flow> execute(const Body& body);
  absl::StatusOr<Flow> execute(const Stmt& stmt);
  absl::StatusOr<Flow> execute(const Data& data);
  absl::StatusOr<Flow> execute(const Print& print);
  absl::StatusOr<Flow> execute(const If& node);
  absl::StatusOr<Flow> execute(const For& node);
  absl::StatusOr<Flow> execute(const Set& node);
  absl::StatusOr<Flow> execute(const SetBlock& node);
  absl::StatusOr<Flow> execute(const MacroDefinition& node);
  absl::StatusOr<Flow> execute(const Generation& node);
  absl::StatusOr<Flow> execute(const Break&) { return Flow::kBreak; }
  absl::StatusOr<Flow> execute(const Continue&) { return Flow::kContinue; }
  // Whether the loop has an item at `index`, looking no further than that.
  absl::StatusOr<bool> reaches(Loop& loop, size_t index);
  Value item_of(const Loop& loop, size_t index) const;
  absl::Status assign(const Target& target, const Value& value);
  void bind_name(NameId name, const Value& value);
  void bind_unset(const Body& body);
  Value undefined_name(NameId name) const;
  // The text of a body in a scope of its own.
  absl::StatusOr<Value> capture(const Body& body, Flow& flow);

  // Expressions (expressions.cc).
  absl::StatusOr<Value> evaluate(const Expr& expr);
  absl::StatusOr<Value> evaluate(const Literal& node);
  absl::StatusOr<Value> evaluate(const NameRef& node);
  absl::StatusOr<Value> evaluate(const ListDisplay& node);
  absl::StatusOr<Value> evaluate(const DictDisplay& node);
  absl::StatusOr<Value> evaluate(const AttributeOf& node);
  absl::StatusOr<Value> evaluate(const ItemOf& node);
  absl::StatusOr<Value> evaluate(const SliceOf& node);
  absl::StatusOr<Value> evaluate(const Call& node);
  absl::StatusOr<Value> evaluate(const FilterCall& node);
  absl::StatusOr<Value> evaluate(const TestCall& node);
  absl::StatusOr<Value> evaluate(const Unary& node);
  absl::StatusOr<Value> evaluate(const Binary& node);
  absl::StatusOr<Value> evaluate(const Logic& node);
  absl::StatusOr<Value> evaluate(const Comparison& node);
  absl::StatusOr<Value> evaluate(const Concat& node);
  absl::StatusOr<Value> evaluate(const Conditional& node);
  Value lookup(NameId name);

  // Calls.
  struct Given {
    std::vector<Value> positional;
    std::vector<NamedValue> named;

    Arguments view() const { return {positional, named}; }
  };
  absl::StatusOr<Given> evaluate_arguments(const CallArguments& node);
  absl::StatusOr<Value> call(const Value& callee, const Given& given);
  absl::StatusOr<Value> call_macro(const Callable& macro, const Given& given);
  absl::Status bind_parameters(const Macro& macro, const Given& given);
  absl::StatusOr<Value> loop_attribute(Loop& loop, std::string_view name);

  const Tree& tree_;
  Workspace& work_;
  std::vector<Value> globals_;  // by NameId
  Scope* scope_ = nullptr;      // null: the outermost
  TextBuilder* out_ = nullptr;
  int64_t hops_ = 0;  // along scopes and bindings, not yet counted as work
  size_t fault_offset_ = 0;
  bool has_fault_ = false;
};

}  // namespace millrace::jinja
