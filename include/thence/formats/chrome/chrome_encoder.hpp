// SPDX-License-Identifier: MIT
// chrome_encoder.hpp: a trace in the Trace Event Format, for Chrome's DevTools, about:tracing, speedscope and others.
//
// - A resource is an async event (`b` .. `e`, category = its type, id = its id): from its creation to its settling, or to
//   its destruction if it never settled. One that is still open at the end has no `e`. What is said of it stands on `n`
//   events of the same id: annotations, links, wakes, the outcome.
// - An invocation is a complete event (`X`) on its lane's thread. Complete events of a thread must nest: where invocations
//   cross, the later one is written in parts (args.part), some nanoseconds apart, that bear the true begin; the last one
//   also the true end.
// - trigger, wake and settle are flows (`s` .. `f`) between invocations, one id an edge, written when both ends are known;
//   no flow has one end only. An act outside of any invocation has nothing to start an arrow from, and gets none.
// - `M` events name processes and threads; `C` events are counters; a pause and a parked lane are `X` events too.
// `ts` and `dur` are microseconds with three digits after the point: nothing of a nanosecond is lost.
//   ChromeEncoder encoder{sink};         // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/event_words.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/json_line.hpp"
#include "thence/formats/resource_book.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct ChromeOptions {
  /// Whether triggers, wakes and settlings are drawn as flows. Without them: about half the size.
  bool flows = true;
  std::size_t chunk_bytes = 64 * 1024;
  std::size_t max_stack_bytes = std::size_t{256} << 20;
};

/// Writes the JSON object form: {"traceEvents":[...],...}.
///   Shape     what ResourceBook keeps; the invocations that run.
///   Threads   one at a time.
///   Cost      O(bytes) an event; O(running invocations of the lane) for an exit that crosses.
///   When full the sink says so: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it; `end` makes the document whole.
template <ByteSink Sink>
class ChromeEncoder {
 public:
  explicit ChromeEncoder(Sink& sink, const ChromeOptions& options = {})
      : options_(options), gate_(sink), stacks_(options.max_stack_bytes) {}
  ChromeEncoder(const ChromeEncoder&) = delete;
  ChromeEncoder& operator=(const ChromeEncoder&) = delete;

  void begin(const TraceInfo& info) {
    if (begun_) return;
    start();
    process_id_ = info.process_id;
    salt_ = info.salt;
    clock_ = info.clock;
    sampling_ = info.sampling;
    overflow_policy_ = info.overflow_policy;
    if (info.process_name.empty()) return;
    JsonLine line = open("M", "process_name", process_id_, 0);
    line.begin("args");
    line.text("name", info.process_name);
    line.end();
    close(line);
  }
  void define_lane(const LaneInfo& info) {
    start();
    names_.define_lane(info);
    Lane& lane = lane_of(info.id);
    lane.process_id = info.process_id != 0 ? info.process_id : process_id_;
    // A lane that says no thread has its own number; two lanes never share a row.
    lane.thread_id = info.thread_id != 0 ? info.thread_id : static_cast<std::int64_t>(number(info.id));
    for (const auto& other : lanes_) {
      if (other->id != lane.id && other->process_id == lane.process_id && other->thread_id == lane.thread_id) {
        lane.thread_id = kOwnThreads + static_cast<std::int64_t>(number(info.id));
      }
    }
    std::string name(info.name);
    if (name.empty()) {
      name = "lane ";
      append_number(name, number(info.id));
    }
    JsonLine line = open("M", "thread_name", lane.process_id, lane.thread_id);
    line.begin("args");
    line.text("name", name);
    line.end();
    close(line);
    JsonLine order = open("M", "thread_sort_index", lane.process_id, lane.thread_id);
    order.begin("args");
    order.number("sort_index", number(info.id));
    order.end();
    close(order);
  }
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    names_.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  void synchronise(const ClockSnapshot& clock) noexcept { clocks_ = clock; }

  void take(std::span<const TraceEvent> events) {
    start();
    for (const TraceEvent& event : events) take_one(event);
  }

  void flush() {
    gate_.write(out_.bytes());
    out_.clear();
  }

