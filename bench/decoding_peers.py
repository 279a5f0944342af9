#!/usr/bin/env python3
"""Measures drafts beside llama.cpp's on the same files and prompts, one sequence at a time, in turns in one run, and prints a Markdown table.

    LLAMA_CPP_LIB_PATH=FOLDER python3 bench/decoding_peers.py MODEL.gguf --draft SMALL.gguf --llama FOLDER --chat spec-bench.jsonl

FOLDER has llama.cpp's llama-server, which looks prompts up (`ngram-simple`) and takes a draft model; LlamaPromptLookupDecoding runs where this Python has
llama-cpp-python. What cannot run is named on standard error with its reason. All engines are given the same tokens, draft as many and look as many up, and
answer greedily; a few tokens that do not count come before each answer. The time is that from the first token to the last. "As plain" counts the answers that are the
same as without drafts.
"""

import contextlib
import dataclasses
import importlib.util
import pathlib
import statistics
import sys
import time

from decoding import WARM_TOKENS, Millrace, Served, free_port, line, parser_of, post, publish, say
from decoding_texts import prompts_of, texts_of

HEAD = ("text", "engine", "drafts", "tokens/s", "to its plain", "accepted", "tokens a step", "as plain")


@dataclasses.dataclass
class Answer:
    tokens: list
    ms: float
    drafted: int = 0
    accepted: int = 0


class MillraceEngine:
    name = "Millrace"

    def __init__(self, server, drafts):
        self.server, self.drafts = server, drafts

    def answer(self, prompt, tokens):
        speculation = {} if self.drafts != "plain" else {"speculation": {"method": "none"}}
        answer = post(self.server.url + "/v1/completions", {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "return_token_ids": True,
                                                            "timings": True, **speculation})
        timings = answer["timings"]
        return Answer(answer["choices"][0]["token_ids"], timings["predicted_ms"], timings["draft_n"], timings["draft_n_accepted"])


class LlamaServer(Served):
    def __init__(self, options, drafts, arguments):
        port = free_port()
        self.drafts = drafts
        super().__init__([pathlib.Path(options.llama) / "llama-server", "-m", options.model, "--host", "127.0.0.1", "--port", port, "-np", 1,
                          "-c", options.context, "-lv", 1, *(["-t", options.threads] if options.threads else []), *arguments],
                         port, "llama.cpp")

    def answer(self, prompt, tokens):
        answer = post(self.url + "/completion", {"prompt": prompt, "n_predict": tokens, "temperature": 0, "return_tokens": True})
        timings = answer["timings"]
        return Answer(answer["tokens"], timings["predicted_ms"], timings.get("draft_n", 0), timings.get("draft_n_accepted", 0))


class LlamaCppPython:
    name = "llama-cpp-python"

    def __init__(self, options, drafts):
        import llama_cpp
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        class Counted(LlamaPromptLookupDecoding):
            calls = drafted = 0

            def __call__(self, ids, /, **rest):
                found = super().__call__(ids, **rest)
                self.calls += 1
                self.drafted += len(found)
                return found

        self.drafts = drafts
        self.lookup = None if drafts == "plain" else Counted(options.match, options.ahead)
        threads = {"n_threads": options.threads} if options.threads else {}
        self.model = llama_cpp.Llama(options.model, n_ctx=options.context, draft_model=self.lookup, verbose=False, **threads)

    def answer(self, prompt, tokens):
        said, times = [], []
        calls, drafted = (self.lookup.calls, self.lookup.drafted) if self.lookup else (0, 0)
        for token in self.model.generate(prompt, temp=0):
            said.append(token)
            times.append(time.perf_counter())
            if len(said) == tokens or token == self.model.token_eos():
                break
        answer = Answer(said, 1000 * (times[-1] - times[0]))
        if self.lookup:  # every call but the last was followed by a step of its own
            answer.drafted = self.lookup.drafted - drafted
            answer.accepted = len(said) - 1 - (self.lookup.calls - calls)
        return answer


