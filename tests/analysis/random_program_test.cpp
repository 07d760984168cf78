// SPDX-License-Identifier: MIT
// random_program_test.cpp: a critical path is what the end depends on: shorten one step by a nanosecond, run the program
// again, and see whether its end moves by one. The machine that runs it (random_program.hpp) knows nothing of thence.
#include "thence/analysis/critical_path.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <vector>

#include "analysis/random_program.hpp"
#include "support/catch.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/time_split.hpp"
#include "thence/model/model_builder.hpp"

namespace {

using namespace thence;
using thence_test::CauseStyle;
using thence_test::Machine;
using thence_test::MachineOptions;
using thence_test::MachineRun;
using thence_test::ProgramMaker;
using thence_test::RandomProgram;

TraceModel model_of(const std::vector<TraceEvent>& events) {
  ModelBuilder builder;
  builder.begin({});
  builder.take(events);
  builder.end({});
  return builder.build();
}

struct Tally {
  std::uint64_t programs = 0, partitions = 0, steps = 0, mismatches = 0, reordered = 0, ends = 0;
};

CauseStyle style_of(std::uint64_t seed) {
  return seed % 3 == 0 ? CauseStyle::kCauses : seed % 3 == 1 ? CauseStyle::kWakes : CauseStyle::kLinks;
}

void invariants(const Execution& run, const CriticalPaths& paths) {
  const Execution::Request& request = run.requests.front();
  IdealSchedule ideal(run, paths);
  const IdealSchedule::Bound& bound = ideal.bounds.front();
  CHECK(bound.ideal_ns <= request.duration());
  CHECK(bound.observed_ns == request.duration());
  for (const PathMember& member : ideal.members_of(0)) {
    if (member.saving_known) CHECK(member.saving_ns <= bound.dependency_ns);
  }
  const Gaps gaps(run);
  CHECK(gaps.idle_ns(0) + gaps.busy_ns(0) == request.duration());
  const TimeSplits splits(run, paths);
  CHECK(splits.of_request(0).elapsed_ns() == request.duration());
  for (std::uint32_t row = 0; row < run.model.resources(); ++row) {
    const TimeSplit& split = splits.of_resource(row);
    std::uint64_t last = run.finish_of(row);
    for (const std::uint32_t at : run.model.invocations_of(row)) last = std::max(last, run.end(at));
    REQUIRE(split.elapsed_ns() == last - run.created(row));
    std::uint64_t waits = 0;
    for (const Waited& part : splits.waits_of(row)) waits += part.ns;
    REQUIRE(waits == split.waiting_ns);
  }
}

void one(std::uint64_t seed, unsigned lanes, Tally& tally) {
  ProgramMaker maker(seed);
  const RandomProgram program = maker.make(true);
  const MachineOptions options{lanes, style_of(seed)};
  const MachineRun real = Machine(program, program.costs, options).result;
  if (real.end == 0) return;
  const TraceModel model = model_of(real.events);
  const Normalised normal = normalise(model);
  const AnalysisSettings settings;
  const Execution run(model, normal, settings);
  const CriticalPaths paths(run);
  const auto path = paths.of(0);
  ++tally.programs;
  bool exact = !path.empty() && path.front().start == 0 && path.back().end == real.end;
  for (std::size_t at = 1; at < path.size(); ++at) exact = exact && path[at].start == path[at - 1].end;
  for (const PathSegment& part : path) exact = exact && part.start < part.end;
  tally.partitions += exact ? 1 : 0;
  if (seed % 16 == 0) invariants(run, paths);

  std::set<std::size_t> on_path;
  for (const PathSegment& part : path) {
    if (part.kind == PathKind::kWait) on_path.insert(real.operations.at(model.id[part.resource]));
    if (part.kind != PathKind::kExec) continue;
    const std::uint64_t lane = number(model.lanes[run.lane[part.invocation]].id);
    for (const MachineRun::Piece& piece : real.pieces) {
      if (piece.lane == lane && piece.start < part.end && part.start < piece.end) on_path.insert(piece.cost);
    }
  }
  std::vector<std::uint64_t> costs = program.costs;
  for (std::size_t step = 0; step < costs.size(); ++step) {
    --costs[step];
    const MachineRun again = Machine(program, costs, options).result;
    ++costs[step];
    ++tally.steps;
    if (lanes != 1 && again.order != real.order) {
      ++tally.reordered;
      continue;
    }
    const std::uint64_t moved = real.end - again.end;
    if (moved != (on_path.count(step) != 0 ? 1 : 0)) {
      if (tally.mismatches == 0) std::printf("first mismatch: seed %llu, %u lanes, step %zu\n", static_cast<unsigned long long>(seed), lanes, step);
      ++tally.mismatches;
    }
  }
}

}  // namespace

