#include "kernels/measure/recorder.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

double as_double(int64_t number) { return static_cast<double>(number); }

// An op that writes as many numbers as it reads.
OpSubject on_rows(std::string_view op, int64_t rows, int64_t width) {
  return {
      .op = op, .format = DType::kF32, .in = {}, .rows = rows, .width = width, .outputs = width};
}

double bytes_of(const PackedMatrix& matrix) {
  return as_double(matrix.panels() * matrix.panel_bytes());
}

// Reads a state's part of each slice, and keeps it again.
OpSubject on_states(std::string_view op, int64_t rows, int64_t width, int64_t outputs) {
  return {
      .op = op, .format = DType::kF32, .in = {}, .rows = rows, .width = width, .outputs = outputs};
}

double state_bytes(const ops::StateRows& rows, int64_t floats) {
  return 2 * as_double(std::ssize(rows.slices) * floats * row_bytes(DType::kF32, 1));
}

// Of the experts that have rows. Lanes that are recorded wait for each other, so that none asks
// too late.
double bytes_read(const ops::ExpertMatrix& weights, const ops::Dispatch& dispatch) {
  return as_double(dispatch.busy[0] * weights.panels() * weights.matrix.panel_bytes());
}

// Keys that a batch's rows see: by each row, and by any row of a sequence.
struct SeenKeys {
  int64_t by_rows = 0;
  int64_t once = 0;
};

SeenKeys seen_keys(const ops::AttentionRows& rows) {
  SeenKeys seen;
  for (const ops::AttentionSlice& slice : rows.slices) {
    int32_t counted = 0;  // of this sequence, up to here
    for (int32_t row = slice.row; row < slice.row + slice.rows; ++row) {
      // Of its path the rows before it have counted all but its own key.
      const int32_t path = rows.paths == nullptr ? 0 : rows.paths->length(row);
      const int32_t shared = rows.positions[static_cast<size_t>(row)] + 1 - path;
      seen.once += path > 0 ? 1 : 0;
      for (const KeyRange& keys : rows.keys->of(row)) {
        seen.by_rows += keys.end - keys.begin;
        const int32_t end = std::min(keys.end, shared);
        seen.once += std::max(0, end - std::max(keys.begin, counted));
        counted = std::max(counted, end);
      }
    }
  }
  return seen;
}

}  // namespace

struct Recorder::LaneNotes {
  struct Crossing {
    Instant arrived;
    Instant left;
  };
  std::vector<OpTotal> ops;
  std::vector<Crossing> crossings;
  size_t next = 0;  // the op that followed the last one before

  OpTotal& total_of(const OpSubject& subject) {
    for (size_t i = 0; i < ops.size(); ++i) {
      const size_t at = (next + i) % ops.size();
      if (ops[at].subject == subject) {
        next = at + 1;
        return ops[at];
      }
    }
    ops.push_back({.subject = subject, .calls = 0, .time = {}, .bytes = 0, .operations = 0});
    next = ops.size();
    return ops.back();
  }
};

Recorder::Recorder(const Ops& ops, int lanes, const Clock& clock) : ops_(ops), clock_(clock) {
  for (int i = 0; i < lanes; ++i) lanes_.push_back(std::make_unique<LaneNotes>());
}

Recorder::~Recorder() = default;

void Recorder::clear() {
  for (const auto& lane : lanes_) {
    lane->ops.clear();
    lane->crossings.clear();
  }
}

Recording Recorder::recording() const {
  Recording all;
  all.ops = lanes_[0]->ops;
  for (const auto& lane : lanes_) {
    CHECK(lane->crossings.size() == lanes_[0]->crossings.size(), "lanes at different barriers");
    CHECK(lane->ops.size() == all.ops.size(), "lanes with different ops");
    if (lane == lanes_[0]) continue;
    for (size_t i = 0; i < all.ops.size(); ++i) all.ops[i].time += lane->ops[i].time;
  }
  all.barriers = std::ssize(lanes_[0]->crossings);
  for (size_t i = 0; i < lanes_[0]->crossings.size(); ++i) {
    Instant last = Instant::infinite_past();
    for (const auto& lane : lanes_) last = std::max(last, lane->crossings[i].arrived);
    for (const auto& lane : lanes_) {
      all.waits += last - lane->crossings[i].arrived;
      all.barrier += lane->crossings[i].left - last;
    }
  }
  return all;
}

