#include "server/observe/metrics.h"

#include <chrono>
#include <map>
#include <sstream>

#include <absl/time/clock.h>

#include "core/observer.h"
#include "server/answer/retry_after.h"
#include "server/fixture_test.h"

namespace millrace {
namespace {

class StillGenerator final : public Generator {
 public:
  StillGenerator() {
    card_.context_max = 2048;
    card_.block_tokens = 16;
    card_.prefix_caching = true;
  }
  absl::StatusOr<std::vector<RequestId>> submit_all(std::vector<Submission>) override {
    return absl::UnavailableError("still");
  }
  void cancel(RequestId) override {}
  const ModelCard& card() const override { return card_; }
  GeneratorStats stats() const override { return now; }
  bool healthy() const override { return true; }

  GeneratorStats now;

 private:
  ModelCard card_;
};

// Every sample by its name and labels.
std::map<std::string, double> samples_of(std::string_view text) {
  std::map<std::string, double> samples;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const size_t space = line.rfind(' ');
    const auto [at, is_new] =
        samples.emplace(line.substr(0, space), std::strtod(line.c_str() + space, nullptr));
    EXPECT_TRUE(is_new) << line;
  }
  return samples;
}

class MetricsTest : public testing::Test {
 protected:
  MetricsTest() { metrics.set_model(generator, "mill \"one\""); }

  double of_engine(std::string_view name, std::string_view labels = "") const {
    return sample("vllm", name, labels);
  }
  double of_group(std::string_view name, std::string_view labels) const {
    return sample("millrace", name, labels);
  }
  double sample(std::string_view whose, std::string_view name, std::string_view labels) const {
    const auto samples = samples_of(metrics.text());
    const std::string key =
        fmt::format("{}:{}{{model_name=\"mill \\\"one\\\"\",engine=\"0\"{}}}", whose, name, labels);
    EXPECT_TRUE(samples.contains(key)) << key;
    return samples.contains(key) ? samples.at(key) : -1;
  }
  static RequestReport report_of(FinishReason reason, absl::Status status = absl::OkStatus()) {
    const Instant start;
    RequestReport report;
    report.reason = reason;
    report.finish.status = std::move(status);
    report.finish.usage = {.prompt_tokens = 30, .cached_tokens = 16, .generated_tokens = 12};
    report.finish.times = {start, start + absl::Seconds(1), start + absl::Seconds(3),
                           start + absl::Seconds(13)};
    report.choices = 2;
    report.tokens_max = 64;
    report.generated_longest = 11;
    report.preemptions = 3;
    return report;
  }

