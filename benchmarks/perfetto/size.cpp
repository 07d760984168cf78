// SPDX-License-Identifier: MIT
// size.cpp: how many bytes an event takes in a .pftrace, and what compressing it (zlib, level 6) costs.
//   benchmark_perfetto_size                     requests of a server, made
//   benchmark_perfetto_size demo.jsonl [out]    Tokio telemetry; with `out` the files are kept as out-*.pftrace
// An event is a record, or a line of the input. All of the file counts: descriptors, names, stacks, clocks, the summary.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/figures.hpp"
#include "support/processor_time.hpp"
#include "support/served_requests.hpp"
#include "support/zlib_policies.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"

using namespace thence;

namespace {

/// Counts what it is handed.
struct CountingSink : IgnoringSink {
  void take(std::span<const TraceEvent> taken) { events += static_cast<double>(taken.size()); }
  double events = 0;
};

/// One run of `feed` into an encoder; its bytes are in `out`.
template <class Feed>
double encode(Feed feed, bool flows, bool compressed, BufferSink& out) {
  PerfettoOptions options;
  options.flows = flows;
  if (compressed) options.writer.compress = thence_test::zlib_compress;
  out.clear();
  return thence_bench::seconds_of([&] {
    PerfettoEncoder<BufferSink> encoder(out, options);
    feed(encoder);
  });
}

template <class Feed>
void measure(thence_bench::Figures& figures, const char* made, double events, Feed feed, const char* keep) {
  constexpr int kRounds = 3;
  for (const bool flows : {false, true}) {
    std::vector<double> source, plain, packed;
    BufferSink plain_bytes, packed_bytes;
    for (int round = 0; round < kRounds; ++round) {
      const auto add = [&](std::vector<double>& times, double seconds) { times.push_back(seconds / events * 1e9); };
      add(source, thence_bench::seconds_of([&] {
            CountingSink nothing;
            feed(nothing);
          }));
      add(plain, encode(feed, flows, false, plain_bytes));
      add(packed, encode(feed, flows, true, packed_bytes));
    }
    const std::string name = flows ? "size, an event/flows on" : "size, an event/flows off";
    const auto each = [&](const BufferSink& bytes) { return static_cast<double>(bytes.bytes().size()) / events; };
    figures.add(name, plain, made, source, each(plain_bytes));
    figures.add(name + ", compressed", packed, "not compressed", plain, each(packed_bytes));
    if (keep == nullptr) continue;
    for (const BufferSink* bytes : {&plain_bytes, &packed_bytes}) {
      std::ofstream out(std::string(keep) + (flows ? "-flows" : "-plain") + (bytes == &plain_bytes ? "" : "-compressed") + ".pftrace",
                        std::ios::binary);
      out.write(bytes->text().data(), static_cast<std::streamsize>(bytes->text().size()));
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::Figures figures(count, arguments);
  if (count < 2) {
    constexpr std::uint64_t kResources = 100'000;
    CountingSink counted;
    thence_bench::serve(counted, kResources);
    measure(figures, "making the events", counted.events, [](auto& sink) { thence_bench::serve(sink, kResources); }, nullptr);
    return 0;
  }
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string input{std::istreambuf_iterator<char>(file), {}};
  const auto lines = static_cast<double>(std::count(input.begin(), input.end(), '\n'));
  if (lines == 0) {
    std::fprintf(stderr, "%s: cannot be read, or has no lines\n", arguments[1]);
    return 2;
  }
  measure(figures, "reading its lines", lines, [&](auto& sink) {
    TokioReader reader(sink);
    if (read_all(reader, input)) return;
    std::fprintf(stderr, "%s: %s\n", arguments[1], describe(reader.damage(), "jsonl", reader.events()).c_str());
    std::exit(1);
  }, count > 2 ? arguments[2] : nullptr);
  return 0;
}
