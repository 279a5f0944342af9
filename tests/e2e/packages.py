"""Packages that a test compares with, in a virtual environment of its own under the build folder."""

import os
import pathlib
import subprocess
import sys
import venv


def run_with(folder, *requirements):
    """Goes on in a Python that has the packages; they are installed by name where they are missing."""
    enter(pathlib.Path(folder) / "test-venv" / "-".join(requirements).replace("==", "-"), requirements)


def run_with_list(folder, name, path):
    """The same with a file that lists packages and all that they need; installed anew when it changes."""
    enter(pathlib.Path(folder) / "test-venv" / name, ["--no-deps", "--requirement", str(path)], path.read_text())


def enter(home, arguments, wanted=""):
    home = home.resolve()
    python = home / "bin/python"
    ready = home / "ready"  # holds what was wanted
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(home, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"nothing was tested: {' '.join(arguments)} cannot be installed: {done.stderr.strip()[-300:]}")
            sys.exit(1 if os.environ.get("CI") else 0)
        ready.write_text(wanted)
    if pathlib.Path(sys.prefix).resolve() != home:
        os.execv(python, [str(python), "-B", *sys.argv])
