#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/string_map.h"
#include "text/byte_tokens.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json/readers.h"

namespace millrace {
namespace {

// As of a vocabulary in a GGUF file (vocab.cc).
constexpr size_t kJsonTokenBytesMax = 1024;
// Ids may leave gaps; a file does not decide by one number how much memory there must be.
constexpr int64_t kGapsMax = 1 << 20;

struct ListedAdded {
  AddedToken token = {};
  bool normalised = true;
  std::string path = {};
};

absl::StatusOr<std::vector<ListedAdded>> read_added(const JsonNode& root) {
  std::vector<ListedAdded> added;
  ASSIGN_OR_RETURN(const JsonNode list, root.at("added_tokens"));
  if (list.is_null()) return added;
  added.reserve(static_cast<size_t>(list.size()));
  RETURN_IF_ERROR(list.for_each_element([&](int64_t, const JsonNode& node) -> absl::Status {
    ListedAdded one{.path = node.path()};
    ASSIGN_OR_RETURN(one.token.text, node.string_at("content"));
    ASSIGN_OR_RETURN(const JsonNode id_node, node.at("id"));
    ASSIGN_OR_RETURN(const int64_t id, id_node.integer(0, std::numeric_limits<TokenId>::max()));
    one.token.id = static_cast<TokenId>(id);
    ASSIGN_OR_RETURN(one.token.special, node.boolean_at("special", false));
    ASSIGN_OR_RETURN(one.token.single_word, node.boolean_at("single_word", false));
    ASSIGN_OR_RETURN(one.token.lstrip, node.boolean_at("lstrip", false));
    ASSIGN_OR_RETURN(one.token.rstrip, node.boolean_at("rstrip", false));
    ASSIGN_OR_RETURN(one.normalised, node.boolean_at("normalized", !one.token.special));
    if (!one.token.text.empty()) added.push_back(std::move(one));
    return absl::OkStatus();
  }));
  return added;
}

// The vocabulary as a GGUF file would have it: a list without gaps, and what each token is for.
class VocabLister {
 public:
  explicit VocabLister(int64_t listed) : size_max_(listed + kGapsMax) {}

  absl::Status add(std::string_view text, TokenId id, TokenKind kind, std::string_view path) {
    if (text.size() > kJsonTokenBytesMax) {
      return invalid_argument("{} is a token of {} bytes; at most {}", path, text.size(),
                              kJsonTokenBytesMax);
    }
    if (id >= size_max_) {
      return invalid_argument("{} has id {}; {} tokens are listed", path, id, size_max_ - kGapsMax);
    }
    const auto i = static_cast<size_t>(id);
    if (i >= texts_.size()) {
      texts_.resize(i + 1);
      kinds_.resize(i + 1, static_cast<int64_t>(TokenKind::kUnused));
    }
    if (!texts_[i].empty() && texts_[i] != text) {
      return invalid_argument("{} has id {}, as another token does", path, id);
    }
    const auto [place, is_new] = ids_.try_emplace(std::string(text), id);
    if (!text.empty() && !is_new && place->second != id) {
      return invalid_argument("{} has id {}; the same token has id {}", path, id, place->second);
    }
    texts_[i] = text;
    kinds_[i] = static_cast<int64_t>(kind);
    return absl::OkStatus();
  }

  std::optional<TokenId> find(std::string_view text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  int64_t size() const { return std::ssize(texts_); }
  void grow_to(int64_t tokens) {
    if (tokens <= size()) return;
    texts_.resize(static_cast<size_t>(tokens));
    kinds_.resize(static_cast<size_t>(tokens), static_cast<int64_t>(TokenKind::kUnused));
  }

  Metadata metadata() const {
    Metadata metadata;
    metadata.set_strings("tokenizer.ggml.tokens", texts_);
    metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, kinds_);
    return metadata;
  }

