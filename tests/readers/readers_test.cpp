// SPDX-License-Identifier: MIT
// readers_test.cpp: what each reader makes of good input, and its words for each kind of bad input.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/dump.hpp"
#include "support/catch.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/chrome/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/normalised.hpp"

namespace {

using namespace thence;

static_assert(TraceReader<AsyncTraceReader<ModelBuilder>>);
static_assert(TraceReader<TokioReader<ModelBuilder>>);
static_assert(TraceReader<ChromeReader<ModelBuilder>>);
static_assert(TraceReader<PerfettoReader<ModelBuilder>>);

template <template <class> class Reader>
struct Read {
  TraceModel model;
  std::string error;
  explicit Read(std::string_view text, std::size_t piece = 1 << 16) {
    ModelBuilder builder;
    Reader<ModelBuilder> reader(builder);
    auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    while (!bytes.empty()) {
      const std::size_t count = std::min(piece, bytes.size());
      if (!reader.feed(bytes.first(count))) break;
      bytes = bytes.subspan(count);
    }
    if (!reader.finish()) error = describe(reader.damage(), "f", reader.events());
    model = builder.build();
  }
};
template <class Sink>
using PerfettoPlain = PerfettoReader<Sink>;

std::string note(const TraceModel& model, std::uint64_t id, std::string_view key) {
  const std::uint32_t row = model.find(static_cast<ResourceId>(id));
  if (row == TraceModel::kNone) return "no resource";
  for (const TraceModel::Note& one : model.notes_of(row)) {
    if (model.text(one.key) != key) continue;
    const Value value = TraceModel::value_of(one);
    switch (value.kind) {
      case ValueKind::kString: return "s:" + std::string(value.text);
      case ValueKind::kInt: return "i:" + std::to_string(value.integer);
      case ValueKind::kUint: return "u:" + std::to_string(value.uinteger);
      case ValueKind::kDouble: return "d:" + std::to_string(value.real);
      case ValueKind::kBool: return value.boolean ? "true" : "false";
    }
  }
  return "no note";
}

std::string read_file(const std::string& path) {
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
    char buffer[4096];
    for (std::size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) != 0;) text.append(buffer, count);
    std::fclose(file);
  }
  return text;
}
std::string data(const char* name) { return read_file(std::string(THENCE_SOURCE_DIR) + "/tests/readers/data/" + name); }

const std::string kResource =
    R"({"asyncId":1,"triggerId":0,"type":"root","stackTraceId":0,"createdAt":0,"callbackStartedAt":0,"callbackEndedAt":5,"destroyedAt":0})";

std::string json_error(const std::string& text) {
  const Read<AsyncTraceReader> whole(text);
  CHECK(Read<AsyncTraceReader>(text, 1).error == whole.error);
  return whole.error;
}

}  // namespace

TEST_CASE("a plain async-trace document: 0 is absence, but for the root's start; nothing is inferred") {
  const Read<AsyncTraceReader> read(data("plain.json"), 7);
  REQUIRE(read.error.empty());
  const TraceModel& model = read.model;
  REQUIRE(model.resources() == 4);
  CHECK(model.id == std::vector<std::uint64_t>{1, 2, 3, 4});
  CHECK(model.type_name(3) == "stream-tee");
  CHECK(model.type[3] == 256);
  CHECK(model.invocations_of(0).size() == 1);
  CHECK(model.invocations[model.invocations_of(0)[0]].start == 0);
  CHECK(model.invocations[model.invocations_of(0)[0]].end == 8'500'000);
  CHECK(model.invocations_of(2).empty());
  CHECK(model.has(1, ResourceFlag::kDestroyed));
  CHECK_FALSE(model.has(2, ResourceFlag::kDestroyed));
  CHECK_FALSE(model.has(1, ResourceFlag::kSettled));
  CHECK(model.lanes.empty());
  CHECK(model.wakes.empty());
  REQUIRE(model.roots.size() == 1);
  CHECK(model.roots[0].resource == 0);
  CHECK(model.roots[0].finished == 9'000'000);
  CHECK(note(model, 2, "url") == "s:https://example.com/?q=\xc3\xa9\"x\"");
  CHECK(note(model, 4, "empty") == "s:");
  const auto frames = model.frames_of(model.stack[3]);
  REQUIRE(frames.size() == 2);
  CHECK(model.text(model.frames[frames[0]].function) == "async *generate");
  CHECK(model.text(model.frames[frames[0]].file) == "file:///srv/app.js");
  CHECK(model.frames[frames[0]].line == 1);
  CHECK(model.frames[frames[0]].column == 2);
  CHECK(normalise(model).inferred);
}

