// SPDX-License-Identifier: MIT
// patterns_loop.hpp: callbacks that hold the loop, alone or as a crowd, and code that runs too often.
//
//   loop-block       one callback, or one drain of the microtask queue, that is long     (2, high)
//   descheduled      ... which the processor did not run for most of it                  (2, medium)
//   promise-flood    promises made faster than anything can use them                     (8a, medium)
//   callback-flood   many callbacks made ready at once that keep the loop busy           (8b, medium)
//   hot-callback     one place that has a great part of all callbacks                    (13, low)
// Definitions: docs/analyses.md.
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

namespace thence {
inline namespace THENCE_ABI {

namespace detail {

/// A number of a note, in ns; false: it has none.
[[nodiscard]] inline bool number_of_note(const TraceModel::Note* note, std::uint64_t& value) noexcept {
  if (note == nullptr) return false;
  if (note->kind == ValueKind::kUint || note->kind == ValueKind::kInt) {
    if (note->kind == ValueKind::kInt && static_cast<std::int64_t>(note->bits) < 0) return false;
    value = note->bits;
    return true;
  }
  return false;
}

}  // namespace detail

inline void find_loop_blocks(const PatternContext& in, std::vector<Finding>& out) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  struct Block {
    std::uint32_t request;
    std::uint32_t location;
    std::uint64_t ns;
    bool descheduled;
    std::vector<std::uint32_t> invocations;  // one, or those of a checkpoint
  };
  std::vector<Block> blocks;
  std::vector<bool> is_block(in.model.invocations.size(), false);
  const auto location_of = [&](std::uint32_t at) {
    const std::uint32_t stack = in.model.invocations[at].stack;
    if (stack != kNone && in.run.visible.first_user[stack] != kNone) return in.run.visible.first_user[stack];
    return in.location_of(in.run.unit[in.run.resource_of(at)]);
  };
  for (std::uint32_t at = 0; at < in.model.invocations.size(); ++at) {
    if (in.run.is_span(at) || in.run.self[at] <= in.settings.loop_block_ns) continue;
    const std::uint32_t row = in.run.resource_of(at);
    if (in.run.class_of(row) == TypeClass::kRoot) continue;
    is_block[at] = true;
    // Only where the resource has one callback is the annotation that callback's.
    std::uint64_t cpu = 0;
    const bool cpu_known = in.model.invocations_of(row).size() == 1 && detail::number_of_note(in.note(in.run.unit[row], PatternContext::kCpu), cpu);
    const bool descheduled = cpu_known && cpu * 100 < in.run.self[at] * in.settings.descheduled_cpu_percent;
    blocks.push_back({in.request_number(row), location_of(at), in.run.self[at], descheduled, {at}});
  }
  // Drains of JavaScript's microtask queue: promise callbacks and microtasks one right after the other, none begun from outside.
  std::vector<bool> drains(in.model.type_names.size(), false);
  for (std::size_t type = 0; type < drains.size(); ++type) {
    const std::string_view name = in.model.name_of(static_cast<TypeId>(type));
    drains[type] = name == "js-promise" || name == "microtask";
  }
  for (std::uint32_t lane = 0; lane < in.run.lanes(); ++lane) {
    std::vector<std::uint32_t> checkpoint;
    std::uint64_t busy = 0;
    std::uint64_t until = 0;
    const auto close = [&] {
      bool blocked = false;
      std::uint32_t most = kNone;
      for (const std::uint32_t at : checkpoint) {
        blocked = blocked || is_block[at];
        if (most == kNone || in.run.self[at] > in.run.self[most]) most = at;
      }
      if (busy > in.settings.loop_block_ns && checkpoint.size() > 1 && !blocked) {
        std::vector<std::uint32_t> all{most};
        for (const std::uint32_t at : checkpoint) {
          if (at != most) all.push_back(at);
        }
        blocks.push_back({in.request_number(in.run.resource_of(most)), location_of(most), busy, false, std::move(all)});
      }
      checkpoint.clear();
      busy = 0;
    };
    for (const std::uint32_t at : in.run.on_lane[lane]) {
      if (in.run.is_span(at)) continue;
      const std::uint32_t row = in.run.resource_of(at);
      const bool nested = in.run.container[at] != kNone && !checkpoint.empty();
      const bool drained = in.model.has(row, ResourceFlag::kCreated) && in.model.type[row] < drains.size() && drains[in.model.type[row]];
      const bool outside = in.run.cause[at].kind == CauseOf::kExternal || in.run.cause[at].kind == CauseOf::kRoot;
      const bool apart = checkpoint.empty() || in.run.start(at) - std::min(in.run.start(at), until) >= in.settings.checkpoint_gap_ns;
      if (!nested && (!drained || outside || apart)) {
        close();
        if (!drained) {
          until = 0;
          continue;
        }
      }
      checkpoint.push_back(at);
      busy += in.run.self[at];
      until = std::max(until, in.run.end(at));
    }
    close();
  }
  // One finding a place and request.
  std::vector<std::uint32_t> named(in.model.resources(), 0);
  std::uint32_t number = 0;
  std::stable_sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
    if (a.request != b.request) return a.request < b.request;
    if (a.location != b.location) return a.location < b.location;
    return a.descheduled < b.descheduled;
  });
  for (std::size_t at = 0; at < blocks.size();) {
    ++number;
    std::size_t end = at;
    std::uint64_t sum = 0;
    std::uint64_t path = 0;
    const Block* worst = &blocks[at];
    std::vector<std::uint32_t> resources;
    std::vector<std::uint32_t> invocations;
    for (; end < blocks.size() && blocks[end].request == blocks[at].request && blocks[end].location == blocks[at].location &&
           blocks[end].descheduled == blocks[at].descheduled; ++end) {
      sum += blocks[end].ns;
      if (blocks[end].ns > worst->ns) worst = &blocks[end];
      for (const std::uint32_t one : blocks[end].invocations) path += in.invocation_on_path[one];
    }
    const auto add = [&](const Block& block) {
      for (const std::uint32_t one : block.invocations) {
        invocations.push_back(one);
        const std::uint32_t unit = in.run.unit[in.run.resource_of(one)];
        if (named[unit] != number) resources.push_back(unit);
        named[unit] = number;
      }
    };
    add(*worst);
    for (std::size_t n = at; n < end; ++n) {
      if (&blocks[n] != worst) add(blocks[n]);
    }
    const bool descheduled = worst->descheduled;
    Finding made = in.finding(descheduled ? "descheduled" : "loop-block", descheduled ? Severity::kMedium : Severity::kHigh,
                              Confidence::kHigh, resources);
    made.location = worst->location;
    made.lane = in.run.lane[worst->invocations.front()];
    made.start_ns = ~std::uint64_t{0};
    made.end_ns = 0;
    for (const std::uint32_t one : invocations) {
      made.start_ns = std::min(made.start_ns, in.run.start(one));
      made.end_ns = std::max(made.end_ns, in.run.end(one));
    }
    made.invocations = std::move(invocations);
    in.saves(made, path);
    made.says("longest", Evidence::Unit::kNanoseconds, worst->ns);
    made.says("in all", Evidence::Unit::kNanoseconds, sum);
    made.says("times", Evidence::Unit::kCount, end - at);
    made.says("callbacks in the longest", Evidence::Unit::kCount, worst->invocations.size());
    const std::string place = location_text(in.model, worst->location);
    if (descheduled) {
      made.summary = "A callback at " + place + " took " + report::duration_text(worst->ns) + ", most of it without a processor.";
      made.advice = "The machine is short of processors, or the thread is throttled: look outside of this program.";
    } else if (worst->invocations.size() > 1) {
      made.summary = report::number_text(worst->invocations.size()) + " callbacks without a break held the loop for " +
                     report::duration_text(worst->ns) + ", most of it at " + place + ".";
      made.advice = "Let the loop breathe: yield to a timer between pieces, or do less in each.";
    } else {
      made.summary = "A callback at " + place + " held the loop for " + report::duration_text(worst->ns) +
                     (end - at > 1 ? " (" + report::number_text(end - at) + " times over the limit)." : std::string("."));
      made.advice = "Split the work into pieces, or move it off the loop.";
    }
    out.push_back(std::move(made));
    at = end;
  }
}

