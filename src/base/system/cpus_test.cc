#include "base/system/cpus.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(CgroupQuota, IsWholeCpusAndAtLeastOne) {
  EXPECT_EQ(cpus_of_cgroup_quota("max 100000"), 0);
  EXPECT_EQ(cpus_of_cgroup_quota("250000 100000"), 2);
  EXPECT_EQ(cpus_of_cgroup_quota("50000 100000"), 1);
  EXPECT_EQ(cpus_of_cgroup_quota(""), 0);
  EXPECT_EQ(cpus_of_cgroup_quota("1 0"), 0);
  EXPECT_EQ(cpus_of_cgroup_quota("x y"), 0);
}

TEST(UsableCpus, IsAtLeastOne) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_GT(usable_memory_bytes(), 0);
}

}  // namespace
}  // namespace millrace
