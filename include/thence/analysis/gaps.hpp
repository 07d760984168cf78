// SPDX-License-Identifier: MIT
// gaps.hpp: when nothing of a request ran, and what it was waiting for then.
//
// Most of a request is silence. Each silence is ended by something: a fetch that answered, a timer, a lane that became
// free. A gap names it, and what else was in flight at the time:
//   const Gaps gaps(run);
//   for (const Gap& gap : gaps.of(request)) ...        // gap.start, gap.end, gap.kind
//     for (const GapPart& part : gaps.parts_of(gap)) ... // part.cause, part.operation
//   gaps.idle_ns(request) + gaps.busy_ns(request) == duration     // whatever is shown
// A gap is a maximal stretch of the request in which none of its own callbacks ran, on any lane. What other requests
// ran on its lane meanwhile is said beside it (foreign_ns).
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// What ended a stretch of silence.
enum class GapCause : std::uint8_t {
  kUnknown,
  kNetwork, kStorage, kCache, kTimer, kStream, kSocket, kQueue, kCrypto, kAi, kLock,
  kOutside,     ///< an operation of an unknown type, or one that the trace does not name
  kPromises,    ///< the program's own callbacks, none of them an operation
  kScheduling,  ///< it was ready: the lane was not
  kPaused,      ///< a collection of garbage had the lane
  kTail,        ///< nothing came after it
};

[[nodiscard]] constexpr std::string_view word(GapCause cause) noexcept {
  switch (cause) {
    case GapCause::kUnknown: return "unknown";
    case GapCause::kNetwork: return "network";
    case GapCause::kStorage: return "storage";
    case GapCause::kCache: return "cache";
    case GapCause::kTimer: return "timer";
    case GapCause::kStream: return "stream";
    case GapCause::kSocket: return "socket";
    case GapCause::kQueue: return "queue";
    case GapCause::kCrypto: return "crypto";
    case GapCause::kAi: return "ai";
    case GapCause::kLock: return "lock";
    case GapCause::kOutside: return "outside";
    case GapCause::kPromises: return "promises";
    case GapCause::kScheduling: return "scheduling";
    case GapCause::kPaused: return "paused";
    case GapCause::kTail: return "tail";
  }
  return "unknown";
}
[[nodiscard]] constexpr GapCause gap_cause_of(TypeClass which) noexcept {
  switch (which) {
    case TypeClass::kNetwork: return GapCause::kNetwork;
    case TypeClass::kStorage: return GapCause::kStorage;
    case TypeClass::kCache: return GapCause::kCache;
    case TypeClass::kTimer: return GapCause::kTimer;
    case TypeClass::kStream: return GapCause::kStream;
    case TypeClass::kSocket: return GapCause::kSocket;
    case TypeClass::kQueue: return GapCause::kQueue;
    case TypeClass::kCrypto: return GapCause::kCrypto;
    case TypeClass::kAi: return GapCause::kAi;
    case TypeClass::kLock: return GapCause::kLock;
    case TypeClass::kOther:
    case TypeClass::kRoot:
    case TypeClass::kPromise:
    case TypeClass::kBridge:
    case TypeClass::kMicrotask: return GapCause::kOutside;
  }
  return GapCause::kOutside;
}

/// Where in its request a gap is. kWhole: nothing of the request ran at all.
enum class GapKind : std::uint8_t { kInner, kHead, kTail, kWhole };

/// A part of a gap that has one cause. A gap's parts cover it.
struct GapPart {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint32_t operation = TraceModel::kNone;  ///< kNone: none, or not named
  GapCause cause = GapCause::kUnknown;
  bool guessed = false;  ///< no edge tells it: the operation in flight that fits best

  [[nodiscard]] std::uint64_t length() const noexcept { return end - start; }
};

struct Gap {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t foreign_ns = 0;                 ///< for so long others ran on the lane on which it went on
  std::uint32_t request = TraceModel::kNone;
  std::uint32_t ended_by = TraceModel::kNone;   ///< the first invocation after it; kNone: none
  std::uint32_t operation = TraceModel::kNone;  ///< that ended it
  std::uint32_t first_part = 0, parts = 0;
  std::uint32_t first_other = 0, others = 0;    ///< operations in flight besides: they could have overlapped with work
  std::uint32_t in_flight = 0;                  ///< how many there were, the one that ended it among them
  GapKind kind = GapKind::kInner;
  GapCause cause = GapCause::kUnknown;          ///< what ended it: of its last part; kScheduling only if that is most of it, or all
  bool guessed = false;

  [[nodiscard]] std::uint64_t length() const noexcept { return end - start; }
};

