// SPDX-License-Identifier: MIT
// bottlenecks.hpp: the few pieces of code that a request's time went to, and the longest waits that cost it nothing.
//
//   const RowIndex by_request = units_by_request(run, units);
//   const Bottlenecks top = bottlenecks_of(context, by_request, wrappers_of(run, units), request);
//   top.on_path[n].total_ns, .saving_ns         // what determined the duration, by type and code location, heaviest first
//   top.off_path[n].unit                        // long waits that decided nothing: leave them alone
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct Bottlenecks {
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  /// Operations and callbacks of one type and one place that have time on the critical path.
  struct Group {
    std::uint16_t type = 0;
    std::uint32_t location = kNone;     ///< of Locations::entries
    std::uint32_t first = kNone;        ///< the unit of it that was created first
    std::uint32_t count = 0;            ///< units
    std::uint64_t total_ns = 0;         ///< on the path
    std::uint32_t share_permille = 0;   ///< of the request
    std::uint64_t saving_ns = 0;        ///< what the request would end earlier without them all
    bool saving_known = false;
  };
  struct Wait {
    std::uint32_t unit = kNone;
    std::uint64_t wait_ns = 0;
  };
  std::vector<Group> on_path;            ///< at most `most`, fewer where there are fewer
  std::uint64_t groups = 0;              ///< that have time on the path
  std::vector<Wait> off_path;
  /// The unit off the path that would be on it next, and by how much it could be later before that.
  std::uint32_t runner_up = kNone;
  std::uint64_t runner_up_slack_ns = 0;
};

/// Units by row of requests.
[[nodiscard]] inline RowIndex units_by_request(const Execution& run, const Units& units) {
  RowIndex made;
  made.build(run.requests.size(), units.rows.size(), [&](std::uint32_t at) { return run.request[units.rows[at]]; });
  for (std::uint32_t& item : made.items) item = units.rows[item];
  return made;
}

/// A promise whose time holds the times of all that it created only says how long those took.
[[nodiscard]] inline std::vector<bool> wrappers_of(const Execution& run, const Units& units) {
  std::vector<bool> has_child(run.model.resources(), false);
  std::vector<bool> sticks_out(run.model.resources(), false);
  for (const std::uint32_t unit : units.rows) {
    const std::uint32_t parent = units.parent[unit];
    if (parent == TraceModel::kNone) continue;
    has_child[parent] = true;
    if (units.created[unit] < units.created[parent] || units.finish[unit] > units.finish[parent]) sticks_out[parent] = true;
  }
  std::vector<bool> made(run.model.resources(), false);
  for (const std::uint32_t unit : units.rows) {
    made[unit] = run.class_of(unit) == TypeClass::kPromise && has_child[unit] && !sticks_out[unit];
  }
  return made;
}

///   Cost      O(units of the request, log), and a replay of the request for each group that is shown.
[[nodiscard]] inline Bottlenecks bottlenecks_of(PatternContext& in, const RowIndex& by_request, const std::vector<bool>& wrappers,
                                                std::uint32_t request, std::size_t most = 5) {
  Bottlenecks made;
  std::vector<std::uint32_t> members;
  std::uint32_t runner_up = Bottlenecks::kNone;
  std::uint64_t least = 0;
  for (const std::uint32_t unit : by_request[request]) {
    if (in.on_path[unit] != 0) {
      members.push_back(unit);
      continue;
    }
    if (in.units.wait_known[unit] && in.units.wait[unit] != 0 && !wrappers[unit]) made.off_path.push_back({unit, in.units.wait[unit]});
    if (in.ideal == nullptr) continue;
    const IdealSchedule::Slack slack = in.ideal->slack_of(unit);
    if (!slack.needed || in.duration(unit) == 0) continue;
    if (runner_up == Bottlenecks::kNone || slack.ns < least) {
      runner_up = unit;
      least = slack.ns;
    }
  }
  made.runner_up = runner_up;
  made.runner_up_slack_ns = least;
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) {
    if (in.units.created[a] != in.units.created[b]) return in.units.created[a] < in.units.created[b];
    return in.model.id[a] < in.model.id[b];
  };
  const auto heavier = [&](const Bottlenecks::Wait& a, const Bottlenecks::Wait& b) {
    return a.wait_ns != b.wait_ns ? a.wait_ns > b.wait_ns : earlier(a.unit, b.unit);
  };
  const std::size_t kept = std::min(most, made.off_path.size());
  std::partial_sort(made.off_path.begin(), made.off_path.begin() + static_cast<std::ptrdiff_t>(kept), made.off_path.end(), heavier);
  made.off_path.resize(kept);

  std::sort(members.begin(), members.end(), [&](std::uint32_t a, std::uint32_t b) {
    if (in.model.type[a] != in.model.type[b]) return in.model.type[a] < in.model.type[b];
    if (in.where.of[a] != in.where.of[b]) return in.where.of[a] < in.where.of[b];
    return earlier(a, b);
  });
  std::vector<std::pair<std::size_t, std::size_t>> ranges;  // beside on_path
  for (std::size_t at = 0; at < members.size();) {
    Bottlenecks::Group group;
    group.first = members[at];
    group.type = in.model.type[members[at]];
    group.location = in.where.of[members[at]];
    std::size_t end = at;
    for (; end < members.size() && in.model.type[members[end]] == group.type && in.where.of[members[end]] == group.location; ++end) {
      ++group.count;
      group.total_ns += in.on_path[members[end]];
    }
    made.on_path.push_back(group);
    ranges.push_back({at, end});
    at = end;
  }
  made.groups = made.on_path.size();
  std::vector<std::uint32_t> order(made.on_path.size());
  for (std::uint32_t at = 0; at < order.size(); ++at) order[at] = at;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const Bottlenecks::Group& x = made.on_path[a];
    const Bottlenecks::Group& y = made.on_path[b];
    return x.total_ns != y.total_ns ? x.total_ns > y.total_ns : earlier(x.first, y.first);
  });
  if (order.size() > most) order.resize(most);
  std::vector<Bottlenecks::Group> top;
  for (const std::uint32_t at : order) {
    Bottlenecks::Group group = made.on_path[at];
    group.share_permille = report::permille(group.total_ns, in.run.requests[request].duration());
    if (in.ideal != nullptr) {
      const std::vector<std::uint32_t> of(members.begin() + static_cast<std::ptrdiff_t>(ranges[at].first),
                                          members.begin() + static_cast<std::ptrdiff_t>(ranges[at].second));
      group.saving_ns = in.ideal->saving_of(request, of);
      group.saving_known = true;
    }
    top.push_back(group);
  }
  made.on_path = std::move(top);
  return made;
}

}  // namespace THENCE_ABI
}  // namespace thence
