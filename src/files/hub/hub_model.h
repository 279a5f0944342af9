#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/metadata.h"
#include "base/status.h"
#include "files/checkpoint.h"
#include "files/hub/hub_config.h"
#include "files/hub/tensor_rules.h"

namespace millrace {

// Far above every published model, so that no product of two overflows.
inline constexpr int64_t kHubSizeMax = 1 << 24;
inline constexpr int64_t kHubContextMax = 1 << 30;

// Sets keys of an architecture as GGUF files have them.
class HubKeys {
 public:
  HubKeys(Metadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(std::string(architecture) + ".") {}

  void integer(std::string_view key, int64_t value);
  void number(std::string_view key, double value);
  void boolean(std::string_view key, bool value);
  void text(std::string_view key, std::string_view value);
  void booleans(std::string_view key, const std::vector<bool>& values);
  void integers(std::string_view key, std::span<const int64_t> values);
  void numbers(std::string_view key, std::span<const double> values);
  // Without the architecture's name before it.
  void plain_numbers(std::string_view key, std::span<const double> values);

 private:
  Metadata& metadata_;
  std::string prefix_;
};

enum class HubNorm : uint8_t { kRms, kLayer, kLayerSaidAsRms };
enum class HubWindow : uint8_t {
  kNone,
  kUniform,          // `sliding_window`, in all layers where it is there
  kByLayer,          // in those that `layer_types` says, or but for every `period`th
  kSwitched,         // likewise, only with `use_sliding_window`
  kUniformSwitched,  // in all layers, likewise
  kOwn               // its `read` sees to it
};

// Where config.json says the usual things; as HubConfig's keys, empty: nowhere (no heads: none of
// the layers has attention; no hidden: none has a network).
struct HubNames {
  std::string_view layers = "num_hidden_layers";
  std::string_view context = "max_position_embeddings";
  std::string_view width = "hidden_size";
  std::string_view hidden = "intermediate_size";
  std::string_view heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads";
  std::string_view head_dim = "head_dim";
  std::string_view activation = "hidden_act";
  std::string_view epsilon = "rms_norm_eps";
};

// What an architecture takes where config.json does not say.
struct HubRope {
  double base = 10000;          // 0: the architecture has no rope
  double windowed_base = 0;     // layers with a window have a rope of their own
  double partial = 1;           // of a head; below 1, config.json may say another
  bool may_be_partial = false;  // with 1 too
  bool in_sections = false;     // of which text turns all alike
  bool truncates = true;        // YaRN's ramp begins and ends at whole pairs
  // YaRN's multiplier of the logarithm is of the scores, and leaves rotations as they are.
  bool stretches_scores = false;
};

struct HubModel;

struct HubArch {
  std::string_view hub;   // of config.json's `architectures`
  std::string_view name;  // general.architecture
  // Of several with one class, the first that this says yes to; null: it does.
  bool (*applies)(HubConfig& config) = nullptr;
  std::string_view activation = "silu";
  HubNames names = {};
  HubNorm norm = HubNorm::kRms;
  double epsilon = 1e-6;
  bool tied = false;
  int64_t context = 0;          // 0: config.json says
  int64_t hidden_multiple = 0;  // of the width; 0: config.json says
  int64_t head_dim = 0;         // 0: the width's share
  HubRope rope = {};
  HubWindow window = HubWindow::kNone;
  int64_t window_period = 0;
  // Flags that ask for biases or norms, which the tensors say themselves; likewise.
  std::string_view biases = {};
  std::string_view quantisation = {};  // that its rules for tensors know
  // Keys of other architectures, without a meaning here, with a | between.
  std::string_view ignored = {};
  absl::Status (*read)(HubModel& model) = nullptr;  // what is particular to it
  std::span<const TensorRule> rules = {};           // before those that all share
};

// A folder's model while it is read.
struct HubModel {
  const HubArch& arch;
  HubConfig config;
  HubKeys keys;
  HubShape shape;
  int64_t context = 0;
  bool tied = false;
  std::span<const TensorRule> own_rules;  // of this model's options, before the architecture's
  std::vector<NamedTensor> computed;      // tensors that no file has
  // The value of a stored tensor of one element.
  absl::FunctionRef<absl::StatusOr<double>(std::string_view name)> scalar;
};

// Of the files in archs/.
std::span<const HubArch> llama_like_archs();
std::span<const HubArch> expert_archs();
std::span<const HubArch> other_archs();
std::span<const HubArch> state_space_archs();
std::span<const HubArch> hybrid_archs();
std::span<const HubArch> linear_attention_archs();
std::span<const HubArch> short_conv_archs();
std::span<const HubArch> retnet_archs();
std::span<const HubArch> rwkv_archs();
std::span<const HubArch> latent_archs();
std::span<const HubArch> gemma_3n_archs();
std::span<const HubArch> gemma_4_archs();
// All of them.
std::span<const HubArch> all_hub_archs();
// Names that most architectures share.
std::span<const TensorRule> shared_rules();

// Reads what all architectures have, and then what is particular to the model's.
absl::Status read_hub_model(HubModel& model);

// Sets `attention.head_count_kv` for each layer: 0 for those without attention.
void set_attention_layers(HubModel& model, const std::vector<bool>& has_attention);

// Reads `rope_parameters` or the older `rope_theta` and `rope_scaling`.
absl::Status read_hub_rope(HubModel& model);

// Which layers have a window, if there is one.
absl::StatusOr<std::vector<bool>> read_windows(HubModel& model);

// `num_experts` and how many of them a token takes.
absl::Status read_experts(HubModel& model);

// Sets `attention.sliding_window` and which layers have it, if any.
absl::Status read_hub_windows(HubModel& model);

}  // namespace millrace
