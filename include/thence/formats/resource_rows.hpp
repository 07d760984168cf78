// SPDX-License-Identifier: MIT
// resource_rows.hpp: from events to one row a resource: its times, by whom it was settled, and what its lanes spent on it.
//
// A table, a flame graph and a query ask the same of a trace: when a resource was created, first run and settled, how long
// it ran itself, how long it waited. That is computed here, once, while events go by.
//   struct Rows { void born(ResourceRow& row, const ResourceRow* trigger) {}  void row(const ResourceRow& row) { ... } };
//   ResourceTracker<Rows> tracker{rows};
//   tracker.take(event); ...; tracker.close();          // `row` when a resource's root is sealed, or at the end
//   replay(model, tracker);                             // the same: it is an EventSink too
// Own time: on a lane, at each instant the latest-started invocation that has not ended owns the time, so that the own
// times of a lane add up to the time in which anything ran on it. What is not known is absent, never zero.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/resource_book.hpp"
#include "thence/formats/words.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Nanoseconds, or not known.
struct MaybeNs {
  static constexpr std::uint64_t kAbsent = ~std::uint64_t{0};
  std::uint64_t ns = kAbsent;

  [[nodiscard]] constexpr explicit operator bool() const noexcept { return ns != kAbsent; }
  friend constexpr bool operator==(MaybeNs, MaybeNs) = default;
};

/// later - earlier; absent where either is, or where the clock went backwards.
[[nodiscard]] constexpr MaybeNs elapsed(MaybeNs earlier, MaybeNs later) noexcept {
  if (!earlier || !later || later.ns < earlier.ns) return {};
  return {later.ns - earlier.ns};
}

struct ResourceRow {
  ResourceId id = ResourceId::kNone;
  RootId root = RootId::kNone;
  ResourceId trigger = ResourceId::kNone;
  ResourceId settler = ResourceId::kNone;
  StackId stack = StackId::kNone;
  LaneId created_on = LaneId::kNone;
  MaybeNs created, first_scheduled, first_entered, last_exited, settled, destroyed, finished;
  std::uint64_t ran_ns = 0;        ///< sum of the invocations whose end is known
  std::uint64_t self_ns = 0;       ///< the same without what nested invocations took
  std::uint64_t pause_ns = 0;      ///< the part of self_ns that a pause of the lane took (a garbage collection)
  std::uint64_t scheduled_ns = 0;  ///< from made runnable to entered
  std::uint64_t waited_ns = 0;     ///< from creation, or the end of the invocation before, to each invocation
  std::uint32_t invocations = 0;
  std::uint32_t cut = 0;           ///< invocations whose begin or end was lost: ran_ns and self_ns are too small
  std::uint32_t wakes_followed = 0;  ///< invocations that scheduled_ns knows of
  std::uint32_t depth = 0;         ///< creations from the root to here, where depth_known
  std::uint32_t user = 0;          ///< for whom the rows are made
  Outcome outcome = Outcome::kUnknown;
  Actor settled_by = Actor::kUnknown;
  SealReason sealed_as = SealReason::kFinished;
  bool sealed = false;
  bool depth_known = false;
  Life life;

  [[nodiscard]] TypeId type() const noexcept { return life.type; }
  [[nodiscard]] bool open() const noexcept { return !life.ended(); }
  [[nodiscard]] MaybeNs async_delay() const noexcept { return elapsed(created, first_entered); }
  [[nodiscard]] MaybeNs total() const noexcept { return elapsed(created, last_exited); }
  /// Absent where the resource never ran, or an end of an invocation is not known.
  [[nodiscard]] MaybeNs sync_time() const noexcept { return times_known() ? MaybeNs{ran_ns} : MaybeNs{}; }
  [[nodiscard]] MaybeNs self_time() const noexcept { return times_known() ? MaybeNs{self_ns} : MaybeNs{}; }
  [[nodiscard]] MaybeNs scheduling_delay() const noexcept { return wakes_followed != 0 ? MaybeNs{scheduled_ns} : MaybeNs{}; }
  /// In which it was there and did not run: up to its last invocation; up to its settling, if it had none.
  [[nodiscard]] MaybeNs waiting() const noexcept {
    if (!created) return {};
    return invocations != 0 ? MaybeNs{waited_ns} : elapsed(created, settled);
  }

 private:
  [[nodiscard]] bool times_known() const noexcept { return invocations != 0 && cut == 0 && life.running == 0; }

 public:
  MaybeNs last_end, woken;  ///< of the tracker's own: the latest end of an invocation; made runnable and not yet entered
};

/// What the tracker could not place; for reports.
struct TrackingCounts {
  std::uint64_t exits_unmatched = 0;   ///< an exit of a resource that was not running
  std::uint64_t created_twice = 0;
  std::uint64_t never_created = 0;     ///< rows of which only later events were seen
  std::uint64_t backwards = 0;         ///< intervals that would have been negative, left out
};

