// SPDX-License-Identifier: MIT
// perfetto_round_trip_test.cpp: what goes into a .pftrace comes out of it.
#include "thence/formats/perfetto/perfetto_reader.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "formats/random_trace.hpp"
#include "model/dump.hpp"
#include "support/catch.hpp"
#include "support/zlib_policies.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/replay.hpp"

namespace {

using namespace thence;
using thence_test::difference;
using thence_test::dump;

BufferSink written(const TraceModel& model, const PerfettoOptions& options = {}) {
  BufferSink bytes;
  PerfettoEncoder<BufferSink> encoder(bytes, options);
  replay(model, encoder);
  return bytes;
}

TraceModel read(std::span<const std::byte> bytes, std::size_t piece = kFeedBytes) {
  ModelBuilder builder;
  PerfettoReader<ModelBuilder, thence_test::ZlibInflate> reader(builder);
  while (!bytes.empty()) {
    const std::size_t count = std::min(piece, bytes.size());
    reader.feed(bytes.first(count));
    bytes = bytes.subspan(count);
  }
  const bool good = reader.finish();
  INFO(describe(reader.damage(), "pftrace", reader.events()));
  REQUIRE(good);
  CHECK(reader.packets_unreadable() == 0);
  CHECK(reader.unmatched_ends() == 0);
  CHECK(reader.events_skipped() == 0);
  CHECK(reader.compressed_skipped() == 0);
  return builder.build();
}

TraceModel random_model(std::uint64_t seed, int steps = 3000) {
  thence_test::RandomTraceOptions options;
  options.seed = seed;
  options.steps = steps;
  thence_test::RandomTrace trace(options);
  ModelBuilder builder;
  trace.play(builder);
  return builder.build();
}

}  // namespace

TEST_CASE("model -> pftrace -> model loses nothing, on random traces, with every switch on and off") {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    const TraceModel model = random_model(seed, 1200);
    const std::vector<std::string> expected = dump(model);
    PerfettoOptions options;
    options.flows = seed % 2 == 0;
    options.spans = static_cast<PerfettoSpans>(seed / 2 % 3);
    options.track_per_resource = seed / 6 % 2 == 0;
    if (seed % 5 == 0) options.writer.compress = thence_test::zlib_compress;
    if (seed % 7 == 0) options.writer.clear_after_bytes = 6000;
    INFO("seed " << seed);
    CHECK(difference(expected, dump(read(written(model, options).bytes()))) == "");
  }
}

TEST_CASE("a file whose dictionaries are sent again every few packets reads the same") {
  PerfettoOptions options;
  options.writer.clear_after_bytes = 2000;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const TraceModel model = random_model(seed, 800);
    CHECK(difference(dump(model), dump(read(written(model, options).bytes()))) == "");
  }
}

TEST_CASE("small bounds in the writer change the picture, not what is read") {
  PerfettoOptions options;
  options.max_open_resources = 16;
  options.max_annotation_bytes = 64;
  options.max_depth = 3;
  options.writer.max_keys = 2;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const TraceModel model = random_model(seed, 800);
    INFO("seed " << seed);
    // Annotations beyond the bound are written before those below it.
    const thence_test::DumpOptions unordered{.note_order = false};
    CHECK(difference(dump(model, unordered), dump(read(written(model, options).bytes()), unordered)) == "");
  }
}

TEST_CASE("however few keys are kept, what is read is the same") {
  for (std::size_t max_keys = 0; max_keys <= 20; ++max_keys) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      PerfettoOptions options;
      options.writer.max_keys = max_keys;
      options.flows = seed % 2 == 0;
      if (seed > 2) options.writer.clear_after_bytes = 2000;
      const TraceModel model = random_model(seed, 800);
      INFO("keys " << max_keys << ", seed " << seed);
      CHECK(difference(dump(model), dump(read(written(model, options).bytes()))) == "");
    }
  }
}

