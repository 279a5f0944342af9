"""What every client's test begins with: `from served import ...` goes on in a Python that has the packages of packages.txt,
kept beside the binary, and gives the server under test."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import packages
import program
from program import BINARY, main, wait_until
from serving import Server

packages.run_with_list(pathlib.Path(BINARY).parent, "clients", HERE / "packages.txt")

NAME = "mill"  # of the model, in requests
__all__ = ["NAME", "base_url", "main", "start", "wait_until"]


def start(*arguments, context="2K"):
    """A server whose model is called NAME."""
    program.need_model()
    return Server("--served-model-name", NAME, "--max-model-len", context, *arguments)


def base_url(server):
    return f"http://127.0.0.1:{server.port}/v1"
