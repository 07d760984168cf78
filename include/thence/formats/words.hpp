// SPDX-License-Identifier: MIT
// words.hpp: how files spell the values of our enums, and the rule by which a resource has ended.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"

namespace thence {
inline namespace THENCE_ABI {

// A value that this version does not know (a later writer's, a damaged event) is spelt "unknown".

[[nodiscard]] constexpr std::string_view word(Actor actor) noexcept {
  switch (actor) {
    case Actor::kUnknown: return "unknown";
    case Actor::kInvocation: return "invocation";
    case Actor::kExternal: return "external";
  }
  return "unknown";
}

[[nodiscard]] constexpr std::string_view word(CauseKind cause) noexcept {
  switch (cause) {
    case CauseKind::kUnspecified: return "unspecified";
    case CauseKind::kCreated: return "created";
    case CauseKind::kSettled: return "settled";
    case CauseKind::kScheduled: return "scheduled";
    case CauseKind::kExternal: return "external";
  }
  return "unspecified";
}

[[nodiscard]] constexpr std::string_view word(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::kUnknown: return "unknown";
    case Outcome::kFulfilled: return "fulfilled";
    case Outcome::kRejected: return "rejected";
    case Outcome::kCancelled: return "cancelled";
    case Outcome::kResolved: return "resolved";
  }
  return "unknown";
}

[[nodiscard]] constexpr std::string_view word(LinkKind link) noexcept {
  switch (link) {
    case LinkKind::kAwaits: return "awaits";
    case LinkKind::kBridge: return "bridge";
  }
  return "unknown";
}

[[nodiscard]] constexpr std::string_view word(SealReason reason) noexcept {
  switch (reason) {
    case SealReason::kFinished: return "finished";
    case SealReason::kGrace: return "grace";
    case SealReason::kAbandoned: return "abandoned";
    case SealReason::kSessionEnded: return "session-ended";
  }
  return "unknown";
}

[[nodiscard]] constexpr std::string_view word(PauseKind pause) noexcept {
  switch (pause) {
    case PauseKind::kOther: return "pause";
    case PauseKind::kGcScavenge: return "gc-scavenge";
    case PauseKind::kGcMajor: return "gc-major";
    case PauseKind::kGcIncremental: return "gc-incremental";
    case PauseKind::kGcWeakCallbacks: return "gc-weak-callbacks";
  }
  return "pause";
}

[[nodiscard]] constexpr std::string_view word(SampleKind kind) noexcept {
  switch (kind) {
    case SampleKind::kCpu: return "cpu";
    case SampleKind::kOffCpu: return "off-cpu";
  }
  return "unknown";
}

[[nodiscard]] constexpr std::string_view word(ValueKind kind) noexcept {
  switch (kind) {
    case ValueKind::kString: return "string";
    case ValueKind::kInt: return "int";
    case ValueKind::kUint: return "uint";
    case ValueKind::kDouble: return "double";
    case ValueKind::kBool: return "bool";
  }
  return "string";
}

[[nodiscard]] constexpr std::string_view word(FrameKind kind) noexcept {
  switch (kind) {
    case FrameKind::kNative: return "native";
    case FrameKind::kScript: return "script";
    case FrameKind::kSource: return "source";
  }
  return "source";
}

/// Whether a resource of this type can run one callback at most: it has ended when that has run, though its host never
/// says so (V8 reports neither the end nor the collection of the promise that an `await` throws away).
[[nodiscard]] constexpr bool runs_once(TypeId type) noexcept {
  return type == type_id(ResourceType::kJsPromise) || type == type_id(ResourceType::kMicrotask);
}

/// What has been heard of a resource, as far as its end depends on it.
struct Life {
  TypeId type = {};
  bool created = false;         ///< `type` is known
  bool settled = false;         ///< with an outcome other than kResolved
  bool resolved = false;        ///< locked in to another: still pending
  bool destroyed = false;
  bool finished = false;        ///< a root's work is done
  bool ran = false;             ///< at least one invocation has exited
  std::uint32_t running = 0;    ///< invocations that were entered and not exited

  /// The one rule of both formats: settled, destroyed or finished, or of a type that runs once and has run; and no
  /// invocation of it running. Everything else is open.
  [[nodiscard]] constexpr bool ended() const noexcept {
    if (running != 0) return false;
    return settled || destroyed || finished || (ran && created && !resolved && runs_once(type));
  }
};

}  // namespace THENCE_ABI
}  // namespace thence
