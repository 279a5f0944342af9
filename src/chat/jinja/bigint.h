#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::jinja {

// Integers of any size, for the few that leave 64 bits: a sign and a magnitude, and the methods
// taught at school. Who multiplies bounds the sizes and counts the work, which grows with their
// square.
class BigInt {
 public:
  explicit BigInt(int64_t value = 0);
  explicit BigInt(uint64_t value);
  BigInt(std::span<const uint32_t> limbs, bool is_negative);
  // The whole part of a finite number.
  static BigInt from_double(double number);
  // One digit at least, each below the base (2 to 36).
  static BigInt from_digits(std::string_view digits, uint32_t base);

  // The magnitude in base 2^32, lowest first, the last one not 0.
  std::span<const uint32_t> limbs() const { return limbs_; }
  bool is_negative() const { return is_negative_; }
  bool is_zero() const { return limbs_.empty(); }
  int64_t bits() const;  // of the magnitude
  std::optional<int64_t> to_int64() const;
  // The nearest, ties to even; infinite beyond the doubles.
  double to_double() const;
  std::string to_string(uint32_t base = 10) const;

  BigInt operator-() const;
  friend BigInt operator+(const BigInt& left, const BigInt& right);
  friend BigInt operator-(const BigInt& left, const BigInt& right) { return left + -right; }
  friend BigInt operator*(const BigInt& left, const BigInt& right);
  friend std::strong_ordering operator<=>(const BigInt& left, const BigInt& right);
  friend bool operator==(const BigInt& left, const BigInt& right) = default;

 private:
  void trim();

  std::vector<uint32_t> limbs_;
  bool is_negative_ = false;
};

struct BigDivision {
  BigInt quotient;
  BigInt remainder;
};
// Rounded towards minus infinity; the remainder has the divisor's sign. `right` is not 0.
BigDivision floor_divide(const BigInt& left, const BigInt& right);
// left / right as the nearest double.
double true_quotient(const BigInt& left, const BigInt& right);

}  // namespace millrace::jinja
