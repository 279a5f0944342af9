"""The binary under test, and ways to start, ask and stop it. A test script is run as `x_test.py BINARY`."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else str(ROOT / "build/release/millrace")
MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
SHARED = ROOT.parent / "shared/data"
START_SECONDS = 60


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)


def need_model():
    if not MODEL.exists():
        if os.environ.get("CI"):
            raise AssertionError(f"{MODEL} is missing; ./mill model fetches it")
        raise unittest.SkipTest(f"{MODEL} is missing; ./mill model fetches it")


def need(path):
    if not path.exists():
        raise unittest.SkipTest(f"{path} is not here")
    return path


def wait_until(holds, seconds=60):
    """For what comes to hold soon, but not when."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.1)


def run(*arguments, **options):
    """A finished process: returncode, stdout, stderr."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                          check=False, **options)


class Server:
    """`millrace serve` on a free port, stopped by its own process id."""

    def __init__(self, *arguments, model=MODEL):
        self.process = subprocess.Popen(
            [BINARY, "serve", str(model), "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = None
        for line in self.process.stdout:
            if match := re.search(r"https?://127\.0\.0\.1:(\d+)", line):
                self.port = int(match[1])
                break
        if self.port is None:
            raise AssertionError(f"the server ended with {self.process.wait()} before it was ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, timeout=30):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout)
        self.process.stdout.close()
        return code

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def post(self, path, body, expected=200):
        status, _, answer = self.request("POST", path, body)
        if status != expected:
            raise AssertionError(f"{path} gave {status}: {answer[:500]!r}")
        return json.loads(answer)

    def stream(self, path, body):
        """The JSON chunks of a streamed answer."""
        status, headers, answer = self.request("POST", path, {**body, "stream": True})
        assert status == 200, answer
        assert headers["Content-Type"].startswith("text/event-stream"), headers["Content-Type"]
        events = [line[6:] for line in answer.decode().split("\n") if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events[-1]
        return [json.loads(event) for event in events[:-1]]
