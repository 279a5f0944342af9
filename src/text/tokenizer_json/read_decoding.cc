#include <utility>

#include "text/tokenizer_json/readers.h"

namespace millrace {
namespace {

constexpr size_t kStripMax = 1024;

class DecodingReader {
 public:
  absl::Status add(std::string_view type, const JsonNode& node) {
    if (type == "Strip") return add_strip(node);
    if (type == "Fuse") {
      fused_ = true;
      return absl::OkStatus();
    }
    if (fused_) {
      return node.not_done(fmt::format("is a '{}' for the whole text; only Strip is done", type));
    }
    if (type == "ByteLevel") {
      decoding_.add(decode_byte_alphabet());
      fused_ = true;
      return absl::OkStatus();
    }
    if (type == "ByteFallback") {
      decoding_.add(decode_byte_tokens());
      return absl::OkStatus();
    }
    if (type == "Metaspace") return add_metaspace(node);
    if (type == "WordPiece") return add_word_pieces(node);
    if (type == "BPEDecoder") {
      ASSIGN_OR_RETURN(const std::string_view suffix, node.string_at("suffix", "</w>"));
      decoding_.add(decode_word_ends(std::string(suffix)));
      return absl::OkStatus();
    }
    if (type == "Replace") return add_replace(node);
    return node.not_done(fmt::format("is a '{}'; such a decoder is not known", type));
  }

  Decoding finish() { return std::move(decoding_); }

 private:
  absl::Status add_metaspace(const JsonNode& node) {
    ASSIGN_OR_RETURN(const ReadMetaspace read, read_metaspace(node));
    decoding_.add(decode_metaspace(read.mark, read.prepend != ReadMetaspace::Prepend::kNever));
    return absl::OkStatus();
  }

  absl::Status add_word_pieces(const JsonNode& node) {
    ASSIGN_OR_RETURN(const std::string_view prefix, node.string_at("prefix", "##"));
    ASSIGN_OR_RETURN(const bool tidies, node.boolean_at("cleanup", true));
    decoding_.add(decode_continuations(std::string(prefix)));
    if (tidies) decoding_.add(decode_clean_up());
    return absl::OkStatus();
  }

  absl::Status add_replace(const JsonNode& node) {
    ASSIGN_OR_RETURN(const JsonNode pattern_node, node.at("pattern"));
    ASSIGN_OR_RETURN(ReadPattern pattern, read_pattern(pattern_node));
    ASSIGN_OR_RETURN(const std::string_view content, node.string_at("content"));
    if (!pattern.text.empty()) {
      decoding_.add(decode_replace(std::move(pattern.text), std::string(content)));
      return absl::OkStatus();
    }
    if (pattern.expression.empty()) return pattern_node.error("is empty");
    absl::StatusOr<Regex> regex = Regex::compile(pattern.expression);
    if (!regex.ok()) {
      return pattern_node.error(fmt::format("cannot be used: {}", message_of(regex.status())));
    }
    decoding_.add(decode_replace(*std::move(regex), std::string(content)));
    return absl::OkStatus();
  }

  absl::Status add_strip(const JsonNode& node) {
    ASSIGN_OR_RETURN(const JsonNode content_node, node.at("content"));
    ASSIGN_OR_RETURN(const std::string_view content, content_node.string());
    ASSIGN_OR_RETURN(const JsonNode start_node, node.at("start"));
    ASSIGN_OR_RETURN(const int64_t start, start_node.integer(0, kStripMax));
    ASSIGN_OR_RETURN(const JsonNode stop_node, node.at("stop"));
    ASSIGN_OR_RETURN(const int64_t stop, stop_node.integer(0, kStripMax));
    if (content.empty()) return content_node.error("is empty");
    DecodeStepPtr step =
        decode_strip(std::string(content), static_cast<size_t>(start), static_cast<size_t>(stop));
    if (fused_) {
      decoding_.add_for_whole(std::move(step));
    } else {
      decoding_.add(std::move(step));
    }
    return absl::OkStatus();
  }

  Decoding decoding_;
  bool fused_ = false;  // what comes is for the whole text
};

}  // namespace

absl::StatusOr<Decoding> read_decoding(const JsonNode& node) {
  if (node.is_null()) {
    Decoding spaced;
    spaced.add(decode_spaced());
    return spaced;
  }
  DecodingReader reader;
  RETURN_IF_ERROR(for_each_part(node, "decoders", [&](std::string_view type, const JsonNode& part) {
    return reader.add(type, part);
  }));
  return reader.finish();
}

}  // namespace millrace
