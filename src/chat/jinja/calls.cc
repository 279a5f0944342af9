#include <algorithm>

#include "chat/jinja/access.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/print.h"

namespace millrace::jinja {

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
  if (node.spread != nullptr) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*node.spread));
    ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work_, value));
    RETURN_IF_ERROR(work_.spend(std::ssize(items)));
    given.positional.insert(given.positional.end(), items.begin(), items.end());
  }
  if (node.named_spread != nullptr) {
    ASSIGN_OR_RETURN(const Value value, evaluate(*node.named_spread));
    const auto* dict = std::get_if<const Dict*>(&value);
    if (dict == nullptr) return invalid_argument("** needs a dict, got {}", type_name(value));
    for (const Entry& entry : (*dict)->entries) {
      RETURN_IF_ERROR(work_.spend());
      ASSIGN_OR_RETURN(const Text name, text_argument(&entry.key, {}, "a key of **"));
      for (const auto& [known, expr] : node.named) {
        if (known == name.view()) {
          return invalid_argument("the argument '{}' is given twice", known);
        }
      }
      given.named.push_back({name.view(), entry.value, name.marks});
    }
  }
  return given;
}

absl::StatusOr<Value> Evaluator::call(const Value& callee, const Given& given) {
  if (is_undefined(callee)) return undefined_error(callee);
  if (Loop* const* loop = std::get_if<Loop*>(&callee)) return call_loop(**loop, given);
  const auto* callable = std::get_if<const Callable*>(&callee);
  if (callable == nullptr) return invalid_argument("{} cannot be called", type_name(callee));
  if ((*callable)->function == nullptr) return call_macro(**callable, given);
  return (*callable)->function(work_, (*callable)->self, given.view());
}

const Callable* Evaluator::make_macro(const Macro& macro, std::string_view name) {
  return work_.arena().make<Callable>(name, nullptr, Value(None{}), &macro, scope_);
}

absl::StatusOr<Value> Evaluator::call_macro(const Callable& callable, const Given& given) {
  const Macro& macro = *callable.macro;
  TextBuilder out(work_);
  Scope* const scope_before = scope_;
  TextBuilder* const out_before = out_;
  scope_ = work_.arena().make<Scope>(callable.scope, nullptr);
  out_ = &out;
  absl::Status status = bind_parameters(macro, given);
  if (status.ok()) {
    bind_unset(macro.body);
    status = execute(macro.body).status();
  }
  scope_ = scope_before;
  out_ = out_before;
  RETURN_IF_ERROR(status);
  return out.finish();
}

absl::Status Evaluator::bind_parameters(const Macro& macro, const Given& given) {
  RETURN_IF_ERROR(work_.spend(std::ssize(macro.parameters) * (1 + std::ssize(given.named)) / 8));
  RETURN_IF_ERROR(bind_rest(macro, given));
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

// What no parameter takes goes to `caller`, `kwargs` and `varargs`, if the macro speaks of them.
absl::Status Evaluator::bind_rest(const Macro& macro, const Given& given) {
  const size_t count = macro.parameters.size();
  const auto is_parameter = [&](std::string_view name) {
    const size_t taken = std::min(count, given.positional.size());
    return std::any_of(macro.parameters.begin() + static_cast<ptrdiff_t>(taken),
                       macro.parameters.end(), [&](const Macro::Parameter& parameter) {
                         return tree_.names[static_cast<size_t>(parameter.name)] == name;
                       });
  };
  Value caller = undefined_because("no caller defined");
  std::vector<Entry> rest;
  for (const NamedValue& named : given.named) {
    if (is_parameter(named.name)) continue;
    if (macro.uses_caller && named.name == kReservedNames[kCallerName]) {
      caller = named.value;
    } else if (macro.uses_kwargs) {
      rest.push_back({Value(named.text()), named.value});
    } else {
      return invalid_argument("macro '{}' has no parameter '{}'", macro.name, named.name);
    }
  }
  if (macro.uses_caller) bind_name(kCallerName, caller);
  if (macro.uses_kwargs) bind_name(kKwargsName, work_.dict(rest));
  if (macro.uses_varargs) {
    const size_t taken = std::min(count, given.positional.size());
    const std::vector<Value> more(given.positional.begin() + static_cast<ptrdiff_t>(taken),
                                  given.positional.end());
    bind_name(kVarargsName, work_.tuple(work_.keep(more)));
  } else if (given.positional.size() > count) {
    return invalid_argument("macro '{}' takes at most {} arguments, got {}", macro.name, count,
                            given.positional.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::call_loop(const Loop& loop, const Given& given) {
  if (!loop.statement->is_recursive) {
    return invalid_argument("the loop cannot be called: it is not marked 'recursive'");
  }
  if (given.positional.size() != 1 || !given.named.empty()) {
    return invalid_argument("loop() takes one argument");
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work_, given.positional[0]));
  TextBuilder out(work_);
  TextBuilder* const out_before = out_;
  out_ = &out;
  const absl::Status status = run_loop(*loop.statement, items, loop.scope, loop.depth + 1).status();
  out_ = out_before;
  RETURN_IF_ERROR(status);
  return out.finish();
}

namespace {

absl::StatusOr<Value> cycle(Workspace&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return invalid_argument("loop.cycle needs something to cycle");
  const Loop& loop = *std::get<Loop*>(self);
  return arguments.positional[loop.index0 % arguments.positional.size()];
}

absl::StatusOr<Value> changed(Workspace& work, const Value& self, const Arguments& arguments) {
  Loop& loop = *std::get<Loop*>(self);
  const List* now =
      work.list(std::vector<Value>(arguments.positional.begin(), arguments.positional.end()));
  if (loop.changed != nullptr) {
    ASSIGN_OR_RETURN(const bool same, equal(work, Value(loop.changed), Value(now)));
    if (same) return Value(false);
  }
  loop.changed = now;
  return Value(true);
}

Value integer(size_t number) { return static_cast<int64_t>(number); }

}  // namespace

absl::StatusOr<Value> Evaluator::loop_attribute(Loop& loop, std::string_view name) {
  const size_t index0 = loop.index0;
  if (name == "index") return integer(index0 + 1);
  if (name == "index0") return integer(index0);
  if (name == "first") return Value(index0 == 0);
  if (name == "depth") return Value(loop.depth);
  if (name == "depth0") return Value(loop.depth - 1);
  if (name == "cycle") return Value(work_.arena().make<Callable>(name, cycle, Value(&loop)));
  if (name == "changed") return Value(work_.arena().make<Callable>(name, changed, Value(&loop)));
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
