// SPDX-License-Identifier: MIT
// perfetto_reader.hpp: reads Perfetto traces: all of what PerfettoEncoder wrote, and of anybody's TrackEvents what they
// carry of asynchronous operations.
//
//   thence::PerfettoReader reader{model};             // any EventSink
//   reader.feed(bytes); ...                           // in pieces of any size
//   if (!reader.finish()) ...                         // reader.damage(); a cut-off last packet is damage().cut_off
//
// Of our own files every record comes back as it was recorded, in the order of the file. Several of them joined by `cat` are
// several traces: begin is called for each.
// Of others:
// | in the file                        | becomes                                                                             |
// |------------------------------------|-------------------------------------------------------------------------------------|
// | a slice on a thread's track        | a resource with one invocation on the thread's lane                                 |
// | a slice on any other track         | a resource without invocations, from created to settled                             |
// | an instant                         | a resource that is settled when it is created                                       |
// | the slice below it on its track, else the flow that ends at its begin | its trigger                                      |
// | any other flow                     | a link                                                                              |
// | a counter                          | a counter of the lane it belongs to                                                 |
// | debug annotations, categories      | annotations (nested ones flattened: a.b, a[0]), category                            |
// Their packets may stand in any order, so they are held, decoded, until the end or up to `max_held`; then the older half
// is handed over, and what comes still later than that counts as disordered().
// Packets that were compressed inside of the trace are inflated by a policy, which the host brings:
//   struct Inflate {
//     // Calls out(bytes) for what it inflates, as long as that returns true. False: damaged, or of a kind it does not know.
//     template <class Out> bool operator()(thence::Compression kind, std::span<const std::byte> bytes, Out&& out);
//   };
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/reader/clock_readings.hpp"
#include "thence/formats/perfetto/reader/event_fields.hpp"
#include "thence/formats/perfetto/reader/foreign_events.hpp"
#include "thence/formats/perfetto/reader/own_records.hpp"
#include "thence/formats/perfetto/reader/packet_stream.hpp"
#include "thence/formats/perfetto/reader/sequence.hpp"
#include "thence/formats/perfetto/reader/stack_numbers.hpp"
#include "thence/formats/perfetto/reader/trace_output.hpp"
#include "thence/formats/perfetto/reader/track_table.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How packets inside of a trace are compressed.
enum class Compression : std::uint8_t { kDeflate, kZstd };

/// The policy of a host that cannot inflate: such packets are counted and passed over.
struct NoInflate {
  template <class Out>
  bool operator()(Compression, std::span<const std::byte>, Out&&) const noexcept {
    return false;
  }
};

struct PerfettoReaderOptions {
  /// Bytes of one packet. A larger one is damage: Perfetto's are below 1 MB.
  std::size_t max_packet_bytes = std::size_t{64} << 20;
  /// Bytes that one run of compressed packets may become. More is damage: a bomb.
  std::size_t max_inflated_bytes = std::size_t{64} << 20;
  /// Events of others that are held so that they can be put in order, about 100 bytes each.
  std::size_t max_held = std::size_t{1} << 22;
  /// Slices of others that may be open on one track; Perfetto's own bound.
  std::size_t max_open = 512;
};

/// Reads a trace.
///   Shape     a packet; the dictionaries of each sequence; the stacks; the tracks; of others' events up to `max_held`.
///   Threads   one.
///   Cost      O(bytes); O(n log n) in the events of others.
///   When full see PerfettoReaderOptions.
///   Errors    damage(); std::bad_alloc.
///   Lifetime  the sink outlives it.
template <EventSink Sink, class Inflate = NoInflate>
class PerfettoReader {
 public:
  using Options = PerfettoReaderOptions;

  explicit PerfettoReader(Sink& sink, const Options& options = {}, Inflate inflate = {})
      : options_(options), inflate_(std::move(inflate)), stream_(options.max_packet_bytes), out_(sink, texts_) {}
  PerfettoReader(const PerfettoReader&) = delete;
  PerfettoReader& operator=(const PerfettoReader&) = delete;

  bool feed(std::span<const std::byte> bytes) {
    if (!stream_.feed(bytes, [&](std::span<const std::byte> packet) { return take_packet(packet, false); })) {
      return false;
    }
    out_.hand_over();
    return true;
  }
  bool finish() {
    if (finished_) return !damage();
    finished_ = true;
    static_cast<void>(stream_.finish());
    hand_over_foreign(foreign_.held());
    if (out_.traces() == 0) out_.begin({});
    out_.end(own_.open() ? own_.summary() : TraceSummary{});
    return !damage();
  }

