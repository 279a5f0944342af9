"""OpenAI's own client: answers, streams, lists, numbers, and errors as its exception classes."""

import asyncio
import unittest

from served import NAME, base_url, main, start, wait_until

import openai

QUESTION = [{"role": "user", "content": "Name the capital of France."}]


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start("--api-key", "one", "--api-key", "two")
        cls.client = openai.OpenAI(base_url=base_url(cls.server), api_key="one", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def chat(self, **more):
        return self.client.chat.completions.create(**{"model": NAME, "messages": QUESTION, "temperature": 0,
                                                      "max_tokens": 12, **more})

    def test_chat(self):
        answer = self.chat()
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, NAME)
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.system_fingerprint)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertGreaterEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)

    def test_stream(self):
        with self.client.chat.completions.create(model=NAME, messages=QUESTION, temperature=0, max_tokens=12, stream=True,
                                                 stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        plain = self.chat()
        self.assertEqual(text, plain.choices[0].message.content)
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, plain.usage.completion_tokens)
        self.assertEqual(chunks[-2].choices[0].finish_reason, plain.choices[0].finish_reason)
        self.assertEqual(len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}), 1)

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=NAME, messages=QUESTION, temperature=0, max_tokens=12) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertIn("Paris", final.choices[0].message.content)

    def test_logprobs(self):
        answer = self.chat(logprobs=True, top_logprobs=3)
        entries = answer.choices[0].logprobs.content
        self.assertEqual(len(entries), answer.usage.completion_tokens)
        for entry in entries:
            self.assertEqual(entry.token, entry.top_logprobs[0].token)  # the likeliest was drawn
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertLessEqual(entry.logprob, 0)

    def test_choices_and_lists(self):
        self.assertEqual(len({choice.index for choice in self.chat(n=3, temperature=1, seed=4).choices}), 3)
        answer = self.client.completions.create(model=NAME, prompt=["Once", "Twice"], max_tokens=4, temperature=0, n=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        echo = self.client.completions.create(model=NAME, prompt="One, two, three", max_tokens=2, temperature=0, echo=True,
                                              logprobs=2)
        self.assertTrue(echo.choices[0].text.startswith("One, two, three"))
        self.assertIsNone(echo.choices[0].logprobs.token_logprobs[0])

    def test_models(self):
        (model,) = self.client.models.list().data
        self.assertEqual(model.id, NAME)
        self.assertEqual(self.client.models.retrieve(NAME).id, NAME)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")

    def test_fields_of_others(self):
        answer = self.chat(extra_body={"top_k": 1, "min_p": 0.1, "ignore_eos": True, "nobody": {"defines": "this"}},
                           temperature=1.0, user="someone")
        self.assertEqual(answer.usage.completion_tokens, 12)

    def test_request_id(self):
        raw = self.client.chat.completions.with_raw_response.create(
            model=NAME, messages=QUESTION, max_tokens=1, extra_headers={"X-Request-Id": "mine-1"})
        self.assertEqual(raw.headers["x-request-id"], "mine-1")
        self.assertEqual(raw.parse()._request_id, "mine-1")

    def test_errors_are_its_classes(self):
        stranger = self.client.with_options(api_key="three")
        with self.assertRaises(openai.AuthenticationError) as caught:
            stranger.models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.chat(model="other")
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(max_tokens=100_000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        self.assertEqual(self.client.with_options(api_key="two").models.list().data[0].id, NAME)


class Full(unittest.TestCase):
    def test_a_full_queue_is_a_rate_limit(self):
        with start("--max-num-seqs", "1", "--max-queue", "1") as server:
            client = openai.OpenAI(base_url=base_url(server), api_key="any", max_retries=0)
            others = [server.send("/v1/completions", {"prompt": "Once", "max_tokens": 150, "ignore_eos": True}) for _ in range(2)]
            wait_until(lambda: server.loads() == (1, 1))
            with self.assertRaises(openai.RateLimitError) as caught:
                client.completions.create(model=NAME, prompt="Once", max_tokens=2)
            self.assertEqual(caught.exception.code, "rate_limit_exceeded")
            self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
            # Its own retries get through once there is room.
            patient = client.with_options(max_retries=10)
            self.assertTrue(patient.completions.create(model=NAME, prompt="Once", max_tokens=2).choices[0].text)
            for other in others:
                other.close()
            client.close()


class Async(unittest.TestCase):
    def test_eight_streams_at_once(self):
        with start() as server:
            asyncio.run(self.ask_together(server))

    async def ask_together(self, server):
        async with openai.AsyncOpenAI(base_url=base_url(server), api_key="any") as client:
            async def ask(i):
                stream = await client.completions.create(model=NAME, prompt=f"Number {i} is", max_tokens=24, temperature=0,
                                                         stream=True)
                return "".join([chunk.choices[0].text async for chunk in stream if chunk.choices])

            alone = [await ask(i) for i in range(8)]
            self.assertEqual(await asyncio.gather(*map(ask, range(8))), alone)


if __name__ == "__main__":
    main()
