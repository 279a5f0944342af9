"""The binary under test, and ways to run it; serving.py serves. A test script is run as `x_test.py BINARY`."""

import os
import pathlib
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else str(ROOT / "build/release/millrace")
MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
SHARED = ROOT.parent / "shared/data"


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
        time.sleep(0.02)


def run(*arguments, **options):
    """A finished process: returncode, stdout, stderr."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                          check=False, **options)
