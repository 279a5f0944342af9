"""Drafts over HTTP: more than one token a step, and the very answers of plain decoding."""

import concurrent.futures
import unittest

import program
from serving import Server

CHAT = "/v1/chat/completions"
LIST = "red, green, blue, white, black, brown, grey, pink"


def asked(number):
    ask = f"Repeat this list {number % 3 + 2} times, word for word: {LIST}." if number % 2 else f"Tell me about the number {number}."
    return {"messages": [{"role": "user", "content": ask}], "max_tokens": 48, "seed": number, "logprobs": True, "top_logprobs": 2,
            "temperature": 0.8 if number % 3 == 0 else 0, "timings": True, "presence_penalty": 0.4 if number % 5 == 0 else 0,
            "stop": ["pink, pink"] if number % 4 == 0 else [], "min_tokens": 5}


class Speculation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.server = Server("--max-model-len", "2K", "--speculative-config", '{"method": "ngram", "num_speculative_tokens": 6}')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, body):
        answer = self.server.post(CHAT, body)
        return answer["choices"], answer["timings"]

    def test_sixteen_clients_get_what_plain_decoding_gives_each_alone(self):
        bodies = [asked(i) for i in range(16)]
        plain = [self.ask({**body, "speculation": {"method": "none"}}) for body in bodies]
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            drafted = list(clients.map(self.ask, bodies))
        for (one, _), (other, _) in zip(plain, drafted):
            self.assertEqual(one, other)
        for _, timings in plain:
            self.assertEqual((timings["steps"], timings["draft_n"]), (timings["predicted_n"], 0))
        self.assertGreater(sum(timings["draft_n_accepted"] for _, timings in drafted), 50)
        for _, timings in drafted:
            self.assertLessEqual(timings["predicted_n"], timings["steps"] + timings["draft_n_accepted"])

    def test_streams_have_every_token_and_an_event_for_each_step(self):
        body = {**asked(1), "timings": False}
        (plain,), timings = self.ask({**body, "timings": True})
        chunks = [chunk["choices"][0] for chunk in self.server.stream(CHAT, body) if chunk["choices"]]
        self.assertEqual("".join(chunk["delta"].get("content", "") for chunk in chunks), plain["message"]["content"])
        scores = [entry for chunk in chunks if chunk.get("logprobs") for entry in chunk["logprobs"]["content"]]
        self.assertEqual(scores, plain["logprobs"]["content"])
        said = [chunk for chunk in chunks if chunk.get("logprobs")]
        self.assertEqual(len(said), timings["steps"])
        self.assertLess(len(said), len(scores))

    def test_choices_are_streamed_each_in_its_own_events(self):
        body = {"prompt": f"The list: {LIST}. Again: {LIST}. Again: red,", "n": 2, "max_tokens": 40, "temperature": 0.5, "seed": 3, "logprobs": 1,
                "stop": ["brown, grey, pink. Again"]}
        plain = self.server.post("/v1/completions", body)
        chunks = self.server.stream("/v1/completions", {**body, "stream_options": {"include_usage": True}})
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], plain["usage"]["completion_tokens"])
        several = 0
        for whole in plain["choices"]:
            parts = [chunk["choices"][0] for chunk in chunks if chunk["choices"] and chunk["choices"][0]["index"] == whole["index"]]
            self.assertEqual("".join(part["text"] for part in parts), whole["text"])
            self.assertEqual(parts[-1]["finish_reason"], whole["finish_reason"])
            scores = [part["logprobs"] for part in parts if part["logprobs"]]
            for name, values in whole["logprobs"].items():
                self.assertEqual([value for part in scores for value in part[name]], values)
            several += sum(len(part["tokens"]) > 1 for part in scores)
        self.assertGreater(several, 0)

    def test_metrics_and_the_start_table_say_how(self):
        self.ask(asked(1))
        text = self.server.request("GET", "/metrics")[2].decode()
        (drafts,) = [line for line in text.splitlines() if line.startswith("vllm:spec_decode_num_drafts_total")]
        self.assertIn('method="ngram"', drafts)
        self.assertGreater(float(drafts.split()[-1]), 0)
        self.assertIn('position="5"', text)
        self.assertIn("ngram", self.server.table["drafts"])

    def test_a_method_that_is_not_there_is_refused_by_name(self):
        status, _, body = self.server.request("POST", CHAT, {**asked(1), "speculation": {"method": "medusa"}})
        self.assertEqual(status, 400)
        self.assertIn(b"'medusa'", body)
        for wrong in ("ngram", {"method": 1}, {"method": "ngram", "n": 2}, {}):
            self.assertEqual(self.server.request("POST", CHAT, {**asked(1), "speculation": wrong})[0], 400)


