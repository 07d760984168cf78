// SPDX-License-Identifier: MIT
// tracer.hpp: what a host calls. One tracer a thread, shared by every promise system on that thread.
//
// A host reports the life of its asynchronous operations; the tracer writes each step as a 32-byte event into a ring, and
// remembers what is running now, so that what is created gets its trigger and its root by itself.
//
//   auto lane = session.attach("loop");                       // a session owns the tracers (session/session.hpp)
//   thence::Tracer& tracer = lane.tracer();
//   thence::Resource op = tracer.create(ResourceType::kTimer);
//   ... later, on the loop:
//   { thence::CallbackScope scope{tracer, op}; run_callback(); }
//   tracer.settle(op, Outcome::kFulfilled);
//
// Layer: capture (includes storage/, core/).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "thence/capture/callback_scope.hpp"
#include "thence/capture/stack_capture.hpp"
#include "thence/capture/stack_words.hpp"
#include "thence/capture/tracer_link.hpp"
#include "thence/config/version.hpp"
#include "thence/core/clock.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/sampling.hpp"
#include "thence/core/source_site.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/view.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/ring_buffer.hpp"
#include "thence/storage/stack_deduplicator.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Every choice of a tracer, made at compile time. Derive and replace: `struct Mine : DefaultPolicies { using Types = MyTypes; };`
struct DefaultPolicies {
  using Clock = BestClock;
  using Types = BuiltinTypes;
  using Stacks = CallSites;
  using Overflow = DropNewest;
  using Storage = HeapStorage;
  // using Buffer = ...;  any EventBuffer, in place of RingBuffer<Overflow, Storage>: FlightRecorder<Storage>
};

namespace detail {
template <class Policies>
struct BufferOf {
  using Type = RingBuffer<typename Policies::Overflow, typename Policies::Storage>;
};
template <class Policies>
  requires requires { typename Policies::Buffer; }
struct BufferOf<Policies> {
  using Type = typename Policies::Buffer;
};
}  // namespace detail

template <class P>
concept TracerPolicies = requires {
  requires Clock<typename P::Clock>;
  requires ResourceTypes<typename P::Types>;
  requires StackCapture<typename P::Stacks>;
  requires OverflowPolicy<typename P::Overflow>;
  requires RingStorage<typename P::Storage>;
  requires EventBuffer<typename detail::BufferOf<P>::Type>;
};
static_assert(TracerPolicies<DefaultPolicies>);

/// What create() may be told beyond the type.
struct CreateOptions {
  /// The resource whose callback creates this one. Unset: the current one. `trigger.root` gives the root.
  Resource trigger = {ResourceId::kNone, kInheritRoot};
  /// Where it is created, if the caller knows better than the stack policy.
  StackId stack = kCaptureStack;

  static constexpr RootId kInheritRoot = static_cast<RootId>(~std::uint64_t{0});
  static constexpr StackId kCaptureStack = static_cast<StackId>(~std::uint32_t{0});
};

/// Longest key and longest string value of an annotation; what is beyond is cut, marked and counted.
inline constexpr std::size_t kMaxAnnotationKey = 64;
inline constexpr std::size_t kMaxAnnotationValue = 1024;

/// A value that an annotation may have.
template <class T>
concept AnnotationValue = std::is_arithmetic_v<T> || std::convertible_to<const T&, std::string_view>;

/// Writes the events of one thread.
///   Shape     a ring, a stack of current resources (kMaxDepth deep), a table of stacks, a block of ids.
///   Threads   every call from the tracer's own thread, but for active(), ring() and what the session does.
///   Cost      one event: a clock reading and a 32-byte store; events of one moment may share the reading (at()). Stopped: two
///             loads and two branches. Never an allocation, a lock, a system call or an exception.
///   When full the ring's policy decides; see RingBuffer. Everything else that cannot be kept is counted in misuse().
///   Errors    all noexcept. Wrong use is counted, never undefined: exit without enter, nesting too deep, the empty handle.
///   Lifetime  made and owned by a session; valid as long as the lane that gave it.
template <TracerPolicies Policies = DefaultPolicies>
class BasicTracer {
 public:
  using PoliciesType = Policies;
  using Ring = typename detail::BufferOf<Policies>::Type;

  static constexpr bool kRecords = true;
  static constexpr std::size_t kMaxDepth = 128;

  template <class... RingArguments>
  BasicTracer(TracerLink& link, typename Policies::Clock clock, StackWords::Options stacks, StringDeduplicator::Options strings,
              RingArguments&&... ring)
      : ring_(std::forward<RingArguments>(ring)...), clock_(clock), link_(link), stacks_(stacks), strings_(strings) {
    if constexpr (kGated) ring_.close();
  }
  BasicTracer(const BasicTracer&) = delete;
  BasicTracer& operator=(const BasicTracer&) = delete;

  // ---- roots

