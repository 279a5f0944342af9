"""Packages that a test compares with, in a virtual environment of its own under the build folder."""

import os
import pathlib
import subprocess
import sys
import unittest
import venv


def run_with(folder, *requirements):
    """Goes on in a Python that has the packages; they are installed by name where they are missing."""
    home = pathlib.Path(folder).resolve() / "test-venv" / "-".join(requirements).replace("==", "-")
    python = home / "bin/python"
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"{' '.join(requirements)} cannot be installed: {done.stderr.strip()[-300:]}"
            if os.environ.get("CI"):
                raise AssertionError(message)
            raise unittest.SkipTest(message)
        ready.touch()
    if pathlib.Path(sys.prefix).resolve() != home:
        os.execv(python, [str(python), "-B", *sys.argv])
