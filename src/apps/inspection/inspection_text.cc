#include "apps/inspection/inspection_text.h"

#include <algorithm>
#include <iterator>

#include <fmt/ranges.h>

#include "apps/serving/cache_size.h"
#include "apps/terminal/amounts.h"
#include "apps/terminal/one_line.h"
#include "decode/propose/all.h"
#include "files/gguf_types.h"

namespace millrace {
namespace {

constexpr int64_t kElementsPrinted = 4;    // of a long array
constexpr size_t kTextBytesShown = 100;    // of a long string
constexpr size_t kElementBytesShown = 24;  // of a string in an array

std::string quoted(std::string_view text, size_t bytes_shown) {
  if (text.size() <= bytes_shown) return fmt::format("\"{}\"", one_line(text));
  size_t cut = bytes_shown;  // not within a character
  while (cut > 0 && (static_cast<uint8_t>(text[cut]) & 0xc0) == 0x80) --cut;
  return fmt::format("\"{}...\" ({} bytes)", one_line(text.substr(0, cut)),
                     grouped(static_cast<int64_t>(text.size())));
}

std::string number_text(MetaType type, int64_t value) {
  if (type == MetaType::kBool) return value != 0 ? "true" : "false";
  if (type == MetaType::kU64) return fmt::to_string(static_cast<uint64_t>(value));
  return fmt::to_string(value);
}
std::string number_text(MetaType type, double value) {
  return type == MetaType::kF32 ? fmt::to_string(static_cast<float>(value)) : fmt::to_string(value);
}
std::string number_text(MetaType, std::string_view text) {
  return quoted(text, kElementBytesShown);
}

std::string array_text(const MetaArray& array) {
  std::string text = "[";
  std::visit(
      [&](const auto& values) {
        for (size_t i = 0; i < values.size(); ++i) {
          text += (i == 0 ? "" : ", ") + number_text(array.element, values[i]);
        }
      },
      array.first(kElementsPrinted));
  return text + (array.size() > kElementsPrinted ? ", ...]" : "]");
}

std::string type_text(const MetaValue& value) {
  const auto* array = std::get_if<MetaArray>(&value.value);
  if (array == nullptr) return std::string(name_of(value.type));
  return fmt::format("{} x {}", name_of(array->element), grouped(array->size()));
}

std::string value_text(const MetaValue& value) {
  if (const auto* array = std::get_if<MetaArray>(&value.value)) return array_text(*array);
  if (const auto* text = std::get_if<std::string_view>(&value.value)) {
    return quoted(*text, kTextBytesShown);
  }
  if (const auto* real = std::get_if<double>(&value.value)) return number_text(value.type, *real);
  return number_text(value.type, std::get<int64_t>(value.value));
}

std::string shape_text(std::span<const int64_t, 4> shape, int32_t rank) {
  return fmt::format("{}", fmt::join(shape.first(static_cast<size_t>(rank)), " x "));
}

// Rows of cells whose columns are as wide as their widest cell; the last column is not padded.
class Table {
 public:
  void row(std::vector<std::string> cells) {
    widths_.resize(std::max(widths_.size(), cells.size()));
    for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].size());
    rows_.push_back(std::move(cells));
  }
  void print(std::string& out) const {
    for (const std::vector<std::string>& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) {
        const size_t width = i + 1 < row.size() ? widths_[i] : 0;
        out += fmt::format("  {:<{}}", row[i], width);
      }
      out += '\n';
    }
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> widths_;
};

void print_metadata(const Metadata& metadata, std::string& out) {
  out += fmt::format("\nMetadata: {} keys\n", metadata.entries().size());
  Table table;
  for (const auto& [key, value] : metadata.entries()) {
    table.row({one_line(key), type_text(value), value_text(value)});
  }
  table.print(out);
}

void print_tensors(const Checkpoint& checkpoint, const Inspection& inspection, std::string& out) {
  const size_t count = checkpoint.tensors().size() + checkpoint.unknown_tensors().size();
  out += fmt::format("\nTensors: {} (shapes with the contiguous dimension last)\n", count);
  Table table;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    table.row({one_line(tensor.name), std::string(info_of(tensor.layout.dtype).name),
               shape_text(tensor.layout.shape, tensor.layout.rank),
               grouped(tensor.layout.bytes())});
  }
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    table.row({one_line(tensor.name), gguf_type_name(tensor.gguf_type),
               shape_text(tensor.shape, tensor.rank), "not supported"});
  }
  table.print(out);
  out += '\n';
  Table totals;
  totals.row({"type", "tensors", "bytes"});
  for (const TypeTotal& total : inspection.totals) {
    totals.row({total.type, grouped(total.tensors), bytes_text(total.bytes)});
  }
  totals.print(out);
}

