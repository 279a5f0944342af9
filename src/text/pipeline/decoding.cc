#include "text/pipeline/decoding.h"

#include <array>
#include <optional>
#include <utility>

#include "text/byte_tokens.h"
#include "text/unicode/byte_alphabet.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

std::string with_replaced(std::string_view text, std::string_view pattern,
                          std::string_view content) {
  std::string out;
  size_t at = 0;
  for (size_t found = text.find(pattern); found != text.npos; found = text.find(pattern, at)) {
    out.append(text.substr(at, found - at)).append(content);
    at = found + pattern.size();
  }
  return out.append(text.substr(at));
}

class Metaspace final : public DecodeStep {
 public:
  Metaspace(std::string mark, bool drop_first) : mark_(std::move(mark)), drop_first_(drop_first) {}
  std::string apply(std::string token, TokenPlace place) const override {
    return with_replaced(token, mark_, place.first && drop_first_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool drop_first_;
};

class Continuations final : public DecodeStep {
 public:
  explicit Continuations(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string token, TokenPlace place) const override {
    if (place.first) return token;
    return token.starts_with(prefix_) ? token.substr(prefix_.size()) : " " + token;
  }

 private:
  std::string prefix_;
};

class CleanUp final : public DecodeStep {
 public:
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    // The `tokenizers` package's list, in its order.
    constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kChanges = {
        {{" .", "."},
         {" ?", "?"},
         {" !", "!"},
         {" ,", ","},
         {" ' ", "'"},
         {" n't", "n't"},
         {" 'm", "'m"},
         {" do not", " don't"},
         {" 's", "'s"},
         {" 've", "'ve"},
         {" 're", "'re"}}};
    for (const auto& [from, to] : kChanges) {
      if (token.find(from) != token.npos) token = with_replaced(token, from, to);
    }
    return token;
  }
};

class WordEnds final : public DecodeStep {
 public:
  explicit WordEnds(std::string suffix) : suffix_(std::move(suffix)) {}
  std::string apply(std::string token, TokenPlace place) const override {
    if (suffix_.empty()) return token;
    return with_replaced(token, suffix_, place.last ? "" : " ");
  }

 private:
  std::string suffix_;
};

class DecodeReplaceText final : public DecodeStep {
 public:
  DecodeReplaceText(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    return with_replaced(token, pattern_, content_);
  }

 private:
  std::string pattern_;
  std::string content_;
};

class DecodeReplaceMatches final : public DecodeStep {
 public:
  DecodeReplaceMatches(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    std::string out;
    Regex::Room room;
    size_t at = 0;
    if (!is_utf8(token)) return token;
    for (size_t from = 0; from <= token.size();) {
      const std::optional<ByteRange> match = pattern_.find(token, from, room);
      if (!match) break;
      out.append(token, at, match->begin - at).append(content_);
      at = match->end;
      if (match->begin < match->end) {
        from = match->end;
      } else if (match->end < token.size()) {
        from = match->end + decode_utf8(std::string_view(token).substr(match->end)).length;
      } else {
        break;
      }
    }
    return out.append(token, at);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class DecodeStrip final : public DecodeStep {
 public:
  DecodeStrip(std::string content, size_t start, size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    std::string_view text = token;
    for (size_t n = 0; n < start_ && text.starts_with(content_); ++n) {
      text.remove_prefix(content_.size());
    }
    for (size_t n = 0; n < stop_ && text.ends_with(content_); ++n) {
      text.remove_suffix(content_.size());
    }
    return std::string(text);
  }

 private:
  std::string content_;
  size_t start_;
  size_t stop_;
};

class FromByteTokens final : public DecodeStep {
 public:
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    const int byte = ByteTokens::byte_of(token);
    return byte < 0 ? token : std::string(1, static_cast<char>(byte));
  }
};

class FromByteAlphabet final : public DecodeStep {
 public:
  std::string apply(std::string token, TokenPlace /*place*/) const override {
    return unspelled(token);
  }
};

class Spaced final : public DecodeStep {
 public:
  std::string apply(std::string token, TokenPlace place) const override {
    return place.first ? token : " " + token;
  }
};

}  // namespace

DecodeStepPtr decode_metaspace(std::string mark, bool drop_first) {
  return std::make_unique<Metaspace>(std::move(mark), drop_first);
}
DecodeStepPtr decode_continuations(std::string prefix) {
  return std::make_unique<Continuations>(std::move(prefix));
}
DecodeStepPtr decode_clean_up() { return std::make_unique<CleanUp>(); }
DecodeStepPtr decode_word_ends(std::string suffix) {
  return std::make_unique<WordEnds>(std::move(suffix));
}
DecodeStepPtr decode_replace(std::string pattern, std::string content) {
  return std::make_unique<DecodeReplaceText>(std::move(pattern), std::move(content));
}
DecodeStepPtr decode_replace(Regex pattern, std::string content) {
  return std::make_unique<DecodeReplaceMatches>(std::move(pattern), std::move(content));
}
DecodeStepPtr decode_strip(std::string content, size_t start, size_t stop) {
  return std::make_unique<DecodeStrip>(std::move(content), start, stop);
}
DecodeStepPtr decode_byte_tokens() { return std::make_unique<FromByteTokens>(); }
DecodeStepPtr decode_byte_alphabet() { return std::make_unique<FromByteAlphabet>(); }
DecodeStepPtr decode_spaced() { return std::make_unique<Spaced>(); }

std::string Decoding::piece(std::string_view token, TokenPlace place) const {
  std::string text(token);
  for (const DecodeStepPtr& step : steps_) text = step->apply(std::move(text), place);
  return text;
}

std::string Decoding::whole(std::string text) const {
  for (const DecodeStepPtr& step : whole_steps_) {
    text = step->apply(std::move(text), {.first = true, .last = true});
  }
  return text;
}

}  // namespace millrace
