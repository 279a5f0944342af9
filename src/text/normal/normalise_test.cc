#include "text/normal/normalise.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

Normaliser of(NormaliserStepPtr step) {
  Normaliser normaliser;
  normaliser.add(std::move(step));
  return normaliser;
}

std::string normalised(NormaliserStepPtr step, std::string_view text) {
  return of(std::move(step)).apply(text);
}

Regex regex(std::string_view expression) {
  auto compiled = Regex::compile(expression);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *std::move(compiled);
}

TEST(Normaliser, MapsCharacters) {
  EXPECT_EQ(normalised(map_characters(lowercase), "AÉΣİſK"), "aéσi̇ſk");
  EXPECT_EQ(normalised(map_characters(strip_accents), "e\u0301 n\u0303a"), "e na");
  EXPECT_EQ(normalised(map_characters(clean_text), "a\tb\x01\u00a0c\u200d\ufffd\r\n"), "a b c  ");
  EXPECT_EQ(normalised(map_characters(space_ideographs), "a世b"), "a 世 b");
  EXPECT_EQ(normalised(map_characters(nmt), "a\u200bb\x7f\u2581c"), "a b c");
  EXPECT_EQ(normalised(map_characters(spell_bytes), "a é"), "aĠÃ©");
}

TEST(Normaliser, HasTheNormalForms) {
  EXPECT_EQ(normalised(to_form(NormalForm::kNfc), "e\u0301x\u1112\u1161\u11ab"), "éx한");
  EXPECT_EQ(normalised(to_form(NormalForm::kNfd), "é한"), "e\u0301\u1112\u1161\u11ab");
  EXPECT_EQ(normalised(to_form(NormalForm::kNfkc), "ﬁ①Å²"), "fi1Å2");
  EXPECT_EQ(normalised(to_form(NormalForm::kNfkd), "ﬁÅ"), "fiA\u030a");
  EXPECT_EQ(normalised(to_form(NormalForm::kNfd), "a\u0301\u0323"), "a\u0323\u0301");
}

TEST(Normaliser, StripsInsertsAndReplaces) {
  EXPECT_EQ(normalised(strip(true, true), " \n a b\u3000"), "a b");
  EXPECT_EQ(normalised(strip(true, false), " a "), "a ");
  EXPECT_EQ(normalised(strip(false, true), " a "), " a");
  EXPECT_EQ(normalised(strip(false, true), "  "), "");
  EXPECT_EQ(normalised(prepend("x"), "a"), "xa");
  EXPECT_EQ(normalised(prepend("x"), ""), "");
  EXPECT_EQ(normalised(append("x"), "a"), "ax");
  EXPECT_EQ(normalised(replace("``", "\""), "a``b```"), "a\"b\"`");
  EXPECT_EQ(normalised(replace(regex(" {2,}"), "_"), "a b   c  "), "a b_c_");
  EXPECT_EQ(normalised(replace(regex("x*"), "-"), "ab"), "-a-b-");
}

TEST(Normaliser, TreatsSpacesAsSentencePieceDoes) {
  const auto spaced = [](SpaceRules rules, std::string_view text) {
    return normalised(sentencepiece_spaces(rules), text);
  };
  EXPECT_EQ(spaced({}, "  a   b "), "▁a▁b");
  EXPECT_EQ(spaced({}, "   "), "");
  EXPECT_EQ(spaced({}, "▁a▁ ▁"), "▁▁a");
  EXPECT_EQ(spaced({.remove_extra = false}, " a  b "), "▁▁a▁▁b▁");
  EXPECT_EQ(spaced({.add_prefix = false}, " a b"), "a▁b");
  EXPECT_EQ(spaced({.as_suffix = true}, "a b"), "a▁b▁");
  EXPECT_EQ(spaced({.escape = false}, "a  b"), " a b");
}

// Written bytes are marked by capitals, so that the ranges can be read off the text.
MarkedText marked(std::string_view text) {
  MarkedText made;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') {
      const size_t at = made.text.size();
      if (!made.written.empty() && made.written.back().end == at) {
        made.written.back().end = at + 1;
      } else {
        made.written.push_back({at, at + 1});
      }
    }
    made.text.push_back(c);
  }
  return made;
}

std::string shown(const Normaliser& normaliser, std::string_view text) {
  const MarkedText made = normaliser.apply({marked(text)}).marked;
  std::string out;
  size_t at = 0;
  for (const ByteRange range : made.written) {
    EXPECT_LT(range.begin, range.end);
    EXPECT_TRUE(at == 0 || range.begin > at);
    out += made.text.substr(at, range.begin - at) + "[" +
           made.text.substr(range.begin, range.end - range.begin) + "]";
    at = range.end;
  }
  return out + made.text.substr(at);
}

