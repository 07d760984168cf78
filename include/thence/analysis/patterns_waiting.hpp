// SPDX-License-Identifier: MIT
// patterns_waiting.hpp: silences that are long, and timers that are one too many.
//
//   long-gap         nothing of the request ran for long                           (7, medium)
//   redundant-timer  timers of one place for one time, or made again and again     (11, low)
// Definitions: docs/analyses.md.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/characters.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/patterns_loop.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

inline void find_long_gaps(const PatternContext& in, std::vector<Finding>& out) {
  for (std::uint32_t request = 0; request < in.run.requests.size(); ++request) {
    const std::uint64_t whole = in.run.requests[request].duration();
    for (const Gap& gap : in.gaps.of(request)) {
      const std::uint64_t length = gap.length();
      const bool is_long = length > in.settings.long_gap_ns ||
                           (length > in.settings.long_gap_share_ns && length * 100 > whole * in.settings.long_gap_percent);
      if (!is_long || gap.kind == GapKind::kWhole) continue;
      std::vector<std::uint32_t> resources;
      if (gap.operation != TraceModel::kNone) {
        resources.push_back(in.run.unit[gap.operation]);
      } else if (gap.ended_by != TraceModel::kNone) {
        resources.push_back(in.run.unit[in.run.resource_of(gap.ended_by)]);
      } else if (in.run.requests[request].resource != TraceModel::kNone) {
        resources.push_back(in.run.requests[request].resource);
      }
      Finding made = in.finding("long-gap", Severity::kMedium,
                                gap.guessed || gap.cause == GapCause::kUnknown ? Confidence::kLow : Confidence::kHigh, resources);
      made.request = request;
      made.start_ns = gap.start;
      made.end_ns = gap.end;
      if (gap.operation != TraceModel::kNone) in.saves(made, std::min(length, in.on_path[in.run.unit[gap.operation]]));
      made.says("idle", Evidence::Unit::kNanoseconds, length);
      made.says("share", Evidence::Unit::kPermille, report::permille(length, whole));
      made.says("ended by", word(gap.cause));
      if (gap.foreign_ns != 0) made.says("others ran", Evidence::Unit::kNanoseconds, gap.foreign_ns);
      made.says("in flight", Evidence::Unit::kCount, gap.in_flight);
      made.summary = "Nothing of the request ran for " + report::duration_text(length) + " (" +
                     report::percent_text(report::permille(length, whole)) + "); what ended it: " +
                     (gap.operation != TraceModel::kNone
                          ? std::string(in.model.type_name(gap.operation)) + " of " + in.location_name(in.run.unit[gap.operation])
                          : std::string(word(gap.cause))) + ".";
      made.advice = gap.cause == GapCause::kTimer ? std::string_view("Is this pause needed? Wait for the event itself, not for a time.")
                    : gap.foreign_ns * 2 > length ? std::string_view("Others had the loop: see what they ran.")
                                                  : std::string_view("Begin it earlier, do something else meanwhile, or make it faster.");
      out.push_back(std::move(made));
    }
  }
}

namespace detail {

/// `50`, `50ms`, `1.5 s` in ns; a bare number is milliseconds. False: none.
[[nodiscard]] inline bool delay_of(const TraceModel::Note* note, std::uint64_t& ns) noexcept {
  if (note == nullptr) return false;
  if (note->kind == ValueKind::kString) {
    std::uint64_t whole = 0;
    std::uint64_t thousandths = 0;
    std::uint64_t scale = 1000;
    std::size_t at = 0;
    bool any = false;
    bool fraction = false;
    for (; at < note->text.size() && (is_digit(note->text[at]) || (note->text[at] == '.' && !fraction)); ++at) {
      if (note->text[at] == '.') {
        fraction = true;
      } else if (!fraction) {
        if (whole > std::uint64_t{1'000'000'000'000}) return false;
        whole = whole * 10 + static_cast<std::uint64_t>(note->text[at] - '0');
        any = true;
      } else if (scale > 1) {
        scale /= 10;
        thousandths += scale * static_cast<std::uint64_t>(note->text[at] - '0');
      }
    }
    while (at < note->text.size() && note->text[at] == ' ') ++at;
    const std::string_view unit = note->text.substr(at);
    const std::uint64_t one = unit == "us" ? 1'000 : unit.empty() || unit == "ms" ? 1'000'000 : unit == "s" ? 1'000'000'000 : 0;
    if (!any || one == 0 || whole > ~std::uint64_t{0} / 2 / one) return false;
    ns = whole * one + thousandths * (one / 1000);
    return true;
  }
  std::uint64_t value = 0;
  if (note->kind == ValueKind::kDouble) {
    const double real = TraceModel::value_of(*note).real;
    if (!(real >= 0) || real > 1e12) return false;
    ns = static_cast<std::uint64_t>(real * 1e6);
    return true;
  }
  if (!number_of_note(note, value) || value > std::uint64_t{1'000'000'000'000}) return false;
  ns = value * 1'000'000;
  return true;
}

}  // namespace detail

