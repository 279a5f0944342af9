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
      {"{{ x[1:2, 3] }}", "        ^", "slices in a tuple are not supported"},
      {"{{ x[1, 2:3] }}", "         ^", "slices in a tuple are not supported"},
      {"{{ f(a=1, 2) }}", "          ^",
       "this argument cannot come here; expected positional arguments, then named ones, then *list "
       "and **dict"},
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
      {"{% call 1 %}{% endcall %}", "        ^", "expected a call of a macro"},
      {"{% call m %}{% endcall %}", "        ^", "expected a call of a macro"},
      {"{% filter %}{% endfilter %}", "          ^",
       "expected the name of a filter, found the end of the tag ('%}')"},
      {"{% with a 1 %}{% endwith %}", "          ^", "expected '=', found '1'"},
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
      {"{{ f(*5) }}", "   ^", "int is not iterable"},
      {"{{ f(**5) }}", "   ^", "** needs a dict, got int"},
      {"{{ range }}", "   ^", "a function cannot be printed"},
      {"{% for x in 5 %}{% endfor %}", "   ^", "int is not iterable"},
      {"{% for a, b in [1] %}{% endfor %}", "   ^", "int is not iterable"},
      {"{% for a, b in [(1, 2, 3)] %}{% endfor %}", "   ^",
       "3 values cannot be unpacked into 2 names"},
      {"{% for x in [1] %}{{ loop([2]) }}{% endfor %}", "                     ^",
       "the loop cannot be called: it is not marked 'recursive'"},
      {"{% for x in [1] %}{{ loop.nope.x }}{% endfor %}", "                               ^",
       "'loop object' has no attribute 'nope'"},
      {"{% set x.y = 1 %}", "   ^", "only a namespace's attributes can be set; 'x' is Undefined"},
      {"{% set a, b = 5 %}", "   ^", "int is not iterable"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "                                 ^",
       "macro 'm' takes at most 1 arguments, got 2"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "                                 ^",
       "macro 'm' has no parameter 'b'"},
      {"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "                  ^",
       "no caller defined"},
      {"{% call missing() %}{% endcall %}", "   ^", "'missing' is undefined"},
      {"{% filter length %}a{% endfilter %}", "   ^", "a filter block must give a string, got int"},
      {"{{ '%d' % 'a' }}", "        ^", "the format '%d' needs an integer, got str"},
      {"{{ 2 ** -1.5 * 'x' }}", "             ^", "'*' does not work between float and str"},
      {"{{ (1 if false) + 1 }}", "                ^",
       "the inline if-expression evaluated to false and no else section was defined"},
      {"{{ (-8) ** 0.5 }}", "        ^", "complex numbers are not supported"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfFiltersTestsMethodsAndFunctions) {
  constexpr Case kCases[] = {
      {"{{ 'a' | abs }}", "         ^", "abs does not work on str"},
      {"{{ 5 | length }}", "       ^", "a int has no length"},
      {"{{ 5 | join }}", "       ^", "int is not iterable"},
      {"{{ [1, 'a'] | sort }}", "              ^", "'<' cannot order str and int"},
      {"{{ [{}] | groupby }}", "          ^", "groupby needs an attribute"},
      {"{{ 5 | dictsort }}", "       ^", "dictsort needs a dict, got int"},
      {"{{ 'a' | replace('b') }}", "         ^", "replace needs an old and a new string"},
      {"{{ 'a' | indent('b', 1, 2, 3) }}", "         ^", "indent takes at most 3 arguments, got 4"},
      {"{{ 'a' | wordwrap(0) }}", "         ^", "the width of wordwrap must be positive"},
      {"{{ [range] | tojson }}", "             ^", "a function cannot be written as JSON"},
      {"{{ 1 | tojson(nope=1) }}", "       ^", "tojson has no parameter 'nope'"},
      {"{{ 'x' | urlize }}", "         ^",
       "this filter is not supported: chat templates make no HTML pages"},
      {"{{ '' | truncate(1) }}", "        ^",
       "truncate needs a length of at least 3 and a leeway of at least 0"},
      {"{{ [1] | map('nope') | list }}", "                       ^", "no filter named 'nope'"},
      {"{{ [1] | select('nope') | list }}", "                          ^", "no test named 'nope'"},
      {"{{ [1] | batch | list }}", "                 ^", "batch needs a size"},
      {"{{ 1 | round(1, 'up') }}", "       ^",
       "the method of round must be 'common', 'ceil' or 'floor'"},
      {"{{ [1] | sum(start='') }}", "         ^", "sum does not join strings; use join"},
      {"{{ '&copy;' | striptags }}", "              ^", "striptags knows no entity '&copy;'"},
      {"{{ 'a' is divisibleby 2 }}", "          ^",
       "not all arguments were converted by the format"},
      {"{{ 1 is eq }}", "        ^", "the test 'eq' needs one argument"},
      {"{{ 1 is odd(2) }}", "        ^", "the test 'odd' takes at most 0 arguments, got 1"},
      {"{{ 'a' is sameas 'a' }}", "          ^", "the identity of a str is not supported"},
      {"{{ 'a'.split('') }}", "       ^", "the separator of split is empty"},
      {"{{ 'a'.index('b') }}", "       ^", "the substring was not found"},
      {"{{ 'a'.center() }}", "       ^", "a width is needed"},
      {"{{ 'a'.join([1]) }}", "       ^", "what join joins must be a string, got int"},
      {"{{ 'a'.zfill('b') }}", "       ^", "the width of zfill must be an integer, got str"},
      {"{{ [1].index(2) }}", "       ^", "the value is not in the list"},
      {"{{ {}.get() }}", "      ^", "get needs a key"},
      {"{{ {}.get([]) }}", "      ^", "list cannot be a key"},
      {"{{ '{} {}'.format(1) }}", "           ^", "the format has more places than arguments"},
      {"{{ '{'.format(1) }}", "       ^", "a single '{' stands in the format"},
      {"{{ '{:q}'.format(1) }}", "          ^", "the format 'q' does not work on int"},
      {"{{ '%q' % 1 }}", "        ^", "a format has no type 'q'"},
      {"{{ '%s' % (1, 2) }}", "        ^", "not all arguments were converted by the format"},
      {"{{ (5).bit_length(1) }}", "       ^", "bit_length takes at most 0 arguments, got 1"},
      {"{{ (5).to_bytes() }}", "       ^", "the attribute 'to_bytes' of int is not supported"},
      {"{{ range('a') }}", "   ^", "an argument of range must be an integer, got str"},
      {"{{ range(1, 2, 0) }}", "   ^", "the step of range cannot be 0"},
      {"{{ dict(5) }}", "   ^", "int is not iterable"},
      {"{{ namespace(1) }}", "   ^", "int is not iterable"},
      {"{{ cycler() }}", "   ^", "cycler needs something to cycle"},
      {"{{ strftime_now() }}", "   ^", "strftime_now needs a format"},
      {"{{ raise_exception('no ' ~ 1) }}", "   ^", "the template refuses: no 1"},
      {"{{ lipsum() }}", "   ^", "lipsum is not supported: its text is random"},
  };
  expect_errors(kCases);
}

TEST(ErrorPlaces, OfLimits) {
  Limits small;
  small.nodes_max = 40;
  small.parse_depth_max = 6;
  small.name_bytes_max = 20;
  small.parameters_max = 2;
  small.digits_max = 30;
  small.steps_max = 500;
  small.depth_max = 30;
  small.memory_bytes_max = 20'000;
  small.text_bytes_max = 1'000;
  small.items_max = 50;
  small.integer_bits_max = 256;
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
      {"{{ 12345678901234567890 + 12345678901234567890 }}", "                          ^",
       "the large numbers of the template have more than 30 digits"},
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
       "                                               ^",
       "the template nests deeper than 30 levels"},
      {"{{ 2 ** 300 }}", "     ^", "the template makes an integer of more than 256 bits"},
      {"{{ 2 ** 200 * 2 ** 200 }}", "            ^",
       "the template makes an integer of more than 256 bits"},
      {"{{ ('9' * 400) | int }}", "                 ^",
       "the template makes an integer of more than 256 bits"},
      {"{{ '%9999999d' % 1 }}", "               ^", "a format's width is beyond 1000000"},
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
