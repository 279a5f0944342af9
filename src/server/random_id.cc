#include "server/random_id.h"

#include <sys/random.h>

#include <fmt/format.h>

#include "base/check.h"

namespace millrace {

uint64_t random_bits() {
  uint64_t bits = 0;
  const ssize_t got = getrandom(&bits, sizeof bits, 0);
  CHECK(got == sizeof bits, "the system gives no random numbers");
  return bits;
}

std::string random_hex() { return fmt::format("{:016x}{:016x}", random_bits(), random_bits()); }

}  // namespace millrace
