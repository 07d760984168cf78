// SPDX-License-Identifier: MIT
// tree.hpp: who came from whom, asked in O(1): how deep, is it below that one, what is around it.
//
// Resources and their creators are a forest. A preorder numbers it so that a subtree is an interval:
//   const ResourceTree tree(normal);
//   tree.depth[row];                        // 0: it has no parent
//   tree.is_below(row, ancestor);           // O(1); a resource is below itself
//   const std::vector<bool> kept = tree.around(row);   // its ancestors, itself, its descendants
// With Visibility::shown_parent for the parents it is the tree without the runtime's own promises.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Flat tables by row of resources.
///   Threads   any number of readers.
///   Cost      constructor: O(n), without recursion. around: O(n). The rest O(1).
///   Lifetime  stands alone.
class ResourceTree {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  explicit ResourceTree(const Normalised& normal) : ResourceTree(normal.parent) {}
  /// `parents` by row; a parent's row is below its child's.
  explicit ResourceTree(std::span<const std::uint32_t> parents) : parent(parents.begin(), parents.end()) {
    const auto rows = static_cast<std::uint32_t>(parent.size());
    depth.assign(rows, 0);
    in.assign(rows, 0);
    out.assign(rows, 0);
    std::vector<std::uint32_t> size(rows, 1);
    for (std::uint32_t row = 0; row < rows; ++row) {
      if (parent[row] != kNone) depth[row] = depth[parent[row]] + 1;
    }
    for (std::uint32_t row = rows; row-- > 0;) {
      if (parent[row] != kNone) size[parent[row]] += size[row];
    }
    // A parent hands out its interval to its children, in the order of their rows.
    std::vector<std::uint32_t> next(rows, 0);
    std::uint32_t free = 0;
    for (std::uint32_t row = 0; row < rows; ++row) {
      std::uint32_t& at = parent[row] == kNone ? free : next[parent[row]];
      in[row] = at;
      out[row] = at + size[row];
      at = out[row];
      next[row] = in[row] + 1;
    }
  }

  std::vector<std::uint32_t> parent;
  std::vector<std::uint32_t> depth;
  std::vector<std::uint32_t> in;   ///< preorder number
  std::vector<std::uint32_t> out;  ///< behind the last number of its subtree

  [[nodiscard]] bool is_below(std::uint32_t row, std::uint32_t ancestor) const noexcept {
    return in[ancestor] <= in[row] && in[row] < out[ancestor];
  }
  [[nodiscard]] std::uint32_t descendants(std::uint32_t row) const noexcept { return out[row] - in[row] - 1; }
  /// The filter of a click: ancestors, itself, descendants.
  [[nodiscard]] std::vector<bool> around(std::uint32_t row) const {
    std::vector<bool> kept(parent.size(), false);
    for (std::uint32_t at = 0; at < kept.size(); ++at) kept[at] = is_below(at, row) || is_below(row, at);
    return kept;
  }
};

}  // namespace THENCE_ABI
}  // namespace thence
