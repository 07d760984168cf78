// SPDX-License-Identifier: MIT
// A host learns of its own request when it is over: the findings of the analysis, without a file.
#include "thence/analysis/live_analysis.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "thence/analysis/json_report.hpp"
#include "thence/session/session.hpp"
#include "thence/wire/byte_sink.hpp"

using namespace thence;

namespace {

struct Heard {
  std::uint64_t resources = 0;
  std::uint64_t duration = 0;
  std::uint64_t path = 0;
  std::uint64_t missing = 0;
  std::string label;
  std::vector<std::string> findings;
};

struct Listener {
  std::vector<Heard>* heard;
  void operator()(Analysis& all, std::uint64_t missing) const {
    REQUIRE(all.requests.size() == 1);
    const std::uint32_t request = all.requests[0];
    Heard one;
    one.resources = all.model.resources();
    one.duration = all.run.requests[request].duration();
    one.path = all.paths.totals(request).all;
    one.label = all.label_of(all.run.requests[request].resource);
    one.missing = missing;
    for (const Finding& found : all.findings) one.findings.push_back(std::string(found.id));
    heard->push_back(one);
  }
};

TraceEvent made(EventKind kind, std::uint64_t id, std::uint64_t root, std::uint64_t time) {
  TraceEvent event;
  event.kind = kind;
  event.resource = static_cast<ResourceId>(id);
  event.root = static_cast<RootId>(root);
  event.time = static_cast<Timestamp>(time);
  event.lane = LaneId{1};
  return event;
}

}  // namespace

TEST_CASE("a session's requests are analysed one by one as they are sealed, and nothing of them is kept") {
  std::vector<Heard> heard;
  LiveAnalysis<Listener> live{Listener{&heard}};
  struct Ref {
    LiveAnalysis<Listener>* to;
    void begin(const TraceInfo& info) { to->begin(info); }
    void define_lane(const LaneInfo& lane) { to->define_lane(lane); }
    void define_type(TypeId type, std::string_view name) { to->define_type(type, name); }
    void define_counter(CounterId counter, std::string_view name, std::string_view unit) { to->define_counter(counter, name, unit); }
    void define_stack(const StackInfo& stack) { to->define_stack(stack); }
    void synchronise(const ClockSnapshot& clock) { to->synchronise(clock); }
    void take(std::span<const TraceEvent> events) { to->take(events); }
    void flush() { to->flush(); }
    void end(const TraceSummary& summary) { to->end(summary); }
  };
  SessionOptions options;
  options.drain_thread = false;
  Session session(options);
  session.add_sink(Ref{&live});
  session.start();
  {
    Lane lane = session.attach("loop");
    Tracer& tracer = lane.tracer();
    for (int n = 0; n < 3; ++n) {
      const Resource root = tracer.begin_root();
      tracer.annotate(root, "url", "https://example.com/" + std::to_string(n));
      tracer.enter(root);
      const Resource fetch = tracer.create(ResourceType::kFetch);
      tracer.exit(root);
      tracer.settle(fetch, Outcome::kFulfilled, Actor::kExternal);
      tracer.enter(fetch, Cause::settled(fetch));
      tracer.exit(fetch);
      tracer.settle(root, Outcome::kFulfilled);
      tracer.finish_root(root);
    }
  }
  session.close();
  REQUIRE(heard.size() == 3);
  CHECK(live.analysed() == 3);
  CHECK(live.open() == 0);
  CHECK(live.events_kept() == 0);
  for (int n = 0; n < 3; ++n) {
    const Heard& one = heard[static_cast<std::size_t>(n)];
    CHECK(one.resources == 2);
    CHECK(one.label == "https://example.com/" + std::to_string(n));
    CHECK(one.path == one.duration);
    CHECK(one.missing == 0);
  }
}

TEST_CASE("the callback hears of a callback that blocked, with its code; and a request that is too large is counted") {
  std::vector<Heard> heard;
  LiveAnalysisOptions options;
  options.max_events = 50;
  LiveAnalysis<Listener> live{Listener{&heard}, options};
  live.begin(TraceInfo{});
  live.define_lane({LaneId{1}, 1, 1, "loop"});
  const FrameInfo frame{FrameKind::kScript, "grind", "app.js", 12, 1, 0, 0, {}};
  live.define_stack({StackId{1}, std::span(&frame, 1)});
  std::vector<TraceEvent> events;
  // Request 1 blocks for 300 ms; request 2, at the same time, has 60 events.
  TraceEvent root = made(EventKind::kCreated, 1, 1, 0);
  root.type = type_id(ResourceType::kRoot);
  events.push_back(root);
  TraceEvent work = made(EventKind::kCreated, 2, 1, 10);
  work.type = type_id(ResourceType::kJsPromise);
  work.other = ResourceId{1};
  work.stack = StackId{1};
  events.push_back(work);
  for (std::uint64_t n = 0; n < 60; ++n) events.push_back(made(EventKind::kCreated, 100 + n, 2, 20 + n));
  events.push_back(made(EventKind::kEntered, 2, 1, 1000));
  TraceEvent lost = made(EventKind::kLost, 0, 0, 2000);
  const LossRange range{5, Timestamp{1500}, Timestamp{2000}};
  lost.loss = &range;
  events.push_back(lost);
  events.push_back(made(EventKind::kExited, 2, 1, 300'001'000));
  events.push_back(made(EventKind::kRootFinished, 1, 1, 300'002'000));
  live.take(events);
  CHECK(live.open() == 2);
  CHECK(heard.empty());
  live.take(std::vector<TraceEvent>{made(EventKind::kRootSealed, 0, 1, 300'003'000), made(EventKind::kRootSealed, 0, 2, 300'003'000)});
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].duration == 300'002'000);
  CHECK(heard[0].path == 300'002'000);
  CHECK(heard[0].missing == 5);
  CHECK(std::find(heard[0].findings.begin(), heard[0].findings.end(), "loop-block") != heard[0].findings.end());
  CHECK(live.too_large() == 1);
  CHECK(live.open() == 0);
  CHECK(live.events_kept() == 0);
}

TEST_CASE("an analysis as JSON is one value without a fraction, and the same each time") {
  const TraceModel empty = ModelBuilder{}.build();
  std::string texts[2];
  for (std::string& text : texts) {
    Analysis all(empty);
    BufferSink sink;
    JsonWriter json{sink};
    write_json(json, all);
    REQUIRE(json.flush());
    CHECK(json.complete());
    for (const std::byte byte : sink.bytes()) text += static_cast<char>(byte);
  }
  CHECK(texts[0] == texts[1]);
  CHECK(texts[0].find("\"requests\":[]") != std::string::npos);
  CHECK(texts[0].find('.') == std::string::npos);
}
