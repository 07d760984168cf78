// SPDX-License-Identifier: MIT
// scheduling_findings.hpp: what the numbers of scheduling.hpp mean: build-up, inversion, CPU-bound, imbalance, self-wakes, lost wakes,
// and what never yields.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/durations.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/analysis/scheduling_measures.hpp"
#include "thence/analysis/scheduling_result.hpp"
#include "thence/analysis/scheduling_settings.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// Adds the findings to what was measured.
class SchedulingFindings {
 public:
  /// Of what was measured of the rest, which outlives it.
  SchedulingFindings(SchedulingMeasures& measured, const Execution& run, const Locations& where, const Coverage& coverage)
      : measured_(measured),
        result_(measured.result),
        run_(run),
        model_(run.model),
        where_(where),
        coverage_(coverage),
        settings_(run.settings.scheduling) {}

  void add() {
    diagnose_build_up();
    diagnose_inversion();
    diagnose_cpu_bound();
    diagnose_imbalance();
    diagnose_self_wakes();
    diagnose_lost_wakes();
    diagnose_never_yielded();
    for (Finding& found : result_.findings) finish(model_, found);
    sort_findings(model_, result_.findings);
  }

 private:
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  static constexpr std::uint64_t kUnknown = SchedulingMeasures::kUnknown;

  [[nodiscard]] static std::string number_text(std::uint64_t value) { return report::number_text(value); }
  [[nodiscard]] static std::string duration_text(std::uint64_t ns) { return report::duration_text(ns); }
  [[nodiscard]] std::string lane_text(std::uint32_t lane) const { return report::lane_text(model_, lane); }
  [[nodiscard]] const std::string& place(std::uint32_t location) const noexcept { return where_.entries[location].text; }
  void set_location(Finding& found, std::uint32_t location) const {
    found.location = where_.entries[location].frame;
    found.mute_key = found.id;
    found.mute_key += '|';
    found.mute_key += place(location);
  }
  /// Of many of a kind the first few; the last one of them says how many more there are.
  void keep(std::vector<Finding>& found) {
    for (Finding& one : found) finish(model_, one);
    sort_findings(model_, found);
    const std::size_t kept = std::min<std::size_t>(found.size(), settings_.findings_a_kind);
    if (kept != 0 && kept < found.size()) found[kept - 1].says("more of this kind", Evidence::Unit::kCount, found.size() - kept);
    for (std::size_t at = 0; at < kept; ++at) result_.findings.push_back(std::move(found[at]));
  }

