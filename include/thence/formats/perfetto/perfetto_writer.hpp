// SPDX-License-Identifier: MIT
// perfetto_writer.hpp: packets, sequences, dictionaries and clocks of a Perfetto trace; what they mean is the caller's.
//
// A trace file is a run of packets, each a field of its own: the writer needs memory for one packet and for the
// dictionaries, never for the trace. A packet costs little because its sequence says once what all its packets share: the
// track, the counters, and an incremental clock, whose timestamps are the nanoseconds since the packet before (an event
// that is older than the one before it bears its absolute time). Names are sent once per sequence and then by number. A
// file whose head is cut off stays readable: every `clear_after_bytes` of the file each sequence forgets all that, and
// sends what it needs again.
//   PerfettoWriter writer{sink};
//   const auto lane = writer.open_sequence(track_uuid);
//   writer.prepare(lane);
//   auto event = writer.event(lane, time, track_event::kSliceBegin);
//   event.name(writer.intern_name("fetch"));
//   event.correlate(7);
//   event.end();
//   writer.flush();
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/protobuf_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Compresses a run of whole packets into one zlib stream, appended to `to`; false: it cannot, and the packets go out as
/// they are. The host brings it (with zlib: compress2), so that nothing here needs the library.
using PerfettoCompress = bool (*)(std::span<const std::byte> packets, ByteBuffer& to);

struct PerfettoWriterOptions {
  /// Bytes put together before the sink is called. Less: more calls of the sink. More: more is lost in a crash.
  std::size_t chunk_bytes = 64 * 1024;
  /// How much of a file whose head was cut off may be unreadable. Less costs file size: dictionaries and descriptors are
  /// written again each time.
  std::uint64_t clear_after_bytes = 16 * 1024 * 1024;
  /// The sequence ids: this one and those after it. Up to 127 they take one byte in each packet.
  std::uint32_t first_sequence = 2;
  /// Names (of events, of annotation keys) that are kept to be sent by number; those beyond are sent in full each time.
  std::size_t max_names = 16 * 1024;
  /// Stacks kept to be sent again; a stack beyond is missing from the file (and counted).
  std::size_t max_stack_bytes = 64 * 1024 * 1024;
  /// None: packets are written as they are. Else they leave in compressed runs of `compress_bytes`: a third of the size,
  /// for time on the draining thread, and what has not filled a run is lost in a crash. Perfetto takes runs below 512 KB.
  PerfettoCompress compress = nullptr;
  std::size_t compress_bytes = 384 * 1024;
};

/// A packet stream of one producer.
///   Shape     one file; several sequences, each with its dictionaries.
///   Threads   one.
///   Cost      O(bytes) an event; no allocation once buffers and dictionaries have grown.
///   When full a sink that refuses: see failed(); the writer goes on, and what it makes is counted and dropped.
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it. Nothing is written on destruction: call flush().
template <ByteSink Sink>
class PerfettoWriter {
  enum Dictionary : unsigned {
    kNames, kCategories, kKeys, kValues, kFunctions, kSources, kMappingPaths, kBuildIds, kMappings, kFrames, kCallstacks,
    kDictionaries
  };

  struct Sequence {
    std::uint32_t id = 0;
    std::uint32_t generation = 0;  // 0: nothing sent yet
    std::uint64_t last_time = 0;
    std::array<std::byte, 16> head{};  // the fields that every packet begins with
    std::uint32_t head_size = 0;
    std::uint64_t default_track = 0;
    std::uint64_t cleared_at = 0;
    std::uint64_t good_until = 0;  // byte of the file at which it starts anew; 0: with its next packet
    bool dropped = false;
    std::vector<std::uint64_t> counters;  // extra_counter_track_uuids
    // For each dictionary and index, the generation in which it was last sent.
    std::array<std::vector<std::uint32_t>, kDictionaries> sent;
  };
  /// What an event takes without its texts, and what of that stands before the event's own fields.
  static constexpr std::size_t kEventRoom = 1024, kHeadRoom = 32;

