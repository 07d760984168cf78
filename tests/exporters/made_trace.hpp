// SPDX-License-Identifier: MIT
// made_trace.hpp: event streams made by hand and by chance, for whatever takes one.
// Layer: tests.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/core/trace_event.hpp"

namespace thence_test {

/// Feeds a sink one event after the other, by name.
template <class Sink>
class Teller {
 public:
  explicit Teller(Sink& sink) : sink_(&sink) {}

  void begin(std::uint64_t salt = 0x1234) {
    thence::TraceInfo info;
    info.salt = salt;
    info.process_id = 42;
    info.process_name = "made";
    info.clock = "manual";
    info.overflow_policy = "DropNewest";
    info.sampling = "all";
    sink_->begin(info);
  }
  void lane(unsigned id, std::string_view name) {
    sink_->define_lane({thence::LaneId{id}, 42, static_cast<std::int32_t>(100 + id), name});
  }
  void type(unsigned id, std::string_view name) { sink_->define_type(static_cast<thence::TypeId>(id), name); }
  void stack(unsigned id, const std::vector<thence::FrameInfo>& frames) {
    sink_->define_stack({thence::StackId{id}, std::span(frames)});
  }
  void counter_name(unsigned id, std::string_view name, std::string_view unit) {
    sink_->define_counter(static_cast<thence::CounterId>(id), name, unit);
  }
  void clock(std::uint64_t boottime, std::uint64_t monotonic, std::uint64_t realtime) {
    sink_->synchronise({boottime, monotonic, realtime});
  }

  unsigned on = 1;          ///< lane
  std::uint64_t root = 0;

  void created(std::uint64_t at, std::uint64_t id, std::uint64_t trigger, thence::ResourceType type, unsigned stack = 0) {
    thence::TraceEvent event = make(at, id, thence::EventKind::kCreated);
    event.other = thence::ResourceId{trigger};
    event.type = thence::type_id(type);
    event.stack = thence::StackId{stack};
    take(event);
  }
  void scheduled(std::uint64_t at, std::uint64_t id, std::uint64_t by) {
    thence::TraceEvent event = make(at, id, thence::EventKind::kScheduled);
    event.other = thence::ResourceId{by};
    event.flags = static_cast<std::uint8_t>(by != 0 ? thence::Actor::kInvocation : thence::Actor::kExternal);
    take(event);
  }
  void entered(std::uint64_t at, std::uint64_t id, thence::CauseKind cause = thence::CauseKind::kUnspecified, std::uint64_t by = 0) {
    thence::TraceEvent event = make(at, id, thence::EventKind::kEntered);
    event.flags = static_cast<std::uint8_t>(cause);
    event.other = thence::ResourceId{by};
    take(event);
  }
  void exited(std::uint64_t at, std::uint64_t id) { take(make(at, id, thence::EventKind::kExited)); }
  void settled(std::uint64_t at, std::uint64_t id, thence::Outcome outcome, thence::Actor actor, std::uint64_t by = 0) {
    thence::TraceEvent event = make(at, id, thence::EventKind::kSettled);
    event.flags = static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(actor) << 4);
    event.other = thence::ResourceId{by};
    take(event);
  }
  void destroyed(std::uint64_t at, std::uint64_t id) { take(make(at, id, thence::EventKind::kDestroyed)); }
  void linked(std::uint64_t at, std::uint64_t effect, std::uint64_t cause, thence::LinkKind kind) {
    thence::TraceEvent event = make(at, effect, thence::EventKind::kLinked);
    event.other = thence::ResourceId{cause};
    event.flags = static_cast<std::uint8_t>(kind);
    take(event);
  }
  void annotated(std::uint64_t at, std::uint64_t id, std::string_view key, thence::Value value) {
    thence::TraceEvent event = make(at, id, thence::EventKind::kAnnotated);
    const thence::Annotation annotation{key, value};
    event.annotation = &annotation;
    take(event);
  }
  void counted(std::uint64_t at, unsigned counter, thence::Value value) {
    thence::TraceEvent event = make(at, 0, thence::EventKind::kCounter);
    event.root = thence::RootId::kNone;
    event.counter = static_cast<thence::CounterId>(counter);
    const thence::Annotation annotation{{}, value};
    event.annotation = &annotation;
    take(event);
  }
  void of_lane(std::uint64_t at, thence::EventKind kind, std::uint64_t what = 0) {
    thence::TraceEvent event = make(at, what, kind);
    event.root = thence::RootId::kNone;
    take(event);
  }
  void finished(std::uint64_t at, std::uint64_t id) { take(make(at, id, thence::EventKind::kRootFinished)); }
  void sealed(std::uint64_t at, thence::SealReason reason = thence::SealReason::kFinished) {
    thence::TraceEvent event = make(at, 0, thence::EventKind::kRootSealed);
    event.lane = thence::LaneId::kNone;
    event.flags = static_cast<std::uint8_t>(reason);
    take(event);
  }
  void lost(std::uint64_t at, std::uint64_t count, std::uint64_t first, std::uint64_t last) {
    thence::TraceEvent event = make(at, 0, thence::EventKind::kLost);
    event.root = thence::RootId::kNone;
    const thence::LossRange range{count, thence::Timestamp{first}, thence::Timestamp{last}};
    event.loss = &range;
    take(event);
    lost_ += count;
  }
  void end() {
    thence::TraceSummary summary;
    summary.events = events_;
    summary.lost = lost_;
    sink_->end(summary);
  }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

