"""Drafts over HTTP: more than one token a step, and the very answers of plain decoding."""

import concurrent.futures
import json
import pathlib
import tempfile
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


class Drafting(unittest.TestCase):
    """One server for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        program.need_model()
        cls.server = Server("--max-model-len", "2K", "--speculative-config", cls.config)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, body):
        answer = self.server.post(CHAT, body)
        return answer["choices"], answer["timings"]


class Speculation(Drafting):
    config = '{"method": "ngram", "num_speculative_tokens": 6}'

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


class EarlierAnswers(Drafting):
    """Suffix decoding, which learns from what a server said before."""

    config = '{"method": "suffix", "num_speculative_tokens": 6, "max_draft_tokens": 10, "suffix_decoding_max_spec_factor": 2.0}'

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


class WhateverPays(Drafting):
    """Without a named method all compete. What pays depends on the machine, so only answers and names are judged."""

    config = "{}"

    def ask_by(self, body, method):
        return self.ask({**body, "speculation": {"method": method}})[0]

    def test_sixteen_clients_get_what_plain_decoding_gives_each_alone(self):
        bodies = [asked(i) for i in range(16)]
        plain = [self.ask_by(body, "none") for body in bodies]
        methods = [("auto", "ngram", "suffix", "auto")[i % 4] for i in range(16)]
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            self.assertEqual(plain, list(clients.map(self.ask_by, bodies, methods)))
            self.assertEqual(plain, list(clients.map(lambda body: self.ask(body)[0], bodies)))

    def test_metrics_say_what_each_method_took_and_how_well_steps_were_foreseen(self):
        self.ask_by(asked(1), "auto")
        text = self.server.request("GET", "/metrics")[2].decode()
        for method in ("ngram", "suffix"):
            self.assertRegex(text, rf'millrace:draft_seconds_total{{[^}}]*method="{method}"[^}}]*}} [0-9]')
        self.assertRegex(text, r"\nmillrace:step_cost_error{[^}]*} [0-9]")
        self.assertIn("whatever pays of ngram, suffix", self.server.table["drafts"])

    def test_a_list_makes_one_tree_of_what_its_methods_propose(self):
        with Server("--max-model-len", "2K", "--speculative-config", '{"method": ["suffix", "ngram"]}') as server:
            for i in (1, 3, 5):
                plain = server.post(CHAT, {**asked(i), "speculation": {"method": "none"}})
                merged = server.post(CHAT, asked(i))
                self.assertEqual(plain["choices"], merged["choices"])
                self.assertGreater(merged["timings"]["draft_n_accepted"], 0)
            status, _, body = server.request("POST", CHAT, {**asked(1), "speculation": {"method": "auto"}})
            self.assertEqual((status, b"none, suffix, ngram" in body), (400, True), body)


def refuse(test, arguments, *named):
    """A server is not started, with one line that holds these words."""
    done = program.run("serve", program.MODEL, "--port", "0", *arguments)
    test.assertNotEqual(done.returncode, 0)
    test.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    for name in named:
        test.assertIn(name, done.stderr)


class DraftModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()

    def judge(self, config, *more, temperature=None):
        """Asks with and without drafts; the answers are the same. How many tokens were drafted and accepted, and the start's table."""
        bodies = [asked(i) for i in range(8)]
        for body in bodies:
            body["temperature"] = body["temperature"] if temperature is None else temperature
        with Server("--max-model-len", "1K", "--speculative-config", json.dumps(config), *more) as server:
            plain = [server.post(CHAT, {**body, "speculation": {"method": "none"}}) for body in bodies]
            with concurrent.futures.ThreadPoolExecutor(8) as clients:
                drafted = list(clients.map(lambda body: server.post(CHAT, body), bodies))
            for one, other in zip(plain, drafted):
                self.assertEqual(one["choices"], other["choices"])
            timings = [answer["timings"] for answer in drafted]
            return sum(t["draft_n"] for t in timings), sum(t["draft_n_accepted"] for t in timings), dict(server.table)

    def test_a_model_that_drafts_for_itself_is_agreed_with(self):
        config = {"method": "draft_model", "model": str(program.MODEL), "num_speculative_tokens": 3}
        drafted, accepted, table = self.judge(config, "--max-num-batched-tokens", "64", temperature=0)
        self.assertGreater(drafted, 200)
        self.assertGreater(accepted, 0.6 * drafted)  # penalties, and drafts behind a stop
        self.assertIn(program.MODEL.name, table["draft"])
        self.assertIn("every sequence at its longest", table["draft"])

    def test_trees_of_the_first_tokens_in_little_memory(self):
        config = {"method": "draft_model", "model": str(program.MODEL), "num_speculative_tokens": 3, "tree_width": 2,
                  "max_draft_tokens": 6, "draft_vocab": 9001}
        drafted, accepted, table = self.judge(config, "--kv-cache-memory-bytes", "80M")
        self.assertGreater(accepted, 100)
        self.assertLess(accepted, drafted)
        self.assertIn("39.7 MiB of cache", table["draft"])

    def test_run_takes_the_option_of_llama_server(self):
        ask = ("run", program.MODEL, f"Repeat this list: {LIST}.", "--temperature", "0", "--max-tokens", "24")
        plain = program.run(*ask)
        for more in (["-md", program.MODEL, "--draft-max", "3", "--draft-min", "2", "--draft-p-min", "0.1"],
                     ["--model-draft", program.MODEL], ["--spec-model", program.MODEL, "--spec-tokens", "2", "--spec-method", "draft_model"],
                     ["--spec-method", "ngram", "--spec-tokens", "0"]):
            drafted = program.run(*ask, *more)
            self.assertEqual((drafted.returncode, drafted.stdout), (0, plain.stdout), drafted.stderr)

    def test_another_vocabulary_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder) / "other.gguf"
            data = program.MODEL.read_bytes()
            self.assertIn(b"<gh_stars>", data)
            other.write_bytes(data.replace(b"<gh_stars>", b"<gh_starz>", 1))
            refuse(self, ["-md", str(other)], "other.gguf", "<gh_starz>", "<gh_stars>")


class Configurations(unittest.TestCase):
    def test_faults_of_draft_models_are_one_line_too(self):
        def config(**keys):
            return ["--speculative-config", json.dumps({"method": "draft_model", **keys})]

        model = str(program.MODEL)
        refuse(self, config(), "model")
        refuse(self, config(model="/nowhere/x.gguf"), "model", "/nowhere/x.gguf")
        refuse(self, config(model=model, tree_width=0), "tree_width")
        refuse(self, config(model=model, tree_width=33), "tree_width")
        refuse(self, config(model=model, draft_vocab=10**8), "draft_vocab")
        refuse(self, config(model=model, draft_p_min=1.5), "draft_p_min")
        refuse(self, ["--speculative-config", json.dumps({"method": "ngram", "model": model})], "model", "draft_model")
        refuse(self, config(model=__file__), "draft model", "speculation_test.py")
        refuse(self, ["-md", "/nowhere/x.gguf"], "--spec-draft-model", "/nowhere/x.gguf")
        refuse(self, ["--spec-tokens", "3", "--spec-method", "draft_model"], "--spec-", "model")
        refuse(self, ["-md", model, *config(model=model)], "--spec-draft-model", "--speculative-config")
        refuse(self, ["--spec-model", model, "-md", model], "model", "twice")

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
