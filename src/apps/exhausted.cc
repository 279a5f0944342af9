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

std::terminate_handler usual_end = nullptr;

[[noreturn]] void on_terminate() {
  try {
    if (const std::exception_ptr cause = std::current_exception()) std::rethrow_exception(cause);
  } catch (const std::bad_alloc&) {
    end("millrace: out of memory\n");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      end("millrace: cannot start a thread: the limit of memory or of threads is reached\n");
    }
    std::fputs("millrace: ", stderr);
    std::fputs(error.what(), stderr);  // such as an output that cannot be written
    end("\n");
  } catch (...) {
    // ends as ever, below
  }
  usual_end();
  std::abort();
}

}  // namespace

void end_plainly_when_exhausted() { usual_end = std::set_terminate(on_terminate); }

}  // namespace millrace
