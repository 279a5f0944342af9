"""A served model over HTTP: right answers, the same whatever runs beside them, and a clean end."""

import concurrent.futures
import json
import pathlib
import tempfile
import unittest

import program
from serving import Server, events, read_answer, request_bytes

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
LONG = {"prompt": "Once", "max_tokens": 1900, "ignore_eos": True}


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
        answer = self.server.post(CHAT, {"messages": user("Name the capital of France."), "temperature": 0,
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

    def test_echo_scores_what_generation_gave(self):
        body = {"prompt": "The mill by the river", "max_tokens": 24, "temperature": 1, "seed": 5, "logprobs": 3,
                "ignore_eos": True, "return_token_ids": True}
        (drawn,) = self.server.post(COMPLETIONS, body)["choices"]
        before = drawn["prompt_token_ids"]
        (echoed,) = self.server.post(COMPLETIONS, {**body, "prompt": before + drawn["token_ids"], "max_tokens": 1,
                                                   "echo": True})["choices"]
        for name in ("token_logprobs", "tokens", "top_logprobs"):
            self.assertEqual(echoed["logprobs"][name][len(before):-1], drawn["logprobs"][name])
            self.assertEqual(len(echoed["logprobs"][name]), len(before) + 24 + 1)
        self.assertIsNone(echoed["logprobs"]["token_logprobs"][0])
        self.assertTrue(all(score < 0 for score in echoed["logprobs"]["token_logprobs"][1:]))

    def test_streamed_log_probabilities_equal_the_plain_ones(self):
        body = {"messages": user("Tell me a story about a mill."), "max_tokens": 40, "temperature": 0, "logprobs": True,
                "top_logprobs": 2}
        text = self.server.post(CHAT, body)["choices"][0]["message"]["content"]
        begun = text[20:40] + "?!"  # what begins so is held back, and then it does not come
        for stop, held in ((None, False), ([begun], True), ([begun, text[60:80]], True)):
            with self.subTest(stop=stop):
                (plain,) = self.server.post(CHAT, {**body, "stop": stop})["choices"]
                parts = [choice for chunk in self.server.stream(CHAT, {**body, "stop": stop}) for choice in chunk["choices"]]
                entries = [entry for part in parts if part["logprobs"] for entry in part["logprobs"]["content"]]
                self.assertEqual(entries, plain["logprobs"]["content"])
                self.assertEqual("".join(part["delta"].get("content", "") for part in parts), plain["message"]["content"])
                empty = [part for part in parts if part["logprobs"] and not part["delta"].get("content")]
                self.assertEqual(bool(empty), held)
        self.assertEqual((plain["message"]["content"], plain["finish_reason"]), (text[:60], "stop"))

    def test_streamed_log_probabilities_of_completions_equal_the_plain_ones(self):
        body = {"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0, "logprobs": 2}
        text = self.server.post(COMPLETIONS, body)["choices"][0]["text"]
        body["stop"] = [text[10:20] + "?!", text[30:40]]
        (plain,) = self.server.post(COMPLETIONS, body)["choices"]
        self.assertEqual(plain["text"], text[:30])
        parts = [choice for chunk in self.server.stream(COMPLETIONS, body) for choice in chunk["choices"]]
        self.assertEqual("".join(part["text"] for part in parts), plain["text"])
        for name, values in plain["logprobs"].items():
            streamed = [value for part in parts if part["logprobs"] for value in part["logprobs"][name]]
            self.assertEqual(streamed, values, name)

    def test_pipelined_streams_come_one_after_the_other(self):
        bodies = [{"prompt": f"Chapter {i}", "max_tokens": 12 - 4 * i, "temperature": 0, "stream": i != 1} for i in range(3)]
        with self.server.connect() as client, client.makefile("rb") as answers:
            client.sendall(b"".join(request_bytes("POST", COMPLETIONS, body) for body in bodies))
            for body in bodies:
                status, answer = read_answer(answers)
                self.assertEqual(status, 200, answer)
                chunks = [answer.decode()]
                if body["stream"]:
                    *chunks, end = events(answer)
                    self.assertEqual(end, "[DONE]")
                text = "".join(json.loads(chunk)["choices"][0]["text"] for chunk in chunks)
                alone = self.server.post(COMPLETIONS, {**body, "stream": False})
                self.assertEqual(text, alone["choices"][0]["text"])

    def test_an_answer_goes_on_with_a_message(self):
        messages = [*user("Name the capital of France."), {"role": "assistant", "content": "The capital of France is"}]
        answer = self.server.post(CHAT, {"messages": messages, "continue_final_message": True, "temperature": 0,
                                         "max_tokens": 3})
        self.assertTrue(answer["choices"][0]["message"]["content"].startswith(" Paris"), answer)

    def test_words_are_banned_and_tokens_allowed(self):
        body = {"messages": user("Name the capital of France."), "temperature": 0, "max_tokens": 20}
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


class Watched(unittest.TestCase):
    """What the server tells of itself: one of its own, so that the counts are known."""

    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.server = Server("--max-model-len", "2K", "--max-num-seqs", "8", "--max-queue", "0", "--served-model-name",
                            "mill")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def scrape(self):
        status, headers, body = self.server.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        samples = {}
        for line in body.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.assertNotIn(name, samples)
                samples[name.replace('model_name="mill",engine="0"', "").replace("{}", "").replace("{,", "{")] = \
                    float(value)
        return samples

    def changes(self, before):
        """Of the engine's counters and counts; times differ from run to run."""
        return {name[len("vllm:"):]: value - before[name] for name, value in self.scrape().items()
                if name.startswith("vllm:") and value != before[name] and "_sum" not in name
                and "_bucket" not in name and "lora" not in name}

    def test_counts_what_a_request_did(self):
        before = self.scrape()
        # A first prompt token that no other request begins with: nothing of it is cached.
        prompt = "Zebras and mills " * 20
        answer = self.server.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 12, "ignore_eos": True, "n": 2})
        tokens = answer["usage"]["prompt_tokens"]
        steps = self.changes(before).pop("iteration_tokens_total_count")
        self.assertGreaterEqual(steps, 12)
        requests = ["e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds",
                    "request_prefill_time_seconds", "request_decode_time_seconds", "time_to_first_token_seconds",
                    "request_time_per_output_token_seconds", "request_prompt_tokens", "request_generation_tokens",
                    "request_max_num_generation_tokens", "request_params_n", "request_params_max_tokens",
                    "request_prefill_kv_computed_tokens", "request_num_preemptions"]
        self.assertEqual(self.changes(before), {
            "prompt_tokens_total": tokens,
            'prompt_tokens_by_source_total{source="local_compute"}': tokens,
            "prefix_cache_queries_total": tokens,
            "generation_tokens_total": 24,
            'request_success_total{finished_reason="length"}': 1,
            "inter_token_latency_seconds_count": 22,
            "iteration_tokens_total_count": steps,
            **{f"{name}_count": 1 for name in requests}})

    def test_cached_blocks_that_nobody_uses_are_free(self):
        body = {"prompt": "Yaks and looms " * 40, "max_tokens": 1}
        self.assertEqual(self.server.post(COMPLETIONS, body)["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        program.wait_until(self.server.is_empty, 5)
        self.assertGreater(self.server.post(COMPLETIONS, body)["usage"]["prompt_tokens_details"]["cached_tokens"], 100)

    def test_refusals_change_only_http_counters(self):
        before = self.scrape()
        for path, body in [(COMPLETIONS, {"prompt": "x", "max_tokens": 0}), (COMPLETIONS, "{"),
                           (CHAT, {"messages": user("x"), "model": "other"}), ("/nowhere", {})]:
            self.assertIn(self.server.request("POST", path, body)[0], (400, 404))
        self.assertEqual(self.changes(before), {})

    def test_answers_at_full_load(self):
        before = self.scrape()
        clients = [self.server.send(COMPLETIONS, {**LONG, "stream": True}) for _ in range(8)]
        try:
            for client in clients:
                client.recv(100)
            for _ in range(20):
                self.assertEqual(self.server.request("GET", "/health")[0], 200)
                self.assertEqual(self.server.request("GET", "/ready")[0], 200)
                self.assertEqual(self.server.request("POST", COMPLETIONS, "{")[0], 400)
            self.assertEqual(json.loads(self.server.request("GET", "/load")[2]), {"server_load": 8})
            samples = self.scrape()
            self.assertEqual(samples["vllm:num_requests_running"], 8)
            self.assertGreater(samples["vllm:kv_cache_usage_perc"], 0)
            status, headers, body = self.server.request("POST", COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 1})
            self.assertEqual(status, 429)
            self.assertEqual(json.loads(body)["error"]["code"], "rate_limit_exceeded")
            self.assertTrue(1 <= int(headers["Retry-After"]) <= 60)
        finally:
            for client in clients:
                client.close()
        program.wait_until(self.server.is_empty)
        aborts = 'vllm:request_success_total{finished_reason="abort"}'
        self.assertEqual(self.scrape()[aborts] - before[aborts], 8)


class Queue(unittest.TestCase):
    def test_who_waits_too_long_or_leaves(self):
        program.need_model()
        with Server("--max-num-seqs", "1", "--max-queue-ms", "500", "--max-model-len", "2K") as server:
            with server.send(COMPLETIONS, {**LONG, "stream": True}) as client:
                client.recv(100)
                status, headers, answer = server.request("POST", COMPLETIONS, {"prompt": "a", "max_tokens": 1})
                self.assertEqual(status, 429, answer)
                self.assertGreaterEqual(int(headers["Retry-After"]), 1)
            # The place is free once the engine has noticed that the client left.
            ask = {"prompt": "a", "max_tokens": 1}
            program.wait_until(lambda: server.request("POST", COMPLETIONS, ask)[0] == 200)


    def test_by_default_one_waits_as_long_as_it_takes(self):
        program.need_model()
        with Server("--max-num-seqs", "1", "--max-model-len", "2K") as server:
            with server.send(COMPLETIONS, {**LONG, "max_tokens": 100}):
                program.wait_until(lambda: server.loads() == (1, 0))
                server.post(COMPLETIONS, {"prompt": "a", "max_tokens": 1})
                self.assertEqual(server.metric("vllm:request_success_total", 'finished_reason="length"'), 2)


class SmallCache(unittest.TestCase):
    """Of 208 tokens: 13 blocks of 16, 22.5 KiB a token."""

    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.server = Server("--kv-cache-memory-bytes", 13 * 16 * 23040)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_the_context_is_what_the_cache_holds(self):
        self.assertIn("208 tokens", self.server.table["context"])
        self.assertIn("what the cache holds", self.server.table["context"])
        (model,) = json.loads(self.server.request("GET", "/v1/models")[2])["data"]
        self.assertEqual(model["max_model_len"], 208)
        status, _, body = self.server.request("POST", COMPLETIONS, {"prompt": "a", "max_tokens": 300})
        self.assertEqual(status, 400)
        self.assertIn(b"maximum context length is 208 tokens", body)

    def test_answers_that_fill_the_cache_end_with_length(self):
        body = {"messages": user("Tell me a long story about a mill."), "ignore_eos": True, "temperature": 0}
        alone = self.server.post(CHAT, body)
        self.assertEqual(alone["choices"][0]["finish_reason"], "length")
        self.assertEqual(alone["usage"]["total_tokens"], 208)
        three = self.server.post(CHAT, {**body, "n": 3})
        self.assertEqual([c["message"] for c in three["choices"]], [alone["choices"][0]["message"]] * 3)


class Sharing(unittest.TestCase):
    def test_a_short_prompt_does_not_wait_for_a_long_one(self):
        program.need_model()
        with Server("--max-num-batched-tokens", "64", "--max-model-len", "4K") as server:
            long = server.send(COMPLETIONS, {"prompt": list(range(1000, 3000)), "max_tokens": 1, "stream": True})
            with long:
                program.wait_until(lambda: server.loads()[0] == 1)
                server.post(COMPLETIONS, {"prompt": "a", "max_tokens": 1})
                self.assertEqual(server.loads()[0], 1)  # the long one is still computed


class SpecialTokens(unittest.TestCase):
    def test_begin_prompts_and_messages_and_not_content(self):
        model = program.need(program.SHARED / "models/llama-2-tiny-random.gguf")
        begin = 1
        with Server("--chat-template", "chatml", model=model) as server:  # a template that writes none
            def tokens(**body):
                return server.post("/tokenize", body)["tokens"]

            (hello,) = tokens(content="Hello")
            self.assertEqual(tokens(content="Hello", add_special=True), [begin, hello])
            self.assertEqual(tokens(prompt="Hello"), [begin, hello])
            self.assertEqual(tokens(prompt="Hello", add_special_tokens=False), [hello])
            self.assertEqual(tokens(messages=user("Hello"))[0], begin)
            self.assertEqual(tokens(messages=user("Hello")).count(begin), 1)
            answer = server.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 1, "return_token_ids": True})
            self.assertEqual(answer["choices"][0]["prompt_token_ids"], [begin, hello])


class Start(unittest.TestCase):
    def test_an_error_tells_no_path(self):
        program.need_model()
        with tempfile.TemporaryDirectory(prefix="secret-") as folder:
            template = pathlib.Path(folder) / "mine.jinja"
            template.write_text("{{ messages[0].content }}{{ raise_exception('never') }}")
            with Server("--chat-template", template) as server:
                status, _, answer = server.request("POST", CHAT, {"messages": user("x")})
        self.assertEqual(status, 400)
        self.assertIn("never", answer.decode())
        self.assertNotIn("secret", answer.decode())


if __name__ == "__main__":
    program.main()
