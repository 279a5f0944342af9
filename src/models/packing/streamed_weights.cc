#include "models/packing/streamed_weights.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include <absl/memory/memory.h>
#include <absl/time/clock.h>

#include "base/check.h"
#include "base/system/signals_blocked.h"
#include "tensor/huge_pages.h"

namespace millrace {
namespace {

// While one checks what it has read, others keep the disk busy.
constexpr int kReaders = 3;

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

int64_t chunks_below(int64_t bytes) { return bytes / kPackChunkBytes * kPackChunkBytes; }

}  // namespace

absl::StatusOr<std::unique_ptr<StreamedWeights>> StreamedWeights::create(Source source) {
  const int64_t panel_bytes = source.embedding_panel_bytes;
  const int lanes = source.lanes;
  auto weights = absl::WrapUnique(new StreamedWeights(std::move(source)));
  if (!weights->plan_.embedding_stays) {
    weights->row_bytes_ = chunks_below(panel_bytes) + 2 * kPackChunkBytes;
    ASSIGN_OR_RETURN(weights->rows_memory_, Buffer::allocate(weights->row_bytes_ * lanes));
  }
  const SignalsBlocked blocked;
  for (int i = 0; i < kReaders; ++i) {
    weights->threads_.emplace_back([raw = weights.get()] { raw->work(); });
  }
  return weights;
}

StreamedWeights::StreamedWeights(Source source)
    : pack_(std::move(source.pack)),
      plan_(std::move(source.plan)),
      memory_(source.memory),
      is_direct_(pack_.bypass_page_cache()),
      on_failure_(std::move(source.on_failure)),
      next_resident_(source.has_residents ? std::ssize(plan_.resident) : 0),
      residents_read_(next_resident_),
      done_(static_cast<size_t>(plan_.transient)) {}

StreamedWeights::~StreamedWeights() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

int64_t StreamedWeights::reads_of_pass() const {
  return std::ssize(plan_.layers.reads) + heads_.value_or(0) * std::ssize(plan_.head.reads);
}

StreamPlan::Read StreamedWeights::read_of(int64_t number) const {
  const int64_t at = number - pass_begin_;
  const int64_t of_layers = std::ssize(plan_.layers.reads);
  if (at < of_layers) return plan_.layers.reads[static_cast<size_t>(at)];
  if (at < reads_of_pass()) {
    const int64_t of_head = std::ssize(plan_.head.reads);
    const int64_t head = (at - of_layers) / of_head;
    StreamPlan::Read read = plan_.head.reads[static_cast<size_t>((at - of_layers) % of_head)];
    read.last_part += std::ssize(plan_.layers.needed) + head * std::ssize(plan_.head.needed);
    return read;
  }
  const int64_t next = at - reads_of_pass();
  return {plan_.layers.reads[static_cast<size_t>(next)].segment, kNever};  // of the next pass
}

int64_t StreamedWeights::same_segment_before(int64_t number) const {
  const int64_t of_layers = std::ssize(plan_.layers.reads);
  const int64_t of_head = std::ssize(plan_.head.reads);
  const int64_t at = number - pass_begin_;
  if (at >= reads_of_pass()) return number - reads_of_pass();
  return at >= of_layers + of_head ? number - of_head : -1;
}

int64_t StreamedWeights::needed_by(int64_t part) const {
  const int64_t layers = std::ssize(plan_.layers.needed);
  if (part < layers) return plan_.layers.needed[static_cast<size_t>(part)];
  const int64_t parts = std::ssize(plan_.head.needed);
  const int64_t head = (part - layers) / parts;
  return std::ssize(plan_.layers.reads) + head * std::ssize(plan_.head.reads) +
         plan_.head.needed[static_cast<size_t>((part - layers) % parts)];
}

// How many head() calls the next pass has is not known before it begins.
bool StreamedWeights::may_read() const {
  const int64_t of_layers = std::ssize(plan_.layers.reads);
  const int64_t limit = pass_begin_ + (heads_ ? reads_of_pass() : 0) + of_layers;
  return next_ < limit && next_ - freed_ < plan_.transient && same_segment_before(next_) < freed_;
}

void StreamedWeights::free_passed() {
  for (; freed_ < next_; ++freed_) {
    const StreamPlan::Read read = read_of(freed_);
    if (read.last_part >= part_) return;
    let_go(segment(read.segment));
  }
}

void StreamedWeights::fail(const absl::Status& status) {
  if (!failure_.ok()) return;
  failure_ = on_failure_(status);
  work_.notify_all();
  arrived_.notify_all();
}

void StreamedWeights::read(int64_t number, std::unique_lock<std::mutex>& lock) {
  const std::span<std::byte> memory = segment(number);
  lock.unlock();
  const absl::Status status = pack_.read(number * plan_.segment_bytes, memory);
  lock.lock();
  bytes_read_ += std::ssize(memory);
  if (!status.ok()) fail(status);
}

void StreamedWeights::work() {
  std::unique_lock lock(mutex_);
  const auto residents_left = [&] { return next_resident_ < std::ssize(plan_.resident); };
  while (true) {
    work_.wait(lock, [&] { return stop_ || !failure_.ok() || residents_left() || may_read(); });
    if (stop_ || !failure_.ok()) return;
    if (residents_left()) {
      read(plan_.resident[static_cast<size_t>(next_resident_++)], lock);
      ++residents_read_;
    } else {
      const int64_t number = next_++;
      const auto place = static_cast<size_t>(number % plan_.transient);
      done_[place] = false;
      read(read_of(number).segment, lock);
      done_[place] = true;
      while (ready_ < next_ && done_[static_cast<size_t>(ready_ % plan_.transient)]) ++ready_;
    }
    arrived_.notify_all();
  }
}

absl::Status StreamedWeights::await_residents() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock,
                [&] { return residents_read_ == std::ssize(plan_.resident) || !failure_.ok(); });
  return failure_;
}

