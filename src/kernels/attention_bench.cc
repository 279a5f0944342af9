#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/attention_ops.h"
#include "kernels/ops.h"
#include "tensor/buffer.h"
#include "tests/fixtures/kernels/attention_harness.h"

// Attention at the shape of Qwen2.5 1.5B on the best tier, and of some wider heads: one row at a
// depth, as the bytes of the cache that it reads, beside the speed of a plain read of the same
// memory; rows of a prompt, or of a draft that is a chain or a tree, as floating-point operations.
// A step goes through layers that no cache holds together, their blocks shuffled as in a server
// that has run for a while.

namespace millrace {
namespace {

constexpr Shape kShape = {.head_dim = 128, .query_heads = 12, .heads = 2};
constexpr Shape kWide = {.head_dim = 512, .query_heads = 8, .heads = 1};  // Gemma 4
constexpr Shape kLatent = {
    .head_dim = 576, .query_heads = 16, .heads = 1, .value_dim = 512, .latent = true};
constexpr int64_t kBytesMin = int64_t{160} << 20;

struct Subject {
  Config config;
  int32_t depth;
  int64_t layer_bytes;
  Buffer storage;
  std::vector<KvLayer> layers;
  std::vector<BlockId> table;

  Subject(DType dtype, const Shape& shape, int32_t tokens)
      : config{.isa = best_isa(),
               .dtype = dtype,
               .shape = shape,
               .block_tokens = 16,
               .window = 0,
               .scale = 0.0884F},
        depth(tokens) {
    const int64_t blocks = depth / config.block_tokens;
    layer_bytes = blocks * bytes_of_block(config);
    const int64_t count = std::max<int64_t>(2, kBytesMin / layer_bytes);
    storage = Buffer::allocate(count * layer_bytes).value();
    for (int64_t i = 0; i < count; ++i) {
      layers.push_back(kv_layer(dtype, kv_shape(config), config.block_tokens,
                                storage.data() + i * layer_bytes, blocks));
    }
    std::fill_n(reinterpret_cast<uint16_t*>(storage.data()), storage.size() / 2, 0x2c66);
    for (int32_t i = 0; i < blocks; ++i) table.push_back(BlockId{i});
    std::shuffle(table.begin(), table.end(), std::mt19937(7));
  }
};

const Subject& subject(DType dtype, const Shape& shape, int32_t depth) {
  static std::vector<Subject> made;
  if (made.empty() || made[0].depth != depth || made[0].config.dtype != dtype ||
      made[0].config.shape.head_dim != shape.head_dim) {
    made.clear();
    made.emplace_back(dtype, shape, depth);
  }
  return made[0];
}

// Where the rows at the end of a sequence lie: one behind the other, or as a tree in which each has
// two children.
struct Places {
  std::vector<int32_t> positions, slots;
  ops::KeyRanges keys;
  ops::KeyPaths paths;

