// SPDX-License-Identifier: MIT
// patterns_promise.hpp: promises that wait for promises that wait for promises, and those that wait for ever.
//
//   deep-chain            a long chain of awaits                                   (5, medium)
//   unresolved            never settled, though the request has ended              (10, low)
//   collected-unresolved  gone without having been settled                         (10, note)
// Definitions: docs/analyses.md.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "thence/analysis/finding.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How many units that a person sees wait for each other, up to each unit, and which.
struct AwaitChains {
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  struct Link {
    std::uint32_t unit = kNone;
    std::uint32_t before = kNone;   ///< of `links`
    std::uint32_t length = 0;
    std::uint64_t released = 0;     ///< when the one before let it go on
  };
  std::vector<Link> links;
  std::vector<std::uint32_t> longest;  ///< by unit: the link that ends the longest chain to it
  std::vector<bool> goes_on;           ///< by link: it is within the longest chain to another unit
  bool by_creation = false;            ///< the trace tells no awaits and no settlers: distinct functions along the creations
};

/// A chain is of units that wait at the same time: each was waiting for the one before when that one, in turn, was let go
/// on. A loop that awaits one thing after the other makes no chain: its second wait begins when the first is over.
///   Cost      O(n log n).
[[nodiscard]] inline AwaitChains await_chains(const PatternContext& in) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  AwaitChains made;
  const std::uint32_t resources = in.model.resources();
  made.longest.assign(resources, kNone);
  std::vector<std::uint8_t> visible(resources, 0);
  for (const std::uint32_t unit : in.units.rows) visible[unit] = in.location_of(unit) != kNone || is_operation(in.class_of(unit)) ? 1 : 0;
  const auto seen = [&](std::uint32_t unit) { return std::uint32_t{visible[unit]}; };
  struct Edge {
    std::uint64_t time;
    std::uint64_t since;  // when the wait began
    std::uint32_t from;
    std::uint32_t to;
  };
  const auto earlier = [](const Edge& a, const Edge& b) { return a.time < b.time; };
  std::vector<Edge> edges;
  const auto add = [&](std::uint64_t time, std::uint64_t since, std::uint32_t cause, std::uint32_t effect) {
    if (cause == kNone || effect == kNone) return;
    const std::uint32_t from = in.run.unit[cause];
    const std::uint32_t to = in.run.unit[effect];
    if (from != to && in.units.is_unit(from) && in.units.is_unit(to)) edges.push_back({time, since, from, to});
  };
  // Each table is in order of time, or nearly so: what it gave is put in order and among what there is.
  std::ptrdiff_t ordered = 0;
  const auto put_in_order = [&] {
    const auto middle = edges.begin() + ordered;
    if (!std::is_sorted(middle, edges.end(), earlier)) std::sort(middle, edges.end(), earlier);
    std::inplace_merge(edges.begin(), middle, edges.end(), earlier);
    ordered = static_cast<std::ptrdiff_t>(edges.size());
  };
  for (const TraceModel::Link& link : in.model.links) {
    if (link.kind != LinkKind::kAwaits || link.cause == kNone || link.effect == kNone) continue;
    if (in.run.settle_known[link.cause]) add(std::max(in.run.settled[link.cause], link.time), link.time, link.cause, link.effect);
  }
  put_in_order();
  for (std::uint32_t row = 0; row < resources; ++row) {
    if (!in.run.settle_known[row] || in.run.settler[row] == kNone) continue;
    add(in.run.settled[row], in.run.created(row), in.run.resource_of(in.run.settler[row]), row);
  }
  put_in_order();
  for (std::uint32_t at = 0; at < in.model.invocations.size(); ++at) {
    const Execution::Cause& cause = in.run.cause[at];
    if (in.run.is_span(at) || cause.inferred || cause.resource == kNone) continue;
    if (cause.kind != CauseOf::kSettled && cause.kind != CauseOf::kExternal) continue;
    const std::uint32_t row = in.run.resource_of(at);
    const std::uint32_t before = in.run.previous[at];
    add(in.run.start(at), before == kNone ? in.run.created(row) : in.run.end(before), cause.resource, row);
  }
  put_in_order();
  // The first links are the units alone.
  for (const std::uint32_t unit : in.units.rows) {
    made.longest[unit] = static_cast<std::uint32_t>(made.links.size());
    made.links.push_back({unit, kNone, seen(unit), 0});
  }
  if (!edges.empty()) {
    const std::vector<std::uint32_t> alone(made.longest);
    const auto relax = [&](const Edge& edge) {
      std::uint32_t from = made.longest[edge.from];
      if (made.links[from].before != kNone && edge.since > made.links[from].released) from = alone[edge.from];
      const std::uint32_t length = made.links[from].length + seen(edge.to);
      if (length <= made.links[made.longest[edge.to]].length) return;
      made.longest[edge.to] = static_cast<std::uint32_t>(made.links.size());
      made.links.push_back({edge.to, from, length, edge.time});
    };
    // Within one moment nobody can say which came first: forwards, then backwards.
    for (std::size_t at = 0; at < edges.size();) {
      std::size_t end = at;
      while (end < edges.size() && edges[end].time == edges[at].time) ++end;
      const std::span moment(edges.data() + at, end - at);
      std::sort(moment.begin(), moment.end(), [](const Edge& a, const Edge& b) {
        if (a.from != b.from) return a.from < b.from;
        return a.to != b.to ? a.to < b.to : a.since < b.since;
      });
      for (const Edge& edge : moment) relax(edge);
      for (std::size_t n = moment.size(); n > 1;) relax(moment[--n]);
      at = end;
    }
  } else {
    // Creations only: a loop makes its chain longer each time round, and so does each await of a flat function. So functions
    // count, each once.
    made.by_creation = true;
    RowIndex children;
    children.build(resources, in.units.rows.size(), [&](std::uint32_t at) { return in.units.parent[in.units.rows[at]]; });
    std::vector<std::uint32_t> times(std::size_t{in.functions()} + 1, 0);  // a function is on the way from the top to here
    struct Visit {
      std::uint32_t unit;
      std::uint32_t next;
    };
    std::vector<Visit> way;
    std::uint32_t distinct = 0;
    const auto enter = [&](std::uint32_t unit) {
      if (times[in.callee_of(unit)]++ == 0 && in.callee_of(unit) != 0) ++distinct;
      AwaitChains::Link& link = made.links[made.longest[unit]];
      link.length = distinct;
      if (!way.empty()) link.before = made.longest[way.back().unit];
      way.push_back({unit, 0});
    };
    for (const std::uint32_t top : in.units.rows) {
      if (in.units.parent[top] != kNone) continue;
      enter(top);
      while (!way.empty()) {
        Visit& here = way.back();
        const auto below = children[here.unit];
        if (here.next < below.size()) {
          enter(in.units.rows[below[here.next++]]);
          continue;
        }
        if (--times[in.callee_of(here.unit)] == 0 && in.callee_of(here.unit) != 0) --distinct;
        way.pop_back();
      }
    }
  }
  made.goes_on.assign(made.links.size(), false);
  for (const std::uint32_t unit : in.units.rows) {
    const std::uint32_t before = made.links[made.longest[unit]].before;
    if (before != kNone) made.goes_on[before] = true;
  }
  return made;
}

