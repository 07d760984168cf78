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
// The sinks are templates, so that whoever includes this and uses one does not compile the others; that each is an EventSink
// is asserted in their test, for the same reason. All that write Perfetto's format share one encoder (ByteSinkRef), so that
// whoever uses several compiles it once.
// Layer: session (includes formats/, core/).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/loss_by_lane.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/session/callback_bytes.hpp"
#include "thence/session/file_bytes.hpp"
#include "thence/session/rotating_files.hpp"
#include "thence/wire/byte_sink.hpp"

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
  void take(View<const TraceEvent> events) { state_->encoder.take(events); }
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

/// The encoder is a parameter, so that it is compiled where a sink is used.
template <class Bytes, class Encoder = PerfettoEncoder<ByteSinkRef>>
struct PerfettoState {
  PerfettoState(Bytes all, const PerfettoOptions& options) : bytes(std::move(all)), sink(bytes), encoder(sink, options) {}
  Bytes bytes;
  ByteSinkRef sink;
  Encoder encoder;
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
template <class Bytes>
class BasicPerfettoFile : public PerfettoStream<Bytes> {
 public:
  explicit BasicPerfettoFile(std::string path, const PerfettoOptions& options = {}) : PerfettoStream<Bytes>(Bytes(std::move(path)), options) {}
};
using PerfettoFile = BasicPerfettoFile<FileBytes>;

namespace detail {

template <class Files, class Encoder = PerfettoEncoder<ByteSinkRef>>
struct RotatingState {
  RotatingState(std::string stem, const RotationOptions& rotation, const PerfettoOptions& options)
      : bytes(std::move(stem), rotation), sink(bytes), encoder(sink, options) {}
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
  Files bytes;
  ByteSinkRef sink;
  Encoder encoder;
  std::uint64_t began = 0;
};

}  // namespace detail

/// A row of `.pftrace` files within a byte budget: `<stem>-000001.pftrace` and so on, the active one under
/// `<stem>.active.pftrace`. Each can be read by itself; all of them by `cat`. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as PerfettoEncoder; names and descriptors again in each file
///   When full see RotationOptions
///   Errors    failure() says which file could not be written and why; those before it are whole. The trace then ends.
template <class Files>
class BasicPerfettoFiles : public detail::EncodingSink<detail::RotatingState<Files>> {
  using State = detail::RotatingState<Files>;
  using detail::EncodingSink<State>::state_;

 public:
  explicit BasicPerfettoFiles(std::string stem, const RotationOptions& rotation = {}, const PerfettoOptions& options = {})
      : detail::EncodingSink<State>(std::make_unique<State>(std::move(stem), rotation, options)) {}

  void synchronise(const ClockSnapshot& clock) {
    state_->reach(clock.boottime);
    state_->encoder.synchronise(clock);
  }
  void take(View<const TraceEvent> events) {
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
using PerfettoFiles = BasicPerfettoFiles<RotatingFiles>;

namespace detail {

template <class Chunks>
struct ChunkState : PerfettoState<Chunks> {
  using PerfettoState<Chunks>::PerfettoState;
  using PerfettoState<Chunks>::bytes;
  using PerfettoState<Chunks>::encoder;
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
template <class Chunks>
class BasicPerfettoChunks : public detail::EncodingSink<detail::ChunkState<Chunks>> {
  using State = detail::ChunkState<Chunks>;
  using detail::EncodingSink<State>::state_;

 public:
  explicit BasicPerfettoChunks(Chunks bytes, const PerfettoOptions& options = {})
      : detail::EncodingSink<State>(std::make_unique<State>(std::move(bytes), options)) {}

  void synchronise(const ClockSnapshot& clock) {
    if (!state_->behind) state_->encoder.synchronise(clock);
  }
  void take(View<const TraceEvent> events) {
    State& state = *state_;
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
    State& state = *state_;
    if (state.behind) state.go_on();
    detail::Vector<LaneSummary> lanes;
    for (const LaneSummary& lane : summary.lanes) lanes.push_back(lane);
    TraceSummary told = summary;
    for (const LossByLane::Lost& lost : state.lost_in_all.all()) {
      told.lost += lost.range.count;
      for (LaneSummary& lane : lanes) {
        if (lane.lane == lost.lane) lane.lost.add(lost.range);
      }
    }
    told.lanes = lanes;
    state.encoder.end(told);
    static_cast<void>(state.bytes.flush());
    state.bytes.give_up();
  }
};
using PerfettoChunks = BasicPerfettoChunks<ChunkBytes>;

namespace detail {

struct JsonFiles {
  /// A document: a file whose failure outlives it.
  struct Document {
    FileBytes bytes;
    std::string* failure;
    [[nodiscard]] bool write(View<const std::byte> piece) { return noted(bytes.write(piece)); }
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

template <class Files>
struct JsonFolderState {
  JsonFolderState(std::string folder, const JsonOptions& options) : files{std::move(folder), {}}, encoder(files, options) {
    static_cast<void>(::mkdir(files.folder.c_str(), 0777));
  }
  Files files;
  JsonEncoder<Files> encoder;
};

}  // namespace detail

/// One JSON document a request in a folder: `request-<n>.json`, numbered in the order in which the requests began; with
/// JsonOptions::write_rootless what belonged to none as `request-0.json`. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as JsonEncoder; a file a request
///   Errors    failure() names the first document that could not be written. Those before it are whole.
template <class Files>
class BasicJsonFolder : public detail::EncodingSink<detail::JsonFolderState<Files>> {
  using State = detail::JsonFolderState<Files>;
  using detail::EncodingSink<State>::state_;

 public:
  /// The folder is made if it is not there (not its parents).
  explicit BasicJsonFolder(std::string folder, const JsonOptions& options = {})
      : detail::EncodingSink<State>(std::make_unique<State>(std::move(folder), options)) {}

  void flush() { state_->encoder.flush(); }
  void end(const TraceSummary& summary) { state_->encoder.end(summary); }
  [[nodiscard]] std::string_view failure() const { return state_->files.failure; }
  [[nodiscard]] std::uint64_t bytes_written() const { return state_->encoder.bytes_written(); }
};
using JsonFolder = BasicJsonFolder<detail::JsonFiles>;

}  // namespace THENCE_ABI
}  // namespace thence