inline void find_promise_floods(const PatternContext& in, std::vector<Finding>& out) {
  std::vector<bool> native_type(in.model.type_names.size() + 1, false);
  for (std::size_t type = 0; type < native_type.size(); ++type) native_type[type] = in.model.name_of(static_cast<TypeId>(type)) != "js-promise";
  std::vector<std::uint32_t> promises;
  promises.reserve(in.units.rows.size());
  std::uint64_t native = 0;
  for (const std::uint32_t unit : in.units.rows) {
    if (in.class_of(unit) != TypeClass::kPromise) continue;
    promises.push_back(unit);
    if (native_type[in.model.type[unit]]) ++native;
  }
  const bool is_native = native * 2 > promises.size();
  const std::uint64_t fewest = is_native ? in.settings.promise_flood_native_min : in.settings.promise_flood_min;
  const std::uint64_t window = std::max<std::uint64_t>(in.settings.promise_flood_window_ns, 1);
  if (promises.size() < fewest) return;
  // The median of how many are made in each window's length from the trace's begin to its end, empty ones too.
  const std::uint64_t spans = (in.model.last_time - in.model.first_time) / window + 1;
  std::vector<std::uint64_t> places;
  places.reserve(promises.size());
  for (const std::uint32_t unit : promises) {
    const std::uint64_t created = in.units.created[unit];
    places.push_back(created > in.model.first_time ? (created - in.model.first_time) / window : 0);
  }
  if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
  std::vector<std::uint64_t> counts;
  for (std::size_t at = 0; at < places.size();) {
    std::size_t end = at;
    while (end < places.size() && places[end] == places[at]) ++end;
    counts.push_back(end - at);
    at = end;
  }
  std::sort(counts.begin(), counts.end());
  // Nearest rank of the median among `spans` counts, of which all but these are 0.
  const std::uint64_t rank = (spans + 1) / 2;
  const std::uint64_t empty = spans > counts.size() ? spans - counts.size() : 0;
  const std::uint64_t median = rank <= empty ? 0 : counts[static_cast<std::size_t>(rank - empty - 1)];

  // By lane, those of none last; each lane's are in order of creation as a rule.
  const std::size_t lanes = in.model.lanes.size();
  RowIndex by_lane;
  by_lane.build(lanes + 1, promises.size(), [&](std::uint32_t at) {
    return std::min(in.model.created_lane[promises[at]], static_cast<std::uint32_t>(lanes));
  });
  for (std::uint32_t& item : by_lane.items) item = promises[item];
  promises.swap(by_lane.items);
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) {
    if (in.units.created[a] != in.units.created[b]) return in.units.created[a] < in.units.created[b];
    return in.model.id[a] < in.model.id[b];
  };
  for (std::size_t lane = 0; lane <= lanes; ++lane) {
    const auto from = promises.begin() + static_cast<std::ptrdiff_t>(by_lane.first[lane]);
    const auto to = promises.begin() + static_cast<std::ptrdiff_t>(by_lane.first[lane + 1]);
    if (!std::is_sorted(from, to, earlier)) std::sort(from, to, earlier);
  }
  const auto flood = [&](std::size_t begin, std::size_t end, std::uint64_t peak) {
    std::vector<std::uint32_t> all(promises.begin() + static_cast<std::ptrdiff_t>(begin), promises.begin() + static_cast<std::ptrdiff_t>(end));
    // The place that made most of them speaks for all.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> at;
    for (const std::uint32_t unit : all) at.push_back({in.where.of[unit], unit});
    std::stable_sort(at.begin(), at.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::size_t most = 0;
    std::uint32_t speaker = all.front();
    for (std::size_t from = 0; from < at.size();) {
      std::size_t to = from;
      while (to < at.size() && at[to].first == at[from].first) ++to;
      const bool known = in.where.entries[at[from].first].known;
      if (known && to - from > most) {
        most = to - from;
        speaker = at[from].second;
      }
      from = to;
    }
    Finding made = in.finding("promise-flood", Severity::kMedium, Confidence::kMedium, all);
    made.request = in.run.request[speaker];
    made.location = in.location_of(speaker);
    made.lane = in.model.created_lane[all.front()];
    made.start_ns = in.units.created[all.front()];
    made.end_ns = in.units.created[all.back()];
    made.says("peak in the window", Evidence::Unit::kCount, peak);
    made.says("window", Evidence::Unit::kNanoseconds, window);
    made.says("in all", Evidence::Unit::kCount, all.size());
    made.says("median of the trace", Evidence::Unit::kCount, median);
    made.summary = report::number_text(all.size()) + " promises within " + report::duration_text(made.end_ns - made.start_ns) +
                   ", up to " + report::number_text(peak) + " in " + report::duration_text(window) + ", most at " + in.location_name(speaker) + ".";
    made.advice = "Make them in batches, or hand the whole list to one operation.";
    out.push_back(std::move(made));
  };
  std::size_t left = 0;
  std::size_t begin = 0;
  std::size_t reach = 0;
  std::uint64_t peak = 0;
  for (std::size_t right = 0; right < promises.size(); ++right) {
    if (in.model.created_lane[promises[left]] != in.model.created_lane[promises[right]]) left = right;
    while (in.units.created[promises[right]] - in.units.created[promises[left]] > window) ++left;
    const std::uint64_t count = right + 1 - left;
    if (count < fewest || count < median * in.settings.promise_flood_factor) continue;
    if (peak != 0 && left >= reach) {
      flood(begin, reach, peak);
      peak = 0;
    }
    if (peak == 0) begin = left;
    peak = std::max(peak, count);
    reach = right + 1;
  }
  if (peak != 0) flood(begin, reach, peak);
}

