// SPDX-License-Identifier: MIT
// phase_space.hpp: every operation by how long it waited and how long it ran, and in which quarter of that plane it is.
//
// Slow to start and slow to run are different troubles with different cures. The lines between them are the p90 of the
// waits, and the p90 of the runs or a millisecond, whichever is more:
//   const PhaseSpace plane = phase_space_of(run, units, on_path);
//   plane.points[n].wait, .exec, .quadrant;    // zeros have no place on a logarithmic axis: draw them in its gutter
// Above 5,000 points they are counted in hexagons, and only the extreme ones and the critical ones are kept as points.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/analysis/mathematics.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class Quadrant : std::uint8_t { kFast, kSlowStart, kSlowExecution, kSlowEverything };

[[nodiscard]] constexpr std::string_view word(Quadrant quadrant) noexcept {
  switch (quadrant) {
    case Quadrant::kFast: return "fast";
    case Quadrant::kSlowStart: return "slow start";
    case Quadrant::kSlowExecution: return "slow execution";
    case Quadrant::kSlowEverything: return "slow everything";
  }
  return "fast";
}

struct PhaseSpaceSettings {
  std::size_t most_points = 5'000;
  std::size_t extremes = 100;              ///< kept at either end of each axis when there are more
  std::uint64_t least_exec_ns = 1'000'000; ///< the line between fast and slow runs is not below
  double columns = 64;                     ///< hexagons across the axis of waits
};

struct PhaseSpace {
  struct Point {
    std::uint32_t unit = TraceModel::kNone;
    std::uint64_t wait = 0;
    std::uint64_t exec = 0;
    TypeClass family = TypeClass::kOther;
    Quadrant quadrant = Quadrant::kFast;
    bool critical = false;
  };
  /// A hexagon of the plane of log10 ns; its middle, and how many lie in it.
  struct Bin {
    double wait_log = 0;
    double exec_log = 0;
    std::uint64_t count = 0;
    std::uint32_t unit = TraceModel::kNone;  ///< the first of them
  };
  std::uint64_t wait_line = 0;  ///< over it: slow to start
  std::uint64_t exec_line = 0;
  std::vector<Point> points;    ///< in order of units; with `bins`, only those that stand out
  std::vector<Bin> bins;        ///< empty: all are points
  std::uint64_t total = 0;
  std::uint64_t counts[4] = {}; ///< by quadrant
  std::uint64_t wait_unknown = 0;  ///< left out
};

