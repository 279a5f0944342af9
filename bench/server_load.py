#!/usr/bin/env python3
"""What the server costs over the engine: tokens per second of 8 clients against `millrace bench` in turns, time of a request
outside of the engine, and refused requests per second on one core.

    ./mill build release millrace && python3 bench/server_load.py > bench/results/server.md
"""

import argparse
import json
import os
import pathlib
import random
import selectors
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

from program import MODEL, ROOT, wait_until
from serving import Server, read_answer, request_bytes

COMPLETIONS = "/v1/completions"
WORDS = "time year people way day man thing woman life child world school state family student group country hand part".split()
SILENCE_SECONDS = 120


def serve(options, *arguments, **more):
    return Server("--max-model-len", "2K", "--max-requests-per-connection", "1G", *arguments, model=options.model,
                  binary=options.binary, log=open(os.devnull, "w+"), **more)


def arriving(selector):
    """(connection, bytes) of each that got some. A benchmark does not go on without an answer."""
    ready = selector.select(SILENCE_SECONDS)
    if not ready:
        raise TimeoutError(f"no answer for {SILENCE_SECONDS} s")
    for key, _ in ready:
        data = key.fileobj.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed a connection")
        yield key.fileobj, data


def stream_all(server, clients, tokens):
    """Tokens per second of all clients' streams together: one thread, which only looks for the end of each."""
    body = {"prompt": "Once", "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": True}
    sockets = [server.connect() for _ in range(clients)]
    with selectors.DefaultSelector() as selector:
        for client in sockets:
            selector.register(client, selectors.EVENT_READ)
        start = time.perf_counter()
        for client in sockets:
            client.sendall(request_bytes("POST", COMPLETIONS, body))
        ends = dict.fromkeys(sockets, b"")
        while ends:
            for client, piece in arriving(selector):
                ends[client] = ends[client][-64:] + piece
                if b"[DONE]" in ends[client]:
                    selector.unregister(client)
                    del ends[client]
        took = time.perf_counter() - start
    for client in sockets:
        client.close()
    return clients * tokens / took


def measure_throughput(options):
    """In turns, so that both meet the same machine."""
    served, alone = [], []
    with serve(options, "--max-num-seqs", str(options.clients)) as server:
        stream_all(server, options.clients, 16)
        for _ in range(options.rounds):
            done = subprocess.run([options.binary, "bench", options.model, "--pp", "0", "--tg", str(options.tokens), "--batch",
                                   str(options.clients), "--repeat", "1", "--json"], capture_output=True, text=True, check=True)
            alone.append(json.loads(done.stdout)["results"][-1]["tokens_per_s"])
            served.append(stream_all(server, options.clients, options.tokens))
    return statistics.median(served), statistics.median(alone), statistics.median(map(lambda s, a: s / a, served, alone))


def measure_overhead(options):
    """Milliseconds of a request that the engine did not have it: the client's clock less the server's timings."""
    outside, whole, tokens = [], [], []
    with serve(options) as server, server.connect() as client, client.makefile("rb") as answers:
        for i in range(options.requests):
            prompt = " ".join(random.Random(i).choices(WORDS, k=99))  # no prefix in common with one before
            data = request_bytes("POST", COMPLETIONS, {"prompt": prompt, "max_tokens": 1, "temperature": 0, "timings": True})
            start = time.perf_counter()
            client.sendall(data)
            status, body = read_answer(answers)
            took = 1000 * (time.perf_counter() - start)
            assert status == 200, body
            reply = json.loads(body)
            outside.append(took - sum(reply["timings"][name] for name in ("queue_ms", "prompt_ms", "predicted_ms")))
            whole.append(took)
            tokens.append(reply["usage"]["prompt_tokens"])
    return statistics.median(outside), statistics.median(whole), statistics.median(tokens)


