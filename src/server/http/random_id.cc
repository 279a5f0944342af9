#include "server/http/random_id.h"

#include <sys/random.h>

#include <fmt/format.h>

#include "base/check.h"
#include "base/random.h"

namespace millrace {

uint64_t random_bits() {
  uint64_t bits = 0;
  const ssize_t got = getrandom(&bits, sizeof bits, 0);
  CHECK(got == sizeof bits, "the system gives no random numbers");
  return bits;
}

std::string random_hex() { return fmt::format("{:016x}{:016x}", random_bits(), random_bits()); }

uint64_t SeedSource::next() {
  if (!root_) return random_bits();
  const auto low = [](uint64_t bits) { return static_cast<uint32_t>(bits); };
  const auto high = [](uint64_t bits) { return static_cast<uint32_t>(bits >> 32); };
  const uint64_t drawn = drawn_.fetch_add(1);
  const auto bits = philox({low(*root_), high(*root_)}, {low(drawn), high(drawn), 0, 0});
  return uint64_t{bits[1]} << 32 | bits[0];
}

}  // namespace millrace
