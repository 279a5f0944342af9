#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/functional/function_ref.h>

#include "chat/jinja/values/value.h"

namespace millrace::jinja {

struct Routine;

// Variables are known by their place in Tree::names.
using NameId = int32_t;

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string_view, ExprPtr>> named;
};

struct Literal {
  Value value;
};
struct NameRef {
  NameId name;
};
struct ListDisplay {
  std::vector<ExprPtr> items;
  bool is_tuple;
};
struct DictDisplay {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
struct AttributeOf {
  ExprPtr object;
  std::string_view name;
};
struct ItemOf {
  ExprPtr object;
  ExprPtr index;
};
struct SliceOf {
  ExprPtr object;
  ExprPtr start, stop, step;  // null: left out
};
struct Call {
  ExprPtr callee;
  CallArguments arguments;
};
struct FilterCall {
  ExprPtr subject;
  std::string_view name;
  const Routine* filter;  // null: unknown; an error only where it is reached, as in jinja2
  CallArguments arguments;
};
struct TestCall {
  ExprPtr subject;
  std::string_view name;
  const Routine* test;  // null: as for filters
  CallArguments arguments;
};
struct Unary {
  enum class Op : uint8_t { kNot, kMinus, kPlus };
  Op op;
  ExprPtr operand;
};
enum class BinaryOp : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
struct Binary {
  BinaryOp op;
  ExprPtr left, right;
};
struct Logic {
  bool is_and;
  ExprPtr left, right;
};
enum class CompareOp : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};
struct Comparison {
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct Concat {
  std::vector<ExprPtr> parts;
};
struct Conditional {
  ExprPtr condition, value;
  ExprPtr otherwise;  // null: undefined
};

struct Expr {
  std::variant<Literal, NameRef, ListDisplay, DictDisplay, AttributeOf, ItemOf, SliceOf, Call,
               FilterCall, TestCall, Unary, Binary, Logic, Comparison, Concat, Conditional>
      node;
  size_t offset = 0;  // where the caret of an error goes
  int32_t height = 1;
};
void for_each_operand(const Expr& expr, absl::FunctionRef<void(const Expr&)> visit);

struct Stmt;
struct Body {
  std::vector<Stmt> statements;
  // Of a body with variables of its own (see find_unset_names): those that it assigns, and that
  // bodies in it may read before. Until then they are undefined, whatever the context has under
  // their names.
  std::vector<NameId> unset;
};

// What is assigned to: a name, a namespace's attribute, or a tuple of targets.
struct Target {
  NameId name = -1;            // -1: a tuple
  std::string_view attribute;  // empty: the name itself
  std::vector<Target> parts;
  size_t offset = 0;
};

struct Macro {
  struct Parameter {
    NameId name;
    ExprPtr fallback;  // null: undefined
  };
  std::string_view name;
  std::vector<Parameter> parameters;
  Body body;
};

struct Data {
  std::string_view text;
};
struct Print {
  ExprPtr value;
};
struct IfBranch {
  ExprPtr condition;
  Body body;
};
struct If {
  std::vector<IfBranch> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExprPtr iterable;
  ExprPtr filter;  // null: every item
  Body body;
  Body otherwise;  // when there was no item
};
struct Set {
  Target target;
  ExprPtr value;
};
struct SetBlock {
  Target target;
  Body body;
};
struct MacroDefinition {
  NameId name;
  Macro macro;
};
struct Generation {
  Body body;
};
struct Break {};
struct Continue {};

struct Stmt {
  std::variant<Data, Print, If, For, Set, SetBlock, MacroDefinition, Generation, Break, Continue>
      node;
  size_t offset = 0;
};

constexpr NameId kLoopName = 0;  // of `loop`, which the evaluator binds

struct Tree {
  Body body;
  std::vector<std::string_view> names;
  // The bytes of names are the source's; of literals with escapes, these.
  std::deque<std::string> strings;
};

// Fills in Body::unset. jinja2 decides when it compiles which body's variable a name means: one
// that a body assigns belongs to it all over, also where a body inside reads it first.
void find_unset_names(Tree& tree);

}  // namespace millrace::jinja
