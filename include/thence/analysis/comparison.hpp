// SPDX-License-Identifier: MIT
// comparison.hpp: is it slower than before, by how much, in which code, and was there enough to tell?
//
// Two runs of the same program always differ. The proper experiment is several traces of each side: a trace is one
// observation, and a difference counts if it is significant, large enough to matter and seen in most pairs. With too few
// traces the answer is "underpowered", never "no change". Of one trace against one only the values within them can be
// compared, which depend on each other: that evidence is labelled so.
//   std::vector<TraceProfile> base, now;               // profile_of(context) each; they stand alone
//   const Comparison result = compare(base, now);
//   result.duration.verdict, result.groups[n].verdict; // kRegressed: exit with 2
// Effects are now - base: positive is slower.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/hypothesis_tests.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/analysis/url.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/trace_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How finely operations of two sides are matched.
enum class MatchLevel : std::uint8_t {
  kStack,      ///< type, URL template or name, all the user's frames
  kFunctions,  ///< the same without line numbers
  kTemplate,   ///< type, URL template or name
};
inline constexpr std::size_t kMatchLevels = 3;

[[nodiscard]] constexpr std::string_view word(MatchLevel level) noexcept {
  switch (level) {
    case MatchLevel::kStack: return "stack";
    case MatchLevel::kFunctions: return "functions";
    case MatchLevel::kTemplate: return "template";
  }
  return "template";
}

/// What a comparison needs of one trace.
///   Lifetime  stands alone: the trace may go.
struct TraceProfile {
  struct Unit {
    std::uint32_t key[kMatchLevels] = {};  ///< of `keys`
    std::uint32_t block = 0;               ///< the top-level activation it belongs to
    std::uint64_t wait_ns = 0;
  };
  std::vector<std::string> keys[kMatchLevels];
  std::vector<Unit> units;                 ///< those whose wait is known
  std::uint64_t requests = 0;
  std::vector<std::uint64_t> durations;    ///< of the requests, sorted
  std::uint64_t path[kPathKinds] = {};     ///< of all requests together
  std::vector<std::pair<std::string, std::uint64_t>> findings;  ///< how many of each id, by id
};

/// `findings`: those of the trace.
///   Cost      O(units x frames).
[[nodiscard]] inline TraceProfile profile_of(const PatternContext& in, std::span<const Finding> findings = {}) {
  TraceProfile made;
  made.requests = in.run.requests.size();
  for (std::uint32_t request = 0; request < in.run.requests.size(); ++request) {
    made.durations.push_back(in.run.requests[request].duration());
    for (unsigned kind = 0; kind < kPathKinds; ++kind) made.path[kind] += in.paths.totals(request).by_kind[kind];
  }
  std::sort(made.durations.begin(), made.durations.end());
  for (const Finding& one : findings) {
    auto at = std::lower_bound(made.findings.begin(), made.findings.end(), one.id, [](const auto& a, std::string_view id) { return a.first < id; });
    if (at == made.findings.end() || at->first != one.id) at = made.findings.insert(at, {std::string(one.id), 0});
    ++at->second;
  }
  // Of each stack its texts, made once.
  std::vector<std::string> frames[2];
  for (auto& texts : frames) texts.resize(in.model.stacks.size());
  for (std::uint32_t stack = 0; stack < in.model.stacks.size(); ++stack) {
    for (const std::uint32_t row : in.model.frames_of(stack)) {
      if (in.run.visible.frame_owner[row] != FrameOwner::kUser) continue;
      frames[0][stack] += "\n" + location_text(in.model, row);
      frames[1][stack] += "\n" + std::string(in.model.text(in.model.frames[row].function)) + " @ " +
                          std::string(in.model.text(in.model.frames[row].file));
    }
  }
  TextNumbers numbers[kMatchLevels];
  std::vector<std::uint32_t> top(in.model.resources(), 0);
  std::uint32_t blocks = 0;
  for (const std::uint32_t unit : in.units.rows) {
    top[unit] = in.units.parent[unit] == TraceModel::kNone ? blocks++ : top[in.units.parent[unit]];
    if (!in.units.wait_known[unit]) continue;
    std::string text(in.model.type_name(unit));
    const TraceModel::Note* const url = in.note(unit, PatternContext::kUrl);
    const TraceModel::Note* const key = url != nullptr ? url : in.note(unit, PatternContext::kKey);
    if (key != nullptr && key->kind == ValueKind::kString) text += " " + url_template(url != nullptr ? normalised_url(key->text) : std::string(key->text));
    TraceProfile::Unit one;
    one.block = top[unit];
    one.wait_ns = in.units.wait[unit];
    const std::uint32_t stack = in.model.stack[unit];
    one.key[2] = numbers[2].number_of(text);
    one.key[0] = numbers[0].number_of(stack == TraceModel::kNone ? text : text + frames[0][stack]);
    one.key[1] = numbers[1].number_of(stack == TraceModel::kNone ? text : text + frames[1][stack]);
    made.units.push_back(one);
  }
  for (std::size_t level = 0; level < kMatchLevels; ++level) {
    for (std::uint32_t at = 0; at < numbers[level].size(); ++at) made.keys[level].push_back(std::string(numbers[level][at]));
  }
  return made;
}