  /// Begins a request: a resource of its own trace. Where the sampling says no, the handle is untraced, and with it all that
  /// is created under it. Ends by finish_root(); a host that answers before all work is done settles the root first.
  template <ResourceTypeEnum Type = ResourceType>
  Resource begin_root(Type type = static_cast<Type>(0), RootRequest request = {}, SourceSite site = SourceSite::current()) noexcept {
    if (!active()) return {ResourceId::kNone, RootId::kUntraced};
    return when_on([](BasicTracer& self, auto path, TypeId of, RootRequest asked, SourceSite where) noexcept -> Resource {
      if (!self.samples(asked)) return {ResourceId::kNone, RootId::kUntraced};
      const StackId stack = self.capture_.capture(self.stacks_, where);
      return self.record_created(path, Now{}, of, ResourceId::kNone, self.next_root_id(), stack);
    }, type_id(type), request, site);
  }

  /// The request is answered and all that was waited for is done: the session seals the root. Uses the ring's reserve.
  void finish_root(Resource root) noexcept {
    if (!root) return;
    when_on([](BasicTracer& self, auto path, Resource of) noexcept {
      self.push_end(path, Event{Event::head_of(of.id, EventKind::kRootFinished), self.ticks_of(path, Now{}), 0, Event::context_of(of.root)});
    }, root);
  }

  // ---- the life of a resource

  /// A new resource. Its trigger is the current one, its root the trigger's, unless `options` says otherwise.
  template <ResourceTypeEnum Type>
  [[gnu::always_inline]] inline Resource create(Type type, CreateOptions options = {},
                                                SourceSite site = SourceSite::current()) noexcept {
    return create_when(Now{}, type, options, site);
  }
  template <ResourceTypeEnum Type>
  [[gnu::always_inline]] inline Resource create(Type type, SourceSite site) noexcept {
    return create_when(Now{}, type, CreateOptions{}, site);
  }

  /// For the quick calls: the processor's counter. The processor reads it when all that came before is done. So a hook reads it first: what
  /// it looks up behind it goes on beside what follows the hook.
  [[gnu::always_inline, nodiscard]] static inline Ticks quick_now() noexcept {
    if constexpr (kCounts) return Policies::Clock::counter();
    else return Ticks{};  // they read the clock
  }
  /// The current resource's, created at `stack`; with `awaited`, also that it cannot go on before that settles, at the same moment.
  /// One of the quick calls, for hooks of a host's innermost paths: they do nothing, and give back nothing, where more than storing
  /// stands in the way (tracing is off or just began, the ring must be looked after, the ids have run out). The usual calls then do it.
  /// `when` is quick_now(), as the first thing that the hook does.
  template <ResourceTypeEnum Type>
  [[gnu::always_inline]] inline Resource quick_create(Type type, ResourceId awaited, StackId stack, Ticks when) noexcept {
    const RootId root = top_->root;
    if (!is_ready<2>() || ids_.next == ids_.end || root == RootId::kUntraced) [[unlikely]] return {};
    const auto id = static_cast<ResourceId>(ids_.next++);
    if (id == ResourceId::kNone) __builtin_unreachable();  // the caller need not ask whether it was made
    const std::uint64_t now = quick_ticks(when);
    const Event created{Event::head_of(id, EventKind::kCreated), now, Event::other_of(top_->id, type_id(type)),
                        Event::context_of(root, stack)};
    if (awaited == ResourceId::kNone) {
      push(Fast{}, created);
    } else {
      push(Fast{}, created, event_of({id, root}, EventKind::kLinked, static_cast<std::uint8_t>(LinkKind::kAwaits), now, number(awaited)));
    }
    return {id, root};
  }

  /// It can run now; who made it so is the current invocation, or the outside world where nothing runs. Where something
  /// untraced runs it is unknown.
  void schedule(Resource resource) noexcept { schedule_when(Now{}, resource); }
  void schedule(Resource resource, Actor by) noexcept { schedule_when(Now{}, resource, by); }

  /// Its callback starts on this lane. An untraced handle is entered too: what it creates is then untraced.
  [[gnu::always_inline]] inline void enter(Resource resource, Cause cause = {}) noexcept { enter_when(Now{}, resource, cause); }

  /// enter(), of a promise whose awaited one has settled. A quick call (quick_create()); it does nothing either where nesting is too deep.
  [[gnu::always_inline, nodiscard]] inline bool quick_enter(Resource resource, ResourceId settled, Ticks when) noexcept {
    if (!is_ready() || top_ >= deepest_ || !resource) [[unlikely]] return false;
    ++top_;
    top_->id = resource.id;
    top_->root = resource.root;
    push(Fast{}, event_of(resource, EventKind::kEntered, static_cast<std::uint8_t>(CauseKind::kSettled), quick_ticks(when),
                          number(settled)));
    return true;
  }

  /// Its callback ends. One that is not the innermost (a coroutine's scope) is taken out of the middle and counted as crossed.
  [[gnu::always_inline]] inline void exit(Resource resource) noexcept { exit_when(Now{}, resource); }

  /// Its result is there; by the current invocation, or from outside where nothing runs. Where something untraced runs it
  /// is unknown.
  void settle(Resource resource, Outcome outcome) noexcept { settle_when(Now{}, resource, outcome); }
  void settle(Resource resource, Outcome outcome, Actor by, ResourceId settler = ResourceId::kNone) noexcept {
    settle_when(Now{}, resource, outcome, by, settler);
  }

