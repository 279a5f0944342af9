#include "apps/commands/bench/busy_cpus.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace millrace {
namespace {

// In a child of a process with threads: nothing but system calls.
[[noreturn]] void be_busy(pid_t parent, int cpu) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<size_t>(cpu), &only);
  ::sched_setaffinity(0, sizeof only, &only);
  while (true) asm volatile("");
}

}  // namespace

absl::StatusOr<BusyCpus> BusyCpus::start() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  ::sched_getaffinity(0, sizeof usable, &usable);
  const pid_t self = ::getpid();
  BusyCpus busy;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<size_t>(cpu), &usable)) continue;
    const pid_t child = ::fork();
    if (child == 0) be_busy(self, cpu);
    if (child < 0) {
      return absl::ResourceExhaustedError(std::string("cannot start a busy process: ") +
                                          std::strerror(errno));
    }
    busy.processes_.push_back(child);
  }
  return busy;
}

BusyCpus::~BusyCpus() {
  for (const pid_t process : processes_) {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
  }
}

}  // namespace millrace