def refuse(server, data, status, seconds, connections, ahead):
    """Refusals per second over connections that each keep `ahead` requests on the way."""
    with server.connect() as probe:
        probe.sendall(data)
        first = probe.recv(65536)
        assert f" {status} ".encode() in first[:20], first
    size = len(first)  # ids are of one length, so answers are too
    sockets = [server.connect() for _ in range(connections)]
    waiting = dict.fromkeys(sockets, 0)
    count = 0
    with selectors.DefaultSelector() as selector:
        for client in sockets:
            selector.register(client, selectors.EVENT_READ)
            client.sendall(data * ahead)
            waiting[client] = size * ahead
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            for client, answers in arriving(selector):
                waiting[client] -= len(answers)
                if waiting[client] <= 0:
                    assert waiting[client] == 0, "answers of another size"
                    count += ahead
                    client.sendall(data * ahead)
                    waiting[client] = size * ahead
        took = time.perf_counter() - begin
    for client in sockets:
        client.close()
    return count / took


def on_first_core():
    os.sched_setaffinity(0, {0})


def measure_refusals(options):
    """[(what, per second)]: the server on one core, this program on another."""
    rows = []
    os.sched_setaffinity(0, {1})
    small = request_bytes("POST", COMPLETIONS, {"prompt": "Hello", "max_tokens": 4})
    with serve(options, preexec_fn=on_first_core) as server:
        for connections, ahead in ((16, 1), (4, 16)):
            used = cpu_seconds(server.process)
            rate = refuse(server, request_bytes("GET", "/nothing"), 404, options.seconds, connections, ahead)
            used = (cpu_seconds(server.process) - used) / options.seconds
            rows.append((f"404, no such path; {connections} connections, {ahead} on the way; {100 * used:.0f} % of the core", rate))
    with serve(options, "--api-key", "a-key", preexec_fn=on_first_core) as server:
        for connections, ahead in ((16, 1), (4, 16)):
            rate = refuse(server, request_bytes("GET", "/v1/models"), 401, options.seconds, connections, ahead)
            rows.append((f"401, no key; {connections} connections, {ahead} on the way", rate))
    with serve(options, "--max-num-seqs", "1", "--max-queue", "1", preexec_fn=on_first_core) as server:
        long = {"prompt": "Once", "max_tokens": 2000, "ignore_eos": True, "stream": True}
        busy = [server.send(COMPLETIONS, long) for _ in range(2)]
        wait_until(lambda: server.loads() == (1, 1))
        for connections, ahead in ((16, 1), (4, 16)):
            rate = refuse(server, small, 429, options.seconds, connections, ahead)
            rows.append((f"429, a full queue while the engine computes on the same core; {connections} connections, {ahead} on "
                         "the way", rate))
        for client in busy:
            client.close()
    os.sched_setaffinity(0, range(os.cpu_count()))
    return rows


def heading():
    """What the figures hold for; the machine should have nothing else to do."""
    cpu = next(line.split(": ")[1] for line in open("/proc/cpuinfo") if line.startswith("model name")).strip()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return (f"# What the server costs over the engine\n\nMachine: {os.cpu_count()} virtual CPUs of {cpu}, load "
            f"{os.getloadavg()[0]:.1f} at the start. {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip()}.\n\n"
            "```sh\n./mill build release millrace && python3 bench/server_load.py > bench/results/server.md\n```\n\n"
            "Throughput: clients stream greedily from a prompt of one token while `millrace bench` measures in turns with them. "
            "Outside of the\nengine: the client's clock less `timings` of the answer. Refusals: the server on one core, the client on "
            "another; those of a full\nqueue share their core with the engine.\n")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256, help="generated for each client")
    parser.add_argument("--requests", type=int, default=200, help="one after the other, for the overhead")
    parser.add_argument("--seconds", type=float, default=3, help="of each kind of refusals")
    options = parser.parse_args()
    print(heading())
    print("| what | figure |\n|---|---|")
    served, alone, ratio = measure_throughput(options)
    print(f"| {options.clients} clients, {options.tokens} tokens each | {served:.0f} tokens/s |")
    print(f"| `millrace bench`, batch {options.clients} | {alone:.0f} tokens/s |")
    print(f"| ratio, median of {options.rounds} rounds | {100 * ratio:.1f} % |", flush=True)
    outside, whole, tokens = measure_overhead(options)
    print(f"| a request of {tokens:.0f} prompt tokens, outside of the engine, median of {options.requests} | {outside:.2f} ms of "
          f"{whole:.2f} |", flush=True)
    for what, rate in measure_refusals(options):
        print(f"| {what} | {rate:,.0f}/s |", flush=True)


if __name__ == "__main__":
    main()