template <typename Op>
void Recorder::note(Lane& lane, const OpSubject& subject, double bytes, double operations,
                    const Op& op) const {
  const Instant start = clock_.now();
  op();
  const absl::Duration time = clock_.now() - start;
  OpTotal& total = lanes_[static_cast<size_t>(lane.index())]->total_of(subject);
  ++total.calls;
  total.time += time;
  total.bytes += bytes;
  total.operations += operations;
}

void Recorder::barrier(Lane& lane) const {
  LaneNotes& notes = *lanes_[static_cast<size_t>(lane.index())];
  const Instant arrived = clock_.now();
  ops_.barrier(lane);
  notes.crossings.push_back({arrived, clock_.now()});
}

void Recorder::embed(Lane& lane, const PackedMatrix& table, std::span<const TokenId> tokens,
                     Rows<float> out) const {
  const OpSubject subject = {.op = "embed",
                             .format = table.format(),
                             .in = {},
                             .rows = out.rows,
                             .width = 1,
                             .outputs = out.width};
  note(lane, subject, 0, 0, [&] { ops_.embed(lane, table, tokens, out); });
}

void Recorder::gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices,
                      Rows<float> out) const {
  const OpSubject subject = {.op = "gather",
                             .format = DType::kF32,
                             .in = {},
                             .rows = out.rows,
                             .width = in.width,
                             .outputs = out.width};
  note(lane, subject, 0, 0, [&] { ops_.gather(lane, in, indices, out); });
}

void Recorder::add_rows(Lane& lane, const PackedMatrix& table, std::span<const int32_t> indices,
                        Rows<float> out) const {
  const OpSubject subject = {.op = "add_rows",
                             .format = table.format(),
                             .in = {},
                             .rows = out.rows,
                             .width = 1,
                             .outputs = out.width};
  note(lane, subject, 0, 0, [&] { ops_.add_rows(lane, table, indices, out); });
}

void Recorder::scale(Lane& lane, Rows<float> rows, float factor, float softcap) const {
  note(lane, on_rows("scale", rows.rows, rows.width), 0, 0,
       [&] { ops_.scale(lane, rows, factor, softcap); });
}

void Recorder::norm(Lane& lane, Rows<const float> in, const ops::Norm& norm,
                    const Activations& out) const {
  note(lane, on_rows("norm", in.rows, in.width), 0, 0, [&] { ops_.norm(lane, in, norm, out); });
}

void Recorder::norm_in_place(Lane& lane, Rows<float> rows, const ops::Norm& norm) const {
  note(lane, on_rows("norm_in_place", rows.rows, rows.width), 0, 0,
       [&] { ops_.norm_in_place(lane, rows, norm); });
}

void Recorder::add(Lane& lane, Rows<const float> in, const ops::Norm* post_norm, float scale,
                   Rows<float> out) const {
  note(lane, on_rows("add", in.rows, in.width), 0, 0,
       [&] { ops_.add(lane, in, post_norm, scale, out); });
}

void Recorder::convert(Lane& lane, Rows<const float> in, const Activations& out) const {
  note(lane, on_rows("convert", in.rows, in.width), 0, 0, [&] { ops_.convert(lane, in, out); });
}

void Recorder::linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
                      std::span<const float> bias, ops::Store store, Rows<float> out) const {
  const OpSubject subject = {.op = "linear",
                             .format = weights.format(),
                             .in = in.forms,
                             .rows = in.rows,
                             .width = weights.width(),
                             .outputs = weights.rows()};
  const double operations = 2 * as_double(weights.rows() * weights.width() * in.rows);
  note(lane, subject, bytes_of(weights), operations,
       [&] { ops_.linear(lane, weights, in, bias, store, out); });
}

void Recorder::head_linear(Lane& lane, const ops::ExpertMatrix& weights, const Activations& in,
                           int64_t in_step, int64_t out_step, Rows<float> out) const {
  const OpSubject subject = {.op = "head_linear",
                             .format = weights.matrix.format(),
                             .in = in.forms,
                             .rows = in.rows * weights.experts,
                             .width = weights.matrix.width(),
                             .outputs = weights.rows};
  const double operations = 2 * as_double(subject.rows * subject.width * subject.outputs);
  note(lane, subject, bytes_of(weights.matrix), operations,
       [&] { ops_.head_linear(lane, weights, in, in_step, out_step, out); });
}

