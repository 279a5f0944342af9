#!/usr/bin/env python3
"""Minutes of mixed good, bad, leaving and slow clients against one `millrace serve`, best a sanitizer's build.

Every good answer is compared with what the same request gave alone. Resident memory may not grow after the first minute, the
engine must be empty at the end, and the process must end with 0 and no report of a sanitizer. Prints counts.

    ./mill build sanitize millrace && tests/soak/soak.py --binary build/sanitize/millrace --minutes 20
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
KEY = "soak-key"
CONTEXT = 512
# ASan keeps freed memory to find its late use: little of it, or it looks like growth for minutes.
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=8:thread_local_quarantine_size_kb=64:detect_leaks=1:malloc_context_size=8",
              "UBSAN_OPTIONS": "print_stacktrace=1"}
REPORT = re.compile(r"(ERROR|SUMMARY): \w*Sanitizer|runtime error:|CHECK failed|terminate called")


class Target:
    """A running server and how to reach it: over TCP, TLS or a Unix socket."""

    def __init__(self, options, folder, *arguments, tls=False, uds=None):
        self.uds, self.tls = uds, tls
        self.log = open(pathlib.Path(folder) / "log", "a+")
        place = ["--uds", uds] if uds else ["--port", "0"]
        self.process = subprocess.Popen(
            [options.binary, "serve", options.model, *place, "--max-model-len", str(CONTEXT), "--max-num-seqs", "6",
             "--max-queue", "32", "--max-num-batched-tokens", "128", "--kv-cache-memory-bytes", "48M", *arguments],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **SANITIZERS})
        self.port = None
        for line in self.process.stdout:
            if line.startswith("ready"):
                found = re.search(r":(\d+)$", line.split()[1])
                self.port = int(found[1]) if found else None
                break
        else:
            raise SystemExit(f"the server ended with {self.process.wait()}")

    def connect(self, timeout=600):
        if self.uds:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(timeout)
            plain.connect(self.uds)
        else:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        if not self.tls:
            return plain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)

    def last_words(self):
        self.log.flush()
        self.log.seek(0)
        return f"exit code {self.process.poll()}\n" + "".join(self.log.readlines()[-40:])

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def request_bytes(method, path, body=None, key=KEY, more=""):
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"{method} {path} HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n{more}Connection: close\r\n\r\n").encode() + data


def exchange(target, data):
    """(status, body) of one request on a connection of its own; a chunked body is joined."""
    with target.connect() as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        joined, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            joined, rest = joined + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        body = joined
    return int(head.split()[1]), body


def text_of(body, streamed):
    """What does not change from one answer to the next: texts and reasons."""
    if not streamed:
        return [(c.get("text") or c["message"]["content"], c["finish_reason"]) for c in json.loads(body)["choices"]]
    events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    if events[-1:] != ["[DONE]"]:
        return None
    texts = collections.defaultdict(lambda: ["", None])
    for chunk in map(json.loads, events[:-1]):
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
        self.stop = threading.Event()
        self.goods = [(path, body, self.alone(path, body)) for path, body in good_requests()]

    def alone(self, path, body):
        status, answer = exchange(self.targets[0], request_bytes("POST", path, body))
        assert status == 200, answer
        return text_of(answer, body.get("stream"))

    def loop(self, kind, seed):
        dice = random.Random(seed)
        while not self.stop.is_set():
            try:
                self.counts[kind.__name__ + " " + str(kind(dice, dice.choice(self.targets)))] += 1
            except (OSError, ValueError, IndexError) as error:  # closed on us: for good clients that is a fault
                self.counts[f"{kind.__name__} {type(error).__name__}"] += 1
                if kind == self.good:
                    self.faults.append(f"a good client got {error!r}")

    def good(self, dice, target):
        path, body, expected = dice.choice(self.goods)
        status, answer = exchange(target, request_bytes("POST", path, body))
        if status == 429:
            time.sleep(0.2)
            return 429
        if status != 200 or text_of(answer, body.get("stream")) != expected:
            self.faults.append(f"{path} {body} gave {status} {answer[-300:]!r}")
        return status

    def bad(self, dice, target):
        completions = "/v1/completions"
        status, _ = exchange(target, dice.choice([
            request_bytes("POST", completions, b"{" * 1000),
            request_bytes("POST", completions, b"[" * 100_000),
            request_bytes("POST", completions, {str(i): i for i in range(2000)}),
            request_bytes("POST", completions, {"prompt": "x", "max_tokens": 10**6}),
            request_bytes("POST", completions, {"prompt": "word " * 2000}),
            request_bytes("POST", completions, {"prompt": [10**9], "max_tokens": 1}),
            request_bytes("POST", completions, bytes(dice.randrange(256) for _ in range(300))),
            request_bytes("POST", "/v1/chat/completions", {"messages": [{"role": "pirate", "content": None}]}),
            request_bytes("POST", completions, {"prompt": "x"}, key="wrong"),
            request_bytes("POST", "/tokenize", {"prompt": "word " * 20_000}),
            request_bytes("GET", "/" + "x" * 5000),
            request_bytes("DELETE", "/v1/models"),
            request_bytes("GET", "/v1/models", more="Content-Length: 7\r\n"),
            request_bytes("GET", "/v1/models", more="X: \0\r\n"),
            request_bytes("GET", "/v1/models", more="".join(f"X-{i}: y\r\n" for i in range(300))),
            request_bytes("POST", completions, more="Transfer-Encoding: chunked\r\n"),
            bytes(dice.randrange(256) for _ in range(100)) + b"\r\n\r\n",
        ]))
        if not (200 <= status < 500 or status == 503):
            self.faults.append(f"a bad request gave {status}")
        return status

    def leaving(self, dice, target):
        body = {"prompt": "Once upon a time " * dice.choice([1, 60]), "max_tokens": 200, "ignore_eos": True,
                "n": dice.choice([1, 1, 3]), "stream": dice.random() < 0.7}
        with target.connect() as client:
            client.sendall(request_bytes("POST", "/v1/completions", body))
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
        data = request_bytes("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 60, "ignore_eos": True, "stream": True,
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

    def asking(self, dice, target):
        status, _ = exchange(target, request_bytes("GET", dice.choice(["/health", "/ready", "/metrics", "/v1/models", "/load"])))
        if status != 200:
            self.faults.append(f"an asking client got {status}")
        time.sleep(0.2)
        return status

    def run(self, minutes):
        kinds = [self.good] * 4 + [self.bad] * 2 + [self.leaving] * 2 + [self.slow] * 3 + [self.asking]
        threads = [threading.Thread(target=self.loop, args=(kind, i)) for i, kind in enumerate(kinds)]
        for thread in threads:
            thread.start()
        begin = time.monotonic()
        samples = []  # (seconds, MiB of each target)
        while (now := time.monotonic() - begin) < minutes * 60 and not self.faults:
            for target in self.targets:
                if target.process.poll() is not None:
                    self.faults.append(f"a server ended by itself: {target.last_words()}")
            if self.faults:
                break
            samples.append((now, [target.resident() for target in self.targets]))
            time.sleep(1)
        self.stop.set()
        for thread in threads:
            thread.join()
        return samples


def settled(target):
    """The engine's gauges, once they are 0 or ten seconds have passed."""
    for _ in range(40):
        _, text = exchange(target, request_bytes("GET", "/metrics"))
        values = dict(re.findall(r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)(?:{[^}]*})? (\S+)$",
                                 text.decode(), re.M))
        if len(values) == 3 and not any(map(float, values.values())):
            break
        time.sleep(0.25)
    return values


