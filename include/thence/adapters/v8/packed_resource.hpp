// SPDX-License-Identifier: MIT
// packed_resource.hpp: a Resource as small integers, for the private fields of a promise.
//
// A number beyond 2^30 may be a heap object to V8 (2^31 without pointer compression): 3.5 x the cost of the whole hook. The parent's
// field takes a bit and the sign for itself. A resource is therefore kept as two integers below 2^29, the low bits of its id and of its root; the high bits are a third one that is stored
// only when it is not zero, after the first 2^29 promises or roots of a process. No id is ever reused.
//
// Layer: adapters/v8 (includes core/).
#pragma once

#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// The root is kept plus one, so that kUntraced (all ones in an event) is the small number 0.
struct PackedResource {
  std::int32_t id = 0;    ///< low 29 bits of the id
  std::int32_t root = 0;  ///< low 29 bits of the root's code
  std::int32_t high = 0;  ///< high 19 bits of the id | high 11 bits of the root's code << 19

  static constexpr unsigned kBits = 29;
  static constexpr std::uint64_t kMask = (std::uint64_t{1} << kBits) - 1;
  static constexpr unsigned kHighIdBits = kResourceIdBits - kBits;
  static constexpr std::uint64_t kHighIdMask = (std::uint64_t{1} << kHighIdBits) - 1;

  [[nodiscard]] static constexpr PackedResource of(Resource resource) noexcept {
    const std::uint64_t id = number(resource.id);
    const std::uint64_t root = (number(resource.root) + 1) & number(RootId::kUntraced);
    return {static_cast<std::int32_t>(id & kMask), static_cast<std::int32_t>(root & kMask),
            static_cast<std::int32_t>(id >> kBits | root >> kBits << kHighIdBits)};
  }
  [[nodiscard]] constexpr ResourceId resource_id() const noexcept { return id_of(id, high); }
  [[nodiscard]] constexpr Resource resource() const noexcept {
    std::uint64_t whole_id = static_cast<std::uint32_t>(id);
    std::uint64_t code = static_cast<std::uint32_t>(root);
    if (high != 0) [[unlikely]] {
      whole_id = number(resource_id());
      code |= static_cast<std::uint64_t>(high) >> kHighIdBits << kBits;
    }
    return {static_cast<ResourceId>(whole_id), static_cast<RootId>((code - 1) & number(RootId::kUntraced))};
  }
  /// Of those that have an id.
  [[nodiscard]] static constexpr bool has_high(Resource resource) noexcept {
    return (number(resource.id) | (number(resource.root) + 1)) >> kBits != 0;
  }
  [[nodiscard]] static constexpr Resource resource_below_high(std::int32_t id, std::int32_t root) noexcept {
    return {static_cast<ResourceId>(id), static_cast<RootId>(root - 1)};
  }
  /// The two numbers that resource_below_high() got, whatever they were.
  [[nodiscard]] static constexpr PackedResource again(Resource resource) noexcept {
    return {static_cast<std::int32_t>(number(resource.id)), static_cast<std::int32_t>(number(resource.root) + 1), 0};
  }
  [[nodiscard]] static constexpr std::int32_t low_of(ResourceId id) noexcept {
    return static_cast<std::int32_t>(number(id) & kMask);
  }
  [[nodiscard]] static constexpr std::int32_t low_of(RootId root) noexcept {
    return static_cast<std::int32_t>((number(root) + 1) & kMask);
  }
  [[nodiscard]] static constexpr ResourceId id_of(std::int32_t low, std::int32_t high) noexcept {
    return static_cast<ResourceId>(static_cast<std::uint64_t>(low) | (static_cast<std::uint64_t>(high) & kHighIdMask)
                                                                         << kBits);
  }
};

/// What is known of a promise's parent.
enum class ParentIs : std::uint8_t {
  kUnknown,
  kAwaited,  ///< the promise is the throwaway of an await of it
  kHandled,  ///< the promise is that of a then() of it
  kOwner,    ///< the promise wraps an awaited value; its parent is the async function's own promise, and not waited for
};

/// The parent of a promise, by the low bits of its id, and what is known of it.
struct PackedParent {
  static constexpr std::int32_t kBegun = -1;  ///< its settling was the cause of a callback already
  static constexpr std::int32_t kByThen = std::int32_t{1} << PackedResource::kBits;
  [[nodiscard]] static constexpr std::int32_t of(ResourceId parent, ParentIs is) noexcept {
    const std::int32_t low = PackedResource::low_of(parent);
    if (is == ParentIs::kAwaited || parent == ResourceId::kNone) return low;
    return is == ParentIs::kHandled ? low | kByThen : kBegun - 1 - low;
  }
  /// The low bits again.
  [[nodiscard]] static constexpr std::int32_t low_of(std::int32_t packed) noexcept {
    return packed >= 0 ? packed & ~kByThen : kBegun - 1 - packed;
  }
  /// The promise waits for it, and this is the first time that its callback runs.
  [[nodiscard]] static constexpr bool is_awaited(std::int32_t packed) noexcept { return packed > 0; }
  /// And the promise is V8's own throwaway.
  [[nodiscard]] static constexpr bool is_of_throwaway(std::int32_t packed) noexcept { return packed > 0 && packed < kByThen; }
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
