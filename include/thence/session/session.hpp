// SPDX-License-Identifier: MIT
// session.hpp: one recording: it owns the tracers, drains them, puts their events in order and feeds the sinks.
//
//   thence::Session session{{.process_name = "my-server"}};
//   session.add_sink(thence::PerfettoFile{"trace.pftrace"});
//   session.start();
//   auto lane = session.attach("loop");            // on the thread that is to be traced
//   thence::Tracer& tracer = lane.tracer();
//   ...
//   session.close();                               // or the destructor
//
// Layer: session (includes capture/, storage/, core/).
#pragma once

#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/session/any_sink.hpp"
#include "thence/session/clock_sync.hpp"
#include "thence/session/fork_guard.hpp"
#include "thence/session/lane_reader.hpp"
#include "thence/session/redaction.hpp"
#include "thence/session/root_book.hpp"
#include "thence/session/stack_resolver.hpp"
#include "thence/storage/mapped_storage.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Every member has a default that suits a server; a comment says what is lost at either end.
struct SessionOptions {
  std::string process_name = {};  ///< shown in the trace; empty: the executable's name

  /// Slots of a lane's ring (32 bytes each). Fewer: bursts between two drains are lost, and counted. More: memory a lane, and
  /// a ring that outgrows the L2 cache makes every event dearer.
  std::size_t ring_events = std::size_t{1} << 16;
  /// Slots of the reserve, for SpillOnce only.
  std::size_t reserve_events = std::size_t{1} << 18;
  /// Distinct stacks and strings a lane can tell apart; beyond, an event bears no stack, and it is counted.
  StackWords::Options stacks = {};
  StringDeduplicator::Options strings = {.max_stacks = 16'384, .max_frames = 1u << 20};

  /// Where MappedFileStorage puts its rings: `<process>-<pid>-<lane>-<salt>.flight`, one a lane. What a killed process leaves
  /// there can be read (open_flight_file, storage/flight_file.hpp); a lane that ends well removes its file. The directory must be there.
  std::string flight_directory = ".";

  Sampling sampling = Sampling::all();
  Redactor redact = {};  ///< what of annotations' strings may leave; none: all of it

  /// A thread of the session's drains the rings. False: the host calls drain() itself.
  bool drain_thread = true;
  /// Pause between two looks at the rings. Longer: fuller rings. Shorter: more wake-ups. A ring a quarter full is drained at once.
  std::uint32_t drain_every_us = 5'000;
  /// Events of several lanes are put in order within this time. Longer: more memory. Shorter: a thread that is preempted while
  /// it writes an event publishes it late more often; late events are kept, marked and counted.
  std::uint64_t reorder_window_ns = 5'000'000;
  /// When roots are closed.
  RootLimits roots = {};
  /// Readings of the clocks against each other, for the trace and for the tick rate.
  std::uint64_t synchronise_every_ns = 1'000'000'000;

  /// Told what went wrong, once each: a sink that cannot be written, a session that cannot be started. On the thread where it
  /// happened. None: written to standard error.
  std::function<void(std::string_view message)> on_error = {};
};

namespace detail {
/// A tracer and all that must live as long as its user holds the lane.
template <TracerPolicies Policies>
struct LaneState {
  using TracerType = BasicTracer<Policies>;

  template <class... RingArguments>
  LaneState(LaneId lane_id, std::string_view lane_name, std::shared_ptr<TracerLink> shared, typename Policies::Clock clock,
            const SessionOptions& options, RingArguments&&... ring)
      : id(lane_id),
        name(lane_name),
        link(std::move(shared)),
        tracer(*link, clock, options.stacks, options.strings, std::forward<RingArguments>(ring)...),
        reader(lane_id) {}

