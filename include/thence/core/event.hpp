// SPDX-License-Identifier: MIT
// event.hpp: the 32-byte record that a hot path writes, and nothing else about it.
//
// Two events fit a cache line, and one is four plain stores. Each carries its own time, resource, counterpart (trigger,
// cause, settler) and root, so that what a lost neighbour said is never needed to understand it.
//
//   word 0  resource (48) | kind (8) | flags (8)
//   word 1  ticks of the tracer's clock
//   word 2  other (48): trigger, cause, settler ...  | type (16)
//   word 3  root (40) | stack (24)
//
// A record longer than one slot (an annotation) is a head followed by kPayload slots: word 0 bears the kind, the other
// 24 bytes are payload. Every slot thus says what it is, and a reader that comes in between two slots of a record (a
// flight recorder's snapshot) finds the next head.
// Layer: core (includes config/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class EventKind : std::uint8_t {
  kPayload = 0,       ///< continuation of the record before it
  kCreated = 1,       ///< other = trigger; type; stack
  kScheduled = 2,     ///< other = who made it runnable; flags = Actor
  kEntered = 3,       ///< other = cause; flags = CauseKind
  kExited = 4,        ///<
  kSettled = 5,       ///< other = settler; flags = Outcome | Actor << 4
  kDestroyed = 6,     ///<
  kLinked = 7,        ///< resource = effect, other = cause; flags = LinkKind
  kAnnotated = 8,     ///< other = payload bytes; type = key bytes | ValueKind << 12; flags bit 0: value cut short
  kCounter = 9,       ///< resource field = CounterId; word 2 = value, whole; flags = ValueKind
  kParked = 10,       ///< the lane has nothing to run
  kUnparked = 11,     ///<
  kPauseBegan = 12,   ///< resource field = PauseKind: the lane is taken by something that is no resource
  kPauseEnded = 13,   ///<
  kRootFinished = 14, ///< resource = the root: response and all waited-for work are done
  kLost = 15,         ///< word 1 = first, word 2 = last lost ticks; resource field = how many; at their place in the order
  kRootSealed = 16,   ///< by the session, never by a tracer: nothing more of this root comes; flags = SealReason
  kSample = 17,       ///< a sampler saw the lane at `stack`; resource = what it was running, if known; flags = SampleKind
};

/// Who made a thing happen. kUnknown is what a host says that cannot tell; it is never guessed.
enum class Actor : std::uint8_t { kUnknown = 0, kInvocation = 1, kExternal = 2 };

/// What made an invocation runnable. kUnspecified: to be derived from the records (a wake, an awaited settle), else unknown.
enum class CauseKind : std::uint8_t {
  kUnspecified = 0,
  kCreated = 1,    ///< its creation; other = the resource whose callback created it
  kSettled = 2,    ///< the settling of `other`
  kScheduled = 3,  ///< a wake by `other`'s callback
  kExternal = 4,   ///< the outside world (I/O, a timer); other = the operation, where known
};

/// kResolved: locked in to another resource's result, still pending. kUnknown: settled, the host cannot tell how.
enum class Outcome : std::uint8_t { kUnknown = 0, kFulfilled = 1, kRejected = 2, kCancelled = 3, kResolved = 4 };

/// kAwaits: the effect cannot go on before the cause settles. kBridge: one operation seen from two promise systems.
enum class LinkKind : std::uint8_t { kAwaits = 0, kBridge = 1 };

/// The annotation of a root whose trace has the host's operations only: of no promise of its script was anything heard.
inline constexpr std::string_view kTracingKey = "tracing";
inline constexpr std::string_view kTracingLight = "light";

/// Why a root was closed. What was still open then is written as open.
enum class SealReason : std::uint8_t {
  kFinished = 0,      ///< the host said that all its work is done
  kGrace = 1,         ///< it was answered, and the rest was not done within the grace
  kAbandoned = 2,     ///< nothing was heard of it for the session's limit: its end was lost, or never said
  kSessionEnded = 3,  ///< the session stopped first
};

