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

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/formats/words.hpp"
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

namespace perfetto {

/// A dictionary of one sequence: values by iid. Small or dense iids are looked up in a table, others in a map.
template <class T>
class IidTable {
 public:
  void set(std::uint64_t iid, const T& value) {
    if (iid == 0) return;  // is unset
    if (T* known = find(iid)) {
      *known = value;
      return;
    }
    const auto at = static_cast<std::uint32_t>(values_.size());
    values_.push_back(value);
    if (iid < 4096 || iid / 4 < values_.size()) {
      if (iid >= dense_.size()) dense_.resize(static_cast<std::size_t>(iid) + 1 + dense_.size() / 2, IdMap::kAbsent);
      dense_[iid] = at;
    } else {
      rest_.insert(iid, at);
    }
  }
  [[nodiscard]] T* find(std::uint64_t iid) noexcept {
    if (iid < dense_.size() && dense_[iid] != IdMap::kAbsent) [[likely]] return &values_[dense_[iid]];
    if (rest_.size() == 0) return nullptr;
    const std::uint32_t at = rest_.find(iid);
    return at == IdMap::kAbsent ? nullptr : &values_[at];
  }
  void clear() {
    if (values_.empty()) return;
    values_.clear();
    dense_.clear();
    rest_ = IdMap{};
  }

 private:
  std::vector<T> values_;
  std::vector<std::uint32_t> dense_;
  IdMap rest_;
};

}  // namespace perfetto

