// SPDX-License-Identifier: MIT
// The fourteen detectors a second time, naively: every pair and every window looked at, on random programs of up to 500
// resources. Both must find the same.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "corpus/made.hpp"
#include "corpus/random_made.hpp"
#include "support/catch.hpp"

namespace {

using namespace thence;
using namespace thence_test;

constexpr std::uint32_t kNone = TraceModel::kNone;
using Set = std::multiset<std::string>;

/// The definitions of docs/analyses.md, read aloud. Rows are those of the model; a label has ids.
struct Naive {
  explicit Naive(Analysed& of) : in(of), run(of.run), model(of.model), s(of.settings.patterns) {
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (in.units.is_unit(row)) units.push_back(row);
    }
    std::stable_sort(units.begin(), units.end(), [&](auto a, auto b) { return in.units.first[a] < in.units.first[b]; });
  }

  Analysed& in;
  const Execution& run;
  const TraceModel& model;
  const PatternSettings& s;
  std::vector<std::uint32_t> units;

  // -- facts ----------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::string type(std::uint32_t unit) const { return std::string(model.type_name(unit)); }
  [[nodiscard]] std::string note(std::uint32_t unit, const std::string& key) const {
    for (const std::uint32_t part : run.members[unit]) {
      for (const TraceModel::Note& one : model.notes_of(part)) {
        if (model.text(one.key) == key && one.kind == ValueKind::kString) return std::string(one.text);
      }
    }
    return {};
  }
  [[nodiscard]] std::vector<std::uint32_t> user_frames(std::uint32_t unit) const {
    std::vector<std::uint32_t> all;
    if (model.stack[unit] == kNone) return all;
    for (const std::uint32_t frame : model.frames_of(model.stack[unit])) {
      const std::string_view file = model.text(model.frames[frame].file);
      if (!file.empty() && !file.starts_with("node:")) all.push_back(frame);
    }
    return all;
  }
  [[nodiscard]] std::string function(std::uint32_t frame) const {
    const TraceModel::Frame& what = model.frames[frame];
    std::string text(model.text(what.function));
    text += "@" + std::string(model.text(what.file));
    if (text.starts_with("<anonymous>") || text.starts_with("@")) text += ":" + std::to_string(what.line);
    return text;
  }
  [[nodiscard]] std::string callee(std::uint32_t unit) const {
    const auto frames = user_frames(unit);
    return frames.empty() ? "" : function(frames[0]);
  }
  [[nodiscard]] std::string caller(std::uint32_t unit) const {
    const auto frames = user_frames(unit);
    if (frames.empty()) return "";
    const bool the_call = model.text(model.frames[frames[0]].function) == "fetch";
    return function(frames[the_call && frames.size() > 1 ? 1 : 0]);
  }
  [[nodiscard]] std::string stack(std::uint32_t unit) const {
    if (user_frames(unit).empty()) return "";
    std::string text;
    for (const std::uint32_t frame : model.frames_of(model.stack[unit])) text += std::to_string(frame) + ",";
    return text;
  }
  [[nodiscard]] std::string place(std::uint32_t unit) const { return in.where[unit].text; }
  [[nodiscard]] std::uint64_t c(std::uint32_t unit) const { return in.units.created[unit]; }
  [[nodiscard]] std::uint64_t e(std::uint32_t unit) const { return run.operation_time(unit).end; }
  [[nodiscard]] std::uint64_t took(std::uint32_t unit) const { return e(unit) - run.operation_time(unit).start; }
  [[nodiscard]] bool network(std::uint32_t unit) const { return type(unit) == "fetch"; }
  [[nodiscard]] std::uint64_t whole() const { return run.requests.empty() ? model.last_time - model.first_time : run.requests[0].duration(); }

