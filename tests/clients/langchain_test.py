"""langchain-openai: messages in, messages out, streamed and in batches."""

import unittest

from served import NAME, base_url, main, start

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI


class LangChain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start()
        options = {"model": NAME, "base_url": base_url(cls.server), "api_key": "any", "temperature": 0, "max_retries": 0}
        cls.chat = ChatOpenAI(**options, max_tokens=12)
        cls.complete = OpenAI(**options, max_tokens=8)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_chat(self):
        answer = self.chat.invoke([SystemMessage("You are a helpful AI assistant."), HumanMessage("Name the capital of France.")])
        self.assertIn("Paris", answer.content)
        self.assertEqual(answer.usage_metadata["output_tokens"], answer.response_metadata["token_usage"]["completion_tokens"])
        self.assertIn(answer.response_metadata["finish_reason"], ("stop", "length"))

    def test_stream(self):
        question = "Name the capital of France."
        pieces = list(self.chat.stream(question))
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(piece.content for piece in pieces), self.chat.invoke(question).content)

    def test_batch(self):
        questions = [f"Say the number {i}." for i in range(4)]
        self.assertEqual([a.content for a in self.chat.batch(questions)], [self.chat.invoke(q).content for q in questions])

    def test_completions_and_logprobs(self):
        self.assertTrue(self.complete.invoke("Once upon a time"))
        answer = self.chat.bind(logprobs=True, top_logprobs=2).invoke("Hello")
        self.assertEqual(len(answer.response_metadata["logprobs"]["content"][0]["top_logprobs"]), 2)


if __name__ == "__main__":
    main()
