// SPDX-License-Identifier: MIT
// critical_path_test.cpp: small traces told event by event, and the path, the gaps and the splits that a reader works out by
// hand from docs/analyses.md.
#include "thence/analysis/critical_path.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "analysis/event_script.hpp"
#include "support/catch.hpp"
#include "thence/analysis/concurrency.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/time_split.hpp"
#include "thence/analysis/tree.hpp"

namespace {

using namespace thence;
using thence_test::EventScript;

/// All analyses of one trace.
struct Analysed {
  TraceModel model;
  Normalised normal;
  AnalysisSettings settings;
  Execution run;
  CriticalPaths paths;
  IdealSchedule ideal;
  Gaps gaps;
  TimeSplits splits;

  explicit Analysed(EventScript& told, const AnalysisSettings& with = all_gaps())
      : model(told.model()), normal(normalise(model)), settings(with), run(model, normal, settings), paths(run), ideal(run, paths),
        gaps(run), splits(run, paths) {}

  static AnalysisSettings all_gaps() {
    AnalysisSettings settings;
    settings.gaps.min_ns = 1;
    settings.gaps.min_permille = 0;
    return settings;
  }
  /// "exec 1 0-40, wait 2 40-90"
  [[nodiscard]] std::string path(std::uint32_t request = 0) { return text(paths.of(request)); }
  [[nodiscard]] std::string text(std::span<const PathSegment> path) const {
    std::string out;
    for (const PathSegment& part : path) {
      if (!out.empty()) out += ", ";
      out += std::string(word(part.kind)) + " ";
      if (part.resource != TraceModel::kNone) out += std::to_string(model.id[part.resource]) + " ";
      out += std::to_string(part.start) + "-" + std::to_string(part.end);
    }
    return out;
  }
  [[nodiscard]] std::string idle(std::uint32_t request = 0) const {
    std::string out;
    for (const Gap& gap : gaps.of(request)) {
      for (const GapPart& part : gaps.parts_of(gap)) {
        if (!out.empty()) out += ", ";
        out += std::string(word(part.cause)) + " ";
        if (part.operation != TraceModel::kNone) out += std::to_string(model.id[part.operation]) + " ";
        out += std::to_string(part.start) + "-" + std::to_string(part.end) + (part.guessed ? "?" : "");
      }
    }
    return out;
  }
  [[nodiscard]] TimeSplit split(std::uint64_t id) const { return splits.of_resource(model.find(static_cast<ResourceId>(id))); }
};

constexpr auto kFulfilled = Outcome::kFulfilled;
constexpr auto kBy = Actor::kInvocation;

}  // namespace

TEST_CASE("a request that fetches once ran, waited, was made ready late, and ran again") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 30, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1});
  told.created(3, 31, {.type = "js-promise", .trigger = 1, .root = 1, .lane = 1}).exited(1, 40, 1);
  told.settled(2, 130).entered(3, 135, 1, CauseKind::kSettled, 2).settled(1, 150, kFulfilled, kBy, 3, 1).exited(3, 160, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-30, wait 2 30-130, sched 3 130-135, exec 3 135-150");
  CHECK(made.paths.explained_permille(0) == 1000);
  CHECK(made.paths.recorded_permille(0) == 1000);
  CHECK(made.idle() == "network 2 40-130, scheduling 130-135");
  CHECK(made.gaps.idle_ns(0) == 95);
  CHECK(made.splits.of_request(0) == TimeSplit{45, 0, 100, 5, 0});
  CHECK(made.split(3) == TimeSplit{25, 0, 99, 5, 0});
  CHECK(made.split(2) == TimeSplit{0, 0, 100, 0, 0});
  const IdealSchedule::Bound& bound = made.ideal.bounds[0];
  CHECK(bound.dependency_ns == 145);
  CHECK(bound.lane_ns == 45);
  CHECK(bound.exec_ns == 40 + 15);
  CHECK(bound.operations_ns == 100);
  const auto members = made.ideal.members_of(0);
  REQUIRE(members.size() == 3);
  CHECK(made.model.id[members[0].unit] == 2);
  CHECK(members[0].saving_ns == 100);
}

