#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/answer/answer_shape.h"
#include "server/answer/mailbox.h"
#include "server/answer/token_text.h"
#include "server/http/http_message.h"
#include "server/http/server_limits.h"
#include "server/request/api_request.h"
#include "server/request/named_model.h"
#include "server/request/prompts.h"
#include "text/stream.h"

namespace millrace {

// One API request at work: its prompts run in the generator, their tokens become text, and the text
// an answer of the asked shape, at once or as an event stream. It keeps of the request what the
// answer needs.
class Generation final : public AnswerSource {
 public:
  // Submits every prompt or, after an error, none.
  static absl::StatusOr<std::shared_ptr<Generation>> start(std::shared_ptr<const NamedModel> model,
                                                           const AnswerShape& shape,
                                                           ApiRequest request,
                                                           std::vector<Prompt> prompts,
                                                           const ServerLimits& limits);
  ~Generation() override;

  void watch(std::function<void()> wake) override;
  AnswerPart next() override;
  AnswerPart ping() override;
  void end(const absl::Status& reason) override;
  GenerationReport report() const override { return report_; }

 private:
  struct Choice {
    explicit Choice(const TextStream& stream) : text(stream) {}
    TextStream text;
    std::optional<TextOffsets> offsets;  // of the entries of `scores`, where they have some
    int64_t tokens = 0;                  // generated
    std::vector<TokenId> token_ids;      // where asked for; in a stream, not yet sent
    bool opened = false;
    bool sent = false;  // a chunk of it
    FinishReason finish = FinishReason::kNone;
    Ending ending;
    std::string gathered;  // text; in a stream, not yet sent
    ScoreText scores;      // the same
  };
  // What its choices repeat is made once.
  struct PromptState {
    explicit PromptState(TextOffsets begin) : offsets(std::move(begin)) {}
    int64_t tokens = 0;
    std::string text;       // that echo shows
    std::string token_ids;  // where asked for; elements of JSON lists, as the next
    std::string logprobs;
    ScoreText scores;  // that echo shows
    TextOffsets offsets;
    RequestId id;
    bool finished = false;
  };

  Generation(std::shared_ptr<const NamedModel> model, const AnswerShape& shape,
             const ApiRequest& request, std::vector<Prompt>& prompts, const ServerLimits& limits);

  void add_prompt(Prompt& prompt);
  void make_choices();
  std::vector<Submission> work_of(const Request& shared, std::vector<Prompt> prompts) const;
  absl::Status submit(std::vector<Submission> work);
  void cancel();

  void accept(const Delivery& delivery, AnswerPart& part);
  void accept_prompt_token(PromptState& prompt, ScoredToken token) const;
  void accept_token(int32_t index, const TokenEvent& token, AnswerPart& part);
  void check_held(AnswerPart& part);
  void send_gathered(int32_t index, AnswerPart& part);
  void score(Choice& choice, const TokenEvent& token);
  void open(int32_t index, AnswerPart& part);
  void accept_finish(PromptState& prompt, const FinishEvent& finish, AnswerPart& part);
  void fail(const absl::Status& status, AnswerPart& part);
  void complete(AnswerPart& part);
  std::string whole_choice(int32_t index);

  PromptState& prompt_of(int32_t choice) {
    return prompts_[static_cast<size_t>(choice / choices_each_)];
  }
  Choice& choice(int32_t index) { return choices_[static_cast<size_t>(index)]; }
  bool echoes_scores() const { return answer_.echo && scores_ && shape_.prompt_in_choice; }
  TokenNames names() const { return {model_->served.tokenizer, answer_.tokens_as_ids}; }
  Ending ending_of(const TokenEvent& last) const;
  std::string logprobs_of(const ScoreText& scores) const;
  std::string about_prompt(const PromptState& prompt) const;
  void send_choice(int32_t index, std::string chunk, AnswerPart& part);

  const std::shared_ptr<const NamedModel> model_;
  const AnswerShape& shape_;
  const AnswerOptions answer_;
  const StopParams stop_;
  const bool stream_;
  const bool scores_;           // log-probabilities of generated tokens were asked for
  const int32_t choices_each_;  // of a prompt
  const int64_t score_bytes_max_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::vector<PromptState> prompts_;
  std::vector<Choice> choices_;  // a prompt's n choices are neighbours
  std::string envelope_;         // of every chunk, up to the choices
  std::vector<Delivery> taken_;
  size_t cursor_ = 0;  // into taken_
  GenerationReport report_;
  size_t finished_ = 0;      // prompts
  int64_t score_bytes_ = 0;  // held for an answer that is given whole
  bool streamed_ = false;    // something of the stream went out
  bool over_ = false;        // the last part was given
  absl::Status ending_;      // why the server ends it
};

}  // namespace millrace