  Places(int32_t depth, int32_t rows, bool tree) {
    std::vector<int32_t> parents;
    for (int32_t row = 0; row < rows; ++row) {
      parents.push_back(tree ? (row + 1) / 2 - 1 : row - 1);
      slots.push_back(depth - rows + row);
      positions.push_back(row == 0 ? slots[0] : positions[static_cast<size_t>(parents.back())] + 1);
    }
    ops::CausalPattern{}.list(positions, keys);
    ops::list_paths(positions, slots, parents, paths);
  }
};

void attend(benchmark::State& state, DType dtype, const Shape& heads, int32_t depth, int32_t rows,
            int lanes, bool tree) {
  const Subject& subject = millrace::subject(dtype, heads, depth);
  const ops::AttentionShape shape = {.query_heads = heads.query_heads,
                                     .scale = subject.config.scale};
  const int64_t width = heads.query_heads * heads.head_dim;
  const int64_t out_width = heads.query_heads * heads.values();
  std::vector<float> queries = uniform_floats(rows * width, 3);
  std::vector<float> out(static_cast<size_t>(rows * out_width));
  const Places places(depth, rows, tree);
  const std::vector<ops::AttentionSlice> slices = {
      {.row = 0, .rows = rows, .write_from = 0, .table = subject.table}};
  const Buffer memory =
      Buffer::allocate(ops::attention_memory_bytes(shape, subject.layers[0], lanes)).value();
  const auto layers = rows == 1 ? subject.layers.size() : 1;
  const CpuOps ops(kernels_for(subject.config.isa));
  LanePool pool(lanes);
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      for (size_t i = 0; i < layers; ++i) {
        ops.attention(lane,
                      {slices, places.positions, places.slots, &places.keys,
                       places.paths.slots.empty() ? nullptr : &places.paths},
                      shape, {queries.data(), rows, width, width}, subject.layers[i],
                      {memory.data(), static_cast<size_t>(memory.size())},
                      {out.data(), rows, out_width, out_width});
        lane.barrier();
      }
    });
  }
  const double keys = static_cast<double>(rows) * (depth - rows / 2.0);
  const double bytes = static_cast<double>(subject.layer_bytes) * static_cast<double>(layers);
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (rows == 1) {
    state.counters["cache_GB/s"] = benchmark::Counter(bytes * 1e-9, rate);
  } else {
    const double operations = 2.0 * keys * static_cast<double>(width + out_width);
    state.counters["GFLOPS"] = benchmark::Counter(operations * 1e-9, rate);
  }
}

void read_memory(benchmark::State& state, int lanes) {
  const Subject& subject = millrace::subject(DType::kF16, kShape, 32768);
  const auto* words = reinterpret_cast<const uint64_t*>(subject.storage.data());
  const int64_t count = subject.storage.size() / 8;
  LanePool pool(lanes);
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      const WorkRange mine = lane.share(count);
      uint64_t sums[32] = {};
      for (int64_t i = mine.begin; i + 32 <= mine.end; i += 32) {
        for (int64_t j = 0; j < 32; ++j) sums[j] += words[i + j];
      }
      benchmark::DoNotOptimize(sums);
    });
  }
  state.counters["memory_GB/s"] =
      benchmark::Counter(static_cast<double>(subject.storage.size()) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void add_benchmarks() {
  for (const int lanes : {1, 2}) {
    const auto add = [lanes](const std::string& name, auto run) {
      auto* bench = benchmark::RegisterBenchmark(
          fmt::format("attention/{}/lanes:{}", name, lanes).c_str(), run);
      bench->Unit(benchmark::kMillisecond);
      if (lanes > 1) bench->UseRealTime();
    };
    add("memory", [lanes](benchmark::State& state) { read_memory(state, lanes); });
    const auto add_shape = [&](const std::string& name, DType dtype, Shape shape, int32_t rows,
                               int32_t depth, bool tree = false) {
      add(fmt::format("{}{}/rows:{}/depth:{}", name, info_of(dtype).name, rows, depth),
          [=](benchmark::State& state) { attend(state, dtype, shape, depth, rows, lanes, tree); });
    };
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      for (const int32_t depth : {512, 2048, 8192, 32768}) {
        add_shape("", dtype, kShape, 1, depth);
      }
      for (const int32_t depth : {512, 8192}) add_shape("", dtype, kShape, 512, depth);
      for (const bool tree : {false, true}) {
        add_shape(tree ? "tree/" : "chain/", dtype, kShape, 16, 2048, tree);
      }
    }
    for (const int32_t depth : {512, 8192}) {
      for (const int32_t rows : {1, 512}) {
        add_shape("wide/", DType::kF16, kWide, rows, depth);
        add_shape("latent/", DType::kF16, kLatent, rows, depth);
      }
    }
  }
}

[[maybe_unused]] const bool kAdded = (add_benchmarks(), true);

}  // namespace
}  // namespace millrace
