#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "files/safetensors/safetensors_reader.h"

namespace millrace {

// How a tensor of a Hugging Face folder becomes one as GGUF files have it. Rows are the slowest
// dimension, in each expert where there are several in one tensor.
enum class Transform : uint8_t {
  kCopy,
  kQueryRows,   // rows of each head from halves that rotate to neighbours that do
  kKeyRows,     // likewise, of key heads
  kPlusOne,     // values stored without the 1 that is always added to them
  kSwapped,     // the last two dimensions
  kQkvByHead,   // rows of a query, a key and a value for each head: all queries, keys, values
  kQkvByGroup,  // likewise, several queries, a key and a value for each key head
  kFirstHalf,   // of the last but one dimension
  kSecondHalf,
  kSwappedFirstHalf,  // of the last dimension, then swapped
  kSwappedSecondHalf,
  kSwappedEven,  // every other of the last dimension, then swapped
  kSwappedOdd,
  kEven,  // every other of the last dimension
  kOdd,
  kWithoutTwoRows,  // the first two rows are never used
  kRowOfEachToken,  // rows for the vocabulary; tokens without one have the first one's
  kSqueezed,        // without a middle dimension of 1: kernels of a convolution
  kColumn,          // with a dimension of 1 behind the last one
  kNegatedExp,      // of each value x -e^x
  kNegatedExpColumn,
  kGroups,       // a row for each group of a state-space unit
  kMambaIn,      // rows of gates, inputs, B, C and steps, each scaled by a factor of its own
  kJoinedQkv,    // of rows of q, k, v and z for each key head: all q, all k, all v
  kJoinedGates,  // likewise all z
  kInTurn,       // rows of value heads by key head: the first value head of each, the second...
  kInTurnNegatedExp,  // likewise
  kInTurnColumns,     // likewise columns
  kQkvInTurn,         // rows of all q, all k, and of v likewise; also kernels of a convolution
  kTurnedQueryRows,   // of the last head_dim rows of each head halves that rotate to neighbours
  kTurnedKeyRows,     // likewise, of latents and the one key that all heads share
  kLatentKeys,        // of rows of a key and a value for each head: [heads, width, plain_dim]
  kLatentValues,      // likewise: [heads, rows of a value, width]
  kMxfp4,             // NAME_blocks and NAME_scales, in one file: blocks of MXFP4
  kMxfp4EvenRows,     // likewise, every other row
  kMxfp4OddRows,
  kNone,  // the model does not read it
};

// Names without `.weight` or `.bias`, which stay; or whole names. # is the layer's number, @ that
// of an expert (or head): those are stacked, by number, in a new slowest dimension. * at the end of
// `from` is anything.
struct TensorRule {
  std::string_view from;
  std::string_view to;
  Transform transform = Transform::kCopy;
  int32_t factor = -1;  // the number of one of HubShape's that multiplies it; -1: none
};

// What transforms and checks need to know of a model.
struct HubShape {
  int64_t layers = 0;
  int64_t width = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  // Of gated delta nets and state-space units.
  int64_t recurrent_heads = 0;  // of values
  int64_t groups = 0;           // of those, which share keys, or B and C
  int64_t state_dim = 0;        // of a key
  int64_t inner = 0;            // channels of values
  std::vector<float> factors = {};
  int64_t plain_dim = 0;   // of keys that are made of latents, without what rotates
  int64_t predictors = 0;  // layers behind the last one that are not read
  int64_t vocab = 0;       // of kRowOfEachToken
};

// What GGUF files hold as F32, whatever the rest of a model is: vectors, norms, routers, positions.
bool is_always_f32(std::string_view name, size_t rank);

// The tensors of a model in the order in which GGUF files have them. Of rules for the same name all
// of the first list that has any apply. UNIMPLEMENTED: a tensor that no rule covers, or whose type
// is not read; INVALID_ARGUMENT: one of another shape than the rule needs, or an incomplete stack.
absl::StatusOr<std::vector<NamedTensor>> apply_rules(
    std::span<const StoredTensor> stored, std::span<const std::span<const TensorRule>> lists,
    const HubShape& shape);

}  // namespace millrace
