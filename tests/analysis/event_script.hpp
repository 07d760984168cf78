// SPDX-License-Identifier: MIT
// event_script.hpp: a trace for a test, told event by event, as a model.
//
//   EventScript told;
//   told.lane(1, "worker 0").stack(1, "load", "app.js", 7);
//   told.created(10, 100, {.type = "task", .stack = 1}).wake(10, 150).entered(10, 200, 1).exited(10, 260, 1);
//   const TraceModel model = told.model();
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/model/model_builder.hpp"

namespace thence_test {

/// What a creation says beyond its id and time.
struct Creation {
  std::string_view type = "task";
  std::uint64_t trigger = 0;
  std::uint64_t root = 0;
  std::uint32_t stack = 0;
  std::uint32_t lane = 0;
};

class EventScript {
 public:
  EventScript() {
    thence::TraceInfo info;
    info.salt = 7;
    builder_.begin(info);
    builder_.define_counter(thence::CounterId::kQueueDepth, "queue-depth", "");
    builder_.define_counter(thence::CounterId::kLoopLag, "loop-lag", "ns");
  }

  EventScript& lane(std::uint32_t id, std::string_view name) {
    builder_.define_lane({static_cast<thence::LaneId>(id), 1, static_cast<std::int32_t>(100 + id), name});
    return *this;
  }
  EventScript& stack(std::uint32_t id, std::string_view function, std::string_view file, std::uint32_t line) {
    const thence::FrameInfo frame{thence::FrameKind::kScript, function, file, line, 1, 0, 0, {}};
    builder_.define_stack({static_cast<thence::StackId>(id), std::span(&frame, 1)});
    return *this;
  }
  EventScript& created(std::uint64_t id, std::uint64_t time, const Creation& of = {}) {
    thence::TraceEvent event = made(thence::EventKind::kCreated, id, time, of.lane);
    event.other = static_cast<thence::ResourceId>(of.trigger);
    event.root = static_cast<thence::RootId>(of.root);
    event.stack = static_cast<thence::StackId>(of.stack);
    event.type = type(of.type);
    return take(event);
  }
  EventScript& wake(std::uint64_t id, std::uint64_t time, std::uint64_t by = 0, std::uint32_t lane = 0) {
    thence::TraceEvent event = made(thence::EventKind::kScheduled, id, time, lane);
    event.other = static_cast<thence::ResourceId>(by);
    event.flags = static_cast<std::uint8_t>(by == 0 ? thence::Actor::kExternal : thence::Actor::kInvocation);
    return take(event);
  }
  EventScript& entered(std::uint64_t id, std::uint64_t time, std::uint32_t lane, thence::CauseKind cause = thence::CauseKind::kUnspecified,
                       std::uint64_t by = 0) {
    thence::TraceEvent event = made(thence::EventKind::kEntered, id, time, lane);
    event.other = static_cast<thence::ResourceId>(by);
    event.flags = static_cast<std::uint8_t>(cause);
    return take(event);
  }
  EventScript& exited(std::uint64_t id, std::uint64_t time, std::uint32_t lane) { return take(made(thence::EventKind::kExited, id, time, lane)); }
  EventScript& ran(std::uint64_t id, std::uint64_t from, std::uint64_t to, std::uint32_t lane) { return entered(id, from, lane).exited(id, to, lane); }
  EventScript& settled(std::uint64_t id, std::uint64_t time, thence::Outcome outcome = thence::Outcome::kFulfilled,
                       thence::Actor actor = thence::Actor::kExternal, std::uint64_t by = 0, std::uint32_t lane = 0) {
    thence::TraceEvent event = made(thence::EventKind::kSettled, id, time, lane);
    event.other = static_cast<thence::ResourceId>(by);
    event.flags = static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(actor) << 4);
    return take(event);
  }
  EventScript& destroyed(std::uint64_t id, std::uint64_t time) { return take(made(thence::EventKind::kDestroyed, id, time, 0)); }
  EventScript& awaits(std::uint64_t effect, std::uint64_t cause, std::uint64_t time) {
    thence::TraceEvent event = made(thence::EventKind::kLinked, effect, time, 0);
    event.other = static_cast<thence::ResourceId>(cause);
    event.flags = static_cast<std::uint8_t>(thence::LinkKind::kAwaits);
    return take(event);
  }
  EventScript& note(std::uint64_t id, std::uint64_t time, std::string_view key, thence::Value value) {
    const thence::Annotation annotation{key, value};
    thence::TraceEvent event = made(thence::EventKind::kAnnotated, id, time, 0);
    event.annotation = &annotation;
    return take(event);
  }
  EventScript& lane_event(thence::EventKind kind, std::uint64_t time, std::uint32_t lane) { return take(made(kind, 0, time, lane)); }
  EventScript& parked(std::uint64_t from, std::uint64_t to, std::uint32_t lane) {
    return lane_event(thence::EventKind::kParked, from, lane).lane_event(thence::EventKind::kUnparked, to, lane);
  }
  EventScript& paused(std::uint64_t from, std::uint64_t to, std::uint32_t lane) {
    return lane_event(thence::EventKind::kPauseBegan, from, lane).lane_event(thence::EventKind::kPauseEnded, to, lane);
  }
  EventScript& counter(thence::CounterId which, std::uint64_t time, std::uint64_t value, std::uint32_t lane = 0) {
    const thence::Annotation annotation{{}, thence::Value::of(value)};
    thence::TraceEvent event = made(thence::EventKind::kCounter, 0, time, lane);
    event.counter = which;
    event.annotation = &annotation;
    return take(event);
  }
  EventScript& sample(std::uint64_t time, std::uint32_t lane, std::uint32_t stack, std::uint64_t resource = 0) {
    thence::TraceEvent event = made(thence::EventKind::kSample, resource, time, lane);
    event.stack = static_cast<thence::StackId>(stack);
    return take(event);
  }
  EventScript& lost(std::uint64_t count, std::uint64_t from, std::uint64_t to, std::uint32_t lane) {
    const thence::LossRange loss{count, static_cast<thence::Timestamp>(from), static_cast<thence::Timestamp>(to)};
    thence::TraceEvent event = made(thence::EventKind::kLost, 0, to, lane);
    event.loss = &loss;
    return take(event);
  }
  EventScript& finished(std::uint64_t resource, std::uint64_t root, std::uint64_t time, std::uint32_t lane = 0) {
    thence::TraceEvent event = made(thence::EventKind::kRootFinished, resource, time, lane);
    event.root = static_cast<thence::RootId>(root);
    return take(event);
  }

