// SPDX-License-Identifier: MIT
// perfetto_round_trip_test.cpp: what goes into a .pftrace comes out of it.
#include "thence/formats/perfetto/perfetto_reader.hpp"

#include <fstream>
#include <sstream>
#include <string>

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
  options.writer.max_names = 128;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const TraceModel model = random_model(seed, 800);
    INFO("seed " << seed);
    // Annotations beyond the bound are written before those below it.
    const thence_test::DumpOptions unordered{.note_order = false};
    CHECK(difference(dump(model, unordered), dump(read(written(model, options).bytes()), unordered)) == "");
  }
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
