// SPDX-License-Identifier: MIT
// size.cpp: how many bytes an event takes in a .pftrace.
//   benchmark_perfetto_size demo.jsonl [out]      Tokio telemetry, not compressed; with `out` the files are kept as out-*.pftrace
// An event is a line of the input. All of the file counts: descriptors, names, stacks, clocks, the summary.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "support/zlib_policies.hpp"
#include "thence/formats/perfetto/perfetto_sink.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"

using namespace thence;

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "benchmark_perfetto_size demo.jsonl [out]\n");
    return 2;
  }
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string input{std::istreambuf_iterator<char>(file), {}};
  const auto lines = static_cast<double>(std::count(input.begin(), input.end(), '\n'));
  if (lines == 0) {
    std::fprintf(stderr, "%s: cannot be read, or has no lines\n", arguments[1]);
    return 2;
  }
  std::printf("%.0f events\n", lines);
  struct Kind {
    const char* name;
    bool flows;
    bool compressed;
    double target;
  };
  for (const Kind& kind : {Kind{"plain", false, false, 18}, Kind{"plain-compressed", false, true, 5.5},
                           Kind{"flows", true, false, 26}, Kind{"flows-compressed", true, true, 7}}) {
    BufferSink bytes;
    PerfettoOptions options;
    options.flows = kind.flows;
    if (kind.compressed) options.writer.compress = thence_test::zlib_compress;
    PerfettoEncoder<BufferSink> encoder(bytes, options);
    TokioReader<PerfettoEncoder<BufferSink>> reader(encoder);
    if (!read_all(reader, input)) {
      std::fprintf(stderr, "%s: %s\n", arguments[1], describe(reader.damage(), "jsonl", reader.events()).c_str());
      return 1;
    }
    const double each = static_cast<double>(bytes.bytes().size()) / lines;
    std::printf("%-18s %9zu bytes  %6.2f an event (target %.1f)  %.0f packets\n", kind.name, bytes.bytes().size(), each,
                kind.target, static_cast<double>(encoder.packets()));
    if (count > 2) {
      std::ofstream out(std::string(arguments[2]) + "-" + kind.name + ".pftrace", std::ios::binary);
      out.write(bytes.text().data(), static_cast<std::streamsize>(bytes.text().size()));
    }
  }
  return 0;
}
