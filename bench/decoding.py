#!/usr/bin/env python3
"""Measures ways to draft beside plain decoding, in turns in one run, and prints a Markdown table.

    bench/decoding.py MODEL.gguf --chat spec-bench.jsonl --config '{"method": "ngram", "num_speculative_tokens": 8}'

Each --config has a server of its own; plain decoding is a request with `speculation: none` to the first of them. Texts: `edits`, a source file of this
project and a change to make to it; `chat` and `summaries`, the first turns of a file in the form of Spec-Bench's questions; `random`, words drawn by
lot. A round sends a text's prompts to each server in turn, so many at once as --batch says; prompts are in the prefix cache after the first, which
does not count.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
EDITED = ("src/core/csr.h", "src/sched/limits.h", "src/kv/snapshot_rule.h", "src/decode/stop.cc")
CHANGES = ("Rename the namespace to `mill`.", "Write every comment in capital letters.", "Use `int` in place of `int32_t`.",
           "Put the word `inline` before every function.")
SUMMARIES = {"summarization", "rag"}


def edits(_):
    for name in EDITED:
        for change in CHANGES:
            yield f"```cpp\n{(ROOT / name).read_text()}```\n{change} Answer with the whole changed file and nothing else."


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


TEXTS = {"edits": edits, "chat": lambda path: questions(path, False), "summaries": lambda path: questions(path, True), "random": words}


class Server:
    def __init__(self, options, config):
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{door.getsockname()[1]}"
            port = door.getsockname()[1]
        command = [options.binary, "serve", options.model, "--port", str(port), "--max-num-seqs", "16", "--max-model-len", str(options.context),
                   "--log-level", "error", "--speculative-config", config]
        self.process = subprocess.Popen(command + (["--threads", str(options.threads)] if options.threads else []), stdout=subprocess.DEVNULL)
        self.method = json.loads(config)["method"]
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + "/health", timeout=5).read()
                return
            time.sleep(0.1)
        sys.exit(f"the server with {config} did not start")

    def ask(self, prompt, options, method, sampled):
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": options.tokens, "temperature": 1 if sampled else 0, "seed": 1,
                "timings": True, "speculation": {"method": method}}
        request = urllib.request.Request(self.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=3600))
        return answer["choices"][0]["message"]["content"], answer["timings"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(server, prompts, options, method, batch, sampled):
    """Tokens per second over all prompts, their answers, and what was drafted."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(batch) as pool:
        answers = list(pool.map(lambda prompt: server.ask(prompt, options, method, sampled), prompts))
    took = time.monotonic() - began
    total = {key: sum(timings[key] for _, timings in answers) for key in ("predicted_n", "steps", "draft_n", "draft_n_accepted")}
    return total["predicted_n"] / took, [text for text, _ in answers], total


def row(text, batch, name, speeds, plain, total):
    ratio = [a / b for a, b in zip(speeds, plain)]
    accepted = f"{total['draft_n_accepted'] / total['draft_n']:.0%}" if total["draft_n"] else ""
    per_step = total["predicted_n"] / total["steps"]
    return (f"| {text} | {batch} | {name} | {statistics.median(speeds):.1f} | {statistics.median(ratio):.2f} | {accepted} | {per_step:.2f} |")


def compare(servers, text, batch, options):
    """One row for plain decoding and one for each method; every answer must be plain decoding's."""
    prompts = [prompt for prompt, _ in zip(TEXTS[text](options.chat), range(max(batch, options.prompts)))]
    runs = [("plain", servers[0], "none")] + [(server.method, server, server.method) for server in servers]
    speeds, totals, expected = [[] for _ in runs], [None] * len(runs), None
    for turn in range(options.rounds + 1):
        for i, (name, server, method) in enumerate(runs):
            speed, answers, totals[i] = measure(server, prompts, options, method, batch, text == "random")
            expected = expected or answers
            if answers != expected:
                sys.exit(f"{name} answered {text} otherwise than plain decoding")
            if turn > 0:
                speeds[i].append(speed)
    for i, (name, _, _) in enumerate(runs):
        print(row(text, batch, name, speeds[i], speeds[0], totals[i]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--config", action="append", help="as of --speculative-config; may be given several times")
    parser.add_argument("--chat", help="questions, a JSON object a line; without it chat and summaries are left out")
    parser.add_argument("--texts", default=",".join(TEXTS))
    parser.add_argument("--batch", default="1,4,16")
    parser.add_argument("--prompts", type=int, default=4, help="of each text; at least as many as the batch")
    parser.add_argument("--tokens", type=int, default=128, help="the most of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    options = parser.parse_args()
    texts = [text for text in options.texts.split(",") if options.chat or text in ("edits", "random")]
    servers = [Server(options, config) for config in options.config or ['{"method": "ngram"}']]
    print("| text | at once | drafts | tokens/s | to plain | accepted | tokens a step |\n|---|---|---|---|---|---|---|", flush=True)
    try:
        for text in texts:
            for batch in options.batch.split(","):
                compare(servers, text, int(batch), options)
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
