"""How clients reach the server, which may, and how it ends: keys, Unix sockets, TLS, signals, starts that fail."""

import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock

import program
from program import wait_until
from serving import Server, certificate, events, request_bytes

COMPLETIONS = "/v1/completions"
TCP_REPAIR = 19
LONG = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True}
LONGEST = {**LONG, "n": 16}  # minutes where one sequence runs at a time


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class PrintedCommand(unittest.TestCase):
    """The first request that a server's start prints works in a shell as it is printed."""

    def setUp(self):
        self.stories = program.need(program.SHARED / "models/stories260K-F32.gguf")

    def first_request(self, server, **environment):
        lines = []
        for line in server.process.stdout:
            lines += [line] if line.startswith(("curl", "  ")) else []
            if lines and not line.endswith("\\\n"):
                break
        command = "".join(lines)
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"], **environment})
        self.assertEqual(done.returncode, 0, command + done.stderr)
        return command, json.loads(done.stdout)

    def test_plain_with_a_chat_template_and_without(self):
        with Server(model=self.stories) as server:
            command, answer = self.first_request(server)
            self.assertIn("/v1/completions ", command)
            self.assertIn("choices", answer)
        program.need_model()
        with Server("--max-model-len", "1K") as server:
            command, answer = self.first_request(server)
            self.assertIn("/v1/chat/completions ", command)
            self.assertTrue(answer["choices"][0]["message"]["content"])

    def test_a_key_stands_in_a_variable(self):
        with Server("--api-key", "a-secret", model=self.stories) as server:
            command, answer = self.first_request(server, KEY="a-secret")
            self.assertIn('-H "Authorization: Bearer $KEY"', command)
            self.assertNotIn("secret", command)
            self.assertIn("choices", answer)
        with Server(model=self.stories, env={**os.environ, "MILLRACE_API_KEY": "a-secret"}) as server:
            command, answer = self.first_request(server, MILLRACE_API_KEY="a-secret")
            self.assertNotIn("secret", command)
            self.assertIn("choices", answer)

    def test_a_certificate_of_ones_own_and_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            with Server(model=self.stories, tls=certificate(folder)) as server:
                self.assertIn("choices", self.first_request(server)[1])
            with Server(model=self.stories, uds=f"{folder}/it's a socket") as server:
                self.assertIn("choices", self.first_request(server)[1])

    def test_other_addresses(self):
        for host in ("localhost", "0.0.0.0", "::1", "[::1]", "::"):
            with self.subTest(host=host), Server("--host", host, model=self.stories) as server:
                command, answer = self.first_request(server)
                self.assertIn("choices", answer, command)


class Names(unittest.TestCase):
    """Which names and pages a server without a key serves, by its options."""

    def setUp(self):
        self.stories = program.need(program.SHARED / "models/stories260K-F32.gguf")

    def test_hosts_and_origins(self):
        foreign = {"Host": "mill.example"}
        page = {"Origin": "https://page.example"}
        with Server(model=self.stories) as server:
            self.assertEqual(server.request("GET", "/v1/models", headers=foreign)[0], 403)
            self.assertEqual(server.request("POST", COMPLETIONS, {"prompt": "a"}, page)[0], 403)
            own = {"Host": f"127.0.0.1:{server.port}", "Origin": f"http://127.0.0.1:{server.port}"}
            self.assertEqual(server.request("POST", COMPLETIONS, {"prompt": "a"}, own)[0], 200)
        with Server("--allowed-hosts", "mill.example,[fd00::1]", "--allowed-origins", "https://page.example",
                    model=self.stories) as server:
            self.assertEqual(server.request("GET", "/v1/models", headers={**foreign, **page})[0], 200)
            self.assertEqual(server.request("GET", "/v1/models", headers={"Host": "[fd00::1]:9"})[0], 200)
            self.assertEqual(server.request("GET", "/v1/models", headers={"Host": "other.example"})[0], 403)
        with Server("--host", "0.0.0.0", model=self.stories) as server:
            self.assertEqual(server.request("GET", "/v1/models", headers=foreign)[0], 200)
        with tempfile.TemporaryDirectory() as folder, Server(model=self.stories, uds=f"{folder}/s") as server:
            self.assertEqual(server.request("GET", "/v1/models", headers=foreign)[0], 200)
            self.assertEqual(server.request("GET", "/v1/models", headers=page)[0], 403)

    def test_what_is_no_name(self):
        for name in ("mill.example:80", "https://mill.example", "*.mill.example", "a b", "mill.example/"):
            with self.subTest(name=name):
                done = program.run("serve", str(self.stories), "--port", "0", "--allowed-hosts", name)
                self.assertEqual(done.returncode, 2)
                self.assertIn("--allowed-hosts", done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


class Keys(unittest.TestCase):
    def setUp(self):
        program.need_model()

    def test_each_key_has_its_own_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder, "keys")
            keys.write_text("# those of the house\nsecond-key\n\nthird-key\n")
            prompt = "The mill stood by the river, and its wheel had turned for two hundred years. " * 4
            with Server("--max-model-len", "1K", "--api-key", "first-key", "--api-key-file", keys,
                        env={**os.environ, "MILLRACE_API_KEY": "variable-key"}) as server:
                def ask(headers):
                    body = {"prompt": prompt, "max_tokens": 1}
                    return server.request("POST", COMPLETIONS, body, headers)

                def cached(key):
                    status, _, answer = ask(bearer(key))
                    self.assertEqual(status, 200, answer)
                    return json.loads(answer)["usage"]["prompt_tokens_details"]["cached_tokens"]

                self.assertEqual(cached("first-key"), 0)
                self.assertGreater(cached("first-key"), 32)
                self.assertEqual(cached("second-key"), 0)
                self.assertGreater(cached("second-key"), 32)
                self.assertEqual(cached("third-key"), 0)
                self.assertEqual(cached("variable-key"), 0)
                for headers in ({}, bearer("fourth-key"), bearer("# those of the house")):
                    status, answered, answer = ask(headers)
                    self.assertEqual(status, 401)
                    self.assertEqual(answered["WWW-Authenticate"], "Bearer")
                    self.assertEqual(json.loads(answer)["error"]["code"], "invalid_api_key")
                self.assertEqual(server.request("GET", "/v1/models")[0], 401)
                self.assertEqual(server.request("GET", "/health")[0], 200)


