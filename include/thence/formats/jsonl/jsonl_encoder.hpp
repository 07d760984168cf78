// SPDX-License-Identifier: MIT
// jsonl_encoder.hpp: a trace as lines of JSON, one event a line, with all that the events say.
//
// For jq, for a log pipeline, for a script: nothing has to be held in memory to understand a line but the names of stacks
// (a number, defined by a line of its own before its first use). docs/exports.md and docs/events.schema.json say
// what each line holds. Integers are written digit for digit: a reader that keeps numbers as doubles loses the last digits
// of a time beyond 2^53 ns.
//   JsonlEncoder encoder{sink};          // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/event_words.hpp"
#include "thence/formats/json_line.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct JsonlOptions {
  /// Bytes put together before the sink is called.
  std::size_t chunk_bytes = 64 * 1024;
};

/// Writes one line an event, and one a definition.
///   Shape     the names of lanes, types and counters.
///   Threads   one at a time.
///   Cost      O(bytes) an event; no allocation in the steady state.
///   When full the sink says so: failed(); what comes after is dropped.
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it; flush or end before the sink is used.
template <ByteSink Sink>
class JsonlEncoder {
 public:
  static constexpr int kFormatVersion = 1;

  explicit JsonlEncoder(Sink& sink, const JsonlOptions& options = {}) : gate_(sink), chunk_(options.chunk_bytes) {}
  JsonlEncoder(const JsonlEncoder&) = delete;
  JsonlEncoder& operator=(const JsonlEncoder&) = delete;

