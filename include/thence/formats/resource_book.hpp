// SPDX-License-Identifier: MIT
// resource_book.hpp: what an encoder keeps of each resource, until nothing more can be said of it.
//
// A resource of a request is kept until the request is sealed. One without a request is kept until it has ended and
// `kept_after_end` others have ended after it: its settling may be the cause of what runs next, and late events may come.
//   ResourceBook<State> book;
//   State& state = book.at(id, root);                    // found or made
//   book.seal(root, [](State& state) { ... });           // every resource of the root, in the order of their first mention
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// States by resource.
///   Shape     one State for each resource of an open root, each open one without a root, and `kept_after_end` ended ones.
///   Threads   one.
///   Cost      find, at, end_of: O(1) expected; seal: O(resources of the root). No allocation once it has grown to the peak.
///   When full it grows.
///   Errors    std::bad_alloc.
///   Lifetime  references are valid until the next `at` that makes a state.
template <class State>
class ResourceBook {
 public:
  explicit ResourceBook(std::size_t kept_after_end = std::size_t{1} << 16) : kept_after_end_(kept_after_end) {
    roots_.push_back({});  // of those without a root
  }

  [[nodiscard]] State* find(ResourceId id) noexcept {
    const std::uint32_t place = id == ResourceId::kNone ? IdMap::kAbsent : by_id_.find(number(id));
    return place == IdMap::kAbsent ? nullptr : &slots_[place].state;
  }

  /// `id` is not kNone. A resource keeps the root of its first mention.
  State& at(ResourceId id, RootId root) {
    if (State* known = find(id)) return *known;
    std::uint32_t place = free_;
    if (place == kNone) {
      place = static_cast<std::uint32_t>(slots_.size());
      slots_.push_back({});
    } else {
      free_ = slots_[place].next;
    }
    Slot& slot = slots_[place];
    slot = {};
    slot.id = id;
    slot.root = root_of(root);
    Root& owner = roots_[slot.root];
    slot.previous = owner.last;
    (owner.last == kNone ? owner.first : slots_[owner.last].next) = place;
    owner.last = place;
    by_id_.insert(number(id), place);
    return slot.state;
  }

  /// It has ended. Without a root it is let go of after a while; `each` is called for those whose time has come.
  template <class Each>
  void ended(ResourceId id, Each&& each) {
    const std::uint32_t place = by_id_.find(number(id));
    if (place == IdMap::kAbsent || slots_[place].root != 0 || slots_[place].queued) return;
    slots_[place].queued = true;
    if (ended_.size() < kept_after_end_) {
      ended_.push_back(id);
      return;
    }
    if (kept_after_end_ == 0) return release(place, each);
    const ResourceId oldest = ended_[next_ended_];
    ended_[next_ended_] = id;
    next_ended_ = (next_ended_ + 1) % kept_after_end_;
    release(by_id_.find(number(oldest)), each);
  }

  /// Nothing more of this root comes.
  template <class Each>
  void seal(RootId root, Each&& each) {
    if (root == RootId::kNone) return;
    const std::uint32_t owner = root_by_id_.find(number(root));
    if (owner == IdMap::kAbsent) return;
    while (roots_[owner].first != kNone) release(roots_[owner].first, each);
    root_by_id_.erase(number(root));
    roots_[owner].next_free = free_root_;
    free_root_ = owner;
  }

  /// All that is left: the roots in the order of their slots, then what has no root.
  template <class Each>
  void close(Each&& each) {
    for (std::uint32_t owner = 1; owner < roots_.size(); ++owner) {
      while (roots_[owner].first != kNone) release(roots_[owner].first, each);
    }
    while (roots_[0].first != kNone) release(roots_[0].first, each);
  }

  [[nodiscard]] std::size_t size() const noexcept { return by_id_.size(); }

 private:
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  struct Slot {
    ResourceId id = ResourceId::kNone;
    std::uint32_t root = 0;
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    bool queued = false;
    State state = {};
  };
  struct Root {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
    std::uint32_t next_free = kNone;
  };

  std::uint32_t root_of(RootId root) {
    if (root == RootId::kNone) return 0;
    const std::uint32_t known = root_by_id_.find(number(root));
    if (known != kNone) return known;
    std::uint32_t place = free_root_;
    if (place == kNone) {
      place = static_cast<std::uint32_t>(roots_.size());
      roots_.push_back({});
    } else {
      free_root_ = roots_[place].next_free;
      roots_[place] = {};
    }
    root_by_id_.insert(number(root), place);
    return place;
  }

  template <class Each>
  void release(std::uint32_t place, Each&& each) {
    if (place == kNone) return;
    Slot& slot = slots_[place];
    each(slot.state);
    Root& owner = roots_[slot.root];
    (slot.previous == kNone ? owner.first : slots_[slot.previous].next) = slot.next;
    (slot.next == kNone ? owner.last : slots_[slot.next].previous) = slot.previous;
    by_id_.erase(number(slot.id));
    slot = {};
    slot.next = free_;
    free_ = place;
  }

  std::size_t kept_after_end_;
  std::vector<Slot> slots_;
  std::vector<Root> roots_;
  std::vector<ResourceId> ended_;  // a ring once it is full
  std::size_t next_ended_ = 0;
  std::uint32_t free_ = kNone;
  std::uint32_t free_root_ = kNone;
  IdMap by_id_;
  IdMap root_by_id_;
};

}  // namespace THENCE_ABI
}  // namespace thence
