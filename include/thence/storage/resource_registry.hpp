// SPDX-License-Identifier: MIT
// resource_registry.hpp: who is alive, for hosts that cannot keep a Resource on the object itself.
//
// A promise node of somebody else's library has no member to spare, but it has an address. The registry remembers, from the
// address (or any other 64-bit handle) to its Resource; and it can say, at any moment, what is pending and since when.
//
//   ResourceRegistry registry{65'536};
//   void on_created(Node* node) { registry.insert(node, {tracer.create(ResourceType::kOther), type, tracer.now()}); }
//   void on_run(Node* node)     { if (auto* entry = registry.find(node)) { CallbackScope scope{tracer, entry->resource}; node->run(); } }
//   void on_freed(Node* node)   { if (auto entry = registry.remove(node)) tracer.destroy(entry->resource); }
//   registry.for_each_pending([](std::uint64_t handle, const ResourceRegistry::Entry& entry) { ... });
//
// Layer: storage (includes core/ only).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A map from handles to resources that never grows.
///   Shape     up to `capacity` entries of 40 bytes in an open-addressed table that is at most two thirds full; allocated at
///             construction, never after. What is removed leaves nothing behind: a long life does not make it slower.
///   Threads   one
///   Cost      insert, find, remove: O(1) on average, no allocation, no system call. for_each_pending: O(capacity).
///   When full insert refuses and counts in refused(); the others are still found.
///   Errors    noexcept, but for construction (std::bad_alloc). A handle that is not there (never inserted, refused, or
///             removed twice) is counted in unknown(); one inserted again without removal in replaced().
///   Lifetime  movable; entries stay where they are until the next insert or remove.
class ResourceRegistry {
 public:
  struct Entry {
    Resource resource;
    TypeId type{};
    Ticks created{};
  };

  explicit ResourceRegistry(std::size_t capacity)
      : capacity_(std::min(capacity, kMaxCapacity)),
        mask_(std::bit_ceil(capacity_ + capacity_ / 2 + 2) - 1),
        shift_(static_cast<unsigned>(64 - std::bit_width(mask_))),
        slots_(mask_ + 1) {}

  /// Remembers the handle. One that is there already is a new object at an old address, whose end was never told: it is
  /// replaced, and counted. False: full, counted.
  bool insert(std::uint64_t handle, const Entry& entry) noexcept {
    std::size_t at = home(handle);
    for (; slots_[at].taken; at = next(at)) {
      if (slots_[at].handle != handle) continue;
      ++replaced_;
      slots_[at].entry = entry;
      return true;
    }
    if (size_ == capacity_) {
      ++refused_;
      return false;
    }
    slots_[at] = {handle, entry, true};
    ++size_;
    return true;
  }
  bool insert(const void* handle, const Entry& entry) noexcept { return insert(handle_of(handle), entry); }

  /// The entry, or null where there is none; a search is no mistake and is not counted.
  [[nodiscard]] const Entry* find(std::uint64_t handle) const noexcept {
    const std::size_t at = place_of(handle);
    return slots_[at].taken ? &slots_[at].entry : nullptr;
  }
  [[nodiscard]] const Entry* find(const void* handle) const noexcept { return find(handle_of(handle)); }

  /// Forgets the handle and returns what it was. None: not there, counted.
  std::optional<Entry> remove(std::uint64_t handle) noexcept {
    std::size_t hole = place_of(handle);
    if (!slots_[hole].taken) {
      ++unknown_;
      return std::nullopt;
    }
    const Entry removed = slots_[hole].entry;
    --size_;
    // Backward shift: whatever was displaced past the hole, and is allowed in it, moves there.
    for (std::size_t at = next(hole); slots_[at].taken; at = next(at)) {
      const std::size_t from_home = (at - home(slots_[at].handle)) & mask_;
      const std::size_t from_hole = (at - hole) & mask_;
      if (from_home < from_hole) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole].taken = false;
    return removed;
  }
  std::optional<Entry> remove(const void* handle) noexcept { return remove(handle_of(handle)); }

  /// Calls take(handle, entry) for everything that was inserted and not removed, in no particular order.
  template <class Take>
  void for_each_pending(Take&& take) const noexcept(noexcept(take(std::uint64_t{}, std::declval<const Entry&>()))) {
    for (std::size_t at = 0; at <= mask_; ++at) {
      if (slots_[at].taken) take(slots_[at].handle, std::as_const(slots_[at].entry));
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] std::uint64_t unknown() const noexcept { return unknown_; }
  [[nodiscard]] std::uint64_t replaced() const noexcept { return replaced_; }

 private:
  static constexpr std::size_t kMaxCapacity = std::size_t{1} << 40;

  struct Slot {
    std::uint64_t handle = 0;
    Entry entry;
    bool taken = false;
  };

  [[nodiscard]] static std::uint64_t handle_of(const void* pointer) noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer));
  }
  /// Addresses differ in their middle bits; the product's high bits depend on all of them (Fibonacci hashing).
  [[nodiscard]] std::size_t home(std::uint64_t handle) const noexcept {
    return static_cast<std::size_t>((handle ^ handle >> 32) * 0x9E3779B97F4A7C15u >> shift_);
  }
  [[nodiscard]] std::size_t next(std::size_t at) const noexcept { return (at + 1) & mask_; }
  /// Where the handle is, or the free slot that proves its absence: there always is one.
  [[nodiscard]] std::size_t place_of(std::uint64_t handle) const noexcept {
    std::size_t at = home(handle);
    while (slots_[at].taken && slots_[at].handle != handle) at = next(at);
    return at;
  }

  std::size_t capacity_;
  std::size_t mask_;
  unsigned shift_;
  detail::Vector<Slot> slots_;
  std::size_t size_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t unknown_ = 0;
  std::uint64_t replaced_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