TEST_CASE("a document whose members come in another order reads the same") {
  const std::string head = R"({"annotations":[{"asyncId":1,"key":"k","value":7}],"stackTraces":[{"id":0,"frames":["f @ m:1:2"]}],)";
  const Read<AsyncTraceReader> read(head + R"("resources":[)" + kResource + R"(],"requestDurationNs":9,"other":{"x":[1]}})");
  REQUIRE(read.error.empty());
  CHECK(note(read.model, 1, "k") == "u:7");
  REQUIRE(read.model.stack[0] != TraceModel::kNone);
  CHECK(read.model.frames_of(read.model.stack[0]).size() == 1);
  CHECK(read.model.roots[0].finished == 9);
}

TEST_CASE("an annotation's value is of the kind that it is written in, whatever the one before was") {
  for (const char* const order : {"after", "before"}) {
    const std::string notes =
        R"("annotations":[{"asyncId":1,"key":"method","value":"GET"},{"asyncId":1,"key":"n","value":0},{"asyncId":1,"key":"b","value":true},)"
        R"({"key":"empty","asyncId":1,"value":null}])";
    const std::string resources = R"("resources":[)" + kResource + "]";
    const Read<AsyncTraceReader> read("{" + (std::string_view(order) == "after" ? resources + "," + notes : notes + "," + resources) + "}");
    REQUIRE(read.error.empty());
    CHECK(note(read.model, 1, "method") == "s:GET");
    CHECK(note(read.model, 1, "n") == "u:0");
    CHECK(note(read.model, 1, "b") == "true");
    CHECK(note(read.model, 1, "empty") == "s:");
  }
}

TEST_CASE("cyclic triggers, negative durations and repeated ids are read, repaired beside the model, and counted") {
  const Read<AsyncTraceReader> read(
      R"({"requestDurationNs":9,"resources":[)" + kResource +
      R"(,{"asyncId":2,"triggerId":3,"type":"timer","stackTraceId":0,"createdAt":1,"callbackStartedAt":8,"callbackEndedAt":4,"destroyedAt":0})"
      R"(,{"asyncId":3,"triggerId":2,"type":"timer","stackTraceId":0,"createdAt":1,"callbackStartedAt":0,"callbackEndedAt":0,"destroyedAt":0})"
      R"(,{"asyncId":3,"triggerId":3,"type":"fetch","stackTraceId":0,"createdAt":2,"callbackStartedAt":0,"callbackEndedAt":0,"destroyedAt":0})"
      R"(],"stackTraces":[],"annotations":[]})");
  REQUIRE(read.error.empty());
  CHECK(read.model.resources() == 3);
  CHECK(read.model.quality.repeated == 1);
  CHECK(read.model.quality.exits_unmatched == 1);
  CHECK(read.model.quality.unended == 1);
  const Normalised normal = normalise(read.model);
  CHECK(normal.edges_dropped == 1);
  CHECK(normal.parent == std::vector<std::uint32_t>{TraceModel::kNone, 0, 1});
}

TEST_CASE("each kind of bad async-trace document has its own words") {
  const std::string open = R"({"requestDurationNs":9,"resources":[)";
  CHECK(json_error("") == "f: cut off at byte 0, line 1: expected a value; 0 events before it are good");
  CHECK(json_error("[1]") == "f: damaged at byte 0, line 1: expected an object with \"resources\"; 0 events before it are good");
  CHECK(json_error("{}") == "f: damaged at byte 1, line 1: expected \"resources\" in the document; 0 events before it are good");
  CHECK(json_error(R"({"resources":{}})") == "f: damaged at byte 13, line 1: expected an array; 0 events before it are good");
  CHECK(json_error(R"({"resources":[1]})") == "f: damaged at byte 14, line 1: expected a resource; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{}]})") ==
        "f: damaged at byte 15, line 1: expected \"asyncId\", above 0, in the resource; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":9007199254740993000}]})") ==
        "f: damaged at byte 25, line 1: expected an id below 281474976710656; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":-1}]})") ==
        "f: damaged at byte 25, line 1: expected a whole number, 0 or more; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":"1"}]})") ==
        "f: damaged at byte 25, line 1: expected a whole number, 0 or more; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":1,"createdAt":1.5}]})") ==
        "f: damaged at byte 39, line 1: expected a whole number, 0 or more; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":1,"stackTraceId":4294967295}]})") ==
        "f: damaged at byte 42, line 1: expected a number below 4294967280; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":1,"type":null}]})") ==
        "f: damaged at byte 34, line 1: expected a string; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":1,"createdAt":1}]})") ==
        "f: damaged at byte 40, line 1: expected \"type\" in the resource; 0 events before it are good");
  CHECK(json_error(R"({"resources":[{"asyncId":1,"type":"x"}]})") ==
        "f: damaged at byte 37, line 1: expected \"createdAt\" in the resource; 0 events before it are good");
  CHECK(json_error(open + kResource + "],\n\"stackTraces\":[{\"frames\":[]}]}") ==
        "f: damaged at byte 196, line 2: expected \"id\" in the stack; 4 events before it are good");
  CHECK(json_error(open + kResource + "],\n\"stackTraces\":[{\"id\":0,\"frames\":[7]}]}") ==
        "f: damaged at byte 202, line 2: expected a frame: \"function @ file:line:column\"; 4 events before it are good");
  CHECK(json_error(open + kResource + R"(],"annotations":[{"asyncId":1}]})") ==
        "f: damaged at byte 195, line 1: expected \"key\" in the annotation; 4 events before it are good");
  CHECK(json_error(open + kResource + ",\n{\"asyncId\":2") ==
        "f: cut off at byte 180, line 2: expected ',' or '}'; 4 events before it are good");
}

