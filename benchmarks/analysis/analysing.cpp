// SPDX-License-Identifier: MIT
// analysing.cpp: how long all analyses of a trace take, on one core, after it is loaded.
//   benchmark_analysing [resources...]      default 1,000,000; several sizes show how the cost grows
//   benchmark_analysing FILE                the report of a trace as JSON on stdout, the times on stderr
// The trace is that of a server on two lanes: requests of 50 resources, of which five are fetches, some in a row and some
// together; every promise is entered once, by the settling of what it awaits; lanes are shared, so requests delay each other.
// The second form is what benchmarks/analysis/wasm compiles for WebAssembly too: both must print the same bytes.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "keep_memory.hpp"
#include "support/figures.hpp"
#include "thence/analysis/analysis.hpp"
#include "thence/analysis/json_report.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/wire/byte_sink.hpp"

namespace {

using namespace thence;

/// Processor time where there is such a clock: what else runs on the machine does not count.
#ifdef __wasi__
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
#else
double now() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}
#endif

TraceModel server(std::uint64_t resources) {
  ModelBuilder builder;
  TraceInfo info;
  info.salt = 99;
  info.process_name = "server";
  builder.begin(info);
  builder.define_lane({LaneId{1}, 1000, 1001, "worker 0"});
  builder.define_lane({LaneId{2}, 1000, 1002, "worker 1"});
  constexpr std::uint32_t kPlaces = 400;
  for (std::uint32_t place = 1; place <= kPlaces; ++place) {
    const std::string function = "step" + std::to_string(place);
    const FrameInfo frames[] = {{FrameKind::kScript, function, "src/worker.js", 10 + place, 3, 0, 0, {}},
                                {FrameKind::kScript, "handle", "src/worker.js", 5, 3, 0, 0, {}}};
    builder.define_stack({static_cast<StackId>(place), frames});
  }
  std::vector<TraceEvent> batch;
  const Annotation url{"url", Value::of(std::string_view("https://example.com/items/17"))};
  std::uint64_t id = 0, chance = 12345;
  std::uint64_t free_at[2] = {1'000'000'000, 1'000'000'000};
  const auto below = [&](std::uint64_t n) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (chance >> 33) % n;
  };
  const auto add = [&](EventKind kind, std::uint64_t resource, std::uint64_t other, std::uint64_t root, std::uint64_t time,
                       std::uint32_t lane) -> TraceEvent& {
    batch.push_back({});
    TraceEvent& event = batch.back();
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = static_cast<ResourceId>(resource);
    event.other = static_cast<ResourceId>(other);
    event.root = static_cast<RootId>(root);
    event.lane = static_cast<LaneId>(lane);
    return event;
  };
  constexpr auto kByInvocation = static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kInvocation) << 4);
  constexpr auto kByOutside = static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kExternal) << 4);
  for (std::uint64_t root = 1; id < resources; ++root) {
    const std::uint32_t lane = 1 + static_cast<std::uint32_t>(root & 1);
    std::uint64_t& free = free_at[lane - 1];
    const std::uint64_t begin = free > 200'000 ? free - below(200'000) : free;  // it arrives while others still run
    const std::uint64_t first = ++id;
    add(EventKind::kCreated, first, 0, root, begin, lane).type = type_id(ResourceType::kRoot);
    add(EventKind::kAnnotated, first, 0, root, begin, lane).annotation = &url;
    std::uint64_t time = free = std::max(free, begin) + 1000;
    add(EventKind::kEntered, first, 0, root, time, lane);
    std::uint64_t previous = first, ready = 0, cause = 0;
    for (unsigned n = 1; n < 50 && id < resources; ++n) {
      const bool fetch = n % 10 == 5;
      ++id;
      TraceEvent& created = add(EventKind::kCreated, id, previous, root, time += 300, lane);
      created.type = type_id(fetch ? ResourceType::kFetch : ResourceType::kJsPromise);
      created.stack = static_cast<StackId>(1 + (root * 7 + n) % kPlaces);
      if (fetch) add(EventKind::kAnnotated, id, 0, root, time, lane).annotation = &url;
      add(EventKind::kExited, previous, 0, root, time += 500 + below(4000), lane);
      if (n > 1) {
        TraceEvent& settled = add(EventKind::kSettled, previous, previous, root, time, lane);
        settled.flags = kByInvocation;
      }
      cause = previous;
      ready = time;
      if (fetch) {
        ready = time + 20'000 + below(400'000);
        add(EventKind::kSettled, id, 0, root, ready, 0).flags = kByOutside;
        cause = id;
      }
      free = time = std::max(ready, free) + 200;
      TraceEvent& entered = add(EventKind::kEntered, id, cause, root, time, lane);
      entered.flags = static_cast<std::uint8_t>(fetch ? CauseKind::kExternal : n == 1 ? CauseKind::kCreated : CauseKind::kSettled);
      if (n == 1) entered.other = static_cast<ResourceId>(first);
      previous = id;
    }
    add(EventKind::kExited, previous, 0, root, time += 800, lane);
    add(EventKind::kSettled, first, previous, root, time, lane).flags = kByInvocation;
    add(EventKind::kRootFinished, first, 0, root, time, lane);
    free = time;
    if (batch.size() > 10'000) {
      builder.take(batch);
      batch.clear();
    }
  }
  builder.take(batch);
  builder.end(TraceSummary{});
  return builder.build();
}

