// SPDX-License-Identifier: MIT
// early_events.hpp: what was heard of resources before their creation, for as long as that may come late.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// The last 512 events of resources that were not known.
///   Threads   one.
///   Cost      adding O(1), looking O(512).
///   When full the oldest one is forgotten.
///   Errors    the first one may throw std::bad_alloc.
class EarlyEvents {
 public:
  struct Early {
    std::uint64_t resource = 0;  // 0: free
    std::uint64_t time = 0;
    std::uint32_t lane = 0;
    EventKind kind = EventKind::kPayload;
    std::uint8_t flags = 0;

    [[nodiscard]] Outcome outcome() const noexcept { return static_cast<Outcome>(flags & 0xf); }
  };

  void add(const TraceEvent& event) {
    if (events_.empty()) events_.resize(kMax);
    events_[next_++ % kMax] = {number(event.resource), ns_of(event.time), static_cast<std::uint32_t>(number(event.lane)), event.kind,
                               event.flags};
  }

  /// Takes the first exit at or after an entry that came late. False: there is none.
  [[nodiscard]] bool take_exit(const TraceEvent& entry, std::uint64_t& time) noexcept {
    Early* exit = nullptr;
    for (Early& early : events_) {
      if (early.resource != number(entry.resource) || early.kind != EventKind::kExited || early.time < ns_of(entry.time)) continue;
      if (exit == nullptr || early.time < exit->time) exit = &early;
    }
    if (exit == nullptr) return false;
    exit->resource = 0;
    time = exit->time;
    return true;
  }

  /// Calls on_event for each event of a resource since its creation, and forgets it; an exit stays, for its entry.
  template <class OnEvent>
  void recall(std::uint64_t resource, std::uint64_t created_at, OnEvent&& on_event) {
    for (Early& early : events_) {
      if (early.resource != resource || early.time < created_at) continue;
      if (early.kind != EventKind::kExited) early.resource = 0;
      on_event(early);
    }
  }

 private:
  static constexpr std::size_t kMax = 512;
  detail::Vector<Early> events_;
  std::size_t next_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
