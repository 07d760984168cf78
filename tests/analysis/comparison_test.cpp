// SPDX-License-Identifier: MIT
// Comparisons: of made programs that got slower by a known amount, and of the same one twice. Too few traces are never
// "no change".
#include "thence/analysis/comparison.hpp"

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "corpus/made.hpp"
#include "support/catch.hpp"
#include "thence/analysis/patterns.hpp"

namespace {

using namespace thence;
using namespace thence_test;

struct Program {
  double user_ms = 20;      ///< how long loadUser's request takes, more or less
  double orders_ms = 30;
  int rows = 1;             ///< requests of a page
  int line = 10;            ///< of loadUser
  bool duplicate = false;
};

TraceProfile profile(const Program& program, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto noise = [&] { return 1 + static_cast<double>(random() % 1000) / 1000 * 0.1; };
  Made m;
  const Id task = m.task(0, m.root(), "handle app.js:1");
  m.run_created(task, 0, 0.1);
  double at = 0.05;
  Id last = 0;
  for (int row = 0; row < program.rows; ++row) {
    if (last != 0) m.run_after(last, task, at, at + 0.1);
    const double done = at + program.user_ms * noise();
    last = m.fetch(task, at, done, "https://a.example/users/" + std::to_string(100 + row), "loadUser app.js:" + std::to_string(program.line));
    if (program.duplicate) m.fetch(task, at, at + 4, "https://a.example/users/" + std::to_string(100 + row), "again app.js:99");
    at = done;
    m.run_after(last, task, at, at + 0.1);
    const double answered = at + 0.05 + program.orders_ms * noise();
    last = m.fetch(task, at + 0.05, answered, "https://a.example/orders?user=" + std::to_string(row), "loadOrders app.js:20");
    at = answered;
  }
  m.run_after(last, task, at, at + 0.1);
  m.settle(task, at + 0.1, task);
  m.finish(at + 0.1);
  const TraceModel model = m.model();
  Analysed in(model);
  return profile_of(in.context, find_patterns(in.context));
}

std::vector<TraceProfile> traces(const Program& program, std::size_t count, std::uint64_t seed) {
  std::vector<TraceProfile> all;
  for (std::size_t n = 0; n < count; ++n) all.push_back(profile(program, seed * 1000 + n));
  return all;
}

const Compared* group(const Comparison& result, const std::string& part) {
  for (const Compared& one : result.groups) {
    if (one.name.find(part) != std::string::npos) return &one;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("what got slower is regressed, by how much, and what did not is not") {
  Program slow;
  slow.user_ms = 30;
  const Comparison result = compare(traces({}, 8, 1), traces(slow, 8, 2));
  CHECK(result.regressed());
  CHECK(result.duration.verdict == Verdict::kRegressed);
  CHECK(std::abs(result.duration.shift - 10.5e6) < 1.5e6);
  CHECK(result.duration.low <= result.duration.shift);
  CHECK(result.duration.high >= result.duration.shift);
  CHECK(result.duration.interval_known);
  CHECK(result.duration.cliffs_delta == 1);
  REQUIRE(group(result, "loadUser") != nullptr);
  CHECK(group(result, "loadUser")->verdict == Verdict::kRegressed);
  CHECK(group(result, "loadUser")->name.find("users/{}") != std::string::npos);
  REQUIRE(group(result, "loadOrders") != nullptr);
  CHECK(group(result, "loadOrders")->verdict == Verdict::kNoEvidence);
  CHECK(result.groups.front().name.find("loadUser") != std::string::npos);  // the largest change first
  CHECK(result.level == MatchLevel::kStack);
  const Comparison back = compare(traces(slow, 8, 2), traces({}, 8, 1));
  CHECK_FALSE(back.regressed());
  CHECK(back.duration.verdict == Verdict::kImproved);
  CHECK(back.duration.shift == -result.duration.shift);
}

TEST_CASE("the same program twice is no evidence, at most one time in twenty") {
  int alarms = 0;
  for (std::uint64_t seed = 10; seed < 50; ++seed) {
    if (compare(traces({}, 6, seed), traces({}, 6, seed + 100)).regressed()) ++alarms;
  }
  std::printf("same program against itself: %d alarms in 40 comparisons\n", alarms);
  CHECK(alarms <= 2);
}

TEST_CASE("a change that is significant and does not matter is no evidence") {
  Program slower;
  slower.user_ms = 20.5;  // under 5 % of the request, and under a millisecond
  const Comparison result = compare(traces({}, 20, 3), traces(slower, 20, 4));
  CHECK(result.duration.verdict == Verdict::kNoEvidence);
}

TEST_CASE("three traces against three are underpowered, whatever they show: never no change") {
  Program slow;
  slow.user_ms = 200;
  const Comparison result = compare(traces({}, 3, 5), traces(slow, 3, 6));
  CHECK(result.duration.verdict == Verdict::kUnderpowered);
  CHECK_FALSE(result.regressed());
  for (const Compared& one : result.groups) CHECK((one.verdict == Verdict::kUnderpowered));
  CHECK(compare(traces({}, 4, 5), traces(slow, 4, 6)).duration.verdict == Verdict::kRegressed);
}

TEST_CASE("one trace against one has evidence from within, where there are ten blocks, and is labelled so") {
  // One request is one block: figures only.
  const Comparison few = compare(traces({}, 1, 7), traces({}, 1, 8));
  CHECK(few.within_trace);
  CHECK(few.duration.verdict == Verdict::kDescriptive);
  CHECK_FALSE(few.regressed());
  // A trace of many top-level activations: each a block.
  const auto many = [](double ms) {
    Made m;
    std::mt19937_64 random(9);
    const Id root = m.root();
    double at = 0;
    for (int n = 0; n < 60; ++n) {
      const Id task = m.task(at, root, "job app.js:1");
      m.run_created(task, at, at + 0.1);
      const double took = ms * (1 + static_cast<double>(random() % 100) / 500);
      const Id op = m.fetch(task, at + 0.05, at + took, "", "load app.js:2");
      m.run_after(op, task, at + took, at + took + 0.1);
      m.settle(task, at + took + 0.1, task);
      at += took + 1;
    }
    m.finish(at);
    const TraceModel model = m.model();
    Analysed in(model);
    return std::vector<TraceProfile>{profile_of(in.context)};
  };
  const Comparison slower = compare(many(10), many(20));
  CHECK(slower.within_trace);
  REQUIRE(group(slower, "load app.js") == nullptr);  // the name has `function @ file:line`
  REQUIRE(group(slower, "load @ app.js:2") != nullptr);
  const Compared& load = *group(slower, "load @ app.js:2");
  CHECK(load.verdict == Verdict::kRegressed);
  CHECK(load.ks_distance > 0.9);
  CHECK(load.ks_p < 1e-6);
  CHECK(load.low > 0);
  CHECK(slower.regressed());
  CHECK_FALSE(compare(many(10), many(10)).regressed());
}

TEST_CASE("groups are matched as finely as four fifths of the time allow") {
  Program moved;
  moved.line = 400;  // the code is the same, some lines further down
  const Comparison result = compare(traces({}, 5, 11), traces(moved, 5, 12));
  CHECK(result.level == MatchLevel::kFunctions);
  REQUIRE(group(result, "loadUser") != nullptr);
  CHECK(group(result, "loadUser")->verdict == Verdict::kNoEvidence);
  CHECK(result.covered_base_permille == 1000);
}

TEST_CASE("what is only on one side is added or removed, and counts are compared as counts") {
  Program more;
  more.duplicate = true;
  const Comparison result = compare(traces({}, 6, 13), traces(more, 6, 14));
  REQUIRE(group(result, "again") != nullptr);
  CHECK(group(result, "again")->verdict == Verdict::kAdded);
  const Comparison back = compare(traces(more, 6, 14), traces({}, 6, 13));
  CHECK(group(back, "again")->verdict == Verdict::kRemoved);
  const auto duplicates = std::find_if(result.findings.begin(), result.findings.end(), [](const Compared& one) { return one.name == "duplicate-fetch"; });
  REQUIRE(duplicates != result.findings.end());
  CHECK(duplicates->base_count == 0);
  CHECK(duplicates->now_count == 6);
  CHECK(duplicates->verdict == Verdict::kRegressed);  // 0 of 6 and 6 of 6: p = 2 x 2^-6
  CHECK(std::abs(duplicates->rate_p - 0.03125) < 1e-9);
  Program rows;
  rows.rows = 4;
  const Comparison crowd = compare(traces({}, 6, 15), traces(rows, 6, 16));
  REQUIRE(group(crowd, "loadUser") != nullptr);
  CHECK(group(crowd, "loadUser")->verdict == Verdict::kNoEvidence);  // each takes as long as before
  CHECK(group(crowd, "loadUser")->now_count == 24);
  CHECK(group(crowd, "loadUser")->rate_p < 0.01);
  CHECK(crowd.totals[0].verdict == Verdict::kRegressed);             // together they take longer
}

TEST_CASE("nothing against nothing, or against something, is no crash and no verdict") {
  const std::vector<TraceProfile> none;
  CHECK_FALSE(compare(none, none).regressed());
  CHECK_FALSE(compare(none, traces({}, 2, 17)).regressed());
  CHECK_FALSE(compare(traces({}, 2, 17), none).regressed());
  const std::vector<TraceProfile> empty(5);
  CHECK_FALSE(compare(empty, empty).regressed());
}
