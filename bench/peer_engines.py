"""The engines that bench/peers.py runs. Each has a name and speeds(model, tests): tokens/s by test, those that it can run; `cannot` says in a
line why an engine cannot run at all. A test is pp512 (a prompt), tg64 (generation), tg64@8 (8 sequences at once), tg64 @ d2048 (behind 2048
tokens)."""

import dataclasses
import importlib.util
import json
import pathlib
import random
import re
import subprocess
import sys
import time


class CannotRun(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Test:
    tokens: int
    prompt: bool = False
    batch: int = 1
    depth: int = 0

    @property
    def name(self):
        kind = f"{'pp' if self.prompt else 'tg'}{self.tokens}"
        return kind + (f"@{self.batch}" if self.batch > 1 else "") + (f" @ d{self.depth}" if self.depth else "")


def output_of(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"{pathlib.Path(command[0]).name}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return done.stdout


class Millrace:
    name = "Millrace"

    def __init__(self, binary, threads):
        self.binary, self.threads = binary, threads

    def speeds(self, model, tests):
        prompts = [t.tokens for t in tests if t.prompt] or [0]
        generated = [t for t in tests if not t.prompt]
        depths = [t.depth for t in generated if t.batch == 1]
        batches = [t.batch for t in generated if t.batch > 1]
        command = [self.binary, "bench", model, "--threads", self.threads, "--pp", prompts[0], "--repeat", 1, "--json",
                   "--tg", generated[0].tokens if generated else 0]
        command += ["--depth", ",".join(map(str, depths or [0])), "--batch", ",".join(map(str, batches or [1]))]
        wanted = {t.name for t in tests}
        results = json.loads(output_of(command))["results"]
        return {r["test"]: r["tokens_per_s"] for r in results if r["test"] in wanted}


def batched_speeds(table):
    """{sequences: tokens/s of generation} from what llama-batched-bench prints."""
    rows = re.findall(r"^\|" + r"\s*(\d+)\s*\|" * 4 + r"\s*[\d.]+\s*\|" * 3 + r"\s*([\d.]+)\s*\|", table, re.MULTILINE)
    return {int(row[2]): float(row[4]) for row in rows}


class LlamaBench:
    """A folder with llama-bench and llama-batched-bench: llama.cpp's, or ik_llama.cpp's, which knows no depth."""

    def __init__(self, name, folder, threads):
        self.name, self.folder, self.threads = name, pathlib.Path(folder), threads
        for program in ("llama-bench", "llama-batched-bench"):
            if not (self.folder / program).exists():
                raise CannotRun(f"{folder} has no {program}")
        self.runs_batches = True
        self.knows_depth = "--n-depth" in output_of([self.folder / "llama-bench", "--help"])

    def speed(self, model, test):
        prompt, generated = (test.tokens, 0) if test.prompt else (0, test.tokens)
        command = [self.folder / "llama-bench", "-m", model, "-t", self.threads, "-p", prompt, "-n", generated, "-r", 1, "-o", "json"]
        if test.depth:
            command += ["-d", test.depth]
        return json.loads(output_of(command))[0]["avg_ts"]

    def batched(self, model, tests):
        before, generated = 16, tests[0].tokens
        context = max(t.batch for t in tests) * (before + generated)
        table = output_of([self.folder / "llama-batched-bench", "-m", model, "-t", self.threads, "-c", context, "-b", 2048, "-ub", 512,
                           "-npp", before, "-ntg", generated, "-npl", ",".join(str(t.batch) for t in tests)])
        found = batched_speeds(table)
        return {t.name: found[t.batch] for t in tests if t.batch in found}

    def speeds(self, model, tests):
        speeds = {t.name: self.speed(model, t) for t in tests if t.batch == 1 and (self.knows_depth or not t.depth)}
        batched = [t for t in tests if t.batch > 1]
        if batched and self.runs_batches:
            try:
                speeds |= self.batched(model, batched)
            except CannotRun as error:  # the rest is worth having
                print(f"{self.name} without batches: {error}", file=sys.stderr)
                self.runs_batches = False
        return speeds


class LlamaCppPython:
    """llama.cpp through llama-cpp-python: its own C functions, batches of 512, its default cache types, as llama-bench has them."""

    name = "llama.cpp"

    def __init__(self, threads):
        if importlib.util.find_spec("llama_cpp") is None:
            raise CannotRun("neither --llama nor llama-cpp-python is there")
        import llama_cpp
        self.api, self.threads, self.model = llama_cpp, threads, None
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()

    def load(self, model, tokens):
        if self.model == (model, tokens):
            return
        api = self.api
        loaded = api.llama_model_load_from_file(str(model).encode(), api.llama_model_default_params())
        if not loaded:
            raise CannotRun("llama.cpp cannot load the model")
        parameters = api.llama_context_default_params()
        parameters.n_ctx = tokens
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = self.threads
        self.context = api.llama_init_from_model(loaded, parameters)
        self.vocab_size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(loaded))
        self.model = (model, tokens)

    def decode(self, tokens):
        for at in range(0, len(tokens), 512):
            part = tokens[at:at + 512]
            array = (self.api.llama_token * len(part))(*part)
            if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(part))) != 0:
                raise CannotRun("llama_decode failed")
        self.api.llama_synchronize(self.context)

    def speed(self, test):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        tokens = [random.randrange(self.vocab_size) for _ in range(test.depth + test.tokens)]
        if test.depth:
            self.decode(tokens[:test.depth])
        start = time.perf_counter()
        if test.prompt:
            self.decode(tokens)
        else:
            for token in tokens[test.depth:]:
                self.decode([token])
        return test.tokens / (time.perf_counter() - start)

    def speeds(self, model, tests):
        single = [t for t in tests if t.batch == 1]
        self.load(model, max(t.depth + t.tokens for t in single) if single else 512)
        return {t.name: self.speed(t) for t in single}


class OpenVino:
    name = "openvino-genai"

    def __init__(self, threads):
        if importlib.util.find_spec("openvino_genai") is None:
            raise CannotRun("it is not installed")
        import openvino_genai
        self.api, self.threads, self.model = openvino_genai, threads, None

    def load(self, model):
        if self.model == model:
            return
        try:
            self.pipeline = self.api.LLMPipeline(str(model), "CPU", INFERENCE_NUM_THREADS=self.threads)
        except RuntimeError as error:
            raise CannotRun(f"it cannot load the file: {str(error).strip().splitlines()[-1][:120]}") from error
        self.model = model
        self.generate(16, 2)  # the first call compiles

    def generate(self, before, generated):
        import numpy
        import openvino
        ids = openvino.Tensor(numpy.random.randint(10, 1000, (1, before), dtype=numpy.int64))
        inputs = self.api.TokenizedInputs(ids, openvino.Tensor(numpy.ones((1, before), dtype=numpy.int64)))
        return self.pipeline.generate(inputs, max_new_tokens=generated, ignore_eos=True, do_sample=False).perf_metrics

    def speed(self, test):
        if test.prompt:
            return 1000 * test.tokens / self.generate(test.tokens, 1).get_ttft().mean
        return 1000 / self.generate(max(test.depth, 1), test.tokens + 1).get_tpot().mean

    def speeds(self, model, tests):
        self.load(model)
        return {t.name: self.speed(t) for t in tests if t.batch == 1}


class CTranslate2:
    name = "ctranslate2"

    def __init__(self):
        raise CannotRun("it reads no GGUF, so it cannot run the same files")
