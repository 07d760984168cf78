// SPDX-License-Identifier: MIT
// groups.hpp: many operations that came of the same code, as one.
//
// A loop over a hundred records makes hundreds of units that differ in nothing. They are one group if they were created by
// the same code, of the same type, and their parents are one group too: cousins of cousins meet, however deep. Without
// cousins only siblings meet, those of one invocation of their parent.
//   const Groups groups = groups_of(run, units);
//   for (const Groups::Group& group : groups.all) if (group.members >= 2) ...
// Every unit is in one group; a group of one is shown as the unit.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct GroupSettings {
  bool cousins = true;
  /// Siblings whose parent's callback is not known: created at most so far apart, one from the next.
  std::uint64_t proximity_ns = 1'000'000;
};

/// Stacks with the same frames have the same number: 0 for those without a frame of the user's code. From 1 otherwise.
[[nodiscard]] inline std::vector<std::uint32_t> stack_keys(const TraceModel& model, const Visibility& visible) {
  const auto count = static_cast<std::uint32_t>(model.stacks.size());
  std::vector<std::uint32_t> order;
  for (std::uint32_t stack = 0; stack < count; ++stack) {
    if (visible.first_user[stack] != TraceModel::kNone) order.push_back(stack);
  }
  const auto less = [&](std::uint32_t a, std::uint32_t b) {
    const auto x = model.frames_of(a);
    const auto y = model.frames_of(b);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  };
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    if (less(a, b)) return true;
    return !less(b, a) && a < b;
  });
  std::vector<std::uint32_t> keys(count, 0);
  std::uint32_t next = 0;
  for (std::size_t at = 0; at < order.size(); ++at) {
    if (at == 0 || less(order[at - 1], order[at])) ++next;
    keys[order[at]] = next;
  }
  return keys;
}

struct Groups {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  struct Group {
    std::uint32_t parent = kNone;          ///< group; kNone: its members have no unit above them
    std::uint32_t request = kNone;         ///< row of model.roots
    std::uint32_t representative = kNone;  ///< the unit that was created first; of several the smallest id
    std::uint32_t members = 0;
    std::uint32_t stack = kNone;           ///< of the representative; kNone: no frame of the user's code
    std::uint16_t type = 0;
    Confidence confidence = Confidence::kLow;  ///< high: siblings of one stack; medium: cousins; low: no user frame
    std::uint64_t first = 0;               ///< created
    std::uint64_t last = 0;
    std::uint32_t most_at_once = 0;        ///< in flight, from creation to finish; ends before starts
    std::uint32_t on_critical_path = 0;    ///< members; see mark_critical
    std::uint64_t wait_ns = 0;             ///< of those whose wait is known, all together
    std::uint64_t exec_ns = 0;
    std::uint32_t waits = 0;               ///< members whose wait is known
    std::uint32_t summary = kNone;         ///< row of `summaries`; kNone: it has one member, or none
  };
  struct Summaries {
    statistics::Summary wait;
    statistics::Summary exec;
  };

  std::vector<Group> all;              ///< in order of their first unit
  std::vector<std::uint32_t> of;       ///< by resource: the group of its unit; kNone: it is none
  RowIndex members;                    ///< units by group, in order of creation
  std::vector<Summaries> summaries;    ///< of groups of two and more; see wait_of

  /// Of those members whose wait is known.
  [[nodiscard]] statistics::Summary wait_of(const Group& group) const noexcept {
    return group.summary != kNone ? summaries[group.summary].wait : of_one(group.waits, group.wait_ns);
  }
  [[nodiscard]] statistics::Summary exec_of(const Group& group) const noexcept {
    return group.summary != kNone ? summaries[group.summary].exec : of_one(group.members, group.exec_ns);
  }

  /// Counts members that are on a critical path. `on_path` is by resource row of units.
  void mark_critical(const std::vector<bool>& on_path) {
    for (std::uint32_t group = 0; group < all.size(); ++group) {
      all[group].on_critical_path = 0;
      for (const std::uint32_t unit : members[group]) all[group].on_critical_path += on_path[unit] ? 1 : 0;
    }
  }

