// SPDX-License-Identifier: MIT
// naive_core.hpp: the definitions of docs/analyses.md once more, as plainly as they can be written: no index, no sweep, every
// question answered by looking at everything. It reads the model and what normalise() made of it, and nothing of analysis/
// but the settings and the classes of types.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "thence/analysis/settings.hpp"
#include "thence/analysis/type_class.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/trace_model.hpp"

namespace thence_test {

using namespace thence;

struct Naive {
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  enum Kind { kUnknown, kRoot, kCreated, kSettled, kWoken, kExternal, kCalled };
  struct Cause {
    Kind kind = kUnknown;
    std::uint64_t at = 0;
    std::uint32_t invocation = kNone, resource = kNone;
    bool inferred = false;
  };
  struct Part {
    std::uint64_t start, end;
    char kind;  // e exec, w wait, h hop, s sched, b blocked, p pause, u unknown, t tail
    std::uint32_t resource, invocation;
  };

  const TraceModel& model;
  const Normalised& normal;
  const AnalysisSettings& settings;
  std::uint32_t count, resources;
  std::vector<std::uint32_t> lane, request, top, creator, settler, unit;
  std::vector<std::uint64_t> ready, settled;
  std::vector<bool> span, done, outside, operation, guessed;
  std::vector<Cause> cause;

  std::uint64_t start(std::uint32_t at) const { return normal.start[at]; }
  std::uint64_t end(std::uint32_t at) const { return normal.end[at]; }
  std::uint32_t row_of(std::uint32_t at) const { return model.invocations[at].resource; }
  bool created(std::uint32_t row) const { return model.has(row, ResourceFlag::kCreated); }
  TypeClass class_of(std::uint32_t row) const {
    return created(row) ? class_of_type(model.type_name(row)) : TypeClass::kOther;
  }

  Naive(const TraceModel& trace, const Normalised& by_rule, const AnalysisSettings& with)
      : model(trace), normal(by_rule), settings(with), count(static_cast<std::uint32_t>(trace.invocations.size())), resources(trace.resources()) {
    for (std::uint32_t row = 0; row < resources; ++row) {
      std::uint32_t up = row, found = model.root[row];
      while (normal.parent[up] != kNone) {
        up = normal.parent[up];
        if (found == kNone) found = model.root[up];
      }
      top.push_back(up);
      request.push_back(found);
    }
    span.assign(count, false);
    for (std::uint32_t at = 0; normal.inferred && at < count; ++at) {
      const std::uint32_t of = request[row_of(at)];
      if (of == kNone || model.roots[of].resource != row_of(at) || all_of(row_of(at), true).size() != 1) continue;
      for (std::uint32_t other = 0; other < count; ++other) {
        if (other != at && request[row_of(other)] == of && start(other) >= start(at) && start(other) < end(at)) span[at] = true;
      }
    }
    for (std::uint32_t at = 0; at < count; ++at) {
      const std::uint32_t on = model.invocations[at].lane;
      const std::uint32_t of = request[row_of(at)];
      lane.push_back(on != kNone ? on : static_cast<std::uint32_t>(model.lanes.size() + (of == kNone ? model.roots.size() : of)));
    }
    settle();
    for (std::uint32_t row = 0; row < resources; ++row) {
      std::uint32_t by = kNone, who = kNone;
      if (created(row)) {
        by = at_time(model.trigger[row] == kNone ? normal.parent[row] : model.trigger[row], model.created[row], model.created_lane[row]);
        if (by == kNone && model.created_lane[row] != kNone) by = owner(model.created_lane[row], model.created[row]);
      }
      if (model.has(row, ResourceFlag::kSettled) && model.settled_by(row) != Actor::kExternal &&
          (model.settled_by(row) == Actor::kInvocation || model.settler[row] != kNone)) {
        who = ran(model.settler[row], settled[row], model.settled_lane[row]);
      }
      creator.push_back(by);
      settler.push_back(who);
    }
    cause.resize(count);
    ready.resize(count);
    for (std::uint32_t at = 0; at < count; ++at) find_cause(at);
  }

  std::vector<std::uint32_t> all_of(std::uint32_t row, bool spans = false) const {
    std::vector<std::uint32_t> all;
    for (std::uint32_t at = 0; at < count; ++at) {
      if (row_of(at) == row && (spans || !span[at])) all.push_back(at);
    }
    std::stable_sort(all.begin(), all.end(), [&](std::uint32_t a, std::uint32_t b) { return start(a) < start(b); });
    return all;
  }
  std::uint32_t previous(std::uint32_t at) const {
    std::uint32_t found = kNone;
    for (const std::uint32_t other : all_of(row_of(at))) {
      if (other == at) return found;
      found = other;
    }
    return kNone;
  }

