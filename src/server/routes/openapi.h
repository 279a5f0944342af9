#pragma once

#include "server/request/fields.h"

namespace millrace {

// What a field takes, as JSON Schema; null is not among it.
Json field_schema(const Field& field, const ReadContext& context);

// The whole interface as OpenAPI 3.1, from the tables that find routes and read requests.
Json openapi(const ReadContext& context);

}  // namespace millrace