enum class Verdict : std::uint8_t {
  kNoEvidence,
  kRegressed,
  kImproved,
  kUnderpowered,  ///< there are too few to tell
  kDescriptive,   ///< figures only: no test applies
  kAdded,         ///< only now
  kRemoved,       ///< only in the base
};

[[nodiscard]] constexpr std::string_view word(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kNoEvidence: return "no evidence";
    case Verdict::kRegressed: return "regressed";
    case Verdict::kImproved: return "improved";
    case Verdict::kUnderpowered: return "underpowered";
    case Verdict::kDescriptive: return "descriptive";
    case Verdict::kAdded: return "added";
    case Verdict::kRemoved: return "removed";
  }
  return "no evidence";
}

/// One measure of both sides. Medians and shifts are nanoseconds, or counts.
struct Compared {
  std::string name;
  std::size_t base_n = 0;
  std::size_t now_n = 0;
  double base_median = 0;
  double now_median = 0;
  double shift = 0;              ///< Hodges-Lehmann between traces; of the medians within one
  double low = 0;                ///< 95 %
  double high = 0;
  bool interval_known = false;
  double cliffs_delta = 0;
  double p = 1;
  double p_adjusted = 1;         ///< among its like (Benjamini-Hochberg); where it is alone, p
  bool tested = false;
  double ks_distance = 0;        ///< of values within one trace
  double ks_p = 1;
  std::uint64_t base_count = 0;  ///< operations in all
  std::uint64_t now_count = 0;
  double base_total = 0;         ///< of all their waits, a trace
  double now_total = 0;
  double rate_p = 1;             ///< of the counts: exact, a request as exposure
  Verdict verdict = Verdict::kNoEvidence;
};

struct Comparison {
  bool within_trace = false;          ///< one trace a side: evidence from within traces only
  MatchLevel level = MatchLevel::kStack;
  std::uint32_t covered_base_permille = 0;  ///< of the time, by matched groups
  std::uint32_t covered_now_permille = 0;
  std::size_t base_traces = 0;
  std::size_t now_traces = 0;
  Compared duration;                  ///< the median of the requests of each trace
  std::vector<Compared> path;         ///< by PathKind: time a request
  std::vector<Compared> groups;       ///< the largest absolute change of the total first
  std::vector<Compared> totals;       ///< beside `groups`: the total wait a trace, where that was tested
  std::vector<Compared> findings;     ///< by id: counts a trace

  [[nodiscard]] bool regressed() const noexcept {
    const auto is = [](const Compared& one) { return one.verdict == Verdict::kRegressed; };
    return is(duration) || std::any_of(path.begin(), path.end(), is) || std::any_of(groups.begin(), groups.end(), is) ||
           std::any_of(totals.begin(), totals.end(), is);
  }
};

struct ComparisonSettings {
  double alpha = 0.05;
  double least_share = 0.05;     ///< of the base's median: a smaller shift does not matter ...
  double least_ns = 1'000'000;   ///< ... nor one under this
  double least_delta = 0.147;    ///< Cliff's: under it the effect is negligible
  std::size_t fewest = 4;        ///< values a side
  std::uint32_t cover_permille = 800;
  statistics::BootstrapSettings bootstrap;
};