  // -- lanes --
  /// Whether a began before b on their lane: of one moment what takes no time first, then the longer.
  bool before(std::uint32_t a, std::uint32_t b) const {
    if (start(a) != start(b)) return start(a) < start(b);
    const bool none_a = end(a) == start(a), none_b = end(b) == start(b);
    if (none_a != none_b) return none_a;
    return end(a) != end(b) ? end(a) > end(b) : a < b;
  }
  std::uint32_t owner(std::uint32_t on, std::uint64_t time) const {
    std::uint32_t found = kNone;
    for (std::uint32_t at = 0; at < count; ++at) {
      if (span[at] || lane[at] != on || start(at) > time || end(at) <= time) continue;
      if (found == kNone || before(found, at)) found = at;
    }
    return found;
  }
  std::uint32_t container(std::uint32_t at) const {
    if (span[at]) return kNone;
    std::uint32_t found = kNone;
    for (std::uint32_t other = 0; other < count; ++other) {
      if (other == at || span[other] || lane[other] != lane[at] || end(other) <= start(at) || !before(other, at)) continue;
      if (found == kNone || before(found, other)) found = other;
    }
    return found;
  }
  /// All moments at which anything begins or ends on a lane.
  std::vector<std::uint64_t> moments(std::uint32_t on) const {
    std::set<std::uint64_t> all;
    for (std::uint32_t at = 0; at < count; ++at) {
      if (span[at] || lane[at] != on) continue;
      all.insert(start(at));
      all.insert(end(at));
    }
    return {all.begin(), all.end()};
  }
  std::uint64_t self(std::uint32_t at) const {
    if (span[at]) return 0;
    std::uint64_t sum = 0;
    const auto all = moments(lane[at]);
    for (std::size_t next = 1; next < all.size(); ++next) {
      if (all[next - 1] >= start(at) && all[next] <= end(at) && owner(lane[at], all[next - 1]) == at) sum += all[next] - all[next - 1];
    }
    return sum;
  }
  std::uint32_t at_time(std::uint32_t row, std::uint64_t time, std::uint32_t on = kNone) const {
    if (row == kNone) return kNone;
    std::uint32_t last = kNone, running = kNone;
    for (const std::uint32_t at : all_of(row)) {
      if (start(at) > time) break;
      last = at;
      if (end(at) < time) continue;
      if (running == kNone) running = at;
      if (on == kNone || lane[at] == on) return at;
    }
    return running != kNone ? running : last;
  }
  std::uint32_t ran(std::uint32_t row, std::uint64_t time, std::uint32_t on) const {
    const std::uint32_t found = at_time(row, time, on);
    return found != kNone || row != kNone || on == kNone ? found : owner(on, time);
  }

  // -- settling and units --
  void settle() {
    unit.resize(resources);
    done.assign(resources, false);
    outside.assign(resources, false);
    guessed.assign(resources, false);
    operation.assign(resources, false);
    settled.assign(resources, 0);
    for (std::uint32_t row = 0; row < resources; ++row) {
      unit[row] = row;
      const bool external = model.has(row, ResourceFlag::kSettled) && model.settled_by(row) == Actor::kExternal;
      operation[row] = is_operation(class_of(row)) || (external && class_of(row) != TypeClass::kRoot);
      if (!model.has(row, ResourceFlag::kSettled)) continue;
      done[row] = true;
      settled[row] = std::max(model.settled[row], model.created[row]);
      outside[row] = external;
    }
    const auto join = [&](std::uint32_t a, std::uint32_t b) {
      const std::uint32_t low = std::min(unit[a], unit[b]), high = std::max(unit[a], unit[b]);
      for (std::uint32_t& of : unit) of = of == high ? low : of;
    };
    const auto infer = [&](std::uint32_t row, std::uint64_t time) {
      if (done[row] || time < model.created[row]) return;
      done[row] = outside[row] = guessed[row] = true;
      settled[row] = time;
    };
    for (const TraceModel::Link& link : model.links) {
      if (link.kind == LinkKind::kBridge && link.effect != kNone && link.cause != kNone) join(link.effect, link.cause);
    }
    if (normal.inferred) {
      for (std::uint32_t row = 0; row < resources; ++row) {
        const auto all = all_of(row, true);
        if (operation[row] && !all.empty()) infer(row, start(all.front()));
      }
      std::vector<bool> used(resources, false);
      std::vector<std::uint32_t> by_id(resources);
      for (std::uint32_t row = 0; row < resources; ++row) by_id[row] = row;
      std::sort(by_id.begin(), by_id.end(), [&](std::uint32_t a, std::uint32_t b) { return model.id[a] < model.id[b]; });
      for (const std::uint32_t x : by_id) {
        if (!is_operation(class_of(x))) continue;
        for (const std::uint32_t b : by_id) {
          if (class_of(b) != TypeClass::kBridge || used[b] || normal.parent[b] != normal.parent[x] || model.stack[b] != model.stack[x] ||
              model.id[b] <= model.id[x] || model.created[b] < model.created[x]) {
            continue;
          }
          used[b] = true;
          join(x, b);
          const auto all = all_of(b, true);
          if (!all.empty()) infer(x, start(all.front()));
          break;
        }
      }
    }
    std::vector<std::uint32_t> speaker(resources, kNone);
    for (std::uint32_t row = 0; row < resources; ++row) {
      std::uint32_t& of = speaker[unit[row]];
      if (of == kNone || (operation[row] && !operation[of]) ||
          (operation[row] && is_operation(class_of(row)) && !is_operation(class_of(of)))) {
        of = row;
      }
    }
    for (std::uint32_t& of : unit) of = speaker[of];
  }

