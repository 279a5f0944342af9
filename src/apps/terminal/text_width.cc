#include "apps/terminal/text_width.h"

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <langinfo.h>
#include <sys/ioctl.h>

namespace millrace {

void use_unicode_locale() {
  const bool set = std::setlocale(LC_CTYPE, "") != nullptr;
  if (!set || std::string_view(nl_langinfo(CODESET)) != "UTF-8") {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
}

int columns_of(char32_t code) {
  const int columns = ::wcwidth(static_cast<wchar_t>(code));
  if (columns >= 0) return columns;
  return code < 0x20 || (code >= 0x7f && code < 0xa0) ? 0 : 1;
}

int terminal_columns(int fd) {
  winsize size = {};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace millrace
