// SPDX-License-Identifier: MIT
// reading.cpp: how fast traces are read into a model, on one core, from memory.
//   benchmark_reading [resources]           default 1,000,000
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "support/figures.hpp"
#include "support/processor_time.hpp"
#include "support/served_requests.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/model/model_builder.hpp"

namespace {

using namespace thence;

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

/// A pass over `bytes`: no reader is faster.
void pass_over(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0, word = 0;
  for (std::size_t at = 0; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    sum += word;
  }
  asm volatile("" : : "r"(sum));
}

/// A pass over the bytes, a reader alone, and a reader into a model, in turns. `reader_into(sink)` makes the reader.
void measure(thence_bench::Figures& figures, const std::string& name, std::span<const std::byte> bytes, std::uint64_t resources,
             auto reader_into) {
  constexpr int kRounds = 5;
  const auto each = [&](auto&& work) { return thence_bench::seconds_of(work) / static_cast<double>(resources) * 1e9; };
  std::vector<double> passed, read, built;
  for (int round = 0; round < kRounds; ++round) {
    passed.push_back(each([&] { pass_over(bytes); }));
    read.push_back(each([&] {
      IgnoringSink nothing;
      auto reader = reader_into(nothing);
      if (!read_all(reader, bytes)) std::abort();
    }));
    built.push_back(each([&] {
      ModelBuilder builder;
      auto reader = reader_into(builder);
      if (!read_all(reader, bytes) || builder.build().resources() != resources) std::abort();
    }));
  }
  const double size = static_cast<double>(bytes.size()) / static_cast<double>(resources);
  figures.add("reading, a resource/" + name + ": the reader", read, "a pass over the bytes", passed, size);
  figures.add("reading, a resource/" + name + ": into a model", built, "the reader", read, size);
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::Figures figures(count, arguments);
  const std::uint64_t resources = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1'000'000;
  for (const bool flows : {false, true}) {
    BufferSink file;
    PerfettoOptions options;
    options.flows = flows;
    PerfettoEncoder<BufferSink> encoder(file, options);
    thence_bench::serve(encoder, resources);
    measure(figures, flows ? ".pftrace with flows" : ".pftrace without flows", file.bytes(), resources,
            []<class Sink>(Sink& sink) { return PerfettoReader<Sink>(sink); });
  }
  const std::string json = plain_json(resources);
  measure(figures, "JSON", std::as_bytes(std::span(json)), resources,
          []<class Sink>(Sink& sink) { return AsyncTraceReader<Sink>(sink); });
  return 0;
}
