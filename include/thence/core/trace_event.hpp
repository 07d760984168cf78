// SPDX-License-Identifier: MIT
// trace_event.hpp: one event of a trace as everything behind the hot path sees it, and the sinks that take it.
//
// A session decodes raw events into `TraceEvent`s: times in nanoseconds, lanes named, stacks numbered for the whole
// session. Readers of files produce the same. Whatever consumes them (a file format, a model in memory, a host's
// callback) is an `EventSink`; live recording, `convert` and analysis thus share one path.
//
// The order a sink may rely on: begin first; the definition of a lane, type, counter or stack before its first use; events
// in order of time, but for those marked `late`, which a preempted thread published after their neighbours had gone;
// kRootSealed after every event of that root; end last.
// Layer: core (includes config/ only).
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A typed value; `text` is only meaningful for kString and valid as long as the event is.
struct Value {
  ValueKind kind = ValueKind::kString;
  bool cut = false;  ///< a string that was longer than a record may be
  union {
    std::int64_t integer = 0;
    std::uint64_t uinteger;
    double real;
    bool boolean;
  };
  std::string_view text = {};

  [[nodiscard]] static constexpr Value of(std::string_view text, bool cut = false) noexcept {
    Value value;
    value.text = text;
    value.cut = cut;
    return value;
  }
  [[nodiscard]] static constexpr Value of(const char* text) noexcept { return of(std::string_view(text)); }
  [[nodiscard]] static constexpr Value of(std::int64_t integer) noexcept {
    Value value;
    value.kind = ValueKind::kInt;
    value.integer = integer;
    return value;
  }
  [[nodiscard]] static constexpr Value of(std::uint64_t integer) noexcept {
    Value value;
    value.kind = ValueKind::kUint;
    value.uinteger = integer;
    return value;
  }
  [[nodiscard]] static constexpr Value of(double real) noexcept {
    Value value;
    value.kind = ValueKind::kDouble;
    value.real = real;
    return value;
  }
  [[nodiscard]] static constexpr Value of(bool boolean) noexcept {
    Value value;
    value.kind = ValueKind::kBool;
    value.boolean = boolean;
    return value;
  }
};

struct Annotation {
  std::string_view key;
  Value value;
};

/// What a ring refused: how many events, and when the first and the last of them would have been.
struct LossRange {
  std::uint64_t count = 0;
  Timestamp first = {};
  Timestamp last = {};

  constexpr void add(const LossRange& more) noexcept {
    if (more.count == 0) return;
    first = count == 0 || more.first < first ? more.first : first;
    last = count == 0 || more.last > last ? more.last : last;
    count += more.count;
  }
};

/// The fields mean what EventKind says of each kind; those that a kind does not use are zero or null.
struct TraceEvent {
  Timestamp time = {};
  ResourceId resource = ResourceId::kNone;
  ResourceId other = ResourceId::kNone;
  RootId root = RootId::kNone;
  LaneId lane = LaneId::kNone;
  StackId stack = StackId::kNone;
  TypeId type = {};
  EventKind kind = EventKind::kPayload;
  std::uint8_t flags = 0;
  bool late = false;                       ///< older than an event that was handed over before it
  CounterId counter = CounterId::kNone;    ///< kCounter
  const Annotation* annotation = nullptr;  ///< kAnnotated: key and value. kCounter: value, key empty
  const LossRange* loss = nullptr;         ///< kLost

  [[nodiscard]] constexpr Outcome outcome() const noexcept { return static_cast<Outcome>(flags & 0xf); }
  [[nodiscard]] constexpr Actor settled_by() const noexcept { return static_cast<Actor>(flags >> 4); }
  [[nodiscard]] constexpr Actor scheduled_by() const noexcept { return static_cast<Actor>(flags); }
  [[nodiscard]] constexpr CauseKind cause() const noexcept { return static_cast<CauseKind>(flags); }
  [[nodiscard]] constexpr LinkKind link() const noexcept { return static_cast<LinkKind>(flags); }
  [[nodiscard]] constexpr SealReason seal_reason() const noexcept { return static_cast<SealReason>(flags); }
  [[nodiscard]] constexpr SampleKind sample() const noexcept { return static_cast<SampleKind>(flags); }
  /// kPauseBegan, kPauseEnded: which pause (it stands in the resource field).
  [[nodiscard]] constexpr PauseKind pause() const noexcept { return static_cast<PauseKind>(number(resource)); }
};