class EarlierAnswers(unittest.TestCase):
    """Suffix decoding, which learns from what a server said before."""

    @classmethod
    def setUpClass(cls):
        program.need_model()
        config = '{"method": "suffix", "num_speculative_tokens": 6, "max_draft_tokens": 10, "suffix_decoding_max_spec_factor": 2.0}'
        cls.server = Server("--max-model-len", "2K", "--speculative-config", config)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, body):
        answer = self.server.post(CHAT, body)
        return answer["choices"], answer["timings"]

    def test_sixteen_clients_get_what_plain_decoding_gives_each_alone(self):
        bodies = [asked(i) for i in range(16)]
        plain = [self.ask({**body, "speculation": {"method": "none"}})[0] for body in bodies]
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            drafted = list(clients.map(self.ask, bodies))
        self.assertEqual(plain, [choices for choices, _ in drafted])
        self.assertGreater(sum(timings["draft_n_accepted"] for _, timings in drafted), 50)

    def test_an_answer_comes_faster_again_but_under_its_own_salt_alone(self):
        body = {"messages": [{"role": "user", "content": "Write a short poem about a mill and its river."}], "max_tokens": 48, "temperature": 0,
                "timings": True, "speculation": {"method": "suffix"}, "cache_salt": "one"}
        (first, fresh), (again, repeated) = self.ask(body), self.ask(body)
        (other, apart) = self.ask({**body, "cache_salt": "two"})
        self.assertEqual(first, again)
        self.assertEqual(first, other)
        self.assertLess(repeated["steps"], fresh["steps"] / 2)
        self.assertEqual(apart["steps"], fresh["steps"])

    def test_metrics_say_its_name(self):
        self.ask(asked(1))
        text = self.server.request("GET", "/metrics")[2].decode()
        (drafts,) = [line for line in text.splitlines() if line.startswith("vllm:spec_decode_num_drafts_total")]
        self.assertIn('method="suffix"', drafts)
        self.assertIn("suffix", self.server.table["drafts"])


class Configurations(unittest.TestCase):
    def test_faults_are_one_line_that_names_the_field(self):
        for config, named in (('{"method": "medusa"}', "medusa"), ('{"method": ["ngram", "ngram"]}', "method"), ('{"method": "ngram", "tokens": 3}', "tokens"),
                              ('{"method": "ngram", "num_speculative_tokens": 0}', "num_speculative_tokens"),
                              ('{"method": "ngram", "prompt_lookup_min": 9}', "prompt_lookup_min"), ("ngram", "--speculative-config"),
                              ('{"method": "suffix", "suffix_decoding_max_tree_depth": 1}', "suffix_decoding_max_tree_depth"),
                              ('{"method": "suffix", "suffix_decoding_max_cached_requests": -1}', "suffix_decoding_max_cached_requests"),
                              ('{"method": "suffix", "suffix_decoding_max_cached_bytes": 9}', "suffix_decoding_max_cached_bytes"),
                              ('{"method": "suffix", "suffix_decoding_max_spec_factor": 0}', "suffix_decoding_max_spec_factor"),
                              ('{"method": "suffix", "suffix_decoding_max_spec_factor": "2"}', "suffix_decoding_max_spec_factor"),
                              ('{"method": "suffix", "suffix_decoding_min_token_prob": 1.5}', "suffix_decoding_min_token_prob"),
                              ("[]", "--speculative-config")):
            done = program.run("serve", program.MODEL, "--port", "0", "--speculative-config", config)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertIn(named, done.stderr)

    def test_a_step_must_hold_the_draft(self):
        config = '{"method": "ngram", "num_speculative_tokens": 64}'
        for arguments in (["serve", program.MODEL, "--port", "0"], ["run", program.MODEL, "Hello"]):
            done = program.run(*arguments, "--max-num-batched-tokens", 64, "--speculative-config", config)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, r"^[^\n]*num_speculative_tokens is 64, [^\n]*--max-num-batched-tokens[^\n]*63\n$")


if __name__ == "__main__":
    program.main()
