// SPDX-License-Identifier: MIT
// root_book.hpp: which roots are open, and when each may be closed, so that every root ends and its memory is given back.
//
// A root is closed when the host has said that it is done and nothing of it runs; when it was answered and a grace has passed;
// or when nothing was heard of it for long, because its end was lost. Numbers of closed roots are kept as ranges, whose count
// depends on the roots that are open, not on those that were.
// Layer: session (includes formats/, core/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A set of numbers that holds few ranges.
///   Cost      contains: O(1) beyond the last range, else O(log ranges); insert: O(1) at the last range's end, else O(ranges)
class RangeSet {
 public:
  [[nodiscard]] bool contains(std::uint64_t value) const noexcept {
    const std::size_t after = first_after(value);
    return after != 0 && value < ranges_[after - 1].end;
  }
  void insert(std::uint64_t value) {
    const std::size_t after = first_after(value);
    const bool meets_next = after != ranges_.size() && ranges_[after].begin == value + 1;
    if (after != 0 && value <= ranges_[after - 1].end) {
      Range& before = ranges_[after - 1];
      if (value < before.end) return;
      before.end = meets_next ? ranges_[after].end : value + 1;
      if (meets_next) ranges_.erase(ranges_.begin() + after);
    } else if (meets_next) {
      ranges_[after].begin = value;
    } else {
      ranges_.insert(ranges_.begin() + after, {value, value + 1});
    }
  }
  [[nodiscard]] std::size_t ranges() const noexcept { return ranges_.size(); }

 private:
  struct Range {
    std::uint64_t begin, end;
  };

