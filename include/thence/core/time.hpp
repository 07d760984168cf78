// SPDX-License-Identifier: MIT
// time.hpp: two kinds of time that never mix: ticks of a tracer's clock, and nanoseconds of a trace.
//
// A hot path stores raw `Ticks`; the session turns them into `Timestamp`s (nanoseconds of CLOCK_BOOTTIME, which a system
// trace shares) when it drains. <chrono> stays out of what a host's hot path includes.
// Layer: core (includes config/ only).
#pragma once

#include <compare>
#include <cstdint>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A raw reading of a clock; its unit is the clock's own.
enum class Ticks : std::uint64_t {};

/// Nanoseconds of CLOCK_BOOTTIME (of the manual clock, in tests). Absence is said beside it, never by 0.
enum class Timestamp : std::uint64_t {};

[[nodiscard]] constexpr std::uint64_t ns_of(Timestamp time) noexcept { return static_cast<std::uint64_t>(time); }
[[nodiscard]] constexpr std::uint64_t count_of(Ticks ticks) noexcept { return static_cast<std::uint64_t>(ticks); }

/// later - earlier in nanoseconds; negative where the order is the other way round.
[[nodiscard]] constexpr std::int64_t ns_between(Timestamp earlier, Timestamp later) noexcept {
  return static_cast<std::int64_t>(ns_of(later) - ns_of(earlier));
}

}  // namespace THENCE_ABI
}  // namespace thence