// What a group of the cache keeps, and what its parts cost.
std::vector<std::string> group_cells(const GroupNeed& need) {
  const KvGroup& group = need.group;
  const std::string all = bytes_text(group.units * group.unit_bytes);
  if (group.kind == KvKind::kState) {
    return {"  states", all, grouped(need.sequence_bytes) + " bytes a sequence"};
  }
  return {"  " + group_name(group), all,
          fmt::format("{} bytes a token, {} a block, {} a sequence",
                      grouped(group.unit_bytes / group.block_tokens), grouped(group.unit_bytes),
                      grouped(need.sequence_bytes))};
}

void print_memory(const InspectedLoad& load, const Inspection& inspection, std::string& out) {
  out += "\nMemory\n";
  Table table;
  table.row({"weights", bytes_text(inspection.weight_bytes), "packed for the kernels"});
  if (const std::optional<CacheNeed>& cache = inspection.cache) {
    table.row({"KV cache", bytes_text(cache->bytes),
               fmt::format("{} x {} tokens in {}", grouped(load.sequences), grouped(cache->context),
                           info_of(load.cache).name)});
    for (const GroupNeed& need : cache->groups) table.row(group_cells(need));
    if (cache->latent_token_bytes > 0) {
      table.row(
          {"  latents", "",
           fmt::format("{} bytes a token; keys and values of all heads would take {}",
                       grouped(cache->latent_token_bytes), grouped(cache->heads_token_bytes))});
    }
    table.row({"together", bytes_text(inspection.weight_bytes + cache->bytes)});
  }
  table.print(out);
}

void print_drafts(const DraftSupport& drafts, std::string& out) {
  out += "\nDrafts\n";
  Table table;
  table.row({"methods", fmt::format("{}", fmt::join(draft_method_names(), ", "))});
  table.row({"form", drafts.trees ? "trees" : "chains alone: it keeps states"});
  table.row({"draft model",
             fmt::format("of the same vocabulary ({}, {} tokens), without states",
                         one_line(drafts.vocabulary_kind), grouped(drafts.vocabulary_tokens))});
  table.print(out);
}

std::string forms_text(const ContentForms& forms, std::string_view absent) {
  if (!forms.any()) return std::string(absent);
  if (!forms.parts) return "text";
  return forms.text ? "text, or a list of parts" : "a list of parts";
}

void print_chat(const ChatCapabilities& chat, std::string& out) {
  out += "\nChat template\n";
  const auto yes_or_no = [](bool yes) { return std::string(yes ? "yes" : "no"); };
  const auto name = [](std::string_view text) {
    return text.empty() ? std::string("no") : std::string(text);
  };
  Table table;
  table.row({"user", forms_text(chat.user, "not shown")});
  table.row({"system", forms_text(chat.system, "no: told with the first user's message")});
  table.row({"developer", chat.developer_role ? "yes" : "no: told as the system's"});
  table.row({"assistant", forms_text(chat.assistant, "not shown")});
  table.row({"tools", yes_or_no(chat.tools)});
  std::string calls = yes_or_no(chat.tool_calls);
  if (chat.tool_calls) {
    calls = fmt::format("{}, arguments as {}",
                        chat.parallel_tool_calls ? "several at once" : "one at a time",
                        chat.text_arguments ? "JSON text" : "an object");
  }
  table.row({"tool calls", calls});
  table.row({"tool results", forms_text(chat.tool, "no")});
  table.row(
      {"reasoning", chat.reasoning == "content" ? "a part of the content" : name(chat.reasoning)});
  table.row({"thinking switch", name(chat.thinking_switch)});
  table.row({"generation prompt", chat.generation_prompt ? "yes" : "no: written in any case"});
  table.row({"roles", chat.alternating ? "must alternate" : "in any order"});
  table.print(out);
}

void print_lines(std::string_view title, const std::vector<std::string>& lines, std::string& out) {
  if (lines.empty()) return;
  out += fmt::format("\n{}\n", title);
  for (const std::string& line : lines) out += fmt::format("  {}\n", line);
}

}  // namespace

std::string inspection_text(const Checkpoint& checkpoint, const InspectedLoad& load,
                            const Inspection& inspection) {
  std::string out =
      fmt::format("{}, {} bytes ({})\n", checkpoint.format(), grouped(checkpoint.file_bytes()),
                  bytes_text(checkpoint.file_bytes()));
  print_metadata(checkpoint.metadata(), out);
  print_tensors(checkpoint, inspection, out);
  print_memory(load, inspection, out);
  if (inspection.drafts) print_drafts(*inspection.drafts, out);
  if (inspection.chat) print_chat(*inspection.chat, out);
  print_lines("Remarks", inspection.remarks, out);
  print_lines("Cannot be run", inspection.obstacles, out);
  if (inspection.obstacles.empty()) out += "\nCan be run.\n";
  return out;
}

}  // namespace millrace
