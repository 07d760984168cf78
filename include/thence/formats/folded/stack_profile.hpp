// SPDX-License-Identifier: MIT
// stack_profile.hpp: time by stack: a tree of labels in which each node has the time of its own.
//
// What folded text, a flame graph and a report all start from.
//   StackProfile profile;
//   auto node = profile.child(StackProfile::kTop, profile.label("fetch"));
//   profile.add(node, 1'250);
//   profile.walk([](const StackProfile::Step& step) { ... });      // siblings in the order of their labels
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/trace_stacks.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A tree of labels with values.
///   Shape     one node for each distinct path.
///   Threads   one.
///   Cost      child, add: O(1) expected. walk: O(nodes x log siblings), no recursion.
///   When full beyond `max_nodes` a child is its parent: the time stays in the sum, at a shorter path; folded_up() counts.
///   Errors    std::bad_alloc.
class StackProfile {
 public:
  using Node = std::uint32_t;
  using Label = std::uint32_t;
  static constexpr Node kTop = 0;

  explicit StackProfile(std::size_t max_nodes = std::size_t{1} << 24)
      : max_nodes_(max_nodes), labels_(~std::uint32_t{0} - 1, ~std::size_t{0} / 2) {
    nodes_.push_back({});
  }

  [[nodiscard]] Label label(std::string_view text) { return labels_.intern(text); }
  [[nodiscard]] std::string_view text(Label label) const noexcept { return labels_.view(label); }

  [[nodiscard]] Node child(Node parent, Label label) {
    const std::uint64_t key = (std::uint64_t{parent} << 32 | label) + 1;
    const std::uint32_t known = children_.find(key);
    if (known != IdMap::kAbsent) return known;
    if (nodes_.size() >= max_nodes_) {
      ++folded_up_;
      return parent;
    }
    const auto node = static_cast<Node>(nodes_.size());
    nodes_.push_back({parent, label, nodes_[parent].depth + 1, 0, 0});
    children_.insert(key, node);
    return node;
  }

  /// Depth of a node; that of kTop is 0.
  [[nodiscard]] std::uint32_t depth(Node node) const noexcept { return nodes_[node].depth; }
  [[nodiscard]] Node parent(Node node) const noexcept { return nodes_[node].parent; }

  void add(Node node, std::uint64_t value) noexcept {
    nodes_[node].self += value;
    ++nodes_[node].count;
  }

  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size() - 1; }
  [[nodiscard]] std::uint64_t folded_up() const noexcept { return folded_up_; }

  struct Step {
    Node node;
    Label label;
    std::uint32_t depth;   ///< from 1
    std::uint64_t self;    ///< of this path itself
    std::uint64_t total;   ///< and of all below it
    std::uint64_t before;  ///< sum of the totals of the siblings and ancestors' siblings before it: where it begins
    std::uint64_t count;   ///< how many values were added to this path itself
  };

  /// Calls for each node, parents first, siblings by the bytes of their labels: the same for the same content, whatever the
  /// order in which it came. A node without time below or in it is left out.
  template <class Each>
  void walk(Each&& each) const {
    std::vector<std::uint64_t> totals(nodes_.size());
    for (std::size_t at = nodes_.size(); at-- != 0;) {  // children come after their parents
      totals[at] += nodes_[at].self;
      if (at != kTop) totals[nodes_[at].parent] += totals[at];
    }
    // Children of each node, sorted: by parent, then by label.
    std::vector<Node> order;
    order.reserve(nodes_.size());
    for (Node node = 1; node < nodes_.size(); ++node) {
      if (totals[node] != 0) order.push_back(node);
    }
    std::vector<std::uint32_t> rank = label_ranks();
    std::sort(order.begin(), order.end(), [&](Node a, Node b) {
      if (nodes_[a].parent != nodes_[b].parent) return nodes_[a].parent < nodes_[b].parent;
      return rank[nodes_[a].label] < rank[nodes_[b].label];
    });
    std::vector<std::size_t> first(nodes_.size() + 1, order.size());
    for (std::size_t at = order.size(); at-- != 0;) first[nodes_[order[at]].parent] = at;
    struct Open {
      std::size_t next;
      std::uint64_t offset;
      Node node;
    };
    std::vector<Open> stack{{first[kTop], 0, kTop}};
    while (!stack.empty()) {
      Open& open = stack.back();
      if (open.next >= order.size() || nodes_[order[open.next]].parent != open.node) {
        stack.pop_back();
        continue;
      }
      const Node node = order[open.next++];
      const std::uint64_t before = open.offset;
      open.offset += totals[node];
      each(Step{node, nodes_[node].label, nodes_[node].depth, nodes_[node].self, totals[node], before, nodes_[node].count});
      stack.push_back({first[node], before, node});
    }
  }

  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t sum = 0;
    for (const Entry& node : nodes_) sum += node.self;
    return sum;
  }

 private:
  struct Entry {
    Node parent = kTop;
    Label label = 0;
    std::uint32_t depth = 0;
    std::uint64_t self = 0;
    std::uint64_t count = 0;
  };

  [[nodiscard]] std::vector<std::uint32_t> label_ranks() const {
    std::vector<Label> sorted(labels_.end());
    for (std::size_t at = 0; at < sorted.size(); ++at) sorted[at] = static_cast<Label>(at);
    std::sort(sorted.begin(), sorted.end(), [&](Label a, Label b) { return labels_.view(a) < labels_.view(b); });
    std::vector<std::uint32_t> rank(sorted.size());
    for (std::size_t at = 0; at < sorted.size(); ++at) rank[sorted[at]] = static_cast<std::uint32_t>(at);
    return rank;
  }

  std::size_t max_nodes_;
  std::uint64_t folded_up_ = 0;
  std::vector<Entry> nodes_;
  IdMap children_;
  TraceStrings labels_;
};

}  // namespace THENCE_ABI
}  // namespace thence