namespace detail {

inline void judge(Compared& one, const ComparisonSettings& settings, bool is_time = true) noexcept {
  if (!one.tested) return;
  const double size = one.shift < 0 ? -one.shift : one.shift;
  const double base = one.base_median < 0 ? -one.base_median : one.base_median;
  const double delta = one.cliffs_delta < 0 ? -one.cliffs_delta : one.cliffs_delta;
  const bool matters = size >= std::max(settings.least_share * base, is_time ? settings.least_ns : 0.0) && delta >= settings.least_delta;
  one.verdict = one.p_adjusted < settings.alpha && matters ? (one.shift > 0 ? Verdict::kRegressed : Verdict::kImproved) : Verdict::kNoEvidence;
}

/// Traces against traces: a value each.
[[nodiscard]] inline Compared compare_traces(std::string name, std::span<const double> base, std::span<const double> now,
                                             const ComparisonSettings& settings) {
  Compared made;
  made.name = std::move(name);
  made.base_n = base.size();
  made.now_n = now.size();
  std::vector<double> a(base.begin(), base.end());
  std::vector<double> b(now.begin(), now.end());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (!a.empty()) made.base_median = statistics::median<double>(a);
  if (!b.empty()) made.now_median = statistics::median<double>(b);
  if (a.empty() || b.empty()) {
    made.verdict = Verdict::kDescriptive;
    return made;
  }
  const statistics::Shift shift = statistics::hodges_lehmann(a, b);
  made.shift = shift.shift;
  made.low = shift.low;
  made.high = shift.high;
  made.interval_known = shift.interval_known;
  const statistics::MannWhitney test = statistics::mann_whitney(a, b);
  made.cliffs_delta = test.cliffs_delta;
  made.p = made.p_adjusted = test.p;
  if (std::min(a.size(), b.size()) < settings.fewest) {
    made.verdict = Verdict::kUnderpowered;
  } else {
    made.tested = true;
  }
  return made;
}

inline void adjust(std::vector<Compared>& family) {
  std::vector<double> p;
  for (const Compared& one : family) {
    if (one.tested) p.push_back(one.p);
  }
  const std::vector<double> adjusted = statistics::benjamini_hochberg(p);
  std::size_t next = 0;
  for (Compared& one : family) {
    if (one.tested) one.p_adjusted = adjusted[next++];
  }
}

/// Units of one side and level by key text: sorted by key, then trace.
struct KeyedUnit {
  std::uint32_t key;    // common to both sides
  std::uint32_t trace;
  std::uint32_t block;
  std::uint64_t wait_ns;
};

[[nodiscard]] inline std::vector<KeyedUnit> keyed_units(std::span<const TraceProfile> side, std::size_t level, TextNumbers& names) {
  std::vector<KeyedUnit> made;
  for (std::uint32_t trace = 0; trace < side.size(); ++trace) {
    std::vector<std::uint32_t> common;
    for (const std::string& key : side[trace].keys[level]) common.push_back(names.number_of(key));
    for (const TraceProfile::Unit& unit : side[trace].units) {
      made.push_back({common[unit.key[level]], trace, unit.block, unit.wait_ns});
    }
  }
  std::sort(made.begin(), made.end(), [](const KeyedUnit& a, const KeyedUnit& b) {
    if (a.key != b.key) return a.key < b.key;
    if (a.trace != b.trace) return a.trace < b.trace;
    return a.wait_ns != b.wait_ns ? a.wait_ns < b.wait_ns : a.block < b.block;
  });
  return made;
}

[[nodiscard]] inline std::uint32_t covered_permille(std::span<const KeyedUnit> units, const std::vector<bool>& other) noexcept {
  double all = 0;
  double covered = 0;
  for (const KeyedUnit& unit : units) {
    all += static_cast<double>(unit.wait_ns);
    if (other[unit.key]) covered += static_cast<double>(unit.wait_ns);
  }
  return all > 0 ? static_cast<std::uint32_t>(1000 * covered / all) : 1000;
}

}  // namespace detail