TEST_CASE("however many types a trace has, and however long their names are, each keeps its own") {
  const auto name = [](std::uint16_t type) { return std::string(type % 500, 'x') + " type " + std::to_string(type); };
  constexpr std::uint16_t kTypes = 50'000;
  ModelBuilder builder;
  builder.begin({});
  builder.define_lane({LaneId{1}, 10, 11, "loop"});
  for (std::uint16_t at = 0; at != kTypes; ++at) {
    TraceEvent event;
    event.kind = EventKind::kCreated;
    event.time = static_cast<Timestamp>(1000 + at);
    event.lane = LaneId{1};
    event.resource = static_cast<ResourceId>(1 + at);
    event.type = static_cast<TypeId>(kFirstHostType + at);
    builder.define_type(event.type, name(at));
    builder.take({&event, 1});
  }
  builder.end(TraceSummary{});
  const TraceModel model = read(written(builder.build()).bytes());
  REQUIRE(model.resources() == kTypes);
  std::size_t wrong = 0;
  for (std::uint16_t at = 0; at != kTypes; ++at) {
    if (model.type_name(model.find(static_cast<ResourceId>(1 + at))) != name(at)) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a file fed byte by byte reads the same") {
  const TraceModel model = random_model(7, 300);
  const BufferSink bytes = written(model);
  CHECK(difference(dump(read(bytes.bytes())), dump(read(bytes.bytes(), 1))) == "");
}

TEST_CASE("a counter keeps its number, name and unit, in whatever order the counters are sampled") {
  ModelBuilder builder;
  TraceInfo info;
  info.salt = 7;
  builder.begin(info);
  builder.define_lane({LaneId{1}, 10, 11, "loop"});
  builder.define_counter(CounterId{40}, "heap", "bytes");
  builder.define_counter(CounterId{17}, "sockets", "");
  builder.define_counter(CounterId{3}, "loop-lag", "ns");
  const Annotation value{{}, Value::of(std::uint64_t{5})};
  std::vector<TraceEvent> events;
  for (const int counter : {17, 3, 40, 20}) {  // 20 has no name
    TraceEvent event;
    event.kind = EventKind::kCounter;
    event.time = static_cast<Timestamp>(1000 + events.size());
    event.lane = LaneId{1};
    event.counter = static_cast<CounterId>(counter);
    event.annotation = &value;
    events.push_back(event);
  }
  builder.take(events);
  builder.end(TraceSummary{});
  const TraceModel model = read(written(builder.build()).bytes());
  std::vector<std::string> counters;
  for (const TraceModel::CounterSample& sample : model.counter_samples) {
    const TraceModel::Counter& counter = model.counters[sample.counter];
    counters.push_back(std::to_string(number(counter.id)) + " " + std::string(model.text(counter.name)) + " " +
                       std::string(model.text(counter.unit)));
  }
  CHECK(counters == std::vector<std::string>{"17 sockets ", "3 loop-lag ns", "40 heap bytes", "20 counter 20 "});
}

TEST_CASE("two traces in one file are two processes with all their resources") {
  const TraceModel first = random_model(1, 300), second = random_model(2, 300);
  BufferSink both;
  static_cast<void>(both.write(written(first).bytes()));
  static_cast<void>(both.write(written(second).bytes()));
  const TraceModel model = read(both.bytes());
  CHECK(model.sources.size() == 2);
  CHECK(model.resources() == first.resources() + second.resources());
  CHECK(model.invocations.size() == first.invocations.size() + second.invocations.size());
  CHECK(model.roots.size() == first.roots.size() + second.roots.size());
  CHECK(model.notes.size() == first.notes.size() + second.notes.size());
}

namespace {

/// Notes how traces begin and end, and when what was left.
struct Outline : IgnoringSink {
  std::vector<std::string> lines;
  void begin(const TraceInfo& info) { lines.push_back("begin " + std::string(info.process_name)); }
  void define_lane(const LaneInfo& lane) { lines.push_back("lane " + std::string(lane.name)); }
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) {
      if (event.kind == EventKind::kExited) lines.push_back("exit " + std::to_string(ns_of(event.time)));
    }
  }
  void end(const TraceSummary&) { lines.push_back("end"); }
};

