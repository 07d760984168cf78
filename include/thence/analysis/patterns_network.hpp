// SPDX-License-Identifier: MIT
// patterns_network.hpp: requests to others that wait for each other, repeat each other, or crowd each other.
//
//   sequential-fetch   one after the other where they could go together        (1, high)
//   duplicate-fetch    the same thing twice                                    (4, medium)
//   waterfall-fetch    a chain across functions that is a good part of it all  (6, medium)
//   fetch-concurrency  more at once to one origin than it takes                (9, medium)
// Definitions, and where they differ from the first ones and why: docs/analyses.md.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "thence/analysis/finding.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/trace_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Runs of network operations that were begun one after the other, by one function, with nothing but short callbacks in
/// between: each could have begun with the first. In order of their first one's creation.
struct SequentialRuns {
  std::vector<std::vector<std::uint32_t>> runs;  ///< units; of 2 and more
  std::vector<bool> in_run;                      ///< by resource
};

/// O(units + invocations).
[[nodiscard]] inline SequentialRuns sequential_runs(const PatternContext& in) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  SequentialRuns made;
  const std::uint32_t resources = in.model.resources();
  made.in_run.assign(resources, false);
  // How many network operations of one function an invocation made: two and more are a batch, meant to be together.
  std::vector<std::pair<std::uint64_t, std::uint32_t>> batches;
  for (const std::uint32_t unit : in.network) {
    const std::uint32_t by = in.run.creator[in.units.first[unit]];
    if (by != kNone) batches.push_back({std::uint64_t{by} << 32 | in.caller_of(unit), unit});
  }
  std::sort(batches.begin(), batches.end());
  std::vector<bool> batched(resources, false);
  for (std::size_t at = 1; at < batches.size(); ++at) {
    if (batches[at].first != batches[at - 1].first) continue;
    // A plain document's root is no callback: what it "created" may have come of many.
    if (in.run.is_span(static_cast<std::uint32_t>(batches[at].first >> 32))) continue;
    batched[batches[at].second] = batched[batches[at - 1].second] = true;
  }
  std::vector<std::uint32_t> next(resources, kNone);
  std::vector<std::uint32_t> before(resources, kNone);
  for (const std::uint32_t unit : in.network) {  // in order of creation: the earliest successor is taken
    const PatternContext::After& after = in.after[unit];
    const std::uint32_t from = after.unit;
    if (from == kNone || from == unit || in.class_of(from) != TypeClass::kNetwork || next[from] != kNone) continue;
    if (!in.run.same_request(from, unit) || !in.completed(from) || in.units.created[unit] < in.completion(from)) continue;
    if (after.exec_ns > in.settings.sequential_between_exec_ns) continue;
    if (in.caller_of(unit) == 0 || in.caller_of(unit) != in.caller_of(from)) continue;
    if (batched[unit] && batched[from]) continue;
    next[from] = unit;
    before[unit] = from;
  }
  for (const std::uint32_t unit : in.network) {
    if (before[unit] != kNone || next[unit] == kNone) continue;
    std::vector<std::uint32_t> run;
    for (std::uint32_t at = unit; at != kNone; at = next[at]) run.push_back(at);
    if (run.size() < std::max<std::size_t>(2, in.settings.sequential_min)) continue;
    if (run.size() == 2 && in.callee_of(run[0]) != in.callee_of(run[1])) continue;
    for (const std::uint32_t member : run) made.in_run[member] = true;
    made.runs.push_back(std::move(run));
  }
  return made;
}