  // -- causes --
  std::uint32_t wake_of(std::uint32_t at) const {
    const std::uint32_t given = model.invocations[at].wake, prior = previous(at);
    if (given != kNone || prior == kNone) return given;
    std::uint32_t found = kNone;
    for (std::uint32_t wake = 0; wake < model.wakes.size(); ++wake) {
      const TraceModel::Wake& what = model.wakes[wake];
      if (what.resource != row_of(at) || what.time != start(prior)) continue;
      if (what.invocation == kNone || (what.invocation == prior && cause[prior].kind == kRoot)) found = wake;
    }
    return found;
  }
  Cause by_settling(std::uint32_t of) const {
    if (of == kNone || !done[of]) return {};
    if (outside[of]) return {kExternal, settled[of], kNone, of, guessed[of]};
    if (settler[of] != kNone) return {kSettled, settled[of], settler[of], of, false};
    if (operation[of]) return {kExternal, settled[of], kNone, of, false};
    return {};
  }
  Cause from_outside(std::uint32_t row, std::uint32_t named, std::uint64_t time) const {
    const std::uint32_t of = named != kNone ? named : operation[row] && done[row] ? row : kNone;
    if (of == kNone || !done[of] || settled[of] > time) return {kExternal, time, kNone, named, false};
    return {kExternal, settled[of], kNone, of, false};
  }
  Cause by_wake(std::uint32_t row, std::uint32_t wake) const {
    if (wake == kNone) return {};
    const TraceModel::Wake& what = model.wakes[wake];
    if (what.actor == Actor::kExternal) return from_outside(row, what.by, what.time);
    if (what.actor != Actor::kInvocation && what.by == kNone) return {};
    const std::uint32_t by = ran(what.by, what.time, what.lane);
    return by == kNone ? Cause{} : Cause{kWoken, what.time, by, kNone, false};
  }
  Cause told(std::uint32_t at, std::uint32_t wake, std::uint32_t prior) const {
    const TraceModel::Invocation& what = model.invocations[at];
    const std::uint32_t row = what.resource;
    Cause made;
    if (what.cause == CauseKind::kCreated) {
      const std::uint32_t by = what.cause_by == kNone ? creator[row] : ran(what.cause_by, model.created[row], model.created_lane[row]);
      if (by != kNone) made = {kCreated, model.created[row], by, kNone, false};
    } else if (what.cause == CauseKind::kSettled) {
      if (what.cause_by != kNone && done[what.cause_by] && settled[what.cause_by] <= start(at)) made = by_settling(what.cause_by);
    } else if (what.cause == CauseKind::kScheduled) {
      made = by_wake(row, wake);
      if (made.kind == kUnknown && what.cause_by != kNone) {
        const std::uint32_t by = at_time(what.cause_by, start(at));
        if (by != kNone && by != at) made = {kWoken, std::min(start(at), end(by)), by, kNone, false};
      }
    } else if (what.cause == CauseKind::kExternal) {
      made = from_outside(row, what.cause_by, wake == kNone ? start(at) : std::min(start(at), model.wakes[wake].time));
    }
    if (made.kind != kUnknown) return made;
    if (request[row] != kNone && model.roots[request[row]].resource == row && prior == kNone) return {kRoot, model.created[row], kNone, kNone, false};
    made = by_wake(row, wake);
    if (made.kind != kUnknown || normal.inferred) return made;
    const std::uint64_t since = prior == kNone ? model.created[row] : end(prior);
    std::uint32_t best[2] = {kNone, kNone};
    for (const TraceModel::Link& link : model.links) {
      const std::uint32_t of = link.cause;
      if (link.effect != row || of == kNone || !done[of] || settled[of] > start(at) || link.time > start(at)) continue;
      if (prior != kNone && settled[of] < since) continue;
      std::uint32_t& found = best[link.time < start(at) ? 0 : 1];
      if (found == kNone || settled[of] > settled[found] || (settled[of] == settled[found] && of > found)) found = of;
    }
    const std::uint32_t last = best[0] != kNone ? best[0] : best[1];
    if (last != kNone) made = by_settling(last);
    if (made.kind == kUnknown && operation[row] && done[row] && settled[row] <= start(at) && (prior == kNone || settled[row] >= since)) {
      made = by_settling(row);
    }
    return made;
  }
  void find_cause(std::uint32_t at) {
    ready[at] = start(at);
    if (span[at]) return;
    const std::uint32_t wake = wake_of(at), prior = previous(at), row = row_of(at);
    Cause made = told(at, wake, prior);
    if (made.kind == kUnknown && normal.inferred) {
      const std::uint32_t of = operation[row] ? row : operation[unit[row]] ? unit[row] : kNone;
      if (prior == kNone && of != kNone && done[of] && settled[of] <= start(at)) {
        made = {kExternal, settled[of], kNone, of, true};
      } else {
        std::uint32_t by = normal.inferred_wake[at];
        if (by != kNone && (span[by] || lane[by] != lane[at])) by = kNone;
        // Whoever had the lane last before it, if that is a bridge's callback that ended a moment ago.
        std::uint32_t bridge = kNone;
        for (const std::uint64_t moment : moments(lane[at])) {
          const std::uint32_t held = moment < start(at) ? owner(lane[at], moment) : kNone;
          if (held != kNone) bridge = held;
        }
        if (bridge != kNone && class_of(row_of(bridge)) == TypeClass::kBridge && end(bridge) <= start(at) &&
            start(bridge) >= model.created[row] && start(at) - end(bridge) <= settings.path.infer_within_ns &&
            (by == kNone || end(bridge) >= end(by))) {
          by = bridge;
        }
        if (by != kNone) made = {kWoken, end(by), by, kNone, true};
      }
    }
    if (made.kind == kUnknown && container(at) != kNone) made = {kCalled, start(at), container(at), kNone, false};
    if (wake != kNone) {
      ready[at] = std::min(start(at), model.wakes[wake].time);
    } else if (made.kind != kUnknown) {
      ready[at] = std::min(start(at), made.at);
    }
    if (prior != kNone) ready[at] = std::max(ready[at], std::min(end(prior), start(at)));
    made.at = made.kind == kUnknown ? ready[at] : std::min(made.at, ready[at]);
    cause[at] = made;
  }

