"""litellm: its library, and its proxy in front of us with an OpenAI client in front of the proxy."""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from served import NAME, base_url, main, start

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no download at import
import litellm
import openai

MESSAGES = [{"role": "user", "content": "Name the capital of France."}]
PROXY_SECONDS = 120
KEY = "sk-of-the-proxy"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """`litellm` with one model, ours; stopped by its own process."""

    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "config.yaml"
        config.write_text(f"model_list:\n- model_name: through\n  litellm_params:\n    model: openai/{NAME}\n"
                          f"    api_base: {target}\n    api_key: any\nlitellm_settings:\n  telemetry: false\n")
        self.port = free_port()
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.process = subprocess.Popen([pathlib.Path(sys.prefix) / "bin/litellm", "--config", config, "--host", "127.0.0.1",
                                         "--port", str(self.port)], stdout=self.log, stderr=self.log, env=environment)
        self.await_ready()

    def await_ready(self):
        for _ in range(2 * PROXY_SECONDS):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=5).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.5)
        self.log.seek(0)
        raise AssertionError(f"the proxy did not start: {self.log.read()[-2000:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.folder.cleanup()


class LiteLlm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def complete(self, **more):
        return litellm.completion(**{"model": f"openai/{NAME}", "api_base": base_url(self.server), "api_key": "any",
                                     "messages": MESSAGES, "temperature": 0, "max_tokens": 12, "max_retries": 0, **more})

    def test_library(self):
        self.assertIn("Paris", self.complete().choices[0].message.content)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in self.complete(stream=True))
        self.assertEqual(text, self.complete().choices[0].message.content)

    def test_errors_are_its_classes(self):
        with self.assertRaises(litellm.NotFoundError):
            self.complete(model="openai/other")
        with self.assertRaises(litellm.ContextWindowExceededError):
            self.complete(max_tokens=100_000)

    def test_proxy(self):
        proxy = Proxy(base_url(self.server))
        try:
            with openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key=KEY, max_retries=0) as client:
                plain = client.chat.completions.create(model="through", messages=MESSAGES, temperature=0, max_tokens=12)
                self.assertIn("Paris", plain.choices[0].message.content)
                stream = client.chat.completions.create(model="through", messages=MESSAGES, temperature=0, max_tokens=12,
                                                        stream=True)
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
                self.assertEqual(text, plain.choices[0].message.content)
                with self.assertRaises(openai.BadRequestError):
                    client.chat.completions.create(model="through", messages=MESSAGES, temperature=0, max_tokens=100_000)
        finally:
            proxy.stop()


if __name__ == "__main__":
    main()
