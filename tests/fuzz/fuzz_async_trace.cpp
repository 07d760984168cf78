// SPDX-License-Identifier: MIT
// fuzz_async_trace.cpp: the reader of async-trace JSON documents, the model of what it reads, and that model's replay.
#include "fuzz/fuzz_reader.hpp"
#include "thence/formats/async_trace/json_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thence_test::fuzz_reader<thence::AsyncTraceReader<thence::ModelBuilder>>(data, size);
  return 0;
}
