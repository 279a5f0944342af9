#include "apps/commands/bench/foreign_cpu.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>

namespace millrace {

std::optional<double> busy_seconds_of(std::string_view proc_stat, double ticks_per_second) {
  std::istringstream line{std::string(proc_stat.substr(0, proc_stat.find('\n')))};
  std::string label;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  line >> label >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  if (!line || label != "cpu") return std::nullopt;
  return (user + nice + system + irq + softirq + steal) / ticks_per_second;
}

ForeignCpu::ForeignCpu() : first_(read()) {}

ForeignCpu::Reading ForeignCpu::read() {
  std::ifstream file("/proc/stat");
  std::string line;
  std::getline(file, line);
  timespec own{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  return {.all = busy_seconds_of(line, static_cast<double>(::sysconf(_SC_CLK_TCK))),
          .own = static_cast<double>(own.tv_sec) + static_cast<double>(own.tv_nsec) * 1e-9,
          .at = RealClock().now()};
}

std::optional<double> ForeignCpu::cpus() const {
  const Reading now = read();
  if (!first_.all || !now.all) return std::nullopt;
  const double elapsed = absl::ToDoubleSeconds(now.at - first_.at);
  const double foreign = (*now.all - *first_.all) - (now.own - first_.own);
  return elapsed > 0 ? std::max(0.0, foreign / elapsed) : 0;
}

}  // namespace millrace
