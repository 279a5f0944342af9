#include "kernels/activations.h"

#include "base/check.h"
#include "kernels/q8.h"

namespace millrace {
namespace {

constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <typename T>
int64_t bytes_of(bool wanted, int64_t count) {
  return wanted ? aligned(count * static_cast<int64_t>(sizeof(T))) : 0;
}

void check_width(ActivationForms forms, int64_t width) {
  CHECK(width % forms.stretch() == 0, "rows of {} are no whole blocks of {}", width,
        forms.stretch());
}

}  // namespace

int64_t Activations::bytes(ActivationForms forms, int64_t rows, int64_t width) {
  check_width(forms, width);
  const int64_t elements = rows * width;
  return bytes_of<float>(forms.f32, elements) + bytes_of<uint16_t>(forms.bf16, elements) +
         bytes_of<Q8Block>(forms.q8, elements / kQ8Width) +
         bytes_of<Q8Block>(forms.q16, 2 * elements / kQ8Width) +
         bytes_of<Q8KBlock>(forms.q8_k, elements / kQ8KWidth) +
         bytes_of<Q8KBlock>(forms.q16_k, 2 * elements / kQ8KWidth);
}

Activations Activations::lay_out(ActivationForms forms, int64_t rows, int64_t width,
                                 std::byte* workspace) {
  check_width(forms, width);
  Activations result{.forms = forms, .rows = rows, .width = width};
  if (forms.f32) result.f32 = reinterpret_cast<float*>(workspace);
  workspace += bytes_of<float>(forms.f32, rows * width);
  if (forms.bf16) result.bf16 = reinterpret_cast<uint16_t*>(workspace);
  workspace += bytes_of<uint16_t>(forms.bf16, rows * width);
  if (forms.q8) result.q8 = workspace;
  workspace += bytes_of<Q8Block>(forms.q8, rows * width / kQ8Width);
  if (forms.q16) result.q16 = workspace;
  workspace += bytes_of<Q8Block>(forms.q16, 2 * rows * width / kQ8Width);
  if (forms.q8_k) result.q8_k = workspace;
  workspace += bytes_of<Q8KBlock>(forms.q8_k, rows * width / kQ8KWidth);
  if (forms.q16_k) result.q16_k = workspace;
  return result;
}

}  // namespace millrace
