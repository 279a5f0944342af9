#include "apps/terminal/output.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace millrace {
namespace {

absl::Status not_written(int error) {
  return internal_error("the output cannot be written: {}", std::strerror(error));
}

}  // namespace

absl::Status write_output(std::string_view text, std::FILE* out) {
  if (std::fwrite(text.data(), 1, text.size(), out) == text.size()) return absl::OkStatus();
  return not_written(errno);
}

absl::Status flush_output(std::FILE* out) {
  if (std::fflush(out) != 0) return not_written(errno);
  if (std::ferror(out) == 0) return absl::OkStatus();
  return internal_error("the output could not be written");
}

void tell(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

void occupy_closed_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace millrace
