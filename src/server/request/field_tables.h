#pragma once

#include "server/request/request_body.h"

namespace millrace {

FieldTable model_fields();       // of every request
FieldTable sampling_fields();    // how tokens are drawn
FieldTable answer_fields();      // when an answer ends, and what it shows
FieldTable template_fields();    // how messages become a prompt
FieldTable encoding_fields();    // how a prompt becomes tokens
FieldTable truncation_fields();  // and how many
FieldTable completion_fields();  // of /v1/completions alone
FieldTable chat_fields();        // of /v1/chat/completions alone
FieldTable peer_fields();        // of other servers, refused
FieldTable tokenize_fields();
FieldTable detokenize_fields();

}  // namespace millrace