  void diagnose_build_up() {
    std::vector<Finding> all;
    std::vector<std::uint64_t> scratch;
    std::vector<std::uint64_t> time_at(where_.entries.size(), 0);
    for (const Scheduling::Lane& lane : result_.lanes) {
      const auto rows = run_.on_lane[lane.lane];
      Finding open;
      std::uint64_t worst_p99 = 0, worst_depth = 0, busy = 0;
      std::size_t first_row = 0;
      const auto close = [&](std::size_t end_row) {
        if (open.id.empty()) return;
        const bool high = open.severity == Severity::kHigh;
        std::uint32_t busiest = kNone, longest = kNone;
        for (std::size_t n = first_row; n < end_row; ++n) {
          const std::uint32_t at = rows[n], location = measured_.location_of(at);
          time_at[location] += run_.self[at];
          if (busiest == kNone || time_at[location] > time_at[busiest]) busiest = location;
          if (longest == kNone || run_.self[at] > run_.self[longest]) longest = at;
        }
        const std::uint64_t most = busiest == kNone ? 0 : time_at[busiest];
        for (std::size_t n = first_row; n < end_row; ++n) time_at[measured_.location_of(rows[n])] = 0;
        const std::uint64_t span = open.end_ns - open.start_ns;
        const std::uint32_t share = report::permille(busy, span);
        open.summary = lane_text(lane.lane) + " had up to " + number_text(worst_depth) + " waiting and a p99 delay of " +
                       duration_text(worst_p99) + " in " + duration_text(span) + ", " + number_text((share + 5) / 10) + " % busy";
        open.says("p99 delay", Evidence::Unit::kNanoseconds, worst_p99);
        open.says("queue", Evidence::Unit::kCount, worst_depth);
        open.says("lane busy", Evidence::Unit::kPermille, share);
        if (!measured_.global_queue.empty()) open.says("shared queue", Evidence::Unit::kCount, global_most(open.start_ns, open.end_ns));
        open.advice = high ? "More work is made ready here than one lane can run: spread it over the lanes, or shorten the runs of the location named."
                           : "Callbacks wait for the lane here: worth a look before the load grows.";
        open.confidence = lane.depths_recorded && !measured_.global_queue.empty() ? Confidence::kHigh : Confidence::kMedium;
        if (longest != kNone) {
          open.resources = {run_.resource_of(longest)};
          open.invocations = {longest};
        }
        if (busiest != kNone) {
          set_location(open, busiest);
          open.says("ran most", place(busiest));
          open.says("ran most for", Evidence::Unit::kNanoseconds, most);
        }
        all.push_back(std::move(open));
        open = {};
      };
      const auto& queue = measured_.queue_of_lane[lane.lane];
      std::size_t begin = 0, next_depth = 0;
      while (begin < rows.size()) {
        // A window lasts its time at least, and until it has runs enough for a p99.
        const std::uint64_t from = run_.start(rows[begin]);
        std::size_t end = begin;
        scratch.clear();
        std::uint64_t depth = 0;
        while (end < rows.size() && (run_.start(rows[end]) - from < settings_.window_ns || scratch.size() < settings_.window_min_runs)) {
          if (measured_.delay[rows[end]] != kUnknown) scratch.push_back(measured_.delay[rows[end]]);
          if (measured_.depth[rows[end]] != kNone) depth = std::max<std::uint64_t>(depth, measured_.depth[rows[end]]);
          ++end;
        }
        const std::uint64_t to = end < rows.size() ? run_.start(rows[end]) : std::max(run_.end(rows[end - 1]), from + 1);
        while (next_depth < queue.size() && queue[next_depth].time < to) {
          if (queue[next_depth].time >= from) depth = std::max(depth, queue[next_depth].value);
          ++next_depth;
        }
        const std::uint64_t p99 = durations_of(scratch).p99.value_or(0);
        const std::uint64_t ran = run_.busy(lane.lane, from, to);
        Severity severity = Severity::kNote;
        if (p99 > settings_.look_p99_ns || depth > settings_.look_queue) severity = Severity::kLow;
        if (p99 > settings_.build_up_p99_ns && depth > settings_.build_up_queue &&
            report::permille(ran, to - from) > settings_.build_up_busy_percent * 10 && global_most(from, to) == 0) {
          severity = Severity::kHigh;
        }
        if (!open.id.empty() && open.severity != severity) close(begin);
        if (severity != Severity::kNote) {
          if (open.id.empty()) {
            open.id = "queue-build-up";
            open.severity = severity;
            open.lane = lane.lane < model_.lanes.size() ? lane.lane : kNone;
            open.start_ns = from;
            worst_p99 = worst_depth = busy = 0;
            first_row = begin;
          }
          open.end_ns = to;
          worst_p99 = std::max(worst_p99, p99);
          worst_depth = std::max(worst_depth, depth);
          busy += ran;
        }
        begin = end;
      }
      close(rows.size());
    }
    keep(all);
  }
  /// The longest that the shared queue was; 0 where nobody counted it.
  [[nodiscard]] std::uint64_t global_most(std::uint64_t from, std::uint64_t to) const noexcept {
    auto at = std::lower_bound(measured_.global_queue.begin(), measured_.global_queue.end(), from,
                               [](const SchedulingMeasures::Step& step, std::uint64_t time) { return step.time < time; });
    std::uint64_t most = 0;
    for (; at != measured_.global_queue.end() && at->time < to; ++at) most = std::max(most, at->value);
    return most;
  }

  [[nodiscard]] static bool priority_of_note(const TraceModel::Note& note, std::int32_t& priority) noexcept {
    if (note.kind == ValueKind::kString) {
      if (note.text == "background" || note.text == "low") priority = 0;
      else if (note.text == "normal" || note.text == "default") priority = 1;
      else if (note.text == "high") priority = 2;
      else if (note.text == "critical") priority = 3;
      else return false;
      return true;
    }
    if (note.kind == ValueKind::kInt || note.kind == ValueKind::kUint) {
      const auto value = static_cast<std::int64_t>(note.bits);
      priority = static_cast<std::int32_t>(std::clamp<std::int64_t>(value, -1'000'000, 1'000'000));
      return true;
    }
    return false;
  }

