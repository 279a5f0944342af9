#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activations.h"
#include "kernels/experts.h"
#include "tensor/view.h"

namespace millrace {

// Columns [first, first + width) of rows, which may be without memory yet.
template <typename T>
Rows<T> columns(const Rows<T>& rows, int64_t first, int64_t width) {
  return {rows.data == nullptr ? nullptr : rows.data + first, rows.rows, width, rows.stride};
}

// Lays out a body's working memory, piece after piece. The same code sizes it (over no memory)
// and places it, so that the two cannot differ.
class WorkspaceLayout {
 public:
  explicit WorkspaceLayout(std::byte* memory) : memory_(memory) {}

  Rows<float> rows(int64_t rows, int64_t width) {
    std::byte* piece = take(rows * width * static_cast<int64_t>(sizeof(float)));
    return {reinterpret_cast<float*>(piece), rows, width, width};
  }
  Activations activations(ActivationForms forms, int64_t rows, int64_t width) {
    std::byte* piece = take(Activations::bytes(forms, rows, width));
    if (piece == nullptr) return {.forms = forms, .rows = rows, .width = width};
    return Activations::lay_out(forms, rows, width, piece);
  }
  ops::Dispatch dispatch(int64_t rows, int64_t chosen, int64_t experts) {
    std::byte* piece = take(ops::Dispatch::bytes(rows, chosen, experts));
    return ops::Dispatch::lay_out(rows, chosen, experts, piece);
  }
  // Where the next piece begins.
  std::byte* rest() { return take(0); }
  int64_t bytes() const { return used_; }

 private:
  static constexpr int64_t kCacheLine = 64;

  std::byte* take(int64_t bytes) {
    std::byte* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
    return piece;
  }

  std::byte* memory_;
  int64_t used_ = 0;
};

}  // namespace millrace
