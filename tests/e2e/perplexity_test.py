"""The default model's perplexity against the exact one (all arithmetic in float32, by llama.cpp on dequantised weights)."""

import json
import unittest

import program
from program import MODEL, SHARED, run

WINDOWS = 100


class Perplexity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.text = program.need(SHARED / "text/wiki.test.raw")
        with open(program.need(SHARED / "goldens/perplexity.json")) as file:
            cls.exact = json.load(file)["wiki.test.raw"]["f32"]

    def measure(self, *options):
        done = run("eval", MODEL, "--text", self.text, "--context", 512, "--chunks", WINDOWS, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(result["chunks"], WINDOWS)
        return result["perplexity"]

    def test_defaults_are_within_half_a_percent(self):
        self.assertAlmostEqual(self.measure(), self.exact, delta=0.005 * self.exact)

    def test_f32_is_within_a_thousandth(self):
        perplexity = self.measure("--activations", "f32", "--kv-cache-dtype", "f32")
        self.assertAlmostEqual(perplexity, self.exact, delta=0.001 * self.exact)


if __name__ == "__main__":
    program.main()
