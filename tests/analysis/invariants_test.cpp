// SPDX-License-Identifier: MIT
// invariants_test.cpp: what must hold of every trace: of random ones, and, where they are at hand, of published samples.
//
// Paths partition requests; idle and running time add up; no schedule is longer than what happened; the order in which a
// trace is told, the unit of its clock and whose code its frames are change nothing.
#include "thence/analysis/critical_path.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "analysis/random_program.hpp"
#include "formats/random_trace.hpp"
#include "support/catch.hpp"
#include "thence/analysis/concurrency.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/time_split.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/replay.hpp"

namespace {

using namespace thence;

/// An EventSink that keeps what it is told, to tell it again in another order or on another clock. Texts stay with the model.
struct Retold : IgnoringSink {
  struct Kept {
    TraceEvent event;
    Annotation annotation;
    LossRange loss;
  };
  TraceInfo info;
  std::vector<LaneInfo> lanes;
  std::vector<std::pair<TypeId, std::string>> types;
  std::vector<std::pair<CounterId, std::string>> counters;
  std::vector<std::pair<StackId, std::vector<FrameInfo>>> stacks;
  std::vector<Kept> events;

  void begin(const TraceInfo& trace) { info = trace; }
  void define_lane(const LaneInfo& lane) { lanes.push_back(lane); }
  void define_type(TypeId type, std::string_view name) { types.emplace_back(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view) { counters.emplace_back(counter, name); }
  void define_stack(const StackInfo& stack) { stacks.emplace_back(stack.id, std::vector<FrameInfo>(stack.frames.begin(), stack.frames.end())); }
  void take(std::span<const TraceEvent> some) {
    for (const TraceEvent& event : some) {
      Kept kept{event, {}, {}};
      if (event.annotation != nullptr) kept.annotation = *event.annotation;
      if (event.loss != nullptr) kept.loss = *event.loss;
      events.push_back(kept);
    }
  }

  [[nodiscard]] TraceModel model(std::uint64_t times) {
    ModelBuilder builder;
    builder.begin(info);
    for (const LaneInfo& lane : lanes) builder.define_lane(lane);
    for (const auto& [type, name] : types) builder.define_type(type, name);
    for (const auto& [counter, name] : counters) builder.define_counter(counter, name, "");
    for (const auto& [stack, frames] : stacks) builder.define_stack({stack, frames});
    for (const Kept& kept : events) {
      TraceEvent event = kept.event;
      LossRange loss = kept.loss;
      event.time = static_cast<Timestamp>(ns_of(event.time) * times);
      loss.first = static_cast<Timestamp>(ns_of(loss.first) * times);
      loss.last = static_cast<Timestamp>(ns_of(loss.last) * times);
      if (event.annotation != nullptr) event.annotation = &kept.annotation;
      if (event.loss != nullptr) event.loss = &loss;
      builder.take(std::span<const TraceEvent>(&event, 1));
    }
    builder.end({});
    return builder.build();
  }
  /// Another order, but of what is said of one resource: there the order of one moment's events has a meaning.
  void shuffle(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::map<std::uint64_t, std::vector<Kept>> by_resource;
    for (const Kept& kept : events) {
      const bool of_lane = kept.event.kind == EventKind::kPauseBegan || kept.event.kind == EventKind::kPauseEnded;
      by_resource[of_lane ? 0 : number(kept.event.resource)].push_back(kept);
    }
    std::vector<std::uint64_t> turns;
    for (const auto& [id, all] : by_resource) turns.insert(turns.end(), all.size(), id);
    std::shuffle(turns.begin(), turns.end(), random);
    std::map<std::uint64_t, std::size_t> next;
    events.clear();
    for (const std::uint64_t id : turns) events.push_back(by_resource[id][next[id]++]);
  }
};

AnalysisSettings settings_for(std::uint64_t times) {
  AnalysisSettings settings;
  settings.path.dispatch_gap_ns *= times;
  settings.path.infer_within_ns *= times;
  settings.gaps.min_ns *= times;
  return settings;
}

/// Checks what must hold, and writes all results down, in units of `times` nanoseconds.
std::string digest(const TraceModel& model, const AnalysisSettings& settings, std::uint64_t times, bool locations) {
  NormaliseOptions rule;
  rule.infer_within_ns *= times;
  const Normalised normal = normalise(model, rule);
  const Execution run(model, normal, settings);
  CriticalPaths paths(run);
  IdealSchedule ideal(run, paths);
  const Gaps gaps(run);
  const TimeSplits splits(run, paths);
  std::string out;
  const auto say = [&](const char* what, std::initializer_list<std::uint64_t> values) {
    out += what;
    for (const std::uint64_t value : values) out += " " + std::to_string(value);
    out += "\n";
  };
  const auto in_units = [&](std::uint64_t value) { return times == 1 ? value : value % times == 0 ? value / times : ~value; };
  const auto id = [&](std::uint32_t row) { return row == TraceModel::kNone ? 0 : model.id[row]; };
  const auto partition = [&](std::span<const PathSegment> path, std::uint64_t from, std::uint64_t to) {
    std::uint64_t time = from;
    for (const PathSegment& part : path) {
      REQUIRE(part.start == time);
      REQUIRE(part.end > part.start);
      time = part.end;
    }
    REQUIRE(time == to);
  };
  std::uint64_t selves = 0, busy = 0;
  for (std::uint32_t at = 0; at < model.invocations.size(); ++at) selves += run.self[at];
  for (std::uint32_t lane = 0; lane < run.lanes(); ++lane) {
    std::uint64_t until = 0;
    for (const Execution::Segment& segment : run.segments_of(lane)) {
      REQUIRE(segment.start >= until);
      until = segment.end;
    }
    // The union of all that ran there.
    std::uint64_t reached = 0;
    for (const std::uint32_t at : run.on_lane[lane]) {
      const std::uint64_t start = std::max(run.start(at), reached);
      if (run.end(at) > start) busy += run.end(at) - start;
      reached = std::max(reached, run.end(at));
    }
  }
  REQUIRE(selves == busy);
  std::vector<std::uint32_t> in_order(run.requests.size());
  for (std::uint32_t of = 0; of < in_order.size(); ++of) in_order[of] = of;
  std::sort(in_order.begin(), in_order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return number(model.roots[a].id) < number(model.roots[b].id);
  });
  for (const std::uint32_t of : in_order) {
    const Execution::Request& request = run.requests[of];
    partition(paths.of(of), request.start, request.end);
    REQUIRE(paths.totals(of).all == request.duration());
    REQUIRE(paths.explained_permille(of) >= paths.recorded_permille(of));
    say("request", {in_units(request.start), in_units(request.end), paths.explained_permille(of)});
    for (const PathSegment& part : paths.of(of)) {
      out += word(part.kind);
      say("", {in_units(part.start), in_units(part.end), id(part.resource)});
    }
    std::uint64_t shares = 0;
    for (const PathShare& share : path_shares(run, paths.of(of))) {
      shares += share.total;
      if (!locations) continue;
      out += word(share.kind);
      say(" share", {in_units(share.total), share.count, share.location});
    }
    REQUIRE(shares == request.duration());
    const IdealSchedule::Bound& bound = ideal.bounds[of];
    REQUIRE(bound.ideal_ns <= request.duration());
    REQUIRE(bound.efficiency() <= 1);
    say("ideal", {in_units(bound.dependency_ns), in_units(bound.lane_ns), in_units(bound.exec_ns), in_units(bound.operations_ns)});
    for (const PathMember& member : ideal.members_of(of)) {
      if (!member.saving_known) continue;
      REQUIRE(member.saving_ns <= request.duration());
      say("member", {id(member.unit), in_units(member.on_path_ns), in_units(member.saving_ns)});
    }
    REQUIRE(gaps.idle_ns(of) + gaps.busy_ns(of) == request.duration());
    REQUIRE(gaps.busy_ns(of) <= bound.exec_ns + bound.observed_ns);
    for (const Gap& gap : gaps.of(of)) {
      out += word(gap.cause);
      say(" gap", {in_units(gap.start), in_units(gap.end), id(gap.operation), gap.in_flight, in_units(gap.foreign_ns)});
      std::uint64_t time = gap.start;
      for (const GapPart& part : gaps.parts_of(gap)) {
        REQUIRE(part.start == time);
        time = part.end;
      }
      REQUIRE(time == gap.end);
    }
    const TimeSplit& split = splits.of_request(of);
    REQUIRE(split.elapsed_ns() == request.duration());
    say("split", {in_units(split.running_ns), in_units(split.blocked_ns), in_units(split.waiting_ns), in_units(split.scheduling_ns),
                  in_units(split.unknown_ns)});
  }
  const std::uint32_t step = 1 + model.resources() / 4000;
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (!model.has(row, ResourceFlag::kCreated)) continue;
    const TimeSplit& split = splits.of_resource(row);
    std::uint64_t last = run.finish_of(row);
    for (const std::uint32_t at : model.invocations_of(row)) last = std::max(last, run.is_span(at) ? 0 : run.end(at));
    REQUIRE(split.elapsed_ns() == last - run.created(row));
    std::uint64_t waits = 0;
    for (const Waited& part : splits.waits_of(row)) waits += part.ns;
    REQUIRE(waits == split.waiting_ns);
    say("resource", {model.id[row], in_units(split.running_ns), in_units(split.blocked_ns), in_units(split.waiting_ns),
                     in_units(split.scheduling_ns), in_units(split.unknown_ns)});
    if (row % step == 0) partition(paths.of_resource(row), run.created(row), run.finish_of(row));
  }
  return out;
}