/// Callbacks of the user's that came to a lane faster than it could run them: those made ready within the window, whenever
/// they ran. Many that come one after the other and run as they come are a lane at work, and no flood.
inline void find_callback_floods(const PatternContext& in, std::vector<Finding>& out) {
  std::vector<std::uint32_t> all;
  for (std::uint32_t lane = 0; lane < in.run.lanes(); ++lane) {
    all.clear();
    for (const std::uint32_t at : in.run.on_lane[lane]) {
      const std::uint32_t unit = in.run.unit[in.run.resource_of(at)];
      if (in.run.is_span(at) || !in.units.is_unit(unit) || in.location_of(unit) == TraceModel::kNone) continue;
      all.push_back(at);
    }
    const auto earlier = [&](std::uint32_t a, std::uint32_t b) {
      return in.run.ready[a] != in.run.ready[b] ? in.run.ready[a] < in.run.ready[b] : a < b;
    };
    if (!std::is_sorted(all.begin(), all.end(), earlier)) std::sort(all.begin(), all.end(), earlier);
    const auto flood = [&](std::size_t begin, std::size_t end, std::uint64_t peak) {
      std::vector<std::uint32_t> invocations(all.begin() + static_cast<std::ptrdiff_t>(begin), all.begin() + static_cast<std::ptrdiff_t>(end));
      std::vector<std::uint32_t> resources;
      std::uint32_t longest = all[begin];
      std::uint64_t ran = 0;
      std::uint64_t to = 0;
      for (const std::uint32_t at : invocations) {
        resources.push_back(in.run.unit[in.run.resource_of(at)]);
        ran += in.run.self[at];
        to = std::max(to, in.run.end(at));
        if (in.run.self[at] > in.run.self[longest]) longest = at;
      }
      std::sort(resources.begin(), resources.end());
      resources.erase(std::unique(resources.begin(), resources.end()), resources.end());
      const std::uint64_t from = in.run.ready[all[begin]];
      const std::uint64_t within = in.run.ready[all[end - 1]] - from;
      Finding made = in.finding("callback-flood", Severity::kMedium, Confidence::kMedium, resources);
      const std::uint32_t speaker = in.run.unit[in.run.resource_of(longest)];
      made.request = in.run.request[speaker];
      made.location = in.location_of(speaker);
      made.lane = lane;
      made.start_ns = from;
      made.end_ns = to;
      made.invocations = std::move(invocations);
      made.says("callbacks", Evidence::Unit::kCount, end - begin);
      made.says("made ready within", Evidence::Unit::kNanoseconds, within);
      made.says("ran", Evidence::Unit::kNanoseconds, ran);
      made.says("most work of a window", Evidence::Unit::kNanoseconds, peak);
      made.says("window", Evidence::Unit::kNanoseconds, in.settings.callback_flood_window_ns);
      made.summary = report::number_text(end - begin) + " callbacks made ready within " + report::duration_text(within) +
                     " kept the loop busy for " + report::duration_text(ran) + ", the longest at " + in.location_name(speaker) + ".";
      made.advice = "Spread them: handle a few, then yield; or handle them as one batch.";
      out.push_back(std::move(made));
    };
    std::size_t left = 0;
    std::size_t begin = 0;
    std::size_t reach = 0;
    std::uint64_t work = 0;
    std::uint64_t peak = 0;
    for (std::size_t right = 0; right < all.size(); ++right) {
      work += in.run.self[all[right]];
      for (; in.run.ready[all[right]] - in.run.ready[all[left]] > in.settings.callback_flood_window_ns; ++left) work -= in.run.self[all[left]];
      if (right + 1 - left < in.settings.callback_flood_min || work < in.settings.callback_flood_busy_ns) continue;
      if (peak != 0 && left >= reach) {
        flood(begin, reach, peak);
        peak = 0;
      }
      if (peak == 0) begin = left;
      peak = std::max(peak, work);
      reach = right + 1;
    }
    if (peak != 0) flood(begin, reach, peak);
  }
}