  // -- requests --
  std::uint64_t begin_of(std::uint32_t of) const {
    const std::uint32_t row = model.roots[of].resource;
    if (row != kNone && created(row)) return model.created[row];
    std::uint64_t first = ~std::uint64_t{0};
    for (std::uint32_t other = 0; other < resources; ++other) {
      if (request[other] == of) first = std::min(first, model.created[other]);
    }
    return first == ~std::uint64_t{0} ? model.first_time : first;
  }
  std::uint64_t end_of(std::uint32_t of) const {
    const TraceModel::Root& root = model.roots[of];
    std::uint64_t time = model.last_time;
    if (root.has_sealed) time = root.sealed;
    if (root.has_finished) time = root.finished;
    if (root.resource != kNone && model.has(root.resource, ResourceFlag::kSettled)) time = model.settled[root.resource];
    return std::max(time, begin_of(of));
  }
  std::uint32_t last_of(std::uint32_t of) const {
    const TraceModel::Root& root = model.roots[of];
    const std::uint64_t to = end_of(of);
    std::uint32_t last = kNone;
    for (std::uint32_t at = 0; at < count; ++at) {
      if (request[row_of(at)] == of && !span[at] && end(at) <= to && (last == kNone || end(at) >= end(last))) last = at;
    }
    if (root.resource != kNone && done[root.resource]) return settler[root.resource] != kNone ? settler[root.resource] : last;
    if (root.has_finished && root.finished_lane != kNone && root.finished == to) {
      std::uint32_t held = owner(root.finished_lane, to);
      while (held != kNone && request[row_of(held)] != of) held = container(held);
      if (held != kNone && end(held) > to && start(held) <= to) last = held;
    }
    return last;
  }
  bool same(std::uint32_t a, std::uint32_t b) const {
    return request[a] != kNone || request[b] != kNone ? request[a] == request[b] : top[a] == top[b];
  }