/// `critical` is by resource row of units, or empty.
///   Cost      O(units log units).
[[nodiscard]] inline PhaseSpace phase_space_of(const Execution& run, const Units& units, const std::vector<bool>& critical = {},
                                               const PhaseSpaceSettings& settings = {}) {
  PhaseSpace plane;
  std::vector<std::uint64_t> waits;
  std::vector<std::uint64_t> execs;
  for (const std::uint32_t unit : units.rows) {
    if (!units.wait_known[unit]) {
      ++plane.wait_unknown;
      continue;
    }
    PhaseSpace::Point point;
    point.unit = unit;
    point.wait = units.wait[unit];
    point.exec = units.exec[unit];
    point.family = run.class_of(unit);
    point.critical = !critical.empty() && critical[unit];
    plane.points.push_back(point);
    waits.push_back(point.wait);
    execs.push_back(point.exec);
  }
  plane.total = plane.points.size();
  if (plane.points.empty()) return plane;
  std::sort(waits.begin(), waits.end());
  std::sort(execs.begin(), execs.end());
  plane.wait_line = statistics::percentile<std::uint64_t>(waits, 0.9);
  plane.exec_line = std::max(statistics::percentile<std::uint64_t>(execs, 0.9), settings.least_exec_ns);
  for (PhaseSpace::Point& point : plane.points) {
    const unsigned quadrant = (point.wait > plane.wait_line ? 1u : 0u) | (point.exec > plane.exec_line ? 2u : 0u);
    point.quadrant = static_cast<Quadrant>(quadrant);
    ++plane.counts[quadrant];
  }
  if (plane.points.size() <= settings.most_points) return plane;

  // Hexagons with a point at the top, by axial coordinates: round to the nearest of the three cube coordinates' sum 0.
  const auto log10_of = [](std::uint64_t ns) {
    return mathematics::natural_log(static_cast<double>(ns == 0 ? 1 : ns)) / mathematics::kLn10;
  };
  const double range = std::max(log10_of(waits.back()) - log10_of(waits.front()), 1e-9);
  const double size = range / (settings.columns * 1.7320508075688772);
  IdMap cells;
  for (const PhaseSpace::Point& point : plane.points) {
    const double x = log10_of(point.wait) / size;
    const double y = log10_of(point.exec) / size;
    const double q = x * 0.57735026918962576 - y / 3;
    const double r = y * 2 / 3;
    const double s = -q - r;
    double rq = std::floor(q + 0.5);
    double rr = std::floor(r + 0.5);
    const double rs = std::floor(s + 0.5);
    const double dq = rq > q ? rq - q : q - rq;
    const double dr = rr > r ? rr - r : r - rr;
    const double ds = rs > s ? rs - s : s - rs;
    if (dq > dr && dq > ds) {
      rq = -rr - rs;
    } else if (dr > ds) {
      rr = -rq - rs;
    }
    const auto column = static_cast<std::uint32_t>(static_cast<std::int64_t>(rq) + (std::int64_t{1} << 30));
    const auto row = static_cast<std::uint32_t>(static_cast<std::int64_t>(rr) + (std::int64_t{1} << 30));
    const std::uint64_t key = std::uint64_t{column} << 32 | row;
    std::uint32_t at = cells.find(key);
    if (at == IdMap::kAbsent) {
      at = static_cast<std::uint32_t>(plane.bins.size());
      cells.insert(key, at);
      plane.bins.push_back({size * 1.7320508075688772 * (rq + rr / 2), size * 1.5 * rr, 0, point.unit});
    }
    ++plane.bins[at].count;
  }
  std::sort(plane.bins.begin(), plane.bins.end(), [](const PhaseSpace::Bin& a, const PhaseSpace::Bin& b) {
    return a.exec_log != b.exec_log ? a.exec_log < b.exec_log : a.wait_log < b.wait_log;
  });
  // What stands out stays: the extremes of both axes, and the critical path.
  const std::size_t first_kept = waits.size() - std::min(settings.extremes, waits.size());
  const std::uint64_t wait_limit = first_kept < waits.size() ? waits[first_kept] : ~std::uint64_t{0};
  const std::uint64_t exec_limit = first_kept < execs.size() ? execs[first_kept] : ~std::uint64_t{0};
  // Of those at the limit itself as many as there is room for, the first ones.
  const auto room = [&](const std::vector<std::uint64_t>& sorted, std::uint64_t limit) {
    const auto over = sorted.end() - std::upper_bound(sorted.begin(), sorted.end(), limit);
    return settings.extremes - std::min(settings.extremes, static_cast<std::size_t>(over));
  };
  std::size_t room_wait = room(waits, wait_limit);
  std::size_t room_exec = room(execs, exec_limit);
  std::size_t kept = 0;
  for (const PhaseSpace::Point& point : plane.points) {
    bool keep = point.critical;
    if (point.wait >= wait_limit && (point.wait > wait_limit || room_wait > 0)) keep = true;
    if (point.exec >= exec_limit && (point.exec > exec_limit || room_exec > 0)) keep = true;
    if (!keep) continue;
    if (point.wait == wait_limit && room_wait > 0) --room_wait;
    if (point.exec == exec_limit && room_exec > 0) --room_exec;
    plane.points[kept++] = point;
  }
  plane.points.resize(std::min(kept, plane.points.size()));
  return plane;
}

}  // namespace THENCE_ABI
}  // namespace thence
