// SPDX-License-Identifier: MIT
// The event loop: blocking calls with their stacks, lag at every moment and who caused it, and the book of tasks.
#include "thence/analysis/event_loop.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "analysis/event_script.hpp"
#include "support/catch.hpp"
#include "thence/analysis/analysis.hpp"

using namespace thence;
using thence_test::EventScript;

namespace {

constexpr std::uint32_t kNone = TraceModel::kNone;
constexpr std::uint64_t kMs = 1'000'000;

const EventLoop::Tasks& at(const Analysis& all, std::string_view text) {
  for (const EventLoop::Tasks& one : all.loop.tasks) {
    if (one.location != kNone && all.where.entries[one.location].text == text) return one;
  }
  throw std::runtime_error("no such location");
}

}  // namespace

TEST_CASE("a call is blocking over 100 ms and slow over 50 ms, and of nested ones the innermost is told") {
  EventScript told;
  told.lane(1, "loop").stack(1, "outer", "a.js", 1).stack(2, "inner", "a.js", 2).stack(3, "short", "a.js", 3);
  told.created(1, 0, {.stack = 1}).created(2, 0, {.stack = 2}).created(3, 0, {.stack = 3});
  told.entered(1, 0, 1).ran(2, 10 * kMs, 110 * kMs + 1, 1).exited(1, 120 * kMs, 1);       // inner: 100 ms and 1 ns
  told.ran(3, 200 * kMs, 250 * kMs, 1);                                                     // 50 ms: not over
  told.ran(3, 300 * kMs, 350 * kMs + 1, 1);                                                 // over
  const TraceModel model = told.model();
  const Analysis all(model);
  CHECK(all.loop.blocking == 1);
  CHECK(all.loop.slow == 1);
  REQUIRE(all.loop.calls.size() == 2);
  CHECK(all.loop.calls[0].blocking);
  CHECK(location_text(model, all.loop.calls[0].location) == "inner @ a.js:2");
  CHECK(all.loop.calls[0].held_ns == 100 * kMs + 1);
  CHECK(all.loop.calls[0].stack_of == EventLoop::StackOf::kCreation);
  CHECK(location_text(model, all.loop.calls[1].location) == "short @ a.js:3");
}

TEST_CASE("the stack of a blocking call is the one that was seen while it ran; samples of others are not its own") {
  EventScript told;
  told.lane(1, "loop").stack(1, "made", "a.js", 1).stack(2, "grind", "a.js", 22).stack(3, "once", "a.js", 33);
  told.created(1, 0, {.stack = 1}).created(2, 0, {.stack = 1});
  told.entered(1, 10, 1).ran(2, 20, 30, 1).exited(1, 300 * kMs, 1);
  told.sample(25, 1, 3).sample(5, 1, 3).sample(100 * kMs, 1, 2).sample(150 * kMs, 1, 2).sample(200 * kMs, 1, 3);
  const TraceModel model = told.model();
  const Analysis all(model);
  REQUIRE(all.loop.calls.size() == 1);
  const EventLoop::Call& call = all.loop.calls[0];
  CHECK(call.stack_of == EventLoop::StackOf::kSampled);
  CHECK(call.samples == 3);
  CHECK(location_text(model, call.location) == "grind @ a.js:22");
}

