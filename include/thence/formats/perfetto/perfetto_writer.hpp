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
//   auto& lane = writer.open_sequence(track_uuid);
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
#include <memory>
#include <string_view>
#include <utility>

#include "thence/config/platform.hpp"
#include "thence/config/version.hpp"
#include "thence/core/copy_short.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/perfetto/written_sequence.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/protobuf_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Compresses a run of whole packets into one zlib stream, appended to `to`; false: it cannot, and the packets go out as
/// they are. One that throws cannot either, and is not asked again. The host brings it (with zlib: compress2), so that nothing here
/// needs the library.
using PerfettoCompress = bool (*)(View<const std::byte> packets, ByteBuffer& to);

struct PerfettoWriterOptions {
  /// Bytes put together before the sink is called. Less: more calls of the sink. More: more is lost in a crash.
  std::size_t chunk_bytes = 64 * 1024;
  /// How much of a file whose head was cut off may be unreadable. Less costs file size: dictionaries and descriptors are
  /// written again each time.
  std::uint64_t clear_after_bytes = 16 * 1024 * 1024;
  /// The sequence ids: this one and those after it. Up to 127 they take one byte in each packet.
  std::uint32_t first_sequence = 2;
  /// Keys of annotations that are kept to be sent by number, of 64 bytes on average; those beyond are sent in full each time.
  std::size_t max_keys = 16 * 1024;
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
///   Errors    std::bad_alloc, and what the sink throws. What was being made is taken back, and its sequence starts anew, marked
///             as one that has lost something: what comes later is whole.
///   Lifetime  the sink outlives it. Nothing is written on destruction: call flush().
template <ByteSink Sink>
class PerfettoWriter {
  using enum perfetto::Dictionary;
  using Dictionary = perfetto::Dictionary;
  /// What an event takes without its texts: each key and each extra counter once, a tag of two bytes and a varint, and the
  /// rest. The buffer has it between two packets (kRoom is beyond the size at which it is flushed) and after each annotation
  /// and text, so that no other field asks for room.
  static constexpr std::size_t kEventRoom = 1024, kRoom = 4 * kEventRoom;
  /// The longest text whose annotation has a length of one byte, as has that of the text.
  static constexpr std::size_t kShortText = 0x7f - 4;
  /// The longest name of a track whose descriptor, with its sequence's number and two uuids, has lengths of one byte.
  static constexpr std::size_t kShortName = 0x7f - (1 + 5) - (2 + 1) - 2 * (1 + kMaxVarintBytes) - 2;
  /// A packet's tag and length, and the longest one whose lengths take a byte each.
  static constexpr std::size_t kPacketHead = 2, kClosedInPlace = 0x7f;

 public:
  using Options = PerfettoWriterOptions;
  using Sequence = perfetto::WrittenSequence;

  explicit PerfettoWriter(Sink& sink, const Options& options = {})
      : options_(options),
        gate_(sink),
        out_(chunk_of(options) + kRoom),
        writer_(out_),
        interned_writer_(interned_),
        names_(~std::uint32_t{0} - 1, ~std::size_t{0}),
        keys_(options.max_keys, options.max_keys * 64),
        stacks_(options.max_stack_bytes),
        chunk_(chunk_of(options)) {}
  PerfettoWriter(const PerfettoWriter&) = delete;
  PerfettoWriter& operator=(const PerfettoWriter&) = delete;

  // -- sequences ------------------------------------------------------------------------------------------------------

