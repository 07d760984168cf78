// SPDX-License-Identifier: MIT
// Scheduling: delays, utilisation and who blocked whom, against a count of every single nanosecond; and each diagnosis, on a
// trace that has it and on one that looks like it.
#include "thence/analysis/scheduling.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "analysis/event_script.hpp"
#include "support/catch.hpp"

using namespace thence;
using thence_test::EventScript;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

/// All that scheduling needs, kept together.
struct Made {
  explicit Made(TraceModel of, AnalysisSettings with = {})
      : model(std::move(of)), settings(std::move(with)), normal(normalise(model)), coverage(coverage_of(model, normal)),
        run(model, normal, settings), where(locations_of(model, run.visible)), scheduling(scheduling_of(run, where, coverage)) {}

  [[nodiscard]] const Scheduling::Location& at(std::string_view text) const {
    for (const Scheduling::Location& one : scheduling.locations) {
      if (where.entries[one.location].text == text) return one;
    }
    throw std::runtime_error("no such location");
  }
  [[nodiscard]] std::vector<const Finding*> found(std::string_view id) const {
    std::vector<const Finding*> all;
    for (const Finding& one : scheduling.findings) {
      if (one.id == id) all.push_back(&one);
    }
    return all;
  }
  [[nodiscard]] std::uint64_t fact(const Finding& of, std::string_view name) const {
    for (const Evidence& fact : of.evidence) {
      if (fact.name == name) return fact.value;
    }
    throw std::runtime_error("no such evidence");
  }

  TraceModel model;
  AnalysisSettings settings;
  Normalised normal;
  Coverage coverage;
  Execution run;
  Locations where;
  Scheduling scheduling;
};

std::uint64_t nearest_rank(std::vector<std::uint64_t> values, unsigned thousandths) {
  std::sort(values.begin(), values.end());
  std::size_t rank = values.size() * thousandths / 1000;
  if (rank * 1000 < values.size() * thousandths) ++rank;
  return values[rank == 0 ? 0 : rank - 1];
}

void check_durations(const Durations& is, const std::vector<std::uint64_t>& values) {
  REQUIRE(is.n == values.size());
  if (values.empty()) return;
  std::uint64_t sum = 0;
  for (const std::uint64_t value : values) sum += value;
  CHECK(is.sum == sum);
  CHECK(is.min == *std::min_element(values.begin(), values.end()));
  CHECK(is.max == *std::max_element(values.begin(), values.end()));
  CHECK(is.p50 == nearest_rank(values, 500));
  CHECK(is.p99.has_value() == (values.size() >= 100));
  if (is.p99) CHECK(*is.p99 == nearest_rank(values, 990));
  CHECK(is.p999.has_value() == (values.size() >= 1000));
  if (is.p999) CHECK(*is.p999 == nearest_rank(values, 999));
}

}  // namespace

