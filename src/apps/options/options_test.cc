#include "apps/options/options.h"

#include <string>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

namespace millrace {
namespace {

// The size that is read, or why it is none.
std::string read(std::string text, int64_t min = 0, int64_t max = int64_t{1} << 62) {
  const std::string fault = as_size(min, max)(text);
  return fault.empty() ? text : fault;
}

TEST(AsSize, TakesDecimalAndBinaryUnits) {
  EXPECT_EQ(read("4096"), "4096");
  EXPECT_EQ(read("4k"), "4000");
  EXPECT_EQ(read("4K"), "4096");
  EXPECT_EQ(read("3m"), "3000000");
  EXPECT_EQ(read("3M"), "3145728");
  EXPECT_EQ(read("2g"), "2000000000");
  EXPECT_EQ(read("2G"), "2147483648");
  EXPECT_EQ(read("1t"), "1000000000000");
  EXPECT_EQ(read("1T"), "1099511627776");
}

TEST(AsSize, RefusesWhatIsNone) {
  for (const char* text : {"", "k", "-1", "+1", "1.5k", "1kk", "1 k", "1KiB", "1P", "0x10",
                           "9999999999999999999", "9999999999T"}) {
    EXPECT_NE(read(text).find("is not a size"), std::string::npos) << text;
  }
  EXPECT_EQ(read("1k", 0, 999), "1000 is not within 0 to 999");
  EXPECT_EQ(read("0", 1), "0 is not within 1 to 4611686018427387904");
}

}  // namespace
}  // namespace millrace
