// SPDX-License-Identifier: MIT
// event_words.hpp: how text formats spell the kinds of events.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"

namespace thence {
inline namespace THENCE_ABI {

[[nodiscard]] constexpr std::string_view word(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::kPayload: return "payload";
    case EventKind::kCreated: return "created";
    case EventKind::kScheduled: return "scheduled";
    case EventKind::kEntered: return "entered";
    case EventKind::kExited: return "exited";
    case EventKind::kSettled: return "settled";
    case EventKind::kDestroyed: return "destroyed";
    case EventKind::kLinked: return "linked";
    case EventKind::kAnnotated: return "annotated";
    case EventKind::kCounter: return "counter";
    case EventKind::kParked: return "parked";
    case EventKind::kUnparked: return "unparked";
    case EventKind::kPauseBegan: return "pause-began";
    case EventKind::kPauseEnded: return "pause-ended";
    case EventKind::kRootFinished: return "root-finished";
    case EventKind::kLost: return "lost";
    case EventKind::kRootSealed: return "root-sealed";
    case EventKind::kSample: return "sample";
  }
  return "unknown";
}

}  // namespace THENCE_ABI
}  // namespace thence
