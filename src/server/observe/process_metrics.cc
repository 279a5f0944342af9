#include "server/observe/process_metrics.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

#include "server/observe/metric_family.h"

namespace millrace {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// Fields of /proc/self/stat after the command in parentheses, counted from there: proc(5) numbers
// them from 3.
struct ProcessStat {
  double started_s = 0, virtual_bytes = 0, resident_bytes = 0;
};

ProcessStat read_stat() {
  // Kept open: counters must not fall to 0 when the process has no more file descriptors.
  static const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  std::string text(4096, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(pread(file, text.data(), text.size(), 0), 0)));
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  constexpr int kFirst = 3, kStart = 22, kVirtual = 23, kResident = 24;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  ProcessStat stat;
  std::string field;
  for (int i = kFirst; i <= kResident && fields >> field; ++i) {
    const double value = std::strtod(field.c_str(), nullptr);
    if (i == kStart) stat.started_s = value / ticks;
    if (i == kVirtual) stat.virtual_bytes = value;
    if (i == kResident) {
      stat.resident_bytes = value * static_cast<double>(sysconf(_SC_PAGESIZE));
    }
  }
  return stat;
}

rusage own_usage() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

double cpu_s() {
  const rusage usage = own_usage();
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double storage_bytes_read() {
  constexpr double kBlockBytes = 512;  // Linux counts in these, whatever the device
  return static_cast<double>(own_usage().ru_inblock) * kBlockBytes;
}

double boot_time_s() {
  std::ifstream file("/proc/stat");
  std::string name;
  double seconds = 0;
  while (file >> name) {
    if (name == "btime" && file >> seconds) break;
  }
  return seconds;
}

double open_files_max() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double open_files() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  return error ? open_files_max() : count - 1;  // the one that counts them
}

}  // namespace

void collect_process(std::vector<MetricFamily>& families) {
  static const double boot_s = boot_time_s();
  const ProcessStat stat = read_stat();
  struct Sample {
    const char* name;
    const char* help;
    MetricType type;
    double value;
  };
  const Sample samples[] = {
      {"process_cpu_seconds_total", "User and system time spent.", MetricType::Counter, cpu_s()},
      {"process_storage_read_bytes_total",
       "Bytes read from storage, not from the page cache: with --weight-memory those of weights.",
       MetricType::Counter, storage_bytes_read()},
      {"process_resident_memory_bytes", "Memory resident.", MetricType::Gauge, stat.resident_bytes},
      {"process_virtual_memory_bytes", "Address space.", MetricType::Gauge, stat.virtual_bytes},
      {"process_open_fds", "File descriptors in use.", MetricType::Gauge, open_files()},
      {"process_max_fds", "File descriptors allowed.", MetricType::Gauge, open_files_max()},
      {"process_start_time_seconds", "When the process began, since 1970.", MetricType::Gauge,
       boot_s + stat.started_s},
  };
  for (const Sample& sample : samples) {
    families.push_back({sample.name, sample.help, sample.type, {metric_of(sample.value)}});
  }
}

}  // namespace millrace