 private:
  [[nodiscard]] static statistics::Summary of_one(std::uint32_t n, std::uint64_t value) noexcept {
    return statistics::summarise(std::span<const std::uint64_t>(&value, n));
  }
};

///   Cost      O(n log n).
[[nodiscard]] inline Groups groups_of(const Execution& run, const Units& units, const GroupSettings& settings = {}) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  const TraceModel& model = run.model;
  Groups groups;
  groups.of.assign(model.resources(), kNone);
  const std::vector<std::uint32_t> keys = stack_keys(model, run.visible);
  const auto stack_key = [&](std::uint32_t unit) { return model.stack[unit] == kNone ? 0 : keys[model.stack[unit]]; };

  // What is below a group is told apart by type and stack, in 32 bits.
  IdMap kinds;
  std::uint32_t next_kind = 0;
  const auto kind_of = [&](std::uint32_t unit) {
    const std::uint64_t key = (std::uint64_t{stack_key(unit)} << 16 | model.type[unit]) + 1;
    std::uint32_t kind = kinds.find(key);
    if (kind == IdMap::kAbsent) kinds.insert(key, kind = next_kind++);
    return kind;
  };
  // What it is below of: nothing, a request, or the group of the parent (or the parent itself), in one row of numbers.
  const auto requests = static_cast<std::uint32_t>(run.requests.size());
  const auto above = [&](std::uint32_t unit) -> std::uint64_t {
    const std::uint32_t parent = units.parent[unit];
    if (parent == kNone) return run.request[unit] == kNone ? 0 : run.request[unit] + std::uint64_t{1};
    return std::uint64_t{requests} + 1 + (settings.cousins ? groups.of[parent] : parent);
  };

  std::vector<std::uint32_t> cluster(settings.cousins ? 0 : model.resources(), 0);
  // Siblings: which callback of the parent made it, or which stretch of time.
  if (!settings.cousins) {
    struct Sibling {
      std::uint64_t above;
      std::uint32_t kind;
      std::uint32_t invocation;
      std::uint32_t unit;
    };
    std::vector<Sibling> siblings;
    siblings.reserve(units.rows.size());
    for (const std::uint32_t unit : units.rows) {
      const std::uint32_t by = run.creator[units.first[unit]];
      const std::uint32_t parent = run.normal.parent[units.first[unit]];
      const bool told = by != kNone && parent != kNone && run.unit[run.resource_of(by)] == run.unit[parent];
      siblings.push_back({above(unit), kind_of(unit), told ? by : kNone, unit});
    }
    std::sort(siblings.begin(), siblings.end(), [&](const Sibling& a, const Sibling& b) {
      if (a.above != b.above) return a.above < b.above;
      if (a.kind != b.kind) return a.kind < b.kind;
      if (a.invocation != b.invocation) return a.invocation < b.invocation;
      return units.first[a.unit] < units.first[b.unit];
    });
    std::uint32_t number = 0;
    for (std::size_t at = 0; at < siblings.size(); ++at) {
      const Sibling& one = siblings[at];
      if (at != 0) {
        const Sibling& before = siblings[at - 1];
        const bool same = one.above == before.above && one.kind == before.kind && one.invocation == before.invocation;
        const bool near = one.invocation != kNone ||
                          units.created[one.unit] - units.created[before.unit] <= settings.proximity_ns;
        if (!same || !near) ++number;
      }
      cluster[one.unit] = number;
    }
  }
  // Few groups are below one: they are a short list. Those that do not fit it are found by their hash.
  struct Known {
    std::uint32_t unit;  // its first
    std::uint32_t kind;
    std::uint32_t next;  // below the same
  };
  constexpr unsigned kLongestList = 8;
  std::vector<Known> known;
  known.reserve(units.rows.size());
  std::vector<std::uint32_t> newest(std::size_t{requests} + 1 + units.rows.size(), kNone);  // by what is above, or by cluster
  IdMap interned;
  for (const std::uint32_t unit : units.rows) {
    const std::uint64_t over = settings.cousins ? above(unit) : cluster[unit];
    const std::uint32_t kind = settings.cousins ? kind_of(unit) : 0;
    const auto next = static_cast<std::uint32_t>(known.size());
    std::uint32_t group = newest[over];
    unsigned steps = 0;
    for (; group != kNone && known[group].kind != kind && steps != kLongestList; ++steps) group = known[group].next;
    if (steps == kLongestList) {
      const std::uint64_t key = (over << 32 | kind) + 1;
      group = interned.find(key);
      if (group == IdMap::kAbsent) {
        interned.insert(key, group = next);
        known.push_back({unit, kind, kNone});
      }
    } else if (group == kNone) {
      known.push_back({unit, kind, newest[over]});
      newest[over] = group = next;
    }
    groups.of[unit] = group;
  }
  groups.all.resize(known.size());
  for (std::size_t at = 0; at < known.size(); ++at) {
    const std::uint32_t unit = known[at].unit;
    Groups::Group& group = groups.all[at];
    group.parent = units.parent[unit] == kNone ? kNone : groups.of[units.parent[unit]];
    group.request = run.request[unit];
    group.type = model.type[unit];
    group.stack = stack_key(unit) == 0 ? kNone : model.stack[unit];
  }
  groups.members.build(groups.all.size(), units.rows.size(), [&](std::uint32_t at) { return groups.of[units.rows[at]]; });
  for (std::uint32_t& item : groups.members.items) item = units.rows[item];

  std::vector<std::uint64_t> waits;
  std::vector<std::uint64_t> execs;
  std::vector<std::uint64_t> starts;
  std::vector<std::uint64_t> ends;
  for (std::uint32_t at = 0; at < groups.all.size(); ++at) {
    Groups::Group& group = groups.all[at];
    const auto of = groups.members[at];
    group.members = static_cast<std::uint32_t>(of.size());
    group.most_at_once = 1;
    group.first = ~std::uint64_t{0};
    bool siblings = true;
    for (const std::uint32_t unit : of) {
      const std::uint64_t created = units.created[unit];
      if (created < group.first || (created == group.first && model.id[unit] < model.id[group.representative])) {
        group.representative = unit;
      }
      group.first = std::min(group.first, created);
      group.last = std::max(group.last, created);
      siblings = siblings && units.parent[unit] == units.parent[group.representative];
      group.exec_ns += units.exec[unit];
      if (!units.wait_known[unit]) continue;
      group.wait_ns += units.wait[unit];
      ++group.waits;
    }
    group.confidence = group.stack == kNone ? Confidence::kLow : siblings ? Confidence::kHigh : Confidence::kMedium;
    if (of.size() < 2) continue;
    waits.clear();
    execs.clear();
    starts.clear();
    ends.clear();
    for (const std::uint32_t unit : of) {
      if (units.wait_known[unit]) waits.push_back(units.wait[unit]);
      execs.push_back(units.exec[unit]);
      const std::uint64_t created = units.created[unit];
      if (units.finish[unit] == created) continue;  // at no moment in flight
      starts.push_back(created);
      ends.push_back(units.finish[unit]);
    }
    group.summary = static_cast<std::uint32_t>(groups.summaries.size());
    groups.summaries.push_back({statistics::summarise_unsorted(waits), statistics::summarise_unsorted(execs)});
    if (starts.size() < 2) continue;
    if (!std::is_sorted(starts.begin(), starts.end())) std::sort(starts.begin(), starts.end());
    std::sort(ends.begin(), ends.end());
    std::size_t ended = 0;
    for (std::size_t started = 0; started < starts.size(); ++started) {
      while (ends[ended] <= starts[started]) ++ended;  // the last end is after the last start
      group.most_at_once = std::max(group.most_at_once, static_cast<std::uint32_t>(started + 1 - ended));
    }
  }
  return groups;
}

}  // namespace THENCE_ABI
}  // namespace thence
