// SPDX-License-Identifier: MIT
// oracle_test.cpp: a second, naive implementation of each definition (naive_core.hpp) gives the same numbers, on traces of
// programs that do what real ones do and worse: callbacks that nest and cross, settle twice or never, events that are lost.
#include "analysis/naive_core.hpp"

#include <cstdio>
#include <iterator>
#include <set>
#include <vector>

#include "analysis/random_program.hpp"
#include "formats/random_trace.hpp"
#include "support/catch.hpp"
#include "thence/analysis/concurrency.hpp"
#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/time_split.hpp"
#include "thence/analysis/tree.hpp"
#include "thence/model/model_builder.hpp"

namespace {

using namespace thence;
using thence_test::Naive;

struct Counts {
  std::uint64_t traces = 0, resources = 0, requests = 0, segments = 0, gaps = 0, ideals = 0, circular = 0, most = 0, parts = 0, causes = 0;
};

char letter(PathKind kind) {
  constexpr char letters[] = "ewqhsbput";
  return letters[static_cast<unsigned>(kind)];
}

char letter(const GapPart& part) {
  switch (part.cause) {
    case GapCause::kUnknown: return 'u';
    case GapCause::kPromises: return 'h';
    case GapCause::kScheduling: return 's';
    case GapCause::kPaused: return 'p';
    case GapCause::kTail: return 't';
    default: return 'o';
  }
}

/// What a gap waited for, and of that what ended it. Where a guess was made the definition's own words are not enough.
void compare_causes(const Gaps& gaps, const Gap& gap, const std::vector<Naive::Part>& expected, Counts& counts) {
  const auto parts = gaps.parts_of(gap);
  for (const GapPart& part : parts) {
    if (part.guessed) return;
  }
  ++counts.causes;
  REQUIRE(parts.size() == expected.size());
  for (std::size_t at = 0; at < parts.size(); ++at) {
    REQUIRE(parts[at].start == expected[at].start);
    REQUIRE(letter(parts[at]) == (expected[at].kind == 'x' ? 'o' : expected[at].kind));
    REQUIRE(parts[at].operation == expected[at].resource);
    if (expected[at].kind == 'x') REQUIRE(parts[at].cause == GapCause::kOutside);
    if (expected[at].kind == 'o') REQUIRE(parts[at].cause == gap_cause_of(static_cast<TypeClass>(expected[at].invocation)));
  }
  std::size_t last = expected.size() - 1;
  const bool noticed_late = expected[last].kind == 's' && 2 * (gap.end - expected[last].start) > gap.length();
  if (expected[last].kind == 's' && !noticed_late && last != 0) --last;
  REQUIRE(gap.cause == parts[last].cause);
  REQUIRE(gap.operation == expected[last].resource);
}

void compare(const TraceModel& model, Counts& counts) {
  const Normalised normal = normalise(model);
  AnalysisSettings settings;
  settings.gaps.min_ns = 1;
  settings.gaps.min_permille = 0;
  const Execution run(model, normal, settings);
  const Naive naive(model, normal, settings);
  const CriticalPaths paths(run);
  const TimeSplits splits(run, paths);
  const Gaps gaps(run);
  IdealSchedule ideal(run, paths);
  const ResourceTree tree(normal);
  ++counts.traces;
  counts.resources += model.resources();
  counts.most = std::max<std::uint64_t>(counts.most, model.resources());

  for (std::uint32_t at = 0; at < naive.count; ++at) {
    INFO("invocation " << at);
    REQUIRE(run.is_span(at) == naive.span[at]);
    REQUIRE(run.self[at] == naive.self(at));
    REQUIRE(run.container[at] == naive.container(at));
    REQUIRE(run.ready[at] == naive.ready[at]);
    REQUIRE(static_cast<int>(run.cause[at].kind) == static_cast<int>(naive.cause[at].kind));
    REQUIRE(run.cause[at].invocation == naive.cause[at].invocation);
    REQUIRE(run.cause[at].resource == naive.cause[at].resource);
    REQUIRE(run.cause[at].inferred == naive.cause[at].inferred);
  }
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    INFO("resource " << row);
    REQUIRE(run.unit[row] == naive.unit[row]);
    REQUIRE(run.creator[row] == naive.creator[row]);
    REQUIRE(run.settler[row] == naive.settler[row]);
    REQUIRE(run.made_for(row) == naive.made_for(row));
    counts.parts += run.made_for(row) != TraceModel::kNone ? 1 : 0;
    const Naive::Split split = naive.split(row);
    const TimeSplit& fast = splits.of_resource(row);
    REQUIRE(fast.running_ns == split.running);
    REQUIRE(fast.blocked_ns == split.blocked);
    REQUIRE(fast.waiting_ns == split.waiting);
    REQUIRE(fast.scheduling_ns == split.scheduling);
    REQUIRE(fast.unknown_ns == split.unknown);
    std::uint32_t depth = 0;
    for (std::uint32_t up = normal.parent[row]; up != TraceModel::kNone; up = normal.parent[up]) {
      ++depth;
      REQUIRE(tree.is_below(row, up));
      REQUIRE_FALSE(tree.is_below(up, row));
    }
    REQUIRE(tree.depth[row] == depth);
  }
  for (std::uint32_t of = 0; of < run.requests.size(); ++of) {
    INFO("request " << of);
    ++counts.requests;
    REQUIRE(run.requests[of].start == naive.begin_of(of));
    REQUIRE(run.requests[of].end == naive.end_of(of));
    REQUIRE(run.requests[of].last == naive.last_of(of));
    const auto expected = naive.path(of);
    // Pieces of one owner that follow each other are one, however they came about.
    std::vector<Naive::Part> merged, found;
    const auto add = [](std::vector<Naive::Part>& to, const Naive::Part& part) {
      if (!to.empty() && to.back().kind == part.kind && to.back().resource == part.resource && to.back().invocation == part.invocation &&
          to.back().end == part.start) {
        to.back().end = part.end;
      } else {
        to.push_back(part);
      }
    };
    for (const Naive::Part& part : expected) add(merged, part);
    for (const PathSegment& part : paths.of(of)) add(found, {part.start, part.end, letter(part.kind), part.resource, part.invocation});
    REQUIRE(found.size() == merged.size());
    std::uint64_t time = run.requests[of].start;
    for (std::size_t at = 0; at < found.size(); ++at) {
      INFO("part " << at << " from " << merged[at].start << " expected " << merged[at].kind);
      REQUIRE(found[at].start == time);
      time = found[at].end;
      REQUIRE(found[at].start == merged[at].start);
      REQUIRE(found[at].end == merged[at].end);
      REQUIRE(found[at].kind == merged[at].kind);
      REQUIRE(found[at].resource == merged[at].resource);
      REQUIRE(found[at].invocation == merged[at].invocation);
    }
    REQUIRE(time == run.requests[of].end);
    counts.segments += found.size();

    const auto idle = naive.gaps(of);
    const auto shown = gaps.of(of);
    REQUIRE(shown.size() == idle.size());
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < idle.size(); ++at) {
      REQUIRE(shown[at].start == idle[at].first);
      REQUIRE(shown[at].end == idle[at].second);
      sum += shown[at].length();
      std::uint64_t covered = shown[at].start;
      for (const GapPart& part : gaps.parts_of(shown[at])) {
        REQUIRE(part.start == covered);
        covered = part.end;
      }
      REQUIRE(covered == shown[at].end);
      compare_causes(gaps, shown[at], naive.gap_parts(of, shown[at].start, shown[at].end), counts);
      std::uint32_t in_flight = 0;
      for (std::uint32_t row = 0; row < model.resources(); ++row) {
        if (!run.operation[row] || run.unit[row] != row || run.request[row] != of) continue;
        const Execution::Interval flight = run.operation_time(row);
        in_flight += flight.start < shown[at].end && flight.end > shown[at].start ? 1 : 0;
      }
      REQUIRE(shown[at].in_flight == in_flight);
    }
    REQUIRE(gaps.idle_ns(of) == sum);
    REQUIRE(gaps.idle_ns(of) + gaps.busy_ns(of) == run.requests[of].duration());
    REQUIRE(splits.of_request(of).elapsed_ns() == run.requests[of].duration());
    counts.gaps += idle.size();