absl::Status StreamedWeights::run_pass(int64_t heads, absl::FunctionRef<void()> pass) {
  const std::lock_guard alone(passing_);
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    heads_ = heads;
  }
  work_.notify_all();
  pass();
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    part_ = kNever;
    free_passed();
    CHECK(freed_ == pass_begin_ + reads_of_pass(), "a pass that did not enter all of its parts");
    pass_begin_ = freed_;
    heads_.reset();
    part_ = -1;
  }
  work_.notify_all();
  return absl::OkStatus();
}

void StreamedWeights::enter(int64_t n) {
  std::unique_lock lock(mutex_);
  if (n > part_) {
    part_ = n;
    free_passed();
    work_.notify_all();
  }
  const int64_t needed = pass_begin_ + needed_by(n);
  arrived_.wait(lock, [&] { return ready_ >= needed || n < part_ || !failure_.ok(); });
}

int64_t StreamedWeights::head_rows() const { return plan_.head_part_panels * kPanelRows; }

void StreamedWeights::embed(Lane& lane, const Ops& ops, const PackedMatrix& table,
                            std::span<const TokenId> tokens, Rows<float> out) {
  if (plan_.embedding_stays) return ops.embed(lane, table, tokens, out);
  lane.for_each_share(std::ssize(tokens), 1, [&](int owner, WorkRange share) {
    CHECK((owner + 1) * row_bytes_ <= rows_memory_.size(), "lane {} has no memory", owner);
    const std::span memory(rows_memory_.data() + owner * row_bytes_,
                           static_cast<size_t>(row_bytes_));
    for (int64_t i = share.begin; i < share.end; ++i) {
      read_row(tokens[static_cast<size_t>(i)], table, memory, out.row(i));
    }
  });
}

void StreamedWeights::read_row(TokenId token, const PackedMatrix& table,
                               std::span<std::byte> memory, float* out) {
  const int64_t panel = table.panel(token / kPanelRows) - memory_.data();
  const int64_t begin = chunks_below(panel);
  const int64_t end = std::min(chunks_below(panel + table.panel_bytes() - 1) + kPackChunkBytes,
                               std::ssize(memory_));
  const absl::Status status = pack_.read(begin, memory.first(static_cast<size_t>(end - begin)));
  {
    const std::lock_guard lock(mutex_);
    bytes_read_ += end - begin;
    if (!status.ok()) fail(status);
  }
  if (!status.ok()) return;
  const PackedMatrix rows(table.format(), kPanelRows, table.width(),
                          memory.data() + (panel - begin));
  rows.unpack_row(token % kPanelRows, out);
}

int64_t StreamedWeights::bytes_read() const {
  const std::lock_guard lock(mutex_);
  return bytes_read_;
}

absl::StatusOr<double> StreamedWeights::measured_bytes_per_second(absl::Duration time) const {
  std::atomic<int64_t> next = 0, bytes = 0;
  std::vector<absl::Status> results(kReaders);
  std::vector<std::thread> readers;
  const int64_t segments = plan_.segments(std::ssize(memory_));
  const absl::Time begin = absl::Now();
  for (absl::Status& result : results) {
    readers.emplace_back([&] {
      const absl::StatusOr<Buffer> memory = Buffer::allocate(plan_.segment_bytes);
      result = memory.status();
      while (result.ok() && absl::Now() - begin < time) {
        const int64_t i = next++ % segments;
        result = pack_.read(i * plan_.segment_bytes, {memory->data(), segment(i).size()});
        bytes += std::ssize(segment(i));
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  for (const absl::Status& result : results) RETURN_IF_ERROR(result);
  return static_cast<double>(bytes) / seconds;
}

}  // namespace millrace
