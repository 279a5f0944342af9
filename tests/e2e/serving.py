"""`millrace serve` as a process of its own, what goes over the wire to it and what comes back: for tests, the soak and benches."""

import contextlib
import http.client
import json
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import threading

from program import BINARY, MODEL

START_SECONDS = 120
ANSWER_SECONDS = 300


def request_bytes(method, path, body=None, more=""):
    """A body that is not bytes is sent as JSON; `more` is lines of the head."""
    if body is None:
        return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            f"{more}\r\n").encode() + data


def read_answer(file):
    """(status, body) of the next answer that a connection's file holds; ConnectionError if it ends before the answer does."""

    def line():
        if not (got := file.readline()).endswith(b"\r\n"):
            raise ConnectionError(f"closed within an answer, after {got!r}")
        return got[:-2]

    def exactly(count):
        if len(got := file.read(count)) < count:
            raise ConnectionError(f"closed {count - len(got)} bytes before the end of an answer")
        return got

    status = int(line().split()[1])
    headers = {}
    while head := line():
        name, _, value = head.lower().partition(b":")
        headers[name] = value.strip()
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(line(), 16):
            body += exactly(size)
            line()
        line()
    elif b"content-length" in headers:
        body = exactly(int(headers[b"content-length"]))
    else:
        body = file.read()
    return status, body


def events(body):
    """The data of a stream's events."""
    return [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]


def certificate(folder):
    """The paths of a new certificate for localhost and of its key."""
    paths = [str(pathlib.Path(folder) / name) for name in ("certificate.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                    "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


class Connection(http.client.HTTPConnection):
    def __init__(self, server):
        super().__init__("localhost")
        self.server = server

    def connect(self):
        self.sock = self.server.connect()


class Server:
    """On a free port, or at `uds`; with a certificate's and a key's path in `tls`. Stopped by its own process id."""

    def __init__(self, *arguments, model=MODEL, binary=BINARY, uds=None, tls=None, wait=True, log=None, **options):
        """Without `wait` it may still be loading; `options` are those of the process."""
        self.uds, self.tls = uds, tls
        place = ["--uds", uds] if uds else ["--port", "0"]
        if tls:
            place += ["--ssl-certfile", tls[0], "--ssl-keyfile", tls[1]]
        self.log = log or tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [binary, "serve", *([str(model)] if model else []), *place, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=self.log, text=True, **options)
        self.port = None
        self.table = {}  # what was decided, by the names that the start prints
        if wait:
            self.await_ready()

    def await_ready(self):
        late = threading.Timer(START_SECONDS, self.process.kill)
        late.start()
        for line in self.process.stdout:
            name, _, rest = line.partition(" ")
            self.table[name] = rest.strip()
            if name == "ready":
                break
        late.cancel()
        if "ready" not in self.table:
            code = self.process.wait()
            self.log.seek(0)
            words = self.log.read()[-2000:]
            self.stop(expected=code)
            raise AssertionError(f"the server ended with {code} before it was ready: {words}")
        if found := re.search(r":(\d+)$", self.table["ready"]):
            self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, timeout=30, expected=0):
        """One that does not end in time is killed; that is an error, and another exit code too."""
        try:
            self.process.terminate()
            code = self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.log.close()
        if code != expected:
            raise AssertionError(f"the server ended with {code}")

    def connect(self, timeout=ANSWER_SECONDS):
        if self.uds:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(timeout)
            try:
                client.connect(str(self.uds))
            except OSError:
                client.close()
                raise
        else:
            client = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.tls:
            return client
        context = ssl.create_default_context(cafile=self.tls[0])
        return context.wrap_socket(client, server_hostname="localhost")

    def send(self, path, body):
        """A connection on which a request was sent, and whose answer was not read."""
        client = self.connect()
        client.sendall(request_bytes("POST", path, body))
        return client

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body bytes)"""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        with contextlib.closing(Connection(self)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

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
        *chunks, end = events(answer)
        assert end == "[DONE]", end
        return [json.loads(chunk) for chunk in chunks]

    def metric(self, name, label="", headers=None):
        """The sum of a metric's series, or of those that have a label such as `finished_reason="abort"`."""
        status, _, text = self.request("GET", "/metrics", headers=headers)
        found = re.findall(rf"^{name}({{[^}}]*}})? (\S+)$", text.decode(), re.M)
        values = [float(value) for labels, value in found if label in labels]
        assert values, f"no {name} with {label!r} ({status})"
        return sum(values)

    def loads(self):
        """How many sequences run, and how many wait."""
        return self.metric("vllm:num_requests_running"), self.metric("vllm:num_requests_waiting")

    def is_empty(self, headers=None):
        return not any(self.metric(f"vllm:{name}", headers=headers) for name in
                       ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"))

    def status(self, name):
        """A figure of /proc/PID/status: KiB of memory, or a count."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])
