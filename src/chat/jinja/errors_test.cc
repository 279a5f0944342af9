#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "chat/jinja/template.h"

namespace millrace::jinja {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::string error_of(std::string_view source, const Limits& limits = {}, const Json& context = {}) {
  const absl::StatusOr<Template> parsed = Template::parse(source, "t", limits);
  if (!parsed.ok()) return std::string(message_of(parsed.status()));
  std::vector<Variable> variables;
  if (context.is_object()) {
    for (const auto& [name, value] : context.get_ref<const Json::object_t&>()) {
      variables.push_back({name, &value, Origin::kMessages});
    }
  }
  const auto text = parsed->render(variables, absl::UnixEpoch());
  return text.ok() ? "rendered: " + text->text : std::string(message_of(text.status()));
}

struct Case {
  std::string_view source;
  // `^` stands under the place; the column follows from it.
  std::string_view caret;
  std::string_view message;
};

void expect_errors(std::span<const Case> cases, const Limits& limits = {}) {
  for (const Case& each : cases) {
    // Each stands on the second line, behind a line that is right.
    const std::string source = "one\n" + std::string(each.source) + "\nthree";
    const std::string expected = fmt::format("t:2:{}: {}\n  {}\n  {}", each.caret.size(),
                                             each.message, each.source, each.caret);
    EXPECT_EQ(error_of(source, limits), expected);
  }
}

TEST(ErrorPlaces, OfTheLexer) {
  constexpr Case kCases[] = {
      {"{{ 'abc }}", "   ^", "this string has no end; expected '"},
      {"{{ a ? b }}", "     ^", "unexpected character '?'"},
      {"{{ (1] }}", "     ^", "unexpected ']'; expected ')'"},
      {"{{ 1) }}", "    ^", "unexpected ')'; no bracket is open"},
      {"{{ 007 }}", "   ^", "a number cannot begin with 0"},
      {"{{ '\\xZZ' }}", "   ^", "an escape of 2 hexadecimal digits is cut short"},
      {"{{ '\\uD800' }}", "   ^", "U+D800 is no character"},
      {"{{ '\\N{DASH}' }}", "   ^", "escapes by character name (\\N{...}) are not supported"},
      {"{# open", "^", "this comment has no end; expected '#}'"},
      {"{% raw %} x", "^", "this raw block has no end; expected '{% endraw %}'"},
      {"{{ 1 ", "^", "this tag has no end; expected '}}'"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfTheParser) {
  constexpr Case kCases[] = {
      {"{{ }}", "   ^", "expected an expression, found the end of the tag ('}}')"},
      {"{{ 1 + }}", "       ^", "expected an expression, found the end of the tag ('}}')"},
      {"{{ a.'b' }}", "     ^", "expected a name or a number after '.', found ''b''"},
      {"{{ a[] }}", "     ^", "expected an index or a slice, found ']'"},
      {"{{ a[1:2:3:4] }}", "           ^", "expected ']', found '4'"},
      {"{{ a[1 2] }}", "       ^", "expected ']', found '2'"},
      {"{{ x[1:2, 3] }}", "        ^", "a tuple as an index is not supported"},
      {"{{ x[1, 2:3] }}", "      ^", "a tuple as an index is not supported"},
      {"{{ f(a=1, 2) }}", "          ^", "a positional argument cannot follow a named one"},
      {"{{ f(a=1, a=2) }}", "          ^", "the argument 'a' is given twice"},
      {"{{ f(1 2) }}", "       ^", "expected ',' or ')', found '2'"},
      {"{{ [1 2] }}", "      ^", "expected ',' or ']', found '2'"},
      {"{{ {1: 2 3} }}", "         ^", "expected ',' or '}', found '3'"},
      {"{{ {1} }}", "     ^", "expected ':', found '}'"},
      {"{{ 1 2 }}", "     ^", "expected '}}', found '2'"},
      {"{{ 1 | 2 }}", "       ^", "expected the name of a filter, found '2'"},
      {"{{ 1 is 2 }}", "        ^", "expected the name of a test, found '2'"},
      {"{{ 1 is odd is even }}", "            ^", "tests cannot be chained with 'is'"},
      {"{{ 1 | nope }}", "       ^", "no filter named 'nope'"},
      {"{{ 1 is nope }}", "        ^", "no test named 'nope'"},
      {"{{ x if }}", "        ^", "expected an expression, found the end of the tag ('}}')"},
      {"{% 1 %}", "   ^", "expected the name of a statement, found '1'"},
      {"{% foo %}", "   ^", "expected a statement, found 'foo'"},
      {"{% include 'x' %}", "   ^", "the statement 'include' is not supported"},
      {"{% endif %}", "   ^", "expected a statement, found 'endif'"},
      {"{% if %}{% endif %}", "      ^", "expected an expression, found the end of the tag ('%}')"},
      {"{% for x y %}{% endfor %}", "         ^", "expected 'in', found 'y'"},
      {"{% for loop in x %}{% endfor %}", "       ^", "a loop cannot assign to 'loop'"},
      {"{% for 1 in x %}{% endfor %}", "       ^", "expected the name of a variable, found '1'"},
      {"{% for true in x %}{% endfor %}", "       ^", "cannot assign to 'true'"},
      {"{% set x %}{% endfor %}", "              ^", "expected 'endset', found 'endfor'"},
      {"{% set x + 1 %}", "         ^", "expected '=' or '%}', found '+'"},
      {"{% set 1 = 2 %}", "       ^", "expected the name of a variable, found '1'"},
      {"{% set none = 2 %}", "       ^", "cannot assign to 'none'"},
      {"{% macro 1() %}{% endmacro %}", "         ^", "expected the name of a macro, found '1'"},
      {"{% macro none() %}{% endmacro %}", "         ^", "cannot assign to 'none'"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "                 ^",
       "expected '=', since the parameter before has a default, found ')'"},
      {"{% macro m(true) %}{% endmacro %}", "           ^", "cannot assign to 'true'"},
      {"{% call 1 %}{% endcall %}", "   ^", "the statement 'call' is not supported"},
      {"{% call m %}{% endcall %}", "   ^", "the statement 'call' is not supported"},
      {"{% filter %}{% endfilter %}", "   ^", "the statement 'filter' is not supported"},
      {"{% with a 1 %}{% endwith %}", "   ^", "the statement 'with' is not supported"},
      {"{% break %}", "   ^", "'break' stands outside of a loop"},
      {"{% for x in y %}{% else %}{% else %}{% endfor %}", "                             ^",
       "expected 'endfor', found 'else'"},
      {"{% if a %}{% for b in c %}{% endif %}", "                             ^",
       "expected 'endfor' or 'else', found 'endif'"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfTheEvaluator) {
  constexpr Case kCases[] = {
      {"{{ missing.x }}", "           ^", "'missing' is undefined"},
      {"{{ {}.a.b }}", "        ^", "'dict object' has no attribute 'a'"},
      {"{{ [1][3] + 1 }}", "          ^", "list object has no element 3"},
      {"{{ ''.__class__.x }}", "                ^",
       "access to attribute '__class__' of 'str object' is unsafe"},
      {"{{ [].append(1) }}", "      ^", "access to attribute 'append' of 'list object' is unsafe"},
      {"{{ 'a'.encode() }}", "       ^", "the attribute 'encode' of str is not supported"},
      {"{{ none.x() }}", "        ^", "'None' has no attribute 'x'"},
      {"{{ 1(2) }}", "   ^", "int cannot be called"},
      {"{{ 'a' + 1 }}", "       ^", "'+' does not work between str and int"},
      {"{{ 1 / 0 }}", "     ^", "division by zero"},
      {"{{ -'a' }}", "   ^", "'-' does not work on str"},
      {"{{ 1 < 'a' }}", "     ^", "'<' cannot order int and str"},
      {"{{ 1 in 2 }}", "     ^", "'in' cannot look into int"},
      {"{{ 1 in 'a' }}", "     ^", "'in' needs a string on the left of a string, got int"},
      {"{{ {[]: 1} }}", "   ^", "list cannot be a key"},
      {"{{ {}[[]].x }}", "          ^", "dict object has no element of type list"},
      {"{{ 'abc'['x'].y }}", "              ^", "'str object' has no attribute 'x'"},
      {"{{ [1][::0] }}", "      ^", "a slice's step cannot be 0"},
      {"{{ 5[1:2] }}", "    ^", "int cannot be sliced like this"},
      {"{{ f(*5) }}", "     ^", "'*' before an argument is not supported"},
      {"{{ f(**5) }}", "     ^", "'**' before an argument is not supported"},
      {"{{ range }}", "   ^", "a function cannot be printed"},
      {"{% for x in 5 %}{% endfor %}", "   ^", "int is not iterable"},
      {"{% for a, b in [1] %}{% endfor %}", "   ^", "int is not iterable"},
      {"{% for a, b in [(1, 2, 3)] %}{% endfor %}", "   ^",
       "3 values cannot be unpacked into 2 names"},
      {"{% for x in [1] %}{{ loop([2]) }}{% endfor %}", "                     ^",
       "LoopContext cannot be called"},
      {"{% for x in [1] %}{{ loop.nope.x }}{% endfor %}", "                               ^",
       "'loop object' has no attribute 'nope'"},
      {"{% set x.y = 1 %}", "   ^", "only a namespace's attributes can be set; 'x' is Undefined"},
      {"{% set a, b = 5 %}", "   ^", "int is not iterable"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "                                 ^",
       "macro 'm' takes at most 1 arguments, got 2"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "                                 ^",
       "macro 'm' has no parameter 'b'"},
      {"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "   ^",
       "'caller' of a macro is not supported"},
      {"{% call missing() %}{% endcall %}", "   ^", "the statement 'call' is not supported"},
      {"{% filter length %}a{% endfilter %}", "   ^", "the statement 'filter' is not supported"},
      {"{{ '%d' % 'a' }}", "        ^", "the format 'd' needs a number, got str"},
      {"{{ 2 ** -1.5 * 'x' }}", "     ^", "'**' of floats is not supported"},
      {"{{ (1 if false) + 1 }}", "                ^",
       "the inline if-expression evaluated to false and no else section was defined"},
      {"{{ (-8) ** 0.5 }}", "        ^", "'**' of floats is not supported"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfFiltersTestsMethodsAndFunctions) {
  constexpr Case kCases[] = {
      {"{{ 'a' | abs }}", "         ^", "abs does not work on str"},
      {"{{ 5 | length }}", "       ^", "a int has no length"},
      {"{{ 5 | join }}", "       ^", "int is not iterable"},
      {"{{ [1, 'a'] | sort }}", "              ^", "'<' cannot order str and int"},
      {"{{ 5 | dictsort }}", "       ^", "dictsort needs a dict, got int"},
      {"{{ 'a' | replace('b') }}", "         ^", "replace needs 'new'"},
      {"{{ 'a' | indent('b', 1, 2, 3) }}", "         ^", "indent takes at most 3 arguments, got 4"},
      {"{{ [range] | tojson }}", "             ^", "a function cannot be written as JSON"},
      {"{{ 1 | tojson(nope=1) }}", "       ^", "tojson has no parameter 'nope'"},
      {"{{ [1] | map('nope') | list }}", "                       ^", "no filter named 'nope'"},
      {"{{ [1] | select('nope') | list }}", "                          ^", "no test named 'nope'"},
      {"{{ 1 | round(1, 'up') }}", "       ^", "round's method 'up' is not supported"},
      {"{{ [1] | sum(start='') }}", "         ^", "sum does not join strings; use join"},
      {"{{ 'a' is divisibleby 2 }}", "          ^",
       "not all arguments were converted by the format"},
      {"{{ 1 is eq }}", "        ^", "eq needs 'other'"},
      {"{{ 1 is odd(2) }}", "        ^", "odd takes at most 0 arguments, got 1"},
      {"{{ 'a'.split('') }}", "       ^", "the separator of split is empty"},
      {"{{ 'a'.index('b') }}", "       ^", "the substring was not found"},
      {"{{ 'a'.join([1]) }}", "       ^", "'an item' of join must be a string, got int"},
      {"{{ [1].index(2) }}", "       ^", "the attribute 'index' of list is not supported"},
      {"{{ {}.get() }}", "      ^", "get needs 'key'"},
      {"{{ {}.get([]) }}", "      ^", "list cannot be a key"},
      {"{{ '{} {}'.format(1) }}", "           ^", "the format has more places than arguments"},
      {"{{ '{'.format(1) }}", "       ^", "a single '{' stands in the format"},
      {"{{ '%s' % (1, 2) }}", "        ^", "not all arguments were converted by the format"},
      {"{{ range('a') }}", "   ^", "'start' of range must be an integer, got str"},
      {"{{ range(1, 2, 0) }}", "   ^", "the step of range cannot be 0"},
      {"{{ dict(5) }}", "   ^", "int is not iterable"},
      {"{{ namespace(1) }}", "   ^", "int is not iterable"},
      {"{{ strftime_now() }}", "   ^", "strftime_now needs 'format'"},
      {"{{ raise_exception('no ' ~ 1) }}", "   ^", "the template refuses: no 1"},
  };
  expect_errors(kCases);
}

// What jinja2 and Python have, and no published template uses, is refused by its name.
TEST(ErrorPlaces, OfWhatIsNotSupported) {
  constexpr Case kCases[] = {
      {"{{ 'a' | batch }}", "         ^", "the filter 'batch' is not supported"},
      {"{{ 'a' | center }}", "         ^", "the filter 'center' is not supported"},
      {"{{ 'a' | filesizeformat }}", "         ^", "the filter 'filesizeformat' is not supported"},
      {"{{ 'a' | forceescape }}", "         ^", "the filter 'forceescape' is not supported"},
      {"{{ 'a' | groupby }}", "         ^", "the filter 'groupby' is not supported"},
      {"{{ 'a' | pprint }}", "         ^", "the filter 'pprint' is not supported"},
      {"{{ 'a' | random }}", "         ^", "the filter 'random' is not supported"},
      {"{{ 'a' | slice }}", "         ^", "the filter 'slice' is not supported"},
      {"{{ 'a' | striptags }}", "         ^", "the filter 'striptags' is not supported"},
      {"{{ 'a' | truncate }}", "         ^", "the filter 'truncate' is not supported"},
      {"{{ 'a' | urlencode }}", "         ^", "the filter 'urlencode' is not supported"},
      {"{{ 'a' | urlize }}", "         ^", "the filter 'urlize' is not supported"},
      {"{{ 'a' | wordcount }}", "         ^", "the filter 'wordcount' is not supported"},
      {"{{ 'a' | wordwrap }}", "         ^", "the filter 'wordwrap' is not supported"},
      {"{{ 'a' | xmlattr }}", "         ^", "the filter 'xmlattr' is not supported"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfValuesThatAreNotSupported) {
  constexpr Case kCases[] = {
      {"{{ [1] | map('center') | list }}", "                         ^",
       "the filter 'center' is not supported"},
      {"{{ 'a' is escaped }}", "          ^", "the test 'escaped' is not supported"},
      {"{{ 'a' is filter }}", "          ^", "the test 'filter' is not supported"},
      {"{{ 'a' is sameas }}", "          ^", "the test 'sameas' is not supported"},
      {"{{ 'a' is test }}", "          ^", "the test 'test' is not supported"},
      {"{{ 'a'.casefold() }}", "       ^", "the attribute 'casefold' of str is not supported"},
      {"{{ 'a'.center() }}", "       ^", "the attribute 'center' of str is not supported"},
      {"{{ 'a'.encode() }}", "       ^", "the attribute 'encode' of str is not supported"},
      {"{{ 'a'.expandtabs() }}", "       ^", "the attribute 'expandtabs' of str is not supported"},
      {"{{ 'a'.format_map() }}", "       ^", "the attribute 'format_map' of str is not supported"},
      {"{{ 'a'.isascii() }}", "       ^", "the attribute 'isascii' of str is not supported"},
      {"{{ 'a'.isdecimal() }}", "       ^", "the attribute 'isdecimal' of str is not supported"},
      {"{{ 'a'.isidentifier() }}", "       ^",
       "the attribute 'isidentifier' of str is not supported"},
      {"{{ 'a'.isnumeric() }}", "       ^", "the attribute 'isnumeric' of str is not supported"},
      {"{{ 'a'.isprintable() }}", "       ^",
       "the attribute 'isprintable' of str is not supported"},
      {"{{ 'a'.istitle() }}", "       ^", "the attribute 'istitle' of str is not supported"},
      {"{{ 'a'.ljust() }}", "       ^", "the attribute 'ljust' of str is not supported"},
      {"{{ 'a'.maketrans() }}", "       ^", "the attribute 'maketrans' of str is not supported"},
      {"{{ 'a'.rjust() }}", "       ^", "the attribute 'rjust' of str is not supported"},
      {"{{ 'a'.swapcase() }}", "       ^", "the attribute 'swapcase' of str is not supported"},
      {"{{ 'a'.translate() }}", "       ^", "the attribute 'translate' of str is not supported"},
      {"{{ 'a'.zfill() }}", "       ^", "the attribute 'zfill' of str is not supported"},
      {"{{ (5).bit_count }}", "       ^", "the attribute 'bit_count' of int is not supported"},
      {"{{ (5).bit_length }}", "       ^", "the attribute 'bit_length' of int is not supported"},
      {"{{ (5).conjugate }}", "       ^", "the attribute 'conjugate' of int is not supported"},
      {"{{ (5).real }}", "       ^", "the attribute 'real' of int is not supported"},
      {"{{ (5).to_bytes }}", "       ^", "the attribute 'to_bytes' of int is not supported"},
      {"{{ (5.0).is_integer() }}", "         ^",
       "the attribute 'is_integer' of float is not supported"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfNumbersAndFormatsThatAreNotSupported) {
  constexpr Case kCases[] = {
      {"{{ {}.copy() }}", "      ^", "the attribute 'copy' of dict is not supported"},
      {"{{ {}.fromkeys([]) }}", "      ^", "the attribute 'fromkeys' of dict is not supported"},
      {"{{ range(3).start }}", "            ^", "the attribute 'start' of range is not supported"},
      {"{{ range(3)[1:] }}", "           ^",
       "slices of a range are not supported; make a list of it first"},
      {"{{ {}.keys() == {}.keys() }}", "             ^",
       "comparing views of dicts is not supported"},
      {"{{ cycler() }}", "   ^", "'cycler' is not supported"},
      {"{{ joiner() }}", "   ^", "'joiner' is not supported"},
      {"{{ lipsum() }}", "   ^", "'lipsum' is not supported"},
      {"{{ 9223372036854775808 }}", "   ^", "integers beyond 64 bits are not supported"},
      {"{{ 0x1_0000_0000_0000_0000 }}", "   ^", "numbers in other bases than 10 are not supported"},
      {"{{ 9223372036854775807 + 1 }}", "                       ^",
       "integers beyond 64 bits are not supported"},
      {"{{ 2 ** 63 }}", "     ^", "integers beyond 64 bits are not supported"},
      {"{{ 3 ** 99999 }}", "     ^", "integers beyond 64 bits are not supported"},
      {"{{ -9223372036854775807 - 2 }}", "                        ^",
       "integers beyond 64 bits are not supported"},
      {"{{ 2 ** 40 * 2 ** 40 }}", "           ^", "integers beyond 64 bits are not supported"},
      {"{{ '99999999999999999999' | int }}", "                            ^",
       "integers beyond 64 bits are not supported"},
      {"{{ 1e300 | int }}", "           ^", "integers beyond 64 bits are not supported"},
      {"{{ '1f' | int(0, 16) }}", "          ^", "int with a base other than 10 is not supported"},
      {"{{ 15 | round(-1) }}", "        ^", "round with a negative precision is not supported"},
      {"{{ '%x' % 1 }}", "        ^", "the format '%x' is not supported"},
      {"{{ '%X' % 1 }}", "        ^", "the format '%X' is not supported"},
      {"{{ '%o' % 1 }}", "        ^", "the format '%o' is not supported"},
      {"{{ '%c' % 1 }}", "        ^", "the format '%c' is not supported"},
      {"{{ '%e' % 1 }}", "        ^", "the format '%e' is not supported"},
      {"{{ '%g' % 1 }}", "        ^", "the format '%g' is not supported"},
      {"{{ '%a' % 1 }}", "        ^", "the format '%a' is not supported"},
      {"{{ '%q' % 1 }}", "        ^", "the format '%q' is not supported"},
      {"{{ '%#d' % 1 }}", "         ^", "the format '%#' is not supported"},
      {"{{ '%*d' % 1 }}", "         ^", "the format '%*' is not supported"},
      {"{{ '%1001d' % 1 }}", "            ^", "a format's width is at most 1000"},
      {"{{ '{:x}'.format(1) }}", "          ^", "the format 'x' is not supported"},
      {"{{ '{:,}'.format(1) }}", "          ^", "the format ',' is not supported"},
      {"{{ '{:^5}'.format(1) }}", "           ^", "the format '^5' is not supported"},
      {"{{ '{:e}'.format(1) }}", "          ^", "the format 'e' is not supported"},
      {"{{ '{:%}'.format(1) }}", "          ^", "the format '%' is not supported"},
      {"{{ '{!a}'.format(1) }}", "          ^", "the format '{!a}' is not supported"},
      {"{{ '{a.b}'.format(1) }}", "           ^", "the format '{a.b}' is not supported"},
      {"{{ '{a[0]}'.format(1) }}", "            ^", "the format '{a[0]}' is not supported"},
      {"{{ '{:{}}'.format(1) }}", "           ^", "the format '{:{}' is not supported"},
      {"{{ '{:5}'.format(none) }}", "          ^", "a format of NoneType is not supported"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfStatementsAndOperatorsThatAreNotSupported) {
  constexpr Case kCases[] = {
      {"{% for x in y recursive %}{% endfor %}", "              ^",
       "'recursive' loops are not supported"},
      {"{% set x | upper %}a{% endset %}", "         ^",
       "filters of a 'set' block are not supported"},
      {"{% print 1 %}", "   ^", "the statement 'print' is not supported"},
      {"{% macro m() %}{{ varargs }}{% endmacro %}", "   ^",
       "'varargs' of a macro is not supported"},
      {"{% macro m() %}{{ kwargs }}{% endmacro %}", "   ^", "'kwargs' of a macro is not supported"},
      {"{% for x in [1] %}{{ loop.cycle(1) }}{% endfor %}", "                          ^",
       "the attribute 'cycle' of a loop is not supported"},
      {"{% for x in [1] %}{{ loop.changed(1) }}{% endfor %}", "                          ^",
       "the attribute 'changed' of a loop is not supported"},
      {"{{ 1.5 ** 2 }}", "       ^", "'**' of floats is not supported"},
      {"{{ 1.5 // 2 }}", "       ^", "'//' of floats is not supported"},
      {"{{ 1.5 % 2 }}", "       ^", "'%' of floats is not supported"},
      {"{{ 2 ** -1 }}", "     ^", "negative powers are not supported"},
      {"{{ 2.5 | round(0, 'ceil') }}", "         ^", "round's method 'ceil' is not supported"},
      {"{{ 'a b'.rsplit(none, 1) }}", "         ^",
       "rsplit at white space with a maximum is not supported"},
      {"{{ '%(a)s' % {} }}", "           ^", "the format '%(' is not supported"},
      {"{{ '%s' | format(a=1) }}", "          ^", "named arguments of format are not supported"},
      {"{{ '\\101' }}", "   ^", "octal escapes are not supported; write \\x"},
      {"{{ 0b1 }}", "   ^", "numbers in other bases than 10 are not supported"},
      {"{{ 'a'.partition('b') }}", "       ^", "the attribute 'partition' of str is not supported"},
      {"{{ {range(2): 1} }}", "   ^", "range cannot be a key"},
      {"{{ namespace() }}", "   ^", "a Namespace cannot be printed"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfLimits) {
  Limits small;
  small.nodes_max = 40;
  small.parse_depth_max = 6;
  small.name_bytes_max = 20;
  small.parameters_max = 2;
  small.steps_max = 500;
  small.depth_max = 30;
  small.memory_bytes_max = 20'000;
  small.text_bytes_max = 1'000;
  small.items_max = 50;
  small.range_items_max = 40;
  constexpr Case kCases[] = {
      {"{{ [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, "
       "3, 4, 5] }}",
       "                                                            ^",
       "the template has more than 40 tokens"},
      {"{{ ((((((((1)))))))) }}", "        ^", "this expression nests deeper than 6 levels"},
      {"{% if a %}{% if a %}{% if a %}{% if a %}{% if a %}{% if a %}{% if a %}x",
       "                                                            ^",
       "the template's blocks nest deeper than 6 levels"},
      {"{{ 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 }}", "                         ^",
       "this expression nests deeper than 6 levels"},
      {"{{ abcdefghijklmnopqrstuvwxyz }}", "   ^", "this name has more than 20 bytes"},
      {"{% macro m(a, b, c) %}{% endmacro %}", "                 ^",
       "a macro takes at most 2 parameters"},
      {"{{ f(a=1, b=2, c=3) }}", "               ^", "a call takes at most 2 named arguments"},
      {"{% for i in range(40) %}{% for j in range(40) %}{% endfor %}{% endfor %}",
       "                           ^", "the template uses more than 20000 bytes of memory"},
      {"{% for i in range(40) %}{% set x = 'x' * 900 %}{% endfor %}", "   ^",
       "the template uses more than 20000 bytes of memory"},
      {"{{ 'x' * 2000 }}", "       ^", "the template makes a string of more than 1000 bytes"},
      {"{{ 'x' * 900 ~ 'x' * 900 }}", "             ^",
       "the template makes a string of more than 1000 bytes"},
      {"{{ [0] * 60 }}", "       ^", "the template makes a list of 51 items, more than 50"},
      {"{{ range(41) }}", "   ^", "range gives 41 items, more than 40"},
      {"{{ range(2 ** 60) }}", "   ^", "1152921504606846976 is beyond what range takes"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "                  ^",
       "the template nests deeper than 30 levels"},
      {"{% set n = namespace() %}{% set n.a = [n] %}{{ n }}",
       "                                               ^", "a Namespace cannot be printed"},
  };
  expect_errors(kCases, small);
}

// In a macro the place is the macro's, not the call's.
TEST(ErrorPlaces, AreTheInnermost) {
  EXPECT_EQ(error_of("{% macro m(x) %}\n{{ x + 1 }}\n{% endmacro %}\n{{ m('a') }}"),
            "t:2:6: '+' does not work between str and int\n  {{ x + 1 }}\n       ^");
}

TEST(ErrorPlaces, OfWhatIsNoTemplate) {
  EXPECT_EQ(error_of("a\r\nb\xFFz"), "t:2:2: the template is not UTF-8\n  b\uFFFD\n   ^");
  Limits small;
  small.source_bytes_max = 3;
  EXPECT_EQ(error_of("abcd", small), "t: the template has 4 bytes, more than 3");
}

TEST(ErrorPlaces, OfTheContext) {
  Limits small;
  small.text_bytes_max = 8;
  small.items_max = 3;
  const auto of_messages = [&](const Json& messages) {
    return error_of("{{ messages }}", small, {{"messages", messages}});
  };
  EXPECT_EQ(error_of("{{ messages }}", {}, {{"messages", {{{"a", UINT64_MAX}}}}}),
            "t: messages[0].a of the context: integers beyond 64 bits are not supported");
  const Json fine = {{"role", "user"}, {"content", "hi"}};
  const Json calls = {{{"name", "f"}}, {{"name", "g"}, {"args", {1, 2, "far too long"}}}};
  EXPECT_EQ(of_messages(std::vector<Json>{fine, {{"role", "user"}, {"content", "far too long"}}}),
            "t: messages[1].content of the context: the template makes a string of more than 8 "
            "bytes");
  EXPECT_EQ(of_messages(std::vector<Json>{{{"calls", calls}}}),
            "t: messages[0].calls[1].args[2] of the context: the template makes a string of more "
            "than 8 bytes");
  EXPECT_EQ(of_messages({1, 2, 3, 4}),
            "t: messages of the context: the template makes a list of 4 items, more than 3");
  Json deep;
  for (int i = 0; i < 1'200; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  EXPECT_THAT(of_messages(deep), HasSubstr("t: messages[0][0][0]"));
  EXPECT_LT(of_messages(deep).size(), 400U);
}

}  // namespace
}  // namespace millrace::jinja
