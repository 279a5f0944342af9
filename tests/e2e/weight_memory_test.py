"""`--weight-memory`: weights that are larger than their memory, read from the pack in each step."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import program
from program import BINARY, MODEL, run
from serving import Server

PROMPT = ["--temperature", 0, "-n", 12, "The capital of France is"]
LITTLE = "30M"  # of 98 MB


class WeightMemory(unittest.TestCase):
    def setUp(self):
        program.need_model()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.packs = self.folder / "packs"

    def arguments(self, memory=LITTLE):
        return ["--pack-cache", self.packs, "--weight-memory", memory]

    def answer(self, *arguments):
        done = run("run", MODEL, *arguments, *PROMPT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, done.stderr.splitlines()

    def pack(self):
        (pack,) = self.packs.iterdir()
        return pack

    def damage(self):
        with open(self.pack(), "r+b") as file:
            for at in range(1 << 20, self.pack().stat().st_size, 1 << 20):
                file.seek(at)
                file.write(b"\xaa\x55\xaa")

    def refusal(self, *arguments):
        done = run("run", MODEL, *arguments, *PROMPT)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_answers_are_those_of_weights_in_memory(self):
        plain, _ = self.answer()
        for memory in (LITTLE, "8M", "60M", "1G", "0"):
            for start in range(2):
                self.assertEqual(self.answer(*self.arguments(memory)), (plain, []), (memory, start))

    def test_eval_and_bench_take_it(self):
        text = self.folder / "text"
        text.write_text("The quick brown fox jumps over the lazy dog. " * 30)
        order = ["--text", text, "--context", 64, "--chunks", 2, "--json"]
        plain = run("eval", MODEL, *order)
        little = run("eval", MODEL, *order, *self.arguments())
        self.assertEqual((little.returncode, little.stdout), (0, plain.stdout), little.stderr)
        done = run("bench", MODEL, "--pp", 0, "--tg", 4, "--batch", 2, "--repeat", 1, *self.arguments())
        self.assertRegex(done.stdout, r"weights: \d+ MB stay, \d+ MB are read in each step; disk .*, of which tg4 \d+ %, tg4@2 \d+ %\n")

    def test_memory_stays_within_it(self):
        with Server(*self.arguments()) as server:
            self.assertRegex(server.table["weights"], r"^.* stay, .* read in each step +--weight-memory; from --pack-cache, ")
            for _ in range(3):
                server.post("/v1/completions", {"prompt": "One, two", "max_tokens": 8})
            used = server.status("VmHWM") << 10
            read = server.metric("process_storage_read_bytes_total")
        self.assertLess(used, (30 << 20) + (30 << 21) + (70 << 20))  # a huge page of cache a layer
        self.assertGreater(read, 0)

    def test_what_cannot_be_is_one_line(self):
        self.assertIn("--weight-memory requires --pack-cache", self.refusal("--weight-memory", LITTLE))
        self.assertIn("'much' is not a size", self.refusal(*self.arguments("much")))
        refusal = self.refusal(*self.arguments("1M"))
        least = re.search(r"1048576 bytes of memory for weights are too few: this model needs (\d+) at least", refusal)
        self.assertTrue(least, refusal)
        self.answer(*self.arguments(least[1]))
        self.assertIn("too few", self.refusal(*self.arguments(int(least[1]) - 1)))

    def test_a_pack_that_is_damaged_meanwhile_fails_requests_and_is_made_again(self):
        for harm in (lambda: os.truncate(self.pack(), 20 << 20), self.damage):
            with Server(*self.arguments()) as server:
                order = {"prompt": "One, two", "max_tokens": 8, "temperature": 0}
                plain = server.post("/v1/completions", order)["choices"]
                harm()
                for code in (500, 503):
                    status, _, body = server.request("POST", "/v1/completions", order)
                    self.assertEqual(status, code, body)
                    self.assertNotIn(str(self.packs).encode(), body)
                self.assertEqual(server.request("GET", "/health")[0], 503)
                server.log.seek(0)
                self.assertRegex(server.log.read(), rf"error=\"the engine has failed: .*{self.packs}.*; it is removed, and the "
                                                    "next start makes another")
            with Server(*self.arguments()) as server:
                self.assertEqual(server.post("/v1/completions", order)["choices"], plain)

    def test_a_pack_that_was_damaged_before(self):
        plain, _ = self.answer(*self.arguments())
        self.damage()
        self.assertIn("the next start makes another", self.refusal(*self.arguments()))
        self.assertEqual(self.answer(*self.arguments()), (plain, []))

    def test_a_start_that_is_killed_leaves_nothing_or_a_pack(self):
        process = subprocess.Popen([BINARY, "run", str(MODEL), *map(str, [*self.arguments(), *PROMPT])],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        program.wait_until(self.packs.exists)
        process.kill()
        process.wait()
        self.assertEqual(self.answer(*self.arguments())[1], [])
        self.pack()


if __name__ == "__main__":
    program.main()
