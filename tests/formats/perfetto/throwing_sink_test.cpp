// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

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

TEST_CASE("a compressor that throws loses nothing: what it was given goes out as it is, and it is not asked again") {
  static int asked = 0;
  asked = 0;
  BufferSink sink, plain_sink;
  PerfettoWriterOptions options;
  options.compress = [](View<const std::byte>, ByteBuffer&) -> bool {
    ++asked;
    throw std::runtime_error("compressor");
  };
  options.compress_bytes = 256;
  PerfettoWriter<BufferSink> writer{sink, options}, plain{plain_sink, {}};
  auto &sequence = writer.open_sequence(7), &plain_sequence = plain.open_sequence(7);
  for (std::uint64_t time = 0; time != 1000; ++time) {
    writer.prepare(sequence);
    writer.event(sequence, time, 1, 5).end();
    plain.prepare(plain_sequence);
    plain.event(plain_sequence, time, 1, 5).end();
    CHECK(writer.waiting() < 256 + 1024);
  }
  writer.flush(true);
  plain.flush();
  CHECK(asked == 1);
  CHECK(sink.text() == plain_sink.text());
}

TEST_CASE("behind a packet of any size at which the compressor throws there is room for the next one") {
  for (std::size_t size = 0; size < 20'000; size += 37) {
    BufferSink sink, plain_sink;
    PerfettoWriterOptions options;
    options.compress = [](View<const std::byte>, ByteBuffer&) -> bool { throw std::runtime_error("compressor"); };
    options.compress_bytes = 256;
    const std::string text(size, 't'), name(80, 'n');
    PerfettoWriter<BufferSink> writer{sink, options}, plain{plain_sink, {}};
    for (auto* const each : {&writer, &plain}) {
      auto& sequence = each->open_sequence(7);
      each->prepare(sequence);
      each->packet(sequence, [&](ProtobufWriter& packet) { packet.string(1000, text); });
      each->track_descriptor(sequence, ~std::uint64_t{0}, ~std::uint64_t{0}, name);
      each->flush(true);
    }
    REQUIRE(sink.text() == plain_sink.text());
  }
}

#ifndef __SANITIZE_ADDRESS__  // which ends the program where so much memory is asked for
TEST_CASE("an event that cannot be written leaves the times of those after it as they are") {
  BufferSink sink;
  PerfettoWriter<BufferSink> writer{sink};
  auto& sequence = writer.open_sequence(7);
  const auto write = [&](std::uint64_t time, std::string_view text) {
    writer.prepare(sequence);
    auto event = writer.event(sequence, time, 1, 5);
    event.name_in_full(text);
    event.end();
  };
  write(1000, "first");
  CHECK_THROWS_AS(write(50'000, {"", ~std::size_t{0} / 4}), std::bad_alloc);
  writer.reach(2000);
  write(2000, "second");
  writer.flush();
  // From where the sequence starts anew: its clock, then the event at no distance from it.
  const std::string_view text = sink.text();
  CHECK(text.find("second") != std::string_view::npos);
  const std::string clock = {0x08, 64, 0x10, static_cast<char>(0xd0), 0x0f, 0x18, 1};  // id 64, timestamp 2000, is_incremental
  const std::size_t anew = text.rfind(clock);
  REQUIRE(anew != std::string_view::npos);
  CHECK(text.find(std::string{0x68, 2, 0x40, 0}, anew) != std::string_view::npos);
}

TEST_CASE("a buffer that no machine has is refused when the writer is made") {
  Throwing sink;
  PerfettoWriterOptions options;
  options.chunk_bytes = ~std::size_t{0};
  CHECK_THROWS(PerfettoWriter<Throwing>{sink, options});
}
#endif