inline void find_deep_chains(const PatternContext& in, std::vector<Finding>& out) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  const AwaitChains chains = await_chains(in);
  const auto length = [&](std::uint32_t unit) { return chains.links[chains.longest[unit]].length; };
  std::vector<std::uint32_t> leaves;
  for (const std::uint32_t unit : in.units.rows) {
    if (!chains.goes_on[chains.longest[unit]] && length(unit) > in.settings.chain_depth) leaves.push_back(unit);
  }
  std::sort(leaves.begin(), leaves.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t x = in.request_number(a);
    const std::uint32_t y = in.request_number(b);
    if (x != y) return x < y;
    if (length(a) != length(b)) return length(a) > length(b);
    if (in.units.created[a] != in.units.created[b]) return in.units.created[a] < in.units.created[b];
    return in.model.id[a] < in.model.id[b];
  });
  // The deepest of each request; those that leave a chain that was reported are branches of it.
  std::vector<bool> reported(in.model.resources(), false);
  std::uint32_t request = kNone;
  std::uint32_t of_request = 0;
  for (const std::uint32_t leaf : leaves) {
    if (in.request_number(leaf) != request) of_request = 0;
    request = in.request_number(leaf);
    if (of_request >= in.settings.chains_reported) continue;
    std::vector<std::uint32_t> chain;
    bool branch = false;
    for (std::uint32_t at = chains.longest[leaf]; at != kNone && !branch; at = chains.links[at].before) {
      branch = reported[chains.links[at].unit];
      chain.push_back(chains.links[at].unit);
    }
    for (const std::uint32_t unit : chain) reported[unit] = true;
    if (branch) continue;
    ++of_request;
    Finding made = in.finding("deep-chain", Severity::kMedium, chains.by_creation ? Confidence::kLow : Confidence::kMedium, chain);
    made.says("links", Evidence::Unit::kCount, length(leaf));
    made.says("known by", chains.by_creation ? std::string_view("creations: distinct functions") : std::string_view("awaits and settlings"));
    made.summary = std::string(chains.by_creation ? "A chain through " : "A chain of ") + report::number_text(length(leaf)) +
                   (chains.by_creation ? " functions, each begun by the one before, ends at " : " operations that wait for each other ends at ") +
                   in.location_name(leaf) + ".";
    made.advice = "Flatten it: async functions instead of nested callbacks, and no wrappers that only pass a promise on.";
    out.push_back(std::move(made));
  }
}

