// SPDX-License-Identifier: MIT
// made.hpp: small programs by hand, in milliseconds, for traces whose findings are known beforehand.
//   Made made;
//   const Id task = made.task(0, made.root(), "handle app.js:1");
//   made.run(task, 0, 0.1);
//   const Id fetch = made.fetch(task, 0.05, 30, "https://a.example/1", "load app.js:10");     // created, settled
//   made.run_after(fetch, task, 30, 30.1);
//   made.finish(31);                                   // the root is settled by the task that ran last
//   const TraceModel model = made.model();
// A stack is its frames from the innermost, with commas: "load app.js:10, handle app.js:1". Without a file it is nobody's code.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "thence/analysis/anomalies.hpp"
#include "thence/analysis/patterns.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/model/model_builder.hpp"

namespace thence_test {

using namespace thence;

using Id = std::uint64_t;

class Made {
 public:
  Made() = default;
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;

  /// Later times are multiplied by it.
  std::uint64_t scale = 1;
  /// No settlings, causes and links are told: a plain document.
  bool plain = false;

  Id root(double at = 0) {
    root_ = create(at, 0, "root", "");
    last_ = root_;
    return root_;
  }
  Id create(double at, Id parent, std::string_view type, std::string_view stack) {
    TraceEvent event = of(EventKind::kCreated, at, ++ids_);
    event.other = static_cast<ResourceId>(parent);
    event.type = type_of(type);
    event.stack = stack_of(stack);
    events_.push_back(event);
    return ids_;
  }
  Id task(double at, Id parent, std::string_view stack) { return create(at, parent, "js-promise", stack); }
  /// An operation with its completion from outside; `to` under 0: never.
  Id operation(Id parent, double at, double to, std::string_view type, std::string_view stack) {
    const Id made = create(at, parent, type, stack);
    if (to >= 0) settle(made, to);
    return made;
  }
  Id fetch(Id parent, double at, double to, std::string_view url, std::string_view stack) {
    const Id made = operation(parent, at, to, "fetch", stack);
    if (!url.empty()) note(made, "url", url);
    return made;
  }
  Id timer(Id parent, double at, double to, std::string_view delay, std::string_view stack) {
    const Id made = operation(parent, at, to, "timer", stack);
    if (!delay.empty()) note(made, "delay", delay);
    return made;
  }
  /// Settled by a callback of `by`; 0: from outside.
  void settle(Id id, double at, Id by = 0, Outcome outcome = Outcome::kFulfilled) {
    if (plain) return;
    TraceEvent event = of(EventKind::kSettled, at, id);
    event.other = static_cast<ResourceId>(by);
    event.flags = static_cast<std::uint8_t>(static_cast<unsigned>(outcome) |
                                            static_cast<unsigned>(by == 0 ? Actor::kExternal : Actor::kInvocation) << 4);
    events_.push_back(event);
  }
  void destroy(Id id, double at) { events_.push_back(of(EventKind::kDestroyed, at, id)); }
  void awaits(Id effect, Id cause, double at) {
    if (plain) return;
    TraceEvent event = of(EventKind::kLinked, at, effect);
    event.other = static_cast<ResourceId>(cause);
    event.flags = static_cast<std::uint8_t>(LinkKind::kAwaits);
    events_.push_back(event);
  }
  void run(Id id, double from, double to, CauseKind cause = CauseKind::kUnspecified, Id by = 0) {
    TraceEvent event = of(EventKind::kEntered, from, id);
    event.other = static_cast<ResourceId>(plain ? 0 : by);
    event.flags = static_cast<std::uint8_t>(plain ? CauseKind::kUnspecified : cause);
    events_.push_back(event);
    events_.push_back(of(EventKind::kExited, to, id));
    last_ = id;
  }
  /// Made ready by the completion of an operation; by its own creation.
  void run_after(Id operation, Id id, double from, double to) { run(id, from, to, CauseKind::kExternal, operation); }
  void run_created(Id id, double from, double to) { run(id, from, to, CauseKind::kCreated); }
  void note(Id id, std::string_view key, std::string_view value) { annotate(id, key, Value::of(keep(value))); }
  void note(Id id, std::string_view key, std::uint64_t value) { annotate(id, key, Value::of(value)); }
  void lose(double from, double to, std::uint64_t count) {
    auto& loss = losses_.emplace_back();
    loss = {count, static_cast<Timestamp>(ns(from)), static_cast<Timestamp>(ns(to))};
    TraceEvent event = of(EventKind::kLost, to, 0);
    event.loss = &loss;
    events_.push_back(event);
  }
  void finish(double at) {
    settle(root_, at, last_ == root_ ? 0 : last_);
    TraceEvent event = of(EventKind::kRootSealed, at, 0);
    event.lane = LaneId::kNone;
    events_.push_back(event);
  }
  /// Callbacks of at most 40 ms, one after the other with 1 ms between, of nothing that anybody minds.
  void busy(double from, double to) {
    for (double at = from; at < to; at += 41) {
      const Id filler = create(at, root_, "kj-promise", "work filler.js:" + std::to_string(++fillers_));
      run(filler, at, std::min(at + 40, to), CauseKind::kExternal);
      settle(filler, std::min(at + 40, to), filler);
    }
  }
  void on_lane(std::uint32_t lane) { lane_ = lane; }

