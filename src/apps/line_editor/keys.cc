#include "apps/line_editor/keys.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr std::string_view kPasteBegin = "[200~";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr size_t kSequenceBytesMax = 32;

struct Meaning {
  std::string_view bytes;
  Key key;
};

constexpr std::array kControls = {
    Meaning{"\x01", Key::kHome},          Meaning{"\x02", Key::kLeft},
    Meaning{"\x04", Key::kEndOfInput},    Meaning{"\x05", Key::kEnd},
    Meaning{"\x06", Key::kRight},         Meaning{"\x08", Key::kBackspace},
    Meaning{"\n", Key::kEnter},           Meaning{"\x0b", Key::kDeleteToEnd},
    Meaning{"\x0c", Key::kClearScreen},   Meaning{"\r", Key::kEnter},
    Meaning{"\x0e", Key::kDown},          Meaning{"\x10", Key::kUp},
    Meaning{"\x15", Key::kDeleteToStart}, Meaning{"\x17", Key::kDeleteWord},
    Meaning{"\x7f", Key::kBackspace},
};

// Behind an escape. `O` begins the cursor keys of terminals in application mode.
constexpr std::array kSequences = {
    Meaning{"[A", Key::kUp},          Meaning{"OA", Key::kUp},
    Meaning{"[B", Key::kDown},        Meaning{"OB", Key::kDown},
    Meaning{"[C", Key::kRight},       Meaning{"OC", Key::kRight},
    Meaning{"[D", Key::kLeft},        Meaning{"OD", Key::kLeft},
    Meaning{"[H", Key::kHome},        Meaning{"OH", Key::kHome},
    Meaning{"[F", Key::kEnd},         Meaning{"OF", Key::kEnd},
    Meaning{"[1~", Key::kHome},       Meaning{"[7~", Key::kHome},
    Meaning{"[4~", Key::kEnd},        Meaning{"[8~", Key::kEnd},
    Meaning{"[3~", Key::kDelete},     Meaning{"[1;5C", Key::kWordRight},
    Meaning{"[1;5D", Key::kWordLeft}, Meaning{"[1;3C", Key::kWordRight},
    Meaning{"[1;3D", Key::kWordLeft}, Meaning{"f", Key::kWordRight},
    Meaning{"b", Key::kWordLeft},     Meaning{"\x7f", Key::kDeleteWord},
};

template <size_t kCount>
std::optional<Key> meaning_of(std::string_view bytes, const std::array<Meaning, kCount>& table) {
  const auto found = std::ranges::find(table, bytes, &Meaning::bytes);
  return found == table.end() ? std::nullopt : std::optional(found->key);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// Lines end in \n, tabs stay, other control characters go.
std::string text_of_paste(std::string_view bytes) {
  std::string plain;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool is_cr = bytes[i] == '\r';
    if (is_cr && i + 1 < bytes.size() && bytes[i + 1] == '\n') continue;
    if (is_cr) plain += '\n';
    if (!is_control(bytes[i]) || bytes[i] == '\n' || bytes[i] == '\t') plain += bytes[i];
  }
  std::string text;
  append_replaced(plain, text);
  return text;
}

}  // namespace

void KeyParser::clear() {
  waiting_.clear();
  pasting_ = false;
}

std::vector<KeyPress> KeyParser::push(std::string_view bytes) {
  waiting_ += bytes;
  std::vector<KeyPress> keys;
  std::string_view rest = waiting_;
  while (!rest.empty()) {
    const size_t taken = take(rest, keys);
    if (taken == 0) break;
    rest.remove_prefix(taken);
  }
  waiting_ = std::string(rest);
  return keys;
}

// How many bytes at the front are done with; 0: more must come.
size_t KeyParser::take(std::string_view bytes, std::vector<KeyPress>& keys) {
  if (pasting_) {
    const size_t end = bytes.find(kPasteEnd);
    if (end == std::string_view::npos) return 0;
    pasting_ = false;
    keys.push_back({Key::kText, text_of_paste(bytes.substr(0, end))});
    return end + kPasteEnd.size();
  }
  if (bytes.front() == '\x1b') return take_sequence(bytes, keys);
  if (is_control(bytes.front())) {
    if (bytes.front() == '\t') {
      keys.push_back({Key::kText, "\t"});
    } else if (const auto key = meaning_of(bytes.substr(0, 1), kControls)) {
      keys.push_back({*key, {}});
    }
    return 1;
  }
  const Utf8Char next = decode_utf8(bytes);
  if (next.cut) return 0;
  if (keys.empty() || keys.back().key != Key::kText) keys.push_back({});
  append_utf8(next.code, keys.back().text);
  return next.length;
}

size_t KeyParser::take_sequence(std::string_view bytes, std::vector<KeyPress>& keys) {
  const std::string_view rest = bytes.substr(1);
  if (rest.empty()) return 0;
  size_t length = 1;
  if (rest.front() == 'O') {
    length = 2;
  } else if (rest.front() == '[') {
    while (length < rest.size() && (rest[length] < 0x40 || rest[length] > 0x7e)) ++length;
    ++length;
  }
  if (length > rest.size()) return rest.size() > kSequenceBytesMax ? bytes.size() : 0;
  const std::string_view sequence = rest.substr(0, length);
  if (sequence == kPasteBegin) {
    pasting_ = true;
  } else if (sequence == "\r" || sequence == "\n") {
    keys.push_back({Key::kText, "\n"});
  } else if (const auto key = meaning_of(sequence, kSequences)) {
    keys.push_back({*key, {}});
  } else if (static_cast<unsigned char>(sequence.front()) >= 0x80 || sequence.front() == '\x1b') {
    return 1;  // escape, and then something of its own
  }
  return 1 + length;
}

}  // namespace millrace
