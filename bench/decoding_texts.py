"""What bench/decoding.py asks for: prompts of several kinds, by their names."""

import json
import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parent.parent
EDITED = ("src/core/csr.h", "src/sched/limits.h", "src/kv/snapshot_rule.h", "src/decode/stop.cc")
CHANGES = ("Rename the namespace to `mill`.", "Write every comment in capital letters.", "Use `int` in place of `int32_t`.",
           "Put the word `inline` before every function.")
FUNCTIONS = (
    ("Python", "`merge_intervals(intervals)`, which sorts a list of pairs and merges those that overlap"),
    ("C++", "`std::vector<std::string> split(std::string_view text, char separator)`, which keeps empty parts"),
    ("Python", "`parse_duration(text)`, which reads texts such as `1h20m5s` into seconds and raises ValueError for others"),
    ("Go", "`func Retry(attempts int, wait time.Duration, work func() error) error`, which doubles the wait after each failure"),
    ("JavaScript", "`debounce(callback, delay)`, with a method `cancel` on what it returns"),
    ("Rust", "`fn word_counts(text: &str) -> HashMap<String, usize>`, which takes no notice of case and punctuation"),
    ("Python", "a class `LruCache` with `get`, `put` and a capacity, on an OrderedDict"),
    ("C", "`char *trim(char *text)`, which cuts white space off both ends in place"),
    ("SQL", "a query for the three best paid employees of each department, of tables `employees` and `departments`"),
    ("Python", "`topological_sort(graph)`, which takes a dict of lists and raises ValueError where there is a cycle"),
    ("Java", "`static boolean isBalanced(String text)`, for round, square and curly brackets"),
    ("TypeScript", "`groupBy<T, K extends string>(items: T[], key: (item: T) => K): Record<K, T[]>`"),
    ("Python", "a command that prints the ten largest files below a folder, with argparse and a flag for hidden ones"),
    ("C++", "a class template `RingBuffer` of a fixed capacity with `push`, `pop`, `size`, `full` and `empty`"),
    ("Python", "unit tests with unittest for a function `is_leap_year(year)`, one test for each rule"),
    ("Bash", "a script that backs up a folder into a dated archive and keeps the last seven"),
)
SUMMARIES = {"summarization", "rag"}


def edits(_):
    for name in EDITED:
        for change in CHANGES:
            yield f"```cpp\n{(ROOT / name).read_text()}```\n{change} Answer with the whole changed file and nothing else."


def code(_):
    for language, what in FUNCTIONS:
        yield f"Write in {language}: {what}. Answer with code alone."


def questions(path, wanted):
    for line in pathlib.Path(path).read_text().splitlines():
        entry = json.loads(line)
        if (entry["category"] in SUMMARIES) == wanted:
            yield entry["turns"][0]


def words(_):
    dice = random.Random(7)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    for _ in range(16):
        yield " ".join("".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(150))


TEXTS = {"edits": edits, "code": code, "chat": lambda path: questions(path, False), "summaries": lambda path: questions(path, True),
         "random": words}
SAMPLED = {"random"}  # the others are answered greedily


def prompts_of(text, count, chat):
    return [prompt for prompt, _ in zip(TEXTS[text](chat), range(count))]


def texts_of(names, chat):
    """Those of the names that can be had: two need a file of questions."""
    return [name for name in names.split(",") if chat or name not in ("chat", "summaries")]
