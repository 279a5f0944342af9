#!/usr/bin/env python3
"""Minutes of mixed good, bad, leaving and slow clients against a `millrace serve` for each transport, best a sanitizer's build.

Every good answer is compared with what the same request gave alone, and no client may meet what it does not expect. Once after a
minute and at the end all clients rest: then the engine must be empty, threads and open files the same, resident memory not have
grown by more than --growth. The process must end with 0 and no report of a sanitizer. Prints counts.

    ./mill build sanitize millrace && tests/soak/soak.py --binary build/sanitize/millrace --minutes 20
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from program import MODEL, ROOT, wait_until
from serving import Server, certificate, events, read_answer, request_bytes

KEY = "soak-key"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
CONTEXT = 512
# ASan keeps freed memory to find its late use: little of it, or it looks like growth for minutes.
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=8:thread_local_quarantine_size_kb=64:detect_leaks=1:malloc_context_size=8",
              "UBSAN_OPTIONS": "print_stacktrace=1"}
REPORT = re.compile(r"(ERROR|SUMMARY): \w*Sanitizer|runtime error:|CHECK failed|terminate called")


class Target(Server):
    def __init__(self, options, folder, transport):
        self.log_path = folder / f"{transport}.log"
        super().__init__("--max-model-len", CONTEXT, "--max-num-seqs", 6, "--max-queue", 32, "--max-num-batched-tokens", 128,
                         "--kv-cache-memory-bytes", "48M", "--api-key", KEY, model=options.model, binary=options.binary,
                         uds=str(folder / "socket") if transport == "uds" else None,
                         tls=certificate(folder) if transport == "tls" else None,
                         log=open(self.log_path, "a+"), env={**os.environ, **SANITIZERS})

    def last_words(self):
        return f"exit code {self.process.poll()}\n" + "\n".join(self.log_path.read_text().splitlines()[-40:])

    def at_rest(self):
        """What it holds while nobody asks: {what: count}, memory in KiB."""
        wait_until(lambda: self.is_empty(AUTHORIZATION))
        time.sleep(2)  # it closes the last connections
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return {"threads": self.status("Threads"), "open files": descriptors, "memory": self.status("VmRSS")}


def asking(method, path, body=None, key=KEY, more=""):
    return request_bytes(method, path, body, f"Authorization: Bearer {key}\r\nConnection: close\r\n{more}")


def exchange(target, data):
    """(status, body) of one request on a connection of its own."""
    with target.connect() as client, client.makefile("rb") as answers:
        client.sendall(data)
        return read_answer(answers)


def text_of(body, streamed):
    """What does not change from one answer to the next: texts and reasons."""
    if not streamed:
        return [(c.get("text") or c["message"]["content"], c["finish_reason"]) for c in json.loads(body)["choices"]]
    *chunks, end = events(body) or [None]
    if end != "[DONE]":
        return None
    texts = collections.defaultdict(lambda: ["", None])
    for chunk in map(json.loads, chunks):
        for choice in chunk["choices"]:
            texts[choice["index"]][0] += choice.get("text") or choice.get("delta", {}).get("content") or ""
            texts[choice["index"]][1] = choice["finish_reason"] or texts[choice["index"]][1]
    return [tuple(texts[i]) for i in sorted(texts)]


def good_requests():
    chat, completions = "/v1/chat/completions", "/v1/completions"
    for i in range(6):
        user = [{"role": "user", "content": f"Tell me about the number {i}."}]
        yield chat, {"messages": user, "max_tokens": 8 + 2 * i, "temperature": 0.8 * (i % 2), "seed": i, "stream": i % 3 == 0}
        yield completions, {"prompt": f"Chapter {i}. Once upon a time" * (1 + 3 * i), "max_tokens": 6 + i, "seed": i,
                            "temperature": 0.7 * (i % 2), "n": 1 + i % 2, "logprobs": i, "stream": i % 2 == 0}


class Soak:
    def __init__(self, targets):
        self.targets = targets
        self.counts = collections.Counter()
        self.faults = []
        self.peaks = collections.Counter()  # KiB of resident memory
        self.stop = threading.Event()
        self.goods = [(path, body, self.alone(path, body)) for path, body in good_requests()]

    def alone(self, path, body):
        status, answer = exchange(self.targets[0], asking("POST", path, body))
        assert status == 200, answer
        return text_of(answer, body.get("stream"))

    def loop(self, kind, seed):
        dice = random.Random(seed)
        while not self.stop.is_set():
            try:
                self.counts[kind.__name__ + " " + str(kind(dice, dice.choice(self.targets)))] += 1
            except OSError as error:  # closed on us: those who behave must not see that
                self.counts[f"{kind.__name__} {type(error).__name__}"] += 1
                if kind in (self.good, self.looking):
                    self.faults.append(f"a {kind.__name__} client got {error!r}")
            except Exception:
                self.faults.append(f"a {kind.__name__} client failed: {traceback.format_exc()}")
                return

    def good(self, dice, target):
        path, body, expected = dice.choice(self.goods)
        status, answer = exchange(target, asking("POST", path, body))
        if status == 429:
            time.sleep(0.2)
            return 429
        if status != 200 or text_of(answer, body.get("stream")) != expected:
            self.faults.append(f"{path} {body} gave {status} {answer[-300:]!r}")
        return status

    def bad(self, dice, target):
        completions = "/v1/completions"
        status, _ = exchange(target, dice.choice([
            asking("POST", completions, b"{" * 1000),
            asking("POST", completions, b"[" * 100_000),
            asking("POST", completions, {str(i): i for i in range(2000)}),
            asking("POST", completions, {"prompt": "x", "max_tokens": 10**6}),
            asking("POST", completions, {"prompt": "word " * 2000}),
            asking("POST", completions, {"prompt": [10**9], "max_tokens": 1}),
            asking("POST", completions, bytes(dice.randrange(256) for _ in range(300))),
            asking("POST", "/v1/chat/completions", {"messages": [{"role": "pirate", "content": None}]}),
            asking("POST", completions, {"prompt": "x"}, key="wrong"),
            asking("POST", "/tokenize", {"prompt": "word " * 20_000}),
            asking("GET", "/" + "x" * 5000),
            asking("DELETE", "/v1/models"),
            asking("GET", "/v1/models", more="Content-Length: 0\r\nContent-Length: 7\r\n"),
            asking("GET", "/v1/models", more="X: \0\r\n"),
            asking("GET", "/v1/models", more="".join(f"X-{i}: y\r\n" for i in range(300))),
            asking("POST", completions, b"", more="Transfer-Encoding: chunked\r\n"),
            bytes(dice.randrange(256) for _ in range(100)) + b"\r\n\r\n",
        ]))
        if not (200 <= status < 500 or status == 503):
            self.faults.append(f"a bad request gave {status}")
        return status

    def leaving(self, dice, target):
        body = {"prompt": "Once upon a time " * dice.choice([1, 60]), "max_tokens": 200, "ignore_eos": True,
                "n": dice.choice([1, 1, 3]), "stream": dice.random() < 0.7}
        with target.connect() as client:
            client.sendall(asking("POST", "/v1/completions", body))
            for _ in range(dice.randrange(4)):
                client.settimeout(2)
                try:
                    client.recv(200)
                except TimeoutError:
                    pass
            if reset := dice.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "with a reset" if reset else "quietly"

    def slow(self, dice, target):
        how = dice.choice(["head", "body", "reader", "deaf"])
        data = asking("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 60, "ignore_eos": True, "stream": True,
                                                         "n": 2, "logprobs": 5})
        with target.connect() as client:
            if how == "deaf":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            if how in ("head", "body"):
                cut = data.index(b"\r\n\r\n") + (3 if how == "head" else 9)
                for at in range(0, cut, 16):
                    client.sendall(data[at:min(at + 16, cut)])
                    time.sleep(0.05)
            else:
                client.sendall(data)
            for _ in range(100):
                if self.stop.is_set():
                    break
                time.sleep(0.05)
                if how == "reader" and not client.recv(40):
                    break
        return how

    def looking(self, dice, target):
        status, _ = exchange(target, asking("GET", dice.choice(["/health", "/ready", "/metrics", "/v1/models", "/load"])))
        if status != 200:
            self.faults.append(f"a looking client got {status}")
        time.sleep(0.2)
        return status

    def run(self, seconds):
        """Until a fault is found, or all that time. Nobody asks afterwards."""
        self.stop.clear()
        kinds = [self.good] * 4 + [self.bad] * 2 + [self.leaving] * 2 + [self.slow] * 3 + [self.looking]
        threads = [threading.Thread(target=self.loop, args=(kind, i)) for i, kind in enumerate(kinds)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.faults:
            for target in self.targets:
                if target.process.poll() is not None:
                    self.faults.append(f"a server ended by itself: {target.last_words()}")
                else:
                    self.peaks[target] = max(self.peaks[target], target.status("VmRSS"))
            time.sleep(1)
        self.stop.set()
        for thread in threads:
            thread.join()


def compare(target, warm, end, peak, growth):
    """Faults of what it held at rest after the first minute and at the end."""
    grown = (end["memory"] - warm["memory"]) / 1024
    print(f"at rest: {warm}, at the end {end}, memory {grown:+.1f} MiB; at most {peak / 1024:.1f} MiB")
    faults = [f"{what}: {warm[what]} at rest, {end[what]} at the end" for what in ("threads", "open files")
              if warm[what] != end[what]]
    if grown > growth:
        faults.append(f"memory grew by {grown:.1f} MiB (at most {growth})")
    return faults


def end(target):
    faults = []
    try:
        target.stop(120)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        faults.append(str(error))
    reports = [line for line in target.log_path.read_text().splitlines() if REPORT.search(line)]
    print(f"end: exit code {target.process.returncode}, {len(reports)} reports")
    return faults + reports[:3]


def soak(targets, options):
    """The faults of a whole run."""
    clients = Soak(targets)
    warming = min(60, options.minutes * 15)  # seconds: a minute, or a quarter of a short run
    clients.run(warming)
    faults = clients.faults
    if not faults:
        warm = [target.at_rest() for target in targets]
        clients.run(options.minutes * 60 - warming)
    for what, count in sorted(clients.counts.items()):
        print(f"{count:7} {what}")
    if not faults:
        for target, before in zip(targets, warm):
            faults += compare(target, before, target.at_rest(), clients.peaks[target], options.growth)
    for target in targets:
        faults += end(target)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/sanitize/millrace"))
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--growth", type=float, default=16, help="MiB of resident memory after the first minute")
    parser.add_argument("--transports", default="tcp,tls,uds", help="a server for each, all of them asked at random")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        targets = []
        for transport in options.transports.split(","):
            targets.append(Target(options, pathlib.Path(folder), transport))
            started.callback(targets[-1].process.kill)
        faults = soak(targets, options)
    print("\n".join(faults) if faults else "held")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