  /// Its callback settles it as the last thing it does: settle() and exit() of one moment. A quick call; it does nothing either where
  /// the resource is not the innermost.
  [[gnu::always_inline, nodiscard]] inline bool quick_settle_and_exit(Resource resource, Outcome outcome, Ticks when) noexcept {
    if (!is_ready<2>() || top_->id != resource.id || !resource) [[unlikely]] return false;
    --top_;
    const std::uint64_t now = quick_ticks(when);
    push(Fast{}, event_of(resource, EventKind::kSettled, settled_flags(outcome, Actor::kInvocation), now, number(resource.id)),
                 event_of(resource, EventKind::kExited, 0, now, 0));
    return true;
  }

  /// settle(), by what runs now. A quick call; it does nothing either where nothing known runs.
  [[gnu::always_inline, nodiscard]] inline bool quick_settle(Resource resource, Outcome outcome, Ticks when) noexcept {
    const ResourceId by = top_->id;
    if (!is_ready() || by == ResourceId::kNone || !resource) [[unlikely]] return false;
    push(Fast{}, event_of(resource, EventKind::kSettled, settled_flags(outcome, Actor::kInvocation), quick_ticks(when), number(by)));
    return true;
  }

  void destroy(Resource resource) noexcept { record(Now{}, resource, EventKind::kDestroyed, 0, 0); }

  /// `effect` cannot go on before `cause` settles (kAwaits), or both are one operation (kBridge).
  void link(Resource cause, Resource effect, LinkKind kind = LinkKind::kAwaits) noexcept {
    if (cause) record(Now{}, effect, EventKind::kLinked, static_cast<std::uint8_t>(kind), number(cause.id));
  }

  /// The same calls for one moment, a reading of now(): what happens at once shares one reading of the clock, which is most
  /// of an event's cost; and a host that learns of something a little later than the fact gives the fact's time.
  ///   const auto moment = tracer.at(tracer.now());
  ///   moment.settle(task, Outcome::kFulfilled);
  ///   moment.schedule(waiter);
  class Moment {
   public:
    template <ResourceTypeEnum Type>
    [[gnu::always_inline]] inline Resource create(Type type, CreateOptions options = {},
                                                  SourceSite site = SourceSite::current()) const noexcept {
      return tracer_.create_when(At{ticks_}, type, options, site);
    }
    void schedule(Resource resource) const noexcept { tracer_.schedule_when(At{ticks_}, resource); }
    void schedule(Resource resource, Actor by) const noexcept { tracer_.schedule_when(At{ticks_}, resource, by); }
    void enter(Resource resource, Cause cause = {}) const noexcept { tracer_.enter_when(At{ticks_}, resource, cause); }
    void exit(Resource resource) const noexcept { tracer_.exit_when(At{ticks_}, resource); }
    void settle(Resource resource, Outcome outcome) const noexcept { tracer_.settle_when(At{ticks_}, resource, outcome); }
    void settle(Resource resource, Outcome outcome, Actor by, ResourceId settler = ResourceId::kNone) const noexcept {
      tracer_.settle_when(At{ticks_}, resource, outcome, by, settler);
    }
    void destroy(Resource resource) const noexcept { tracer_.record(At{ticks_}, resource, EventKind::kDestroyed, 0, 0); }
    void link(Resource cause, Resource effect, LinkKind kind = LinkKind::kAwaits) const noexcept {
      if (cause) tracer_.record(At{ticks_}, effect, EventKind::kLinked, static_cast<std::uint8_t>(kind), number(cause.id));
    }

   private:
    friend BasicTracer;
    Moment(BasicTracer& tracer, Ticks ticks) noexcept : tracer_(tracer), ticks_(ticks) {}
    BasicTracer& tracer_;
    Ticks ticks_;
  };
  [[nodiscard]] Moment at(Ticks when) noexcept { return {*this, when}; }

