#include "chat/jinja/template.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace millrace::jinja {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

absl::Time noon() {
  return absl::FromCivil(absl::CivilSecond(2026, 1, 2, 12, 0, 0), absl::UTCTimeZone());
}

absl::StatusOr<MarkedText> render_marked(std::string_view source, const Json& context = {},
                                         const Limits& limits = {}) {
  absl::StatusOr<Template> parsed = Template::parse(source, "t", limits);
  if (!parsed.ok()) return parsed.status();
  std::vector<Variable> variables;
  if (context.is_object()) {
    for (const auto& [key, value] : context.get_ref<const Json::object_t&>()) {
      const Origin origin = key == "messages" ? Origin::kMessages
                            : key == "user"   ? Origin::kWritten
                                              : Origin::kTrusted;
      variables.push_back({key, &value, origin});
    }
  }
  return parsed->render(variables, noon());
}

// The text, or `!` and the first line of the message.
std::string render(std::string_view source, const Json& context = {}, const Limits& limits = {}) {
  const absl::StatusOr<MarkedText> text = render_marked(source, context, limits);
  if (text.ok()) return text->text;
  const std::string_view message = message_of(text.status());
  return "!" + std::string(message.substr(0, message.find('\n')));
}

// The text with what was written in brackets.
std::string marked(std::string_view source, const Json& context) {
  const absl::StatusOr<MarkedText> text = render_marked(source, context);
  if (!text.ok()) return "!" + std::string(message_of(text.status()));
  std::string shown;
  size_t at = 0;
  for (const ByteRange& range : text->written) {
    shown += text->text.substr(at, range.begin - at) + "[" +
             text->text.substr(range.begin, range.end - range.begin) + "]";
    at = range.end;
  }
  return shown + text->text.substr(at);
}

