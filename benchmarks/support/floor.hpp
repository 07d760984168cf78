// SPDX-License-Identifier: MIT
// floor.hpp: what no recorded event can cost less than: a reading of the processor's counter and a store of 32 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/paired.hpp"
#include "thence/core/clock.hpp"
#include "thence/core/event.hpp"

namespace thence_bench {

/// One batch of it, into a ring of `slots` events (a power of two).
class Floor {
 public:
  static constexpr std::size_t kBatch = 2048;

  explicit Floor(std::size_t slots) : slots_(slots), mask_(slots - 1) {}
  void operator()() noexcept {
    std::uint64_t at = at_;
    thence::Event* const slots = slots_.data();
    for (std::size_t n = 0; n != kBatch; ++n) {
      const std::uint64_t ticks = thence::count_of(thence::CounterClock{}.now());
      slots[at++ & mask_] = thence::Event{n, ticks, at, 0};
      asm volatile("" : : : "memory");
    }
    at_ = at;
  }

 private:
  std::vector<thence::Event> slots_;
  std::size_t mask_;
  std::uint64_t at_ = 0;
};

inline auto floor_of(std::size_t slots = 16'384) { return Base{std::string("the floor"), Floor(slots), Floor::kBatch}; }

}  // namespace thence_bench
