// SPDX-License-Identifier: MIT
// latency.hpp: how long operations waited, by the code that made them, and whether it grows.
//
// Which code waits longest in all, how it is spread, and whether the later ones of a crowd wait longer (a queue) or the
// deeper ones do:
//   const LatencyReport latency = latency_of(run, units, where);
//   for (const LatencyGroup& group : latency.by_location) {
//     where.entries[group.location].text, group.wait.p50;      // the largest total first
//     const auto shape = statistics::violin(latency.waits_of(group));
//   }
//   latency.row_at(group, 0.99)                                // the very operation that is the p99
// Operations whose code is not known, or whose wait is not, are left out and counted.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/radix_sort.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct LatencyGroup {
  std::uint32_t location = TraceModel::kNone;  ///< of Locations::entries
  std::uint32_t begin = 0;                     ///< of LatencyReport::rows
  std::uint32_t end = 0;
  statistics::Summary wait;
  statistics::Summary exec;
  std::uint64_t three_sigma_outliers = 0;
  std::uint64_t robust_outliers = 0;           ///< modified z over 3.5
};

/// Children of one unit or request: does the wait grow with the order of their births?
struct BirthOrder {
  std::uint32_t parent = TraceModel::kNone;    ///< unit, or the resource of a request
  std::uint64_t children = 0;
  statistics::Trend trend;                     ///< slope: ns a sibling
};

struct LatencyReport {
  statistics::Summary wait;                 ///< of all whose wait is known
  statistics::Summary exec;
  std::vector<LatencyGroup> by_location;    ///< the largest total wait first; of equals by name
  std::vector<std::uint32_t> rows;          ///< units of the groups, each group in order of wait, then of creation
  std::vector<std::uint64_t> waits;         ///< beside `rows`
  std::vector<BirthOrder> birth_orders;     ///< those that are called out, the strongest first
  std::uint64_t birth_orders_tried = 0;     ///< parents with enough children
  statistics::Trend by_depth;               ///< slope: ns a level; of at most 65,536 units, evenly spread
  std::uint64_t location_unknown = 0;
  std::uint64_t wait_unknown = 0;

  [[nodiscard]] std::span<const std::uint64_t> waits_of(const LatencyGroup& group) const noexcept {
    return {waits.data() + group.begin, group.end - group.begin};
  }
  [[nodiscard]] std::span<const std::uint32_t> rows_of(const LatencyGroup& group) const noexcept {
    return {rows.data() + group.begin, group.end - group.begin};
  }
  /// The unit whose wait is the q-quantile of its group.
  [[nodiscard]] std::uint32_t row_at(const LatencyGroup& group, double q) const noexcept {
    return rows[group.begin + statistics::percentile_index(group.end - group.begin, q)];
  }
};

