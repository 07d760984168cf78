// SPDX-License-Identifier: MIT
// watchdog.hpp: the stack that blocks an isolate, taken while it blocks.
//
// A callback that runs for 300 ms is in the trace as such, but only with the stack that created it. What it did for so
// long, nobody saw. This looks from another thread: where a turn of the event loop has lasted longer than a threshold, it
// asks V8 for an interrupt, and V8 stops at the next call or loop and lets us read the stack: a sample (kCpu) of whatever
// resource is running.
//   v8_adapter::Watchdog watchdog{isolate, lane.tracer(), {.after_ns = 50'000'000}};
//   isolate's thread:   for (;;) { wait(); { v8_adapter::Watchdog::Turn turn{watchdog}; run(); microtasks(); } }
//   another thread:     while (!done) { sleep(watchdog.look_every()); watchdog.look(); }
// The other thread is the host's, and may look after any number of isolates; thence starts none for this.
//
// What it cannot see: where V8 runs no JavaScript for the whole of the rest of a turn (a long regular expression, JSON.parse
// or native call), V8 serves the interrupt only after it. A sample is written only if its turn is still the one that was too
// long: what was served too late is counted (missed) and not written, so no short turn is ever accused.
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thence/adapters/v8/script_stacks.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

struct WatchdogOptions {
  /// A turn is looked into once it has lasted so long. Below it nothing is ever captured; a capture costs 12-50 us.
  std::uint64_t after_ns = 50'000'000;
  /// Then again each time so much more has gone by, for as long as the turn lasts. 0: once a turn.
  std::uint64_t again_ns = 50'000'000;
  /// At most so many a turn: an endless loop does not fill the trace.
  std::uint32_t samples_a_turn = 16;
  /// Frames of a sample, innermost first; at most kMaxFrames.
  std::size_t frames = 32;
};

struct WatchdogCounts {
  std::uint64_t turns = 0;
  std::uint64_t asked = 0;     ///< interrupts
  std::uint64_t sampled = 0;   ///< stacks captured
  std::uint64_t missed = 0;    ///< the turn had ended when V8 served the interrupt: nothing was written
  std::uint64_t no_stack = 0;  ///< served where no JavaScript was running: a sample without a stack
};

namespace detail {

/// Interrupts that V8 still holds cannot be taken back, so they name their watchdog by a number that can go stale.
struct WatchdogSlots {
  static constexpr std::size_t kMax = 256;
  struct Slot {
    std::atomic<void*> owner{nullptr};
    std::atomic<std::uintptr_t> generation{0};
  };
  [[nodiscard]] static Slot& at(std::size_t index) noexcept {
    static Slot slots[kMax];
    return slots[index];
  }
};

}  // namespace detail

/// Watches one isolate.
///   Shape     one an isolate; no memory beyond itself.
///   Threads   begin_turn, end_turn, counts, destructor: the isolate's. look, look_every: one other thread.
///   Cost      a turn: two clock readings and two stores. look: a load and a clock reading. Past the threshold: a capture.
///   When full kMaxWatchdogs of a process at a time: is_watching() is false for those beyond, and look() does nothing.
///   Errors    all noexcept; counted in counts().
///   Lifetime  not movable. The last look() comes before its destruction, and that before Isolate::Dispose(). An interrupt
///             that V8 serves later finds nobody.
template <class TracerType>
class BasicWatchdog {
 public:
  static constexpr std::size_t kMaxWatchdogs = detail::WatchdogSlots::kMax;

  BasicWatchdog(::v8::Isolate* isolate, TracerType& tracer, WatchdogOptions options = {})
      : isolate_(isolate), tracer_(&tracer), options_(options), stacks_(isolate, {.mode = StackMode::kEvery, .frames = options.frames}) {
    for (std::size_t index = 0; index < kMaxWatchdogs; ++index) {
      void* nobody = nullptr;
      auto& slot = detail::WatchdogSlots::at(index);
      if (!slot.owner.compare_exchange_strong(nobody, this, std::memory_order_acq_rel)) continue;
      slot_ = index;
      name_ = (slot.generation.load(std::memory_order_relaxed) & kGenerations) * kMaxWatchdogs + index;
      return;
    }
  }
  ~BasicWatchdog() {
    stacks_.stop();
    if (slot_ == kMaxWatchdogs) return;
    auto& slot = detail::WatchdogSlots::at(slot_);
    slot.generation.fetch_add(1, std::memory_order_relaxed);
    slot.owner.store(nullptr, std::memory_order_release);  // pairs with the exchange of who takes the slot next
  }
  BasicWatchdog(const BasicWatchdog&) = delete;
  BasicWatchdog& operator=(const BasicWatchdog&) = delete;

