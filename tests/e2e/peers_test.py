"""bench/peers.py: what it makes of other engines' answers, and that README.md shows what was measured."""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

import program

sys.path.insert(0, str(program.ROOT / "bench"))

import peer_engines  # noqa: E402
import peer_results  # noqa: E402
import peers  # noqa: E402
from peer_engines import Test  # noqa: E402

BATCHED = """
|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|    16 |     64 |    8 |    640 |    0.250 |   512.00 |    1.000 |   512.50 |    1.250 |   512.00 |
|    16 |     64 |   32 |   2560 |    1.000 |   512.00 |    2.000 |  1024.25 |    3.000 |   853.33 |
"""
RESULTS = {"machine": "a machine", "date": "2026-01-02", "commit": "abc", "command": "bench/peers.py x.gguf", "engines": ["Millrace", "other"],
           "models": [{"model": "x", "tests": {"pp8": {"Millrace": [4.0, 2.0, 3.0], "other": [1.0, 2.0]}, "tg4@2": {"Millrace": [5.0]}}}]}


def program_at(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Peers(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        folder = pathlib.Path(self.folder.name)
        program_at(folder / "llama-bench", "#!/bin/sh\ncase $1 in --help) echo '-d, --n-depth';; "
                                           "*) echo \"$@\" >> $0.log; echo '[{\"avg_ts\": 12.5}]';; esac\n")
        program_at(folder / "llama-batched-bench", f"#!/bin/sh\ncat << END\n{BATCHED}\nEND\n")

    def test_llama_bench_and_batched_bench(self):
        engine = peer_engines.LlamaBench("llama.cpp", self.folder.name, 2)
        tests = [Test(512, prompt=True), Test(64, depth=2048), Test(64, batch=8), Test(64, batch=32)]
        self.assertEqual(engine.speeds("x.gguf", tests), {"pp512": 12.5, "tg64 @ d2048": 12.5, "tg64@8": 512.5, "tg64@32": 1024.25})
        calls = pathlib.Path(self.folder.name, "llama-bench.log").read_text().splitlines()
        self.assertEqual(calls, ["-m x.gguf -t 2 -p 512 -n 0 -r 1 -o json", "-m x.gguf -t 2 -p 0 -n 64 -r 1 -o json -d 2048"])

    def test_what_cannot_run_says_why(self):
        with self.assertRaisesRegex(peer_engines.CannotRun, "has no llama-bench"):
            peer_engines.LlamaBench("llama.cpp", "/nowhere", 2)
        program_at(pathlib.Path(self.folder.name) / "llama-bench", "#!/bin/sh\n[ $1 = --help ] || { echo no memory >&2; exit 3; }\n")
        engine = peer_engines.LlamaBench("llama.cpp", self.folder.name, 2)
        with self.assertRaisesRegex(peer_engines.CannotRun, "llama-bench: no memory"):
            engine.speeds("x.gguf", [Test(8, prompt=True)])

    def test_tables_have_medians_and_ratios(self):
        self.assertEqual(peer_results.table_of(RESULTS, spread=False).splitlines()[2:],
                         ["| x | pp8 | 3.0 | 1.5 | 2.00 |", "| x | tg4@2 | 5.0 |  |  |"])
        self.assertIn("| 3.0 (2.0 to 4.0) |", peer_results.table_of(RESULTS))

    def test_readme_shows_what_was_measured(self):
        results = json.loads(peer_results.README_RESULTS.read_text())
        readme = peer_results.README.read_text()
        self.assertEqual(peer_results.readme_with(readme, results), readme, "bench/peers.py --readme renews it")
        for key in ("machine", "date", "commit", "command"):
            self.assertTrue(results[key], key)
        with self.assertRaises(ValueError):
            peer_results.readme_with("no place", results)

    def test_busy_processes_end_with_the_run(self):
        with peers.busy_cpus() as processes:
            self.assertEqual(len(processes), len(os.sched_getaffinity(0)))
            self.assertEqual([p.poll() for p in processes], [None] * len(processes))
        self.assertNotIn(None, [p.poll() for p in processes])

    def test_a_run_with_a_model(self):
        program.need_model()
        written = pathlib.Path(self.folder.name) / "results.json"
        done = subprocess.run([program.ROOT / "bench/peers.py", program.MODEL, "--binary", program.BINARY, "--llama", self.folder.name,
                               "--rounds", "2", "--prompt", "16", "--generate", "4", "--batch", "8", "--json", written],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("without ctranslate2: it reads no GGUF", done.stderr)
        results = json.loads(written.read_text())
        self.assertEqual(results["engines"][:2], ["Millrace", "llama.cpp"])
        tests = results["models"][0]["tests"]
        self.assertEqual(list(tests), ["pp16", "tg4", "tg4@8"])
        for speeds in tests.values():
            self.assertEqual(len(speeds["Millrace"]), 2)
            self.assertEqual(len(speeds["llama.cpp"]), 2)
        self.assertNotIn("/", results["command"].replace("bench/peers.py", ""))
        self.assertIn("| pp16 |", done.stdout)


if __name__ == "__main__":
    program.main()
