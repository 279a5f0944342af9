#include "tests/models/rwkv_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "files/gguf_writer.h"

namespace millrace {
namespace {

struct StoredWeights {
  DType dtype;
  std::vector<int64_t> shape;  // the slowest dimension first
  std::vector<std::byte> bytes;

  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return count;
  }
};

struct RwkvFile {
  int64_t vocab = 0, width = 0, layers = 0;
  std::map<std::string, StoredWeights> tensors;

  const StoredWeights& at(const std::string& name) const {
    const auto found = tensors.find(name);
    CHECK(found != tensors.end(), "the file has no '{}'", name);
    return found->second;
  }
  int64_t rows(const std::string& name) const { return at(name).shape[0]; }
};

class GgmfReader {
 public:
  explicit GgmfReader(const std::string& path) : bytes_(std::filesystem::file_size(path)) {
    std::ifstream(path, std::ios::binary)
        .read(reinterpret_cast<char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
  }

  RwkvFile read() {
    CHECK(integer() == 0x67676d66, "no file of rwkv.cpp");
    const int32_t version = integer();  // 100 quantised otherwise, but not F32
    CHECK(version == 100 || version == 101, "version {}", version);
    RwkvFile file;
    file.vocab = integer();
    file.width = integer();
    file.layers = integer();
    integer();  // the type of most tensors
    while (at_ < bytes_.size()) {
      const auto rank = static_cast<size_t>(integer());
      const auto name_bytes = static_cast<size_t>(integer());
      StoredWeights weights = {.dtype = type(integer()), .shape = {}, .bytes = {}};
      for (size_t i = 0; i < rank; ++i) weights.shape.insert(weights.shape.begin(), integer());
      const auto name = take(name_bytes);
      const int64_t width = weights.shape.back();
      const int64_t size = weights.elements() / width * row_bytes(weights.dtype, width);
      const auto data = take(static_cast<size_t>(size));
      weights.bytes.assign(data.begin(), data.end());
      file.tensors.emplace(std::string(reinterpret_cast<const char*>(name.data()), name.size()),
                           std::move(weights));
    }
    return file;
  }

 private:
  std::span<const std::byte> take(size_t count) {
    CHECK(count <= bytes_.size() - at_, "the file ends too early");
    at_ += count;
    return std::span(bytes_).subspan(at_ - count, count);
  }
  int32_t integer() {
    int32_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  static DType type(int32_t number) {
    constexpr int32_t kF32 = 0, kQ5_1 = 8;
    CHECK(number == kF32 || number == kQ5_1, "tensors of type {}", number);
    return number == kF32 ? DType::kF32 : DType::kQ5_1;
  }

  std::vector<std::byte> bytes_;
  size_t at_ = 0;
};

// Names within a layer, those of rwkv.cpp first; vectors lose their dimensions of 1.
using Names = std::vector<std::pair<const char*, const char*>>;

Names matrix_names() {
  return {{"ln1.weight", "attn_norm.weight"},
          {"ln1.bias", "attn_norm.bias"},
          {"ln2.weight", "attn_norm_2.weight"},
          {"ln2.bias", "attn_norm_2.bias"},
          {"att.key.weight", "time_mix_key.weight"},
          {"att.value.weight", "time_mix_value.weight"},
          {"att.receptance.weight", "time_mix_receptance.weight"},
          {"att.output.weight", "time_mix_output.weight"},
          {"att.gate.weight", "time_mix_gate.weight"},
          {"att.ln_x.weight", "time_mix_ln.weight"},
          {"att.ln_x.bias", "time_mix_ln.bias"},
          {"ffn.key.weight", "channel_mix_key.weight"},
          {"ffn.value.weight", "channel_mix_value.weight"},
          {"ffn.receptance.weight", "channel_mix_receptance.weight"}};
}

Names own_names(RwkvVersion version) {
  if (version == RwkvVersion::k4 || version == RwkvVersion::k5) {
    return {{"att.time_mix_k", "time_mix_lerp_k.weight"},
            {"att.time_mix_v", "time_mix_lerp_v.weight"},
            {"att.time_mix_r", "time_mix_lerp_r.weight"},
            {"att.time_mix_g", "time_mix_lerp_g.weight"},
            {"att.time_decay", "time_mix_decay.weight"},
            {"att.time_first", "time_mix_first.weight"},
            {"att.time_faaaa", "time_mix_first.weight"},
            {"ffn.time_mix_k", "channel_mix_lerp_k.weight"},
            {"ffn.time_mix_r", "channel_mix_lerp_r.weight"}};
  }
  if (version == RwkvVersion::k6) {
    return {{"att.time_maa_x", "time_mix_lerp_x.weight"},
            {"att.time_maa_w", "time_mix_lerp_w.weight"},
            {"att.time_maa_k", "time_mix_lerp_k.weight"},
            {"att.time_maa_v", "time_mix_lerp_v.weight"},
            {"att.time_maa_r", "time_mix_lerp_r.weight"},
            {"att.time_maa_g", "time_mix_lerp_g.weight"},
            {"att.time_maa_w1", "time_mix_w1.weight"},
            {"att.time_maa_w2", "time_mix_w2.weight"},
            {"att.time_decay", "time_mix_decay.weight"},
            {"att.time_decay_w1", "time_mix_decay_w1.weight"},
            {"att.time_decay_w2", "time_mix_decay_w2.weight"},
            {"att.time_faaaa", "time_mix_first.weight"},
            {"ffn.time_maa_k", "channel_mix_lerp_k.weight"},
            {"ffn.time_maa_r", "channel_mix_lerp_r.weight"}};
  }
  Names names = {{"att.x_rwkvag", "time_mix_lerp_fused.weight"},
                 {"att.k_k", "time_mix_k_k.weight"},
                 {"att.k_a", "time_mix_k_a.weight"},
                 {"att.r_k", "time_mix_r_k.weight"},
                 {"ffn.x_k", "channel_mix_lerp_k.weight"}};
  for (const auto& low_rank :
       {std::pair("att.w0", "time_mix_w0.weight"), std::pair("att.w1", "time_mix_w1.weight"),
        std::pair("att.w2", "time_mix_w2.weight"), std::pair("att.a0", "time_mix_a0.weight"),
        std::pair("att.a1", "time_mix_a1.weight"), std::pair("att.a2", "time_mix_a2.weight"),
        std::pair("att.v0", "time_mix_v0.weight"), std::pair("att.v1", "time_mix_v1.weight"),
        std::pair("att.v2", "time_mix_v2.weight"), std::pair("att.g1", "time_mix_g1.weight"),
        std::pair("att.g2", "time_mix_g2.weight")}) {
    names.push_back(low_rank);
  }
  return names;
}

std::string gguf_name(RwkvVersion version, const std::string& name) {
  const std::map<std::string, std::string> ends = {
      {"emb.weight", "token_embd.weight"},
      {"blocks.0.ln0.weight", "token_embd_norm.weight"},
      {"blocks.0.ln0.bias", "token_embd_norm.bias"},
      {"ln_out.weight", "output_norm.weight"},
      {"ln_out.bias", "output_norm.bias"},
      {"head.weight", "output.weight"}};
  if (const auto end = ends.find(name); end != ends.end()) return end->second;
  const size_t layer = std::string("blocks.").size();
  const size_t dot = name.find('.', layer);
  const std::string part = name.substr(dot + 1);
  for (const Names& names : {matrix_names(), own_names(version)}) {
    for (const auto& [from, to] : names) {
      if (part == from) return "blk." + name.substr(layer, dot - layer + 1) + to;
    }
  }
  CHECK(false, "'{}' is not of RWKV {}", name, static_cast<int>(version));
  return {};
}

void transform(StoredWeights& weights, const std::function<double(double)>& function) {
  CHECK(weights.dtype == DType::kF32, "not a vector of F32");
  for (size_t at = 0; at < weights.bytes.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, &weights.bytes[at], sizeof value);
    value = static_cast<float>(function(value));
    std::memcpy(&weights.bytes[at], &value, sizeof value);
  }
}

// rwkv.cpp keeps -e^x of RWKV 4's decays and e^(-e^x) of RWKV 5's.
void undo_decay(RwkvVersion version, StoredWeights& weights) {
  if (version == RwkvVersion::k4) transform(weights, [](double x) { return std::log(-x); });
  if (version == RwkvVersion::k5) {
    transform(weights, [](double x) { return std::log(-std::log(x)); });
  }
}

void fit_shape(const std::string& name, StoredWeights& weights) {
  if (name.ends_with("time_mix_decay.weight") || name.ends_with("time_mix_r_k.weight")) {
    weights.shape = {weights.elements()};
  }
  if (name.ends_with("time_mix_lerp_fused.weight")) {
    weights.shape = {weights.shape[0], 1, 1, weights.shape.back()};  // as llama.cpp has it
  }
  while (weights.shape.size() > 1 && weights.shape.back() == 1) weights.shape.pop_back();
}

Metadata metadata_of(const RwkvFile& file, RwkvVersion version) {
  const std::string prefix = fmt::format("rwkv{}", static_cast<int>(version));
  Metadata metadata;
  metadata.set_string("general.architecture", prefix);
  const auto integer = [&](const char* key, int64_t value) {
    metadata.set_integer(prefix + "." + key, MetaType::kU32, value);
  };
  integer("context_length", 1 << 20);
  integer("embedding_length", file.width);
  integer("block_count", file.layers);
  integer("feed_forward_length", file.rows("blocks.0.ffn.key.weight"));
  integer("attention.head_count", 0);
  metadata.set_number(prefix + ".attention.layer_norm_epsilon", 1e-5F);
  if (version == RwkvVersion::k7) {
    integer("wkv.head_size", file.at("blocks.0.att.r_k").shape[1]);
    integer("attention.decay_lora_rank", file.rows("blocks.0.att.w1"));
    integer("attention.iclr_lora_rank", file.rows("blocks.0.att.a1"));
    integer("attention.value_residual_mix_lora_rank", file.rows("blocks.1.att.v1"));
    integer("attention.gate_lora_rank", file.rows("blocks.0.att.g1"));
  } else if (version != RwkvVersion::k4) {
    integer("wkv.head_size", file.at("blocks.0.att.time_faaaa").shape[1]);
  }
  if (version == RwkvVersion::k6) {
    integer("time_mix_extra_dim", file.rows("blocks.0.att.time_maa_w1") / 5);
    integer("time_decay_extra_dim", file.rows("blocks.0.att.time_decay_w1"));
  }
  // rwkv.cpp divides by another epsilon than the authors' code, and the logits are its own.
  if (version == RwkvVersion::k5) {
    metadata.set_number(prefix + ".attention.group_norm_epsilon", 1e-5F);
  }
  return metadata;
}

}  // namespace

void write_rwkv_as_gguf(const std::string& ggmf, RwkvVersion version, const std::string& gguf) {
  RwkvFile file = GgmfReader(ggmf).read();
  const Metadata metadata = metadata_of(file, version);
  std::vector<TensorSource> sources;
  for (auto& [name, weights] : file.tensors) {
    TensorSource source = {.name = gguf_name(version, name), .view = {}};
    if (source.name.ends_with("time_mix_decay.weight")) undo_decay(version, weights);
    fit_shape(source.name, weights);
    source.view.dtype = weights.dtype;
    source.view.rank = static_cast<int32_t>(weights.shape.size());
    std::ranges::copy(weights.shape, source.view.shape.begin());
    source.view.data = weights.bytes.data();
    sources.push_back(source);
  }
  const absl::Status written = write_gguf(gguf, metadata, sources);
  CHECK(written.ok(), "{}", message_of(written));
}

}  // namespace millrace
