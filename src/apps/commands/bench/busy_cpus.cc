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

// In the child of a process that may have threads: system calls alone.
[[noreturn]] void keep_busy(int cpu, pid_t parent) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent || ::sched_setaffinity(0, sizeof one, &one) != 0) ::_exit(1);
  ::raise(SIGSTOP);
  while (true) asm volatile("");
}

// Until the child is at rest.
bool has_stopped(pid_t child) {
  int state = 0;
  pid_t found = 0;
  do {
    found = ::waitpid(child, &state, WUNTRACED);
  } while (found < 0 && errno == EINTR);
  return found == child && WIFSTOPPED(state);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BusyCpus>> BusyCpus::start() {
  cpu_set_t mine;
  if (::sched_getaffinity(0, sizeof mine, &mine) != 0) {
    return internal_error("the CPUs of this process: {}", std::strerror(errno));
  }
  const pid_t parent = ::getpid();
  std::unique_ptr<BusyCpus> busy(new BusyCpus);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mine)) continue;
    const pid_t child = ::fork();
    if (child < 0) {
      return internal_error("a process to keep CPU {} busy: {}", cpu, std::strerror(errno));
    }
    if (child == 0) keep_busy(cpu, parent);
    busy->children_.push_back(child);
    if (!has_stopped(child)) {
      busy->children_.pop_back();  // it has ended
      return internal_error("no process can keep CPU {} busy", cpu);
    }
  }
  return busy;
}

BusyCpus::~BusyCpus() {
  signal(SIGKILL);
  for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
}

void BusyCpus::resume() const { signal(SIGCONT); }
void BusyCpus::rest() const {
  signal(SIGSTOP);
  for (const pid_t child : children_) has_stopped(child);
}

void BusyCpus::signal(int number) const {
  for (const pid_t child : children_) ::kill(child, number);
}

}  // namespace millrace
