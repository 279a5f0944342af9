#include <utility>

#include <absl/strings/escaping.h>

#include "text/tokenizer_json/readers.h"

namespace millrace {
namespace {

// Those of published files multiply to some thousands at worst.
constexpr int64_t kGrowthMax = 8192;

absl::Status add_bert(const JsonNode& node, Normaliser& normaliser) {
  ASSIGN_OR_RETURN(const bool cleans, node.boolean_at("clean_text", true));
  ASSIGN_OR_RETURN(const bool spaces, node.boolean_at("handle_chinese_chars", true));
  ASSIGN_OR_RETURN(const bool lowers, node.boolean_at("lowercase", true));
  ASSIGN_OR_RETURN(const bool strips, node.boolean_at("strip_accents", lowers));
  if (cleans) normaliser.add(map_characters(clean_text));
  if (spaces) normaliser.add(map_characters(space_ideographs));
  if (strips) {
    normaliser.add(to_form(NormalForm::kNfd));
    normaliser.add(map_characters(strip_nonspacing));
  }
  if (lowers) normaliser.add(map_characters(lowercase));
  return absl::OkStatus();
}

absl::Status add_charsmap(const JsonNode& node, Normaliser& normaliser) {
  ASSIGN_OR_RETURN(const JsonNode blob_node, node.at("precompiled_charsmap"));
  ASSIGN_OR_RETURN(const std::string_view base64, blob_node.string());
  std::string blob;
  if (!absl::Base64Unescape(to_absl(base64), &blob)) return blob_node.error("is not base64");
  absl::StatusOr<Charsmap> map = Charsmap::from(blob);
  if (!map.ok()) {
    return blob_node.error(fmt::format("is no map of characters: {}", message_of(map.status())));
  }
  normaliser.add(map_graphemes(*std::move(map)));
  return absl::OkStatus();
}

absl::Status add_replace(const JsonNode& node, Normaliser& normaliser) {
  ASSIGN_OR_RETURN(const JsonNode pattern_node, node.at("pattern"));
  ASSIGN_OR_RETURN(ReadPattern pattern, read_pattern(pattern_node));
  ASSIGN_OR_RETURN(const std::string_view content, node.string_at("content"));
  if (!pattern.text.empty()) {
    normaliser.add(replace(std::move(pattern.text), std::string(content)));
    return absl::OkStatus();
  }
  if (pattern.expression.empty()) return pattern_node.error("is empty");
  absl::StatusOr<Regex> regex = Regex::compile(pattern.expression);
  if (!regex.ok()) return pattern_node.error(fmt::format(": {}", message_of(regex.status())));
  normaliser.add(replace(*std::move(regex), std::string(content)));
  return absl::OkStatus();
}

absl::Status add_strip(const JsonNode& node, Normaliser& normaliser) {
  ASSIGN_OR_RETURN(const bool left, node.boolean_at("strip_left", true));
  ASSIGN_OR_RETURN(const bool right, node.boolean_at("strip_right", true));
  normaliser.add(strip(left, right));
  return absl::OkStatus();
}

absl::Status add_insertion(const JsonNode& node, std::string_view key,
                           NormaliserStepPtr (*make)(std::string), Normaliser& normaliser) {
  ASSIGN_OR_RETURN(const JsonNode text_node, node.at(key));
  ASSIGN_OR_RETURN(const std::string_view text, text_node.string());
  normaliser.add(make(std::string(text)));
  return absl::OkStatus();
}

absl::Status add_step(std::string_view type, const JsonNode& node, Normaliser& normaliser) {
  if (type == "BertNormalizer") return add_bert(node, normaliser);
  if (type == "Precompiled") return add_charsmap(node, normaliser);
  if (type == "Replace") return add_replace(node, normaliser);
  if (type == "Strip") return add_strip(node, normaliser);
  if (type == "Prepend") return add_insertion(node, "prepend", prepend, normaliser);
  if (type == "Append") return add_insertion(node, "append", append, normaliser);

  struct Form {
    std::string_view name;
    NormalForm form;
  };
  for (const auto& [name, form] :
       {Form{"NFC", NormalForm::kNfc}, Form{"NFD", NormalForm::kNfd},
        Form{"NFKC", NormalForm::kNfkc}, Form{"NFKD", NormalForm::kNfkd}}) {
    if (type != name) continue;
    normaliser.add(to_form(form));
    return absl::OkStatus();
  }
  struct Map {
    std::string_view name;
    CharacterMap* map;
  };
  for (const auto& [name, map] : {Map{"Lowercase", lowercase}, Map{"StripAccents", strip_accents},
                                  Map{"Nmt", nmt}, Map{"ByteLevel", spell_bytes}}) {
    if (type != name) continue;
    normaliser.add(map_characters(map));
    return absl::OkStatus();
  }
  return node.not_done(fmt::format("is a '{}'; such a normaliser is not known", type));
}

}  // namespace

absl::StatusOr<Normaliser> read_normaliser(const JsonNode& node) {
  Normaliser normaliser;
  RETURN_IF_ERROR(
      for_each_part(node, "normalizers", [&](std::string_view type, const JsonNode& part) {
        return add_step(type, part, normaliser);
      }));
  if (normaliser.growth() > kGrowthMax) {
    return node.error(fmt::format("can make a text more than {} times as long", kGrowthMax));
  }
  return normaliser;
}

}  // namespace millrace
