#include "chat/jinja/bigint.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace::jinja {

namespace {

using Limbs = std::vector<uint32_t>;
using View = std::span<const uint32_t>;

constexpr int kLimbBits = 32;
// Digits are read and written in groups whose power of any base fits into one limb.
constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";

void trim_zeros(Limbs& limbs) {
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
}

std::strong_ordering compare_magnitudes(View left, View right) {
  if (left.size() != right.size()) return left.size() <=> right.size();
  for (size_t i = left.size(); i-- > 0;) {
    if (left[i] != right[i]) return left[i] <=> right[i];
  }
  return std::strong_ordering::equal;
}

Limbs sum(View left, View right) {
  if (left.size() < right.size()) std::swap(left, right);
  Limbs result(left.begin(), left.end());
  uint64_t carry = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    carry += uint64_t{left[i]} + (i < right.size() ? right[i] : 0);
    result[i] = static_cast<uint32_t>(carry);
    carry >>= kLimbBits;
  }
  if (carry != 0) result.push_back(static_cast<uint32_t>(carry));
  return result;
}

// `left` is not below `right`.
Limbs difference(View left, View right) {
  Limbs result(left.begin(), left.end());
  int64_t borrow = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const int64_t each = int64_t{left[i]} - (i < right.size() ? right[i] : 0) - borrow;
    result[i] = static_cast<uint32_t>(each);
    borrow = each < 0 ? 1 : 0;
  }
  trim_zeros(result);
  return result;
}

void multiply_add(Limbs& limbs, uint32_t factor, uint32_t addend) {
  uint64_t carry = addend;
  for (uint32_t& limb : limbs) {
    carry += uint64_t{limb} * factor;
    limb = static_cast<uint32_t>(carry);
    carry >>= kLimbBits;
  }
  if (carry != 0) limbs.push_back(static_cast<uint32_t>(carry));
}

// Leaves the quotient, gives the remainder.
uint32_t divide_by(Limbs& limbs, uint32_t divisor) {
  uint64_t rest = 0;
  for (size_t i = limbs.size(); i-- > 0;) {
    rest = (rest << kLimbBits) | limbs[i];
    limbs[i] = static_cast<uint32_t>(rest / divisor);
    rest %= divisor;
  }
  trim_zeros(limbs);
  return static_cast<uint32_t>(rest);
}

Limbs shifted_left(View limbs, int64_t bits) {
  if (limbs.empty()) return {};
  const auto whole = static_cast<size_t>(bits / kLimbBits);
  const int part = static_cast<int>(bits % kLimbBits);
  Limbs result(limbs.size() + whole + 1, 0);
  for (size_t i = 0; i < limbs.size(); ++i) {
    const uint64_t wide = uint64_t{limbs[i]} << part;
    result[i + whole] |= static_cast<uint32_t>(wide);
    result[i + whole + 1] = static_cast<uint32_t>(wide >> kLimbBits);
  }
  trim_zeros(result);
  return result;
}

struct Parts {
  Limbs quotient;
  Limbs remainder;
};

// Knuth, The Art of Computer Programming 2, section 4.3.1, algorithm D.
Parts divide_magnitudes(View left, View right) {
  if (compare_magnitudes(left, right) < 0) return {{}, Limbs(left.begin(), left.end())};
  if (right.size() == 1) {
    Parts parts{Limbs(left.begin(), left.end()), {}};
    if (const uint32_t rest = divide_by(parts.quotient, right[0])) parts.remainder = {rest};
    return parts;
  }
  const int shift = std::countl_zero(right.back());
  const Limbs divisor = shifted_left(right, shift);
  Limbs rest = shifted_left(left, shift);
  rest.resize(left.size() + 1, 0);
  const size_t n = divisor.size();
  Limbs quotient(rest.size() - n, 0);
  constexpr uint64_t kBase = uint64_t{1} << kLimbBits;
  for (size_t j = quotient.size(); j-- > 0;) {
    const uint64_t top = (uint64_t{rest[j + n]} << kLimbBits) | rest[j + n - 1];
    uint64_t digit = top / divisor[n - 1];
    uint64_t left_over = top % divisor[n - 1];
    while (digit >= kBase ||
           digit * divisor[n - 2] > ((left_over << kLimbBits) | rest[j + n - 2])) {
      --digit;
      left_over += divisor[n - 1];
      if (left_over >= kBase) break;
    }
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (size_t i = 0; i <= n; ++i) {
      carry += i < n ? digit * divisor[i] : 0;
      const int64_t each = int64_t{rest[i + j]} - borrow - static_cast<uint32_t>(carry);
      rest[i + j] = static_cast<uint32_t>(each);
      borrow = each < 0 ? 1 : 0;
      carry >>= kLimbBits;
    }
    if (borrow != 0) {
      --digit;
      uint64_t back = 0;
      for (size_t i = 0; i <= n; ++i) {
        back += uint64_t{rest[i + j]} + (i < n ? divisor[i] : 0);
        rest[i + j] = static_cast<uint32_t>(back);
        back >>= kLimbBits;
      }
    }
    quotient[j] = static_cast<uint32_t>(digit);
  }
  trim_zeros(quotient);
  trim_zeros(rest);
  for (size_t i = 0; i < rest.size() && shift != 0; ++i) {
    const uint32_t above = i + 1 < rest.size() ? rest[i + 1] : 0;
    rest[i] = (rest[i] >> shift) | (above << (kLimbBits - shift));
  }
  trim_zeros(rest);
  return {std::move(quotient), std::move(rest)};
}