  // -- critical path: moment by moment --
  std::vector<Part> path(std::uint32_t of) const {
    std::vector<Part> parts;
    const std::uint64_t from = begin_of(of);
    std::uint64_t time = end_of(of);
    const auto emit = [&](char kind, std::uint64_t begin, std::uint32_t row, std::uint32_t by) {
      begin = std::max(begin, from);
      if (begin >= time) return;
      parts.insert(parts.begin(), Part{begin, time, kind, row, by});
      time = begin;
    };
    std::uint32_t at = last_of(of);
    if (at != kNone) emit('t', end(at), row_of(at), at);
    std::set<std::uint32_t> seen;
    while (time > from && at != kNone && seen.insert(at).second) {
      const std::uint32_t row = row_of(at);
      const auto all = moments(lane[at]);
      // The last moment before `time` at which anything changed on the lane.
      const auto step = [&] {
        std::uint64_t found = 0;
        for (const std::uint64_t moment : all) found = moment < time ? moment : found;
        return found;
      };
      emit('u', end(at), row, at);
      while (time > std::max(from, start(at))) {
        const std::uint64_t begin = std::max(step(), start(at));
        const std::uint32_t by = owner(lane[at], begin);
        if (same(row_of(by), row)) {
          // Of what is paused by the collector the last piece first.
          std::uint64_t cut = std::max(begin, from);
          bool paused = false;
          for (const auto& [first, last] : pauses(lane[at])) {
            if (last <= cut || first >= time) continue;
            paused = last >= time;
            cut = paused ? std::max(first, cut) : last;
          }
          emit(paused ? 'p' : 'e', cut, row_of(by), by);
        } else {
          emit('b', begin, row_of(by), by);
        }
      }
      std::uint32_t holder = kNone;
      const std::uint32_t wake = model.invocations[at].wake;
      const bool elsewhere = wake != kNone && model.wakes[wake].lane != kNone && model.wakes[wake].lane != lane[at];
      while (time > ready[at] && holder == kNone) {
        // Backwards to the last moment at which somebody had the lane.
        std::uint64_t begin = 0, until = 0;
        std::uint32_t by = kNone;
        for (std::size_t next = 1; next < all.size() && all[next - 1] < time; ++next) {
          const std::uint32_t held = owner(lane[at], all[next - 1]);
          if (held == kNone || std::min(all[next], time) <= ready[at]) continue;
          by = held;
          begin = all[next - 1];
          until = std::min(all[next], time);
        }
        if (by == kNone || settings.path.dependency_only || (elsewhere && time - until > settings.path.dispatch_gap_ns)) {
          emit('s', ready[at], row, at);
          break;
        }
        emit('s', until, row, at);
        if (same(row_of(by), row)) {
          holder = by;
        } else {
          emit('b', std::max(begin, ready[at]), row_of(by), by);
        }
        if (time <= from) break;
      }
      if (holder != kNone) {
        at = holder;
        continue;
      }
      const Cause& why = cause[at];
      const std::uint32_t prior = previous(at);
      const std::uint64_t since = prior == kNone ? model.created[row] : end(prior);
      const std::uint32_t origin = prior == kNone ? creator[row] : prior;
      if (why.kind == kRoot) break;
      if (why.kind == kCalled) {
        at = why.invocation;
      } else if (why.kind == kUnknown) {
        emit('u', since, row, at);
        at = origin;
      } else if (why.kind != kExternal) {
        emit('h', why.at, why.kind == kSettled ? why.resource : row, at);
        at = why.invocation;
      } else if (why.resource == kNone) {
        emit('w', since, row, at);
        at = origin;
      } else {
        const bool over = done[why.resource] && settled[why.resource] <= why.at;
        if (over) emit('h', settled[why.resource], why.resource, at);
        const bool again = !over && prior != kNone && since > model.created[why.resource];
        emit('w', again ? since : model.created[why.resource], why.resource, at);
        std::uint32_t made = why.resource;
        for (; !again && made_for(made) != kNone; made = made_for(made)) emit('w', model.created[made_for(made)], made_for(made), at);
        at = again ? prior : creator[made];
      }
    }
    emit('u', from, kNone, kNone);
    return parts;
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pauses(std::uint32_t on) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    int depth = 0;
    std::uint64_t began = 0;
    for (const TraceModel::LaneEvent& event : model.lane_events) {
      if (event.lane != on || on >= model.lanes.size()) continue;
      if (event.kind == EventKind::kPauseBegan && depth++ == 0) began = event.time;
      if (event.kind == EventKind::kPauseEnded && depth > 0 && --depth == 0 && event.time > began) all.emplace_back(began, event.time);
    }
    return all;
  }