namespace detail {

/// What operations that go one after the other would save by going together: all but the longest, as far as the time is on
/// the critical path. What the outside made for them and ended later (the body of an answer) is their time too.
[[nodiscard]] inline std::uint64_t saving_together(const PatternContext& in, const std::vector<std::uint32_t>& run) {
  std::uint64_t sum = 0;
  std::uint64_t longest = 0;
  std::uint64_t path = 0;
  for (const std::uint32_t unit : run) {
    std::uint64_t took = in.duration(unit), on_path = in.on_path[unit];
    for (const std::uint32_t part : in.run.normal.children[unit]) {
      if (in.run.made_for(part) != unit || !in.run.settle_known[part]) continue;
      took = std::max(took, in.run.settled[part] - in.run.created(unit));
      if (in.run.unit[part] != unit) on_path += in.on_path[in.run.unit[part]];
    }
    sum += took;
    longest = std::max(longest, took);
    path += std::min(on_path, took);
  }
  return std::min(sum - longest, path);
}

[[nodiscard]] inline std::uint64_t total_duration(const PatternContext& in, const std::vector<std::uint32_t>& units) {
  std::uint64_t sum = 0;
  for (const std::uint32_t unit : units) sum += in.duration(unit);
  return sum;
}

}  // namespace detail

inline void find_sequential_fetches(PatternContext& in, const SequentialRuns& sequential, std::vector<Finding>& out) {
  // The savings that are worth a replay, by request: those of the largest bounds.
  std::vector<std::uint32_t> replay(sequential.runs.size());
  for (std::uint32_t at = 0; at < replay.size(); ++at) replay[at] = at;
  std::vector<std::uint64_t> bounds;
  for (const auto& run : sequential.runs) bounds.push_back(detail::saving_together(in, run));
  std::sort(replay.begin(), replay.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t x = in.request_number(sequential.runs[a].front());
    const std::uint32_t y = in.request_number(sequential.runs[b].front());
    if (x != y) return x < y;
    return bounds[a] != bounds[b] ? bounds[a] > bounds[b] : a < b;
  });
  std::uint32_t of_request = 0;
  for (std::size_t at = 0; at < replay.size(); ++at) {
    const std::vector<std::uint32_t>& run = sequential.runs[replay[at]];
    const std::uint32_t request = in.request_number(run.front());
    of_request = at != 0 && request == in.request_number(sequential.runs[replay[at - 1]].front()) ? of_request + 1 : 0;
    bool same_stack = true;
    bool told = true;
    const TraceModel::Note* const first_url = in.note(run.front(), PatternContext::kUrl);
    const std::string pattern = first_url == nullptr ? std::string() : url_template(first_url->text);
    bool same_template = !pattern.empty();
    for (std::size_t n = 1; n < run.size(); ++n) {
      same_stack = same_stack && in.stack_key(run[n]) != 0 && in.stack_key(run[n]) == in.stack_key(run.front());
      told = told && in.after[run[n]].told;
      const TraceModel::Note* const url = in.note(run[n], PatternContext::kUrl);
      same_template = same_template && url != nullptr && url_template(url->text) == pattern;
    }
    Confidence confidence = same_stack || same_template ? Confidence::kHigh
                            : in.callee_of(run.front()) == in.callee_of(run.back()) ? Confidence::kMedium : Confidence::kLow;
    if (!told && confidence == Confidence::kHigh && !same_stack) confidence = Confidence::kMedium;
    Finding made = in.finding("sequential-fetch", Severity::kHigh, confidence, run);
    std::uint64_t bound = bounds[replay[at]];
    if (in.ideal != nullptr && made.request != TraceModel::kNone && bound != 0 && of_request < in.settings.savings_per_pattern) {
      const IdealSchedule::Run together[] = {run};
      const std::uint64_t now = in.ideal->bounds[made.request].dependency_ns;
      const std::uint64_t then = in.ideal->structural_bound(made.request, together);
      bound = std::min(bound, now > then ? now - then : 0);
      made.says("replayed", Evidence::Unit::kCount, 1);
    }
    in.saves(made, bound);
    const std::uint64_t sum = detail::total_duration(in, run);
    made.says("operations", Evidence::Unit::kCount, run.size());
    made.says("one after the other", Evidence::Unit::kNanoseconds, sum);
    std::uint64_t longest = 0;
    for (const std::uint32_t unit : run) longest = std::max(longest, in.duration(unit));
    made.says("longest", Evidence::Unit::kNanoseconds, longest);
    if (same_template) made.says("url", pattern);
    made.summary = report::number_text(run.size()) + " requests one after the other at " + in.location_name(run.front()) + " take " +
                   report::duration_text(sum) + "; the longest alone " + report::duration_text(longest) + ".";
    made.advice = "Start them together (Promise.all) unless each needs the one before, or ask for all in one request.";
    out.push_back(std::move(made));
  }
}

