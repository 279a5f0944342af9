#include "models/spec.h"

#include "models/arch/arch.h"
#include "models/model_kind.h"
#include "models/weights_plan.h"

namespace millrace {

absl::StatusOr<ModelSpec> read_spec(const Checkpoint& checkpoint) {
  RETURN_IF_ERROR(check_is_model(checkpoint));
  ASSIGN_OR_RETURN(ArchReader reader, ArchReader::create(checkpoint));
  const Arch* arch = find_arch(reader.architecture());
  ASSIGN_OR_RETURN(ModelSpec spec,
                   arch->read != nullptr ? arch->read(reader) : read_decoder(reader, arch->traits));
  if (arch->adjust != nullptr) RETURN_IF_ERROR(arch->adjust(reader, spec));
  RETURN_IF_ERROR(reader.check_all_read());
  RETURN_IF_ERROR(plan_weights(checkpoint, spec).status());
  return spec;
}

}  // namespace millrace
