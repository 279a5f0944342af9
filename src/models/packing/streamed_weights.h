#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <absl/functional/function_ref.h>
#include <absl/time/time.h>

#include "base/status.h"
#include "files/pack_file.h"
#include "models/packing/stream_plan.h"
#include "nn/weight_stream.h"
#include "tensor/buffer.h"

namespace millrace {

// A model's matrices in less memory than they take: some stay, the others are read from the pack in
// each pass, by threads of their own that are ahead of it, to the addresses that they always have
// (Sheng et al. 2023, FlexGen). Each chunk is checked before anything reads it. What fails once
// fails for good.
class StreamedWeights final : public WeightStream {
 public:
  struct Source {
    PackFile pack;
    StreamPlan plan;
    // Of all matrices, touched where segments stay at most; outlives this object.
    std::span<std::byte> memory;
    bool has_residents = false;  // what stays is in memory already
    int64_t embedding_panel_bytes = 0;
    int lanes = 1;  // that passes have at most
    // Called once, from any thread, with what is wrong with the pack; the result is the error.
    std::function<absl::Status(const absl::Status&)> on_failure;
  };
  static absl::StatusOr<std::unique_ptr<StreamedWeights>> create(Source source);
  ~StreamedWeights() override;  // stops where it is

  // Returns when what stays is in memory.
  absl::Status await_residents();
  // Calls `pass`, in which lanes go through the layers once and through head() so many times; waits
  // for passes of others. An error: what it computed is void.
  absl::Status run_pass(int64_t heads, absl::FunctionRef<void()> pass);

  void enter(int64_t n) override;
  int64_t head_rows() const override;
  void embed(Lane& lane, const Ops& ops, const PackedMatrix& table, std::span<const TokenId> tokens,
             Rows<float> out) override;

  const StreamPlan& plan() const { return plan_; }
  // Whether the file is read past the page cache, or through it.
  bool is_direct() const { return is_direct_; }
  // So far, by all passes and for the next one.
  int64_t bytes_read() const;
  // How fast the disk gives the pack's bytes to as many threads, measured over so long.
  absl::StatusOr<double> measured_bytes_per_second(absl::Duration time) const;

 private:
  explicit StreamedWeights(Source source);

  std::span<std::byte> segment(int64_t i) const { return plan_.segment_of(memory_, i); }
  // Under `mutex_`, as all that follows: reads of this pass; one by its number; the one of the same
  // segment before it that may still be in memory, or -1; how many reads a part must wait for.
  int64_t reads_of_pass() const;
  StreamPlan::Read read_of(int64_t number) const;
  int64_t same_segment_before(int64_t number) const;
  int64_t needed_by(int64_t part) const;
  bool may_read() const;
  void free_passed();
  void fail(const absl::Status& status);

  void work();
  void read(int64_t number, std::unique_lock<std::mutex>& lock);
  void read_row(TokenId token, const PackedMatrix& table, std::span<std::byte> memory, float* out);

  PackFile pack_;
  const StreamPlan plan_;
  const std::span<std::byte> memory_;
  bool is_direct_;
  std::function<absl::Status(const absl::Status&)> on_failure_;
  Buffer rows_memory_;  // [lanes]
  int64_t row_bytes_ = 0;

  std::mutex passing_;  // held during a pass

  mutable std::mutex mutex_;         // for all below
  std::condition_variable work_;     // there may be something to read
  std::condition_variable arrived_;  // something was read
  absl::Status failure_;
  bool stop_ = false;
  int64_t next_resident_ = 0, residents_read_ = 0;  // of plan_.resident
  // Reads are numbered through all passes.
  int64_t pass_begin_ = 0;        // the first of this pass, or of the next one
  std::optional<int64_t> heads_;  // of this pass; none: there is no pass
  int64_t part_ = -1;             // the last one entered
  int64_t next_ = 0;              // the first that nobody has begun
  int64_t ready_ = 0;             // all before are done
  int64_t freed_ = 0;             // all before have left the memory
  std::vector<bool> done_;        // [transient] a ring of those from freed_ on
  int64_t bytes_read_ = 0;

  std::vector<std::thread> threads_;
};

}  // namespace millrace
