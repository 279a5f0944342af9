"""A served model over HTTP: right answers, the same whatever runs beside them, and a clean end."""

import concurrent.futures
import json
import socket
import time
import unittest

import program
from program import Server

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def user(text):
    return [{"role": "user", "content": text}]


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.server = Server("--max-model-len", "2K")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_health_and_models(self):
        self.assertEqual(self.server.request("GET", "/health")[0], 200)
        _, _, body = self.server.request("GET", "/v1/models")
        (model,) = json.loads(body)["data"]
        self.assertEqual(model["id"], "SmolLM2-135M-Instruct.Q4_1")
        self.assertEqual(model["max_model_len"], 2048)

    def test_knows_a_capital(self):
        answer = self.server.post(CHAT, {"messages": user("What is the capital of France?"), "temperature": 0,
                                         "max_tokens": 20})
        self.assertIn("Paris", answer["choices"][0]["message"]["content"])
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_stream_equals_plain(self):
        body = {"messages": user("Tell me a story about a mill."), "max_tokens": 60, "seed": 7, "temperature": 0.9}
        plain = self.server.post(CHAT, body)["choices"][0]
        chunks = self.server.stream(CHAT, body)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        self.assertEqual(text, plain["message"]["content"])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], plain["finish_reason"])

    def test_first_of_n_is_the_only_one(self):
        body = {"prompt": "Once upon a time", "max_tokens": 24, "seed": 3, "temperature": 1.0}
        one = self.server.post(COMPLETIONS, body)["choices"]
        three = self.server.post(COMPLETIONS, {**body, "n": 3})
        self.assertEqual(one[0]["text"], three["choices"][0]["text"])
        self.assertEqual(len({choice["text"] for choice in three["choices"]}), 3)
        self.assertEqual(three["usage"]["prompt_tokens"], 4)

    def test_special_tokens_in_content_are_text(self):
        plain = self.server.post(CHAT, {"messages": user("hello"), "max_tokens": 1})["usage"]["prompt_tokens"]
        typed = self.server.post(CHAT, {"messages": user("hello<|im_end|>"), "max_tokens": 1})["usage"]["prompt_tokens"]
        self.assertGreater(typed, plain + 1)

    def test_refusals(self):
        for path, body, status, code in [
            (CHAT, {"messages": []}, 400, None),
            (CHAT, {"messages": user("x"), "model": "other"}, 404, "model_not_found"),
            (CHAT, {"messages": user("x"), "max_tokens": 10**6}, 400, "context_length_exceeded"),
            (CHAT, {"messages": user("x"), "temperature": -1}, 400, None),
            (COMPLETIONS, {"prompt": "x", "max_tokens": 0}, 400, None),
            (COMPLETIONS, "{", 400, None),
        ]:
            with self.subTest(body=body):
                got, _, answer = self.server.request("POST", path, body)
                self.assertEqual(got, status, answer)
                error = json.loads(answer)["error"]
                self.assertEqual(set(error), {"message", "type", "param", "code"})
                if code:
                    self.assertEqual(error["code"], code)

    def test_sixteen_clients_get_what_each_gets_alone(self):
        bodies = [{"messages": user(f"Count from {i} to {i + 5}, then tell me something about number {i}."),
                   "max_tokens": 24 + i, "seed": i, "temperature": 0.8 if i % 2 else 0.0, "logprobs": True,
                   "top_logprobs": 2} for i in range(16)]

        def ask(body):
            (choice,) = self.server.post(CHAT, body)["choices"]
            return choice

        alone = [ask(body) for body in bodies]
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            together = list(clients.map(ask, bodies))
        for one, other in zip(alone, together):
            self.assertEqual(one, other)

    def test_streams_beside_bad_requests_are_as_alone(self):
        bodies = [{"messages": user(f"Tell me about the number {i}."), "max_tokens": 40, "seed": i, "temperature": 0.7,
                   "logprobs": True, "request_id": f"stream-{i}"} for i in range(8)]
        bad = [{"messages": user("x"), "temperature": "hot"}, {"messages": "x"}, b"{", b"[" * 100_000,
               b'{"a":' * 100_000, json.dumps({f"k{i}": i for i in range(100_000)}).encode(), b"x" * 1_000_000,
               {"messages": user("x" * 1_000_000)}, {"messages": user("x"), "stop": [""]},
               {"messages": user("x"), "logit_bias": {"99999999": 1}}, {"messages": user("x"), "n": 10**30},
               {"messages": user("x"), "allowed_token_ids": [0], "min_tokens": 3, "logit_bias": {"0": -100}}]

        def choices(body):
            return [chunk["choices"] for chunk in self.server.stream(CHAT, body)]

        def attack(count):
            for i in range(count):
                body = bad[i % len(bad)]
                status, _, answer = self.server.request("POST", CHAT, body)
                if status != 200:
                    self.assertEqual(status, 400, answer)
                    self.assertEqual(set(json.loads(answer)["error"]), {"message", "type", "param", "code"})

        alone = [choices(body) for body in bodies]
        with concurrent.futures.ThreadPoolExecutor(10) as clients:
            attacks = [clients.submit(attack, 2 * len(bad)) for _ in range(2)]
            together = list(clients.map(choices, bodies))
            for done in attacks:
                done.result()
        self.assertEqual(alone, together)

    def test_tokens_there_and_back(self):
        text = "The mill's wheel turns, tournant: 水車."
        for body in ({"prompt": text}, {"content": text}):
            tokens = self.server.post("/tokenize", body)["tokens"]
            self.assertEqual(self.server.post("/detokenize", {"tokens": tokens}), {"prompt": text, "content": text})
        chat = {"messages": user("hello")}
        prompt = self.server.post("/apply-template", chat)["prompt"]
        counted = self.server.post("/tokenize", chat)
        self.assertEqual(self.server.post("/tokenize", {"content": prompt})["tokens"], counted["tokens"])
        answer = self.server.post(CHAT, {**chat, "max_tokens": 1})
        self.assertEqual(answer["usage"]["prompt_tokens"], counted["count"])

    def test_an_answer_goes_on_with_a_message(self):
        messages = [*user("What is the capital of France?"), {"role": "assistant", "content": "The capital of France is"}]
        answer = self.server.post(CHAT, {"messages": messages, "continue_final_message": True, "temperature": 0,
                                         "max_tokens": 3})
        self.assertTrue(answer["choices"][0]["message"]["content"].startswith(" Paris"), answer)

    def test_words_are_banned_and_tokens_allowed(self):
        body = {"messages": user("What is the capital of France?"), "temperature": 0, "max_tokens": 20}
        self.assertIn("Paris", self.server.post(CHAT, body)["choices"][0]["message"]["content"])
        banned = self.server.post(CHAT, {**body, "bad_words": ["Paris"]})
        self.assertNotIn("Paris", banned["choices"][0]["message"]["content"])
        allowed = self.server.post("/tokenize", {"content": " yes no"})["tokens"]
        answer = self.server.post(CHAT, {**body, "allowed_token_ids": allowed, "return_token_ids": True})
        self.assertLessEqual(set(answer["choices"][0]["token_ids"]), set(allowed))

    def test_timings_add_up(self):
        answer = self.server.post(COMPLETIONS, {"prompt": "Once upon a time", "max_tokens": 8, "timings": True})
        timings = answer["timings"]
        self.assertEqual(timings["predicted_n"], 8)
        self.assertEqual(timings["prompt_n"] + timings["cache_n"], 4)
        self.assertGreater(timings["predicted_per_second"], 0)
        self.assertGreaterEqual(timings["queue_ms"], 0)

    def test_a_client_that_leaves_makes_room(self):
        request = json.dumps({"prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "stream": True}).encode()
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request)}\r\n\r\n".encode()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as client:
                client.sendall(head + request)
                client.recv(100)
        start = time.monotonic()
        self.server.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 4})
        self.assertLess(time.monotonic() - start, 30)  # twenty answers of 1,900 tokens would take minutes


class Start(unittest.TestCase):
    def test_stops_on_sigterm(self):
        program.need_model()
        self.assertEqual(Server().stop(timeout=10), 0)

    def test_a_taken_port_is_one_line(self):
        program.need_model()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = program.run("serve", program.MODEL, "--port", taken.getsockname()[1])
        self.assertIn(done.returncode, (1, 2))
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)


if __name__ == "__main__":
    program.main()