  /// Key and value on a resource: url, method, delay, rows. Strings are copied into the ring.
  template <AnnotationValue T>
  void annotate(Resource resource, std::string_view key, const T& value) noexcept {
    if constexpr (std::is_pointer_v<T>) {
      record_annotation(resource, key, ValueKind::kString, value == nullptr ? std::string_view() : std::string_view(value));
    } else if constexpr (std::convertible_to<const T&, std::string_view>) {
      record_annotation(resource, key, ValueKind::kString, static_cast<std::string_view>(value));
    } else if constexpr (std::same_as<T, bool>) {
      record_number(resource, key, ValueKind::kBool, value ? 1 : 0);
    } else if constexpr (std::floating_point<T>) {
      record_number(resource, key, ValueKind::kDouble, std::bit_cast<std::uint64_t>(static_cast<double>(value)));
    } else if constexpr (std::signed_integral<T>) {
      record_number(resource, key, ValueKind::kInt, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
    } else {
      record_number(resource, key, ValueKind::kUint, static_cast<std::uint64_t>(value));
    }
  }

  // ---- the lane

  /// The value of a counter of this lane from now on.
  template <class T>
    requires std::is_arithmetic_v<T>
  void counter(CounterId counter, T value) noexcept {
    if constexpr (std::floating_point<T>) {
      record_counter(counter, ValueKind::kDouble, std::bit_cast<std::uint64_t>(static_cast<double>(value)));
    } else {
      const bool fits = std::signed_integral<T> || static_cast<std::uint64_t>(value) <= std::uint64_t{INT64_MAX};
      record_counter(counter, fits ? ValueKind::kInt : ValueKind::kUint, static_cast<std::uint64_t>(value));
    }
  }
  void queue_depth(std::int64_t tasks) noexcept { counter(CounterId::kQueueDepth, tasks); }

  /// The lane has nothing to run, until unpark().
  void park() noexcept { lane_event(EventKind::kParked, PauseKind::kOther); }
  void unpark() noexcept { lane_event(EventKind::kUnparked, PauseKind::kOther); }

  /// The lane is taken by what is no resource: a collection, a compilation.
  void begin_pause(PauseKind kind) noexcept { lane_event(EventKind::kPauseBegan, kind); }
  void end_pause(PauseKind kind) noexcept { lane_event(EventKind::kPauseEnded, kind); }

  /// A sampler or a watchdog saw this lane at `stack`, in whatever is current.
  void sample(StackId stack, SampleKind kind = SampleKind::kCpu) noexcept {
    when_on([](BasicTracer& self, auto path, StackId where, SampleKind how) noexcept {
      const Resource seen = *self.top_;
      self.push(path, Event{Event::head_of(seen.id, EventKind::kSample, static_cast<std::uint8_t>(how)),
                            self.ticks_of(path, Now{}), 0, Event::context_of(seen.root, where)});
    }, stack, kind);
  }

  // ---- stacks

  /// A script's stack, innermost frame first; its strings are copied where they are new. At most kMaxFrames frames.
  StackId intern_script_stack(View<const ScriptFrame> frames) noexcept {
    std::array<std::uint64_t, 1 + 2 * kMaxFrames> words;
    std::size_t count = 0;
    words[count++] = static_cast<std::uint64_t>(StackFormat::kScript);
    for (const ScriptFrame& frame : frames.first(std::min(frames.size(), kMaxFrames))) {
      words[count++] = number(intern(strings_, frame.function)) | number(intern(strings_, frame.file)) << 32;
      words[count++] = std::uint64_t{frame.line} | std::uint64_t{frame.column} << 32;
    }
    return count == 1 ? StackId::kNone : stacks_.intern({words.data(), count});
  }

  /// Program counters, innermost first; symbolised when the trace is written. At most kMaxFrames.
  StackId intern_native_stack(View<const std::uint64_t> pcs) noexcept {
    if (pcs.empty()) return StackId::kNone;
    std::array<std::uint64_t, 1 + kMaxFrames> words;
    words[0] = static_cast<std::uint64_t>(StackFormat::kNative);
    const std::size_t count = std::min(pcs.size(), kMaxFrames);
    std::memcpy(words.data() + 1, pcs.data(), count * sizeof words[0]);
    return stacks_.intern({words.data(), count + 1});
  }

  // ---- what is so now

  /// Whether calls record. Any thread.
  [[nodiscard]] bool active() const noexcept { return epoch_.load(std::memory_order_relaxed) != 0; }
  /// The innermost entered resource. Where nothing runs: none. Beyond kMaxDepth: no resource, but the root.
  [[nodiscard]] Resource current() const noexcept {
    if (epoch_.load(std::memory_order_relaxed) != seen_epoch_) [[unlikely]] return {};  // entered before a stop
    return *top_;
  }
  /// How many are entered, the innermost included.
  [[nodiscard]] std::size_t depth() const noexcept {
    if (epoch_.load(std::memory_order_relaxed) != seen_epoch_) [[unlikely]] return 0;  // entered before a stop
    return static_cast<std::size_t>((beyond_ != 0 ? known_ : top_) - current_) + beyond_;
  }
  [[nodiscard]] Ticks now() const noexcept { return clock_.now(); }
  [[nodiscard]] MisuseCounts misuse() const noexcept {
    MisuseCounts counts = misuse_;
    counts.stacks_refused = stacks_.refused() + strings_.refused();
    return counts;
  }

  // ---- for the session

  /// 0 stops recording; a number never used before starts it. Any thread.
  void set_epoch(std::uint32_t epoch) noexcept {
    epoch_.store(epoch, std::memory_order_seq_cst);
    if constexpr (kGated) ring_.close();  // the next call looks up
  }
  [[nodiscard]] Ring& ring() noexcept { return ring_; }
  [[nodiscard]] const StackWords& stacks() const noexcept { return stacks_; }
  [[nodiscard]] const StringDeduplicator& strings() const noexcept { return strings_; }

 private:
  /// A ring that can be closed tells by itself that the tracer was stopped: its own check is the only one on the fast path.
  static constexpr bool kGated = requires(Ring& ring, Event event) {
    ring.is_open();
    ring.is_open_for(std::uint64_t{2});
    ring.put(event);
    ring.put(event, event);
    ring.close();
  };
  /// A clock that reads a counter on the fast path, and only there where the counter can be trusted.
  static constexpr bool kCounts = kGated && requires(typename Policies::Clock& clock) {
    clock.counts();
    clock.counter();
  };

  /// A stack policy that finds a place it has seen before without a call.
  static constexpr bool kFindsSites = requires(typename Policies::Stacks& stacks, const char* file, std::uint32_t line) {
    { stacks.find(file, line) } noexcept -> std::same_as<StackId>;
  };

  /// The two paths of every call, told apart at compile time.
  struct Fast {};
  struct Slow {};

  struct Now {};
  struct At {
    Ticks ticks;
  };

  template <std::size_t kEvents = 1>
  [[gnu::always_inline]] [[nodiscard]] inline bool is_ready() const noexcept {
    if constexpr (kGated) {
      return kEvents == 1 ? ring_.is_open() : ring_.is_open_for(kEvents);
    } else {
      return epoch_.load(std::memory_order_relaxed) == seen_epoch_;
    }
  }

  /// Runs `body` if tracing is on. The path where the tracer was just started, or its ring must be looked after, is kept out
  /// of the way. The body captures nothing: its arguments are handed on one by one, so that they stay in registers.
  template <class Body, class... Arguments>
  [[gnu::always_inline]] inline auto when_on(Body body, Arguments... arguments) noexcept {
    using Result = decltype(body(*this, Fast{}, arguments...));
    if (is_ready()) [[likely]] return body(*this, Fast{}, arguments...);
    if (active()) return slowly(body, arguments...);
    return Result();
  }

  template <class Body, class... Arguments>
  [[gnu::noinline, gnu::cold]] auto slowly(Body body, Arguments... arguments) noexcept {
    using Result = decltype(body(*this, Slow{}, arguments...));
    const std::uint32_t epoch = epoch_.load(std::memory_order_relaxed);
    if (epoch == 0) return Result();  // stopped since active() was asked
    if (epoch != seen_epoch_) begin_epoch(epoch);
    return body(*this, Slow{}, arguments...);
  }

  /// Tracing was stopped in between: what was entered then may have been left unseen.
  void begin_epoch(std::uint32_t epoch) noexcept {
    seen_epoch_ = epoch;
    top_ = current_;
    beyond_ = 0;
    if constexpr (kCounts) {
      if (!clock_.counts()) return;  // the ring stays closed: every call takes the path that reads the system's clock
    }
    if constexpr (kGated) {
      // In the one order of these, either set_epoch()'s close() comes after reopen(), or its epoch is seen here.
      ring_.reopen();
      if (epoch_.load(std::memory_order_seq_cst) != epoch) ring_.close();
    }
  }

  [[gnu::always_inline]] inline std::uint64_t ticks_of(Fast, Now) const noexcept {
    if constexpr (kCounts) return count_of(clock_.counter());
    else return count_of(clock_.now());
  }
  [[gnu::always_inline]] inline std::uint64_t quick_ticks([[maybe_unused]] Ticks when) const noexcept {
    if constexpr (kCounts) return count_of(when);
    else return count_of(clock_.now());
  }
  [[nodiscard]] std::uint64_t ticks_of(Slow, Now) const noexcept { return count_of(clock_.now()); }
  template <class Path>
  [[gnu::always_inline]] inline std::uint64_t ticks_of(Path, At when) const noexcept { return count_of(when.ticks); }

  [[gnu::always_inline]] inline void push(Fast, Event event) noexcept {
    if constexpr (kGated) ring_.put(event);
    else ring_.try_push(event);
  }
  [[gnu::always_inline]] inline void push(Fast, Event first, Event second) noexcept {
    if constexpr (kGated) {
      ring_.put(first, second);
    } else {
      ring_.try_push(first);
      ring_.try_push(second);
    }
  }
  void push(Slow, Event event) noexcept { ring_.try_push(event); }

  /// Where the ring is open there is room without its reserve.
  [[gnu::always_inline]] inline void push_end(Fast, Event event) noexcept {
    if constexpr (kGated) ring_.put(event);
    else push_end(Slow{}, event);
  }
  void push_end(Slow, Event event) noexcept {
    if (!ring_.push_reserved(event)) ++misuse_.roots_ends_lost;
  }

  [[gnu::always_inline, nodiscard]] static inline Event event_of(Resource resource, EventKind kind, std::uint8_t flags, std::uint64_t ticks,
                                                                 std::uint64_t other) noexcept {
    return {Event::head_of(resource.id, kind, flags), ticks, other, Event::context_of(resource.root)};
  }
  template <class Path, class When>
  [[gnu::always_inline]] inline void record(Path path, When when, Resource resource, EventKind kind, std::uint8_t flags,
                                            std::uint64_t other) noexcept {
    push(path, event_of(resource, kind, flags, ticks_of(path, when), other));
  }
  template <class When>
  [[gnu::always_inline]] inline void record(When when, Resource resource, EventKind kind, std::uint8_t flags,
                                            std::uint64_t other) noexcept {
    if (!resource) return;
    when_on([](BasicTracer& self, auto path, When at, Resource of, EventKind what, std::uint8_t bits, std::uint64_t by) noexcept {
      self.record(path, at, of, what, bits, by);
    }, when, resource, kind, flags, other);
  }

  /// Who does what happens now.
  [[nodiscard]] Actor actor() const noexcept {
    if (top_->id != ResourceId::kNone) return Actor::kInvocation;
    return top_ == current_ ? Actor::kExternal : Actor::kUnknown;
  }

  template <class When, class Type>
  [[gnu::always_inline]] inline Resource create_when(When when, Type type, CreateOptions options, SourceSite site) noexcept {
    return when_on([](BasicTracer& self, auto path, When at, TypeId of, ResourceId trigger, RootId root, StackId stack,
                      const char* file, const char* function, std::uint32_t line) noexcept -> Resource {
      if (root == CreateOptions::kInheritRoot) {
        trigger = self.top_->id;
        root = self.top_->root;
      }
      if (root == RootId::kUntraced) [[unlikely]] return {ResourceId::kNone, RootId::kUntraced};
      if (stack == CreateOptions::kCaptureStack) {
        if constexpr (kFindsSites) {
          stack = self.capture_.find(file, line);
          if (stack == StackId::kNone) [[unlikely]] {
            return self.create_at_new_site(at, of, trigger, root, file, function, line);
          }
        } else {
          stack = self.capture_.capture(self.stacks_, SourceSite{file, function, line});
        }
      }
      return self.record_created(path, at, of, trigger, root, stack);
    }, when, type_id(type), options.trigger.id, options.trigger.root, options.stack, site.file, site.function, site.line);
  }

  template <class When>
  [[gnu::always_inline]] inline void schedule_when(When when, Resource resource) noexcept {
    if (!resource) return;
    when_on([](BasicTracer& self, auto path, When at, Resource of) noexcept {
      self.record(path, at, of, EventKind::kScheduled, static_cast<std::uint8_t>(self.actor()), number(self.top_->id));
    }, when, resource);
  }
  template <class When>
  [[gnu::always_inline]] inline void schedule_when(When when, Resource resource, Actor by) noexcept {
    if (!resource) return;
    when_on([](BasicTracer& self, auto path, When at, Resource of, Actor who) noexcept {
      self.record(path, at, of, EventKind::kScheduled, static_cast<std::uint8_t>(who),
                  number(who == Actor::kInvocation ? self.top_->id : ResourceId::kNone));
    }, when, resource, by);
  }

  template <class When>
  [[gnu::always_inline]] inline void enter_when(When when, Resource resource, Cause cause) noexcept {
    when_on([](BasicTracer& self, auto path, When at, ResourceId id, RootId root, CauseKind kind, ResourceId by) noexcept {
      if (self.top_ >= self.deepest_) [[unlikely]] return self.enter_beyond(at, id, root, kind, by);
      ++self.top_;
      self.top_->root = root;
      if (id == ResourceId::kNone) [[unlikely]] {
        self.top_->id = id;
        return;
      }
      self.top_->id = id;
      self.record(path, at, {id, root}, EventKind::kEntered, static_cast<std::uint8_t>(kind), number(by));
    }, when, resource.id, resource.root, cause.kind, cause.by);
  }

  template <class When>
  [[gnu::always_inline]] inline void exit_when(When when, Resource resource) noexcept {
    when_on([](BasicTracer& self, auto path, When at, ResourceId id, RootId root) noexcept {
      if (self.top_->id != id || id == ResourceId::kNone) [[unlikely]] return self.exit_out_of_turn(at, id, root);
      --self.top_;
      self.record(path, at, {id, root}, EventKind::kExited, 0, 0);
    }, when, resource.id, resource.root);
  }

  template <class When>
  [[gnu::always_inline]] inline void settle_when(When when, Resource resource, Outcome outcome) noexcept {
    if (!resource) return;
    when_on([](BasicTracer& self, auto path, When at, Resource of, Outcome how) noexcept {
      self.record(path, at, of, EventKind::kSettled, settled_flags(how, self.actor()), number(self.top_->id));
    }, when, resource, outcome);
  }
  template <class When>
  [[gnu::always_inline]] inline void settle_when(When when, Resource resource, Outcome outcome, Actor by, ResourceId settler) noexcept {
    record(when, resource, EventKind::kSettled, settled_flags(outcome, by), number(settler));
  }
  [[nodiscard]] static std::uint8_t settled_flags(Outcome outcome, Actor by) noexcept {
    return static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(by) << 4);
  }