  StillGenerator generator;
  Metrics metrics{{}};
};

TEST_F(MetricsTest, EverySeriesIsThereAtZero) {
  const std::string text = metrics.text();
  for (const char* type : {"vllm:num_requests_running gauge",
                           "vllm:num_requests_waiting gauge",
                           "vllm:num_requests_waiting_by_reason gauge",
                           "vllm:kv_cache_usage_perc gauge",
                           "vllm:gpu_cache_usage_perc gauge",
                           "vllm:cache_config_info gauge",
                           "vllm:lora_requests_info gauge",
                           "vllm:prefix_cache_queries_total counter",
                           "vllm:prefix_cache_hits_total counter",
                           "vllm:num_preemptions_total counter",
                           "vllm:prompt_tokens_total counter",
                           "vllm:prompt_tokens_by_source_total counter",
                           "vllm:prompt_tokens_cached_total counter",
                           "vllm:generation_tokens_total counter",
                           "vllm:request_success_total counter",
                           "vllm:time_to_first_token_seconds histogram",
                           "vllm:inter_token_latency_seconds histogram",
                           "vllm:request_time_per_output_token_seconds histogram",
                           "vllm:e2e_request_latency_seconds histogram",
                           "vllm:request_queue_time_seconds histogram",
                           "vllm:request_inference_time_seconds histogram",
                           "vllm:request_prefill_time_seconds histogram",
                           "vllm:request_decode_time_seconds histogram",
                           "vllm:request_prompt_tokens histogram",
                           "vllm:request_generation_tokens histogram",
                           "vllm:request_max_num_generation_tokens histogram",
                           "vllm:request_params_n histogram",
                           "vllm:request_params_max_tokens histogram",
                           "vllm:request_prefill_kv_computed_tokens histogram",
                           "vllm:iteration_tokens_total histogram",
                           "vllm:request_num_preemptions histogram",
                           "vllm:admission_rejections_total counter",
                           "http_requests_total counter",
                           "http_request_duration_seconds histogram",
                           "http_request_duration_highr_seconds histogram",
                           "http_request_size_bytes summary",
                           "http_response_size_bytes summary",
                           "process_cpu_seconds_total counter",
                           "process_storage_read_bytes_total counter",
                           "process_resident_memory_bytes gauge",
                           "process_virtual_memory_bytes gauge",
                           "process_open_fds gauge",
                           "process_max_fds gauge",
                           "process_start_time_seconds gauge"}) {
    const std::string line = fmt::format("# TYPE {}\n", type);
    EXPECT_NE(text.find(line), std::string::npos) << type;
    EXPECT_EQ(text.find(line), text.rfind(line)) << type;
  }
  for (const auto& [name, value] : samples_of(text)) {
    if (name == "process_storage_read_bytes_total") continue;  // or all was in the page cache
    const bool has_a_value = name.starts_with("process_") ||
                             name.starts_with("vllm:cache_config") ||
                             name.starts_with("vllm:lora_requests_info");
    EXPECT_EQ(value > 0, has_a_value) << name;
  }
}

TEST_F(MetricsTest, BucketsAreVllms) {
  const std::string text = metrics.text();
  const auto bounds_of = [&](std::string_view name) {
    std::string bounds;
    const std::string mark = fmt::format("vllm:{}_bucket{{", name);
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
      const size_t from = text.find("le=\"", at) + 4;
      bounds += text.substr(from, text.find('"', from) - from) + " ";
    }
    return bounds;
  };
  EXPECT_EQ(bounds_of("time_to_first_token_seconds"),
            "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 "
            "640 2560 +Inf ");
  EXPECT_EQ(bounds_of("inter_token_latency_seconds"),
            "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80 +Inf ");
  EXPECT_EQ(bounds_of("request_time_per_output_token_seconds"),
            bounds_of("inter_token_latency_seconds"));
  for (const char* name : {"e2e_request_latency_seconds", "request_queue_time_seconds",
                           "request_inference_time_seconds", "request_prefill_time_seconds",
                           "request_decode_time_seconds"}) {
    EXPECT_EQ(bounds_of(name),
              "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680 +Inf ");
  }
  EXPECT_EQ(bounds_of("request_num_preemptions"), "1 2 3 4 5 10 20 +Inf ");
  EXPECT_EQ(bounds_of("request_params_n"), "1 2 5 10 20 +Inf ");
  for (const char* name :
       {"request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens",
        "request_params_max_tokens", "request_prefill_kv_computed_tokens"}) {
    EXPECT_EQ(bounds_of(name), "1 2 5 10 20 50 100 200 500 1000 2000 +Inf ");
  }
  EXPECT_EQ(bounds_of("iteration_tokens_total"),
            "1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 +Inf ");
}