  void diagnose_inversion() {
    if (measured_.delayed.empty()) return;
    std::vector<std::int32_t> priority(model_.resources(), 0);
    std::vector<std::int32_t> of_location(where_.entries.size(), 0);
    std::vector<bool> by_location(where_.entries.size(), false);
    for (std::size_t entry = 0; entry < where_.entries.size(); ++entry) {
      for (const LocationPriority& rule : settings_.priorities) {
        if (rule.contains.empty() || where_.entries[entry].text.find(rule.contains) == std::string::npos) continue;
        of_location[entry] = rule.priority;
        by_location[entry] = true;
        break;
      }
    }
    std::vector<std::int32_t> noted(model_.resources(), 0);
    std::vector<bool> has_note(model_.resources(), false);
    for (const TraceModel::Note& note : model_.notes) {
      if (model_.text(note.key) != "priority") continue;
      std::int32_t value = 0;
      if (!priority_of_note(note, value)) continue;
      noted[note.resource] = value;
      has_note[note.resource] = true;
    }
    std::vector<bool> told(model_.resources(), false);
    std::vector<std::int32_t> levels;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const std::uint32_t parent = run_.normal.parent[row];
      if (has_note[row]) {
        priority[row] = noted[row];
        told[row] = true;
      } else if (by_location[where_.of[row]]) {
        priority[row] = of_location[where_.of[row]];
        told[row] = true;
      } else if (parent != kNone && told[parent]) {
        priority[row] = priority[parent];
        told[row] = true;
      } else {
        priority[row] = run_.request[row] == kNone ? 0 : 1;
      }
      if (model_.invocations_of(row).empty()) continue;
      const auto place_of = std::lower_bound(levels.begin(), levels.end(), priority[row]);
      if ((place_of == levels.end() || *place_of != priority[row]) && levels.size() < 64) levels.insert(place_of, priority[row]);
    }
    if (levels.size() < 2) return;