  template <class Path, class When>
  [[gnu::always_inline]] inline Resource record_created(Path path, When when, TypeId type, ResourceId trigger, RootId root,
                                                        StackId stack) noexcept {
    if (ids_.next == ids_.end) [[unlikely]] return take_ids_and_create(when, type, trigger, root, stack);
    const auto id = static_cast<ResourceId>(ids_.next++);
    push(path, Event{Event::head_of(id, EventKind::kCreated), ticks_of(path, when), Event::other_of(trigger, type),
                     Event::context_of(root, stack)});
    return {id, root};
  }
  template <class When>
  [[gnu::noinline, gnu::cold]] Resource take_ids_and_create(When when, TypeId type, ResourceId trigger, RootId root,
                                                            StackId stack) noexcept {
    ids_ = link_.take_resource_ids();
    return record_created(Slow{}, when, type, trigger, root, stack);
  }
  template <class When>
  [[gnu::noinline]] Resource create_at_new_site(When when, TypeId type, ResourceId trigger, RootId root, const char* file,
                                                const char* function, std::uint32_t line) noexcept {
    return record_created(Slow{}, when, type, trigger, root, capture_.capture(stacks_, SourceSite{file, function, line}));
  }

  [[nodiscard]] RootId next_root_id() noexcept {
    if (roots_.next == roots_.end) roots_ = link_.take_root_ids();
    return static_cast<RootId>(roots_.next++);
  }