  struct From {
    std::uint32_t op = kNone;
    std::uint64_t exec = 0;
  };
  /// Back from a moment of an invocation, step by step, to an operation.
  [[nodiscard]] From back(std::uint32_t at, std::uint64_t moment) const {
    From made;
    for (int steps = 0; at != kNone && steps < 100'000; ++steps) {
      if (run.is_span(at)) return {kNone, made.exec};
      made.exec += std::min(run.self[at], moment > run.start(at) ? moment - run.start(at) : 0);
      const Execution::Cause& cause = run.cause[at];
      if (cause.kind == CauseOf::kRoot) return {kNone, made.exec};
      if (cause.kind == CauseOf::kExternal) {
        made.op = cause.resource == kNone || !in.units.is_unit(run.unit[cause.resource]) ? kNone : run.unit[cause.resource];
        return made;
      }
      std::uint32_t before = cause.invocation;
      moment = cause.at;
      if (cause.kind == CauseOf::kUnknown) {
        before = run.previous[at];
        moment = before == kNone ? run.created(run.resource_of(at)) : run.end(before);
        if (before == kNone) before = run.creator[run.resource_of(at)];
      }
      if (before != kNone && before >= at) return {kNone, made.exec};
      at = before;
    }
    return {kNone, made.exec};
  }
  [[nodiscard]] From after(std::uint32_t unit) const { return back(run.creator[in.units.first[unit]], c(unit)); }
  [[nodiscard]] bool follows(std::uint32_t op, std::uint32_t unit) const {
    return op != kNone && op != unit && run.same_request(op, unit) && run.settle_known[op] && c(unit) >= e(op);
  }

  static std::string label(const TraceModel& of, std::string id, std::vector<std::uint32_t> rows) {
    std::vector<std::uint64_t> ids;
    for (const std::uint32_t row : rows) ids.push_back(of.id[row]);
    std::sort(ids.begin(), ids.end());
    id += ":";
    for (const std::uint64_t one : ids) id += " " + std::to_string(one);
    return id;
  }
  void add(Set& out, const std::string& id, const std::vector<std::uint32_t>& rows) const { out.insert(label(model, id, rows)); }

