// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

#include "support/catch.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"

using namespace thence;

namespace {

struct Throwing {
  int calls = 0;
  bool write(std::span<const std::byte>) {
    ++calls;
    throw std::runtime_error("disk");
  }
};

}  // namespace

TEST_CASE("a sink that throws has failed: it is asked once, and what it does not get is counted and not kept") {
  Throwing sink;
  PerfettoWriterOptions options;
  options.chunk_bytes = 256;
  const bool compresses = GENERATE(false, true);
  if (compresses) {
    options.compress = [](View<const std::byte>, ByteBuffer&) { return false; };
    options.compress_bytes = 256;
  }
  PerfettoWriter<Throwing> writer{sink, options};
  auto& sequence = writer.open_sequence(7);
  const std::uint32_t name = writer.intern_name("name");
  int thrown = 0;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    try {
      writer.prepare(sequence);
      auto event = writer.event(sequence, 1000 + n, 1);
      event.name(name);
      event.end();
    } catch (const std::runtime_error&) {
      ++thrown;
    }
    CHECK(writer.waiting() < 256 + 1024);
  }
  CHECK(thrown == 1);
  CHECK(sink.calls == 1);
  CHECK(writer.failed());
  CHECK_FALSE(writer.flush(true));
}

#ifndef __SANITIZE_ADDRESS__  // which ends the program where so much memory is asked for
TEST_CASE("a buffer that no machine has is refused when the writer is made") {
  Throwing sink;
  PerfettoWriterOptions options;
  options.chunk_bytes = ~std::size_t{0};
  CHECK_THROWS(PerfettoWriter<Throwing>{sink, options});
}
#endif
