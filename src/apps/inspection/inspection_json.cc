#include <nlohmann/json.hpp>

#include "apps/inspection/inspection_text.h"
#include "decode/propose/all.h"
#include "files/gguf_types.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kElementsShown = 16;  // of an array

// The key is known to be new: ordered_json would look for it among all the others.
void add_new(Json& object, std::string key, Json value) {
  using Members = Json::object_t::Container;
  static_cast<Members&>(object.get_ref<Json::object_t&>())
      .emplace_back(std::move(key), std::move(value));
}

Json number_json(MetaType type, int64_t value) {
  if (type == MetaType::kBool) return value != 0;
  if (type == MetaType::kU64) return static_cast<uint64_t>(value);
  return value;
}
Json number_json(MetaType, double value) { return value; }
Json number_json(MetaType, std::string_view text) { return text; }

Json array_json(const MetaArray& array) {
  Json first = Json::array();
  std::visit(
      [&](const auto& values) {
        for (const auto& value : values) first.push_back(number_json(array.element, value));
      },
      array.first(kElementsShown));
  return {{"elements", array.size()}, {"of", name_of(array.element)}, {"first", std::move(first)}};
}

Json metadata_json(const Metadata& metadata) {
  Json object = Json::object();
  for (const auto& [key, value] : metadata.entries()) {
    const auto* array = std::get_if<MetaArray>(&value.value);
    if (array != nullptr) {
      add_new(object, key, array_json(*array));
    } else if (const auto* text = std::get_if<std::string_view>(&value.value)) {
      add_new(object, key, *text);
    } else if (const auto* real = std::get_if<double>(&value.value)) {
      add_new(object, key, *real);
    } else {
      add_new(object, key, number_json(value.type, std::get<int64_t>(value.value)));
    }
  }
  return object;
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json list = Json::array();
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const auto* shape = tensor.layout.shape.data();
    list.push_back({{"name", tensor.name},
                    {"type", info_of(tensor.layout.dtype).name},
                    {"shape", std::vector<int64_t>(shape, shape + tensor.layout.rank)},
                    {"bytes", tensor.layout.bytes()}});
    if (!tensor.parts.empty() || !tensor.values.empty()) continue;  // made of others
    list.back()["offset"] = tensor.file_offset;
    if (checkpoint.files().size() > 1) list.back()["file"] = tensor.file;
  }
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    const auto* shape = tensor.shape.data();
    list.push_back({{"name", tensor.name},
                    {"type", gguf_type_name(tensor.gguf_type)},
                    {"shape", std::vector<int64_t>(shape, shape + tensor.rank)},
                    {"offset", tensor.file_offset}});
  }
  return list;
}

Json group_json(const GroupNeed& need) {
  const KvGroup& group = need.group;
  Json json = {{"sequence_bytes", need.sequence_bytes}, {"units", group.units}};
  if (group.kind == KvKind::kState) {
    json["keeps"] = "state";
    json["state_bytes"] = group.unit_bytes;
    return json;
  }
  json["keeps"] = "tokens";
  json["window"] = group.window > 0 ? Json(group.window) : Json();
  json["token_bytes"] = group.unit_bytes / group.block_tokens;
  json["block_tokens"] = group.block_tokens;
  json["block_bytes"] = group.unit_bytes;
  return json;
}

Json memory_json(const InspectedLoad& load, const Inspection& inspection) {
  Json memory = {{"weight_bytes", inspection.weight_bytes}};
  if (const std::optional<CacheNeed>& cache = inspection.cache) {
    memory["max_model_len"] = cache->context;
    memory["max_num_seqs"] = load.sequences;
    memory["kv_cache_dtype"] = info_of(load.cache).name;
    memory["kv_token_bytes"] = cache->token_bytes();
    memory["kv_cache_bytes"] = cache->bytes;
    if (cache->latent_token_bytes > 0) {
      memory["latent_token_bytes"] = cache->latent_token_bytes;
      memory["heads_token_bytes"] = cache->heads_token_bytes;
    }
    Json& groups = memory["kv_cache_groups"] = Json::array();
    for (const GroupNeed& need : cache->groups) groups.push_back(group_json(need));
  }
  return memory;
}

Json forms_json(const ContentForms& forms) {
  Json list = Json::array();
  if (forms.text) list.push_back("text");
  if (forms.parts) list.push_back("parts");
  return list;
}

Json name_json(std::string_view name) { return name.empty() ? Json() : Json(name); }

Json chat_json(const std::optional<ChatCapabilities>& chat) {
  if (!chat) return nullptr;
  return {{"content",
           {{"system", forms_json(chat->system)},
            {"user", forms_json(chat->user)},
            {"assistant", forms_json(chat->assistant)},
            {"tool", forms_json(chat->tool)}}},
          {"system_role", chat->system.any()},
          {"developer_role", chat->developer_role},
          {"tools", chat->tools},
          {"tool_calls", chat->tool_calls},
          {"parallel_tool_calls", chat->parallel_tool_calls},
          {"tool_results", chat->tool.any()},
          {"tool_arguments", chat->text_arguments ? "text" : "object"},
          {"reasoning", name_json(chat->reasoning)},
          {"thinking_switch", name_json(chat->thinking_switch)},
          {"generation_prompt", chat->generation_prompt},
          {"alternating_roles", chat->alternating}};
}

Json drafts_json(const std::optional<DraftSupport>& drafts) {
  if (!drafts) return nullptr;
  return {
      {"methods", draft_method_names()},
      {"trees", drafts->trees},
      {"vocabulary", {{"kind", drafts->vocabulary_kind}, {"tokens", drafts->vocabulary_tokens}}}};
}

}  // namespace

std::string inspection_json(const Checkpoint& checkpoint, const InspectedLoad& load,
                            const Inspection& inspection) {
  Json types = Json::array();
  for (const TypeTotal& total : inspection.totals) {
    types.push_back({{"type", total.type}, {"tensors", total.tensors}, {"bytes", total.bytes}});
  }
  const Json report = {{"format", checkpoint.format()},
                       {"file_bytes", checkpoint.file_bytes()},
                       {"metadata", metadata_json(checkpoint.metadata())},
                       {"tensors", tensors_json(checkpoint)},
                       {"types", std::move(types)},
                       {"memory", memory_json(load, inspection)},
                       {"drafts", drafts_json(inspection.drafts)},
                       {"chat", chat_json(inspection.chat)},
                       {"remarks", inspection.remarks},
                       {"cannot_run", inspection.obstacles}};
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace millrace