inline void find_duplicate_fetches(const PatternContext& in, std::vector<Finding>& out) {
  struct One {
    std::uint32_t request;
    std::uint32_t key;
    std::uint32_t unit;
  };
  std::vector<One> all;
  TextNumbers keys;
  TextNumbers told;  // what the annotations say, word for word: few texts, many fetches
  std::vector<std::uint32_t> key_of;
  std::string text;
  for (const std::uint32_t unit : in.network) {
    const TraceModel::Note* const url = in.note(unit, PatternContext::kUrl);
    text = url != nullptr && url->cut ? "cut" : "whole";
    for (const PatternContext::Key which :
         {PatternContext::kUrlHash, PatternContext::kUrl, PatternContext::kMethod, PatternContext::kVary, PatternContext::kRange}) {
      const std::string_view part = in.note_text(unit, which);
      const std::size_t size = part.size();  // so that no two lists of texts are one text
      text.append(reinterpret_cast<const char*>(&size), sizeof size).append(part);
    }
    const std::uint32_t number = told.number_of(text);
    if (number == key_of.size()) {
      const std::string method = in.method(unit);
      std::string key = method == "GET" || method == "HEAD" ? in.full_url(unit) : std::string();
      if (!key.empty()) {
        key += '\n';
        key += method;
        for (const PatternContext::Key which : {PatternContext::kVary, PatternContext::kRange}) {
          key += '\n';
          key += in.note_text(unit, which);
        }
      }
      key_of.push_back(key.empty() ? TraceModel::kNone : keys.number_of(key));
    }
    if (key_of[number] != TraceModel::kNone) all.push_back({in.request_number(unit), key_of[number], unit});
  }
  std::stable_sort(all.begin(), all.end(), [](const One& a, const One& b) {
    return a.request != b.request ? a.request < b.request : a.key < b.key;
  });
  for (std::size_t at = 0; at < all.size();) {
    std::size_t end = at + 1;
    while (end < all.size() && all[end].request == all[at].request && all[end].key == all[at].key) ++end;
    if (end - at >= std::max<std::size_t>(2, in.settings.duplicate_min)) {
      std::vector<std::uint32_t> same;
      std::uint64_t repeated = 0;
      std::uint64_t path = 0;
      for (std::size_t n = at; n < end; ++n) {
        same.push_back(all[n].unit);
        if (n == at) continue;
        repeated += in.duration(all[n].unit);
        path += in.on_path[all[n].unit];
      }
      Finding made = in.finding("duplicate-fetch", Severity::kMedium, Confidence::kHigh, same);
      in.saves(made, path);
      made.says("times", Evidence::Unit::kCount, same.size());
      made.says("repeated", Evidence::Unit::kNanoseconds, repeated);
      const std::string_view url = in.note_text(same.front(), PatternContext::kUrl);
      if (!url.empty()) made.says("url", url);
      made.summary = std::string(url.empty() ? std::string_view("The same resource") : url) + " is fetched " +
                     report::number_text(same.size()) + " times; all but the first take " + report::duration_text(repeated) + ".";
      made.advice = "Fetch it once and pass the result on, or keep the promise of the first fetch for those who ask again.";
      out.push_back(std::move(made));
    }
    at = end;
  }
}