/// The gaps of all requests.
///   Shape     72 bytes a gap that is shown (at most 1000 / GapSettings::min_permille a request), and its parts.
///   Threads   any number of readers.
///   Cost      constructor: O(n log n), and O(operations in flight) for each gap that is shown.
///   Lifetime  stands alone.
class Gaps {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  explicit Gaps(const Execution& run) {
    const auto requests = static_cast<std::uint32_t>(run.requests.size());
    RowIndex own;
    own.build(requests, run.model.invocations.size(),
              [&](std::uint32_t at) { return run.is_span(at) || run.end(at) == run.start(at) ? kNone : run.request_of(at); });
    RowIndex operations;
    operations.build(requests, run.model.resources(),
                     [&](std::uint32_t row) { return run.operation[row] && run.unit[row] == row ? run.request[row] : kNone; });
    first_.assign(1, 0);
    idle_.assign(requests, 0);
    std::vector<std::uint32_t> order;
    for (std::uint32_t request = 0; request < requests; ++request) {
      const Execution::Request& of = run.requests[request];
      order.assign(own[request].begin(), own[request].end());
      const auto earlier = [&](std::uint32_t a, std::uint32_t b) {
        return run.start(a) != run.start(b) ? run.start(a) < run.start(b) : a < b;
      };
      if (!std::is_sorted(order.begin(), order.end(), earlier)) std::sort(order.begin(), order.end(), earlier);
      const auto begin = static_cast<std::uint32_t>(gaps_.size());
      std::uint64_t until = of.start;
      const auto found = [&](std::uint64_t to, std::uint32_t ended_by) {
        if (to <= until) return;
        idle_[request] += to - until;
        const std::uint64_t length = to - until;
        if (length < run.settings.gaps.min_ns || is_less(length, of.duration(), run.settings.gaps.min_permille)) return;
        Gap made;
        made.start = until;
        made.end = to;
        made.request = request;
        made.ended_by = ended_by;
        made.kind = until == of.start ? (ended_by == kNone ? GapKind::kWhole : GapKind::kHead)
                                      : (ended_by == kNone ? GapKind::kTail : GapKind::kInner);
        gaps_.push_back(made);
      };
      for (const std::uint32_t at : order) {
        if (run.start(at) >= of.end) break;
        found(run.start(at), at);
        until = std::max(until, run.end(at));
      }
      found(of.end, kNone);
      explain(run, begin, operations[request]);
      first_.push_back(static_cast<std::uint32_t>(gaps_.size()));
    }
    busy_.resize(requests);
    for (std::uint32_t request = 0; request < requests; ++request) busy_[request] = run.requests[request].duration() - idle_[request];
  }

  /// Those that are shown, in order of time.
  [[nodiscard]] std::span<const Gap> of(std::uint32_t request) const noexcept {
    return {gaps_.data() + first_[request], first_[request + 1] - first_[request]};
  }
  [[nodiscard]] std::span<const GapPart> parts_of(const Gap& gap) const noexcept { return {parts_.data() + gap.first_part, gap.parts}; }
  [[nodiscard]] std::span<const std::uint32_t> others_of(const Gap& gap) const noexcept {
    return {others_.data() + gap.first_other, gap.others};
  }
  /// For how long none of its callbacks ran, and any did: of all gaps, also those that are too short to be shown.
  [[nodiscard]] std::uint64_t idle_ns(std::uint32_t request) const noexcept { return idle_[request]; }
  [[nodiscard]] std::uint64_t busy_ns(std::uint32_t request) const noexcept { return busy_[request]; }

 private:
  /// length < permille / 1000 of whole, without overflow.
  [[nodiscard]] static bool is_less(std::uint64_t length, std::uint64_t whole, std::uint32_t permille) noexcept {
    const std::uint64_t share = whole / 1000 * permille + whole % 1000 * permille / 1000;
    return length < share || (length == share && whole % 1000 * permille % 1000 != 0);
  }

