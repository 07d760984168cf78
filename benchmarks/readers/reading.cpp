// SPDX-License-Identifier: MIT
// reading.cpp: how fast traces are read into a model, on one core.
//   reading [resources]           default 1,000,000
// The trace is that of a server: requests of 50 resources each, of which each is created by the one before it, entered and
// exited once, settled by its own callback and destroyed; 1 in 10 bears an annotation. Everything is read from memory.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/processor_time.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/perfetto/perfetto_sink.hpp"
#include "thence/model/model_builder.hpp"

namespace {

using namespace thence;
using thence_bench::processor_seconds;

template <class Sink>
void server(Sink& sink, std::uint64_t resources) {
  TraceInfo info;
  info.salt = 99;
  info.process_id = 1000;
  info.process_name = "server";
  sink.begin(info);
  sink.define_lane({LaneId{1}, 1000, 1001, "loop"});
  const FrameInfo frame{FrameKind::kScript, "handle", "worker.js", 10, 3, 0, 0, {}};
  sink.define_stack({StackId{1}, std::span<const FrameInfo>(&frame, 1)});
  std::uint64_t time = 1'000'000'000, id = 0;
  std::vector<TraceEvent> batch;
  const Annotation url{"url", Value::of(std::string_view("https://example.com/items"))};
  const auto add = [&](EventKind kind, std::uint64_t resource, std::uint64_t other, std::uint64_t root) -> TraceEvent& {
    batch.push_back({});
    TraceEvent& event = batch.back();
    event.kind = kind;
    event.time = static_cast<Timestamp>(time += 700);
    event.resource = static_cast<ResourceId>(resource);
    event.other = static_cast<ResourceId>(other);
    event.root = static_cast<RootId>(root);
    event.lane = LaneId{1};
    return event;
  };
  for (std::uint64_t root = 1; id < resources; ++root) {
    const std::uint64_t first = id + 1;
    for (unsigned n = 0; n < 50 && id < resources; ++n) {
      const std::uint64_t trigger = n == 0 ? 0 : id;
      TraceEvent& created = add(EventKind::kCreated, ++id, trigger, root);
      created.type = type_id(n == 0 ? ResourceType::kRoot : n % 10 == 5 ? ResourceType::kFetch : ResourceType::kJsPromise);
      created.stack = StackId{1};
      if (n % 10 == 5) add(EventKind::kAnnotated, id, 0, root).annotation = &url;
    }
    for (std::uint64_t at = first; at <= id; ++at) {
      add(EventKind::kEntered, at, 0, root);
      add(EventKind::kSettled, at, at, root).flags = static_cast<std::uint8_t>(Outcome::kFulfilled) | 1 << 4;
      add(EventKind::kExited, at, 0, root);
      add(EventKind::kDestroyed, at, 0, root);
    }
    add(EventKind::kRootFinished, first, 0, root);
    add(EventKind::kRootSealed, 0, 0, root);
    sink.take(batch);
    batch.clear();
  }
  sink.end(TraceSummary{});
}

std::string plain_json(std::uint64_t resources) {
  std::string out = "{\n  \"requestDurationNs\": 900000000000,\n  \"resources\": [\n";
  for (std::uint64_t id = 1; id <= resources; ++id) {
    char line[320];
    std::snprintf(line, sizeof line,
                  "    {\"asyncId\": %llu, \"triggerId\": %llu, \"type\": \"%s\", \"stackTraceId\": %llu, \"createdAt\": %llu, "
                  "\"callbackStartedAt\": %llu, \"callbackEndedAt\": %llu, \"destroyedAt\": 0}%s\n",
                  static_cast<unsigned long long>(id), static_cast<unsigned long long>(id / 3), id == 1 ? "root" : "js-promise",
                  static_cast<unsigned long long>(id % 100), static_cast<unsigned long long>(id * 700),
                  static_cast<unsigned long long>(id * 700 + 40'000), static_cast<unsigned long long>(id * 700 + 41'000),
                  id == resources ? "" : ",");
    out += line;
  }
  return out + "  ],\n  \"stackTraces\": [{\"id\": 0, \"frames\": []}],\n  \"annotations\": []\n}\n";
}

template <class Work>
double best_seconds(Work&& work) {
  double best = 1e9;
  for (int round = 0; round < 3; ++round) {
    const double start = processor_seconds();
    work();
    best = std::min(best, processor_seconds() - start);
  }
  return best;
}
void report(const char* what, std::uint64_t resources, std::size_t bytes, double seconds) {
  std::printf("%-34s %6.2f M resources/s  %7.1f MB/s  (%zu bytes, %.1f a resource)\n", what,
              static_cast<double>(resources) / seconds / 1e6, static_cast<double>(bytes) / seconds / 1e6, bytes,
              static_cast<double>(bytes) / static_cast<double>(resources));
}

}  // namespace

int main(int count, char** arguments) {
  const std::uint64_t resources = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1'000'000;
  for (const bool flows : {false, true}) {
    BufferSink file;
    {
      PerfettoOptions options;
      options.flows = flows;
      PerfettoEncoder<BufferSink> encoder(file, options);
      server(encoder, resources);
    }
    const auto bytes = file.bytes();
    std::printf("flows %s\n", flows ? "on" : "off");
    report("  pftrace, the reader alone", resources, bytes.size(), best_seconds([&] {
             IgnoringSink nothing;
             PerfettoReader<IgnoringSink> reader(nothing);
             if (!read_all(reader, bytes)) std::abort();
           }));
    report("  pftrace into a model", resources, bytes.size(), best_seconds([&] {
             ModelBuilder builder;
             PerfettoReader<ModelBuilder> reader(builder);
             if (!read_all(reader, bytes) || builder.build().resources() != resources) std::abort();
           }));
  }
  const std::string json = plain_json(resources);
  report("JSON, the reader alone", resources, json.size(), best_seconds([&] {
           IgnoringSink nothing;
           AsyncTraceReader<IgnoringSink> reader(nothing);
           if (!read_all(reader, json)) std::abort();
         }));
  report("JSON into a model", resources, json.size(), best_seconds([&] {
           ModelBuilder builder;
           AsyncTraceReader<ModelBuilder> reader(builder);
           if (!read_all(reader, json) || builder.build().resources() != resources) std::abort();
         }));
  return 0;
}
