#!/usr/bin/env python3
"""Measures Millrace beside llama.cpp on one model, in turns, and prints a Markdown table of medians and ratios.

    python3 -m venv build/peers && build/peers/bin/pip install llama-cpp-python
    build/peers/bin/python bench/against_llama_cpp.py models/SmolLM2-135M-Instruct.Q4_1.gguf --threads 2 --rounds 5

llama.cpp is driven through its own C functions (batches of 512, its default cache types), as llama-bench does: `pp N` computes a prompt
of N random tokens in an empty cache, `tg N` generates N tokens one by one from an empty cache.
"""

import argparse
import json
import pathlib
import platform
import random
import statistics
import subprocess
import time

import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parent.parent


class LlamaCpp:
    def __init__(self, model, threads, context):
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)

    def decode(self, tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self.context)

    def speed(self, prompt, generate):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        tokens = [random.randrange(self.vocab_size) for _ in range(prompt + generate)]
        start = time.perf_counter()
        if prompt:
            self.decode(tokens[:prompt])
        for token in tokens[prompt:]:
            self.decode([token])
        return (prompt + generate) / (time.perf_counter() - start)


def millrace(binary, model, threads, prompt, generate):
    done = subprocess.run(
        [binary, "bench", model, "--threads", str(threads), "--pp", str(prompt), "--tg", str(generate),
         "--batch", "1", "--repeat", "1", "--json"], capture_output=True, text=True, check=True)
    return {r["test"]: r["tokens_per_s"] for r in json.loads(done.stdout)["results"]}


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    options = parser.parse_args()

    peer = LlamaCpp(options.model, options.threads, options.prompt + options.generate)
    prompt_test, generate_test = f"pp{options.prompt}", f"tg{options.generate}"
    ours = {prompt_test: [], generate_test: []}
    theirs = {prompt_test: [], generate_test: []}
    peer.speed(options.prompt, 0)
    for _ in range(options.rounds):
        for test, speed in millrace(options.binary, options.model, options.threads, options.prompt,
                                    options.generate).items():
            if test in ours:
                ours[test].append(speed)
        theirs[prompt_test].append(peer.speed(options.prompt, 0))
        theirs[generate_test].append(peer.speed(0, options.generate))

    print(f"{pathlib.Path(options.model).name}, {options.threads} threads of {cpu_name()}, "
          f"median of {options.rounds} rounds in turns, llama-cpp-python {llama_cpp.__version__}\n")
    print("| test | Millrace, tokens/s | llama.cpp, tokens/s | ratio of medians |")
    print("|---|---|---|---|")
    for test, speeds in ours.items():
        mine, other = statistics.median(speeds), statistics.median(theirs[test])
        print(f"| {test} | {mine:.1f} ({min(speeds):.1f} to {max(speeds):.1f}) "
              f"| {other:.1f} ({min(theirs[test]):.1f} to {max(theirs[test]):.1f}) | {mine / other:.2f} |")


if __name__ == "__main__":
    main()