class UnixSocket(unittest.TestCase):
    def setUp(self):
        program.need_model()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "socket")

    def test_serves_and_goes(self):
        with Server(uds=self.path) as server:
            server.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 2})
            self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
            start = time.monotonic()
            server.process.terminate()
            self.assertEqual(server.process.wait(10), 0)
            self.assertLess(time.monotonic() - start, 2)
        self.assertFalse(os.path.exists(self.path))

    def test_a_signal_while_loading_acts_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server(uds=self.path, wait=False) as server:
                wait_until(lambda: os.path.exists(self.path))
                start = time.monotonic()
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(10), 0)
                self.assertLess(time.monotonic() - start, 1)
            self.assertFalse(os.path.exists(self.path))


class Tls(unittest.TestCase):
    def test_serves(self):
        program.need_model()
        if shutil.which("openssl") is None:
            self.skipTest("there is no openssl program to make a certificate")
        with tempfile.TemporaryDirectory() as folder, Server(tls=certificate(folder)) as server:
            server.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 2})
            server.tls = None
            with self.assertRaises((http.client.HTTPException, OSError)):
                server.request("GET", "/health")


class Leaving(unittest.TestCase):
    """With room for one sequence: whoever leaves makes it."""

    def setUp(self):
        program.need_model()
        self.server = Server("--max-model-len", "2K", "--max-num-seqs", "1", "--max-num-batched-tokens", "16",
                             "--stall-timeout", "1")
        self.addCleanup(self.server.stop)

    def leave(self, client, hard):
        if hard:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    def expect_empty(self, server, aborts):
        """Soon: what was left would take minutes."""
        wait_until(server.is_empty, 15)
        self.assertEqual(server.metric("vllm:request_success_total", 'finished_reason="abort"'), aborts)

    def test_in_decode_in_prefill_and_queued(self):
        ways = [(hard, streams) for hard in (False, True) for streams in (False, True)]
        for count, (hard, streams) in enumerate(ways):
            decoding = self.server.send(COMPLETIONS, {**LONGEST, "stream": True})
            decoding.recv(100)
            waiting = self.server.loads()[1]
            queued = self.server.send(COMPLETIONS, {**LONGEST, "stream": streams})
            wait_until(lambda: self.server.loads()[1] >= waiting + 16)
            self.leave(queued, hard)
            wait_until(lambda: self.server.loads()[1] == waiting)
            self.leave(decoding, hard)
            self.expect_empty(self.server, 3 * count + 2)
            # Some hundred steps of sixteen tokens each.
            prefilling = self.server.send(COMPLETIONS, {"prompt": [7, 8, 9, 10] * 450, "max_tokens": 200, "ignore_eos": True,
                                                        "n": 64, "cache_salt": f"{hard}{streams}", "stream": streams})
            wait_until(lambda: self.server.loads()[0] > 0)
            self.leave(prefilling, hard)
            self.expect_empty(self.server, 3 * count + 3)

    def test_by_silence(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")  # its buffers are small
            with Server("--max-model-len", "2K", "--max-num-seqs", "1", "--stall-timeout", "1", uds=path) as server:
                with server.send(COMPLETIONS, {**LONGEST, "stream": True, "logprobs": 20}):
                    wait_until(lambda: server.loads()[0] > 0)
                    self.expect_empty(server, 1)

    def test_by_silence_of_its_network(self):
        for count, streams in enumerate((False, True), 1):
            gone = self.server.send(COMPLETIONS, {**LONGEST, "stream": streams})
            wait_until(lambda: self.server.loads()[0] > 0)
            try:
                gone.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except PermissionError:
                self.skipTest("only a privileged process can leave without a word")
            finally:
                gone.close()  # nothing is sent
            self.expect_empty(self.server, count)

    def test_by_not_reading(self):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", self.server.port))
            deaf.sendall(request_bytes("POST", COMPLETIONS, {**LONGEST, "stream": True, "logprobs": 5}))
            wait_until(lambda: self.server.loads()[0] > 0)
            self.expect_empty(self.server, 1)


class Output(unittest.TestCase):
    """Whoever reads what the server prints cannot stop it."""

    def setUp(self):
        program.need_model()

    def ask_often(self, leave):
        log, end = os.pipe()
        with Server(log=os.fdopen(end, "w")) as server:
            server.log.close()
            if leave:
                os.close(log)
            for _ in range(1500):
                self.assertEqual(server.request("GET", "/health")[0], 200)
        if not leave:
            os.close(log)

    def test_a_log_that_nobody_reads(self):
        self.ask_often(leave=False)

    def test_a_log_whose_reader_left(self):
        self.ask_often(leave=True)


class Ending(unittest.TestCase):
    def setUp(self):
        program.need_model()

    def signal(self, server, number):
        """On return the server has it."""

        server.process.send_signal(number)
        wait_until(lambda: server.request("GET", "/ready")[0] == 503, 5)

    def ends_as_a_stream(self, answer):
        status, _, body = answer
        self.assertEqual(status, 200)
        *_, last, end = events(body)
        self.assertEqual(end, "[DONE]")
        self.assertEqual(set(json.loads(last)["error"]), {"message", "type", "param", "code"})

    def ends_as_unavailable(self, answer):
        status, _, body = answer
        self.assertEqual(status, 503)
        self.assertEqual(set(json.loads(body)["error"]), {"message", "type", "param", "code"})

    def drain(self, server, number, bodies, gauges, leaving=None):
        """{name: answer} of requests that are there when the signal comes; after it `leaving` closes its connection."""
        answers = {}

        def ask(name, body):
            answers[name] = server.request("POST", COMPLETIONS, body)

        threads = [threading.Thread(target=ask, args=item) for item in bodies.items()]
        before = sum(server.loads())
        for count, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda: sum(server.loads()) == before + count)  # in this order
        wait_until(lambda: server.loads() == gauges)
        start = time.monotonic()
        self.signal(server, number)
        self.assertEqual(server.request("GET", "/health")[0], 200)
        status, headers, _ = server.request("POST", COMPLETIONS, {"prompt": "Hello", "max_tokens": 1})
        self.assertEqual((status, headers["Connection"]), (503, "close"))
        if leaving:
            leaving.close()
        for thread in threads:
            thread.join(30)
        self.assertEqual(server.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 10)
        return answers

    def test_running_requests_get_their_time_and_then_an_end(self):
        with Server("--max-model-len", "2K", "--shutdown-timeout", "4") as server:
            bodies = {"plain": LONG, "stream": {**LONG, "stream": True}, "short": {**LONG, "max_tokens": 50}}
            answers = self.drain(server, signal.SIGTERM, bodies, (3, 0))
        self.assertEqual(answers["short"][0], 200)
        self.ends_as_unavailable(answers["plain"])
        self.ends_as_a_stream(answers["stream"])

    def test_queued_requests_get_their_turn_and_then_an_end(self):
        with Server("--max-model-len", "2K", "--max-num-seqs", "1", "--shutdown-timeout", "3") as server:
            running = server.send(COMPLETIONS, {**LONG, "stream": True})
            running.recv(100)
            bodies = {"in time": {**LONG, "max_tokens": 4}, "begun": {**LONG, "stream": True}, "plain": LONG,
                      "stream": {**LONG, "stream": True}}
            answers = self.drain(server, signal.SIGINT, bodies, (1, 4), running)
        self.assertEqual(answers["in time"][0], 200)
        self.ends_as_a_stream(answers["begun"])
        self.ends_as_unavailable(answers["plain"])
        self.ends_as_unavailable(answers["stream"])

    def test_a_queued_stream_that_was_pinged_has_begun(self):
        with Server("--max-model-len", "2K", "--max-num-seqs", "1", "--shutdown-timeout", "1", "--ping-interval", "0.2") as server:
            with server.send(COMPLETIONS, {**LONG, "stream": True}) as running:
                running.recv(100)
                with server.send(COMPLETIONS, {**LONG, "stream": True}) as queued, queued.makefile("rb") as answers:
                    wait_until(lambda: server.loads() == (1, 1))
                    self.assertIn(b"200", answers.readline())
                    server.process.terminate()
                    lines = answers.read().split(b"\r\n")
            self.assertEqual(server.process.wait(10), 0)
        self.assertIn(b": ping\n\n", lines)
        self.assertIn(b'data: {"error"', lines[-4])
        self.assertTrue(lines[-4].endswith(b"\n\ndata: [DONE]\n\n"), lines[-4])

    def test_idle_it_ends_soon_and_a_second_signal_ends_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server() as server, server.connect():
                start = time.monotonic()
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(10), 0)
                self.assertLess(time.monotonic() - start, 2)

        server = Server("--max-model-len", "2K")
        with server.send(COMPLETIONS, {**LONG, "stream": True}) as client:
            client.recv(100)
            self.signal(server, signal.SIGTERM)
            time.sleep(0.2)  # two within a tenth of a second are one
            self.assertIsNone(server.process.poll())
            start = time.monotonic()
            server.process.terminate()
            self.assertEqual(server.process.wait(10), 1)
            self.assertLess(time.monotonic() - start, 1)
        server.stop(expected=1)