  // -- gaps --
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps(std::uint32_t of) const {
    std::set<std::uint64_t> edges{begin_of(of), end_of(of)};
    for (std::uint32_t at = 0; at < count; ++at) {
      if (span[at] || request[row_of(at)] != of) continue;
      edges.insert(start(at));
      edges.insert(end(at));
    }
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    const std::vector<std::uint64_t> moments(edges.begin(), edges.end());
    for (std::size_t next = 1; next < moments.size(); ++next) {
      const std::uint64_t from = moments[next - 1], to = moments[next];
      if (from < begin_of(of) || to > end_of(of)) continue;
      bool idle = true;
      for (std::uint32_t at = 0; at < count; ++at) {
        idle = idle && !(!span[at] && request[row_of(at)] == of && start(at) <= from && end(at) >= to && end(at) > start(at));
      }
      if (!idle) continue;
      if (!all.empty() && all.back().second == from) {
        all.back().second = to;
      } else {
        all.emplace_back(from, to);
      }
    }
    return all;
  }

  /// What a gap waited for, backwards from the first invocation after it. Kinds: o operation (`invocation` is its class), x the
  /// outside, h promises, s scheduling, p pause, t tail, u what nothing tells.
  std::vector<Part> gap_parts(std::uint32_t of, std::uint64_t from, std::uint64_t to) const {
    std::vector<Part> parts;
    std::uint64_t time = to;
    const auto part = [&](char kind, std::uint64_t begin, std::uint32_t resource = kNone, std::uint32_t which = kNone) {
      begin = std::max(begin, from);
      if (begin >= time) return;
      if (!parts.empty() && parts.front().kind == kind && parts.front().resource == resource && parts.front().invocation == which) {
        parts.front().start = begin;
      } else {
        parts.insert(parts.begin(), {begin, time, kind, resource, which});
      }
      time = begin;
    };
    const auto waited_for = [&](std::uint32_t row, std::uint64_t since) {
      part('o', since, unit[row], static_cast<std::uint32_t>(class_of(row)));
    };
    std::uint32_t at = kNone;
    for (std::uint32_t next = 0; next < count && at == kNone && to < end_of(of); ++next) {
      if (!span[next] && request[row_of(next)] == of && start(next) == to && end(next) > to) at = next;
    }
    if (at == kNone) {
      const std::uint32_t root = model.roots[of].resource;
      if (from == begin_of(of)) {
        part('u', from);
      } else if (root != kNone && done[root] && outside[root] && settled[root] == to) {
        part('x', from, root);
      } else {
        part('t', from);
      }
      return parts;
    }
    std::uint64_t paused = 0;
    for (const auto& [first, last] : pauses(lane[at])) {
      if (last > from && first < to) paused += std::min(last, to) - std::max(first, from);
    }
    if (paused > (to - from) / 2) {
      part('p', from);
      return parts;
    }
    for (int steps = 0; at != kNone && time > from && steps < 256; ++steps) {
      part('u', end(at));
      part('h', start(at));
      part('s', ready[at]);
      if (time <= from) break;
      const Cause& why = cause[at];
      const std::uint32_t prior = previous(at);
      const std::uint64_t since = prior == kNone ? model.created[row_of(at)] : end(prior);
      const std::uint32_t origin = prior == kNone ? creator[row_of(at)] : prior;
      if (why.kind == kRoot) {
        part('s', from);
      } else if (why.kind == kUnknown) {
        part('u', since);
        at = origin;
      } else if (why.kind != kExternal) {
        part('h', why.at);
        at = why.invocation;
      } else if (why.resource == kNone) {
        part('x', since);
        at = origin;
      } else {
        const bool over = done[why.resource] && settled[why.resource] <= why.at;
        const bool again = !over && prior != kNone && since > model.created[why.resource];
        waited_for(why.resource, again ? since : model.created[why.resource]);
        std::uint32_t made = why.resource;
        for (; !again && made_for(made) != kNone; made = made_for(made)) waited_for(made_for(made), model.created[made_for(made)]);
        at = again ? prior : creator[made];
      }
    }
    part('u', from);
    return parts;
  }