 public:
  using Options = PerfettoWriterOptions;

  explicit PerfettoWriter(Sink& sink, const Options& options = {})
      : options_(options),
        gate_(sink),
        out_((options.compress == nullptr ? options.chunk_bytes : options.compress_bytes) + 4096),
        writer_(out_),
        interned_writer_(interned_),
        names_(options.max_names, options.max_names * 64),
        keys_(options.max_names, options.max_names * 64),
        stacks_(options.max_stack_bytes),
        chunk_(options.compress == nullptr ? options.chunk_bytes : options.compress_bytes) {}
  PerfettoWriter(const PerfettoWriter&) = delete;
  PerfettoWriter& operator=(const PerfettoWriter&) = delete;

  // -- sequences ------------------------------------------------------------------------------------------------------

  /// A new sequence whose events lie on `default_track` unless they say otherwise (0: they always say).
  [[nodiscard]] std::uint32_t open_sequence(std::uint64_t default_track) {
    Sequence sequence;
    sequence.id = options_.first_sequence + static_cast<std::uint32_t>(sequences_.size());
    sequence.default_track = default_track;
    std::byte* to = sequence.head.data();
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kTrustedPacketSequenceId, WireType::kVarint));
    to = put_varint(to, sequence.id);
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kSequenceFlags, WireType::kVarint));
    to = put_varint(to, perfetto::trace_packet::kNeedsIncrementalState);
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kTimestamp, WireType::kVarint));
    sequence.head_size = static_cast<std::uint32_t>(to - sequence.head.data());
    sequences_.push_back(std::move(sequence));
    return static_cast<std::uint32_t>(sequences_.size() - 1);
  }
  [[nodiscard]] std::size_t sequences() const noexcept { return sequences_.size(); }

  /// Says on the next packet of this sequence that something was lost before it.
  void mark_dropped(std::uint32_t sequence) noexcept {
    sequences_[sequence].dropped = true;
    start_again(sequence);
  }
  /// Makes every sequence start anew with its next packet: what follows can be read without what went before.
  void restart() noexcept {
    for (Sequence& sequence : sequences_) sequence.good_until = 0;
  }
  /// The same for one sequence.
  void start_again(std::uint32_t sequence) noexcept { sequences_[sequence].good_until = 0; }
  /// The time that sequences which start (again) count from, at the earliest.
  void reach(std::uint64_t time) noexcept { now_ = time; }

  /// To be called before describing tracks and beginning an event: starts the sequence (again) where that is due. Then
  /// `generation` has changed, and descriptors of that sequence are to be sent again.
  [[gnu::always_inline]] inline void prepare(std::uint32_t index) {
    if (total_ >= sequences_[index].good_until) [[unlikely]] start(index);
  }
  /// Counts `clear_after_bytes` of this sequence from here: what it has just described is not to make it start again.
  void count_from_here(std::uint32_t sequence) noexcept { clear_from(sequences_[sequence]); }
  [[nodiscard]] std::uint64_t bytes_since_start(std::uint32_t sequence) const noexcept { return total_ - sequences_[sequence].cleared_at; }
  [[nodiscard]] std::uint32_t generation(std::uint32_t sequence) const noexcept { return sequences_[sequence].generation; }
  [[nodiscard]] std::uint32_t sequence_id(std::uint32_t sequence) const noexcept { return sequences_[sequence].id; }

  /// The counter tracks whose values `Event::counter` samples, in this order; described before.
  [[nodiscard]] std::size_t extra_counters(std::uint32_t sequence) const noexcept { return sequences_[sequence].counters.size(); }
  void add_extra_counter(std::uint32_t index, std::uint64_t track) {
    Sequence& sequence = sequences_[index];
    sequence.counters.push_back(track);
    {
      const auto packet = writer_.message(perfetto::trace::kPacket);
      writer_.varint(perfetto::trace_packet::kTrustedPacketSequenceId, sequence.id);
      writer_.varint(perfetto::trace_packet::kSequenceFlags, perfetto::trace_packet::kNeedsIncrementalState);
      put_defaults(sequence);
    }
    packet_done();
  }
  static constexpr std::size_t kMaxExtraCounters = 8;

  // -- packets --------------------------------------------------------------------------------------------------------

  /// A packet whose content `fill(ProtobufWriter&)` writes; with a sequence id and no time.
  template <class Fill>
  void packet(std::uint32_t sequence, Fill&& fill) {
    {
      const auto message = writer_.message(perfetto::trace::kPacket);
      writer_.varint(perfetto::trace_packet::kTrustedPacketSequenceId, sequences_[sequence].id);
      fill(writer_);
    }
    packet_done();
  }
  void track_descriptor(std::uint32_t sequence, std::uint64_t uuid, auto&& fill) {
    packet(sequence, [&](ProtobufWriter& writer) {
      const auto descriptor = writer.message(perfetto::trace_packet::kTrackDescriptor);
      writer.varint(perfetto::track_descriptor::kUuid, uuid);
      fill(writer);
    });
  }
  void clock_snapshot(std::uint32_t sequence, const ClockSnapshot& clocks) {
    using namespace perfetto;
    packet(sequence, [&](ProtobufWriter& writer) {
      const auto snapshot = writer.message(trace_packet::kClockSnapshot);
      const auto add = [&](std::uint64_t id, std::uint64_t time) {
        if (time == 0) return;  // not read
        const auto one = writer.message(clock_snapshot::kClocks);
        writer.varint(clock::kClockId, id);
        writer.varint(clock::kTimestamp, time);
      };
      add(kClockBoottime, clocks.boottime);
      add(kClockMonotonic, clocks.monotonic);
      add(kClockRealtime, clocks.realtime);
      writer.varint(clock_snapshot::kPrimaryTraceClock, kClockBoottime);
    });
  }

  // -- names ----------------------------------------------------------------------------------------------------------

  /// A number for a name, for `name`, `category` and `annotate`. 0 where the dictionary is full: then send it in full.
  [[nodiscard]] std::uint32_t intern_name(std::string_view text) { return names_.intern(text); }
  [[nodiscard]] std::uint32_t intern_key(std::string_view text) { return keys_.intern(text); }
  [[nodiscard]] std::string_view name_text(std::uint32_t name) const noexcept { return names_.view(name); }
  [[nodiscard]] std::string_view key_text(std::uint32_t key) const noexcept { return keys_.view(key); }
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  [[nodiscard]] std::uint64_t stacks_refused() const noexcept { return stacks_.refused(); }

  // -- one event ------------------------------------------------------------------------------------------------------

  /// An event that is being written: a place in the buffer, kept in registers. Its fields go in any order; `end` closes
  /// it. Nothing else is written meanwhile.
  class Event {
   public:
    Event(Event&&) noexcept = default;
    Event& operator=(Event&&) = delete;

    [[gnu::always_inline]] inline void name(std::uint32_t name) {
      if (writer_->first_sight(kNames, sequence_, name)) {
        writer_->define_string(perfetto::interned_data::kEventNames, name, writer_->names_.view(name));
      }
      put<perfetto::track_event::kNameIid>(name);
    }
    void category(std::uint32_t name) {
      if (writer_->first_sight(kCategories, sequence_, name)) {
        writer_->define_string(perfetto::interned_data::kEventCategories, name, writer_->names_.view(name));
      }
      put<perfetto::track_event::kCategoryIids>(name);
    }
    void name_in_full(std::string_view text) { put_text(perfetto::track_event::kName, text); }
    /// What Perfetto joins slices of one operation by: the resource's id.
    [[gnu::always_inline]] inline void correlate(std::uint64_t id) { put<perfetto::track_event::kCorrelationId>(id); }
    void flow(std::uint64_t id) {
      constexpr std::uint64_t kTag = protobuf_tag(perfetto::track_event::kFlowIds, WireType::kFixed64);
      to_ = put_varint(to_, kTag);
      to_ = put_fixed64(to_, id);
    }
    void counter_value(std::int64_t value) { put<perfetto::track_event::kCounterValue>(static_cast<std::uint64_t>(value)); }
    void counter_value(double value) {
      to_ = put_varint(to_, protobuf_tag(perfetto::track_event::kDoubleCounterValue, WireType::kFixed64));
      to_ = put_fixed64(to_, std::bit_cast<std::uint64_t>(value));
    }
    /// The next of the sequence's extra counters.
    void counter(std::int64_t value) { put<perfetto::track_event::kExtraCounterValues>(static_cast<std::uint64_t>(value)); }

    [[gnu::always_inline]] inline void say(perfetto::Key key, std::uint64_t value) {
      const std::uint32_t tag = perfetto::field_of(key) << 3;
      to_[0] = static_cast<std::byte>(0x80u | (tag & 0x7fu));
      to_[1] = static_cast<std::byte>(tag >> 7);
      to_ = put_varint(to_ + 2, value);
    }
    void say(perfetto::Key key, std::string_view text) { put_text(perfetto::field_of(key), text); }

    /// A debug annotation of the host's. `key` 0: `key_in_full` is sent.
    void annotate(std::uint32_t key, std::string_view key_in_full, const Value& value) {
      if (key != 0 && writer_->first_sight(kKeys, sequence_, key)) {
        writer_->define_string(perfetto::interned_data::kDebugAnnotationNames, key, writer_->keys_.view(key));
      }
      leave();
      const std::size_t texts = (key == 0 ? key_in_full.size() : 0) + (value.kind == ValueKind::kString ? value.text.size() : 0);
      to_ = put_annotation(writer_->out_.reserve(kEventRoom + texts), key, key_in_full, value);
    }

    /// False where the stack is not known: the event bears none.
    bool callstack(StackId id) {
      if (!writer_->stacks_.knows(id)) return false;
      const auto iid = static_cast<std::uint32_t>(number(id));
      if (writer_->first_sight(kCallstacks, sequence_, iid)) writer_->define_callstack(sequence_, id);
      put<perfetto::track_event::kCallstackIid>(iid);
      return true;
    }

    [[gnu::always_inline]] inline void end() {
      std::byte* const base = writer_->out_.data();
      const auto size = static_cast<std::size_t>(to_ - base) - event_;
      if (size < 0x80 - kHeadRoom && writer_->interned_.empty()) [[likely]] {
        base[event_ - 1] = static_cast<std::byte>(size);
        base[packet_ - 1] = static_cast<std::byte>(size + event_ - packet_);
        writer_->out_.advance(to_);
      } else {
        leave();
        writer_->close_event(event_, packet_);
      }
      writer_->packet_done();
    }

   private:
    friend class PerfettoWriter;
    Event(PerfettoWriter& writer, Sequence& sequence) noexcept : writer_(&writer), sequence_(&sequence) {}

    template <perfetto::Field kField>
    [[gnu::always_inline]] inline void put(std::uint64_t value) {
      static_assert(kField < 2048);
      constexpr auto kTag = static_cast<std::uint32_t>(protobuf_tag(kField, WireType::kVarint));
      if constexpr (kTag < 0x80) {
        *to_++ = static_cast<std::byte>(kTag);
      } else {
        to_[0] = static_cast<std::byte>(0x80u | (kTag & 0x7fu));
        to_[1] = static_cast<std::byte>(kTag >> 7);
        to_ += 2;
      }
      to_ = put_varint(to_, value);
    }
    void put_text(perfetto::Field field, std::string_view text) {
      leave();
      writer_->writer_.string(field, text);
      enter();
    }
    void leave() noexcept { writer_->out_.advance(to_); }
    void enter() { to_ = writer_->out_.reserve(kEventRoom); }

    PerfettoWriter* writer_;
    Sequence* sequence_;
    std::byte* to_ = nullptr;  // the buffer has kEventRoom from `enter` on: enough for all fields but texts
    std::size_t packet_ = 0;  // where its content begins in the buffer
    std::size_t event_ = 0;
  };

  /// Opens a packet with an event of `type` (perfetto::track_event::k...) on `track` (0: the sequence's own).
  [[nodiscard]] Event event(std::uint32_t index, std::uint64_t time, std::uint64_t type, std::uint64_t track = 0) {
    using namespace perfetto;
    Sequence& sequence = sequences_[index];
    Event event(*this, sequence);
    std::byte* const base = out_.reserve(kEventRoom);
    const std::size_t start = out_.size();
    std::byte* to = base;
    *to = static_cast<std::byte>(protobuf_tag(trace::kPacket, WireType::kBytes));
    to += 2;
    event.packet_ = start + 2;
    std::memcpy(to, sequence.head.data(), sequence.head.size());
    to += sequence.head_size;
    if (time >= sequence.last_time) [[likely]] {
      to = put_varint(to, time - sequence.last_time);
      sequence.last_time = time;
    } else {
      to = put_varint(to, time);
      to = put_varint(to, protobuf_tag(trace_packet::kTimestampClockId, WireType::kVarint));
      to = put_varint(to, kClockBoottime);
    }
    to[0] = static_cast<std::byte>(protobuf_tag(trace_packet::kTrackEvent, WireType::kBytes));
    to[2] = static_cast<std::byte>(protobuf_tag(track_event::kType, WireType::kVarint));
    to[3] = static_cast<std::byte>(type);
    to += 4;
    event.event_ = start + static_cast<std::size_t>(to - base) - 2;
    if (track != 0) {
      *to = static_cast<std::byte>(protobuf_tag(track_event::kTrackUuid, WireType::kVarint));
      to = put_wide_varint(to + 1, track);
    }
    event.to_ = to;
    return event;
  }

  // -- output ---------------------------------------------------------------------------------------------------------

  /// Hands whole packets to the sink: all, but where they are compressed: then what fills a run, or `all` of it. Returns
  /// !failed().
  bool flush(bool all = false) {
    if (options_.compress == nullptr) {
      gate_.write(out_.bytes());
      passed_ += out_.size();
      out_.clear();
    } else if (all || out_.size() >= options_.compress_bytes) {
      compress();
    }
    return !gate_.failed();
  }
  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return gate_.written(); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return gate_.refused(); }
  [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }
  /// Bytes that have not been handed to the sink.
  [[nodiscard]] std::size_t waiting() const noexcept { return out_.size(); }

 private:
  [[nodiscard]] bool first_sight(Dictionary dictionary, Sequence* sequence, std::uint32_t index) {
    std::vector<std::uint32_t>& sent = sequence->sent[dictionary];
    if (index < sent.size() && sent[index] == sequence->generation) [[likely]] return false;
    if (index >= sent.size()) sent.resize(std::size_t{index} + index / 2 + 16);
    sent[index] = sequence->generation;
    return true;
  }

  void clear_from(Sequence& sequence) noexcept {
    sequence.cleared_at = total_;
    const std::uint64_t left = ~std::uint64_t{0} - total_;
    sequence.good_until = total_ + std::min(left, options_.clear_after_bytes);
  }

  [[gnu::noinline]] void start(std::uint32_t index) {
    using namespace perfetto;
    Sequence& sequence = sequences_[index];
    {
      const auto packet = writer_.message(trace::kPacket);
      writer_.varint(trace_packet::kTrustedPacketSequenceId, sequence.id);
      writer_.varint(trace_packet::kSequenceFlags, trace_packet::kIncrementalStateCleared);
      if (sequence.generation == 0) {
        writer_.boolean(trace_packet::kFirstPacketOnSequence, true);
      } else if (sequence.dropped) {
        writer_.varint(trace_packet::kPreviousPacketDropped, trace_packet::kDropPresent | trace_packet::kDropBufferFull);
      }
      sequence.counters.clear();
      put_defaults(sequence);
    }
    // A mark on a sequence's first packet is not counted by Perfetto: it goes on the next one.
    const bool again = sequence.generation == 0 && sequence.dropped;
    if (!again) sequence.dropped = false;
    ++sequence.generation;
    clear_from(sequence);
    packet_done();
    if (again) return start(index);
    sequence.last_time = now_;
    packet(index, [&](ProtobufWriter& writer) {
      const auto snapshot = writer.message(trace_packet::kClockSnapshot);
      {
        const auto delta = writer.message(clock_snapshot::kClocks);
        writer.varint(clock::kClockId, kClockDelta);
        writer.varint(clock::kTimestamp, now_);
        writer.boolean(clock::kIsIncremental, true);
      }
      {
        const auto boottime = writer.message(clock_snapshot::kClocks);
        writer.varint(clock::kClockId, kClockBoottime);
        writer.varint(clock::kTimestamp, now_);
      }
      writer.varint(clock_snapshot::kPrimaryTraceClock, kClockBoottime);
    });
  }
  void put_defaults(const Sequence& sequence) {
    using namespace perfetto;
    const auto defaults = writer_.message(trace_packet::kTracePacketDefaults);
    writer_.varint(packet_defaults::kTimestampClockId, kClockDelta);
    if (sequence.default_track == 0) return;
    const auto event = writer_.message(packet_defaults::kTrackEventDefaults);
    writer_.varint(event_defaults::kTrackUuid, sequence.default_track);
    for (const std::uint64_t counter : sequence.counters) writer_.varint(event_defaults::kExtraCounterTrackUuids, counter);
  }

  /// `size` bytes are the value's, with their own length where they have one. All lengths are known before anything is
  /// written: nothing is moved, and room was asked for once.
  [[gnu::always_inline]] [[nodiscard]] static inline std::byte* begin_annotation(std::byte* to, std::uint32_t key, std::string_view key_in_full,
                                                                                  std::uint64_t value_tag, std::size_t size) noexcept {
    using namespace perfetto;
    *to++ = static_cast<std::byte>(protobuf_tag(track_event::kDebugAnnotations, WireType::kBytes));
    to = put_varint(to, 2 + (key != 0 ? varint_size(key) : text_size(key_in_full)) + size);
    if (key != 0) [[likely]] {
      *to++ = static_cast<std::byte>(protobuf_tag(debug_annotation::kNameIid, WireType::kVarint));
      to = put_varint(to, key);
    } else {
      *to++ = static_cast<std::byte>(protobuf_tag(debug_annotation::kName, WireType::kBytes));
      to = put_text(to, key_in_full);
    }
    *to++ = static_cast<std::byte>(value_tag);
    return to;
  }
  [[nodiscard]] static std::byte* put_annotation(std::byte* to, std::uint32_t key, std::string_view key_in_full, const Value& value) noexcept {
    using namespace perfetto;
    if (value.kind == ValueKind::kString) {
      to = begin_annotation(to, key, key_in_full, protobuf_tag(debug_annotation::kString, WireType::kBytes), text_size(value.text));
      return put_text(to, value.text);
    }
    if (value.kind == ValueKind::kDouble) {
      to = begin_annotation(to, key, key_in_full, protobuf_tag(debug_annotation::kDouble, WireType::kFixed64), 8);
      return put_fixed64(to, std::bit_cast<std::uint64_t>(value.real));
    }
    const Field field = value.kind == ValueKind::kBool  ? debug_annotation::kBool
                        : value.kind == ValueKind::kInt ? debug_annotation::kInt
                                                        : debug_annotation::kUint;
    const std::uint64_t bits = value.kind == ValueKind::kBool  ? std::uint64_t{value.boolean}
                               : value.kind == ValueKind::kInt ? static_cast<std::uint64_t>(value.integer)
                                                               : value.uinteger;
    to = begin_annotation(to, key, key_in_full, protobuf_tag(field, WireType::kVarint), varint_size(bits));
    return put_varint(to, bits);
  }
  [[nodiscard]] static std::size_t text_size(std::string_view text) noexcept { return varint_size(text.size()) + text.size(); }
  [[nodiscard]] static std::byte* put_text(std::byte* to, std::string_view text) noexcept {
    to = put_varint(to, text.size());
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return to + text.size();
  }
  void define_string(std::uint32_t field, std::uint64_t iid, std::string_view text) {
    const auto entry = interned_writer_.message(field);
    interned_writer_.varint(perfetto::interned_string::kIid, iid);
    interned_writer_.string(perfetto::interned_string::kText, text);
  }
  void define_callstack(Sequence* sequence, StackId id) {
    using namespace perfetto;
    const auto frames = stacks_.frames_of(id);
    for (const std::uint32_t index : frames) {
      if (first_sight(kFrames, sequence, index)) define_frame(sequence, index);
    }
    const auto entry = interned_writer_.message(interned_data::kCallstacks);
    interned_writer_.varint(callstack::kIid, number(id));
    // Perfetto has the outermost frame first.
    for (std::size_t at = frames.size(); at-- != 0;) interned_writer_.varint(callstack::kFrameIds, frames[at]);
  }
  void define_frame(Sequence* sequence, std::uint32_t index) {
    using namespace perfetto;
    const StoredFrame& stored = stacks_.frame(index);
    const bool native = stored.kind == FrameKind::kNative;
    if (stored.function != 0 && first_sight(kFunctions, sequence, stored.function)) {
      define_string(interned_data::kFunctionNames, stored.function, stacks_.string(stored.function));
    }
    std::uint32_t mapping = 0;
    if (native) {
      mapping = mapping_of(sequence, stored);
    } else if (stored.file != 0 && first_sight(kSources, sequence, stored.file)) {
      define_string(interned_data::kSourcePaths, stored.file, stacks_.string(stored.file));
    }
    const auto entry = interned_writer_.message(interned_data::kFrames);
    interned_writer_.varint(frame::kIid, index);
    if (stored.function != 0) interned_writer_.varint(frame::kFunctionNameId, stored.function);
    if (native) {
      interned_writer_.varint(frame::kMappingId, mapping);
      interned_writer_.varint(frame::kRelPc, stored.relative_pc);
      interned_writer_.varint(frame::kKind, frame::kNative);
      interned_writer_.varint(thence_fields::kFramePc, stored.pc);
    } else {
      if (stored.file != 0) interned_writer_.varint(frame::kSourcePathIid, stored.file);
      if (stored.kind == FrameKind::kScript) interned_writer_.varint(frame::kKind, frame::kInterpreted);
    }
    if (stored.line != 0) interned_writer_.varint(frame::kLineNumber, stored.line);
    if (stored.column != 0) interned_writer_.varint(thence_fields::kFrameColumn, stored.column);
  }
  std::uint32_t mapping_of(Sequence* sequence, const StoredFrame& stored) {
    using namespace perfetto;
    // One mapping for each module; the key is never 0.
    const std::uint64_t key = (std::uint64_t{stored.file} << 32 | stored.build_id) + 1;
    std::uint32_t mapping = mappings_.find(key);
    if (mapping == IdMap::kAbsent) {
      mapping = static_cast<std::uint32_t>(mappings_.size() + 1);
      mappings_.insert(key, mapping);
    }
    if (!first_sight(kMappings, sequence, mapping)) return mapping;
    const std::string_view path = stored.file == 0 ? std::string_view{} : stacks_.string(stored.file);
    if (stored.build_id != 0 && first_sight(kBuildIds, sequence, stored.build_id)) {
      define_build_id(stored.build_id);
    }
    if (stored.file != 0 && first_sight(kMappingPaths, sequence, stored.file)) {
      // Perfetto puts a '/' before each component.
      define_string(interned_data::kMappingPaths, stored.file, path.substr(path.starts_with('/') ? 1 : 0));
    }
    const auto entry = interned_writer_.message(interned_data::kMappings);
    interned_writer_.varint(mapping::kIid, mapping);
    if (stored.build_id != 0) interned_writer_.varint(mapping::kBuildId, stored.build_id);
    if (stored.file != 0) {
      interned_writer_.varint(mapping::kPathStringIds, stored.file);
      if (!path.starts_with('/')) interned_writer_.varint(thence_fields::kMappingPath, stored.file);
    }
    return mapping;
  }
  /// Perfetto has build ids as raw bytes. One that is not hexadecimal is sent as it is.
  void define_build_id(std::uint32_t index) {
    const std::string_view hex = stacks_.string(index);
    const auto digit = [](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    };
    std::array<char, 64> raw{};
    bool whole = hex.size() % 2 == 0 && hex.size() / 2 <= raw.size();
    for (std::size_t at = 0; whole && at < hex.size(); at += 2) {
      const int high = digit(hex[at]), low = digit(hex[at + 1]);
      if (high < 0 || low < 0) whole = false;
      raw[at / 2] = static_cast<char>(high * 16 + low);
    }
    define_string(perfetto::interned_data::kBuildIds, index, whole ? std::string_view{raw.data(), hex.size() / 2} : hex);
  }

  /// Lengths that need more than a byte, and what the event was the first to name.
  void close_event(std::size_t event, std::size_t packet) {
    close_message(event);
    if (!interned_.empty()) {
      writer_.bytes(perfetto::trace_packet::kInternedData, interned_.bytes());
      interned_.clear();
    }
    close_message(packet);
  }
  void close_message(std::size_t content) {
    const std::size_t length = out_.size() - content;
    const std::size_t extra = varint_size(length) - 1;
    if (extra != 0) out_.open_gap(content, extra);
    put_varint(out_.data() + content - 1, length);
  }

  void packet_done() {
    ++packets_;
    total_ = passed_ + out_.size();
    if (out_.size() >= chunk_) [[unlikely]] flush();
  }

  /// A run of compressed packets is a packet, too.
  void compress() {
    if (out_.empty()) return;
    compressed_.clear();
    if (!options_.compress(out_.bytes(), compressed_)) {
      gate_.write(out_.bytes());
    } else {
      framed_.clear();
      ProtobufWriter writer{framed_};
      {
        const auto packet = writer.message(perfetto::trace::kPacket);
        writer.bytes(perfetto::trace_packet::kCompressedPackets, compressed_.bytes());
      }
      gate_.write(framed_.bytes());
    }
    passed_ += out_.size();
    out_.clear();
  }

  Options options_;
  SinkGate<Sink> gate_;
  ByteBuffer out_;
  ProtobufWriter writer_;
  ByteBuffer interned_;
  ProtobufWriter interned_writer_;
  TraceStrings names_;
  TraceStrings keys_;
  TraceStacks stacks_;
  IdMap mappings_;
  std::vector<Sequence> sequences_;
  ByteBuffer compressed_;
  ByteBuffer framed_;
  std::size_t chunk_;          // flushed at this size
  std::uint64_t passed_ = 0;   // bytes of packets that have left `out_`
  std::uint64_t total_ = 0;    // bytes of packets
  std::uint64_t packets_ = 0;
  std::uint64_t now_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
