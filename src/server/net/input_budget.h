#pragma once

#include <cstdint>

namespace millrace {

// The bytes of requests that all connections hold together, on the one thread they live on. Each
// has a share of its own besides, so a few large requests never shut out the usual small ones.
class InputBudget {
 public:
  static constexpr int64_t kShareBytes = int64_t{128} << 10;

  explicit InputBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

 private:
  friend class HeldInput;

  const int64_t bytes_max_;
  int64_t bytes_ = 0;  // beyond the shares
};

// What one connection holds.
class HeldInput {
 public:
  explicit HeldInput(InputBudget& budget) : budget_(budget) {}  // which outlives it
  ~HeldInput() { set(0); }
  HeldInput(const HeldInput&) = delete;
  HeldInput& operator=(const HeldInput&) = delete;

  void set(int64_t bytes);
  // Whether this connection may go on: it is within its share, or all are within the budget.
  bool fits() const;

 private:
  static int64_t beyond_share(int64_t bytes);

  InputBudget& budget_;
  int64_t bytes_ = 0;
};

}  // namespace millrace