TEST_CASE("what a request's own callbacks held is on its path; what another's held is blocked") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).created(11, 0, {.type = "root", .root = 2});
  told.entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1});
  told.created(3, 6, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1}).exited(1, 10, 1);
  told.settled(2, 50).settled(3, 55);
  told.created(4, 7, {.type = "js-promise", .trigger = 1, .root = 1}).created(5, 8, {.type = "js-promise", .trigger = 1, .root = 1});
  told.entered(4, 50, 1, CauseKind::kSettled, 2).exited(4, 80, 1);                     // holds the lane: 5 is ready from 55
  told.entered(11, 80, 1).exited(11, 100, 1).settled(11, 100, kFulfilled, kBy, 11, 1);  // another request
  told.entered(5, 102, 1, CauseKind::kSettled, 3).settled(1, 110, kFulfilled, kBy, 5, 1).exited(5, 110, 1);
  Analysed made(told);
  const std::uint32_t first = made.model.roots[0].id == RootId{1} ? 0 : 1;
  CHECK(made.path(first) == "exec 1 0-5, wait 2 5-50, exec 4 50-80, blocked 11 80-100, sched 5 100-102, exec 5 102-110");
  CHECK(made.paths.of(first)[2].contention);
  CHECK_FALSE(made.paths.of(first)[5].contention);
  CHECK(made.paths.of(first)[3].other == made.model.find(ResourceId{5}));
  // What 5 itself was delayed by is not its waiting.
  CHECK(made.split(5) == TimeSplit{8, 45, 47, 2, 0});
  // Without anything queueing 5 would have run at 55.
  CHECK(made.ideal.bounds[first].dependency_ns == 55 + 8);
  const auto saved = [&](std::uint64_t id) {
    const std::uint32_t unit[] = {made.model.find(static_cast<ResourceId>(id))};
    return made.ideal.saving_of(first, unit);
  };
  CHECK(saved(4) == 0);  // contention is not counted as saved
  CHECK(saved(3) == 49);
  CHECK(made.idle(first) == "network 2 10-50, scheduling 80-102");
  CHECK(made.gaps.of(first)[1].foreign_ns == 20);

  AnalysisSettings settings = Analysed::all_gaps();
  settings.path.dependency_only = true;
  EventScript again;
  again.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1});
  again.exited(1, 10, 1).settled(2, 20).created(3, 6, {.type = "js-promise", .trigger = 1, .root = 1});
  again.created(4, 7, {.type = "js-promise", .trigger = 1, .root = 1}).entered(4, 12, 1, CauseKind::kCreated, 1).exited(4, 30, 1);
  again.entered(3, 30, 1, CauseKind::kSettled, 2).settled(1, 31, kFulfilled, kBy, 3, 1).exited(3, 31, 1);
  Analysed without(again, settings);
  CHECK(without.path() == "exec 1 0-5, wait 2 5-20, sched 3 20-30, exec 3 30-31");
}

TEST_CASE("what is called in a callback has its own part of it, and the rest is the caller's") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).created(2, 1, {.type = "js-promise", .trigger = 1, .root = 1});
  told.created(3, 2, {.type = "js-promise", .trigger = 1, .root = 1});
  told.entered(1, 0, 1).entered(2, 10, 1).entered(3, 20, 1).exited(3, 30, 1).exited(2, 60, 1);
  told.settled(1, 90, kFulfilled, kBy, 1, 1).exited(1, 100, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-10, exec 2 10-20, exec 3 20-30, exec 2 30-60, exec 1 60-90");
  CHECK(made.run.self[0] == 10 + 40);
  CHECK(made.run.self[1] == 40);
  const std::uint32_t unit[] = {made.model.find(ResourceId{2})};
  CHECK(made.ideal.saving_of(0, unit) == 40);
  CHECK(made.split(1).running_ns == 100);
}

TEST_CASE("callbacks that cross each have the time from which they were the last to begin") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).created(2, 0, {.type = "js-promise", .trigger = 1, .root = 1});
  told.entered(1, 0, 1).entered(2, 5, 1).exited(1, 10, 1).exited(2, 15, 1).settled(1, 15, kFulfilled, kBy, 2, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-5, exec 2 5-15");
  CHECK(made.run.self[0] + made.run.self[1] == 15);
}

TEST_CASE("a collection in the middle of a callback is a pause, not running") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).paused(20, 50, 1).paused(60, 65, 1);
  told.settled(1, 80, kFulfilled, kBy, 1, 1).exited(1, 80, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-20, pause 1 20-50, exec 1 50-60, pause 1 60-65, exec 1 65-80");
}

