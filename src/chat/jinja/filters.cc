#include "chat/jinja/filters.h"

#include "base/string_map.h"

namespace millrace::jinja {

const Filter* find_filter(std::string_view name) {
  static const auto* const kIndex = [] {
    auto* index = new StringViewMap<const Filter*>;
    for (const auto& table : {text_filters(), markup_filters(), wrap_filters(), sequence_filters(),
                              selection_filters(), value_filters()}) {
      for (const Filter& filter : table) index->emplace(filter.name, &filter);
    }
    return index;
  }();
  const auto at = kIndex->find(name);
  return at == kIndex->end() ? nullptr : at->second;
}

}  // namespace millrace::jinja
