#include "kernels/activations.h"

#include "base/check.h"
#include "kernels/q8.h"

namespace millrace {
namespace {

constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int64_t f32_bytes(ActivationForms forms, int64_t elements) {
  return forms.f32 ? aligned(elements * static_cast<int64_t>(sizeof(float))) : 0;
}

}  // namespace

int64_t Activations::bytes(ActivationForms forms, int64_t rows, int64_t width) {
  CHECK(!forms.q8 || width % kQ8Width == 0, "rows of {} are no whole blocks of 32", width);
  const int64_t blocks = forms.q8 ? rows * width / kQ8Width : 0;
  return f32_bytes(forms, rows * width) + aligned(blocks * static_cast<int64_t>(sizeof(Q8Block)));
}

Activations Activations::place(ActivationForms forms, int64_t rows, int64_t width,
                               std::byte* workspace) {
  CHECK(!forms.q8 || width % kQ8Width == 0, "rows of {} are no whole blocks of 32", width);
  Activations result{.forms = forms, .rows = rows, .width = width};
  if (forms.f32) result.f32 = reinterpret_cast<float*>(workspace);
  if (forms.q8) result.q8 = workspace + f32_bytes(forms, rows * width);
  return result;
}

}  // namespace millrace
