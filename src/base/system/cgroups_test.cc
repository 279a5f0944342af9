#include "base/system/cgroups.h"

#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/system/cpus.h"
#include "base/system/memory_limit.h"

namespace millrace {
namespace {

// A folder that stands for the system's root.
class CgroupsTest : public testing::Test {
 protected:
  CgroupsTest() : root_(testing::TempDir() + "cgroups_test." + std::to_string(::getpid())) {
    std::filesystem::remove_all(root_);
  }
  ~CgroupsTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // One line of /proc/self/mountinfo for each mount: "type root point options".
  struct Mounted {
    std::string type, root, point, options;
  };
  void mount(const std::vector<Mounted>& mounts) const {
    std::string text = "23 1 0:2 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";
    for (const Mounted& m : mounts) {
      text += "31 23 0:28 " + m.root + " " + m.point + " rw,nosuid shared:4 master:2 - " + m.type +
              " cgroup rw," + m.options + "\n";
    }
    write("/proc/self/mountinfo", text);
  }
  Cgroups cgroups() const { return Cgroups(root_); }

 private:
  std::string root_;
};

TEST_F(CgroupsTest, WithoutAnyThereIsNoLimit) {
  EXPECT_EQ(cgroups().memory_bytes(), std::nullopt);
  EXPECT_EQ(cgroups().cpus(), std::nullopt);
  write("/proc/self/cgroup", "nonsense\n1:\n0::/x\n");
  mount({});
  EXPECT_EQ(cgroups().memory_bytes(), std::nullopt);
}

TEST_F(CgroupsTest, TheStrictestOfNestedGroupsOfVersion2Holds) {
  mount({{"cgroup2", "/", "/sys/fs/cgroup", "nsdelegate"}});
  write("/proc/self/cgroup", "0::/a/b/c\n");
  write("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
  write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroups().memory_bytes(), std::nullopt);
  EXPECT_EQ(cgroups().cpus(), std::nullopt);
  write("/sys/fs/cgroup/a/b/memory.max", "3000000000\n");
  write("/sys/fs/cgroup/a/memory.max", "2000000000\n");
  write("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  EXPECT_EQ(cgroups().memory_bytes(), 2'000'000'000);
  EXPECT_EQ(cgroups().cpus(), 2);
  write("/sys/fs/cgroup/a/b/c/memory.high", "1000000000\n");
  write("/sys/fs/cgroup/a/b/c/cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroups().memory_bytes(), 1'000'000'000);
  EXPECT_EQ(cgroups().cpus(), 1);
  write("/sys/fs/cgroup/memory.high", "500000000\n");
  EXPECT_EQ(cgroups().memory_bytes(), 500'000'000);
}

TEST_F(CgroupsTest, WhatIsNotUnderstoodSetsNoLimit) {
  mount({{"cgroup2", "/", "/sys/fs/cgroup", ""}});
  write("/proc/self/cgroup", "0::/a\n");
  for (const char* text : {"", "x", "-1", "0", "12 cows", "99999999999999999999"}) {
    write("/sys/fs/cgroup/a/memory.max", text);
    EXPECT_EQ(cgroups().memory_bytes(), std::nullopt) << text;
  }
  for (const char* text : {"", "x y", "1 0", "100000", "-1 100000"}) {
    write("/sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(cgroups().cpus(), std::nullopt) << text;
  }
}

TEST_F(CgroupsTest, ControllersOfVersion1AreFoundInEverySpelling) {
  for (const std::string controllers :
       {"memory", "cpu,memory", "memory,cpuacct,cpu", "blkio,memory,cpu"}) {
    for (const std::string point :
         {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/all", "/my\\040groups"}) {
      const std::string folder = point[1] == 'm' ? "/my groups" : point;
      mount({{"cgroup", "/", "/sys/fs/cgroup/pids", "pids"}, {"cgroup", "/", point, controllers}});
      write("/proc/self/cgroup", "5:pids:/other\n4:" + controllers + ":/x/y\n1:name=systemd:/\n");
      write(folder + "/x/y/memory.limit_in_bytes", "9223372036854771712\n");
      write(folder + "/x/memory.limit_in_bytes", "7000000\n");
      EXPECT_EQ(cgroups().memory_bytes(), 7'000'000) << controllers << " at " << point;
      write(folder + "/x/y/cpu.cfs_quota_us", "-1\n");
      write(folder + "/x/cpu.cfs_quota_us", "300000\n");
      write(folder + "/x/cpu.cfs_period_us", "100000\n");
      const bool has_cpu = controllers != "memory";
      EXPECT_EQ(cgroups().cpus(), has_cpu ? std::optional<int64_t>(3) : std::nullopt);
    }
  }
}

// A list of names is not a name that begins alike.
TEST_F(CgroupsTest, OtherControllersSetNothing) {
  mount({{"cgroup", "/", "/sys/fs/cgroup/cpuset", "cpuset"},
         {"cgroup", "/", "/sys/fs/cgroup/cpuacct", "cpuacct"}});
  write("/proc/self/cgroup", "2:cpuset:/\n1:cpuacct:/\n");
  for (const std::string folder : {"/sys/fs/cgroup/cpuset", "/sys/fs/cgroup/cpuacct"}) {
    write(folder + "/cpu.cfs_quota_us", "100000\n");
    write(folder + "/cpu.cfs_period_us", "100000\n");
    write(folder + "/memory.limit_in_bytes", "1000\n");
  }
  EXPECT_EQ(cgroups().cpus(), std::nullopt);
  EXPECT_EQ(cgroups().memory_bytes(), std::nullopt);
}

// In a container the group's own folder is mounted, and is called by its name outside or by "/".
TEST_F(CgroupsTest, AGroupThatIsMountedItselfIsRead) {
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000\n");
  write("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "3000\n");
  mount({{"cgroup", "/docker/abc", "/sys/fs/cgroup/memory", "memory"}});
  write("/proc/self/cgroup", "4:memory:/docker/abc\n");
  EXPECT_EQ(cgroups().memory_bytes(), 4000);
  write("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  EXPECT_EQ(cgroups().memory_bytes(), 3000);
  write("/proc/self/cgroup", "4:memory:/docker/abcd\n");
  EXPECT_EQ(cgroups().memory_bytes(), 4000);
  mount({{"cgroup", "/../..", "/sys/fs/cgroup/memory", "memory"}});
  write("/proc/self/cgroup", "4:memory:/\n");
  EXPECT_EQ(cgroups().memory_bytes(), 4000);
}

// Both versions at once: version 2 without its controllers, or with some of them.
TEST_F(CgroupsTest, BothVersionsCount) {
  mount({{"cgroup", "/", "/sys/fs/cgroup/memory", "memory"},
         {"cgroup2", "/", "/sys/fs/cgroup/unified", "nsdelegate"}});
  write("/proc/self/cgroup", "4:memory:/m\n0::/u\n");
  write("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "5000\n");
  EXPECT_EQ(cgroups().memory_bytes(), 5000);
  write("/sys/fs/cgroup/unified/u/memory.max", "4000\n");
  write("/sys/fs/cgroup/unified/u/cpu.max", "400000 100000\n");
  EXPECT_EQ(cgroups().memory_bytes(), 4000);
  EXPECT_EQ(cgroups().cpus(), 4);
}

TEST_F(CgroupsTest, CutWhatTheProcessMayUse) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_GT(usable_memory_bytes(), 0);
  mount({{"cgroup2", "/", "/sys/fs/cgroup", ""}});
  write("/proc/self/cgroup", "0::/\n");
  write("/sys/fs/cgroup/memory.max", "1000000\n");
  write("/sys/fs/cgroup/cpu.max", "10000 100000\n");
  EXPECT_EQ(usable_memory_bytes(cgroups()), 1'000'000);
  EXPECT_EQ(usable_cpus(cgroups()), 1);
}

int64_t pages_in_use(int field) {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  for (int i = 0; i <= field; ++i) file >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

// Exits with 0 if a limit of 1 GiB beyond what is in use now is seen.
[[noreturn]] void exit_within_limit(__rlimit_resource resource, int field) {
  constexpr int64_t kLeft = int64_t{1} << 30;
  const auto limit = static_cast<rlim_t>(pages_in_use(field) + kLeft);
  const rlimit limits = {limit, limit};
  const bool none_before = !reservable_bytes().has_value();
  ::setrlimit(resource, &limits);
  const int64_t left = reservable_bytes().value_or(-1);
  const bool cut = usable_memory_bytes() <= static_cast<int64_t>(limit);
  ::_exit(none_before && cut && left > kLeft / 2 && left <= kLeft ? 0 : 1);
}

using MemoryLimitDeathTest = testing::Test;

TEST(MemoryLimitDeathTest, LimitsOfTheProcessCount) {
  EXPECT_EXIT(exit_within_limit(RLIMIT_AS, 0), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(exit_within_limit(RLIMIT_DATA, 5), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace millrace
