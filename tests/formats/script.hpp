// SPDX-License-Identifier: MIT
// script.hpp: a few events by hand, for tests that know what must come of them.
//   Script s;
//   s.at(10).lane(1).created(1, kRoot).at(20).entered(1).at(30).exited(1).sealed(SealReason::kFinished);
//   s.play(encoder);
// Layer: tests.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "thence/core/trace_event.hpp"

namespace thence_test {

using namespace thence;

inline constexpr TypeId kRootType = type_id(ResourceType::kRoot);
inline constexpr TypeId kPromiseType = type_id(ResourceType::kJsPromise);
inline constexpr TypeId kFetchType = type_id(ResourceType::kFetch);
inline constexpr TypeId kTimerType = type_id(ResourceType::kTimer);

/// Times are nanoseconds after kOrigin.
class Script {
 public:
  static constexpr std::uint64_t kOrigin = 1'000'000'000'000;

  Script& at(std::uint64_t ns) { time_ = ns; return *this; }
  Script& lane(std::uint32_t lane) { lane_ = lane; return *this; }
  Script& root(std::uint64_t root) { root_ = root; return *this; }
  Script& late() { late_ = true; return *this; }

  Script& created(std::uint64_t id, TypeId type, std::uint64_t trigger = 0, std::uint32_t stack = 0) {
    TraceEvent e = event(EventKind::kCreated, id, trigger);
    e.type = type;
    e.stack = static_cast<StackId>(stack);
    return add(e);
  }
  Script& scheduled(std::uint64_t id, Actor by, std::uint64_t waker = 0) {
    return add(event(EventKind::kScheduled, id, waker, static_cast<std::uint8_t>(by)));
  }
  Script& entered(std::uint64_t id, CauseKind cause = CauseKind::kUnspecified, std::uint64_t by = 0) {
    return add(event(EventKind::kEntered, id, by, static_cast<std::uint8_t>(cause)));
  }
  Script& exited(std::uint64_t id) { return add(event(EventKind::kExited, id)); }
  Script& settled(std::uint64_t id, Outcome outcome, Actor by, std::uint64_t settler = 0) {
    return add(event(EventKind::kSettled, id, settler,
                     static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(by) << 4)));
  }
  Script& destroyed(std::uint64_t id) { return add(event(EventKind::kDestroyed, id)); }
  Script& linked(std::uint64_t effect, std::uint64_t cause, LinkKind kind = LinkKind::kAwaits) {
    return add(event(EventKind::kLinked, effect, cause, static_cast<std::uint8_t>(kind)));
  }
  Script& annotated(std::uint64_t id, std::string_view key, Value value) {
    Extra& extra = extras_.emplace_back();
    extra.key = key;
    if (value.kind == ValueKind::kString) {
      extra.text = value.text;
      value.text = extra.text;
    }
    extra.annotation = {extra.key, value};
    TraceEvent e = event(EventKind::kAnnotated, id);
    e.annotation = &extra.annotation;
    return add(e);
  }
  Script& counter(CounterId counter, Value value) {
    Extra& extra = extras_.emplace_back();
    extra.annotation = {{}, value};
    TraceEvent e = event(EventKind::kCounter, 0);
    e.root = RootId::kNone;
    e.counter = counter;
    e.annotation = &extra.annotation;
    return add(e);
  }
  Script& lane_event(EventKind kind, std::uint64_t what = 0) {
    TraceEvent e = event(kind, what);
    e.root = RootId::kNone;
    return add(e);
  }
  Script& lost(std::uint64_t count, std::uint64_t first, std::uint64_t last) {
    Extra& extra = extras_.emplace_back();
    extra.loss = {count, static_cast<Timestamp>(kOrigin + first), static_cast<Timestamp>(kOrigin + last)};
    TraceEvent e = event(EventKind::kLost, 0);
    e.root = RootId::kNone;
    e.loss = &extra.loss;
    return add(e);
  }
  Script& finished(std::uint64_t id) { return add(event(EventKind::kRootFinished, id)); }
  Script& sealed(SealReason reason = SealReason::kFinished) {
    TraceEvent e = event(EventKind::kRootSealed, 0, 0, static_cast<std::uint8_t>(reason));
    e.lane = LaneId::kNone;
    return add(e);
  }

