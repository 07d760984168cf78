// SPDX-License-Identifier: MIT
// ids.hpp: the identities of a trace. Each is a type of its own, so that no two can change places.
//
// Ids are small numbers, handed to threads in blocks (no shared atomic an event); a salt in the trace makes them unique
// across processes and files. A host keeps a `Resource` wherever it keeps its promise: it is a plain value of 16 bytes.
// Layer: core (includes config/ only).
#pragma once

#include <cstdint>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// One asynchronous operation. Never reused in a trace; at most 48 bits. 0 = none.
enum class ResourceId : std::uint64_t { kNone = 0 };

/// One request (the root resource and all that came of it). Never reused in a trace; at most 40 bits.
/// kNone: work that belongs to no request. kUntraced: work of a request that is not traced; nothing of it is recorded.
enum class RootId : std::uint64_t { kNone = 0, kUntraced = (std::uint64_t{1} << 40) - 1 };

/// A thread, isolate or worker on which callbacks run; numbered from 1 within a session.
enum class LaneId : std::uint32_t { kNone = 0 };

/// A deduplicated call stack; at most 24 bits. Local to the tracer in a raw event, to the session in a TraceEvent.
enum class StackId : std::uint32_t { kNone = 0 };

/// A counter of the session (queue depth, pending, event-loop lag, one of the host's).
enum class CounterId : std::uint16_t { kNone = 0, kQueueDepth = 1, kPending = 2, kLoopLag = 3, kFirstOfHost = 16 };

inline constexpr unsigned kResourceIdBits = 48;
inline constexpr unsigned kRootIdBits = 40;
inline constexpr unsigned kStackIdBits = 24;

/// The handle of one resource: what `create` returns and every other call takes. Copy it freely.
/// A resource that is not traced has id kNone; every call with it is accepted and records nothing.
struct Resource {
  ResourceId id = ResourceId::kNone;
  RootId root = RootId::kNone;

  /// Whether calls with this handle record anything.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return id != ResourceId::kNone; }
  friend constexpr bool operator==(const Resource&, const Resource&) = default;
};

template <class Id>
[[nodiscard]] constexpr std::uint64_t number(Id id) noexcept {
  return static_cast<std::uint64_t>(id);
}

}  // namespace THENCE_ABI
}  // namespace thence