TEST(Normaliser, KeepsTrackOfWhatWasWritten) {
  EXPECT_EQ(shown(of(map_characters(lowercase)), "abCDe"), "ab[cd]e");
  EXPECT_EQ(shown(of(replace("bC", "x")), "abCDe"), "a[xD]e");
  EXPECT_EQ(shown(of(replace("C", "")), "abCDe"), "ab[D]e");
  EXPECT_EQ(shown(of(prepend("x")), "AbC"), "[xA]b[C]");
  EXPECT_EQ(shown(of(prepend("x")), "aBc"), "xa[B]c");
  EXPECT_EQ(shown(of(append("x")), "aB"), "a[Bx]");
  EXPECT_EQ(shown(of(strip(true, true)), "  AB c "), "[AB] c");
  EXPECT_EQ(shown(of(sentencepiece_spaces({})), "a  B C"), "▁a▁[B]▁[C]");
  Normaliser several = of(map_characters(lowercase));
  several.add(replace("b", "bb"));
  several.add(to_form(NormalForm::kNfc));
  EXPECT_EQ(shown(several, "aBbAb"), "a[bb]bb[a]bb");
}

TEST(Normaliser, KnowsWhetherItsTextStillBeginsWhereItDid) {
  const auto from_start = [](NormaliserStepPtr step, std::string_view text) {
    return of(std::move(step)).apply({{std::string(text), {}}}).from_start;
  };
  EXPECT_TRUE(from_start(replace("b", "a"), "b"));
  EXPECT_FALSE(from_start(replace("ba", "a"), "ba"));
  EXPECT_FALSE(from_start(replace("b", ""), "ba"));
  EXPECT_FALSE(from_start(strip(true, true), " a"));
  EXPECT_TRUE(from_start(strip(true, true), "a "));
  EXPECT_TRUE(from_start(prepend("x"), "a"));
}

TEST(Normaliser, DoesMegabytesInOneGo) {
  // Marks of alternating classes take time squared where they are sorted by neighbours.
  std::string marks = "a";
  for (int i = 0; i < 250000; ++i) marks += "\u0301\u0323";
  const std::string ordered = normalised(to_form(NormalForm::kNfc), marks);
  EXPECT_EQ(ordered.size(), marks.size());
  EXPECT_TRUE(ordered.starts_with("\u1ea1\u0323"));  // a with the first dot below
  const std::string joiners = [] {
    std::string text;
    for (int i = 0; i < 150000; ++i) text += "👩\u200d";
    return text;
  }();
  EXPECT_EQ(normalised(to_form(NormalForm::kNfkc), joiners), joiners);
}

// A map of one byte, 'a', to "bc": the root's child lies at its label.
std::string tiny_map(uint32_t leaf_value) {
  std::vector<uint32_t> units(512);
  units[0] = 0;                           // offset 0
  units['a'] = 0x100 | 'a' | 256U << 10;  // a leaf lies at 'a' ^ 256
  units['a' ^ 256] = leaf_value | 1U << 31;
  std::string blob;
  const auto put = [&blob](uint32_t unit) {
    for (int i = 0; i < 4; ++i) blob.push_back(static_cast<char>(unit >> 8 * i));
  };
  put(static_cast<uint32_t>(units.size() * 4));
  for (const uint32_t unit : units) put(unit);
  return blob + std::string("bc\0", 3);
}

TEST(Charsmap, FindsMatchesAndSurvivesWhatLeadsNowhere) {
  const auto map = Charsmap::from(tiny_map(0));
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->longest("ab").replacement, "bc");
  EXPECT_EQ(map->longest("ab").bytes, 1);
  EXPECT_EQ(map->shortest("b").bytes, 0);
  EXPECT_EQ(normalised(map_longest(*map), "aXa"), "bcXbc");
  EXPECT_EQ(normalised(map_graphemes(*map), "aXa"), "bcXbc");

  for (const uint32_t outside : {3U, 4U, 0x7FFFFFFFU}) {
    const auto hostile = Charsmap::from(tiny_map(outside));
    ASSERT_TRUE(hostile.ok()) << hostile.status();
    EXPECT_EQ(hostile->longest("a").bytes, 0);
  }
  for (size_t bytes : {size_t{0}, size_t{3}, size_t{4}, size_t{2052}, size_t{2054}}) {
    EXPECT_FALSE(Charsmap::from(tiny_map(0).substr(0, bytes)).ok() && bytes != 2052) << bytes;
  }
  EXPECT_FALSE(Charsmap::from(tiny_map(0) + std::string(300, 'x') + std::string(1, '\0')).ok());
  EXPECT_FALSE(Charsmap::from(tiny_map(0) + "\xFF" + std::string(1, '\0')).ok());
}

}  // namespace
}  // namespace millrace