/// Chains of network operations, each begun because of the completion of the one before, whatever else came in between.
inline void find_waterfalls(const PatternContext& in, const SequentialRuns& sequential, std::vector<Finding>& out) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  struct Step {
    std::uint32_t unit;
    std::uint32_t above = kNone;    // the nearest network operation up the chain of operations: a step
    std::uint32_t network = kNone;  // itself if it is one, else the one above; what belongs to a run of #1 cuts the chain
    std::uint32_t length = 0;       // network operations, itself and above
    std::uint64_t total = 0;        // that they took
    bool functions = false;         // there are two at least in the chain
    bool used = false;
  };
  std::vector<Step> steps;
  steps.reserve(in.operations.size());
  for (const std::uint32_t unit : in.operations) steps.push_back({.unit = unit});
  const auto earlier = [&](const Step& a, const Step& b) { return in.units.created[a.unit] < in.units.created[b.unit]; };
  if (!std::is_sorted(steps.begin(), steps.end(), earlier)) std::stable_sort(steps.begin(), steps.end(), earlier);
  std::vector<std::uint32_t> step_of(in.model.resources(), kNone);
  for (std::uint32_t at = 0; at < steps.size(); ++at) {
    Step& step = steps[at];
    const std::uint32_t unit = step.unit;
    step_of[unit] = at;
    const std::uint32_t from = in.after[unit].unit;
    const bool follows = from != kNone && from != unit && in.run.same_request(from, unit) && in.completed(from) &&
                         in.units.created[unit] >= in.completion(from);
    const std::uint32_t up = follows && step_of[from] != kNone ? steps[step_of[from]].network : kNone;
    if (in.class_of(unit) != TypeClass::kNetwork) {
      step.network = up;
      continue;
    }
    if (sequential.in_run[unit]) continue;
    step.network = at;
    step.above = up;
    step.length = 1 + (up == kNone ? 0 : steps[up].length);
    step.total = in.duration(unit) + (up == kNone ? 0 : steps[up].total);
    step.functions = up != kNone && (steps[up].functions || in.caller_of(unit) != in.caller_of(steps[up].unit));
  }
  // Of each request the heaviest first, and no operation in two.
  struct Leaf {
    std::uint32_t request;
    std::uint32_t step;
    std::uint64_t total;
  };
  std::vector<Leaf> leaves;
  for (std::uint32_t at = 0; at < steps.size(); ++at) {
    if (steps[at].length >= 2 && steps[at].functions) leaves.push_back({in.request_number(steps[at].unit), at, steps[at].total});
  }
  std::sort(leaves.begin(), leaves.end(), [&](const Leaf& a, const Leaf& b) {
    if (a.request != b.request) return a.request < b.request;
    if (a.total != b.total) return a.total > b.total;
    const std::uint32_t x = steps[a.step].unit, y = steps[b.step].unit;
    return in.units.created[x] != in.units.created[y] ? in.units.created[x] < in.units.created[y] : in.model.id[x] < in.model.id[y];
  });
  for (const Leaf& one : leaves) {
    const Step& leaf = steps[one.step];
    const std::uint64_t whole = in.request_time(leaf.unit);
    const bool many = leaf.length >= in.settings.waterfall_min && leaf.total * 100 > whole * in.settings.waterfall_percent;
    const std::uint64_t shorter = std::min(in.duration(leaf.unit), in.duration(steps[leaf.above].unit));
    const bool two = leaf.length == 2 && leaf.total * 100 > whole * in.settings.waterfall_two_hop_percent &&
                     shorter * 100 > whole * in.settings.waterfall_two_hop_shorter_percent;
    if (!many && !two) continue;
    std::vector<std::uint32_t> chain;
    bool fresh = true;
    for (std::uint32_t at = one.step; at != kNone && fresh; at = steps[at].above) {
      fresh = !steps[at].used;
      steps[at].used = true;
      chain.push_back(steps[at].unit);
    }
    if (!fresh) continue;
    std::reverse(chain.begin(), chain.end());
    bool told = true;
    for (std::size_t n = 1; n < chain.size(); ++n) told = told && in.after[chain[n]].told;
    Finding made = in.finding("waterfall-fetch", Severity::kMedium, told ? Confidence::kMedium : Confidence::kLow, chain);
    in.saves(made, detail::saving_together(in, chain));
    made.says("operations", Evidence::Unit::kCount, chain.size());
    made.says("in all", Evidence::Unit::kNanoseconds, leaf.total);
    made.says("share", Evidence::Unit::kPermille, report::permille(leaf.total, whole));
    made.summary = report::number_text(chain.size()) + " requests wait for each other from " + in.location_name(chain.front()) +
                   " to " + in.location_name(chain.back()) + ": " + report::duration_text(leaf.total) + ", " +
                   report::percent_text(report::permille(leaf.total, whole)) + " of the request.";
    made.advice = "Begin each request as soon as what it needs is known; what needs nothing of the others can start at once.";
    out.push_back(std::move(made));
  }
}

