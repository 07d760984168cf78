// SPDX-License-Identifier: MIT
// open_resources.hpp: the roots and resources of a Perfetto trace that are open, or have just ended.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/encoder/prefetch.hpp"
#include "thence/formats/run_map.hpp"
#include "thence/formats/words.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

struct OpenRoot {
  std::uint64_t id = 0;
  std::uint32_t slot = 0;
  std::uint32_t first = IdMap::kAbsent;  // its open resources
  std::uint32_t running = 0;             // invocations on the lanes' stacks
  std::uint32_t next_free = IdMap::kAbsent;
};

/// At full speed those of the last 10 ms are more than a core's caches hold: two lines of cache each, and no third.
struct alignas(32) OpenResource {
  OpenResource() noexcept {}  // a compiler clears an aggregate by `rep stos`, which takes longer than all it is for

  std::uint64_t id = 0;  // 0: free
  std::uint64_t created_at = 0;
  std::uint64_t settled_at = 0;
  std::uint64_t busy_until = 0;  // its last exit, or its finish if that is later
  std::uint64_t destroyed_at = 0;
  std::uint64_t settler = 0;
  std::uint32_t settled_on = 0;
  std::uint32_t destroyed_on = 0;
  std::uint32_t generation = 0;  // of the resources' sequence in which its slice began
  std::uint32_t root = 0;
  std::uint32_t previous = IdMap::kAbsent;  // in its root
  std::uint32_t next = IdMap::kAbsent;
  std::uint32_t track = IdMap::kAbsent;  // kAbsent: the slot's own
  std::uint32_t name = 0;
  Life life;
  Outcome outcome = Outcome::kUnknown;
  Actor settled_by = Actor::kUnknown;
  bool settle_held : 1 = false;      // the settling is said by the end of the slice
  bool destroy_written : 1 = false;  // the destruction is a record already
  bool queued : 1 = false;           // its end is awaited
  bool shown : 1 = true;             // it has a slice
  bool annotated : 1 = false;

  /// When its slice ends, as far as is known.
  [[nodiscard]] std::uint64_t end() const noexcept {
    const std::uint64_t end = std::max(created_at, busy_until);
    if (life.settled) return std::max(end, settled_at);
    return life.destroyed && !life.finished ? std::max(end, destroyed_at) : end;
  }
};
static_assert(sizeof(OpenResource) == 96);

/// Roots and resources by id and by place; a root's resources are a list.
///   Threads   one.
///   Cost      O(1) expected; events come in runs of one root and one resource, which costs a comparison.
///   When full it grows: the encoder bounds it.
///   Errors    std::bad_alloc.
///   Lifetime  references are good until the next resource or root is added.
class OpenResources {
 public:
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  [[nodiscard]] std::size_t size() const noexcept { return by_id_.size(); }

  [[nodiscard]] OpenResource& operator[](std::uint32_t place) noexcept { return resources_[place]; }
  [[nodiscard]] OpenRoot& root(std::uint32_t place) noexcept { return roots_[place]; }
  [[nodiscard]] const OpenRoot& root(std::uint32_t place) const noexcept { return roots_[place]; }
  [[nodiscard]] OpenRoot& root_of(const OpenResource& resource) noexcept { return roots_[resource.root]; }
  [[nodiscard]] std::uint32_t place_of(const OpenResource& resource) const noexcept {
    return static_cast<std::uint32_t>(&resource - resources_.data());
  }
  /// Places from 0 that were ever in use; a resource that is free has the id 0.
  [[nodiscard]] std::uint32_t places() const noexcept { return static_cast<std::uint32_t>(resources_.size()); }
  void prefetch_resource(std::uint32_t place) const noexcept { prefetch(&resources_[place]); }

  [[nodiscard]] OpenResource* find(ResourceId id) noexcept {
    if (id == ResourceId::kNone) return nullptr;
    if (last_id_ != number(id)) {
      const std::uint32_t place = by_id_.find(number(id));
      if (place == kNone) return nullptr;
      last_id_ = number(id);
      last_place_ = place;
    }
    return &resources_[last_place_];
  }
  /// The place of a new resource.
  [[nodiscard]] std::uint32_t add(ResourceId id, std::uint32_t root) {
    std::uint32_t place = free_;
    if (place == kNone) {
      place = static_cast<std::uint32_t>(resources_.size());
      resources_.emplace_back();
      free_ = place;
    }
    by_id_.insert(number(id), place);
    free_ = resources_[place].next;
    if (free_ != kNone) prefetch(&resources_[free_]);
    OpenResource& resource = resources_[place];
    ::new (&resource) OpenResource;  // in place: a copy would wait for bytes that were stored one by one
    resource.id = number(id);
    resource.root = root;
    resource.next = roots_[root].first;
    if (resource.next != kNone) resources_[resource.next].previous = place;
    roots_[root].first = place;
    return place;
  }
  void remove(std::uint32_t place) {
    OpenResource& resource = resources_[place];
    by_id_.erase(resource.id);
    if (last_id_ == resource.id) last_id_ = 0;
    if (resource.previous != kNone) {
      resources_[resource.previous].next = resource.next;
    } else {
      roots_[resource.root].first = resource.next;
    }
    if (resource.next != kNone) resources_[resource.next].previous = resource.previous;
    resource.id = 0;
    resource.next = free_;
    free_ = place;
  }

  /// The place of a root; kNone: it is not open.
  [[nodiscard]] std::uint32_t find_root(RootId id) noexcept {
    if (last_root_key_ != key_of(id)) {
      const std::uint32_t place = root_by_key_.find(key_of(id));
      if (place == kNone) return kNone;
      last_root_key_ = key_of(id);
      last_root_ = place;
    }
    return last_root_;
  }
  /// The root of an event of `resource`, which mostly is the resource's own; nullptr: it is not open.
  [[nodiscard]] OpenRoot* find_root(const OpenResource* resource, RootId id) noexcept {
    if (resource != nullptr && roots_[resource->root].id == number(id)) [[likely]] return &roots_[resource->root];
    const std::uint32_t place = find_root(id);
    return place == kNone ? nullptr : &roots_[place];
  }
  /// The place of a new root.
  [[nodiscard]] std::uint32_t add_root(RootId id, std::uint32_t slot) {
    std::uint32_t place = free_root_;
    if (place != kNone) {
      free_root_ = roots_[place].next_free;
    } else {
      place = static_cast<std::uint32_t>(roots_.size());
      roots_.emplace_back();
    }
    roots_[place] = {};
    roots_[place].id = number(id);
    roots_[place].slot = slot;
    root_by_key_.insert(key_of(id), place);
    return place;
  }
  void remove_root(std::uint32_t place) {
    root_by_key_.erase(key_of(static_cast<RootId>(roots_[place].id)));
    last_root_key_ = 0;
    roots_[place].next_free = free_root_;
    free_root_ = place;
  }

 private:
  /// A map has no key 0; no root is RootId 0.
  [[nodiscard]] static std::uint64_t key_of(RootId id) noexcept { return number(id) + 1; }

  detail::Vector<OpenResource> resources_;
  std::uint32_t free_ = kNone;
  RunMap by_id_;
  std::uint64_t last_id_ = 0;
  std::uint32_t last_place_ = 0;
  detail::Vector<OpenRoot> roots_;
  std::uint32_t free_root_ = kNone;
  IdMap root_by_key_;
  std::uint64_t last_root_key_ = 0;
  std::uint32_t last_root_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