inline void find_hot_callbacks(const PatternContext& in, std::vector<Finding>& out) {
  struct Place {
    std::uint64_t runs = 0;
    std::uint64_t exec = 0;
    std::uint64_t most_children = 0;
    std::uint32_t speaker = TraceModel::kNone;
    std::uint32_t parent = TraceModel::kNone;  // the invocation that made the most
  };
  std::vector<Place> places(in.where.entries.size());
  std::uint64_t runs = 0;
  std::uint64_t exec = 0;
  for (std::uint32_t at = 0; at < in.model.invocations.size(); ++at) {
    if (in.run.is_span(at)) continue;
    ++runs;
    exec += in.run.self[at];
    const std::uint32_t unit = in.run.unit[in.run.resource_of(at)];
    if (!in.units.is_unit(unit)) continue;
    Place& place = places[in.where.of[unit]];
    ++place.runs;
    place.exec += in.run.self[at];
    if (place.speaker == TraceModel::kNone) place.speaker = unit;
  }
  std::vector<std::uint32_t> children(in.model.invocations.size(), 0);
  for (const std::uint32_t unit : in.units.rows) {
    const std::uint32_t by = in.run.creator[in.units.first[unit]];
    // Of one moment, it may seem to have begun before it was made.
    if (by != TraceModel::kNone && !in.run.is_span(by) && in.run.unit[in.run.resource_of(by)] != unit) ++children[by];
  }
  for (std::uint32_t at = 0; at < children.size(); ++at) {
    const std::uint32_t unit = in.run.unit[in.run.resource_of(at)];
    if (children[at] <= in.settings.hot_children || !in.units.is_unit(unit)) continue;
    Place& place = places[in.where.of[unit]];
    if (children[at] > place.most_children) {
      place.most_children = children[at];
      place.parent = at;
    }
  }
  for (std::uint32_t at = 0; at < places.size(); ++at) {
    const Place& place = places[at];
    if (!in.where.entries[at].known || place.speaker == TraceModel::kNone) continue;
    const bool often = place.runs >= in.settings.hot_min ||
                       (place.runs >= in.settings.hot_percent_min && place.runs * 100 >= runs * in.settings.hot_percent);
    const bool costly = place.exec * 100 >= exec * in.settings.hot_exec_percent && place.exec != 0;
    if (!(often && costly) && place.most_children == 0) continue;
    const std::uint32_t speaker = place.most_children != 0 ? in.run.unit[in.run.resource_of(place.parent)] : place.speaker;
    const std::uint32_t one[] = {speaker};
    Finding made = in.finding("hot-callback", Severity::kLow, Confidence::kMedium, one);
    if (place.parent != TraceModel::kNone) made.invocations.push_back(place.parent);
    made.says("callbacks", Evidence::Unit::kCount, place.runs);
    made.says("of all callbacks", Evidence::Unit::kPermille, report::permille(place.runs, runs));
    made.says("ran", Evidence::Unit::kNanoseconds, place.exec);
    made.says("of all running", Evidence::Unit::kPermille, report::permille(place.exec, exec));
    if (place.most_children != 0) made.says("created by one callback", Evidence::Unit::kCount, place.most_children);
    made.summary = often && costly ? report::number_text(place.runs) + " callbacks at " + in.where.entries[at].text + ", " +
                                         report::percent_text(report::permille(place.runs, runs)) + " of all, ran " +
                                         report::duration_text(place.exec) + "."
                                   : "One callback at " + in.where.entries[at].text + " created " +
                                         report::number_text(place.most_children) + " operations.";
    made.advice = "Run it less often (debounce, batch), or make each run cheaper: a little saved here is saved many times.";
    out.push_back(std::move(made));
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
