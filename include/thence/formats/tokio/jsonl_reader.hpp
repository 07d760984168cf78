// SPDX-License-Identifier: MIT
// jsonl_reader.hpp: reads Tokio runtime telemetry, one JSON object a line.
//
//   thence::TokioReader reader{model};
// | line           | becomes                                                                                              |
// |----------------|------------------------------------------------------------------------------------------------------|
// | TaskSpawn      | created, type tokio-task, its spawn_loc as a stack of one frame; by whom is not in the line          |
// | PollStart, End | entered, exited on the worker's lane                                                                 |
// | WakeEvent      | scheduled; by a task: by its invocation, on the lane where that is being polled, if it is            |
// | TaskTerminate  | settled (how is not in the line; by its own invocation while it is polled) and destroyed             |
// | WorkerPark, Unpark | parked, unparked; cpu_ns and sched_wait_ns as counters of the lane                                |
// | local_q        | a counter of the lane, where it changed                                                              |
// | QueueSample    | the counter queue depth                                                                              |
// | CpuSample      | a sample: SchedEvent off the processor, others on it; of the task that the worker polls              |
// | ClockSync      | synchronise                                                                                          |
// Lines of other kinds are counted and passed over. Times are kept as they are: those of the runtime's monotonic clock.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/json_tokens.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/json_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct TokioReaderOptions {
  /// Whether a worker's processor time and scheduling wait, which each park tells, become counters.
  bool thread_counters = true;
  JsonReaderOptions json = {};
};

/// Reads lines.
///   Shape     one line, the workers, and the distinct stacks.
///   Threads   one.
///   Cost      O(bytes).
///   Errors    damage(); std::bad_alloc.
///   Lifetime  the sink outlives it.
template <EventSink Sink>
class TokioReader {
 public:
  using Options = TokioReaderOptions;
  static constexpr std::uint64_t kMaxWorkers = 4096;
  static constexpr CounterId kLocalQueue = CounterId{16}, kCpuTime = CounterId{17}, kSchedWait = CounterId{18};

  explicit TokioReader(Sink& sink, const Options& options = {}) : out_(sink), options_(options), json_(lines(options.json)) {}
  TokioReader(const TokioReader&) = delete;
  TokioReader& operator=(const TokioReader&) = delete;

