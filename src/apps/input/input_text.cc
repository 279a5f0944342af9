#include "apps/input/input_text.h"

#include <algorithm>
#include <array>
#include <memory>

namespace millrace {

absl::StatusOr<std::string> read_stream(std::FILE* in, size_t bytes_max) {
  std::string text;
  std::array<char, 1 << 16> part;
  while (text.size() < bytes_max) {
    const size_t wanted = std::min(part.size(), bytes_max - text.size());
    const size_t read = std::fread(part.data(), 1, wanted, in);
    if (read == 0) break;
    text.append(part.data(), read);
  }
  if (std::ferror(in) != 0) return invalid_argument("the input could not be read");
  return text;
}

absl::StatusOr<std::string> read_file(const std::string& path, size_t bytes_max) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             std::fclose);
  if (file == nullptr) return not_found("cannot open '{}'", path);
  absl::StatusOr<std::string> text = read_stream(file.get(), bytes_max);
  if (!text.ok()) return invalid_argument("'{}' could not be read", path);
  return text;
}

}  // namespace millrace