/// Makes rows.
///   Shape     as ResourceBook; for each lane the invocations that run on it.
///   Threads   one.
///   Cost      O(1) an event, O(running invocations of the lane) for an exit that crosses, of all lanes for one on another.
///   Errors    std::bad_alloc.
///   Lifetime  the consumer outlives it.
template <class Consumer>
class ResourceTracker : public IgnoringSink {
 public:
  explicit ResourceTracker(Consumer& consumer) : consumer_(&consumer) {}

  void take(const TraceEvent& event) {
    const std::uint64_t now = ns_of(event.time);
    switch (event.kind) {
      case EventKind::kCreated: created(event); break;
      case EventKind::kScheduled: {
        ResourceRow* row = known_or_made(event);
        if (row == nullptr) break;
        if (!row->first_scheduled) row->first_scheduled = {now};
        if (!row->woken) row->woken = {now};
        break;
      }
      case EventKind::kEntered: entered(event); break;
      case EventKind::kExited: exited(event); break;
      case EventKind::kSettled: {
        ResourceRow* row = known_or_made(event);
        if (row == nullptr) break;
        if (event.outcome() == Outcome::kResolved) {
          row->life.resolved = true;
          break;
        }
        row->life.settled = true;
        row->settled = {now};
        row->outcome = event.outcome();
        row->settled_by = event.settled_by();
        row->settler = event.other;
        retire(*row);
        break;
      }
      case EventKind::kDestroyed: {
        ResourceRow* row = known_or_made(event);
        if (row == nullptr) break;
        row->life.destroyed = true;
        row->destroyed = {now};
        retire(*row);
        break;
      }
      case EventKind::kPauseBegan: pause_began(event); break;
      case EventKind::kPauseEnded: pause_ended(event); break;
      case EventKind::kRootFinished: {
        ResourceRow* row = known_or_made(event);
        if (row == nullptr) break;
        row->life.finished = true;
        row->finished = {now};
        break;
      }
      case EventKind::kLost: lost(event); break;
      case EventKind::kRootSealed:
        book_.seal(event.root, [&](ResourceRow& row) {
          row.sealed = true;
          row.sealed_as = event.seal_reason();
          hand_over(row);
        });
        break;
      case EventKind::kLinked:
      case EventKind::kAnnotated: static_cast<void>(known_or_made(event)); break;
      case EventKind::kPayload:
      case EventKind::kCounter:
      case EventKind::kParked:
      case EventKind::kUnparked:
      case EventKind::kSample: break;
    }
  }

  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) take(event);
  }
  void end(const TraceSummary&) { close(); }

  void close() {
    book_.close([&](ResourceRow& row) { hand_over(row); });
  }

  [[nodiscard]] ResourceRow* find(ResourceId id) noexcept { return book_.find(id); }
  [[nodiscard]] const TrackingCounts& counts() const noexcept { return counts_; }
  /// The resource whose invocation owns the lane's time now; kNone if none runs.
  [[nodiscard]] ResourceId running_on(LaneId id) noexcept {
    const Lane& lane = lane_of(id);
    for (auto at = lane.running.rbegin(); at != lane.running.rend(); ++at) {
      if (!at->pause) return at->resource;
    }
    return ResourceId::kNone;
  }

 private:
  struct Running {
    ResourceId resource = ResourceId::kNone;
    std::uint64_t begin = 0;
    bool pause = false;
  };
  struct Lane {
    LaneId id = LaneId::kNone;
    std::uint64_t accounted = 0;  // up to here the lane's time has an owner
    std::vector<Running> running;
  };

  ResourceRow* known_or_made(const TraceEvent& event) {
    if (event.resource == ResourceId::kNone) return nullptr;
    if (ResourceRow* row = book_.find(event.resource)) return row;
    ResourceRow& row = book_.at(event.resource, event.root);
    row.id = event.resource;
    row.root = event.root;
    return &row;
  }

  void created(const TraceEvent& event) {
    if (event.resource == ResourceId::kNone) return;
    ResourceRow& row = *known_or_made(event);
    if (row.created) {
      ++counts_.created_twice;
      return;
    }
    row.created = {ns_of(event.time)};
    row.created_on = event.lane;
    row.trigger = event.other;
    row.stack = event.stack;
    row.life.type = event.type;
    row.life.created = true;
    // book_ is not added to: `row` stays where it is.
    const ResourceRow* trigger = book_.find(event.other);
    if (event.other == ResourceId::kNone) {
      row.depth_known = true;
    } else if (trigger != nullptr && trigger->depth_known) {
      row.depth = trigger->depth + 1;
      row.depth_known = true;
    }
    consumer_->born(row, trigger);
    retire(row);
  }

  void entered(const TraceEvent& event) {
    const std::uint64_t now = ns_of(event.time);
    Lane& lane = lane_of(event.lane);
    account(lane, now);
    if (event.resource == ResourceId::kNone) return;
    lane.running.push_back({event.resource, now, false});
    ResourceRow& row = *known_or_made(event);
    if (!row.first_entered) row.first_entered = {now};
    if (row.life.running == 0) {
      const MaybeNs since = row.last_end ? row.last_end : row.created;
      const MaybeNs gap = elapsed(since, {now});
      if (gap) {
        row.waited_ns += gap.ns;
      } else if (since) {
        ++counts_.backwards;
      }
    }
    if (row.woken) {
      const MaybeNs delay = elapsed(row.woken, {now});
      if (delay) {
        row.scheduled_ns += delay.ns;
        ++row.wakes_followed;
      } else {
        ++counts_.backwards;
      }
      row.woken = {};
    }
    ++row.invocations;
    ++row.life.running;
  }

  void exited(const TraceEvent& event) {
    const std::uint64_t now = ns_of(event.time);
    Lane& lane = lane_of(event.lane);
    account(lane, now);
    Lane* ran_on = &lane;
    std::size_t at = last_running(lane, event.resource);
    const ResourceRow* const known = at == 0 ? book_.find(event.resource) : nullptr;
    const bool elsewhere = known != nullptr && known->life.running != 0;  // a coroutine that went on here
    for (std::size_t other = 0; elsewhere && at == 0 && other < lanes_.size(); ++other) {
      ran_on = &lanes_[other];
      at = last_running(*ran_on, event.resource);
    }
    if (at == 0) {
      ++counts_.exits_unmatched;
      if (ResourceRow* row = known_or_made(event)) {
        // It ran, since when is not known.
        ++row->cut;
        ++row->invocations;
        row->life.ran = true;
        row->last_exited = {now};
      }
      return;
    }
    account(*ran_on, now);
    const Running invocation = ran_on->running[at - 1];
    ran_on->running.erase(ran_on->running.begin() + static_cast<std::ptrdiff_t>(at) - 1);
    ResourceRow* row = book_.find(event.resource);
    if (row == nullptr) return;
    if (now >= invocation.begin) {
      row->ran_ns += now - invocation.begin;
    } else {
      ++counts_.backwards;
    }
    if (row->life.running != 0) --row->life.running;
    row->life.ran = true;
    row->last_exited = {std::max(row->last_exited ? row->last_exited.ns : 0, now)};
    row->last_end = row->last_exited;
    retire(*row);
  }

  /// One more than the place of its innermost invocation on the lane; 0: it does not run there.
  [[nodiscard]] static std::size_t last_running(const Lane& lane, ResourceId resource) noexcept {
    std::size_t at = lane.running.size();
    while (at != 0 && (lane.running[at - 1].pause || lane.running[at - 1].resource != resource)) --at;
    return at;
  }

  void pause_began(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    account(lane, ns_of(event.time));
    lane.running.push_back({ResourceId::kNone, ns_of(event.time), true});
  }
  void pause_ended(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    account(lane, ns_of(event.time));
    for (std::size_t at = lane.running.size(); at-- != 0;) {
      if (!lane.running[at].pause) continue;
      lane.running.erase(lane.running.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    }
  }

  /// The exits of what runs may be among what was lost.
  void lost(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    account(lane, event.loss != nullptr ? ns_of(event.loss->first) : ns_of(event.time));
    for (const Running& invocation : lane.running) {
      if (ResourceRow* row = book_.find(invocation.resource)) {
        ++row->cut;
        if (row->life.running != 0) --row->life.running;
      }
    }
    lane.running.clear();
  }

  /// Gives the lane's time up to `now` to who owned it.
  void account(Lane& lane, std::uint64_t now) {
    if (now <= lane.accounted) return;
    const std::uint64_t time = now - lane.accounted;
    lane.accounted = now;
    if (lane.running.empty()) return;
    std::size_t owner = lane.running.size();
    while (owner != 0 && lane.running[owner - 1].pause) --owner;
    if (owner == 0) return;
    ResourceRow* row = book_.find(lane.running[owner - 1].resource);
    if (row == nullptr) return;
    row->self_ns += time;
    if (owner != lane.running.size()) row->pause_ns += time;
  }

  Lane& lane_of(LaneId id) {
    if (last_lane_ < lanes_.size() && lanes_[last_lane_].id == id) [[likely]] return lanes_[last_lane_];
    for (last_lane_ = 0; last_lane_ < lanes_.size(); ++last_lane_) {
      if (lanes_[last_lane_].id == id) return lanes_[last_lane_];
    }
    lanes_.push_back({id, 0, {}});
    return lanes_.back();
  }

  void retire(const ResourceRow& row) {
    if (row.root == RootId::kNone && row.life.ended()) {
      book_.ended(row.id, [&](ResourceRow& old) { hand_over(old); });
    }
  }
  void hand_over(ResourceRow& row) {
    if (!row.created) ++counts_.never_created;
    consumer_->row(row);
  }

  Consumer* consumer_;
  ResourceBook<ResourceRow> book_;
  std::vector<Lane> lanes_;
  std::size_t last_lane_ = 0;
  TrackingCounts counts_;
};

}  // namespace THENCE_ABI
}  // namespace thence