  [[nodiscard]] thence::TraceModel model() {
    builder_.end(thence::TraceSummary{});
    return builder_.build();
  }

 private:
  static thence::TraceEvent made(thence::EventKind kind, std::uint64_t id, std::uint64_t time, std::uint32_t lane) {
    thence::TraceEvent event;
    event.kind = kind;
    event.resource = static_cast<thence::ResourceId>(id);
    event.time = static_cast<thence::Timestamp>(time);
    event.lane = static_cast<thence::LaneId>(lane);
    return event;
  }
  EventScript& take(const thence::TraceEvent& event) {
    builder_.take(std::span(&event, 1));
    return *this;
  }
  thence::TypeId type(std::string_view name) {
    for (std::size_t at = 0; at < thence::kResourceTypeNames.size(); ++at) {
      if (thence::kResourceTypeNames[at] == name) return static_cast<thence::TypeId>(at);
    }
    const auto [found, is_new] = types_.emplace(name, static_cast<std::uint16_t>(thence::kFirstHostType + types_.size()));
    if (is_new) builder_.define_type(static_cast<thence::TypeId>(found->second), name);
    return static_cast<thence::TypeId>(found->second);
  }

  thence::ModelBuilder builder_;
  std::map<std::string, std::uint16_t, std::less<>> types_;
};

}  // namespace thence_test
