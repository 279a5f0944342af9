"""Templates made up from a grammar, rendered by jinja2 as transformers sets it up and by us: the same text, or both refuse.

jinja_test.py BINARY [--seed N] [--count N] [--show N]; the program jinja_lines lies beside the binary."""

import argparse
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import time
import unittest

import jinja_grammar
import packages
import program

NOW = datetime.datetime(2026, 11, 22, 12, 34, 56)

# Where we differ on purpose. What we refuse and jinja2 renders: our message, and why.
REFUSED_BY_US = [
    (r"integers beyond 64 bits are not supported", "no template counts so far"),
    (r"a (generator|list_reverseiterator|function|LoopContext|Namespace) cannot be printed", "Python prints an address, or the state of an object"),
    (r"the (filter|test) '\w+' is not supported|'(cycler|joiner|lipsum|self)' is not supported", "no published template uses them"),
    (r"the attribute '\w+' of (str|Markup|int|float|bool|list|tuple|dict|range|function|dict_\w+) is not supported", "no published template uses them"),
    (r"the format '.*' is not supported|a format of \w+ is not supported|a format's width is at most", "strings, integers and fixed decimals only"),
    (r"(int with a base other than 10|round with a negative precision|round's method '.*'|negative powers|numbers in other bases than 10|'(\*\*|//|%)' of floats) (is|are) not supported",
     "no template computes so"),
    (r"'recursive' loops|filters of a 'set' block|'\w+' of a macro|the attribute '\w+' of a loop|'\*+' before an argument|named arguments of format|a tuple as an index|rsplit at white space",
     "no published template uses them"),
    (r"range cannot be a key", "nothing has one"),
    (r"comparing views of dicts is not supported|slices of a range are not supported", "lists have both"),
    (r"the statement '\w+' is not supported", "there are no other templates; refused even where it is never reached"),
    (r"more than \d+|beyond \d+|nests deeper", "bounds of the sandbox"),
    (r"on a string marked safe is not supported", "nothing escapes by itself in chat templates"),
    (r"cannot be sliced like this", "of constants alone, which jinja2 folds as undefined"),
]

# What jinja2 refuses and we render: its message and the source, and why.
RENDERED_BY_US = [
    (r"NameError: name '(inf|nan)' is not defined", "jinja2 folds constants to names that Python does not have"),
    (r"(?s)TypeError: unhashable type.*\.items\(\)", "a view of items compares its pairs one by one, without their hashes"),
]
# What comes out otherwise: the source and what the context holds, and why.
OTHERWISE = [
    (r"\b(e|escape|safe)\b", "fewer operations keep a string marked safe than markupsafe has"),
    (r"(?s)(?=.*\b(upper|lower|title|capitalize|sort|unique|min|max|dictsort)\b)(?=.*[ßﬁΣİ])", "cases map one character to one"),
    (r"(?s)(?=.*\bisdigit\b)(?=.*[²½])", "superscripts are no digits"),
]


def environment():
    """As transformers.utils.chat_template_utils makes it."""
    import jinja2.exceptions
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

        def _text(self, caller):
            return caller()

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                        extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def render(templates, case):
    """(text, None) or (None, error)."""
    try:
        return templates.from_string(case["source"]).render(**case["context"]), None
    except Exception as error:  # pylint: disable=broad-except
        return None, f"{type(error).__name__}: {error}"


def render_ours(cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([pathlib.Path(program.BINARY).parent / "jinja_lines"], input=lines, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise AssertionError(f"jinja_lines ended with {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_listed(table, text):
    return any(re.search(pattern, text) for pattern, reason in table)


def judge(case, text, error, ours):
    """None where both agree or differ as listed, else what is wrong."""
    if text is not None and re.search(r" at 0x[0-9a-f]+>", text):
        text, error = None, "prints an address"
    if "output" in ours:
        if text == ours["output"]:
            return None
        if text is None:
            return None if is_listed(RENDERED_BY_US, f"{error} {case['source']}") else "only jinja2 refuses"
        seen = case["source"] + json.dumps(case["context"], ensure_ascii=False)
        return None if is_listed(OTHERWISE, seen) else "the texts differ"
    if text is None or is_listed(REFUSED_BY_US, ours["error"].split("\n")[0]):
        return None
    return "only we refuse"


def report(case, text, error, ours, wrong):
    context = {name: value for name, value in case["context"].items() if re.search(rf"\b{name}\b", case["source"])}
    return "\n".join([f"{wrong}: {case['source']!r}", f"  context {json.dumps(context, ensure_ascii=False)[:600]}",
                      f"  jinja2  {error or repr(text)[:600]}", f"  ours    {ours.get('error') or repr(ours['output'])[:600]}"])


class Differential(unittest.TestCase):
    seed = 0
    count = 20_000
    show = 20

    def test_templates_of_a_grammar(self):
        templates = environment()
        wrong = []
        rendered = 0
        began = time.monotonic()
        for begin in range(0, self.count, 2000):
            cases = []
            for index in range(begin, min(begin + 2000, self.count)):
                maker = jinja_grammar.Maker(random.Random(f"{self.seed}/{index}"))
                cases.append({"source": maker.template(), "context": maker.context()})
            for case, ours in zip(cases, render_ours(cases), strict=True):
                text, error = render(templates, case)
                rendered += text is not None
                if difference := judge(case, text, error, ours):
                    wrong.append(report(case, text, error, ours, difference))
        print(f"seed {self.seed}: {self.count} templates, {rendered} rendered by jinja2, {len(wrong)} differ, {time.monotonic() - began:.1f} s", flush=True)
        self.assertGreater(rendered, self.count / 10, "hardly any template was rendered: there was nothing to compare")
        self.assertEqual(len(wrong), 0, "\n" + "\n".join(wrong[:self.show]))


if __name__ == "__main__":
    packages.run_with(pathlib.Path(program.BINARY).parent, "jinja2==3.1.6")
    options = argparse.ArgumentParser()
    options.add_argument("binary", nargs="?")
    options.add_argument("--seed", type=int, default=Differential.seed)
    options.add_argument("--count", type=int, default=Differential.count)
    options.add_argument("--show", type=int, default=Differential.show)
    given = options.parse_args()
    Differential.seed, Differential.count, Differential.show = given.seed, given.count, given.show
    program.main()
