// SPDX-License-Identifier: MIT
// anomalies.hpp: what is unlike the rest: one operation among its own kind, one trace among many.
//
// Nothing is trained and nothing is asked of a network: an operation is odd if it lies far from the median of its kind, by
// the median of the distances; a trace is odd if its neighbours are far. Each says why.
//   for (const Anomaly& odd : anomalies_of(run, units, where, gaps)) ... odd.unit, odd.kind, odd.z
//   for (const OddTrace& odd : odd_traces(features)) ... odd.trace, odd.reasons[0].feature, odd.reasons[0].z
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/mathematics.hpp"
#include "thence/analysis/patterns.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class AnomalyKind : std::uint8_t { kLongWait, kLongExec, kNeverSettled, kLongGap };

[[nodiscard]] constexpr std::string_view word(AnomalyKind kind) noexcept {
  switch (kind) {
    case AnomalyKind::kLongWait: return "long wait";
    case AnomalyKind::kLongExec: return "long run";
    case AnomalyKind::kNeverSettled: return "never settled";
    case AnomalyKind::kLongGap: return "long gap";
  }
  return "long wait";
}

struct Anomaly {
  AnomalyKind kind = AnomalyKind::kLongWait;
  std::uint32_t unit = TraceModel::kNone;     ///< kLongGap: the operation that ended it; kNone: not known
  std::uint32_t request = TraceModel::kNone;  ///< row of `roots`
  std::uint64_t value_ns = 0;
  std::uint64_t usual_ns = 0;                 ///< the median of its kind, by nearest rank
  std::size_t kin = 0;                        ///< how many are of its kind, itself among them
  double z = 0;                               ///< modified; kNeverSettled: 0
};

struct AnomalySettings {
  std::size_t fewest = 8;
  double z = 3.5;
};

/// By type and code location; the gaps of each request among themselves. The farthest first.
///   Cost      O(n log n).
[[nodiscard]] inline std::vector<Anomaly> anomalies_of(const Execution& run, const Units& units, const Locations& where,
                                                       const Gaps& gaps, const AnomalySettings& settings = {}) {
  std::vector<Anomaly> found;
  RowIndex by_place;
  by_place.build(where.entries.size(), units.rows.size(), [&](std::uint32_t at) { return where.of[units.rows[at]]; });
  std::vector<std::uint32_t> order;
  order.reserve(units.rows.size());
  for (const std::uint32_t at : by_place.items) order.push_back(units.rows[at]);
  // Most places make things of one type only.
  const auto by_type = [&](std::uint32_t a, std::uint32_t b) { return run.model.type[a] < run.model.type[b]; };
  for (std::uint32_t place = 0; place < where.entries.size(); ++place) {
    const auto from = order.begin() + static_cast<std::ptrdiff_t>(by_place.first[place]);
    const auto to = order.begin() + static_cast<std::ptrdiff_t>(by_place.first[place + 1]);
    if (!std::is_sorted(from, to, by_type)) std::stable_sort(from, to, by_type);
  }
  std::vector<std::uint64_t> values;
  const auto outliers = [&](std::span<const std::uint32_t> kin, AnomalyKind kind, auto&& known, auto&& value_of) {
    values.clear();
    for (const std::uint32_t unit : kin) {
      if (known(unit)) values.push_back(value_of(unit));
    }
    if (values.size() < settings.fewest) return;
    std::sort(values.begin(), values.end());
    const statistics::ModifiedZ z = statistics::modified_z_of_logs(values);
    if (!z.known || !(z.of(values.back()) > settings.z)) return;
    const std::uint64_t usual = statistics::percentile<std::uint64_t>(values, 0.5);
    for (const std::uint32_t unit : kin) {
      if (!known(unit) || !(z.of(value_of(unit)) > settings.z)) continue;
      found.push_back({kind, unit, run.request[unit], value_of(unit), usual, values.size(), z.of(value_of(unit))});
    }
  };
  for (std::size_t at = 0; at < order.size();) {
    std::size_t end = at;
    while (end < order.size() && run.model.type[order[end]] == run.model.type[order[at]] && where.of[order[end]] == where.of[order[at]]) ++end;
    const std::span<const std::uint32_t> kin(order.data() + at, end - at);
    at = end;
    outliers(kin, AnomalyKind::kLongWait, [&](std::uint32_t unit) { return units.wait_known[unit] != 0; },
             [&](std::uint32_t unit) { return units.wait[unit]; });
    outliers(kin, AnomalyKind::kLongExec, [&](std::uint32_t unit) { return units.callbacks[unit] != 0; },
             [&](std::uint32_t unit) { return units.exec[unit]; });
    // One that was not settled is odd where its kin are.
    if (run.normal.inferred || kin.size() < settings.fewest) continue;
    const auto open = [&](std::uint32_t unit) {
      return !units.settled[unit] && !units.destroyed[unit] && run.request[unit] != TraceModel::kNone &&
             run.requests[run.request[unit]].is_ended;
    };
    const auto count = static_cast<std::size_t>(std::count_if(kin.begin(), kin.end(), open));
    const auto settled = static_cast<std::size_t>(std::count_if(kin.begin(), kin.end(), [&](std::uint32_t unit) { return units.settled[unit] != 0; }));
    if (count == 0 || settled + 1 < settings.fewest || count * 10 > kin.size()) continue;
    for (const std::uint32_t unit : kin) {
      if (!open(unit)) continue;
      found.push_back({AnomalyKind::kNeverSettled, unit, run.request[unit], units.finish[unit] - units.created[unit], 0, kin.size(), 0});
    }
  }
  for (std::uint32_t request = 0; request < run.requests.size(); ++request) {
    values.clear();
    for (const Gap& gap : gaps.of(request)) values.push_back(gap.length());
    if (values.size() < settings.fewest) continue;
    std::sort(values.begin(), values.end());
    const statistics::ModifiedZ z = statistics::modified_z_of_logs(values);
    const std::uint64_t usual = statistics::percentile<std::uint64_t>(values, 0.5);
    for (const Gap& gap : gaps.of(request)) {
      if (!z.known || !(z.of(gap.length()) > settings.z)) continue;
      const std::uint32_t unit = gap.operation == TraceModel::kNone ? TraceModel::kNone : run.unit[gap.operation];
      found.push_back({AnomalyKind::kLongGap, unit, request, gap.length(), usual, values.size(), z.of(gap.length())});
    }
  }
  std::sort(found.begin(), found.end(), [](const Anomaly& a, const Anomaly& b) {
    if (a.z != b.z) return a.z > b.z;
    if (a.value_ns != b.value_ns) return a.value_ns > b.value_ns;
    if (a.kind != b.kind) return a.kind < b.kind;
    return a.unit != b.unit ? a.unit < b.unit : a.request < b.request;
  });
  return found;
}

