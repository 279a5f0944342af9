#include "text/unicode/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// The alphabet of Radford et al., "Language models are unsupervised multitask learners", 2019
// (their encoder's bytes_to_unicode): printable Latin-1 bytes stand for themselves, the others for
// U+0100 and on.
constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

constexpr std::array<char32_t, 256> kAlphabet = [] {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet[static_cast<size_t>(byte)] =
        stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}();

constexpr size_t kAlphabetEnd = 0x144;

constexpr std::array<int16_t, kAlphabetEnd> kBytes = [] {
  std::array<int16_t, kAlphabetEnd> bytes{};
  bytes.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) bytes[kAlphabet[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

}  // namespace

std::string spelled(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(kAlphabet[static_cast<uint8_t>(byte)], text);
  return text;
}

std::string unspelled(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    if (!c.valid || c.code >= kAlphabetEnd || kBytes[c.code] < 0) return std::string(text);
    bytes.push_back(static_cast<char>(kBytes[c.code]));
    i += c.length;
  }
  return bytes;
}

}  // namespace millrace