  /// Causes of the gaps from `begin` on, of one request; `operations` in order of creation.
  void explain(const Execution& run, std::uint32_t begin, std::span<const std::uint32_t> operations) {
    struct Flight {
      std::uint32_t row;
      std::uint64_t start;
      std::uint64_t end;
    };
    std::vector<Flight> active;
    std::size_t next = 0;
    for (std::uint32_t which = begin; which < gaps_.size(); ++which) {
      Gap& gap = gaps_[which];
      for (; next < operations.size() && run.created(operations[next]) < gap.end; ++next) {
        const Execution::Interval time = run.operation_time(operations[next]);
        if (time.end > gap.start) active.push_back({operations[next], time.start, time.end});
      }
      std::erase_if(active, [&](const Flight& flight) { return flight.end <= gap.start; });
      gap.in_flight = static_cast<std::uint32_t>(active.size());
      // Where no edge tells: what was settled last before the gap's end, else the most numerous type's first.
      const auto guess = [&](std::uint64_t to) {
        const Flight* best = nullptr;
        for (const Flight& flight : active) {
          if (flight.start >= to || flight.end > to || !run.settle_known[flight.row]) continue;
          if (best == nullptr || flight.end > best->end || (flight.end == best->end && flight.row < best->row)) best = &flight;
        }
        if (best != nullptr) return best->row;
        std::vector<std::uint32_t> rows;
        for (const Flight& flight : active) {
          if (flight.start < to) rows.push_back(flight.row);
        }
        std::sort(rows.begin(), rows.end(), [&](std::uint32_t a, std::uint32_t b) {
          return run.model.type[a] != run.model.type[b] ? run.model.type[a] < run.model.type[b] : a < b;
        });
        std::uint32_t found = kNone;
        std::size_t most = 0;
        for (std::size_t at = 0; at < rows.size();) {
          std::size_t last = at;
          while (last < rows.size() && run.model.type[rows[last]] == run.model.type[rows[at]]) ++last;
          if (last - at > most || (last - at == most && rows[at] < found)) {
            most = last - at;
            found = rows[at];
          }
          at = last;
        }
        return found;
      };
      find_parts(run, gap, guess);
      gap.first_other = static_cast<std::uint32_t>(others_.size());
      std::sort(active.begin(), active.end(), [&](const Flight& a, const Flight& b) {
        const std::uint64_t in_a = std::min(a.end, gap.end) - std::max(a.start, gap.start);
        const std::uint64_t in_b = std::min(b.end, gap.end) - std::max(b.start, gap.start);
        return in_a != in_b ? in_a > in_b : a.row < b.row;
      });
      for (const Flight& flight : active) {
        if (gap.others == run.settings.gaps.others_kept) break;
        if (flight.row == gap.operation) continue;
        others_.push_back(flight.row);
        ++gap.others;
      }
    }
  }

  template <class Guess>
  void find_parts(const Execution& run, Gap& gap, const Guess& guess) {
    gap.first_part = static_cast<std::uint32_t>(parts_.size());
    std::uint64_t time = gap.end;
    const auto part = [&](std::uint64_t from, GapCause cause, std::uint32_t operation, bool guessed) {
      from = std::max(from, gap.start);
      if (from >= time) return;
      // What has one cause is one part, however many steps it took.
      if (parts_.size() > gap.first_part && parts_.back().cause == cause && parts_.back().operation == operation) {
        parts_.back().start = from;
        parts_.back().guessed = parts_.back().guessed || guessed;
      } else {
        parts_.push_back({from, time, operation, cause, guessed});
      }
      time = from;
    };
    const auto guessed_part = [&](std::uint64_t from, GapCause otherwise) {
      const std::uint32_t row = guess(time);
      if (row == kNone) return part(from, otherwise, kNone, false);
      part(std::max(from, run.created(row)), gap_cause_of(run.class_of(row)), row, true);
      part(from, otherwise, kNone, false);
    };
    std::uint32_t at = gap.ended_by;
    if (at != kNone) {
      gap.foreign_ns = run.busy_ahead_of(at, gap.start);  // with its start the gap ends
      std::uint64_t paused = 0;
      const auto pauses = run.pauses_of(run.lane[at]);
      for (auto pause = std::lower_bound(pauses.begin(), pauses.end(), gap.start,
                                         [](const Execution::Pause& a, std::uint64_t moment) { return a.end <= moment; });
           pause != pauses.end() && pause->start < gap.end; ++pause) {
        paused += std::min(pause->end, gap.end) - std::max(pause->start, gap.start);
      }
      if (paused > gap.length() / 2) {
        part(gap.start, GapCause::kPaused, kNone, false);
        at = kNone;
      }
    } else {
      const Execution::Request& request = run.requests[gap.request];
      const std::uint32_t row = request.resource;
      if (gap.kind == GapKind::kTail && row != kNone && run.settle_known[row] && run.settle_external[row] && run.settled[row] == gap.end) {
        part(gap.start, GapCause::kOutside, row, false);
      } else if (gap.kind == GapKind::kWhole) {
        guessed_part(gap.start, GapCause::kUnknown);
      } else {
        part(gap.start, GapCause::kTail, kNone, false);
      }
    }
    for (unsigned steps = 0; at != kNone && time > gap.start && steps < kLongestChain; ++steps) {
      part(run.end(at), GapCause::kUnknown, kNone, false);     // who did it had ended by then
      part(run.start(at), GapCause::kPromises, kNone, false);  // of another request
      part(run.ready[at], GapCause::kScheduling, kNone, false);
      if (time <= gap.start) break;
      const Execution::Cause& cause = run.cause[at];
      const std::uint32_t row = run.resource_of(at);
      const std::uint32_t before = run.previous[at];
      const std::uint64_t since = before == kNone ? run.created(row) : run.end(before);
      switch (cause.kind) {
        case CauseOf::kRoot:
          part(gap.start, GapCause::kScheduling, kNone, false);
          at = kNone;
          break;
        case CauseOf::kCreated:
        case CauseOf::kSettled:
        case CauseOf::kWoken:
        case CauseOf::kCalled:
          part(cause.at, GapCause::kPromises, kNone, false);
          at = cause.invocation;
          break;
        case CauseOf::kExternal: {
          const std::uint32_t of = cause.resource;
          if (of == kNone) {
            part(since, GapCause::kOutside, kNone, false);
            at = before == kNone ? run.creator[row] : before;
            break;
          }
          const bool again = before != kNone && since > run.created(of) &&
                             !(run.settle_known[of] && run.settled[of] <= cause.at);
          part(again ? since : run.created(of), gap_cause_of(run.class_of(of)), run.unit[of], false);
          if (again) {
            at = before;
            break;
          }
          std::uint32_t made = of;
          for (std::uint32_t by; (by = run.made_for(made)) != kNone; made = by) {
            part(run.created(by), gap_cause_of(run.class_of(by)), run.unit[by], false);
          }
          at = run.creator[made];
          break;
        }
        case CauseOf::kUnknown:
          guessed_part(since, GapCause::kUnknown);
          at = before == kNone ? run.creator[row] : before;
          break;
      }
    }
    guessed_part(gap.start, GapCause::kUnknown);
    std::reverse(parts_.begin() + static_cast<std::ptrdiff_t>(gap.first_part), parts_.end());
    gap.parts = static_cast<std::uint32_t>(parts_.size()) - gap.first_part;
    if (gap.parts == 0) return;
    // An answer that arrived ended it, though the loop took a moment to notice.
    std::size_t last = parts_.size() - 1;
    if (parts_[last].cause == GapCause::kScheduling && gap.parts > 1 && parts_[last].length() <= gap.length() / 2) --last;
    gap.cause = parts_[last].cause;
    gap.operation = parts_[last].operation;
    gap.guessed = parts_[last].guessed;
  }