  [[nodiscard]] bool samples(const RootRequest& request) noexcept {
    const Sampling sampling = link_.sampling();
    switch (sampling.mode) {
      case Sampling::Mode::kAll: return true;
      case Sampling::Mode::kNone: return false;
      case Sampling::Mode::kWhenAsked: return request.asked;
      case Sampling::Mode::kOneIn: return roots_seen_++ % sampling.every == 0;
    }
    return true;
  }

  /// Deeper than kMaxDepth entries are only counted; the top then is one without a resource.
  template <class When>
  [[gnu::noinline, gnu::cold]] void enter_beyond(When when, ResourceId id, RootId root, CauseKind kind, ResourceId by) noexcept {
    if (beyond_++ == 0) {
      known_ = deepest_;
      top_ = deepest_ + 1;
      *top_ = {ResourceId::kNone, known_->root};
    }
    ++misuse_.too_deep;
    if (id != ResourceId::kNone) record(Slow{}, when, {id, root}, EventKind::kEntered, static_cast<std::uint8_t>(kind), number(by));
  }

  /// What is not simply the innermost: an untraced handle, one out of turn, one beyond.
  template <class When>
  [[gnu::noinline]] void exit_out_of_turn(When when, ResourceId id, RootId root) noexcept {
    if (leave_out_of_turn({id, root})) record(Slow{}, when, {id, root}, EventKind::kExited, 0, 0);
  }