def engines_of(options, stack):
    """Each engine plain and with its drafts, plain first."""
    lookup = {"method": "ngram", "num_speculative_tokens": options.ahead, "prompt_lookup_min": options.match, "prompt_lookup_max": options.match}
    served = stack.enter_context(Millrace(options, "Millrace, ngram", lookup))
    engines = [MillraceEngine(served, "plain"), MillraceEngine(served, "ngram")]
    if options.draft:
        config = {"method": "draft_model", "model": options.draft, "num_speculative_tokens": options.ahead}
        engines.append(MillraceEngine(stack.enter_context(Millrace(options, "Millrace, draft model", config)), "draft model"))
    if options.llama:
        kinds = {"plain": [], "ngram": ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", options.match,
                                        "--spec-ngram-simple-size-m", options.ahead]}
        if options.draft:
            kinds["draft model"] = ["--spec-type", "draft-simple", "-md", options.draft, "--spec-draft-n-max", options.ahead]
        engines += [stack.enter_context(LlamaServer(options, drafts, arguments)) for drafts, arguments in kinds.items()]
    else:
        say("without llama.cpp's server: no --llama")
    if importlib.util.find_spec("llama_cpp"):
        engines += [LlamaCppPython(options, drafts) for drafts in ("plain", "ngram")]
    else:
        say("without llama-cpp-python: it is not installed")
    return engines


def tokens_of(server, prompt):
    return post(server.url + "/tokenize", {"messages": [{"role": "user", "content": prompt}]})["tokens"]


def answered(engine, prompts, tokens):
    answers = []
    for prompt in prompts:
        engine.answer(prompt, WARM_TOKENS)
        answers.append(engine.answer(prompt, tokens))
    return answers


def speed(answers):
    return 1000 * sum(len(a.tokens) - 1 for a in answers) / sum(a.ms for a in answers)


def row(text, engine, rounds, plain):
    """Of one engine's rounds and those of its plain decoding, each a list of answers."""
    ratio = statistics.median(speed(own) / speed(other) for own, other in zip(rounds, plain))
    last = rounds[-1]
    said, drafted, accepted = sum(len(a.tokens) for a in last), sum(a.drafted for a in last), sum(a.accepted for a in last)
    same = sum(a.tokens == b.tokens for a, b in zip(last, plain[-1]))
    if engine.name == "Millrace" and same < len(last):
        sys.exit(f"Millrace by {engine.drafts} answered {text} otherwise than plain decoding")
    return line([text, engine.name, engine.drafts, f"{statistics.median(map(speed, rounds)):.1f}", f"{ratio:.2f}",
                 f"{accepted / drafted:.0%}" if drafted else "", f"{said / (said - accepted):.2f}", f"{same} of {len(last)}"])


def compare(engines, text, options):
    asked = prompts_of(text, options.prompts, options.chat)
    prompts = [tokens_of(engines[0].server, prompt) for prompt in asked]
    rounds = [[] for _ in engines]
    for turn in range(options.rounds):
        for engine, own in zip(engines, rounds):
            say(f"{text}: round {turn + 1} of {options.rounds}, {engine.name}, {engine.drafts}")
            own.append(answered(engine, prompts, options.tokens))
    plain = {engine.name: own for engine, own in zip(engines, rounds) if engine.drafts == "plain"}
    return [row(text, engine, own, plain[engine.name]) for engine, own in zip(engines, rounds)]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--llama", help="folder with llama.cpp's llama-server")
    parser.add_argument("--draft", help="the draft model's file; without it only prompts are looked up")
    parser.add_argument("--ahead", type=int, default=8, help="tokens that are drafted")
    parser.add_argument("--match", type=int, default=3, help="tokens that a lookup must find")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        engines = engines_of(options, stack)
        rows = (row for text in texts_of(options.texts, options.chat) for row in compare(engines, text, options))
        publish(rows, HEAD, options.append)


if __name__ == "__main__":
    main()
