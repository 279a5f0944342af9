#include <array>

#include "sched/policies/fcfs.h"
#include "sched/policy.h"

namespace millrace {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Policy> (*make)();
};

template <typename P>
std::unique_ptr<Policy> make() {
  return std::make_unique<P>();
}

constexpr std::array kPolicies = {
    Entry{"fcfs", make<Fcfs>},
};

}  // namespace

std::vector<std::string_view> policy_names() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kPolicies) names.push_back(entry.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Policy>> make_policy(std::string_view name) {
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.make();
  }
  return invalid_argument("no scheduling policy is called '{}'; known: {}", name,
                          fmt::join(policy_names(), ", "));
}

}  // namespace millrace
