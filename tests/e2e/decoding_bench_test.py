"""bench/decoding.py and bench/decoding_peers.py: their tables, with a program in llama-server's place."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import program

sys.path.insert(0, str(program.ROOT / "bench"))

import decoding  # noqa: E402
import decoding_peers  # noqa: E402
from decoding_peers import Answer  # noqa: E402
from decoding_texts import TEXTS, prompts_of, texts_of  # noqa: E402

LLAMA_SERVER = """#!/usr/bin/env python3
import http.server, json, sys
drafts = "--spec-type" in sys.argv
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count = asked["n_predict"]
        timings = {"predicted_ms": 100.0 if drafts else 200.0}
        if drafts:
            timings |= {"draft_n": 4, "draft_n_accepted": 2}
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"tokens": asked["prompt"][:1] * count, "timings": timings}).encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def cells_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]


class Tables(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_bench(self, script, *arguments):
        program.need_model()
        done = subprocess.run([sys.executable, "-B", program.ROOT / "bench" / script, program.MODEL, "--binary", program.BINARY, "--context", "2048",
                               "--texts", "code", "--prompts", "2", "--tokens", "8", "--rounds", "2", *map(str, arguments)],
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_each_configuration_has_a_row_of_its_own(self):
        file = self.folder / "table.md"
        done = self.run_bench("decoding.py", "--batch", "1,2", "--append", file, "--config", 'near={"method": "ngram"}', "--config",
                              'far={"method": "ngram", "num_speculative_tokens": 16}')
        head, *rows = cells_of(done.stdout)
        self.assertEqual(tuple(head), decoding.HEAD)
        self.assertEqual([row[:3] for row in rows], [["code", batch, name] for batch in "12" for name in ("plain", "near", "far")])
        for row in rows:
            self.assertGreater(float(row[3]), 0)
        self.assertEqual({row[4] for row in rows if row[2] == "plain"}, {"1.00"})
        self.assertTrue(file.read_text().endswith(done.stdout))
        self.assertIn("bench/decoding.py", file.read_text())
        self.assertIn("round 2 of 2, far", done.stderr)

    def test_llama_cpp_is_measured_beside_it(self):
        server = self.folder / "llama-server"
        server.write_text(LLAMA_SERVER)
        server.chmod(0o755)
        _, *rows = cells_of(self.run_bench("decoding_peers.py", "--llama", self.folder).stdout)
        named = {(row[1], row[2]): row[3:] for row in rows}
        self.assertEqual(named["llama.cpp", "plain"], ["35.0", "1.00", "", "1.00", "2 of 2"])
        self.assertEqual(named["llama.cpp", "ngram"], ["70.0", "2.00", "50%", "1.33", "2 of 2"])
        self.assertEqual(named["Millrace", "ngram"][-1], "2 of 2")

    def test_texts(self):
        self.assertEqual(texts_of("edits,chat,random", None), ["edits", "random"])
        for text in ("edits", "code", "random"):
            self.assertEqual(len(set(prompts_of(text, 99, None))), 16)
        self.assertEqual(set(TEXTS), {"edits", "code", "chat", "summaries", "random"})

    def test_a_ratio_is_to_the_plain_of_its_own_round(self):
        def rounds(*times):
            return [[Answer([1, 2, 3], ms)] for ms in times]
        engine = type("Engine", (), {"name": "other", "drafts": "ngram"})
        self.assertIn("| 2.00 |", decoding_peers.row("code", engine, rounds(100, 500, 1000), rounds(200, 1000, 1000)))


if __name__ == "__main__":
    program.main()
