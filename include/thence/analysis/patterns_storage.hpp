// SPDX-License-Identifier: MIT
// patterns_storage.hpp: many keys asked for one by one, and caches that do not hold what is asked of them.
//
//   unbatched-storage  several keys, a call each, where one call takes them all   (3, high)
//   cache-miss         what was not there, and how often                          (12, low)
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
#include "thence/analysis/patterns_network.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/trace_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Operations of one type, namespace and request: begun together by one piece of code, or each after the one before.
inline void find_unbatched_storage(const PatternContext& in, std::vector<Finding>& out) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  constexpr unsigned kLongestWay = 16;  // operations between two of a run
  std::vector<bool> batch_type(in.model.type_names.size(), false);
  for (std::size_t type = 0; type < batch_type.size(); ++type) {
    const std::string_view name = in.model.name_of(static_cast<TypeId>(type));
    batch_type[type] = std::find(in.settings.batch_types.begin(), in.settings.batch_types.end(), name) != in.settings.batch_types.end();
  }
  // What must be equal for one call to do: request, type, namespace; numbered.
  std::vector<std::uint32_t> kind(in.model.resources(), kNone);
  std::vector<std::uint32_t> all;
  TextNumbers spaces;
  IdMap of_type;
  IdMap of_request;
  const auto number = [](IdMap& numbers, std::uint64_t key) {
    std::uint32_t found = numbers.find(key + 1);
    if (found == IdMap::kAbsent) numbers.insert(key + 1, found = static_cast<std::uint32_t>(numbers.size()));
    return found;
  };
  std::string key;
  for (const std::uint32_t unit : in.units.rows) {
    if (in.model.type[unit] >= batch_type.size() || !batch_type[in.model.type[unit]]) continue;
    key.clear();
    for (unsigned which = PatternContext::kNamespace; which <= PatternContext::kQueue; ++which) {
      const std::string_view text = in.note_text(unit, static_cast<PatternContext::Key>(which));
      if (!text.empty()) key.append(1, static_cast<char>(which)).append(text);
    }
    const std::uint32_t type = number(of_type, std::uint64_t{spaces.number_of(key)} << 16 | in.model.type[unit]);
    kind[unit] = number(of_request, std::uint64_t{in.request_number(unit)} << 32 | type);
    all.push_back(unit);
  }
  std::vector<bool> taken(in.model.resources(), false);
  const auto report_run = [&](const std::vector<std::uint32_t>& run, bool one_after_the_other) {
    for (const std::uint32_t unit : run) taken[unit] = true;
    bool same_stack = true;
    for (const std::uint32_t unit : run) {
      same_stack = same_stack && in.stack_key(unit) != 0 && in.stack_key(unit) == in.stack_key(run.front());
    }
    Finding made = in.finding("unbatched-storage", Severity::kHigh, same_stack ? Confidence::kHigh : Confidence::kMedium, run);
    const std::uint64_t sum = detail::total_duration(in, run);
    in.saves(made, one_after_the_other ? detail::saving_together(in, run) : 0);
    made.says("round trips", Evidence::Unit::kCount, run.size());
    made.says("in all", Evidence::Unit::kNanoseconds, sum);
    made.says("one after the other", Evidence::Unit::kCount, one_after_the_other ? 1 : 0);
    made.summary = report::number_text(run.size()) + " " + std::string(in.model.type_name(run.front())) + " calls " +
                   (one_after_the_other ? "one after the other" : "at once") + " at " + in.location_name(run.front()) + ": " +
                   report::number_text(run.size()) + " round trips, " + report::duration_text(sum) + " in all.";
    made.advice = "Ask for all keys in one call.";
    out.push_back(std::move(made));
  };

  // One after the other: the nearest operation of the same kind up the chain, by the same function.
  std::vector<std::uint32_t> next(in.model.resources(), kNone);
  std::vector<std::uint32_t> before(in.model.resources(), kNone);
  for (const std::uint32_t unit : all) {
    std::uint32_t at = unit;
    for (unsigned steps = 0; steps < kLongestWay; ++steps) {
      const std::uint32_t from = in.after[at].unit;
      if (from == kNone || from == at || !in.completed(from) || in.units.created[at] < in.completion(from)) break;
      at = from;
      if (kind[at] != kind[unit]) continue;
      if (next[at] == kNone && in.callee_of(at) != 0 && in.callee_of(at) == in.callee_of(unit)) {
        next[at] = unit;
        before[unit] = at;
      }
      break;
    }
  }
  for (const std::uint32_t unit : all) {
    if (before[unit] != kNone || next[unit] == kNone) continue;
    std::vector<std::uint32_t> run;
    for (std::uint32_t at = unit; at != kNone; at = next[at]) run.push_back(at);
    if (run.size() >= in.settings.unbatched_min) report_run(run, true);
  }
  // At once: of one group, within the window.
  std::vector<std::uint32_t> order;
  for (const std::uint32_t unit : all) {
    if (!taken[unit]) order.push_back(unit);
  }
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    if (kind[a] != kind[b]) return kind[a] < kind[b];
    if (in.groups.of[a] != in.groups.of[b]) return in.groups.of[a] < in.groups.of[b];
    if (in.units.created[a] != in.units.created[b]) return in.units.created[a] < in.units.created[b];
    return in.model.id[a] < in.model.id[b];
  });
  for (std::size_t at = 0; at < order.size();) {
    std::size_t end = at;
    while (end < order.size() && kind[order[end]] == kind[order[at]] && in.groups.of[order[end]] == in.groups.of[order[at]]) ++end;
    // Windows that hold enough, merged where they overlap.
    std::vector<std::uint32_t> run;
    std::size_t left = at;
    std::size_t reach = at;  // behind the last one that a window holds
    for (std::size_t right = at; right < end; ++right) {
      while (in.units.created[order[right]] - in.units.created[order[left]] > in.settings.unbatched_window_ns) ++left;
      if (right + 1 - left < in.settings.unbatched_min) continue;
      if (!run.empty() && left >= reach) {
        report_run(run, false);
        run.clear();
      }
      for (std::size_t n = std::max(left, run.empty() ? left : reach); n <= right; ++n) run.push_back(order[n]);
      reach = right + 1;
    }
    if (!run.empty()) report_run(run, false);
    at = end;
  }
}

