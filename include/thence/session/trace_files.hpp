// SPDX-License-Identifier: MIT
// trace_files.hpp: the sinks that a host adds to a session: a trace into a file, a descriptor, a callback; a folder of JSON.
//
//   session.add_sink(PerfettoFile{"trace.pftrace"});
//   session.add_sink(PerfettoStream{FileBytes{socket, "upload"}});
//   session.add_sink(PerfettoStream{CallbackBytes{[](std::span<const std::byte> piece) { return send(piece); }}});
//   session.add_sink(PerfettoFiles{"out/trace", {.max_file_bytes = 8 << 20, .max_total_bytes = 64 << 20}});
//   session.add_sink(PerfettoChunks{ChunkBytes{[](std::uint64_t number, std::span<const std::byte> chunk) { ... }}});
//   session.add_sink(JsonFolder{"out"});                    // out/request-1.json, out/request-2.json, ...
//
// Layer: session (includes formats/, core/).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/perfetto/perfetto_sink.hpp"
#include "thence/session/callback_bytes.hpp"
#include "thence/session/file_bytes.hpp"
#include "thence/session/rotating_files.hpp"

namespace thence {
inline namespace THENCE_ABI {

namespace detail {

/// What the sinks below have in common: an encoder and its bytes, which stay where they are when the sink is moved.
template <class State>
class EncodingSink {
 public:
  void begin(const TraceInfo& trace) { state_->encoder.begin(trace); }
  void define_lane(const LaneInfo& lane) { state_->encoder.define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { state_->encoder.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    state_->encoder.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) { state_->encoder.define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) { state_->encoder.synchronise(clock); }
  void take(std::span<const TraceEvent> events) { state_->encoder.take(events); }
  void flush() {
    state_->encoder.flush();
    static_cast<void>(state_->bytes.flush());
  }
  [[nodiscard]] std::string_view failure() const { return state_->bytes.failure(); }
  [[nodiscard]] std::uint64_t bytes_written() const { return state_->bytes.bytes_written(); }

 protected:
  explicit EncodingSink(std::unique_ptr<State> state) : state_(std::move(state)) {}
  std::unique_ptr<State> state_;
};

template <class Bytes>
struct PerfettoState {
  PerfettoState(Bytes all, const PerfettoOptions& options) : bytes(std::move(all)), encoder(bytes, options) {}
  Bytes bytes;
  PerfettoEncoder<Bytes> encoder;
};

/// Which events a sink has lost, by lane.
class LossByLane {
 public:
  struct Lost {
    LaneId lane = LaneId::kNone;
    LossRange range;
  };
  void add(LaneId lane, const LossRange& more) {
    for (Lost& known : all_) {
      if (known.lane == lane) return join(known.range, more);
    }
    all_.push_back({lane, more});
  }
  static void join(LossRange& to, const LossRange& more) noexcept {
    if (to.count == 0) {
      to = more;
      return;
    }
    to.count += more.count;
    to.first = std::min(to.first, more.first);
    to.last = std::max(to.last, more.last);
  }
  [[nodiscard]] const std::vector<Lost>& all() const noexcept { return all_; }
  void clear() noexcept { all_.clear(); }

 private:
  std::vector<Lost> all_;
};

}  // namespace detail

/// Writes one Perfetto trace into bytes that it owns. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as PerfettoEncoder; a system call a buffer, and one a drain
///   Errors    failure() says which bytes could not be written and why; what was written before stays readable
template <class Bytes>
class PerfettoStream : public detail::EncodingSink<detail::PerfettoState<Bytes>> {
  using Base = detail::EncodingSink<detail::PerfettoState<Bytes>>;

 public:
  explicit PerfettoStream(Bytes bytes, const PerfettoOptions& options = {})
      : Base(std::make_unique<detail::PerfettoState<Bytes>>(std::move(bytes), options)) {}

  void end(const TraceSummary& summary) {
    this->state_->encoder.end(summary);
    static_cast<void>(this->state_->bytes.flush());
  }
};

/// One `.pftrace`, created or replaced.
class PerfettoFile : public PerfettoStream<FileBytes> {
 public:
  explicit PerfettoFile(std::string path, const PerfettoOptions& options = {})
      : PerfettoStream(FileBytes(std::move(path)), options) {}
};
static_assert(EventSink<PerfettoFile>);

namespace detail {

struct RotatingState {
  RotatingState(std::string stem, const RotationOptions& rotation, const PerfettoOptions& options)
      : bytes(std::move(stem), rotation), encoder(bytes, options) {}
  /// Seals the active file if that is due at `time`.
  void reach(std::uint64_t time) {
    const RotationOptions& limits = bytes.options();
    const std::uint64_t written = bytes.active_bytes() + encoder.bytes_waiting();
    if (written == 0 || began == 0) began = time;
    const bool large = written + limits.max_file_bytes / 8 >= limits.max_file_bytes;
    const bool old = limits.max_file_ns != 0 && time > began && time - began >= limits.max_file_ns;
    if (written == 0 || (!large && !old)) return;
    encoder.restart();
    bytes.seal();
    began = time;
  }
  RotatingFiles bytes;
  PerfettoEncoder<RotatingFiles> encoder;
  std::uint64_t began = 0;
};

}  // namespace detail

/// A row of `.pftrace` files within a byte budget: `<stem>-000001.pftrace` and so on, the active one under
/// `<stem>.active.pftrace`. Each can be read by itself; all of them by `cat`. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as PerfettoEncoder; names and descriptors again in each file
///   When full see RotationOptions
///   Errors    failure() says which file could not be written and why; those before it are whole. The trace then ends.
class PerfettoFiles : public detail::EncodingSink<detail::RotatingState> {
 public:
  explicit PerfettoFiles(std::string stem, const RotationOptions& rotation = {}, const PerfettoOptions& options = {})
      : EncodingSink(std::make_unique<detail::RotatingState>(std::move(stem), rotation, options)) {}

  void synchronise(const ClockSnapshot& clock) {
    state_->reach(clock.boottime);
    state_->encoder.synchronise(clock);
  }
  void take(std::span<const TraceEvent> events) {
    // In pieces that are small beside a file.
    while (!events.empty()) {
      const std::size_t count = std::min<std::size_t>(events.size(), 64);
      state_->reach(ns_of(events.front().time));
      state_->encoder.take(events.first(count));
      events = events.subspan(count);
    }
  }
  void end(const TraceSummary& summary) {
    state_->encoder.end(summary);
    state_->bytes.seal();
  }
};
static_assert(EventSink<PerfettoFiles>);

namespace detail {

struct ChunkState : PerfettoState<ChunkBytes> {
  using PerfettoState::PerfettoState;
  void lose(const TraceEvent& event) {
    if (event.kind == EventKind::kRootSealed) {  // its memory is given back; what it says goes to those who come late
      if (bytes.overfull()) lose_one(event);
      encoder.take({&event, 1});
      encoder.flush();
    } else if (event.kind == EventKind::kLost) {
      if (event.loss != nullptr) lost.add(event.lane, *event.loss);
    } else {
      lose_one(event);
    }
  }
  void lose_one(const TraceEvent& event) {
    lost.add(event.lane, {1, event.time, event.time});
    lost_in_all.add(event.lane, {1, event.time, event.time});
  }
  void go_on() {
    behind = false;
    encoder.restart_after_loss();
    for (const LossByLane::Lost& one : lost.all()) {
      TraceEvent event;
      event.kind = EventKind::kLost;
      event.lane = one.lane;
      event.time = one.range.first;
      event.loss = &one.range;
      encoder.take({&event, 1});
    }
    lost.clear();
  }
  LossByLane lost;         // since the host fell behind
  LossByLane lost_in_all;  // by this sink, not by the rings
  bool behind = false;
};

}  // namespace detail

/// One Perfetto trace in chunks, for a host that sends it on while it is made, and may be busy. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as PerfettoEncoder; a chunk for each batch of events, of whole packets
///   When full the host is behind by ChunkBytes' bound: events are lost, as in a full ring, until it has taken all; the
///             trace says of each lane how many, and when.
///   Errors    failure(); what was taken before stays readable
class PerfettoChunks : public detail::EncodingSink<detail::ChunkState> {
 public:
  explicit PerfettoChunks(ChunkBytes bytes, PerfettoOptions options = {})
      : EncodingSink(std::make_unique<detail::ChunkState>(std::move(bytes), options)) {}

  void synchronise(const ClockSnapshot& clock) {
    if (!state_->behind) state_->encoder.synchronise(clock);
  }
  void take(std::span<const TraceEvent> events) {
    detail::ChunkState& state = *state_;
    static_cast<void>(state.bytes.flush());
    if (state.behind ? state.bytes.waiting_bytes() != 0 : state.bytes.full()) {
      state.behind = true;
      for (const TraceEvent& event : events) state.lose(event);
      return;
    }
    if (state.behind) state.go_on();
    state.encoder.take(events);
    state.encoder.flush();
  }
  void end(const TraceSummary& summary) {
    detail::ChunkState& state = *state_;
    if (state.behind) state.go_on();
    std::vector<LaneSummary> lanes(summary.lanes.begin(), summary.lanes.end());
    TraceSummary told = summary;
    for (const detail::LossByLane::Lost& lost : state.lost_in_all.all()) {
      told.lost += lost.range.count;
      for (LaneSummary& lane : lanes) {
        if (lane.lane == lost.lane) detail::LossByLane::join(lane.lost, lost.range);
      }
    }
    told.lanes = lanes;
    state.encoder.end(told);
    static_cast<void>(state.bytes.flush());
    state.bytes.give_up();
  }
};
static_assert(EventSink<PerfettoChunks>);

namespace detail {

struct JsonFiles {
  /// A document: a file whose failure outlives it.
  struct Document {
    FileBytes bytes;
    std::string* failure;
    [[nodiscard]] bool write(std::span<const std::byte> piece) { return noted(bytes.write(piece)); }
    [[nodiscard]] bool finish() { return noted(bytes.flush()); }
    bool noted(bool good) {
      if (!good && failure->empty()) *failure = bytes.failure();
      return good;
    }
  };
  Document open(RootId, std::uint64_t ordinal) {
    return {FileBytes(folder + "/request-" + std::to_string(ordinal) + ".json"), &failure};
  }
  std::string folder;
  std::string failure;
};

struct JsonFolderState {
  JsonFolderState(std::string folder, const JsonOptions& options) : files{std::move(folder), {}}, encoder(files, options) {
    static_cast<void>(::mkdir(files.folder.c_str(), 0777));
  }
  JsonFiles files;
  JsonEncoder<JsonFiles> encoder;
};

}  // namespace detail

/// One JSON document a request in a folder: `request-<n>.json`, numbered in the order in which the requests began; with
/// JsonOptions::write_rootless what belonged to none as `request-0.json`. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as JsonEncoder; a file a request
///   Errors    failure() names the first document that could not be written. Those before it are whole.
class JsonFolder : public detail::EncodingSink<detail::JsonFolderState> {
 public:
  /// The folder is made if it is not there (not its parents).
  explicit JsonFolder(std::string folder, const JsonOptions& options = {})
      : EncodingSink(std::make_unique<detail::JsonFolderState>(std::move(folder), options)) {}

  void flush() { state_->encoder.flush(); }
  void end(const TraceSummary& summary) { state_->encoder.end(summary); }
  [[nodiscard]] std::string_view failure() const { return state_->files.failure; }
  [[nodiscard]] std::uint64_t bytes_written() const { return state_->encoder.bytes_written(); }
};
static_assert(EventSink<JsonFolder>);

}  // namespace THENCE_ABI
}  // namespace thence
