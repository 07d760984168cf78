// SPDX-License-Identifier: MIT
// root_book.hpp: which roots are open, and when each may be closed, so that every root ends and its memory is given back.
//
// A root is closed when the host has said that it is done and nothing of it runs; when it was answered and a grace has passed;
// or when nothing was heard of it for long, because its end was lost. Numbers of closed roots are kept as ranges, whose count
// depends on the roots that are open, not on those that were.
// Layer: session (includes core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A set of numbers that holds few ranges.
class RangeSet {
 public:
  [[nodiscard]] bool contains(std::uint64_t value) const {
    auto after = ranges_.upper_bound(value);
    return after != ranges_.begin() && value < (--after)->second;
  }
  void insert(std::uint64_t value) {
    auto after = ranges_.upper_bound(value);
    if (after != ranges_.begin()) {
      auto before = std::prev(after);
      if (value < before->second) return;
      if (value == before->second) {
        before->second = value + 1;
        if (after != ranges_.end() && after->first == value + 1) {
          before->second = after->second;
          ranges_.erase(after);
        }
        return;
      }
    }
    if (after != ranges_.end() && after->first == value + 1) {
      const std::uint64_t end = after->second;
      ranges_.erase(after);
      ranges_.emplace(value, end);
      return;
    }
    ranges_.emplace(value, value + 1);
  }
  [[nodiscard]] std::size_t ranges() const noexcept { return ranges_.size(); }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin -> end
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
    if (event.root != last_root_ || last_ == nullptr) {
      const auto found = open_.find(event.root);
      if (found != open_.end()) {
        last_ = &found->second;
      } else {
        if (sealed_.contains(number(event.root))) {
          ++after_seal_;
          return false;
        }
        last_ = &open_[event.root];
      }
      last_root_ = event.root;
    }
    OpenRoot& root = *last_;
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
    ResourceId resource = ResourceId::kNone;
    Timestamp last_event = {};
    Timestamp answered_at = {};
    std::uint32_t running = 0;
    bool created = false;
    bool answered = false;
    bool finished = false;
  };

  /// In the order of their numbers, whatever the table's is.
  template <class Due, class Seal>
  void close_if(Due&& due, Seal& seal) {
    due_.clear();
    for (const auto& [id, root] : open_) {
      SealReason reason{};
      if (due(root, reason)) due_.emplace_back(id, reason);
    }
    std::sort(due_.begin(), due_.end());
    for (const auto& [id, reason] : due_) {
      open_.erase(id);
      sealed_.insert(number(id));
      ++sealed_count_;
      if (reason == SealReason::kAbandoned) ++abandoned_;
      seal(id, reason);
    }
    last_ = nullptr;
  }

  RootLimits limits_;
  std::unordered_map<RootId, OpenRoot> open_;
  RangeSet sealed_;
  std::vector<std::pair<RootId, SealReason>> due_;
  RootId last_root_ = RootId::kNone;
  OpenRoot* last_ = nullptr;
  std::uint64_t sealed_count_ = 0;
  std::uint64_t abandoned_ = 0;
  std::uint64_t after_seal_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
