#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace {

// A connection's received bytes that are not parsed yet. Taking bytes off the front takes time by
// their number, however many follow.
class InputBuffer {
 public:
  void append(std::string_view bytes) { bytes_.append(bytes); }
  std::string_view view() const { return std::string_view(bytes_).substr(used_); }
  bool empty() const { return used_ == bytes_.size(); }

  void use(size_t count) {
    used_ += count;
    const bool mostly_used = used_ >= bytes_.size() - used_;
    if (!mostly_used) return;
    bytes_.erase(0, used_);
    used_ = 0;
    if (bytes_.empty() && bytes_.capacity() > kKeptBytes) bytes_ = {};
  }

  void clear() { use(bytes_.size() - used_); }

 private:
  static constexpr size_t kKeptBytes = 64 << 10;  // of memory, once it is empty

  std::string bytes_;
  size_t used_ = 0;
};

}  // namespace millrace
