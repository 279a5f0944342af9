#pragma once

#include <concepts>
#include <optional>

namespace millrace {

// Arithmetic on numbers that come from outside: nothing where the result does not fit.

template <std::integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::integral T>
constexpr std::optional<T> checked_multiply(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The first multiple of `alignment` (a power of two) that is not below `value`.
template <std::unsigned_integral T>
constexpr std::optional<T> checked_align_up(T value, T alignment) {
  const std::optional<T> above = checked_add<T>(value, alignment - 1);
  if (!above) return std::nullopt;
  return *above & ~(alignment - 1);
}

}  // namespace millrace
