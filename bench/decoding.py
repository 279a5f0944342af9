#!/usr/bin/env python3
"""Measures ways to draft beside plain decoding, in turns in one run, and prints a Markdown table.

    bench/decoding.py MODEL.gguf --chat spec-bench.jsonl --append bench/results/decoding.md \\
        --config 'ngram={"method": "ngram"}' --config 'both={"method": ["ngram", "suffix"], "num_speculative_tokens": 6}'

Each --config, a name and what --speculative-config takes, has a server of its own; plain decoding is a request with `speculation: none` to the first.
Texts: `edits`, a source file of this project and a change to make to it; `code`, functions from their descriptions; `chat` and `summaries`, the first
turns of a file in the form of Spec-Bench's questions; `random`, words drawn by lot. In a round each server answers a text's prompts in turn, so many
at once as --batch says, after a few tokens of each that do not count and leave the prompts in its prefix cache. Every answer must be plain decoding's.
"To plain" is the median of the ratios to plain decoding in the same round; "drafting" is the share of the time that proposers took.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import pathlib
import re
import shlex
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import peer_results
import peers
from decoding_texts import SAMPLED, TEXTS, prompts_of, texts_of

WARM_TOKENS = 4  # the first is the prompt's own, and not drafted for
HEAD = ("text", "at once", "drafts", "tokens/s", "to plain", "accepted", "tokens a step", "drafting")
COUNTS = ("predicted_n", "steps", "draft_n", "draft_n_accepted")


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=3600))


class Served:
    """A server's process, from when it answers to the end of the block."""

    def __init__(self, command, port, name):
        self.url, self.name = f"http://127.0.0.1:{port}", name
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)

    def __enter__(self):
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + "/health", timeout=5).read()
                return self
            time.sleep(0.1)
        sys.exit(f"the server of {self.name} did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Millrace(Served):
    def __init__(self, options, name, config):
        port = free_port()
        command = [options.binary, "serve", options.model, "--port", port, "--max-num-seqs", 16, "--max-model-len", options.context,
                   "--kv-cache-memory-bytes", options.cache, "--log-level", "error", "--speculative-config", json.dumps(config)]
        super().__init__(command + (["--threads", options.threads] if options.threads else []), port, name)
        # Earlier answers are drafts of some methods: to them each round is new.
        keeps_answers = config.get("suffix_decoding_max_cached_requests", 1) > 0
        self.remembers = keeps_answers and bool({"suffix", "auto"} & set(listed(config.get("method", "auto"))))

    def draft_seconds(self):
        """Since its start; None where it does not tell."""
        text = urllib.request.urlopen(self.url + "/metrics", timeout=60).read().decode()
        found = re.findall(r"^millrace:draft_seconds_total\S* (\S+)$", text, re.M)
        return sum(map(float, found)) if found else None


def listed(value):
    return value if isinstance(value, list) else [value]


class Run:
    """A way to decode: plain, or a server's own."""

    def __init__(self, name, server, drafts):
        self.name, self.server, self.drafts = name, server, drafts
        self.speeds, self.shares, self.total = [], [], None

    def ask(self, prompt, tokens, sampled, salt):
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 1 if sampled else 0, "seed": 1,
                "timings": True, "cache_salt": salt} | ({} if self.drafts else {"speculation": {"method": "none"}})
        answer = post(self.server.url + "/v1/chat/completions", body)
        return answer["choices"][0]["message"]["content"], answer["timings"]

    def answers(self, asks, tokens, batch, sampled):
        with concurrent.futures.ThreadPoolExecutor(batch) as pool:
            return list(pool.map(lambda ask: self.ask(ask[0], tokens, sampled, ask[1]), asks))

    def salt(self, *times):
        """Another one each time where a server would draft from what it said before."""
        return f"{self.name} {times}" if self.server.remembers and self.drafts else self.name

    def measure(self, prompts, options, batch, sampled, turn):
        """A round's answers."""
        # Twice as many as at once: who has its answer early goes on with another, so that few steps have fewer sequences.
        count = max(len(prompts), 2 * batch)
        asks = [(prompts[i % len(prompts)], self.salt(batch, turn, i // len(prompts))) for i in range(count)]
        # Of an answer of one token nothing is remembered.
        self.answers(asks, 1 if self.server.remembers else WARM_TOKENS, batch, sampled)
        drafting, began = self.server.draft_seconds(), time.monotonic()
        answers = self.answers(asks, options.tokens, batch, sampled)
        took = time.monotonic() - began
        self.total = {key: sum(timings[key] for _, timings in answers) for key in COUNTS}
        self.speeds.append(self.total["predicted_n"] / took)
        if drafting is not None and self.drafts:
            self.shares.append((self.server.draft_seconds() - drafting) / took)
        return [text for text, _ in answers]

    def row(self, text, batch, plain):
        ratio = statistics.median(a / b for a, b in zip(self.speeds, plain.speeds))
        total = self.total
        accepted = f"{total['draft_n_accepted'] / total['draft_n']:.0%}" if total["draft_n"] else ""
        drafting = f"{statistics.median(self.shares):.1%}" if self.shares else ""
        return line([text, batch, self.name, f"{statistics.median(self.speeds):.1f}", f"{ratio:.2f}", accepted,
                     f"{total['predicted_n'] / total['steps']:.2f}", drafting])


def line(cells):
    return f"| {' | '.join(map(str, cells))} |"


def say(text):
    print(text, file=sys.stderr, flush=True)


def compare(servers, text, batch, options):
    """The rows of plain decoding and of each server."""
    prompts = prompts_of(text, max(batch, options.prompts), options.chat)
    runs = [Run("plain", servers[0], False)] + [Run(server.name, server, True) for server in servers]
    expected = None
    for turn in range(options.rounds):
        for run in runs if turn % 2 == 0 else reversed(runs):
            say(f"{text}, {batch} at once: round {turn + 1} of {options.rounds}, {run.name}")
            answers = run.measure(prompts, options, batch, text in SAMPLED, turn)
            expected = expected or answers
            if answers != expected:
                sys.exit(f"{run.name} answered {text}, {batch} at once, otherwise than {runs[0].name}")
    return [run.row(text, batch, runs[0]) for run in runs]


def heading():
    command = [re.sub(r'[^\s"=]*/', "", argument) for argument in sys.argv[1:]]
    return (f"{peers.machine()}, {datetime.date.today().isoformat()}, commit {peers.commit()}, medians of rounds in turns, in one run:\n\n"
            f"```sh\nbench/{pathlib.Path(sys.argv[0]).name} {shlex.join(command)}\n```\n")


def named_config(text):
    """NAME={...}"""
    name, _, config = text.partition("=")
    try:
        read = json.loads(config)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    if not isinstance(read, dict):
        raise argparse.ArgumentTypeError(f"{text}: a name, = and a JSON object")
    return name, read


def parser_of(text):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--chat", help="questions, a JSON object a line; without it chat and summaries are left out")
    parser.add_argument("--texts", default=",".join(TEXTS))
    parser.add_argument("--prompts", type=int, default=4, help="of each text; at least as many as the batch")
    parser.add_argument("--tokens", type=int, default=128, help="the most of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--cache", default="1500M", help="memory for the cache of each of Millrace's servers; a batch's prompts and answers must fit")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--binary", default=str(peer_results.ROOT / "build/release/millrace"))
    parser.add_argument("--append", type=pathlib.Path, help="add the table to this file too")
    return parser


def publish(rows, head, append):
    """The table on standard output as its rows come, and the whole of it in a file."""
    table = [line(head), "|" + "---|" * len(head)]
    print("\n".join(table), flush=True)
    for row in rows:
        print(row, flush=True)
        table.append(row)
    if append:
        with append.open("a") as file:
            file.write(f"\n{heading()}\n" + "\n".join(table) + "\n")


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--config", action="append", type=named_config, metavar="NAME={...}", help="may be given several times")
    parser.add_argument("--batch", default="1,4,16")
    parser.add_argument("--settle", type=float, default=30, help="seconds to wait first, in which servers move their weights into huge pages")
    options = parser.parse_args()
    configs = options.config or [("ngram", {"method": "ngram"})]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Millrace(options, name, config)) for name, config in configs]
        time.sleep(options.settle)
        rows = (row for text in texts_of(options.texts, options.chat) for batch in map(int, options.batch.split(","))
                for row in compare(servers, text, batch, options))
        publish(rows, HEAD, options.append)


if __name__ == "__main__":
    main()
