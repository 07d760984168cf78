// SPDX-License-Identifier: MIT
#include "thence/session/clock_sync.hpp"

#include <cmath>
#include <cstdint>

#include "support/catch.hpp"

using namespace thence;

namespace {
/// A counter of 3 GHz and some that drifts by `ppm` after the start, against an exact clock.
struct Drifting {
  double ppm = 0;
  std::uint64_t ticks_at(std::uint64_t ns) const {
    const double ghz = 2.997;
    return 5'000'000 + static_cast<std::uint64_t>(static_cast<double>(ns) * ghz * (1.0 + ppm * 1e-6));
  }
  ClockPair pair_at(std::uint64_t ns) const { return {ticks_at(ns), ns + 1'000'000'000, 20}; }
};
}  // namespace

TEST_CASE("times of a counter never run backwards; they are off by what it drifts between two readings, and less while it is steady") {
  Drifting counter;
  TickConverter converter;
  converter.begin(counter.pair_at(0), counter.pair_at(2'000'000));
  std::uint64_t last = 0;
  std::uint64_t ticks_base = 0;
  Drifting drifted{30};
  const std::uint64_t step = 10'000'000;
  for (std::uint64_t ns = 2'000'000; ns < 60'000'000'000; ns += step) {
    // The rate changes after ten seconds, continuously in its value.
    std::uint64_t ticks = counter.ticks_at(ns);
    if (ns > 10'000'000'000) {
      if (ticks_base == 0) ticks_base = counter.ticks_at(ns) - drifted.ticks_at(ns);
      ticks = drifted.ticks_at(ns) + ticks_base;
    }
    if (ns % 1'000'000'000 < step) converter.synchronise({ticks, ns + 1'000'000'000, 20});
    const std::uint64_t seen = ns_of(converter.to_timestamp(static_cast<Ticks>(ticks)));
    REQUIRE(seen >= last);
    last = seen;
    const double error = std::abs(static_cast<double>(seen) - static_cast<double>(ns + 1'000'000'000));
    if (ns > 14'000'000'000) REQUIRE(error < 60'000);  // 30 ppm over the second between two readings, and its catching up
    if (ns < 10'000'000'000) REQUIRE(error < 1'000);
  }
}

TEST_CASE("a moment before the last reading is converted by the line that held then") {
  Drifting counter;
  TickConverter converter;
  converter.begin(counter.pair_at(0), counter.pair_at(2'000'000));
  const auto early = static_cast<Ticks>(counter.ticks_at(500'000'000));
  const std::uint64_t before = ns_of(converter.to_timestamp(early));
  converter.synchronise({counter.ticks_at(1'000'000'000), 2'000'040'000, 20});
  CHECK(ns_of(converter.to_timestamp(early)) == before);
}

TEST_CASE("after a sleep of the machine time steps forwards, and what came before stays") {
  Drifting counter;
  TickConverter converter;
  converter.begin(counter.pair_at(0), counter.pair_at(2'000'000));
  converter.synchronise({counter.ticks_at(1'000'000'000), 1'000'000'000 + 1'000'000'000 + 7'000'000'000, 20});
  const std::uint64_t after = ns_of(converter.to_timestamp(static_cast<Ticks>(counter.ticks_at(1'000'001'000))));
  CHECK(after >= 9'000'000'000);
  CHECK(after < 9'000'010'000);
}

TEST_CASE("the real counter agrees with CLOCK_BOOTTIME within 50 us, read right after a synchronisation") {
  const BestClock clock;
  TickConverter converter;
  if (clock.nanoseconds_per_tick() == 1) {
    converter.begin_exact();
  } else {
    const ClockPair first = read_pair(clock);
    ClockPair second = first;
    while (second.ns - first.ns < 2'000'000) second = read_pair(clock);
    converter.begin(first, second);
    converter.synchronise(read_pair(clock));
  }
  const ClockPair now = read_pair(clock);
  const auto seen = ns_of(converter.to_timestamp(static_cast<Ticks>(now.ticks)));
  CHECK(std::abs(static_cast<double>(seen) - static_cast<double>(now.ns)) < 50'000.0 + static_cast<double>(now.uncertainty_ns));
}
