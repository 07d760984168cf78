// SPDX-License-Identifier: MIT
// units.hpp: the operations as a person counts them, with how long each waited and ran.
//
// One fetch is three records: the operation, its bridge between two promise systems, and the promise that the program holds.
// Analyses that count, group or draw take the three as one unit, which stands under the row of its operation:
//   const Units units = units_of(run);
//   for (const std::uint32_t unit : units.rows) if (units.wait_known[unit]) total += units.wait[unit];
// A unit's wait goes from its creation to the first callback of any of its parts; of one that never ran, to its settling;
// of one that did neither it is not known. Requests' roots and resources that were only mentioned are no units.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Columns by resource row; they mean something at the rows of units.
///   Shape     some 50 bytes a resource.
///   Threads   any number of readers.
///   Cost      units_of: O(resources + invocations + links + annotations).
///   Lifetime  stands alone; rows mean something with their model.
struct Units {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  /// The units in order of their first part's row: a parent comes before its children.
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> first;    ///< its first part: the lowest row
  std::vector<std::uint32_t> parent;   ///< the unit that created it; kNone: none, or a request's root did
  std::vector<std::uint32_t> depth;    ///< units above it
  std::vector<std::uint64_t> created;  ///< of its first part
  std::vector<std::uint64_t> wait;
  std::vector<std::uint64_t> exec;     ///< self time of the callbacks of all its parts
  std::vector<std::uint32_t> callbacks;
  std::vector<std::uint64_t> finish;   ///< settled, else destroyed, else last heard of, else its request's end
  Execution::Flags wait_known;
  Execution::Flags settled;           ///< that any of its parts was settled is known
  Execution::Flags destroyed;
  Execution::Flags awaited;           ///< another unit awaits it, by a link
  std::uint64_t unknown = 0;           ///< resources without a creation: left out

  [[nodiscard]] bool is_unit(std::uint32_t row) const noexcept { return first[row] != kNone; }
};

[[nodiscard]] inline Units units_of(const Execution& run) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  const TraceModel& model = run.model;
  const std::uint32_t resources = model.resources();
  Units units;
  units.first.assign(resources, kNone);
  units.parent.assign(resources, kNone);
  units.depth.assign(resources, 0);
  units.created.assign(resources, 0);
  units.wait.assign(resources, 0);
  units.exec.assign(resources, 0);
  units.callbacks.assign(resources, 0);
  units.finish.assign(resources, 0);
  units.wait_known.assign(resources, false);
  units.settled.assign(resources, false);
  units.destroyed.assign(resources, false);
  units.awaited.assign(resources, false);
  for (std::uint32_t row = 0; row < resources; ++row) {
    if (!model.has(row, ResourceFlag::kCreated)) {
      ++units.unknown;
      continue;
    }
    const std::uint32_t unit = run.unit[row];
    if (run.class_of(unit) == TypeClass::kRoot) continue;
    if (!model.has(unit, ResourceFlag::kCreated)) {  // its operation was only mentioned
      ++units.unknown;
      continue;
    }
    if (units.first[unit] != kNone) continue;
    units.first[unit] = row;  // rows are in order of creation
    units.rows.push_back(unit);
    units.created[unit] = model.created[row];
    const std::uint32_t above = run.normal.parent[row];
    if (above == kNone) continue;
    const std::uint32_t of = run.unit[above];
    if (!units.is_unit(of) || of == unit) continue;
    units.parent[unit] = of;
    units.depth[unit] = units.depth[of] + 1;
  }
  std::vector<std::uint64_t> first_start(resources, ~std::uint64_t{0});
  for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
    if (run.is_span(at)) continue;
    const std::uint32_t unit = run.unit[run.resource_of(at)];
    if (!units.is_unit(unit)) continue;
    units.exec[unit] += run.self[at];
    ++units.callbacks[unit];
    first_start[unit] = std::min(first_start[unit], run.start(at));
  }
  for (const std::uint32_t unit : units.rows) {
    bool ended = false;
    std::uint64_t first_settle = ~std::uint64_t{0};
    std::uint64_t finish = 0;
    std::uint64_t last = 0;
    for (const std::uint32_t part : run.members[unit]) {
      if (run.settle_known[part]) {
        first_settle = std::min(first_settle, run.settled[part]);
        units.settled[unit] = true;
      }
      if (model.has(part, ResourceFlag::kDestroyed)) units.destroyed[unit] = true;
      const std::uint64_t until = run.finish_of(part);
      if (!run.open(part)) {
        ended = true;
        finish = std::max(finish, until);
      }
      last = std::max(last, until);
    }
    units.finish[unit] = std::max(ended ? finish : last, units.created[unit]);
    if (units.callbacks[unit] != 0) {
      units.wait_known[unit] = true;
      units.wait[unit] = first_start[unit] > units.created[unit] ? first_start[unit] - units.created[unit] : 0;
    } else if (units.settled[unit]) {
      units.wait_known[unit] = true;
      units.wait[unit] = first_settle > units.created[unit] ? first_settle - units.created[unit] : 0;
    }
  }
  for (const TraceModel::Link& link : model.links) {
    if (link.kind != LinkKind::kAwaits || link.cause == kNone || link.effect == kNone) continue;
    if (run.unit[link.cause] != run.unit[link.effect]) units.awaited[run.unit[link.cause]] = true;
  }
  return units;
}

}  // namespace THENCE_ABI
}  // namespace thence