// The largest power of the base below 2^32, and its exponent.
struct Group {
  uint32_t power;
  size_t digits;
};
Group group_of(uint32_t base) {
  Group group{base, 1};
  while (uint64_t{group.power} * base <= UINT32_MAX) {
    group.power *= base;
    ++group.digits;
  }
  return group;
}

}  // namespace

BigInt::BigInt(int64_t value)
    : BigInt(value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value)) {
  is_negative_ = value < 0;
}

BigInt::BigInt(uint64_t value)
    : limbs_{static_cast<uint32_t>(value), static_cast<uint32_t>(value >> kLimbBits)} {
  trim();
}

BigInt::BigInt(std::span<const uint32_t> limbs, bool is_negative)
    : limbs_(limbs.begin(), limbs.end()), is_negative_(is_negative) {
  trim();
}

void BigInt::trim() {
  trim_zeros(limbs_);
  if (limbs_.empty()) is_negative_ = false;
}

BigInt BigInt::from_double(double number) {
  int exponent = 0;
  const double fraction = std::frexp(std::trunc(std::abs(number)), &exponent);
  constexpr int kMantissaBits = 53;
  const auto mantissa = static_cast<int64_t>(std::ldexp(fraction, kMantissaBits));
  BigInt result(mantissa >> std::clamp(kMantissaBits - exponent, 0, kMantissaBits));
  if (exponent > kMantissaBits) {
    result.limbs_ = shifted_left(result.limbs_, exponent - kMantissaBits);
  }
  result.is_negative_ = number < 0;
  result.trim();
  return result;
}

BigInt BigInt::from_digits(std::string_view digits, uint32_t base) {
  const Group group = group_of(base);
  BigInt result;
  while (!digits.empty()) {
    const std::string_view part = digits.substr(0, group.digits);
    uint32_t value = 0;
    uint32_t power = 1;
    for (const char digit : part) {
      const char lower = digit >= 'A' && digit <= 'Z' ? static_cast<char>(digit + 32) : digit;
      value = value * base + static_cast<uint32_t>(kDigits.find(lower));
      power *= base;
    }
    multiply_add(result.limbs_, power, value);
    digits.remove_prefix(part.size());
  }
  result.trim();
  return result;
}

int64_t BigInt::bits() const {
  return limbs_.empty() ? 0 : std::ssize(limbs_) * kLimbBits - std::countl_zero(limbs_.back());
}

std::optional<int64_t> BigInt::to_int64() const {
  if (limbs_.size() > 2) return std::nullopt;
  uint64_t magnitude = limbs_.empty() ? 0 : limbs_[0];
  if (limbs_.size() == 2) magnitude |= uint64_t{limbs_[1]} << kLimbBits;
  const uint64_t bound = uint64_t{1} << 63;
  if (magnitude > bound || (magnitude == bound && !is_negative_)) return std::nullopt;
  return static_cast<int64_t>(is_negative_ ? 0 - magnitude : magnitude);
}

