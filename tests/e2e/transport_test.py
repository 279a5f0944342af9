"""How clients reach the server, which may, and how it ends: keys, Unix sockets, TLS, signals, starts that fail."""

import contextlib
import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock

import program
from program import Server

COMPLETIONS = "/v1/completions"
TCP_REPAIR = 19
LONG = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True}
LONGEST = {**LONG, "n": 16}  # minutes where one sequence runs at a time


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self.path)
        except OSError:
            self.close()
            raise


def get(connection, path="/health"):
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def served_at(path, *arguments, ready=True, stderr=subprocess.DEVNULL):
    """The process of a server on a Unix socket."""
    process = subprocess.Popen([program.BINARY, "serve", program.MODEL, "--uds", path, *arguments],
                               stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        deadline = time.monotonic() + program.START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                if get(UnixConnection(path))[0] == 200 or not ready:
                    break
            time.sleep(0.01)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class Keys(unittest.TestCase):
    def setUp(self):
        program.need_model()

    def test_each_key_has_its_own_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder, "keys")
            keys.write_text("# those of the house\nsecond-key\n\nthird-key\n")
            prompt = "The mill stood by the river, and its wheel had turned for two hundred years. " * 4
            with (mock.patch.dict(os.environ, MILLRACE_API_KEY="variable-key"),
                  Server("--max-model-len", "1K", "--api-key", "first-key", "--api-key-file", keys) as server):
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
        with served_at(self.path) as process:
            connection = UnixConnection(self.path)
            with contextlib.closing(connection):
                connection.request("POST", COMPLETIONS, json.dumps({"prompt": "Hello", "max_tokens": 2}))
                self.assertEqual(connection.getresponse().status, 200)
            self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
            start = time.monotonic()
            process.terminate()
            self.assertEqual(process.wait(10), 0)
            self.assertLess(time.monotonic() - start, 2)
        self.assertFalse(os.path.exists(self.path))

    def test_a_signal_while_loading_acts_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with served_at(self.path, ready=False) as process:
                start = time.monotonic()
                process.send_signal(number)
                self.assertEqual(process.wait(10), 0)
                self.assertLess(time.monotonic() - start, 1)
            self.assertFalse(os.path.exists(self.path))


class Tls(unittest.TestCase):
    def test_serves(self):
        program.need_model()
        if shutil.which("openssl") is None:
            self.skipTest("there is no openssl program to make a certificate")
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = os.path.join(folder, "certificate"), os.path.join(folder, "key")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                            "-keyout", key, "-out", certificate], check=True, capture_output=True)
            with Server("--ssl-certfile", certificate, "--ssl-keyfile", key) as server:
                context = ssl.create_default_context(cafile=certificate)
                connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=60)
                connection.request("POST", COMPLETIONS, json.dumps({"prompt": "Hello", "max_tokens": 2}))
                self.assertEqual(connection.getresponse().status, 200)
                connection.close()
                with self.assertRaises((http.client.HTTPException, OSError)):
                    server.request("GET", "/health")