  static constexpr unsigned kLongestChain = 256;

  std::vector<Gap> gaps_;
  std::vector<GapPart> parts_;
  std::vector<std::uint32_t> others_;
  std::vector<std::uint32_t> first_;
  std::vector<std::uint64_t> idle_;
  std::vector<std::uint64_t> busy_;
};

/// What to do about a gap: by what it waited for, and by the finding (Finding::id) that covers it, if one does.
[[nodiscard]] constexpr std::string_view gap_advice(GapCause cause, std::string_view finding = {}) noexcept {
  if (finding == "sequential-fetch" || finding == "waterfall-fetch") return "Start the requests together and await them at once.";
  if (finding == "unbatched-storage") return "Read or write the keys in one call.";
  if (finding == "duplicate-fetch") return "Ask once and share the answer.";
  if (finding == "loop-block") return "Split the callback that held the lane, or move it to another thread.";
  if (finding == "cache-miss") return "Find out why the cache missed: key, lifetime, or a first use.";
  switch (cause) {
    case GapCause::kNetwork: return "Start it earlier, or do other work meanwhile; cache the answer if it may be.";
    case GapCause::kStorage: return "Read in one call what is read in several, or start the read earlier.";
    case GapCause::kCache: return "A cache that is slow to answer is asked in parallel with what it caches.";
    case GapCause::kTimer: return "The program chose to wait: is the delay needed, and on this path?";
    case GapCause::kStream: return "The other end was slow, or the buffer small: read ahead, or pipe without touching the data.";
    case GapCause::kSocket: return "Keep the connection open, or connect before it is needed.";
    case GapCause::kQueue: return "Do not await what need not be confirmed before the answer.";
    case GapCause::kCrypto: return "Start it earlier, or keep the result.";
    case GapCause::kAi: return "Stream the result, or ask for less of it.";
    case GapCause::kLock: return "Hold the lock for less long, or not across an await.";
    case GapCause::kOutside: return "Name the operation in the trace to learn what was awaited.";
    case GapCause::kPromises: return "Other requests' callbacks led here: look at what they share.";
    case GapCause::kScheduling: return "It was ready and did not run: see what held the lane.";
    case GapCause::kPaused: return "The collector had the lane: allocate less, or give it a larger heap.";
    case GapCause::kTail: return "Nothing recorded explains the end: say when the response is sent.";
    case GapCause::kUnknown: return "Record causes (wakes, settles) to learn what was awaited.";
  }
  return {};
}

}  // namespace THENCE_ABI
}  // namespace thence
