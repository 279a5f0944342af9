#include <utility>

#include "text/tokenizer_json/readers.h"

namespace millrace {
namespace {

using Frame = PipelineTokenizer::Frame;

constexpr int64_t kFrameTokensMax = 64;

// ["[SEP]", 102]
absl::StatusOr<TokenId> read_pair_id(const JsonNode& node, int64_t tokens) {
  std::optional<TokenId> read;
  RETURN_IF_ERROR(
      node.for_each_element([&](int64_t index, const JsonNode& element) -> absl::Status {
        if (index != 1) return absl::OkStatus();
        ASSIGN_OR_RETURN(const int64_t id, element.integer(0, tokens - 1));
        read = static_cast<TokenId>(id);
        return absl::OkStatus();
      }));
  if (!read) return node.error("is not a token and its id");
  return *read;
}

// BertProcessing and RobertaProcessing.
absl::StatusOr<Frame> read_cls_and_sep(const JsonNode& node, int64_t tokens) {
  ASSIGN_OR_RETURN(const JsonNode cls_node, node.at("cls"));
  ASSIGN_OR_RETURN(const TokenId cls, read_pair_id(cls_node, tokens));
  ASSIGN_OR_RETURN(const JsonNode sep_node, node.at("sep"));
  ASSIGN_OR_RETURN(const TokenId sep, read_pair_id(sep_node, tokens));
  return Frame{{cls}, {sep}};
}

absl::Status append_special(const JsonNode& templates, const JsonNode& item, int64_t tokens,
                            std::vector<TokenId>& ids) {
  ASSIGN_OR_RETURN(const std::string_view name, item.string_at("id"));
  ASSIGN_OR_RETURN(const JsonNode specials, templates.at("special_tokens"));
  ASSIGN_OR_RETURN(const JsonNode special, specials.at(name));
  ASSIGN_OR_RETURN(const JsonNode list, special.at("ids"));
  return list.for_each_element([&](int64_t, const JsonNode& element) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t id, element.integer(0, tokens - 1));
    if (std::ssize(ids) >= kFrameTokensMax) {
      return item.error(fmt::format("makes more than {} tokens", kFrameTokensMax));
    }
    ids.push_back(static_cast<TokenId>(id));
    return absl::OkStatus();
  });
}

absl::StatusOr<Frame> read_template(const JsonNode& node, int64_t tokens) {
  Frame frame;
  bool text_came = false;
  ASSIGN_OR_RETURN(const JsonNode single, node.at("single"));
  RETURN_IF_ERROR(single.for_each_element([&](int64_t, const JsonNode& item) -> absl::Status {
    ASSIGN_OR_RETURN(const JsonNode special, item.at("SpecialToken"));
    if (!special.is_null()) {
      return append_special(node, special, tokens, text_came ? frame.after : frame.before);
    }
    ASSIGN_OR_RETURN(const JsonNode sequence, item.at("Sequence"));
    ASSIGN_OR_RETURN(const std::string_view id, sequence.string_at("id"));
    if (id != "A" || text_came) return item.not_done("is another text than the first, once");
    text_came = true;
    return absl::OkStatus();
  }));
  if (!text_came) return single.error("has no place for the text");
  return frame;
}

}  // namespace

absl::StatusOr<Frame> read_frame(const JsonNode& node, int64_t tokens) {
  Frame frame;
  const auto wrap = [&frame](absl::StatusOr<Frame> outer) -> absl::Status {
    RETURN_IF_ERROR(outer.status());
    frame.before.insert(frame.before.begin(), outer->before.begin(), outer->before.end());
    frame.after.insert(frame.after.end(), outer->after.begin(), outer->after.end());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(for_each_part(
      node, "processors", [&](std::string_view type, const JsonNode& part) -> absl::Status {
        if (type == "ByteLevel") return absl::OkStatus();  // moves offsets only
        if (type == "TemplateProcessing") return wrap(read_template(part, tokens));
        if (type == "BertProcessing" || type == "RobertaProcessing") {
          return wrap(read_cls_and_sep(part, tokens));
        }
        return part.not_done(fmt::format("is a '{}'; such a post-processor is not known", type));
      }));
  return frame;
}

}  // namespace millrace
