#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

// Neighbouring channels of the inputs of one slice's convolution.
class ConvHistory {
 public:
  ConvHistory(int64_t kernel, Rows<const float> in, int64_t first)
      : length_(kernel - 1),
        in_(in),
        first_(first),
        columns_(static_cast<int>(std::min<int64_t>(kConvColumns, in.width - first))) {}

  int columns() const { return columns_; }
  const float* data() const { return data_; }

  void load(const StateSlice& slice, const StateLayer& states) {
    if (slice.begins) {
      std::fill_n(data_, length_ * kConvColumns, 0.0F);
      return;
    }
    const float* from = states.of(slice.unit) + first_;
    for (int64_t i = 0; i < length_; ++i) copy(from + i * in_.width, data_ + i * kConvColumns);
  }
  // The last inputs after so many rows of the slice.
  void store(const StateSlice& slice, int64_t rows, float* to) const {
    for (int64_t i = 0; i < length_; ++i) {
      const int64_t at = rows - length_ + i;
      const float* from =
          at < 0 ? data_ + (length_ + at) * kConvColumns : in_.row(slice.row + at) + first_;
      copy(from, to + i * in_.width + first_);
    }
  }

 private:
  void copy(const float* from, float* to) const {
    std::memcpy(to, from, static_cast<size_t>(columns_) * sizeof(float));
  }

  int64_t length_;
  Rows<const float> in_;
  int64_t first_;
  int columns_;
  alignas(64) float data_[(kConvKernelMax - 1) * kConvColumns];
};

}  // namespace

void CpuOps::causal_conv(Lane& lane, const StateRows& rows, const StateLayer& states,
                         const CausalConv& conv, Rows<const float> in, Rows<float> out) const {
  const int64_t channels = in.width;
  const int64_t kernel = std::ssize(conv.weight) / channels;
  CHECK(kernel > 0 && kernel <= kConvKernelMax && kernel * channels == std::ssize(conv.weight),
        "{} weights for {} channels", conv.weight.size(), channels);
  CHECK(conv.bias.empty() || std::ssize(conv.bias) == channels);
  const int64_t tiles = (channels + kConvColumns - 1) / kConvColumns;
  lane.for_each_piece(std::ssize(rows.slices) * tiles, 1, [&](WorkRange piece) {
    for (int64_t item = piece.begin; item < piece.end; ++item) {
      const StateSlice& slice = rows.slices[static_cast<size_t>(item / tiles)];
      const int64_t first = item % tiles * kConvColumns;
      ConvHistory history(kernel, in, first);
      history.load(slice, states);
      kernels_.recurrent->conv({.weight = conv.weight.data() + first,
                                .weight_stride = channels,
                                .bias = conv.bias.empty() ? nullptr : conv.bias.data() + first,
                                .history = history.data(),
                                .in = in.row(slice.row) + first,
                                .in_stride = in.stride,
                                .out = out.row(slice.row) + first,
                                .out_stride = out.stride,
                                .kernel = kernel,
                                .rows = slice.rows,
                                .columns = history.columns(),
                                .silu = conv.silu});
      for (const SliceSave& save : slice.saves) {
        history.store(slice, save.rows, states.of(save.unit));
      }
      history.store(slice, slice.rows, states.of(slice.unit));
    }
  });
}

void CpuOps::gate(Lane& lane, Rows<const float> in, const ElementFunction& function,
                  Rows<const float> gates, Rows<float> out) const {
  const int64_t share = out.width / gates.width;
  CHECK(share * gates.width == out.width, "{} gates for {}", gates.width, out.width);
  CHECK(in.data == nullptr || in.width == out.width);
  CHECK(function.kind != ElementFunction::Kind::kActivation ||
            function.activation.kind != ActivationFunction::Kind::kClampedSwiglu,
        "a clamped SwiGLU of one number");
  lane.for_each_piece(out.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.recurrent->gate(function, in.data == nullptr ? nullptr : in.row(i), gates.row(i),
                               gates.width, share, out.row(i));
    }
  });
}

void CpuOps::gather_columns(Lane& lane, Rows<const float> in, std::span<const int32_t> columns,
                            Rows<float> out) const {
  lane.for_each_piece(out.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      float* to = out.row(i);
      for (const int32_t column : columns) *to++ = in.row(i)[column];
    }
  });
}

void CpuOps::norm_heads(Lane& lane, Rows<float> rows, int64_t heads, const Norm& norm) const {
  const int64_t width = rows.width / heads;
  const auto is_whole = [&](std::span<const float> vector) {
    const int64_t size = std::ssize(vector);
    CHECK(size == 0 || size == width || size == rows.width, "a norm of {} for {} heads of {}", size,
          heads, width);
    return size == rows.width;
  };
  CHECK(width * heads == rows.width, "{} heads of a row of {}", heads, rows.width);
  const bool weights_differ = is_whole(norm.weight);
  const bool biases_differ = is_whole(norm.bias);
  lane.for_each_piece(rows.rows, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      RowNorm of_head = row_norm_of(norm);
      for (int64_t head = 0; head < heads; ++head) {
        float* part = rows.row(i) + head * width;
        kernels_.norm(part, of_head, width, {.f32 = part});
        if (weights_differ) of_head.weight += width;
        if (biases_differ) of_head.bias += width;
      }
    }
  });
}

void CpuOps::rotate(Lane& lane, const Rotation& rotation, int64_t head_dim,
                    Rows<float> rows) const {
  const auto rotated = static_cast<int32_t>(rotation.angles.width);
  CHECK(rotated <= head_dim && rows.width % head_dim == 0);
  CHECK(rotation.norms.place == HeadNorms::Place::kNone && rotation.temperature == 0);
  lane.for_each_piece(rows.rows, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      for (int64_t first = 0; first < rows.width; first += head_dim) {
        kernels_.attention->rotate(rows.row(i) + first, rotation.angles.row(i), rotated,
                                   rotation.pairs == Rope::Pairs::kHalves);
      }
    }
  });
}

void CpuOps::time_steps(Lane& lane, const TimeSteps& time_steps, Rows<const float> in,
                        Rows<float> steps, Rows<float> decays) const {
  const int64_t heads = std::ssize(time_steps.rates);
  const int64_t share = in.width / heads;
  CHECK(share * heads == in.width, "{} rates for {}", heads, in.width);
  CHECK(time_steps.bias.empty() || std::ssize(time_steps.bias) == in.width);
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.recurrent->time_steps(
          {.in = in.row(i),
           .bias = time_steps.bias.empty() ? nullptr : time_steps.bias.data(),
           .rates = time_steps.rates.data(),
           .smallest = time_steps.smallest,
           .largest = time_steps.largest,
           .heads = heads,
           .share = share,
           .steps = steps.data == nullptr ? nullptr : steps.row(i),
           .decays = decays.data == nullptr ? nullptr : decays.row(i)});
    }
  });
}

}  // namespace millrace::ops
