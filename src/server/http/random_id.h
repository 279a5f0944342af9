#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace millrace {

// From the system's generator: seeds, ids.
uint64_t random_bits();
std::string random_hex();  // 32 digits

// Seeds for requests without one: random, or the same ones after every start.
class SeedSource {
 public:
  explicit SeedSource(std::optional<uint64_t> root) : root_(root) {}
  uint64_t next();

 private:
  const std::optional<uint64_t> root_;
  std::atomic<uint64_t> drawn_ = 0;
};

}  // namespace millrace