TEST_CASE("Tokio telemetry: tasks, polls, wakes, parks, samples") {
  const Read<TokioReader> read(data("tokio.jsonl"), 11);
  REQUIRE(read.error.empty());
  const TraceModel& model = read.model;
  REQUIRE(model.resources() == 2);
  const std::uint32_t task = model.find(ResourceId{3}), other = model.find(ResourceId{9});
  CHECK(model.type_name(task) == "tokio-task");
  CHECK(model.type_name(other) == "unknown");
  CHECK(model.created[task] == 2000);
  CHECK(model.settled[task] == 3300);
  CHECK(model.outcome(task) == Outcome::kUnknown);
  CHECK(model.settled_by(task) == Actor::kInvocation);
  CHECK(model.settler[task] == task);
  CHECK(model.destroyed[task] == 3300);
  REQUIRE(model.invocations.size() == 2);
  CHECK(model.wakes[model.invocations[0].wake].actor == Actor::kExternal);
  const TraceModel::Wake& wake = model.wakes[model.invocations[1].wake];
  CHECK(wake.by == task);
  CHECK(model.text(model.lanes[wake.lane].name) == "worker 0");
  REQUIRE(model.samples.size() == 2);
  CHECK(model.samples[0].resource == task);
  CHECK(model.samples[0].kind == SampleKind::kCpu);
  CHECK(model.samples[1].kind == SampleKind::kOffCpu);
  CHECK(model.text(model.frames[model.frames_of(model.samples[0].stack)[0]].function) == "inner");
  CHECK(note(model, 9, "spawn_loc") == "s:src/other.rs:5:1");
  CHECK(note(model, 3, "instrumented") == "true");
  CHECK(model.clocks.size() == 2);
  CHECK(model.clocks[1].realtime == 1'700'000'000'000'004'000u);
  ModelBuilder builder;
  TokioReader<ModelBuilder> reader(builder);
  CHECK(read_all(reader, data("tokio.jsonl")));
  CHECK(reader.unknown_lines() == 1);
  CHECK(reader.unmatched_ends() == 1);
}

TEST_CASE("each kind of bad Tokio line has its own words") {
  const auto error = [](const std::string& line) {
    return Read<TokioReader>("{\"event\":\"TaskSpawn\",\"timestamp_ns\":1,\"task_id\":7}\n" + line).error;
  };
  CHECK(error("[1]") == "f: damaged at byte 51, line 2: expected an object with \"event\" and \"timestamp_ns\"; 1 event before it is good");
  CHECK(error("{}") == "f: damaged at byte 52, line 2: expected \"event\" in the line; 1 event before it is good");
  CHECK(error(R"({"event":"PollEnd"})") == "f: damaged at byte 69, line 2: expected \"timestamp_ns\" in the line; 1 event before it is good");
  CHECK(error(R"({"event":"PollEnd","timestamp_ns":1})") ==
        "f: damaged at byte 86, line 2: expected \"worker\" in the line; 1 event before it is good");
  CHECK(error(R"({"event":"PollEnd","timestamp_ns":-1})") ==
        "f: damaged at byte 85, line 2: expected a whole number, 0 or more; 1 event before it is good");
  CHECK(error(R"({"event":"PollEnd","timestamp_ns":1,"worker":4096})") ==
        "f: damaged at byte 100, line 2: expected a worker below 4096; 1 event before it is good");
  CHECK(error(R"({"event":"TaskSpawn","timestamp_ns":1,"task_id":281474976710656})") ==
        "f: damaged at byte 99, line 2: expected an id below 281474976710656; 1 event before it is good");
  CHECK(error(R"({"event":"TaskSpawn","timestamp_ns":1,"task_id":0})") ==
        "f: damaged at byte 100, line 2: expected a task_id above 0; 1 event before it is good");
  CHECK(error(R"({"event":"ClockSync","timestamp_ns":1,"realtime_ns":"12x"})") ==
        "f: damaged at byte 103, line 2: expected a whole number, 0 or more; 1 event before it is good");
  CHECK(error(R"({"event":"ClockSync","timestamp_ns":1,"realtime_ns":") 0090@2200"})") ==
        "f: damaged at byte 103, line 2: expected a whole number, 0 or more; 1 event before it is good");
  CHECK(error(R"({"event":"ClockSync","timestamp_ns":1,"realtime_ns":"99999999999999999999"})") ==
        "f: damaged at byte 103, line 2: expected a whole number, 0 or more; 1 event before it is good");
  CHECK(error(R"({"event":"Poll)") == "f: cut off at byte 65, line 2: expected '\"'; 1 event before it is good");
}