enum class PauseKind : std::uint8_t { kOther = 0, kGcScavenge = 1, kGcMajor = 2, kGcIncremental = 3, kGcWeakCallbacks = 4 };

/// kCpu: the lane was running there. kOffCpu: it was taken off the processor there.
enum class SampleKind : std::uint8_t { kCpu = 0, kOffCpu = 1 };

enum class ValueKind : std::uint8_t { kString = 0, kInt = 1, kUint = 2, kDouble = 3, kBool = 4 };

/// What an invocation was made runnable by, where the host knows; {} where it does not.
struct Cause {
  CauseKind kind = CauseKind::kUnspecified;
  ResourceId by = ResourceId::kNone;

  [[nodiscard]] static constexpr Cause settled(Resource awaited) noexcept { return {CauseKind::kSettled, awaited.id}; }
  [[nodiscard]] static constexpr Cause external() noexcept { return {CauseKind::kExternal, ResourceId::kNone}; }
  [[nodiscard]] static constexpr Cause external(Resource operation) noexcept { return {CauseKind::kExternal, operation.id}; }
};

/// Aligned as the stack is, so that passing one costs no realignment; storages align their slots to cache lines.
struct alignas(16) Event {
  std::uint64_t head;
  std::uint64_t ticks;
  std::uint64_t other;
  std::uint64_t context;

  static constexpr std::uint64_t kIdMask = (std::uint64_t{1} << kResourceIdBits) - 1;
  static constexpr std::uint64_t kRootMask = (std::uint64_t{1} << kRootIdBits) - 1;

  [[nodiscard]] static constexpr std::uint64_t head_of(ResourceId resource, EventKind kind, std::uint8_t flags = 0) noexcept {
    return number(resource) | std::uint64_t{static_cast<std::uint8_t>(kind)} << 48 | std::uint64_t{flags} << 56;
  }
  [[nodiscard]] static constexpr std::uint64_t other_of(ResourceId other, TypeId type = {}) noexcept {
    return number(other) | std::uint64_t{static_cast<std::uint16_t>(type)} << 48;
  }
  [[nodiscard]] static constexpr std::uint64_t context_of(RootId root, StackId stack = StackId::kNone) noexcept {
    return number(root) | number(stack) << kRootIdBits;
  }

  [[nodiscard]] constexpr EventKind kind() const noexcept { return static_cast<EventKind>(head >> 48 & 0xff); }
  [[nodiscard]] constexpr std::uint8_t flags() const noexcept { return static_cast<std::uint8_t>(head >> 56); }
  [[nodiscard]] constexpr ResourceId resource() const noexcept { return static_cast<ResourceId>(head & kIdMask); }
  [[nodiscard]] constexpr ResourceId other_id() const noexcept { return static_cast<ResourceId>(other & kIdMask); }
  [[nodiscard]] constexpr TypeId type() const noexcept { return static_cast<TypeId>(other >> 48); }
  [[nodiscard]] constexpr RootId root() const noexcept { return static_cast<RootId>(context & kRootMask); }
  [[nodiscard]] constexpr StackId stack() const noexcept { return static_cast<StackId>(context >> kRootIdBits); }
  [[nodiscard]] constexpr Ticks time() const noexcept { return static_cast<Ticks>(ticks); }
};
static_assert(sizeof(Event) == 32);

/// Payload bytes that one kPayload slot carries.
inline constexpr std::size_t kPayloadPerSlot = sizeof(Event) - sizeof(std::uint64_t);

/// How many kPayload slots follow this head. 0 for every kind but kAnnotated.
[[nodiscard]] constexpr std::size_t payload_slots(const Event& head) noexcept {
  if (head.kind() != EventKind::kAnnotated) return 0;
  return (static_cast<std::size_t>(number(head.other_id())) + kPayloadPerSlot - 1) / kPayloadPerSlot;
}

}  // namespace THENCE_ABI
}  // namespace thence
