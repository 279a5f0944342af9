#pragma once

#include <memory>
#include <span>
#include <string_view>

#include <absl/time/time.h>
#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "chat/jinja/values/workspace.h"
#include "text/marked_text.h"

namespace millrace::jinja {

// Where the strings of a JSON value come from.
enum class Origin : uint8_t {
  kTrusted,   // the model's files or the caller's own words
  kWritten,   // a client wrote every string and key in it
  kMessages,  // as kWritten, but for each message's `role` where it is a standard one
};

// A variable of the context.
struct Variable {
  std::string_view name;
  const nlohmann::ordered_json* value;
  Origin origin = Origin::kTrusted;
};

// A parsed template. Immutable and safe from many threads.
class Template {
 public:
  static absl::StatusOr<Template> parse(std::string_view source, std::string_view name,
                                        const Limits& limits = {});

  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // What a rendering took of its limits.
  struct Usage {
    int64_t steps = 0;
    int64_t memory_bytes = 0;
  };

  // `now` is what strftime_now tells, in UTC. INVALID_ARGUMENT: the template refuses or fails;
  // UNIMPLEMENTED: it asks for what is not supported; RESOURCE_EXHAUSTED: for too much.
  absl::StatusOr<MarkedText> render(std::span<const Variable> variables, absl::Time now) const;
  // Within other limits than those that it was parsed with.
  absl::StatusOr<MarkedText> render(std::span<const Variable> variables, absl::Time now,
                                    const Limits& limits, Usage* usage = nullptr) const;

 private:
  struct Parsed;
  explicit Template(std::unique_ptr<const Parsed> parsed);

  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace millrace::jinja
