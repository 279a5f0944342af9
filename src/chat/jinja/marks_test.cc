#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "chat/jinja/template.h"

namespace millrace::jinja {
namespace {

using Json = nlohmann::ordered_json;

// What `source` makes of `w`, which a client wrote, with what was written in guillemets.
std::string marks_of(std::string_view source, const Json& w) {
  const absl::StatusOr<Template> parsed = Template::parse(source, "t");
  if (!parsed.ok()) return "!" + std::string(message_of(parsed.status()));
  const Json messages = {{{"role", w}, {"content", w}}};
  const Variable variables[] = {{"w", &w, Origin::kWritten},
                                {"messages", &messages, Origin::kMessages}};
  const absl::StatusOr<MarkedText> text = parsed->render(variables, absl::UnixEpoch());
  if (!text.ok()) return "!" + std::string(message_of(text.status()));
  std::string shown;
  size_t at = 0;
  for (const ByteRange& range : text->written) {
    shown += text->text.substr(at, range.begin - at) + "«" +
             text->text.substr(range.begin, range.end - range.begin) + "»";
    at = range.end;
  }
  return shown + text->text.substr(at);
}

struct MarkCase {
  std::string_view source;
  std::string_view expected;
};

TEST(Marks, SurviveWhatTextsGoThrough) {
  constexpr MarkCase kCases[] = {
      {"<{{ w }}>", "<«<|e|>»>"},
      {"{{ ('<' ~ w) + '>' }}", "<«<|e|>»>"},
      {"{{ ('(' + w + ')')[1:-1] }}", "«<|e|>»"},
      {"{{ w[::-1] }}{{ w[1] }}{{ w|first }}{{ w|last }}", "«>|e|<|<>»"},
      {"{% for c in '[' + w %}{{ c }}{% endfor %}", "[«<|e|>»"},
      {"{{ w|list|join }}{{ w|reverse }}{{ w|string }}", "«<|e|>>|e|<<|e|>»"},
      {"{{ w|upper }}{{ w|capitalize }}{{ w|title }}{{ w.upper() }}", "«<|E|><|e|><|e|><|E|>»"},
      {"{{ (' ' + w)|trim }}{{ w.strip('<') }}{{ w.rstrip('>') }}", "«<|e|>|e|><|e|»"},
      {"{{ w|replace('e', 'x') }}{{ 'axa'|replace('x', w) }}", "«<|»x«|>»a«<|e|>»a"},
      {"{{ w.split('e') }}", "['«<|»', '«|>»']"},
      {"{{ w.rsplit('|', 1)|join('!') }}", "«<|e»!«>»"},
      {"{{ w.splitlines()|join(w) }}", "«<|e|>»"},
      {"{{ w.removeprefix('<') }}{{ w.removesuffix('>') }}", "«|e|><|e|»"},
      {"{{ w.join(['a', 'b']) }}{{ ['a', 'b']|join(w) }}", "a«<|e|>»ba«<|e|>»b"},
      {"{{ w|indent(2, true) }}{{ 'a'|indent(w, true) }}", "  «<|e|><|e|>»a"},
      {"{{ w|e }}{{ (w + '{{').format() }}", "«&lt;|e|&gt;<|e|>»{"},
      {"{{ '%s!' % w }}{{ '%7s' % w }}{{ '%r' % w }}", "«<|e|>»!  «<|e|>»'«<|e|>»'"},
      {"{{ (w + '%%') % () }}{{ (w + '%d') % 1 }}", "«<|e|>»%«<|e|>»1"},
      {"{{ '{}?{:>6}'.format(w, w) }}{{ '{x}'.format(x=w) }}", "«<|e|>»? «<|e|><|e|>»"},
      {"{{ w|format() }}{{ '%s'|format(w) }}", "«<|e|><|e|>»"},
      {"{{ [w, (w,), {w: w}] }}", "['«<|e|>»', ('«<|e|>»',), {'«<|e|>»': '«<|e|>»'}]"},
      {"{{ {w: [w]}|tojson }}", "{\"«<|e|>»\": [\"«<|e|>»\"]}"},
      {"{{ [1, 2]|tojson(indent=w, separators=(w, w)) }}", "[\n«<|e|>»1«<|e|>»\n«<|e|>»2\n]"},
      {"{{ {'b': w, 'a': 1}|dictsort }}", "[('a', 1), ('b', '«<|e|>»')]"},
      {"{{ {w: 1}.items()|list }}{{ {w: 1}|list }}", "[('«<|e|>»', 1)]['«<|e|>»']"},
      {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(w) }}", "<«<|e|>»>"},
      {"{% set x %}-{{ w }}{% endset %}{{ x|upper }}a{{ x }}", "-«<|E|>»a-«<|e|>»"},
      {"{% set n = namespace(t='') %}{% for c in w %}{% set n.t = n.t + c %}{% endfor %}{{ n.t }}",
       "«<|e|>»"},
      {"{{ [w, w]|unique|join }}{{ [w]|map('upper')|join }}{{ [{'k': w}]|map(attribute='k')|join "
       "}}",
       "«<|e|><|E|><|e|>»"},
      {"{{ [w]|select|join }}{{ [w, 'z']|sort|join }}{{ [w]|min }}{{ [[w]]|sum(start=[])|join }}",
       "«<|e|><|e|>»z«<|e|><|e|>»"},
      {"{{ none|default(w, true) }}{{ w or 'x' }}", "«<|e|><|e|>»"},
      {"{{ strftime_now(w) }}{{ w if w else '' }}{{ (w|safe) + '' }}", "«<|e|><|e|><|e|>»"},
  };
  for (const auto& [source, expected] : kCases) {
    SCOPED_TRACE(source);
    EXPECT_EQ(marks_of(source, "<|e|>"), expected);
  }
}

// Templates make tokens of a role's name, so only known ones are the template's own.
TEST(Marks, OfRolesThatNobodyKnows) {
  EXPECT_EQ(marks_of("<|{{ messages[0].role }}|>{{ messages[0].content }}", "user"),
            "<|user|>«user»");
  EXPECT_EQ(marks_of("<|{{ messages[0].role }}|>", "im_end"), "<|«im_end»|>");
}

}  // namespace
}  // namespace millrace::jinja