def judge(soak, targets, samples, options):
    faults = list(soak.faults)
    warm = min(60, options.minutes * 15)  # seconds: a minute, or a quarter of a short run
    for i, target in enumerate(targets):
        early = [sizes[i] for at, sizes in samples if at <= warm]
        late = [sizes[i] for at, sizes in samples if at > warm]
        if not early:
            continue
        growth = max(late, default=0) - max(early)
        print(f"memory: {max(early):.1f} MiB at most in the first {warm:.0f} s, {max(late, default=0):.1f} MiB after, "
              f"{growth:+.1f} MiB")
        if growth > options.growth:
            faults.append(f"memory grew by {growth:.1f} MiB (at most {options.growth})")
        if target.process.poll() is not None:
            continue
        values = settled(target)
        print(f"engine: {values}")
        if len(values) != 3 or any(map(float, values.values())):
            faults.append(f"the engine is not empty: {values}")
        target.process.terminate()
        code = target.process.wait(120)
        target.process.stdout.close()
        target.log.seek(0)
        reports = [line for line in target.log.read().splitlines() if REPORT.search(line)]
        print(f"end: exit code {code}, {len(reports)} reports")
        if code != 0 or reports:
            faults.append(f"exit code {code}; {reports[:3]}")
    return faults


def certificate(folder):
    paths = [str(pathlib.Path(folder) / name) for name in ("key.pem", "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    paths[0], "-out", paths[1], "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    return ["--ssl-keyfile", paths[0], "--ssl-certfile", paths[1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/sanitize/millrace"))
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--growth", type=float, default=16, help="MiB of resident memory after the first minute")
    parser.add_argument("--transports", default="tcp,tls,uds", help="a server for each, all of them asked at random")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets = []
        try:
            for name in options.transports.split(","):
                own = pathlib.Path(folder) / name
                own.mkdir()
                more = certificate(own) if name == "tls" else []
                targets.append(Target(options, own, "--api-key", KEY, *more, tls=name == "tls",
                                      uds=str(own / "socket") if name == "uds" else None))
            soak = Soak(targets)
            samples = soak.run(options.minutes)
            for what, count in sorted(soak.counts.items()):
                print(f"{count:7} {what}")
            faults = judge(soak, targets, samples, options)
        finally:
            for target in targets:
                if target.process.poll() is None:
                    target.process.kill()
                    target.process.wait()
                target.log.close()
    print("\n".join(faults) if faults else "held")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