TEST_CASE("Chrome trace events: slices, asynchronous ones, flows, counters, names; nanoseconds are exact") {
  const Read<ChromeReader> read(data("chrome.json"), 5);
  REQUIRE(read.error.empty());
  const TraceModel& model = read.model;
  REQUIRE(model.resources() == 5);
  CHECK(model.type_name(0) == "handle");
  CHECK(model.created[0] == 1500);
  CHECK(model.invocations[model.invocations_of(0)[0]].end == 11'750);
  CHECK(model.text(model.lanes[model.created_lane[0]].name) == "loop");
  CHECK(note(model, 1, "category") == "s:x,y");
  CHECK(note(model, 1, "a.b[0]") == "u:1");
  CHECK(note(model, 1, "a.b[1].c") == "s:z");
  CHECK(note(model, 1, "a.d") == "true");
  CHECK(note(model, 1, "e") == "i:-3");
  CHECK(model.trigger[1] == 0);  // parse, in handle
  CHECK(model.type_name(2) == "query");
  CHECK(model.trigger[2] == 1);  // 2.5 is in parse
  CHECK(model.settled[2] == 5000);
  CHECK(note(model, 3, "retry") == "u:4000");
  CHECK(model.type_name(3) == "reply");
  CHECK(model.invocations[model.invocations_of(3)[0]].end == 7000);
  REQUIRE(model.links.size() == 1);
  CHECK(model.links[0].effect == 3);
  CHECK(model.links[0].cause == 1);
  CHECK(model.type_name(4) == "tick");
  CHECK(model.trigger[4] == 3);
  CHECK(model.counter_samples.size() == 2);
  CHECK(model.text(model.counters[0].name) == "memory.heap");
  CHECK(model.text(model.sources[0].process_name) == "server");
}

TEST_CASE("Chrome's array may be left open; each kind of bad event has its own words") {
  ModelBuilder builder;
  ChromeReader<ModelBuilder> reader(builder);
  CHECK(read_all(reader, R"([{"name":"a","ph":"X","ts":1,"dur":1,"pid":1,"tid":1},)"));
  CHECK(reader.unclosed());
  const auto error = [](const std::string& text) { return Read<ChromeReader>(text).error; };
  CHECK(error("7") == "f: damaged at byte 0, line 1: expected an array of events, or an object with \"traceEvents\"; 0 events before it are good");
  CHECK(error("{}") == "f: damaged at byte 1, line 1: expected \"traceEvents\" in the object; 0 events before it are good");
  CHECK(error("[1]") == "f: damaged at byte 1, line 1: expected an event; 0 events before it are good");
  CHECK(error("[{}]") == "f: damaged at byte 2, line 1: expected \"ph\" in the event; 0 events before it are good");
  CHECK(error(R"([{"ph":"X"}])") == "f: damaged at byte 10, line 1: expected \"ts\" in the event; 0 events before it are good");
  CHECK(error(R"([{"ph":"X","ts":"1"}])") == "f: damaged at byte 16, line 1: expected a number of microseconds; 0 events before it are good");
  CHECK(error(R"([{"ph":"X","ts":-1}])") ==
        "f: damaged at byte 16, line 1: expected a number of microseconds, 0 or more; 0 events before it are good");
  CHECK(error(R"([{"ph":"b","ts":1}])") == "f: damaged at byte 17, line 1: expected \"id\" in the event; 0 events before it are good");
  CHECK(error(R"([{"ph":"b","id":[]}])") ==
        "f: damaged at byte 16, line 1: expected an id: a string or a number; 0 events before it are good");
  CHECK(error(R"([{"pid":1.5}])") == "f: damaged at byte 8, line 1: expected a whole number or a string; 0 events before it are good");
  CHECK(error(R"([{"ph":"X")") == "f: cut off at byte 10, line 1: expected ',' or '}'; 0 events before it are good");
}

// -- Perfetto: bytes put together by hand from the protocol, not by our writer. -------------------------------------------

namespace {

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string number(unsigned field, std::uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(unsigned field, const std::string& content) { return varint(field << 3 | 2) + varint(content.size()) + content; }
std::string fixed(unsigned field, std::uint64_t value) {
  std::string out = varint(field << 3 | 1);
  for (unsigned at = 0; at < 8; ++at) out += static_cast<char>(value >> (8 * at));
  return out;
}
std::string packet(const std::string& content) { return bytes(1, content); }
std::string named(unsigned field, std::uint64_t iid, const std::string& name) { return bytes(field, number(1, iid) + bytes(2, name)); }
std::string event(std::uint64_t sequence, std::uint64_t time, const std::string& content, std::uint64_t flags = 2) {
  return packet(number(8, time) + number(10, sequence) + number(13, flags) + bytes(11, content));
}

using Perfetto = Read<PerfettoPlain>;

/// The policy of the test: what the bytes are, `times` over.
struct Copy {
  int times = 1;
  template <class Out>
  bool operator()(Compression kind, std::span<const std::byte> in, Out&& out) const {
    if (kind != Compression::kDeflate) return false;
    for (int at = 0; at < times; ++at) {
      if (!out(in)) return false;
    }
    return true;
  }
};

/// One that goes on when it was told to stop.
struct GoesOn {
  template <class Out>
  bool operator()(Compression, std::span<const std::byte> in, Out&& out) const {
    const std::string large(20'000, '\0');
    static_cast<void>(out(std::as_bytes(std::span(large.data(), large.size()))));
    static_cast<void>(out(in));
    return true;
  }
};

}  // namespace

TEST_CASE("somebody else's Perfetto trace: clocks, interning, defaults, nesting, flows, whatever the packets' order") {
  std::string dictionary = named(2, 1, "work") + named(1, 1, "cat") + named(3, 1, "k") + named(5, 1, "fn") + named(18, 1, "a.cc");
  dictionary += bytes(6, number(1, 1) + number(2, 1) + number(5, 1) + number(6, 9)) + bytes(7, number(1, 1) + number(2, 1));
  std::string file;
  // The thread's descriptor comes last, the clock of the third event later than the event.
  file += packet(number(10, 7) + bytes(6, bytes(1, number(1, 64) + number(2, 900) + number(3, 1)) + bytes(1, number(1, 6) + number(2, 1000))));
  file += packet(number(10, 7) + number(13, 1) + bytes(59, number(58, 64) + bytes(11, number(11, 2))) + bytes(12, dictionary));
  const std::string nested = bytes(11, bytes(10, "x") + number(3, 5)) + bytes(11, bytes(10, "y") + bytes(12, bytes(6, "e0")) + bytes(12, number(2, 1)));
  file += event(7, 100, number(9, 1) + number(10, 1) + number(3, 1) + number(56, 1) + fixed(47, 77) + bytes(4, number(1, 1) + nested));  // 1100
  file += event(7, 50, number(9, 1) + number(11, 3) + bytes(23, "fetch") + fixed(47, 77));                                              // 1150
  file += event(7, 10, number(9, 3) + bytes(23, "instant"));                                                                           // 1160
  file += event(7, 1, number(9, 4) + number(11, 4) + number(30, 4096));                                                                // 1161
  file += event(7, 20, number(9, 2));                                                                                                  // 1181
  file += event(7, 20, number(9, 2) + number(11, 3));                                                                                  // 1201
  // Written later, and earlier in time: by another clock, on another sequence, without interning.
  file += packet(number(8, 700) + number(58, 128) + number(10, 8) + bytes(11, number(9, 1) + number(11, 2) + bytes(22, "c2") + bytes(23, "early")));
  file += packet(number(8, 705) + number(58, 128) + number(10, 8) + bytes(11, number(9, 2) + number(11, 2)));
  file += packet(bytes(6, bytes(1, number(1, 128) + number(2, 710)) + bytes(1, number(1, 6) + number(2, 1090))));
  file += packet(bytes(60, number(1, 2) + bytes(4, number(1, 10) + number(2, 11) + bytes(5, "main"))));
  file += packet(bytes(60, number(1, 1) + bytes(3, number(1, 10) + bytes(6, "proc"))));
  file += packet(bytes(60, number(1, 3) + number(5, 1) + bytes(2, "async")));
  file += packet(bytes(60, number(1, 4) + number(5, 2) + bytes(2, "heap") + bytes(8, number(3, 3))));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, std::size_t{1} << 16}) {
    const Perfetto read(file, piece);
    REQUIRE(read.error.empty());
    const TraceModel& model = read.model;
    REQUIRE(model.resources() == 4);
    CHECK(model.type_name(0) == "early");
    CHECK(model.created[0] == 1080);
    CHECK(model.invocations[model.invocations_of(0)[0]].end == 1085);
    CHECK(note(model, 1, "category") == "s:c2");
    CHECK(model.type_name(1) == "work");
    CHECK(model.created[1] == 1100);
    REQUIRE(model.invocations_of(1).size() == 1);
    CHECK(model.invocations[model.invocations_of(1)[0]].end == 1181);
    CHECK(model.text(model.lanes[model.created_lane[1]].name) == "main");
    CHECK(model.lanes[model.created_lane[1]].thread_id == 11);
    CHECK(note(model, 2, "k.x") == "u:5");
    CHECK(note(model, 2, "k.y[0]") == "s:e0");
    CHECK(note(model, 2, "k.y[1]") == "true");
    REQUIRE(model.stack[1] != TraceModel::kNone);
    CHECK(model.text(model.frames[model.frames_of(model.stack[1])[0]].function) == "fn");
    CHECK(model.frames[model.frames_of(model.stack[1])[0]].line == 9);
    CHECK(model.type_name(2) == "fetch");
    CHECK(model.trigger[2] == 1);  // by the flow
    CHECK(model.links.empty());
    CHECK(model.settled[2] == 1201);
    CHECK(model.invocations_of(2).empty());
    CHECK(model.type_name(3) == "instant");
    CHECK(model.trigger[3] == 1);  // inside of work
    REQUIRE(model.counter_samples.size() == 1);
    CHECK(model.counter_samples[0].bits == 4096);
    CHECK(model.text(model.counters[0].unit) == "bytes");
    CHECK(model.text(model.sources[0].process_name) == "proc");
  }
}

TEST_CASE("packets that need what was lost are counted, and those that do not are read") {
  std::string file = event(5, 1, number(9, 1) + number(10, 1) + number(11, 9));      // before anything was defined
  file += event(5, 2, number(9, 3) + bytes(23, "in full") + number(11, 9), 0);       // needs nothing
  file += packet(number(10, 5) + number(13, 1) + bytes(12, named(2, 1, "name")));
  file += event(5, 3, number(9, 3) + number(10, 1) + number(11, 9));
  file += packet(number(10, 5) + number(42, 1));                                     // a loss
  file += event(5, 4, number(9, 3) + number(10, 1) + number(11, 9));
  ModelBuilder builder;
  PerfettoReader<ModelBuilder> reader(builder);
  CHECK(read_all(reader, file));
  CHECK(reader.packets_unreadable() == 2);
  const TraceModel model = builder.build();
  REQUIRE(model.resources() == 2);
  CHECK(model.type_name(0) == "in full");
  CHECK(model.type_name(1) == "name");
}

TEST_CASE("compressed packets are inflated by the policy; a bomb is damage; without a policy they are counted") {
  const std::string inner = event(5, 1, number(9, 3) + bytes(23, "inside") + number(11, 9), 0);
  const std::string file = packet(bytes(50, inner)) + packet(bytes(133, inner));
  ModelBuilder builder;
  PerfettoReader<ModelBuilder, Copy> reader(builder);
  CHECK(read_all(reader, file));
  CHECK(reader.compressed_skipped() == 1);
  CHECK(builder.build().resources() == 1);
  PerfettoReader<ModelBuilder> plain(builder);
  CHECK(read_all(plain, file));
  CHECK(plain.compressed_skipped() == 2);
  PerfettoReaderOptions options;
  options.max_inflated_bytes = 10'000;
  PerfettoReader<ModelBuilder, Copy> bombed(builder, options, Copy{1'000'000});
  CHECK_FALSE(read_all(bombed, file));
  CHECK(describe(bombed.damage(), "f", bombed.events()) ==
        "f: damaged at byte 2: expected compressed packets that become fewer bytes; 0 events before it are good");
}

TEST_CASE("a policy that goes on after a run has become too large is refused all the same") {
  PerfettoReaderOptions options;
  options.max_inflated_bytes = 10'000;
  ModelBuilder builder;
  PerfettoReader<ModelBuilder, GoesOn> reader(builder, options);
  CHECK_FALSE(read_all(reader, packet(bytes(50, event(5, 1, number(9, 3) + bytes(23, "inside") + number(11, 9), 0)))));
}

TEST_CASE("others' events beyond what may be held are handed over in order, and what comes too late is counted") {
  std::string file;
  for (std::uint64_t n = 0; n < 100; ++n) file += event(5, 1000 + n, number(9, 3) + bytes(23, "tick") + number(11, 9), 0);
  file += event(5, 1, number(9, 3) + bytes(23, "too late") + number(11, 9), 0);
  ModelBuilder builder;
  PerfettoReaderOptions options;
  options.max_held = 16;
  PerfettoReader<ModelBuilder> reader(builder, options);
  CHECK(read_all(reader, file));
  CHECK(reader.disordered() == 1);
  CHECK(builder.build().resources() == 101);
}

TEST_CASE("each trace of a joined file defines the stacks that its events bear, whoever wrote between, and whoever numbers alike") {
  // Who created what where, and nothing that was said in another trace.
  struct Origins : IgnoringSink {
    std::map<StackId, std::string> known;
    std::vector<std::string> lines;
    void begin(const TraceInfo&) {
      known.clear();
      lines.push_back("begin");
    }
    void define_stack(const StackInfo& stack) { CHECK(known.emplace(stack.id, stack.frames[0].function).second); }
    void take(std::span<const TraceEvent> events) {
      for (const TraceEvent& event : events) {
        if (event.kind == EventKind::kCreated) lines.push_back(known.count(event.stack) == 0 ? "unknown" : known[event.stack]);
      }
    }
  };
  const auto stack = [](std::uint64_t iid, const std::string& function) {
    return named(5, iid, function) + bytes(6, number(1, iid) + number(2, iid)) + bytes(7, number(1, iid) + number(2, iid));
  };
  const auto dictionary = [](std::uint64_t sequence, const std::string& content, std::uint64_t flags) {
    return packet(number(10, sequence) + number(13, flags) + bytes(12, content));
  };
  // Ours, known by the announcement of its lane: an instant of category "thence" with the keys lane and name.
  std::string file = dictionary(1, named(1, 1, "thence") + named(2, 1, "thence.lane") + stack(3, "ours"), 1);
  file += event(1, 90, number(9, 3) + number(3, 1) + number(10, 1) + number(11, 5) + number(1003, 1) + bytes(1035, "loop"));
  const auto created = [](std::uint64_t id, std::uint64_t callstack) {
    return event(1, 100 + id, number(9, 1) + bytes(23, "fetch") + number(11, 600 + id) + number(52, id) + number(56, callstack));
  };
  const auto their_instant = [](std::uint64_t time) { return event(77, time, number(9, 3) + number(11, 9) + bytes(23, "x") + number(56, 3)); };
  file += created(1, 3);
  file += dictionary(77, stack(3, "theirs"), 1);
  for (std::uint64_t n = 0; n < 3; ++n) file += their_instant(200 + n);  // the third makes the first be handed over
  file += dictionary(1, stack(4, "ours, later"), 2);
  file += created(2, 3) + created(3, 4);
  PerfettoReaderOptions options;
  options.max_held = 2;
  Origins origins;
  PerfettoReader<Origins> reader(origins, options);
  CHECK(read_all(reader, file));
  CHECK(origins.lines ==
        std::vector<std::string>{"begin", "ours", "begin", "theirs", "begin", "ours", "ours, later", "begin", "theirs", "theirs"});
}

TEST_CASE("a sequence that another writes on after one of ours is theirs") {
  std::string file = packet(number(10, 2) + number(13, 1) + bytes(12, named(1, 1, "thence") + named(2, 1, "thence.lane")));
  file += event(2, 90, number(9, 3) + number(3, 1) + number(10, 1) + number(11, 5) + number(1003, 1) + bytes(1035, "loop"));
  file += packet(number(10, 2) + number(13, 1) + bytes(12, named(2, 7, "theirs")));
  file += event(2, 200, number(9, 1) + number(10, 7) + number(11, 600)) + event(2, 300, number(9, 2) + number(11, 600));
  ModelBuilder builder;
  PerfettoReader<ModelBuilder> reader(builder);
  CHECK(read_all(reader, file));
  const TraceModel model = builder.build();
  REQUIRE(model.resources() == 1);
  CHECK(model.type_name(0) == "theirs");
}

TEST_CASE("a counter that bears no value is no sample of 0: it is counted") {
  const std::string file = event(5, 1, number(9, 4) + number(11, 9), 0) + event(5, 2, number(9, 4) + number(11, 9) + number(30, 7), 0);
  ModelBuilder builder;
  PerfettoReader<ModelBuilder> reader(builder);
  CHECK(read_all(reader, file));
  CHECK(reader.events_skipped() == 1);
  const TraceModel model = builder.build();
  REQUIRE(model.counter_samples.size() == 1);
  CHECK(model.counter_samples[0].bits == 7);

  // What rides on it is a sample of another track.
  const Perfetto riding(event(5, 1, number(9, 4) + number(11, 9) + number(31, 8) + number(12, 3), 0));
  REQUIRE(riding.model.counter_samples.size() == 1);
  CHECK(riding.model.counter_samples[0].bits == 3);
}

TEST_CASE("an iid of 0 names nothing, also beside large ones") {
  perfetto::IidTable<int> table;
  table.set(std::uint64_t{1} << 40, 7);
  CHECK(table.find(0) == nullptr);
  CHECK(*table.find(std::uint64_t{1} << 40) == 7);
}

TEST_CASE("a trace without an event still tells its clocks") {
  struct Clocks : IgnoringSink {
    std::vector<std::uint64_t> boottimes;
    void synchronise(const ClockSnapshot& clocks) { boottimes.push_back(clocks.boottime); }
  } sink;
  PerfettoReader<Clocks> reader(sink);
  CHECK(read_all(reader, packet(bytes(6, bytes(1, number(1, 6) + number(2, 1090)) + bytes(1, number(1, 1) + number(2, 5))))));
  CHECK(sink.boottimes == std::vector<std::uint64_t>{1090});
}

TEST_CASE("each kind of bad Perfetto trace has its own words") {
  const auto error = [](const std::string& text) { return Perfetto(text).error; };
  const std::string good = event(5, 1, number(9, 3) + bytes(23, "x") + number(11, 9), 0);
  CHECK(error("").empty());
  CHECK(error(good).empty());
  CHECK(error("not a trace") == "f: damaged at byte 0: expected a packet; 0 events before it are good");
  CHECK(error(good + "\n\x05" "abc") == "f: cut off at byte 23: expected the rest of a packet; 2 events before it are good");
  CHECK(error(good + "\n\xff\xff\xff\xff\x7f") == "f: damaged at byte 18: expected a shorter packet; 2 events before it are good");
  CHECK(error(good + std::string(1, '\0')) == "f: damaged at byte 18: expected a packet; 2 events before it are good");
  CHECK(error("\n" + std::string(11, '\xff')) == "f: damaged at byte 1: expected another byte of a varint; 0 events before it are good");
  // A field of another kind on top, its number cut by the pieces: passed over, whole.
  const std::string other = varint(std::uint64_t{1} << 31) + varint(~std::uint64_t{0});
  CHECK(error(other + good).empty());
  CHECK(Perfetto(other + good, 1).error.empty());
  CHECK(Perfetto(other + good, 7).error.empty());
  CHECK(error(packet("\x40")) == "f: damaged at byte 3: expected another byte of a varint; 0 events before it are good");
  CHECK(error(packet("\x5a\x05" "x")) == "f: damaged at byte 3: expected a length within its message; 0 events before it are good");
  CHECK(error(packet("\x0f")) == "f: damaged at byte 2: expected a wire type that is in use; 0 events before it are good");
  CHECK(error(packet(number(8, 1) + number(10, 5) + bytes(11, "\x48"))) ==
        "f: damaged at byte 2: expected another byte of a varint; 0 events before it are good");
}

TEST_CASE("a chain of two hundred thousand resources is read and normalised without recursion") {
  std::string text = R"({"requestDurationNs":9,"resources":[)" + kResource;
  for (int id = 2; id <= 200'000; ++id) {
    text += ",{\"asyncId\":" + std::to_string(id) + ",\"triggerId\":" + std::to_string(id - 1) +
            ",\"type\":\"js-promise\",\"stackTraceId\":0,\"createdAt\":" + std::to_string(id) +
            ",\"callbackStartedAt\":0,\"callbackEndedAt\":0,\"destroyedAt\":0}";
  }
  text += "]}";
  const Read<AsyncTraceReader> read(text);
  REQUIRE(read.error.empty());
  const Normalised normal = normalise(read.model);
  CHECK(normal.parent.back() == 199'998);
}
