"""The requests of `vllm bench serve`, sent as it sends them: prompts of random tokens aligned through /detokenize and /tokenize,
streamed completions with usage, and what it reads before and after from /metrics and /v1/models."""

import asyncio
import json
import random
import statistics
import time
import unittest

from served import NAME, main, start

import aiohttp

PROMPTS, PROMPT_TOKENS, ANSWER_TOKENS = 16, 48, 24


async def get_json(session, path, body=None):
    async with session.request("GET" if body is None else "POST", path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def aligned_prompt(session, tokens):
    """Text that is again as many tokens: random ids seldom survive the way through text and back."""
    for _ in range(10):
        prompt = (await get_json(session, "/detokenize", {"model": NAME, "tokens": tokens}))["prompt"]
        body = {"model": NAME, "prompt": prompt, "add_special_tokens": False}
        again = (await get_json(session, "/tokenize", body))["tokens"]
        if len(again) == PROMPT_TOKENS:
            return prompt
        tokens = (again + [random.randrange(1000, 40000) for _ in range(PROMPT_TOKENS)])[:PROMPT_TOKENS]
    return prompt


async def one_request(session, prompt):
    """As the backend `openai` of vLLM's request functions."""
    payload = {"model": NAME, "prompt": prompt, "repetition_penalty": 1.0, "max_tokens": ANSWER_TOKENS, "logprobs": None,
               "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.0, "ignore_eos": True}
    result = {"text": "", "itl": [], "ttft": 0.0, "output_len": 0}
    start_time = last = time.perf_counter()
    buffer = ""
    async with session.post("/v1/completions", json=payload, headers={"Authorization": "Bearer x"}) as response:
        assert response.status == 200, await response.text()
        async for piece in response.content.iter_any():
            buffer += piece.decode()
            *events, buffer = buffer.split("\n\n")
            for event in events:
                if event.startswith(":"):
                    continue
                data = event.removeprefix("data: ")
                if data == "[DONE]":
                    continue
                chunk = json.loads(data)
                if chunk.get("choices"):
                    now = time.perf_counter()
                    if result["ttft"] == 0.0:
                        result["ttft"] = now - start_time
                    else:
                        result["itl"].append(now - last)
                    last = now
                    result["text"] += chunk["choices"][0]["text"] or ""
                elif usage := chunk.get("usage"):
                    result["output_len"] = usage["completion_tokens"]
    result["latency"] = last - start_time
    return result


class BenchServe(unittest.TestCase):
    def test_a_run(self):
        with start() as server:
            asyncio.run(self.run_against(server))

    async def run_against(self, server):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            await self.benchmark(session)

    async def benchmark(self, session):
        self.assertEqual((await get_json(session, "/v1/models"))["data"][0]["id"], NAME)
        dice = random.Random(1)
        prompts = [await aligned_prompt(session, [dice.randrange(1000, 40000) for _ in range(PROMPT_TOKENS)])
                   for _ in range(PROMPTS)]
        before = await self.counters(session)
        slots = asyncio.Semaphore(8)  # --max-concurrency 8

        async def limited(prompt):
            async with slots:
                return await one_request(session, prompt)

        begin = time.perf_counter()
        results = await asyncio.gather(*map(limited, prompts))
        took = time.perf_counter() - begin
        after = await self.counters(session)

        self.assertEqual([result["output_len"] for result in results], [ANSWER_TOKENS] * PROMPTS)
        self.assertTrue(all(result["text"] and result["ttft"] > 0 for result in results))
        self.assertEqual(after["vllm:generation_tokens_total"] - before["vllm:generation_tokens_total"],
                         PROMPTS * ANSWER_TOKENS)
        self.assertEqual(after["vllm:request_success_total"] - before["vllm:request_success_total"], PROMPTS)
        tpot = [(r["latency"] - r["ttft"]) / (r["output_len"] - 1) for r in results]
        print(f"\n{PROMPTS * ANSWER_TOKENS / took:.0f} tok/s, TTFT {1000 * statistics.median(r['ttft'] for r in results):.1f} ms, "
              f"TPOT {1000 * statistics.median(tpot):.1f} ms, "
              f"ITL {1000 * statistics.median(gap for r in results for gap in r['itl']):.1f} ms (medians)")

    async def counters(self, session):
        """Sums over labels, by name."""
        sums = {}
        async with session.get("/metrics") as response:
            self.assertEqual(response.status, 200)
            for line in (await response.text()).splitlines():
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    name = name.split("{")[0]
                    sums[name] = sums.get(name, 0) + float(value)
        return sums


if __name__ == "__main__":
    main()
