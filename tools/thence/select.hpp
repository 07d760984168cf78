// SPDX-License-Identifier: MIT
// select.hpp: a part of a trace: one request, a range of time, resources of some types; with what led to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats.hpp"
#include "thence/model/trace_model.hpp"

namespace tool {

struct Selection {
  std::uint32_t request = 0;           ///< from 1, in the order in which they began; 0: all
  std::string range;                   ///< A..B from the trace's first event; @A: absolute; either may be missing
  std::vector<std::string> types;      ///< names, `*` for anything

  [[nodiscard]] bool all() const noexcept { return request == 0 && range.empty() && types.empty(); }
};

/// Resources that a selection keeps: those that it asks for, and their ancestors by trigger.
struct Chosen {
  std::vector<bool> resources;  ///< by row
  std::uint64_t begin = 0;      ///< of lane events and counters
  std::uint64_t end = ~std::uint64_t{0};
  std::uint64_t count = 0;      ///< asked for
};

/// When a resource was last heard of.
[[nodiscard]] std::uint64_t end_of(const thence::TraceModel& model, std::uint32_t row);

/// Throws Failure(kUsage) for a range that is none, or a request that is not there.
[[nodiscard]] Chosen choose(const thence::TraceModel& model, const Selection& selection);

/// Replays the model, or what is chosen of it.
[[nodiscard]] Feed feed_of(const thence::TraceModel& model, const Selection& selection);

}  // namespace tool
