#include "kernels/measure/roofline.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/kernels.h"
#include "quant/format.h"

namespace millrace {
namespace {

// Several times the last level cache of most CPUs.
constexpr int64_t kMemoryBytes = int64_t{256} << 20;
constexpr int kBursts = 3;  // of which the best counts
constexpr absl::Duration kBurst = absl::Milliseconds(3);

}  // namespace

double Roofline::peak_of(DType format, ActivationForms forms) const {
  const bool compact = is_quantised(format) && forms.includes(compact_forms(format));
  if (compact || (is_quantised(format) && forms.includes(exact_forms(format)))) {
    const double peak = format == DType::kQ8_0   ? int8_signed
                        : format == DType::kQ6_K ? int8_halves
                                                 : int8;
    return compact ? peak : peak / 2;  // 16 bits take two products of bytes
  }
  return forms.bf16 && format == DType::kBF16 ? bf16 : f32;
}

Roofline median_of(std::span<const Roofline> measured) {
  CHECK(!measured.empty());
  Roofline median;
  std::vector<double> values;
  for (double Roofline::*value : {&Roofline::int8, &Roofline::int8_halves, &Roofline::int8_signed,
                                  &Roofline::bf16, &Roofline::f32, &Roofline::bandwidth}) {
    values.clear();
    for (const Roofline& roofline : measured) values.push_back(roofline.*value);
    const auto middle = values.begin() + std::ssize(values) / 2;
    std::nth_element(values.begin(), middle, values.end());
    median.*value = *middle;
  }
  return median;
}

RooflineProbe::RooflineProbe(Isa isa, LanePool& lanes, Buffer memory)
    : kernels_(&kernels_for(isa)), lanes_(&lanes), memory_(std::move(memory)) {}

absl::StatusOr<RooflineProbe> RooflineProbe::create(Isa isa, LanePool& lanes) {
  ASSIGN_OR_RETURN(Buffer memory, Buffer::allocate(kMemoryBytes));
  lanes.run([&](Lane& lane) {  // untouched pages are all the same page of zeros
    const WorkRange mine = lane.share(memory.size());
    std::fill(memory.data() + mine.begin, memory.data() + mine.end, std::byte{1});
  });
  return RooflineProbe(isa, lanes, std::move(memory));
}

Roofline RooflineProbe::measure() const {
  const ProbeLoops& probes = kernels_->probes;
  return {.int8 = rate_of(probes.int8),
          .int8_halves = rate_of(probes.int8_halves),
          .int8_signed = rate_of(probes.int8_signed),
          .bf16 = probes.bf16 == nullptr ? 0 : rate_of(probes.bf16),
          .f32 = rate_of(probes.f32),
          .bandwidth = bandwidth()};
}

// Each lane does as much as it can until the burst is over.
double RooflineProbe::rate_of(int64_t (*loop)(int64_t rounds)) const {
  constexpr int64_t kRounds = 1000;
  const RealClock clock;
  double best = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    std::atomic<int64_t> operations = 0;
    const Instant start = clock.now();
    lanes_->run([&](Lane&) {
      while (clock.now() - start < kBurst) operations += loop(kRounds);
    });
    const double seconds = absl::ToDoubleSeconds(clock.now() - start);
    best = std::max(best, static_cast<double>(operations) / seconds);
  }
  return best;
}

double RooflineProbe::bandwidth() const {
  constexpr int64_t kPage = 4096;
  const RealClock clock;
  double best = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    const Instant start = clock.now();
    lanes_->run([&](Lane& lane) {
      const WorkRange mine = lane.share(memory_.size(), kPage);
      kernels_->probes.read(memory_.data() + mine.begin, mine.size());
    });
    const double seconds = absl::ToDoubleSeconds(clock.now() - start);
    best = std::max(best, static_cast<double>(memory_.size()) / seconds);
  }
  return best;
}

}  // namespace millrace