  bool feed(std::span<const std::byte> bytes) {
    if (json_.damage()) return false;
    json_.feed(bytes);
    return pump();
  }
  bool finish() {
    if (ended_) return !json_.damage();
    ended_ = true;
    json_.finish();
    if (!json_.damage()) pump();
    begin_once();
    out_.sink().end(TraceSummary{});
    return !json_.damage();
  }
  [[nodiscard]] const Damage& damage() const noexcept { return json_.damage(); }
  [[nodiscard]] std::uint64_t events() const noexcept { return out_.events(); }
  /// Lines whose "event" is not in the table above.
  [[nodiscard]] std::uint64_t unknown_lines() const noexcept { return unknown_lines_; }
  /// PollEnd on a worker that polls nothing.
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return unmatched_ends_; }

 private:
  enum Member {
    kEvent, kTime, kTaskId, kSpawnLoc, kInstrumented, kWorker, kLocalQ, kCpuNs, kTid, kSchedWaitNs, kWakerId, kWokenId,
    kTarget, kGlobalQ, kRealtime, kSource, kCallchain, kMembers
  };
  static constexpr std::string_view kNames[kMembers] = {
      "event", "timestamp_ns", "task_id", "spawn_loc", "instrumented", "worker", "local_q", "cpu_ns", "tid", "sched_wait_ns",
      "waker_task_id", "woken_task_id", "target_worker", "global_q", "realtime_ns", "source", "callchain"};

  struct Worker {
    bool defined = false;
    std::uint64_t thread_id = 0;
    std::uint64_t polling = 0;  // a task; 0: none
    std::uint64_t local_queue = ~std::uint64_t{0};
  };

  static JsonReaderOptions lines(JsonReaderOptions options) noexcept {
    options.many_values = true;
    return options;
  }

  bool pump() {
    return detail::take_tokens(json_, out_, [this](JsonToken token) { return take(token); });
  }
  bool reject(std::string_view expected) {
    json_.reject(expected);
    return false;
  }

  bool take(JsonToken token) {
    if (in_callchain_) {
      if (token == JsonToken::kEndArray) {
        in_callchain_ = false;
        return true;
      }
      if (token != JsonToken::kString) return reject("a frame's name");
      chain_ += json_.text();
      chain_ += '\0';
      return true;
    }
    if (!in_line_) {
      if (token != JsonToken::kBeginObject) return reject("an object with \"event\" and \"timestamp_ns\"");
      in_line_ = true;
      present_ = 0;
      chain_.clear();
      member_ = kMembers;
      return true;
    }
    if (token == JsonToken::kEndObject) {
      in_line_ = false;
      return line();
    }
    if (token == JsonToken::kKey) {
      member_ = find_member(json_.text());
      return true;
    }
    return value(token);
  }

  unsigned find_member(std::string_view name) const noexcept {
    for (unsigned at = 0; at < kMembers; ++at) {
      if (kNames[at] == name) return at;
    }
    return kMembers;
  }

  bool value(JsonToken token) {
    switch (member_) {
      case kEvent:
      case kSpawnLoc:
      case kSource:
        if (token != JsonToken::kString) return reject("a string");
        texts_[member_] = json_.text();
        break;
      case kInstrumented:
        if (token != JsonToken::kTrue && token != JsonToken::kFalse) return reject("true or false");
        numbers_[member_] = token == JsonToken::kTrue ? 1 : 0;
        break;
      case kCallchain:
        if (token != JsonToken::kBeginArray) return reject("an array");
        in_callchain_ = true;
        break;
      case kMembers: json_.skip(token); return true;
      default: {
        std::uint64_t number = 0;
        // realtime_ns is beyond what a double holds, so it is written as a string.
        const bool good = token == JsonToken::kNumber ? json_.number().kind == DecimalNumber::Kind::kUint
                                                      : token == JsonToken::kString && digits(json_.text(), number);
        if (!good) return reject("a whole number, 0 or more");
        numbers_[member_] = token == JsonToken::kNumber ? json_.number().magnitude : number;
        if ((member_ == kTaskId || member_ == kWakerId || member_ == kWokenId) && numbers_[member_] >> kResourceIdBits != 0) {
          return reject("an id below 281474976710656");
        }
        break;
      }
    }
    present_ |= 1u << member_;
    return true;
  }
  static bool digits(std::string_view text, std::uint64_t& number) noexcept {
    if (text.empty() || text.size() > 20) return false;
    for (const char c : text) {
      if (c < '0' || c > '9') return false;
    }
    const DecimalNumber parsed = parse_decimal(text);
    number = parsed.magnitude;
    return parsed.kind == DecimalNumber::Kind::kUint;
  }

  [[nodiscard]] bool has(unsigned member) const noexcept { return (present_ >> member & 1) != 0; }

  bool line() {
    if (!has(kEvent)) return reject("\"event\" in the line");
    if (!has(kTime)) return reject("\"timestamp_ns\" in the line");
    begin_once();
    const std::string_view what = texts_[kEvent];
    time_ = numbers_[kTime];
    if (what == "PollStart") return needs(kWorker, "\"worker\" in the line") && needs(kTaskId, "\"task_id\" in the line") && poll_start();
    if (what == "PollEnd") return needs(kWorker, "\"worker\" in the line") && poll_end();
    if (what == "WakeEvent") return needs(kWokenId, "\"woken_task_id\" in the line") && wake();
    if (what == "CpuSample") return sample();
    if (what == "WorkerPark") return needs(kWorker, "\"worker\" in the line") && park(EventKind::kParked);
    if (what == "WorkerUnpark") return needs(kWorker, "\"worker\" in the line") && park(EventKind::kUnparked);
    if (what == "QueueSample") return needs(kGlobalQ, "\"global_q\" in the line") && queue_sample();
    if (what == "TaskSpawn") return needs(kTaskId, "\"task_id\" in the line") && spawn();
    if (what == "TaskTerminate") return needs(kTaskId, "\"task_id\" in the line") && terminate();
    if (what == "ClockSync") return needs(kRealtime, "\"realtime_ns\" in the line") && synchronise();
    ++unknown_lines_;
    return true;
  }
  bool needs(unsigned member, std::string_view expected) { return has(member) || reject(expected); }

  void begin_once() {
    if (began_) return;
    began_ = true;
    TraceInfo info;
    info.clock = "monotonic";
    Sink& sink = out_.sink();
    sink.begin(info);
    types_.tell([](TypeId, std::string_view) {});
    task_type_ = types_.number_of("tokio-task");
    types_.tell([&](TypeId type, std::string_view name) { sink.define_type(type, name); });
    sink.define_counter(CounterId::kQueueDepth, "queue depth", "");
    sink.define_counter(kLocalQueue, "local queue depth", "");
    if (!options_.thread_counters) return;
    sink.define_counter(kCpuTime, "processor time", "ns");
    sink.define_counter(kSchedWait, "scheduling wait", "ns");
  }

  /// nullptr: no worker, or more than anybody has.
  Worker* worker() {
    if (!has(kWorker) || numbers_[kWorker] >= kMaxWorkers) return nullptr;
    const auto index = static_cast<std::size_t>(numbers_[kWorker]);
    if (index >= workers_.size()) workers_.resize(index + 1);
    Worker& known = workers_[index];
    const std::uint64_t thread = has(kTid) && numbers_[kTid] <= 0x7fff'ffffu ? numbers_[kTid] : 0;
    if (!known.defined || (thread != 0 && known.thread_id != thread)) {
      known.defined = true;
      if (thread != 0) known.thread_id = thread;
      const std::string name = "worker " + std::to_string(index);
      out_.sink().define_lane({lane(index), 0, static_cast<std::int32_t>(known.thread_id), name});
    }
    if (has(kLocalQ) && known.local_queue != numbers_[kLocalQ]) {
      known.local_queue = numbers_[kLocalQ];
      counter(kLocalQueue, lane(index), known.local_queue);
    }
    return &known;
  }
  [[nodiscard]] static LaneId lane(std::size_t index) noexcept { return static_cast<LaneId>(index + 1); }
  [[nodiscard]] LaneId lane_of(const Worker& worker) const noexcept {
    return lane(static_cast<std::size_t>(&worker - workers_.data()));
  }
  [[nodiscard]] const Worker* polling(std::uint64_t task) const noexcept {
    if (task == 0) return nullptr;
    for (const Worker& worker : workers_) {
      if (worker.polling == task) return &worker;
    }
    return nullptr;
  }

  [[nodiscard]] TraceEvent event(EventKind kind, std::uint64_t task, LaneId lane) const noexcept {
    TraceEvent made;
    made.kind = kind;
    made.time = static_cast<Timestamp>(time_);
    made.resource = static_cast<ResourceId>(task);
    made.lane = lane;
    return made;
  }
  void counter(CounterId which, LaneId lane, std::uint64_t value) {
    TraceEvent made = event(EventKind::kCounter, 0, lane);
    made.counter = which;
    out_.add(made, Annotation{{}, Value::of(value)});
  }

  bool poll_start() {
    const std::uint64_t task = numbers_[kTaskId];
    Worker* const on = worker();
    if (on == nullptr || task == 0) return reject_worker(on);
    on->polling = task;
    if (has(kSpawnLoc) && known_tasks_.find(task) == IdMap::kAbsent) {  // spawned before the trace began
      known_tasks_.insert(task, 0);
      out_.add(event(EventKind::kAnnotated, task, lane_of(*on)), Annotation{"spawn_loc", Value::of(std::string_view(texts_[kSpawnLoc]))});
    }
    out_.add(event(EventKind::kEntered, task, lane_of(*on)));
    return true;
  }
  bool reject_worker(const Worker* on) { return reject(on == nullptr ? "a worker below 4096" : "a task_id above 0"); }

  bool poll_end() {
    Worker* const on = worker();
    if (on == nullptr) return reject_worker(on);
    if (on->polling == 0) {
      ++unmatched_ends_;
      return true;
    }
    out_.add(event(EventKind::kExited, on->polling, lane_of(*on)));
    on->polling = 0;
    return true;
  }

  bool wake() {
    const std::uint64_t woken = numbers_[kWokenId];
    if (woken == 0) return reject("a woken_task_id above 0");
    const std::uint64_t waker = has(kWakerId) ? numbers_[kWakerId] : 0;
    const Worker* const on = polling(waker);
    TraceEvent made = event(EventKind::kScheduled, woken, on == nullptr ? LaneId::kNone : lane_of(*on));
    made.other = static_cast<ResourceId>(waker);
    // Without a task it was a driver: I/O or a timer.
    made.flags = static_cast<std::uint8_t>(waker == 0 ? Actor::kExternal : Actor::kInvocation);
    out_.add(made);
    return true;
  }

  bool spawn() {
    const std::uint64_t task = numbers_[kTaskId];
    if (task == 0) return reject("a task_id above 0");
    TraceEvent made = event(EventKind::kCreated, task, LaneId::kNone);
    made.type = task_type_;
    if (has(kSpawnLoc)) made.stack = location(texts_[kSpawnLoc]);
    if (known_tasks_.find(task) == IdMap::kAbsent) known_tasks_.insert(task, 0);
    out_.add(made);
    if (has(kInstrumented)) {
      out_.add(event(EventKind::kAnnotated, task, LaneId::kNone),
               Annotation{"instrumented", Value::of(numbers_[kInstrumented] != 0)});
    }
    return true;
  }

  bool terminate() {
    const std::uint64_t task = numbers_[kTaskId];
    if (task == 0) return reject("a task_id above 0");
    const Worker* const on = polling(task);
    TraceEvent made = event(EventKind::kSettled, task, on == nullptr ? LaneId::kNone : lane_of(*on));
    made.other = static_cast<ResourceId>(on == nullptr ? 0 : task);
    made.flags = static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kUnknown) |
                                           static_cast<unsigned>(on == nullptr ? Actor::kUnknown : Actor::kInvocation) << 4);
    out_.add(made);
    out_.add(event(EventKind::kDestroyed, task, made.lane));
    return true;
  }

  bool park(EventKind kind) {
    Worker* const on = worker();
    if (on == nullptr) return reject_worker(on);
    const LaneId where = lane_of(*on);
    out_.add(event(kind, 0, where));
    if (!options_.thread_counters) return true;
    if (has(kCpuNs)) counter(kCpuTime, where, numbers_[kCpuNs]);
    if (has(kSchedWaitNs)) counter(kSchedWait, where, numbers_[kSchedWaitNs]);
    return true;
  }

  bool queue_sample() {
    counter(CounterId::kQueueDepth, LaneId::kNone, numbers_[kGlobalQ]);
    return true;
  }

  bool sample() {
    const Worker* const on = worker();
    TraceEvent made = event(EventKind::kSample, on == nullptr ? 0 : on->polling, on == nullptr ? LaneId::kNone : lane_of(*on));
    const bool scheduler = has(kSource) && texts_[kSource] == "SchedEvent";
    made.flags = static_cast<std::uint8_t>(scheduler ? SampleKind::kOffCpu : SampleKind::kCpu);
    made.stack = call_chain();
    out_.add(made);
    return true;
  }

  bool synchronise() {
    out_.sink().synchronise({time_, time_, numbers_[kRealtime]});
    return true;
  }

  /// "file:line:column" as a stack of one frame.
  StackId location(std::string_view text) {
    const std::size_t known = stacks_.size();
    key_.assign("@").append(text);
    const std::uint32_t at = stacks_.number_of(key_);
    const auto id = static_cast<StackId>(at + 1);
    if (at < known) return id;
    FrameInfo frame;
    frame.file = text;
    std::uint32_t numbers[2] = {};
    std::string_view rest = text;
    bool whole = true;
    for (std::uint32_t& number : numbers) {
      const std::size_t colon = rest.rfind(':');
      std::uint64_t parsed = 0;
      if (colon == std::string_view::npos || rest.size() - colon > 10 || !digits(rest.substr(colon + 1), parsed)) {
        whole = false;
        break;
      }
      number = static_cast<std::uint32_t>(parsed);
      rest = rest.substr(0, colon);
    }
    if (whole) {
      frame.file = rest;
      frame.column = numbers[0];
      frame.line = numbers[1];
    }
    out_.sink().define_stack({id, std::span<const FrameInfo>(&frame, 1)});
    return id;
  }
  /// The names of the callchain, innermost first.
  StackId call_chain() {
    if (chain_.empty()) return StackId::kNone;
    const std::size_t known = stacks_.size();
    const std::uint32_t at = stacks_.number_of(chain_);
    const auto id = static_cast<StackId>(at + 1);
    if (at < known) return id;
    frames_.clear();
    const std::string_view all = chain_;
    for (std::size_t from = 0; from < all.size();) {
      const std::size_t end = all.find('\0', from);
      FrameInfo frame;
      frame.function = all.substr(from, end - from);
      frames_.push_back(frame);
      from = end + 1;
    }
    out_.sink().define_stack({id, frames_});
    return id;
  }

  EventBatch<Sink> out_;
  Options options_;
  JsonReader json_;
  TypeNumbers types_;
  TextNumbers stacks_;
  IdMap known_tasks_;
  std::vector<Worker> workers_;
  std::array<std::uint64_t, kMembers> numbers_{};
  std::array<std::string, kMembers> texts_;
  std::string chain_;  // the callchain's names, each ended by a NUL
  std::string key_;
  std::vector<FrameInfo> frames_;
  std::uint64_t time_ = 0;
  std::uint64_t unknown_lines_ = 0;
  std::uint64_t unmatched_ends_ = 0;
  TypeId task_type_ = {};
  unsigned present_ = 0;
  unsigned member_ = kMembers;
  bool in_line_ = false;
  bool in_callchain_ = false;
  bool began_ = false;
  bool ended_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
