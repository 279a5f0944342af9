"""schemathesis reads /openapi.json and sends what it allows, and what it does not: every answer is one that the document
names, in the shape that it names, and never a 5xx."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from served import main, start

EXAMPLES = 40  # a route
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Any prompt is answered, so answers must be short: the context bounds them.
        cls.server = start(context="64")
        cls.root = f"http://127.0.0.1:{cls.server.port}"

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_every_route(self):
        with tempfile.TemporaryDirectory() as folder:  # what it remembers is not kept
            done = self.run_in(folder)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-1000:])

    def run_in(self, folder):
        return subprocess.run(
            [pathlib.Path(sys.prefix) / "bin/schemathesis", "run", self.root + "/openapi.json", "--checks", CHECKS,
             "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color",
             "--request-timeout", "60"], cwd=folder, capture_output=True, text=True, timeout=900, check=False)

    def test_every_open_route_is_in_the_document(self):
        status, _, body = self.server.request("GET", "/openapi.json")
        self.assertEqual(status, 200)
        paths = json.loads(body)["paths"]
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/models/{id}", "/tokenize", "/detokenize",
                     "/apply-template", "/version", "/health", "/ready", "/metrics", "/load", "/openapi.json"):
            self.assertIn(path, paths)


if __name__ == "__main__":
    main()
