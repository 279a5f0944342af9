#pragma once

#include <cstdint>

namespace millrace::jinja {

// What one template may cost. Everything is counted, never timed, so that a template that stops
// here stops everywhere. Published templates use at most some thousandths of each.
struct Limits {
  int64_t source_bytes_max = 1 << 20;
  // One node costs about 100 bytes.
  int32_t nodes_max = 100'000;
  // Nested blocks and expressions; a level of the parser costs up to 1 KiB of stack.
  int32_t parse_depth_max = 200;
  // Names are compared and hashed at every use.
  int64_t name_bytes_max = 256;
  // Of a macro, and named ones of a call: binding them is the square of their number.
  int64_t parameters_max = 64;
  // Of the numbers beyond 64 bits in one source, all together: reading one is the square of its
  // digits.
  int64_t digits_max = 40'000;

  // One step is some 50 ns, and 100 ns at most: 1 million are at most 100 ms.
  int64_t steps_max = 1'000'000;
  // Nested evaluation, macro calls and values; a level costs up to 1.5 KiB of stack.
  int32_t depth_max = 1'000;
  // All that a rendering allocates and writes, freed or not; the peak of the process is at most
  // twice this, when a text is copied out of the builder that doubled for it.
  int64_t memory_bytes_max = 32 << 20;
  int64_t text_bytes_max = 16 << 20;  // of one string, and of the output
  int64_t items_max = 200'000;        // of one list or dict
  // Some 4,200 digits; Python itself prints no integer of more than 4,300.
  int64_t integer_bits_max = 14'000;
  // As jinja2's sandbox.
  int64_t range_items_max = 100'000;
};

}  // namespace millrace::jinja