    const Naive::Bound bound = naive.ideal(of);
    REQUIRE(ideal.bounds[of].ideal_ns <= run.requests[of].duration());
    for (const PathMember& member : ideal.members_of(of)) {
      if (member.saving_known) REQUIRE(member.saving_ns <= ideal.bounds[of].dependency_ns);
    }
    if (bound.circular) {
      ++counts.circular;
      // Where something needs itself at one nanosecond, the equations have more than one solution.
      REQUIRE(ideal.bounds[of].dependency_ns <= run.requests[of].duration());
    } else {
      ++counts.ideals;
      REQUIRE(ideal.bounds[of].dependency_ns == bound.dependency);
      REQUIRE(ideal.bounds[of].lane_ns == bound.lane);
    }
    // Concurrency, at each moment at which anything changes, and its area.
    const Concurrency curve = concurrency_of(run, of);
    std::set<std::uint64_t> moments{run.requests[of].start, run.requests[of].end};
    for (std::uint32_t at = 0; at < naive.count; ++at) {
      moments.insert(naive.start(at));
      moments.insert(naive.end(at));
    }
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      moments.insert(run.operation_time(row).start);
      moments.insert(run.operation_time(row).end);
    }
    std::uint64_t exec_area = 0, wait_area = 0;
    for (auto next = moments.begin(); std::next(next) != moments.end(); ++next) {
      if (*next < run.requests[of].start || *next >= run.requests[of].end) continue;
      std::uint32_t exec = 0, wait = 0;
      std::set<std::uint32_t> lanes(naive.lane.begin(), naive.lane.end());
      for (const std::uint32_t lane : lanes) {
        const std::uint32_t owner = naive.owner(lane, *next);
        exec += owner != TraceModel::kNone && naive.request[naive.row_of(owner)] == of ? 1 : 0;
      }
      for (std::uint32_t row = 0; row < model.resources(); ++row) {
        const Execution::Interval flight = run.operation_time(row);
        wait += naive.operation[row] && naive.unit[row] == row && naive.request[row] == of && flight.start <= *next && flight.end > *next ? 1 : 0;
      }
      std::uint32_t found_exec = 0, found_wait = 0;
      for (const Concurrency::Step& step : curve.steps) {
        if (step.time > *next) break;
        found_exec = step.exec;
        found_wait = step.wait;
      }
      REQUIRE(found_exec == exec);
      REQUIRE(found_wait == wait);
      exec_area += exec * (*std::next(next) - *next);
      wait_area += wait * (*std::next(next) - *next);
    }
    REQUIRE(ideal.bounds[of].exec_ns == exec_area);
    REQUIRE(ideal.bounds[of].operations_ns == wait_area);
  }
}

