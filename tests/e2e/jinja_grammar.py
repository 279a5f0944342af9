"""Templates and contexts made up from the grammar of jinja2, most of them sensible, some not."""

TEXTS = ["", "a", "Hello World", "hello wörld", "  padded \t", "it's", 'say "hi"', "<b>&amp;</b>", "a,b,,c", "line\nnext\n\n last\r\nend",
         "漢字かな", "a🙂b👍🏽", "ÀÉÎ straße ﬁn", "ΑΣ ΟΔΟΣ", "e\u0301x", "007", "-12", "3.75", "1e3", "0x1f", " 42 ", "1_000", "İI", "ǆ", "²½Ⅷ",
         "\u00a0nb\u2003sp", "tab\there", "x=y", "{{ no }}", "%s and %d", "{} {0} {a}", "<|im_start|>", "a\\b", "ab" * 12,
         "the quick brown fox-jumps over", "\x07\x7f\u200b", "True", "none", "A-b_c d.E", "ünï_cödé"]
INTEGERS = [0, 1, 2, 3, 5, 7, 10, 16, 42, 100, 255, 1000, 65536, 2**31, 2**53 + 1, 2**62, 2**63 - 1]
LONG_INTEGERS = [2**63, 2**64, 10**20]
FLOATS = [0.0, 1.0, 0.5, 1.5, 2.5, 0.1, 2.675, 3.14159, 1e-7, 1e15, 1e16, 1e22, 123456.789, 1e300, 5e-324, 99.99]
KEYS = ["a", "b", "name", "items", "x y", "é", "role", "0", "content"]
NAMES = ["s", "t", "text", "i", "j", "f", "flag", "nothing", "l", "words", "rows", "nested", "d", "deep", "missing", "e"]
ATTRIBUTES = ["a", "b", "name", "v", "a.b", "nested.0", "missing", "tags.1", 0, 1]


