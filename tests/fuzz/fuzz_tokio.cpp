// SPDX-License-Identifier: MIT
// fuzz_tokio.cpp: the reader of Tokio telemetry, the model of what it reads, and that model's replay.
#include "fuzz/fuzz_reader.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thence_test::fuzz_reader<thence::TokioReader<thence::ModelBuilder>>(data, size);
  return 0;
}