TEST_CASE("an operation that says when it was begun splits its wait into queue and work") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 10, {.type = "d1-query", .trigger = 1, .root = 1, .lane = 1});
  told.note(2, 10, "started_ns", Value::of(std::uint64_t{25})).created(3, 10, {.type = "js-promise", .trigger = 1, .root = 1});
  told.exited(1, 12, 1).settled(2, 100).entered(3, 100, 1, CauseKind::kExternal, 2).settled(1, 101, kFulfilled, kBy, 3, 1).exited(3, 101, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-10, queue 2 10-35, wait 2 35-100, exec 3 100-101");
}

TEST_CASE("what is not told is unknown, and a request that ends after its last callback has a tail") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 10, {.type = "js-promise", .trigger = 1, .root = 1, .lane = 1});
  told.exited(1, 20, 1).wake(4, 1, 1, 1);
  told.entered(2, 70, 1).exited(2, 80, 1).finished(1, 1, 100);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-10, unknown 2 10-70, exec 2 70-80, tail 2 80-100");
  CHECK(made.paths.explained_permille(0) == 200);
  CHECK(made.run.causes_unknown == 1);
  CHECK(made.splits.of_request(0) == TimeSplit{20, 0, 0, 0, 80});
  CHECK(made.split(2) == TimeSplit{10, 0, 0, 0, 60});
  CHECK(made.ideal.bounds[0].dependency_ns == 100);  // what nothing explains keeps its length
  CHECK(made.idle() == "unknown 20-70, tail 80-100");
}

TEST_CASE("a task woken by nobody that the trace names waited for the outside since it last ran") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).exited(1, 10, 1).wake(1, 60).entered(1, 64, 1);
  told.settled(1, 70, kFulfilled, kBy, 1, 1).exited(1, 70, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-10, wait 1 10-60, sched 1 60-64, exec 1 64-70");
  CHECK(made.paths.of(0)[1].unnamed);
  CHECK(made.splits.request_waits(0).size() == 1);
  CHECK(made.splits.request_waits(0)[0].on == TraceModel::kNone);
}

TEST_CASE("a task made ready on another lane than it ran on was not held up by what ran there long before") {
  for (const std::uint64_t gap : {std::uint64_t{1'000}, std::uint64_t{60'000}}) {
    EventScript told;
    told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "tokio-task", .trigger = 1, .root = 1, .lane = 1});
    told.wake(2, 10, 1, 1).exited(1, 500, 1);
    told.created(3, 6, {.type = "tokio-task", .trigger = 1, .root = 1}).entered(3, 7, 2, CauseKind::kCreated, 1).exited(3, 400, 2);
    const std::uint64_t begin = 400 + gap;
    told.entered(2, begin, 2).settled(1, begin + 10, kFulfilled, kBy, 2, 2).exited(2, begin + 10, 2);
    Analysed made(told);
    if (gap < 50'000) {
      CHECK(made.path() == "exec 1 0-6, sched 3 6-7, exec 3 7-400, sched 2 400-1400, exec 2 1400-1410");
    } else {
      CHECK(made.path() == "exec 1 0-10, sched 2 10-60400, exec 2 60400-60410");
    }
  }
}

TEST_CASE("of a plain document an operation and its bridge are one, done when the bridge's callback begins") {
  EventScript told;
  told.stack(1, "load", "app.js", 7);
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 0).created(2, 100, {.type = "js-promise", .trigger = 1, .root = 1});
  told.entered(2, 200, 0).exited(2, 300, 0).created(3, 250, {.type = "kv-get", .trigger = 2, .root = 1, .stack = 1});
  told.created(4, 260, {.type = "kj-to-js", .trigger = 2, .root = 1, .stack = 1}).entered(4, 900, 0).exited(4, 950, 0);
  told.created(5, 270, {.type = "js-promise", .trigger = 2, .root = 1, .stack = 1}).entered(5, 1000, 0).exited(5, 1100, 0);
  told.exited(1, 1190, 0).finished(1, 1, 1200);
  Analysed made(told);
  REQUIRE(made.normal.inferred);
  const std::uint32_t kv = made.model.find(ResourceId{3});
  CHECK(made.run.unit[made.model.find(ResourceId{4})] == kv);
  CHECK(made.run.settled[kv] == 900);
  CHECK(made.run.settle_inferred[kv]);
  CHECK(made.run.spans == 1);  // the root's interval is the request, not a callback
  CHECK(made.path() == "unknown 0-100, unknown 2 100-200, exec 2 200-250, wait 3 250-900, exec 4 900-950, sched 5 950-1000, exec 5 1000-1100, "
                       "tail 5 1100-1200");
  CHECK(made.paths.explained_permille(0) == 750);
  CHECK(made.paths.recorded_permille(0) == 83);  // the last callback alone: all before it hangs on what was inferred
  CHECK(made.ideal.bounds[0].operations_ns == 650);
}