  /// False: no exit is to be recorded.
  bool leave_out_of_turn(Resource resource) noexcept {
    Resource*& innermost = beyond_ != 0 ? known_ : top_;
    for (Resource* at = innermost; at != current_; --at) {
      if (!(*at == resource)) continue;
      if (at != innermost || beyond_ != 0) ++misuse_.exits_crossed;
      for (; at != innermost; ++at) *at = at[1];
      --innermost;
      return static_cast<bool>(resource);
    }
    if (beyond_ != 0) {
      if (--beyond_ == 0) top_ = known_;
      return static_cast<bool>(resource);
    }
    ++misuse_.exit_without_enter;
    return false;
  }

  void record_annotation(Resource resource, std::string_view key, ValueKind kind, std::string_view value) noexcept {
    if (!resource) return;
    when_on([](BasicTracer& self, auto path, Resource of, ValueKind what, std::string_view a, std::string_view b) noexcept {
      const bool cut = a.size() > kMaxAnnotationKey || b.size() > kMaxAnnotationValue;
      if (cut) [[unlikely]] {
        ++self.misuse_.annotations_cut;
        a = a.substr(0, kMaxAnnotationKey);
        b = b.substr(0, kMaxAnnotationValue);
      }
      const auto key_and_kind = static_cast<TypeId>(static_cast<std::uint16_t>(a.size() | static_cast<std::size_t>(what) << 12));
      self.ring_.try_push(Event{Event::head_of(of.id, EventKind::kAnnotated, cut ? 1 : 0), self.ticks_of(path, Now{}),
                                Event::other_of(static_cast<ResourceId>(a.size() + b.size()), key_and_kind), Event::context_of(of.root)},
                          a, b);
    }, resource, kind, key, value);
  }

  void record_number(Resource resource, std::string_view key, ValueKind kind, std::uint64_t bits) noexcept {
    char bytes[sizeof bits];
    __builtin_memcpy(bytes, &bits, sizeof bits);
    record_annotation(resource, key, kind, text_at(bytes, sizeof bytes));
  }

  void record_counter(CounterId counter, ValueKind kind, std::uint64_t bits) noexcept {
    when_on([](BasicTracer& self, auto path, std::uint64_t head, std::uint64_t value) noexcept {
      self.push(path, Event{head, self.ticks_of(path, Now{}), value, 0});
    }, Event::head_of(static_cast<ResourceId>(counter), EventKind::kCounter, static_cast<std::uint8_t>(kind)), bits);
  }

  void lane_event(EventKind kind, PauseKind pause) noexcept {
    when_on([](BasicTracer& self, auto path, std::uint64_t head) noexcept {
      self.push(path, Event{head, self.ticks_of(path, Now{}), 0, 0});
    }, Event::head_of(static_cast<ResourceId>(pause), kind));
  }