/// Reads a trace.
///   Shape     a packet; the dictionaries of each sequence; the tracks; of others' events up to `max_held`.
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
      : out_(sink), options_(options), inflate_(std::move(inflate)) {
    no_text_ = texts_.number_of({});
    cut_key_ = texts_.number_of(perfetto::kCutKey);
  }
  PerfettoReader(const PerfettoReader&) = delete;
  PerfettoReader& operator=(const PerfettoReader&) = delete;

  bool feed(std::span<const std::byte> bytes) {
    if (damage_) return false;
    drop_read();
    window_.append(bytes);
    return packets();
  }
  bool finish() {
    if (ended_) return !damage_;
    ended_ = true;
    if (!damage_ && read_ != window_.size()) {
      damage_ = {dropped_ + window_.size(), 0, wanted_, true};
    }
    end_ours();
    hand_over_others(others_.size());
    if (!began_) out_.sink().begin(TraceInfo{});
    out_.sink().end(others_began_ ? TraceSummary{} : summary());
    return !damage_;
  }

  [[nodiscard]] const Damage& damage() const noexcept { return damage_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return out_.events(); }
  /// Whole packets.
  [[nodiscard]] std::uint64_t packets_read() const noexcept { return packets_; }
  /// Packets that need what a lost packet said.
  [[nodiscard]] std::uint64_t packets_unreadable() const noexcept { return unreadable_; }
  /// Runs of compressed packets that the policy could not inflate.
  [[nodiscard]] std::uint64_t compressed_skipped() const noexcept { return compressed_skipped_; }
  /// Events of others without a sequence, a track, a time, or with a clock that nothing relates to another.
  [[nodiscard]] std::uint64_t events_skipped() const noexcept { return skipped_; }
  /// Ends of slices that no begin is there for.
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return unmatched_ends_; }
  /// Events of others that came after later ones had been handed over.
  [[nodiscard]] std::uint64_t disordered() const noexcept { return disordered_; }

 private:
  using Key = perfetto::Key;
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  /// Ours are few: all else tells itself by its track.
  enum class Category : std::uint8_t { kOther, kThence };

  /// kEdge: an instant that is nothing but the end of a flow.
  enum class Word : std::uint8_t {
    kOther, kTrace, kLane, kLost, kSummary, kCreated, kScheduled, kEntered, kExited, kSettled, kDestroyed, kAwaits, kBridge,
    kAnnotated, kFinished, kSealed, kOpen, kParked, kUnparked, kPauseEnded, kSample, kEdge
  };
  static constexpr std::string_view kWords[] = {"",        "thence.trace", "thence.lane", "thence.lost", "thence.summary",
                                                "created", "scheduled",    "entered",     "exited",      "settled",
                                                "destroyed", "awaits",     "bridge",      "annotated",   "finished",
                                                "sealed",  "open",         "parked",      "unparked",    "pause ended",
                                                "sample"};
  static constexpr std::string_view kEdges[] = {"create", "settle", "release", "ready", "awaited", "bridged", "unheeded"};

  struct Name {
    std::uint32_t text = 0;
    std::uint16_t type = 0;  // of a resource, once asked for
    bool has_type = false;
    Word word = Word::kOther;
  };
  struct CategoryName {
    std::uint32_t text = 0;
    Category category = Category::kOther;
  };
  struct Mapping {
    std::uint32_t path = 0;
    std::uint32_t build_id = 0;
  };
  struct FrameEntry {
    FrameKind kind = FrameKind::kSource;
    std::uint32_t function = 0;
    std::uint32_t file = 0;
    std::uint32_t build_id = 0;
    std::uint32_t line = 0;
    std::uint32_t column = 0;
    std::uint64_t pc = 0;
    std::uint64_t relative_pc = 0;
  };

  /// A writer's stream: its dictionaries and defaults.
  struct Sequence {
    std::uint64_t id = 0;
    bool valid = false;  // nothing that it refers to was lost
    bool ours = false;
    std::uint64_t default_track = 0;
    std::uint64_t default_clock = 0;
    std::uint64_t incremental = 0;        // the last reading of an incremental clock
    std::uint64_t incremental_clock = 0;  // 0: none
    std::uint64_t incremental_unit = 1;
    std::uint64_t incremental_offset = 0;  // to BOOTTIME, where a snapshot has both
    bool incremental_is_boottime = false;
    std::vector<std::uint64_t> extra_counters;  // tracks, by default
    perfetto::IidTable<Name> names;
    perfetto::IidTable<CategoryName> categories;
    perfetto::IidTable<std::uint32_t> keys;
    perfetto::IidTable<std::uint32_t> values;
    perfetto::IidTable<std::uint32_t> functions;
    perfetto::IidTable<std::uint32_t> sources;
    perfetto::IidTable<std::uint32_t> paths;
    perfetto::IidTable<std::uint32_t> build_ids;
    perfetto::IidTable<Mapping> mappings;
    perfetto::IidTable<FrameEntry> frames;
    perfetto::IidTable<std::uint32_t> stacks;  // StackId

    void clear() {
      default_track = default_clock = 0;
      extra_counters.clear();
      names.clear();
      categories.clear();
      keys.clear();
      values.clear();
      functions.clear();
      sources.clear();
      paths.clear();
      build_ids.clear();
      mappings.clear();
      frames.clear();
      stacks.clear();
    }
  };

  enum class OpenKind : std::uint8_t { kResource, kInvocation, kPause, kPark, kOther };

  /// A slice that was begun and not ended.
  struct Open {
    std::uint64_t id = 0;
    RootId root = RootId::kNone;
    std::uint64_t begin = 0;       // as written
    std::uint64_t invocation = 0;  // of a split one
    OpenKind kind = OpenKind::kOther;
    PauseKind pause = PauseKind::kOther;
    bool split = false;
  };

  struct Track {
    std::uint64_t uuid = 0;
    std::uint64_t parent = 0;
    std::uint32_t up = kNone;  // the parent's index, once asked for
    std::uint32_t name = 0;    // text
    std::uint32_t unit = 0;    // text
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    LaneId lane = LaneId::kNone;
    CounterId counter = CounterId::kNone;  // as the file numbers it, where it does
    bool is_thread = false;
    bool is_process = false;
    bool is_counter = false;
    bool has_lane = false;
    bool lane_asked = false;
    std::vector<Open> open;
    std::vector<std::uint64_t> ended;  // of split invocations: whose exit has been handed over
  };

  /// An event of somebody else, held until it can be put in order.
  struct Other {
    std::uint64_t time = 0;
    std::uint64_t clock = 0;  // not yet related to the trace's; 0: it is in the trace's
    std::uint64_t bits = 0;
    std::uint32_t track = 0;  // index
    std::uint32_t name = 0;   // text
    std::uint32_t category = 0;
    std::uint32_t stack = 0;
    std::uint32_t notes = 0;   // in held_notes_
    std::uint32_t note_count = 0;
    std::uint32_t flows = 0;   // in held_flows_
    std::uint16_t flow_count = 0;
    std::uint16_t flow_ends = 0;  // the last so many of them end
    std::uint8_t type = 0;
    ValueKind kind = ValueKind::kInt;
  };
  struct OtherNote {
    std::uint32_t key = 0;  // text
    std::uint32_t text_size = 0;
    std::uint64_t bits = 0;  // of a string: where it stands in held_text_
    ValueKind kind = ValueKind::kString;
  };

  // -- packets --------------------------------------------------------------------------------------------------------

  void drop_read() {
    if (read_ == 0) return;
    dropped_ += read_;
    const std::size_t rest = window_.size() - read_;
    std::byte* const data = window_.data();
    if (rest != 0) std::memmove(data, data + read_, rest);
    window_.clear();
    window_.advance(data + rest);
    read_ = 0;
  }

  bool fail(std::uint64_t offset, std::string_view expected) {
    if (!damage_) damage_ = {offset, 0, expected, false};
    return false;
  }
  bool fail(const ProtobufReader& reader) { return fail(base_ + offset_of(reader), reader.expected()); }
  [[nodiscard]] std::uint64_t offset_of(const ProtobufReader& reader) const noexcept { return reader.offset(); }

  bool packets() {
    const std::byte* const begin = window_.data();
    const std::byte* const end = begin + window_.size();
    for (;;) {
      const std::byte* at = begin + read_;
      if (at == end) {
        out_.hand_over();
        return true;
      }
      wanted_ = "the rest of a packet";
      const std::byte* const start = at;
      const std::uint64_t tag = take_varint(at, end);
      if (at == nullptr) return wait_or(start, end, "a packet");
      const std::uint64_t offset = dropped_ + read_;
      if (tag >> 3 == 0 || tag >> 32 != 0) return fail(offset, "a packet");
      switch (static_cast<WireType>(tag & 7)) {
        case WireType::kVarint: {
          const std::byte* const value_at = at;
          static_cast<void>(take_varint(at, end));
          if (at == nullptr) return wait_or(value_at, end, "another byte of a varint");
          break;
        }
        case WireType::kFixed64:
        case WireType::kFixed32: {
          const std::ptrdiff_t count = static_cast<WireType>(tag & 7) == WireType::kFixed64 ? 8 : 4;
          if (end - at < count) return wait();
          at += count;
          break;
        }
        case WireType::kBytes: {
          const std::byte* const length_at = at;
          const std::uint64_t length = take_varint(at, end);
          if (at == nullptr) return wait_or(length_at, end, "another byte of a varint");
          if (length > options_.max_packet_bytes) return fail(offset, "a shorter packet");
          if (static_cast<std::uint64_t>(end - at) < length) return wait();
          if (tag == protobuf_tag(perfetto::trace::kPacket, WireType::kBytes)) {
            base_ = dropped_ + static_cast<std::uint64_t>(at - begin);
            if (!packet({at, static_cast<std::size_t>(length)}, false)) return false;
            ++packets_;
          }
          at += length;
          break;
        }
        default: return fail(offset, "a packet");
      }
      read_ = static_cast<std::size_t>(at - begin);
    }
  }
  bool wait() {
    out_.hand_over();
    return true;
  }
  /// Ten bytes without an end are no varint; fewer may go on.
  bool wait_or(const std::byte* at, const std::byte* end, std::string_view expected) {
    if (end - at >= static_cast<std::ptrdiff_t>(kMaxVarintBytes)) {
      return fail(dropped_ + static_cast<std::uint64_t>(at - window_.data()), expected);
    }
    return wait();
  }

  /// What our own writer makes of nearly every packet: sequence, flags, time (what is older than the packet before it: of
  /// BOOTTIME), and an event up to the end. False: another.
  bool plain_packet(std::span<const std::byte> bytes, bool& good) {
    using namespace perfetto;
    const std::byte* at = bytes.data();
    const std::byte* const end = at + bytes.size();
    const auto is = [&](std::uint32_t field, WireType type) {
      return at != end && *at == static_cast<std::byte>(protobuf_tag(field, type)) && ++at != end;
    };
    if (!is(trace_packet::kTrustedPacketSequenceId, WireType::kVarint)) return false;
    const std::uint64_t id = take_varint(at, end);
    if (at == nullptr || last_sequence_ >= sequences_.size() || sequences_[last_sequence_].id != id) {
      if (at == nullptr || id == 0) return false;
      static_cast<void>(sequence_of(id));
    }
    Sequence& sequence = sequences_[last_sequence_];
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
    good = track_event(sequence, {at, static_cast<std::size_t>(size)}, time, kClockBoottime);
    return true;
  }

  bool packet(std::span<const std::byte> bytes, bool inflated) {
    using namespace perfetto;
    if (bool good = true; plain_packet(bytes, good)) return good;
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
        case kIncrementalStateCleared:
          if (reader.boolean()) flags |= trace_packet::kIncrementalStateCleared;
          break;
        case trace_packet::kPreviousPacketDropped: dropped = reader.varint(); break;
        case trace_packet::kInternedData: interned = reader.bytes(); break;
        case trace_packet::kTracePacketDefaults: defaults = reader.bytes(); break;
        case trace_packet::kTrackEvent: event = reader.bytes(); break;
        case trace_packet::kTrackDescriptor: descriptor = reader.bytes(); break;
        case trace_packet::kClockSnapshot: snapshot = reader.bytes(); break;
        case trace_packet::kTraceUuid: uuid = reader.bytes(); break;
        case kCompressedPackets:
        case kZstdPackets:
          if (!inflated && !compressed(reader)) return false;
          break;
        default: break;
      }
    }
    if (reader.damaged()) return fail(reader);
    Sequence* sequence = sequence_id == 0 ? nullptr : &sequence_of(sequence_id);
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
      if (defaults.data() != nullptr && !packet_defaults(*sequence, defaults)) return false;
      if (interned.data() != nullptr && sequence->valid && !dictionary(*sequence, interned)) return false;
    }
    if (snapshot.data() != nullptr) return clocks(snapshot, sequence_id);
    if (uuid.data() != nullptr) return trace_uuid(uuid);
    if (descriptor.data() != nullptr && !track_descriptor(descriptor)) return false;
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
    return track_event(*sequence, event, time, clock);
  }

  static constexpr std::uint32_t kIncrementalStateCleared = 41, kCompressedPackets = 50, kZstdPackets = 133;

  bool compressed(const ProtobufReader& field) {
    const auto kind = field.field() == kCompressedPackets ? Compression::kDeflate : Compression::kZstd;
    inflated_.clear();
    bool bomb = false;
    const bool whole = inflate_(kind, field.bytes(), [&](std::span<const std::byte> more) {
      if (inflated_.size() + more.size() > options_.max_inflated_bytes) {
        bomb = true;
        return false;
      }
      inflated_.append(more);
      return true;
    });
    if (bomb) return fail(base_, "compressed packets that become fewer bytes");
    if (!whole) {
      ++compressed_skipped_;
      return true;
    }
    ProtobufReader reader{inflated_.bytes()};
    const std::uint64_t base = base_;
    while (reader.next()) {
      if (reader.field() != perfetto::trace::kPacket || !reader.is(WireType::kBytes)) continue;
      // Offsets inside are of the compressed run: there are no others in the file.
      if (!packet(reader.bytes(), true)) {
        damage_.offset = base;
        return false;
      }
      ++packets_;
    }
    if (reader.damaged()) return fail(base, "whole packets in a compressed run");
    return true;
  }

  Sequence& sequence_of(std::uint64_t id) {
    if (last_sequence_ < sequences_.size() && sequences_[last_sequence_].id == id) [[likely]] return sequences_[last_sequence_];
    std::uint32_t at = sequence_by_id_.find(id);
    if (at == kNone) {
      at = static_cast<std::uint32_t>(sequences_.size());
      sequence_by_id_.insert(id, at);
      sequences_.emplace_back();
      sequences_.back().id = id;
    }
    last_sequence_ = at;
    return sequences_[at];
  }

  bool packet_defaults(Sequence& sequence, std::span<const std::byte> bytes) {
    sequence.default_clock = 0;
    sequence.default_track = 0;
    sequence.extra_counters.clear();
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == perfetto::packet_defaults::kTimestampClockId) {
        sequence.default_clock = reader.varint();
      } else if (reader.field() == perfetto::packet_defaults::kTrackEventDefaults) {
        ProtobufReader event{reader.bytes()};
        while (event.next()) {
          if (event.field() == perfetto::event_defaults::kTrackUuid) sequence.default_track = event.varint();
          if (event.field() == perfetto::event_defaults::kExtraCounterTrackUuids && sequence.extra_counters.size() < kMaxExtra) {
            sequence.extra_counters.push_back(event.varint());
          }
        }
        if (event.damaged()) return fail(base_, event.expected());
      }
    }
    return !reader.damaged() || fail(base_, reader.expected());
  }

  // -- clocks ---------------------------------------------------------------------------------------------------------

  struct Reading {
    std::uint64_t clock = 0;  // a sequence's own: with its sequence in the upper half
    std::uint64_t time = 0;
    std::uint32_t snapshot = 0;
  };
  static constexpr std::size_t kMaxReadings = 1 << 16;

  [[nodiscard]] static std::uint64_t clock_key(std::uint64_t clock, std::uint64_t sequence) noexcept {
    return clock >= 64 && clock < 128 ? sequence << 32 | clock : clock;
  }

  bool clocks(std::span<const std::byte> bytes, std::uint64_t sequence_id) {
    using namespace perfetto;
    ClockSnapshot told;
    std::uint64_t primary = 0;
    std::uint64_t incremental_clock = 0;
    bool has_boottime = false;
    bool own = false;  // a sequence relates a clock of its own: no reading of the trace's clocks
    const std::size_t first = readings_.size();
    ++snapshots_;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == clock_snapshot::kPrimaryTraceClock) primary = reader.varint();
      if (reader.field() != clock_snapshot::kClocks) continue;
      std::uint64_t id = 0, time = 0, unit = 1;
      bool incremental = false;
      ProtobufReader one{reader.bytes()};
      while (one.next()) {
        switch (one.field()) {
          case clock::kClockId: id = one.varint(); break;
          case clock::kTimestamp: time = one.varint(); break;
          case clock::kIsIncremental: incremental = one.boolean(); break;
          case 4: unit = std::max<std::uint64_t>(one.varint(), 1); break;
          default: break;
        }
      }
      if (one.damaged()) return fail(base_, one.expected());
      if (id == kClockBoottime) {
        told.boottime = time;
        has_boottime = true;
      }
      if (id == kClockMonotonic) told.monotonic = time;
      if (id == kClockRealtime) told.realtime = time;
      time *= unit;
      if (incremental && sequence_id != 0) {
        Sequence& sequence = sequence_of(sequence_id);
        sequence.incremental_clock = id;
        sequence.incremental = time;
        sequence.incremental_unit = unit;
        sequence.incremental_is_boottime = false;
        incremental_clock = id;
      }
      own = own || (id >= 64 && id < 128);
      if (id != 0 && readings_.size() < kMaxReadings) readings_.push_back({clock_key(id, sequence_id), time, snapshots_});
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    if (trace_clock_ == 0) {
      for (std::size_t at = first; at < readings_.size(); ++at) {
        if (readings_[at].clock == kClockBoottime) trace_clock_ = kClockBoottime;
      }
      if (primary != 0) trace_clock_ = primary;
    }
    if (incremental_clock != 0 && has_boottime) {
      Sequence& sequence = sequence_of(sequence_id);
      sequence.incremental_is_boottime = trace_clock_ == kClockBoottime;
      sequence.incremental_offset = told.boottime - sequence.incremental;
      if (sequence.incremental_is_boottime && readings_.size() == first + 2) readings_.resize(first);  // said by the offset
    }
    // A part of a file that can be read by itself says again what was said last.
    if (told.boottime == last_clocks_.boottime && told.realtime == last_clocks_.realtime) return true;
    if (told.boottime != 0 && !own) {
      last_clocks_ = told;
      if (!began_ && !ours_began_) {
        waiting_clocks_.push_back(told);
      } else {
        out_.sink().synchronise(told);
      }
    }
    return true;
  }

  /// `time` of one clock on another, by one snapshot that has both: the last one not after it, else the first.
  [[nodiscard]] bool convert(std::uint64_t from, std::uint64_t to, std::uint64_t time, std::uint64_t& result) const noexcept {
    bool found = false;
    std::uint64_t best_from = 0, best_to = 0;
    for (std::size_t at = 0; at < readings_.size(); ++at) {
      if (readings_[at].clock != from) continue;
      if (found && readings_[at].time > time) continue;
      for (std::size_t other = at; other-- != 0 && readings_[other].snapshot == readings_[at].snapshot;) {
        if (readings_[other].clock == to) {
          found = true;
          best_from = readings_[at].time;
          best_to = readings_[other].time;
        }
      }
      for (std::size_t other = at + 1; other < readings_.size() && readings_[other].snapshot == readings_[at].snapshot; ++other) {
        if (readings_[other].clock == to) {
          found = true;
          best_from = readings_[at].time;
          best_to = readings_[other].time;
        }
      }
    }
    if (!found) return false;
    const auto moved = static_cast<std::int64_t>(time - best_from);
    result = best_to + static_cast<std::uint64_t>(moved);
    return !(moved < 0 && result > best_to);  // before the clock's start
  }
  /// To the trace's clock, directly or over one clock between.
  [[nodiscard]] bool to_trace_clock(std::uint64_t clock, std::uint64_t& time) const noexcept {
    const std::uint64_t target = trace_clock_ == 0 ? perfetto::kClockBoottime : trace_clock_;
    if (clock == target || readings_.empty()) return clock == target || clock < 64;
    std::uint64_t result = 0;
    if (convert(clock, target, time, result)) {
      time = result;
      return true;
    }
    for (std::size_t at = 0; at < readings_.size() && at < 64; ++at) {
      std::uint64_t middle = 0;
      if (readings_[at].clock != clock && readings_[at].clock != target && convert(clock, readings_[at].clock, time, middle) &&
          convert(readings_[at].clock, target, middle, result)) {
        time = result;
        return true;
      }
    }
    return false;
  }

  // -- dictionaries ---------------------------------------------------------------------------------------------------

  struct InternedString {
    std::uint64_t iid = 0;
    std::string_view text;
  };
  bool interned_string(std::span<const std::byte> bytes, InternedString& to) {
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == perfetto::interned_string::kIid) to.iid = reader.varint();
      if (reader.field() == perfetto::interned_string::kText) to.text = reader.text();
    }
    return !reader.damaged() || fail(base_, reader.expected());
  }
  [[nodiscard]] std::uint32_t text(std::string_view text) { return texts_.number_of(text); }

  bool dictionary(Sequence& sequence, std::span<const std::byte> bytes) {
    using namespace perfetto;
    // Mappings before frames before stacks, whatever their order in the message.
    for (int pass = 0; pass < 4; ++pass) {
      ProtobufReader reader{bytes};
      while (reader.next()) {
        const std::uint32_t field = reader.field();
        const int due = field == interned_data::kMappings ? 1 : field == interned_data::kFrames ? 2 : field == interned_data::kCallstacks ? 3 : 0;
        if (due != pass) continue;
        if (!reader.is(WireType::kBytes)) continue;
        InternedString entry;
        switch (field) {
          case interned_data::kEventNames: {
            if (!interned_string(reader.bytes(), entry)) return false;
            Name name;
            name.text = text(entry.text);
            for (std::size_t at = 1; at < std::size(kWords); ++at) {
              if (kWords[at] == entry.text) name.word = static_cast<Word>(at);
            }
            for (const std::string_view edge : kEdges) {
              if (edge == entry.text) name.word = Word::kEdge;
            }
            sequence.names.set(entry.iid, name);
            break;
          }
          case interned_data::kEventCategories: {
            if (!interned_string(reader.bytes(), entry)) return false;
            CategoryName category;
            category.text = text(entry.text);
            if (entry.text == "thence") category.category = Category::kThence;
            sequence.categories.set(entry.iid, category);
            break;
          }
          case interned_data::kDebugAnnotationNames:
          case interned_data::kDebugAnnotationStringValues:
          case interned_data::kFunctionNames:
          case interned_data::kSourcePaths:
          case interned_data::kMappingPaths: {
            if (!interned_string(reader.bytes(), entry)) return false;
            IidTable<std::uint32_t>& table = field == interned_data::kDebugAnnotationNames          ? sequence.keys
                                             : field == interned_data::kDebugAnnotationStringValues ? sequence.values
                                             : field == interned_data::kFunctionNames               ? sequence.functions
                                             : field == interned_data::kSourcePaths                 ? sequence.sources
                                                                                                    : sequence.paths;
            table.set(entry.iid, text(entry.text));
            break;
          }
          case interned_data::kBuildIds: {
            if (!interned_string(reader.bytes(), entry)) return false;
            sequence.build_ids.set(entry.iid, text(hexadecimal(entry.text)));
            break;
          }
          case interned_data::kMappings:
            if (!mapping_entry(sequence, reader.bytes())) return false;
            break;
          case interned_data::kFrames:
            if (!frame_entry(sequence, reader.bytes())) return false;
            break;
          case interned_data::kCallstacks:
            if (!callstack_entry(sequence, reader.bytes())) return false;
            break;
          default: break;
        }
      }
      if (reader.damaged()) return fail(base_, reader.expected());
    }
    return true;
  }
  std::string_view hexadecimal(std::string_view raw) {
    scratch_.clear();
    for (const char c : raw) {
      scratch_ += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
      scratch_ += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    return scratch_;
  }
  [[nodiscard]] static std::uint32_t or_zero(std::uint32_t* known, std::uint32_t none) noexcept { return known == nullptr ? none : *known; }

  bool mapping_entry(Sequence& sequence, std::span<const std::byte> bytes) {
    using namespace perfetto;
    Mapping entry{no_text_, no_text_};
    std::uint64_t iid = 0, as_given = 0;
    std::string path;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case mapping::kIid: iid = reader.varint(); break;
        case mapping::kBuildId: entry.build_id = or_zero(sequence.build_ids.find(reader.varint()), no_text_); break;
        case mapping::kPathStringIds:
          if (const std::uint32_t* part = sequence.paths.find(reader.varint()); part != nullptr && path.size() < 4096) {
            path += '/';
            path += texts_[*part];
          }
          break;
        case thence_fields::kMappingPath: as_given = reader.varint(); break;
        default: break;
      }
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    if (as_given != 0 && !path.empty()) path.erase(0, 1);
    entry.path = path.empty() ? no_text_ : text(path);
    sequence.mappings.set(iid, entry);
    return true;
  }

  bool frame_entry(Sequence& sequence, std::span<const std::byte> bytes) {
    using namespace perfetto;
    FrameEntry entry;
    entry.function = entry.file = entry.build_id = no_text_;
    std::uint64_t iid = 0, kind = 0;
    bool mapped = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case frame::kIid: iid = reader.varint(); break;
        case frame::kFunctionNameId: entry.function = or_zero(sequence.functions.find(reader.varint()), no_text_); break;
        case frame::kMappingId:
          if (const Mapping* mapping = sequence.mappings.find(reader.varint()); mapping != nullptr) {
            mapped = true;
            entry.file = mapping->path;
            entry.build_id = mapping->build_id;
          }
          break;
        case frame::kRelPc: entry.relative_pc = reader.varint(); break;
        case frame::kSourcePathIid: entry.file = or_zero(sequence.sources.find(reader.varint()), entry.file); break;
        case frame::kLineNumber: entry.line = static_cast<std::uint32_t>(reader.varint()); break;
        case frame::kKind: kind = reader.varint(); break;
        case thence_fields::kFrameColumn: entry.column = static_cast<std::uint32_t>(reader.varint()); break;
        case thence_fields::kFramePc: entry.pc = reader.varint(); break;
        default: break;
      }
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    entry.kind = kind == frame::kNative || (kind == 0 && mapped) ? FrameKind::kNative
                 : kind == frame::kInterpreted                   ? FrameKind::kScript
                                                                 : FrameKind::kSource;
    sequence.frames.set(iid, entry);
    return true;
  }

  /// Ours: the iid is the stack's number. Others': numbered by what the frames are.
  bool callstack_entry(Sequence& sequence, std::span<const std::byte> bytes) {
    using namespace perfetto;
    std::uint64_t iid = 0;
    frames_.clear();
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == callstack::kIid) iid = reader.varint();
      if (reader.field() == callstack::kFrameIds && frames_.size() < 4096) {
        const FrameEntry* known = sequence.frames.find(reader.varint());
        frames_.push_back(known == nullptr ? FrameEntry{FrameKind::kSource, no_text_, no_text_, no_text_, 0, 0, 0, 0} : *known);
      }
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    std::reverse(frames_.begin(), frames_.end());  // Perfetto has the outermost first
    if (ours_began_ || sequence.ours) {
      if (iid >= 0xffff'fff0u) return true;
      const auto id = static_cast<std::uint32_t>(iid);
      sequence.stacks.set(iid, id);
      if (told_stacks_.find(iid) != nullptr) return true;
      told_stacks_.set(iid, 1);
      define_stack(id);
      return true;
    }
    scratch_.clear();
    for (const FrameEntry& frame : frames_) scratch_.append(reinterpret_cast<const char*>(&frame), sizeof frame);
    const std::size_t known = stack_texts_.size();
    const std::uint32_t number = stack_texts_.number_of(scratch_);
    sequence.stacks.set(iid, number + 1);
    if (number == known) other_stacks_.push_back(frames_);
    return true;
  }
  void define_stack(std::uint32_t id) {
    infos_.clear();
    for (const FrameEntry& frame : frames_) {
      FrameInfo info;
      info.kind = frame.kind;
      info.function = texts_[frame.function];
      info.file = texts_[frame.file];
      info.build_id = texts_[frame.build_id];
      info.line = frame.line;
      info.column = frame.column;
      info.pc = frame.pc;
      info.relative_pc = frame.relative_pc;
      infos_.push_back(info);
    }
    out_.sink().define_stack({static_cast<StackId>(id), infos_});
  }

  // -- tracks ---------------------------------------------------------------------------------------------------------

  std::uint32_t track_of(std::uint64_t uuid) {
    if (last_track_ < tracks_.size() && tracks_[last_track_].uuid == uuid) return last_track_;
    std::uint32_t at = uuid == 0 ? zero_track_ : track_by_uuid_.find(uuid);
    if (at == kNone) {
      at = static_cast<std::uint32_t>(tracks_.size());
      tracks_.emplace_back();
      tracks_.back().uuid = uuid;
      tracks_.back().name = tracks_.back().unit = no_text_;
      if (uuid == 0) {
        zero_track_ = at;
      } else {
        track_by_uuid_.insert(uuid, at);
      }
    }
    last_track_ = at;
    return at;
  }

  /// The track above; kNone: none, or it has not been heard of.
  [[nodiscard]] std::uint32_t parent_of(std::uint32_t at) noexcept {
    Track& track = tracks_[at];
    if (track.up == kNone && track.parent != 0) track.up = track_by_uuid_.find(track.parent);
    return track.up;
  }

  bool track_descriptor(std::span<const std::byte> bytes) {
    using namespace perfetto;
    std::uint64_t uuid = 0, parent = 0;
    std::string_view name, unit;
    std::int32_t process_id = 0, thread_id = 0;
    std::uint64_t counter_id = 0;
    bool is_thread = false, is_process = false, is_counter = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case track_descriptor::kUuid: uuid = reader.varint(); break;
        case track_descriptor::kParentUuid: parent = reader.varint(); break;
        case track_descriptor::kName:
        case 10:  // static_name
        case 13:  // atrace_name
          name = reader.text();
          break;
        case track_descriptor::kProcess: {
          is_process = true;
          ProtobufReader process{reader.bytes()};
          while (process.next()) {
            if (process.field() == process_descriptor::kPid) process_id = static_cast<std::int32_t>(process.varint());
            if (process.field() == process_descriptor::kProcessName) name = process.text();
          }
          if (process.damaged()) return fail(base_, process.expected());
          break;
        }
        case track_descriptor::kThread: {
          is_thread = true;
          ProtobufReader thread{reader.bytes()};
          while (thread.next()) {
            if (thread.field() == thread_descriptor::kPid) process_id = static_cast<std::int32_t>(thread.varint());
            if (thread.field() == thread_descriptor::kTid) thread_id = static_cast<std::int32_t>(thread.varint());
            if (thread.field() == thread_descriptor::kThreadName) name = thread.text();
          }
          if (thread.damaged()) return fail(base_, thread.expected());
          break;
        }
        case track_descriptor::kCounter: {
          is_counter = true;
          ProtobufReader counter{reader.bytes()};
          while (counter.next()) {
            if (counter.field() == counter_descriptor::kUnitName) unit = counter.text();
            if (counter.field() == thence_fields::kCounterId) counter_id = counter.varint();
            if (counter.field() == counter_descriptor::kUnit && unit.empty()) {
              unit = counter.varint() == 1 ? "ns" : counter.varint() == 2 ? "count" : counter.varint() == 3 ? "bytes" : "";
            }
          }
          if (counter.damaged()) return fail(base_, counter.expected());
          break;
        }
        default: break;
      }
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    Track& track = tracks_[track_of(uuid)];
    if (parent != uuid && parent != track.parent) {
      track.parent = parent;
      track.up = kNone;
    }
    if (!name.empty()) track.name = text(name);
    if (!unit.empty()) track.unit = text(unit);
    if (process_id != 0) track.process_id = process_id;
    if (thread_id != 0) track.thread_id = thread_id;
    if (counter_id <= 0xffff && counter_id != 0) track.counter = static_cast<CounterId>(counter_id);
    track.is_thread = track.is_thread || is_thread;
    track.is_process = track.is_process || is_process;
    track.is_counter = track.is_counter || is_counter;
    return true;
  }

  // -- one event ------------------------------------------------------------------------------------------------------

  /// An event's fields, decoded; reused.
  struct Decoded {
    std::uint64_t type = 0;
    std::uint64_t time = 0;
    std::uint64_t track_uuid = 0;
    Name* name = nullptr;
    std::string_view name_text;
    Category category = Category::kOther;
    std::uint32_t category_text = 0;
    std::uint64_t callstack = 0;
    std::uint64_t correlation = 0;
    std::uint64_t bits = 0;
    ValueKind value_kind = ValueKind::kInt;
    bool has_value = false;
  };

  bool track_event(Sequence& sequence, std::span<const std::byte> bytes, std::uint64_t time, std::uint64_t clock) {
    using namespace perfetto;
    Decoded event;
    event.time = time;
    event.track_uuid = sequence.default_track;
    event.category_text = no_text_;
    annotations_.clear();
    flows_.clear();
    ended_flows_.clear();
    extra_values_.clear();
    extra_tracks_.clear();
    keys_ = text_keys_ = 0;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      const std::uint32_t field = reader.field();
      if (field - kFirstKey < kKeyCount) {
        const std::size_t key = field - kFirstKey;
        const std::uint64_t bit = std::uint64_t{1} << key;
        keys_ |= bit;
        if (!reader.is(WireType::kBytes)) [[likely]] {
          key_bits_[key] = reader.varint();
          text_keys_ &= ~bit;
        } else {
          key_bits_[key] = 0;
          key_texts_[key] = reader.text();
          text_keys_ |= bit;
        }
        continue;
      }
      switch (field) {
        case track_event::kType: event.type = reader.varint(); break;
        case track_event::kTrackUuid: event.track_uuid = reader.varint(); break;
        case track_event::kNameIid:
          event.name = sequence.names.find(reader.varint());
          // The ends of edges are for the picture: each edge is a record, too.
          if (sequence.ours && event.type == track_event::kInstant && event.name != nullptr && event.name->word == Word::kEdge) return true;
          break;
        case track_event::kName: event.name_text = reader.text(); break;
        case track_event::kCategoryIids:
          if (const CategoryName* category = sequence.categories.find(reader.varint()); category != nullptr) {
            event.category = category->category;
            event.category_text = category->text;
          }
          break;
        case track_event::kCorrelationId: event.correlation = reader.varint(); break;
        case track_event::kExtraCounterValues:
          if (extra_values_.size() < kMaxExtra) extra_values_.push_back(reader.varint());
          break;
        case event_defaults::kExtraCounterTrackUuids:
          if (extra_tracks_.size() < kMaxExtra) extra_tracks_.push_back(reader.varint());
          break;
        case kCategories22: event.category_text = text(reader.text()); break;
        case track_event::kDebugAnnotations: annotations_.push_back(reader.bytes()); break;
        case track_event::kCounterValue:
          event.has_value = true;
          event.value_kind = reader.int64() < 0 ? ValueKind::kInt : ValueKind::kUint;
          event.bits = reader.varint();
          break;
        case track_event::kDoubleCounterValue:
          event.has_value = true;
          event.value_kind = ValueKind::kDouble;
          event.bits = std::bit_cast<std::uint64_t>(reader.real());
          break;
        case track_event::kFlowIds:
        case 36: flows_.push_back(reader.varint()); break;
        case 48:
        case 42: ended_flows_.push_back(reader.varint()); break;
        case track_event::kCallstackIid: event.callstack = reader.varint(); break;
        default: break;
      }
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    if (!sequence.ours && event.category == Category::kThence && event.name != nullptr &&
        (event.name->word == Word::kTrace || event.name->word == Word::kLane)) {
      sequence.ours = true;
    }
    if (sequence.ours) {
      if (clock != kClockBoottime && clock != 0 && !to_trace_clock(clock_key(clock, sequence.id), event.time)) {
        ++skipped_;
        return true;
      }
      return ours(sequence, event);
    }
    return other(sequence, event, clock);
  }
  static constexpr std::uint32_t kCategories22 = 22;
  static constexpr std::size_t kMaxExtra = 8;  // Perfetto's own bound

  // -- our own events -------------------------------------------------------------------------------------------------

  [[nodiscard]] bool has(Key key) const noexcept { return (keys_ >> static_cast<unsigned>(key) & 1) != 0; }
  [[nodiscard]] std::uint64_t uint(Key key) const noexcept { return has(key) ? key_bits_[static_cast<std::size_t>(key)] : 0; }
  [[nodiscard]] std::string_view word_at(Key key) const noexcept {
    return (text_keys_ >> static_cast<unsigned>(key) & 1) != 0 ? key_texts_[static_cast<std::size_t>(key)] : std::string_view{};
  }
  template <class E>
  [[nodiscard]] E enum_at(Key key, E last, E unknown) const noexcept {
    return has(key) && uint(key) <= static_cast<std::uint64_t>(last) ? static_cast<E>(uint(key)) : unknown;
  }
  [[nodiscard]] Actor actor_at(Key key) const noexcept { return enum_at(key, Actor::kExternal, Actor::kUnknown); }

  struct HostNote {
    std::string_view key;
    Value value;
  };

  /// The host's, in order.
  bool decode_annotations(Sequence& sequence) {
    using namespace perfetto;
    host_notes_.clear();
    for (const std::span<const std::byte> bytes : annotations_) {
      std::uint32_t key = kNone;
      std::string_view key_text;
      Value value;
      bool has_value = false;
      ProtobufReader reader{bytes};
      while (reader.next()) {
        switch (reader.field()) {
          case debug_annotation::kNameIid:
            if (const std::uint32_t* known = sequence.keys.find(reader.varint()); known != nullptr) key = *known;
            break;
          case debug_annotation::kName: key_text = reader.text(); break;
          case debug_annotation::kUint:
            value = Value::of(reader.varint());
            has_value = true;
            break;
          case debug_annotation::kInt:
            value = Value::of(reader.int64());
            has_value = true;
            break;
          case debug_annotation::kBool:
            value = Value::of(reader.boolean());
            has_value = true;
            break;
          case debug_annotation::kDouble:
            value = Value::of(reader.real());
            has_value = true;
            break;
          case debug_annotation::kString:
            value = Value::of(reader.text());
            has_value = true;
            break;
          case debug_annotation::kStringIid:
            if (const std::uint32_t* known = sequence.values.find(reader.varint()); known != nullptr) {
              value = Value::of(texts_[*known]);
              has_value = true;
            }
            break;
          default: break;
        }
      }
      if (reader.damaged()) return fail(base_, reader.expected());
      if (!has_value) continue;
      if (key == cut_key_) {  // it follows what it is of
        if (!host_notes_.empty()) host_notes_.back().value.cut = true;
        continue;
      }
      host_notes_.push_back({key == kNone ? key_text : texts_[key], value});
    }
    return true;
  }

  static void fill(TraceEvent& event, EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane) noexcept {
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = static_cast<ResourceId>(resource & Event::kIdMask);
    event.root = root;
    event.lane = lane;
  }
  [[nodiscard]] static TraceEvent made(EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane) noexcept {
    TraceEvent event;
    fill(event, kind, time, resource, root, lane);
    return event;
  }
  /// Adds an event, made where it will lie; the reference is good up to the next one.
  TraceEvent& put(EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane) {
    TraceEvent& event = out_.add();
    fill(event, kind, time, resource, root, lane);
    return event;
  }
  [[nodiscard]] ResourceId resource_at(Key key) const noexcept { return static_cast<ResourceId>(uint(key) & Event::kIdMask); }
  [[nodiscard]] RootId root_at() const noexcept { return static_cast<RootId>(uint(Key::kRoot) & Event::kRootMask); }
  [[nodiscard]] LaneId lane_at(Key key) const noexcept { return static_cast<LaneId>(static_cast<std::uint32_t>(uint(key))); }
  [[nodiscard]] StackId stack_at(Sequence& sequence, const Decoded& event) const noexcept {
    if (event.callstack == 0) return static_cast<StackId>(static_cast<std::uint32_t>(uint(Key::kStack)));
    const std::uint32_t* known = sequence.stacks.find(event.callstack);
    return known == nullptr ? StackId::kNone : static_cast<StackId>(*known);
  }
  /// The lane of a track: its own, or that of the one above it.
  [[nodiscard]] LaneId lane_of(std::uint32_t track) noexcept {
    for (unsigned steps = 0; steps < 8; ++steps) {
      if (tracks_[track].has_lane) return tracks_[track].lane;
      track = parent_of(track);
      if (track == kNone) break;
    }
    return LaneId::kNone;
  }

  TypeId type_of(Decoded& event) {
    if (event.name != nullptr) {
      if (!event.name->has_type) {
        event.name->type = static_cast<std::uint16_t>(types_.number_of(texts_[event.name->text]));
        event.name->has_type = true;
      }
      tell_types();
      return static_cast<TypeId>(event.name->type);
    }
    const TypeId type = types_.number_of(event.name_text);
    tell_types();
    return type;
  }
  void tell_types() {
    if (!types_.untold()) [[likely]] return;
    Sink& sink = out_.sink();
    types_.tell([&](TypeId type, std::string_view name) {
      told_types_.push_back({type, std::string(name)});
      sink.define_type(type, name);
    });
  }

  bool trace_uuid(std::span<const std::byte> bytes) {
    std::uint64_t high = 0, low = 0;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == perfetto::trace_uuid::kMsb) high = reader.varint();
      if (reader.field() == perfetto::trace_uuid::kLsb) low = reader.varint();
    }
    if (reader.damaged()) return fail(base_, reader.expected());
    // One of ours is made of the salt by a bijection. It comes again, for readers that come late.
    const std::uint64_t salt = unmix64(high) ^ 1;
    if (mix64(salt ^ 1) != high || mix64(salt ^ 2) != low) return true;
    if (ours_began_ && salt == salt_) return true;
    TraceInfo info;
    info.salt = salt;
    begin_ours(info);
    return true;
  }
  /// The inverse of mix64.
  [[nodiscard]] static constexpr std::uint64_t unmix64(std::uint64_t value) noexcept {
    const auto unshift = [](std::uint64_t x, unsigned by) {
      std::uint64_t result = x;
      for (unsigned done = by; done < 64; done += by) result = x ^ result >> by;
      return result;
    };
    value = unshift(value, 31) * 0x319642b2d24d8ec3u;
    value = unshift(value, 27) * 0x96de1b173f119089u;
    return unshift(value, 30);
  }

  void begin_ours(const TraceInfo& info) {
    if (ours_began_ && info.salt != salt_ && salt_ != 0) end_ours();
    const bool first = !ours_began_;
    ours_began_ = began_ = true;
    salt_ = info.salt;
    Sink& sink = out_.sink();
    sink.begin(info);
    if (!first) return;
    // A further trace in the same file: what was told of types holds for it, too.
    for (const ToldType& type : told_types_) sink.define_type(type.type, type.name);
    for (const ClockSnapshot& clock : waiting_clocks_) sink.synchronise(clock);
    waiting_clocks_.clear();
  }
  void end_ours() {
    if (!ours_began_) return;
    // An invocation or a resource that is open stays open; only what is held back by a track is forgotten.
    for (Track& track : tracks_) {
      if (!track.has_lane) continue;
      track.open.clear();
      track.ended.clear();
    }
    if (!ended_) {
      out_.sink().end(summary());
      lane_summaries_.clear();
      totals_ = {};
    } else if (!others_.empty()) {
      out_.sink().end(summary());
    }
    ours_began_ = false;
    told_stacks_.clear();
    told_counters_.clear();
    told_lanes_.clear();
  }
  [[nodiscard]] TraceSummary summary() const noexcept {
    TraceSummary summary = totals_;
    summary.lanes = lane_summaries_;
    return summary;
  }

  bool ours(Sequence& sequence, Decoded& event) {
    using namespace perfetto;
    const Word word = event.name == nullptr ? Word::kOther : event.name->word;
    if (event.type == track_event::kInstant && word == Word::kEdge) return true;  // for the picture: each edge is a record, too
    if (annotations_.empty()) [[likely]] {
      host_notes_.clear();
    } else if (!decode_annotations(sequence)) {
      return false;
    }
    const std::uint32_t at = track_of(event.track_uuid);
    if (!ours_began_ && word != Word::kTrace) begin_ours(TraceInfo{});
    switch (event.type) {
      case track_event::kSliceBegin: begin_slice(sequence, event, at); break;
      case track_event::kSliceEnd: end_slice(event, at); break;
      case track_event::kInstant:
        if (event.category == Category::kThence) return announcement(event, at);
        record(sequence, event, at, word);
        break;
      case track_event::kCounter: counter(event, at); break;
      default: break;
    }
    if (!extra_values_.empty()) counters_at(sequence, event.time);
    return true;
  }
  /// Counters that rode on an event's packet; where not all of them are samples, a mask says which.
  void counters_at(Sequence& sequence, std::uint64_t time) {
    const std::vector<std::uint64_t>& tracks = extra_tracks_.empty() ? sequence.extra_counters : extra_tracks_;
    const std::uint64_t mask = has(Key::kCounters) ? uint(Key::kCounters) : ~std::uint64_t{0};
    for (std::size_t at = 0; at < extra_values_.size() && at < tracks.size(); ++at) {
      if ((mask >> at & 1) == 0) continue;
      const std::uint32_t track = track_of(tracks[at]);
      const auto value = static_cast<std::int64_t>(extra_values_[at]);
      TraceEvent counted = made(EventKind::kCounter, time, 0, RootId::kNone, lane_of(track));
      counted.counter = counter_of(track);
      out_.add(counted, Annotation{{}, value < 0 ? Value::of(value) : Value::of(extra_values_[at])});
    }
  }

  /// A slice on a lane's track is an invocation or a pause, on one below a lane the time it was parked, else a resource.
  [[nodiscard]] OpenKind kind_of(std::uint32_t at) noexcept {
    if (tracks_[at].has_lane) return has(Key::kPause) ? OpenKind::kPause : OpenKind::kInvocation;
    const std::uint32_t up = parent_of(at);
    return up != kNone && tracks_[up].has_lane ? OpenKind::kPark : OpenKind::kResource;
  }

  void begin_slice(Sequence& sequence, Decoded& event, std::uint32_t at) {
    Open open;
    open.id = event.correlation & Event::kIdMask;
    open.root = root_at();
    const std::uint64_t time = has(Key::kTrueBegin) ? uint(Key::kTrueBegin) : event.time;
    open.begin = event.time;
    open.split = uint(Key::kPart) != 0;
    open.invocation = uint(Key::kInvocation);
    open.kind = kind_of(at);
    switch (open.kind) {
      case OpenKind::kResource: {
        const TypeId type = type_of(event);
        TraceEvent& created = put(EventKind::kCreated, event.time, open.id, open.root, lane_at(Key::kLane));
        created.other = resource_at(Key::kTrigger);
        created.stack = stack_at(sequence, event);
        created.type = type;
        break;
      }
      case OpenKind::kInvocation:
        if (!open.split) entered(sequence, event, time, open.id, open.root, lane_of(at));  // else it goes on
        break;
      case OpenKind::kPause:
        open.pause = pause_of();
        if (open.split) break;
        put(EventKind::kPauseBegan, time, static_cast<std::uint64_t>(open.pause), RootId::kNone, lane_of(at));
        break;
      case OpenKind::kPark: put(EventKind::kParked, event.time, 0, RootId::kNone, lane_of(at)); break;
      case OpenKind::kOther: break;
    }
    // The parts of invocations that cross are written late: what is open stays in order of time.
    std::vector<Open>& all = tracks_[at].open;
    std::size_t place = all.size();
    while (place != 0 && all[place - 1].begin > open.begin) --place;
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(place), open);
  }
  /// An entry, and the wake before it where it says that.
  void entered(Sequence& sequence, const Decoded& event, std::uint64_t time, std::uint64_t id, RootId root, LaneId lane) {
    if (has(Key::kWokenBefore)) {
      const LaneId wake_lane = has(Key::kWakeLane) ? lane_at(Key::kWakeLane) : lane;
      scheduled(time - std::min(uint(Key::kWokenBefore), time), id, root, wake_lane);
    }
    TraceEvent& entered = put(EventKind::kEntered, time, id, root, lane);
    entered.other = resource_at(Key::kCauseBy);
    entered.flags = static_cast<std::uint8_t>(enum_at(Key::kCause, CauseKind::kExternal, CauseKind::kUnspecified));
    entered.stack = stack_at(sequence, event);
  }
  void scheduled(std::uint64_t time, std::uint64_t id, RootId root, LaneId lane) {
    TraceEvent& scheduled = put(EventKind::kScheduled, time, id, root, lane);
    scheduled.other = resource_at(Key::kWaker);
    const Actor unsaid = has(Key::kWaker) ? Actor::kInvocation : Actor::kUnknown;
    scheduled.flags = static_cast<std::uint8_t>(has(Key::kScheduledBy) ? actor_at(Key::kScheduledBy) : unsaid);
  }
  [[nodiscard]] PauseKind pause_of() const noexcept {
    return enum_at(Key::kPause, PauseKind::kGcWeakCallbacks, PauseKind::kOther);
  }

  void end_slice(const Decoded& event, std::uint32_t at) {
    Track& track = tracks_[at];
    // It ends the one that began last, at its time.
    std::size_t place = track.open.size();
    while (place != 0 && track.open[place - 1].begin > event.time) --place;
    Open open;
    if (place != 0) {
      open = track.open[place - 1];
      track.open.erase(track.open.begin() + static_cast<std::ptrdiff_t>(place - 1));
    } else {
      // It began in a part of the file that is not there: then it says of what it is the end.
      open.kind = kind_of(at);
      open.id = event.correlation & Event::kIdMask;
      open.root = root_at();
      open.pause = pause_of();
      if (open.kind != OpenKind::kPark && open.kind != OpenKind::kPause && open.id == 0) {
        ++unmatched_ends_;
        return;
      }
    }
    switch (open.kind) {
      case OpenKind::kResource: finish_resource(open.id, open.root, event.time); break;
      case OpenKind::kInvocation:
      case OpenKind::kPause: {
        const bool split = open.split || has(Key::kSplit);
        const std::uint64_t invocation = open.split ? open.invocation : uint(Key::kInvocation);
        if (uint(Key::kEndUnknown) != 0 || (split && !has(Key::kTrueEnd))) break;
        if (split) {  // each part that knows the end says it
          if (std::find(track.ended.begin(), track.ended.end(), invocation) != track.ended.end()) break;
          if (track.ended.size() >= 256) track.ended.erase(track.ended.begin(), track.ended.begin() + 128);
          track.ended.push_back(invocation);
        }
        const std::uint64_t time = has(Key::kTrueEnd) ? uint(Key::kTrueEnd) : event.time;
        const LaneId lane = has(Key::kExitLane) ? lane_at(Key::kExitLane) : lane_of(at);
        if (open.kind == OpenKind::kInvocation) {
          put(EventKind::kExited, time, open.id, open.root, lane);
        } else {
          put(EventKind::kPauseEnded, time, static_cast<std::uint64_t>(open.pause), RootId::kNone, lane);
        }
        break;
      }
      case OpenKind::kPark:
        if (uint(Key::kEndUnknown) == 0) put(EventKind::kUnparked, event.time, 0, RootId::kNone, lane_of(at));
        break;
      case OpenKind::kOther: break;
    }
  }

  /// What a resource's end says of it: its annotations, and when it was settled and destroyed.
  void finish_resource(std::uint64_t id, RootId root, std::uint64_t time) {
    hand_over_notes(id, root, time, LaneId::kNone);
    if (has(Key::kSettledBefore)) {
      settled(time - std::min(uint(Key::kSettledBefore), time), id, root, lane_at(Key::kSettledOn), StackId::kNone);
    }
    if (has(Key::kDestroyedAfter)) {
      put(EventKind::kDestroyed, time + uint(Key::kDestroyedAfter), id, root, lane_at(Key::kDestroyedOn));
    }
  }
  void settled(std::uint64_t time, std::uint64_t id, RootId root, LaneId lane, StackId stack) {
    TraceEvent& settled = put(EventKind::kSettled, time, id, root, lane);
    settled.other = resource_at(Key::kSettler);
    settled.flags = static_cast<std::uint8_t>(
        static_cast<unsigned>(enum_at(Key::kOutcome, Outcome::kResolved, Outcome::kUnknown)) |
        static_cast<unsigned>(actor_at(Key::kSettledBy)) << 4);
    settled.stack = stack;
  }
  void hand_over_notes(std::uint64_t id, RootId root, std::uint64_t time, LaneId lane) {
    for (const HostNote& note : host_notes_) {
      out_.add(made(EventKind::kAnnotated, time, id, root, lane), Annotation{note.key, note.value});
    }
  }

  void record(Sequence& sequence, Decoded& event, std::uint32_t at, Word word) {
    const std::uint64_t id = event.correlation & Event::kIdMask;
    const RootId root = root_at();
    // On a resource's track the lane is said; on a lane's it is the lane's.
    const LaneId lane = has(Key::kLane) ? lane_at(Key::kLane) : lane_of(at);
    switch (word) {
      case Word::kCreated: {
        const TypeId type = types_.number_of(word_at(Key::kType));
        tell_types();
        TraceEvent& created = put(EventKind::kCreated, event.time, id, root, lane);
        created.other = resource_at(Key::kTrigger);
        created.type = type;
        created.stack = stack_at(sequence, event);
        return;
      }
      case Word::kScheduled: return scheduled(event.time, id, root, lane);
      case Word::kEntered: return entered(sequence, event, event.time, id, root, lane);
      case Word::kExited: put(EventKind::kExited, event.time, id, root, lane);
        return;
      case Word::kSettled: return settled(event.time, id, root, lane, stack_at(sequence, event));
      case Word::kDestroyed: put(EventKind::kDestroyed, event.time, id, root, lane);
        return;
      case Word::kAwaits:
      case Word::kBridge: {
        TraceEvent& linked = put(EventKind::kLinked, event.time, id, root, lane);
        linked.other = resource_at(Key::kLinkCause);
        linked.flags = static_cast<std::uint8_t>(
            enum_at(Key::kLink, LinkKind::kBridge, word == Word::kBridge ? LinkKind::kBridge : LinkKind::kAwaits));
        linked.stack = stack_at(sequence, event);
        return;
      }
      case Word::kAnnotated: return hand_over_notes(id, root, event.time, lane);
      case Word::kFinished: put(EventKind::kRootFinished, event.time, id, root, lane);
        return;
      case Word::kSealed: {
        TraceEvent& sealed = put(EventKind::kRootSealed, event.time, 0, root, LaneId::kNone);
        sealed.flags = static_cast<std::uint8_t>(enum_at(Key::kSealReason, SealReason::kSessionEnded, SealReason::kFinished));
        return;
      }
      case Word::kOpen: {
        // Its slice has no end; its track is not used again.
        Track& track = tracks_[at];
        for (std::size_t open = track.open.size(); open-- != 0;) {
          if (track.open[open].id != id) continue;
          track.open.erase(track.open.begin() + static_cast<std::ptrdiff_t>(open));
          break;
        }
        return finish_resource(id, root, event.time);
      }
      case Word::kParked: put(EventKind::kParked, event.time, 0, RootId::kNone, lane);
        return;
      case Word::kUnparked: put(EventKind::kUnparked, event.time, 0, RootId::kNone, lane);
        return;
      case Word::kPauseEnded:
        put(EventKind::kPauseEnded, event.time, static_cast<std::uint64_t>(pause_of()), RootId::kNone, lane);
        return;
      case Word::kSample: {
        TraceEvent& sample = put(EventKind::kSample, event.time, id, root, lane);
        sample.flags = static_cast<std::uint8_t>(enum_at(Key::kSample, SampleKind::kOffCpu, SampleKind::kCpu));
        sample.stack = stack_at(sequence, event);
        return;
      }
      case Word::kOther:
      case Word::kTrace:
      case Word::kLane:
      case Word::kLost:
      case Word::kSummary:
      case Word::kEdge: break;
    }
    ++skipped_;
  }

  bool announcement(const Decoded& event, std::uint32_t at) {
    switch (event.name == nullptr ? Word::kOther : event.name->word) {
      case Word::kTrace: {
        if (uint(Key::kVersion) > perfetto::kFormatVersion) return fail(base_, "version 1 of thence's annotations");
        TraceInfo info;
        info.salt = uint(Key::kSalt);
        info.process_id = static_cast<std::int32_t>(uint(Key::kProcessId));
        info.process_name = word_at(Key::kName);
        info.clock = word_at(Key::kClock);
        info.overflow_policy = word_at(Key::kOverflow);
        info.sampling = word_at(Key::kSampling);
        if (info_told_ && ours_began_ && info.salt == salt_) return true;  // again, for readers that come late
        begin_ours(info);
        info_told_ = true;
        return true;
      }
      case Word::kLane: {
        Track& track = tracks_[at];
        track.has_lane = true;
        track.lane = lane_at(Key::kLane);
        const std::uint64_t number = uint(Key::kLane);
        if (number == 0 || told_lanes_.find(number) != nullptr) return true;
        told_lanes_.set(number, 1);
        LaneInfo info;
        info.id = track.lane;
        info.process_id = static_cast<std::int32_t>(uint(Key::kProcessId));
        info.thread_id = static_cast<std::int32_t>(uint(Key::kThreadId));
        info.name = word_at(Key::kName);
        out_.sink().define_lane(info);
        return true;
      }
      case Word::kLost: {
        LossRange range;
        range.count = uint(Key::kCount);
        range.first = static_cast<Timestamp>(uint(Key::kFirst));
        range.last = static_cast<Timestamp>(uint(Key::kLast));
        out_.add(made(EventKind::kLost, uint(Key::kFirst), 0, RootId::kNone, lane_at(Key::kLane)), range);
        return true;
      }
      case Word::kSummary: summarise(); return true;
      default: return true;
    }
  }
  void summarise() {
    if (has(Key::kLane)) {
      LaneSummary lane;
      lane.lane = lane_at(Key::kLane);
      lane.events = uint(Key::kEvents);
      lane.lost.count = uint(Key::kLost);
      lane.lost.first = static_cast<Timestamp>(uint(Key::kFirst));
      lane.lost.last = static_cast<Timestamp>(uint(Key::kLast));
      lane.misuse.exit_without_enter = uint(Key::kExitWithoutEnter);
      lane.misuse.exits_crossed = uint(Key::kExitsCrossed);
      lane.misuse.too_deep = uint(Key::kTooDeep);
      lane.misuse.annotations_cut = uint(Key::kAnnotationsCut);
      lane.misuse.stacks_refused = uint(Key::kStacksRefused);
      lane.misuse.roots_ends_lost = uint(Key::kRootEndsLost);
      lane.ring_bytes = uint(Key::kRingBytes);
      lane_summaries_.push_back(lane);
      return;
    }
    totals_.events = uint(Key::kEvents);
    totals_.lost = uint(Key::kLost);
    totals_.late_events = uint(Key::kLateEvents);
    totals_.after_seal = uint(Key::kAfterSeal);
    totals_.roots_sealed = uint(Key::kRootsSealed);
    totals_.roots_abandoned = uint(Key::kRootsAbandoned);
    totals_.drain_ns = uint(Key::kDrainNs);
    totals_.bytes_written = uint(Key::kBytes);
  }

  CounterId counter_of(std::uint32_t at) {
    const Track& track = tracks_[at];
    scratch_.assign(texts_[track.name]).append(1, '\0').append(texts_[track.unit]);
    static constexpr std::string_view kOwn[] = {"queue-depth", "pending", "loop-lag"};
    auto number = static_cast<std::uint32_t>(track.counter);
    for (std::size_t own = 0; own < std::size(kOwn) && number == 0; ++own) {
      if (texts_[track.name] == kOwn[own]) number = static_cast<std::uint32_t>(own) + 1;
    }
    if (number == 0) {
      if (counters_.size() >= 60'000 && counters_.find(scratch_) == IdMap::kAbsent) return CounterId::kNone;
      number = counters_.number_of(scratch_) + static_cast<std::uint32_t>(CounterId::kFirstOfHost);
    }
    if (told_counters_.find(number) == nullptr) {
      told_counters_.set(number, 1);
      out_.sink().define_counter(static_cast<CounterId>(number), texts_[track.name], texts_[track.unit]);
    }
    return static_cast<CounterId>(number);
  }
  void counter(const Decoded& event, std::uint32_t at) {
    if (!event.has_value) return;
    TraceEvent counted = made(EventKind::kCounter, event.time, 0, RootId::kNone, lane_of(at));
    counted.counter = counter_of(at);
    Value value = event.value_kind == ValueKind::kDouble ? Value::of(std::bit_cast<double>(event.bits))
                  : event.value_kind == ValueKind::kUint ? Value::of(event.bits)
                                                         : Value::of(static_cast<std::int64_t>(event.bits));
    if (has(Key::kValue)) value = Value::of(uint(Key::kValue));
    out_.add(counted, Annotation{{}, value});
  }

  // -- events of others -----------------------------------------------------------------------------------------------

  bool other(Sequence& sequence, Decoded& event, std::uint64_t clock) {
    if (event.type < perfetto::track_event::kSliceBegin || event.type > perfetto::track_event::kCounter) {
      ++skipped_;
      return true;
    }
    if (others_.size() >= options_.max_held) hand_over_others(others_.size() / 2);
    Other held;
    held.time = event.time;
    held.clock = clock == 0 ? 0 : clock_key(clock, sequence.id);
    held.bits = event.bits;
    held.kind = event.value_kind;
    held.track = track_of(event.track_uuid);
    held.type = static_cast<std::uint8_t>(event.type);
    held.name = event.name != nullptr ? event.name->text : event.name_text.empty() ? no_text_ : text(event.name_text);
    held.category = event.category_text;
    if (const std::uint32_t* stack = event.callstack == 0 ? nullptr : sequence.stacks.find(event.callstack)) held.stack = *stack;
    held.flows = static_cast<std::uint32_t>(held_flows_.size());
    held.flow_ends = static_cast<std::uint16_t>(std::min<std::size_t>(ended_flows_.size(), 1024));
    held.flow_count = static_cast<std::uint16_t>(std::min<std::size_t>(flows_.size(), 1024) + held.flow_ends);
    held_flows_.insert(held_flows_.end(), flows_.begin(),
                       flows_.begin() + (static_cast<std::ptrdiff_t>(held.flow_count) - held.flow_ends));
    held_flows_.insert(held_flows_.end(), ended_flows_.begin(), ended_flows_.begin() + held.flow_ends);
    held.notes = static_cast<std::uint32_t>(held_notes_.size());
    for (const std::span<const std::byte> annotation : annotations_) {
      path_.clear();
      if (!flatten(sequence, annotation)) return false;
    }
    held.note_count = static_cast<std::uint32_t>(held_notes_.size()) - held.notes;
    others_.push_back(held);
    const std::vector<std::uint64_t>& tracks = extra_tracks_.empty() ? sequence.extra_counters : extra_tracks_;
    for (std::size_t at = 0; at < extra_values_.size() && at < tracks.size(); ++at) {
      Other counted;
      counted.time = held.time;
      counted.clock = held.clock;
      counted.bits = extra_values_[at];
      counted.kind = static_cast<std::int64_t>(counted.bits) < 0 ? ValueKind::kInt : ValueKind::kUint;
      counted.track = track_of(tracks[at]);
      counted.type = static_cast<std::uint8_t>(perfetto::track_event::kCounter);
      counted.name = counted.category = no_text_;
      counted.notes = static_cast<std::uint32_t>(held_notes_.size());
      counted.flows = static_cast<std::uint32_t>(held_flows_.size());
      others_.push_back(counted);
    }
    return true;
  }

  /// An annotation and what is in it, to its depth, without recursion.
  bool flatten(Sequence& sequence, std::span<const std::byte> top) {
    using namespace perfetto;
    struct Level {
      ProtobufReader reader;
      std::size_t path = 0;       // length of the path before this annotation's own name
      std::uint32_t elements = 0;
      bool element = false;
    };
    std::vector<Level> levels;
    levels.push_back({ProtobufReader{top}, path_.size(), 0, false});
    constexpr std::size_t kMaxLevels = 32;
    while (!levels.empty()) {
      Level& level = levels.back();
      if (!level.reader.next()) {
        if (level.reader.damaged()) return fail(base_, level.reader.expected());
        path_.resize(level.path);
        levels.pop_back();
        continue;
      }
      OtherNote note;
      const ProtobufReader& field = level.reader;
      switch (field.field()) {
        case debug_annotation::kNameIid:
        case debug_annotation::kName: {
          if (level.element) continue;
          std::string_view name;
          if (field.field() == debug_annotation::kName) {
            name = field.text();
          } else if (const std::uint32_t* known = sequence.keys.find(field.varint()); known != nullptr) {
            name = texts_[*known];
          }
          path_.resize(level.path);
          if (path_.size() + name.size() < 512) {
            if (!path_.empty()) path_ += '.';
            path_ += name;
          }
          continue;
        }
        case debug_annotation::kBool:
          note.kind = ValueKind::kBool;
          note.bits = field.boolean() ? 1 : 0;
          break;
        case debug_annotation::kUint:
        case 7:  // a pointer
          note.kind = ValueKind::kUint;
          note.bits = field.varint();
          break;
        case debug_annotation::kInt:
          note.kind = ValueKind::kInt;
          note.bits = field.varint();
          break;
        case debug_annotation::kDouble:
          note.kind = ValueKind::kDouble;
          note.bits = std::bit_cast<std::uint64_t>(field.real());
          break;
        case debug_annotation::kString:
        case 9:  // JSON, as it is
          hold_text(note, field.text());
          break;
        case debug_annotation::kStringIid:
          hold_text(note, texts_[or_zero(sequence.values.find(field.varint()), no_text_)]);
          break;
        case 11:    // an entry of a dictionary
        case 12: {  // an element of an array
          const bool element = field.field() == 12;
          const auto bytes = field.bytes();
          const std::size_t path = path_.size();
          if (element && path_.size() < 512) path_ += "[" + std::to_string(level.elements++) + "]";
          if (levels.size() < kMaxLevels) {
            // An element has no name of its own: its path is whole, and goes with it.
            levels.push_back({ProtobufReader{bytes}, path, 0, element});
          } else {
            path_.resize(path);
          }
          continue;
        }
        default: continue;
      }
      note.key = text(path_);
      if (held_notes_.size() < 0xffff'0000u) held_notes_.push_back(note);
    }
    return true;
  }

  void hold_text(OtherNote& note, std::string_view text) {
    note.bits = held_text_.size();
    note.text_size = static_cast<std::uint32_t>(text.size());
    held_text_ += text;
  }

  /// Puts what is held in order and hands over the first `count`.
  void hand_over_others(std::size_t count) {
    if (others_.empty()) return;
    begin_others();
    std::size_t kept = 0;
    for (std::size_t at = 0; at < others_.size(); ++at) {
      Other event = others_[at];
      if (event.clock != 0) {
        if (to_trace_clock(event.clock, event.time)) {
          event.clock = 0;
        } else if (ended_) {
          ++skipped_;
          continue;
        }
      }
      others_[kept++] = event;
    }
    others_.resize(kept);
    count = std::min(count, kept);
    std::stable_sort(others_.begin(), others_.end(), [](const Other& a, const Other& b) {
      if ((a.clock != 0) != (b.clock != 0)) return b.clock != 0;
      return a.time < b.time;
    });
    std::size_t done = 0;
    for (; done < count; ++done) {
      if (others_[done].clock != 0 && !ended_) break;
      if (others_[done].time < handed_to_) {
        ++disordered_;
      } else {
        handed_to_ = others_[done].time;
      }
      take_other(others_[done]);
    }
    others_.erase(others_.begin(), others_.begin() + static_cast<std::ptrdiff_t>(done));
    if (others_.empty()) {
      held_notes_.clear();
      held_flows_.clear();
      held_text_.clear();
      return;
    }
    // What is left keeps its notes and flows; theirs move to the front.
    std::vector<OtherNote> notes;
    std::vector<std::uint64_t> flows;
    std::string texts;
    for (Other& event : others_) {
      const auto first_note = static_cast<std::uint32_t>(notes.size());
      for (std::uint32_t at = event.notes; at < event.notes + event.note_count; ++at) {
        OtherNote& note = held_notes_[at];
        if (note.kind != ValueKind::kString) continue;
        const std::size_t from = static_cast<std::size_t>(note.bits);
        note.bits = texts.size();
        texts.append(held_text_, from, note.text_size);
      }
      notes.insert(notes.end(), held_notes_.begin() + event.notes, held_notes_.begin() + event.notes + event.note_count);
      event.notes = first_note;
      const auto first_flow = static_cast<std::uint32_t>(flows.size());
      flows.insert(flows.end(), held_flows_.begin() + event.flows, held_flows_.begin() + event.flows + event.flow_count);
      event.flows = first_flow;
    }
    held_notes_ = std::move(notes);
    held_flows_ = std::move(flows);
    held_text_ = std::move(texts);
  }

  void begin_others() {
    if (others_began_) return;
    others_began_ = true;
    TraceInfo info;
    for (const Track& track : tracks_) {
      if (track.is_process && info.process_id == 0) {
        info.process_id = track.process_id;
        info.process_name = texts_[track.name];
      }
    }
    Sink& sink = out_.sink();
    if (began_) {
      // Another trace than ours, in the same file.
      if (ours_began_) {
        sink.end(summary());
        ours_began_ = false;
      }
      info = {};
    }
    began_ = true;
    sink.begin(info);
    for (const ToldType& type : told_types_) sink.define_type(type.type, type.name);
    for (const ClockSnapshot& clock : waiting_clocks_) sink.synchronise(clock);
    waiting_clocks_.clear();
    told_stacks_.clear();
    told_counters_.clear();
  }

  /// The lane of somebody's track: that of the thread it is, or lies below. kNone: of no thread.
  LaneId other_lane(std::uint32_t at) {
    Track& track = tracks_[at];
    if (track.lane_asked) return track.lane;
    track.lane_asked = true;
    std::uint32_t up = at;
    for (unsigned steps = 0; steps < 100 && up != kNone && !tracks_[up].is_thread; ++steps) {
      up = parent_of(up);
    }
    if (up == kNone || !tracks_[up].is_thread) return LaneId::kNone;
    Track& thread = tracks_[up];
    if (thread.lane == LaneId::kNone) {
      thread.lane_asked = true;
      thread.lane = static_cast<LaneId>(++other_lanes_);
      out_.sink().define_lane({thread.lane, thread.process_id, thread.thread_id, texts_[thread.name]});
    }
    tracks_[at].lane = thread.lane;
    return thread.lane;
  }

  StackId other_stack(std::uint32_t number) {
    if (number == 0 || number > other_stacks_.size()) return StackId::kNone;
    if (told_stacks_.find(number) == nullptr) {
      told_stacks_.set(number, 1);
      frames_ = other_stacks_[number - 1];
      define_stack(number);
    }
    return static_cast<StackId>(number);
  }

  void take_other(const Other& event) {
    using namespace perfetto;
    const LaneId lane = other_lane(event.track);
    switch (event.type) {
      case track_event::kCounter: {
        TraceEvent counted = made(EventKind::kCounter, event.time, 0, RootId::kNone, lane);
        counted.counter = counter_of(event.track);
        const Value value = event.kind == ValueKind::kDouble ? Value::of(std::bit_cast<double>(event.bits))
                            : event.kind == ValueKind::kUint ? Value::of(event.bits)
                                                             : Value::of(static_cast<std::int64_t>(event.bits));
        out_.add(counted, Annotation{{}, value});
        return;
      }
      case track_event::kSliceEnd: {
        Track& track = tracks_[event.track];
        if (track.open.empty()) {
          ++unmatched_ends_;
          return;
        }
        const Open open = track.open.back();
        if (open.id == 0) {  // one that was too deep
          track.open.pop_back();
          return;
        }
        flows_at(event, open.id, lane, false);
        notes_of(event, open.id, lane);
        track.open.pop_back();
        put(track.is_thread ? EventKind::kExited : EventKind::kSettled, event.time, open.id, RootId::kNone, lane);
        return;
      }
      default: break;
    }
    // A slice that begins, or an instant.
    const bool slice = event.type == track_event::kSliceBegin;
    if (slice && tracks_[event.track].open.size() >= options_.max_open) {
      ++skipped_;
      tracks_[event.track].open.push_back({});
      if (tracks_[event.track].open.size() > options_.max_open + 4096) tracks_[event.track].open.pop_back();
      return;
    }
    const std::uint64_t id = ++other_ids_;
    std::uint64_t trigger = tracks_[event.track].open.empty() ? 0 : tracks_[event.track].open.back().id;
    std::uint64_t by_flow = 0;
    for (std::size_t at = 0; at < event.flow_count && trigger == 0; ++at) {
      const std::uint32_t known = flow_by_id_.find(flow_key(held_flows_[event.flows + at]));
      if (known != kNone) trigger = by_flow = flow_ends_[known];
    }
    const TypeId type = types_.number_of(event.name == no_text_ ? std::string_view("slice") : texts_[event.name]);
    tell_types();
    const StackId stack = other_stack(event.stack);
    TraceEvent& created = put(EventKind::kCreated, event.time, id, RootId::kNone, lane);
    created.other = static_cast<ResourceId>(trigger);
    created.type = type;
    created.stack = stack;
    if (event.category != no_text_ && !texts_[event.category].empty()) {
      out_.add(made(EventKind::kAnnotated, event.time, id, RootId::kNone, lane),
               Annotation{"category", Value::of(texts_[event.category])});
    }
    notes_of(event, id, lane);
    flows_at(event, id, lane, true, by_flow);
    if (!slice) {
      put(EventKind::kSettled, event.time, id, RootId::kNone, lane);
      return;
    }
    Open open;
    open.id = id;
    Track& track = tracks_[event.track];
    track.open.push_back(open);
    if (track.is_thread) put(EventKind::kEntered, event.time, id, RootId::kNone, lane);
  }
  void notes_of(const Other& event, std::uint64_t id, LaneId lane) {
    for (std::uint32_t at = event.notes; at < event.notes + event.note_count; ++at) {
      const OtherNote& note = held_notes_[at];
      Value value;
      switch (note.kind) {
        case ValueKind::kString:
          value.text = std::string_view(held_text_).substr(static_cast<std::size_t>(note.bits), note.text_size);
          break;
        case ValueKind::kInt: value = Value::of(static_cast<std::int64_t>(note.bits)); break;
        case ValueKind::kUint: value = Value::of(note.bits); break;
        case ValueKind::kDouble: value = Value::of(std::bit_cast<double>(note.bits)); break;
        case ValueKind::kBool: value = Value::of(note.bits != 0); break;
      }
      out_.add(made(EventKind::kAnnotated, event.time, id, RootId::kNone, lane), Annotation{texts_[note.key], value});
    }
  }

  [[nodiscard]] static std::uint64_t flow_key(std::uint64_t id) noexcept { return id == 0 ? ~std::uint64_t{0} : id; }
  /// Each use of a flow's id joins the slice of the use before to this one.
  void flows_at(const Other& event, std::uint64_t id, LaneId lane, bool begins, std::uint64_t trigger = 0) {
    for (std::size_t at = 0; at < event.flow_count; ++at) {
      const std::uint64_t key = flow_key(held_flows_[event.flows + at]);
      const std::uint32_t known = flow_by_id_.find(key);
      const bool ends = at + event.flow_ends >= event.flow_count;
      if (known == kNone) {
        if (ends) continue;
        flow_by_id_.insert(key, static_cast<std::uint32_t>(flow_ends_.size()));
        flow_ends_.push_back(id);
        continue;
      }
      const std::uint64_t cause = flow_ends_[known];
      // The flow by which it was created is its trigger already.
      if (cause != id && cause != trigger) {
        TraceEvent& linked = put(EventKind::kLinked, event.time, id, RootId::kNone, lane);
        linked.other = static_cast<ResourceId>(cause);
        linked.flags = static_cast<std::uint8_t>(LinkKind::kAwaits);
      }
      if (ends) {
        flow_by_id_.erase(key);
      } else {
        flow_ends_[known] = id;
      }
    }
    static_cast<void>(begins);
  }

  struct ToldType {
    TypeId type = {};
    std::string name;
  };

  EventBatch<Sink> out_;
  Options options_;
  Inflate inflate_;
  ByteBuffer window_{1};
  ByteBuffer inflated_;
  std::size_t read_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t base_ = 0;  // where the packet's content begins in the file
  std::string_view wanted_ = "the rest of a packet";
  Damage damage_;
  bool ended_ = false;
  TextNumbers texts_;
  TypeNumbers types_;
  std::vector<ToldType> told_types_;
  std::vector<Sequence> sequences_;
  IdMap sequence_by_id_;
  std::uint32_t last_sequence_ = 0;
  std::vector<Track> tracks_;
  IdMap track_by_uuid_;
  std::uint32_t zero_track_ = kNone;
  std::uint32_t last_track_ = kNone;
  std::uint32_t no_text_ = 0;
  std::uint32_t cut_key_ = 0;
  // One event.
  std::vector<std::span<const std::byte>> annotations_;
  std::vector<std::uint64_t> flows_;
  std::vector<std::uint64_t> ended_flows_;
  std::vector<HostNote> host_notes_;
  std::uint64_t keys_ = 0;       // that it has, by number
  std::uint64_t text_keys_ = 0;  // of those the ones that are texts
  std::array<std::uint64_t, perfetto::kKeyCount> key_bits_{};
  std::array<std::string_view, perfetto::kKeyCount> key_texts_{};
  static_assert(perfetto::kKeyCount <= 64);
  std::vector<std::uint64_t> extra_values_;
  std::vector<std::uint64_t> extra_tracks_;
  std::vector<FrameEntry> frames_;
  std::vector<FrameInfo> infos_;
  std::string scratch_;
  std::string path_;
  // Our trace.
  bool began_ = false;
  bool ours_began_ = false;
  bool info_told_ = false;
  std::uint64_t salt_ = 0;
  std::vector<LaneSummary> lane_summaries_;
  TraceSummary totals_;
  perfetto::IidTable<std::uint8_t> told_stacks_;
  perfetto::IidTable<std::uint8_t> told_counters_;
  perfetto::IidTable<std::uint8_t> told_lanes_;
  TextNumbers counters_;
  // Clocks.
  std::vector<Reading> readings_;
  std::vector<ClockSnapshot> waiting_clocks_;
  ClockSnapshot last_clocks_;
  std::uint32_t snapshots_ = 0;
  std::uint64_t trace_clock_ = 0;
  // Others.
  std::vector<Other> others_;
  std::vector<OtherNote> held_notes_;
  std::vector<std::uint64_t> held_flows_;
  std::string held_text_;
  TextNumbers stack_texts_;
  std::vector<std::vector<FrameEntry>> other_stacks_;
  IdMap flow_by_id_;
  std::vector<std::uint64_t> flow_ends_;
  std::uint64_t other_ids_ = 0;
  std::uint32_t other_lanes_ = 0;
  std::uint64_t handed_to_ = 0;
  bool others_began_ = false;
  // Counts.
  std::uint64_t packets_ = 0;
  std::uint64_t unreadable_ = 0;
  std::uint64_t compressed_skipped_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t unmatched_ends_ = 0;
  std::uint64_t disordered_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
