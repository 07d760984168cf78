// SPDX-License-Identifier: MIT
// sequence.hpp: what a reader keeps of each writer's stream of packets: its dictionaries, its defaults and its clock.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/reader/iid_table.hpp"
#include "thence/formats/perfetto/reader/stack_numbers.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// The names of events that say more than what a resource is called. kEdge: an instant that is nothing but the end of a flow.
enum class Word : std::uint8_t {
  kOther, kTrace, kLane, kLost, kSummary, kCreated, kScheduled, kEntered, kExited, kSettled, kDestroyed, kAwaits, kBridge,
  kAnnotated, kFinished, kSealed, kOpen, kParked, kUnparked, kPauseEnded, kSample, kEdge
};
[[nodiscard]] inline Word word_of(std::string_view name) noexcept {
  static constexpr std::string_view kWords[] = {"",        "thence.trace", "thence.lane", "thence.lost", "thence.summary",
                                                "created", "scheduled",    "entered",     "exited",      "settled",
                                                "destroyed", "awaits",     "bridge",      "annotated",   "finished",
                                                "sealed",  "open",         "parked",      "unparked",    "pause ended",
                                                "sample"};
  static constexpr std::string_view kEdges[] = {"create", "settle", "release", "ready", "awaited", "bridged", "unheeded"};
  for (std::size_t at = 1; at < std::size(kWords); ++at) {
    if (kWords[at] == name) return static_cast<Word>(at);
  }
  return std::find(std::begin(kEdges), std::end(kEdges), name) != std::end(kEdges) ? Word::kEdge : Word::kOther;
}

/// An event's name.
struct EventName {
  std::uint32_t text = 0;
  std::uint16_t type = 0;  // of a resource, once asked for
  bool has_type = false;
  Word word = Word::kOther;
};
struct EventCategory {
  std::uint32_t text = 0;
  bool is_thence = false;
};
struct Mapping {
  std::uint32_t path = 0;
  std::uint32_t build_id = 0;
};
/// A writer's stream of packets.
struct Sequence {
  std::uint64_t id = 0;
  bool valid = false;  // nothing that it refers to was lost
  bool ours = false;   // written by PerfettoEncoder
  std::uint64_t default_track = 0;
  std::uint64_t default_clock = 0;
  std::uint64_t incremental = 0;        // the last reading of an incremental clock
  std::uint64_t incremental_clock = 0;  // 0: none
  std::uint64_t incremental_unit = 1;
  std::uint64_t incremental_offset = 0;  // to BOOTTIME, where a snapshot has both
  bool incremental_is_boottime = false;
  std::vector<std::uint64_t> extra_counters;  // tracks, by default
  IidTable<EventName> names;
  IidTable<EventCategory> categories;
  IidTable<std::uint32_t> keys;
  IidTable<std::uint32_t> values;
  IidTable<std::uint32_t> functions;
  IidTable<std::uint32_t> sources;
  IidTable<std::uint32_t> paths;
  IidTable<std::uint32_t> build_ids;
  IidTable<Mapping> mappings;
  IidTable<StoredFrame> frames;
  IidTable<std::uint32_t> stacks;  // their numbers in StackNumbers

  /// The writer starts again: nothing of before holds.
  void clear() {
    ours = false;
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

  /// Reads TracePacketDefaults. Returns what was expected where it is damaged, else nothing.
  [[nodiscard]] std::string_view read_defaults(std::span<const std::byte> bytes) {
    default_clock = 0;
    default_track = 0;
    extra_counters.clear();
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == packet_defaults::kTimestampClockId) {
        default_clock = reader.varint();
      } else if (reader.field() == packet_defaults::kTrackEventDefaults) {
        ProtobufReader event{reader.bytes()};
        while (event.next()) {
          if (event.field() == event_defaults::kTrackUuid) default_track = event.varint();
          if (event.field() == event_defaults::kExtraCounterTrackUuids && extra_counters.size() < kMaxExtraCounters) {
            extra_counters.push_back(event.varint());
          }
        }
        if (event.damaged()) return event.expected();
      }
    }
    return reader.expected();
  }
};

/// The sequences of a trace, by id.
class SequenceTable {
 public:
  /// The sequence of an id other than 0; the reference is good until the next call.
  [[nodiscard]] Sequence& of(std::uint64_t id) {
    if (last_ < sequences_.size() && sequences_[last_].id == id) [[likely]] return sequences_[last_];
    last_ = by_id_.find(id);
    if (last_ == IdMap::kAbsent) {
      last_ = static_cast<std::uint32_t>(sequences_.size());
      by_id_.insert(id, last_);
      sequences_.emplace_back();
      sequences_.back().id = id;
    }
    return sequences_[last_];
  }

 private:
  std::vector<Sequence> sequences_;
  IdMap by_id_;
  std::uint32_t last_ = 0;
};

/// Reads InternedData into a sequence's dictionaries. `read` and each `read_...` return what was expected where the bytes are damaged,
/// else nothing.
class InternedDataReader {
 public:
  /// `texts` and `stacks` outlive the reader; what they number is what the dictionaries hold.
  InternedDataReader(TextNumbers& texts, StackNumbers& stacks) : texts_(texts), stacks_(stacks), no_text_(texts.number_of({})) {}