TEST_CASE("a turn goes on over promises and ends where the loop looks outside; the lag is within 1 ns of what a probe waits") {
  // A naive count: at each moment, how long until the loop looks outside.
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 chance(seed);
    EventScript told;
    told.lane(1, "loop");
    AnalysisSettings settings;
    settings.event_loop.turn_gap_ns = 10;
    settings.event_loop.lag_warn_ns = 60;
    constexpr std::uint64_t kEnd = 6000;
    std::vector<std::uint64_t> until(kEnd, 0);  // the end of the turn that a moment lies in; 0: none
    std::uint64_t time = 20 + chance() % 20, turn = time, longest = 0;
    bool first = true;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> turns;
    told.counter(CounterId::kQueueDepth, 0, 0, 1);
    for (std::uint64_t id = 1; time + 120 < kEnd; ++id) {
      const std::uint64_t gap = first ? 0 : chance() % 16;
      const bool outside = chance() % 4 == 0;
      const bool parks = gap > 2 && chance() % 5 == 0;
      const std::uint64_t start = time + gap, end = start + 1 + chance() % 100;
      told.created(id, start);
      if (outside) told.wake(id, start);  // by nobody of the program
      if (parks) told.parked(time + 1, time + 2, 1);
      told.ran(id, start, end, 1);
      if (!first && (gap >= 10 || outside || parks)) {
        turns.push_back({turn, time});
        turn = start;
      }
      first = false;
      time = end;
    }
    turns.push_back({turn, time});
    told.counter(CounterId::kQueueDepth, kEnd, 0, 1);
    for (const auto& [from, to] : turns) {
      for (std::uint64_t t = from; t < to; ++t) until[t] = to;
      longest = std::max(longest, to - from);
    }
    const TraceModel model = told.model();
    const Analysis all(model, settings);
    REQUIRE(all.loop.lanes.size() == 1);
    const EventLoop::LaneLag& lag = all.loop.lanes[0];
    CHECK(lag.turns == turns.size());
    CHECK(lag.max_ns == longest);
    std::vector<std::uint64_t> probes;
    for (std::uint64_t t = 0; t < kEnd; ++t) probes.push_back(until[t] == 0 ? 0 : until[t] - t);
    std::sort(probes.begin(), probes.end());
    const auto near = [](std::uint64_t a, std::uint64_t b) { return (a > b ? a - b : b - a) <= 1; };
    CHECK(near(lag.p50_ns, probes[kEnd / 2 - 1]));
    CHECK(near(lag.p99_ns, probes[kEnd - kEnd / 100 - 1]));
    CHECK(near(lag.p999_ns, probes[kEnd - kEnd / 1000 - 1]));
    std::uint64_t over = 0, late = 0;
    for (const auto& [from, to] : turns) over += to - from > 60 ? 1 : 0;
    for (const std::uint64_t probe : probes) late += probe > 60 ? 1 : 0;
    CHECK(lag.over == over);
    CHECK(lag.late_ns == late);
  }
}

TEST_CASE("each lag names the callback that held the loop longest in it, also one that the host has measured") {
  EventScript told;
  told.lane(1, "loop").stack(1, "a", "a.js", 1).stack(2, "b", "b.js", 2);
  told.created(1, 0, {.stack = 1}).created(2, 0, {.stack = 2});
  told.ran(1, kMs, 5 * kMs, 1).ran(2, 5 * kMs, 13 * kMs, 1);                   // one turn of 12 ms, 8 of them in b
  told.ran(1, 50 * kMs, 55 * kMs, 1);
  told.counter(CounterId::kLoopLag, 13 * kMs, 11 * kMs, 1).counter(CounterId::kLoopLag, 60 * kMs, 10 * kMs, 1);
  const TraceModel model = told.model();
  const Analysis all(model);
  CHECK(all.loop.lags_over == 2);
  REQUIRE(all.loop.lags.size() == 2);
  CHECK(all.loop.lags[0].lag_ns == 12 * kMs);
  CHECK(!all.loop.lags[0].reported);
  CHECK(all.loop.lags[0].runs == 2);
  CHECK(all.loop.lags[0].culprit_ns == 8 * kMs);
  CHECK(all.where[all.run.resource_of(all.loop.lags[0].culprit)].text == "b @ b.js:2");
  CHECK(all.loop.lags[1].reported);
  CHECK(all.loop.lags[1].lag_ns == 11 * kMs);
  CHECK(all.where[all.run.resource_of(all.loop.lags[1].culprit)].text == "b @ b.js:2");
  CHECK(all.loop.lanes[0].reported.n == 2);
  CHECK(all.loop.lanes[0].reported.max == 11 * kMs);
  REQUIRE(all.loop.findings.size() == 1);
  CHECK(all.loop.findings[0].mute_key == "loop-lag|b @ b.js:2");
  CHECK(all.loop.findings[0].severity == Severity::kLow);
}

