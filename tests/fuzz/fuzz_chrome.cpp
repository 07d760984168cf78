// SPDX-License-Identifier: MIT
// fuzz_chrome.cpp: the reader of Chrome trace events, the model of what it reads, and that model's replay.
#include "fuzz/fuzz_reader.hpp"
#include "thence/formats/chrome/json_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thence_test::fuzz_reader<thence::ChromeReader<thence::ModelBuilder>>(data, size);
  return 0;
}
