#include "text/split/split_patterns.h"

#include <algorithm>

namespace millrace {
namespace {

using Family = SplitRules::Family;

// Expressions that several models have, and the rules that the scanner has for them.

constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr SplitStep kGpt2{.expression = kGpt2Words, .scan = SplitRules{}};

// The models' own two, numbers one by one and then gpt-2's, made one.
constexpr SplitStep kGpt2NumbersApart{
    .expression =
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+)",
    .scan = SplitRules{.numbers_max = 1, .numbers_apart = true}};

constexpr SplitStep kLlama3{
    .expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
        R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 3}};

constexpr SplitStep kQwen2{
    .expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
        R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 1}};

constexpr SplitStep kQwen35{
    .expression = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                  R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 1, .marks_are_letters = true}};

constexpr SplitStep kUfakzeka{
    .expression = R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                  R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 1, .contractions = false}};

constexpr SplitStep kSeedCoder{
    .expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+)"
        R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 1, .line_ends = ""}};

// The models' own two, \p{N}{1,3} and then this with \p{N}+, made one.
constexpr SplitStep kMinicpm5{
    .expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
        R"(|\s*[\r\n]+|\s+(?![^\s\p{N}])|\s+)",
    .scan = SplitRules{.family = Family::kCl100k, .numbers_max = 3, .numbers_apart = true}};

constexpr SplitStep kGpt4o{
    .expression = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kO200k, .numbers_max = 3, .line_ends = "\r\n/"}};

constexpr SplitStep kGpt4oSingleNumbers{
    .expression = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{.family = Family::kO200k, .numbers_max = 1, .line_ends = "\r\n/"}};

constexpr SplitStep kTekken{
    .expression = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                  R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    .scan = SplitRules{
        .family = Family::kO200k, .numbers_max = 1, .contractions = false, .line_ends = "\r\n/"}};

// Han first, letters without it. The model's own says so with [...&&[^\p{Han}]], which PCRE2 lacks:
// a class less another is what neither its complement nor that other has.
constexpr SplitStep kKimiK2{
    .expression = R"([\p{Han}]+)"
                  R"(|[^\r\n\p{L}\p{N}]?[^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}]*)"
                  R"([^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|[^\r\n\p{L}\p{N}]?[^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}]+)"
                  R"([^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
                  R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr SplitStep kJais2{
    .expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
        R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S))"
        R"(|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"};

// The model's own has (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+, which is the same; this needs no memory
// for each letter.
constexpr SplitStep kExaoneMoe{
    .expression = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}(?: ?\p{L}|\p{M})*+|\p{N})"
                  R"(| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"};

constexpr std::string_view kDeepseek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSpark25Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";

constexpr std::string_view kDeepseekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF})"
    R"(\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F})"
    R"(\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481})"
    R"(\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})"
    R"(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45})"
    R"(\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})"
    R"(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F})"
    R"(\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";

constexpr std::string_view kDeepseekPunctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";

constexpr std::string_view kDeepseekCjk =
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";

constexpr std::string_view kDeepseek3Cjk =
    R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";

constexpr std::string_view kAfmoeCjk =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F})"
    R"(\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF})"
    R"(\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF})"
    R"(\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)";

constexpr std::string_view kYoutuScripts =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})"
    R"(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[)"
    R"(\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";

constexpr std::string_view kBloomWords =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";

constexpr SplitStep kNumber{.expression = R"(\p{N})"};
constexpr SplitStep kThreeNumbers{.expression = R"(\p{N}{1,3})"};
constexpr SplitStep kThreeDigits{.expression = "[0-9][0-9][0-9]"};
constexpr SplitStep kLineEnd{.expression = R"([\r\n])"};
constexpr SplitStep kLines{.expression = R"([^\n]+|[\n]+)"};

constexpr SplitStep kNumberGroups{.expression = R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
                                  .scan = SplitRules{.family = Family::kNumberGroups}};
// The models' own is \d{1,3}(?=(?:\d{3})*\b): this spells out what their engine takes \d and \b
// for.
constexpr SplitStep kDecimalGroups{
    .expression = R"(\p{Nd}{1,3}(?=(?:\p{Nd}{3})*(?![\p{L}\p{M}\p{N}\p{Pc}])))",
    .scan = SplitRules{.family = Family::kDecimalGroups}};
constexpr SplitStep kDecimalCuts{.expression = R"((?=(\p{Nd}{3})+(?!\p{Nd})))",
                                 .scan = SplitRules{.family = Family::kDecimalCuts}};