  LaneId id;
  std::string name;
  std::int32_t thread_id = 0;
  std::shared_ptr<TracerLink> link;
  TracerType tracer;
  std::atomic<bool> retired{false};
  // The draining side's.
  LaneReader reader;
  detail::Vector<StackId> stacks;  // the tracer's id -> the session's
};
}  // namespace detail

/// A thread's place in a session. Destroying it ends the lane; what it recorded is still drained.
///   Threads   made, used and destroyed on the traced thread
///   Lifetime  may outlive the session: its tracer then records nothing
template <TracerPolicies Policies>
class [[nodiscard]] BasicLane {
 public:
  BasicLane() = default;
  explicit BasicLane(std::shared_ptr<detail::LaneState<Policies>> state) noexcept : state_(std::move(state)) {}
  BasicLane(BasicLane&&) noexcept = default;
  BasicLane& operator=(BasicLane&& other) noexcept {
    if (this != &other) {
      detach();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~BasicLane() { detach(); }

  /// Whether there is a tracer: not for a default-made lane, nor after detach().
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
  [[nodiscard]] BasicTracer<Policies>& tracer() const noexcept { return state_->tracer; }
  [[nodiscard]] LaneId id() const noexcept { return state_ == nullptr ? LaneId::kNone : state_->id; }
  /// Ends the lane now. The tracer must not be used any more.
  void detach() noexcept {
    if (state_ == nullptr) return;
    state_->tracer.set_epoch(0);
    state_->retired.store(true, std::memory_order_release);  // pairs with the acquire in drain: all was pushed before
    state_.reset();
  }

 private:
  std::shared_ptr<detail::LaneState<Policies>> state_;
};

/// One recording, from start() to close(). Several may run in one process.
///   Threads   any thread for every call but attach(), which takes the calling thread. Calls exclude one another; tracers never wait.
///   Cost      drain: O(events). Nothing here is called from a hot path.
///   When full memory does not grow with requests: a closed root is forgotten. Events wait here for reorder_window_ns at most.
///   Errors    reported to on_error and counted; a failing sink is fed no more, and never stops the host.
///   Lifetime  lanes may outlive it. In a child after fork it is dead: it writes nothing, and may be destroyed.
template <TracerPolicies Policies = DefaultPolicies>
class BasicSession final : private ForkAware {
 public:
  using TracerType = BasicTracer<Policies>;
  using LaneType = BasicLane<Policies>;
  using ClockType = typename Policies::Clock;

  explicit BasicSession(SessionOptions options = {}, ClockType clock = {})
      : options_(std::move(options)), clock_(clock), link_(std::make_shared<TracerLink>()), roots_(options_.roots) {
    link_->set_sampling(options_.sampling);
    if (options_.process_name.empty()) options_.process_name = program_invocation_short_name;
    static_cast<void>(::getrandom(&salt_, sizeof salt_, 0));
    watch_forks();
  }
  BasicSession(const BasicSession&) = delete;
  BasicSession& operator=(const BasicSession&) = delete;
  ~BasicSession() {
    unwatch_forks();
    close();
  }

  /// Feeds this sink, from the session's beginning: call it before start().
  template <class Sink>
  void add_sink(Sink sink) {
    const std::lock_guard lock(mutex_);
    if (began_) return report("a sink was added after start(): it is not fed, because it would miss the trace's beginning");
    sinks_.push_back(FedSink{AnySink(std::move(sink)), true});
  }

  /// A counter of the host's; name and unit as the trace shows them.
  CounterId define_counter(std::string_view name, std::string_view unit) {
    const std::lock_guard lock(mutex_);
    const auto id = static_cast<CounterId>(static_cast<unsigned>(CounterId::kFirstOfHost) + counters_.size());
    counters_.push_back({std::string(name), std::string(unit)});
    if (began_) each_sink([&](AnySink& sink) { sink.define_counter(id, name, unit); });
    return id;
  }

  /// The calling thread's lane, shown under `name`. It records while the session does. An empty one, told to on_error, where
  /// its storage could not be made: only MappedFileStorage can fail.
  LaneType attach(std::string_view name) {
    const std::lock_guard lock(mutex_);
    const bool ended = abandoned_ || closed_;
    if (ended) report("a thread was attached to a session that has ended: it records nothing");
    auto lane = make_lane(ended ? LaneId::kNone : static_cast<LaneId>(++lanes_made_), name);
    if (ended || lane == nullptr) return LaneType(std::move(lane));
    add_clock_point(*lane);
    lane->thread_id = static_cast<std::int32_t>(::syscall(SYS_gettid));
    lane->tracer.set_epoch(running_ ? epoch_ : 0);
    lanes_.push_back(lane);
    if (began_) define_lane(*lane);
    return LaneType(std::move(lane));
  }

  /// Begins, or goes on after stop(). False in a child after fork, and after close().
  bool start() {
    {
      const std::lock_guard lock(mutex_);
      if (abandoned_ || closed_) {
        report(abandoned_ ? "a session does not outlive fork: make a new one in the child"
                          : "a session that was closed cannot be started again");
        return false;
      }
      if (running_) return true;
      if (!began_) begin();
      running_ = true;
      ++epoch_;
      for (const auto& lane : lanes_) {
        if (!lane->retired.load(std::memory_order_relaxed)) lane->tracer.set_epoch(epoch_);
      }
    }
    if (options_.drain_thread) start_thread();
    return true;
  }

  /// Stops recording; what was recorded is handed to the sinks. Roots stay open: start() goes on with them.
  void stop() {
    stop_thread();
    const std::lock_guard lock(mutex_);
    if (!running_ || abandoned_) return;
    stop_tracers();
    drain_locked(true);
    each_sink([](AnySink& sink) { sink.flush(); });
  }

  /// Stops, closes every root, and ends the sinks. Further calls do nothing.
  void close() {
    stop_thread();
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    if (abandoned_) {
      for (FedSink& sink : sinks_) sink.sink.abandon();
      return;
    }
    stop_tracers();
    if (!began_) return;
    drain_locked(true);
    add_unmarked_losses();
    drain_locked(true);
    roots_.close_all([this](RootId root, SealReason reason) { seal(root, reason); });
    hand_over();
    synchronise();
    const TraceSummary summary = make_summary();
    each_sink([&](AnySink& sink) {
      sink.flush();
      sink.end(summary);
    });
    sinks_.clear();
    for (const auto& lane : lanes_) each_file(*lane, [](auto& file) { file.remove(); });
  }

  /// Hands on what the lanes have recorded; needed only without a drain thread.
  void drain() {
    const std::lock_guard lock(mutex_);
    // The host calls it where its only lane rests: nothing is under way that could come late.
    if (began_ && !closed_ && !abandoned_) drain_locked(lanes_.size() <= 1);
  }

  /// For roots that begin from now on.
  void set_sampling(Sampling sampling) noexcept { link_->set_sampling(sampling); }

  [[nodiscard]] bool running() const {
    const std::lock_guard lock(mutex_);
    return running_;
  }
  /// As of now; the lanes' figures are only in the summary that sinks get.
  [[nodiscard]] TraceSummary statistics() const {
    const std::lock_guard lock(mutex_);
    TraceSummary summary = totals_;
    summary.lost += retired_lost_;
    for (const auto& lane : lanes_) summary.lost += lane->tracer.ring().lost();
    summary.after_seal = roots_.after_seal();
    summary.roots_sealed = roots_.sealed();
    summary.roots_abandoned = roots_.abandoned();
    for (const FedSink& sink : sinks_) summary.bytes_written += sink.sink.bytes_written();
    return summary;
  }
  [[nodiscard]] std::size_t open_roots() const {
    const std::lock_guard lock(mutex_);
    return roots_.open();
  }

 private:
  using LanePointer = std::shared_ptr<detail::LaneState<Policies>>;
  using Ring = typename TracerType::Ring;
  using PolicyType = typename Ring::OverflowPolicyType;
  using StorageType = std::remove_reference_t<decltype(std::declval<Ring&>().storage())>;
  static constexpr std::size_t kRetiredSummaries = 1024;

  struct FedSink {
    AnySink sink;
    bool fed = true;
  };
  struct CounterName {
    std::string name;
    std::string unit;
  };

  LanePointer make_lane(LaneId id, std::string_view name) {
    const auto make = [&](auto&&... ring) {
      return std::make_shared<detail::LaneState<Policies>>(id, name, link_, clock_, options_,
                                                           std::forward<decltype(ring)>(ring)...);
    };
    if constexpr (std::same_as<StorageType, MappedFileStorage>) {
      std::optional<StorageType> main = make_file(id, name, options_.ring_events, "");
      if (!main) return nullptr;
      if constexpr (PolicyType::kHasReserve) {
        std::optional<StorageType> reserve = make_file(id, name, options_.reserve_events, "-reserve");
        return reserve ? make(std::move(*main), std::move(*reserve)) : nullptr;
      } else {
        return make(std::move(*main));
      }
    } else if constexpr (!std::constructible_from<StorageType, std::size_t>) {
      return make();
    } else if constexpr (PolicyType::kHasReserve) {
      return make(StorageType(options_.ring_events), StorageType(options_.reserve_events));
    } else {
      return make(StorageType(options_.ring_events));
    }
  }

  /// A lane's flight file; none, and a report, where it cannot be made.
  std::optional<MappedFileStorage> make_file(LaneId id, std::string_view name, std::size_t events, const char* which) {
    const auto process = static_cast<std::int32_t>(::getpid());
    std::array<char, 20> salt;
    std::snprintf(salt.data(), salt.size(), "%016llx", static_cast<unsigned long long>(salt_));
    const std::string path = options_.flight_directory + "/" + options_.process_name + "-" + std::to_string(process) + "-" +
                             std::to_string(number(id)) + "-" + salt.data() + which + ".flight";
    FlightFileInfo info;
    info.salt = salt_;
    info.lane = id;
    info.process_id = process;
    info.process_name = options_.process_name;
    info.lane_name = name;
    info.clock = clock_.name();
    info.nanoseconds_per_tick = clock_.nanoseconds_per_tick();
    MappedFile mapped = MappedFileStorage::create(path.c_str(), events, info);
    if (!mapped) report(mapped.error);
    return std::move(mapped.storage);
  }

  template <class Call>
  static void each_file(detail::LaneState<Policies>& lane, Call&& call) {
    if constexpr (std::same_as<StorageType, MappedFileStorage>) {
      call(lane.tracer.ring().storage());
      if constexpr (PolicyType::kHasReserve) call(lane.tracer.ring().reserve_storage());
    }
  }
  void add_clock_point(detail::LaneState<Policies>& lane) const {
    each_file(lane, [&](auto& file) { file.add_clock_point({clock_.now(), read_clock_snapshot()}); });
  }

  // ---- beginning and ending

  void begin() {
    began_ = true;
    if (clock_.nanoseconds_per_tick() == 1) {
      converter_.begin_exact();
    } else {
      const ClockPair first = read_pair(clock_);
      ClockPair second = first;
      while (second.ns - first.ns < 1'000'000) second = read_pair(clock_);
      converter_.begin(first, second);
    }
    TraceInfo info;
    info.salt = salt_;
    info.process_id = static_cast<std::int32_t>(::getpid());
    info.process_name = options_.process_name;
    info.overflow_policy = PolicyType::kName;
    info.clock = clock_.name();
    const std::string sampling = name_of(link_->sampling());
    info.sampling = sampling;
    each_sink([&](AnySink& sink) { sink.begin(info); });
    synchronise();
    each_sink([&](AnySink& sink) {
      sink.define_counter(CounterId::kQueueDepth, "queue-depth", "tasks");
      sink.define_counter(CounterId::kPending, "pending", "resources");
      sink.define_counter(CounterId::kLoopLag, "loop-lag", "ns");
      for (std::size_t at = 0; at < counters_.size(); ++at) {
        sink.define_counter(static_cast<CounterId>(static_cast<std::size_t>(CounterId::kFirstOfHost) + at), counters_[at].name,
                            counters_[at].unit);
      }
    });
    for (const auto& lane : lanes_) define_lane(*lane);
  }

  void stop_tracers() {
    running_ = false;
    for (const auto& lane : lanes_) lane->tracer.set_epoch(0);
  }

  [[nodiscard]] static std::string name_of(Sampling sampling) {
    switch (sampling.mode) {
      case Sampling::Mode::kAll: return "all";
      case Sampling::Mode::kNone: return "none";
      case Sampling::Mode::kOneIn: return "one in " + std::to_string(sampling.every);
      case Sampling::Mode::kWhenAsked: return "when asked";
    }
    return "unknown";
  }

  void define_lane(const detail::LaneState<Policies>& lane) {
    LaneInfo info;
    info.id = lane.id;
    info.process_id = static_cast<std::int32_t>(::getpid());
    info.thread_id = lane.thread_id;
    info.name = lane.name;
    each_sink([&](AnySink& sink) { sink.define_lane(info); });
  }

  // ---- draining

  void drain_locked(bool everything) {
    const std::uint64_t began = read_system_clock(CLOCK_BOOTTIME);
    // Read before the rings: what is published later is later than this, but for a preempted thread's.
    const Timestamp now = converter_.to_timestamp(clock_.now());
    for (const auto& lane : lanes_) read_lane(*lane);
    merge_until(everything ? static_cast<Timestamp>(~std::uint64_t{0}) : before(now, options_.reorder_window_ns));
    hand_over();
    for (const auto& lane : lanes_) lane->reader.recycle();
    let_retired_go();
    const Timestamp settled = everything ? now : before(now, options_.reorder_window_ns);
    roots_.close_due(settled, [this, settled](RootId root, SealReason reason) { seal(root, reason, settled); });
    hand_over();
    each_sink([](AnySink& sink) { sink.flush(); });
    const std::uint64_t ended = read_system_clock(CLOCK_BOOTTIME);
    if (ended - last_sync_ >= options_.synchronise_every_ns) synchronise();
    totals_.drain_ns += ended - began;
  }

  [[nodiscard]] static Timestamp before(Timestamp time, std::uint64_t ns) noexcept {
    return static_cast<Timestamp>(ns_of(time) > ns ? ns_of(time) - ns : 0);
  }

  void read_lane(detail::LaneState<Policies>& lane) {
    lane.tracer.ring().drain([&](const RecordView& record) { lane.reader.add(record, to_time()); });
  }
  [[nodiscard]] auto to_time() const noexcept {
    return [this](Ticks ticks) { return converter_.to_timestamp(ticks); };
  }

  StackId session_stack(detail::LaneState<Policies>& lane, StackId stack) {
    const auto index = static_cast<std::size_t>(stack);
    if (index < lane.stacks.size() && lane.stacks[index] != StackId::kNone) return lane.stacks[index];
    const StackResolver::Resolved known = resolver_.resolve(lane.tracer.stacks().frames(stack), lane.tracer.strings());
    if (known.is_new) each_sink([&](AnySink& sink) { sink.define_stack(StackInfo{known.id, resolver_.frames()}); });
    if (index >= lane.stacks.size()) lane.stacks.resize(index + 1, StackId::kNone);
    lane.stacks[index] = known.id;
    return known.id;
  }

  /// Hands on all events up to `horizon`, in order of time; at equal times the lane attached first comes first.
  void merge_until(Timestamp horizon) {
    while (true) {
      detail::LaneState<Policies>* first = nullptr;
      Timestamp earliest = horizon, until = horizon;
      for (const auto& lane : lanes_) {
        if (lane->reader.empty()) continue;
        const Timestamp time = converter_.to_timestamp(lane->reader.front());
        if (time > horizon) continue;
        if (first == nullptr || time < earliest) {
          if (first != nullptr) until = earliest;
          first = lane.get();
          earliest = time;
        } else {
          until = std::min(until, time);
        }
      }
      if (first == nullptr) return;
      // The earliest lane goes on until another lane's turn.
      emit(*first, earliest, until);
    }
  }

  /// Hands on what `lane` has up to `until`: the event at `time`, which is its next one, and those after it.
  void emit(detail::LaneState<Policies>& lane, Timestamp time, Timestamp until) {
    LaneReader& reader = lane.reader;
    do {
      TraceEvent& event = batch_.next();
      reader.next(
          event, time, arena_, to_time(), [&](StackId stack) { return session_stack(lane, stack); },
          [this](std::string_view key, std::string_view value) {
            return options_.redact ? options_.redact(key, value, redacted_) : value;
          });
      if (!roots_.admit(event)) [[unlikely]] continue;
      if (event.time < last_time_) [[unlikely]] {
        event.late = true;
        ++totals_.late_events;
      } else {
        last_time_ = event.time;
      }
      ++totals_.events;
      if (event.kind == EventKind::kCreated && !types_.test(static_cast<std::size_t>(event.type))) [[unlikely]] {
        const TraceEvent first_of_type = event;
        define_type(first_of_type.type);
        batch_.next() = first_of_type;
      }
      batch_.keep();
      if (batch_.full()) hand_over();
    } while (!reader.empty() && (time = converter_.to_timestamp(reader.front())) <= until);
  }

  void seal(RootId root, SealReason reason) { seal(root, reason, last_time_); }
  void seal(RootId root, SealReason reason, Timestamp at) {
    TraceEvent event;
    event.kind = EventKind::kRootSealed;
    event.root = root;
    event.flags = static_cast<std::uint8_t>(reason);
    event.time = std::max(at, last_time_);
    last_time_ = event.time;
    batch_.next() = event;
    batch_.keep();
    if (batch_.full()) hand_over();
  }

  void define_type(TypeId type) {
    const auto index = static_cast<std::size_t>(type);
    if (types_.test(index)) return;
    types_.set(index);
    hand_over();
    each_sink([&](AnySink& sink) { sink.define_type(type, Policies::Types::name(type)); });
  }

  void hand_over() {
    if (batch_.empty()) return;
    const View<const TraceEvent> events = batch_.events();
    batch_.clear();  // first: there is room for the next one also where a sink throws
    each_sink([events](AnySink& sink) { sink.take(events); });
    arena_.clear();
  }

  void synchronise() {
    if (clock_.nanoseconds_per_tick() != 1) converter_.synchronise(read_pair(clock_));
    ClockSnapshot snapshot = read_clock_snapshot();
    last_sync_ = snapshot.boottime;
    // A clock that is taken as it is may be another one (ManualClock): what the trace's times are, they are here too.
    if (clock_.nanoseconds_per_tick() == 1) snapshot.boottime = count_of(clock_.now());
    each_sink([&](AnySink& sink) { sink.synchronise(snapshot); });
    for (const auto& lane : lanes_) add_clock_point(*lane);
  }

  // ---- losses and lanes that have ended

  void add_unmarked_losses() {
    for (const auto& lane : lanes_) add_unmarked_loss(*lane);
  }
  void add_unmarked_loss(detail::LaneState<Policies>& lane) {
    const auto loss = lane.tracer.ring().unmarked_loss(lane.reader.marked_lost());
    if (loss.count == 0) return;
    lane.reader.add_loss(loss, to_time());
  }

  /// A lane whose thread is gone, and whose events are all handed on, is forgotten; its figures are kept.
  void let_retired_go() {
    lanes_.erase_if([this](const LanePointer& lane) {
      if (!lane->retired.load(std::memory_order_acquire)) return false;
      read_lane(*lane);
      add_unmarked_loss(*lane);
      if (!lane->reader.empty()) return false;
      each_file(*lane, [](auto& file) { file.remove(); });
      LaneSummary summary = summary_of(*lane);
      retired_lost_ += summary.lost.count;
      if (retired_.size() < kRetiredSummaries) {
        retired_.push_back(summary);
      } else {
        fold(retired_.back(), summary);
      }
      return true;
    });
  }

  [[nodiscard]] LaneSummary summary_of(detail::LaneState<Policies>& lane) const {
    LaneSummary summary;
    summary.lane = lane.id;
    summary.events = lane.reader.records();
    summary.lost = lane.reader.lost();
    summary.misuse = lane.tracer.misuse();
    summary.ring_bytes = lane.tracer.ring().capacity() * sizeof(Event);
    return summary;
  }

  /// The last summary stands for all further lanes, under no lane's name.
  static void fold(LaneSummary& all, const LaneSummary& one) noexcept {
    all.lane = LaneId::kNone;
    all.events += one.events;
    all.lost.add(one.lost);
    all.misuse.exit_without_enter += one.misuse.exit_without_enter;
    all.misuse.exits_crossed += one.misuse.exits_crossed;
    all.misuse.too_deep += one.misuse.too_deep;
    all.misuse.annotations_cut += one.misuse.annotations_cut;
    all.misuse.stacks_refused += one.misuse.stacks_refused;
    all.misuse.roots_ends_lost += one.misuse.roots_ends_lost;
    all.ring_bytes += one.ring_bytes;
  }

  [[nodiscard]] TraceSummary make_summary() {
    summaries_.clear();
    for (const LaneSummary& lane : retired_) summaries_.push_back(lane);
    for (const auto& lane : lanes_) summaries_.push_back(summary_of(*lane));
    TraceSummary summary = totals_;
    summary.lanes = summaries_;
    for (const LaneSummary& lane : summaries_) summary.lost += lane.lost.count;
    summary.after_seal = roots_.after_seal();
    summary.roots_sealed = roots_.sealed();
    summary.roots_abandoned = roots_.abandoned();
    for (const FedSink& sink : sinks_) summary.bytes_written += sink.sink.bytes_written();
    return summary;
  }

  // ---- sinks

  template <class Call>
  void each_sink(Call&& call) {
    for (FedSink& sink : sinks_) {
      if (!sink.fed) continue;
      call(sink.sink);
      if (const std::string_view failure = sink.sink.failure(); !failure.empty()) {
        sink.fed = false;
        report(failure);
      }
    }
  }

  void report(std::string_view message) const {
    if (options_.on_error) {
      options_.on_error(message);
      return;
    }
    const std::string line = "thence: " + std::string(message) + "\n";
    static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
  }

  // ---- the only thread

  struct DrainThread {
    std::condition_variable wake;
    bool stops = false;
    std::thread thread;
  };

  void start_thread() {
    const std::lock_guard lock(thread_mutex_);
    if (thread_ != nullptr) return;
    thread_ = std::make_unique<DrainThread>();
    thread_->thread = std::thread([this, self = thread_.get()] { run(*self); });
  }

  void stop_thread() {
    std::unique_ptr<DrainThread> ending;
    {
      const std::lock_guard lock(thread_mutex_);
      ending = std::move(thread_);
      if (ending == nullptr) return;
      ending->stops = true;
    }
    ending->wake.notify_all();
    ending->thread.join();
  }

  void run(DrainThread& self) {
    std::unique_lock lock(thread_mutex_);
    while (!self.stops) {
      lock.unlock();
      drain_from_thread();
      const bool busy = is_filling();
      lock.lock();
      if (!busy) self.wake.wait_for(lock, std::chrono::microseconds(options_.drain_every_us), [&] { return self.stops; });
    }
  }

  void drain_from_thread() {
    const std::lock_guard lock(mutex_);
    if (began_ && !closed_ && !abandoned_) drain_locked(false);
  }

  [[nodiscard]] bool is_filling() const {
    // A flight recorder is always full.
    if constexpr (requires(const Ring& ring) { ring.overwritten(); }) return false;
    const std::lock_guard lock(mutex_);
    return std::any_of(lanes_.begin(), lanes_.end(), [](const LanePointer& lane) {
      return lane->tracer.ring().fill() > lane->tracer.ring().capacity() / 4;
    });
  }

  // ---- fork

  void before_fork() noexcept override {
    thread_mutex_.lock();
    mutex_.lock();
  }
  void after_fork_in_parent() noexcept override {
    mutex_.unlock();
    thread_mutex_.unlock();
  }
  void after_fork_in_child() noexcept override {
    abandoned_ = true;
    stop_tracers();
    // It does not exist here: to join it would not end, and to destroy what it waits on would wait for it.
    static_cast<void>(thread_.release());
    mutex_.unlock();
    thread_mutex_.unlock();
  }

  SessionOptions options_;
  ClockType clock_;
  std::shared_ptr<TracerLink> link_;
  std::uint64_t salt_ = 0;

  mutable std::mutex mutex_;  // all below, down to the thread's
  detail::Vector<FedSink> sinks_;
  detail::Vector<CounterName> counters_;
  detail::Vector<LanePointer> lanes_;
  std::uint32_t lanes_made_ = 0;
  std::uint32_t epoch_ = 0;
  bool began_ = false;
  bool running_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
  TickConverter converter_;
  StackResolver resolver_;
  RootBook roots_;
  std::bitset<65536> types_;
  DrainBatch batch_;
  BlockArena arena_;  // what the batch points to
  std::string redacted_;
  Timestamp last_time_ = {};
  std::uint64_t last_sync_ = 0;
  TraceSummary totals_;
  detail::Vector<LaneSummary> retired_;
  std::uint64_t retired_lost_ = 0;
  detail::Vector<LaneSummary> summaries_;

  std::mutex thread_mutex_;
  std::unique_ptr<DrainThread> thread_;
};

/// The lane of a program that was built without tracing.
class NullLane {
 public:
  [[nodiscard]] explicit operator bool() const noexcept { return false; }
  [[nodiscard]] NullTracer& tracer() const noexcept {
    static NullTracer tracer;
    return tracer;
  }
  [[nodiscard]] LaneId id() const noexcept { return LaneId::kNone; }
  void detach() noexcept {}
};

/// The session of a program that was built without tracing: no thread, no memory, no file.
class NullSession {
 public:
  using TracerType = NullTracer;
  using LaneType = NullLane;
  explicit NullSession(const SessionOptions& = {}) noexcept {}
  template <class Sink>
  void add_sink(Sink&&) noexcept {}
  CounterId define_counter(std::string_view, std::string_view) noexcept { return CounterId::kNone; }
  [[nodiscard]] NullLane attach(std::string_view) noexcept { return {}; }
  bool start() noexcept { return false; }
  void stop() noexcept {}
  void close() noexcept {}
  void drain() noexcept {}
  void set_sampling(Sampling) noexcept {}
  [[nodiscard]] bool running() const noexcept { return false; }
  [[nodiscard]] TraceSummary statistics() const noexcept { return {}; }
  [[nodiscard]] std::size_t open_roots() const noexcept { return 0; }
};

template <TracerPolicies Policies>
using SessionOf = std::conditional_t<kEnabled, BasicSession<Policies>, NullSession>;
template <TracerPolicies Policies>
using LaneOf = std::conditional_t<kEnabled, BasicLane<Policies>, NullLane>;
using Session = SessionOf<DefaultPolicies>;
using Lane = LaneOf<DefaultPolicies>;

}  // namespace THENCE_ABI
}  // namespace thence
