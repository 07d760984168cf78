// SPDX-License-Identifier: MIT
#include "thence/core/clock.hpp"

#include <time.h>

#include <atomic>
#include <thread>

#include "support/catch.hpp"

using namespace thence;

TEST_CASE("the manual clock says what the test says, in every copy") {
  std::uint64_t time = 5;
  const ManualClock clock{&time};
  const ManualClock copy = clock;
  CHECK(count_of(copy.now()) == 5);
  time = 12;
  CHECK(count_of(clock.now()) == 12);
  CHECK(count_of(copy.now()) == 12);
  CHECK(clock.nanoseconds_per_tick() == 1);
  CHECK(count_of(ManualClock{}.now()) == 0);
}

TEST_CASE("the boottime clock lies between two readings of the system's") {
  const auto system = [] {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
  };
  const std::uint64_t before = system();
  const std::uint64_t now = count_of(BoottimeClock{}.now());
  const std::uint64_t after = system();
  CHECK(before <= now);
  CHECK(now <= after);
}

TEST_CASE("the best clock never goes backwards on a thread, and advances with the system's") {
  const BestClock clock;
  const std::uint64_t began = read_system_clock(CLOCK_MONOTONIC);
  std::uint64_t last = count_of(clock.now());
  const std::uint64_t first = last;
  std::uint64_t backwards = 0;
  while (read_system_clock(CLOCK_MONOTONIC) - began < 20'000'000) {
    for (int n = 0; n != 100; ++n) {
      const std::uint64_t now = count_of(clock.now());
      backwards += now < last;
      last = now;
    }
  }
  CHECK(backwards == 0);
  if (clock.nanoseconds_per_tick() != 0) {
    CHECK((last - first) * clock.nanoseconds_per_tick() >= 20'000'000);
  } else {
    // A counter of 20 MHz (arm64's slowest in use) to 10 GHz.
    CHECK(last - first >= 400'000);
    CHECK(last - first <= 2'000'000'000);
  }
}

TEST_CASE("what one thread saw on the clock, another does not see as the future") {
  const BestClock clock;
  std::atomic<std::uint64_t> seen{0};
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load(std::memory_order_relaxed)) seen.store(count_of(clock.now()), std::memory_order_release);
  });
  // The processor may read its counter a little early: rdtsc is not ordered with the load before it.
  const std::uint64_t slack = clock.nanoseconds_per_tick() == 0 ? 10'000 : 0;
  std::uint64_t future = 0;
  for (int n = 0; n != 200'000; ++n) {
    const std::uint64_t theirs = seen.load(std::memory_order_acquire);
    const std::uint64_t mine = count_of(clock.now());
    future += mine + slack < theirs;
  }
  stop = true;
  other.join();
  CHECK(future == 0);
}

TEST_CASE("a clock's name and rate agree: what is no counter is in nanoseconds") {
  const BestClock clock;
  if (clock.name() == "boottime") {
    CHECK(clock.nanoseconds_per_tick() == 1);
  } else {
    CHECK(clock.name() == CounterClock{}.name());
    CHECK(CounterClock::is_invariant());
  }
}