constexpr std::array kPatterns = {
    SplitPattern{"gpt-2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code "
                 "roberta-bpe gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion "
                 "granite-docling",
                 {kGpt2}},
    SplitPattern{"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
                 {kGpt2NumbersApart}},
    SplitPattern{"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
                 {kLlama3},
                 /*ignore_merges=*/true,
                 /*add_bos=*/true},
    SplitPattern{"dbrx smaug-bpe glm4 chatglm-bpe", {kLlama3}},
    SplitPattern{"qwen2 deepseek-r1-qwen stablelm2 hunyuan solar-open megrez grok-2 bailingmoe "
                 "bailingmoe2 llada-moe kormo f2llmv2",
                 {kQwen2}},
    SplitPattern{"qwen35", {kQwen35}},
    SplitPattern{"seed-coder", {kSeedCoder}},
    SplitPattern{"ufakzeka", {kUfakzeka}},
    SplitPattern{"laguna", {kLines, kQwen2}},
    SplitPattern{"minicpm5", {kMinicpm5}, /*ignore_merges=*/true},
    SplitPattern{"jais-2", {kJais2}},
    SplitPattern{"gpt-4o llama4 kanana2 talkie minimax-m2", {kGpt4o}},
    SplitPattern{"granite-embed-multi-97m", {kGpt4o}, /*ignore_merges=*/true},
    SplitPattern{"tekken", {kTekken}, /*ignore_merges=*/true, /*add_bos=*/true},
    SplitPattern{"tiny_aya cohere2moe", {kDecimalGroups, kGpt4o}},
    SplitPattern{"youtu", {SplitStep{kYoutuScripts}, kGpt4oSingleNumbers}, /*ignore_merges=*/true},
    SplitPattern{"kimi-k2", {kKimiK2}},
    SplitPattern{"exaone-moe", {kExaoneMoe}},
    SplitPattern{"superbpe", {SplitStep{R"(\p{N}+)"}, kDecimalCuts}},
    SplitPattern{"deepseek-llm",
                 {kLineEnd, SplitStep{kDeepseekLetters}, SplitStep{kDeepseekPunctuation},
                  SplitStep{R"(\s+$)"}, SplitStep{kDeepseekCjk}, kNumber}},
    SplitPattern{"deepseek-coder",
                 {kLineEnd, SplitStep{R"(\s?\p{L}+)"}, SplitStep{R"(\s?\p{P}+)"},
                  SplitStep{kDeepseekCjk}, kNumber}},
    SplitPattern{"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
                 {kThreeNumbers, SplitStep{kDeepseek3Cjk}, SplitStep{kDeepseek3Words}}},
    SplitPattern{"spark2_5",
                 {kThreeNumbers, SplitStep{kDeepseek3Cjk}, SplitStep{kSpark25Words}, kNumber}},
    SplitPattern{"afmoe", {kNumberGroups, SplitStep{kAfmoeCjk}, SplitStep{kDeepseek3Words}}},
    SplitPattern{"falcon", {SplitStep{R"([\p{P}$+<=>^~|`]+)"}, kGpt2, kThreeDigits}},
    SplitPattern{"bloom gpt3-finnish poro-chat", {SplitStep{kBloomWords}}},
    SplitPattern{"viking", {SplitStep{kBloomWords}, kNumber}},
    SplitPattern{"chameleon",
                 {SplitStep{"<sentinel:[0-9]+>"}, SplitStep{"IMGIMG[A-I]{1,4}Z"},
                  SplitStep{R"([\t\n]|    |  )"}, kNumber, SplitStep{R"([\p{P}$+<=>^~|`])"}, kGpt2},
                 /*ignore_merges=*/false,
                 /*add_bos=*/true},
    SplitPattern{.names = "gemma4", .steps = {}, .add_bos = true, .of_characters = true},
    SplitPattern{
        .names = "sarvam-moe granite-embed-multi-311m", .steps = {}, .of_characters = true},
    // Also where a file names none: what llama.cpp has always done with those.
    SplitPattern{"default",
                 {SplitStep{R"([\p{P}$+<=>^~|]+)"}, kGpt2, SplitStep{R"(\p{N}+)"}, kThreeDigits}},
};

// Calls `each(name)` for the names in a list with spaces between, until it returns true.
template <typename Each>
bool any_name(std::string_view names, const Each& each) {
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(' '));
    if (each(name)) return true;
    names.remove_prefix(std::min(names.size(), name.size() + 1));
  }
  return false;
}

}  // namespace

std::span<const SplitStep> SplitPattern::used_steps() const {
  const auto end =
      std::ranges::find_if(steps, [](const SplitStep& step) { return step.expression.empty(); });
  return std::span(steps).first(static_cast<size_t>(end - steps.begin()));
}

std::span<const SplitPattern> split_patterns() { return kPatterns; }

const SplitPattern* find_split_pattern(std::string_view name) {
  const auto found = std::ranges::find_if(kPatterns, [name](const SplitPattern& pattern) {
    return any_name(pattern.names, [name](std::string_view known) { return known == name; });
  });
  return found == kPatterns.end() ? nullptr : &*found;
}

std::string known_split_patterns() {
  std::string list;
  for (const SplitPattern& pattern : kPatterns) {
    any_name(pattern.names, [&list](std::string_view name) {
      list.append(list.empty() ? "" : ", ").append(name);
      return false;
    });
  }
  return list;
}

}  // namespace millrace
