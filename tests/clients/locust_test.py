"""A load from locust: eight users who chat, stream, look at the models and make mistakes, for some seconds, with no failure."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from served import main, start

SECONDS = 10
USERS = '''
import json
from locust import HttpUser, constant, task

class Visitor(HttpUser):
    wait_time = constant(0)

    @task(4)
    def chat(self):
        body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
        with self.client.post("/v1/chat/completions", json=body, catch_response=True) as answer:
            if not answer.ok or answer.json()["usage"]["completion_tokens"] < 1:
                answer.failure(answer.text)

    @task(4)
    def stream(self):
        body = {"prompt": "Once upon a time", "max_tokens": 12, "stream": True, "ignore_eos": True}
        with self.client.post("/v1/completions", json=body, stream=True, catch_response=True) as answer:
            lines = [line for line in answer.iter_lines() if line.startswith(b"data: ")]
            if lines[-1] != b"data: [DONE]":
                answer.failure("no end")
            if len([line for line in lines if line != b"data: [DONE]" and json.loads(line[6:])["choices"]]) < 12:
                answer.failure("too few chunks")

    @task(1)
    def models(self):
        self.client.get("/v1/models")

    @task(1)
    def mistake(self):
        with self.client.post("/v1/completions", json={"prompt": "x", "max_tokens": -1}, catch_response=True) as answer:
            if answer.status_code == 400:
                answer.success()
'''


class Load(unittest.TestCase):
    def test_eight_users(self):
        with start() as server, tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "users.py"
            script.write_text(USERS)
            done = subprocess.run(
                [sys.executable, "-m", "locust", "-f", script, "--headless", "--users", "8", "--spawn-rate", "8",
                 "--run-time", f"{SECONDS}s", "--stop-timeout", "30", "--json", "--host", f"http://127.0.0.1:{server.port}"],
                capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            counts = {entry["name"]: (entry["num_requests"], entry["num_failures"]) for entry in json.loads(done.stdout)}
            print(f"\n{counts}")
            self.assertEqual(set(counts), {"/v1/chat/completions", "/v1/completions", "/v1/models"})
            self.assertTrue(all(requests > 0 and failures == 0 for requests, failures in counts.values()))


if __name__ == "__main__":
    main()