TEST_CASE("percentiles by selection are those of the sorted values") {
  std::mt19937 chance(3);
  for (const std::size_t n : {1u, 2u, 9u, 10u, 99u, 100u, 101u, 999u, 1000u, 5003u}) {
    std::vector<std::uint64_t> values;
    for (std::size_t at = 0; at < n; ++at) values.push_back(chance() % (n % 2 == 0 ? 7 : 100'000));
    std::vector<std::uint64_t> scratch = values;
    const Durations is = durations_of(scratch);
    check_durations(is, values);
    CHECK(is.p90.has_value() == (n >= 10));
    if (is.p90) CHECK(*is.p90 == nearest_rank(values, 900));
  }
  CHECK(durations_of({}).n == 0);
}

TEST_CASE("a delay runs from the first wake since the run before, and not before that run's end, to the start") {
  EventScript told;
  told.lane(1, "w").stack(1, "f", "a.rs", 3);
  told.created(1, 0, {.stack = 1}).wake(1, 100).wake(1, 120).ran(1, 150, 200, 1);  // 50: of two wakes the first
  told.wake(1, 180, 1, 1).ran(1, 230, 240, 1);                                       // 30: woken while it ran
  told.ran(1, 300, 310, 1);                                                          // nobody says why: unknown, not 0
  told.created(2, 0, {.stack = 1}).wake(2, 400).ran(2, 400, 410, 1);                 // 0 is a delay
  const Made made(told.model());
  CHECK(made.scheduling.delays.n == 3);
  CHECK(made.scheduling.delays_unknown == 1);
  CHECK(made.scheduling.delays.sum == 50 + 30 + 0);
  CHECK(made.scheduling.delays.max == 50);
  CHECK(made.scheduling.durations.n == 4);
  CHECK(made.scheduling.durations.sum == 50 + 10 + 10 + 10);
  CHECK(made.scheduling.wakes == 4);
  CHECK(made.scheduling.wakes_again == 1);
  CHECK(made.scheduling.self_wakes == 1);
  const Scheduling::Location& at = made.at("f @ a.rs:3");
  CHECK(at.tasks == 2);
  CHECK(at.runs == 4);
  CHECK(at.self_wakes == 1);
}

TEST_CASE("what is called directly, or whose cause is inferred, has no delay") {
  EventScript told;
  told.lane(1, "w").created(1, 0).created(2, 0);
  told.wake(1, 10).entered(1, 20, 1).entered(2, 25, 1).exited(2, 30, 1).exited(1, 40, 1);
  const Made made(told.model());
  CHECK(made.scheduling.delays.n == 1);
  CHECK(made.scheduling.delays.sum == 10);
  CHECK(made.scheduling.delays_unknown == 1);
}

TEST_CASE("busy, parked, paused and neither add up to the lane's window") {
  EventScript told;
  told.lane(1, "w").created(1, 0);
  told.lane_event(EventKind::kUnparked, 110, 1);         // parked before its first word: 100..110
  told.counter(CounterId::kQueueDepth, 100, 0, 1);
  told.ran(1, 120, 150, 1).parked(160, 200, 1).paused(190, 230, 1).ran(1, 240, 260, 1);
  told.lane_event(EventKind::kParked, 280, 1).counter(CounterId::kQueueDepth, 300, 0, 1);  // and to its end
  const Made made(told.model());
  REQUIRE(made.scheduling.lanes.size() == 1);
  const Scheduling::Lane& lane = made.scheduling.lanes[0];
  CHECK(lane.first_ns == 100);
  CHECK(lane.last_ns == 300);
  CHECK(lane.busy_ns == 50);
  CHECK(lane.parked_ns == 10 + 40 + 20);
  CHECK(lane.paused_ns == 30);  // 200..230: before that it is parked
  CHECK(lane.neither_ns == 200 - 50 - 70 - 30);
  CHECK(lane.parks_known);
}

TEST_CASE("on random traces delays, utilisation, queues, blockers and samples are those of a count of every nanosecond") {
  constexpr std::uint64_t kEnd = 4000;
  std::uint64_t explained = 0, blamed = 0, sampled = 0;
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 chance(seed);
    const auto below = [&](std::uint64_t n) { return chance() % n; };
    EventScript told;
    constexpr std::uint32_t kLanes = 3;
    for (std::uint32_t lane = 1; lane <= kLanes; ++lane) told.lane(lane, "w" + std::to_string(lane));
    for (std::uint32_t stack = 1; stack <= 4; ++stack) told.stack(stack, "f" + std::to_string(stack), "a.rs", stack);
    struct Run {
      std::uint64_t ready, start, end;
      std::uint32_t lane, place;
      bool known;
    };
    std::vector<Run> runs;
    const std::uint64_t tasks = 3 + below(40);
    // Per lane: disjoint top-level runs, some with one nested in them.
    std::vector<std::uint64_t> free_at(kLanes + 1, 1);
    std::vector<std::uint64_t> last_end(tasks + 1, 0);
    for (std::uint64_t id = 1; id <= tasks; ++id) told.created(id, 0, {.stack = static_cast<std::uint32_t>(1 + id % 4)});
    for (unsigned n = 0; n < 120; ++n) {
      const auto lane = static_cast<std::uint32_t>(1 + below(kLanes));
      const std::uint64_t id = 1 + below(tasks);
      const std::uint64_t start = std::max(free_at[lane], last_end[id]) + below(30), end = start + 1 + below(80);
      if (end >= kEnd) continue;
      const bool woken = below(4) != 0;
      const std::uint64_t wake = last_end[id] + below(start - last_end[id] + 1);
      if (woken) told.wake(id, wake);
      told.entered(id, start, lane);
      const std::uint64_t inner = 1 + below(tasks);
      const bool nested = end - start > 10 && inner != id && last_end[inner] < start && below(3) == 0;
      if (nested) {
        const std::uint64_t from = start + 2 + below(3), to = from + 1 + below(end - from - 1);
        told.ran(inner, from, to, lane);
        runs.push_back({0, from, to, lane, static_cast<std::uint32_t>(inner % 4), false});
        last_end[inner] = end + 1;
      }
      told.exited(id, end, lane);
      runs.push_back({wake, start, end, lane, static_cast<std::uint32_t>(id % 4), woken});
      free_at[lane] = end;
      last_end[id] = end + 1;
    }
    std::vector<std::vector<bool>> parked(kLanes + 1, std::vector<bool>(kEnd, false));
    for (std::uint32_t lane = 1; lane <= kLanes; ++lane) {
      for (std::uint64_t time = 5 + below(50); time + 60 < kEnd; time += 60 + below(200)) {
        const std::uint64_t to = time + 1 + below(50);
        told.parked(time, to, lane);
        for (std::uint64_t t = time; t < to; ++t) parked[lane][t] = true;
      }
      told.counter(CounterId::kLoopLag, 0, 0, lane).counter(CounterId::kLoopLag, kEnd, 0, lane);  // its window: all
    }
    struct Shot {
      std::uint64_t time;
      std::uint32_t lane;
    };
    std::vector<Shot> shots;
    for (unsigned n = 0; n < 50; ++n) {
      shots.push_back({below(kEnd), static_cast<std::uint32_t>(1 + below(kLanes))});
      told.sample(shots.back().time, shots.back().lane, 1);
    }
    AnalysisSettings settings;
    settings.scheduling.explain_over_ns = 40;
    settings.scheduling.explained = 1000;
    settings.scheduling.blockers_listed = 2;
    const Made made(told.model(), settings);

    // Every nanosecond of every lane: who owns it, the run that began last.
    std::vector<std::vector<int>> owner(kLanes + 1, std::vector<int>(kEnd, -1));
    std::vector<std::size_t> by_start(runs.size());
    for (std::size_t at = 0; at < runs.size(); ++at) by_start[at] = at;
    std::sort(by_start.begin(), by_start.end(), [&](std::size_t a, std::size_t b) { return runs[a].start < runs[b].start; });
    for (const std::size_t at : by_start) {
      for (std::uint64_t t = runs[at].start; t < runs[at].end; ++t) owner[runs[at].lane][t] = static_cast<int>(at);
    }
    std::vector<std::uint64_t> delays;
    for (const Run& run : runs) {
      if (run.known) delays.push_back(run.start - run.ready);
    }
    check_durations(made.scheduling.delays, delays);
    REQUIRE(made.scheduling.lanes.size() == kLanes);
    for (const Scheduling::Lane& lane : made.scheduling.lanes) {
      const std::uint32_t id = lane.lane + 1;
      std::uint64_t busy = 0, rests = 0;
      for (std::uint64_t t = 0; t < kEnd; ++t) {
        busy += owner[id][t] >= 0 ? 1 : 0;
        rests += owner[id][t] < 0 && parked[id][t] ? 1 : 0;
      }
      CHECK(lane.busy_ns == busy);
      CHECK(lane.parked_ns == rests);
      CHECK(lane.busy_ns + lane.parked_ns + lane.paused_ns + lane.neither_ns == kEnd);
      std::vector<std::uint64_t> lane_delays, depths;
      for (const Run& run : runs) {
        if (run.lane != id || !run.known) continue;
        lane_delays.push_back(run.start - run.ready);
        std::uint64_t waiting = 0;  // ready by now, to run here later
        for (const Run& other : runs) {
          if (&other != &run && other.lane == id && other.known && other.ready <= run.start && other.start > run.start) ++waiting;
        }
        depths.push_back(waiting);
      }
      check_durations(lane.delays, lane_delays);
      check_durations(lane.depths, depths);
    }
    // Who held up whom.
    std::map<std::string, std::uint64_t> blame;
    std::uint64_t over = 0;
    for (const Run& run : runs) {
      if (!run.known || run.start - run.ready <= 40) continue;
      ++over;
      for (std::uint64_t t = run.ready; t < run.start; ++t) {
        const int by = owner[run.lane][t];
        if (by >= 0) ++blame[std::to_string(runs[static_cast<std::size_t>(by)].place)];
      }
    }
    CHECK(made.scheduling.over_limit == over);
    REQUIRE(made.scheduling.blocked.size() == over);
    for (const Scheduling::Location& one : made.scheduling.locations) {
      const std::string text = made.where.entries[one.location].text;  // f<1 + id % 4> @ a.rs:..
      const std::string place = std::to_string(static_cast<unsigned>(text[1] - '0') - 1);
      CHECK(one.blamed_ns == blame[place]);
      blamed += one.blamed_ns;
    }
    for (const Scheduling::Blocked& one : made.scheduling.blocked) {
      const std::uint32_t id = one.lane + 1;
      std::uint64_t rests = 0, idle = 0, shot = 0;
      std::map<std::uint32_t, std::uint64_t> by;
      for (std::uint64_t t = one.ready_ns; t < one.ready_ns + one.delay_ns; ++t) {
        if (owner[id][t] >= 0) {
          ++by[runs[static_cast<std::size_t>(owner[id][t])].place];
        } else {
          ++(parked[id][t] ? rests : idle);
        }
      }
      for (const Shot& of : shots) shot += of.lane == id && of.time >= one.ready_ns && of.time < one.ready_ns + one.delay_ns ? 1 : 0;
      CHECK(one.parked_ns == rests);
      CHECK(one.idle_ns == idle);
      CHECK(one.samples == shot);
      std::uint64_t listed = one.others_ns;
      for (const Scheduling::Blocker& blocker : one.blockers) {
        const std::string text = made.where.entries[blocker.location].text;
        CHECK(blocker.ns == by[static_cast<std::uint32_t>(text[1] - '0') - 1]);
        listed += blocker.ns;
      }
      CHECK(listed + one.parked_ns + one.paused_ns + one.idle_ns == one.delay_ns);
      CHECK(one.blockers.size() <= 2);
      ++explained;
    }
    std::uint64_t running = 0, resting = 0, delayed = 0;
    for (const Shot& of : shots) {
      running += owner[of.lane][of.time] >= 0 ? 1 : 0;
      resting += owner[of.lane][of.time] < 0 && parked[of.lane][of.time] ? 1 : 0;
      for (const Run& run : runs) {
        if (!run.known || run.lane != of.lane || run.start - run.ready <= 40 || of.time < run.ready || of.time >= run.start) continue;
        ++delayed;
        break;
      }
    }
    std::uint64_t is_running = 0, is_resting = 0, is_delayed = 0;
    for (const Scheduling::SampleGroup& group : made.scheduling.samples) {
      if (group.state == Scheduling::SampleState::kRunning) is_running += group.count;
      if (group.state == Scheduling::SampleState::kParked) is_resting += group.count;
      is_delayed += group.while_delayed;
    }
    CHECK(is_running == running);
    CHECK(is_resting == resting);
    CHECK(is_delayed == delayed);
    sampled += running;
  }
  std::printf("60 random traces: %llu delays explained, %llu ns of blame, %llu samples of running code\n", static_cast<unsigned long long>(explained),
              static_cast<unsigned long long>(blamed), static_cast<unsigned long long>(sampled));
  CHECK(explained > 100);
  CHECK(blamed > 1000);
}

// -- diagnoses ----------------------------------------------------------------------------------------------------------

namespace {

/// Tasks made ready one each `every`, on one lane, each running for `takes`.
EventScript queue(unsigned tasks, std::uint64_t every, std::uint64_t takes, std::uint64_t shared_queue, bool counters = true) {
  EventScript told;
  told.lane(1, "worker 0").stack(1, "handle", "srv.rs", 10);
  std::uint64_t free_at = 0;
  std::vector<std::uint64_t> starts;
  for (unsigned n = 0; n < tasks; ++n) {
    const std::uint64_t ready = n * every, start = std::max(ready, free_at);
    told.created(n + 1, ready, {.stack = 1}).wake(n + 1, ready).ran(n + 1, start, start + takes, 1);
    starts.push_back(start);
    free_at = start + takes;
  }
  if (counters) {
    for (unsigned n = 0; n < tasks; ++n) {
      std::uint64_t waiting = 0;
      for (unsigned other = n + 1; other < tasks && other * every <= starts[n]; ++other) ++waiting;
      told.counter(CounterId::kQueueDepth, starts[n], waiting, 1);
    }
    told.counter(CounterId::kQueueDepth, 0, shared_queue);
  }
  return told;
}

}  // namespace

TEST_CASE("a queue that grows faster than one lane can run it is a build-up; one that keeps up is not") {
  // 2 ms of work each 1 ms: the 400th waits for 400 ms.
  const Made bad(queue(400, kMs, 2 * kMs, 0).model());
  const auto found = bad.found("queue-build-up");
  REQUIRE(found.size() == 1);
  CHECK(found[0]->severity == Severity::kHigh);
  CHECK(found[0]->confidence == Confidence::kHigh);
  CHECK(bad.fact(*found[0], "p99 delay") > 300 * kMs);
  CHECK(bad.fact(*found[0], "queue") >= 190);
  CHECK(bad.fact(*found[0], "lane busy") == 1000);
  CHECK(found[0]->mute_key == "queue-build-up|handle @ srv.rs:10");
  // The same, while the shared queue is full: the lanes are too few, and that is another matter.
  const Made shared(queue(400, kMs, 2 * kMs, 5).model());
  REQUIRE(shared.found("queue-build-up").size() == 1);
  CHECK(shared.found("queue-build-up")[0]->severity == Severity::kLow);
  // 0.5 ms of work each 1 ms: nobody waits.
  CHECK(Made(queue(400, kMs, kMs / 2, 0).model()).found("queue-build-up").empty());
  // Up to 12 ms of delay and no more: worth a look. Without counters the queue is counted from the wakes.
  const Made look(queue(120, kMs, kMs + kMs / 10, 0, false).model());
  REQUIRE(look.found("queue-build-up").size() == 1);
  CHECK(look.found("queue-build-up")[0]->severity == Severity::kLow);
  CHECK(look.found("queue-build-up")[0]->confidence == Confidence::kMedium);
}

namespace {

EventScript inversion(std::uint64_t background_ran, std::string_view important, std::string_view other) {
  EventScript told;
  told.lane(1, "loop").stack(1, "serve", "app.js", 5).stack(2, "compact", "bg.js", 9);
  told.created(1, 0, {.stack = 1}).created(2, 0, {.stack = 2});
  if (!important.empty()) told.note(1, 0, "priority", Value::of(important)).note(2, 0, "priority", Value::of(other));
  told.ran(2, kMs, kMs + background_ran, 1);
  told.wake(1, 2 * kMs).ran(1, 30 * kMs, 31 * kMs, 1);
  return told;
}

}  // namespace

TEST_CASE("important work that waited while background work ran is a priority inversion; by note, by setting, by request") {
  const Made noted(inversion(28 * kMs, "high", "background").model());
  const auto found = noted.found("priority-inversion");
  REQUIRE(found.size() == 1);
  CHECK(found[0]->severity == Severity::kHigh);
  CHECK(noted.fact(*found[0], "lost to less important work") == 27 * kMs);
  CHECK(found[0]->mute_key == "priority-inversion|compact @ bg.js:9");
  CHECK(Made(inversion(28 * kMs, "low", "high").model()).found("priority-inversion").empty());
  CHECK(Made(inversion(10 * kMs, "high", "background").model()).found("priority-inversion").empty());  // 9 of 28 ms
  CHECK(Made(inversion(28 * kMs, "", "").model()).found("priority-inversion").empty());                // nobody says
  AnalysisSettings settings;
  settings.scheduling.priorities = {{"app.js", 5}};
  CHECK(Made(inversion(28 * kMs, "", "").model(), settings).found("priority-inversion").size() == 1);
  // Work of a request against work of none.
  EventScript told;
  told.lane(1, "loop").stack(2, "compact", "bg.js", 9).created(1, 0, {.type = "root", .root = 1}).created(2, 0, {.stack = 2});
  told.ran(2, kMs, 29 * kMs, 1).wake(1, 2 * kMs).ran(1, 30 * kMs, 31 * kMs, 1).finished(1, 1, 31 * kMs, 1);
  CHECK(Made(told.model()).found("priority-inversion").size() == 1);
}

TEST_CASE("long runs with small delays are CPU-bound; short ones, and those that wait in a queue, are not") {
  const auto program = [](std::uint64_t takes, std::uint64_t delay, bool off_cpu) {
    EventScript told;
    told.lane(1, "worker").stack(1, "hash", "crypt.rs", 4).stack(2, "inner", "crypt.rs", 90);
    std::uint64_t time = 0;
    for (unsigned n = 1; n <= 12; ++n) {
      told.created(n, time, {.stack = 1}).wake(n, time).ran(n, time + delay, time + delay + takes, 1);
      told.sample(time + delay + takes / 2, 1, 2);
      time += delay + takes + kMs;
    }
    static_cast<void>(off_cpu);
    return told;
  };
  const Made made(program(kMs, 1000, false).model());
  const auto found = made.found("cpu-bound");
  REQUIRE(found.size() == 1);
  CHECK(found[0]->confidence == Confidence::kHigh);  // the samples say so
  CHECK(made.fact(*found[0], "mean run") == kMs);
  CHECK(made.fact(*found[0], "samples on the processor") == 12);
  CHECK(found[0]->mute_key == "cpu-bound|hash @ crypt.rs:4");
  CHECK(Made(program(500'000, 1000, false).model()).found("cpu-bound").empty());  // over 500 us, not at it
  CHECK(Made(program(500'001, 1000, false).model()).found("cpu-bound").size() == 1);
  CHECK(Made(program(kMs, 2 * kMs, false).model()).found("cpu-bound").empty());
}

TEST_CASE("lanes of one pool that are busy by over a tenth of the time more than others are imbalanced") {
  const auto program = [](std::uint64_t second, const char* name) {
    EventScript told;
    told.lane(1, "worker 0").lane(2, name).stack(1, "f", "a.rs", 1).created(1, 0, {.stack = 1}).created(2, 0, {.stack = 1});
    told.ran(1, 0, 60 * kMs, 1).ran(2, 0, second, 2);
    for (const std::uint32_t lane : {1u, 2u}) told.counter(CounterId::kQueueDepth, 100 * kMs, 0, lane);
    return told;
  };
  const Made made(program(40 * kMs, "worker 1").model());
  REQUIRE(made.found("imbalance").size() == 1);
  CHECK(made.fact(*made.found("imbalance")[0], "busiest") == 600);
  CHECK(made.fact(*made.found("imbalance")[0], "idlest") == 400);
  CHECK(Made(program(50 * kMs, "worker 1").model()).found("imbalance").empty());  // 10 %: not over
  CHECK(Made(program(49 * kMs, "worker 1").model()).found("imbalance").size() == 1);
  CHECK(Made(program(1 * kMs, "timer").model()).found("imbalance").empty());  // another kind of thread
}

TEST_CASE("a location whose runs wake themselves polls; one that others wake does not") {
  const auto program = [](unsigned own, unsigned others) {
    EventScript told;
    told.lane(1, "w").stack(1, "spin", "a.rs", 2).created(1, 0, {.stack = 1}).created(2, 0);
    std::uint64_t time = 10;
    told.wake(1, time);
    for (unsigned n = 0; n < own; ++n, time += 20) told.entered(1, time, 1).wake(1, time + 5, 1, 1).exited(1, time + 10, 1);
    told.ran(1, time, time + 1, 1);
    for (unsigned n = 0; n < others; ++n) {
      time += 20;
      told.wake(1, time).ran(1, time + 1, time + 5, 1);
    }
    return told;
  };
  const Made made(program(150, 20).model());
  REQUIRE(made.found("self-wakes").size() == 1);
  CHECK(made.fact(*made.found("self-wakes")[0], "self-wakes") == 150);
  CHECK(made.fact(*made.found("self-wakes")[0], "runs") == 171);
  CHECK(Made(program(150, 149).model()).found("self-wakes").empty());   // 150 of 300: not over half
  CHECK(Made(program(99, 0).model()).found("self-wakes").empty());
}

TEST_CASE("what was woken and never ran is a lost wake, unless it has ended, ran, or the trace ends soon") {
  const auto program = [](std::uint64_t after, bool ends, bool runs) {
    EventScript told;
    told.lane(1, "w").stack(1, "wait", "a.rs", 8).created(1, 0, {.stack = 1}).ran(1, 5, 10, 1).wake(1, 20);
    if (ends) told.destroyed(1, 30);
    if (runs) told.ran(1, 40, 50, 1);
    told.created(2, 0).ran(2, 20 + after, 20 + after, 1);
    return told;
  };
  const Made made(program(1000 * kMs + 1, false, false).model());
  REQUIRE(made.found("lost-wake").size() == 1);
  CHECK(made.found("lost-wake")[0]->mute_key == "lost-wake|wait @ a.rs:8");
  CHECK(made.found("lost-wake")[0]->start_ns == 20);
  CHECK(Made(program(1000 * kMs, false, false).model()).found("lost-wake").empty());
  CHECK(Made(program(2000 * kMs, true, false).model()).found("lost-wake").empty());
  CHECK(Made(program(2000 * kMs, false, true).model()).found("lost-wake").empty());
  // Everything that it awaits is settled.
  const auto awaiting = [](bool all) {
    EventScript told;
    told.lane(1, "w").created(1, 0).created(2, 0).created(3, 0).awaits(1, 2, 1).awaits(1, 3, 1).settled(2, 50);
    if (all) told.settled(3, 60);
    told.created(4, 0).ran(4, 3000 * kMs, 3000 * kMs + 1, 1).settled(4, 3000 * kMs + 1);
    return told;
  };
  REQUIRE(Made(awaiting(true).model()).found("lost-wake").size() == 1);
  CHECK(Made(awaiting(true).model()).found("lost-wake")[0]->confidence == Confidence::kMedium);
  CHECK(Made(awaiting(false).model()).found("lost-wake").empty());
}

TEST_CASE("a task that ran from beginning to end without a break never yielded; a promise, which cannot, is not blamed") {
  const auto program = [](std::uint64_t takes, bool others_resume, bool done) {
    EventScript told;
    told.lane(1, "w").stack(1, "crunch", "a.rs", 8).created(1, 0, {.stack = 1}).created(2, 0);
    told.ran(1, 10, 10 + takes, 1);
    if (done) told.settled(1, 10 + takes, Outcome::kFulfilled, Actor::kInvocation, 1, 1);
    told.ran(2, takes + 20, takes + 30, 1);
    if (others_resume) told.ran(2, takes + 40, takes + 50, 1);
    return told;
  };
  CHECK(Made(program(10 * kMs + 1, true, true).model()).found("never-yielded").size() == 1);
  CHECK(Made(program(10 * kMs, true, true).model()).found("never-yielded").empty());
  CHECK(Made(program(20 * kMs, false, true).model()).found("never-yielded").empty());  // of a type that nobody resumes
  CHECK(Made(program(20 * kMs, true, false).model()).found("never-yielded").empty());  // it waits: it did yield
}

TEST_CASE("what a trace does not record is missing, and neither 0 nor a finding") {
  EventScript told;
  told.created(1, 0, {.type = "root", .root = 1}).ran(1, 10, 20, 0).finished(1, 1, 20);
  const Made made(told.model());
  CHECK(made.scheduling.missing.has(Need::kWakes));
  CHECK(made.scheduling.missing.has(Need::kLanes));
  CHECK(made.scheduling.missing.has(Need::kParks));
  CHECK(made.scheduling.findings.empty());
  CHECK(Made(EventScript().model()).scheduling.runs == 0);  // an empty trace
}