// -- among many traces --------------------------------------------------------------------------------------------------

inline constexpr std::size_t kPatterns = std::size(kPatternIds);
/// ln S; the shares of the critical path; a count for each pattern; the greatest concurrency; the efficiency.
inline constexpr std::size_t kTraceFeatures = 1 + kPathKinds + kPatterns + 2;

struct TraceFeatures {
  std::array<double, kTraceFeatures> values{};

  [[nodiscard]] static std::string_view name(std::size_t feature) noexcept {
    if (feature == 0) return "duration";
    feature -= 1;
    if (feature < kPathKinds) return word(static_cast<PathKind>(feature));
    feature -= kPathKinds;
    if (feature < kPatterns) return kPatternIds[feature];
    return feature == kPatterns ? "most at once" : "efficiency";
  }
};

/// Of one request (a trace of one request, or one of many in a trace). `findings`: all of the trace.
[[nodiscard]] inline TraceFeatures features_of(const CriticalPaths::Totals& path, std::uint64_t duration_ns, std::span<const Finding> findings,
                                               std::uint32_t request, double most_at_once, double efficiency) noexcept {
  TraceFeatures made;
  std::size_t at = 0;
  made.values[at++] = mathematics::natural_log(static_cast<double>(duration_ns == 0 ? 1 : duration_ns));
  // Shares add up to one: the centred logarithms of their ratios are free to move. A share of nothing counts as a thousandth.
  double logs[kPathKinds];
  double mean = 0;
  for (unsigned kind = 0; kind < kPathKinds; ++kind) {
    const double share = path.all == 0 ? 0 : static_cast<double>(path.by_kind[kind]) / static_cast<double>(path.all);
    logs[kind] = mathematics::natural_log(share < 0.001 ? 0.001 : share);
    mean += logs[kind] / kPathKinds;
  }
  for (unsigned kind = 0; kind < kPathKinds; ++kind) made.values[at++] = logs[kind] - mean;
  for (std::size_t pattern = 0; pattern < kPatterns; ++pattern) {
    double count = 0;
    for (const Finding& one : findings) count += one.request == request && one.id == kPatternIds[pattern] ? 1 : 0;
    made.values[at++] = count;
  }
  made.values[at++] = most_at_once;
  made.values[at] = efficiency;
  return made;
}