TEST_CASE("every task that was created is in the book once, by location, with what became of it") {
  EventScript told;
  told.lane(1, "loop").stack(1, "a", "a.js", 1).stack(2, "b", "b.js", 2);
  const auto make = [&](std::uint64_t id, std::uint32_t stack, std::string_view type = "task") { told.created(id, id, {.type = type, .stack = stack}); };
  make(1, 1);
  told.settled(1, 100, Outcome::kFulfilled);
  make(2, 1);
  told.settled(2, 100, Outcome::kRejected);
  make(3, 1);
  told.settled(3, 100, Outcome::kCancelled);
  make(4, 1);
  told.settled(4, 100, Outcome::kUnknown);
  make(5, 1);
  told.destroyed(5, 100);
  make(6, 2, "js-promise");
  told.ran(6, 50, 60, 1);       // it runs once, and has
  make(7, 2, "js-promise");     // pending
  make(8, 2);
  told.ran(8, 70, 80, 1);       // may run again: pending
  make(9, 2, "js-promise");
  told.entered(9, 200, 1);      // running at the end: pending
  const TraceModel model = told.model();
  const Analysis all(model);
  const EventLoop::Tasks& sum = all.loop.all;
  CHECK(sum.created == 9);
  CHECK(sum.fulfilled == 1);
  CHECK(sum.rejected == 1);
  CHECK(sum.cancelled == 1);
  CHECK(sum.settled_unknown == 1);
  CHECK(sum.ended_unsaid == 2);
  CHECK(sum.pending == 3);
  CHECK(sum.not_told == 0);
  CHECK(sum.pending_since_ns == 7);
  CHECK(model.id[sum.oldest] == 7);
  CHECK(at(all, "a @ a.js:1").created == 5);
  CHECK(at(all, "a @ a.js:1").pending == 0);
  const EventLoop::Tasks& first = all.loop.tasks.front();  // the most pending first
  CHECK(all.where.entries[first.location].text == "b @ b.js:2");
  CHECK(first.pending == 2);
}

TEST_CASE("100 % of the tasks are in the book of a large random trace, also where locations go beyond the list") {
  std::mt19937 chance(5);
  EventScript told;
  for (std::uint32_t stack = 1; stack <= 300; ++stack) told.stack(stack, "f" + std::to_string(stack), "a.js", stack);
  for (std::uint64_t id = 1; id <= 20'000; ++id) {
    told.created(id, id, {.stack = static_cast<std::uint32_t>(1 + chance() % 300)});
    switch (chance() % 4) {
      case 0: told.settled(id, id + 5, static_cast<Outcome>(chance() % 4)); break;
      case 1: told.destroyed(id, id + 9); break;
      default: break;
    }
  }
  const TraceModel model = told.model();
  const Analysis all(model);
  std::uint64_t created = 0;
  for (const EventLoop::Tasks& one : all.loop.tasks) {
    created += one.created;
    CHECK(one.created == one.fulfilled + one.rejected + one.cancelled + one.settled_unknown + one.ended_unsaid + one.pending + one.not_told);
  }
  CHECK(created == 20'000);
  CHECK(all.loop.all.created == 20'000);
  CHECK(all.loop.tasks.size() == all.settings.event_loop.locations_listed + 1);
  CHECK(all.loop.tasks_not_listed == 200);
}

TEST_CASE("a trace that records no settling does not make its tasks pending") {
  EventScript told;
  told.created(1, 0).created(2, 5);
  const TraceModel model = told.model();
  const Analysis all(model);
  CHECK(all.loop.all.pending == 0);
  CHECK(all.loop.all.not_told == 2);
}