/// By place: what nobody settled before its request ended.
inline void find_unresolved(const PatternContext& in, std::vector<Finding>& out) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  // What is lost may have been a settling: a trace with losses says nothing.
  if (in.coverage.lost != 0 || !in.model.losses.empty()) return;
  const bool plain = in.run.normal.inferred;
  bool settles = false;
  for (std::uint32_t row = 0; row < in.model.resources() && !settles; ++row) settles = in.model.has(row, ResourceFlag::kSettled);
  if (!settles && !plain) return;  // nor one that tells no settlings
  // A plain document tells a settling by its callback only. Where a promise without one has children that ran, it was
  // settled and not shown so: that document tells nothing by what is not in it.
  std::vector<bool> ran_below(in.model.resources(), false);
  for (std::size_t n = in.units.rows.size(); n-- > 0;) {
    const std::uint32_t unit = in.units.rows[n];
    if (in.units.parent[unit] != kNone && (ran_below[unit] || in.units.callbacks[unit] != 0)) ran_below[in.units.parent[unit]] = true;
  }
  for (const std::uint32_t unit : in.units.rows) {
    if (plain && in.class_of(unit) == TypeClass::kPromise && in.units.callbacks[unit] == 0 && ran_below[unit]) return;
  }
  struct One {
    std::uint32_t request;
    std::uint32_t place;
    bool collected;
    std::uint32_t unit;
  };
  std::vector<One> all;
  for (const std::uint32_t unit : in.units.rows) {
    if (in.units.settled[unit] || in.run.request[unit] == kNone) continue;
    const Execution::Request& request = in.run.requests[in.run.request[unit]];
    if (!request.is_ended && !plain) continue;
    const TypeClass which = in.class_of(unit);
    if (which == TypeClass::kStream || which == TypeClass::kSocket) continue;
    const std::string_view type = in.note_text(unit, PatternContext::kType);
    if (which == TypeClass::kTimer && type == "setInterval") continue;
    if (in.units.callbacks[unit] != 0 && (plain || !in.units.awaited[unit])) continue;  // it ran, and nobody waits for its result
    if (!in.units.awaited[unit] && in.location_of(unit) == kNone) continue;
    if (in.units.created[unit] > request.end) continue;
    if (in.units.destroyed[unit] && plain) continue;
    all.push_back({in.request_number(unit), in.where.of[unit], in.units.destroyed[unit] != 0, unit});
  }
  std::stable_sort(all.begin(), all.end(), [](const One& a, const One& b) {
    if (a.request != b.request) return a.request < b.request;
    return a.place != b.place ? a.place < b.place : a.collected < b.collected;
  });
  for (std::size_t at = 0; at < all.size();) {
    std::size_t end = at;
    std::vector<std::uint32_t> same;
    std::uint64_t awaited = 0;
    for (; end < all.size() && all[end].request == all[at].request && all[end].place == all[at].place &&
           all[end].collected == all[at].collected; ++end) {
      same.push_back(all[end].unit);
      awaited += in.units.awaited[all[end].unit] ? 1 : 0;
    }
    const bool collected = all[at].collected;
    Finding made = in.finding(collected ? "collected-unresolved" : "unresolved", collected ? Severity::kNote : Severity::kLow,
                              plain ? Confidence::kLow : awaited != 0 ? Confidence::kHigh : Confidence::kMedium, same);
    made.says("operations", Evidence::Unit::kCount, same.size());
    made.says("awaited by others", Evidence::Unit::kCount, awaited);
    made.summary = report::number_text(same.size()) + " of type " + std::string(in.model.type_name(same.front())) + " from " +
                   in.where[same.front()].text +
                   (collected ? (same.size() == 1 ? " was" : " were") + std::string(" destroyed without having been settled.")
                              : (same.size() == 1 ? " was" : " were") + std::string(" not settled when the request ended."));
    made.advice = collected ? "Whoever waited for it waited in vain; see that every way out settles it."
                            : "See that every way out settles it, or cancel it; what waits for it is kept alive.";
    out.push_back(std::move(made));
    at = end;
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