void Recorder::hidden(Lane& lane, const ops::Hidden& hidden, const Activations& in,
                      const Activations& out) const {
  const PackedMatrix& up = *hidden.up;
  const int64_t gates = hidden.gate == nullptr ? 0 : hidden.gate->rows();
  const OpSubject subject = {.op = "hidden",
                             .format = up.format(),
                             .in = in.forms,
                             .rows = in.rows,
                             .width = up.width(),
                             .outputs = gates + up.rows()};
  const double operations = 2 * as_double((gates + up.rows()) * up.width() * in.rows);
  const double bytes = bytes_of(up) + (hidden.gate == nullptr ? 0 : bytes_of(*hidden.gate));
  note(lane, subject, bytes, operations, [&] { ops_.hidden(lane, hidden, in, out); });
}

void Recorder::keep_largest(Lane& lane, float deviations, Rows<float> rows) const {
  note(lane, on_rows("keep_largest", rows.rows, rows.width), 0, 0,
       [&] { ops_.keep_largest(lane, deviations, rows); });
}

void Recorder::match_magnitude(Lane& lane, Rows<const float> like, float least,
                               Rows<float> parts) const {
  note(lane, on_rows("match_magnitude", parts.rows, parts.width), 0, 0,
       [&] { ops_.match_magnitude(lane, like, least, parts); });
}

void Recorder::predict_streams(Lane& lane, const ops::StreamUpdate& update, Rows<const float> modes,
                               Rows<float> streams, Rows<float> active) const {
  note(lane, on_rows("predict_streams", streams.rows, streams.width), 0, 0,
       [&] { ops_.predict_streams(lane, update, modes, streams, active); });
}

void Recorder::correct_streams(Lane& lane, const ops::StreamUpdate& update, Rows<const float> modes,
                               Rows<const float> predicted, Rows<float> streams) const {
  note(lane, on_rows("correct_streams", streams.rows, streams.width), 0, 0,
       [&] { ops_.correct_streams(lane, update, modes, predicted, streams); });
}

void Recorder::rope_angles(Lane& lane, const ops::Rope& rope, std::span<const int32_t> positions,
                           Rows<float> angles) const {
  const OpSubject subject = {.op = "rope_angles",
                             .format = DType::kF32,
                             .in = {},
                             .rows = angles.rows,
                             .width = 1,
                             .outputs = angles.width};
  note(lane, subject, 0, 0, [&] { ops_.rope_angles(lane, rope, positions, angles); });
}

void Recorder::rope_and_store(Lane& lane, const ops::AttentionRows& rows,
                              const ops::Rotation& rotation, Rows<float> queries,
                              Rows<const float> keys, Rows<const float> values,
                              const KvLayer& cache) const {
  const OpSubject subject = {.op = "rope_and_store",
                             .format = cache.dtype,
                             .in = {},
                             .rows = queries.rows,
                             .width = queries.width,
                             .outputs = keys.width + values.width};
  note(lane, subject, 0, 0,
       [&] { ops_.rope_and_store(lane, rows, rotation, queries, keys, values, cache); });
}

void Recorder::attention(Lane& lane, const ops::AttentionRows& rows,
                         const ops::AttentionShape& shape, Rows<const float> queries,
                         const KvLayer& cache, std::span<std::byte> memory, Rows<float> out) const {
  const int64_t kv_width = kv_shape(cache).elements();
  const OpSubject subject = {.op = "attention",
                             .format = cache.dtype,
                             .in = {},
                             .rows = queries.rows,
                             .width = kv_width,
                             .outputs = out.width};
  const SeenKeys seen = seen_keys(rows);
  const double bytes = as_double(seen.once * row_bytes(cache.dtype, kv_width));
  const double operations = 2 * as_double(seen.by_rows * (queries.width + out.width));
  note(lane, subject, bytes, operations,
       [&] { ops_.attention(lane, rows, shape, queries, cache, memory, out); });
}