/// All of it, for one trace.
void check(const TraceModel& model, std::uint64_t seed) {
  const std::string once = digest(model, settings_for(1), 1, true);
  Retold told;
  replay(model, told);
  const std::string scaled = digest(told.model(1000), settings_for(1000), 1000, true);
  CHECK((scaled == once));
  told.shuffle(seed);
  const std::string shuffled = digest(told.model(1), settings_for(1), 1, false);
  const std::string plain = digest(model, settings_for(1), 1, false);
  if (shuffled != plain) {
    const auto [a, b] = std::mismatch(shuffled.begin(), shuffled.end(), plain.begin(), plain.end());
    const auto line = [](const std::string& text, std::string::const_iterator at) {
      const auto from = text.rfind('\n', static_cast<std::size_t>(at - text.begin()));
      return text.substr(from + 1, text.find('\n', from + 1) - from - 1);
    };
    INFO("in another order \"" << line(shuffled, a) << "\", before \"" << line(plain, b) << '"');
    CHECK(false);
  }
  // Whose code it is changes what is shown, and no time.
  AnalysisSettings hidden = settings_for(1);
  for (const TraceModel::Frame& frame : model.frames) hidden.internal_files.emplace_back(model.text(frame.file));
  hidden.hide_internals = true;
  CHECK((digest(model, hidden, 1, false) == digest(model, settings_for(1), 1, false)));
}