double BigInt::to_double() const {
  constexpr int64_t kKeptBits = 64;
  const int64_t dropped = std::max<int64_t>(bits() - kKeptBits, 0);
  uint64_t kept = 0;
  for (size_t i = limbs_.size(); i-- > 0;) {
    const int64_t place = static_cast<int64_t>(i) * kLimbBits - dropped;
    if (place >= 0) {
      kept |= uint64_t{limbs_[i]} << place;
    } else if (place > -kLimbBits) {
      kept |= uint64_t{limbs_[i]} >> -place;
      // Whatever is cut off decides a tie: it is kept as the lowest bit.
      if ((limbs_[i] & ((uint32_t{1} << -place) - 1)) != 0) kept |= 1;
    } else if (limbs_[i] != 0) {
      kept |= 1;
    }
  }
  constexpr int64_t kExponentMax = 2000;
  const double magnitude =
      std::ldexp(static_cast<double>(kept), static_cast<int>(std::min(dropped, kExponentMax)));
  return is_negative_ ? -magnitude : magnitude;
}

std::string BigInt::to_string(uint32_t base) const {
  if (is_zero()) return "0";
  const Group group = group_of(base);
  std::string reversed;
  for (Limbs rest = limbs_; !rest.empty();) {
    uint32_t part = divide_by(rest, group.power);
    for (size_t i = 0; i < group.digits && (part != 0 || !rest.empty()); ++i) {
      reversed += kDigits[part % base];
      part /= base;
    }
  }
  if (is_negative_) reversed += '-';
  return {reversed.rbegin(), reversed.rend()};
}

BigInt BigInt::operator-() const {
  BigInt result = *this;
  result.is_negative_ = !is_negative_ && !is_zero();
  return result;
}

BigInt operator+(const BigInt& left, const BigInt& right) {
  BigInt result;
  if (left.is_negative_ == right.is_negative_) {
    result.limbs_ = sum(left.limbs_, right.limbs_);
    result.is_negative_ = left.is_negative_;
  } else {
    const bool is_left_larger = compare_magnitudes(left.limbs_, right.limbs_) >= 0;
    const BigInt& larger = is_left_larger ? left : right;
    const BigInt& smaller = is_left_larger ? right : left;
    result.limbs_ = difference(larger.limbs_, smaller.limbs_);
    result.is_negative_ = larger.is_negative_;
  }
  result.trim();
  return result;
}

BigInt operator*(const BigInt& left, const BigInt& right) {
  BigInt result;
  result.limbs_.assign(left.limbs_.size() + right.limbs_.size(), 0);
  for (size_t i = 0; i < left.limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < right.limbs_.size(); ++j) {
      carry += uint64_t{left.limbs_[i]} * right.limbs_[j] + result.limbs_[i + j];
      result.limbs_[i + j] = static_cast<uint32_t>(carry);
      carry >>= kLimbBits;
    }
    result.limbs_[i + right.limbs_.size()] = static_cast<uint32_t>(carry);
  }
  result.is_negative_ = left.is_negative_ != right.is_negative_;
  result.trim();
  return result;
}

std::strong_ordering operator<=>(const BigInt& left, const BigInt& right) {
  if (left.is_negative_ != right.is_negative_) return right.is_negative_ <=> left.is_negative_;
  return left.is_negative_ ? compare_magnitudes(right.limbs_, left.limbs_)
                           : compare_magnitudes(left.limbs_, right.limbs_);
}

BigDivision floor_divide(const BigInt& left, const BigInt& right) {
  Parts parts = divide_magnitudes(left.limbs(), right.limbs());
  const bool differ = left.is_negative() != right.is_negative();
  BigDivision division{BigInt(parts.quotient, differ), BigInt(parts.remainder, left.is_negative())};
  if (differ && !division.remainder.is_zero()) {
    division.quotient = division.quotient - BigInt(int64_t{1});
    division.remainder = division.remainder + right;
  }
  return division;
}

double true_quotient(const BigInt& left, const BigInt& right) {
  // A quotient of more bits than a double has, whose lowest one tells of a remainder.
  constexpr int64_t kQuotientBits = 66;
  const int64_t shift = kQuotientBits - (left.bits() - right.bits());
  const Limbs dividend = shifted_left(left.limbs(), std::max<int64_t>(shift, 0));
  const Limbs divisor = shifted_left(right.limbs(), std::max<int64_t>(-shift, 0));
  Parts parts = divide_magnitudes(dividend, divisor);
  if (!parts.remainder.empty()) parts.quotient[0] |= 1;
  const BigInt quotient(parts.quotient, left.is_negative() != right.is_negative());
  return std::ldexp(quotient.to_double(), static_cast<int>(-shift));
}

}  // namespace millrace::jinja