void Recorder::route(Lane& lane, const ops::Routing& routing, Rows<float> logits,
                     Rows<float> choice, const ops::Dispatch& out) const {
  const OpSubject subject = {.op = "route",
                             .format = DType::kF32,
                             .in = {},
                             .rows = logits.rows,
                             .width = logits.width,
                             .outputs = out.chosen};
  note(lane, subject, 0, 0, [&] { ops_.route(lane, routing, logits, choice, out); });
}

void Recorder::dispatch(Lane& lane, const ops::Dispatch& dispatch) const {
  const OpSubject subject = {.op = "dispatch",
                             .format = DType::kF32,
                             .in = {},
                             .rows = dispatch.rows,
                             .width = dispatch.chosen,
                             .outputs = dispatch.chosen};
  note(lane, subject, 0, 0, [&] { ops_.dispatch(lane, dispatch); });
}

void Recorder::gather_dispatched(Lane& lane, const Activations& in, const ops::Dispatch& dispatch,
                                 const Activations& out) const {
  const OpSubject subject = {.op = "gather_dispatched",
                             .format = DType::kF32,
                             .in = in.forms,
                             .rows = in.rows,
                             .width = in.width,
                             .outputs = dispatch.chosen * out.width};
  note(lane, subject, 0, 0, [&] { ops_.gather_dispatched(lane, in, dispatch, out); });
}

void Recorder::expert_hidden(Lane& lane, const ops::ExpertHidden& hidden, const Activations& in,
                             const ops::Dispatch& dispatch, const Activations& out) const {
  const int64_t width = hidden.up->matrix.width();
  const OpSubject subject = {.op = "expert_hidden",
                             .format = hidden.up->matrix.format(),
                             .in = in.forms,
                             .rows = dispatch.all_places(),
                             .width = width,
                             .outputs = (hidden.gate == nullptr ? 1 : 2) * hidden.up->rows};
  const double operations = 2 * as_double(subject.rows * width * subject.outputs);
  const double gate_bytes = hidden.gate == nullptr ? 0 : bytes_read(*hidden.gate, dispatch);
  const double bytes = gate_bytes + bytes_read(*hidden.up, dispatch);
  note(lane, subject, bytes, operations,
       [&] { ops_.expert_hidden(lane, hidden, in, dispatch, out); });
}

void Recorder::expert_linear(Lane& lane, const ops::ExpertMatrix& weights, const Activations& in,
                             std::span<const float> bias, const ops::Dispatch& dispatch,
                             Rows<float> out) const {
  const OpSubject subject = {.op = "expert_linear",
                             .format = weights.matrix.format(),
                             .in = in.forms,
                             .rows = dispatch.all_places(),
                             .width = weights.matrix.width(),
                             .outputs = weights.rows};
  const double operations = 2 * as_double(subject.rows * subject.width * subject.outputs);
  note(lane, subject, bytes_read(weights, dispatch), operations,
       [&] { ops_.expert_linear(lane, weights, in, bias, dispatch, out); });
}

void Recorder::combine(Lane& lane, const ops::Dispatch& dispatch,
                       const ops::Combination& combination, Rows<float> outputs, ops::Store store,
                       Rows<float> out) const {
  const OpSubject subject = {.op = "combine",
                             .format = DType::kF32,
                             .in = {},
                             .rows = out.rows,
                             .width = dispatch.chosen * out.width,
                             .outputs = out.width};
  note(lane, subject, 0, 0,
       [&] { ops_.combine(lane, dispatch, combination, outputs, store, out); });
}

void Recorder::token_shift(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                           const ops::TokenShift& shift, Rows<const float> in,
                           std::span<const Activations> outs) const {
  OpSubject subject = on_rows("token_shift", in.rows, in.width);
  subject.outputs *= std::ssize(outs);
  note(lane, subject, 0, 0, [&] { ops_.token_shift(lane, rows, states, shift, in, outs); });
}

void Recorder::wkv4(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                    const ops::Wkv4& wkv, Rows<const float> keys, Rows<const float> values,
                    Rows<float> out) const {
  note(lane, on_rows("wkv4", out.rows, out.width), 0, 0,
       [&] { ops_.wkv4(lane, rows, states, wkv, keys, values, out); });
}