/// Each part by itself, then all in one.
void measure(thence_bench::Figures& figures, std::uint64_t resources) {
  const TraceModel model = server(resources);
  std::printf("%llu resources, %zu invocations, %zu requests\n", static_cast<unsigned long long>(model.resources()), model.invocations.size(), model.roots.size());
  {
    const AnalysisSettings settings;
    double last = now();
    const auto lap = [&](const char* what) {
      const double time = now();
      std::printf("  %-24s %8.3f s\n", what, time - last);
      last = now();
    };
    const Normalised normal = normalise(model);
    const Coverage coverage = coverage_of(model, normal);
    lap("normalise, coverage");
    const Execution run(model, normal, settings);
    lap("execution");
    const Locations where = locations_of(model, run.visible);
    lap("locations");
    const Units units = units_of(run);
    lap("units");
    const Groups groups = groups_of(run, units);
    lap("groups");
    const CriticalPaths paths(run);
    lap("critical paths");
    IdealSchedule ideal(run, paths);
    lap("ideal schedules");
    const TimeSplits splits(run, paths);
    const Gaps gaps(run);
    lap("time splits, gaps");
    const Scheduling scheduling = scheduling_of(run, where, coverage);
    lap("scheduling");
    const EventLoop loop = event_loop_of(run, where, scheduling, coverage);
    lap("event loop");
    const LatencyReport latency = latency_of(run, units, where);
    lap("latency");
    PatternContext context(run, units, groups, where, paths, &ideal, gaps, coverage);
    const std::vector<Finding> found = find_patterns(context);
    lap("patterns");
  }
  std::vector<double> built, analysed;
  std::size_t findings = 0;
  const auto each = [&](double since) { return (now() - since) / static_cast<double>(resources) * 1e9; };
  for (int round = 0; round < (resources > 2'000'000 ? 1 : 3); ++round) {
    double start = now();
    static_cast<void>(server(resources));
    built.push_back(each(start));
    start = now();
    const Analysis all(model);
    analysed.push_back(each(start));
    findings = all.findings.size();
  }
  const double best = *std::min_element(analysed.begin(), analysed.end());
  std::printf("  all                      %8.3f s = %.0f ns a resource; %zu findings\n",
              best * static_cast<double>(resources) / 1e9, best, findings);
  figures.add("analysing, a resource/all analyses, " + std::to_string(resources) + " resources", analysed, "making events and a model", built);
}

int print_report(const char* path) {
  std::FILE* const file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "%s: cannot be opened\n", path);
    return 66;
  }
  std::string text;
  char buffer[65536];
  for (std::size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) != 0;) text.append(buffer, count);
  std::fclose(file);
  ModelBuilder builder;
  bool good = false;
  if (text.starts_with("{\"event\"")) {
    TokioReader<ModelBuilder> reader(builder);
    good = read_all(reader, text);
  } else if (text.starts_with("{")) {
    AsyncTraceReader<ModelBuilder> reader(builder);
    good = read_all(reader, text);
  } else {
    PerfettoReader<ModelBuilder> reader(builder);
    good = read_all(reader, text);
  }
  const TraceModel model = builder.build();
  const double start = now();
  Analysis all(model);
  const double analysed = now();
  BufferSink sink;
  JsonWriter json{sink};
  write_json(json, all);
  json.flush();
  std::fprintf(stderr, "%u resources: analysed in %.3f s, written in %.3f s\n", model.resources(), analysed - start, now() - analysed);
  std::fwrite(sink.bytes().data(), 1, sink.bytes().size(), stdout);
  return good ? 0 : 65;
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::Figures figures(count, arguments);
  tool::keep_memory();  // as the command does
  if (count == 2 && (arguments[1][0] < '0' || arguments[1][0] > '9')) return print_report(arguments[1]);
  if (count == 1) measure(figures, 1'000'000);
  for (int at = 1; at < count; ++at) measure(figures, std::strtoull(arguments[at], nullptr, 10));
  return 0;
}
