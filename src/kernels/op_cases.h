#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "quant/format.h"
#include "quant/formats.h"
#include "tensor/buffer.h"
#include "tensor/float_bits.h"

// What the tests of operations are made of.

namespace millrace {

inline constexpr double kRounding = 0x1.0p-24;  // relative error of one float32 operation
inline constexpr double kUnderflow = 1e-37;  // absolute error where results leave the normal floats

using Floats = std::vector<float>;

inline size_t at(int64_t i) { return static_cast<size_t>(i); }

inline Floats random_floats(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Floats values(at(count));
  for (float& x : values) x = normal(random);
  return values;
}

// The blocks with all codes zero.
inline std::vector<std::byte> without_codes(DType type, std::vector<std::byte> blocks) {
  visit_format(type, [&]<typename Block>(std::type_identity<Block>) {
    for (size_t i = 0; i < blocks.size(); i += sizeof(Block)) {
      auto block = load_block<Block>(blocks.data() + i);
      if constexpr (requires { block.qs; }) std::memset(block.qs, 0, sizeof block.qs);
      if constexpr (requires { block.ql; }) std::memset(block.ql, 0, sizeof block.ql);
      if constexpr (requires { block.qh; }) std::memset(block.qh, 0, sizeof block.qh);
      if constexpr (Block::kElements == 1) block = Block{};
      std::memcpy(blocks.data() + i, &block, sizeof block);
    }
  });
  return blocks;
}

// A weight matrix in its file's form, packed, and what the bounds need in float32.
struct PackedCase {
  int64_t rows;
  int64_t width;
  Buffer storage;
  PackedMatrix packed;
  Floats values;  // [rows, width]
  Floats bases;   // [rows, width]: the values that codes of zero would have
};

inline PackedCase weights_of(DType type, int64_t rows, int64_t width,
                             const std::vector<std::byte>& blocks) {
  PackedCase weights{
      .rows = rows, .width = width, .storage = {}, .packed = {}, .values = {}, .bases = {}};
  weights.storage = Buffer::allocate(PackedMatrix::bytes(type, rows, width)).value();
  weights.packed = PackedMatrix(type, rows, width, weights.storage.data());
  const TensorView source{
      .data = blocks.data(), .dtype = type, .rank = 2, .shape = {rows, width, 1, 1}};
  LanePool(1).run([&](Lane& lane) { weights.packed.pack(lane, source); });
  weights.values.resize(at(rows * width));
  weights.bases.resize(at(rows * width));
  unpack_row(type, blocks.data(), rows * width, weights.values.data());
  unpack_row(type, without_codes(type, blocks).data(), rows * width, weights.bases.data());
  return weights;
}

inline PackedCase random_weights(DType type, int64_t rows, int64_t width, uint32_t seed) {
  const Floats values = random_floats(rows * width, seed, 0.5F);
  std::vector<std::byte> blocks(at(rows * row_bytes(type, width)));
  pack_row(type, values.data(), rows * width, blocks.data());
  return weights_of(type, rows, width, blocks);
}

// Activations as the products see them, made by the definition (kernels/activations.h).
inline Floats as_q8(const Floats& in) {
  Floats result(in.size());
  for (size_t block = 0; block < in.size(); block += 32) {
    float top = 0;
    for (size_t i = block; i < block + 32; ++i) top = std::fmax(top, std::fabs(in[i]));
    for (size_t i = block; i < block + 32; ++i) {
      const float q = top == 0 ? 0.0F : std::nearbyint(in[i] * (127.0F / top));
      result[i] = q * (top / 127.0F);
    }
  }
  return result;
}

inline Floats as_bf16(Floats in) {
  for (float& x : in) x = f32_of_bf16(bf16_of_f32(x));
  return in;
}

inline Floats as_seen(const Floats& in, const ActivationForms& forms) {
  return forms.q8 ? as_q8(in) : forms.bf16 ? as_bf16(in) : in;
}

struct Placed {
  Buffer storage;
  Activations view;
};

inline Placed place(ActivationForms forms, int64_t rows, int64_t width) {
  Placed placed;
  placed.storage = Buffer::allocate(Activations::bytes(forms, rows, width)).value();
  placed.view = Activations::place(forms, rows, width, placed.storage.data());
  return placed;
}

inline Rows<float> rows_of(Floats& values, int64_t rows) {
  const int64_t width = std::ssize(values) / rows;
  return {values.data(), rows, width, width};
}

inline Placed converted(Isa isa, ActivationForms forms, Floats in, int64_t rows, int lanes = 1) {
  Placed placed = place(forms, rows, std::ssize(in) / rows);
  LanePool(lanes).run(
      [&](Lane& lane) { ops::convert(lane, kernels_for(isa), rows_of(in, rows), placed.view); });
  return placed;
}

// Whether the compact forms of these activations, whatever made them, are what `convert` makes of
// their float32 form, and bf16 is that rounded to nearest.
inline bool forms_agree(Isa isa, const Activations& made) {
  const int64_t size = made.rows * made.width;
  const Floats f32(made.f32, made.f32 + size);
  const Placed again = converted(isa, made.forms, f32, made.rows);
  if (std::memcmp(made.f32, again.view.f32, at(size) * sizeof(float)) != 0) return false;
  for (int64_t i = 0; i < size; ++i) {
    const uint16_t rounded = bf16_of_f32(f32[at(i)]);
    if (made.bf16[i] != rounded || again.view.bf16[i] != rounded) return false;
  }
  if (!made.forms.q8) return true;
  const auto bytes = at(Activations::bytes({.q8 = true}, made.rows, made.width));
  return std::memcmp(made.q8, again.view.q8, bytes) == 0;
}

inline Floats linear(Isa isa, const PackedCase& weights, ActivationForms forms, const Floats& in,
                     int64_t rows, int lanes = 1, std::span<const float> bias = {}) {
  const Placed placed = converted(isa, forms, in, rows, lanes);
  Floats out(at(rows * weights.rows));
  LanePool(lanes).run([&](Lane& lane) {
    ops::linear(lane, kernels_for(isa), weights.packed, placed.view, bias, ops::Store::kSet,
                rows_of(out, rows));
  });
  return out;
}

inline std::vector<uint32_t> bits_of(std::span<const float> values) {
  std::vector<uint32_t> bits;
  for (const float x : values) bits.push_back(std::bit_cast<uint32_t>(x));
  return bits;
}

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : all_isas()) {
    if (is_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

// The forms that products with weights of this type read on this tier.
inline std::vector<ActivationForms> forms_of(Isa isa, DType type) {
  std::vector<ActivationForms> forms = {{.f32 = true}};
  if (is_quantised(type)) forms.push_back({.q8 = true});
  if (type == DType::kBF16 && kernels_for(isa).times_bf16 != nullptr) {
    forms.push_back({.bf16 = true});
  }
  return forms;
}

inline std::string_view name_of(const ActivationForms& forms) {
  return forms.q8 ? "q8" : forms.bf16 ? "bf16" : "f32";
}

}  // namespace millrace
