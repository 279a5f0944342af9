#!/usr/bin/env python3
"""How long a short prompt waits behind long ones for its first token, and what sharing costs the throughput: prompts that share steps
(the default) against first come, first served (`--long-prefill-token-threshold` above every prompt), in turns.

    ./mill build release millrace && python3 bench/prompt_fairness.py
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

from program import MODEL, ROOT
from serving import Server, read_answer

WAYS = {"first come, first served": ["--long-prefill-token-threshold", "1G"], "shared steps": []}


def prompt(length, salt):
    """Token ids; no two begin alike."""
    return [1000 + (salt * 7919 + i * 31) % 20000 for i in range(length)]


def send(server, length, salt):
    return server.send("/v1/completions", {"prompt": prompt(length, salt), "max_tokens": 1, "temperature": 0})


def finish(client):
    """When the answer was there."""
    with client, client.makefile("rb") as file:
        status, body = read_answer(file)
        assert status == 200, body
    return time.perf_counter()


def measure(server, longs, options, salt):
    """(seconds that a short prompt waited, prompt tokens per second of all together)"""
    begin = time.perf_counter()
    before = [send(server, options.long, salt + i) for i in range(longs)]
    time.sleep(options.delay)
    sent = time.perf_counter()
    waited = finish(send(server, options.short, salt + longs)) - sent
    ends = [finish(client) for client in before]
    return waited, (longs * options.long + options.short) / (max(ends) - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", type=int, default=128, help="--max-num-batched-tokens")
    parser.add_argument("--long", type=int, default=2500, help="tokens of a long prompt")
    parser.add_argument("--short", type=int, default=5, help="tokens of the short one")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds after which the short one is sent")
    options = parser.parse_args()
    print("| long prompts | way | a short one waits, s | prompt tokens/s |\n|---|---|---|---|")
    salt = 0
    for longs in (1, 4):
        figures = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, arguments in WAYS.items():
                with Server("--max-num-batched-tokens", options.step, *arguments, model=options.model, binary=options.binary,
                            log=open(os.devnull, "w+")) as server:
                    figures[way].append(measure(server, longs, options, salt))
                salt += longs + 1
        for way, rounds in figures.items():
            waited, rate = (statistics.median(column) for column in zip(*rounds))
            print(f"| {longs} | {way} | {waited:.2f} | {rate:.0f} |", flush=True)


if __name__ == "__main__":
    main()
