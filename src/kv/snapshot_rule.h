#pragma once

#include <algorithm>
#include <cstdint>

namespace millrace {

// After how many tokens a sequence's state is kept for others: every so many, and where its prompt
// ends, so that the same prompt, or one that goes on from it, finds it. At the ends of blocks.
class SnapshotRule {
 public:
  // `every`: rounded up to blocks; 0: only where prompts end.
  SnapshotRule(int64_t every, int64_t block_tokens)
      : block_tokens_(block_tokens),
        every_((every + block_tokens - 1) / block_tokens * block_tokens) {}

  // The last such place within the first `tokens` of a sequence whose prompt has so many; 0: none.
  int64_t last_kept(int64_t prompt, int64_t tokens) const {
    const int64_t periodic = every_ > 0 ? tokens / every_ * every_ : 0;
    // The row of a prompt's last token is always computed.
    const int64_t end = last_block_end(prompt - 1);
    return std::max(periodic, end <= tokens ? end : 0);
  }
  int64_t last_block_end(int64_t tokens) const { return tokens / block_tokens_ * block_tokens_; }

 private:
  const int64_t block_tokens_;
  const int64_t every_;
};

}  // namespace millrace
