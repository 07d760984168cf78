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
#include <span>
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
///   Cost      one event: a clock reading and a 32-byte store. Stopped: one relaxed load and a branch. Never an allocation, a
///             lock, a system call or an exception.
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
      : clock_(clock), link_(link), ring_(std::forward<RingArguments>(ring)...), stacks_(stacks), strings_(strings) {}
  BasicTracer(const BasicTracer&) = delete;
  BasicTracer& operator=(const BasicTracer&) = delete;

  // ---- roots

  /// Begins a request: a resource of its own trace. Where the sampling says no, the handle is untraced, and with it all that
  /// is created under it. Ends by finish_root(); a host that answers before all work is done settles the root first.
  template <ResourceTypeEnum Type = ResourceType>
  Resource begin_root(Type type = static_cast<Type>(0), RootRequest request = {}, SourceSite site = SourceSite::current()) noexcept {
    if (!on() || !samples(request)) return {ResourceId::kNone, RootId::kUntraced};
    return record_created(type, ResourceId::kNone, next_root_id(), capture_.capture(stacks_, site));
  }

  /// The request is answered and all that was waited for is done: the session seals the root. Uses the ring's reserve.
  void finish_root(Resource root) noexcept {
    if (!on() || !root) return;
    if (!ring_.push_reserved(event(root.id, EventKind::kRootFinished, 0, 0, Event::context_of(root.root)))) {
      ++misuse_.roots_ends_lost;
    }
  }

  // ---- the life of a resource

  /// A new resource. Its trigger is the current one, its root the trigger's, unless `options` says otherwise.
  template <ResourceTypeEnum Type>
  Resource create(Type type, CreateOptions options = {}, SourceSite site = SourceSite::current()) noexcept {
    if (!on()) return {};
    const Resource trigger = options.trigger.root == CreateOptions::kInheritRoot ? current() : options.trigger;
    if (trigger.root == RootId::kUntraced) [[unlikely]] return {ResourceId::kNone, RootId::kUntraced};
    const StackId stack =
        options.stack == CreateOptions::kCaptureStack ? capture_.capture(stacks_, site) : options.stack;
    return record_created(type, trigger.id, trigger.root, stack);
  }
  template <ResourceTypeEnum Type>
  Resource create(Type type, SourceSite site) noexcept {
    return create(type, CreateOptions{}, site);
  }

  /// It can run now; who made it so is the current invocation, or the outside world where nothing runs. Where something
  /// untraced runs it is unknown.
  void schedule(Resource resource) noexcept {
    if (!on()) return;
    schedule(resource, actor());
  }
  void schedule(Resource resource, Actor by) noexcept {
    if (!on() || !resource) return;
    record(resource, EventKind::kScheduled, static_cast<std::uint8_t>(by),
           number(by == Actor::kInvocation ? current_id() : ResourceId::kNone));
  }

  /// Its callback starts on this lane. An untraced handle is entered too: what it creates is then untraced.
  [[gnu::always_inline]] inline void enter(Resource resource, Cause cause = {}) noexcept {
    if (!on()) return;
    if (depth_ < kMaxDepth) [[likely]] {
      current_[++depth_] = resource;
    } else {
      ++beyond_;
      ++misuse_.too_deep;
    }
    if (!resource) return;
    record(resource, EventKind::kEntered, static_cast<std::uint8_t>(cause.kind), number(cause.by));
  }

  /// Its callback ends. One that is not the innermost (a coroutine's scope) is taken out of the middle and counted as crossed.
  [[gnu::always_inline]] inline void exit(Resource resource) noexcept {
    if (!on()) return;
    if (beyond_ == 0 && depth_ != 0 && current_[depth_] == resource) [[likely]] {
      --depth_;
    } else if (!leave_out_of_turn(resource)) {
      return;
    }
    if (!resource) return;
    record(resource, EventKind::kExited, 0, 0);
  }

  /// Its result is there; by the current invocation, or from outside where nothing runs. Where something untraced runs it
  /// is unknown.
  void settle(Resource resource, Outcome outcome) noexcept {
    if (!on()) return;
    settle(resource, outcome, actor(), current_id());
  }
  void settle(Resource resource, Outcome outcome, Actor by, ResourceId settler = ResourceId::kNone) noexcept {
    if (!on() || !resource) return;
    record(resource, EventKind::kSettled,
           static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(by) << 4), number(settler));
  }
  /// The same, of an earlier moment (a reading of now()): for a host that learns the outcome a little later than the fact.
  void settle_at(Ticks when, Resource resource, Outcome outcome, Actor by, ResourceId settler = ResourceId::kNone) noexcept {
    if (!on() || !resource) return;
    const auto flags = static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(by) << 4);
    ring_.try_push(Event{Event::head_of(resource.id, EventKind::kSettled, flags), count_of(when), number(settler),
                         Event::context_of(resource.root)});
  }

  void destroy(Resource resource) noexcept {
    if (!on() || !resource) return;
    record(resource, EventKind::kDestroyed, 0, 0);
  }

  /// `effect` cannot go on before `cause` settles (kAwaits), or both are one operation (kBridge).
  void link(Resource cause, Resource effect, LinkKind kind = LinkKind::kAwaits) noexcept {
    if (!on() || !cause || !effect) return;
    record(effect, EventKind::kLinked, static_cast<std::uint8_t>(kind), number(cause.id));
  }

  /// Key and value on a resource: url, method, delay, rows. Strings are copied into the ring.
  template <AnnotationValue T>
  void annotate(Resource resource, std::string_view key, const T& value) noexcept {
    if (!on() || !resource) return;
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
      sample(counter, ValueKind::kDouble, std::bit_cast<std::uint64_t>(static_cast<double>(value)));
    } else {
      const bool fits = std::signed_integral<T> || static_cast<std::uint64_t>(value) <= std::uint64_t{INT64_MAX};
      sample(counter, fits ? ValueKind::kInt : ValueKind::kUint, static_cast<std::uint64_t>(value));
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
    if (!on()) return;
    const Resource seen = current();
    ring_.try_push(event(seen.id, EventKind::kSample, static_cast<std::uint8_t>(kind), 0, Event::context_of(seen.root, stack)));
  }

  // ---- stacks

  /// A script's stack, innermost frame first; its strings are copied where they are new. At most kMaxFrames frames.
  StackId intern_script_stack(std::span<const ScriptFrame> frames) noexcept {
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
  StackId intern_native_stack(std::span<const std::uint64_t> pcs) noexcept {
    std::array<std::uint64_t, 1 + kMaxFrames> words;
    words[0] = static_cast<std::uint64_t>(StackFormat::kNative);
    const std::size_t count = std::min(pcs.size(), kMaxFrames);
    std::copy_n(pcs.begin(), count, words.begin() + 1);
    return count == 0 ? StackId::kNone : stacks_.intern({words.data(), count + 1});
  }

  // ---- what is so now

  /// Whether calls record. Any thread.
  [[nodiscard]] bool active() const noexcept { return epoch_.load(std::memory_order_relaxed) != 0; }
  /// The innermost entered resource. Where nothing runs: none. Beyond kMaxDepth: no resource, but the root.
  [[nodiscard]] Resource current() const noexcept {
    if (epoch_.load(std::memory_order_relaxed) != seen_epoch_) [[unlikely]] return {};  // entered before a stop
    if (beyond_ != 0) [[unlikely]] return {ResourceId::kNone, current_[depth_].root};
    return current_[depth_];
  }
  [[nodiscard]] std::size_t depth() const noexcept { return depth_ + beyond_; }
  [[nodiscard]] Ticks now() const noexcept { return clock_.now(); }
  [[nodiscard]] MisuseCounts misuse() const noexcept {
    MisuseCounts counts = misuse_;
    counts.stacks_refused = stacks_.refused() + strings_.refused();
    return counts;
  }

  // ---- for the session

  /// 0 stops recording; a number never used before starts it. Any thread.
  void set_epoch(std::uint32_t epoch) noexcept { epoch_.store(epoch, std::memory_order_relaxed); }
  [[nodiscard]] Ring& ring() noexcept { return ring_; }
  [[nodiscard]] const StackWords& stacks() const noexcept { return stacks_; }
  [[nodiscard]] const StringDeduplicator& strings() const noexcept { return strings_; }

 private:
  [[nodiscard]] bool on() noexcept {
    const std::uint32_t epoch = epoch_.load(std::memory_order_relaxed);
    if (epoch == 0) return false;
    if (epoch != seen_epoch_) [[unlikely]] begin_epoch(epoch);
    return true;
  }

  /// Tracing was stopped in between: what was entered then may have been left unseen.
  [[gnu::noinline, gnu::cold]] void begin_epoch(std::uint32_t epoch) noexcept {
    seen_epoch_ = epoch;
    depth_ = 0;
    beyond_ = 0;
  }

  [[nodiscard]] ResourceId current_id() const noexcept { return current().id; }
  /// Who does what happens now.
  [[nodiscard]] Actor actor() const noexcept {
    if (current_id() != ResourceId::kNone) return Actor::kInvocation;
    return depth() == 0 ? Actor::kExternal : Actor::kUnknown;
  }

  [[nodiscard]] Event event(ResourceId resource, EventKind kind, std::uint8_t flags, std::uint64_t other,
                            std::uint64_t context) const noexcept {
    return {Event::head_of(resource, kind, flags), count_of(clock_.now()), other, context};
  }

  [[gnu::always_inline]] inline void record(Resource resource, EventKind kind, std::uint8_t flags, std::uint64_t other) noexcept {
    ring_.try_push(event(resource.id, kind, flags, other, Event::context_of(resource.root)));
  }

  template <class Type>
  Resource record_created(Type type, ResourceId trigger, RootId root, StackId stack) noexcept {
    if (ids_.next == ids_.end) [[unlikely]] ids_ = link_.take_resource_ids();
    const auto id = static_cast<ResourceId>(ids_.next++);
    ring_.try_push(event(id, EventKind::kCreated, 0, Event::other_of(trigger, type_id(type)), Event::context_of(root, stack)));
    return {id, root};
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

  [[gnu::noinline]] bool leave_out_of_turn(Resource resource) noexcept {
    for (std::size_t at = depth_; at != 0; --at) {
      if (!(current_[at] == resource)) continue;
      if (at != depth_ || beyond_ != 0) ++misuse_.exits_crossed;
      std::copy(&current_[at + 1], &current_[depth_ + 1], &current_[at]);
      --depth_;
      return true;
    }
    if (beyond_ != 0) {
      --beyond_;
      return true;
    }
    ++misuse_.exit_without_enter;
    return false;
  }

  void record_annotation(Resource resource, std::string_view key, ValueKind kind, std::string_view value) noexcept {
    const bool cut = key.size() > kMaxAnnotationKey || value.size() > kMaxAnnotationValue;
    if (cut) [[unlikely]] {
      ++misuse_.annotations_cut;
      key = key.substr(0, kMaxAnnotationKey);
      value = value.substr(0, kMaxAnnotationValue);
    }
    const auto key_and_kind =
        static_cast<TypeId>(static_cast<std::uint16_t>(key.size() | static_cast<std::size_t>(kind) << 12));
    ring_.try_push(event(resource.id, EventKind::kAnnotated, cut ? 1 : 0,
                         Event::other_of(static_cast<ResourceId>(key.size() + value.size()), key_and_kind),
                         Event::context_of(resource.root)),
                   key, value);
  }

  void record_number(Resource resource, std::string_view key, ValueKind kind, std::uint64_t bits) noexcept {
    char bytes[sizeof bits];
    __builtin_memcpy(bytes, &bits, sizeof bits);
    record_annotation(resource, key, kind, {bytes, sizeof bytes});
  }

  void sample(CounterId counter, ValueKind kind, std::uint64_t bits) noexcept {
    if (!on()) return;
    ring_.try_push(event(static_cast<ResourceId>(counter), EventKind::kCounter, static_cast<std::uint8_t>(kind), bits, 0));
  }

  void lane_event(EventKind kind, PauseKind pause) noexcept {
    if (!on()) return;
    ring_.try_push(event(static_cast<ResourceId>(pause), kind, 0, 0, 0));
  }

  std::atomic<std::uint32_t> epoch_{0};
  std::uint32_t seen_epoch_ = 0;
  [[no_unique_address]] typename Policies::Clock clock_;
  std::size_t depth_ = 0;
  std::size_t beyond_ = 0;
  IdBlock ids_;
  IdBlock roots_;
  std::uint64_t roots_seen_ = 0;
  TracerLink& link_;
  [[no_unique_address]] typename Policies::Stacks capture_;
  MisuseCounts misuse_;
  std::array<Resource, kMaxDepth + 1> current_{};  // [0] is "nothing runs"
  Ring ring_;
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
  constexpr void schedule(Resource) noexcept {}
  constexpr void schedule(Resource, Actor) noexcept {}
  constexpr void enter(Resource, Cause = {}) noexcept {}
  constexpr void exit(Resource) noexcept {}
  constexpr void settle(Resource, Outcome) noexcept {}
  constexpr void settle(Resource, Outcome, Actor, ResourceId = ResourceId::kNone) noexcept {}
  constexpr void settle_at(Ticks, Resource, Outcome, Actor, ResourceId = ResourceId::kNone) noexcept {}
  constexpr void destroy(Resource) noexcept {}
  constexpr void link(Resource, Resource, LinkKind = LinkKind::kAwaits) noexcept {}
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
  constexpr StackId intern_script_stack(std::span<const ScriptFrame>) noexcept { return StackId::kNone; }
  constexpr StackId intern_native_stack(std::span<const std::uint64_t>) noexcept { return StackId::kNone; }
  [[nodiscard]] constexpr bool active() const noexcept { return false; }
  [[nodiscard]] constexpr Resource current() const noexcept { return {}; }
  [[nodiscard]] constexpr std::size_t depth() const noexcept { return 0; }
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
