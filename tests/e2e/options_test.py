"""Options of the commands: their names here and elsewhere, from the environment, from a file, and what is said of wrong ones."""

import ctypes
import os
import pathlib
import re
import tempfile
import unittest

import program
from program import MODEL, run
from serving import Server


def memory(name):
    """GiB of this machine's."""
    return int(re.search(rf"^{name}:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1]) / (1 << 20)


class Refused(unittest.TestCase):
    def assert_refused(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_an_unknown_name_is_told_the_nearest(self):
        for arguments, given, meant in [
            (["serve", "x.gguf", "--max-num-seq", "8"], "--max-num-seq", "--max-num-seqs"),
            (["serve", "--max_model_len=8", "x.gguf"], "--max_model_len", "--max-model-len"),
            (["run", "--temprature", "1"], "--temprature", "--temperature"),
            (["bench", "x.gguf", "--bach", "8"], "--bach", "--batch"),
            (["eval", "x.gguf", "--chunk", "8"], "--chunk", "--chunks"),
            (["inspect", "x.gguf", "--jsn"], "--jsn", "--json"),
            (["tokenize", "x.gguf", "--cont"], "--cont", "--count"),
            (["serv", "x.gguf"], "serv", "serve"),
        ]:
            with self.subTest(arguments=arguments):
                self.assert_refused(run(*arguments), f" {given}; did you mean {meant}?")

    def test_nothing_is_guessed_from_afar(self):
        done = run("serve", "x.gguf", "--banana", "8")
        self.assert_refused(done, "unknown option --banana")
        self.assertNotIn("did you mean", done.stderr)

    def test_what_means_nothing_here_says_why(self):
        for name, arguments in (
                ("--tensor-parallel-size", ["--tensor-parallel-size", "2"]), ("--enable-lora", ["--enable-lora"]),
                ("--n-gpu-layers", ["-ngl", "99"]), ("--ctx-size", ["-c", "4096"]), ("--rerank", ["--rerank"]),
                ("--no-enable-chunked-prefill", ["--no-enable-chunked-prefill"]), ("--tokenizer", ["--tokenizer=hf/name"]),
                ("--dtype", ["--dtype", "bfloat16"]), ("--scheduling-policy", ["--scheduling-policy", "priority"]),
                ("--cache-type-k", ["-ctk", "q8_0"])):
            with self.subTest(arguments=arguments):
                self.assert_refused(run("serve", "x.gguf", *arguments), f"millrace: {name}: not supported: ")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('quantization = "awq"\n')
            file.flush()
            self.assert_refused(run("serve", "x.gguf", "--config", file.name), "--quantization: not supported: ")
        self.assert_refused(run("serve", "x.gguf", env={**os.environ, "MILLRACE_DTYPE": "half"}),
                            "--dtype: not supported: ")
        self.assertNotIn("--tensor-parallel-size", run("serve", "--help").stdout)

    def test_what_asks_for_nothing_is_taken(self):
        done = run("serve", "/nowhere/x.gguf", "--port", "0", "--tensor-parallel-size", "1", "--enable-chunked-prefill",
                   "--scheduling-policy", "fcfs", "--dtype", "auto", "-ngl", "0", "-fa", "on", "--disable-log-stats")
        self.assert_refused(done, "/nowhere/x.gguf")

    def test_a_file_with_an_unknown_name(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("max-num-seq = 3\n")
            file.flush()
            self.assert_refused(run("serve", "x.gguf", "--config", file.name), "--max-num-seq in the --config file",
                                "--max-num-seqs?")
            done = run("serve", "x.gguf", env={**os.environ, "MILLRACE_CONFIG": file.name})
            self.assert_refused(done, "--max-num-seqs?")

    def test_a_file_without_a_command(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "config")
            path.write_text("port = 1\n")
            self.assert_refused(run("--config", path), "subcommand")
            done = run("--version", env={**os.environ, "MILLRACE_CONFIG": str(path)})
            self.assertEqual(done.returncode, 0, done.stderr)
            path.write_text("max-num-seqs: 5\n")
            self.assert_refused(run("serve", "x.gguf", "--config", path), "NAME = VALUE")

    def test_a_variable_that_sets_nothing_is_a_warning(self):
        done = run("serve", "/nowhere/x.gguf", "--port", "0", env={**os.environ, "MILLRACE_MAX_NUM_SEQ": "3"})
        warning, error = done.stderr.strip().splitlines()
        self.assertIn("MILLRACE_MAX_NUM_SEQ sets no option; did you mean MILLRACE_MAX_NUM_SEQS?", warning)
        self.assertIn("/nowhere/x.gguf", error)

    def test_a_bad_value_of_a_variable(self):
        self.assert_refused(run("serve", "x.gguf", env={**os.environ, "MILLRACE_MAX_NUM_SEQS": "lots"}), "lots")
        # Of an option that another command has.
        self.assert_refused(run("inspect", "/nowhere/x.gguf", env={**os.environ, "MILLRACE_PORT": "x"}), "/nowhere")

    def test_help_says_the_rule(self):
        text = run("serve", "--help").stdout
        self.assertIn("MILLRACE_MAX_NUM_SEQS", text)
        self.assertNotIn("Env:", text)
        self.assertNotIn("--tensor-parallel-size", text)

    def test_help_says_the_defaults(self):
        found = {}
        for names, default in re.findall(r"^  (-\S+) [^=\n]*=(\S*)", run("serve", "--help").stdout, re.M):
            found.update(dict.fromkeys(names.split(","), default))
        defaults = {"--host": "127.0.0.1", "--port": "8000", "--kv-cache-dtype": "f16", "--max-num-seqs": "64",
                    "--max-num-batched-tokens": "512", "--long-prefill-token-threshold": "0", "--kv-cache-memory-bytes": "0", "--block-size": "16", "--state-snapshot-tokens": "512",
                    "--max-queue": "1024", "--max-queue-ms": "0", "--shutdown-timeout": "30",
                    "--max-connections": "1024", "--max-headers": "100", "--max-header-bytes": str(64 << 10),
                    "--max-body-bytes": str(16 << 20), "--header-timeout": "10", "--body-timeout": "30",
                    "--idle-timeout": "120", "--stall-timeout": "30", "--ping-interval": "15", "--max-json-depth": "64",
                    "--max-json-keys": "1000", "--max-choices": "1024", "--max-logprobs": "20", "--max-stops": "16",
                    "--max-logit-bias": "1000"}
        self.assertEqual({name: found.get(name) for name in defaults}, defaults)


class Started(unittest.TestCase):
    """What the table of a start says that was decided."""

    def table(self, *arguments, **variables):
        with Server(*arguments, model=None, env={**os.environ, **variables}) as server:
            return server.table

    def setUp(self):
        program.need_model()

    def test_the_table_says_why(self):
        table = self.table(MODEL, "--threads", "1")
        for name, words in {"model": "the file's name", "instructions": "the best of this CPU", "threads": "--threads",
                            "weights": "MiB", "huge": "of weights", "cache": "f16", "context": "8,192 tokens", "sequences": "64 at once",
                            "ready": "http://127.0.0.1:"}.items():
            self.assertIn(words, table[name])

    def test_the_table_says_why_there_are_no_huge_pages(self):
        no_huge_pages = 41  # PR_SET_THP_DISABLE, which a child inherits
        with Server("--threads", "1", preexec_fn=lambda: ctypes.CDLL(None).prctl(no_huge_pages, 1, 0, 0, 0)) as server:
            line = server.table["huge"]
        self.assertRegex(line, r"^pages +0 B of ")
        self.assertRegex(line, r"switched off for this process \(prctl\)|enabled is never|this system has none")

    def test_the_default_cache_is_all_sequences_or_a_quarter(self):
        table = self.table(MODEL, "--max-num-seqs", 2, "--max-model-len", 256)
        self.assertRegex(table["cache"], r"MiB in f16 +every sequence at its longest")
        self.assertRegex(table["all"], r"^tokens +512 tokens in 32 blocks +22\.5 KiB a token, 360\.0 KiB a block, 5\.6 MiB a sequence of 256$")
        cache = self.table(MODEL, "--max-num-seqs", "10k", "--max-model-len", "8k")["cache"]
        size, whole = map(float, re.fullmatch(r"(\S+) GiB in f16 +a quarter of the (\S+) GiB that this process may use", cache).groups())
        self.assertAlmostEqual(size, whole / 4, delta=0.1)
        self.assertLessEqual(whole, memory("MemTotal") + 0.1)

    def test_the_cache_is_touched_as_it_is_used(self):
        if memory("MemAvailable") < 6:
            self.skipTest("less than 6 GiB of memory are free")
        with Server("--kv-cache-memory-bytes", "4G") as server:
            ready = server.status("VmRSS") >> 10
            self.assertLess(ready, 500)  # MiB, weights and all
            tokens = server.post("/v1/completions", {"prompt": [7, 8, 9, 10] * 150, "max_tokens": 1})["usage"]["prompt_tokens"]
            self.assertEqual(tokens, 600)
            used = (server.status("VmRSS") >> 10) - ready
            self.assertTrue(10 < used < 200, used)  # 22.5 KiB a token, and what the step computes in

    def test_names_of_others(self):
        table = self.table("-m", MODEL, "-np", "3", "-t", "1", "-a", "mill", "--kv-cache-dtype", "bfloat16", "-b", "1k")
        self.assertTrue(table["model"].startswith("mill "))
        self.assertTrue(table["sequences"].startswith("3 at once"))
        self.assertTrue(table["step"].startswith("1,000 tokens"))
        self.assertIn("bf16", table["cache"])

    def test_the_command_line_then_the_environment_then_the_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("max-num-seqs = 2\nmax-model-len = 128\nblock-size = 8\nthreads = 1\n")
            file.flush()
            table = self.table("--max-num-seqs", 6, MILLRACE_MODEL=str(MODEL), MILLRACE_MAX_NUM_SEQS="4",
                               MILLRACE_MAX_MODEL_LEN="256", MILLRACE_ENABLE_PREFIX_CACHING="false",
                               MILLRACE_CONFIG=file.name)
        self.assertTrue(table["sequences"].startswith("6 at once"))
        self.assertTrue(table["context"].startswith("256 tokens"))
        self.assertTrue(table["threads"].startswith("1 "))


if __name__ == "__main__":
    program.main()
