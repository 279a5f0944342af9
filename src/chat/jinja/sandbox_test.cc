#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/jinja/template.h"

namespace millrace::jinja {
namespace {

using testing::HasSubstr;

absl::StatusOr<MarkedText> render_within(std::string_view source, const Limits& limits = {},
                                         Template::Usage* usage = nullptr) {
  ASSIGN_OR_RETURN(const Template parsed, Template::parse(source, "t", limits));
  return parsed.render({}, absl::UnixEpoch(), limits, usage);
}

void expect_exhausted(std::string_view source, std::string_view part, const Limits& limits = {}) {
  SCOPED_TRACE(source.substr(0, 120));
  Template::Usage usage;
  const absl::StatusOr<MarkedText> text = render_within(source, limits, &usage);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(message_of(text.status())), HasSubstr(std::string(part)));
  // What is counted is judged before much more is done, or taken.
  EXPECT_LE(usage.steps, limits.steps_max + 2 * limits.text_bytes_max);
  EXPECT_LE(usage.memory_bytes, limits.memory_bytes_max + limits.text_bytes_max);
}

std::string forever(std::string_view body) {
  return "{% for i in range(100000) %}" + std::string(body) + "{% endfor %}";
}

TEST(BeyondLimits, EachHasItsMessage) {
  Limits few_steps;
  few_steps.steps_max = 1000;
  expect_exhausted("{% for i in range(9999) %}{{ i }}{% endfor %}", "1000 steps", few_steps);
  Limits little_memory;
  little_memory.memory_bytes_max = 100'000;
  expect_exhausted("{% for i in range(999) %}{{ 'x' * 999 }}{% endfor %}", "bytes of memory",
                   little_memory);
  expect_exhausted("{{ 'x' * 99999999 }}", "a string of more than");
  expect_exhausted("{{ [0] * 999999 }}", "a list of");
  expect_exhausted("{{ range(100001) }}", "range gives");
  expect_exhausted("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests deeper");
  expect_exhausted(
      "{% set ns = namespace(a=[1]) %}{% for i in range(1100) %}"
      "{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
      "nests deeper");
  expect_exhausted("{{ " + std::string(300, '(') + "1" + std::string(300, ')') + " }}",
                   "nests deeper");
  std::string sum = "{{ 1";
  for (int i = 0; i < 300; ++i) sum += " + 1";
  expect_exhausted(sum + " }}", "nests deeper");
  Limits small;
  small.nodes_max = 10;
  expect_exhausted("{{ [1, 2, 3, 4, 5, 6, 7, 8, 9] }}", "more than 10", small);
  small.source_bytes_max = 3;
  expect_exhausted("abcd", "4 bytes, more than 3", small);
  expect_exhausted("{{ " + std::string(300, 'a') + " }}", "this name has more than");
}

// Loops of the dearest things that a template can do: each is stopped by what it is counted, since
// whatever is not would run for minutes.
TEST(Hostile, WorkIsCounted) {
  struct Loop {
    std::string_view before, body;
  };
  constexpr Loop kCases[] = {
      {"{% set s = '9' * 4000 %}", "{% set y = s|int %}"},
      {"{% set s = '\u03a3' * 1000000 %}", "{{ s.lower()|length }}"},
      {"{% set s = 'a ' * 1000000 %}", "{{ s|title|length }}"},
      {"{% set s = '\n' * 1000000 %}", "{{ [s]|tojson|length }}"},
      {"{% set s = 'a' * 4000000 %}{% set d = {s: 1} %}", "{{ d[s] }}"},
      {"{% set s = 'a' * 8000000 %}{% set t = 'a' * 1000 ~ 'b' %}", "{{ t in s }}"},
      {"{% set s = 'a' * 4000000 %}{% set t = 'a' * 4000000 %}", "{{ s == t }}"},
      {"{% set s = 'a' * 4000 %}", "{{ s.replace('a', s)|length }}"},
      {"{% set l = [''] * 100000 %}{% set s = 'a' * 150 %}", "{{ l|join(s)|length }}"},
      {"{% set l = ['a' * 100000] * 1000 %}", "{{ l|sort|length }}"},
      {"{% set l = [[1] * 1000] * 1000 %}", "{{ l|sort|length }}"},
      {"{% set l = [[1] * 300] * 300 %}", "{{ l|map('map', 'string')|map('list')|list|length }}"},
      {"", "{% set x %}{{ 'a' * 1000 }}{% endset %}"},
      {"{% set l = [1e300] * 100000 %}", "{{ l|map('round', 300)|list|length }}"},
      {"", "{{ ('%f' % 1e300)|length }}"},
      {"", "{{ ('%.1000f' % 5)|length }}"},
      {"", "{{ ('{:01000}'.format(1))|length }}"},
      {"{% set l = [0.5, 2 ** 60] * 50000 %}", "{{ l|sort|length }}"},
      {"{% set s = '\u00e9' * 1000000 %}", "{{ s|upper|length }}"},
      {"{% set l = (('a,' * 20000).split(','))|map('list')|list %}", "{{ l|sort|length }}"},
      {"{% set s = '9' * 1000000 %}", "{{ s|float }}"},
      {"{% set s = ' ' * 4000000 ~ '9' %}", "{{ s|int }}"},
      {"{% set s = 'a' * 8000000 %}{% set c = 'b' * 62 ~ 'a' %}", "{{ s.strip(c)|length }}"},
      {"{% set s = 'a' * 7000000 %}", "{{ s[::-1]|length }}"},
      {"{% set s = '\u00e9' * 4000000 %}", "{{ s[1999999] }}"},
      {"{% set s = '\u00e9' * 4000000 %}", "{{ s.startswith('a', 3999999) }}"},
      {"{% set s = '\u0378' * 500000 %}", "{{ [s]|string|length }}"},
      {"{% set l = [''] * 200000 %}", "{{ l|join|length }}"},
      {"{% set l = [' a'] * 100000 %}", "{% set y = l|map('trim')|list %}"},
      {"{% set l = ['a b'] * 100000 %}", "{% set y = l|map('indent', 1)|list %}"},
      {"", "{{ strftime_now('%c') }}"},
      {"{% set ns = namespace(l=[1] * 100000) %}{% for i in range(900) %}"
       "{% set ns.l = [ns.l] %}{% endfor %}",
       "{{ ns.l|tojson(indent=0)|length }}"},
      {"{% set l = range(20000)|list %}", "{% set y = l|unique|list %}"},
      {"{% set l = ([[1]] * 20000)|map('map', 'string')|list %}", "{% set y = l|unique|list %}"},
      {"{% set t = ('a' * 60,) * 1000 %}{% set d = {t + (1,): 1, t + (2,): 1, t + (3,): 1} %}"
       "{% set k = t + (9,) %}",
       "{% set y = k in d %}"},
  };
  for (const Loop& each : kCases) {
    expect_exhausted(std::string(each.before) + forever(each.body), "more than");
  }
}

TEST(Hostile, DepthIsBounded) {
  const auto grow = [](std::string_view first, std::string_view next, int times) {
    return "{% set ns = namespace(a=" + std::string(first) + ", b=" + std::string(first) +
           ") %}{% for i in range(" + std::to_string(times) +
           ") %}{% set ns.a = " + std::string(next) + " %}{% endfor %}";
  };
  // Deep ones, and ones that share their parts: as trees they are 2^60 large.
  for (const std::string_view use :
       {"{{ ns.a }}", "{{ ns.a|tojson }}", "{{ ns.a == [[[ns.a]]] }}"}) {
    expect_exhausted(grow("[1]", "[ns.a]", 5000) + std::string(use), "nests deeper");
  }
  expect_exhausted(grow("(1,)", "(ns.a,)", 5000) + "{{ {ns.a: 1} }}", "nests deeper");
  for (const std::string_view use : {"{{ ns.a|string|length }}", "{{ ns.a|tojson|length }}"}) {
    expect_exhausted(grow("['x']", "[ns.a, ns.a]", 60) + std::string(use), "steps");
  }
  expect_exhausted(grow("(1,)", "(ns.a, ns.a)", 60) + "{{ {ns.a: 1} }}", "steps");
}

// Reading a template is linear in its size, whatever stands in it.
TEST(Hostile, SourcesAreReadInLinearTime) {
  std::string names;
  for (int i = 0; i < 4'000; ++i) names += "{% set v" + std::to_string(i) + " = 1 %}";
  for (int i = 0; i < 4'000; ++i) names += "{% if a %}{% set u = 1 %}{% endif %}";
  EXPECT_TRUE(render_within(names).ok());
  for (const std::string_view piece :
       {"{#", "{", "{% raw %}{%", "{{ 'a' ", "{{ a.a", "{% if ", "((("}) {
    std::string source;
    while (source.size() + piece.size() < 900'000) source += piece;
    render_within(source).IgnoreError();
  }
  std::string number = "{{ 0." + std::string(900'000, '9') + " }}";
  EXPECT_TRUE(render_within(number).ok());
}

}  // namespace
}  // namespace millrace::jinja
