#include "files/hub/hub_model.h"

namespace millrace {

std::span<const HubArch> recurrent_archs() { return {}; }

}  // namespace millrace