  [[nodiscard]] const std::vector<TraceEvent>& events() const noexcept { return events_; }
  [[nodiscard]] LossRange lost_on(std::uint32_t lane) const {
    LossRange all;
    for (const TraceEvent& e : events_) {
      if (e.kind != EventKind::kLost || number(e.lane) != lane) continue;
      if (all.count == 0) all.first = e.loss->first;
      all.count += e.loss->count;
      all.last = e.loss->last;
    }
    return all;
  }

  /// Tells `sink` all of it: process 77, lanes 1 to 3, and three stacks.
  template <class Sink>
  void play(Sink& sink) const {
    begin(sink);
    sink.take(events_);
    end(sink);
  }
  template <class Sink>
  static void begin(Sink& sink) {
    TraceInfo info;
    info.salt = 0x1234;
    info.process_id = 77;
    info.process_name = "scripted";
    info.overflow_policy = "drop-newest";
    info.clock = "manual";
    info.sampling = "all";
    sink.begin(info);
    sink.define_lane({static_cast<LaneId>(1), 77, 78, "loop"});
    sink.define_lane({static_cast<LaneId>(2), 77, 79, "pool"});
    sink.define_lane({static_cast<LaneId>(3), 77, 80, "other"});
    sink.define_counter(CounterId::kQueueDepth, "queue depth", "tasks");
    sink.synchronise({kOrigin, kOrigin - 1000, kOrigin + 5000});
    const FrameInfo script[] = {{FrameKind::kScript, "load", "app.js", 12, 5, 0, 0, {}},
                                {FrameKind::kScript, "fetch", "app.js", 3, 1, 0, 0, {}}};
    const FrameInfo native[] = {{FrameKind::kNative, "", "/usr/lib/libx.so", 0, 0, 0x7f0000001234, 0x1234, "0a1bff"},
                                {FrameKind::kNative, "main", "worker", 0, 0, 0x400010, 0x10, ""}};
    const FrameInfo source[] = {{FrameKind::kSource, "serve", "src/server.cpp", 99, 0, 0, 0, {}}};
    sink.define_stack({static_cast<StackId>(1), script});
    sink.define_stack({static_cast<StackId>(2), native});
    sink.define_stack({static_cast<StackId>(3), source});
  }
  template <class Sink>
  void end(Sink& sink) const {
    TraceSummary summary;
    std::vector<LaneSummary> lanes;
    for (std::uint32_t lane = 1; lane <= 3; ++lane) {
      LaneSummary one;
      one.lane = static_cast<LaneId>(lane);
      one.lost = lost_on(lane);
      one.ring_bytes = 4096;
      summary.lost += one.lost.count;
      lanes.push_back(one);
    }
    summary.lanes = lanes;
    summary.events = events_.size();
    sink.end(summary);
  }

 private:
  struct Extra {
    std::string key, text;
    Annotation annotation;
    LossRange loss;
  };

  TraceEvent event(EventKind kind, std::uint64_t id, std::uint64_t other = 0, std::uint8_t flags = 0) {
    TraceEvent e;
    e.kind = kind;
    e.time = static_cast<Timestamp>(kOrigin + time_);
    e.resource = static_cast<ResourceId>(id);
    e.other = static_cast<ResourceId>(other);
    e.root = static_cast<RootId>(root_);
    e.lane = static_cast<LaneId>(lane_);
    e.flags = flags;
    e.late = late_;
    late_ = false;
    return e;
  }
  Script& add(const TraceEvent& e) {
    events_.push_back(e);
    return *this;
  }

  std::uint64_t time_ = 0;
  std::uint32_t lane_ = 1;
  std::uint64_t root_ = 1;
  bool late_ = false;
  std::vector<TraceEvent> events_;
  std::deque<Extra> extras_;
};

}  // namespace thence_test
