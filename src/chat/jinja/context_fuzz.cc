#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "chat/jinja/template.h"

namespace {

using millrace::jinja::Origin;
using millrace::jinja::Template;
using Json = nlohmann::ordered_json;

// What published templates do with what they are given, and what they hopefully never do.
constexpr std::string_view kSources[] = {
    "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{{ m.content.split('x')[-1] }}"
    "{% endfor %}{% if tools %}{{ tools | tojson(indent=4) }}{% endif %}",
    "{{ messages }}{{ messages | tojson(sort_keys=true, ensure_ascii=true) }}{{ [tools] | string "
    "}}",
    "{% for k, v in messages[0] | items %}{{ k }}: {{ v | string | indent(2, true) }}{% endfor %}",
    "{{ messages | map(attribute='content') | select('string') | map('upper') | unique | join('|') "
    "}}",
    "{{ messages | sort(attribute='role') | list }}{{ messages | selectattr('role') | list }}{{ "
    "tools | max "
    "}}",
    "{{ tools | sort }}{{ tools | sum }}{{ tools | first }}{{ tools | last }}{{ tools | min }}",
    "{{ '%s %r %d' % (messages, tools, tools) }}{{ '{0!r:>20} {1}'.format(tools, messages) }}",
    "{{ tools + tools }}{{ tools * 3 }}{{ tools // 7 }}{{ tools % 5 }}{{ tools ** 2 }}{{ -tools }}",
    "{{ tools == messages }}{{ tools in messages }}{{ tools < messages }}{{ {tools: 1}[tools] }}",
    "{% macro m(t) %}{% for u in t %}{{ m(u) if u is iterable }}{% endfor %}{% endmacro %}"
    "{{ m(tools) }}",
    "{{ tools[::-1] }}{{ tools[1:] }}{{ tools.x.y }}{{ tools['x'] }}{{ tools[0][0] }}{{ tools.0 }}",
    "{{ tools | title }}{{ tools | trim('a') }}{{ tools | escape }}{{ tools | reverse | list }}",
    "{{ tools | int }}{{ tools | float }}{{ tools | round(2) }}{{ tools | abs }}{{ '%5.1f' % tools "
    "}}",
};

const std::vector<Template>& templates() {
  static const auto* const kTemplates = [] {
    millrace::jinja::Limits limits;
    limits.steps_max = 20'000;
    limits.memory_bytes_max = 1 << 20;
    limits.text_bytes_max = 1 << 18;
    auto* parsed = new std::vector<Template>;
    for (const std::string_view source : kSources) {
      auto each = Template::parse(source, "fuzz", limits);
      CHECK(each.ok(), "{}", millrace::message_of(each.status()));
      parsed->push_back(*std::move(each));
    }
    return parsed;
  }();
  return *kTemplates;
}

}  // namespace

// The first byte chooses a template; the rest is a context, or else the content of a message.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  Json context = Json::parse(rest, nullptr, false);
  if (context.is_discarded()) {
    context = Json::array({{{"role", "user"}, {"content", std::string(rest)}}});
  }
  const std::vector<millrace::jinja::Variable> variables = {
      {"messages", &context, Origin::kMessages}, {"tools", &context, Origin::kWritten}};
  const auto text = templates()[data[0] % templates().size()].render(variables, absl::UnixEpoch());
  if (!text.ok()) return 0;
  CHECK(text->check_integrity(), "written ranges out of order, or beyond the text");
  return 0;
}
