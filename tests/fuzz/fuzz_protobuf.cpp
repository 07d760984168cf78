// SPDX-License-Identifier: MIT
// fuzz_protobuf.cpp: the protobuf pull reader: nothing outside of the bytes is read, whatever they are.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "thence/wire/protobuf_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::span<const std::byte>> messages{std::as_bytes(std::span(data, size))};
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < messages.size() && at < 10'000; ++at) {
    thence::ProtobufReader reader{messages[at]};
    while (reader.next()) {
      sum += reader.varint() + static_cast<std::uint64_t>(reader.field());
      for (const std::byte byte : reader.bytes()) sum += static_cast<std::uint64_t>(byte);
      if (reader.offset() > messages[at].size()) std::abort();
      if (reader.is(thence::WireType::kBytes)) messages.push_back(reader.bytes());
    }
    if (reader.damaged() && (reader.expected().empty() || reader.offset() > messages[at].size())) std::abort();
  }
  return sum == 42 ? 1 : 0;
}