struct OddTrace {
  struct Reason {
    std::size_t feature = 0;  ///< TraceFeatures::name
    double z = 0;             ///< robust: from the median, in units of 1.4826 MAD
  };
  std::size_t trace = 0;
  double score = 0;
  double limit = 0;
  std::array<Reason, 3> reasons{};  ///< the largest first
};

struct OddTraceSettings {
  std::size_t fewest = 20;
  std::size_t neighbours = 5;
  double limit = 3.5;  ///< MADs over the median of the scores
};

/// The farthest first. Nothing where there are too few traces.
///   Cost      O(traces^2 x features).
[[nodiscard]] inline std::vector<OddTrace> odd_traces(std::span<const TraceFeatures> traces, const OddTraceSettings& settings = {}) {
  std::vector<OddTrace> found;
  const std::size_t n = traces.size();
  if (n < settings.fewest || n <= settings.neighbours) return found;
  std::vector<std::array<double, kTraceFeatures>> z(n);
  std::vector<double> column(n);
  std::vector<double> apart(n);
  const auto absolute = [](double value) { return value < 0 ? -value : value; };
  for (std::size_t feature = 0; feature < kTraceFeatures; ++feature) {
    for (std::size_t at = 0; at < n; ++at) column[at] = traces[at].values[feature];
    std::sort(column.begin(), column.end());
    const double middle = statistics::median<double>(column);
    double sum = 0;
    for (std::size_t at = 0; at < n; ++at) {
      apart[at] = absolute(column[at] - middle);
      sum += apart[at];
    }
    std::sort(apart.begin(), apart.end());
    double scale = 1.4826 * statistics::median<double>(apart);
    if (!(scale > 0)) scale = 1.2533 * sum / static_cast<double>(n);
    for (std::size_t at = 0; at < n; ++at) z[at][feature] = scale > 0 ? (traces[at].values[feature] - middle) / scale : 0;
  }
  std::vector<double> scores(n);
  std::vector<double> distances;
  for (std::size_t at = 0; at < n; ++at) {
    distances.clear();
    for (std::size_t other = 0; other < n; ++other) {
      if (other == at) continue;
      double squares = 0;
      for (std::size_t feature = 0; feature < kTraceFeatures; ++feature) {
        squares += (z[at][feature] - z[other][feature]) * (z[at][feature] - z[other][feature]);
      }
      distances.push_back(std::sqrt(squares));
    }
    std::partial_sort(distances.begin(), distances.begin() + static_cast<std::ptrdiff_t>(settings.neighbours), distances.end());
    double sum = 0;
    for (std::size_t near = 0; near < settings.neighbours; ++near) sum += distances[near];
    scores[at] = sum / static_cast<double>(settings.neighbours);
  }
  std::vector<double> sorted(scores);
  std::sort(sorted.begin(), sorted.end());
  const double middle = statistics::median<double>(sorted);
  for (std::size_t at = 0; at < n; ++at) apart[at] = absolute(sorted[at] - middle);
  std::sort(apart.begin(), apart.end());
  const double limit = middle + settings.limit * statistics::median<double>(apart);
  for (std::size_t at = 0; at < n; ++at) {
    if (!(scores[at] > limit)) continue;
    OddTrace odd;
    odd.trace = at;
    odd.score = scores[at];
    odd.limit = limit;
    std::array<std::size_t, kTraceFeatures> features{};
    for (std::size_t feature = 0; feature < kTraceFeatures; ++feature) features[feature] = feature;
    std::stable_sort(features.begin(), features.end(), [&](std::size_t a, std::size_t b) { return absolute(z[at][a]) > absolute(z[at][b]); });
    for (std::size_t k = 0; k < odd.reasons.size(); ++k) odd.reasons[k] = {features[k], z[at][features[k]]};
    found.push_back(odd);
  }
  std::sort(found.begin(), found.end(), [](const OddTrace& a, const OddTrace& b) {
    return a.score != b.score ? a.score > b.score : a.trace < b.trace;
  });
  return found;
}

}  // namespace THENCE_ABI
}  // namespace thence