inline void find_cache_misses(const PatternContext& in, std::vector<Finding>& out) {
  enum State : std::uint8_t { kAssumedHit, kHit, kWaited, kFollowed, kMiss };
  struct Look {
    std::uint32_t request;
    std::uint32_t prefix;
    std::uint32_t unit;
    State state;
  };
  // Which lookups a request to the origin came after, for the same thing.
  std::vector<bool> followed(in.model.resources(), false);
  const auto key_of = [&](std::uint32_t unit) {
    std::string_view key = in.note_text(unit, PatternContext::kUrl);
    if (key.empty()) key = in.note_text(unit, PatternContext::kKey);
    return key;
  };
  const auto is_lookup = [&](std::uint32_t unit) {
    return in.class_of(unit) == TypeClass::kCache && in.model.type_name(unit) == "cache-get";
  };
  for (const std::uint32_t unit : in.network) {
    const std::uint32_t from = in.after[unit].unit;
    if (from == TraceModel::kNone || !is_lookup(from)) continue;
    const std::string_view asked = key_of(from);
    if (!asked.empty() && normalised_url(asked) == normalised_url(key_of(unit))) followed[from] = true;
  }
  const auto says = [](std::string_view text, std::string_view word) {
    if (text.size() < word.size()) return false;
    for (std::size_t at = 0; at < word.size(); ++at) {
      if (detail::lower(text[at]) != word[at]) return false;
    }
    return true;
  };
  std::vector<Look> looks;
  TextNumbers prefixes;
  for (const std::uint32_t unit : in.operations) {
    if (!is_lookup(unit)) continue;
    State state = kAssumedHit;
    bool told = false;
    for (const PatternContext::Key which : {PatternContext::kResult, PatternContext::kCache}) {
      const std::string_view text = in.note_text(unit, which);
      if (says(text, "miss") || says(text, "expired") || says(text, "stale")) {
        state = kMiss;
        told = true;
      } else if (says(text, "hit")) {
        state = kHit;
        told = true;
      }
      if (told) break;
    }
    if (!told && followed[unit]) {
      state = kFollowed;
    } else if (!told && in.duration(unit) > in.settings.cache_wait_ns) {
      state = kWaited;
    }
    looks.push_back({in.request_number(unit), prefixes.number_of(key_prefix(key_of(unit))), unit, state});
  }
  std::stable_sort(looks.begin(), looks.end(), [](const Look& a, const Look& b) {
    return a.request != b.request ? a.request < b.request : a.prefix < b.prefix;
  });
  for (std::size_t at = 0; at < looks.size();) {
    std::size_t end = at;
    std::vector<std::uint32_t> missed;
    std::uint64_t hits = 0;
    std::uint64_t path = 0;
    State surest = kAssumedHit;
    for (; end < looks.size() && looks[end].request == looks[at].request && looks[end].prefix == looks[at].prefix; ++end) {
      if (looks[end].state <= kHit) {
        ++hits;
        continue;
      }
      missed.push_back(looks[end].unit);
      path += in.on_path[looks[end].unit];
      surest = std::max(surest, looks[end].state);
    }
    const std::uint64_t total = end - at;
    if (!missed.empty() && hits * 100 < total * in.settings.cache_hit_percent) {
      Finding made = in.finding("cache-miss", Severity::kLow,
                                surest == kMiss ? Confidence::kHigh : surest == kFollowed ? Confidence::kMedium : Confidence::kLow, missed);
      in.saves(made, path);
      made.says("lookups", Evidence::Unit::kCount, total);
      made.says("misses", Evidence::Unit::kCount, missed.size());
      made.says("hit ratio", Evidence::Unit::kPermille, report::permille(hits, total));
      const std::string_view prefix = prefixes[looks[at].prefix];
      made.says("keys", prefix.empty() ? std::string_view("not known") : prefix);
      made.says("known by", surest == kMiss       ? std::string_view("the annotation")
                            : surest == kFollowed ? std::string_view("the request to the origin that followed")
                                                  : std::string_view("the wait alone"));
      made.summary = report::number_text(missed.size()) + " of " + report::number_text(total) + " cache lookups" +
                     (prefix.empty() ? std::string() : " under " + std::string(prefix)) + " miss.";
      made.advice = "Look at the key, the time to live and who fills it; a lookup that always misses only costs.";
      out.push_back(std::move(made));
    }
    at = end;
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
