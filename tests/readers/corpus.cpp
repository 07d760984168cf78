// SPDX-License-Identifier: MIT
// corpus.cpp: reads files and writes what came of them, for Python to judge (corpus.py): a program with no opinion.
//   corpus json IN OUT       async-trace JSON -> model -> JSON
//   corpus json-twice IN OUT the same, read back and written once more
//   corpus tokio IN OUT      Tokio JSONL -> model -> counts and sums as JSON; -> pftrace -> model: must be equal
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "model/dump.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/replay.hpp"
#include "thence/wire/byte_sink.hpp"

namespace {

using namespace thence;

std::string contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

struct OneDocument {
  struct Sink {
    std::string* out;
    bool write(std::span<const std::byte> bytes) {
      out->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return true;
    }
  };
  std::string text;
  int documents = 0;
  Sink open(RootId, std::uint64_t) {
    ++documents;
    return {&text};
  }
};

TraceModel read_json(const std::string& text, const char* name) {
  ModelBuilder builder;
  AsyncTraceReader<ModelBuilder> reader(builder);
  if (!read_all(reader, text)) fail(describe(reader.damage(), name, reader.events()));
  return builder.build();
}
std::string write_json(const TraceModel& model) {
  OneDocument document;
  JsonEncoder<OneDocument> encoder(document);
  replay(model, encoder);
  if (document.documents != 1) fail("not one document");
  return document.text;
}

void write_file(const char* path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
}

std::string tokio_summary(const TraceModel& model) {
  std::string out = "{\"resources\":{";
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    std::uint64_t busy = 0, first = 0;
    for (const std::uint32_t at : model.invocations_of(row)) {
      const auto& invocation = model.invocations[at];
      if (first == 0) first = invocation.start;
      busy += invocation.end - invocation.start;
    }
    std::string frame;
    if (model.stack[row] != TraceModel::kNone) {
      for (const std::uint32_t at : model.frames_of(model.stack[row])) {
        frame = std::string(model.text(model.frames[at].file)) + ":" + std::to_string(model.frames[at].line) + ":" +
                std::to_string(model.frames[at].column);
      }
    }
    out += (row == 0 ? "\"" : ",\"") + std::to_string(model.id[row]) + "\":{\"created\":" +
           std::to_string(model.has(row, ResourceFlag::kCreated) ? model.created[row] : 0) + ",\"destroyed\":" +
           std::to_string(model.has(row, ResourceFlag::kDestroyed) ? model.destroyed[row] : 0) + ",\"polls\":" +
           std::to_string(model.invocations_of(row).size()) + ",\"busy\":" + std::to_string(busy) + ",\"first\":" +
           std::to_string(first) + ",\"wakes\":" + std::to_string(model.wakes_by_resource[row].size()) + ",\"loc\":\"" + frame + "\"}";
  }
  out += "},\"lanes\":{";
  for (std::uint32_t lane = 0; lane < model.lanes.size(); ++lane) {
    std::uint64_t parks = 0;
    for (const auto& event : model.lane_events) parks += event.lane == lane && event.kind == EventKind::kParked ? 1 : 0;
    out += (lane == 0 ? "\"" : ",\"") + std::string(model.text(model.lanes[lane].name)) + "\":{\"polls\":" +
           std::to_string(model.invocations_by_lane[lane].size()) + ",\"parks\":" + std::to_string(parks) + ",\"tid\":" +
           std::to_string(model.lanes[lane].thread_id) + "}";
  }
  std::uint64_t scheduling_delay = 0, depth = 0, off = 0, frames = 0, on_task = 0;
  for (const auto& invocation : model.invocations) {
    if (invocation.wake != TraceModel::kNone) scheduling_delay += invocation.start - model.wakes[invocation.wake].time;
  }
  for (const auto& sample : model.counter_samples) {
    if (model.text(model.counters[sample.counter].name) == "queue depth") depth += sample.bits;
  }
  for (const auto& sample : model.samples) {
    off += sample.kind == SampleKind::kOffCpu ? 1 : 0;
    frames += model.frames_of(sample.stack).size();
    on_task += sample.resource != TraceModel::kNone ? 1 : 0;
  }
  out += "},\"wakes\":" + std::to_string(model.wakes.size()) + ",\"samples\":" + std::to_string(model.samples.size()) +
         ",\"off\":" + std::to_string(off) + ",\"frames\":" + std::to_string(frames) + ",\"onTask\":" + std::to_string(on_task) +
         ",\"queue\":" + std::to_string(depth) + ",\"delay\":" + std::to_string(scheduling_delay) + ",\"clocks\":" +
         std::to_string(model.clocks.size()) + "}";
  return out;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) fail("corpus json|json-twice|tokio IN OUT");
  const std::string what = arguments[1];
  const std::string text = contents(arguments[2]);
  if (what == "json") {
    write_file(arguments[3], write_json(read_json(text, arguments[2])));
  } else if (what == "json-twice") {
    const std::string once = write_json(read_json(text, arguments[2]));
    const TraceModel model = read_json(once, "what was written");
    write_file(arguments[3], write_json(model));
    // And through a .pftrace: nothing is lost there either.
    BufferSink bytes;
    PerfettoEncoder<BufferSink> encoder(bytes);
    replay(model, encoder);
    ModelBuilder builder;
    PerfettoReader<ModelBuilder> reader(builder);
    if (!read_all(reader, bytes.bytes())) fail(describe(reader.damage(), "pftrace", reader.events()));
    const std::string lost = thence_test::difference(thence_test::dump(model), thence_test::dump(builder.build()));
    if (!lost.empty()) fail("JSON -> model -> pftrace -> model:\n" + lost);
  } else {
    ModelBuilder builder;
    TokioReader<ModelBuilder> reader(builder);
    if (!read_all(reader, text)) fail(describe(reader.damage(), arguments[2], reader.events()));
    const TraceModel model = builder.build();
    write_file(arguments[3], tokio_summary(model));
    BufferSink bytes;
    PerfettoEncoder<BufferSink> encoder(bytes);
    replay(model, encoder);
    ModelBuilder again;
    PerfettoReader<ModelBuilder> back(again);
    if (!read_all(back, bytes.bytes())) fail(describe(back.damage(), "pftrace", back.events()));
    const std::string lost = thence_test::difference(thence_test::dump(model), thence_test::dump(again.build()));
    if (!lost.empty()) fail("JSONL -> model -> pftrace -> model:\n" + lost);
    std::printf("%llu events of %zu bytes JSONL: %zu bytes pftrace\n", static_cast<unsigned long long>(reader.events()), text.size(),
                bytes.bytes().size());
  }
  return 0;
}