TEST_CASE("an input of Promise.all that was not the last is a dependency of the ideal schedule") {
  EventScript told;  // two branches on one lane: the short one, held up by the lane, is the last; without queueing the long one is
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1);
  told.created(2, 1, {.type = "js-promise", .trigger = 1, .root = 1, .lane = 1}).awaits(1, 2, 1);
  told.created(3, 2, {.type = "js-promise", .trigger = 1, .root = 1, .lane = 1}).awaits(1, 3, 2).exited(1, 10, 1);
  told.entered(2, 10, 1, CauseKind::kCreated, 1).settled(2, 90, kFulfilled, kBy, 2, 1).exited(2, 90, 1);
  told.entered(3, 90, 1, CauseKind::kCreated, 1).settled(3, 100, kFulfilled, kBy, 3, 1).exited(3, 100, 1);
  told.entered(1, 100, 1, CauseKind::kSettled, 3).settled(1, 105, kFulfilled, kBy, 1, 1).exited(1, 105, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-10, exec 2 10-90, exec 3 90-100, exec 1 100-105");
  CHECK(made.ideal.bounds[0].dependency_ns == 1 + 80 + 5);
  CHECK(made.ideal.bounds[0].lane_ns == 105);
  CHECK(made.ideal.bounds[0].ideal_ns == 105);
  // Operations of a run that could begin together.
  const std::uint32_t unit[] = {made.model.find(ResourceId{2})};
  CHECK(made.ideal.saving_of(0, unit) == 86 - (2 + 10 + 5));
  CHECK(made.ideal.slack_of(made.model.find(ResourceId{3})).ns == 69);
  CHECK(made.ideal.slack_of(unit[0]).ns == 0);
}

TEST_CASE("operations that were begun one after the other are bounded by their longest, begun together") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1});
  told.exited(1, 10, 1).settled(2, 105).entered(1, 105, 1, CauseKind::kSettled, 2);
  told.created(3, 106, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1}).exited(1, 110, 1).settled(3, 256);
  told.entered(1, 256, 1, CauseKind::kSettled, 3).settled(1, 260, kFulfilled, kBy, 1, 1).exited(1, 260, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-5, wait 2 5-105, exec 1 105-106, wait 3 106-256, exec 1 256-260");
  const std::uint32_t run[] = {made.model.find(ResourceId{2}), made.model.find(ResourceId{3})};
  const IdealSchedule::Run runs[] = {run};
  CHECK(made.ideal.structural_bound(0, runs) == 5 + 150 + 4);
  CHECK(made.ideal.bounds[0].dependency_ns == 260);
  CHECK(made.ideal.saving_of(0, run) == 260 - (10 + 5 + 4));  // the callbacks still run, one after the other, to their ends
}

TEST_CASE("the body of an answer follows its fetch, wherever that goes") {
  EventScript told;  // the outside makes each body under its fetch, and the function goes on when the body is there
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1});
  told.exited(1, 10, 1).settled(2, 105).created(12, 106, {.type = "stream-read", .trigger = 2, .root = 1}).settled(12, 110);
  told.entered(1, 110, 1, CauseKind::kExternal, 12).created(3, 111, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1}).exited(1, 115, 1);
  told.settled(3, 261).created(13, 262, {.type = "stream-read", .trigger = 3, .root = 1}).settled(13, 266);
  told.entered(1, 266, 1, CauseKind::kExternal, 13).settled(1, 270, kFulfilled, kBy, 1, 1).exited(1, 270, 1);
  Analysed made(told);
  CHECK(made.path() == "exec 1 0-5, wait 2 5-106, wait 12 106-110, exec 1 110-111, wait 3 111-262, wait 13 262-266, exec 1 266-270");
  CHECK(made.idle() == "network 2 10-106, stream 12 106-110, network 3 115-262, stream 13 262-266");
  CHECK(made.run.made_for(made.model.find(ResourceId{13})) == made.model.find(ResourceId{3}));
  CHECK(made.run.made_after[made.model.find(ResourceId{13})] == made.model.find(ResourceId{3}));
  CHECK(made.ideal.bounds[0].dependency_ns == 270);
  const std::uint32_t run[] = {made.model.find(ResourceId{2}), made.model.find(ResourceId{3})};
  const IdealSchedule::Run runs[] = {run};
  CHECK(made.ideal.structural_bound(0, runs) == 5 + 150 + 1 + 4 + 4);
  CHECK(made.ideal.saving_of(0, std::span(run).last(1)) == 150);
}

