// SPDX-License-Identifier: MIT
// normalised.hpp: what follows from a model by rule, and how often a rule had to be used.
//
// Real traces have resources whose parent is not there, times that go backwards between threads, callbacks that never
// ended. Analyses want a tree and intervals. This makes them, beside the model and never in it, and counts every repair:
// a report shows the counts, so that nobody takes a repaired trace for a whole one.
//   const Normalised normal = normalise(model);
//   for (std::uint32_t child : normal.children[row]) ...
// Layer: model (includes formats/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct NormaliseOptions {
  /// A trace that tells no wake, cause or settling at all (a plain JSON document) has its wakes inferred: the invocation
  /// that ended last before another began, at most this long before. 0: never.
  std::uint64_t infer_within_ns = 200'000;
};

struct Normalised {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  /// The resource that created a resource, else the one that stands for its request. A parent's row is below its child's:
  /// there are no cycles, and a walk in the order of rows meets parents first. kNone: a root, or no request.
  std::vector<std::uint32_t> parent;
  RowIndex children;

  /// Of each invocation: not before its resource was created; not before its start, and the request's end where it is not
  /// known.
  std::vector<std::uint64_t> start;
  std::vector<std::uint64_t> end;
  /// Of each invocation the one that made it runnable, by inference; kNone: none, or the trace says it itself.
  std::vector<std::uint32_t> inferred_wake;
  bool inferred = false;  ///< wakes were inferred

  std::uint64_t orphans = 0;        ///< their trigger is not in the trace: given to their request
  std::uint64_t edges_dropped = 0;  ///< their trigger was created after them, or is themselves: given to their request
  std::uint64_t skew = 0;           ///< times that went backwards: a callback, a settling or an end before the creation
  std::uint64_t open_invocations = 0;
  std::uint64_t inferred_wakes = 0;
};

/// When a root's request ended: T1. Settled, else finished, else sealed, else the trace's end.
[[nodiscard]] inline std::uint64_t end_of_root(const TraceModel& model, std::uint32_t root) noexcept {
  if (root == TraceModel::kNone) return model.last_time;
  const TraceModel::Root& which = model.roots[root];
  if (which.resource != TraceModel::kNone && model.has(which.resource, ResourceFlag::kSettled)) return model.settled[which.resource];
  if (which.has_finished) return which.finished;
  if (which.has_sealed) return which.sealed;
  return model.last_time;
}

///   Cost      O(resources + invocations); inference: O(invocations log invocations).
[[nodiscard]] inline Normalised normalise(const TraceModel& model, const NormaliseOptions& options = {}) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  Normalised normal;
  const std::uint32_t resources = model.resources();
  normal.parent.assign(resources, kNone);
  for (std::uint32_t row = 0; row < resources; ++row) {
    const std::uint32_t root = model.root[row];
    const std::uint32_t request = root == kNone ? kNone : model.roots[root].resource;
    const std::uint32_t trigger = model.trigger[row];
    std::uint32_t parent = trigger;
    if (trigger != kNone && !model.has(trigger, ResourceFlag::kCreated)) {
      ++normal.orphans;
      parent = kNone;
    } else if (trigger != kNone && trigger >= row) {
      ++normal.edges_dropped;
      parent = kNone;
    }
    if (parent == kNone && request != kNone && request < row) parent = request;
    normal.parent[row] = parent;
    if (!model.has(row, ResourceFlag::kCreated)) continue;
    if (model.has(row, ResourceFlag::kSettled) && model.settled[row] < model.created[row]) ++normal.skew;
    if (model.has(row, ResourceFlag::kDestroyed) && model.destroyed[row] < model.created[row]) ++normal.skew;
  }
  normal.children.build(resources, resources, [&](std::uint32_t row) { return normal.parent[row]; });

  const auto invocations = static_cast<std::uint32_t>(model.invocations.size());
  normal.start.resize(invocations);
  normal.end.resize(invocations);
  bool told = !model.wakes.empty();
  for (std::uint32_t at = 0; at < invocations; ++at) {
    const TraceModel::Invocation& invocation = model.invocations[at];
    std::uint64_t start = invocation.start;
    if (model.has(invocation.resource, ResourceFlag::kCreated) && start < model.created[invocation.resource]) {
      ++normal.skew;
      start = model.created[invocation.resource];
    }
    std::uint64_t end = invocation.end;
    if (!invocation.ended) {
      ++normal.open_invocations;
      end = end_of_root(model, model.root[invocation.resource]);
    }
    normal.start[at] = start;
    normal.end[at] = std::max(start, end);
    told = told || invocation.cause != CauseKind::kUnspecified;
  }
  normal.inferred_wake.assign(invocations, kNone);
  for (std::uint32_t row = 0; row < resources && !told; ++row) told = model.has(row, ResourceFlag::kSettled);
  if (told || options.infer_within_ns == 0) return normal;

  normal.inferred = true;
  const auto is_bridge = [&](std::uint32_t row) {
    const auto type = static_cast<ResourceType>(model.type[row]);
    return model.has(row, ResourceFlag::kCreated) && (type == ResourceType::kKjToJs || type == ResourceType::kJsToKj);
  };
  std::vector<std::uint32_t> by_end;
  for (std::uint32_t lane = 0; lane <= model.lanes.size(); ++lane) {
    const auto on_lane = model.invocations_by_lane[lane];
    by_end.assign(on_lane.begin(), on_lane.end());
    std::sort(by_end.begin(), by_end.end(), [&](std::uint32_t a, std::uint32_t b) {
      return normal.end[a] != normal.end[b] ? normal.end[a] < normal.end[b] : a < b;
    });
    for (const std::uint32_t at : on_lane) {
      const std::uint32_t resource = model.invocations[at].resource;
      auto candidate = std::upper_bound(by_end.begin(), by_end.end(), normal.start[at],
                                        [&](std::uint64_t start, std::uint32_t other) { return start < normal.end[other]; });
      for (unsigned steps = 0; candidate != by_end.begin() && steps < 256; ++steps) {
        --candidate;
        const std::uint32_t other = *candidate;
        if (normal.start[at] - normal.end[other] > options.infer_within_ns) break;
        if (other == at || !model.invocations[other].ended || normal.start[other] < model.created[resource] ||
            is_bridge(model.invocations[other].resource)) {
          continue;
        }
        normal.inferred_wake[at] = other;
        ++normal.inferred_wakes;
        break;
      }
    }
  }
  return normal;
}

}  // namespace THENCE_ABI
}  // namespace thence