TEST_CASE("on one loop a step is on the critical path exactly if the end moves with it") {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) one(seed, 1, tally);
  std::printf("one loop: %llu programs, %llu exact partitions, %llu steps shortened, %llu mismatches\n",
              static_cast<unsigned long long>(tally.programs), static_cast<unsigned long long>(tally.partitions),
              static_cast<unsigned long long>(tally.steps), static_cast<unsigned long long>(tally.mismatches));
  CHECK(tally.programs > 3800);
  CHECK(tally.partitions == tally.programs);
  CHECK(tally.mismatches == 0);
}

TEST_CASE("on several loops with work stealing too, as far as the order of events is kept") {
  for (const unsigned lanes : {2u, 3u, 4u}) {
    Tally tally;
    for (std::uint64_t seed = 1; seed <= 2100; ++seed) one(seed + lanes * 100'000, lanes, tally);
    std::printf("%u loops: %llu programs, %llu exact partitions, %llu steps shortened, %llu left out (%.3f %%: another order), %llu mismatches\n",
                lanes, static_cast<unsigned long long>(tally.programs), static_cast<unsigned long long>(tally.partitions),
                static_cast<unsigned long long>(tally.steps), static_cast<unsigned long long>(tally.reordered),
                100.0 * static_cast<double>(tally.reordered) / static_cast<double>(tally.steps),
                static_cast<unsigned long long>(tally.mismatches));
    CHECK(tally.programs > 1990);
    CHECK(tally.partitions == tally.programs);
    CHECK(tally.mismatches == 0);
    CHECK(tally.reordered * 50 <= tally.steps);
  }
}

TEST_CASE("the ideal schedule of a busy loop is what a machine with loops without end does, and so is each saving") {
  std::uint64_t programs = 0, savings = 0, faster = 0, slacks = 0;
  for (std::uint64_t seed = 500'001; seed <= 502'000; ++seed) {
    ProgramMaker maker(seed);
    const RandomProgram program = maker.make(false);
    const unsigned lanes = 1 + static_cast<unsigned>(seed % 3);
    const MachineRun real = Machine(program, program.costs, {lanes, style_of(seed / 3)}).result;
    if (real.end == 0) continue;
    const TraceModel model = model_of(real.events);
    const Normalised normal = normalise(model);
    AnalysisSettings settings;
    settings.path.savings_per_request = 4;
    const Execution run(model, normal, settings);
    const CriticalPaths paths(run);
    IdealSchedule ideal(run, paths);
    const MachineRun best = Machine(program, program.costs, {0, CauseStyle::kCauses}).result;
    ++programs;
    INFO("seed " << seed);
    REQUIRE(ideal.bounds[0].dependency_ns == best.end);
    faster += best.end < real.end ? 1 : 0;
    // Slack: so much longer an operation may take, and not a nanosecond more; what is not needed may take for ever.
    std::size_t tried = 0;
    for (const auto& [id, cost] : real.operations) {
      if (++tried > 3) break;
      const std::uint32_t row = model.find(static_cast<ResourceId>(id));
      const IdealSchedule::Slack slack = ideal.slack_of(run.unit[row]);
      std::vector<std::uint64_t> costs = program.costs;
      costs[cost] += slack.needed ? slack.ns : 100'000'000;
      INFO("operation " << id);
      REQUIRE(Machine(program, costs, {0, CauseStyle::kCauses}).result.end == best.end);
      if (!slack.needed) continue;
      ++costs[cost];
      REQUIRE(Machine(program, costs, {0, CauseStyle::kCauses}).result.end == best.end + 1);
      ++slacks;
    }
    for (const PathMember& member : ideal.members_of(0)) {
      if (!member.saving_known) continue;
      std::vector<std::uint64_t> costs = program.costs;
      const std::uint64_t id = model.id[member.unit];
      if (const auto found = real.operations.find(id); found != real.operations.end()) costs[found->second] = 0;
      if (const auto found = real.computing.find(id); found != real.computing.end()) {
        for (const std::size_t cost : found->second) costs[cost] = 0;
      }
      INFO("unit " << id);
      REQUIRE(member.saving_ns == best.end - Machine(program, costs, {0, CauseStyle::kCauses}).result.end);
      ++savings;
    }
  }
  std::printf("%llu programs, %llu of them slowed by their loops, %llu savings, %llu slacks\n", static_cast<unsigned long long>(programs), static_cast<unsigned long long>(faster),
              static_cast<unsigned long long>(savings), static_cast<unsigned long long>(slacks));
  CHECK(programs > 1900);
  CHECK(faster > 200);
}
