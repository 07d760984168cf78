// SPDX-License-Identifier: MIT
// finding.hpp: what an analysis has to say to a person: where, how bad, what it would save, and how sure it is.
//
// Every detector speaks in the same form, so that a report, a build gate and a host's callback need to know only this one:
//   Finding found;
//   found.id = "loop-block";
//   found.severity = Severity::kHigh;
//   found.resources = {row};
//   found.says("ran", Evidence::Unit::kNanoseconds, 312'000'000);
//   found.location = frame;
//   found.advice = "Split the work, or move it to another thread.";
//   finish(model, found);                          // the mute key
//   sort_findings(model, all);
// Nothing here depends on a locale or on an order of input: equal traces give equal findings, byte for byte.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How bad: what determines the answer's time, or breaks a promise (high); what is worth a change (medium); what is worth
/// a look (low); what only explains (note).
enum class Severity : std::uint8_t { kNote = 0, kLow = 1, kMedium = 2, kHigh = 3 };

/// How sure: the records show it (high); they fit it best (medium); it may be, look yourself (low).
enum class Confidence : std::uint8_t { kLow = 0, kMedium = 1, kHigh = 2 };

[[nodiscard]] constexpr std::string_view word(Severity severity) noexcept {
  switch (severity) {
    case Severity::kNote: return "note";
    case Severity::kLow: return "low";
    case Severity::kMedium: return "medium";
    case Severity::kHigh: return "high";
  }
  return "note";
}
[[nodiscard]] constexpr std::string_view word(Confidence confidence) noexcept {
  switch (confidence) {
    case Confidence::kLow: return "low";
    case Confidence::kMedium: return "medium";
    case Confidence::kHigh: return "high";
  }
  return "low";
}

/// One named fact behind a finding. `name` is a literal.
struct Evidence {
  enum class Unit : std::uint8_t { kCount, kNanoseconds, kPermille, kText };
  std::string_view name;
  Unit unit = Unit::kCount;
  std::uint64_t value = 0;
  std::string text;  ///< kText
};

/// Rows are those of the TraceModel it was found in; kNone: none.
///   Lifetime  id, advice and the names of evidence are literals; all else it owns. Rows mean something with their model.
struct Finding {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  std::string_view id;                     ///< of the detector: "sequential-fetch"
  Severity severity = Severity::kLow;
  Confidence confidence = Confidence::kMedium;
  std::uint32_t request = kNone;           ///< row of `roots`
  std::uint32_t lane = kNone;              ///< where it is one lane's matter
  std::uint64_t start_ns = 0;              ///< the stretch of time that it speaks of
  std::uint64_t end_ns = 0;
  std::vector<std::uint32_t> resources;    ///< the first one is where to look first
  std::vector<std::uint32_t> invocations;
  std::vector<Evidence> evidence;
  std::uint64_t saving_ns = 0;             ///< what the request would end earlier; see saving_known
  bool saving_known = false;               ///< false: no saving can be computed (and saving_ns is 0)
  std::uint32_t location = kNone;          ///< row of `frames`: the code to look at
  std::string summary;                     ///< one sentence, with its figures
  std::string_view advice;                 ///< what to change
  std::string mute_key;                    ///< id and location: the same for the same code in the next trace

  void says(std::string_view name, Evidence::Unit unit, std::uint64_t value) { evidence.push_back({name, unit, value, {}}); }
  void says(std::string_view name, std::string_view text) {
    evidence.push_back({name, Evidence::Unit::kText, 0, std::string(text)});
  }
};

/// `function @ file:line` of a row of `frames`; what is not known is left out; "unknown" of kNone. Without the column: it is
/// the same code.
[[nodiscard]] inline std::string location_text(const TraceModel& model, std::uint32_t frame) {
  if (frame == TraceModel::kNone) return "unknown";
  const TraceModel::Frame& what = model.frames[frame];
  std::string text(model.text(what.function));
  const std::string_view file = model.text(what.file);
  if (!file.empty()) {
    if (!text.empty()) text += " @ ";
    text += file;
    if (what.line != 0) {
      char digits[10];
      std::size_t at = sizeof digits;
      for (std::uint32_t rest = what.line; rest != 0; rest /= 10) digits[--at] = static_cast<char>('0' + rest % 10);
      text += ':';
      text.append(digits + at, sizeof digits - at);
    }
  }
  return text.empty() ? "unknown" : text;
}

/// Gives a finding its mute key, where it has none.
inline void finish(const TraceModel& model, Finding& finding) {
  if (!finding.mute_key.empty()) return;
  finding.mute_key = finding.id;
  finding.mute_key += '|';
  finding.mute_key += location_text(model, finding.location);
}

/// Severity first, then what it saves, then the id of its first resource, then what it is called: a strict order.
struct FindingOrder {
  const TraceModel* model;

  /// What decides as a rule: the numbers.
  struct Rank {
    Severity severity;
    std::uint64_t saving_ns;
    std::uint64_t first_id;
    friend bool operator==(const Rank&, const Rank&) = default;
    friend bool operator<(const Rank& a, const Rank& b) noexcept {
      if (a.severity != b.severity) return a.severity > b.severity;
      if (a.saving_ns != b.saving_ns) return a.saving_ns > b.saving_ns;
      return a.first_id < b.first_id;
    }
  };
  [[nodiscard]] Rank rank_of(const Finding& finding) const noexcept {
    return {finding.severity, finding.saving_ns,
            finding.resources.empty() ? ~std::uint64_t{0} : model->id[finding.resources.front()]};
  }
  /// Of two that have the same rank.
  [[nodiscard]] static bool breaks_tie(const Finding& a, const Finding& b) noexcept {
    if (a.id != b.id) return a.id < b.id;
    if (a.start_ns != b.start_ns) return a.start_ns < b.start_ns;
    if (a.lane != b.lane) return a.lane < b.lane;
    return a.mute_key < b.mute_key;
  }
  [[nodiscard]] bool operator()(const Finding& a, const Finding& b) const noexcept {
    const Rank rank_a = rank_of(a), rank_b = rank_of(b);
    return rank_a == rank_b ? breaks_tie(a, b) : rank_a < rank_b;
  }
};

/// In FindingOrder.
///   Cost      O(n log n) comparisons of three numbers as a rule; each finding, which is wide, is moved once or twice.
inline void sort_findings(const TraceModel& model, std::vector<Finding>& findings) {
  struct Place {
    FindingOrder::Rank rank;
    std::uint32_t at;
  };
  const FindingOrder order{&model};
  std::vector<Place> places;
  places.reserve(findings.size());
  for (const Finding& one : findings) places.push_back({order.rank_of(one), static_cast<std::uint32_t>(places.size())});
  std::sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
    return a.rank == b.rank ? FindingOrder::breaks_tie(findings[a.at], findings[b.at]) : a.rank < b.rank;
  });
  std::vector<Finding> sorted;
  sorted.reserve(findings.size());
  for (const Place& place : places) sorted.push_back(std::move(findings[place.at]));
  findings.swap(sorted);
}

}  // namespace THENCE_ABI
}  // namespace thence
