#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activations.h"
#include "kernels/row_ops.h"
#include "quant/packed_matrix.h"
#include "tensor/view.h"

namespace millrace::ops {

inline constexpr int32_t kExpertGroupsMax = 64;

// How a router chooses a row's experts and weighs them. Of equal experts the lower number is
// better.
struct Routing {
  enum class Score : uint8_t {
    kSoftmax,
    kSigmoid,
    kSparsemixer,  // of two, without a bias or groups: see `threshold`
  };
  Score score = Score::kSoftmax;
  // The score is of the chosen experts' logits, and logits choose; otherwise scores of all choose.
  // Sparsemixer chooses by logits.
  bool after_choice = false;
  int32_t chosen = 1;
  // Experts in groups of neighbours: those of the `groups_chosen` best groups can be chosen. A
  // group is as good as its best expert (DeepSeek-AI 2024, DeepSeek-V2), or as its two best
  // together (DeepSeek-V3).
  int32_t groups = 1;  // at most kExpertGroupsMax, of two experts or more
  int32_t groups_chosen = 1;
  bool groups_by_two = true;
  std::span<const float> selection_bias = {};  // [experts] or empty: chooses, but does not weigh
  bool renormalise = false;                    // weights are divided by their sum
  float scale = 1;                             // and then multiplied by this
  std::span<const float> expert_scales = {};   // [experts] or empty: and by the expert's own
  // SparseMixer (Liu et al. 2023) without its noise, as Phi-3.5-MoE has it: the weight of the best
  // expert is its share in a softmax, that of the second in a softmax without the best. A softmax
  // leaves out what is further than `threshold` below the best, relative to the larger of the
  // best and of the logit's magnitude.
  float threshold = 0;
};

// The rows of a step as experts take them. A place is a row with one of its experts; places go
// expert by expert, ascending, an expert's rows in order. A view of workspace memory, read and
// written within pieces alone.
struct Dispatch {
  int64_t rows = 0;
  int64_t chosen = 0;
  int64_t experts = 0;
  int32_t* experts_of = nullptr;   // [rows, chosen] best first
  float* weights = nullptr;        // [rows, chosen]
  int32_t* places = nullptr;       // [rows, chosen]
  float* place_weights = nullptr;  // [rows * chosen]
  int32_t* starts = nullptr;       // [experts + 1] expert e has places [starts[e], starts[e + 1])
  int32_t* busy = nullptr;         // [experts + 1] how many have rows, and which, ascending

  int64_t all_places() const { return rows * chosen; }
  // So many experts have rows at most.
  int64_t busy_max() const { return experts < all_places() ? experts : all_places(); }

  static int64_t bytes(int64_t rows, int64_t chosen, int64_t experts);
  // Lays it out in `workspace`, which is aligned to 64 bytes; null: it has no memory.
  static Dispatch lay_out(int64_t rows, int64_t chosen, int64_t experts, std::byte* workspace);
};

// Matrices [rows, width] of all experts, or heads, each from a whole panel on.
struct ExpertMatrix {
  PackedMatrix matrix;
  int64_t experts = 0;
  int64_t rows = 0;  // of an expert

  int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

// The hidden layers of experts' feed-forward networks, each as `Hidden` (kernels/row_ops.h).
struct ExpertHidden {
  const ExpertMatrix* gate = nullptr;  // null: none
  const ExpertMatrix* up = nullptr;
  std::span<const float> gate_bias = {};  // [experts, hidden]; empty: none
  std::span<const float> up_bias = {};    // [experts, hidden]; empty: none
  ActivationFunction function = {};
  bool weighted = false;  // the products are multiplied by the places' weights
};

// What becomes of experts' outputs.
struct Combination {
  bool weighted = true;           // by the rows' weights
  Rows<const float> shared = {};  // [rows, width] what a shared expert adds; width 0: none
  Rows<const float> shared_gates =
      {};  // [rows, 1] logits of the sigmoid that it is times; width 0: 1
};

}  // namespace millrace::ops