/// A run on a lane from 1000 to 2000; `begun` is how many bytes of it there were before it ended.
std::string a_run(std::uint64_t salt, std::string_view process, std::size_t* begun = nullptr) {
  BufferSink bytes;
  PerfettoEncoder<BufferSink> encoder(bytes);
  TraceInfo info;
  info.salt = salt;
  info.process_id = 7;
  info.process_name = process;
  encoder.begin(info);
  encoder.define_lane({LaneId{1}, 7, 8, "loop"});
  TraceEvent event;
  event.time = Timestamp{1000};
  event.lane = LaneId{1};
  event.resource = ResourceId{1};
  event.kind = EventKind::kCreated;
  encoder.take({&event, 1});
  event.kind = EventKind::kEntered;
  encoder.take({&event, 1});
  encoder.flush();
  if (begun != nullptr) *begun = bytes.bytes().size();
  event.kind = EventKind::kExited;
  event.time = Timestamp{2000};
  encoder.take({&event, 1});
  encoder.end({});
  const auto all = bytes.bytes();
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

/// Without what a trace says of itself a second time.
std::vector<std::string> once(const std::vector<std::string>& all) {
  std::vector<std::string> lines;
  for (const std::string& line : all) {
    if (lines.empty() || line.rfind("begin", 0) != 0 || lines.back().rfind("begin", 0) != 0) {
      lines.push_back(line);
    } else {
      lines.back() = line;
    }
  }
  return lines;
}

}  // namespace

TEST_CASE("files that were joined each tell whose they are") {
  Outline outline;
  PerfettoReader<Outline> reader(outline);
  REQUIRE(read_all(reader, a_run(5, "one") + a_run(6, "two")));
  const std::vector<std::string>& lines = outline.lines;
  CHECK(std::find(lines.begin(), lines.end(), "begin one") != lines.end());
  CHECK(std::find(lines.begin(), lines.end(), "begin two") != lines.end());
}

TEST_CASE("traces without a salt that were joined are told apart: each ends with its totals") {
  Outline outline;
  PerfettoReader<Outline> reader(outline);
  REQUIRE(read_all(reader, a_run(0, "one") + a_run(0, "two")));
  const std::vector<std::string> lines = once(outline.lines);
  CHECK(lines == std::vector<std::string>{"begin one", "lane loop", "exit 2000", "end", "begin two", "lane loop", "exit 2000", "end"});
}

TEST_CASE("events of others between ours, more than may be held, are a trace of their own, behind which ours goes on") {
  // Six instants of sequence 77: {timestamp 1500, sequence 77, {type 3, track 9, name "x"}}.
  const std::string instant = "\n\x0f\x40\xdc\x0b\x50\x4d\x5a\x08\x48\x03\x58\x09\xba\x01\x01x";
  std::string others;
  for (int n = 0; n < 6; ++n) others += instant;
  std::size_t begun = 0;
  const std::string ours = a_run(5, "one", &begun);
  PerfettoReaderOptions options;
  options.max_held = 2;
  Outline outline;
  PerfettoReader<Outline> reader(outline, options);
  CHECK(read_all(reader, ours.substr(0, begun) + others + ours.substr(begun)));
  CHECK(reader.unmatched_ends() == 0);
  const std::vector<std::string> lines = once(outline.lines);
  INFO([&] {
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    return all;
  }());
  CHECK(std::count(lines.begin(), lines.end(), "end") == 4);  // ours, theirs, ours, and what of theirs was still held
  CHECK(std::count(lines.begin(), lines.end(), "exit 2000") == 1);
  CHECK(std::count(lines.begin(), lines.end(), "lane loop") == 2);
}

TEST_CASE("a live session's order, late events and all, reads as the model of the same events") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    thence_test::RandomTraceOptions options;
    options.seed = seed;
    options.steps = 1500;
    thence_test::RandomTrace trace(options), again(options);
    ModelBuilder builder;
    trace.play(builder);
    BufferSink bytes;
    PerfettoOptions perfetto;
    perfetto.flows = seed % 2 == 0;
    perfetto.spans = static_cast<PerfettoSpans>(seed / 2 % 3);
    PerfettoEncoder<BufferSink> encoder(bytes, perfetto);
    again.play(encoder);
    INFO("seed " << seed);
    CHECK(difference(dump(builder.build()), dump(read(bytes.bytes()))) == "");
  }
}

TEST_CASE("cut off anywhere, a file is good up to its last whole packet, and says so") {
  const TraceModel model = random_model(3, 60);
  const BufferSink whole = written(model);
  const std::span<const std::byte> bytes = whole.bytes();
  std::uint64_t events = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ModelBuilder builder;
    PerfettoReader<ModelBuilder> reader(builder);
    const bool good = read_all(reader, bytes.first(size));
    if (!good) {
      CHECK(reader.damage().cut_off);
      CHECK(reader.damage().offset == size);
      CHECK(reader.damage().expected == "the rest of a packet");
    }
    CHECK(reader.events() >= events);
    events = reader.events();
    CHECK(builder.build().quality.malformed == 0);
  }
}