  /// A new sequence whose events lie on `default_track` unless they say otherwise (0: they always say).
  [[nodiscard]] Sequence& open_sequence(std::uint64_t default_track) {
    Sequence& sequence = *sequences_.emplace_back(std::unique_ptr<Sequence>(new Sequence));
    sequence.id_ = options_.first_sequence + static_cast<std::uint32_t>(sequences_.size() - 1);
    sequence.default_track_ = default_track;
    std::byte* to = sequence.head_.data();
    to = put_varint(to, protobuf_tag(perfetto::trace::kPacket, WireType::kBytes)) + 1;  // the packet's length
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kTrustedPacketSequenceId, WireType::kVarint));
    to = put_varint(to, sequence.id_);
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kSequenceFlags, WireType::kVarint));
    to = put_varint(to, perfetto::trace_packet::kNeedsIncrementalState);
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kTimestamp, WireType::kVarint));
    sequence.head_size_ = static_cast<std::size_t>(to - sequence.head_.data());
    sequence.event_at_ = sequence.head_size_ + 2 + 2;
    if (sequence.head_size_ + 2 + kEventHead <= sequence.head_.size()) {
      put_event_head(to + 2, 0);
      sequence.two_byte_times_ = kShortVarint - 0x80;
    }
    return sequence;
  }
  [[nodiscard]] std::size_t sequences() const noexcept { return sequences_.size(); }

  /// Says on the next packet of this sequence that something was lost before it.
  void mark_dropped(Sequence& sequence) noexcept { sequence.dropped_ = sequence.due_ = true; }
  /// For an event of this sequence that will not be ended.
  void abandon(Sequence& sequence) noexcept {
    interned_.clear();
    closed_in_place_ = kClosedInPlace;
    mark_dropped(sequence);
  }
  /// Makes every sequence start anew with its next packet: what follows can be read without what went before.
  void restart() noexcept {
    for (auto& sequence : sequences_) sequence->due_ = true;
  }
  /// The same for one sequence.
  void start_again(Sequence& sequence) noexcept { sequence.due_ = true; }
  /// The time that sequences which start (again) count from, at the earliest.
  void reach(std::uint64_t time) noexcept { now_ = time; }

  /// To be called before describing tracks and beginning an event: starts the sequence (again) where that is due. Then
  /// its generation has changed, and descriptors of that sequence are to be sent again.
  [[gnu::always_inline]] inline void prepare(Sequence& sequence) {
    if (sequence.due_) [[unlikely]] start(sequence);
  }
  /// Counts `clear_after_bytes` of this sequence from here: what it has just described is not to make it start again.
  void count_from_here(Sequence& sequence) noexcept { clear_from(sequence, total()); }
  [[nodiscard]] std::uint64_t bytes_since_start(const Sequence& sequence) const noexcept { return total() - sequence.cleared_at_; }

  /// The counter tracks whose values `Event::counter` samples, in this order; described before.
  [[nodiscard]] std::size_t extra_counters(const Sequence& sequence) const noexcept { return sequence.counters_.size(); }
  void add_extra_counter(Sequence& sequence, std::uint64_t track) {
    sequence.counters_.reserve(sequence.counters_.size() + 1);
    packet(sequence, [&](ProtobufWriter& writer) {
      writer.varint(perfetto::trace_packet::kSequenceFlags, perfetto::trace_packet::kNeedsIncrementalState);
      put_defaults(sequence, track);
    });
    sequence.counters_.push_back(track);
  }
  static_assert((perfetto::kKeyCount + perfetto::kMaxExtraCounters) * (2 + kMaxVarintBytes) + 128 <= kEventRoom);

  // -- packets --------------------------------------------------------------------------------------------------------

  /// A packet whose content `fill(ProtobufWriter&)` writes; with a sequence id and no time.
  template <class Fill>
  void packet(const Sequence& sequence, Fill&& fill) {
    WholeOrNothing whole{*this};
    {
      const auto message = writer_.message(perfetto::trace::kPacket);
      writer_.varint(perfetto::trace_packet::kTrustedPacketSequenceId, sequence.id_);
      fill(writer_);
    }
    whole.kept = true;
    packet_done();
  }
  void track_descriptor(const Sequence& sequence, std::uint64_t uuid, auto&& fill) {
    packet(sequence, [&](ProtobufWriter& writer) {
      const auto descriptor = writer.message(perfetto::trace_packet::kTrackDescriptor);
      writer.varint(perfetto::track_descriptor::kUuid, uuid);
      fill(writer);
    });
  }
  /// The same for a track that has a parent and a name, as each has that resources lie on: written where it lies.
  void track_descriptor(const Sequence& sequence, std::uint64_t uuid, std::uint64_t parent, std::string_view name) {
    using namespace perfetto;
    if (name.size() > kShortName) [[unlikely]] {
      return track_descriptor(sequence, uuid, [&](ProtobufWriter& writer) {
        writer.varint(track_descriptor::kParentUuid, parent);
        writer.string(track_descriptor::kName, name);
      });
    }
    std::byte* const packet = out_.end() + kPacketHead;
    packet[-2] = static_cast<std::byte>(protobuf_tag(trace::kPacket, WireType::kBytes));
    std::byte* to = put_varint(packet, protobuf_tag(trace_packet::kTrustedPacketSequenceId, WireType::kVarint));
    to = put_varint(to, sequence.id_);
    std::byte* const descriptor = put_varint(to, protobuf_tag(trace_packet::kTrackDescriptor, WireType::kBytes)) + 1;
    to = put_wide_varint(put_varint(descriptor, protobuf_tag(track_descriptor::kUuid, WireType::kVarint)), uuid);
    to = put_wide_varint(put_varint(to, protobuf_tag(track_descriptor::kParentUuid, WireType::kVarint)), parent);
    to = put_varint(to, protobuf_tag(track_descriptor::kName, WireType::kBytes));
    *to = static_cast<std::byte>(name.size());
    to = detail::copy_short<kShortName>(to + 1, name);
    descriptor[-1] = static_cast<std::byte>(to - descriptor);
    packet[-1] = static_cast<std::byte>(to - packet);
    out_.advance(to);
    packet_done();
  }
  void clock_snapshot(const Sequence& sequence, const ClockSnapshot& clocks) {
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

  /// A number for a name, for `name` and `category`. Each is kept: of what has no bound, send it in full.
  [[nodiscard]] std::uint32_t intern_name(std::string_view text) { return names_.intern(text); }
  /// A number for a key, for `annotate`. 0 where `max_keys` are kept: then it is sent in full.
  [[nodiscard]] std::uint32_t intern_key(std::string_view text) { return keys_.intern(text); }
  [[nodiscard]] std::string_view name_text(std::uint32_t name) const noexcept { return names_.view(name); }
  [[nodiscard]] std::string_view key_text(std::uint32_t key) const noexcept { return keys_.view(key); }
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  [[nodiscard]] std::uint64_t stacks_refused() const noexcept { return stacks_.refused(); }

  // -- one event ------------------------------------------------------------------------------------------------------

  /// Where an event is being written. Its packet begins where the buffer's bytes end: it is none of them until it is whole.
  struct Place {
    std::byte* to;
    std::byte* event;  // where its content begins
  };

  /// An event that is being written. Its fields go in any order; `end` closes it. Nothing else is written meanwhile. Its
  /// place stays in registers: what is too rare to be inlined takes the place by value.
  class Event {
   public:
    Event(Event&&) noexcept = default;
    Event& operator=(Event&&) = delete;

    [[gnu::always_inline]] inline void name(std::uint32_t name) {
      const bool one_byte = name < sequence_->short_names_.size();
      if (!one_byte || sequence_->short_names_[name] == 0) [[unlikely]] {
        place_ = writer_->unsent_name(sequence_, place_, name);
        return;
      }
      put_little(place_.to, sequence_->short_names_[name]);
      place_.to += 2;
    }
    void category(std::uint32_t name) {
      writer_->send_category(sequence_, name);
      put<perfetto::track_event::kCategoryIids>(name);
    }
    void name_in_full(std::string_view text) { put_text(perfetto::track_event::kName, text); }
    /// What Perfetto joins slices of one operation by: the resource's id.
    [[gnu::always_inline]] inline void correlate(std::uint64_t id) { put<perfetto::track_event::kCorrelationId>(id); }
    void flow(std::uint64_t id) { put_eight<perfetto::track_event::kFlowIds>(id); }
    void counter_value(std::int64_t value) { put<perfetto::track_event::kCounterValue>(static_cast<std::uint64_t>(value)); }
    void counter_value(double value) {
      put_eight<perfetto::track_event::kDoubleCounterValue>(std::bit_cast<std::uint64_t>(value));
    }
    /// The next of the sequence's extra counters.
    void counter(std::int64_t value) { put<perfetto::track_event::kExtraCounterValues>(static_cast<std::uint64_t>(value)); }

    [[gnu::always_inline]] inline void say(perfetto::Key key, std::uint64_t value) {
      const std::uint32_t tag = perfetto::field_of(key) << 3;
      put_little(place_.to, static_cast<std::uint16_t>(0x80u | (tag & 0x7fu) | tag >> 7 << 8));
      place_.to = put_roomy_varint(place_.to + 2, value);
    }
    void say(perfetto::Key key, std::string_view text) { put_text(perfetto::field_of(key), text); }

    /// A debug annotation of the host's. `key` 0: `key_in_full` is sent.
    [[gnu::always_inline]] inline void annotate(std::uint32_t key, std::string_view key_in_full, const Value& value) {
      using namespace perfetto;
      const bool one_byte = key - 1 < sequence_->short_keys_.size() - 1;
      if (one_byte ? !sequence_->short_keys_[key] : key != 0) [[unlikely]] writer_->send_key(sequence_, key);
      const bool text = value.kind == ValueKind::kString;
      const std::uint64_t number = number_of(value);
      if (!one_byte || value.kind == ValueKind::kDouble || number > (text ? kShortText : kShortVarint - 1) ||
          place_.to > place_.event + kEventRoom) [[unlikely]] {
        place_ = writer_->annotate_at_length(sequence_, place_, key, key_in_full, value.kind, number, value.text.data());
        return;
      }
      // A message and a number, all of whose lengths take a byte: tag, length, tag, key, tag, value.
      const std::uint64_t head = protobuf_tag(track_event::kDebugAnnotations, WireType::kBytes) |
                                 protobuf_tag(debug_annotation::kNameIid, WireType::kVarint) << 16 | std::uint64_t{key} << 24 |
                                 value_tag(value.kind) << 32;
      if (text) {
        put_little(place_.to, head + (4 << 8) + number * (std::uint64_t{1} << 8 | std::uint64_t{1} << 40));
        place_.to = detail::copy_short<kShortText>(place_.to + 6, value.text);
      } else {
        const ShortVarint varint = short_varint(static_cast<std::uint32_t>(number));
        put_little(place_.to, head | std::uint64_t{3 + varint.size} << 8 | std::uint64_t{varint.bytes} << 40);
        place_.to += 5 + varint.size;
      }
    }

    /// False where the stack is not known: the event bears none.
    bool callstack(StackId id) {
      if (!writer_->stacks_.knows(id)) return false;
      writer_->send_callstack(sequence_, id);
      put<perfetto::track_event::kCallstackIid>(number(id));
      return true;
    }

    [[gnu::always_inline]] inline void end() {
      std::byte* const packet = writer_->out_.end();
      const auto size = static_cast<std::size_t>(place_.to - kPacketHead - packet);
      if (size > writer_->closed_in_place_) [[unlikely]] return writer_->close_event(sequence_, place_);
      place_.event[-1] = static_cast<std::byte>(place_.to - place_.event);
      packet[1] = static_cast<std::byte>(size);
      writer_->out_.advance(place_.to);
      if (place_.to >= writer_->look_at_) [[unlikely]] writer_->look();
    }

   private:
    friend class PerfettoWriter;
    [[gnu::always_inline]] Event(PerfettoWriter& writer, Sequence& sequence, const Place& place) noexcept
        : writer_(&writer), sequence_(&sequence), place_(place) {}

    template <perfetto::Field kField, WireType kType>
    [[gnu::always_inline]] inline std::byte* put_tag() noexcept {
      static_assert(kField < 2048);
      constexpr auto kTag = static_cast<std::uint32_t>(protobuf_tag(kField, kType));
      if constexpr (kTag < 0x80) {
        place_.to[0] = static_cast<std::byte>(kTag);
        return place_.to + 1;
      } else {
        put_little(place_.to, static_cast<std::uint16_t>(0x80u | (kTag & 0x7fu) | kTag >> 7 << 8));
        return place_.to + 2;
      }
    }
    template <perfetto::Field kField>
    [[gnu::always_inline]] inline void put(std::uint64_t value) noexcept {
      place_.to = put_roomy_varint(put_tag<kField, WireType::kVarint>(), value);
    }
    template <perfetto::Field kField>
    [[gnu::always_inline]] inline void put_eight(std::uint64_t value) noexcept {
      place_.to = put_fixed64(put_tag<kField, WireType::kFixed64>(), value);
    }
    [[gnu::always_inline]] inline void put_text(perfetto::Field field, std::string_view text) {
      place_ = writer_->text_field(sequence_, place_, field, text);
    }

    PerfettoWriter* writer_;
    Sequence* sequence_;
    Place place_;
  };

  /// Opens a packet with an event of `type` (perfetto::track_event::k...) on `track` (0: the sequence's own).
  [[nodiscard]] [[gnu::always_inline]] inline Event event(Sequence& sequence, std::uint64_t time, std::uint64_t type,
                                                          std::uint64_t track = 0) {
    std::byte* const start = out_.end();
    std::byte* event;
    std::memcpy(start, sequence.head_.data(), sequence.head_.size());
    const std::uint64_t since = time - sequence.last_time_;
    if (since - 0x80 < sequence.two_byte_times_) [[likely]] {
      sequence.last_time_ = time;
      event = start + sequence.event_at_;
      put_little(event - 4, static_cast<std::uint16_t>(since + (since & 0x3f80) + 0x80));
      event[1] = static_cast<std::byte>(type);
    } else {
      event = start + sequence.head_size_ + 3;
      if (since < 0x80) {
        sequence.last_time_ = time;
        event[-3] = static_cast<std::byte>(since);
      } else {
        event = put_time(sequence, event - 3, time, since) + 2;
      }
      put_event_head(event - 2, type);
    }
    std::byte* const to = track >> 56 != 0 ? put_wide_varint(event + 3, track)
                          : track == 0     ? event + 2
                                           : put_roomy_varint(event + 3, track);
    return Event(*this, sequence, {to, event});
  }

  // -- output ---------------------------------------------------------------------------------------------------------

  /// Hands whole packets to the sink: all, but where they are compressed: then what fills a run, or `all` of it. Returns
  /// !failed().
  bool flush(bool all = false) {
    if (options_.compress == nullptr) {
      gate_.write(take_out());
    } else if (all || out_.size() >= options_.compress_bytes) {
      compress();
    }
    return !gate_.failed();
  }
  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return gate_.written(); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return gate_.refused(); }
  /// Bytes that have not been handed to the sink.
  [[nodiscard]] std::size_t waiting() const noexcept { return out_.size(); }

 private:
  /// Takes back what there is of a packet where filling it throws.
  struct WholeOrNothing {
    explicit WholeOrNothing(PerfettoWriter& of) noexcept : writer(of), size(of.out_.size()) {}
    ~WholeOrNothing() {
      if (kept) return;
      writer.out_.advance(writer.out_.data() + size);
      writer.set_look();
    }
    PerfettoWriter& writer;
    std::size_t size;
    bool kept = false;
  };
  /// The same for an event of `sequence`, which has noted its time, and what it is the first to name: it starts anew.
  struct WholeEvent : WholeOrNothing {
    WholeEvent(PerfettoWriter& of, Sequence* in) noexcept : WholeOrNothing(of), sequence(in) {}
    ~WholeEvent() {
      if (!this->kept) this->writer.abandon(*sequence);
    }
    Sequence* sequence;
  };
  /// Bytes at which the buffer is flushed. So many that there is no room beyond them are std::bad_alloc.
  [[nodiscard]] static std::size_t chunk_of(const Options& options) noexcept {
    return std::min(options.compress == nullptr ? options.chunk_bytes : options.compress_bytes, ~std::size_t{0} / 2);
  }

  [[nodiscard]] bool first_sight(Dictionary dictionary, Sequence* sequence, std::uint32_t index) {
    detail::Vector<std::uint32_t>& sent = sequence->sent_[static_cast<unsigned>(dictionary)];
    if (index < sent.size() && sent[index] == sequence->generation_) [[likely]] return false;
    if (index >= sent.size()) sent.resize(std::size_t{index} + index / 2 + 16);
    sent[index] = sequence->generation_;
    return true;
  }
  void send(Dictionary dictionary, std::uint32_t field, Sequence* sequence, std::uint32_t index, const TraceStrings& strings) {
    WholeEvent event{*this, sequence};
    if (first_sight(dictionary, sequence, index)) define_string(field, index, strings.view(index));
    event.kept = true;
  }
  /// A name that is sent first, where it was not, or whose number takes more than a byte.
  [[gnu::noinline]] [[nodiscard]] Place unsent_name(Sequence* sequence, Place place, std::uint32_t name) {
    send(kNames, perfetto::interned_data::kEventNames, sequence, name, names_);
    constexpr std::uint64_t kTag = protobuf_tag(perfetto::track_event::kNameIid, WireType::kVarint);
    if (name < sequence->short_names_.size()) sequence->short_names_[name] = static_cast<std::uint16_t>(kTag | name << 8);
    *place.to++ = static_cast<std::byte>(kTag);
    place.to = put_varint(place.to, name);
    return place;
  }
  [[gnu::noinline]] void send_category(Sequence* sequence, std::uint32_t name) {
    send(kCategories, perfetto::interned_data::kEventCategories, sequence, name, names_);
  }
  [[gnu::noinline]] void send_key(Sequence* sequence, std::uint32_t key) {
    send(kAnnotationKeys, perfetto::interned_data::kDebugAnnotationNames, sequence, key, keys_);
    if (key < sequence->short_keys_.size()) sequence->short_keys_[key] = true;
  }

  /// Bytes of packets, between two of them.
  [[nodiscard]] std::uint64_t total() const noexcept { return passed_ + out_.size(); }
  void clear_from(Sequence& sequence, std::uint64_t byte) noexcept {
    forget_due(sequence);
    sequence.cleared_at_ = byte;
    sequence.good_until_ = byte + std::min(~std::uint64_t{0} - byte, options_.clear_after_bytes);
    sequence.due_ = false;
    // All are good for as long: who starts last is due last.
    sequence.sooner_ = last_due_;
    (last_due_ != nullptr ? last_due_->later_ : first_due_) = &sequence;
    last_due_ = &sequence;
    look_for_due();
  }
  void forget_due(Sequence& sequence) noexcept {
    if (sequence.sooner_ == nullptr && first_due_ != &sequence) return;
    (sequence.sooner_ != nullptr ? sequence.sooner_->later_ : first_due_) = sequence.later_;
    (sequence.later_ != nullptr ? sequence.later_->sooner_ : last_due_) = sequence.sooner_;
    sequence.sooner_ = sequence.later_ = nullptr;
  }
  void look_for_due() noexcept {
    while (first_due_ != nullptr && total() >= first_due_->good_until_) {
      first_due_->due_ = true;
      forget_due(*first_due_);
    }
    set_look();
  }
  /// To be called where `passed_`, `first_due_` or the buffer's memory has changed.
  void set_look() noexcept {
    const std::uint64_t due = first_due_ == nullptr ? ~std::uint64_t{0} : first_due_->good_until_;
    look_at_ = out_.data() + static_cast<std::size_t>(std::min<std::uint64_t>(chunk_, due - std::min(due, passed_)));
  }
  /// After a packet that ends at look_at_ or beyond: finds the sequences that are to start anew, and flushes a full buffer.
  [[gnu::noinline]] void look() {
    look_for_due();
    if (out_.size() >= chunk_) flush();
  }

  /// A track event's tag, length, type, and the tag of a track.
  static constexpr std::size_t kEventHead = 5;
  [[gnu::always_inline]] static inline void put_event_head(std::byte* to, std::uint64_t type) noexcept {
    using namespace perfetto;
    constexpr std::uint64_t kTags = protobuf_tag(trace_packet::kTrackEvent, WireType::kBytes) |
                                    protobuf_tag(track_event::kType, WireType::kVarint) << 16 |
                                    protobuf_tag(track_event::kTrackUuid, WireType::kVarint) << 32;
    put_little(to, static_cast<std::uint32_t>(kTags | type << 24));
    to[4] = static_cast<std::byte>(kTags >> 32);
  }
  /// Nanoseconds `since` the event before or, for an event that is older, its absolute time.
  [[nodiscard]] static std::byte* put_time(Sequence& sequence, std::byte* to, std::uint64_t time, std::uint64_t since) noexcept {
    if (static_cast<std::int64_t>(since) >= 0) [[likely]] {  // of two's complement
      sequence.last_time_ = time;
      return put_roomy_varint(to, since);
    }
    to = put_varint(to, time);
    to = put_varint(to, protobuf_tag(perfetto::trace_packet::kTimestampClockId, WireType::kVarint));
    return put_varint(to, perfetto::kClockBoottime);
  }

  [[gnu::noinline]] void start(Sequence& sequence) {
    using namespace perfetto;
    const std::uint64_t byte = total();
    sequence.counters_.clear();
    packet(sequence, [&](ProtobufWriter& writer) {
      writer.varint(trace_packet::kSequenceFlags, trace_packet::kIncrementalStateCleared);
      if (sequence.generation_ == 0) {
        writer.boolean(trace_packet::kFirstPacketOnSequence, true);
      } else if (sequence.dropped_) {
        writer.varint(trace_packet::kPreviousPacketDropped, trace_packet::kDropPresent | trace_packet::kDropBufferFull);
      }
      put_defaults(sequence);
    });
    // A mark on a sequence's first packet is not counted by Perfetto: it goes on the next one.
    const bool again = sequence.generation_ == 0 && sequence.dropped_;
    if (!again) sequence.dropped_ = false;
    ++sequence.generation_;
    sequence.short_names_.fill(0);
    sequence.short_keys_.fill(false);
    if (again) return start(sequence);
    sequence.last_time_ = now_;
    packet(sequence, [&](ProtobufWriter& writer) {
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
    clear_from(sequence, byte);  // at last: where all this throws, it is due yet
  }
  /// With `one_more` counter, if that is not 0.
  void put_defaults(const Sequence& sequence, std::uint64_t one_more = 0) {
    using namespace perfetto;
    const auto defaults = writer_.message(trace_packet::kTracePacketDefaults);
    writer_.varint(packet_defaults::kTimestampClockId, kClockDelta);
    if (sequence.default_track_ == 0) return;
    const auto event = writer_.message(packet_defaults::kTrackEventDefaults);
    writer_.varint(event_defaults::kTrackUuid, sequence.default_track_);
    for (const std::uint64_t counter : sequence.counters_) writer_.varint(event_defaults::kExtraCounterTrackUuids, counter);
    if (one_more != 0) writer_.varint(event_defaults::kExtraCounterTrackUuids, one_more);
  }

  [[nodiscard]] static constexpr std::uint64_t value_tag(ValueKind kind) noexcept {
    using namespace perfetto;
    switch (kind) {
      case ValueKind::kInt: return protobuf_tag(debug_annotation::kInt, WireType::kVarint);
      case ValueKind::kUint: return protobuf_tag(debug_annotation::kUint, WireType::kVarint);
      case ValueKind::kBool: return protobuf_tag(debug_annotation::kBool, WireType::kVarint);
      case ValueKind::kDouble: return protobuf_tag(debug_annotation::kDouble, WireType::kFixed64);
      case ValueKind::kString: break;
    }
    return protobuf_tag(debug_annotation::kString, WireType::kBytes);
  }
  /// A value as a varint or as eight bytes; of a string, its length.
  [[nodiscard]] static constexpr std::uint64_t number_of(const Value& value) noexcept {
    switch (value.kind) {
      case ValueKind::kInt: return static_cast<std::uint64_t>(value.integer);
      case ValueKind::kUint: return value.uinteger;
      case ValueKind::kBool: return value.boolean ? 1 : 0;
      case ValueKind::kDouble: return std::bit_cast<std::uint64_t>(value.real);
      case ValueKind::kString: break;
    }
    return value.text.size();
  }
  [[nodiscard]] static std::size_t text_size(std::string_view text) noexcept { return varint_size(text.size()) + text.size(); }
  [[nodiscard]] static std::byte* put_text(std::byte* to, std::string_view text) noexcept {
    to = put_varint(to, text.size());
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return to + text.size();
  }
  /// Room for a text, and afterwards for all that has none.
  [[nodiscard]] Place make_room(Sequence* sequence, Place place, std::size_t text) {
    const std::ptrdiff_t event = place.event - out_.data();
    const std::size_t packet = out_.size();
    WholeEvent moved{*this, sequence};
    out_.advance(place.to);
    std::byte* const to = out_.reserve(2 * kEventRoom + text);
    out_.advance(out_.data() + packet);
    moved.kept = true;
    set_look();
    return {to, out_.data() + event};
  }
  [[gnu::noinline]] [[nodiscard]] Place text_field(Sequence* sequence, Place place, perfetto::Field field, std::string_view text) {
    place = make_room(sequence, place, text.size());
    place.to = put_text(put_varint(place.to, protobuf_tag(field, WireType::kBytes)), text);
    return place;
  }
  /// `number` is number_of the value, and of a text there are as many `characters`. All lengths are known before anything
  /// is written: nothing is moved.
  [[gnu::noinline]] [[nodiscard]] Place annotate_at_length(Sequence* sequence, Place place, std::uint32_t key,
                                                           std::string_view key_in_full, ValueKind kind, std::uint64_t number,
                                                           const char* characters) {
    using namespace perfetto;
    const std::string_view text(characters, kind == ValueKind::kString ? number : 0);
    place = make_room(sequence, place, (key == 0 ? key_in_full.size() : 0) + text.size());
    const std::size_t size = kind == ValueKind::kString   ? text_size(text)
                             : kind == ValueKind::kDouble ? sizeof number
                                                          : varint_size(number);
    std::byte* to = place.to;
    *to++ = static_cast<std::byte>(protobuf_tag(track_event::kDebugAnnotations, WireType::kBytes));
    to = put_varint(to, 2 + (key != 0 ? varint_size(key) : text_size(key_in_full)) + size);
    if (key != 0) [[likely]] {
      *to++ = static_cast<std::byte>(protobuf_tag(debug_annotation::kNameIid, WireType::kVarint));
      to = put_varint(to, key);
    } else {
      *to++ = static_cast<std::byte>(protobuf_tag(debug_annotation::kName, WireType::kBytes));
      to = put_text(to, key_in_full);
    }
    *to++ = static_cast<std::byte>(value_tag(kind));
    place.to = kind == ValueKind::kString   ? put_text(to, text)
               : kind == ValueKind::kDouble ? put_fixed64(to, number)
                                            : put_varint(to, number);
    return place;
  }
  [[gnu::noinline]] void define_string(std::uint32_t field, std::uint64_t iid, std::string_view text) {
    closed_in_place_ = 0;
    const auto entry = interned_writer_.message(field);
    interned_writer_.varint(perfetto::interned_string::kIid, iid);
    interned_writer_.string(perfetto::interned_string::kText, text);
  }
  [[gnu::noinline]] void send_callstack(Sequence* sequence, StackId id) {
    WholeEvent event{*this, sequence};
    if (first_sight(kCallstacks, sequence, static_cast<std::uint32_t>(number(id)))) define_callstack(sequence, id);
    event.kept = true;
  }
  void define_callstack(Sequence* sequence, StackId id) {
    using namespace perfetto;
    closed_in_place_ = 0;
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
  [[gnu::noinline]] void close_event(Sequence* sequence, Place place) {
    const std::size_t packet = out_.size() + kPacketHead;
    WholeEvent whole{*this, sequence};
    out_.advance(place.to);
    close_message(static_cast<std::size_t>(place.event - out_.data()));
    if (!interned_.empty()) writer_.bytes(perfetto::trace_packet::kInternedData, interned_.bytes());
    close_message(packet);
    whole.kept = true;
    interned_.clear();
    closed_in_place_ = kClosedInPlace;
    packet_done();
  }
  void close_message(std::size_t content) {
    const std::size_t length = out_.size() - content;
    const std::size_t extra = varint_size(length) - 1;
    if (extra != 0) out_.open_gap(content, extra);
    put_varint(out_.data() + content - 1, length);
  }

  void packet_done() {
    set_look();  // the buffer may have moved
    if (out_.end() >= look_at_) [[unlikely]] look();
  }

  /// A run of compressed packets is a packet, too.
  [[nodiscard]] bool frame(PerfettoCompress compressor) {
    if (!compressor(out_.bytes(), compressed_)) return false;
    ProtobufWriter writer{framed_};
    const auto packet = writer.message(perfetto::trace::kPacket);
    writer.bytes(perfetto::trace_packet::kCompressedPackets, compressed_.bytes());
    return true;
  }
  void compress() {
    if (out_.empty()) return;
    const PerfettoCompress compressor = std::exchange(options_.compress, nullptr);  // for good where it throws
    compressed_.clear();
    framed_.clear();
    bool compressed = false;
    THENCE_TRY {
      compressed = frame(compressor);
      options_.compress = compressor;
    } THENCE_CATCH_ALL {  // the packets go out as they are
    }
    const View<const std::byte> run = take_out();
    gate_.write(compressed ? framed_.bytes() : run);
  }

  /// All that there is. It lies in the buffer until the next packet; the room is there again also where the sink throws.
  [[nodiscard]] View<const std::byte> take_out() noexcept {
    const View<const std::byte> all = out_.bytes();
    passed_ += all.size();
    out_.clear();
    set_look();
    return all;
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
  detail::Vector<std::unique_ptr<Sequence>> sequences_;
  ByteBuffer compressed_;
  ByteBuffer framed_;
  std::size_t chunk_;          // flushed at this size
  std::byte* look_at_ = out_.data() + chunk_;   // where the next packet ends, or later, after which there is something to do
  Sequence* first_due_ = nullptr;  // of the sequences that are good yet, by when they start anew
  Sequence* last_due_ = nullptr;
  std::size_t closed_in_place_ = kClosedInPlace;  // packets of this size; none while there is something in `interned_`
  std::uint64_t passed_ = 0;   // bytes of packets that have left `out_`
  std::uint64_t now_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