  Ring ring_;  // its first line is the fast path's
  Resource* top_ = current_;  // innermost
  Resource* const deepest_ = current_ + kMaxDepth;
  IdBlock ids_;
  std::atomic<std::uint32_t> epoch_{0};
  std::uint32_t seen_epoch_ = ~std::uint32_t{0};  // no epoch
  [[no_unique_address]] typename Policies::Clock clock_;
  std::size_t beyond_ = 0;     // entered deeper than kMaxDepth
  Resource* known_ = nullptr;  // the innermost that is known, while some are beyond
  IdBlock roots_;
  std::uint64_t roots_seen_ = 0;
  TracerLink& link_;
  [[no_unique_address]] typename Policies::Stacks capture_;
  MisuseCounts misuse_;
  Resource current_[kMaxDepth + 2] = {};  // [0] is "nothing runs", the last "too deep"
  StackWords stacks_;
  StringDeduplicator strings_;
};

/// The tracer of a program that was built without tracing: the same calls, and nothing behind them.
class NullTracer {
 public:
  static constexpr bool kRecords = false;
  static constexpr std::size_t kMaxDepth = 0;

  template <ResourceTypeEnum Type = ResourceType>
  constexpr Resource begin_root(Type = {}, RootRequest = {}, SourceSite = {}) noexcept { return {}; }
  constexpr void finish_root(Resource) noexcept {}
  template <ResourceTypeEnum Type>
  constexpr Resource create(Type, CreateOptions = {}, SourceSite = {}) noexcept { return {}; }
  template <ResourceTypeEnum Type>
  constexpr Resource create(Type, SourceSite) noexcept { return {}; }
  template <ResourceTypeEnum Type>
  constexpr Resource quick_create(Type, ResourceId, StackId, Ticks) noexcept { return {}; }
  constexpr void schedule(Resource) noexcept {}
  constexpr void schedule(Resource, Actor) noexcept {}
  constexpr void enter(Resource, Cause = {}) noexcept {}
  constexpr bool quick_enter(Resource, ResourceId, Ticks) noexcept { return false; }
  constexpr void exit(Resource) noexcept {}
  constexpr void settle(Resource, Outcome) noexcept {}
  constexpr void settle(Resource, Outcome, Actor, ResourceId = ResourceId::kNone) noexcept {}
  constexpr bool quick_settle_and_exit(Resource, Outcome, Ticks) noexcept { return false; }
  constexpr bool quick_settle(Resource, Outcome, Ticks) noexcept { return false; }
  constexpr void destroy(Resource) noexcept {}
  constexpr void link(Resource, Resource, LinkKind = LinkKind::kAwaits) noexcept {}
  struct Moment {
    template <ResourceTypeEnum Type>
    constexpr Resource create(Type, CreateOptions = {}, SourceSite = {}) const noexcept { return {}; }
    constexpr void schedule(Resource) const noexcept {}
    constexpr void schedule(Resource, Actor) const noexcept {}
    constexpr void enter(Resource, Cause = {}) const noexcept {}
    constexpr void exit(Resource) const noexcept {}
    constexpr void settle(Resource, Outcome) const noexcept {}
    constexpr void settle(Resource, Outcome, Actor, ResourceId = ResourceId::kNone) const noexcept {}
    constexpr void destroy(Resource) const noexcept {}
    constexpr void link(Resource, Resource, LinkKind = LinkKind::kAwaits) const noexcept {}
  };
  [[nodiscard]] constexpr Moment at(Ticks) noexcept { return {}; }
  template <AnnotationValue T>
  constexpr void annotate(Resource, std::string_view, const T&) noexcept {}
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr void counter(CounterId, T) noexcept {}
  constexpr void queue_depth(std::int64_t) noexcept {}
  constexpr void park() noexcept {}
  constexpr void unpark() noexcept {}
  constexpr void begin_pause(PauseKind) noexcept {}
  constexpr void end_pause(PauseKind) noexcept {}
  constexpr void sample(StackId, SampleKind = SampleKind::kCpu) noexcept {}
  constexpr StackId intern_script_stack(View<const ScriptFrame>) noexcept { return StackId::kNone; }
  constexpr StackId intern_native_stack(View<const std::uint64_t>) noexcept { return StackId::kNone; }
  [[nodiscard]] constexpr bool active() const noexcept { return false; }
  [[nodiscard]] constexpr Resource current() const noexcept { return {}; }
  [[nodiscard]] constexpr std::size_t depth() const noexcept { return 0; }
  [[nodiscard]] constexpr Ticks now() const noexcept { return {}; }
  [[nodiscard]] constexpr MisuseCounts misuse() const noexcept { return {}; }
};
static_assert(std::is_empty_v<NullTracer>);

/// The tracer for these policies, or the empty one where THENCE_ENABLED is 0.
template <TracerPolicies Policies>
using TracerOf = std::conditional_t<kEnabled, BasicTracer<Policies>, NullTracer>;
using Tracer = TracerOf<DefaultPolicies>;

static_assert(EventRecorder<Tracer> && EventRecorder<NullTracer>);

}  // namespace THENCE_ABI
}  // namespace thence
