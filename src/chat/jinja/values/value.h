#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include <absl/status/status.h>

#include "text/marked_text.h"

namespace millrace::jinja {

// Values are small, trivially copyable and immutable; what they point to lives in the Workspace of
// one rendering (or in the template, or in the context, which outlive it).

struct Text;
struct List;
struct Dict;
struct Range;
struct Iterator;
struct Namespace;
struct Loop;
struct Callable;

// A name, attribute or element that is not there. It prints as nothing; most other uses fail with
// the message that says what was missing.
struct Undefined {
  enum class Why : uint8_t { kName, kAttribute, kElement, kUnsafe, kHint };

  const char* name;   // of the variable or attribute, repr of the index, or the whole message
  const char* owner;  // what it was looked for in, as Python names it; null for kName and kHint
  uint32_t name_size;
  Why why;

  std::string_view name_view() const { return {name, name_size}; }
};

struct None {};

// Which bytes of a text a client wrote. Ranges as in MarkedText.
struct Marks {
  std::span<const ByteRange> ranges;
};
// Every byte, whatever the size.
extern const Marks kAllWritten;

struct Text {
  const char* data = nullptr;
  uint32_t size = 0;
  bool is_markup = false;        // made by `safe` or `escape`: joined with +, it escapes the other
  const Marks* marks = nullptr;  // null: a client wrote none of it

  std::string_view view() const { return {data, size}; }
  bool is_written() const { return marks != nullptr; }  // some of it
};

using Value = std::variant<Undefined, None, bool, int64_t, double, Text, const List*, const Dict*,
                           const Range*, Iterator*, Namespace*, Loop*, const Callable*>;

struct List {
  std::span<const Value> items;
  bool is_tuple = false;
};

struct Entry {
  Value key;
  Value value;
};

// In order of insertion; keys are equal as Python's are (1, 1.0 and True are one key).
struct Dict {
  std::span<const Entry> entries;
  std::span<const int32_t> slots;  // open addressing by hash, -1: free; empty for small dicts

  const Value* find(std::string_view key) const;
  // `key` must be hashable (see hash_of).
  const Value* find(const Value& key) const;
};

struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;

  int64_t size() const;
  int64_t at(int64_t index) const { return start + index * step; }
};

// What Python gives as a generator, iterator or dict view: can be walked, not indexed.
struct Iterator {
  enum class Type : uint8_t { kGenerator, kReversed, kKeys, kValues, kItems };

  // Python computes the items of a generator on demand: an error is reported when its item is
  // reached.
  struct Failure {
    absl::StatusCode code;
    std::string_view message;
  };

  std::span<const Value> items;
  Type type = Type::kGenerator;
  bool is_spent = false;             // generators and reversed ones give their items once
  const Failure* failure = nullptr;  // after the last item

  bool is_view() const { return type >= Type::kKeys; }
};

struct Namespace {
  struct Attribute {
    Text name;
    Value value;
    Attribute* next;
  };
  Attribute* first = nullptr;
  int64_t size = 0;

  Value* find(std::string_view name);
};

Text make_view(std::string_view bytes);

bool is_undefined(const Value& value);
bool is_none(const Value& value);
const Text* as_text(const Value& value);
// Python's int, of 64 bits: bools too.
bool is_integer(const Value& value);
bool is_number(const Value& value);
int64_t integer_of(const Value& value);  // of an integer
double number_of(const Value& value);    // of a number; the nearest double

// `str`, `dict`, ... as type(x).__name__ gives it.
std::string_view type_name(const Value& value);
// As jinja2 names the owner of a missing attribute: `dict object`, `None`. A C string.
const char* owner_name(const Value& value);

}  // namespace millrace::jinja