TEST_F(MetricsTest, ReadsTheGenerator) {
  generator.now = {.running = 3,
                   .waiting = 5,
                   .cache = {{.group = {.units = 100, .unit_bytes = 30}, .held = 24},
                             {.group = {.window = 64, .units = 50, .unit_bytes = 16},
                              .held = 15,
                              .idle = 4,
                              .evictions = 6},
                             {.group = {.kind = KvKind::kState, .units = 10, .unit_bytes = 20},
                              .held = 2,
                              .idle = 5}},
                   .preemptions = 7,
                   .prompt_tokens = 90,
                   .cached_tokens = 32,
                   .generated_tokens = 44};
  EXPECT_EQ(of_engine("num_requests_running"), 3);
  EXPECT_EQ(of_engine("num_requests_waiting"), 5);
  EXPECT_EQ(of_engine("num_requests_waiting_by_reason", ",reason=\"capacity\""), 5);
  EXPECT_EQ(of_engine("kv_cache_usage_perc"), 0.25);
  EXPECT_EQ(of_engine("gpu_cache_usage_perc"), 0.25);
  EXPECT_EQ(of_group("cache_units", ",group=\"0\",keeps=\"tokens\",window=\"0\""), 100);
  EXPECT_EQ(of_group("cache_units_held", ",group=\"1\",keeps=\"window\",window=\"64\""), 15);
  EXPECT_EQ(of_group("cache_units_idle", ",group=\"1\",keeps=\"window\",window=\"64\""), 4);
  EXPECT_EQ(of_group("cache_evictions_total", ",group=\"1\",keeps=\"window\",window=\"64\""), 6);
  EXPECT_EQ(of_group("cache_units_idle", ",group=\"2\",keeps=\"state\",window=\"0\""), 5);
  EXPECT_EQ(of_group("cache_unit_bytes", ",group=\"2\",keeps=\"state\",window=\"0\""), 20);
  EXPECT_EQ(of_engine("num_preemptions_total"), 7);
  EXPECT_EQ(of_engine("prompt_tokens_total"), 90);
  EXPECT_EQ(of_engine("prompt_tokens_by_source_total", ",source=\"local_compute\""), 58);
  EXPECT_EQ(of_engine("prompt_tokens_by_source_total", ",source=\"local_cache_hit\""), 32);
  EXPECT_EQ(of_engine("prompt_tokens_cached_total"), 32);
  EXPECT_EQ(of_engine("prefix_cache_queries_total"), 90);
  EXPECT_EQ(of_engine("prefix_cache_hits_total"), 32);
  EXPECT_EQ(of_engine("generation_tokens_total"), 44);
  EXPECT_EQ(of_engine("cache_config_info",
                      ",block_size=\"16\",num_gpu_blocks=\"100\",enable_prefix_caching=\"True\""),
            1);
  EXPECT_NEAR(of_engine("lora_requests_info",
                        ",max_lora=\"0\",waiting_lora_adapters=\"\",running_lora_adapters=\"\""),
              static_cast<double>(absl::ToUnixSeconds(absl::Now())), 60);
}

TEST_F(MetricsTest, StepsCountTokensAndGaps) {
  const TokenGap gaps[] = {{absl::Milliseconds(30), 1}, {absl::Milliseconds(40), 2}};
  const absl::Duration first[] = {absl::Milliseconds(70)};
  metrics.stepped({.rows = 24, .gaps = gaps, .first_tokens = first});
  metrics.stepped({});
  EXPECT_EQ(of_engine("iteration_tokens_total_count"), 1);
  EXPECT_EQ(of_engine("iteration_tokens_total_sum"), 24);
  EXPECT_EQ(of_engine("inter_token_latency_seconds_count"), 3);
  EXPECT_NEAR(of_engine("inter_token_latency_seconds_sum"), 0.07, 1e-9);
  EXPECT_EQ(of_engine("inter_token_latency_seconds_bucket", ",le=\"0.025\""), 2);
  EXPECT_EQ(of_engine("time_to_first_token_seconds_bucket", ",le=\"0.06\""), 0);
  EXPECT_EQ(of_engine("time_to_first_token_seconds_bucket", ",le=\"0.08\""), 1);
}

TEST_F(MetricsTest, AFinishedRequestIsCountedOnceEverywhere) {
  metrics.finished(report_of(FinishReason::kLength));
  EXPECT_EQ(of_engine("request_success_total", ",finished_reason=\"length\""), 1);
  EXPECT_EQ(of_engine("request_success_total", ",finished_reason=\"stop\""), 0);
  for (const auto& [name, sum] : std::initializer_list<std::pair<const char*, double>>{
           {"e2e_request_latency_seconds", 13},
           {"request_queue_time_seconds", 1},
           {"request_inference_time_seconds", 12},
           {"request_prefill_time_seconds", 2},
           {"request_decode_time_seconds", 10},
           {"request_time_per_output_token_seconds", 1},
           {"request_prompt_tokens", 30},
           {"request_generation_tokens", 12},
           {"request_max_num_generation_tokens", 11},
           {"request_num_preemptions", 3},
           {"request_params_n", 2},
           {"request_params_max_tokens", 64},
           {"request_prefill_kv_computed_tokens", 14}}) {
    EXPECT_EQ(of_engine(fmt::format("{}_count", name)), 1) << name;
    EXPECT_EQ(of_engine(fmt::format("{}_sum", name)), sum) << name;
  }
}

