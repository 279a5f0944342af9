"""prometheus_client's parser reads /metrics: names, types, and histograms that add up."""

import unittest

from served import NAME, main, start

from prometheus_client.parser import text_string_to_metric_families

TYPES = {"vllm:num_requests_running": "gauge", "vllm:num_requests_waiting": "gauge", "vllm:kv_cache_usage_perc": "gauge",
         "vllm:prompt_tokens": "counter", "vllm:generation_tokens": "counter", "vllm:request_success": "counter",
         "vllm:prefix_cache_queries": "counter", "vllm:prefix_cache_hits": "counter", "vllm:num_preemptions": "counter",
         "vllm:time_to_first_token_seconds": "histogram", "vllm:inter_token_latency_seconds": "histogram",
         "vllm:e2e_request_latency_seconds": "histogram", "vllm:request_queue_time_seconds": "histogram",
         "vllm:request_prompt_tokens": "histogram", "vllm:iteration_tokens_total": "histogram",
         "process_resident_memory_bytes": "gauge", "process_cpu_seconds": "counter"}


class Metrics(unittest.TestCase):
    def families(self, server):
        status, headers, body = server.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        families = list(text_string_to_metric_families(body.decode()))
        names = [family.name for family in families]
        self.assertEqual(len(names), len(set(names)), "a family stands twice")
        return {family.name: family for family in families}

    def test_scrapes(self):
        with start() as server:
            first = self.families(server)
            for name, kind in TYPES.items():
                with self.subTest(name=name):
                    self.assertEqual(first[name].type, kind)
                    self.assertTrue(first[name].samples, "a series is there before its first event")
            for i in range(3):
                server.post("/v1/completions", {"prompt": f"Number {i}", "max_tokens": 8, "ignore_eos": True})
            second = self.families(server)
            self.check_numbers(second)
            for family in second.values():
                if family.type == "histogram":
                    self.check_histogram(family)

    def check_numbers(self, families):
        (generated,) = families["vllm:generation_tokens"].samples
        self.assertEqual(generated.labels["model_name"], NAME)
        self.assertEqual(generated.value, 24)
        gaps = {s.name: s.value for s in families["vllm:inter_token_latency_seconds"].samples if s.name.endswith("_count")}
        self.assertEqual(gaps, {"vllm:inter_token_latency_seconds_count": 21})  # tokens - 1 of each answer
        finished = {s.labels["finished_reason"]: s.value for s in families["vllm:request_success"].samples}
        self.assertEqual(finished["length"], 3)
        self.assertEqual(finished["abort"], 0)

    def check_histogram(self, family):
        """Buckets rise, and the last holds all."""
        series = {}
        for sample in family.samples:
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            one = series.setdefault(labels, {"buckets": []})
            if sample.name.endswith("_bucket"):
                one["buckets"].append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_count"):
                one["count"] = sample.value
        for one in series.values():
            self.assertEqual(one["buckets"], sorted(one["buckets"]))
            counts = [count for _, count in one["buckets"]]
            self.assertEqual(counts, sorted(counts))
            self.assertEqual(one["buckets"][-1], (float("inf"), one["count"]))


if __name__ == "__main__":
    main()