    RowIndex by_lane;
    by_lane.build(run_.lanes(), measured_.delayed.size(), [&](std::uint32_t n) { return run_.lane[measured_.delayed[n]]; });
    struct Case {
      std::uint32_t location = kNone;
      std::uint64_t count = 0;
      std::uint64_t ns = 0;
      std::uint32_t worst = kNone;
      std::uint64_t worst_ns = 0;
    };
    std::vector<Case> cases(where_.entries.size());
    std::vector<std::uint64_t> below;
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (by_lane[lane].empty()) continue;
      const auto segments = run_.segments_of(lane);
      for (std::size_t level = 1; level < levels.size(); ++level) {
        below.assign(segments.size() + 1, 0);
        bool filled = false;
        for (const std::uint32_t n : by_lane[lane]) {
          const std::uint32_t at = measured_.delayed[n];
          if (priority[run_.resource_of(at)] != levels[level]) continue;
          if (!filled) {
            for (std::size_t s = 0; s < segments.size(); ++s) {
              const bool less = priority[run_.resource_of(segments[s].owner)] < levels[level];
              below[s + 1] = below[s] + (less ? segments[s].end - segments[s].start : 0);
            }
            filled = true;
          }
          const auto until = [&](std::uint64_t time) {
            const std::size_t s = run_.segment_after(lane, time) - run_.segment_first[lane];
            if (s == segments.size() || time <= segments[s].start || below[s + 1] == below[s]) return below[s];
            return below[s] + (time - segments[s].start);
          };
          const std::uint64_t lost = until(run_.start(at)) - until(run_.ready[at]);
          if (lost * 100 <= measured_.delay[at] * settings_.inversion_percent) continue;
          Case& one = cases[measured_.location_of(at)];
          one.location = measured_.location_of(at);
          ++one.count;
          one.ns += lost;
          if (one.worst == kNone || lost > one.worst_ns || (lost == one.worst_ns && at < one.worst)) {
            one.worst = at;
            one.worst_ns = lost;
          }
        }
      }
    }
    std::vector<Finding> all;
    for (const Case& one : cases) {
      if (one.count == 0) continue;
      const std::uint32_t lane = run_.lane[one.worst];
      // Who of the less important held the lane for longest, in the worst case.
      std::uint32_t blocker = kNone;
      std::uint64_t blocker_ns = 0;
      const std::uint64_t from = run_.ready[one.worst], to = run_.start(one.worst);
      for (std::uint32_t s = run_.segment_after(lane, from); s < run_.segment_first[lane + 1] && run_.segments[s].start < to; ++s) {
        const Execution::Segment& segment = run_.segments[s];
        if (priority[run_.resource_of(segment.owner)] >= priority[run_.resource_of(one.worst)]) continue;
        const std::uint64_t ns = std::min(segment.end, to) - std::max(segment.start, from);
        if (ns > blocker_ns) {
          blocker_ns = ns;
          blocker = segment.owner;
        }
      }
      Finding found;
      found.id = "priority-inversion";
      found.severity = Severity::kHigh;
      found.confidence = Confidence::kHigh;
      found.lane = lane < model_.lanes.size() ? lane : kNone;
      found.start_ns = from;
      found.end_ns = to;
      found.request = run_.request[run_.resource_of(one.worst)];
      found.resources = {run_.resource_of(one.worst)};
      found.invocations = {one.worst};
      if (blocker != kNone) {
        found.resources.push_back(run_.resource_of(blocker));
        found.invocations.push_back(blocker);
        set_location(found, measured_.location_of(blocker));
      }
      found.summary = place(one.location) + " waited " + duration_text(measured_.delay[one.worst]) + " while less important work ran";
      if (blocker != kNone) found.summary += ", of it " + duration_text(blocker_ns) + " in " + place(measured_.location_of(blocker));
      found.says("delayed", Evidence::Unit::kCount, one.count);
      found.says("lost to less important work", Evidence::Unit::kNanoseconds, one.ns);
      found.says("worst delay", Evidence::Unit::kNanoseconds, measured_.delay[one.worst]);
      found.says("delayed location", place(one.location));
      found.advice = "Run the background work on lanes of its own, or let it yield more often.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_cpu_bound() {
    std::uint64_t busy = 0;
    for (const Scheduling::Lane& lane : result_.lanes) busy += lane.busy_ns;
    std::vector<Finding> all;
    for (const Scheduling::Location& is : result_.locations) {
      if (is.runs < settings_.cpu_bound_min_runs || is.busy_ns / is.runs <= settings_.cpu_bound_run_ns) continue;
      if (is.delays.n != 0 && is.delays.p50 > settings_.cpu_bound_delay_ns) continue;
      if (report::permille(is.busy_ns, busy) < settings_.cpu_bound_min_percent * 10) continue;
      std::uint64_t on = 0, off = 0;
      std::uint32_t stack = kNone;
      for (const Scheduling::SampleGroup& group : result_.samples) {
        if (group.location != is.location || group.state != Scheduling::SampleState::kRunning) continue;
        (group.kind == SampleKind::kCpu ? on : off) += group.count;
        if (group.kind == SampleKind::kCpu && stack == kNone) stack = group.stack;
      }
      Finding found;
      found.id = "cpu-bound";
      found.severity = Severity::kMedium;
      // Samples of it off the processor say that it rather blocks; without any sample nobody knows.
      found.confidence = off > on && on + off >= 10 ? Confidence::kLow : on >= 10 ? Confidence::kHigh : Confidence::kMedium;
      set_location(found, is.location);
      std::uint32_t longest = kNone;
      for (const std::uint32_t at : measured_.at_location[is.location]) {
        if (longest == kNone || run_.self[at] > run_.self[longest]) longest = at;
      }
      found.resources = {run_.resource_of(longest)};
      found.invocations = {longest};
      found.start_ns = run_.start(longest);
      found.end_ns = run_.end(longest);
      found.summary = place(is.location) + " ran " + number_text(is.runs) + " times for " + duration_text(is.busy_ns / is.runs) +
                      " on average, " + duration_text(is.busy_ns) + " in all";
      found.says("runs", Evidence::Unit::kCount, is.runs);
      found.says("mean run", Evidence::Unit::kNanoseconds, is.busy_ns / is.runs);
      found.says("longest run", Evidence::Unit::kNanoseconds, run_.self[longest]);
      found.says("of busy time", Evidence::Unit::kPermille, report::permille(is.busy_ns, busy));
      if (is.delays.n != 0) found.says("median delay", Evidence::Unit::kNanoseconds, is.delays.p50);
      if (on + off != 0) {
        found.says("samples on the processor", Evidence::Unit::kCount, on);
        found.says("samples off the processor", Evidence::Unit::kCount, off);
      }
      if (stack != kNone && model_.stacks[stack].count != 0) {
        found.says("most sampled", location_text(model_, model_.frames_of(stack).front()));
      }
      found.advice = "This computes rather than waits: move it to a pool for computation, or cut it into pieces that yield.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_imbalance() {
    std::vector<Finding> all;
    for (const Scheduling::Pool& pool : result_.pools) {
      if (pool.lanes.size() < 2 || pool.most_permille - pool.least_permille <= settings_.imbalance_percent * 10) continue;
      std::uint64_t from = kUnknown, to = 0;
      std::uint32_t most = pool.lanes.front(), least = pool.lanes.front();
      for (const std::uint32_t at : pool.lanes) {
        from = std::min(from, result_.lanes[at].first_ns);
        to = std::max(to, result_.lanes[at].last_ns);
        if (result_.lanes[at].busy_ns > result_.lanes[most].busy_ns) most = at;
        if (result_.lanes[at].busy_ns < result_.lanes[least].busy_ns) least = at;
      }
      if (to - from < settings_.imbalance_min_ns) continue;
      Finding found;
      found.id = "imbalance";
      found.severity = Severity::kMedium;
      found.confidence = coverage_.lost_within(from, to) == 0 ? Confidence::kHigh : Confidence::kLow;
      found.lane = result_.lanes[most].lane;
      found.start_ns = from;
      found.end_ns = to;
      found.summary = lane_text(result_.lanes[most].lane) + " was busy " + number_text((pool.most_permille + 5) / 10) + " % of the time, " +
                      lane_text(result_.lanes[least].lane) + " " + number_text((pool.least_permille + 5) / 10) + " %";
      found.says("lanes", Evidence::Unit::kCount, pool.lanes.size());
      found.says("busiest", Evidence::Unit::kPermille, pool.most_permille);
      found.says("idlest", Evidence::Unit::kPermille, pool.least_permille);
      // What the busiest lane ran most.
      std::vector<std::uint64_t> time_at(where_.entries.size(), 0);
      std::uint32_t busiest = kNone;
      for (const std::uint32_t at : run_.on_lane[result_.lanes[most].lane]) {
        const std::uint32_t location = measured_.location_of(at);
        time_at[location] += run_.self[at];
        if (busiest == kNone || time_at[location] > time_at[busiest]) busiest = location;
      }
      if (busiest != kNone) {
        found.says("ran most", place(busiest));
        found.location = where_.entries[busiest].frame;
      }
      found.mute_key = std::string("imbalance|") + pool.name;
      found.advice = "Work stays on the lane that made it: spread what the busiest lane runs, or let idle lanes take it.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_self_wakes() {
    std::vector<Finding> all;
    for (const Scheduling::Location& is : result_.locations) {
      if (is.self_wakes < settings_.self_wake_min || is.self_wakes * 100 <= is.runs * settings_.self_wake_percent) continue;
      Finding found;
      found.id = "self-wakes";
      found.severity = Severity::kMedium;
      found.confidence = Confidence::kHigh;
      set_location(found, is.location);
      std::uint32_t most = kNone;
      std::uint64_t most_count = 0, count = 0;
      std::uint32_t last = kNone;
      // The resource with the most of them: its runs need not be next to each other.
      std::vector<std::uint32_t> woken;
      for (const std::uint32_t at : measured_.at_location[is.location]) {
        const std::uint32_t wake = model_.invocations[at].wake;
        if (wake != kNone && model_.wakes[wake].by == run_.resource_of(at)) woken.push_back(run_.resource_of(at));
      }
      std::sort(woken.begin(), woken.end());
      for (const std::uint32_t row : woken) {
        count = row == last ? count + 1 : 1;
        last = row;
        if (count > most_count) {
          most_count = count;
          most = row;
        }
      }
      if (most != kNone) found.resources = {most};
      found.start_ns = model_.first_time;
      found.end_ns = model_.last_time;
      found.summary = place(is.location) + " woke itself for " + number_text(is.self_wakes) + " of its " + number_text(is.runs) + " runs";
      found.says("self-wakes", Evidence::Unit::kCount, is.self_wakes);
      found.says("runs", Evidence::Unit::kCount, is.runs);
      found.says("mean run", Evidence::Unit::kNanoseconds, is.busy_ns / is.runs);
      found.says("most of one task", Evidence::Unit::kCount, most_count);
      found.advice = "A task that wakes itself polls: let it wait for what it polls for, or do more in each run.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_lost_wakes() {
    std::vector<Finding> all;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      if (!run_.open(row)) continue;
      const auto runs = model_.invocations_of(row);
      if (!runs.empty() && (runs_once(static_cast<TypeId>(model_.type[row])) || !model_.invocations[runs.back()].ended)) continue;
      const std::uint64_t ran = runs.empty() ? 0 : run_.end(runs.back());
      const auto wakes = model_.wakes_by_resource[row];
      std::uint64_t since = kUnknown;
      std::uint32_t waker = kNone;
      Confidence confidence = Confidence::kHigh;
      if (!wakes.empty()) {
        const TraceModel::Wake& last = model_.wakes[wakes.back()];
        if (last.invocation == kNone && (runs.empty() || last.time > run_.start(runs.back()))) {
          since = std::max(last.time, ran);
          waker = last.by;
        }
      } else if (runs.empty() && model_.has(row, ResourceFlag::kCreated)) {
        // Everything that it awaits is settled, and nobody has run it.
        std::uint64_t settled = 0;
        bool any = false, every = true;
        for (const std::uint32_t link : model_.links_by_effect[row]) {
          if (model_.links[link].kind != LinkKind::kAwaits) continue;
          const std::uint32_t of = model_.links[link].cause;
          any = true;
          if (of == kNone || !run_.settle_known[of]) {
            every = false;
            break;
          }
          settled = std::max({settled, run_.settled[of], model_.links[link].time});
        }
        if (any && every) {
          since = settled;
          confidence = Confidence::kMedium;
        }
      }
      // After its request's end nobody would have recorded its run.
      const std::uint64_t until = run_.request[row] == kNone ? model_.last_time : run_.requests[run_.request[row]].end;
      if (since == kUnknown || since >= until || until - since <= settings_.lost_wake_ns) continue;
      if (coverage_.lost_within(since, until) != 0) confidence = Confidence::kLow;
      Finding found;
      found.id = "lost-wake";
      found.severity = Severity::kHigh;
      found.confidence = confidence;
      found.request = run_.request[row];
      found.start_ns = since;
      found.end_ns = until;
      found.resources = {row};
      if (waker != kNone) found.resources.push_back(waker);
      set_location(found, where_.of[row]);
      found.summary = place(where_.of[row]) + " was made ready and never ran in the " + duration_text(until - since) + " that followed";
      found.says("waited", Evidence::Unit::kNanoseconds, until - since);
      found.advice = "Its wake went to nobody: look for a waker that is dropped, a queue that is not drained, or a lane that stopped.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_never_yielded() {
    // Only a type that is seen to be suspended and resumed can fail to.
    std::vector<bool> resumes(model_.type_names.size() + 1, false);
    const auto type_of = [&](std::uint32_t row) {
      return model_.has(row, ResourceFlag::kCreated) ? std::min<std::size_t>(model_.type[row], model_.type_names.size())
                                                     : model_.type_names.size();
    };
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      if (model_.invocations_of(row).size() > 1) resumes[type_of(row)] = true;
    }
    std::vector<Finding> all;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const auto runs = model_.invocations_of(row);
      if (runs.size() != 1 || !model_.has(row, ResourceFlag::kCreated) || !resumes[type_of(row)]) continue;
      const std::uint32_t at = runs.front();
      if (run_.is_span(at) || run_.self[at] <= settings_.never_yielded_ns || run_.class_of(row) == TypeClass::kRoot) continue;
      const bool done = run_.settle_known[row] || model_.has(row, ResourceFlag::kDestroyed);
      if (!done && model_.invocations[at].ended) continue;  // it did yield, and waits
      Finding found;
      found.id = "never-yielded";
      found.severity = Severity::kMedium;
      found.confidence = model_.invocations[at].ended ? Confidence::kHigh : Confidence::kMedium;
      found.request = run_.request[row];
      found.lane = run_.lane[at] < model_.lanes.size() ? run_.lane[at] : kNone;
      found.start_ns = run_.start(at);
      found.end_ns = run_.end(at);
      found.resources = {row};
      found.invocations = {at};
      set_location(found, where_.of[row]);
      found.summary = place(where_.of[row]) + " ran for " + duration_text(run_.self[at]) + " from its first moment to its last without a break";
      found.says("ran", Evidence::Unit::kNanoseconds, run_.self[at]);
      found.advice = "It held its lane from beginning to end: let it yield, or run it on a pool for blocking work.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  const SchedulingMeasures& measured_;
  Scheduling& result_;
  const Execution& run_;
  const TraceModel& model_;
  const Locations& where_;
  const Coverage& coverage_;
  const SchedulingSettings& settings_;
};

}  // namespace detail

}  // namespace THENCE_ABI
}  // namespace thence