 private:
  int64_t size_max_;
  std::vector<std::string> texts_;
  std::vector<int64_t> kinds_;
  StringMap<TokenId> ids_;
};

absl::StatusOr<VocabLister> list_vocab(const JsonNode& model, const ListedTokens& listed,
                                       const std::vector<ListedAdded>& added) {
  VocabLister vocab(std::ssize(listed.tokens) + std::ssize(added));
  for (const ListedTokens::Token& token : listed.tokens) {
    const bool byte = listed.byte_fallback && ByteTokens::byte_of(token.text) >= 0;
    const absl::Status fits =
        vocab.add(token.text, token.id, byte ? TokenKind::kByte : TokenKind::kNormal, "");
    if (fits.ok()) continue;
    if (listed.kind == ListedTokens::Kind::kUnigram) {
      return invalid_argument("model.vocab[{}]{}", token.id, message_of(fits));
    }
    ASSIGN_OR_RETURN(const JsonNode list, model.at("vocab"));
    ASSIGN_OR_RETURN(const JsonNode member, list.at(token.text));
    return invalid_argument("{}{}", member.path(), message_of(fits));
  }
  for (const ListedAdded& one : added) {
    const AddedToken& token = one.token;
    RETURN_IF_ERROR(vocab.add(token.text, token.id,
                              token.special ? TokenKind::kControl : TokenKind::kUserDefined,
                              one.path));
  }
  return vocab;
}

// bos, eos and what is put around a text, by the post-processor and tokenizer_config.json.
struct Roles {
  PipelineTokenizer::Frame frame;
  std::optional<TokenId> bos, eos;
};

absl::StatusOr<std::optional<TokenId>> read_role(const JsonNode& config, std::string_view key,
                                                 const VocabLister& vocab) {
  ASSIGN_OR_RETURN(JsonNode node, config.at(key));
  if (node.is_null()) return std::optional<TokenId>();
  std::string_view text;
  if (node.is_string()) {
    ASSIGN_OR_RETURN(text, node.string());
  } else {
    ASSIGN_OR_RETURN(text, node.string_at("content"));
  }
  const auto id = vocab.find(text);
  if (!id) return node.error("is not in the vocabulary");
  return id;
}

// What the configuration says outright goes before the post-processor, as in `transformers`.
absl::Status frame_with(const JsonNode& config, std::string_view key, std::optional<TokenId> id,
                        bool at_front, std::vector<TokenId>& side) {
  ASSIGN_OR_RETURN(const JsonNode wanted_node, config.at(key));
  if (wanted_node.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool wanted, wanted_node.boolean_or(false));
  if (wanted && !id) return wanted_node.error("is true, but there is no such token");
  if (!id) return absl::OkStatus();
  const auto there = std::ranges::find(side, *id);
  if (wanted && there == side.end()) side.insert(at_front ? side.begin() : side.end(), *id);
  if (!wanted && there != side.end()) side.erase(there);
  return absl::OkStatus();
}

absl::Status configure(const JsonNode& config, const VocabLister& vocab, Roles& roles) {
  ASSIGN_OR_RETURN(roles.bos, read_role(config, "bos_token", vocab));
  ASSIGN_OR_RETURN(roles.eos, read_role(config, "eos_token", vocab));
  RETURN_IF_ERROR(
      frame_with(config, "add_bos_token", roles.bos, /*at_front=*/true, roles.frame.before));
  return frame_with(config, "add_eos_token", roles.eos, /*at_front=*/false, roles.frame.after);
}

absl::StatusOr<Roles> read_roles(const JsonNode& root, const JsonNode* config,
                                 const VocabLister& vocab) {
  Roles roles;
  ASSIGN_OR_RETURN(const JsonNode processor, root.at("post_processor"));
  ASSIGN_OR_RETURN(roles.frame, read_frame(processor, vocab.size()));
  if (config == nullptr) return roles;
  const absl::Status configured = configure(*config, vocab, roles);
  if (configured.ok()) return roles;
  return invalid_argument("tokenizer_config.json: {}", message_of(configured));
}

absl::StatusOr<Vocab> make_vocab(const VocabLister& listed, const Roles& roles) {
  Metadata metadata = listed.metadata();
  const auto set = [&metadata](std::string_view name, std::optional<TokenId> id,
                               const std::vector<TokenId>& side) {
    if (!id) return;
    metadata.set_integer(fmt::format("tokenizer.ggml.{}_token_id", name), MetaType::kU32, *id);
    metadata.set_boolean(fmt::format("tokenizer.ggml.add_{}_token", name),
                         side == std::vector{*id});
  };
  set("bos", roles.bos, roles.frame.before);
  set("eos", roles.eos, roles.frame.after);
  return Vocab::from(metadata);
}

void share_out(std::vector<ListedAdded> added, const Vocab& vocab,
               PipelineTokenizer::Parts& parts) {
  std::vector<AddedToken> plain;
  std::vector<AddedToken> normalised;
  for (ListedAdded& one : added) {
    AddedToken& token = one.token;
    token.special |= vocab.kind(token.id) == TokenKind::kControl;
    if (!one.normalised) {
      plain.push_back(std::move(token));
      continue;
    }
    std::string text = parts.normaliser.apply(token.text);
    if (text != token.text) parts.decoded_as.emplace(token.id, text);
    token.text = std::move(text);
    normalised.push_back(std::move(token));
  }
  parts.added = AddedTokens(std::move(plain));
  parts.added_to_normalised = AddedTokens(std::move(normalised));
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> make_tokenizer(const JsonNode& root,
                                                                const JsonNode* config,
                                                                int32_t tokens_min) {
  ASSIGN_OR_RETURN(const JsonNode model, root.at("model"));
  ASSIGN_OR_RETURN(const ListedTokens listed, read_listed_tokens(model));
  ASSIGN_OR_RETURN(std::vector<ListedAdded> added, read_added(root));
  ASSIGN_OR_RETURN(VocabLister lister, list_vocab(model, listed, added));
  if (lister.size() == 0) return model.error("lists no token");
  lister.grow_to(tokens_min);
  ASSIGN_OR_RETURN(Roles roles, read_roles(root, config, lister));
  ASSIGN_OR_RETURN(Vocab made, make_vocab(lister, roles));
  const auto vocab = std::make_shared<const Vocab>(std::move(made));

  PipelineTokenizer::Parts parts;
  ASSIGN_OR_RETURN(const JsonNode normaliser, root.at("normalizer"));
  ASSIGN_OR_RETURN(parts.normaliser, read_normaliser(normaliser));
  ASSIGN_OR_RETURN(const JsonNode pre_tokenizer, root.at("pre_tokenizer"));
  ASSIGN_OR_RETURN(ReadCutter cutter,
                   read_cutter(pre_tokenizer, listed.kind == ListedTokens::Kind::kBpe));
  ASSIGN_OR_RETURN(parts.model, read_model(model, listed, vocab, cutter));
  parts.cutter = std::move(cutter.cutter);
  ASSIGN_OR_RETURN(const JsonNode decoder, root.at("decoder"));
  ASSIGN_OR_RETURN(parts.decoding, read_decoding(decoder));
  parts.frame = std::move(roles.frame);
  share_out(std::move(added), *vocab, parts);
  return std::make_unique<const PipelineTokenizer>(vocab, std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view tokenizer,
                                                                      std::string_view config,
                                                                      int32_t tokens_min) {
  ASSIGN_OR_RETURN(const JsonNode root, JsonNode::parse(tokenizer, "tokenizer.json"));
  if (config.empty()) return make_tokenizer(root, nullptr, tokens_min);
  ASSIGN_OR_RETURN(const JsonNode config_root, JsonNode::parse(config, "tokenizer_config.json"));
  return make_tokenizer(root, &config_root, tokens_min);
}

}  // namespace millrace