  /// A turn of the event loop: from where the host begins to run callbacks to where it would look for new ones. They nest.
  class [[nodiscard]] Turn {
   public:
    explicit Turn(BasicWatchdog& watchdog) noexcept : watchdog_(&watchdog) { watchdog_->begin_turn(); }
    ~Turn() { watchdog_->end_turn(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    BasicWatchdog* watchdog_;
  };
  void begin_turn() noexcept {
    if (depth_++ != 0) return;
    ++counts_.turns;
    // A turn is known by when it began: two of one isolate never begin in the same nanosecond.
    last_began_ = std::max(now(), last_began_ + 1);
    turn_.store(last_began_, std::memory_order_release);  // pairs with the load in look()
  }
  void end_turn() noexcept {
    if (depth_ == 0 || --depth_ != 0) return;
    turn_.store(0, std::memory_order_release);
  }

  /// From another thread, now and then: asks V8 for an interrupt where the turn has lasted too long.
  void look() noexcept {
    const std::uint64_t began = turn_.load(std::memory_order_acquire);
    if (began == 0 || slot_ == kMaxWatchdogs) return;
    if (began != seen_turn_) {
      seen_turn_ = began;
      next_ns_ = options_.after_ns;
      left_ = options_.samples_a_turn;
    }
    const std::uint64_t time = now();
    if (left_ == 0 || time < began + next_ns_) return;
    if (pending_.load(std::memory_order_acquire) != 0) return;  // V8 has not served the last one
    --left_;
    if (options_.again_ns == 0) left_ = 0;
    next_ns_ = time - began + options_.again_ns;
    pending_.store(began, std::memory_order_release);  // pairs with the load in the callback
    asked_.fetch_add(1, std::memory_order_relaxed);
    isolate_->RequestInterrupt(&interrupted, reinterpret_cast<void*>(name_));
  }
  /// How long the other thread may sleep between two looks, so that a sample is late by a quarter of the threshold at most.
  [[nodiscard]] std::chrono::nanoseconds look_every() const noexcept {
    const std::uint64_t shortest = options_.again_ns == 0 ? options_.after_ns : std::min(options_.after_ns, options_.again_ns);
    return std::chrono::nanoseconds(std::max<std::uint64_t>(shortest / 4, 100'000));
  }

  /// The isolate goes on under another tracer, its new thread's.
  void rebind(TracerType& tracer) noexcept {
    tracer_ = &tracer;
    stacks_.moved_here();
  }
  [[nodiscard]] bool is_watching() const noexcept { return slot_ != kMaxWatchdogs; }
  [[nodiscard]] WatchdogCounts counts() const noexcept {
    WatchdogCounts counts = counts_;
    counts.asked = asked_.load(std::memory_order_relaxed);
    return counts;
  }

 private:
  static constexpr std::uintptr_t kGenerations = (~std::uintptr_t{0}) / (kMaxWatchdogs * 2);

  [[nodiscard]] static std::uint64_t now() noexcept {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }

  static void interrupted(::v8::Isolate*, void* data) {
    const auto name = reinterpret_cast<std::uintptr_t>(data);
    const auto& slot = detail::WatchdogSlots::at(name % kMaxWatchdogs);
    // Whoever owns the slot was made and will be destroyed on this thread, or it has another generation.
    auto* const self = static_cast<BasicWatchdog*>(slot.owner.load(std::memory_order_acquire));
    if (self == nullptr || (slot.generation.load(std::memory_order_relaxed) & kGenerations) != name / kMaxWatchdogs) return;
    self->serve();
  }
  void serve() noexcept {
    const std::uint64_t asked_of = pending_.exchange(0, std::memory_order_acq_rel);
    if (asked_of == 0) return;
    if (turn_.load(std::memory_order_relaxed) != asked_of) {
      ++counts_.missed;
      return;
    }
    const StackId stack = stacks_.capture(*tracer_, 0);
    ++counts_.sampled;
    if (stack == StackId::kNone) ++counts_.no_stack;
    tracer_->sample(stack, SampleKind::kCpu);
  }

  ::v8::Isolate* isolate_;
  TracerType* tracer_;
  WatchdogOptions options_;
  ScriptStacks stacks_;
  std::size_t slot_ = kMaxWatchdogs;
  std::uintptr_t name_ = 0;
  WatchdogCounts counts_;
  unsigned depth_ = 0;
  std::uint64_t last_began_ = 0;
  std::atomic<std::uint64_t> turn_{0};     // when the current turn began; 0: none
  std::atomic<std::uint64_t> pending_{0};  // the turn that an interrupt was asked for and not yet served
  std::atomic<std::uint64_t> asked_{0};
  // The other thread's.
  std::uint64_t seen_turn_ = 0;
  std::uint64_t next_ns_ = 0;
  std::uint32_t left_ = 0;
};

/// The watchdog of a tracer that records nothing.
class NullWatchdog {
 public:
  template <class TracerType>
  NullWatchdog(::v8::Isolate*, TracerType&, const WatchdogOptions& = {}) noexcept {}
  NullWatchdog(const NullWatchdog&) = delete;
  NullWatchdog& operator=(const NullWatchdog&) = delete;

  class [[nodiscard]] Turn {
   public:
    explicit Turn(NullWatchdog&) noexcept {}
    ~Turn() {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
  };
  constexpr void begin_turn() noexcept {}
  constexpr void end_turn() noexcept {}
  constexpr void look() noexcept {}
  [[nodiscard]] constexpr std::chrono::nanoseconds look_every() const noexcept { return std::chrono::seconds(1); }
  template <class TracerType>
  constexpr void rebind(TracerType&) noexcept {}
  [[nodiscard]] constexpr bool is_watching() const noexcept { return false; }
  [[nodiscard]] constexpr WatchdogCounts counts() const noexcept { return {}; }
};
static_assert(std::is_empty_v<NullWatchdog>);

/// For a tracer of this type: the empty one where the tracer is.
template <class TracerType>
using WatchdogOf = std::conditional_t<TracerType::kRecords, BasicWatchdog<TracerType>, NullWatchdog>;
using Watchdog = WatchdogOf<Tracer>;

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
