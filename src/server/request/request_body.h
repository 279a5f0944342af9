#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "server/request/fields.h"

namespace millrace {

// Fields that belong together.
struct FieldTable {
  std::string_view title;  // in the documents
  std::span<const Field> fields;
};

// What one kind of request may hold. Requests are read by it, and the documents say it.
struct RequestBody {
  std::string_view name;               // in the documents
  std::span<const FieldTable> tables;  // the first that knows a field reads it
  std::string_view required;           // one of these, between spaces, must be there
  absl::Status (*check)(ApiRequest&);  // what concerns several fields at once
};

extern const RequestBody kChatBody;
extern const RequestBody kCompletionBody;
extern const RequestBody kTokenizeBody;
extern const RequestBody kDetokenizeBody;
extern const RequestBody kTemplateBody;

const Field* field_of(const RequestBody& body, std::string_view name);  // null: unknown

// Reads `json`, an object, by the tables. Unknown fields are ignored, and named in the log at debug
// level.
absl::StatusOr<ApiRequest> read_body(const RequestBody& body, const Json& json,
                                     const ReadContext& context);

}  // namespace millrace
