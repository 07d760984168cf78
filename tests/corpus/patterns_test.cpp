// SPDX-License-Identifier: MIT
// The patterns on programs whose findings are known: the labelled corpus made here, and the samples of async-trace, where
// they are. Precision and recall are printed, and are 1.
#include "thence/analysis/patterns.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "corpus/made.hpp"
#include "corpus/pattern_cases.hpp"
#include "corpus/sample_labels.hpp"
#include "support/catch.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/trace_reader.hpp"

namespace {

using namespace thence;
using namespace thence_test;

/// "id: resources" of each finding, in order of id, then of resources.
std::multiset<std::string> found_in(Analysed& in, std::vector<Finding>* findings = nullptr) {
  std::multiset<std::string> made;
  const std::vector<Finding> all = find_patterns(in.context);
  for (const Finding& one : all) {
    std::string text(one.id);
    text += ":";
    for (const std::uint32_t row : one.resources) text += " " + std::to_string(in.model.id[row]);
    made.insert(text);
  }
  if (findings != nullptr) *findings = all;
  return made;
}

/// The resources of a label are a set: a detector may name its worst first.
std::string sorted_label(const std::string& text) {
  const std::size_t colon = text.find(':');
  std::istringstream in(text.substr(colon + 1));
  std::multiset<std::uint64_t> ids;
  for (std::uint64_t id = 0; in >> id;) ids.insert(id);
  std::string made = text.substr(0, colon + 1);
  for (const std::uint64_t id : ids) made += " " + std::to_string(id);
  return made;
}
std::multiset<std::string> labels_of(std::string_view text) {
  std::multiset<std::string> made;
  while (!text.empty()) {
    const std::size_t end = text.find("; ");
    made.insert(sorted_label(std::string(text.substr(0, end))));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 2);
  }
  return made;
}

struct Score {
  std::uint64_t right = 0, wrong = 0, missed = 0;

  void count(const std::multiset<std::string>& expected, const std::multiset<std::string>& found) {
    std::multiset<std::string> rest(expected);
    for (const std::string& one : found) {
      const auto at = rest.find(sorted_label(one));
      if (at == rest.end()) {
        ++wrong;
      } else {
        ++right;
        rest.erase(at);
      }
    }
    missed += rest.size();
  }
  [[nodiscard]] double precision() const { return right + wrong == 0 ? 1 : static_cast<double>(right) / static_cast<double>(right + wrong); }
  [[nodiscard]] double recall() const { return right + missed == 0 ? 1 : static_cast<double>(right) / static_cast<double>(right + missed); }
};

void hold_invariants(Analysed& in, const std::vector<Finding>& findings) {
  for (std::size_t at = 0; at < findings.size(); ++at) {
    const Finding& one = findings[at];
    if (one.request != TraceModel::kNone) CHECK(one.saving_ns <= in.run.requests[one.request].duration());
    if (!one.saving_known) CHECK(one.saving_ns == 0);
    CHECK_FALSE(one.resources.empty());
    CHECK_FALSE(one.evidence.empty());
    CHECK_FALSE(one.summary.empty());
    CHECK_FALSE(one.advice.empty());
    CHECK(one.mute_key == std::string(one.id) + "|" + location_text(in.model, one.location));
    if (at != 0) CHECK_FALSE(FindingOrder{&in.model}(one, findings[at - 1]));
  }
}

std::string join(const std::multiset<std::string>& texts) {
  std::string made;
  for (const std::string& text : texts) made += (made.empty() ? "" : "; ") + sorted_label(text);
  return made;
}

}  // namespace

TEST_CASE("each pattern is found where it is, and only there") {
  Score all;
  std::map<std::string_view, std::map<std::string_view, int>> kinds;
  for (const PatternCase& one : pattern_cases()) {
    Made made;
    one.make(made);
    const TraceModel model = made.model();
    Analysed in(model);
    std::vector<Finding> findings;
    const std::multiset<std::string> found = found_in(in, &findings);
    const std::multiset<std::string> expected = labels_of(one.expected);
    INFO(one.pattern << ", " << one.is << ": " << one.name);
    CHECK(join(found) == join(expected));
    hold_invariants(in, findings);
    all.count(expected, found);
    ++kinds[one.pattern][one.is];
  }
  std::printf("labelled corpus: %zu programs, %llu findings: precision %.3f, recall %.3f\n", pattern_cases().size(),
              static_cast<unsigned long long>(all.right), all.precision(), all.recall());
  CHECK(all.precision() == 1);
  CHECK(all.recall() == 1);
  // Two that have it, two that look like it, one at the boundary: of every pattern.
  for (const std::string_view id : kPatternIds) {
    INFO(id);
    CHECK(kinds[id]["has"] >= 2);
    CHECK(kinds[id]["looks"] + kinds[id]["boundary"] >= 3);
    CHECK(kinds[id]["boundary"] >= 1);
  }
}

TEST_CASE("the order in which events are told changes no finding") {
  for (const PatternCase& one : pattern_cases()) {
    Made made;
    one.make(made);
    const TraceModel plain = made.model();
    const TraceModel shuffled = made.model(7);
    Analysed a(plain);
    Analysed b(shuffled);
    std::vector<Finding> x;
    std::vector<Finding> y;
    INFO(one.pattern << ": " << one.name);
    CHECK(join(found_in(a, &x)) == join(found_in(b, &y)));
    REQUIRE(x.size() == y.size());
    for (std::size_t at = 0; at < x.size(); ++at) {
      CHECK(x[at].summary == y[at].summary);
      CHECK(x[at].saving_ns == y[at].saving_ns);
      CHECK(x[at].mute_key == y[at].mute_key);
    }
  }
}