class Maker:
    def __init__(self, random):
        self.random = random
        self.names = list(NAMES)
        self.macros = []
        self.loops = 0
        self.count = 0
        # How often something of another kind stands where it makes no sense.
        self.noise = self.pick(0, 0, 0, 0.02, 0.08)

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def some(self, make, low=0, high=3):
        return [make() for _ in range(self.random.randint(low, high))]

    # Contexts.

    def datum(self, depth=0):
        kind = self.random.randrange(10 if depth < 3 else 6)
        if kind < 2:
            return self.random.choice(TEXTS)
        if kind == 2:
            return self.random.choice(INTEGERS) * self.pick(1, 1, -1)
        if kind == 3:
            return self.random.choice(FLOATS) * self.pick(1, -1)
        if kind == 4:
            return self.pick(True, False)
        if kind == 5:
            return None
        if kind < 8:
            return self.some(lambda: self.datum(depth + 1), 0, 4)
        return {self.random.choice(KEYS): self.datum(depth + 1) for _ in range(self.random.randint(0, 4))}

    def context(self):
        text = lambda: self.random.choice(TEXTS)
        row = lambda: {"name": text(), "v": self.random.choice(INTEGERS[:10]),
                       **({"a": {"b": self.datum(2)}} if self.chance(0.6) else {}),
                       **({"tags": self.some(text, 0, 3)} if self.chance(0.5) else {})}
        return {"s": text(), "t": text(), "text": " ".join(self.some(text, 1, 4)),
                "i": self.random.choice(INTEGERS), "j": -self.random.choice(INTEGERS[:8]), "f": self.random.choice(FLOATS),
                "flag": self.pick(True, False), "nothing": None, "l": self.some(lambda: self.random.choice(INTEGERS[:9]), 0, 6),
                "words": self.some(text, 0, 5), "rows": self.some(row, 0, 4), "nested": self.datum(0), "e": self.pick("", [], {}, 0),
                "d": {key: self.datum(1) for key in self.random.sample(KEYS, 3)},
                "deep": {"a": {"b": [self.datum(2), {"c": self.datum(2)}]}, "l": [[1, [2, [3]]], []]}}

    # Expressions. Each kind of value has its own makers; `any` takes one of them.

    def string(self):
        text = self.random.choice(TEXTS)
        quote = self.pick("'", '"')
        escaped = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
        if self.chance(0.7):
            escaped = escaped.replace("\n", "\\n").replace("\r", "\\r")
        return quote + escaped + quote

    def integer(self):
        if self.chance(0.04):
            return self.pick("1_000", "00", "0x1F" if self.noise else "7")
        if self.chance(self.noise / 4):
            return str(self.random.choice(LONG_INTEGERS))
        return str(self.random.choice(INTEGERS if self.chance(0.3) else INTEGERS[:8]))

    def floating(self):
        return self.pick(repr(self.random.choice(FLOATS)), "1.5e3", "2E-2", "1_0.5", "1e3")

    def expression(self, kind="any", depth=0):
        if depth > 4 or self.chance(0.12 * depth):
            return self.atom(kind)
        if kind == "any" or self.chance(self.noise):
            kind = self.pick("text", "text", "text", "integer", "float", "flag", "flag", "list", "list", "dict", "mixed",
                             "whatever" if self.noise else "mixed")
        made = getattr(self, "make_" + kind)(depth + 1)
        if self.chance(0.08):
            made = f"({made})"
        return made

    def atom(self, kind):
        if self.chance(self.noise):
            kind = "any"
        known = {"text": ["s", "t", "text"], "integer": ["i", "j"], "float": ["f"], "flag": ["flag", "e"],
                 "list": ["l", "words", "rows", "deep.l"], "dict": ["d", "deep", "deep.a"]}.get(kind, self.names)
        if self.chance(0.6):
            return self.random.choice(known)
        return {"text": self.string, "integer": self.integer, "float": self.floating,
                "flag": lambda: self.pick("true", "False", "none", "None"),
                "list": lambda: self.pick("[]", "[1, 2, 3]", "['b', 'A', 'a']", "(1, 'x')", "()", "(3,)", "range(4)", "[none, 1.0, true]"),
                "dict": lambda: self.pick("{}", "{'a': 1}", "{'b': [1], 'a': {'c': none}}", "{1: 'x', true: 'y', 2.5: 'z'}",
                                          "dict(a=1, b='c')")}.get(kind, self.string)()

    def texts(self, depth):
        return self.expression("text", depth)

    def numbers(self, depth):
        return self.expression(self.pick("integer", "integer", "float"), depth)

    def small(self):
        return str(self.pick(0, 1, 1, 2, 2, 3, 4, 5, 8, 12, 20, -1, -2, -5))

    def make_mixed(self, depth):
        e = lambda: self.expression("any", depth)
        return self.pick(
            lambda: f"{e()} if {e()} else {e()}", lambda: f"{e()} if {e()}", lambda: f"{e()} {self.pick('or', 'and')} {e()}",
            lambda: f"{e()}|default({e()}{self.pick('', ', true')})", lambda: f"{e()}|{self.pick('string', 'tojson', 'd')}",
            lambda: f"{self.expression('text', depth)}|{self.rough_text_filter()}", lambda: f"{self.expression('list', depth)}|{self.rough_list_filter()}",
            lambda: f"{self.dotted(self.expression('text', depth))}.{self.rough_text_method()}",
            lambda: f"{self.dict_expression(depth)}{self.pick('.a', '.b', '[' + repr('name') + ']', '.items', '.get(' + repr('a') + ')', '.missing', '|length', '|first')}",
            lambda: f"{self.expression('list', depth)}{self.pick('[0]', '[-1]', '[1]', '.0', '|length', '|first', '|last')}",
            lambda: f"{self.random.choice(self.macros)}()" if self.macros else e(),
            lambda: f"loop.{self.loop_name()}" if self.loops else e(),
            lambda: f"namespace(a={e()}).a",
            lambda: self.pick("strftime_now('%Y-%m-%d %H:%M')", "strftime_now('%d %b %Y')", "raise_exception(s)"
                              if self.noise else "strftime_now('%Y')", "cycler(1, s).next()" if self.noise else "strftime_now('%m')"),
        )()

    def make_whatever(self, depth):
        e = lambda: self.expression("any", depth)
        return self.pick(
            lambda: self.random.choice(self.names),
            lambda: f"{e()} if {e()} else {e()}",
            lambda: f"{e()} if {e()}",
            lambda: f"{e()} {self.pick('or', 'and')} {e()}",
            lambda: f"{e()}[{e()}]",
            lambda: f"{e()}.{self.random.choice(KEYS[:4])}",
            lambda: f"{e()}|default({e()}{self.pick('', ', true')})",
            lambda: f"{e()}|{self.pick('first', 'last', 'max', 'min', 'sum', 'list', 'length', 'string', 'tojson', 'reverse', 'abs', 'd', 'upper')}",
            lambda: f"{e()} {self.operator()} {e()}",
            lambda: f"{e()}|attr({self.string()})",
            lambda: f"{self.random.choice(self.macros)}({', '.join(self.some(e, 0, 2))})" if self.macros else e(),
            lambda: f"{self.pick('loop.', 'loop.', 'loop.', '')}{self.loop_name()}" if self.loops else e(),
            lambda: f"namespace(a={e()}).a",
            lambda: f"{e()}|{self.pick('nope', 'upper', 'trim')}",
        )()

    def loop_name(self):
        return self.pick("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem",
                         "cycle(1, 2)" if self.noise else "index", "nope")

    def operator(self):
        return self.pick("+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or")

    def make_text(self, depth):
        x, y = (lambda: self.texts(depth)), (lambda: self.texts(depth + 1))
        return self.pick(
            x, x,
            lambda: f"{x()} + {y()}",
            lambda: f"{self.expression('any', depth)}|string" if self.noise else x(),
            lambda: f"{x()} ~ {self.expression('any', depth)} ~ {y()}",
            lambda: f"{x()} * {self.small()}",
            lambda: f"{x()}[{self.slice()}]",
            lambda: f"{x()}|{self.text_filter(depth)}",
            lambda: f"{x()}|{self.text_filter(depth)}|{self.text_filter(depth)}",
            lambda: f"{self.dotted(x())}.{self.text_method(depth)}",
            lambda: f"{self.dotted(x())}.{self.text_method(depth)}",
            lambda: f"{self.pick('nested', 'd', 'rows', 'l', 'words', self.expression('dict', depth))}|tojson{self.json_style()}",
            lambda: f"{self.expression('list', depth)}|join({self.string()})",
            lambda: f"rows|join({self.string()}, attribute={self.random.choice(ATTRIBUTES[:4])!r})",
            lambda: f"{self.string()}.join({self.pick('words', 's', 'd', 'words|sort', 'l|map(' + repr('string') + ')')})",
            lambda: self.percent_format(depth),
            lambda: self.brace_format(depth),
            lambda: f"{self.string()} {self.string()}",
        )()

    def dotted(self, expression):
        return expression if expression[0] in "'\"(" and not any(c in expression for c in " |") else f"({expression})"

    def slice(self):
        part = lambda: self.pick("", "", self.small(), self.small(), "none")
        return self.pick(self.small(), self.small(), f"{part()}:{part()}", f"{part()}:{part()}:{self.pick('', '1', '2', '-1', '-2', '3')}")

    def json_style(self):
        options = [option for option in (
            f"indent={self.pick('0', '1', '2', '4', 'none', repr('--'))}", f"separators={self.pick(repr((',', ':')), repr([', ', ' = ']), 'none')}",
            "sort_keys=true", "ensure_ascii=true") if self.chance(0.3)]
        return f"({', '.join(options)})" if options else self.pick("", "()", "(false, 2)")

    def text_filter(self, depth):
        if self.chance(self.noise):
            return self.rough_text_filter()
        s = self.string
        n = lambda: str(self.pick(3, 4, 5, 8, 12, 20))
        return self.pick("upper", "lower", "capitalize", "title", "trim", f"trim({s()})", f"replace({s()}, {s()})", f"replace({s()}, {s()}, {self.small()})",
                         f"indent({n()})", f"indent({s()}, true, {self.pick('true', 'false')})", "indent(first=true)", "e", "escape", "string", "reverse",
                         "unique|join", "list|join", f"default({s()}, true)", "tojson")

    def rough_text_filter(self):
        s, n = self.string, self.small
        return self.pick("upper", "lower", "capitalize", "title", "trim", f"trim({s()})", f"replace({s()}, {s()})", f"replace({s()}, {s()}, {n()})",
                         f"indent({n()})", f"indent({s()}, true, {self.pick('true', 'false')})", "indent(first=true)", "e", "escape", "string",
                         "reverse", "first", "last", "int", f"int({n()})", "float", f"float({n()})", "list", "length", f"format({s()}, {n()})", "safe",
                         "count", "unique|join", f"default({s()}, true)",
                         self.pick(f"center({n()})", "truncate(20, leeway=0)", "wordcount", "urlencode", f"int({n()}, 16)", "forceescape", "striptags",
                                   f"wordwrap({n()})", "pprint", "filesizeformat", "batch(3)|list", "slice(2)|list"))

    def text_method(self, depth):
        if self.chance(self.noise):
            return self.rough_text_method()
        s, n = self.string, self.small
        return self.pick("upper()", "lower()", "title()", "capitalize()", "strip()", f"strip({s()})", f"lstrip({s()})",
                         f"rstrip({s()})", "lstrip()", "rstrip(none)", "split()|join('|')", f"split(none, {n()})|join('|')", "rsplit()|string",
                         f"split(',', {n()})|string", "rsplit('a', 1)|join('|')", "splitlines()|string", "splitlines(true)|string",
                         f"replace({s()}, {s()})", f"replace({s()}, {s()}, {n()})", f"removeprefix({s()})", f"removesuffix({s()})", f"join({s()})")

    def rough_text_method(self):
        s, n = self.string, self.small
        return self.pick("upper()", "lower()", "title()", "capitalize()", "strip()", f"strip({s()})", f"lstrip({s()})",
                         f"rstrip({s()})", "lstrip()", "rstrip(none)", f"split({s()})", "split()", f"split({s()}, {n()})", f"rsplit({s()}, {n()})",
                         f"split(none, {n()})", f"rsplit(maxsplit={n()})", "splitlines()", "splitlines(true)", "splitlines(keepends=true)",
                         f"startswith({s()})", f"endswith({s()})", f"startswith(({s()}, {s()}), {n()})", f"endswith({s()}, {n()}, {n()})",
                         f"find({s()})", f"rfind({s()}, {n()})", f"index({s()})", f"rindex({s()}, {n()}, {n()})", f"count({s()})",
                         f"count({s()}, {n()})", f"replace({s()}, {s()})", f"replace({s()}, {s()}, {n()})", f"removeprefix({s()})",
                         f"removesuffix({s()})", "isdigit()", "isalpha()", "isalnum()", "isspace()",
                         "isupper()", "islower()", f"format({s()}, a={n()})", "nope()", "upper", "__class__", f"join({s()})",
                         self.pick("swapcase()", "casefold()", f"center({n()})", f"ljust({n()}, 'é')", f"zfill({n()})", "expandtabs()", "isdecimal()",
                                   "isnumeric()", "istitle()", "isascii()", "isidentifier()", "isprintable()", "format_map(d)", "encode()",
                                   "translate({97: none})"))

    def percent_format(self, depth):
        if not self.chance(self.noise * 4):
            kinds = self.some(lambda: self.pick("text", "integer", "float"), 1, 3)
            flags = lambda: self.pick("", "", "-", "+", "0", "+0", "-0") + self.pick("", "", "5", "12")
            place = {"text": lambda: "%" + self.pick("", "", "-6", "8", ".2", "-9.3") + self.pick("s", "s", "r"),
                     "integer": lambda: "%" + flags() + self.pick(*"ddis"),
                     "float": lambda: "%" + self.pick(flags() + self.pick("", "", ".0", ".1", ".3", ".12") + "f", "d", "s")}
            places = ", ".join(place[kind]() for kind in kinds)
            return f"('{places}%%' % ({', '.join(self.atom(kind) for kind in kinds)},))"
        place = lambda: "%" + self.pick("", "", "-", "+", "0", " ", "#", "05", "-6", "+.2", "08.3", ".1", "*") + self.pick(*"ssdiffrruxXoeEgGca%")
        places = self.some(place, 1, 2)
        values = [self.expression(self.pick("any", "integer", "float"), depth + 2) for _ in range(self.random.randint(0, 3))] or ["1"]
        pattern = repr(" ".join(places)).replace("\\\\", "\\")
        if self.chance(0.15):
            return f"'%(a)s and %(b){self.pick('s', 'd', '5.1f')}' % {self.pick('d', repr({'a': 1, 'b': 2.5}))}"
        arguments = values[0] if len(values) == 1 and self.chance(0.5) else f"({', '.join(values)},)"
        return f"({pattern} % {arguments})"

    def brace_format(self, depth):
        if not self.chance(self.noise * 4):
            kinds = self.some(lambda: self.pick("text", "integer", "float", "flag"), 1, 3)
            width = lambda: self.pick("", "", "5", "12")
            spec = {"text": lambda: self.pick("", "!r", "!s") + ":" + self.pick("", "", "<", ">") + width() + self.pick("", ".2", ".7", "s"),
                    "integer": lambda: ":" + self.pick("<", ">", "0", "+", "+0", "") + width() + self.pick("d", ""),
                    "float": lambda: ":" + self.pick("<", ">", "0", "+", "") + width() + self.pick(".0", ".2", ".5", ".17", "") + "f",
                    "flag": lambda: self.pick("", "!r", ":", "!s:>7")}
            places = ", ".join("{" + spec[kind]() + "}" for kind in kinds)
            return f"'{places}'.format({', '.join(self.atom(kind) for kind in kinds)})"
        spec = lambda: self.pick("", "", "5", "<6", ">6", "05", "+", "d", ".2f", "10.1f", "s", "5d", "^7", "*^9", "#x", "b", ",", "e", "{}", "g", "c", "E", "r")
        place = lambda: "{" + self.pick("", "", "", "0", "1", "a", "a[b]", "a.b") + self.pick("", "", "!r", "!s", "!a") + \
            self.pick("", ":" + spec(), ":" + spec()) + "}"
        values = [self.expression(self.pick("any", "integer", "float", "text"), depth + 2) for _ in range(self.random.randint(1, 3))]
        named = [f"a={self.expression('any', depth + 2)}"] if self.chance(0.3) else []
        return f"{' '.join(self.some(place, 1, 2))!r}.format({', '.join(values + named)})"

    def make_integer(self, depth):
        x = lambda: self.expression("integer", depth)
        return self.pick(
            x, x,
            lambda: f"{x()} {self.pick('+', '-', '*')} {x()}",
            lambda: f"{x()} {self.pick('//', '%')} {self.pick('3', '7', '-2', x())}",
            lambda: f"{x()} ** {self.pick('0', '1', '2', '3')}",
            lambda: f"{self.pick('-', '+')}{x()}",
            lambda: f"{self.expression(self.pick('text', 'list', 'dict'), depth)}|length",
            lambda: f"{self.expression(self.pick('text', 'integer', 'float'), depth)}|int",
            lambda: f"{self.numbers(depth)}|{self.pick('abs', 'int', 'round|int', 'round(1)', 'string', 'float')}",
            lambda: f"({self.texts(depth)}).{self.pick('find', 'count')}({self.string()})",
            lambda: f"{self.pick('l|sum', 'l|sum(start=5)', 'rows|sum(' + repr('v') + ')', 'rows|map(attribute=' + repr('v') + ')|sum')}",
            lambda: f"loop.{self.pick('index', 'index0', 'length', 'revindex')}" if self.loops else x(),
        )()

    def make_float(self, depth):
        x = lambda: self.numbers(depth)
        return self.pick(
            x, x,
            lambda: f"{x()} {self.pick('+', '-', '*')} {x()}",
            lambda: f"{x()} / {self.pick('3', '0.7', '-2.5', '1e10', x())}",
            lambda: f"{x()}|float",
            lambda: f"{x()}|round({self.pick('0', '1', '2', '3', '5')}{self.pick('', '', ', ' + repr('ceil') if self.noise else '')})",
            lambda: f"-{x()}",
            lambda: f"{x()} ** 2" if self.noise else x(),
        )()

    def make_flag(self, depth):
        x = lambda: self.expression("any", depth)
        return self.pick(
            lambda: f"{x()} {self.pick('==', '!=')} {x()}",
            lambda: f"{self.numbers(depth)} {self.pick('<', '<=', '>', '>=')} {self.numbers(depth)} {self.pick('', '< ' + self.numbers(depth))}",
            lambda: f"{self.texts(depth)} {self.pick('in', 'not in')} {self.expression(self.pick('list', 'text', 'dict'), depth)}",
            lambda: f"{x()} in {self.expression('list', depth)}",
            lambda: f"not {x()}",
            lambda: f"{x()} is {self.pick('', '', 'not ')}{self.test(depth)}",
            lambda: f"{x()} is {self.test(depth)}",
            lambda: f"{self.expression('flag', depth)} {self.pick('and', 'or')} {self.expression('flag', depth)}",
            lambda: f"{self.texts(depth)} {self.pick('<', '>', '==')} {self.texts(depth)}",
        )()

    def test(self, depth):
        if not self.chance(self.noise * 4):
            return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable",
                             "callable", "lower", "upper", "true", "false", f"eq {self.atom('any')}", f"equalto({self.atom('any')})",
                             f"ne {self.small()}", f"in {self.atom('list')}", f"== {self.small()}")
        return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable", "callable",
                         "odd", "even", "lower", "upper", "true", "false", f"divisibleby {self.integer()}",
                         f"divisibleby({self.small()})", f"eq {self.atom('any')}", f"equalto({self.atom('any')})", f"ne {self.small()}", f"gt {self.integer()}",
                         f"greaterthan({self.small()})", f"ge({self.small()})", f"lt {self.integer()}", f"lessthan 3", f"le({self.atom('integer')})",
                         f"in {self.atom('list')}", self.pick("sameas none", "escaped", "filter"), "nope", f"== {self.small()}")

    def make_list(self, depth):
        x = lambda: self.expression("list", depth)
        e = lambda: self.expression("any", depth)
        return self.pick(
            x, x,
            lambda: f"[{', '.join(self.some(e, 0, 3))}{self.pick('', '')}]",
            lambda: f"({', '.join(self.some(e, 2, 3))})",
            lambda: f"{x()}[{self.slice()}]",
            lambda: f"{x()} + {x()}",
            lambda: f"{x()} * {self.pick('0', '1', '2', '-1')}",
            lambda: f"{x()}|{self.list_filter(depth)}|list",
            lambda: f"{x()}|{self.list_filter(depth)}|{self.list_filter(depth)}|list",
            lambda: f"{x()}|{self.list_filter(depth)}|list|length",
            lambda: f"rows|{self.row_filter()}|list",
            lambda: f"{self.dict_expression(depth)}.{self.pick('items()', 'keys()', 'values()')}{self.pick('', '|list')}",
            lambda: f"{self.dict_expression(depth)}|{self.pick('dictsort', 'items|list', 'list')}",
            lambda: f"d|{self.pick('dictsort', 'items|list', 'list', 'dictsort(true)', 'dictsort(by=' + repr('value') + ')', 'dictsort(reverse=true)')}",
            lambda: f"({self.texts(depth)}).split({self.pick('', repr(','), repr(' '), self.string() if self.noise else '')})",
            lambda: f"range({', '.join(self.some(lambda: str(self.pick(1, 2, 3, 5, 9)), 1, 2))}){self.pick('', '|list')}",
            lambda: f"({x()}).{self.pick('count(1)', 'index(1)', 'append(1)', 'pop()', 'index(2, 1)')}" if self.noise else f"[{e()}, {e()}]",
            lambda: f"({x()}).{self.pick('count(1)', 'append(1)')}" if self.noise else x(),
        )()

    def list_filter(self, depth):
        if self.chance(self.noise * 2):
            return self.rough_list_filter()
        return self.pick("reverse", "list", "map('string')", "select", "reject", "select('string')", f"select('ne', {self.small()})", "reject('none')",
                         "reject('number')", "map('default', 3)", "map('tojson')",
                         "map('string')|sort", "map('string')|sort(reverse=true)", "map('string')|unique", "map('string')|map('length')",
                         "map('string')|map('upper')", "map('string')|map('replace', 'a', 'b')", "map('string')|sort(case_sensitive=true)")

    def row_filter(self):
        attribute = lambda: repr(self.pick("name", "v", "name", "v", "a.b", "a", "tags.0"))
        return self.pick("sort(attribute='name')", "sort(attribute='v', reverse=true)", "sort(attribute='name,v')", f"map(attribute={attribute()})",
                         f"map(attribute={attribute()}, default={self.string()})", "unique(attribute='v')", "unique(attribute='name')",
                         f"selectattr({attribute()})", f"selectattr({attribute()}, 'defined')", f"selectattr('name', 'equalto', {self.string()})",
                         "rejectattr('v', 'gt', 2)", "rejectattr('v', 'odd')", "map(attribute='v')|select('even')", "max(attribute='v')|default({}, true)")

    def rough_list_filter(self):
        attribute = lambda: repr(self.random.choice(ATTRIBUTES))
        return self.pick("sort", "sort(reverse=true)", "sort(case_sensitive=true)", f"sort(attribute={attribute()})", "sort(attribute='name,v')", "unique",
                         "unique(true)", f"unique(attribute={attribute()})", "reverse", "list", "map('upper')", "map('string')", "map('length')",
                         f"map(attribute={attribute()})", f"map(attribute={attribute()}, default={self.string()})", "map('int')", "map('replace', 'a', 'b')",
                         "map('nope')", "map('default', 3)", "select", "reject", "select('odd')", "select('string')", f"select('gt', {self.small()})",
                         "reject('none')", "select('nope')", f"selectattr({attribute()})", f"selectattr({attribute()}, 'defined')",
                         f"selectattr('name', 'equalto', {self.string()})", f"rejectattr({attribute()}, 'eq', 1)", "rejectattr('v', 'gt', 2)", self.pick("batch(2)", "slice(2)", "groupby('v')"), "first", "last",
                         "min", "max", f"max(attribute={attribute()})", "min(case_sensitive=true)", "sum", f"sum({attribute()})", "sum(start=[])", "length",
                         "count", "join", f"join({self.string()})", "tojson", "string", "items", "dictsort", "map('first')", "map('attr', 'upper')")

    def dict_expression(self, depth):
        made = self.expression("dict", depth)
        return made if made[0] in "{(" or made.isidentifier() else f"({made})"

    def make_dict(self, depth):
        e = lambda: self.expression("any", depth)
        keys = [lambda: repr(self.random.choice(KEYS)), self.integer, lambda: self.pick("none", "true", "(1, 'a')", "1.0", "()"), lambda: self.expression("text", depth)]
        key = lambda: self.random.choice(keys + [e] if self.noise else keys)()
        return self.pick(
            lambda: self.expression("dict", depth), lambda: self.expression("dict", depth),
            lambda: "{" + ", ".join(f"{key()}: {e()}" for _ in range(self.random.randint(0, 3))) + "}",
            lambda: f"dict(d, a={e()})",
            lambda: f"dict([('a', {e()}), ({key()}, 2)])",
            lambda: f"{self.pick('d', 'd.get(' + repr('a') + ', {})', 'deep.get(' + repr('a') + ')', 'deep.a')}",
            lambda: "d" if not self.noise else f"{self.dict_expression(depth)}.{self.pick('copy()', 'get(' + key() + ')', 'get(' + key() + ', ' + e() + ')', 'update({})', 'pop(1)', 'fromkeys(l)', 'setdefault(1)')}",
            lambda: f"{self.dict_expression(depth)}[{key()}]" if self.noise else "deep",
        )()

    # Statements.

    def template(self):
        return "".join(self.body(0, 3))

    def body(self, depth, high=3):
        return [self.statement(depth) for _ in range(self.random.randint(1, high))]

    def tag(self, inside):
        begin, end = self.pick("", "", "", "-", "+"), self.pick("", "", "", "-", "+")
        return "{%" + begin + self.pick(" ", " ", "", "\n") + inside + self.pick(" ", " ", "") + end + "%}"

    def data(self):
        return self.pick("", " ", "\n", "  \n", "text", " text ", "\n  line\n", "\t", "é\n\n", "} %", "{ {", "a\r\nb", " \n \n ", "x", "-")

    def statement(self, depth):
        return self.data() + self.pick(*[self.output] * 7, self.comment, self.raw,
                                       *([self.conditional, self.loop, self.loop, self.set, self.set, self.set_block, self.namespace, self.macro,
                                          self.call if self.noise else self.macro, self.filter_block if self.noise else self.set_block,
                                          self.with_block if self.noise else self.set, self.generation, self.control] if depth < 3 else [self.set]))(depth) + self.data()

    def output(self, depth):
        return "{{" + self.pick("", "", "-", "+") + " " + self.expression() + " " + self.pick("", "", "-") + "}}"

    def comment(self, depth):
        return self.pick("{# note #}", "{#- note -#}", "{#+ {{ x }} {% if %} +#}", "  {# two\nlines #}\n", "{##}", "{#-#}")

    def raw(self, depth):
        return self.tag("raw") + self.pick("{{ x }}", " {% if %} ", "\n {# a #}\n", "") + self.tag("endraw")

    def scoped(self, depth):
        names, macros = list(self.names), list(self.macros)
        made = "".join(self.body(depth + 1, 2))
        self.names, self.macros = names, macros
        return made

    def conditional(self, depth):
        made = self.tag(f"if {self.expression()}") + "".join(self.body(depth + 1, 2))
        if self.chance(0.3):
            made += self.tag(f"elif {self.expression()}") + "".join(self.body(depth + 1, 2))
        if self.chance(0.4):
            made += self.tag("else") + "".join(self.body(depth + 1, 2))
        return made + self.tag("endif")

    def loop(self, depth):
        target = self.pick("x", "x", "x", "item", "k, v", "(k, v)", "s", "k, (v, x)" if self.noise else "x")
        iterable = self.expression(self.pick("list", "list", "dict", "text", "any" if self.noise else "list")) if "," not in target else self.pick(
            "d.items()", "d|dictsort", "[(1, 2), (3, 4)]", "dict(a=1, b=2).items()", "deep|items", "[(1, (2, 3))]", "words" if self.noise else "d|items", "deep|items")
        if self.chance(0.1):
            iterable = self.pick("1, 2, 3", "s, t")
        condition = f" if {self.expression('flag')}" if self.chance(0.2) else ""
        recursive = self.chance(self.noise)
        names = list(self.names)
        self.names += target.replace("(", "").replace(")", "").replace(",", "").split() * 3
        self.loops += 1
        body = "".join(self.body(depth + 1, 3))
        if recursive:
            body += "{{ loop(" + (self.pick("x", "[1]", "deep.l", "x.tags") if self.noise else "x") + ") if x is iterable and x is not string and loop.depth < 4 }}"
            target = "x"
            iterable = self.pick("deep.l", "[[1, 2], [[3]], 4]") if not self.noise else self.pick("deep.l", "nested", "rows", "l")
        self.loops -= 1
        self.names = names
        made = self.tag(f"for {target} in {iterable}{condition}{' recursive' if recursive else ''}") + body
        if self.chance(0.25):
            made += self.tag("else") + self.scoped(depth)
        return made + self.tag("endfor")

    def name(self):
        self.count += 1
        return self.pick("x", "y", "s", "l", f"v{self.count}", "total") if self.noise else self.pick(f"v{self.count}", "x", "y")

    def set(self, depth):
        if self.chance(0.1):
            return self.tag(f"set x, y = {self.pick('1, 2', '(s, t)', '[i, j]', '(2, (3,))', 'l' if self.noise else '1, s', 'd' if self.noise else '1, s')}")
        value = self.expression()
        name = self.name()
        self.names.append(name)
        return self.tag(f"set {name} = {value}{self.pick('', '', '', ', 1')}")

    def set_block(self, depth):
        filters = self.pick("", " | trim") if self.noise else ""
        name = self.name()
        made = self.tag(f"set {name}{filters}") + self.scoped(depth) + self.tag("endset")
        self.names.append(name)
        return made

    def namespace(self, depth):
        made = self.tag(f"set ns = namespace({self.pick('a=1', 'a=1', 'a=2, b=s', 'd', '{' + repr('a') + ': 2}', '' if self.noise else 'a=0')})")
        made += self.tag(f"for x in {self.expression('list')}") + self.tag(f"set ns.{self.pick('b', 'c')} = {self.pick('x', '[x] + [1]', 'loop.index', 'ns.a + 1' if self.noise else 'ns.a')}")
        return made + self.tag("endfor") + "{{ " + self.pick("ns.a", "ns.b", "ns.a|string", "ns.c is defined", "ns['a']") + " }}"

    def macro(self, depth):
        parameters = self.pick("", "a", "a, b=1", "a=s, b=a", "a, b, c=[]", "s", "x='1'") if self.noise else self.pick("a", "a, b=1", "a=s, b=a", "a=2")
        name = self.pick("m", "show", "m2")
        names, macros, loops = list(self.names), list(self.macros), self.loops
        self.names += [word.split("=")[0] for word in parameters.split(", ") if word] * 3
        self.loops = 0
        body = "".join(self.body(depth + 1, 2)) + (self.pick("", "{{ caller() }}", "{{ varargs }}{{ kwargs }}") if self.noise else "")
        self.names, self.macros, self.loops = names, macros, loops
        made = self.tag(f"macro {name}({parameters})") + body + self.tag(f"endmacro{self.pick('', '', ' ' + name)}")
        self.macros.append(name)
        arguments = self.pick("1", "s", "a=l", "") if not self.noise else self.pick("", "1", "1, 2", "a=1", "1, b=2", "*l", "**{'a': 1}", "s, *[1], **{'b': 2}", "1, 2, 3, z=4", "l, s")
        return made + "{{ " + f"{name}({arguments})" + self.pick("", "", "|upper", "|length", " ~ 'x'", ".strip()") + " }}"

    def call(self, depth):
        if not self.macros:
            return self.macro(depth)
        signature = self.pick("", "", "", "(a=1)", "(a)", "(a, b=2)")
        return self.tag(f"call{signature} {self.random.choice(self.macros)}({self.pick('', '1', 's')})") + self.scoped(depth) + self.tag("endcall")

    def filter_block(self, depth):
        return self.tag(f"filter {self.pick('upper', 'trim', 'replace(' + repr('a') + ', s)', 'upper|lower', 'indent', 'e', 'title', 'length' if self.noise else 'trim', 'nope' if self.noise else 'lower')}") + \
            self.scoped(depth) + self.tag("endfilter")

    def with_block(self, depth):
        bindings = self.pick("", "x = 1", "x = s, y = x", "a = l|length", "x, y = (1, 2)")
        names = list(self.names)
        self.names += ["x", "y"]
        made = self.tag(f"with {bindings}") + self.scoped(depth) + self.tag("endwith")
        self.names = names
        return made

    def generation(self, depth):
        return self.tag("generation") + self.scoped(depth) + self.tag("endgeneration")

    def control(self, depth):
        if not self.loops and not self.chance(self.noise * 3):
            return self.output(depth)
        if not self.loops or self.chance(self.noise):
            return self.tag(self.pick("break", "continue", "do x", "include 'x'", "endif", "set x", "foo"))
        return self.tag(f"if {self.expression('flag')}") + self.tag(self.pick("break", "continue")) + self.tag("endif")
