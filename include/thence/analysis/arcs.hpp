// SPDX-License-Identifier: MIT
// arcs.hpp: who created and who settled whom, as arcs over the axis of time, however many there are.
//
// A million arcs are a black page. So arcs whose ends fall into the same two pixels are one, with a count; the heaviest are
// drawn, and how many are not is said:
//   const ArcDiagram arcs = arcs_of(run, {.from = t0, .to = t1, .pixels = 1200});
//   arcs.drawn[n].from_pixel, .to_pixel, .count      // height: sqrt(span_ns / arcs.longest_ns) of the most; opacity: log(count)
// Above the axis an arc goes from the creation of a resource to that of one it created; below it, to that of one it settled.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct ArcSettings {
  std::uint64_t from = 0;   ///< the stretch of time that is shown
  std::uint64_t to = 0;     ///< not after `from`: all of the trace
  std::uint32_t pixels = 1'200;
  std::size_t most = 5'000; ///< drawn
};

struct ArcDiagram {
  struct Arc {
    std::uint32_t from_pixel = 0;
    std::uint32_t to_pixel = 0;
    bool settles = false;         ///< below the axis
    std::uint64_t count = 0;
    std::uint64_t span_ns = 0;    ///< the longest of them
    std::uint32_t resource = TraceModel::kNone;  ///< created or settled: the first of them
  };
  std::vector<Arc> drawn;         ///< the heaviest first; of equals the earlier
  std::uint64_t not_drawn = 0;    ///< edges of arcs that are too light
  std::uint64_t longest_ns = 0;   ///< of all edges that are shown
};

/// An edge is shown where both its ends are in the stretch.
///   Cost      O(resources + arcs log arcs).
[[nodiscard]] inline ArcDiagram arcs_of(const Execution& run, const ArcSettings& settings = {}) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  const TraceModel& model = run.model;
  ArcDiagram made;
  const bool whole = settings.to <= settings.from;
  const std::uint64_t from = whole ? model.first_time : settings.from;
  const std::uint64_t to = whole ? model.last_time : settings.to;
  const std::uint64_t length = to > from ? to - from : 1;
  const std::uint32_t pixels = std::clamp<std::uint32_t>(settings.pixels, 1, 1u << 20);
  const auto pixel_of = [&](std::uint64_t time) {
    const double at = static_cast<double>(time - from) / static_cast<double>(length) * pixels;
    return std::min(static_cast<std::uint32_t>(at), pixels - 1);
  };
  IdMap cells;
  std::vector<ArcDiagram::Arc> arcs;
  const auto add = [&](std::uint32_t above, std::uint32_t row, bool settles) {
    if (above == kNone || above == row || !model.has(above, ResourceFlag::kCreated) || !model.has(row, ResourceFlag::kCreated)) return;
    const std::uint64_t a = run.created(above);
    const std::uint64_t b = run.created(row);
    if (std::min(a, b) < from || std::max(a, b) > to) return;
    const std::uint64_t span = a < b ? b - a : a - b;
    made.longest_ns = std::max(made.longest_ns, span);
    const std::uint32_t x = pixel_of(a);
    const std::uint32_t y = pixel_of(b);
    const std::uint64_t key = (std::uint64_t{x} << 24 | std::uint64_t{y} << 1 | (settles ? 1 : 0)) + 1;
    std::uint32_t at = cells.find(key);
    if (at == IdMap::kAbsent) {
      at = static_cast<std::uint32_t>(arcs.size());
      cells.insert(key, at);
      arcs.push_back({x, y, settles, 0, 0, row});
    }
    ++arcs[at].count;
    arcs[at].span_ns = std::max(arcs[at].span_ns, span);
  };
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    add(run.normal.parent[row], row, false);
    if (run.settler[row] != kNone) add(run.resource_of(run.settler[row]), row, true);
  }
  std::sort(arcs.begin(), arcs.end(), [](const ArcDiagram::Arc& a, const ArcDiagram::Arc& b) {
    if (a.count != b.count) return a.count > b.count;
    if (a.from_pixel != b.from_pixel) return a.from_pixel < b.from_pixel;
    return a.to_pixel != b.to_pixel ? a.to_pixel < b.to_pixel : a.settles < b.settles;
  });
  for (std::size_t at = settings.most; at < arcs.size(); ++at) made.not_drawn += arcs[at].count;
  if (arcs.size() > settings.most) arcs.resize(settings.most);
  made.drawn = std::move(arcs);
  return made;
}

}  // namespace THENCE_ABI
}  // namespace thence
