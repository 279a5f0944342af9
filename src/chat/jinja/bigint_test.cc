#include "chat/jinja/bigint.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace millrace::jinja {
namespace {

BigInt read(std::string_view digits) { return BigInt::from_digits(digits, 10); }

TEST(BigInt, ReadsAndWritesAnyBase) {
  const std::string digits = "123456789012345678901234567890123456789012345678901234567890";
  EXPECT_EQ(read(digits).to_string(), digits);
  EXPECT_EQ((-read(digits)).to_string(), "-" + digits);
  EXPECT_EQ(read("18446744073709551616").to_string(16), "10000000000000000");
  EXPECT_EQ(BigInt::from_digits("zZ", 36).to_string(), "1295");
  EXPECT_EQ(BigInt(std::numeric_limits<int64_t>::min()).to_string(), "-9223372036854775808");
  EXPECT_EQ(BigInt(int64_t{0}).to_string(), "0");
  EXPECT_EQ(read("9223372036854775808").to_int64(), std::nullopt);
  EXPECT_EQ((-read("9223372036854775808")).to_int64(), std::numeric_limits<int64_t>::min());
}

// (a // b) * b + a % b == a, and the remainder lies between 0 and the divisor, for numbers whose
// limbs make every digit of a long division too large at first.
TEST(BigInt, DividesAsPythonDoes) {
  std::vector<BigInt> numbers = {BigInt(int64_t{1}), BigInt(int64_t{-3}), read("4294967295"),
                                 read("18446744069414584320"),
                                 read("340282366920938463463374607431768211455")};
  for (int power = 2; power < 40; power += 5) {
    BigInt number(int64_t{1});
    for (int i = 0; i < power; ++i) number = number * read("4294967296");
    numbers.push_back(number);
    numbers.push_back(number - BigInt(int64_t{1}));
    numbers.push_back(-(number + read("4294967297")));
  }
  for (const BigInt& a : numbers) {
    for (const BigInt& b : numbers) {
      const auto [quotient, remainder] = floor_divide(a, b);
      EXPECT_EQ(quotient * b + remainder, a);
      EXPECT_TRUE(remainder.is_zero() || remainder.is_negative() == b.is_negative());
      EXPECT_TRUE(b.is_negative() ? remainder > b : remainder < b);
      EXPECT_EQ(a < b, (a - b).is_negative());
    }
  }
}

TEST(BigInt, RoundsToTheNearestDouble) {
  EXPECT_EQ(read("9007199254740993").to_double(), 9007199254740992.0);
  EXPECT_EQ(read("9007199254740995").to_double(), 9007199254740996.0);
  EXPECT_EQ(read("18446744073709553664").to_double(), 18446744073709551616.0);  // a tie, to even
  EXPECT_EQ(read("18446744073709553665").to_double(), 18446744073709555712.0);  // just above it
  EXPECT_TRUE(std::isinf(read(std::string(400, '9')).to_double()));
  EXPECT_EQ(BigInt::from_double(-1e22).to_string(), "-10000000000000000000000");
  EXPECT_EQ(BigInt::from_double(2.75).to_string(), "2");
  EXPECT_EQ(BigInt::from_double(-0.5).to_string(), "0");
  EXPECT_EQ(true_quotient(read("1" + std::string(400, '0')), read("3" + std::string(399, '0'))),
            10.0 / 3);
  EXPECT_EQ(true_quotient(read("9007199254740993"), BigInt(int64_t{-1})), -9007199254740992.0);
}

}  // namespace
}  // namespace millrace::jinja
