// SPDX-License-Identifier: MIT
// An event's packet is put together in several ways, by the sizes of its numbers. Each must have the bytes of the same
// fields written one by one, with varints of the smallest size.
#include "thence/formats/perfetto/perfetto_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace thence;
namespace fields = thence::perfetto;

/// A number of any length.
std::uint64_t any_number(std::mt19937_64& random) { return random() >> random() % 64; }

Value any_value(std::mt19937_64& random, const std::string& text) {
  switch (random() % 5) {
    case 0: return Value::of(static_cast<std::int64_t>(random() % 2 == 0 ? any_number(random) : ~any_number(random)));
    case 1: return Value::of(any_number(random));
    case 2: return Value::of(static_cast<double>(any_number(random)) / 3);
    case 3: return Value::of(random() % 2 == 0);
    default: return Value::of(std::string_view(text).substr(0, random() % (random() % 3 == 0 ? text.size() : 20)));
  }
}

void write_value(ProtobufWriter& writer, const Value& value) {
  using namespace fields::debug_annotation;
  switch (value.kind) {
    case ValueKind::kInt: return writer.int64(kInt, value.integer);
    case ValueKind::kUint: return writer.varint(kUint, value.uinteger);
    case ValueKind::kDouble: return writer.real(kDouble, value.real);
    case ValueKind::kBool: return writer.boolean(kBool, value.boolean);
    case ValueKind::kString: return writer.string(kString, value.text);
  }
}

/// What a writer's sequence has sent so far: names and keys.
struct Known {
  std::vector<bool> names = std::vector<bool>(1024), keys = std::vector<bool>(1024);
};

void define(ProtobufWriter& writer, fields::Field field, std::uint32_t iid, std::string_view text) {
  const auto entry = writer.message(field);
  writer.varint(fields::interned_string::kIid, iid);
  writer.string(fields::interned_string::kText, text);
}

}  // namespace

