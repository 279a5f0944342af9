#pragma once

#include "chat/jinja/ast.h"

namespace millrace::jinja {

// Fills in Body::unset. jinja2 decides when it compiles which body's variable a name means: one
// that a body assigns belongs to it all over, also where a body inside reads it first.
void find_unset_names(Tree& tree);

}  // namespace millrace::jinja
