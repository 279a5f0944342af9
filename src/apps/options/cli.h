#pragma once

// CLI11 is slow to compile: headers need only its names, and each command includes it in the one
// file that declares its options.
namespace CLI {
class App;
class Validator;
}  // namespace CLI