// The expected texts are what jinja2 3.1.6 gives with trim_blocks and lstrip_blocks.
TEST(Whitespace, BlocksTakeTheirLine) {
  EXPECT_EQ(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(render("a {%- if true -%} b {%- endif -%} c"), "abc");
  EXPECT_EQ(render("a\n  {%+ if true %}b{% endif +%}\nc"), "a\n  b\nc");
  EXPECT_EQ(render("x\n  {{ 1 }}\n  {{- 2 -}}  \n y"), "x\n  12y");
  EXPECT_EQ(render("a\n  {# note #}\nb {#- x -#} c{#-#}d"), "a\nbcd");
  EXPECT_EQ(render("{% raw %}\n{{ x }}{% endraw %}\n!"), "\n{{ x }}!");
  EXPECT_EQ(render("a\r\nb\rc\n\n"), "a\nb\nc\n");
  EXPECT_EQ(render(""), "");
  EXPECT_EQ(render("{{ '}}' }}{{ {'a': {'b': 1}} }}"), "}}{'a': {'b': 1}}");
}

TEST(Expressions, BehaveAsInPython) {
  EXPECT_EQ(render("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 4 / 2 }} {{ 2 ** 3 ** 2 }}"),
            "-4 2 -2 2.0 64");
  EXPECT_EQ(render("{{ 1 < 2 < 3 }} {{ 1 == 1.0 == true }} {{ 'a' in 'abc' }} {{ 3 not in [1] }}"),
            "True True True True");
  EXPECT_EQ(render("{{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e15 }} {{ 1.5e-5 }} {{ 100.0 }}"),
            "0.30000000000000004 1e+16 1000000000000000.0 1.5e-05 100.0");
  EXPECT_EQ(render("{{ 'a\xC3\xA9\xF0\x9F\x99\x82z'[::-1] }}{{ 'a\xC3\xA9'|length }}"),
            "z\xF0\x9F\x99\x82\xC3\xA9"
            "a2");
  EXPECT_EQ(render("{{ [1, 2, 3, 4][1:3] }}{{ [1, 2, 3][::-2] }}{{ 'abc'[-2:] }}{{ [1][5:] }}"),
            "[2, 3][3, 1]bc[]");
  EXPECT_EQ(render("{{ [none, true, 'it\\'s', \"q\\\"'\", 1.0, (1,), {'k': []}] }}"),
            R"([None, True, "it's", 'q"\'', 1.0, (1,), {'k': []}])");
  EXPECT_EQ(render("{{ 'x' if 0 else 'y' }}{{ 'x' if 0 }}{{ [] or 'z' }}{{ 1 and 2 }}"), "yz2");
  EXPECT_EQ(render("{{ {1: 'a', true: 'b', 'k': 2} }}{{ {'a': 1}.a }}{{ {'items': 1}['items'] }}"),
            "{1: 'b', 'k': 2}11");
  EXPECT_EQ(render("{{ 'ab' * 2 }}{{ [0] * 2 }}{{ 1 ~ none ~ 'x' }}"), "abab[0, 0]1Nonex");
}

TEST(Expressions, RefuseWhatPythonRefuses) {
  EXPECT_EQ(render("{{ 1 < 'a' }}"), "!t:1:6: '<' cannot order int and str");
  EXPECT_EQ(render("{{ 'a' + 1 }}"), "!t:1:8: '+' does not work between str and int");
  EXPECT_EQ(render("{{ 1 // 0 }}"), "!t:1:6: division by zero");
  EXPECT_EQ(render("{{ {[]: 1} }}"), "!t:1:4: list cannot be a key");
  EXPECT_EQ(render("{{ [] in {}.keys() }}"), "!t:1:7: list cannot be a key");
}

TEST(Integers, HaveSixtyFourBits) {
  EXPECT_EQ(render("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }} {{ 2 ** 62 }}"),
            "9223372036854775807 -9223372036854775808 4611686018427387904");
  EXPECT_EQ(render("{{ 9223372036854775807 // 7 }} {{ -(10 ** 18) % 7 }} {{ 10**18 / 10**16 }}"),
            "1317624576693539401 6 100.0");
  EXPECT_EQ(
      render(
          "{{ 9223372036854775807 == 9223372036854775808.0 }} {{ 2**53 + 1 > 9007199254740992.0 }} "
          "{{ {2**60: 'x'}[1152921504606846976.0] }}"),
      "False True x");
  EXPECT_EQ(render("{{ 9223372036854775807 / 3 }} {{ 7 / 2 }} {{ (-7) // 2 }} {{ -7 % 3 }}"),
            "3.0744573456182584e+18 3.5 -4 2");
}

TEST(Formats, AreAsPythonHasThem) {
  EXPECT_EQ(render("{{ '%+06d|%-6s|%6.2f|%i|%5r|%%' % (42, 'ab', 3.14159, 2.9, 'z') }}"),
            "+00042|ab    |  3.14|2|  'z'|%");
  EXPECT_EQ(render("{{ '{:>6}|{:<6}|{:06.1f}|{:5d}|{!r:>5}|{:.2f}'.format('a', 'b', 2.25, 12, 'q', "
                   "1) }}"),
            "     a|b     |0002.2|   12|  'q'|1.00");
  EXPECT_EQ(render("{{ '{0}{1}{0} {}'.format(1, 2) }}"),
            "!t:1:19: a format numbers all of its places or none");
  EXPECT_EQ(render("{{ '%.2f' % 1.005 }} {{ '%s' | format(3) }}"), "1.00 3");
}

TEST(Names, BelongToTheBodyThatAssignsThem) {
  const Json context = {{"x", "context"}};
  // A body inside sees that `x` is the template's own, not yet assigned.
  EXPECT_EQ(render("{% for i in [1] %}[{{ x }}]{% endfor %}{% set x = 1 %}{{ x }}", context),
            "[]1");
  EXPECT_EQ(render("{{ x }}{% for i in [1] %}[{{ x }}]{% endfor %}{% set x = 1 %}", context),
            "context[context]");
  EXPECT_EQ(render("{% if false %}{% set x = 1 %}{% endif %}{% for i in [1] %}{{ x }}{% endfor %}",
                   context),
            "context");
  EXPECT_EQ(
      render("{% macro m() %}[{{ x }}]{% endmacro %}{{ m() }}{% set x = 1 %}{{ m() }}", context),
      "[][1]");
}

TEST(Generators, ComputeWhatIsAskedFor) {
  EXPECT_EQ(render("{{ [1, 'a', none]|map('abs')|first }}"), "1");
  EXPECT_EQ(render("{{ [1]|map('nope') is defined }}"), "True");
  EXPECT_EQ(render("{{ [1, 'a']|map('abs')|list }}"), "!t:1:24: abs does not work on str");
}

TEST(Undefined, PrintsAsNothingAndFailsWhenUsed) {
  EXPECT_EQ(render("[{{ x }}{{ {}.y }}{{ [1][7] }}{{ x|default('d') }}]"), "[d]");
  EXPECT_EQ(render("{{ x is defined }}{{ x == y }}{{ x|length }}{{ not x }}"), "FalseTrue0True");
  EXPECT_EQ(render("{{ x.y }}"), "!t:1:6: 'x' is undefined");
  EXPECT_EQ(render("{{ {'a': 1}.b.c }}"), "!t:1:15: 'dict object' has no attribute 'b'");
  EXPECT_EQ(render("{{ [1][7] + 1 }}"), "!t:1:11: list object has no element 7");
}

TEST(Statements, LoopsHaveTheirVariablesAndScopes) {
  EXPECT_EQ(render("{% for x in 'abc' %}{{ loop.index }}{{ x }}{{ loop.last }} {% endfor %}"),
            "1aFalse 2bFalse 3cTrue ");
  EXPECT_EQ(render("{% for x in [1,2,3,4] if x % 2 %}{{ x }}/{{ loop.length }} {% endfor %}"),
            "1/2 3/2 ");
  EXPECT_EQ(render("{% for x in [] %}{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(
      render("{% set x = 0 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}"),
      "120");
  EXPECT_EQ(render("{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}"), "123");
  EXPECT_EQ(render("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
                   "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "02");
  EXPECT_EQ(render("{% for x in [1,1,2] %}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}"),
            "1 12 1 ");
}

TEST(Statements, ElseOfALoopRunsWhereNoIterationWasWhole) {
  EXPECT_EQ(
      render("{% for x in [1, 2] %}{% if x %}{% continue %}{% endif %}{% else %}else{% endfor %}"),
      "else");
  EXPECT_EQ(render("{% for x in [1, 2] %}{% if x > 1 %}{% break %}{% endif %}{{ x }}{% else "
                   "%}else{% endfor %}"),
            "1");
}

TEST(Statements, SetNamespaceMacroAndBlocks) {
  EXPECT_EQ(render("{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}"
                   "{% endfor %}{{ ns.n }}"),
            "3");
  EXPECT_EQ(
      render("{% macro m(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}"),
      "1x32");
  EXPECT_EQ(render("{% macro m() %}{{ late }}{% endmacro %}{% set late = 1 %}{{ m() }}"), "1");
  EXPECT_EQ(render("{% set x %} a {% endset %}[{{ x | trim | upper }}]"), "[A]");
  EXPECT_EQ(render("{% generation %}kept{% endgeneration %}"), "kept");
  EXPECT_EQ(render("{{ strftime_now('%Y-%m-%d') }}"), "2026-01-02");
}

TEST(Filters, ToJsonIsWhatTransformersGives) {
  const Json context = {{"v", {{"a", {1, 2.5, nullptr, true}}, {"b", "<\xC3\xA9>\n"}}}};
  EXPECT_EQ(render("{{ v|tojson }}", context),
            "{\"a\": [1, 2.5, null, true], \"b\": \"<\xC3\xA9>\\n\"}");
  EXPECT_EQ(render("{{ v.a|tojson(indent=2) }}", context), "[\n  1,\n  2.5,\n  null,\n  true\n]");
  EXPECT_EQ(render("{{ v.a|tojson(separators=(',', ':')) }}", context), "[1,2.5,null,true]");
  EXPECT_EQ(render("{{ v.b|tojson(ensure_ascii=true) }}", context), "\"<\\u00e9>\\n\"");
  EXPECT_EQ(render("{{ v|map('upper')|tojson }}", context),
            "!t:1:19: a generator cannot be written as JSON");
}

TEST(Filters, SelectSortAndJoin) {
  const Json context = {{"l", {{{"n", "b"}, {"v", 2}}, {{"n", "A"}, {"v", 1}}}}};
  EXPECT_EQ(
      render("{{ l|map(attribute='n')|join(',') }} {{ l|sort(attribute='n')|map(attribute='v')"
             "|list }} {{ l|selectattr('v', 'gt', 1)|list|length }}",
             context),
      "b,A [1, 2] 1");
  EXPECT_EQ(
      render("{{ {'b': 1, 'a': 2}|dictsort }}{{ [3,1]|max }}{{ 'a b'|title }}{{ 42.55|round(1)"
             "}}{{ ['x','X']|unique|list }}"),
      "[('a', 2), ('b', 1)]3A B42.5['x']");
  EXPECT_EQ(render("{{ '%s-%03d' % ('a', 7) }}{{ '{:>4}|{x}'.format(1, x=2) }}"), "a-007   1|2");
  EXPECT_EQ(render("{{ ('<'|safe) + '<' }}{{ '<'|e }}"), "<&lt;&lt;");
}

TEST(Sandbox, OnlyDataCanBeReached) {
  EXPECT_EQ(render("{{ ''.__class__ }}"), "");
  EXPECT_THAT(render("{{ ''.__class__.__mro__ }}"), HasSubstr("is unsafe"));
  EXPECT_THAT(render("{{ [].append(1) }}"), HasSubstr("access to attribute 'append'"));
  EXPECT_THAT(render("{{ {}.update({}) }}"), HasSubstr("is unsafe"));
  EXPECT_THAT(render("{% include 'x' %}"), HasSubstr("'include' is not supported"));
}

TEST(Written, RangesFollowTheText) {
  const Json context = {{"user", "ab cd"}};
  EXPECT_EQ(marked("<{{ user }}>", context), "<[ab cd]>");
  EXPECT_EQ(marked("{{ '<' + user + '>' }}", context), "<[ab cd]>");
  EXPECT_EQ(marked("{{ ('<' + user + '>')[2:4] }}|{{ ('<' + user)[::-1] }}", context),
            "[b ]|[dc ba]<");
  EXPECT_EQ(marked("{{ (' ' ~ user ~ ' ')|trim|upper }}", context), "[AB CD]");
  EXPECT_EQ(marked("{{ user.split() }}{{ user.split('b')|join('-') }}", context),
            "['[ab]', '[cd]'][a]-[ cd]");
  EXPECT_EQ(marked("{{ user.replace('b', 'X') }}{{ 'axa'.replace('x', user) }}", context),
            "[a]X[ cd]a[ab cd]a");
  EXPECT_EQ(marked("{{ {'k': user}|tojson }}{{ [user] }}", context),
            "{\"k\": \"[ab cd]\"}['[ab cd]']");
  EXPECT_EQ(marked("{{ '%s!' % user }}{{ '{}?'.format(user) }}", context), "[ab cd]![ab cd]?");
  EXPECT_EQ(
      marked("{% set x %}<{{ user }}>{% endset %}{{ x }}{% for c in user %}{{ c }}.{% endfor %}",
             context),
      "<[ab cd]>[a].[b].[ ].[c].[d].");
  EXPECT_EQ(marked("{{ user if user == 'ab cd' else 'no' }}{{ user|length }}", context),
            "[ab cd]5");
}

TEST(Written, RolesOfMessagesAreTheTemplatesOwn) {
  const Json context = {
      {"messages",
       {{{"role", "user"}, {"content", "hi"}, {"extra", {{"role", "x"}, {"key", {"y"}}}}}}},
      {"bos_token", "<s>"}};
  EXPECT_EQ(marked("{{ bos_token }}{{ messages[0].role }}:{{ messages[0].content }}", context),
            "<s>user:[hi]");
  EXPECT_EQ(marked("{{ messages[0].extra }}", context), "{'[role]': '[x]', '[key]': ['[y]']}");
}

TEST(Errors, ShowTheLineAndACaret) {
  const auto message_of_template = [](std::string_view source) {
    return std::string(message_of(render_marked(source).status()));
  };
  EXPECT_EQ(message_of_template("a\n\xC3\xA9 {{ 1 | nope }}\nb"),
            "t:2:10: no filter named 'nope'\n  \xC3\xA9 {{ 1 | nope }}\n           ^");
  EXPECT_EQ(message_of_template("{% if x %}\n{% endfor %}"),
            "t:2:4: expected 'elif', 'else' or 'endif', found 'endfor'\n  {% endfor %}\n     ^");
  EXPECT_EQ(message_of_template("{% if x %}"),
            "t:1:11: expected 'elif', 'else' or 'endif', found the end of the template\n"
            "  {% if x %}\n            ^");
  EXPECT_THAT(message_of_template("{{ raise_exception('no ' ~ 1) }}"),
              HasSubstr("t:1:4: the template refuses: no 1"));
  EXPECT_THAT(message_of_template("{{ (1 }}"), HasSubstr("expected ')'"));
  EXPECT_THAT(message_of_template("{{ 'abc }}"), HasSubstr("this string has no end"));
  EXPECT_THAT(message_of_template("{{ \xFF }}"), HasSubstr("not UTF-8"));
  // jinja2 minds an unknown filter only where it may be reached.
  EXPECT_EQ(render("{% if false %}{{ 1|nope }}{% endif %}ok"), "ok");
  EXPECT_THAT(render("{% for x in [] %}{{ 1|nope }}{% endfor %}"), HasSubstr("no filter"));
  // Of a long line only what is near.
  std::string far(500, 'x');
  far += "{{ 1 + }}";
  far.append(500, 'y');
  EXPECT_LT(message_of_template(far).size(), 500U);
}

}  // namespace
}  // namespace millrace::jinja