inline void find_redundant_timers(const PatternContext& in, std::vector<Finding>& out) {
  struct Timer {
    std::uint32_t request;
    std::uint32_t stack;      // equal: the same code, callers and all
    bool annotated;
    std::uint64_t delay;
    std::uint32_t unit;
    std::uint64_t end;        // when it fired or was cancelled
    bool ended;
    bool cancelled;
  };
  std::vector<Timer> timers;
  for (const std::uint32_t unit : in.operations) {
    if (in.class_of(unit) != TypeClass::kTimer || in.stack_key(unit) == 0) continue;
    if (in.note_text(unit, PatternContext::kType) == "setInterval" || in.units.callbacks[unit] > 1) continue;
    Timer timer{in.request_number(unit), in.stack_key(unit), false, 0, unit, 0, false, false};
    timer.annotated = detail::delay_of(in.note(unit, PatternContext::kDelay), timer.delay);
    timer.ended = in.completed(unit) || in.units.destroyed[unit];
    timer.end = in.completion(unit);
    timer.cancelled = in.model.outcome(unit) == Outcome::kCancelled || (!in.completed(unit) && in.units.destroyed[unit]);
    if (!timer.annotated) {
      if (!timer.ended || timer.cancelled) continue;  // how long it was to wait is not known
      timer.delay = timer.end - in.units.created[unit];
    }
    timers.push_back(timer);
  }
  std::sort(timers.begin(), timers.end(), [&](const Timer& a, const Timer& b) {
    if (a.request != b.request) return a.request < b.request;
    if (a.stack != b.stack) return a.stack < b.stack;
    if (a.annotated != b.annotated) return b.annotated;
    if (a.annotated && a.delay != b.delay) return a.delay < b.delay;
    if (in.units.created[a.unit] != in.units.created[b.unit]) return in.units.created[a.unit] < in.units.created[b.unit];
    return in.model.id[a.unit] < in.model.id[b.unit];
  });
  const auto report_timers = [&](const std::vector<std::uint32_t>& units, std::uint64_t delay, bool again) {
    Finding made = in.finding("redundant-timer", Severity::kLow, Confidence::kMedium, units);
    made.says("timers", Evidence::Unit::kCount, units.size());
    made.says("delay", Evidence::Unit::kNanoseconds, delay);
    made.says("cancelled and made again", Evidence::Unit::kCount, again ? 1 : 0);
    made.summary = report::number_text(units.size()) + " timers of " + report::duration_text(delay) + " at " + in.location_name(units.front()) +
                   (again ? " were cancelled and made again before they could fire." : " run at the same time.");
    made.advice = again ? "Keep one timer and move its time, or note the time and look at it when the timer fires."
                        : "One timer can serve them all.";
    out.push_back(std::move(made));
  };
  for (std::size_t at = 0; at < timers.size();) {
    std::size_t end = at;
    while (end < timers.size() && timers[end].request == timers[at].request && timers[end].stack == timers[at].stack &&
           timers[end].annotated == timers[at].annotated && (!timers[at].annotated || timers[end].delay == timers[at].delay)) {
      ++end;
    }
    // From each that is not in a crowd yet: those that begin within the window and run beside it.
    std::vector<bool> taken(end - at, false);
    for (std::size_t first = at; first < end; ++first) {
      const Timer& one = timers[first];
      if (taken[first - at] || !one.ended || one.cancelled) continue;
      std::vector<std::uint32_t> crowd{one.unit};
      std::vector<std::size_t> places{first};
      for (std::size_t n = first + 1; n < end; ++n) {
        const Timer& other = timers[n];
        if (in.units.created[other.unit] - in.units.created[one.unit] > in.settings.redundant_timer_window_ns) break;
        if (taken[n - at] || !other.ended || other.cancelled) continue;
        const std::uint64_t apart = one.delay > other.delay ? one.delay - other.delay : other.delay - one.delay;
        const std::uint64_t slack = std::max(in.settings.redundant_timer_slack_ns, one.delay * in.settings.redundant_timer_slack_percent / 100);
        if (!one.annotated && apart > slack) continue;
        const std::uint64_t from = in.units.created[other.unit];
        const std::uint64_t to = std::min(one.end, other.end);
        const std::uint64_t both = to > from ? to - from : 0;
        const std::uint64_t shorter = std::min(one.end - in.units.created[one.unit], other.end - from);
        if (shorter == 0 || both * 100 < shorter * in.settings.redundant_timer_overlap_percent) continue;
        crowd.push_back(other.unit);
        places.push_back(n);
      }
      if (crowd.size() < std::max<std::size_t>(2, in.settings.redundant_timer_min)) continue;
      for (const std::size_t place : places) taken[place - at] = true;
      report_timers(crowd, one.delay, false);
    }
    // Cancelled, and the next one made before the first could have fired.
    std::vector<std::uint32_t> churn;
    for (std::size_t n = at; n <= end; ++n) {
      const bool goes_on = n < end && !churn.empty() && timers[n - 1].annotated &&
                           in.units.created[timers[n].unit] - in.units.created[churn.front()] <= timers[at].delay;
      if (!goes_on) {
        if (churn.size() > in.settings.timer_recreate_min) report_timers(churn, timers[at].delay, true);
        churn.clear();
      }
      if (n == end) break;
      if (churn.empty() ? timers[n].cancelled : (timers[n - 1].cancelled && in.units.created[timers[n].unit] >= timers[n - 1].end)) {
        churn.push_back(timers[n].unit);
      } else if (!churn.empty()) {
        if (churn.size() > in.settings.timer_recreate_min) report_timers(churn, timers[at].delay, true);
        churn.clear();
        if (timers[n].cancelled) churn.push_back(timers[n].unit);
      }
    }
    at = end;
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