  void begin(const TraceInfo& info) {
    JsonLine line{out_};
    line.begin();
    line.text("event", "trace");
    line.number("version", kFormatVersion);
    line.hexadecimal("salt", info.salt);
    if (info.process_id != 0) line.number("process_id", info.process_id);
    if (!info.process_name.empty()) line.text("process_name", info.process_name);
    if (!info.clock.empty()) line.text("clock", info.clock);
    if (!info.overflow_policy.empty()) line.text("overflow_policy", info.overflow_policy);
    if (!info.sampling.empty()) line.text("sampling", info.sampling);
    finish(line);
  }
  void define_lane(const LaneInfo& lane) {
    names_.define_lane(lane);
    JsonLine line{out_};
    line.begin();
    line.text("event", "lane");
    line.number("lane", number(lane.id));
    if (lane.process_id != 0) line.number("process_id", lane.process_id);
    if (lane.thread_id != 0) line.number("thread_id", lane.thread_id);
    if (!lane.name.empty()) line.text("name", lane.name);
    finish(line);
  }
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    names_.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) {
    JsonLine line{out_};
    line.begin();
    line.text("event", "stack");
    line.number("stack", number(stack.id));
    line.begin_array("frames");
    bool first = true;
    for (const FrameInfo& frame : stack.frames) {
      if (!first) out_.push(std::byte{','});
      first = false;
      JsonLine element{out_};
      element.begin();
      element.text("kind", word(frame.kind));
      if (!frame.function.empty()) element.text("function", frame.function);
      if (!frame.file.empty()) element.text("file", frame.file);
      if (frame.line != 0) element.number("line", frame.line);
      if (frame.column != 0) element.number("column", frame.column);
      if (frame.kind == FrameKind::kNative) {
        element.hexadecimal("pc", frame.pc);
        element.hexadecimal("relative_pc", frame.relative_pc);
        if (!frame.build_id.empty()) element.text("build_id", frame.build_id);
      }
      element.end();
    }
    line.end_array();
    finish(line);
  }
  void synchronise(const ClockSnapshot& clock) {
    JsonLine line{out_};
    line.begin();
    line.text("event", "clock");
    if (clock.boottime != 0) line.number("boottime", clock.boottime);
    if (clock.monotonic != 0) line.number("monotonic", clock.monotonic);
    if (clock.realtime != 0) line.number("realtime", clock.realtime);
    finish(line);
  }

  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) {
      JsonLine line{out_};
      put(line, event);
      finish(line);
    }
  }

  void flush() {
    gate_.write(out_.bytes());
    out_.clear();
  }

  void end(const TraceSummary& summary) {
    JsonLine line{out_};
    line.begin();
    line.text("event", "summary");
    line.number("events", summary.events);
    line.number("lost", summary.lost);
    line.number("late_events", summary.late_events);
    line.number("after_seal", summary.after_seal);
    line.number("roots_sealed", summary.roots_sealed);
    line.number("roots_abandoned", summary.roots_abandoned);
    line.number("drain_ns", summary.drain_ns);
    line.number("bytes_written", summary.bytes_written);
    line.begin_array("lanes");
    bool first = true;
    for (const LaneSummary& lane : summary.lanes) {
      if (!first) out_.push(std::byte{','});
      first = false;
      JsonLine element{out_};
      element.begin();
      element.number("lane", number(lane.lane));
      element.number("events", lane.events);
      element.number("lost", lane.lost.count);
      if (lane.lost.count != 0) {
        element.number("first_lost", ns_of(lane.lost.first));
        element.number("last_lost", ns_of(lane.lost.last));
      }
      element.number("ring_bytes", lane.ring_bytes);
      element.number("exit_without_enter", lane.misuse.exit_without_enter);
      element.number("exits_crossed", lane.misuse.exits_crossed);
      element.number("too_deep", lane.misuse.too_deep);
      element.number("annotations_cut", lane.misuse.annotations_cut);
      element.number("stacks_refused", lane.misuse.stacks_refused);
      element.number("root_ends_lost", lane.misuse.roots_ends_lost);
      element.end();
    }
    line.end_array();
    finish(line);
    flush();
  }

  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return gate_.written(); }

 private:
  void put(JsonLine& line, const TraceEvent& event) const {
    line.begin();
    line.text("event", word(event.kind));
    line.number("time", ns_of(event.time));
    if (event.lane != LaneId::kNone) line.number("lane", number(event.lane));
    if (event.root != RootId::kNone) line.number("root", number(event.root));
    switch (event.kind) {
      case EventKind::kCreated:
        resource(line, event);
        line.text("type", names_.type(event.type));
        other(line, "trigger", event);
        if (event.stack != StackId::kNone) line.number("stack", number(event.stack));
        break;
      case EventKind::kScheduled:
        resource(line, event);
        line.text("by", word(event.scheduled_by()));
        other(line, "waker", event);
        break;
      case EventKind::kEntered:
        resource(line, event);
        if (event.cause() != CauseKind::kUnspecified) line.text("cause", word(event.cause()));
        other(line, "cause_by", event);
        if (event.stack != StackId::kNone) line.number("stack", number(event.stack));
        break;
      case EventKind::kSettled:
        resource(line, event);
        line.text("outcome", word(event.outcome()));
        line.text("by", word(event.settled_by()));
        other(line, "settler", event);
        break;
      case EventKind::kLinked:
        resource(line, event);
        line.text("link", word(event.link()));
        other(line, "link_cause", event);
        break;
      case EventKind::kAnnotated:
        resource(line, event);
        if (event.annotation != nullptr) {
          line.text("key", event.annotation->key);
          line.text("value_kind", word(event.annotation->value.kind));
          line.value("value", event.annotation->value);
          if (event.annotation->value.cut) line.boolean("cut", true);
        }
        break;
      case EventKind::kCounter: {
        const TraceNames::Counter* counter = names_.counter(event.counter);
        line.number("counter", number(event.counter));
        if (counter != nullptr && !counter->name.empty()) line.text("name", counter->name);
        if (counter != nullptr && !counter->unit.empty()) line.text("unit", counter->unit);
        if (event.annotation != nullptr) {
          line.text("value_kind", word(event.annotation->value.kind));
          line.value("value", event.annotation->value);
        }
        break;
      }
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded: line.text("pause", word(event.pause())); break;
      case EventKind::kRootSealed: line.text("reason", word(event.seal_reason())); break;
      case EventKind::kLost:
        if (event.loss != nullptr) {
          line.number("count", event.loss->count);
          line.number("first", ns_of(event.loss->first));
          line.number("last", ns_of(event.loss->last));
        }
        break;
      case EventKind::kSample:
        resource(line, event);
        line.text("sample", word(event.sample()));
        if (event.stack != StackId::kNone) line.number("stack", number(event.stack));
        break;
      case EventKind::kExited:
      case EventKind::kDestroyed:
      case EventKind::kRootFinished:
      case EventKind::kParked:
      case EventKind::kUnparked:
      case EventKind::kPayload: resource(line, event); break;
    }
    if (event.late) line.boolean("late", true);
  }
  static void resource(JsonLine& line, const TraceEvent& event) {
    if (event.resource != ResourceId::kNone) line.number("resource", number(event.resource));
  }
  static void other(JsonLine& line, std::string_view key, const TraceEvent& event) {
    if (event.other != ResourceId::kNone) line.number(key, number(event.other));
  }
  void finish(JsonLine& line) {
    line.end();
    out_.push(std::byte{'\n'});
    if (out_.size() >= chunk_) [[unlikely]] flush();
  }

  SinkGate<Sink> gate_;
  ByteBuffer out_;
  std::size_t chunk_;
  TraceNames names_;
};

}  // namespace THENCE_ABI
}  // namespace thence
