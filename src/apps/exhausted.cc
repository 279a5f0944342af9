#include "apps/exhausted.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>

namespace millrace {
namespace {

[[noreturn]] void end(const char* line) {
  std::fputs(line, stderr);  // nothing that allocates
  std::_Exit(1);
}

[[noreturn]] void on_terminate() {
  const std::exception_ptr cause = std::current_exception();
  if (cause == nullptr) std::abort();
  try {
    std::rethrow_exception(cause);
  } catch (const std::bad_alloc&) {
    end("millrace: out of memory\n");
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) throw;
    end("millrace: cannot start a thread: the limit of memory or of threads is reached\n");
  }
}

}  // namespace

void end_plainly_when_exhausted() { std::set_terminate(on_terminate); }

}  // namespace millrace