void print(const char* what, const Counts& counts) {
  std::printf("%s: %llu traces, %llu resources (at most %llu), %llu requests, %llu segments, %llu gaps, %llu ideal schedules"
              " (%llu more that are circular), %llu parts of operations, causes of %llu gaps\n",
              what, static_cast<unsigned long long>(counts.traces), static_cast<unsigned long long>(counts.resources),
              static_cast<unsigned long long>(counts.most), static_cast<unsigned long long>(counts.requests),
              static_cast<unsigned long long>(counts.segments), static_cast<unsigned long long>(counts.gaps),
              static_cast<unsigned long long>(counts.ideals), static_cast<unsigned long long>(counts.circular),
              static_cast<unsigned long long>(counts.parts), static_cast<unsigned long long>(counts.causes));
}

TraceModel model_of(const std::vector<TraceEvent>& events) {
  ModelBuilder builder;
  builder.begin({});
  builder.take(events);
  builder.end({});
  return builder.build();
}

}  // namespace

TEST_CASE("a naive implementation gives the same numbers on traces in which all goes wrong that can") {
  Counts counts;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    thence_test::RandomTraceOptions options;
    options.seed = seed;
    options.steps = seed % 20 == 0 ? 2600 : 100 + static_cast<int>(seed) * 5;
    options.lanes = 1 + static_cast<unsigned>(seed % 4);
    options.losses = seed % 3 == 0;
    options.crossings = seed % 2 == 0;
    thence_test::RandomTrace trace(options);
    ModelBuilder builder;
    trace.play(builder);
    INFO("seed " << seed);
    compare(builder.build(), counts);
  }
  print("random traces", counts);
  CHECK(counts.most >= 350);
  CHECK(counts.ideals > 100);
}

TEST_CASE("a naive implementation gives the same numbers on programs that run") {
  Counts counts;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    thence_test::ProgramMaker maker(seed + 77'000);
    const auto program = maker.make(true);
    const auto style = static_cast<thence_test::CauseStyle>(seed % 3);
    const auto made = thence_test::Machine(program, program.costs, {1 + static_cast<unsigned>(seed % 4), style}).result;
    if (made.end == 0) continue;
    INFO("seed " << seed);
    compare(model_of(made.events), counts);
  }
  print("programs", counts);
}