void Recorder::rg_lru(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                      const ops::RgLru& unit, Rows<const float> in, Rows<const float> input_gates,
                      Rows<const float> recurrence_gates, Rows<float> out) const {
  note(lane, on_rows("rg_lru", out.rows, out.width), 0, 0,
       [&] { ops_.rg_lru(lane, rows, states, unit, in, input_gates, recurrence_gates, out); });
}

void Recorder::delta_inputs(Lane& lane, const ops::DeltaInputs& inputs,
                            const ops::DeltaRows& rows) const {
  note(lane, on_rows("delta_inputs", rows.keys.rows, rows.keys.width), 0, 0,
       [&] { ops_.delta_inputs(lane, inputs, rows); });
}

void Recorder::add_head_bonus(Lane& lane, const ops::HeadBonus& bonus, Rows<const float> queries,
                              Rows<const float> keys, Rows<const float> values,
                              Rows<float> out) const {
  note(lane, on_rows("add_head_bonus", out.rows, out.width), 0, 0,
       [&] { ops_.add_head_bonus(lane, bonus, queries, keys, values, out); });
}

void Recorder::causal_conv(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                           const ops::CausalConv& conv, Rows<const float> in,
                           Rows<float> out) const {
  const double products = as_double(std::ssize(conv.weight) * in.rows);
  note(lane, on_states("causal_conv", in.rows, in.width, out.width), 0, 2 * products,
       [&] { ops_.causal_conv(lane, rows, states, conv, in, out); });
}

void Recorder::gate(Lane& lane, Rows<const float> in, const ElementFunction& function,
                    Rows<const float> gates, Rows<float> out) const {
  note(lane, on_rows("gate", out.rows, out.width), 0, 0,
       [&] { ops_.gate(lane, in, function, gates, out); });
}

void Recorder::gather_columns(Lane& lane, Rows<const float> in, std::span<const int32_t> columns,
                              Rows<float> out) const {
  note(lane, on_rows("gather_columns", out.rows, out.width), 0, 0,
       [&] { ops_.gather_columns(lane, in, columns, out); });
}

void Recorder::norm_heads(Lane& lane, Rows<float> rows, int64_t heads,
                          const ops::Norm& norm) const {
  note(lane, on_rows("norm_heads", rows.rows, rows.width), 0, 0,
       [&] { ops_.norm_heads(lane, rows, heads, norm); });
}

void Recorder::rotate(Lane& lane, const ops::Rotation& rotation, int64_t head_dim,
                      Rows<float> rows) const {
  note(lane, on_rows("rotate", rows.rows, rows.width), 0, 0,
       [&] { ops_.rotate(lane, rotation, head_dim, rows); });
}

void Recorder::time_steps(Lane& lane, const ops::TimeSteps& time_steps, Rows<const float> in,
                          Rows<float> steps, Rows<float> decays) const {
  note(lane, on_rows("time_steps", in.rows, in.width), 0, 0,
       [&] { ops_.time_steps(lane, time_steps, in, steps, decays); });
}

void Recorder::matrix_scan(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                           const ops::MatrixScan& scan, const ops::MatrixScanRows& in,
                           Rows<float> out) const {
  using enum ops::MatrixScan::Rule;
  const OpSubject subject = on_states("matrix_scan", out.rows, scan.key_dim, out.width);
  const bool reads = scan.rule == kDelta || scan.rule == kPair;  // the state once more
  const double products = as_double(scan.state_floats() * out.rows * (reads ? 4 : 3));
  note(lane, subject, state_bytes(rows, scan.state_floats()), 2 * products,
       [&] { ops_.matrix_scan(lane, rows, states, scan, in, out); });
}

void Recorder::selective_scan(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                              const ops::SelectiveScan& scan, const ops::SelectiveScanRows& in,
                              Rows<float> out) const {
  const OpSubject subject = on_states("selective_scan", out.rows, scan.state_dim, out.width);
  const int64_t floats = scan.state_dim * out.width;
  note(lane, subject, state_bytes(rows, floats), 6 * as_double(floats * out.rows),
       [&] { ops_.selective_scan(lane, rows, states, scan, in, out); });
}

}  // namespace millrace