  [[nodiscard]] const Damage& damage() const noexcept { return stream_.damage(); }
  [[nodiscard]] std::uint64_t events() const noexcept { return out_.events(); }
  /// Whole packets.
  [[nodiscard]] std::uint64_t packets_read() const noexcept { return packets_; }
  /// Packets that need what a lost packet said.
  [[nodiscard]] std::uint64_t packets_unreadable() const noexcept { return unreadable_; }
  /// Runs of compressed packets that the policy could not inflate.
  [[nodiscard]] std::uint64_t compressed_skipped() const noexcept { return compressed_skipped_; }
  /// Events without a sequence, a time, a kind that is known or a counter's value, beyond `max_open` on their track, or with a clock
  /// that nothing relates to the trace's.
  [[nodiscard]] std::uint64_t events_skipped() const noexcept { return skipped_ + own_.skipped() + foreign_.skipped(); }
  /// Ends of slices that no begin is there for.
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return own_.unmatched_ends() + foreign_.unmatched_ends(); }
  /// Events of others that came after later ones had been handed over.
  [[nodiscard]] std::uint64_t disordered() const noexcept { return foreign_.disordered(); }

 private:
  /// False: damaged. `inflated`: it stood in a run of compressed packets.
  bool take_packet(std::span<const std::byte> bytes, bool inflated) {
    bool good = true;
    if (!take_plain_packet(bytes, good)) good = take_any_packet(bytes, inflated);
    packets_ += good ? 1 : 0;
    return good;
  }

  /// What our own writer makes of nearly every packet: sequence, flags, time (what is older than the packet before it: of
  /// BOOTTIME), and an event up to the end. False: another.
  bool take_plain_packet(std::span<const std::byte> bytes, bool& good) {
    using namespace perfetto;
    const std::byte* at = bytes.data();
    const std::byte* const end = at + bytes.size();
    const auto is = [&](std::uint32_t field, WireType type) {
      return at != end && *at == static_cast<std::byte>(protobuf_tag(field, type)) && ++at != end;
    };
    if (!is(trace_packet::kTrustedPacketSequenceId, WireType::kVarint)) return false;
    const std::uint64_t id = take_varint(at, end);
    if (at == nullptr || id == 0) return false;
    Sequence& sequence = sequences_.of(id);
    if (!sequence.valid || !sequence.ours || !sequence.incremental_is_boottime || sequence.default_clock != sequence.incremental_clock) {
      return false;
    }
    if (!is(trace_packet::kSequenceFlags, WireType::kVarint) || *at++ != static_cast<std::byte>(trace_packet::kNeedsIncrementalState)) {
      return false;
    }
    if (!is(trace_packet::kTimestamp, WireType::kVarint)) return false;
    std::uint64_t time = take_varint(at, end);
    if (at == nullptr) return false;
    static constexpr std::uint64_t kClockTag = protobuf_tag(trace_packet::kTimestampClockId, WireType::kVarint);
    static constexpr std::byte kAbsolute[] = {static_cast<std::byte>((kClockTag & 0x7f) | 0x80), static_cast<std::byte>(kClockTag >> 7),
                                              static_cast<std::byte>(kClockBoottime)};
    const bool absolute = end - at >= 3 && std::memcmp(at, kAbsolute, 3) == 0;
    if (absolute) at += 3;
    if (!is(trace_packet::kTrackEvent, WireType::kBytes)) return false;
    const std::uint64_t size = take_varint(at, end);
    if (at == nullptr || size != static_cast<std::uint64_t>(end - at)) return false;
    if (!absolute) time = (sequence.incremental += time * sequence.incremental_unit) + sequence.incremental_offset;
    good = take_event(sequence, {at, static_cast<std::size_t>(size)}, time, kClockBoottime);
    return true;
  }

  bool take_any_packet(std::span<const std::byte> bytes, bool inflated) {
    using namespace perfetto;
    std::uint64_t time = 0, clock = 0, sequence_id = 0, flags = 0, dropped = 0;
    bool has_time = false;
    std::span<const std::byte> interned, defaults, event, descriptor, snapshot, uuid;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case trace_packet::kTimestamp:
          time = reader.varint();
          has_time = true;
          break;
        case trace_packet::kTimestampClockId: clock = reader.varint(); break;
        case trace_packet::kTrustedPacketSequenceId: sequence_id = reader.varint(); break;
        case trace_packet::kSequenceFlags: flags |= reader.varint(); break;
        case trace_packet::kIncrementalStateClearedField:
          if (reader.boolean()) flags |= trace_packet::kIncrementalStateCleared;
          break;
        case trace_packet::kPreviousPacketDropped: dropped = reader.varint(); break;
        case trace_packet::kInternedData: interned = reader.bytes(); break;
        case trace_packet::kTracePacketDefaults: defaults = reader.bytes(); break;
        case trace_packet::kTrackEvent: event = reader.bytes(); break;
        case trace_packet::kTrackDescriptor: descriptor = reader.bytes(); break;
        case trace_packet::kClockSnapshot: snapshot = reader.bytes(); break;
        case trace_packet::kTraceUuid: uuid = reader.bytes(); break;
        case trace_packet::kCompressedPackets:
          if (!inflated && !take_compressed(Compression::kDeflate, reader.bytes())) return false;
          break;
        case trace_packet::kZstdCompressedPackets:
          if (!inflated && !take_compressed(Compression::kZstd, reader.bytes())) return false;
          break;
        default: break;
      }
    }
    if (reader.damaged()) return good_or_fail(reader.expected(), inflated ? 0 : reader.offset());
    Sequence* const sequence = sequence_id == 0 ? nullptr : &sequences_.of(sequence_id);
    if (sequence != nullptr) {
      if ((flags & trace_packet::kIncrementalStateCleared) != 0) {
        sequence->clear();
        sequence->valid = true;
      } else if (dropped != 0) {
        sequence->valid = false;
      }
      if ((flags & trace_packet::kNeedsIncrementalState) != 0 && !sequence->valid) {
        ++unreadable_;
        return true;
      }
      if (defaults.data() != nullptr && !good_or_fail(sequence->read_defaults(defaults))) return false;
      if (interned.data() != nullptr && sequence->valid && !good_or_fail(dictionaries_.read(*sequence, interned))) return false;
    }
    if (snapshot.data() != nullptr) {
      ClockSnapshot told;
      if (!good_or_fail(clocks_.read(snapshot, sequence, told))) return false;
      out_.synchronise(told);
      return true;
    }
    if (uuid.data() != nullptr) return good_or_fail(own_.read_trace_uuid(uuid));
    if (descriptor.data() != nullptr && !good_or_fail(tracks_.read_descriptor(descriptor))) return false;
    if (event.data() == nullptr) return true;
    if (sequence == nullptr || !has_time) {
      ++skipped_;
      return true;
    }
    if (clock == 0) clock = sequence->default_clock;
    if (clock == sequence->incremental_clock && clock != 0) {
      time = sequence->incremental += time * sequence->incremental_unit;
      if (sequence->incremental_is_boottime) {
        time += sequence->incremental_offset;
        clock = kClockBoottime;
      }
    }
    return take_event(*sequence, event, time, clock);
  }

  bool take_event(perfetto::Sequence& sequence, std::span<const std::byte> bytes, std::uint64_t time, std::uint64_t clock) {
    using namespace perfetto;
    if (const std::string_view expected = event_.read(sequence, bytes, texts_, no_text_); !expected.empty()) return good_or_fail(expected);
    event_.time = time;
    if (event_.is_thence && (event_.word() == Word::kTrace || event_.word() == Word::kLane)) sequence.ours = true;
    if (!sequence.ours) {
      if (foreign_.held() >= options_.max_held) hand_over_foreign(foreign_.held() / 2);
      return good_or_fail(foreign_.hold(sequence, event_, clock));
    }
    if (event_.is_edge()) return true;
    if (clock != kClockBoottime && clock != 0 && !clocks_.to_trace_clock(ClockReadings::key(clock, sequence.id), event_.time)) {
      ++skipped_;
      return true;
    }
    return good_or_fail(own_.take(sequence, event_));
  }

  bool take_compressed(Compression kind, std::span<const std::byte> bytes) {
    inflated_.clear();
    bool bomb = false;
    const bool whole = inflate_(kind, bytes, [&](std::span<const std::byte> more) {
      bomb = bomb || inflated_.size() + more.size() > options_.max_inflated_bytes;
      if (!bomb) inflated_.append(more);
      return !bomb;
    });
    if (bomb) return good_or_fail("compressed packets that become fewer bytes");
    if (!whole) {
      ++compressed_skipped_;
      return true;
    }
    ProtobufReader reader{inflated_.bytes()};
    while (reader.next()) {
      if (reader.field() == perfetto::trace::kPacket && reader.is(WireType::kBytes) && !take_packet(reader.bytes(), true)) return false;
    }
    return !reader.damaged() || good_or_fail("whole packets in a compressed run");
  }

  void hand_over_foreign(std::size_t count) {
    if (foreign_.held() == 0) return;
    own_.end();  // theirs is another trace than ours, in the same file
    foreign_.hand_over(count, finished_);
  }

  /// Whether nothing was `expected` but what is there; else notes it, `offset` bytes into the packet.
  bool good_or_fail(std::string_view expected, std::uint64_t offset = 0) noexcept {
    return expected.empty() || stream_.fail(offset, expected);
  }

  Options options_;
  Inflate inflate_;
  ByteBuffer inflated_;
  TextNumbers texts_;
  std::uint32_t no_text_ = texts_.number_of({});
  perfetto::PacketStream stream_;
  perfetto::SequenceTable sequences_;
  perfetto::StackNumbers stacks_;
  perfetto::InternedDataReader dictionaries_{texts_, stacks_};
  perfetto::TrackTable tracks_{texts_};
  perfetto::ClockReadings clocks_;
  perfetto::EventFields event_;
  perfetto::TraceOutput<Sink> out_;
  perfetto::OwnRecords<Sink> own_{texts_, stacks_, tracks_, out_};
  perfetto::ForeignEvents<Sink> foreign_{texts_, stacks_, tracks_, clocks_, out_, options_.max_open};
  bool finished_ = false;
  std::uint64_t packets_ = 0;
  std::uint64_t unreadable_ = 0;
  std::uint64_t compressed_skipped_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