  /// In another order: the same model must come of it.
  [[nodiscard]] TraceModel model(std::uint64_t shuffle = 0) const {
    ModelBuilder builder;
    builder.begin({});
    for (std::uint16_t at = 0; at < types_.size(); ++at) builder.define_type(static_cast<TypeId>(at + 300), types_[at]);
    for (std::uint32_t lane = 1; lane <= 3; ++lane) {
      LaneInfo info;
      info.id = static_cast<LaneId>(lane);
      builder.define_lane(info);
    }
    std::vector<TraceEvent> events = events_;
    if (shuffle == 0) {
      std::stable_sort(events.begin(), events.end(), [](const TraceEvent& a, const TraceEvent& b) { return a.time < b.time; });
    } else {
      // Events of one resource keep their order: which of two callbacks an exit ends is told by nothing else.
      std::mt19937_64 random(shuffle);
      std::vector<std::uint64_t> key(events.size());
      std::map<Id, std::uint64_t> keys;
      for (std::size_t at = 0; at < events.size(); ++at) {
        const Id id = number(events[at].resource);
        if (keys.find(id) == keys.end()) keys[id] = random();
        key[at] = keys[id];
      }
      std::vector<std::size_t> order(events.size());
      for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return key[a] != key[b] ? key[a] < key[b] : events_[a].time < events_[b].time;
      });
      for (std::size_t at = 0; at < order.size(); ++at) events[at] = events_[order[at]];
    }
    for (std::uint32_t at = 0; at < stacks_.size(); ++at) {
      std::vector<FrameInfo> frames;
      for (const Frame& frame : stacks_[at]) {
        FrameInfo info;
        info.kind = FrameKind::kScript;
        info.function = frame.function;
        info.file = frame.file;
        info.line = frame.line;
        frames.push_back(info);
      }
      builder.define_stack({static_cast<StackId>(at + 1), frames});
    }
    builder.take(events);
    builder.end({});
    return builder.build();
  }

 private:
  struct Frame {
    std::string function, file;
    std::uint32_t line = 0;
  };

  [[nodiscard]] std::uint64_t ns(double ms) const { return (static_cast<std::uint64_t>(std::llround(ms * 1e6)) + 1'000'000'000) * scale; }
  TraceEvent of(EventKind kind, double at, Id id) const {
    TraceEvent event;
    event.kind = kind;
    event.time = static_cast<Timestamp>(ns(at));
    event.resource = static_cast<ResourceId>(id);
    event.lane = static_cast<LaneId>(lane_);
    event.root = RootId{1};
    return event;
  }
  std::string_view keep(std::string_view text) { return texts_.emplace_back(text); }
  void annotate(Id id, std::string_view key, Value value) {
    auto& kept = notes_.emplace_back(Annotation{keep(key), value});
    TraceEvent event = of(EventKind::kAnnotated, 0, id);
    event.annotation = &kept;
    events_.push_back(event);
  }
  TypeId type_of(std::string_view name) {
    for (std::uint16_t at = 0; at < kResourceTypeNames.size(); ++at) {
      if (kResourceTypeNames[at] == name) return static_cast<TypeId>(at);
    }
    const auto found = std::find(types_.begin(), types_.end(), name);
    if (found != types_.end()) return static_cast<TypeId>(300 + (found - types_.begin()));
    types_.emplace_back(name);
    return static_cast<TypeId>(300 + types_.size() - 1);
  }
  StackId stack_of(std::string_view text) {
    if (text.empty()) return StackId::kNone;
    const std::string key(text);
    const auto found = stack_ids_.find(key);
    if (found != stack_ids_.end()) return found->second;
    std::vector<Frame> frames;
    while (!text.empty()) {
      const std::size_t comma = text.find(", ");
      std::string_view one = text.substr(0, comma);
      text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 2);
      Frame frame;
      const std::size_t space = one.rfind(' ');
      frame.function = one.substr(0, space);
      if (space != std::string_view::npos) {
        one.remove_prefix(space + 1);
        const std::size_t colon = one.rfind(':');
        frame.file = one.substr(0, colon);
        frame.line = static_cast<std::uint32_t>(std::stoul(std::string(one.substr(colon + 1))));
      }
      frames.push_back(frame);
    }
    stacks_.push_back(frames);
    return stack_ids_[key] = static_cast<StackId>(stacks_.size());
  }

  std::vector<TraceEvent> events_;
  std::deque<std::string> texts_;
  std::deque<Annotation> notes_;
  std::deque<LossRange> losses_;
  std::vector<std::string> types_;
  std::vector<std::vector<Frame>> stacks_;
  std::map<std::string, StackId> stack_ids_;
  Id ids_ = 0, root_ = 0, last_ = 0, fillers_ = 0;
  std::uint32_t lane_ = 1;
};

/// All that patterns are sought with, of one model.
struct Analysed {
  explicit Analysed(const TraceModel& of, const AnalysisSettings& with = {})
      : settings(with), model(of), normal(normalise(model)), run(model, normal, settings), paths(run), ideal(run, paths), gaps(run),
        coverage(coverage_of(model, normal)), units(units_of(run)), groups(groups_of(run, units)),
        where(locations_of(model, run.visible)), context(run, units, groups, where, paths, &ideal, gaps, coverage) {}
  Analysed(const Analysed&) = delete;
  Analysed& operator=(const Analysed&) = delete;

  AnalysisSettings settings;
  const TraceModel& model;
  Normalised normal;
  Execution run;
  CriticalPaths paths;
  IdealSchedule ideal;
  Gaps gaps;
  Coverage coverage;
  Units units;
  Groups groups;
  Locations where;
  PatternContext context;
};

}  // namespace thence_test