///   Cost      O(n log n).
[[nodiscard]] inline LatencyReport latency_of(const Execution& run, const Units& units, const Locations& where,
                                              const statistics::TrendSettings& trends = {}) {
  LatencyReport made;
  struct One {
    std::uint32_t location;
    std::uint32_t unit;
    std::uint64_t wait;
  };
  std::vector<One> all;
  std::vector<std::uint64_t> waits;
  std::vector<std::uint64_t> execs;
  all.reserve(units.rows.size());
  waits.reserve(units.rows.size());
  execs.reserve(units.rows.size());
  for (std::uint32_t unit = 0; unit < run.model.resources(); ++unit) {  // of equal waits the one that was created first
    if (!units.is_unit(unit)) continue;
    execs.push_back(units.exec[unit]);
    if (!units.wait_known[unit]) {
      ++made.wait_unknown;
      continue;
    }
    waits.push_back(units.wait[unit]);
    if (!where[unit].known) {
      ++made.location_unknown;
      continue;
    }
    all.push_back({where.of[unit], unit, units.wait[unit]});
  }
  made.wait = statistics::summarise_unsorted(waits);
  made.exec = statistics::summarise_unsorted(execs);
  // By place first, which costs nothing; then each place by itself.
  RowIndex by_place;
  by_place.build(where.entries.size(), all.size(), [&](std::uint32_t at) { return all[at].location; });
  std::vector<One> placed;
  placed.reserve(all.size());
  for (const std::uint32_t at : by_place.items) placed.push_back(all[at]);
  all.swap(placed);
  for (std::uint32_t place = 0; place < where.entries.size(); ++place) {
    const std::span of(all.data() + by_place.first[place], by_place[place].size());
    radix_sort(of, placed, [](const One& one) { return one.wait; });
  }
  made.rows.reserve(all.size());
  made.waits.reserve(all.size());
  for (const One& one : all) {
    const auto at = static_cast<std::uint32_t>(made.rows.size());
    if (made.by_location.empty() || made.by_location.back().location != one.location) {
      made.by_location.push_back({});
      made.by_location.back().location = one.location;
      made.by_location.back().begin = at;
    }
    made.by_location.back().end = at + 1;
    made.rows.push_back(one.unit);
    made.waits.push_back(one.wait);
  }
  for (LatencyGroup& group : made.by_location) {
    const auto sorted = made.waits_of(group);
    group.wait = statistics::summarise(sorted);
    execs.clear();
    for (const std::uint32_t unit : made.rows_of(group)) execs.push_back(units.exec[unit]);
    group.exec = statistics::summarise_unsorted(execs);
    // Sorted: from the largest down to the first that is none.
    const auto limit = statistics::three_sigma_limit(sorted);
    for (std::size_t at = sorted.size(); limit && at-- > 0 && static_cast<double>(sorted[at]) > *limit;) ++group.three_sigma_outliers;
    const statistics::ModifiedZ z = statistics::modified_z_of_logs(sorted);
    for (std::size_t at = sorted.size(); z.known && at-- > 0 && z.of(sorted[at]) > 3.5;) ++group.robust_outliers;
  }
  std::sort(made.by_location.begin(), made.by_location.end(), [&](const LatencyGroup& a, const LatencyGroup& b) {
    if (a.wait.sum != b.wait.sum) return a.wait.sum > b.wait.sum;
    return where.entries[a.location].text < where.entries[b.location].text;
  });

  // Siblings in order of their births.
  RowIndex children;
  children.build(run.model.resources(), units.rows.size(), [&](std::uint32_t at) {
    const std::uint32_t parent = run.normal.parent[units.first[units.rows[at]]];
    return parent == TraceModel::kNone ? parent : run.unit[parent];
  });
  std::vector<std::uint32_t> born;
  std::vector<double> x;
  std::vector<double> y;
  for (std::uint32_t parent = 0; parent < run.model.resources(); ++parent) {
    const auto of = children[parent];
    if (of.size() < trends.fewest) continue;
    born.assign(of.begin(), of.end());
    std::sort(born.begin(), born.end(), [&](std::uint32_t a, std::uint32_t b) {
      const std::uint32_t one = units.rows[a];
      const std::uint32_t other = units.rows[b];
      if (units.created[one] != units.created[other]) return units.created[one] < units.created[other];
      return run.model.id[one] < run.model.id[other];
    });
    x.clear();
    y.clear();
    for (std::size_t at = 0; at < born.size(); ++at) {
      const std::uint32_t unit = units.rows[born[at]];
      if (!units.wait_known[unit]) continue;
      x.push_back(static_cast<double>(at));
      y.push_back(static_cast<double>(units.wait[unit]));
    }
    if (x.size() < trends.fewest) continue;
    ++made.birth_orders_tried;
    BirthOrder order;
    order.parent = parent;
    order.children = x.size();
    order.trend = statistics::trend(x, y, trends);
    if (order.trend.called_out) made.birth_orders.push_back(order);
  }
  std::sort(made.birth_orders.begin(), made.birth_orders.end(), [](const BirthOrder& a, const BirthOrder& b) {
    const double x1 = a.trend.correlation.rho < 0 ? -a.trend.correlation.rho : a.trend.correlation.rho;
    const double x2 = b.trend.correlation.rho < 0 ? -b.trend.correlation.rho : b.trend.correlation.rho;
    if (x1 != x2) return x1 > x2;
    return a.children != b.children ? a.children > b.children : a.parent < b.parent;
  });
  // Of very many, as many as tell it, evenly spread.
  x.clear();
  y.clear();
  constexpr std::size_t kDepthPoints = 65'536;
  const std::size_t step = (units.rows.size() + kDepthPoints - 1) / kDepthPoints;
  for (std::size_t at = 0; at < units.rows.size(); at += step) {
    const std::uint32_t unit = units.rows[at];
    if (!units.wait_known[unit]) continue;
    x.push_back(static_cast<double>(units.depth[unit]));
    y.push_back(static_cast<double>(units.wait[unit]));
  }
  made.by_depth = statistics::trend(x, y, trends);
  return made;
}

}  // namespace THENCE_ABI
}  // namespace thence
