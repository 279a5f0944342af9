#include "chat/jinja/syntax/ast.h"

#include <iterator>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

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
  }
};

}  // namespace

void for_each_operand(const Expr& expr, absl::FunctionRef<void(const Expr&)> visit) {
  std::visit(Operands{visit}, expr.node);
}

namespace {

// The names that a body with variables of its own reads and assigns, in the order of its
// statements: jinja2's Symbols and FrameSymbolVisitor (jinja2/idtracking.py).
class Frame {
 public:
  Frame(Frame* parent, Body* body) : parent_(parent), body_(body) {}

  void declare(NameId name) { names_[name] = Origin::kKnown; }

  void load(NameId name) {
    if (!finds(name)) names_[name] = Origin::kKnown;
  }

  void store(NameId name) {
    stored_.insert(name);
    if (has(name)) return;
    names_[name] = is_outer(name) ? Origin::kKnown : Origin::kUnset;
  }

  // An `if` in jinja2 has three branches: its body, all that follows `elif`, and `else`. What is
  // assigned in some of them only may come from the context all the same.
  using Branch = absl::FunctionRef<void(Frame&)>;
  void branch(Branch body, Branch elifs, Branch otherwise) {
    Frame frames[] = {Frame(*this, {}), Frame(*this, {}), Frame(*this, {})};
    body(frames[0]);
    elifs(frames[1]);
    otherwise(frames[2]);
    absl::flat_hash_map<NameId, size_t> stores;
    for (const Frame& each : frames) {
      for (const NameId name : each.stored_) {
        if (!has_stored(name)) ++stores[name];
      }
    }
    for (const Frame& each : frames) {
      for (const auto& [name, origin] : each.names_) names_[name] = origin;
      stored_.insert(each.stored_.begin(), each.stored_.end());
    }
    for (const auto& [name, count] : stores) {
      if (count < std::size(frames)) names_[name] = Origin::kKnown;
    }
  }

 private:
  enum class Origin : uint8_t {
    kKnown,  // assigned from outside, or looked up in the context
    kUnset,  // nothing before the body assigns it
    kRead,   // as kUnset, and a body inside reads it
  };
  struct OfBranch {};

  // A branch of an `if`: it adds to what the frame around it knows.
  Frame(Frame& base, OfBranch) : base_(&base), parent_(base.parent_), body_(base.body_) {}

  Origin* find(NameId name) {
    for (Frame* frame = this; frame != nullptr; frame = frame->base_) {
      const auto at = frame->names_.find(name);
      if (at != frame->names_.end()) return &at->second;
    }
    return nullptr;
  }
  bool has(NameId name) { return find(name) != nullptr; }
  bool has_stored(NameId name) const {
    return stored_.contains(name) || (base_ != nullptr && base_->has_stored(name));
  }

  bool finds(NameId name) { return has(name) || is_outer(name); }
  // Whether a body around this one knows the name; one that is unset there is read here.
  bool is_outer(NameId name) {
    for (Frame* frame = parent_; frame != nullptr; frame = frame->parent_) {
      Origin* origin = frame->find(name);
      if (origin == nullptr) continue;
      if (*origin == Origin::kUnset) {
        *origin = Origin::kRead;
        frame->body_->unset.push_back(name);
      }
      return true;
    }
    return false;
  }

  Frame* base_ = nullptr;
  Frame* parent_;
  Body* body_;
  absl::flat_hash_map<NameId, Origin> names_;
  absl::flat_hash_set<NameId> stored_;
};

void load(Frame& frame, const Expr& expr) {
  if (const auto* name = std::get_if<NameRef>(&expr.node)) frame.load(name->name);
  for_each_operand(expr, [&](const Expr& operand) { load(frame, operand); });
}
void load(Frame& frame, const ExprPtr& expr) {
  if (expr != nullptr) load(frame, *expr);
}

void assign(Frame& frame, const Target& target, bool is_parameter = false) {
  for (const Target& part : target.parts) assign(frame, part, is_parameter);
  if (target.name < 0) return;
  if (!target.attribute.empty()) return frame.load(target.name);
  is_parameter ? frame.declare(target.name) : frame.store(target.name);
}

// What a statement says in the frame that it stands in.
struct Speak {
  Frame& frame;

  void all(const Body& body) const {
    for (const Stmt& stmt : body.statements) std::visit(*this, stmt.node);
  }

  void operator()(const Data&) const {}
  void operator()(const Print& node) const { load(frame, node.value); }
  void operator()(const If& node) const {
    load(frame, node.branches[0].condition);
    frame.branch([&](Frame& inner) { Speak{inner}.all(node.branches[0].body); },
                 [&](Frame& inner) {
                   for (size_t i = 1; i < node.branches.size(); ++i) {
                     load(inner, node.branches[i].condition);
                     const auto nothing = [](Frame&) {};
                     inner.branch([&](Frame& own) { Speak{own}.all(node.branches[i].body); },
                                  nothing, nothing);
                   }
                 },
                 [&](Frame& inner) { Speak{inner}.all(node.otherwise); });
  }
  void operator()(const For& node) const { load(frame, node.iterable); }
  void operator()(const Set& node) const {
    load(frame, node.value);
    assign(frame, node.target);
  }
  void operator()(const SetBlock& node) const { assign(frame, node.target); }
  void operator()(const MacroDefinition& node) const { frame.store(node.name); }
  void operator()(const Generation&) const {}
  void operator()(const Break&) const {}
  void operator()(const Continue&) const {}
};

// The bodies inside, each with a frame of its own but for the branches of an `if`.
struct Enter {
  Frame& frame;

  void all(Body& body) const {
    for (Stmt& stmt : body.statements) std::visit(*this, stmt.node);
  }
  // A body whose frame may know names already.
  static void own(Frame& inner, Body& body) {
    Speak{inner}.all(body);
    Enter{inner}.all(body);
  }
  void plain(Body& body) const {
    Frame inner(&frame, &body);
    own(inner, body);
  }

  void operator()(If& node) const {
    for (auto& [condition, body] : node.branches) all(body);
    all(node.otherwise);
  }
  void operator()(For& node) const {
    Frame inner(&frame, &node.body);
    inner.declare(kLoopName);
    assign(inner, node.target, true);
    own(inner, node.body);
    plain(node.otherwise);
    Frame filter(&frame, &node.body);
    assign(filter, node.target, true);
    load(filter, node.filter);
  }
  void operator()(SetBlock& node) const { plain(node.body); }
  void operator()(MacroDefinition& node) const {
    Macro& macro = node.macro;
    Frame inner(&frame, &macro.body);
    for (const Macro::Parameter& parameter : macro.parameters) inner.declare(parameter.name);
    for (const Macro::Parameter& parameter : macro.parameters) load(inner, parameter.fallback);
    own(inner, macro.body);
  }
  void operator()(Generation& node) const { plain(node.body); }
  template <typename Plain>
  void operator()(const Plain&) const {}
};

}  // namespace

void find_unset_names(Tree& tree) {
  Frame root(nullptr, &tree.body);
  Enter::own(root, tree.body);
}

}  // namespace millrace::jinja