TEST_CASE("a naive implementation gives the same numbers on operations of which the outside makes the parts") {
  Counts counts;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const auto roll = [&](std::uint64_t sides) { return random() % sides; };
    std::vector<TraceEvent> events;
    const auto add = [&](EventKind kind, std::uint64_t time, std::uint64_t resource, std::uint64_t other, unsigned flags) -> TraceEvent& {
      TraceEvent made;
      made.kind = kind;
      made.time = static_cast<Timestamp>(time);
      made.resource = static_cast<ResourceId>(resource);
      made.other = static_cast<ResourceId>(other);
      made.flags = static_cast<std::uint8_t>(flags);
      made.lane = kind == EventKind::kEntered || kind == EventKind::kExited ? LaneId{1} : LaneId{0};
      made.root = RootId{1};
      events.push_back(made);
      return events.back();
    };
    constexpr unsigned kOutside = static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kExternal) << 4;
    constexpr unsigned kInside = static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kInvocation) << 4;
    add(EventKind::kCreated, 0, 1, 0, 0).type = type_id(ResourceType::kRoot);
    std::uint64_t id = 1, time = 0, after = 0;  // what the next step comes after
    const std::uint64_t steps = 2 + roll(4), grain = roll(3) == 0 ? 3 : 1000;  // small: many things at one moment
    for (std::uint64_t step = 0; step < steps; ++step) {
      add(EventKind::kEntered, time, 1, after, static_cast<unsigned>(step == 0 ? CauseKind::kUnspecified : CauseKind::kExternal));
      const std::uint64_t fetch = ++id;
      add(EventKind::kCreated, time += roll(grain), fetch, 1, 0).type = type_id(ResourceType::kFetch);
      add(EventKind::kExited, time += roll(grain), 1, 0, 0);
      std::uint64_t over = 0, parent = fetch, head = 0;
      for (std::uint64_t part = 0, parts = roll(5); part < parts; ++part) {
        add(EventKind::kCreated, time += roll(grain), ++id, parent, 0).type = type_id(ResourceType::kStreamRead);
        const std::uint64_t until = time + roll(3 * grain);
        if (roll(6) != 0) add(EventKind::kSettled, until, id, 0, kOutside);
        over = std::max(over, until);
        if (roll(3) == 0) parent = id;
        if (head == 0 && roll(3) == 0) add(EventKind::kSettled, head = time += roll(2 * grain), fetch, 0, kOutside);
      }
      time = std::max(over, time) + roll(grain);
      if (head == 0) add(EventKind::kSettled, time, fetch, 0, kOutside);
      after = roll(2) == 0 ? fetch : id;
    }
    add(EventKind::kEntered, time, 1, after, static_cast<unsigned>(CauseKind::kExternal));
    add(EventKind::kSettled, time += roll(grain), 1, 1, kInside).lane = LaneId{1};
    add(EventKind::kExited, time, 1, 0, 0);
    INFO("seed " << seed);
    compare(model_of(events), counts);
  }
  print("parts of operations", counts);
  CHECK(counts.parts > 300);
  CHECK(counts.ideals > 150);
}

TEST_CASE("a naive implementation gives the same numbers on documents that tell no causes") {
  Counts counts;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    std::mt19937_64 random(seed);
    const auto roll = [&](std::uint64_t sides) { return random() % sides; };
    std::vector<TraceEvent> events;
    const auto add = [&](EventKind kind, std::uint64_t time, std::uint64_t resource) -> TraceEvent& {
      TraceEvent made;
      made.kind = kind;
      made.time = static_cast<Timestamp>(time);
      made.resource = static_cast<ResourceId>(resource);
      made.root = RootId{1};
      events.push_back(made);
      return events.back();
    };
    add(EventKind::kCreated, 0, 1).type = type_id(ResourceType::kRoot);
    const std::uint64_t resources = 5 + roll(60);
    std::uint64_t time = 0, lane_free = 0;
    for (std::uint64_t id = 2; id <= resources; ++id) {
      constexpr ResourceType types[] = {ResourceType::kJsPromise, ResourceType::kFetch, ResourceType::kKjToJs, ResourceType::kKvGet};
      time += roll(3) == 0 ? 0 : roll(1'000'000);
      TraceEvent& created = add(EventKind::kCreated, time, id);
      created.type = type_id(types[roll(4)]);
      created.other = static_cast<ResourceId>(1 + roll(std::min<std::uint64_t>(id - 1, 4)));
      created.stack = static_cast<StackId>(roll(3));
      if (roll(3) == 0) continue;
      const std::uint64_t begin = std::max(time, lane_free) + roll(2) * roll(400'000), length = roll(4) == 0 ? 0 : roll(300'000);
      add(EventKind::kEntered, begin, id);
      add(EventKind::kExited, begin + length, id);
      lane_free = begin + (roll(4) == 0 ? length / 2 : length);
    }
    const std::uint64_t last = std::max(time, lane_free) + 500'000;
    if (seed % 4 != 0) {
      add(EventKind::kEntered, 0, 1);
      add(EventKind::kExited, last - roll(1000), 1);
    }
    add(EventKind::kRootFinished, last, 1);
    INFO("seed " << seed);
    compare(model_of(events), counts);
  }
  print("plain documents", counts);
}