class FailedStarts(unittest.TestCase):
    def fails(self, *arguments, says, model=None, port=0, **options):
        done = program.run("serve", model or program.MODEL, "--port", port, *arguments, **options)
        self.assertIn(done.returncode, (1, 2), done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("millrace: "), lines[0])
        self.assertIn(says, lines[0])
        return lines[0]

    def test_is_one_line(self):
        program.need_model()
        with tempfile.TemporaryDirectory() as folder:
            junk = pathlib.Path(folder, "junk")
            junk.write_text("# nothing\n")
            empty = pathlib.Path(folder, "empty")
            empty.write_text("")
            spaced = pathlib.Path(folder, "spaced")
            spaced.write_text("good-key\nsecret key\n")
            missing = pathlib.Path(folder, "missing")
            self.fails(model=junk, says="junk")
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                self.fails(port=port, says=str(port))
            self.fails("--host", "203.0.113.1", says="203.0.113.1")
            self.fails("--host", "no.such.host.invalid", says="no.such.host.invalid")
            self.fails("--kv-cache-memory-bytes", "1", says="memory")
            self.fails("--max-model-len", "1M", says="--max-model-len")
            self.fails("--uds", junk, says="junk")
            self.fails("--uds", "/" + "x" * 200, says="Unix socket")
            self.fails("--uds", missing / "socket", says="missing")
            self.fails("--ssl-certfile", junk, says="--ssl-keyfile")
            self.fails("--ssl-keyfile", junk, says="--ssl-certfile")
            self.fails("--ssl-certfile", missing, "--ssl-keyfile", junk, says="missing")
            self.fails("--ssl-certfile", junk, "--ssl-keyfile", junk, says="--ssl-certfile")
            self.fails("--ssl-certfile", empty, "--ssl-keyfile", junk, says="empty")
            self.fails("--api-key-file", missing, says="missing")
            self.fails("--api-key-file", junk, says="no key")
            self.fails("--api-key", "", says="api-key")
            line = self.fails("--api-key-file", spaced, says="line 2")
            self.assertNotIn("secret", line)
            self.fails(says="MILLRACE_API_KEY", env={**os.environ, "MILLRACE_API_KEY": ""})
            self.fails("--allowed-origins", "https://example.org/", says="--allowed-origins")
            self.fails("--allowed-origins", '["*"]', says="--allowed-origins")
            self.fails("--max-body-bytes", "0", says="--max-body-bytes")
            self.fails("--header-timeout", "-1", says="--header-timeout")
            self.fails("--header-timeout", "nan", says="--header-timeout")
            self.fails("--shutdown-timeout", "1e300", says="--shutdown-timeout")
            for name in ("--host", "--uds", "--api-key-file", "--served-model-name"):
                self.fails(name, "", says=f"{name}: the value is empty")  # a script's variable that is not set
            self.fails("--ssl-certfile", "", "--ssl-keyfile", "", says="the value is empty")
            self.fails(says="MILLRACE_API_KEY_FILE", env={**os.environ, "MILLRACE_API_KEY_FILE": ""})
            os.mkfifo(pathlib.Path(folder, "pipe"))
            self.fails(model=pathlib.Path(folder, "pipe"), says="not a regular file")

    def test_memory_short_is_one_line(self):
        program.need_model()
        self.fails("--kv-cache-memory-bytes", "1000T", says="--kv-cache-memory-bytes of 1000.0 TiB")

        def limit(mebibytes):
            resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))

        for mebibytes in range(80, 400, 40):  # short of it at another place each time
            self.fails("--kv-cache-memory-bytes", "200M", says="memory", preexec_fn=lambda: limit(mebibytes))


if __name__ == "__main__":
    program.main()
