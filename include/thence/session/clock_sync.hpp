// SPDX-License-Identifier: MIT
// clock_sync.hpp: turns a tracer's ticks into nanoseconds of CLOCK_BOOTTIME.
//
// A processor's counter has its own rate and its own zero. Both clocks are read together now and then; between two such
// readings time is a straight line whose slope is corrected, never its value: what was converted stays true, and time never
// runs backwards. Ticks of a moment before the last reading are converted by the line that held then.
// Layer: session (includes core/ only).
#pragma once

#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/clock.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// One moment on both clocks; `uncertainty_ns` is how long reading them took.
struct ClockPair {
  std::uint64_t ticks = 0;
  std::uint64_t ns = 0;
  std::uint64_t uncertainty_ns = 0;
};

/// Reads both clocks; of five tries the tightest, so that a preemption between the two readings does not count.
template <Clock C>
[[nodiscard]] ClockPair read_pair(const C& clock) noexcept {
  ClockPair best{0, 0, ~std::uint64_t{0}};
  for (int attempt = 0; attempt < 5; ++attempt) {
    const std::uint64_t before = read_system_clock(CLOCK_BOOTTIME);
    const std::uint64_t ticks = count_of(clock.now());
    const std::uint64_t after = read_system_clock(CLOCK_BOOTTIME);
    if (after - before < best.uncertainty_ns) best = {ticks, before + (after - before) / 2, after - before};
  }
  return best;
}

[[nodiscard]] inline ClockSnapshot read_clock_snapshot() noexcept {
  return {read_system_clock(CLOCK_BOOTTIME), read_system_clock(CLOCK_MONOTONIC), read_system_clock(CLOCK_REALTIME)};
}

/// Converts ticks to timestamps.
///   Threads   one
///   Cost      to_timestamp: a multiplication and a shift. begin() spins for about a millisecond where a rate is to be measured
///   Errors    noexcept
class TickConverter {
 public:
  /// Ticks that are nanoseconds already stay as they are.
  void begin_exact() noexcept {
    exact_ = true;
    count_ = 0;
  }

  /// Starts from two readings some time apart.
  void begin(const ClockPair& first, const ClockPair& second) noexcept {
    exact_ = false;
    first_ = first;
    const double rate = slope(first, second);
    lines_[0] = {first.ticks, first.ns, rate};
    count_ = 1;
  }

  /// A later reading of both clocks: the line bends towards it, and is there after `kCatchUpNs`.
  void synchronise(const ClockPair& now) noexcept {
    if (exact_ || count_ == 0) return;
    const Line& last = lines_[(count_ - 1) % kLines];
    if (now.ticks <= last.ticks) return;
    const std::uint64_t converted = convert(last, now.ticks);
    const double error = static_cast<double>(static_cast<std::int64_t>(now.ns - converted));
    double rate = slope(first_, now);
    Line next{now.ticks, converted, rate};
    if (error > kStepNs) {
      next.ns = now.ns;  // the machine slept: time may jump forwards
      first_ = now;
      next.rate = last.rate;
    } else {
      const double catch_up = 1.0 + error / kCatchUpNs;
      next.rate = rate * (catch_up < 0.5 ? 0.5 : catch_up);
    }
    lines_[count_ % kLines] = next;
    ++count_;
  }

  [[nodiscard]] Timestamp to_timestamp(Ticks ticks) const noexcept {
    const std::uint64_t raw = count_of(ticks);
    if (exact_ || count_ == 0) return static_cast<Timestamp>(raw);
    const std::uint64_t oldest = count_ > kLines ? count_ - kLines : 0;
    std::uint64_t at = count_ - 1;
    while (at > oldest && raw < lines_[at % kLines].ticks) --at;
    return static_cast<Timestamp>(convert(lines_[at % kLines], raw));
  }

 private:
  struct Line {
    std::uint64_t ticks = 0;
    std::uint64_t ns = 0;
    double rate = 1;  // nanoseconds a tick
  };
  static constexpr std::size_t kLines = 32;
  static constexpr double kCatchUpNs = 1e9;
  static constexpr double kStepNs = 50e6;

  [[nodiscard]] static double slope(const ClockPair& from, const ClockPair& to) noexcept {
    const auto ticks = static_cast<double>(to.ticks - from.ticks);
    return ticks > 0 ? static_cast<double>(to.ns - from.ns) / ticks : 1.0;
  }
  [[nodiscard]] static std::uint64_t convert(const Line& line, std::uint64_t ticks) noexcept {
    const auto distance = static_cast<double>(static_cast<std::int64_t>(ticks - line.ticks));
    return line.ns + static_cast<std::uint64_t>(static_cast<std::int64_t>(distance * line.rate));
  }

  bool exact_ = true;
  ClockPair first_;
  std::array<Line, kLines> lines_{};
  std::uint64_t count_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
