#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "kernels/attention_ops.h"
#include "tensor/float_bits.h"

// What the tests of attention and rope share: sequences of random numbers, a cache and batches.

namespace millrace {

struct Shape {
  int32_t head_dim, query_heads, heads;
};

struct Config {
  Isa isa;
  DType dtype;
  Shape shape;
  int32_t block_tokens;
  int32_t window;
  float scale;

  std::string name() const {
    return fmt::format("{} {} head_dim {} heads {}/{} blocks of {} window {}", name_of(isa),
                       info_of(dtype).name, shape.head_dim, shape.query_heads, shape.heads,
                       block_tokens, window);
  }
};

inline std::vector<Isa> isas() {
  std::vector<Isa> isas;
  for (const Isa isa : all_isas()) {
    if (is_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

// Queries, keys and values of a sequence, and where its blocks lie.
struct TestSequence {
  int32_t length;
  std::vector<float> queries, keys, values;
  std::vector<BlockId> table;
};

// Rows [begin, end) of a sequence.
struct Part {
  const TestSequence* sequence;
  int32_t begin, end;
};

inline int64_t bytes_of_block(const Config& config) {
  return 2 * row_bytes(config.dtype, int64_t{config.shape.head_dim} * config.shape.heads) *
         config.block_tokens;
}

// One layer's cache, every bit of it set at first: all numbers in it are NaN until stored.
class TestCache {
 public:
  TestCache(const Config& config, int32_t blocks) : config_(config) {
    const int64_t block_bytes = bytes_of_block(config);
    bytes_.assign(static_cast<size_t>(blocks * block_bytes), std::byte{0xff});
    const int64_t head_bytes = block_bytes / config.shape.heads;
    layer_ = {.dtype = config.dtype,
              .keys = bytes_.data(),
              .values = bytes_.data() + head_bytes / 2,
              .block_stride = block_bytes,
              .head_stride = head_bytes,
              .block_tokens = config.block_tokens,
              .heads = config.shape.heads,
              .head_dim = config.shape.head_dim};
    for (int32_t i = 0; i < blocks; ++i) free_.push_back(BlockId{i});
    std::shuffle(free_.begin(), free_.end(), std::mt19937(7));
  }

  const KvLayer& layer() const { return layer_; }
  const Config& config() const { return config_; }

  void place(TestSequence& sequence) {
    const int32_t blocks = (sequence.length + config_.block_tokens - 1) / config_.block_tokens;
    sequence.table.assign(free_.end() - blocks, free_.end());
    free_.resize(free_.size() - static_cast<size_t>(blocks));
  }

 private:
  Config config_;
  std::vector<std::byte> bytes_;
  std::vector<BlockId> free_;
  KvLayer layer_;
};

inline std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

inline TestSequence make_sequence(const Config& config, int32_t length, uint32_t seed) {
  const Shape& shape = config.shape;
  return {.length = length,
          .queries = random_floats(int64_t{length} * shape.query_heads * shape.head_dim, seed),
          .keys = random_floats(int64_t{length} * shape.heads * shape.head_dim, seed + 1000),
          .values = random_floats(int64_t{length} * shape.heads * shape.head_dim, seed + 2000),
          .table = {}};
}

// The parts as one batch. Owns what AttentionRows points to.
struct TestBatch {
  std::vector<ops::AttentionSlice> slices;
  std::vector<int32_t> positions;
  std::vector<float> queries, keys, values, out;
  int64_t query_width, width;

  TestBatch(const Config& config, const std::vector<Part>& parts)
      : query_width(config.shape.query_heads * config.shape.head_dim),
        width(config.shape.heads * config.shape.head_dim) {
    for (const Part& part : parts) {
      slices.push_back({.row = static_cast<int32_t>(positions.size()),
                        .rows = part.end - part.begin,
                        .write_from = 0,
                        .table = part.sequence->table});
      for (int32_t i = part.begin; i < part.end; ++i) positions.push_back(i);
      append(part.sequence->queries, part, query_width, queries);
      append(part.sequence->keys, part, width, keys);
      append(part.sequence->values, part, width, values);
    }
    out.assign(queries.size(), NAN);
  }

  static void append(const std::vector<float>& from, const Part& part, int64_t width,
                     std::vector<float>& to) {
    to.insert(to.end(), from.begin() + part.begin * width, from.begin() + part.end * width);
  }
  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  ops::AttentionRows places() const { return {slices, positions, positions}; }
  Rows<float> view(std::vector<float>& values_of, int64_t columns) const {
    return {values_of.data(), rows(), columns, columns};
  }
};

// Stores the parts' keys and values unrotated, then attends.
class Runner {
 public:
  explicit Runner(int lanes) : pool_(lanes) {}

  void store(const TestCache& cache, const std::vector<Part>& parts) {
    TestBatch batch(cache.config(), parts);
    const Rows<float> angles = {nullptr, batch.rows(), 0, 0};
    pool_.run([&](Lane& lane) {
      ops::rope_and_store(
          lane, kernels_for(cache.config().isa), batch.places(), ops::Rope::Pairs::kHalves, angles,
          {}, batch.view(batch.queries, batch.query_width), batch.view(batch.keys, batch.width),
          batch.view(batch.values, batch.width), cache.layer());
    });
  }

  // out: [rows, query_heads * head_dim]
  std::vector<float> attend(const TestCache& cache, const std::vector<Part>& parts) {
    const Config& config = cache.config();
    TestBatch batch(config, parts);
    const ops::AttentionShape shape = {
        .query_heads = config.shape.query_heads, .window = config.window, .scale = config.scale};
    scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(ops::attention_scratch_bytes(
                                                  shape, cache.layer(), pool_.lanes()))));
    pool_.run([&](Lane& lane) {
      ops::attention(lane, kernels_for(config.isa), batch.places(), shape,
                     batch.view(batch.queries, batch.query_width), cache.layer(), scratch_,
                     batch.view(batch.out, batch.query_width));
    });
    return batch.out;
  }

 private:
  LanePool pool_;
  std::vector<std::byte> scratch_;
};

inline float rounded(DType dtype, float value) {
  if (dtype == DType::kF16) return f32_of_f16(f16_of_f32(value));
  if (dtype == DType::kBF16) return f32_of_bf16(bf16_of_f32(value));
  return value;
}

constexpr DType kCacheTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

}  // namespace millrace
