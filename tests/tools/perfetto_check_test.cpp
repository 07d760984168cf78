// SPDX-License-Identifier: MIT
// `thence check` on packets: each rule is broken once, by packets that are put together field by field.
#include "perfetto_check.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "exporters/made_trace.hpp"
#include "support/catch.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/protobuf_writer.hpp"

using namespace thence;

namespace {

/// A trace of one's own; numbers are those of Perfetto's .proto files.
struct Packets {
  ByteBuffer bytes;
  ProtobufWriter out{bytes};

  void start(std::uint64_t sequence = 7, std::uint64_t dropped = 0) {
    const auto packet = out.message(1);
    out.varint(10, sequence);
    out.varint(13, 1);
    if (dropped != 0) out.varint(42, dropped);
  }
  void track(std::uint64_t uuid, std::uint64_t parent = 0, bool counter = false) {
    const auto packet = out.message(1);
    const auto descriptor = out.message(60);
    out.varint(1, uuid);
    out.string(2, "a track");
    if (parent != 0) out.varint(5, parent);
    if (counter) out.bytes(8, {});
  }
  void clock(std::uint64_t id) {
    const auto packet = out.message(1);
    const auto snapshot = out.message(6);
    const auto one = out.message(1);
    out.varint(1, id);
    out.varint(2, 1000);
  }
  template <class Fill>
  void event(std::uint64_t time, std::uint64_t type, std::uint64_t track, Fill&& fill, std::uint64_t sequence = 7) {
    const auto packet = out.message(1);
    if (time != 0) out.varint(8, time);
    if (sequence != 0) out.varint(10, sequence);
    out.varint(13, 2);
    const auto event = out.message(11);
    out.varint(9, type);
    out.varint(11, track);
    fill(out);
  }
  void event(std::uint64_t time, std::uint64_t type, std::uint64_t track, std::uint64_t sequence = 7) {
    event(time, type, track, [](ProtobufWriter&) {}, sequence);
  }

  [[nodiscard]] std::vector<tool::Promise> broken() const {
    tool::PerfettoCheck check;
    // In pieces, as a file comes.
    for (std::size_t at = 0; at < bytes.size(); at += 5) {
      check.feed(bytes.bytes().subspan(at, std::min<std::size_t>(5, bytes.size() - at)));
    }
    std::vector<tool::Promise> all;
    for (tool::Promise& promise : check.finish()) {
      if (promise.broken != 0) all.push_back(std::move(promise));
    }
    return all;
  }
};

std::string told(const Packets& packets) {
  std::string all;
  for (const tool::Promise& promise : packets.broken()) all += promise.name + ": " + promise.first + "\n";
  return all;
}

constexpr std::uint64_t kBegin = 1, kEnd = 2, kInstant = 3, kCounter = 4;

}  // namespace

TEST_CASE("what our own encoder writes keeps all rules, also by chance and with losses") {
  for (std::uint32_t seed = 1; seed <= 8; ++seed) {
    BufferSink out;
    PerfettoOptions options;
    options.writer.clear_after_bytes = 20'000;
    PerfettoEncoder encoder{out, options};
    thence_test::tell_by_chance(encoder, seed, 1500);
    tool::PerfettoCheck check;
    check.feed(out.bytes());
    std::string all;
    for (const tool::Promise& promise : check.finish()) {
      if (promise.broken != 0) all += promise.name + ": " + promise.first + "\n";
    }
    INFO("seed " << seed);
    CHECK(all == "");
  }
}

TEST_CASE("an event before its sequence's start, after a loss, without a sequence or without a time is found") {
  Packets early;
  early.track(1);
  early.event(5, kInstant, 1);
  CHECK(told(early) == "sequences: packet 2: needs what sequence 7 has not yet said, or has lost\n");
  Packets nameless;
  nameless.start();
  nameless.track(1);
  nameless.event(5, kInstant, 1, std::uint64_t{0});
  CHECK(told(nameless) == "sequences: packet 3: an event without a sequence\n");
  Packets timeless;
  timeless.start();
  timeless.track(1);
  timeless.event(0, kInstant, 1);
  CHECK(told(timeless) == "sequences: packet 3: an event without a time\n");
}