class Leaving(unittest.TestCase):
    """With room for one sequence: whoever leaves makes it."""

    def setUp(self):
        program.need_model()
        self.server = Server("--max-model-len", "2K", "--max-num-seqs", "1", "--max-num-batched-tokens", "16",
                             "--stall-timeout", "1")
        self.addCleanup(self.server.stop)

    def send(self, body):
        text = json.dumps(body).encode()
        client = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
        client.sendall(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        return client

    def leave(self, client, hard):
        if hard:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    def expect_room(self):
        start = time.monotonic()
        self.server.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 1})
        self.assertLess(time.monotonic() - start, 20)  # what was left would take minutes

    def test_in_decode_in_prefill_and_queued(self):
        for hard in (False, True):
            for streams in (False, True):
                decoding = self.send({**LONGEST, "stream": True})
                decoding.recv(100)
                queued = self.send({**LONGEST, "stream": streams})
                time.sleep(0.1)
                self.leave(queued, hard)
                self.leave(decoding, hard)
                self.expect_room()
                # Some hundred steps of sixteen tokens each.
                prefilling = self.send({"prompt": [7, 8, 9, 10] * 450, "max_tokens": 200, "ignore_eos": True, "n": 64,
                                        "cache_salt": f"{hard}{streams}", "stream": streams})
                time.sleep(0.2)
                self.leave(prefilling, hard)
                self.expect_room()

    def test_by_silence(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")  # its buffers are small
            with served_at(path, "--max-model-len", "2K", "--max-num-seqs", "1", "--stall-timeout", "1"):
                silent = UnixConnection(path)
                with contextlib.closing(silent):
                    silent.request("POST", COMPLETIONS, json.dumps({**LONGEST, "stream": True, "logprobs": 20}))
                    start = time.monotonic()
                    other = UnixConnection(path)
                    with contextlib.closing(other):
                        other.request("POST", COMPLETIONS, json.dumps({"prompt": "Hello", "max_tokens": 1}))
                        self.assertEqual(other.getresponse().status, 200)
                    self.assertLess(time.monotonic() - start, 20)
                    _, metrics = get(UnixConnection(path), "/metrics")
                    self.assertRegex(metrics.decode(), r'request_success_total{[^}]*finished_reason="abort"[^}]*} 1')

    def test_by_silence_of_its_network(self):
        for streams in (False, True):
            gone = self.send({**LONGEST, "stream": streams})
            time.sleep(0.2)
            try:
                gone.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except PermissionError:
                self.skipTest("only a privileged process can leave without a word")
            gone.close()  # nothing is sent
            self.expect_room()

    def test_by_not_reading(self):
        deaf = socket.socket()
        with contextlib.closing(deaf):
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", self.server.port))
            text = json.dumps({**LONGEST, "stream": True, "logprobs": 5})
            deaf.sendall(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            self.expect_room()


class Output(unittest.TestCase):
    """Whoever reads what the server prints cannot stop it."""

    def setUp(self):
        program.need_model()

    def ask_often(self, leave):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            log, end = os.pipe()
            with served_at(path, stderr=end) as process:
                os.close(end)
                if leave:
                    os.close(log)
                for _ in range(1500):
                    self.assertEqual(get(UnixConnection(path))[0], 200)
                process.terminate()
                self.assertEqual(process.wait(10), 0)
            if not leave:
                os.close(log)

    def test_a_log_that_nobody_reads(self):
        self.ask_often(leave=False)

    def test_a_log_whose_reader_left(self):
        self.ask_often(leave=True)


class Ending(unittest.TestCase):
    def setUp(self):
        program.need_model()

    def test_running_requests_get_their_time_and_then_an_end(self):
        server = Server("--max-model-len", "2K", "--shutdown-timeout", "4")
        results = {}

        def ask(name, body):
            results[name] = server.request("POST", COMPLETIONS, body)

        bodies = {"plain": LONG, "stream": {**LONG, "stream": True}, "short": {**LONG, "max_tokens": 8}}
        threads = [threading.Thread(target=ask, args=item) for item in bodies.items()]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        start = time.monotonic()
        server.process.terminate()
        time.sleep(0.2)
        self.assertEqual(server.request("GET", "/health")[0], 200)
        self.assertEqual(server.request("GET", "/ready")[0], 503)
        status, headers, _ = server.request("POST", COMPLETIONS, {"prompt": "Hello", "max_tokens": 1})
        self.assertEqual((status, headers["Connection"]), (503, "close"))
        for thread in threads:
            thread.join(30)
        self.assertEqual(server.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(results["short"][0], 200)
        self.assertEqual(results["plain"][0], 503)
        self.assertEqual(set(json.loads(results["plain"][2])["error"]), {"message", "type", "param", "code"})
        status, _, stream = results["stream"]
        self.assertEqual(status, 200)
        events = [line[6:] for line in stream.decode().split("\n") if line.startswith("data: ")]
        self.assertEqual(events[-1], "[DONE]")
        self.assertIn("error", json.loads(events[-2]))
        server.stop()

    def test_idle_it_ends_soon_and_a_second_signal_ends_at_once(self):
        server = Server()
        with socket.create_connection(("127.0.0.1", server.port)):
            start = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - start, 2)

        server = Server("--max-model-len", "2K")
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            text = json.dumps({**LONG, "stream": True}).encode()
            client.sendall(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            client.recv(100)
            server.process.terminate()
            time.sleep(0.3)
            self.assertIsNone(server.process.poll())
            start = time.monotonic()
            server.process.terminate()
            self.assertEqual(server.process.wait(10), 1)
            self.assertLess(time.monotonic() - start, 1)
        server.stop()


class FailedStarts(unittest.TestCase):
    def fails(self, *arguments, says, model=None, **options):
        done = program.run("serve", model or program.MODEL, "--port", "0", *arguments, **options)
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
            self.fails(model=missing, says="missing")
            self.fails(model=junk, says="junk")
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