  // -- time split: each stretch between two moments is of one kind --
  struct Split {
    std::uint64_t running = 0, blocked = 0, waiting = 0, scheduling = 0, unknown = 0;
  };
  std::uint64_t finish(std::uint32_t row) const {
    const std::uint64_t from = model.created[row];
    if (done[row]) return std::max(settled[row], from);
    if (model.has(row, ResourceFlag::kDestroyed)) return std::max(model.destroyed[row], from);
    std::uint64_t last = from;
    const auto all = all_of(row, true);
    for (const std::uint32_t at : all) last = std::max(last, end(at));
    if (!all.empty()) return last;
    return std::max(from, request[row] == kNone ? model.last_time : end_of(request[row]));
  }
  Split split(std::uint32_t row) const {
    Split made;
    if (!created(row)) return made;
    const auto own = all_of(row);
    std::set<std::uint64_t> edges{model.created[row], finish(row)};
    for (const std::uint32_t at : own) {
      edges.insert({start(at), end(at), std::max(ready[at], model.created[row])});
      for (const std::uint64_t moment : moments(lane[at])) edges.insert(std::max(moment, model.created[row]));
    }
    std::uint64_t until = finish(row);
    for (const std::uint32_t at : own) until = std::max(until, end(at));
    const std::vector<std::uint64_t> all(edges.begin(), edges.end());
    for (std::size_t next = 1; next < all.size() && all[next] <= until; ++next) {
      const std::uint64_t from = all[next - 1], length = all[next] - from;
      bool running = false;
      std::uint32_t coming = kNone;
      for (const std::uint32_t at : own) {
        running = running || (start(at) <= from && end(at) > from);
        if (coming == kNone && start(at) > from) coming = at;
      }
      if (running) {
        made.running += length;
      } else if (coming != kNone && from >= ready[coming]) {
        (owner(lane[coming], from) != kNone ? made.blocked : made.scheduling) += length;
      } else if (coming != kNone) {
        (cause[coming].kind == kUnknown ? made.unknown : made.waiting) += length;
      } else if (done[row] && (outside[row] || settler[row] != kNone || operation[row])) {
        made.waiting += length;
      } else {
        (!done[row] && operation[row] ? made.waiting : made.unknown) += length;
      }
    }
    return made;
  }