 private:
  [[nodiscard]] thence::TraceEvent make(std::uint64_t at, std::uint64_t id, thence::EventKind kind) const {
    thence::TraceEvent event;
    event.time = thence::Timestamp{at};
    event.resource = thence::ResourceId{id};
    event.root = thence::RootId{root};
    event.lane = thence::LaneId{on};
    event.kind = kind;
    return event;
  }
  void take(const thence::TraceEvent& event) {
    ++events_;
    sink_->take(std::span(&event, 1));
  }

  Sink* sink_;
  std::uint64_t events_ = 0;
  std::uint64_t lost_ = 0;
};

/// A request that makes a fetch and a timer; what must come of it is counted out in the tests that use it.
///   lane 1: 1 runs 1000..2000; 3 (js-promise) runs inside it 1200..1500; a pause 1300..1350
///           2 (fetch) is settled from outside at 4000; 4 (its continuation) runs 4100..4600, its exit crosses 5: 4500..4900
template <class Sink>
void tell_request(Sink& sink) {
  using namespace thence;
  Teller tell{sink};
  tell.begin();
  tell.lane(1, "main");
  tell.type(300, "my, \"type\"");
  tell.counter_name(1, "queue depth", "tasks");
  FrameInfo inner, outer;
  inner.kind = FrameKind::kScript;
  inner.function = "load;all";
  inner.file = "app.js";
  inner.line = 7;
  inner.column = 3;
  outer.kind = FrameKind::kScript;
  outer.file = "app.js";
  outer.line = 40;
  tell.stack(1, {inner, outer});
  tell.clock(900, 800, 1'700'000'000'000'000'900);
  tell.root = 9;
  tell.created(1000, 1, 0, ResourceType::kRoot);
  tell.entered(1000, 1);
  tell.created(1100, 2, 1, ResourceType::kFetch, 1);
  tell.annotated(1101, 2, "url", Value::of(std::string_view("https://a.example/?q=\"<x>\",\n\xff")));
  tell.annotated(1102, 2, "empty", Value::of(std::string_view{}));
  tell.annotated(1103, 2, "bytes", Value::of(~std::uint64_t{0}));
  tell.annotated(1104, 2, "ratio", Value::of(0.1));
  tell.annotated(1105, 2, "delta", Value::of(std::int64_t{-5}));
  tell.annotated(1106, 2, "again", Value::of(true));
  tell.created(1150, 3, 1, ResourceType::kJsPromise, 1);
  tell.scheduled(1160, 3, 1);
  tell.entered(1200, 3, CauseKind::kScheduled, 1);
  tell.of_lane(1300, EventKind::kPauseBegan, 1);
  tell.of_lane(1350, EventKind::kPauseEnded, 1);
  tell.created(1400, 4, 3, ResourceType::kJsPromise);
  tell.created(1410, 5, 3, static_cast<ResourceType>(300));
  tell.linked(1420, 4, 2, LinkKind::kAwaits);
  tell.exited(1500, 3);
  tell.settled(1900, 3, Outcome::kFulfilled, Actor::kInvocation, 1);
  tell.exited(2000, 1);
  tell.of_lane(2100, EventKind::kParked);
  tell.of_lane(3900, EventKind::kUnparked);
  tell.counted(3950, 1, Value::of(std::int64_t{3}));
  tell.settled(4000, 2, Outcome::kFulfilled, Actor::kExternal);
  tell.entered(4100, 4, CauseKind::kSettled, 2);
  tell.entered(4500, 5);
  tell.exited(4600, 4);
  tell.settled(4650, 4, Outcome::kRejected, Actor::kInvocation, 5);
  tell.exited(4900, 5);
  tell.finished(5000, 1);
  tell.sealed(5000);
  tell.end();
}

