// SPDX-License-Identifier: MIT
// wake_table.hpp: the wakes for which the invocation that they lead to is awaited.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// A wake. With flows it has been written; else it is held.
struct Wake {
  std::uint64_t root = 0;  // 0: none, or the resource says it
  std::uint64_t at = 0;
  std::uint64_t waker = 0;
  std::uint64_t flow = 0;
  std::uint32_t lane = 0;  // its place
  Actor actor = Actor::kUnknown;
  bool late = false;
};

/// One wake for each of 1 024 places; a resource's wake is at one place only.
///   Shape     48 KB, allocated when it is made.
///   Threads   one.
///   Cost      O(1), without a branch on what other resources do.
///   When full the place is taken: whoever puts a wake there frees it first.
///   Errors    making it may throw std::bad_alloc.
class WakeTable {
 public:
  static constexpr std::size_t kPlaces = 1024;  // a power of two

  [[nodiscard]] static std::size_t place_of(std::uint64_t resource) noexcept { return mix64(resource) % kPlaces; }

  /// The resource whose wake is at a place; 0: none is.
  [[nodiscard]] std::uint64_t resource_at(std::size_t place) const noexcept { return resources_[place]; }
  [[nodiscard]] bool has(std::uint64_t resource) const noexcept { return resource != 0 && resources_[place_of(resource)] == resource; }
  [[nodiscard]] const Wake& operator[](std::size_t place) const noexcept { return wakes_[place]; }

  /// The wake of a resource, to be filled in but for its root.
  [[nodiscard]] Wake& put(std::size_t place, std::uint64_t resource, std::uint64_t root) noexcept {
    resources_[place] = resource;
    if (root != 0) ++rooted_;
    wakes_[place].root = root;
    return wakes_[place];
  }
  [[nodiscard]] std::size_t place_of(const Wake& wake) const noexcept { return static_cast<std::size_t>(&wake - wakes_.data()); }
  /// What was there is good until the next `put`.
  void free(std::size_t place) noexcept {
    resources_[place] = 0;
    if (wakes_[place].root != 0) --rooted_;
  }
  /// Wakes with a root of their own.
  [[nodiscard]] std::size_t rooted() const noexcept { return rooted_; }

 private:
  // Apart from the rest, so that the question whether a resource has a wake stays in the nearest cache.
  detail::Vector<std::uint64_t> resources_ = detail::Vector<std::uint64_t>(kPlaces);
  detail::Vector<Wake> wakes_ = detail::Vector<Wake>(kPlaces);
  std::size_t rooted_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