  /// The first range that begins beyond `value`. Mostly there is none: what is asked for is young.
  [[nodiscard]] std::size_t first_after(std::uint64_t value) const noexcept {
    if (ranges_.empty() || ranges_.back().begin <= value) return ranges_.size();
    std::size_t low = 0, high = ranges_.size();
    while (low != high) {
      const std::size_t middle = low + (high - low) / 2;
      if (ranges_[middle].begin <= value) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  detail::Vector<Range> ranges_;  // in order
};

struct RootLimits {
  std::uint64_t settle_ns = 10'000'000;              ///< quiet after its end, so that what is published late still counts
  std::uint64_t lost_exit_ns = 2'000'000'000;        ///< the same where a callback seems to run still: its exit was lost
  std::uint64_t grace_ns = 30'000'000'000;           ///< from the answer to the forced end
  std::uint64_t abandon_ns = 300'000'000'000;        ///< without any event
};

/// Follows the roots through a session's events.
///   Threads   one
///   Cost      a hash look-up an event at most; consecutive events of one root cost a comparison
class RootBook {
 public:
  explicit RootBook(const RootLimits& limits) : limits_(limits) {}

  /// False: the event's root was closed before; it is to be counted, not kept.
  bool admit(const TraceEvent& event) {
    if (event.root == RootId::kNone) return true;
    if (event.root != last_root_ && !find_or_open(event.root)) [[unlikely]] return false;
    OpenRoot& root = open_[last_];
    if (ns_between(root.last_event, event.time) > 0) root.last_event = event.time;
    switch (event.kind) {
      case EventKind::kCreated:
        if (root.resource == ResourceId::kNone && event.other == ResourceId::kNone && !root.created) {
          root.resource = event.resource;
          root.created = true;
        }
        break;
      case EventKind::kEntered: ++root.running; break;
      case EventKind::kExited:
        if (root.running > 0) --root.running;
        break;
      case EventKind::kSettled:
        if (event.resource == root.resource && !root.answered) {
          root.answered = true;
          root.answered_at = event.time;
        }
        break;
      case EventKind::kRootFinished: root.finished = true; break;
      default: break;
    }
    return true;
  }

  /// Closes what may be closed at `now`; `seal(RootId, SealReason)` is called for each.
  template <class Seal>
  void close_due(Timestamp now, Seal&& seal) {
    close_if([&](const OpenRoot& root, SealReason& reason) {
      const std::int64_t quiet = ns_between(root.last_event, now);
      if (root.finished && quiet >= static_cast<std::int64_t>(root.running == 0 ? limits_.settle_ns : limits_.lost_exit_ns)) {
        reason = SealReason::kFinished;
        return true;
      }
      if (root.answered && ns_between(root.answered_at, now) >= static_cast<std::int64_t>(limits_.grace_ns)) {
        reason = root.finished ? SealReason::kFinished : SealReason::kGrace;
        return true;
      }
      reason = SealReason::kAbandoned;
      return quiet >= static_cast<std::int64_t>(limits_.abandon_ns);
    }, seal);
  }
  /// Closes all: finished ones as such, the others because the session ends.
  template <class Seal>
  void close_all(Seal&& seal) {
    close_if([](const OpenRoot& root, SealReason& reason) {
      reason = root.finished ? SealReason::kFinished : SealReason::kSessionEnded;
      return true;
    }, seal);
  }

  [[nodiscard]] std::size_t open() const noexcept { return open_.size(); }
  [[nodiscard]] std::uint64_t sealed() const noexcept { return sealed_count_; }
  [[nodiscard]] std::uint64_t abandoned() const noexcept { return abandoned_; }
  [[nodiscard]] std::uint64_t after_seal() const noexcept { return after_seal_; }

 private:
  struct OpenRoot {
    RootId id = RootId::kNone;
    ResourceId resource = ResourceId::kNone;
    Timestamp last_event = {};
    Timestamp answered_at = {};
    std::uint32_t running = 0;
    bool created = false;
    bool answered = false;
    bool finished = false;
  };
  struct Due {
    RootId id;
    SealReason reason;
    /// For std::qsort, which nobody compiles: this is no hot path.
    static int compare(const void* a, const void* b) noexcept {
      const std::uint64_t first = number(static_cast<const Due*>(a)->id), second = number(static_cast<const Due*>(b)->id);
      return first < second ? -1 : first > second;
    }
  };

  /// Makes `id` the last root; it is opened if need be. False: it was closed before.
  [[gnu::noinline]] bool find_or_open(RootId id) {
    if (const std::uint32_t known = places_.find(number(id)); known != IdMap::kAbsent) {
      last_ = known;
      last_root_ = id;
      return true;
    }
    if (sealed_.contains(number(id))) {
      ++after_seal_;
      return false;
    }
    open_.emplace_back().id = id;
    places_.insert(number(id), static_cast<std::uint32_t>(open_.size() - 1));
    last_ = open_.size() - 1;
    last_root_ = id;
    return true;
  }

  /// In the order of their numbers, whatever the table's is.
  template <class IsDue, class Seal>
  void close_if(IsDue&& is_due, Seal& seal) {
    due_.clear();
    for (const OpenRoot& root : open_) {
      SealReason reason{};
      if (is_due(root, reason)) due_.push_back({root.id, reason});
    }
    if (due_.empty()) return;
    last_root_ = RootId::kNone;
    std::qsort(due_.data(), due_.size(), sizeof(Due), Due::compare);
    for (const auto [id, reason] : due_) {
      remove(places_.find(number(id)));
      sealed_.insert(number(id));
      ++sealed_count_;
      if (reason == SealReason::kAbandoned) ++abandoned_;
      seal(id, reason);
    }
  }
  /// The last one takes its place.
  void remove(std::size_t at) {
    places_.erase(number(open_[at].id));
    if (at + 1 != open_.size()) {
      open_[at] = open_.back();
      places_.erase(number(open_[at].id));
      places_.insert(number(open_[at].id), static_cast<std::uint32_t>(at));
    }
    open_.pop_back();
  }

  RootLimits limits_;
  detail::Vector<OpenRoot> open_;
  IdMap places_;  // in it
  RangeSet sealed_;
  detail::Vector<Due> due_;
  RootId last_root_ = RootId::kNone;  // the last event's
  std::size_t last_ = 0;              // its place
  std::uint64_t sealed_count_ = 0;
  std::uint64_t abandoned_ = 0;
  std::uint64_t after_seal_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