/// What is compiled is the same without them.
bool has_corpus() {
  const bool has = std::filesystem::exists(THENCE_CORPUS);
  if (!has) std::printf("left out: the published samples are not at %s\n", THENCE_CORPUS);
  return has;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

template <template <class> class Reader>
TraceModel read(const std::string& text) {
  ModelBuilder builder;
  Reader<ModelBuilder> reader(builder);
  REQUIRE(read_all(reader, text));
  return builder.build();
}

}  // namespace

TEST_CASE("on random traces paths partition, times add up, and neither order nor clock nor frames change a result") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    thence_test::RandomTraceOptions options;
    options.seed = seed;
    options.steps = 200 + static_cast<int>(seed) * 40;
    options.lanes = 1 + static_cast<unsigned>(seed % 4);
    options.losses = options.late = seed % 2 == 0;
    thence_test::RandomTrace trace(options);
    ModelBuilder builder;
    trace.play(builder);
    INFO("seed " << seed);
    check(builder.build(), seed);
  }
}

TEST_CASE("on programs that ran they hold too") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    thence_test::ProgramMaker maker(seed + 9'000'000);
    const auto program = maker.make(true);
    const auto style = static_cast<thence_test::CauseStyle>(seed % 3);
    const auto made = thence_test::Machine(program, program.costs, {1 + static_cast<unsigned>(seed % 4), style}).result;
    ModelBuilder builder;
    builder.begin({});
    builder.take(made.events);
    builder.end({});
    INFO("seed " << seed);
    check(builder.build(), seed);
  }
}

TEST_CASE("they hold on every published sample") {
  if (!has_corpus()) return;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(THENCE_CORPUS "/async-trace-samples")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  CHECK(files.size() >= 29);
  std::uint64_t explained = 0;
  for (const std::string& file : files) {
    INFO(file);
    const TraceModel model = read<AsyncTraceReader>(contents(file));
    check(model, 1);
    const Normalised normal = normalise(model);
    const AnalysisSettings settings;
    const Execution run(model, normal, settings);
    const CriticalPaths paths(run);
    const Gaps gaps(run);
    REQUIRE(run.requests.size() == 1);
    const CriticalPaths::Totals& totals = paths.totals(0);
    const auto percent = [&](std::uint64_t part) { return 100.0 * static_cast<double>(part) / static_cast<double>(totals.all); };
    std::printf("%-42s %7.1f ms: ran %5.1f %%, waited %5.1f %%, scheduling %5.1f %%, unknown %5.1f %%, %zu gaps\n",
                std::filesystem::path(file).filename().c_str(), static_cast<double>(totals.all) / 1e6, percent(totals[PathKind::kExec]),
                percent(totals[PathKind::kWait]), percent(totals[PathKind::kHop] + totals[PathKind::kSched] + totals[PathKind::kBlocked]),
                percent(totals.unexplained()), gaps.of(0).size());
    explained += paths.explained_permille(0);
  }
  std::printf("explained, mean: %.1f %%\n", static_cast<double>(explained) / 10 / static_cast<double>(files.size()));
}

TEST_CASE("they hold on the Tokio demo") {
  if (!has_corpus()) return;
  const std::string packed = THENCE_CORPUS "/tokio-telemetry-demo.jsonl.gz";
  std::string text;
  if (std::FILE* pipe = popen(("gzip -dc '" + packed + "'").c_str(), "r")) {
    std::vector<char> bytes(1 << 16);
    while (const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), pipe)) text.append(bytes.data(), count);
    pclose(pipe);
  }
  REQUIRE(text.size() > 1'000'000);
  check(read<TokioReader>(text), 1);
}