TEST_CASE("a part of a fetch that another callback of the same turn began goes with the fetch; one of a later turn does not") {
  for (const std::uint64_t pause : {std::uint64_t{0}, std::uint64_t{60'000}}) {
    EventScript told;  // 9 is a step of the loop: what the fetch asks for is sent from there
    told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(9, 1, {.type = "js-promise", .trigger = 1, .root = 1, .lane = 1});
    told.created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1}).exited(1, 10, 1).settled(2, 105);
    told.entered(1, 105, 1, CauseKind::kExternal, 2).created(3, 106, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1}).exited(1, 110, 1);
    const std::uint64_t turn = 110 + pause;
    told.wake(9, turn).entered(9, turn, 1).created(13, turn + 2, {.type = "other", .trigger = 3, .root = 1, .lane = 1}).exited(9, turn + 3, 1);
    told.awaits(3, 13, turn + 2).settled(13, turn + 145).settled(3, turn + 146);
    told.entered(1, turn + 146, 1, CauseKind::kExternal, 3).settled(1, turn + 150, kFulfilled, kBy, 1, 1).exited(1, turn + 150, 1);
    Analysed made(told);
    const std::uint32_t run[] = {made.model.find(ResourceId{2}), made.model.find(ResourceId{3})};
    const IdealSchedule::Run runs[] = {run};
    INFO("pause " << pause);
    CHECK(made.ideal.bounds[0].dependency_ns == turn + 150);
    CHECK(made.ideal.structural_bound(0, runs) == (pause == 0 ? 5 + 150 + 4 : turn + 145 + 4));
  }
}

TEST_CASE("an answer ended a gap, though the loop noticed it late; what was ready for most of the gap was held up by the loop") {
  for (const bool late : {false, true}) {
    EventScript told;
    told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .lane = 1});
    told.exited(1, 10, 1).settled(2, late ? 50 : 60).entered(1, 110, 1, CauseKind::kExternal, 2);
    told.settled(1, 120, kFulfilled, kBy, 1, 1).exited(1, 120, 1);
    Analysed made(told);
    const Gap& gap = made.gaps.of(0)[0];
    CHECK(gap.cause == (late ? GapCause::kScheduling : GapCause::kNetwork));
    CHECK(gap.operation == (late ? TraceModel::kNone : made.model.find(ResourceId{2})));
    CHECK(made.idle() == (late ? "network 2 10-50, scheduling 50-110" : "network 2 10-60, scheduling 60-110"));
  }
}

TEST_CASE("shares of a path add up to it, the largest first, by type and by code") {
  EventScript told;
  told.stack(1, "load", "app.js", 7).stack(2, "fetch", "node:internal/fetch", 3);
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).created(2, 5, {.type = "fetch", .trigger = 1, .root = 1, .stack = 1, .lane = 1});
  told.exited(1, 10, 1).settled(2, 105).entered(1, 105, 1, CauseKind::kSettled, 2);
  told.created(3, 106, {.type = "fetch", .trigger = 1, .root = 1, .stack = 1, .lane = 1}).exited(1, 110, 1).settled(3, 256);
  told.entered(1, 256, 1, CauseKind::kSettled, 3).created(4, 258, {.type = "kv-get", .trigger = 1, .root = 1, .stack = 2, .lane = 1});
  told.exited(1, 259, 1).settled(4, 300).entered(1, 300, 1, CauseKind::kSettled, 4).settled(1, 301, kFulfilled, kBy, 1, 1).exited(1, 301, 1);
  Analysed made(told);
  const auto shares = path_shares(made.run, made.paths.of(0));
  REQUIRE(shares.size() == 3);
  CHECK(shares[0].total == 250);
  CHECK(shares[0].count == 2);
  CHECK(made.model.text(made.model.frames[shares[0].location].function) == "load");
  CHECK(shares[1].total == 42);
  CHECK(shares[1].location == TraceModel::kNone);  // a frame of the runtime is nobody's code
  CHECK(shares[2].kind == PathKind::kExec);
  CHECK(path_shares(made.run, made.paths.of(0), PathGrouping::kType).size() == 3);

  // Concurrency: the same request as a curve, and what of it the path covers.
  const Concurrency curve = concurrency_of(made.run, 0);
  CHECK(curve.steps.front() == Concurrency::Step{0, 1, 0});
  CHECK(curve.steps[1] == Concurrency::Step{5, 1, 1});
  CHECK(curve.steps.back() == Concurrency::Step{301, 0, 0});
  const auto buckets = curve.buckets(301, 0, 301);
  CHECK(buckets[4].exec_mean == 1);
  CHECK(buckets[50].bottleneck);
  CHECK_FALSE(buckets[7].bottleneck);
  const auto cover = path_cover(made.paths.of(0), 7, 0, 301);
  for (const double share : cover) CHECK(share == 1);
}