// As vLLM counts it, so that the counts of a request's histograms are the same.
TEST_F(MetricsTest, OneTokenTakesNoTimePerToken) {
  RequestReport report = report_of(FinishReason::kLength);
  report.generated_longest = 1;
  metrics.finished(report);
  EXPECT_EQ(of_engine("request_time_per_output_token_seconds_count"), 1);
  EXPECT_EQ(of_engine("request_time_per_output_token_seconds_sum"), 0);
}

TEST_F(MetricsTest, RefusalsOfTheQueueAreCountedByItsLimit) {
  const auto rejections = [&](std::string_view reason) {
    return samples_of(metrics.text())
        .at(fmt::format("vllm:admission_rejections_total{{model_name=\"mill \\\"one\\\"\","
                        "reason=\"{}\"}}",
                        reason));
  };
  EXPECT_EQ(rejections("max_num_queued_reqs"), 0);
  metrics.rejected();
  metrics.rejected();
  RequestReport late = report_of(FinishReason::kError, absl::ResourceExhaustedError("late"));
  late.finish.times.started = Instant::infinite_past();
  metrics.finished(late);
  EXPECT_EQ(rejections("max_num_queued_reqs"), 2);
  EXPECT_EQ(rejections("max_queue_ms"), 1);
}

TEST_F(MetricsTest, AClientThatLeavesIsAnAbortAndARefusalIsNone) {
  RequestReport queued = report_of(FinishReason::kAbort, absl::CancelledError("left"));
  queued.finish.times.started = queued.finish.times.first_token = Instant::infinite_past();
  metrics.finished(queued);
  metrics.finished(report_of(FinishReason::kAbort, absl::CancelledError("left")));
  RequestReport refused = report_of(FinishReason::kError, absl::ResourceExhaustedError("late"));
  refused.finish.times.started = Instant::infinite_past();
  metrics.finished(refused);
  metrics.finished(report_of(FinishReason::kError, absl::InternalError("broken")));
  EXPECT_EQ(of_engine("request_success_total", ",finished_reason=\"abort\""), 2);
  EXPECT_EQ(of_engine("request_success_total", ",finished_reason=\"error\""), 1);
  EXPECT_EQ(of_engine("e2e_request_latency_seconds_count"), 0);
}

TEST(RetryAfter, IsTheTimeThatTheQueueTakes) {
  struct Case {
    int64_t waiting;
    absl::Duration per_sequence;
    int64_t seconds;
  };
  for (const auto& [waiting, per_sequence, seconds] :
       std::initializer_list<Case>{{0, absl::ZeroDuration(), 1},
                                   {5, absl::ZeroDuration(), 1},
                                   {10, absl::Milliseconds(250), 3},
                                   {4, absl::Milliseconds(250), 1},
                                   {1000, absl::Seconds(2), 60},
                                   {int64_t{1} << 40, absl::Hours(24), 60}}) {
    GeneratorStats stats;
    stats.waiting = waiting;
    stats.per_sequence = per_sequence;
    EXPECT_EQ(retry_after_seconds(stats), seconds) << waiting << " " << per_sequence;
  }
}

using ScrapeTest = ServerTest;

std::map<std::string, double> scraped(const HttpReply& reply) {
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return samples_of(reply.body);
}

TEST_F(ScrapeTest, TellsOfTheServedIdOnceThereIsAModel) {
  options.model_names = {"first", "second"};
  start(false);
  EXPECT_EQ(ask(get("/metrics")).status, 503);
  server->set_model(model());
  const auto samples = scraped(ask(get("/metrics")));
  EXPECT_TRUE(samples.contains("vllm:num_requests_running{model_name=\"first\",engine=\"0\"}"));
  server->begin_drain();
  EXPECT_EQ(ask(get("/metrics")).status, 200);
}