  void end(const TraceSummary& summary) {
    start();
    if (ended_) return;
    ended_ = true;
    for (const auto& lane : lanes_) {
      // The outer ones a nanosecond later each, for the same reason as at a cut.
      while (!lane->running.empty()) finish_invocation(*lane, lane->running.size() - 1, std::max(latest_, lane->clock + 1), "open");
      if (lane->parked) park_ends(*lane, std::max(latest_, lane->clock), true);
    }
    out_.append(std::string_view("\n],\"displayTimeUnit\":\"ns\",\"otherData\":"));
    JsonLine line{out_};
    line.begin();
    line.text("producer", "thence");
    line.hexadecimal("salt", salt_);
    if (!clock_.empty()) line.text("clock", clock_);
    if (!sampling_.empty()) line.text("sampling", sampling_);
    if (!overflow_policy_.empty()) line.text("overflow_policy", overflow_policy_);
    if (clocks_.boottime != 0) line.number("boottime_ns", clocks_.boottime);
    if (clocks_.monotonic != 0) line.number("monotonic_ns", clocks_.monotonic);
    if (clocks_.realtime != 0) line.number("realtime_ns", clocks_.realtime);
    line.number("events", summary.events);
    line.number("lost", summary.lost);
    line.number("stacks_missing", stacks_.refused());
    line.end();
    out_.append(std::string_view("}\n"));
    flush();
  }

  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return gate_.written(); }

 private:
  static constexpr std::int64_t kOwnThreads = 1'000'000'000;

  /// A moment inside an invocation, from which an arrow can start.
  struct Point {
    std::uint64_t time = 0;
    LaneId lane = LaneId::kNone;  // kNone: there is none
  };
  struct State {
    ResourceId id = ResourceId::kNone;
    TypeId type = {};
    Point born, woken, settled;
    Life life;
    bool begun = false;  // `b` is written
    bool closed = false; // `e` is written
  };
  struct MaybeEnd {
    std::uint64_t ns = 0;
    bool known = false;
  };
  struct Invocation {
    ResourceId resource = ResourceId::kNone;
    RootId root = RootId::kNone;
    TypeId type = {};
    CauseKind cause = CauseKind::kUnspecified;
    ResourceId by = ResourceId::kNone;
    PauseKind pause = PauseKind::kOther;
    bool is_pause = false;
    bool typed = false;
    std::uint64_t begin = 0;
    std::uint64_t since = 0;  // of the part that runs
    std::uint32_t parts = 0;  // written before this one
  };
  struct Lane {
    LaneId id = LaneId::kNone;
    std::int64_t process_id = 0;
    std::int64_t thread_id = 0;
    std::uint64_t clock = 0;  // the latest begin or end of a slice
    std::uint64_t parked_at = 0;
    bool parked = false;
    std::vector<Invocation> running;
  };

  void start() {
    if (begun_) return;
    begun_ = true;
    out_.append(std::string_view("{\"traceEvents\":["));
  }

  // -- lines ----------------------------------------------------------------------------------------------------------

  JsonLine open(std::string_view phase, std::string_view name, std::int64_t process, std::int64_t thread) {
    out_.append(std::string_view(first_ ? "\n" : ",\n"));
    first_ = false;
    JsonLine line{out_};
    line.begin();
    line.text("ph", phase);
    line.text("name", name);
    line.number("pid", process);
    line.number("tid", thread);
    return line;
  }
  void close(JsonLine& line) {
    line.end();
    if (out_.size() >= options_.chunk_bytes) [[unlikely]] flush();
  }
  JsonLine open_async(std::string_view phase, std::string_view name, const State& state, const Lane& lane, std::uint64_t time) {
    JsonLine line = open(phase, name, lane.process_id, lane.thread_id);
    line.text("cat", state.life.created ? names_.type(state.type) : std::string_view("unknown"));
    line.hexadecimal("id", number(state.id));
    line.microseconds("ts", time);
    return line;
  }

  // -- events ---------------------------------------------------------------------------------------------------------

  void take_one(const TraceEvent& event) {
    const std::uint64_t now = ns_of(event.time);
    latest_ = std::max(latest_, now);
    Lane& lane = lane_of(event.lane);
    switch (event.kind) {
      case EventKind::kCreated: created(event, lane); break;
      case EventKind::kScheduled: {
        State* state = state_of(event);
        if (state == nullptr) break;
        if (state->woken.lane == LaneId::kNone) state->woken = point(lane, now);
        JsonLine line = open_async("n", "scheduled", *state, lane, now);
        line.begin("args");
        line.text("by", word(event.scheduled_by()));
        other(line, "waker", event.other);
        line.end();
        close(line);
        break;
      }
      case EventKind::kEntered: entered(event, lane); break;
      case EventKind::kExited: exited(event, lane); break;
      case EventKind::kSettled: settled(event, lane); break;
      case EventKind::kDestroyed: {
        State* state = state_of(event);
        if (state == nullptr) break;
        state->life.destroyed = true;
        if (state->life.settled) {
          JsonLine line = open_async("n", "destroyed", *state, lane, now);
          close(line);
        } else {
          close_async(*state, lane, now, "destroyed");
        }
        retire(*state, event.root);
        break;
      }
      case EventKind::kLinked: {
        State* state = state_of(event);
        if (state == nullptr) break;
        JsonLine line = open_async("n", word(event.link()), *state, lane, now);
        line.begin("args");
        other(line, "cause", event.other);
        line.end();
        close(line);
        break;
      }
      case EventKind::kAnnotated: {
        State* state = state_of(event);
        if (state == nullptr || event.annotation == nullptr) break;
        JsonLine line = open_async("n", event.annotation->key, *state, lane, now);
        line.begin("args");
        line.value("value", event.annotation->value);
        if (event.annotation->value.cut) line.boolean("cut", true);
        line.end();
        close(line);
        break;
      }
      case EventKind::kCounter: counter(event, lane); break;
      case EventKind::kParked:
        if (lane.parked) break;
        lane.parked = true;
        lane.parked_at = now;
        break;
      case EventKind::kUnparked:
        if (lane.parked) park_ends(lane, now, false);
        break;
      case EventKind::kPauseBegan: {
        Invocation pause;
        pause.is_pause = true;
        pause.pause = event.pause();
        push(lane, pause, now);
        break;
      }
      case EventKind::kPauseEnded:
        for (std::size_t at = lane.running.size(); at-- != 0;) {
          if (!lane.running[at].is_pause || lane.running[at].pause != event.pause()) continue;
          finish_invocation(lane, at, now, {});
          break;
        }
        break;
      case EventKind::kRootFinished: {
        State* state = state_of(event);
        if (state == nullptr) break;
        state->life.finished = true;
        close_async(*state, lane, now, "finished");
        break;
      }
      case EventKind::kRootSealed:
        book_.seal(event.root, [](State&) {});
        break;
      case EventKind::kLost: lost(event, lane); break;
      case EventKind::kSample: {
        JsonLine line = open("i", "sample", lane.process_id, lane.thread_id);
        line.text("cat", word(event.sample()));
        line.text("s", "t");
        line.microseconds("ts", now);
        line.begin("args");
        other(line, "id", event.resource);
        put_stack(line, event.stack);
        line.end();
        close(line);
        break;
      }
      case EventKind::kPayload: break;
    }
  }

  void created(const TraceEvent& event, Lane& lane) {
    State* state = state_of(event);
    if (state == nullptr || state->life.created) return;
    state->type = state->life.type = event.type;
    state->life.created = true;
    state->born = point(lane, ns_of(event.time));
    state->begun = true;
    JsonLine line = open_async("b", names_.type(event.type), *state, lane, ns_of(event.time));
    line.begin("args");
    line.number("id", number(event.resource));
    if (event.root != RootId::kNone) line.number("root", number(event.root));
    other(line, "trigger", event.other);
    put_stack(line, event.stack);
    line.end();
    close(line);
  }

  void entered(const TraceEvent& event, Lane& lane) {
    const std::uint64_t now = ns_of(event.time);
    State* state = state_of(event);
    if (state == nullptr) return;
    Invocation invocation;
    invocation.resource = event.resource;
    invocation.root = event.root;
    invocation.type = state->type;
    invocation.typed = state->life.created;
    invocation.cause = event.cause();
    invocation.by = event.other;
    ++state->life.running;
    const Point born = state->life.ran || state->life.running > 1 ? Point{} : state->born;
    const Point woken = state->woken;
    state->woken = {};
    push(lane, invocation, now);
    if (!options_.flows) return;
    if (born.lane != LaneId::kNone) flow("trigger", born, lane, now);
    if (woken.lane != LaneId::kNone) flow("wake", woken, lane, now);
    if (event.cause() == CauseKind::kSettled && event.other != ResourceId::kNone) {
      const State* cause = book_.find(event.other);
      if (cause != nullptr && cause->settled.lane != LaneId::kNone) flow("settle", cause->settled, lane, now);
    }
  }

  void exited(const TraceEvent& event, Lane& lane) {
    const std::uint64_t now = ns_of(event.time);
    std::size_t at = lane.running.size();
    while (at != 0 && (lane.running[at - 1].is_pause || lane.running[at - 1].resource != event.resource)) --at;
    State* state = state_of(event);
    if (state == nullptr) return;
    state->life.ran = true;
    if (at == 0) {
      JsonLine line = open_async("n", "exited, begin unknown", *state, lane, now);
      close(line);
      return;
    }
    if (state->life.running != 0) --state->life.running;
    finish_invocation(lane, at - 1, now, {});
    if (!state->closed && !state->life.settled && state->life.ended()) close_async(*state, lane, now, "ran");
    retire(*state, event.root);
  }

  void settled(const TraceEvent& event, Lane& lane) {
    State* state = state_of(event);
    if (state == nullptr) return;
    const std::uint64_t now = ns_of(event.time);
    if (event.outcome() == Outcome::kResolved) {
      state->life.resolved = true;
      JsonLine line = open_async("n", "resolved", *state, lane, now);
      line.begin("args");
      line.text("by", word(event.settled_by()));
      other(line, "settler", event.other);
      line.end();
      close(line);
      return;
    }
    state->life.settled = true;
    state->settled = point(lane, now);
    JsonLine line = open_async("n", "settled", *state, lane, now);
    line.begin("args");
    line.text("outcome", word(event.outcome()));
    line.text("by", word(event.settled_by()));
    other(line, "settler", event.other);
    line.end();
    close(line);
    close_async(*state, lane, now, word(event.outcome()));
    retire(*state, event.root);
  }

  void counter(const TraceEvent& event, const Lane& lane) {
    if (event.annotation == nullptr || event.annotation->value.kind == ValueKind::kString) return;
    const TraceNames::Counter* known = names_.counter(event.counter);
    text_.clear();
    if (known != nullptr && !known->name.empty()) {
      text_ = known->name;
    } else {
      text_ = "counter ";
      append_number(text_, number(event.counter));
    }
    JsonLine line = open("C", text_, lane.process_id, lane.thread_id);
    line.hexadecimal("id", number(lane.id));
    line.microseconds("ts", ns_of(event.time));
    line.begin("args");
    const Value& value = event.annotation->value;
    const std::string_view unit = known != nullptr && !known->unit.empty() ? std::string_view(known->unit) : "value";
    if (value.kind == ValueKind::kBool) {
      line.number(unit, value.boolean ? 1 : 0);
    } else {
      line.value(unit, value);
    }
    line.end();
    close(line);
  }

  void lost(const TraceEvent& event, Lane& lane) {
    const LossRange range = event.loss != nullptr ? *event.loss : LossRange{0, event.time, event.time};
    // Whatever runs may have ended among what was lost.
    while (!lane.running.empty()) {
      if (State* state = book_.find(lane.running.back().resource); state != nullptr && state->life.running != 0) {
        --state->life.running;
      }
      finish_invocation(lane, lane.running.size() - 1, std::max(ns_of(range.first), lane.clock + 1), "unknown");
    }
    if (lane.parked) park_ends(lane, ns_of(range.first), true);
    JsonLine line = open("i", "lost", lane.process_id, lane.thread_id);
    line.text("cat", "thence");
    line.text("s", "t");
    line.microseconds("ts", ns_of(range.first));
    line.begin("args");
    line.number("count", range.count);
    line.number("first_ns", ns_of(range.first));
    line.number("last_ns", ns_of(range.last));
    line.end();
    close(line);
  }

  // -- slices of a lane -----------------------------------------------------------------------------------------------

  void push(Lane& lane, Invocation invocation, std::uint64_t now) {
    lane.clock = std::max(lane.clock, now);
    invocation.begin = now;
    invocation.since = lane.clock;  // of a late event: where the row is by now
    lane.running.push_back(std::move(invocation));
  }

  /// Ends one that need not be the innermost: those above it are cut here, and go on as further parts. Readers compute ends
  /// as double(ts) + double(dur): pieces that touched at the cut would tangle by a rounding error, so each stands a
  /// nanosecond further from it than the piece around it.
  void finish_invocation(Lane& lane, std::size_t at, std::uint64_t end, std::string_view why) {
    lane.clock = std::max(lane.clock, end);
    const std::uint64_t now = lane.clock;
    for (std::size_t above = lane.running.size(); --above > at;) {
      Invocation& cut = lane.running[above];
      const std::uint64_t distance = above - at;
      if (cut.since + distance < now) {
        write_slice(lane, cut, now - distance, MaybeEnd{}, {});
        ++cut.parts;
      }
      cut.since = std::max(cut.since, now + distance);
    }
    const Invocation done = lane.running[at];
    lane.clock = now + (lane.running.size() - 1 - at);
    lane.running.erase(lane.running.begin() + static_cast<std::ptrdiff_t>(at));
    write_slice(lane, done, now, MaybeEnd{end, true}, why);
  }

  void write_slice(const Lane& lane, const Invocation& slice, std::uint64_t now, MaybeEnd end, std::string_view why) {
    const std::string_view name = slice.is_pause ? word(slice.pause) : slice.typed ? names_.type(slice.type) : "unknown";
    JsonLine line = open("X", name, lane.process_id, lane.thread_id);
    line.text("cat", slice.is_pause ? "pause" : "invocation");
    line.microseconds("ts", slice.since);
    line.microseconds("dur", now > slice.since ? now - slice.since : 0);
    line.begin("args");
    if (!slice.is_pause) {
      line.number("id", number(slice.resource));
      if (slice.root != RootId::kNone) line.number("root", number(slice.root));
      if (slice.cause != CauseKind::kUnspecified) line.text("cause", word(slice.cause));
      other(line, "cause_by", slice.by);
    }
    if (slice.since != slice.begin || !end.known || end.ns != now) {
      line.number("part", slice.parts + 1);
      line.number("true_begin_ns", slice.begin);
      if (end.known && why.empty()) line.number("true_end_ns", end.ns);
    }
    if (!why.empty()) line.text("end", why);
    line.end();
    close(line);
  }

  void park_ends(Lane& lane, std::uint64_t now, bool unknown) {
    lane.parked = false;
    JsonLine line = open("X", "parked", lane.process_id, lane.thread_id);
    line.text("cat", "parked");
    line.microseconds("ts", lane.parked_at);
    line.microseconds("dur", now > lane.parked_at ? now - lane.parked_at : 0);
    if (unknown) {
      line.begin("args");
      line.text("end", "unknown");
      line.end();
    }
    close(line);
  }

  void flow(std::string_view name, const Point& from, const Lane& to, std::uint64_t time) {
    if (time < from.time) return;  // a clock that went backwards draws no arrow
    const Lane& start = lane_of(from.lane);
    ++flows_;
    JsonLine out = open("s", name, start.process_id, start.thread_id);
    out.text("cat", "flow");
    out.hexadecimal("id", flows_);
    out.microseconds("ts", from.time);
    close(out);
    JsonLine in = open("f", name, to.process_id, to.thread_id);
    in.text("cat", "flow");
    in.hexadecimal("id", flows_);
    in.text("bp", "e");
    in.microseconds("ts", time);
    close(in);
  }

  // -- resources ------------------------------------------------------------------------------------------------------

  State* state_of(const TraceEvent& event) {
    if (event.resource == ResourceId::kNone) return nullptr;
    State& state = book_.at(event.resource, event.root);
    state.id = event.resource;
    return &state;
  }
  void close_async(State& state, const Lane& lane, std::uint64_t now, std::string_view how) {
    if (!state.begun || state.closed) return;
    state.closed = true;
    JsonLine line = open_async("e", names_.type(state.type), state, lane, now);
    line.begin("args");
    line.text("end", how);
    line.end();
    close(line);
  }
  void retire(const State& state, RootId root) {
    if (root == RootId::kNone && state.life.ended()) book_.ended(state.id, [](State&) {});
  }
  void put_stack(JsonLine& line, StackId stack) {
    if (stack == StackId::kNone || !stacks_.knows(stack)) return;
    text_.clear();
    append_stack_text(text_, stacks_, stack, "\n");
    line.text("stack", text_);
  }
  static void other(JsonLine& line, std::string_view key, ResourceId id) {
    if (id != ResourceId::kNone) line.number(key, number(id));
  }
  [[nodiscard]] static Point point(const Lane& lane, std::uint64_t now) noexcept {
    bool inside = false;
    for (const Invocation& invocation : lane.running) inside = inside || !invocation.is_pause;
    return {now, inside ? lane.id : LaneId::kNone};
  }

  Lane& lane_of(LaneId id) {
    if (last_lane_ < lanes_.size() && lanes_[last_lane_]->id == id) [[likely]] return *lanes_[last_lane_];
    for (last_lane_ = 0; last_lane_ < lanes_.size(); ++last_lane_) {
      if (lanes_[last_lane_]->id == id) return *lanes_[last_lane_];
    }
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->id = id;
    lanes_.back()->process_id = process_id_;
    lanes_.back()->thread_id = static_cast<std::int64_t>(number(id));
    return *lanes_.back();
  }

  ChromeOptions options_;
  SinkGate<Sink> gate_;
  ByteBuffer out_;
  TraceNames names_;
  TraceStacks stacks_;
  ResourceBook<State> book_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // stay where they are
  std::size_t last_lane_ = 0;
  std::string text_;
  std::string clock_, sampling_, overflow_policy_;
  ClockSnapshot clocks_;
  std::int64_t process_id_ = 0;
  std::uint64_t salt_ = 0;
  std::uint64_t latest_ = 0;
  std::uint64_t flows_ = 0;
  bool begun_ = false;
  bool ended_ = false;
  bool first_ = true;
};

}  // namespace THENCE_ABI
}  // namespace thence