  // -- detectors ------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::vector<std::vector<std::uint32_t>> sequences() const {
    const auto batched = [&](std::uint32_t unit) {
      const std::uint32_t by = run.creator[in.units.first[unit]];
      int same = 0;
      for (const std::uint32_t other : units) {
        if (network(other) && by != kNone && !run.is_span(by) && run.creator[in.units.first[other]] == by && caller(other) == caller(unit)) ++same;
      }
      return same > 1;
    };
    std::map<std::uint32_t, std::uint32_t> next, before;
    for (const std::uint32_t unit : units) {
      const From from = after(unit);
      if (!network(unit) || from.op == kNone || !network(from.op) || next.count(from.op) || !follows(from.op, unit)) continue;
      if (from.exec > s.sequential_between_exec_ns || caller(unit).empty() || caller(unit) != caller(from.op)) continue;
      if (batched(unit) && batched(from.op)) continue;
      next[from.op] = unit;
      before[unit] = from.op;
    }
    std::vector<std::vector<std::uint32_t>> all;
    for (const std::uint32_t unit : units) {
      if (before.count(unit) || !next.count(unit)) continue;
      std::vector<std::uint32_t> one{unit};
      while (next.count(one.back())) one.push_back(next[one.back()]);
      if (one.size() > 2 || callee(one[0]) == callee(one[1])) all.push_back(one);
    }
    return all;
  }
  void sequential(Set& out) const {
    for (const auto& one : sequences()) add(out, "sequential-fetch", one);
  }
  void duplicates(Set& out) const {
    std::map<std::string, std::vector<std::uint32_t>> by_key;
    for (const std::uint32_t unit : units) {
      const std::string url = note(unit, "url");
      const std::string method = note(unit, "method");
      if (!network(unit) || url.empty() || url.find("***") != std::string::npos || method == "POST") continue;
      by_key[normalised_url(url)].push_back(unit);
    }
    for (const auto& [key, same] : by_key) {
      if (same.size() >= 2) add(out, "duplicate-fetch", same);
    }
  }
  void waterfalls(Set& out) const {
    std::set<std::uint32_t> reported;
    for (const auto& one : sequences()) reported.insert(one.begin(), one.end());
    const auto above = [&](std::uint32_t unit) {
      // Up the chain of operations to the next network one; one that is in a run ends it.
      for (std::uint32_t at = unit;;) {
        const std::uint32_t from = after(at).op;
        if (!follows(from, at)) return kNone;
        if (network(from)) return reported.count(from) ? kNone : from;
        at = from;
      }
    };
    std::map<std::uint32_t, std::vector<std::uint32_t>> chain;
    std::vector<std::uint32_t> leaves;
    std::vector<std::uint32_t> in_order = units;
    std::stable_sort(in_order.begin(), in_order.end(), [&](auto a, auto b) { return c(a) < c(b); });
    for (const std::uint32_t unit : in_order) {
      if (!network(unit) || reported.count(unit)) continue;
      const std::uint32_t up = above(unit);
      if (up != kNone) chain[unit] = chain[up];
      chain[unit].push_back(unit);
      leaves.push_back(unit);
    }
    const auto total = [&](std::uint32_t leaf) {
      std::uint64_t sum = 0;
      for (const std::uint32_t unit : chain[leaf]) sum += took(unit);
      return sum;
    };
    std::stable_sort(leaves.begin(), leaves.end(), [&](auto a, auto b) {
      if (total(a) != total(b)) return total(a) > total(b);
      return c(a) != c(b) ? c(a) < c(b) : model.id[a] < model.id[b];
    });
    std::set<std::uint32_t> used;
    for (const std::uint32_t leaf : leaves) {
      const auto& one = chain[leaf];
      std::set<std::string> functions;
      std::uint64_t longest = 0;
      for (const std::uint32_t unit : one) {
        functions.insert(caller(unit));
        longest = std::max(longest, took(unit));
      }
      const bool many = one.size() >= 3 && total(leaf) * 100 > whole() * 25;
      const bool two = one.size() == 2 && total(leaf) * 100 > whole() * 50 && (total(leaf) - longest) * 100 > whole() * 10;
      if (functions.size() < 2 || (!many && !two)) continue;
      bool fresh = true;
      for (const std::uint32_t unit : one) fresh = used.insert(unit).second && fresh;
      if (fresh) add(out, "waterfall-fetch", one);
    }
  }
  void crowded(Set& out) const {
    std::map<std::string, std::vector<std::uint32_t>> by_origin;
    for (const std::uint32_t unit : units) {
      if (network(unit) && took(unit) != 0) by_origin[origin_of(note(unit, "url"))].push_back(unit);
    }
    for (auto& [origin, all] : by_origin) {
      // At each beginning: how many are in flight. The peak is where it is first reached.
      std::stable_sort(all.begin(), all.end(), [&](auto a, auto b) { return c(a) != c(b) ? c(a) < c(b) : a < b; });
      std::vector<std::uint32_t> peak;
      for (std::size_t at = 0; at < all.size(); ++at) {
        std::vector<std::uint32_t> open;
        for (std::size_t other = 0; other <= at; ++other) {
          if (e(all[other]) > c(all[at])) open.push_back(all[other]);
        }
        if (open.size() > peak.size()) peak = open;
      }
      if (peak.size() > s.concurrency_limit) add(out, "fetch-concurrency", peak);
    }
  }
  void storage(Set& out) const {
    const auto batch = [&](std::uint32_t unit) { return type(unit) == "kv-get" || type(unit) == "d1-query"; };
    const auto kind = [&](std::uint32_t unit) { return type(unit) + "/" + note(unit, "binding"); };
    std::map<std::uint32_t, std::uint32_t> next, before;
    for (const std::uint32_t unit : units) {
      if (!batch(unit)) continue;
      std::uint32_t at = unit;
      for (int steps = 0; steps < 16; ++steps) {
        const std::uint32_t from = after(at).op;
        if (from == kNone || from == at || !run.settle_known[from] || c(at) < e(from)) break;
        at = from;
        if (!batch(at) || kind(at) != kind(unit)) continue;
        if (!next.count(at) && !callee(at).empty() && callee(at) == callee(unit)) {
          next[at] = unit;
          before[unit] = at;
        }
        break;
      }
    }
    std::set<std::uint32_t> taken;
    for (const std::uint32_t unit : units) {
      if (before.count(unit) || !next.count(unit)) continue;
      std::vector<std::uint32_t> one{unit};
      while (next.count(one.back())) one.push_back(next[one.back()]);
      if (one.size() < 3) continue;
      taken.insert(one.begin(), one.end());
      add(out, "unbatched-storage", one);
    }
    // Windows: from each unit those of its kind and group that come within 5 ms; windows that share one are one.
    std::map<std::pair<std::string, std::uint32_t>, std::vector<std::uint32_t>> by_group;
    for (const std::uint32_t unit : units) {
      if (batch(unit) && !taken.count(unit)) by_group[{kind(unit), in.groups.of[unit]}].push_back(unit);
    }
    for (auto& [key, all] : by_group) {
      std::stable_sort(all.begin(), all.end(), [&](auto a, auto b) { return c(a) != c(b) ? c(a) < c(b) : model.id[a] < model.id[b]; });
      std::vector<std::set<std::uint32_t>> windows;
      for (const std::uint32_t first : all) {
        std::set<std::uint32_t> window;
        for (const std::uint32_t other : all) {
          if (c(other) >= c(first) && c(other) - c(first) <= s.unbatched_window_ns) window.insert(other);
        }
        if (window.size() >= 3) windows.push_back(window);
      }
      merge(windows, [&](const std::set<std::uint32_t>& one) { add(out, "unbatched-storage", {one.begin(), one.end()}); });
    }
  }
  /// Sets that share a member become one, until none do.
  static void merge(std::vector<std::set<std::uint32_t>> sets, const std::function<void(const std::set<std::uint32_t>&)>& each) {
    for (bool again = true; again;) {
      again = false;
      for (std::size_t a = 0; a < sets.size() && !again; ++a) {
        for (std::size_t b = a + 1; b < sets.size() && !again; ++b) {
          const bool share = std::any_of(sets[a].begin(), sets[a].end(), [&](std::uint32_t one) { return sets[b].count(one) != 0; });
          if (!share) continue;
          sets[a].insert(sets[b].begin(), sets[b].end());
          sets.erase(sets.begin() + static_cast<std::ptrdiff_t>(b));
          again = true;
        }
      }
    }
    for (const auto& one : sets) each(one);
  }
  void caches(Set& out) const {
    std::map<std::string, std::vector<std::uint32_t>> by_prefix;
    std::map<std::string, std::vector<std::uint32_t>> missed;
    const auto key = [&](std::uint32_t unit) { return note(unit, "url").empty() ? note(unit, "key") : note(unit, "url"); };
    for (const std::uint32_t unit : units) {
      if (type(unit) != "cache-get") continue;
      const std::string prefix(key_prefix(key(unit)));
      by_prefix[prefix].push_back(unit);
      const std::string said = note(unit, "result");
      bool miss = said == "MISS";
      if (said.empty()) {
        for (const std::uint32_t other : units) {
          if (network(other) && after(other).op == unit && !key(unit).empty() && normalised_url(key(unit)) == normalised_url(key(other))) miss = true;
        }
        miss = miss || took(unit) > s.cache_wait_ns;
      }
      if (miss) missed[prefix].push_back(unit);
    }
    for (const auto& [prefix, all] : missed) {
      const std::size_t total = by_prefix[prefix].size();
      if ((total - all.size()) * 100 < total * 90) add(out, "cache-miss", all);
    }
  }
  void blocks(Set& out) const {
    std::map<std::string, std::set<std::uint32_t>> by_place;
    std::set<std::uint32_t> single;
    const auto where = [&](std::uint32_t at) { return location_text(model, in.context.location_of(run.unit[run.resource_of(at)])); };
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      if (run.is_span(at) || run.self[at] <= s.loop_block_ns || type(run.resource_of(at)) == "root") continue;
      single.insert(at);
      by_place[where(at)].insert(run.unit[run.resource_of(at)]);
    }
    // Checkpoints: from each callback as far as the drain goes.
    std::vector<std::uint32_t> order;
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      if (!run.is_span(at)) order.push_back(at);
    }
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      if (run.lane[a] != run.lane[b]) return run.lane[a] < run.lane[b];
      return run.start(a) != run.start(b) ? run.start(a) < run.start(b) : a < b;
    });
    const auto drains = [&](std::uint32_t at) { return type(run.resource_of(at)) == "js-promise"; };
    for (std::size_t first = 0; first < order.size();) {
      if (!drains(order[first])) {
        ++first;
        continue;
      }
      std::vector<std::uint32_t> all{order[first]};
      std::uint64_t until = run.end(order[first]);
      std::size_t next = first + 1;
      for (; next < order.size() && run.lane[order[next]] == run.lane[order[first]]; ++next) {
        const std::uint32_t at = order[next];
        const CauseOf kind = run.cause[at].kind;
        const bool nested = run.container[at] != kNone;
        if (!nested && (!drains(at) || kind == CauseOf::kExternal || kind == CauseOf::kRoot ||
                        (run.start(at) >= until && run.start(at) - until >= s.checkpoint_gap_ns))) {
          break;
        }
        all.push_back(at);
        until = std::max(until, run.end(at));
      }
      std::uint64_t sum = 0;
      std::uint32_t most = all[0];
      bool has_single = false;
      for (const std::uint32_t at : all) {
        sum += run.self[at];
        if (run.self[at] > run.self[most]) most = at;
        has_single = has_single || single.count(at) != 0;
      }
      if (all.size() > 1 && !has_single && sum > s.loop_block_ns) {
        for (const std::uint32_t at : all) by_place[where(most)].insert(run.unit[run.resource_of(at)]);
      }
      first = next;
    }
    for (const auto& [name, all] : by_place) add(out, "loop-block", {all.begin(), all.end()});
  }
  void promise_floods(Set& out) const {
    std::vector<std::uint32_t> promises;
    for (const std::uint32_t unit : units) {
      if (type(unit) == "js-promise") promises.push_back(unit);
    }
    std::vector<std::uint64_t> counts;
    for (std::uint64_t from = model.first_time; from <= model.last_time; from += s.promise_flood_window_ns) {
      counts.push_back(static_cast<std::uint64_t>(std::count_if(promises.begin(), promises.end(), [&](std::uint32_t unit) {
        return c(unit) >= from && c(unit) < from + s.promise_flood_window_ns;
      })));
    }
    std::sort(counts.begin(), counts.end());
    const std::uint64_t median = counts[(counts.size() + 1) / 2 - 1];
    std::vector<std::set<std::uint32_t>> windows;
    for (const std::uint32_t last : promises) {
      std::set<std::uint32_t> window;
      for (const std::uint32_t other : promises) {
        if (c(other) <= c(last) && c(last) - c(other) <= s.promise_flood_window_ns) window.insert(other);
      }
      if (window.size() >= s.promise_flood_min && window.size() >= 5 * median) windows.push_back(window);
    }
    merge(windows, [&](const std::set<std::uint32_t>& one) { add(out, "promise-flood", {one.begin(), one.end()}); });
  }
  void callback_floods(Set& out) const {
    std::vector<std::uint32_t> all;
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      const std::uint32_t unit = run.unit[run.resource_of(at)];
      if (!run.is_span(at) && in.units.is_unit(unit) && in.context.location_of(unit) != kNone) all.push_back(at);
    }
    std::vector<std::set<std::uint32_t>> windows;
    for (const std::uint32_t last : all) {
      std::set<std::uint32_t> window;
      for (const std::uint32_t other : all) {
        if (run.lane[other] == run.lane[last] && run.ready[other] <= run.ready[last] && run.ready[last] - run.ready[other] <= s.callback_flood_window_ns) window.insert(other);
      }
      std::uint64_t work = 0;
      for (const std::uint32_t at : window) work += run.self[at];
      if (window.size() >= s.callback_flood_min && work >= s.callback_flood_busy_ns) windows.push_back(window);
    }
    merge(windows, [&](const std::set<std::uint32_t>& one) {
      std::set<std::uint32_t> rows;
      for (const std::uint32_t at : one) rows.insert(run.unit[run.resource_of(at)]);
      add(out, "callback-flood", {rows.begin(), rows.end()});
    });
  }
  void hot(Set& out) const {
    std::map<std::string, std::vector<std::uint32_t>> runs;
    std::uint64_t all = 0, exec = 0;
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      if (run.is_span(at)) continue;
      ++all;
      exec += run.self[at];
      const std::uint32_t unit = run.unit[run.resource_of(at)];
      if (in.units.is_unit(unit) && in.where[unit].known) runs[place(unit)].push_back(at);
    }
    for (const auto& [name, of] : runs) {
      std::uint64_t ran = 0;
      for (const std::uint32_t at : of) ran += run.self[at];
      const bool often = of.size() >= 1000 || (of.size() >= 50 && of.size() * 100 >= all * 20);
      std::size_t most = 0;
      std::uint32_t mother = kNone;
      for (const std::uint32_t at : of) {
        const auto made = static_cast<std::size_t>(std::count_if(units.begin(), units.end(), [&](std::uint32_t unit) {
          return run.creator[in.units.first[unit]] == at && run.unit[run.resource_of(at)] != unit;
        }));
        if (made > most) {
          most = made;
          mother = at;
        }
      }
      if (most > 100) {
        add(out, "hot-callback", {run.unit[run.resource_of(mother)]});
      } else if (often && ran * 100 >= exec * 5 && ran != 0) {
        add(out, "hot-callback", {run.unit[run.resource_of(of.front())]});
      }
    }
  }
  void gaps(Set& out) const {
    // Idle: where no callback of the request runs; asked at every end of one.
    if (run.requests.empty()) return;
    const std::uint64_t begin = run.requests[0].start, end = run.requests[0].end;
    std::set<std::uint64_t> edges{begin};
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      if (!run.is_span(at) && run.request_of(at) == 0) edges.insert(std::clamp(run.end(at), begin, end));
    }
    bool any = false;
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) any = any || (!run.is_span(at) && run.end(at) > run.start(at));
    int count = 0;
    for (const std::uint64_t from : edges) {
      std::uint64_t to = end;
      bool covered = false;
      for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
        if (run.is_span(at) || run.request_of(at) != 0 || run.start(at) == run.end(at)) continue;
        covered = covered || (run.start(at) <= from && run.end(at) > from);
        if (run.start(at) > from) to = std::min(to, run.start(at));
      }
      if (covered || to <= from) continue;
      const std::uint64_t length = to - from;
      if (any && (length > s.long_gap_ns || (length > s.long_gap_share_ns && length * 100 > whole() * 25))) ++count;
    }
    for (int n = 0; n < count; ++n) out.insert("long-gap");
  }
  void unresolved(Set& out) const {
    const bool plain = run.normal.inferred;
    bool settles = false;
    for (std::uint32_t row = 0; row < model.resources(); ++row) settles = settles || model.has(row, ResourceFlag::kSettled);
    if (!plain && !settles) return;
    const auto has_callback = [&](std::uint32_t unit) { return in.units.callbacks[unit] != 0; };
    if (plain) {
      for (const std::uint32_t unit : units) {
        if (type(unit) != "js-promise" || has_callback(unit)) continue;
        for (const std::uint32_t other : units) {
          for (std::uint32_t up = in.units.parent[other]; up != kNone; up = in.units.parent[up]) {
            if (up == unit && has_callback(other)) return;
          }
        }
      }
    }
    std::map<std::pair<std::string, bool>, std::vector<std::uint32_t>> by_place;
    for (const std::uint32_t unit : units) {
      bool awaited = false, settled = false;
      for (const TraceModel::Link& link : model.links) awaited = awaited || (run.unit[link.cause] == unit && run.unit[link.effect] != unit);
      for (const std::uint32_t part : run.members[unit]) settled = settled || run.settle_known[part];
      if (settled || run.request[unit] == kNone || type(unit) == "stream-read") continue;
      if (has_callback(unit) && (plain || !awaited)) continue;
      if (!awaited && in.context.location_of(unit) == kNone) continue;
      if (c(unit) > run.requests[0].end) continue;
      by_place[{std::to_string(in.where.of[unit]), in.units.destroyed[unit]}].push_back(unit);
    }
    for (const auto& [key, all] : by_place) add(out, key.second ? "collected-unresolved" : "unresolved", all);
  }
  void timers(Set& out) const {
    // All of these have a delay. In order; each that is not in a crowd yet gathers those beside it.
    std::vector<std::uint32_t> all;
    for (const std::uint32_t unit : units) {
      if (type(unit) == "timer" && !stack(unit).empty() && run.settle_known[unit] && in.units.callbacks[unit] <= 1) all.push_back(unit);
    }
    std::stable_sort(all.begin(), all.end(), [&](auto a, auto b) { return c(a) != c(b) ? c(a) < c(b) : model.id[a] < model.id[b]; });
    const auto delay = [&](std::uint32_t unit) { return std::stoi(note(unit, "delay")); };
    std::set<std::uint32_t> taken;
    for (const std::uint32_t one : all) {
      if (taken.count(one)) continue;
      std::vector<std::uint32_t> crowd{one};
      for (const std::uint32_t other : all) {
        if (other == one || taken.count(other) || c(other) < c(one) || (c(other) == c(one) && model.id[other] < model.id[one])) continue;
        if (stack(other) != stack(one) || delay(other) != delay(one) || c(other) - c(one) > s.redundant_timer_window_ns) continue;
        const std::uint64_t both = std::min(e(one), e(other)) > c(other) ? std::min(e(one), e(other)) - c(other) : 0;
        const std::uint64_t shorter = std::min(took(one), took(other));
        if (shorter != 0 && both * 100 >= shorter * 50) crowd.push_back(other);
      }
      if (crowd.size() < 2) continue;
      taken.insert(crowd.begin(), crowd.end());
      add(out, "redundant-timer", crowd);
    }
  }
  /// How long the longest chain that ends at each unit is: of places along creations, or of awaits and settlings by all
  /// paths that do not go back in time.
  void chains(Set& out) const {
    struct Edge {
      std::uint64_t time, since;
      std::uint32_t from, to;
    };
    std::vector<Edge> edges;
    const auto edge = [&](std::uint64_t time, std::uint64_t since, std::uint32_t from, std::uint32_t to) {
      if (from == kNone || to == kNone) return;
      if (run.unit[from] != run.unit[to] && in.units.is_unit(run.unit[from]) && in.units.is_unit(run.unit[to])) {
        edges.push_back({time, since, run.unit[from], run.unit[to]});
      }
    };
    for (const TraceModel::Link& link : model.links) {
      if (run.settle_known[link.cause]) edge(std::max(run.settled[link.cause], link.time), link.time, link.cause, link.effect);
    }
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (run.settle_known[row] && run.settler[row] != kNone) edge(run.settled[row], run.created(row), run.resource_of(run.settler[row]), row);
    }
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      const Execution::Cause& cause = run.cause[at];
      if (run.is_span(at) || cause.inferred || (cause.kind != CauseOf::kSettled && cause.kind != CauseOf::kExternal)) continue;
      const std::uint32_t row = run.resource_of(at);
      edge(run.start(at), run.previous[at] == kNone ? run.created(row) : run.end(run.previous[at]), cause.resource, row);
    }
    std::uint32_t deepest = 0;
    if (edges.empty()) {
      for (const std::uint32_t unit : units) {
        std::set<std::string> functions;
        for (std::uint32_t at = unit; at != kNone; at = in.units.parent[at]) {
          if (!callee(at).empty()) functions.insert(callee(at));
        }
        deepest = std::max(deepest, static_cast<std::uint32_t>(functions.size()));
      }
    } else {
      // best[unit]: how long, and until when one had to be waiting for it; edge by edge in order of time.
      std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
        if (a.time != b.time) return a.time < b.time;
        if (a.from != b.from) return a.from < b.from;
        return a.to != b.to ? a.to < b.to : a.since < b.since;
      });
      struct Best {
        std::uint32_t length;
        std::uint64_t released;
      };
      std::map<std::uint32_t, Best> best;
      const auto visible = [&](std::uint32_t unit) -> std::uint32_t { return in.context.location_of(unit) != kNone || type(unit) != "js-promise"; };
      for (const std::uint32_t unit : units) best[unit] = {visible(unit), ~std::uint64_t{0}};
      const auto grow = [&](const Edge& one) {
        const Best from = one.since <= best[one.from].released ? best[one.from] : Best{visible(one.from), 0};
        if (from.length + visible(one.to) > best[one.to].length) best[one.to] = {from.length + visible(one.to), one.time};
      };
      for (std::size_t at = 0; at < edges.size();) {
        std::size_t to = at;
        while (to < edges.size() && edges[to].time == edges[at].time) grow(edges[to++]);
        for (std::size_t n = to; n-- > at;) grow(edges[n]);
        at = to;
      }
      for (const auto& [unit, one] : best) deepest = std::max(deepest, one.length);
    }
    if (deepest > s.chain_depth) out.insert("deepest " + std::to_string(deepest));
  }

  [[nodiscard]] Set all() const {
    Set out;
    sequential(out);
    blocks(out);
    storage(out);
    duplicates(out);
    waterfalls(out);
    crowded(out);
    caches(out);
    promise_floods(out);
    callback_floods(out);
    hot(out);
    unresolved(out);
    timers(out);
    gaps(out);
    chains(out);
    return out;
  }
};

