// SPDX-License-Identifier: MIT
// random_trace.hpp: a random asynchronous program on several threads, as the events that a session would hand to its sinks,
// and as a plain log of the same events for an oracle that shares no code with thence (check_events.py).
//
// It does what real programs do and worse: callbacks nest and cross, exits happen on another lane, resources are settled
// twice, never, or before they are entered, lanes lose events, preempted threads publish late, requests are sealed while
// their code runs. A seed makes the same program with every compiler: no two draws stand in one argument list.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/core/trace_event.hpp"

namespace thence_test {

using namespace thence;

struct RandomTraceOptions {
  std::uint64_t seed = 1;
  int steps = 3000;
  unsigned lanes = 3;
  bool losses = true;
  bool late = true;
  bool crossings = true;
};

class RandomTrace {
 public:
  using Options = RandomTraceOptions;

  explicit RandomTrace(const Options& options) : options_(options), random_(options.seed) {
    lanes_.resize(options.lanes);
    make_stacks();
    for (int step = 0; step < options.steps; ++step) do_step();
    for (unsigned lane = 1; lane <= options.lanes; ++lane) end_loss(lane);
    deliver();
  }

  /// Tells `sink` all of it.
  template <class Sink>
  void play(Sink& sink) {
    TraceInfo info;
    info.salt = options_.seed * 977;
    info.process_id = 4242;
    info.process_name = "random";
    info.overflow_policy = "drop-newest";
    info.clock = "manual";
    info.sampling = "all";
    sink.begin(info);
    for (unsigned lane = 1; lane <= options_.lanes; ++lane) {
      LaneInfo lane_info;
      lane_info.id = static_cast<LaneId>(lane);
      lane_info.process_id = 4242;
      lane_info.thread_id = static_cast<std::int32_t>(5000 + lane);
      const std::string name = "worker " + std::to_string(lane);
      lane_info.name = name;
      sink.define_lane(lane_info);
    }
    sink.define_counter(CounterId::kQueueDepth, "queue depth", "tasks");
    sink.define_type(static_cast<TypeId>(256), "query");
    for (const Stack& stack : stacks_) sink.define_stack({stack.id, stack.frames});
    const std::uint64_t origin = 1'000'000'000;
    newest_ = origin;
    sink.synchronise({origin, origin - 5'000, origin + 1'700'000'000'000'000'000});
    std::size_t at = 0;
    std::mt19937_64 random(options_.seed + 1);
    while (at < delivered_.size()) {
      const std::size_t count = std::min<std::size_t>(delivered_.size() - at, 1 + random() % 64);
      std::vector<TraceEvent> batch;
      for (std::size_t n = 0; n < count; ++n) batch.push_back(delivered_[at + n].event());
      sink.take(batch);
      at += count;
      if (random() % 16 == 0) {
        const std::uint64_t now = ns_of(batch.back().time) + 1;
        newest_ = std::max(newest_, now);
        sink.synchronise({newest_, newest_ - 5'000, newest_ + 1'700'000'000'000'000'000});
        sink.flush();
      }
    }
    TraceSummary summary;
    std::vector<LaneSummary> lanes;
    for (unsigned lane = 1; lane <= options_.lanes; ++lane) {
      LaneSummary one;
      one.lane = static_cast<LaneId>(lane);
      one.lost = lanes_[lane - 1].lost_in_all;
      one.ring_bytes = 65536;
      lanes.push_back(one);
      summary.lost += one.lost.count;
    }
    summary.lanes = lanes;
    summary.events = delivered_.size();
    sink.end(summary);
  }

  /// One event a line, as JSON, in the order of delivery.
  void write_log(const std::string& path) const {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) return;
    for (const Stored& stored : delivered_) {
      const TraceEvent& e = stored.base;
      std::fprintf(file, "{\"kind\":%d,\"time\":%llu,\"resource\":%llu,\"other\":%llu,\"root\":%llu,\"lane\":%u,\"stack\":%u,"
                   "\"type\":%u,\"flags\":%u,\"late\":%s",
                   static_cast<int>(e.kind), static_cast<unsigned long long>(ns_of(e.time)),
                   static_cast<unsigned long long>(number(e.resource)), static_cast<unsigned long long>(number(e.other)),
                   static_cast<unsigned long long>(number(e.root)), static_cast<unsigned>(number(e.lane)),
                   static_cast<unsigned>(number(e.stack)), static_cast<unsigned>(e.type), e.flags, e.late ? "true" : "false");
      if (e.kind == EventKind::kAnnotated) {
        std::fprintf(file, ",\"key\":\"%s\",\"valueKind\":%d,\"cut\":%s", stored.key.c_str(), static_cast<int>(stored.value.kind),
                     stored.value.cut ? "true" : "false");
        switch (stored.value.kind) {
          case ValueKind::kString: std::fprintf(file, ",\"value\":\"%s\"", stored.text.c_str()); break;
          case ValueKind::kInt: std::fprintf(file, ",\"value\":%lld", static_cast<long long>(stored.value.integer)); break;
          case ValueKind::kUint: std::fprintf(file, ",\"value\":%llu", static_cast<unsigned long long>(stored.value.uinteger)); break;
          case ValueKind::kDouble: std::fprintf(file, ",\"value\":\"%.17g\"", stored.value.real); break;
          case ValueKind::kBool: std::fprintf(file, ",\"value\":%s", stored.value.boolean ? "true" : "false"); break;
        }
      }
      if (e.kind == EventKind::kLost) {
        std::fprintf(file, ",\"count\":%llu,\"first\":%llu,\"last\":%llu", static_cast<unsigned long long>(stored.loss.count),
                     static_cast<unsigned long long>(ns_of(stored.loss.first)),
                     static_cast<unsigned long long>(ns_of(stored.loss.last)));
      }
      std::fprintf(file, "}\n");
    }
    std::fclose(file);
  }

  [[nodiscard]] std::size_t events() const noexcept { return delivered_.size(); }

 private:
  struct Stored {
    TraceEvent base;
    std::string key, text;
    Value value;
    LossRange loss;
    std::uint64_t deliver_at = 0;
    mutable Annotation annotation;

    [[nodiscard]] TraceEvent event() const {
      TraceEvent e = base;
      if (e.kind == EventKind::kAnnotated || e.kind == EventKind::kCounter) {
        annotation.key = key;
        annotation.value = value;
        if (value.kind == ValueKind::kString) annotation.value.text = text;
        e.annotation = &annotation;
      }
      if (e.kind == EventKind::kLost) e.loss = &loss;
      return e;
    }
  };
  struct Live {
    ResourceId id;
    RootId root;
    bool is_root = false;
  };
  struct LaneState {
    std::vector<Live> running;
    std::uint64_t stall_until = 0;
    bool losing = false;
    LossRange losing_range;
    LossRange lost_in_all;
    bool parked = false;
    std::vector<std::uint64_t> pauses;
  };
  struct Stack {
    StackId id;
    std::vector<FrameInfo> frames;
  };

  std::uint64_t roll(std::uint64_t sides) { return random_() % sides; }

  void make_stacks() {
    static const char* functions[] = {"fetch", "handle", "", "load <anonymous>", "Object.\"q\"", "main"};
    static const char* files[] = {"worker.js", "node:internal/timers", "src/db.cpp", "/usr/lib/libexample.so.1", "example", ""};
    for (unsigned id = 1; id <= 24; ++id) {
      Stack stack;
      stack.id = static_cast<StackId>(id);
      const std::uint64_t depth = 1 + roll(6);
      for (std::uint64_t at = 0; at < depth; ++at) {
        FrameInfo frame;
        frame.kind = static_cast<FrameKind>(roll(3));
        frame.function = functions[roll(6)];
        frame.file = files[roll(6)];
        if (frame.kind == FrameKind::kNative) {
          frame.relative_pc = roll(100'000);
          frame.pc = 0x7f00'0000'0000 + frame.relative_pc;
          if (roll(3) != 0) frame.build_id = "00ff17a2deadbeef";
        } else {
          frame.column = static_cast<std::uint32_t>(roll(80));
        }
        frame.line = static_cast<std::uint32_t>(roll(500));
        stack.frames.push_back(frame);
      }
      stacks_.push_back(stack);
    }
  }

  void push(unsigned lane, Stored stored) {
    stored.base.lane = static_cast<LaneId>(lane);
    stored.base.time = static_cast<Timestamp>(now_);
    LaneState& state = lanes_[lane - 1];
    if (options_.losses && !state.losing && roll(300) == 0) {
      state.losing = true;
      state.losing_range = {};
    }
    if (state.losing) {
      if (state.losing_range.count == 0) state.losing_range.first = stored.base.time;
      state.losing_range.last = stored.base.time;
      ++state.losing_range.count;
      if (roll(8) == 0) end_loss(lane);
      return;
    }
    file(lane, std::move(stored));
  }
  void file(unsigned lane, Stored stored) {
    LaneState& state = lanes_[lane - 1];
    if (options_.late && state.stall_until < now_ && roll(200) == 0) state.stall_until = now_ + roll(roll(4) == 0 ? 40'000'000 : 3'000'000);
    stored.deliver_at = std::max(now_, state.stall_until);
    made_.push_back(std::move(stored));
  }
  void end_loss(unsigned lane) {
    LaneState& state = lanes_[lane - 1];
    if (!state.losing || state.losing_range.count == 0) return;
    state.losing = false;
    Stored lost;
    lost.base.kind = EventKind::kLost;
    lost.base.lane = static_cast<LaneId>(lane);
    lost.base.time = state.losing_range.first;
    lost.loss = state.losing_range;
    if (state.lost_in_all.count == 0) state.lost_in_all.first = lost.loss.first;
    state.lost_in_all.last = lost.loss.last;
    state.lost_in_all.count += lost.loss.count;
    file(lane, std::move(lost));
  }

  void act(unsigned lane, EventKind kind, const Live& live, std::uint8_t flags = 0, ResourceId other = ResourceId::kNone) {
    Stored stored;
    stored.base.kind = kind;
    stored.base.resource = live.id;
    stored.base.root = live.root;
    stored.base.flags = flags;
    stored.base.other = other;
    push(lane, std::move(stored));
  }

  Live create(unsigned lane, RootId root, ResourceId trigger, bool is_root) {
    const Live live{static_cast<ResourceId>(++ids_), root, is_root};
    Stored stored;
    stored.base.kind = EventKind::kCreated;
    stored.base.resource = live.id;
    stored.base.root = root;
    stored.base.other = trigger;
    if (!is_root) stored.base.type = static_cast<TypeId>(roll(12) == 0 ? 256 : 1 + roll(5));
    if (roll(2) == 0) stored.base.stack = static_cast<StackId>(1 + roll(24));
    push(lane, std::move(stored));
    live_.push_back(live);
    return live;
  }

  [[nodiscard]] Live any() {
    // Mostly recent ones, so that much happens to few.
    const std::size_t window = std::min<std::size_t>(live_.size(), 24);
    return live_[live_.size() - 1 - roll(window)];
  }

  void do_step() {
    const std::uint64_t pace = roll(20);
    now_ += pace == 0 ? roll(30'000'000) : pace < 4 ? 0 : roll(2'000);
    const auto lane = static_cast<unsigned>(1 + roll(options_.lanes));
    LaneState& state = lanes_[lane - 1];
    const Live current = state.running.empty() ? Live{ResourceId::kNone, RootId::kNone} : state.running.back();
    switch (const std::uint64_t choice = roll(100); choice) {
      case 0: case 1: create(lane, static_cast<RootId>(++roots_), ResourceId::kNone, true); return;
      case 2: {
        if (roots_ == 0) return;
        const auto root = static_cast<RootId>(1 + roll(roots_));
        Stored sealed;
        sealed.base.kind = EventKind::kRootSealed;
        sealed.base.root = root;
        sealed.base.flags = static_cast<std::uint8_t>(roll(4));
        sealed.base.time = static_cast<Timestamp>(now_);
        sealed.deliver_at = now_ + roll(2'000'000);
        made_.push_back(std::move(sealed));
        return;
      }
      case 3: {
        Stored counter;
        counter.base.kind = EventKind::kCounter;
        counter.base.counter = roll(4) == 0 ? static_cast<CounterId>(20) : CounterId::kQueueDepth;
        counter.value = roll(2) == 0 ? Value::of(static_cast<std::uint64_t>(random_()))
                                     : Value::of(static_cast<double>(roll(1000)) / 7);
        push(lane, std::move(counter));
        return;
      }
      case 4: case 5:
        state.parked = !state.parked;
        act(lane, state.parked ? EventKind::kParked : EventKind::kUnparked, {ResourceId::kNone, RootId::kNone});
        return;
      case 6: case 7: {
        if (roll(2) == 0 || state.pauses.empty()) {
          state.pauses.push_back(roll(5));
          act(lane, EventKind::kPauseBegan, {static_cast<ResourceId>(state.pauses.back()), RootId::kNone});
        } else {
          act(lane, EventKind::kPauseEnded, {static_cast<ResourceId>(state.pauses.back()), RootId::kNone});
          state.pauses.pop_back();
        }
        return;
      }
      default: break;
    }
    if (live_.empty() || roll(6) == 0) {
      create(lane, current.root, current.id, false);
      return;
    }
    const Live chosen = any();
    switch (roll(12)) {
      case 0: case 1: {
        if (state.running.size() > 12) return;
        const auto cause = static_cast<std::uint8_t>(roll(5));
        const ResourceId by = roll(2) == 0 ? any().id : ResourceId::kNone;
        act(lane, EventKind::kEntered, chosen, cause, by);
        state.running.push_back(chosen);
        return;
      }
      case 2: case 3: case 4: {
        if (state.running.empty()) {
          if (roll(20) == 0) act(lane, EventKind::kExited, chosen);  // never entered here
          return;
        }
        std::size_t at = state.running.size() - 1;
        if (options_.crossings && roll(4) == 0) at = roll(state.running.size());
        const Live leaving = state.running[at];
        state.running.erase(state.running.begin() + static_cast<std::ptrdiff_t>(at));
        unsigned exit_lane = lane;
        if (options_.crossings && roll(30) == 0) exit_lane = static_cast<unsigned>(1 + roll(options_.lanes));
        act(exit_lane, EventKind::kExited, leaving);
        return;
      }
      case 5: act(lane, EventKind::kScheduled, chosen, static_cast<std::uint8_t>(current.id == ResourceId::kNone ? 2 : roll(3)),
                  current.id);
        return;
      case 6: case 7:
        act(lane, EventKind::kSettled, chosen,
            static_cast<std::uint8_t>(roll(5) | (current.id == ResourceId::kNone ? 2u : 1u) << 4), current.id);
        return;
      case 8: act(lane, EventKind::kDestroyed, chosen); return;
      case 9: {
        const auto kind = static_cast<std::uint8_t>(roll(2));
        act(lane, EventKind::kLinked, chosen, kind, any().id);
        return;
      }
      case 10: {
        Stored note;
        note.base.kind = EventKind::kAnnotated;
        note.base.resource = chosen.id;
        note.base.root = chosen.root;
        static const char* keys[] = {"url", "rows", "delay", "ok", "ratio"};
        const std::uint64_t which = roll(5);
        note.key = keys[which];
        switch (which) {
          case 0:
            note.text = "https://example.org/" + std::string(roll(60), 'x');
            note.value = Value::of(std::string_view{}, roll(5) == 0);
            break;
          case 1: note.value = Value::of(static_cast<std::uint64_t>(random_())); break;
          case 2: note.value = Value::of(static_cast<std::int64_t>(random_())); break;
          case 3: note.value = Value::of(roll(2) == 0); break;
          default: note.value = Value::of(static_cast<double>(random_()) / 3e17); break;
        }
        push(lane, std::move(note));
        return;
      }
      default:
        if (chosen.is_root) act(lane, EventKind::kRootFinished, chosen);
        return;
    }
  }

  /// The order in which a session would hand them over: by time, but for lanes that published late; and nothing of a
  /// root after its seal.
  void deliver() {
    std::stable_sort(made_.begin(), made_.end(), [](const Stored& a, const Stored& b) { return a.deliver_at < b.deliver_at; });
    Timestamp last{};
    std::vector<RootId> sealed;
    for (Stored& stored : made_) {
      const RootId root = stored.base.root;
      if (root != RootId::kNone && std::find(sealed.begin(), sealed.end(), root) != sealed.end()) continue;
      if (stored.base.kind == EventKind::kRootSealed) {
        sealed.push_back(root);
        stored.base.time = std::max(stored.base.time, last);
      }
      stored.base.late = stored.base.time < last;
      last = std::max(last, stored.base.time);
      delivered_.push_back(std::move(stored));
    }
  }

  Options options_;
  std::mt19937_64 random_;
  std::uint64_t now_ = 2'000'000'000;
  std::uint64_t newest_ = 1'000'000'000;
  std::uint64_t ids_ = 0;
  std::uint64_t roots_ = 0;
  std::vector<LaneState> lanes_;
  std::vector<Stack> stacks_;
  std::vector<Live> live_;
  std::vector<Stored> made_;
  std::vector<Stored> delivered_;
};

/// A ByteSink that is a file.
class TestFile {
 public:
  explicit TestFile(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {}
  ~TestFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  [[nodiscard]] bool write(std::span<const std::byte> bytes) noexcept {
    return file_ != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size();
  }

 private:
  std::FILE* file_;
};

/// `request-<ordinal>.json` in a directory.
struct TestDocuments {
  std::string directory;
  TestFile open(RootId, std::uint64_t ordinal) { return TestFile(directory + "/request-" + std::to_string(ordinal) + ".json"); }
};

}  // namespace thence_test
