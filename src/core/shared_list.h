#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace millrace {

// A constant list that its copies share: for lists that clients may make long and that each prompt
// of a request has.
template <typename T>
class SharedList {
 public:
  SharedList() = default;
  SharedList(std::vector<T> values)
      : values_(std::make_shared<const std::vector<T>>(std::move(values))) {}
  SharedList(std::initializer_list<T> values) : SharedList(std::vector<T>(values)) {}

  const T* begin() const { return values_ == nullptr ? nullptr : values_->data(); }
  const T* end() const { return begin() + size(); }
  size_t size() const { return values_ == nullptr ? 0 : values_->size(); }
  bool empty() const { return size() == 0; }
  const T& back() const { return values_->back(); }
  operator std::vector<T>() const { return {begin(), end()}; }
  friend bool operator==(const SharedList& a, const SharedList& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::shared_ptr<const std::vector<T>> values_;
};

}  // namespace millrace