inline void find_crowded_origins(const PatternContext& in, std::vector<Finding>& out) {
  struct Edge {
    std::uint32_t request;
    std::uint32_t origin;
    std::uint64_t time;
    std::uint32_t unit;
    bool begins;
  };
  std::vector<Edge> edges;
  TextNumbers origins;
  static_cast<void>(origins.number_of({}));
  TextNumbers urls;
  std::vector<std::uint32_t> origin_of_url;
  for (const std::uint32_t unit : in.network) {
    const Execution::Interval time = in.run.operation_time(unit);
    if (time.end == time.start) continue;
    const std::string_view url = in.note_text(unit, PatternContext::kUrl);
    const std::uint32_t number = urls.number_of(url);
    if (number == origin_of_url.size()) origin_of_url.push_back(origins.number_of(origin_of(url)));
    const std::uint32_t origin = origin_of_url[number];
    edges.push_back({in.request_number(unit), origin, time.start, unit, true});
    edges.push_back({in.request_number(unit), origin, time.end, unit, false});
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    if (a.request != b.request) return a.request < b.request;
    if (a.origin != b.origin) return a.origin < b.origin;
    if (a.time != b.time) return a.time < b.time;
    if (a.begins != b.begins) return b.begins;  // ends come before starts
    return a.unit < b.unit;
  });
  std::vector<bool> ended(in.model.resources(), false);
  for (std::size_t at = 0; at < edges.size();) {
    std::size_t end = at;
    std::size_t open = 0;
    std::size_t peak = 0;
    std::size_t peak_at = at;
    std::uint64_t queued = 0;
    std::uint64_t over_ns = 0;
    std::uint64_t over_since = 0;
    for (; end < edges.size() && edges[end].request == edges[at].request && edges[end].origin == edges[at].origin; ++end) {
      const Edge& edge = edges[end];
      const bool was_over = open > in.settings.concurrency_limit;
      if (edge.begins) {
        if (++open > in.settings.concurrency_limit) ++queued;
        if (open > peak) {
          peak = open;
          peak_at = end;
        }
      } else {
        --open;
      }
      const bool is_over = open > in.settings.concurrency_limit;
      if (is_over && !was_over) over_since = edge.time;
      if (!is_over && was_over) over_ns += edge.time - over_since;
    }
    std::vector<std::uint32_t> at_peak;
    for (std::size_t n = at; n <= peak_at && peak > in.settings.concurrency_limit; ++n) {
      if (!edges[n].begins) ended[edges[n].unit] = true;
    }
    for (std::size_t n = at; n <= peak_at && peak > in.settings.concurrency_limit; ++n) {
      if (edges[n].begins && !ended[edges[n].unit]) at_peak.push_back(edges[n].unit);
    }
    if (peak > in.settings.concurrency_limit) {
      const std::string origin(origins[edges[at].origin]);
      Finding made = in.finding("fetch-concurrency", Severity::kMedium, origin.empty() ? Confidence::kLow : Confidence::kMedium, at_peak);
      made.says("at once", Evidence::Unit::kCount, peak);
      made.says("limit", Evidence::Unit::kCount, in.settings.concurrency_limit);
      made.says("over the limit", Evidence::Unit::kNanoseconds, over_ns);
      made.says("begun over the limit", Evidence::Unit::kCount, queued);
      made.says("origin", origin.empty() ? std::string_view("not known") : std::string_view(origin));
      made.summary = report::number_text(peak) + " requests at once to " + (origin.empty() ? std::string("origins that are not known") : origin) +
                     "; over " + report::number_text(in.settings.concurrency_limit) + " they queue. " + report::number_text(queued) +
                     " were begun over the limit, for " + report::duration_text(over_ns) + ".";
      made.advice = "Ask for several things in one request, or keep the number in flight under the limit yourself, most important first.";
      out.push_back(std::move(made));
    }
    at = end;
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