/// Many lanes and requests, by chance: nesting, crossings, pauses, wakes, losses, resources without a request, some open.
template <class Sink>
void tell_by_chance(Sink& sink, std::uint32_t seed, unsigned steps) {
  using namespace thence;
  std::mt19937 random{seed};
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  Teller tell{sink};
  tell.begin(seed);
  constexpr unsigned kLanes = 3;
  for (unsigned lane = 1; lane <= kLanes; ++lane) tell.lane(lane, "lane " + std::to_string(lane));
  for (unsigned id = 1; id <= 12; ++id) {
    std::vector<std::string> names;
    for (unsigned frame = 0; frame < 1 + id % 4; ++frame) names.push_back("f" + std::to_string((id * 7 + frame) % 9));
    std::vector<FrameInfo> frames;
    for (const std::string& name : names) {
      FrameInfo info;
      info.function = name;
      info.file = "m.cc";
      info.line = id;
      frames.push_back(info);
    }
    tell.stack(id, frames);
  }
  struct Known {
    std::uint64_t id, root;
    bool settled = false;
  };
  struct Open {
    std::uint64_t id, root;
    bool pause;
  };
  std::vector<Known> known;
  std::vector<Open> running[kLanes + 1];
  std::vector<std::uint64_t> roots;
  std::uint64_t now = 1'000'000, next_id = 1, next_root = 1;
  for (unsigned step = 0; step < steps; ++step) {
    now += 1 + below(300);
    tell.on = 1 + below(kLanes);
    auto& stack = running[tell.on];
    const std::uint32_t act = below(100);
    if (act < 4) {
      tell.root = next_root++;
      roots.push_back(tell.root);
      tell.created(now, next_id, 0, ResourceType::kRoot, below(13));
      known.push_back({next_id++, tell.root});
    } else if (act < 30) {
      // Below what runs, else without a request.
      const Open* parent = nullptr;
      for (const Open& open : stack) {
        if (!open.pause) parent = &open;
      }
      tell.root = parent == nullptr ? 0 : parent->root;
      constexpr ResourceType kTypes[] = {ResourceType::kJsPromise, ResourceType::kFetch, ResourceType::kTimer, ResourceType::kOther};
      tell.created(now, next_id, parent == nullptr ? 0 : parent->id, kTypes[below(4)], below(13));
      known.push_back({next_id++, tell.root});
    } else if (act < 36) {
      if (stack.size() < 6) {
        tell.of_lane(now, EventKind::kPauseBegan, 2);
        stack.push_back({0, 0, true});
      }
    } else if (act < 60) {
      if (!known.empty() && stack.size() < 6) {
        const Known& one = known[known.size() - 1 - below(static_cast<std::uint32_t>(std::min<std::size_t>(known.size(), 20)))];
        bool sealed = true;
        for (const std::uint64_t root : roots) sealed = sealed && root != one.root;
        bool elsewhere = false;
        for (const auto& lane : running)
          for (const Open& open : lane) elsewhere = elsewhere || open.id == one.id;
        if ((one.root == 0 || !sealed) && !elsewhere) {
          tell.root = one.root;
          if (below(2) == 0) {
            tell.scheduled(now, one.id, 0);
            now += 1 + below(50);
          }
          tell.entered(now, one.id);
          stack.push_back({one.id, one.root, false});
        }
      }
    } else if (act < 90) {
      if (!stack.empty()) {
        const std::size_t at = below(4) == 0 ? below(static_cast<std::uint32_t>(stack.size())) : stack.size() - 1;
        const Open open = stack[at];
        if (open.pause) {
          // Pauses end in the order that nests.
          bool innermost = true;
          for (std::size_t other = at + 1; other < stack.size(); ++other) innermost = innermost && !stack[other].pause;
          if (!innermost) continue;
          tell.of_lane(now, EventKind::kPauseEnded, 2);
        } else {
          tell.root = open.root;
          tell.exited(now, open.id);
        }
        stack.erase(stack.begin() + static_cast<std::ptrdiff_t>(at));
      }
    } else if (act < 96) {
      if (!known.empty()) {
        Known& one = known[known.size() - 1 - below(static_cast<std::uint32_t>(std::min<std::size_t>(known.size(), 20)))];
        bool sealed = true;
        for (const std::uint64_t root : roots) sealed = sealed && root != one.root;
        if (!one.settled && (one.root == 0 || !sealed)) {
          one.settled = true;
          tell.root = one.root;
          tell.settled(now, one.id, Outcome::kFulfilled, Actor::kExternal);
        }
      }
    } else if (act == 96) {
      tell.lost(now, 1 + below(5), now, now + 10);
      stack.clear();
      now += 10;
    } else if (roots.size() > 3) {
      tell.root = roots.front();
      bool busy = false;
      for (const auto& lane : running)
        for (const Open& open : lane) busy = busy || open.root == tell.root;
      if (!busy) {
        tell.sealed(now);
        roots.erase(roots.begin());
      }
    }
  }
  tell.end();
}

}  // namespace thence_test
