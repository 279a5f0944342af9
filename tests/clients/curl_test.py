"""curl, as people and scripts use it."""

import json
import shutil
import subprocess
import tempfile
import unittest

from served import NAME, main, start

CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Name the capital of France."}], "max_tokens": 12,
        "temperature": 0}


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class Curl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start("--api-key", "secret")
        cls.root = f"http://127.0.0.1:{cls.server.port}"

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def curl(self, path, *arguments, key=True):
        authorisation = ["-H", "Authorization: Bearer secret"] if key else []
        return subprocess.run(["curl", "-sS", "--max-time", "60", *authorisation, *arguments, self.root + path],
                              capture_output=True, text=True, check=False)

    def test_a_chat(self):
        done = self.curl("/v1/chat/completions", "--json", json.dumps(CHAT))
        self.assertIn("Paris", json.loads(done.stdout)["choices"][0]["message"]["content"])

    def test_a_stream_unbuffered(self):
        done = self.curl("/v1/chat/completions", "-N", "--json", json.dumps({**CHAT, "stream": True}))
        self.assertTrue(done.stdout.endswith("data: [DONE]\n\n"), done.stdout[-80:])

    def test_fail_is_an_exit_code(self):
        self.assertEqual(self.curl("/v1/models", "--fail").returncode, 0)
        self.assertEqual(self.curl("/v1/models", "--fail", key=False).returncode, 22)
        self.assertEqual(self.curl("/health", "--fail", key=False).returncode, 0)

    def test_expect_continue_chunked_and_old(self):
        with tempfile.NamedTemporaryFile("w") as body:
            json.dump({**CHAT, "max_tokens": 1, "metadata": {"filler": "x" * 1_500_000}}, body)
            body.flush()
            for more in (["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"], ["--http1.0"]):
                with self.subTest(more=more):
                    done = self.curl("/v1/chat/completions", "-H", "Content-Type: application/json", "--data-binary",
                                     "@" + body.name, "-w", "%{http_code}", *more)
                    self.assertTrue(done.stdout.endswith("200"), done.stdout[-200:] + done.stderr)

    def test_one_connection_for_all(self):
        paths = [self.root + "/health"] * 5
        done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{num_connects}\n", *paths[:1]] +
                              [word for path in paths[1:] for word in ("-o", "/dev/null", path)],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.split(), ["1", "0", "0", "0", "0"])

    def test_head_and_wrong_method(self):
        self.assertIn("200", self.curl("/health", "-I").stdout.splitlines()[0])
        done = self.curl("/v1/chat/completions", "-i")
        self.assertIn("405", done.stdout.splitlines()[0])
        self.assertIn("Allow: POST", done.stdout)


if __name__ == "__main__":
    main()
