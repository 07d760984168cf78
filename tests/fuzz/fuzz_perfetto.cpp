// SPDX-License-Identifier: MIT
// fuzz_perfetto.cpp: the reader of Perfetto traces, the model of what it reads, and that model's replay.
#include "fuzz/fuzz_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thence_test::fuzz_reader<thence::PerfettoReader<thence::ModelBuilder>>(data, size);
  return 0;
}
