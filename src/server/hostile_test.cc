#include <random>

#include "server/fixture_test.h"

// Whatever comes in, the server goes on, answers with its one shape of error, and no other client
// notices.
namespace millrace {
namespace {

using HostileTest = ServerTest;

constexpr const char* kPaths[] = {"/v1/chat/completions", "/v1/completions", "/tokenize",
                                  "/detokenize", "/apply-template"};

void expect_error(const HttpReply& reply, const std::string& about) {
  EXPECT_EQ(reply.status, 400) << about;
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
  const Json object = reply.json();
  ASSERT_TRUE(object.size() == 1 && object.contains("error")) << about;
  const Json& error = object["error"];
  EXPECT_EQ(error.size(), 4U) << about;
  for (const char* key : {"message", "type", "param", "code"}) {
    EXPECT_TRUE(error.contains(key)) << about;
  }
  const auto message = error["message"].get<std::string>();
  EXPECT_FALSE(message.empty()) << about;
  EXPECT_LE(message.size(), 1000U) << about;
  EXPECT_LE(json_text(error["param"]).size(), 300U) << about;
  for (const std::string_view hint : {"src/", ".cc", "0x", "std::", "nlohmann", "json.exception"}) {
    EXPECT_EQ(message.find(hint), std::string::npos) << message;
  }
  for (const std::string_view line_end : {"\n", "\r", "\u0085", "\u2028", "\u2029"}) {
    EXPECT_EQ(message.find(line_end), std::string::npos) << message;
  }
}

std::string many_keys(int count) {
  std::string text = "{\"a\":1";
  for (int i = 0; i < count; ++i) text += fmt::format(",\"k{}\":1", i);
  return text + "}";
}

TEST_F(HostileTest, SizesOfEveryKindAreAnsweredOnEveryRoute) {
  start();
  const std::string line(1'000'000, 'x');
  const std::pair<const char*, std::string> bodies[] = {
      {"keys", many_keys(100'000)},
      {"levels of lists", std::string(100'000, '[') + std::string(100'000, ']')},
      {"levels of objects",
       [] {
         std::string text;
         for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
         return text;
       }()},
      {"a line that is no JSON", line},
      {"a line as a key's value", "{\"model\":1,\"x\":\"" + line + "\"}"},
      {"a line as a key", "{\"" + line + "\":1,\"model\":[]}"},
      {"a line as a number", "{\"tokens\":" + std::string(1'000'000, '9') + "}"},
      {"a key of zeros", "{\"prompt\":\"a\",\"messages\":0,\"tokens\":0,\"logit_bias\":{\"" +
                             std::string(100'000, '0') + "1\":1000}}"},
      {"quotes", std::string(1'000'000, '"')},
      {"nothing", ""},
      {"NUL", std::string(3, '\0')},
      {"a byte order mark", "\xef\xbb\xbf{}"},
      {"separators of lines", "{\"model\":1,\"\u2028\u0085\":1}"},
  };
  for (const char* path : kPaths) {
    for (const auto& [name, body] : bodies) {
      expect_error(ask(post(path, body)), fmt::format("{} with {}", path, name));
    }
  }
  const Json unknown = {{"prompt", "a"}, {"model", "a\u2028b\u0085" + line}};
  const HttpReply reply = ask_completion(unknown);
  EXPECT_EQ(reply.status, 404);
  EXPECT_LE(reply.body.size(), 1200U);
  EXPECT_EQ(reply.body.find("\u2028"), std::string::npos);
  EXPECT_EQ(ask(get("/health")).status, 200);
}

// Good requests with bytes of them changed, left out, doubled.
std::string mutated(std::string text, std::mt19937_64& random) {
  const auto below = [&](size_t end) {
    return std::uniform_int_distribution<size_t>(0, end - 1)(random);
  };
  for (size_t edits = 1 + below(4); edits > 0 && !text.empty(); --edits) {
    const size_t at = below(text.size());
    switch (below(4)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), below(16)));
        break;
      default:
        text[at] = "{}[]\",:0-e\\nu"[below(13)];
    }
  }
  return text;
}

TEST_F(HostileTest, AnyBytesGetAnAnswerAndOthersNoticeNothing) {
  echo->round_delay = absl::Microseconds(300);
  start();
  constexpr int kGood = 8;
  const auto good = [](int i) {
    const Json body = {{"prompt", fmt::format("stream {}", i)},
                       {"max_tokens", 400},
                       {"stream", true},
                       {"seed", i},
                       {"logprobs", 2},
                       {"request_id", fmt::format("g{}", i)}};
    return post("/v1/completions", body.dump());
  };
  const auto without_time = [](std::string body) {
    for (size_t at = 0; (at = body.find("\"created\":", at)) != std::string::npos;) {
      const size_t end = body.find(',', at);
      body.erase(at, end - at);
    }
    return body;
  };
  std::vector<std::string> alone;
  for (int i = 0; i < kGood; ++i) alone.push_back(without_time(ask(good(i)).body));

  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < kGood; ++i) {
    clients.push_back(std::make_unique<TestClient>(server->port()));
    clients.back()->send(good(i));
  }
  std::mt19937_64 random(17);
  const std::string seeds[] = {
      R"({"messages":[{"role":"user","content":"a"}],"max_tokens":2,"stop":["x"],"n":2})",
      R"({"prompt":[[1,2],[3]],"max_tokens":2,"logit_bias":{"5":-1},"echo":true,"logprobs":1})",
      R"({"content":"a b","with_pieces":true,"add_special":false})", R"({"tokens":[1,2,3]})",
      R"({"messages":[{"role":"assistant","content":"a"}],"continue_final_message":true})"};
  for (int i = 0; i < 400; ++i) {
    const std::string body = mutated(seeds[i % 5], random);
    const HttpReply reply = ask(post(kPaths[i % 5], body));
    EXPECT_TRUE(reply.whole) << body;
    if (reply.status != 200 && reply.status != 404) expect_error(reply, body);
  }
  for (int i = 0; i < kGood; ++i) {
    EXPECT_EQ(without_time(clients[static_cast<size_t>(i)]->read_reply().body),
              alone[static_cast<size_t>(i)]);
  }
}

}  // namespace
}  // namespace millrace
