#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/spec.h"

namespace millrace {

// An architecture: how metadata becomes a spec, and what each weight is called. To add one, write
// its file beside this one and its line in archs.cc.
struct Arch {
  std::string_view name;  // general.architecture
  absl::StatusOr<ModelSpec> (*read)(ArchReader& reader);
};

std::span<const Arch> all_archs();

absl::StatusOr<ModelSpec> read_llama(ArchReader& reader);
absl::StatusOr<ModelSpec> read_qwen2(ArchReader& reader);
absl::StatusOr<ModelSpec> read_qwen3(ArchReader& reader);

}  // namespace millrace
