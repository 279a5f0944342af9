#include "files/file_kind.h"

#include <algorithm>
#include <string_view>

#include "base/log.h"
#include "files/gguf_format.h"

namespace millrace {
namespace {

using std::string_view_literals::operator""sv;

struct FileKind {
  std::string_view begins;
  size_t at;  // the byte at which it does
  std::string_view what;
};

constexpr FileKind kKinds[] = {
    {"version https://git-lfs"sv, 0,
     "a Git LFS pointer, which stands for the real file: fetch that with `git lfs pull`, or "
     "download it from the model's page"},
    {"PK\x03\x04"sv, 0, "a zip archive, as PyTorch's .bin and .pt files are: convert it to GGUF"},
    {"\x80\x02"sv, 0, "a Python pickle, as old PyTorch files are: convert it to GGUF"},
    {"\x80\x04"sv, 0, "a Python pickle: convert it to GGUF"},
    {"lmgg"sv, 0, "a file of the old format GGML: convert it to GGUF"},
    {"fmgg"sv, 0, "a file of the old format GGMF: convert it to GGUF"},
    {"tjgg"sv, 0, "a file of the old format GGJT: convert it to GGUF"},
    {"algg"sv, 0, "an adapter of the old format GGLA"},
    {"\x1f\x8b"sv, 0, "compressed with gzip: unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, 0, "compressed with zstd: unpack it first"},
    {"\3757zXZ"sv, 0, "compressed with xz: unpack it first"},
    {"BZh"sv, 0, "compressed with bzip2: unpack it first"},
    {"7z\xbc\xaf\x27\x1c"sv, 0, "a 7-Zip archive: unpack it first"},
    {"ustar"sv, 257, "a tar archive: unpack it first"},
    {"\x89HDF\r\n\x1a\n"sv, 0, "an HDF5 file, as Keras writes: convert it to GGUF"},
    {"\x93NUMPY"sv, 0, "a NumPy array"},
    {"TFL3"sv, 4, "a TensorFlow Lite model"},
    {"\177ELF"sv, 0, "a program"},
    {"#!"sv, 0, "a script"},
};

std::string_view without_spaces(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  return first == std::string_view::npos ? "" : text.substr(first);
}

bool begins_without_case(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::ranges::equal(text.substr(0, lower.size()), lower, [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
         });
}

// Empty: none that is known.
std::string_view kind_of(std::string_view start) {
  for (const FileKind& kind : kKinds) {
    if (start.size() > kind.at && start.substr(kind.at).starts_with(kind.begins)) return kind.what;
  }
  // The length of a header, then the header, a JSON object.
  if (start.size() > 9 && start[8] == '{' && start.substr(4, 4) == "\0\0\0\0"sv) {
    return "a safetensors file: a model is the folder in which it lies, with its config.json";
  }
  const std::string_view text = without_spaces(start);
  for (const std::string_view page : {"<!doctype"sv, "<html"sv, "<?xml"sv, "<head"sv}) {
    if (begins_without_case(text, page)) {
      return "a web page, not the file that its address seemed to name: look for the download link";
    }
  }
  if (text.starts_with('{') || text.starts_with("[")) {
    return "JSON text, not a model's weights";
  }
  if (std::ranges::all_of(start, [](char c) { return c == '\0'; })) {
    return "one that begins with zeros, as files do whose download did not finish";
  }
  return "";
}

}  // namespace

absl::Status check_is_gguf(std::span<const std::byte> start) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  if (text.starts_with(gguf::kMagic)) return absl::OkStatus();
  const std::string_view kind = kind_of(text);
  if (!kind.empty()) return invalid_argument("not a GGUF file, but {}", kind);
  constexpr size_t kShown = 16;
  return invalid_argument("not a GGUF file: begins with \"{}\"",
                          escape_for_log(text.substr(0, kShown)));
}

}  // namespace millrace
