// SPDX-License-Identifier: MIT
// tracer_link.hpp: the few words that the tracers of one session share: where ids come from, and which roots are traced.
// Layer: capture (includes core/).
#pragma once

#include <atomic>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/sampling.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A half-open block of ids that one thread may hand out without asking again.
struct IdBlock {
  std::uint64_t next = 0;
  std::uint64_t end = 0;
};

/// Shared by a session and its tracers.
///   Threads   anyone, any call
///   Cost      a relaxed atomic addition a block of ids
class TracerLink {
 public:
  static constexpr std::uint64_t kResourceBlock = 1024;
  static constexpr std::uint64_t kRootBlock = 16;

  [[nodiscard]] IdBlock take_resource_ids() noexcept { return take(next_resource_, kResourceBlock); }
  [[nodiscard]] IdBlock take_root_ids() noexcept { return take(next_root_, kRootBlock); }

  [[nodiscard]] Sampling sampling() const noexcept {
    const std::uint64_t word = sampling_.load(std::memory_order_relaxed);
    return {static_cast<Sampling::Mode>(word >> 32), static_cast<std::uint32_t>(word)};
  }
  void set_sampling(Sampling sampling) noexcept {
    const std::uint32_t every = sampling.every == 0 ? 1 : sampling.every;
    sampling_.store(std::uint64_t{static_cast<std::uint8_t>(sampling.mode)} << 32 | every, std::memory_order_relaxed);
  }

 private:
  [[nodiscard]] static IdBlock take(std::atomic<std::uint64_t>& next, std::uint64_t count) noexcept {
    const std::uint64_t first = next.fetch_add(count, std::memory_order_relaxed);
    return {first, first + count};
  }

  std::atomic<std::uint64_t> next_resource_{1};
  std::atomic<std::uint64_t> next_root_{1};
  std::atomic<std::uint64_t> sampling_{std::uint64_t{static_cast<std::uint8_t>(Sampling::Mode::kAll)} << 32 | 1};
};

}  // namespace THENCE_ABI
}  // namespace thence
