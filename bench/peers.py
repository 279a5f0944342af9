#!/usr/bin/env python3
"""Measures Millrace beside other engines on the same files, in turns in one run, and prints a Markdown table of medians and ratios.

    bench/peers.py MODEL.gguf... --llama FOLDER --ik FOLDER --rounds 5 --json bench/results/peers.json --plot speeds.svg
    bench/peers.py --readme

FOLDER has llama-bench and llama-batched-bench, of llama.cpp and of ik_llama.cpp. Where no --llama is given llama.cpp runs through
llama-cpp-python; openvino-genai runs where it is installed and can load the file. What cannot run is named on standard error with its reason.
--readme renews README.md's table from bench/results/peers.json.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys

import peer_engines
import peer_results
from peer_engines import Test

ROOT = peer_results.ROOT


def machine():
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    sets = [label for flag, label in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_vnni", "VNNI"), ("avx512_bf16", "BF16"),
                                      ("amx_tile", "AMX")) if f" {flag}" in flags]
    return f"{os.cpu_count()} CPUs of {peer_results.cpu_name()} ({', '.join(sets)})"


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def command_text(arguments):
    """What was typed, without the places of this machine."""
    return shlex.join(["bench/peers.py"] + [pathlib.Path(a).name if "/" in a else a for a in arguments])


def say(text):
    print(text, file=sys.stderr)


def engines_of(options):
    llama = (lambda: peer_engines.LlamaBench("llama.cpp", options.llama, options.threads)) if options.llama else (
        lambda: peer_engines.LlamaCppPython(options.threads))
    makers = {"llama.cpp": llama, "openvino-genai": lambda: peer_engines.OpenVino(options.threads), "ctranslate2": peer_engines.CTranslate2}
    if options.ik:
        makers["ik_llama.cpp"] = lambda: peer_engines.LlamaBench("ik_llama.cpp", options.ik, options.threads)
    engines = [peer_engines.Millrace(options.binary, options.threads)]
    for name, make in makers.items():
        try:
            engines.append(make())
        except peer_engines.CannotRun as error:
            say(f"without {name}: {error}")
    return engines


def tests_of(options):
    tests = [Test(options.prompt, prompt=True)] if options.prompt else []
    if options.generate:
        tests += [Test(options.generate, depth=depth) for depth in options.depth]
        tests += [Test(options.generate, batch=batch) for batch in options.batch]
    return tests


def measure(engines, model, tests, rounds):
    """{test: {engine: [tokens/s]}}, every engine once in each round."""
    speeds = {test.name: {} for test in tests}
    failed = set()
    for turn in range(rounds):
        for engine in engines:
            if engine.name in failed:
                continue
            say(f"{model.name}: round {turn + 1} of {rounds}, {engine.name}")
            try:
                for test, speed in engine.speeds(model, tests).items():
                    speeds[test].setdefault(engine.name, []).append(speed)
            except peer_engines.CannotRun as error:
                if engine.name == "Millrace":
                    raise
                say(f"without {engine.name} on {model.name}: {error}")
                failed.add(engine.name)
    return speeds


@contextlib.contextmanager
def busy_cpus():
    """A busy process on each CPU that this one may use."""
    processes = [subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"])
                 for cpu in sorted(os.sched_getaffinity(0))]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def renew_readme():
    results = json.loads(peer_results.README_RESULTS.read_text())
    peer_results.README.write_text(peer_results.readme_with(peer_results.README.read_text(), results))


def parse(arguments):
    def numbers(text):
        return [int(part) for part in text.split(",")] if text else []

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=pathlib.Path, help="GGUF files")
    parser.add_argument("--llama", help="folder with llama.cpp's llama-bench and llama-batched-bench")
    parser.add_argument("--ik", help="folder with ik_llama.cpp's")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens; 0: no prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens; 0: no generation")
    parser.add_argument("--depth", type=numbers, default=[0], help="tokens in the cache before one sequence generates, 0,2048,...")
    parser.add_argument("--batch", type=numbers, default=[8, 32], help="sequences that generate at once, 8,32,...")
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--contended", action="store_true", help="beside a busy process on each CPU, for all engines alike")
    parser.add_argument("--json", type=pathlib.Path, help="write the results here")
    parser.add_argument("--plot", type=pathlib.Path, help="draw them, PNG or SVG; needs matplotlib")
    parser.add_argument("--readme", action="store_true", help="only renew README.md's table from bench/results/peers.json")
    options = parser.parse_args(arguments)
    if not options.readme and not options.models:
        parser.error("no models")
    return options


def main():
    options = parse(sys.argv[1:])
    if options.readme:
        renew_readme()
        return
    engines, tests = engines_of(options), tests_of(options)
    results = {"machine": machine(), "date": datetime.date.today().isoformat(), "commit": commit(),
               "command": command_text(sys.argv[1:]), "rounds": options.rounds, "threads": options.threads, "engines": [], "models": []}
    with busy_cpus() if options.contended else contextlib.nullcontext():
        for model in options.models:
            results["models"].append({"model": model.stem, "tests": measure(engines, model, tests, options.rounds)})
    ran = {engine for model in results["models"] for speeds in model["tests"].values() for engine in speeds}
    results["engines"] = [engine.name for engine in engines if engine.name in ran]
    print(peer_results.heading_of(results))
    print(peer_results.table_of(results), end="")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        try:
            peer_results.plot(results, options.plot)
        except ImportError:
            say("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