TEST_CASE("an event has the bytes of its fields written one by one, whatever their sizes") {
  std::mt19937_64 random{25};
  const std::string text(5000, 't');
  for (const std::uint32_t first_sequence : {2u, 127u, 128u, 16'383u, 16'384u, 4'000'000'000u}) {
    BufferSink sink;
    PerfettoWriterOptions options;
    options.first_sequence = first_sequence;
    options.chunk_bytes = 1;  // each packet goes out by itself
    PerfettoWriter<BufferSink> writer{sink, options};
    auto& sequence = writer.open_sequence(7);
    for (unsigned n = 1; n != 300; ++n) {
      REQUIRE(writer.intern_name("name " + std::to_string(n)) == n);
      REQUIRE(writer.intern_key("key " + std::to_string(n)) == n);
    }
    std::uint64_t last = 1'000'000;
    writer.reach(last);
    writer.prepare(sequence);
    Known known;
    for (unsigned round = 0; round != 3000; ++round) {
      if (round % 700 == 699) {  // all names are sent again
        writer.reach(last);
        writer.start_again(sequence);
        writer.prepare(sequence);
        known = {};
      }
      const bool back = random() % 10 == 0;
      const std::uint64_t time = back ? last - 1 - random() % 1000 : last + (any_number(random) >> 30);
      const std::uint64_t track = random() % 3 == 0 ? 0 : any_number(random);
      const std::uint64_t type = 1 + random() % 5;
      const auto name = static_cast<std::uint32_t>(1 + random() % (random() % 2 == 0 ? 127 : 299));
      ByteBuffer expected, interned;
      ProtobufWriter wanted{expected}, wanted_interned{interned};
      sink.clear();
      {
        auto event = writer.event(sequence, time, type, track);
        const auto packet = wanted.message(fields::trace::kPacket);
        wanted.varint(fields::trace_packet::kTrustedPacketSequenceId, first_sequence);
        wanted.varint(fields::trace_packet::kSequenceFlags, fields::trace_packet::kNeedsIncrementalState);
        wanted.varint(fields::trace_packet::kTimestamp, back ? time : time - last);
        if (back) wanted.varint(fields::trace_packet::kTimestampClockId, fields::kClockBoottime);
        if (!back) last = time;
        {
          const auto track_event = wanted.message(fields::trace_packet::kTrackEvent);
          wanted.varint(fields::track_event::kType, type);
          if (track != 0) wanted.varint(fields::track_event::kTrackUuid, track);
          const bool is_large = random() % 50 == 0;  // as large as an event gets without a text, and beyond
          for (std::uint64_t annotations = is_large ? random() % 200 : random() % 4; annotations != 0; --annotations) {
            const auto key = static_cast<std::uint32_t>(random() % (random() % 2 == 0 ? 128 : 300));
            const Value value = any_value(random, text);
            event.annotate(key, "a key in full", value);
            if (key != 0 && !known.keys[key]) {
              define(wanted_interned, fields::interned_data::kDebugAnnotationNames, key, writer.key_text(key));
            }
            known.keys[key] = true;
            const auto annotation = wanted.message(fields::track_event::kDebugAnnotations);
            if (key != 0) {
              wanted.varint(fields::debug_annotation::kNameIid, key);
            } else {
              wanted.string(fields::debug_annotation::kName, "a key in full");
            }
            write_value(wanted, value);
          }
          for (std::size_t at = 0; is_large && at != fields::kKeyCount; ++at) {
            const auto key = static_cast<fields::Key>(at);
            const std::uint64_t value = any_number(random);
            event.say(key, value);
            wanted.varint(fields::field_of(key), value);
          }
          event.name(name);
          if (!known.names[name]) {
            define(wanted_interned, fields::interned_data::kEventNames, name, writer.name_text(name));
          }
          known.names[name] = true;
          wanted.varint(fields::track_event::kNameIid, name);
          if (random() % 2 == 0) {
            const std::uint64_t id = any_number(random);
            event.correlate(id);
            wanted.varint(fields::track_event::kCorrelationId, id);
          }
          if (random() % 4 == 0) {
            const auto in_full = std::string_view(text).substr(0, random() % 300);
            event.name_in_full(in_full);
            wanted.string(fields::track_event::kName, in_full);
          }
        }
        if (!interned.empty()) wanted.bytes(fields::trace_packet::kInternedData, interned.bytes());
        event.end();
      }
      REQUIRE(sink.text() == expected.text());
    }
  }
}

TEST_CASE("a track's description has the bytes of its fields written one by one, whatever their sizes") {
  std::mt19937_64 random{27};
  const std::string text(5000, 't');
  for (const std::uint32_t first_sequence : {2u, 127u, 128u, 4'000'000'000u}) {
    BufferSink sink;
    PerfettoWriterOptions options;
    options.first_sequence = first_sequence;
    options.chunk_bytes = 1;
    PerfettoWriter<BufferSink> writer{sink, options};
    auto& sequence = writer.open_sequence(7);
    writer.prepare(sequence);
    for (std::size_t round = 0; round != 600; ++round) {
      // Each size also with the largest numbers, with which a packet is as long as it can be.
      const std::size_t size = round / 2;
      const std::uint64_t uuid = round % 2 == 0 ? ~std::uint64_t{0} : any_number(random);
      const std::uint64_t parent = round % 2 == 0 ? ~std::uint64_t{0} : any_number(random);
      const auto name = std::string_view(text).substr(0, size == 299 ? text.size() : size);
      ByteBuffer expected;
      ProtobufWriter wanted{expected};
      {
        const auto packet = wanted.message(fields::trace::kPacket);
        wanted.varint(fields::trace_packet::kTrustedPacketSequenceId, first_sequence);
        const auto descriptor = wanted.message(fields::trace_packet::kTrackDescriptor);
        wanted.varint(fields::track_descriptor::kUuid, uuid);
        wanted.varint(fields::track_descriptor::kParentUuid, parent);
        wanted.string(fields::track_descriptor::kName, name);
      }
      sink.clear();
      writer.track_descriptor(sequence, uuid, parent, name);
      REQUIRE(sink.text() == expected.text());
    }
  }
}

TEST_CASE("a sequence starts anew with the first packet after its share of the file, wherever the buffer is flushed") {
  std::mt19937_64 random{26};
  for (const std::size_t chunk_bytes : {1u, 300u, 1000u, 100'000u}) {
    for (const std::uint64_t share : {0u, 1u, 700u, 5000u}) {
      BufferSink sink;
      PerfettoWriterOptions options;
      options.chunk_bytes = chunk_bytes;
      options.clear_after_bytes = share;
      PerfettoWriter<BufferSink> writer{sink, options};
      struct Known {
        PerfettoWriter<BufferSink>::Sequence* sequence;
        std::uint64_t good_until = 0;
      };
      Known all[] = {{&writer.open_sequence(7)}, {&writer.open_sequence(8)}, {&writer.open_sequence(9)}};
      const std::string text(3000, 't');
      for (unsigned n = 0; n != 500; ++n) {
        Known& one = all[random() % 3];
        const std::uint64_t total = writer.written() + writer.waiting();
        const std::uint32_t before = one.sequence->generation();
        writer.prepare(*one.sequence);
        REQUIRE((one.sequence->generation() != before) == (total >= one.good_until));
        if (one.sequence->generation() != before) one.good_until = total + share;
        auto event = writer.event(*one.sequence, 1000 + n, 1, random() % 2 == 0 ? 0 : random());
        if (random() % 50 == 0) event.name_in_full(std::string_view(text).substr(0, random() % text.size()));  // moves the buffer
        event.end();
        REQUIRE(writer.waiting() < chunk_bytes);
        if (random() % 100 == 0) writer.flush();
      }
    }
  }
}