TEST_CASE("a number that was not interned, or not since the sequence began anew, is found") {
  Packets packets;
  packets.start();
  packets.track(1);
  {
    const auto packet = packets.out.message(1);
    packets.out.varint(10, 7);
    const auto interned = packets.out.message(12);
    const auto name = packets.out.message(2);
    packets.out.varint(1, 3);
    packets.out.string(2, "fetch");
  }
  packets.event(5, kInstant, 1, [](ProtobufWriter& out) { out.varint(10, 3); });
  CHECK(told(packets) == "");
  packets.start();
  packets.event(6, kInstant, 1, [](ProtobufWriter& out) { out.varint(10, 3); });
  CHECK(told(packets) == "interning: packet 6: name 3 is not defined\n");
}

TEST_CASE("a track that is not described, or lies below one that is not, or is no counter's, is found") {
  Packets unknown;
  unknown.start();
  unknown.event(5, kInstant, 9);
  CHECK(told(unknown) == "tracks: track 0x9 has events and is not described\n");
  Packets orphan;
  orphan.start();
  orphan.track(1, 2);
  orphan.event(5, kInstant, 1);
  CHECK(told(orphan) == "tracks: track 0x1 lies below 0x2, which is not described\n");
  Packets counter;
  counter.start();
  counter.track(1);
  counter.event(5, kCounter, 1, [](ProtobufWriter& out) { out.varint(30, 5); });
  CHECK(told(counter) == "tracks: track 0x1 has a counter's value and is no counter's track\n");
}

TEST_CASE("an end without a begin is found, by time and not by the order of the file") {
  Packets packets;
  packets.start();
  packets.track(1);
  packets.event(9, kEnd, 1);
  packets.event(5, kBegin, 1);
  CHECK(told(packets) == "");
  packets.event(10, kEnd, 1);
  CHECK(told(packets) == "nesting: track 0x1: a slice ends at 10 ns and none is open\n");
}

TEST_CASE("slices deeper than Perfetto shows are found") {
  Packets packets;
  packets.start();
  packets.track(1);
  for (std::uint64_t n = 1; n <= 513; ++n) packets.event(n, kBegin, 1);
  CHECK(told(packets) == "nesting: track 0x1 is deeper than 512 at 513 ns\n");
}

TEST_CASE("a flow with one end is found") {
  Packets packets;
  packets.start();
  packets.track(1);
  packets.event(5, kInstant, 1, [](ProtobufWriter& out) { out.fixed64(47, 0xab); });
  CHECK(told(packets) == "flows: flow 0xab has one end only\n");
  packets.event(6, kInstant, 1, [](ProtobufWriter& out) { out.fixed64(47, 0xab); });
  CHECK(told(packets) == "");
}

TEST_CASE("clock snapshots without the clock of the events, and a drop that no statistics show, are found") {
  Packets packets;
  packets.start();
  packets.track(1);
  packets.clock(1);
  packets.event(5, kInstant, 1);
  CHECK(told(packets) == "clocks: no snapshot has BOOTTIME\n");
  packets.clock(6);
  CHECK(told(packets) == "");
  packets.start(7, 1);
  CHECK(told(packets) == "statistics: sequence 7 says that packets were dropped, and no TraceStats after that names it\n");
  {
    const auto packet = packets.out.message(1);
    const auto stats = packets.out.message(35);
    const auto writer = packets.out.message(18);
    packets.out.varint(1, 7);
    packets.out.varint(4, 0);
  }
  CHECK(told(packets) == "");
}

TEST_CASE("bytes that are no packets are nothing to crash on") {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random{seed};
    std::vector<std::byte> bytes(random() % 400);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 8 == 0 ? random() : random() % 13);
    if (!bytes.empty()) bytes[0] = std::byte{0x0a};
    tool::PerfettoCheck check;
    check.feed(bytes);
    static_cast<void>(check.finish());
  }
  SUCCEED();
}
