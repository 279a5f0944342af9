#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/answer_shape.h"
#include "server/api_request.h"
#include "server/http_message.h"
#include "server/mailbox.h"
#include "server/named_model.h"
#include "server/prompts.h"
#include "text/stream.h"

namespace millrace {

// One API request at work: its prompts run in the generator, their tokens become text, and the text
// an answer of the asked shape, at once or as an event stream.
class Generation final : public AnswerSource {
 public:
  // Submits every prompt or, after an error, none. `tokens_max` is parallel to `prompts`.
  static absl::StatusOr<std::shared_ptr<Generation>> start(
      std::shared_ptr<const NamedModel> model, const AnswerShape& shape, ApiRequest request,
      std::vector<Prompt> prompts, const std::vector<int64_t>& tokens_max, int64_t pending_bytes);
  ~Generation() override;

  void watch(std::function<void()> wake) override;
  AnswerPart next() override;
  AnswerPart ping() override;
  void end(const absl::Status& reason) override;
  GenerationReport report() const override { return report_; }

 private:
  struct Choice {
    explicit Choice(TextStream stream) : text(std::move(stream)) {}
    TextStream text;
    std::optional<TextStream> unstopped;  // for text offsets, which know no stops
    int64_t characters = 0;               // that `unstopped` has let out
    int64_t tokens = 0;                   // generated
    std::vector<TokenId> token_ids;       // where asked for; in a stream, not yet sent
    bool opened = false;
    bool sent = false;  // a chunk of it
    FinishReason reason = FinishReason::kNone;
    std::string gathered;             // of an answer that is given whole
    std::vector<ScoredToken> scored;  // the same; in a stream, not yet sent
  };
  struct PromptState {
    Prompt prompt;
    std::vector<ScoredToken> scored;
    int64_t characters = 0;
    RequestId id;
    bool finished = false;
  };

  Generation(std::shared_ptr<const NamedModel> model, const AnswerShape& shape, ApiRequest request,
             std::vector<Prompt> prompts, int64_t pending_bytes);

  absl::Status submit(const std::vector<int64_t>& tokens_max);
  void make_choices();
  void cancel();

  void accept(const Delivery& delivery, AnswerPart& part);
  void accept_prompt_token(PromptState& prompt, const TokenEvent& token);
  void accept_token(int32_t index, const TokenEvent& token, AnswerPart& part);
  void score(Choice& choice, const TokenEvent& token);
  void open(int32_t index, AnswerPart& part);
  void accept_finish(PromptState& prompt, const FinishEvent& finish, AnswerPart& part);
  void fail(const absl::Status& status, AnswerPart& part);
  void complete(AnswerPart& part);
  std::string whole_choice(int32_t index);

  PromptState& prompt_of(int32_t choice) {
    return prompts_[static_cast<size_t>(choice / request_.generation.choices)];
  }
  Choice& choice(int32_t index) { return choices_[static_cast<size_t>(index)]; }
  bool wants_logprobs() const { return request_.generation.logprobs >= 0; }
  Json take_logprobs(Choice& choice);
  Json about_prompt(const PromptState& prompt) const;
  void send_choice(int32_t index, Json chunk, AnswerPart& part);

  const std::shared_ptr<const NamedModel> model_;
  const AnswerShape& shape_;
  const ApiRequest request_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::vector<PromptState> prompts_;
  std::vector<Choice> choices_;  // a prompt's n choices are neighbours
  std::string envelope_;         // of every chunk, up to the choices
  std::vector<Delivery> taken_;
  size_t cursor_ = 0;  // into taken_
  GenerationReport report_;
  size_t finished_ = 0;     // prompts
  bool streaming_ = false;  // something of the stream went out
  bool over_ = false;       // the last part was given
  absl::Status ending_;     // why the server ends it
};

}  // namespace millrace