Set found_in(Analysed& in) {
  Set out;
  std::uint64_t deepest = 0;
  for (const Finding& one : find_patterns(in.context)) {
    if (one.id == "long-gap") {
      out.insert("long-gap");
    } else if (one.id == "deep-chain") {
      deepest = std::max(deepest, one.evidence.front().value);
    } else {
      out.insert(Naive::label(in.model, std::string(one.id), one.resources));
    }
  }
  if (deepest != 0) out.insert("deepest " + std::to_string(deepest));
  return out;
}

std::string text(const Set& all) {
  std::string made;
  for (const std::string& one : all) made += one + "\n";
  return made;
}

}  // namespace

TEST_CASE("a naive reading of the definitions finds the same in random programs") {
  std::map<std::string, int> seen;
  for (int seed = 1; seed <= 120; ++seed) {
    Made made;
    RandomMadeOptions options;
    options.seed = static_cast<std::uint64_t>(seed);
    options.resources = 30 + seed * 470 / 120;
    options.plain = seed % 5 == 0;
    make_random(made, options);
    const TraceModel model = made.model();
    Analysed in(model);
    const Set wanted = Naive(in).all();
    const Set found = found_in(in);
    INFO("seed " << seed << (options.plain ? ", plain" : ""));
    CHECK(text(found) == text(wanted));
    for (const std::string& one : found) ++seen[one.substr(0, one.find_first_of(": "))];
  }
  for (const auto& [id, count] : seen) std::printf("%-20s %d times\n", id.c_str(), count);
  CHECK(seen.size() >= 12);  // nearly all of them happen by chance
}

TEST_CASE("a saving is never more than the request, and what has no time on the path saves nothing") {
  for (int seed = 200; seed < 260; ++seed) {
    Made made;
    RandomMadeOptions options;
    options.seed = static_cast<std::uint64_t>(seed);
    options.resources = 200;
    make_random(made, options);
    const TraceModel model = made.model();
    Analysed in(model);
    for (const Finding& one : find_patterns(in.context)) {
      if (one.request == kNone) continue;
      CHECK(one.saving_ns <= in.run.requests[one.request].duration());
      std::uint64_t path = 0;
      for (const std::uint32_t unit : one.resources) path += in.context.on_path[unit];
      for (const std::uint32_t at : one.invocations) path += in.context.invocation_on_path[at];
      CHECK(one.saving_ns <= path);
    }
  }
}