  // -- the ideal schedule: values that rise until nothing changes --
  struct Bound {
    std::uint64_t dependency = 0;
    std::uint64_t lane = 0;  // what the busiest lane ran of what the end needs
    bool circular = false;  // something at one moment needs itself
  };
  /// The operation that it was made for and that had called nobody yet.
  std::uint32_t made_for(std::uint32_t row) const {
    const std::uint32_t up = normal.parent[row];
    return creator[row] == kNone && up != kNone && operation[up] ? up : kNone;
  }
  /// The node on which its creation hangs: who made it, or of the operation that it was made for what had settled last.
  std::uint32_t origin(std::uint32_t row, std::uint64_t moment) const {
    const std::uint32_t up = made_for(row);
    if (up == kNone) return creator[row];
    std::uint32_t last = kNone;
    for (std::uint32_t part = up; part < row; ++part) {
      if ((part != up && normal.parent[part] != up) || !done[part] || settled[part] > model.created[row]) continue;
      if (last == kNone || settled[part] >= settled[last]) last = part;
    }
    return last != kNone && settled[last] <= moment ? count + last : origin(up, moment);
  }
  Bound ideal(std::uint32_t of) const {
    const std::uint64_t zero = begin_of(of), to = end_of(of);
    const std::uint32_t end_invocation = last_of(of), root = model.roots[of].resource;
    struct Edge {
      std::uint32_t from, into;
      std::uint64_t length;  // from == kNone: a moment
      std::uint64_t inside = 0;  // up to where `from` is needed, from its beginning
    };
    std::vector<Edge> edges;
    const auto moment_of = [&](std::uint32_t node) { return node < count ? start(node) : settled[node - count]; };
    const auto add = [&](std::uint32_t from, std::uint32_t into, std::uint64_t until, std::uint64_t needed) {
      if (from == kNone || moment_of(from) > until) {
        edges.push_back({kNone, into, until});
      } else {
        edges.push_back({from, into, until - moment_of(from), needed - moment_of(from)});
      }
    };
    for (std::uint32_t node = 0; node < count + resources; ++node) {
      if (node >= count && !done[node - count]) continue;
      if (node < count && span[node]) continue;
      if (moment_of(node) < zero) {
        edges.push_back({kNone, node, moment_of(node)});
        continue;
      }
      if (node >= count) {
        const std::uint32_t row = node - count;
        const std::uint64_t when = settled[row];
        if (settler[row] != kNone) {
          add(settler[row] != kNone && start(settler[row]) > when ? kNone : settler[row], node, when, when);
        } else {
          const std::uint64_t from = std::min(model.created[row], when);
          const std::uint32_t by = origin(row, from);
          add(by != kNone && moment_of(by) > from ? kNone : by, node, when, from);
        }
        for (const TraceModel::Link& link : model.links) {
          if (link.effect != row || link.kind != LinkKind::kAwaits || link.cause == kNone || link.cause == row) continue;
          if (done[link.cause] && settled[link.cause] <= when) edges.push_back({count + link.cause, node, 0});
        }
        continue;
      }
      const std::uint32_t row = row_of(node), prior = previous(node), inside = container(node);
      const Cause& why = cause[node];
      const auto kept = [&](std::uint32_t by, std::uint64_t moment) {  // time that nothing explains keeps its length
        add(by != kNone && moment_of(by) > std::min(moment, ready[node]) ? kNone : by, node, ready[node], std::min(moment, ready[node]));
      };
      if (why.kind == kRoot) edges.push_back({kNone, node, std::min(ready[node], model.created[row])});
      if (why.kind == kCreated || why.kind == kWoken) add(start(why.invocation) > why.at ? kNone : why.invocation, node, why.at, why.at);
      if (why.kind == kCalled) add(why.invocation, node, start(node), start(node));
      if (why.kind == kSettled) edges.push_back({count + why.resource, node, 0});
      if (why.kind == kExternal) {
        const bool over = why.resource != kNone && done[why.resource] && settled[why.resource] <= why.at;
        if (over) {
          edges.push_back({count + why.resource, node, 0});
        } else if (prior != kNone && (why.resource == kNone || end(prior) > model.created[why.resource])) {
          kept(prior, end(prior));
        } else {
          const std::uint32_t since = why.resource == kNone ? row : why.resource;
          kept(origin(since, std::min(model.created[since], ready[node])), model.created[since]);
        }
      }
      if (why.kind == kUnknown) {
        kept(prior != kNone ? prior : origin(row, std::min(model.created[row], ready[node])), prior != kNone ? end(prior) : model.created[row]);
      }
      if (prior != kNone && end(prior) <= start(node)) add(prior, node, end(prior), end(prior));
      if (inside != kNone && why.kind != kCalled) add(inside, node, start(node), start(node));
      for (const TraceModel::Link& link : model.links) {
        if (link.effect != row || link.kind != LinkKind::kAwaits || link.cause == kNone || link.time >= start(node)) continue;
        if (!done[link.cause] || settled[link.cause] > start(node) || (prior != kNone && settled[link.cause] < end(prior))) continue;
        edges.push_back({count + link.cause, node, 0});
      }
    }
    Bound bound;
    std::vector<std::uint64_t> value(count + resources, 0);
    for (bool changed = true; changed;) {
      changed = false;
      for (const Edge& edge : edges) {
        const std::uint64_t reached = (edge.from == kNone ? 0 : value[edge.from]) + edge.length;
        if (reached <= value[edge.into]) continue;
        value[edge.into] = reached;
        changed = true;
      }
    }
    // What is left when all that needs nothing is taken away, again and again, needs itself.
    std::vector<std::uint32_t> needs(count + resources, 0);
    for (const Edge& edge : edges) needs[edge.into] += edge.from == kNone ? 0 : 1;
    std::vector<bool> gone(count + resources, false);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::uint32_t node = 0; node < count + resources; ++node) {
        if (gone[node] || needs[node] != 0) continue;
        gone[node] = changed = true;
        for (const Edge& edge : edges) {
          if (edge.from == node) --needs[edge.into];
        }
      }
    }
    bound.circular = std::find(gone.begin(), gone.end(), false) != gone.end();
    std::uint64_t end_value = to;
    if (root != kNone && done[root] && settled[root] == to && !outside[root] && settler[root] != kNone) {
      end_value = value[count + root];
    } else if (end_invocation != kNone) {
      end_value = value[end_invocation] + (to - std::min(to, start(end_invocation)));
    }
    // How much of each invocation the end needs: backwards until nothing changes.
    std::vector<std::uint64_t> needed(count + resources, 0);
    std::vector<bool> reached(count + resources, false);
    if (root != kNone && done[root] && settled[root] == to && !outside[root] && settler[root] != kNone) {
      reached[count + root] = true;
    } else if (end_invocation != kNone) {
      reached[end_invocation] = true;
      needed[end_invocation] = to - std::min(to, start(end_invocation));
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (const Edge& edge : edges) {
        if (edge.from == kNone || !reached[edge.into] || (reached[edge.from] && needed[edge.from] >= edge.inside)) continue;
        reached[edge.from] = changed = true;
        needed[edge.from] = std::max(needed[edge.from], edge.inside);
      }
    }
    std::map<std::uint32_t, std::uint64_t> loads;
    for (std::uint32_t at = 0; at < count; ++at) {
      if (!reached[at] || span[at]) continue;
      const std::uint64_t until = std::min({start(at) + needed[at], end(at), to});
      std::set<std::uint64_t> cuts{std::max(start(at), zero), until};
      for (const std::uint64_t moment : moments(lane[at])) cuts.insert(moment);
      std::uint64_t last = 0;
      for (const std::uint64_t moment : cuts) {
        if (moment > std::max(start(at), zero) && moment <= until && owner(lane[at], last) == at) loads[lane[at]] += moment - last;
        last = moment;
      }
      bound.lane = std::max(bound.lane, loads[lane[at]]);
    }
    bound.dependency = end_value > zero ? end_value - zero : 0;
    return bound;
  }
};

}  // namespace thence_test