TEST_CASE("with all times and all thresholds a thousand times longer the findings are the same, and save a thousand times more") {
  AnalysisSettings longer;
  PatternSettings& p = longer.patterns;
  for (std::uint64_t* ns : {&p.sequential_between_exec_ns, &p.loop_block_ns, &p.checkpoint_gap_ns, &p.unbatched_window_ns, &p.long_gap_ns,
                            &p.long_gap_share_ns, &p.promise_flood_window_ns, &p.callback_flood_window_ns, &p.callback_flood_busy_ns,
                            &p.redundant_timer_window_ns, &p.redundant_timer_slack_ns, &p.cache_wait_ns, &p.trivial_saving_ns,
                            &longer.path.dispatch_gap_ns, &longer.gaps.min_ns}) {
    *ns *= 1000;
  }
  for (const PatternCase& one : pattern_cases()) {
    if (one.name.find("debounce") != std::string_view::npos || one.name.find("processor gave") != std::string_view::npos) continue;  // told in annotations
    if (one.pattern == "deep-chain") continue;  // its inference of wakes has a limit in time
    Made made;
    one.make(made);
    Made slow;
    slow.scale = 1000;
    one.make(slow);
    const TraceModel model = made.model();
    const TraceModel slow_model = slow.model();
    Analysed a(model);
    Analysed b(slow_model, longer);
    std::vector<Finding> x;
    std::vector<Finding> y;
    INFO(one.pattern << ": " << one.name);
    CHECK(join(found_in(a, &x)) == join(found_in(b, &y)));
    for (std::size_t at = 0; at < std::min(x.size(), y.size()); ++at) CHECK(x[at].saving_ns * 1000 == y[at].saving_ns);
  }
}

TEST_CASE("every threshold is a setting") {
  // Of each pattern a program that has it, and settings with which it has not.
  const auto without = [](std::string_view name, auto&& change) {
    for (const PatternCase& one : pattern_cases()) {
      if (one.name != name) continue;
      Made made;
      one.make(made);
      const TraceModel model = made.model();
      AnalysisSettings settings;
      change(settings.patterns);
      Analysed in(model, settings);
      for (const std::string& found : found_in(in)) {
        if (found.substr(0, found.find(':')) == one.pattern) return false;
      }
      return true;
    }
    return false;
  };
  CHECK(without("a loop that awaits each of five requests", [](PatternSettings& s) { s.sequential_min = 6; }));
  CHECK(without("exactly 5 ms of work between: still short", [](PatternSettings& s) { s.sequential_between_exec_ns = 4'999'999; }));
  CHECK(without("a callback of 60 ms", [](PatternSettings& s) { s.loop_block_ns = 60'000'000; }));
  CHECK(without("four keys at once, a call each", [](PatternSettings& s) { s.unbatched_min = 5; }));
  CHECK(without("four keys at once, a call each", [](PatternSettings& s) { s.batch_types.clear(); }));
  CHECK(without("the same URL twice", [](PatternSettings& s) { s.duplicate_min = 3; }));
  CHECK(without("eleven functions that await each other", [](PatternSettings& s) { s.chain_depth = 11; }));
  CHECK(without("three functions, each waiting for the one before", [](PatternSettings& s) { s.waterfall_percent = s.waterfall_two_hop_percent = 100; }));
  CHECK(without("two that are most of the request", [](PatternSettings& s) { s.waterfall_two_hop_percent = 100; }));
  CHECK(without("600 ms in which nothing ran, of 3 s", [](PatternSettings& s) { s.long_gap_ns = 600'000'000; }));
  CHECK(without("60 ms, of 200", [](PatternSettings& s) { s.long_gap_percent = 31; }));
  CHECK(without("sixty promises in 1.8 ms", [](PatternSettings& s) { s.promise_flood_min = 61; }));
  CHECK(without("ten that begin in a millisecond, the last of 5 ms", [](PatternSettings& s) { s.callback_flood_min = 11; }));
  CHECK(without("seven at once to one origin", [](PatternSettings& s) { s.concurrency_limit = 7; }));
  CHECK(without("three of 30 ms from one place", [](PatternSettings& s) { s.redundant_timer_min = 4; }));
  CHECK(without("two of two miss, and say so", [](PatternSettings& s) { s.cache_hit_percent = 0; }));
  CHECK(without("a thousand callbacks of one place", [](PatternSettings& s) { s.hot_exec_percent = 100; }));
}

TEST_CASE("the samples of async-trace have the findings that a careful reader expects") {
  const std::filesystem::path folder = THENCE_SAMPLES;
  if (!std::filesystem::is_directory(folder)) {
    std::printf("left out: async-trace-samples are not at %s\n", THENCE_SAMPLES);
    return;
  }
  Score all;
  std::size_t samples = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".json") continue;
    ++samples;
    const std::string name = file.path().stem().string();
    std::ifstream in(file.path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    ModelBuilder builder;
    AsyncTraceReader<ModelBuilder> reader(builder);
    REQUIRE(read_all(reader, text.str()));
    const TraceModel model = builder.build();
    Analysed made(model);
    std::vector<Finding> findings;
    const std::multiset<std::string> found = found_in(made, &findings);
    std::multiset<std::string> expected;
    bool labelled = false;
    for (const SampleLabel& label : kSampleLabels) {
      if (label.sample != name) continue;
      labelled = true;
      expected.merge(labels_of(label.expected));
    }
    INFO(name);
    CHECK(labelled);
    CHECK(join(found) == join(expected));
    hold_invariants(made, findings);
    all.count(expected, found);
  }
  std::printf("samples: %zu, %llu findings: precision %.3f, recall %.3f\n", samples, static_cast<unsigned long long>(all.right),
              all.precision(), all.recall());
  CHECK(samples == 29);
  CHECK(all.precision() == 1);
  CHECK(all.recall() == 1);
}
