"""`--pack-cache`: packed weights that are kept for the next start."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import program
from program import BINARY, MODEL, run
from serving import Server

PROMPT = ["--temperature", 0, "-n", 12, "The capital of France is"]


class PackCache(unittest.TestCase):
    def setUp(self):
        program.need_model()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.packs = self.folder / "packs"

    def answer(self, *arguments, model=MODEL):
        done = run("run", model, *arguments, *PROMPT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, done.stderr.splitlines()

    def pack(self):
        (pack,) = self.packs.iterdir()
        return pack

    def damage(self, at, word=b"\xaa\x55"):
        with open(self.pack(), "r+b") as file:
            file.seek(at)
            file.write(word)

    def test_every_start_gives_the_answer_of_a_plain_one(self):
        plain, _ = self.answer()
        for start in range(3):
            answer, log = self.answer("--pack-cache", self.packs)
            self.assertEqual((answer, log), (plain, []), start)
        self.assertEqual(self.pack().stat().st_mode & 0o777, 0o600)

    def test_a_bad_pack_is_made_again_with_one_line(self):
        plain, _ = self.answer("--pack-cache", self.packs)
        size = self.pack().stat().st_size
        spoil = {
            "damaged in its last bytes": lambda: self.damage(size - 100),
            "damaged in the middle": lambda: self.damage(size // 2),
            "with another head": lambda: self.damage(20),
            "cut short": lambda: os.truncate(self.pack(), size // 2),
            "empty": lambda: os.truncate(self.pack(), 0),
            "something else": lambda: self.pack().write_bytes(b"GGUF" * 1000),
        }
        for name, act in spoil.items():
            act()
            answer, log = self.answer("--pack-cache", self.packs)
            self.assertEqual(answer, plain, name)
            self.assertEqual(len(log), 1, (name, log))
            self.assertIn(f"{self.pack()}' is made again: ", log[0])
            self.assertEqual(self.answer("--pack-cache", self.packs), (plain, []), name)

    def test_a_changed_model_is_packed_again(self):
        model = self.folder / "model.gguf"
        shutil.copy(MODEL, model)
        times = model.stat()
        plain, _ = self.answer("--pack-cache", self.packs, model=model)
        with open(model, "r+b") as file:  # the same size, head and time of change, other weights
            file.seek(-(20 << 20), os.SEEK_END)
            file.write(bytes(8 << 20))
        os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
        changed, _ = self.answer(model=model)
        self.assertNotEqual(changed, plain)
        answer, log = self.answer("--pack-cache", self.packs, model=model)
        self.assertEqual(answer, changed)
        self.assertEqual(len(log), 1, log)

    def test_starts_at_once(self):
        plain, _ = self.answer()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for answer, log in pool.map(lambda _: self.answer("--pack-cache", self.packs), range(4)):
                self.assertEqual((answer, log), (plain, []))
        self.pack()

    def test_the_table_says_where_weights_are_from(self):
        for words in ("as the file stores them", "from --pack-cache"):
            with Server("--pack-cache", self.packs) as server:
                self.assertIn(words, server.table["weights"])
                self.assertRegex(server.table["huge"], r"pages .* of .* of weights")
                server.post("/v1/completions", {"prompt": "One, two", "max_tokens": 2})
                program.wait_until(lambda: list(self.packs.iterdir()))  # written behind the scenes
                used = server.status("VmRSS") << 10
            weights = self.pack().stat().st_size
            self.assertLess(used, weights + (30 << 21) + (60 << 20))  # a huge page of cache a layer

    def test_an_end_before_all_is_written(self):
        for _ in range(3):
            with Server("--pack-cache", self.packs):
                pass
            for file in self.packs.iterdir():  # nothing, or all of it
                self.assertEqual(self.answer("--pack-cache", self.packs)[1], [])
                self.assertEqual(file, self.pack())
                file.unlink()

    def test_an_end_before_all_is_read(self):
        self.answer("--pack-cache", self.packs)
        for _ in range(3):
            with Server("--pack-cache", self.packs):
                pass

    def test_a_start_that_is_killed_leaves_nothing_or_a_pack(self):
        process = subprocess.Popen([BINARY, "run", str(MODEL), "--pack-cache", str(self.packs), *map(str, PROMPT)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        program.wait_until(self.packs.exists)
        process.kill()
        process.wait()
        self.assertEqual(self.answer("--pack-cache", self.packs)[1], [])
        self.pack()

    def test_what_is_no_folder_is_refused(self):
        file = self.folder / "file"
        file.write_text("x")
        for folder, words in {file: "is no folder for packed weights", file / "in": "is no folder for packed weights",
                              "": "the value is empty"}.items():
            done = run("run", MODEL, "--pack-cache", folder, *PROMPT)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    program.main()
