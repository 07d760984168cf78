// SPDX-License-Identifier: MIT
// clock.hpp: where a tracer's ticks come from.
//
// Reading the clock is most of what an event costs. Where the processor has an invariant counter it is read directly;
// the session calibrates it against CLOCK_BOOTTIME and keeps doing so (session/clock_sync.hpp). Elsewhere the
// system's clock is read (no system call where the vDSO serves it).
// Layer: core (includes config/ only).
#pragma once

#include <time.h>

#include <concepts>
#include <cstdint>
#include <string_view>

#include "thence/config/platform.hpp"
#include "thence/core/time.hpp"

#if THENCE_ARCH_X86_64
#include <cpuid.h>
#endif

namespace thence {
inline namespace THENCE_ABI {

/// A source of ticks. `now` is called on hot paths, from any thread with its own copy of the clock.
/// `nanoseconds_per_tick()`: 0 where the rate must be measured, else exact.
template <class C>
concept Clock = requires(const C& clock, C& other) {
  C(clock);
  other = clock;
  { clock.now() } noexcept -> std::same_as<Ticks>;
  { clock.nanoseconds_per_tick() } noexcept -> std::same_as<std::uint64_t>;
  { clock.name() } noexcept -> std::convertible_to<std::string_view>;
};

[[nodiscard]] inline std::uint64_t read_system_clock(clockid_t id) noexcept {
  timespec time{};
  ::clock_gettime(id, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

/// CLOCK_BOOTTIME: what a system trace's timestamps are in.
struct BoottimeClock {
  [[nodiscard]] Ticks now() const noexcept { return static_cast<Ticks>(read_system_clock(CLOCK_BOOTTIME)); }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept { return 1; }
  [[nodiscard]] std::string_view name() const noexcept { return "boottime"; }
};
static_assert(Clock<BoottimeClock>);

#if THENCE_ARCH_X86_64
/// The processor's time-stamp counter; only right where `is_invariant()`.
struct TscClock {
  [[nodiscard]] Ticks now() const noexcept { return static_cast<Ticks>(__builtin_ia32_rdtsc()); }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept { return 0; }
  [[nodiscard]] std::string_view name() const noexcept { return "tsc"; }
  /// CPUID 8000_0007h, EDX bit 8: constant rate in every P- and C-state (AMD64 Manual 3; Intel SDM 3B, 18.17.1).
  [[nodiscard]] static bool is_invariant() noexcept {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 8 & 1u) != 0;
  }
};
static_assert(Clock<TscClock>);
using CounterClock = TscClock;
#elif THENCE_ARCH_ARM64
/// The generic timer's virtual count, architecturally invariant.
struct ArmCounterClock {
  [[nodiscard]] Ticks now() const noexcept {
    std::uint64_t count;
    asm volatile("mrs %0, cntvct_el0" : "=r"(count));
    return static_cast<Ticks>(count);
  }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept { return 0; }
  [[nodiscard]] std::string_view name() const noexcept { return "arm-counter"; }
  [[nodiscard]] static bool is_invariant() noexcept { return true; }
};
static_assert(Clock<ArmCounterClock>);
using CounterClock = ArmCounterClock;
#else
struct CounterClock : BoottimeClock {
  [[nodiscard]] static bool is_invariant() noexcept { return false; }
};
#endif

/// The processor's counter where it can be trusted, else CLOCK_BOOTTIME: decided once, at construction.
class BestClock {
 public:
  BestClock() noexcept : counts_(CounterClock::is_invariant()) {}
  /// For a caller that asks once and reads often: where counts(), counter() is now().
  [[nodiscard]] bool counts() const noexcept { return counts_; }
  [[nodiscard]] static Ticks counter() noexcept { return CounterClock{}.now(); }
  [[nodiscard]] Ticks now() const noexcept {
    if (counts_) [[likely]] return CounterClock{}.now();
    return BoottimeClock{}.now();
  }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept {
    return counts_ ? CounterClock{}.nanoseconds_per_tick() : 1;
  }
  [[nodiscard]] std::string_view name() const noexcept { return counts_ ? CounterClock{}.name() : BoottimeClock{}.name(); }

 private:
  bool counts_;
};
static_assert(Clock<BestClock>);

/// A clock that a test moves by hand; all copies share the one `time` they were made with (nanoseconds).
class ManualClock {
 public:
  explicit ManualClock(const std::uint64_t* time = nullptr) noexcept : time_(time) {}
  [[nodiscard]] Ticks now() const noexcept {
    return static_cast<Ticks>(time_ == nullptr ? 0 : __atomic_load_n(time_, __ATOMIC_RELAXED));
  }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept { return 1; }
  [[nodiscard]] std::string_view name() const noexcept { return "manual"; }

 private:
  const std::uint64_t* time_;
};
static_assert(Clock<ManualClock>);

}  // namespace THENCE_ABI
}  // namespace thence