  [[nodiscard]] std::string_view read(Sequence& sequence, std::span<const std::byte> bytes) {
    // Mappings before frames before stacks, whatever their order in the message.
    for (int pass = 0; pass < 4; ++pass) {
      ProtobufReader reader{bytes};
      while (reader.next()) {
        const std::uint32_t field = reader.field();
        const int due = field == interned_data::kMappings     ? 1
                        : field == interned_data::kFrames     ? 2
                        : field == interned_data::kCallstacks ? 3
                                                              : 0;
        if (due != pass || !reader.is(WireType::kBytes)) continue;
        const std::string_view expected = pass == 0   ? read_text(sequence, field, reader.bytes())
                                          : pass == 1 ? read_mapping(sequence, reader.bytes())
                                          : pass == 2 ? read_frame(sequence, reader.bytes())
                                                      : read_stack(sequence, reader.bytes());
        if (!expected.empty()) return expected;
      }
      if (reader.damaged()) return reader.expected();
    }
    return {};
  }

 private:
  [[nodiscard]] std::uint32_t known_or_none(const std::uint32_t* known) const noexcept { return known == nullptr ? no_text_ : *known; }

  [[nodiscard]] std::string_view read_text(Sequence& sequence, std::uint32_t dictionary, std::span<const std::byte> bytes) {
    IidTable<std::uint32_t>* table = nullptr;
    switch (dictionary) {
      case interned_data::kDebugAnnotationNames: table = &sequence.keys; break;
      case interned_data::kDebugAnnotationStringValues: table = &sequence.values; break;
      case interned_data::kFunctionNames: table = &sequence.functions; break;
      case interned_data::kSourcePaths: table = &sequence.sources; break;
      case interned_data::kMappingPaths: table = &sequence.paths; break;
      case interned_data::kBuildIds: table = &sequence.build_ids; break;
      case interned_data::kEventNames:
      case interned_data::kEventCategories: break;
      default: return {};
    }
    std::uint64_t iid = 0;
    std::string_view text;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == interned_string::kIid) iid = reader.varint();
      if (reader.field() == interned_string::kText) text = reader.text();
    }
    if (reader.damaged()) return reader.expected();
    if (dictionary == interned_data::kEventNames) {
      sequence.names.set(iid, {texts_.number_of(text), 0, false, word_of(text)});
    } else if (dictionary == interned_data::kEventCategories) {
      sequence.categories.set(iid, {texts_.number_of(text), text == "thence"});
    } else {
      table->set(iid, texts_.number_of(dictionary == interned_data::kBuildIds ? hexadecimal(text) : text));
    }
    return {};
  }
  [[nodiscard]] std::string_view hexadecimal(std::string_view raw) {
    scratch_.clear();
    for (const char c : raw) {
      scratch_ += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
      scratch_ += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    return scratch_;
  }

  [[nodiscard]] std::string_view read_mapping(Sequence& sequence, std::span<const std::byte> bytes) {
    Mapping entry{no_text_, no_text_};
    std::uint64_t iid = 0, as_given = 0;
    std::string path;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case mapping::kIid: iid = reader.varint(); break;
        case mapping::kBuildId: entry.build_id = known_or_none(sequence.build_ids.find(reader.varint())); break;
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
    if (reader.damaged()) return reader.expected();
    if (as_given != 0 && !path.empty()) path.erase(0, 1);
    if (!path.empty()) entry.path = texts_.number_of(path);
    sequence.mappings.set(iid, entry);
    return {};
  }

  [[nodiscard]] std::string_view read_frame(Sequence& sequence, std::span<const std::byte> bytes) {
    StoredFrame entry;
    entry.function = entry.file = entry.build_id = no_text_;
    std::uint64_t iid = 0, kind = 0;
    bool mapped = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case frame::kIid: iid = reader.varint(); break;
        case frame::kFunctionNameId: entry.function = known_or_none(sequence.functions.find(reader.varint())); break;
        case frame::kMappingId:
          if (const Mapping* mapping = sequence.mappings.find(reader.varint()); mapping != nullptr) {
            mapped = true;
            entry.file = mapping->path;
            entry.build_id = mapping->build_id;
          }
          break;
        case frame::kRelPc: entry.relative_pc = reader.varint(); break;
        case frame::kSourcePathIid:
          if (const std::uint32_t* source = sequence.sources.find(reader.varint()); source != nullptr) entry.file = *source;
          break;
        case frame::kLineNumber: entry.line = static_cast<std::uint32_t>(reader.varint()); break;
        case frame::kKind: kind = reader.varint(); break;
        case thence_fields::kFrameColumn: entry.column = static_cast<std::uint32_t>(reader.varint()); break;
        case thence_fields::kFramePc: entry.pc = reader.varint(); break;
        default: break;
      }
    }
    if (reader.damaged()) return reader.expected();
    entry.kind = kind == frame::kNative || (kind == 0 && mapped) ? FrameKind::kNative
                 : kind == frame::kInterpreted                   ? FrameKind::kScript
                                                                 : FrameKind::kSource;
    sequence.frames.set(iid, entry);
    return {};
  }

  [[nodiscard]] std::string_view read_stack(Sequence& sequence, std::span<const std::byte> bytes) {
    std::uint64_t iid = 0;
    frames_.clear();
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == callstack::kIid) iid = reader.varint();
      if (reader.field() == callstack::kFrameIds && frames_.size() < 4096) {
        const StoredFrame* known = sequence.frames.find(reader.varint());
        frames_.push_back(known == nullptr ? StoredFrame{FrameKind::kSource, no_text_, no_text_, no_text_, 0, 0, 0, 0} : *known);
      }
    }
    if (reader.damaged()) return reader.expected();
    std::reverse(frames_.begin(), frames_.end());  // Perfetto has the outermost first
    sequence.stacks.set(iid, stacks_.number_of(frames_));
    return {};
  }

  TextNumbers& texts_;
  StackNumbers& stacks_;
  std::uint32_t no_text_;
  std::string scratch_;
  std::vector<StoredFrame> frames_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