struct LaneInfo {
  LaneId id = LaneId::kNone;
  std::int32_t process_id = 0;
  std::int32_t thread_id = 0;
  std::string_view name;
};

/// kNative: pc, and module + build id + relative pc; function only once symbolised. kScript, kSource: function, file, line.
enum class FrameKind : std::uint8_t { kNative = 0, kScript = 1, kSource = 2 };

struct FrameInfo {
  FrameKind kind = FrameKind::kSource;
  std::string_view function;  ///< empty = unknown
  std::string_view file;      ///< script url, source file, or module path of a native frame
  std::uint32_t line = 0;     ///< from 1; 0 = unknown
  std::uint32_t column = 0;   ///< from 1; 0 = unknown
  std::uint64_t pc = 0;       ///< native: absolute
  std::uint64_t relative_pc = 0;
  std::string_view build_id;  ///< hexadecimal; empty = unknown
};

/// Innermost frame first.
struct StackInfo {
  StackId id = StackId::kNone;
  View<const FrameInfo> frames;
};

/// One moment read on several clocks, all in nanoseconds.
struct ClockSnapshot {
  std::uint64_t boottime = 0;
  std::uint64_t monotonic = 0;
  std::uint64_t realtime = 0;
};

/// What a trace is a trace of. `salt` makes its small ids unique among processes and files.
struct TraceInfo {
  std::uint64_t salt = 0;
  std::int32_t process_id = 0;
  std::string_view process_name;
  std::string_view overflow_policy;  ///< the ring's: a reader learns what was dropped
  std::string_view clock;            ///< "tsc", "boottime", "manual" ...
  std::string_view sampling;         ///< "all", "one in 100", "by header" ...
};

/// What a lane could not do as asked. None of it is undefined behaviour, all of it is counted.
struct MisuseCounts {
  std::uint64_t exit_without_enter = 0;
  std::uint64_t exits_crossed = 0;     ///< not the innermost; right for coroutines and fibers, and split in the trace
  std::uint64_t too_deep = 0;          ///< nesting beyond the current-resource stack
  std::uint64_t annotations_cut = 0;
  std::uint64_t stacks_refused = 0;    ///< the stack table was full: the event bears no stack
  std::uint64_t roots_ends_lost = 0;   ///< even the ring's reserve was full: the root is closed as abandoned
};

struct LaneSummary {
  LaneId lane = LaneId::kNone;
  std::uint64_t events = 0;  ///< handed to the sinks
  LossRange lost;
  MisuseCounts misuse;
  std::uint64_t ring_bytes = 0;
};

/// thence's own cost and the session's losses; the last word of a trace.
struct TraceSummary {
  View<const LaneSummary> lanes;
  std::uint64_t events = 0;
  std::uint64_t lost = 0;
  std::uint64_t late_events = 0;     ///< out of order, handed over all the same
  std::uint64_t after_seal = 0;      ///< of roots that were sealed: counted, not kept
  std::uint64_t roots_sealed = 0;
  std::uint64_t roots_abandoned = 0;
  std::uint64_t drain_ns = 0;        ///< time spent draining, all lanes
  std::uint64_t bytes_written = 0;   ///< by all sinks, as far as known when this was made
};

/// Takes a trace, event by event. All calls come from one thread at a time. Views are valid during the call only.
template <class S>
concept EventSink = requires(S& sink, const TraceInfo& trace, const LaneInfo& lane, TypeId type, CounterId counter,
                             std::string_view text, const StackInfo& stack, const ClockSnapshot& clock,
                             View<const TraceEvent> events, const TraceSummary& summary) {
  sink.begin(trace);
  sink.define_lane(lane);
  sink.define_type(type, text);
  sink.define_counter(counter, text, text);  // name, unit
  sink.define_stack(stack);
  sink.synchronise(clock);
  sink.take(events);
  sink.flush();
  sink.end(summary);
};

/// Takes a trace and does nothing with it: what a sink that wants a part of it only derives from.
struct IgnoringSink {
  void begin(const TraceInfo&) {}
  void define_lane(const LaneInfo&) {}
  void define_type(TypeId, std::string_view) {}
  void define_counter(CounterId, std::string_view, std::string_view) {}
  void define_stack(const StackInfo&) {}
  void synchronise(const ClockSnapshot&) {}
  void take(View<const TraceEvent>) {}
  void flush() {}
  void end(const TraceSummary&) {}
};
static_assert(EventSink<IgnoringSink>);

}  // namespace THENCE_ABI
}  // namespace thence