TEST_CASE("hiding the runtime's own gives their children to the nearest ancestor that is shown") {
  EventScript told;
  told.stack(1, "load", "app.js", 7).stack(2, "then", "node:internal/promises", 3).stack(3, "", "", 0);
  told.created(1, 0, {.type = "root", .root = 1}).created(2, 1, {.type = "js-promise", .trigger = 1, .root = 1, .stack = 2});
  told.created(3, 2, {.type = "kj-to-js", .trigger = 2, .root = 1, .stack = 1}).created(4, 3, {.type = "js-promise", .trigger = 3, .root = 1, .stack = 1});
  told.created(5, 4, {.type = "js-promise", .trigger = 4, .root = 1, .stack = 3}).created(6, 5, {.type = "fetch", .trigger = 5, .root = 1});
  Analysed made(told);
  const auto row = [&](std::uint64_t id) { return made.model.find(static_cast<ResourceId>(id)); };
  const Visibility& visible = made.run.visible;
  CHECK_FALSE(visible.hidden[row(1)]);
  CHECK(visible.hidden[row(2)]);  // only frames of the runtime
  CHECK(visible.hidden[row(3)]);  // a bridge
  CHECK_FALSE(visible.hidden[row(4)]);
  CHECK(visible.hidden[row(5)]);  // a frame without a file is not the user's
  CHECK_FALSE(visible.hidden[row(6)]);  // an operation
  CHECK(visible.shown_parent[row(4)] == row(1));
  CHECK(visible.shown_parent[row(6)] == row(4));
  const ResourceTree shown(visible.shown_parent);
  CHECK(shown.depth[row(6)] == 2);
  const ResourceTree whole(made.normal);
  CHECK(whole.depth[row(6)] == 5);
  const std::vector<bool> around = ResourceTree(made.normal).around(row(3));
  CHECK(std::count(around.begin(), around.end(), true) == 6);
  CHECK(whole.descendants(row(3)) == 3);
  AnalysisSettings settings;
  settings.internal_files = {"app.js"};
  CHECK(owner_of_file("app.js", settings) == FrameOwner::kInternal);
  CHECK(owner_of_file("workerd-internal:x", settings) == FrameOwner::kInternal);
  CHECK(owner_of_file("my-node:x", settings) == FrameOwner::kUser);
}

TEST_CASE("a share is rounded down, so that 1000 of 1000 is all of it, also of times near the end of 64 bits") {
  EventScript told;
  constexpr std::uint64_t far = std::numeric_limits<std::uint64_t>::max() - 10;
  told.created(1, 0, {.type = "root", .root = 1}).entered(1, 1, 1).wake(1, 0).settled(1, far, kFulfilled, kBy, 1, 1).exited(1, far, 1);
  told.created(2, 0, {.type = "js-promise", .trigger = 1, .root = 1});
  Analysed made(told);
  CHECK(made.paths.explained_permille(0) == 1000);

  EventScript almost;
  almost.created(1, 0, {.type = "root", .root = 1}).entered(1, 0, 1).wake(1, 0).exited(1, 999'999'999, 1).finished(1, 1, 1'000'000'000);
  Analysed tail(almost);
  CHECK(tail.path() == "exec 1 0-999999999, tail 1 999999999-1000000000");
  CHECK(tail.paths.explained_permille(0) == 999);
}
