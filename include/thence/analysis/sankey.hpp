// SPDX-License-Identifier: MIT
// sankey.hpp: where operations go: created, waited, ran, gone; and which of them leaked.
//
//   const Sankey flow = sankey_of(units);
//   flow.between(LifeStage::kWaited, LifeStage::kRan).count
// Every unit takes one way of three links, so what flows into a node flows out of it, by count and by time.
// Layer: analysis (includes model/ and below).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class LifeStage : std::uint8_t {
  kCreated,
  kWaited,          ///< also what still waits
  kReadyAtOnce,     ///< waited under the setting
  kRan,
  kSettledUnrun,    ///< settled, and no callback ran
  kNeverSettled,    ///< neither
  kDestroyed,
  kAlive,           ///< at the end of the trace
  kLeaked,          ///< alive, never settled, and awaited by somebody
};
inline constexpr std::size_t kLifeStages = 9;

[[nodiscard]] constexpr std::string_view word(LifeStage stage) noexcept {
  switch (stage) {
    case LifeStage::kCreated: return "created";
    case LifeStage::kWaited: return "waited";
    case LifeStage::kReadyAtOnce: return "ready at once";
    case LifeStage::kRan: return "ran";
    case LifeStage::kSettledUnrun: return "settled without running";
    case LifeStage::kNeverSettled: return "never settled";
    case LifeStage::kDestroyed: return "destroyed";
    case LifeStage::kAlive: return "alive at end";
    case LifeStage::kLeaked: return "leaked";
  }
  return "created";
}

/// The way of one unit through the columns.
struct LifePath {
  LifeStage began = LifeStage::kWaited;
  LifeStage ran = LifeStage::kRan;
  LifeStage ended = LifeStage::kAlive;
};
[[nodiscard]] inline LifePath life_path(const Units& units, std::uint32_t unit, std::uint64_t at_once_ns = 1'000) noexcept {
  LifePath path;
  if (units.wait_known[unit] && units.wait[unit] < at_once_ns) path.began = LifeStage::kReadyAtOnce;
  if (units.callbacks[unit] == 0) path.ran = units.settled[unit] ? LifeStage::kSettledUnrun : LifeStage::kNeverSettled;
  if (units.destroyed[unit]) {
    path.ended = LifeStage::kDestroyed;
  } else if (!units.settled[unit] && units.awaited[unit]) {
    path.ended = LifeStage::kLeaked;
  }
  return path;
}

struct Sankey {
  struct Link {
    LifeStage from = LifeStage::kCreated;
    LifeStage to = LifeStage::kCreated;
    std::uint64_t count = 0;
    std::uint64_t time_ns = 0;  ///< from creation to finish
  };
  std::array<std::array<Link, kLifeStages>, kLifeStages> links{};  ///< [from][to]

  [[nodiscard]] const Link& between(LifeStage from, LifeStage to) const noexcept {
    return links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
  }
};

/// O(units).
[[nodiscard]] inline Sankey sankey_of(const Units& units, std::uint64_t at_once_ns = 1'000) {
  Sankey made;
  for (std::size_t from = 0; from < kLifeStages; ++from) {
    for (std::size_t to = 0; to < kLifeStages; ++to) {
      made.links[from][to].from = static_cast<LifeStage>(from);
      made.links[from][to].to = static_cast<LifeStage>(to);
    }
  }
  for (const std::uint32_t unit : units.rows) {
    const LifePath path = life_path(units, unit, at_once_ns);
    const std::uint64_t time = units.finish[unit] - units.created[unit];
    const auto add = [&](LifeStage from, LifeStage to) {
      Sankey::Link& link = made.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
      ++link.count;
      link.time_ns += time;
    };
    add(LifeStage::kCreated, path.began);
    add(path.began, path.ran);
    add(path.ran, path.ended);
  }
  return made;
}

}  // namespace THENCE_ABI
}  // namespace thence