TEST_F(ScrapeTest, CountsHttpRequestsByHandler) {
  start();
  const std::string body = R"({"prompt": "abc", "max_tokens": 2})";
  EXPECT_EQ(ask(post("/v1/completions", body)).status, 200);
  EXPECT_EQ(ask(post("/v1/completions", "{")).status, 400);
  EXPECT_EQ(ask(get("/v1/models")).status, 200);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(get("/health")).status, 200);
  EXPECT_EQ(ask(get("/who/are/you")).status, 404);
  EXPECT_EQ(ask("BREW /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
  EXPECT_EQ(ask("no request\r\n\r\n").status, 400);
  const auto samples = scraped(ask(get("/metrics")));
  const auto requests = [&](std::string_view handler, std::string_view method,
                            std::string_view status) {
    return samples.at(
        fmt::format("http_requests_total{{handler=\"{}\",method=\"{}\",status=\"{}\"}}", handler,
                    method, status));
  };
  EXPECT_EQ(requests("/v1/completions", "POST", "2xx"), 1);
  EXPECT_EQ(requests("/v1/completions", "POST", "4xx"), 1);
  EXPECT_EQ(requests("/v1/models", "GET", "2xx"), 1);
  EXPECT_EQ(requests("none", "GET", "4xx"), 1);
  EXPECT_EQ(requests("none", "other", "4xx"), 2);
  EXPECT_EQ(samples.at("http_request_duration_highr_seconds_count"), 6);
  EXPECT_EQ(samples.at("http_request_duration_seconds_count{handler=\"/v1/completions\","
                       "method=\"POST\"}"),
            2);
  EXPECT_EQ(samples.at("http_request_size_bytes_sum{handler=\"/v1/completions\"}"),
            static_cast<double>(body.size() + 1));
  EXPECT_GT(samples.at("http_response_size_bytes_sum{handler=\"/v1/completions\"}"), 400);
  for (const auto& [name, value] : samples) {
    EXPECT_EQ(name.find("handler=\"/health\""), std::string::npos) << name;
  }
}

TEST_F(ScrapeTest, LoadIsTheRequestsToTheModel) {
  start();
  EXPECT_EQ(ask(get("/load")).body, R"({"server_load":0})");
  echo->hold(true);
  TestClient one(server->port()), two(server->port());
  for (TestClient* client : {&one, &two}) {
    client->send(post("/v1/completions", R"({"prompt": "abc", "max_tokens": 2})"));
  }
  ASSERT_TRUE(echo->wait_for_running(2));
  EXPECT_EQ(ask(get("/load")).body, R"({"server_load":2})");
  echo->hold(false);
  EXPECT_EQ(one.read_reply().status, 200);
  EXPECT_EQ(two.read_reply().status, 200);
  EXPECT_EQ(ask(get("/load")).body, R"({"server_load":0})");
}

TEST_F(ScrapeTest, ABrokenEngineIsNotHealthy) {
  start();
  EXPECT_EQ(ask(get("/health")).status, 200);
  echo->set_healthy(false);
  EXPECT_EQ(ask(get("/health")).status, 503);
  EXPECT_EQ(ask(get("/ready")).status, 503);
  EXPECT_EQ(ask(get("/metrics")).status, 200);
}

TEST_F(ScrapeTest, RetryAfterIsHowLongTheQueueTakes) {
  echo->queue_max = 5;
  echo->per_sequence = absl::Milliseconds(1500);
  start();
  echo->hold(true);
  std::vector<std::unique_ptr<TestClient>> waiting;
  for (int i = 0; i < 5; ++i) {
    waiting.push_back(std::make_unique<TestClient>(server->port()));
    waiting.back()->send(post("/v1/completions", R"({"prompt": "abc", "max_tokens": 2})"));
  }
  ASSERT_TRUE(echo->wait_for_running(5));
  const HttpReply refused = ask_completion({{"prompt", "abc"}, {"max_tokens", 2}});
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("retry-after"), "8");
  EXPECT_EQ(scraped(ask(get("/metrics")))
                .at("vllm:admission_rejections_total{model_name=\"echo\","
                    "reason=\"max_num_queued_reqs\"}"),
            1);
  // One that waited too long gets the same.
  echo->failure = absl::ResourceExhaustedError("the request waited too long");
  echo->per_sequence = absl::Seconds(100);
  echo->hold(false);
  const HttpReply late = waiting.front()->read_reply();
  EXPECT_EQ(late.status, 429);
  EXPECT_GE(std::stoi(late.headers.at("retry-after")), 1);
}

}  // namespace
}  // namespace millrace