///   Cost      O(n log n) in the units of all traces; of one against one also the bootstrap's.
[[nodiscard]] inline Comparison compare(std::span<const TraceProfile> base, std::span<const TraceProfile> now,
                                        const ComparisonSettings& settings = {}) {
  Comparison made;
  made.base_traces = base.size();
  made.now_traces = now.size();
  made.within_trace = base.size() == 1 && now.size() == 1;
  const auto values = [](std::span<const TraceProfile> side, auto&& value) {
    std::vector<double> all;
    for (const TraceProfile& trace : side) {
      if (trace.requests != 0) all.push_back(value(trace));
    }
    return all;
  };
  const auto measure = [&](std::string name, auto&& value) {
    return detail::compare_traces(std::move(name), values(base, value), values(now, value), settings);
  };
  made.duration = measure("duration", [](const TraceProfile& trace) { return statistics::median<std::uint64_t>(trace.durations); });
  detail::judge(made.duration, settings);
  for (unsigned kind = 0; kind < kPathKinds; ++kind) {
    made.path.push_back(measure(std::string(word(static_cast<PathKind>(kind))), [&](const TraceProfile& trace) {
      return static_cast<double>(trace.path[kind]) / static_cast<double>(trace.requests);
    }));
  }
  detail::adjust(made.path);
  for (Compared& one : made.path) detail::judge(one, settings);
  if (made.within_trace) {
    made.duration.verdict = Verdict::kDescriptive;
    for (Compared& one : made.path) one.verdict = Verdict::kDescriptive;
  }

  // The finest level that covers enough of both sides; of those that do not, the coarsest.
  std::vector<detail::KeyedUnit> a;
  std::vector<detail::KeyedUnit> b;
  TextNumbers names;
  for (std::size_t level = 0; level < kMatchLevels; ++level) {
    names = TextNumbers();
    a = detail::keyed_units(base, level, names);
    b = detail::keyed_units(now, level, names);
    std::vector<bool> in_a(names.size(), false);
    std::vector<bool> in_b(names.size(), false);
    for (const detail::KeyedUnit& unit : a) in_a[unit.key] = true;
    for (const detail::KeyedUnit& unit : b) in_b[unit.key] = true;
    made.level = static_cast<MatchLevel>(level);
    made.covered_base_permille = detail::covered_permille(a, in_b);
    made.covered_now_permille = detail::covered_permille(b, in_a);
    if (std::min(made.covered_base_permille, made.covered_now_permille) >= settings.cover_permille) break;
  }
  double base_requests = 0;
  double now_requests = 0;
  for (const TraceProfile& trace : base) base_requests += static_cast<double>(std::max<std::uint64_t>(trace.requests, 1));
  for (const TraceProfile& trace : now) now_requests += static_cast<double>(std::max<std::uint64_t>(trace.requests, 1));

  // Both sides, key by key.
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < a.size() || k < b.size()) {
    const std::uint32_t key = i == a.size() ? b[k].key : k == b.size() ? a[i].key : std::min(a[i].key, b[k].key);
    const std::size_t a_begin = i;
    const std::size_t b_begin = k;
    while (i < a.size() && a[i].key == key) ++i;
    while (k < b.size() && b[k].key == key) ++k;
    const std::span<const detail::KeyedUnit> of_a(a.data() + a_begin, i - a_begin);
    const std::span<const detail::KeyedUnit> of_b(b.data() + b_begin, k - b_begin);
    const auto per_trace = [](std::span<const detail::KeyedUnit> units, bool total) {
      std::vector<double> all;  // units of one trace are together and sorted
      for (std::size_t at = 0; at < units.size();) {
        std::size_t end = at;
        double sum = 0;
        while (end < units.size() && units[end].trace == units[at].trace) sum += static_cast<double>(units[end++].wait_ns);
        const std::size_t middle = at + statistics::percentile_index(end - at, 0.5);
        all.push_back(total ? sum : static_cast<double>(units[middle].wait_ns));
        at = end;
      }
      return all;
    };
    const auto totals_with_zeros = [&](std::span<const detail::KeyedUnit> units, std::size_t traces) {
      std::vector<double> all = per_trace(units, true);
      all.resize(traces, 0);  // a trace without one waited 0 for it
      return all;
    };
    const std::string name(names[key]);
    Compared one;
    Compared total;
    if (!made.within_trace) {
      one = detail::compare_traces(name, per_trace(of_a, false), per_trace(of_b, false), settings);
      total = detail::compare_traces(name, totals_with_zeros(of_a, base.size()), totals_with_zeros(of_b, now.size()), settings);
    } else {
      one.name = name;
      one.base_n = of_a.size();
      one.now_n = of_b.size();
      std::vector<std::uint64_t> x;
      std::vector<std::uint64_t> y;
      std::vector<double> xd;
      std::vector<double> yd;
      std::vector<statistics::Blocked> xb;
      std::vector<statistics::Blocked> yb;
      for (const detail::KeyedUnit& unit : of_a) {
        x.push_back(unit.wait_ns);
        xd.push_back(static_cast<double>(unit.wait_ns));
        xb.push_back({xd.back(), unit.block});
      }
      for (const detail::KeyedUnit& unit : of_b) {
        y.push_back(unit.wait_ns);
        yd.push_back(static_cast<double>(unit.wait_ns));
        yb.push_back({yd.back(), unit.block});
      }
      one.verdict = Verdict::kDescriptive;
      if (!x.empty() && !y.empty()) {
        one.base_median = statistics::median<std::uint64_t>(x);
        one.now_median = statistics::median<std::uint64_t>(y);
        one.cliffs_delta = statistics::mann_whitney(xd, yd).cliffs_delta;
        const statistics::KolmogorovSmirnov ks = statistics::kolmogorov_smirnov<std::uint64_t>(x, y);
        one.ks_distance = ks.d;
        one.ks_p = ks.p;
        const statistics::Bootstrap boot = statistics::block_bootstrap(xb, yb, settings.bootstrap);
        one.shift = boot.shift;
        one.low = boot.low;
        one.high = boot.high;
        one.interval_known = one.tested = boot.known;
        one.p = one.p_adjusted = boot.known ? boot.p : 1;
        one.tested = one.tested && std::min(x.size(), y.size()) >= settings.fewest;
      }
      total = one;
      total.tested = false;
      total.verdict = Verdict::kDescriptive;
    }
    for (const detail::KeyedUnit& unit : of_a) one.base_total += static_cast<double>(unit.wait_ns) / static_cast<double>(base.size());
    for (const detail::KeyedUnit& unit : of_b) one.now_total += static_cast<double>(unit.wait_ns) / static_cast<double>(now.size());
    one.base_count = of_a.size();
    one.now_count = of_b.size();
    one.rate_p = statistics::poisson_rate_p(one.base_count, base_requests, one.now_count, now_requests);
    if (of_a.empty() || of_b.empty()) {
      one.tested = false;
      one.verdict = of_a.empty() ? Verdict::kAdded : Verdict::kRemoved;
    }
    total.base_total = one.base_total;
    total.now_total = one.now_total;
    total.base_count = one.base_count;
    total.now_count = one.now_count;
    total.rate_p = one.rate_p;
    made.groups.push_back(std::move(one));
    made.totals.push_back(std::move(total));
  }
  detail::adjust(made.groups);
  detail::adjust(made.totals);
  for (Compared& one : made.groups) detail::judge(one, settings);
  for (Compared& one : made.totals) detail::judge(one, settings);
  // Both lists in the same order: the largest change of the total first.
  std::vector<std::size_t> order(made.groups.size());
  for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
  std::sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    const auto change = [&](std::size_t at) {
      const double by = made.groups[at].now_total - made.groups[at].base_total;
      return by < 0 ? -by : by;
    };
    if (change(x) != change(y)) return change(x) > change(y);
    return made.groups[x].name < made.groups[y].name;
  });
  std::vector<Compared> groups;
  std::vector<Compared> totals;
  for (const std::size_t at : order) {
    groups.push_back(std::move(made.groups[at]));
    totals.push_back(std::move(made.totals[at]));
  }
  made.groups = std::move(groups);
  made.totals = std::move(totals);

  std::vector<std::string> ids;
  for (const auto& side : {base, now}) {
    for (const TraceProfile& trace : side) {
      for (const auto& [id, count] : trace.findings) ids.push_back(id);
    }
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const std::string& id : ids) {
    const auto count = [&](const TraceProfile& trace) {
      for (const auto& [name, times] : trace.findings) {
        if (name == id) return times;
      }
      return std::uint64_t{0};
    };
    Compared one = measure(id, [&](const TraceProfile& trace) { return static_cast<double>(count(trace)); });
    one.tested = false;
    for (const TraceProfile& trace : base) one.base_count += count(trace);
    for (const TraceProfile& trace : now) one.now_count += count(trace);
    one.rate_p = one.p = one.p_adjusted = statistics::poisson_rate_p(one.base_count, base_requests, one.now_count, now_requests);
    const double before = static_cast<double>(one.base_count) / base_requests;
    const double after = static_cast<double>(one.now_count) / now_requests;
    one.verdict = one.rate_p < settings.alpha ? (after > before ? Verdict::kRegressed : Verdict::kImproved) : Verdict::kNoEvidence;
    made.findings.push_back(std::move(one));
  }
  return made;
}

}  // namespace THENCE_ABI
}  // namespace thence
