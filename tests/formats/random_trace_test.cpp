// SPDX-License-Identifier: MIT
// Random programs through both encoders: what the files say is what the events said.
//   formats_random             as a test
//   formats_random SEED [STEPS]   one program, its files kept
#include "random_trace.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"

namespace {

using namespace thence_test;

bool run(std::uint64_t seed, int steps, const std::string& directory) {
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  RandomTrace::Options options;
  options.seed = seed;
  options.steps = steps;
  options.lanes = static_cast<unsigned>(1 + seed % 4);
  options.losses = seed % 3 == 0;
  options.late = seed % 2 == 0;
  options.crossings = seed % 5 != 0;
  RandomTrace trace(options);
  trace.write_log(directory + "/events.jsonl");
  {
    TestFile file(directory + "/trace.pftrace");
    PerfettoOptions perfetto;
    if (seed % 4 == 1) perfetto.writer.clear_after_bytes = 700;
    if (seed % 4 == 2) perfetto.max_annotation_bytes = 64;
    if (seed % 7 == 3) perfetto.max_open_resources = 40;
    if (seed % 7 == 4) perfetto.max_depth = 4;
    if (seed % 7 == 5) perfetto.max_pending_exits = 2;
    if (seed % 7 == 6) perfetto.writer.max_keys = seed % 3;
    perfetto.flows = seed % 3 != 1;
    perfetto.track_per_resource = seed % 8 == 5;
    if (seed % 6 >= 4) perfetto.spans = seed % 6 == 4 ? PerfettoSpans::kRequests : PerfettoSpans::kLanes;
    PerfettoEncoder<TestFile> encoder(file, perfetto);
    trace.play(encoder);
    if (encoder.failed() || encoder.malformed() != 0) {
      std::fprintf(stderr, "seed %llu: the Perfetto encoder failed or met %llu malformed events\n",
                   static_cast<unsigned long long>(seed), static_cast<unsigned long long>(encoder.malformed()));
      return false;
    }
  }
  {
    TestDocuments documents{directory};
    JsonOptions json;
    json.write_rootless = true;
    JsonEncoder<TestDocuments> encoder(documents, json);
    trace.play(encoder);
    if (encoder.failures() != 0 || encoder.malformed() != 0) {
      std::fprintf(stderr, "seed %llu: the JSON encoder failed\n", static_cast<unsigned long long>(seed));
      return false;
    }
  }
  const std::string command = std::string(THENCE_PYTHON) + " " + THENCE_SOURCE_DIR "/tests/formats/check_events.py " + directory;
  return std::system(command.c_str()) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string base = std::filesystem::temp_directory_path().string() + "/thence-formats-random-" + std::to_string(::getpid());
  if (argc > 1) {
    const auto seed = static_cast<std::uint64_t>(std::strtoull(argv[1], nullptr, 10));
    const int steps = argc > 2 ? std::atoi(argv[2]) : 3000;
    const std::string directory = argc > 3 ? argv[3] : base;
    const bool good = run(seed, steps, directory);
    std::printf("%s: %s\n", directory.c_str(), good ? "good" : "BAD");
    return good ? 0 : 1;
  }
  int bad = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    const std::string directory = base + "/" + std::to_string(seed);
    if (run(seed, 2000, directory)) {
      std::filesystem::remove_all(directory);
    } else {
      std::fprintf(stderr, "seed %llu: see %s\n", static_cast<unsigned long long>(seed), directory.c_str());
      ++bad;
    }
  }
  if (bad == 0) std::filesystem::remove_all(base);
  return bad == 0 ? 0 : 1;
}
