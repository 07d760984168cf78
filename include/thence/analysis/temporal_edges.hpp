// SPDX-License-Identifier: MIT
// temporal_edges.hpp: what ran just before what, where the trace records no cause between the two.
//
// Where causes are not recorded, the best that can be shown is neighbourhood: this callback ran inside that one, or within
// 100 us after it on the same lane. Such an edge is a hint and is drawn as one. Each invocation has at most one:
//   for (const TemporalEdge& edge : temporal_edges(run, tree)) draw(edge.from, edge.to, edge.delay_ns);
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/analysis/tree.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Invocation `to` began inside `from`, or so long after its end.
struct TemporalEdge {
  std::uint32_t from = TraceModel::kNone;
  std::uint32_t to = TraceModel::kNone;
  std::uint64_t delay_ns = 0;  ///< 0: nested
};

/// In order of `to`. None where `from` is the recorded cause, or belongs to the same resource or to an ancestor of it.
///   Cost      O(invocations).
[[nodiscard]] inline std::vector<TemporalEdge> temporal_edges(const Execution& run, const ResourceTree& tree,
                                                              std::uint64_t within_ns = 100'000) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  std::vector<TemporalEdge> edges;
  for (std::uint32_t at = 0; at < run.model.invocations.size(); ++at) {
    if (run.is_span(at)) continue;
    TemporalEdge edge;
    edge.to = at;
    edge.from = run.container[at];
    if (edge.from == kNone) {
      // Whoever held the lane last before it: nothing contains its start, so that one's end is the last end.
      const std::uint32_t lane = run.lane[at];
      const std::uint32_t before = run.first_segment[at];
      if (before == run.segment_first[lane]) continue;
      edge.from = run.segments[before - 1].owner;
      edge.delay_ns = run.start(at) - run.segments[before - 1].end;
      if (edge.delay_ns > within_ns) continue;
    }
    const Execution::Cause& cause = run.cause[at];
    const bool recorded = cause.kind != CauseOf::kCalled && !cause.inferred;
    if (recorded && cause.invocation == edge.from) continue;
    if (tree.is_below(run.resource_of(at), run.resource_of(edge.from))) continue;
    edges.push_back(edge);
  }
  return edges;
}

}  // namespace THENCE_ABI
}  // namespace thence
