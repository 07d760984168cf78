// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>

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

TEST_CASE("a packet that cannot be filled is taken back, and what comes after it is whole") {
  for (const std::size_t fits : {10u, 100'000u}) {  // with room, and where the buffer has moved
    BufferSink sink;
    PerfettoWriter<BufferSink> writer{sink, {}};
    BufferSink plain_sink;
    PerfettoWriter<BufferSink> plain{plain_sink, {}};
    auto& sequence = writer.open_sequence(7);
    auto& plain_sequence = plain.open_sequence(7);
    writer.prepare(sequence);
    plain.prepare(plain_sequence);
    const std::string text(fits, 't');
    CHECK_THROWS_AS(writer.packet(sequence, [&](ProtobufWriter& packet) {
      packet.string(perfetto::trace_packet::kTrackEvent, text);
      throw std::bad_alloc();
    }), std::bad_alloc);
    for (std::uint64_t time = 0; time != 100'000; ++time) {
      writer.prepare(sequence);
      writer.event(sequence, time, 1, 5).end();
      plain.prepare(plain_sequence);
      plain.event(plain_sequence, time, 1, 5).end();
    }
    CHECK(writer.waiting() < 1'000'000);
    writer.flush();
    plain.flush();
    const auto bytes = sink.bytes(), plain_bytes = plain_sink.bytes();
    CHECK(std::equal(bytes.begin(), bytes.end(), plain_bytes.begin(), plain_bytes.end()));
  }
}

#ifndef __SANITIZE_ADDRESS__  // which ends the program where so much memory is asked for
TEST_CASE("a buffer that no machine has is refused when the writer is made") {
  Throwing sink;
  PerfettoWriterOptions options;
  options.chunk_bytes = ~std::size_t{0};
  CHECK_THROWS(PerfettoWriter<Throwing>{sink, options});
}
#endif
