#!/usr/bin/env python3
"""Measures how fast Millrace encodes a text beside llama.cpp and the `tokenizers` package, in turns, and prints a Markdown table.

    python3 -m venv build/peers && build/peers/bin/pip install llama-cpp-python tokenizers gguf
    build/peers/bin/python bench/tokenize_against_peers.py --rounds 5

The text is encoded whole, by one thread, twice in each round: first by a tokenizer that was just loaded (cold), then again (warm: Millrace
and `tokenizers` keep words that they met; llama.cpp keeps none). CPU seconds of the thread count, so that what else runs on the machine
does not. All three must give the same ids, or the table says how many differ. For `tokenizers`, tokenizer.json files are made from the GGUF
vocabularies in a temporary folder, as the models' own are.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import gguf
import llama_cpp
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from peer_results import ROOT, cpu_name

SHARED = ROOT / "../shared/data"
VOCABULARIES = {
    "gpt-2": SHARED / "vocab/ggml-vocab-gpt-2.gguf",
    "llama-bpe": SHARED / "vocab/ggml-vocab-llama-bpe.gguf",
    "llama-spm": SHARED / "vocab/ggml-vocab-llama-spm.gguf",
    "smollm": ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf",
}
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def merges_of_scores(ids, scores):
    """Every way to make a token of two others, the tokens with the highest scores first."""
    merges = []
    for text, token in ids.items():
        halves = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in ids and text[i:] in ids]
        merges += [(scores[token], left, right) for left, right in sorted(halves, key=lambda h: (ids[h[0]], ids[h[1]]))]
    merges.sort(key=lambda m: (m[0], len(m[1]), len(m[2])), reverse=True)
    return [(left, right) for _, left, right in merges]


def make_tokenizer(name, path):
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields[f"tokenizer.ggml.{key}"].contents()
    ids = {text: i for i, text in enumerate(read("tokens"))}
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name != "llama-bpe")
    if name == "llama-spm":
        made = Tokenizer(models.BPE(ids, merges_of_scores(ids, read("scores")), byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        return made
    merges = [tuple(line.split(" ")) for line in read("merges")]
    made = Tokenizer(models.BPE(ids, merges, ignore_merges=name == "llama-bpe"))
    first = {"gpt-2": [], "smollm": [pre_tokenizers.Digits(individual_digits=True)],
             "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]}[name]
    made.pre_tokenizer = pre_tokenizers.Sequence(first + [byte_level])
    made.decoder = decoders.ByteLevel()
    return made


def timed(encode, text):
    begin = time.thread_time()
    ids = encode(text)
    return time.thread_time() - begin, ids


class Millrace:
    def __init__(self, binary, path):
        self.command = [binary, "tokenize", str(path), "--no-add-bos", "--no-special"]

    def ids(self, text_path):
        return json.loads(subprocess.run(self.command + ["--file", text_path], capture_output=True, check=True).stdout)

    def seconds(self, text_path):
        done = subprocess.run(self.command + ["--file", text_path, "--count", "--timings", "2"], capture_output=True, check=True)
        return json.loads(done.stderr)["cpu_seconds"]


class LlamaCpp:
    def __init__(self, path):
        self.model = llama_cpp.Llama(model_path=str(path), vocab_only=True, verbose=False)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model.model)

    def encode(self, text):
        tokens = (llama_cpp.llama_token * (len(text) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, text, len(text), tokens, len(tokens), False, False)
        return tokens[:count]


def measure(name, path, options):
    text = pathlib.Path(options.text).read_bytes()
    unicode = text.decode()
    ours, llama = Millrace(options.binary, path), LlamaCpp(path)
    speeds = {"Millrace, cold": [], "Millrace, warm": [], "llama.cpp": [], "tokenizers, cold": [], "tokenizers, warm": []}
    with tempfile.TemporaryDirectory() as folder:
        saved = f"{folder}/tokenizer.json"
        make_tokenizer(name, path).save(saved)
        for _ in range(options.rounds):
            peer = Tokenizer.from_file(saved)
            cold, warm = ours.seconds(options.text)
            other, other_ids = timed(llama.encode, text)
            peer_cold, _ = timed(lambda t: peer.encode(t, add_special_tokens=False), unicode)
            peer_warm, encoding = timed(lambda t: peer.encode(t, add_special_tokens=False), unicode)
            for speed, seconds in zip(speeds.values(), (cold, warm, other, peer_cold, peer_warm)):
                speed.append(len(text) / seconds / 1e6)
    own_ids = ours.ids(options.text)
    agree = ["same" if own_ids == list(ids) else f"{abs(len(own_ids) - len(ids))} more or fewer"
             for ids in (other_ids, encoding.ids)]
    return speeds, agree


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(VOCABULARIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", default=str(SHARED / "text/wiki.test.raw"))
    parser.add_argument("--binary", default=str(ROOT / "build/release/millrace"))
    options = parser.parse_args()

    print(f"{pathlib.Path(options.text).name}, one thread of {cpu_name()}, MB (10^6 bytes) per CPU second, median of {options.rounds} rounds "
          f"in turns, llama-cpp-python {llama_cpp.__version__}, tokenizers {tokenizers.__version__}\n")
    print("| vocabulary | Millrace, cold | Millrace, warm | llama.cpp | tokenizers, cold | tokenizers, warm "
          "| cold / llama.cpp | cold / tokenizers, cold | warm / tokenizers, warm | ids: llama.cpp, tokenizers |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in options.names:
        speeds, agree = measure(name, VOCABULARIES[name], options)
        medians = [statistics.median(speed) for speed in speeds.values()]
        cold, warm, llama, peer_cold, peer_warm = medians
        shown = [f"{m:.2f}" for m in medians + [cold / llama, cold / peer_cold, warm / peer_warm]]
        print(f"| {name} | {' | '.join(shown)} | {', '.join(agree)} |", flush=True)


if __name__ == "__main__":
    main()
