// SPDX-License-Identifier: MIT
// perfetto_writer.hpp: packets, sequences, dictionaries and clocks of a Perfetto trace; what they mean is the caller's.
//
// A trace file is a run of packets, each a field of its own: the writer needs memory for one packet and for the
// dictionaries, never for the trace. Names are sent once per sequence and then by number. A file whose head is cut off
// stays readable: every `clear_after_bytes` of the file each sequence forgets its dictionary, and sends what it needs
// again.
//   PerfettoWriter writer{sink};
//   const auto lane = writer.open_sequence(track_uuid);
//   writer.prepare(lane);
//   writer.begin_event(lane, time, track_event::kSliceBegin);
//   writer.name(writer.intern_name("fetch"));
//   writer.annotate(key, std::uint64_t{7});
//   writer.end_event();
//   writer.flush();
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/protobuf_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct PerfettoWriterOptions {
  /// Bytes put together before the sink is called. Less: more calls of the sink. More: more is lost in a crash.
  std::size_t chunk_bytes = 64 * 1024;
  /// How much of a file whose head was cut off may be unreadable. Less costs file size: dictionaries and descriptors are
  /// written again each time.
  std::uint64_t clear_after_bytes = 4 * 1024 * 1024;
  /// The sequence ids: this one and those after it. Perfetto's own service uses small ones.
  std::uint32_t first_sequence = 256;
  /// Names (of events, of annotation keys) that are kept to be sent by number; those beyond are sent in full each time.
  std::size_t max_names = 16 * 1024;
  /// Stacks kept to be sent again; a stack beyond is missing from the file (and counted).
  std::size_t max_stack_bytes = 64 * 1024 * 1024;
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
 public:
  using Options = PerfettoWriterOptions;

  explicit PerfettoWriter(Sink& sink, const Options& options = {})
      : options_(options),
        gate_(sink),
        out_(options.chunk_bytes + 4096),
        writer_(out_),
        interned_writer_(interned_),
        names_(options.max_names, options.max_names * 64),
        keys_(options.max_names, options.max_names * 64),
        stacks_(options.max_stack_bytes) {}
  PerfettoWriter(const PerfettoWriter&) = delete;
  PerfettoWriter& operator=(const PerfettoWriter&) = delete;

  // -- sequences ------------------------------------------------------------------------------------------------------

  /// A new sequence whose events lie on `default_track` unless they say otherwise (0: they always say).
  [[nodiscard]] std::uint32_t open_sequence(std::uint64_t default_track) {
    Sequence sequence;
    sequence.id = options_.first_sequence + static_cast<std::uint32_t>(sequences_.size());
    sequence.default_track = default_track;
    sequences_.push_back(std::move(sequence));
    return static_cast<std::uint32_t>(sequences_.size() - 1);
  }
  [[nodiscard]] std::size_t sequences() const noexcept { return sequences_.size(); }

  /// Says on the next packet of this sequence that something was lost before it.
  void mark_dropped(std::uint32_t sequence) noexcept { sequences_[sequence].dropped = true; }

  /// To be called before describing tracks and beginning an event: starts the sequence (again) where that is due. Then
  /// `generation` has changed, and descriptors of that sequence are to be sent again.
  void prepare(std::uint32_t index) {
    Sequence& sequence = sequences_[index];
    if (sequence.generation != 0 && !sequence.dropped && total_ - sequence.cleared_at < options_.clear_after_bytes) [[likely]] {
      return;
    }
    using namespace perfetto;
    {
      const auto packet = writer_.message(trace::kPacket);
      writer_.varint(trace_packet::kTrustedPacketSequenceId, sequence.id);
      writer_.varint(trace_packet::kSequenceFlags, trace_packet::kIncrementalStateCleared);
      if (sequence.generation == 0) {
        writer_.boolean(trace_packet::kFirstPacketOnSequence, true);
      } else if (sequence.dropped) {
        writer_.varint(trace_packet::kPreviousPacketDropped, trace_packet::kDropPresent | trace_packet::kDropBufferFull);
      }
      const auto defaults = writer_.message(trace_packet::kTracePacketDefaults);
      writer_.varint(packet_defaults::kTimestampClockId, kClockBoottime);
      if (sequence.default_track != 0) {
        const auto event = writer_.message(packet_defaults::kTrackEventDefaults);
        writer_.varint(event_defaults::kTrackUuid, sequence.default_track);
      }
    }
    // A mark on a sequence's first packet is not counted by Perfetto: it goes on the next one.
    if (sequence.generation != 0) sequence.dropped = false;
    ++sequence.generation;
    sequence.cleared_at = total_;
    packet_done();
    if (sequence.dropped) prepare(index);
  }
  [[nodiscard]] std::uint32_t generation(std::uint32_t sequence) const noexcept { return sequences_[sequence].generation; }
  [[nodiscard]] std::uint32_t sequence_id(std::uint32_t sequence) const noexcept { return sequences_[sequence].id; }

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
  /// The same with a time.
  template <class Fill>
  void packet_at(std::uint32_t sequence, std::uint64_t time, Fill&& fill) {
    packet(sequence, [&](ProtobufWriter& writer) {
      writer.varint(perfetto::trace_packet::kTimestamp, time);
      fill(writer);
    });
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

  /// Opens a packet with an event of `type` (perfetto::track_event::k...) on `track` (0: the sequence's own).
  void begin_event(std::uint32_t index, std::uint64_t time, std::uint64_t type, std::uint64_t track = 0) {
    using namespace perfetto;
    current_ = index;
    packet_start_ = open_message(trace::kPacket);
    std::byte* to = out_.reserve(96);
    to = put_varint(to, protobuf_tag(trace_packet::kTimestamp, WireType::kVarint));
    to = put_varint(to, time);
    to = put_varint(to, protobuf_tag(trace_packet::kTrustedPacketSequenceId, WireType::kVarint));
    to = put_varint(to, sequences_[index].id);
    to = put_varint(to, protobuf_tag(trace_packet::kSequenceFlags, WireType::kVarint));
    to = put_varint(to, trace_packet::kNeedsIncrementalState);
    out_.advance(to);
    event_start_ = open_message(trace_packet::kTrackEvent);
    writer_.varint(track_event::kType, type);
    if (track != 0) writer_.varint(track_event::kTrackUuid, track);
  }
  void end_event() {
    close_message(event_start_);
    if (!interned_.empty()) {
      writer_.bytes(perfetto::trace_packet::kInternedData, interned_.bytes());
      interned_.clear();
    }
    close_message(packet_start_);
    packet_done();
  }

  void category(std::uint32_t name) {
    if (first_sight(kCategories, name)) define_string(perfetto::interned_data::kEventCategories, name, names_.view(name));
    writer_.varint(perfetto::track_event::kCategoryIids, name);
  }
  void name(std::uint32_t name) {
    if (first_sight(kNames, name)) define_string(perfetto::interned_data::kEventNames, name, names_.view(name));
    writer_.varint(perfetto::track_event::kNameIid, name);
  }
  void name_in_full(std::string_view text) { writer_.string(perfetto::track_event::kName, text); }
  void flow(std::uint64_t id) { writer_.fixed64(perfetto::track_event::kFlowIds, id); }
  void counter_value(std::int64_t value) { writer_.int64(perfetto::track_event::kCounterValue, value); }
  void counter_value(double value) { writer_.real(perfetto::track_event::kDoubleCounterValue, value); }

  void annotate(std::uint32_t key, std::uint64_t value) {
    begin_annotation(key);
    writer_.varint(perfetto::debug_annotation::kUint, value);
    close_message(annotation_start_);
  }
  void annotate(std::uint32_t key, std::int64_t value) {
    begin_annotation(key);
    writer_.int64(perfetto::debug_annotation::kInt, value);
    close_message(annotation_start_);
  }
  void annotate(std::uint32_t key, bool value) {
    begin_annotation(key);
    writer_.boolean(perfetto::debug_annotation::kBool, value);
    close_message(annotation_start_);
  }
  /// A name that is interned already, as a value: sent by number.
  void annotate_name(std::uint32_t key, std::uint32_t name) {
    begin_annotation(key);
    if (first_sight(kValues, name)) {
      define_string(perfetto::interned_data::kDebugAnnotationStringValues, name, names_.view(name));
    }
    writer_.varint(perfetto::debug_annotation::kStringIid, name);
    close_message(annotation_start_);
  }
  /// A word of a small vocabulary: sent by number.
  void annotate_word(std::uint32_t key, std::string_view value) {
    const std::uint32_t index = names_.intern(value);
    begin_annotation(key);
    if (index == TraceStrings::kNone) {
      writer_.string(perfetto::debug_annotation::kString, value);
    } else {
      if (first_sight(kValues, index)) {
        define_string(perfetto::interned_data::kDebugAnnotationStringValues, index, value);
      }
      writer_.varint(perfetto::debug_annotation::kStringIid, index);
    }
    close_message(annotation_start_);
  }
  void annotate_text(std::uint32_t key, std::string_view value) {
    begin_annotation(key);
    writer_.string(perfetto::debug_annotation::kString, value);
    close_message(annotation_start_);
  }
  /// `key` 0: `key_in_full` is sent.
  void annotate_value(std::uint32_t key, std::string_view key_in_full, const Value& value) {
    if (key != 0) {
      begin_annotation(key);
    } else {
      annotation_start_ = open_message(perfetto::track_event::kDebugAnnotations);
      writer_.string(perfetto::debug_annotation::kName, key_in_full);
    }
    using namespace perfetto;
    switch (value.kind) {
      case ValueKind::kString: writer_.string(debug_annotation::kString, value.text); break;
      case ValueKind::kInt: writer_.int64(debug_annotation::kInt, value.integer); break;
      case ValueKind::kUint: writer_.varint(debug_annotation::kUint, value.uinteger); break;
      case ValueKind::kDouble: writer_.real(debug_annotation::kDouble, value.real); break;
      case ValueKind::kBool: writer_.boolean(debug_annotation::kBool, value.boolean); break;
    }
    close_message(annotation_start_);
  }

  /// False where the stack is not known: the event bears none.
  bool callstack(StackId id) {
    if (!stacks_.knows(id)) return false;
    const auto iid = static_cast<std::uint32_t>(number(id));
    if (first_sight(kCallstacks, iid)) define_callstack(id);
    writer_.varint(perfetto::track_event::kCallstackIid, iid);
    return true;
  }

  // -- output ---------------------------------------------------------------------------------------------------------

  /// Hands all whole packets to the sink. Returns !failed().
  bool flush() {
    gate_.write(out_.bytes());
    out_.clear();
    return !gate_.failed();
  }
  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return gate_.written(); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return gate_.refused(); }
  [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }

 private:
  enum Dictionary : unsigned {
    kNames, kCategories, kKeys, kValues, kFunctions, kSources, kMappingPaths, kBuildIds, kMappings, kFrames, kCallstacks,
    kDictionaries
  };

  struct Sequence {
    std::uint32_t id = 0;
    std::uint32_t generation = 0;  // 0: nothing sent yet
    std::uint64_t default_track = 0;
    std::uint64_t cleared_at = 0;
    bool dropped = false;
    // For each dictionary and index, the generation in which it was last sent.
    std::array<std::vector<std::uint32_t>, kDictionaries> sent;
  };

  bool first_sight(Dictionary dictionary, std::uint32_t index) {
    Sequence& sequence = sequences_[current_];
    std::vector<std::uint32_t>& sent = sequence.sent[dictionary];
    if (index >= sent.size()) [[unlikely]] sent.resize(std::size_t{index} + index / 2 + 16);
    if (sent[index] == sequence.generation) [[likely]] return false;
    sent[index] = sequence.generation;
    return true;
  }
  void define_string(std::uint32_t field, std::uint64_t iid, std::string_view text) {
    const auto entry = interned_writer_.message(field);
    interned_writer_.varint(perfetto::interned_string::kIid, iid);
    interned_writer_.string(perfetto::interned_string::kText, text);
  }
  void begin_annotation(std::uint32_t key) {
    if (first_sight(kKeys, key)) define_string(perfetto::interned_data::kDebugAnnotationNames, key, keys_.view(key));
    annotation_start_ = open_message(perfetto::track_event::kDebugAnnotations);
    writer_.varint(perfetto::debug_annotation::kNameIid, key);
  }

  void define_callstack(StackId id) {
    using namespace perfetto;
    const auto frames = stacks_.frames_of(id);
    for (const std::uint32_t index : frames) {
      if (first_sight(kFrames, index)) define_frame(index);
    }
    const auto entry = interned_writer_.message(interned_data::kCallstacks);
    interned_writer_.varint(callstack::kIid, number(id));
    // Perfetto has the outermost frame first.
    for (std::size_t at = frames.size(); at-- != 0;) interned_writer_.varint(callstack::kFrameIds, frames[at]);
  }
  void define_frame(std::uint32_t index) {
    using namespace perfetto;
    const StoredFrame& stored = stacks_.frame(index);
    const bool native = stored.kind == FrameKind::kNative;
    if (stored.function != 0 && first_sight(kFunctions, stored.function)) {
      define_string(interned_data::kFunctionNames, stored.function, stacks_.string(stored.function));
    }
    std::uint32_t mapping = 0;
    if (native) {
      mapping = mapping_of(stored);
    } else if (stored.file != 0 && first_sight(kSources, stored.file)) {
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
  std::uint32_t mapping_of(const StoredFrame& stored) {
    using namespace perfetto;
    // One mapping for each module; the key is never 0.
    const std::uint64_t key = (std::uint64_t{stored.file} << 32 | stored.build_id) + 1;
    std::uint32_t mapping = mappings_.find(key);
    if (mapping == IdMap::kAbsent) {
      mapping = static_cast<std::uint32_t>(mappings_.size() + 1);
      mappings_.insert(key, mapping);
    }
    if (!first_sight(kMappings, mapping)) return mapping;
    const std::string_view path = stored.file == 0 ? std::string_view{} : stacks_.string(stored.file);
    if (stored.build_id != 0 && first_sight(kBuildIds, stored.build_id)) {
      define_build_id(stored.build_id);
    }
    if (stored.file != 0 && first_sight(kMappingPaths, stored.file)) {
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

  // A message is open from the byte of its length on; see ProtobufWriter::Message, of which this is the part for hot code.
  std::size_t open_message(std::uint32_t field) {
    std::byte* to = out_.reserve(kMaxVarintBytes + 1);
    to = put_varint(to, protobuf_tag(field, WireType::kBytes));
    *to = std::byte{0};
    out_.advance(to + 1);
    return out_.size();
  }
  void close_message(std::size_t content) {
    const std::size_t length = out_.size() - content;
    const std::size_t extra = varint_size(length) - 1;
    if (extra != 0) out_.open_gap(content, extra);
    put_varint(out_.data() + content - 1, length);
  }

  void packet_done() {
    ++packets_;
    total_ = gate_.written() + gate_.refused() + out_.size();
    if (out_.size() >= options_.chunk_bytes) [[unlikely]] flush();
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
  std::uint64_t total_ = 0;
  std::uint64_t packets_ = 0;
  std::uint32_t current_ = 0;
  std::size_t packet_start_ = 0;
  std::size_t event_start_ = 0;
  std::size_t annotation_start_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
