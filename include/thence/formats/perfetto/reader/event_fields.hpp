// SPDX-License-Identifier: MIT
// event_fields.hpp: the fields of one TrackEvent, decoded.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/perfetto/reader/sequence.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// One event's fields; reused for the next, so that its vectors keep their memory.
///   Threads   one.
///   Cost      O(fields).
///   Lifetime  texts and annotations are the packet's, the name is the sequence's.
struct EventFields {
  std::uint64_t type = 0;
  std::uint64_t time = 0;
  std::uint64_t track_uuid = 0;
  EventName* name = nullptr;
  std::string_view name_text;
  bool is_thence = false;  // of the category that our own announcements have
  std::uint32_t category = 0;  // text
  std::uint64_t callstack = 0;
  std::uint64_t correlation = 0;
  Value value;  // of a counter
  bool has_value = false;
  std::vector<std::span<const std::byte>> annotations;
  std::vector<std::uint64_t> flows;
  std::vector<std::uint64_t> ended_flows;
  std::vector<std::uint64_t> extra_values;
  std::vector<std::uint64_t> extra_tracks;

  /// Reads a TrackEvent of `sequence`. Returns what was expected where it is damaged, else nothing. An edge of ours is read up to
  /// its name only: it is there for the picture, each edge is a record, too.
  [[nodiscard]] std::string_view read(Sequence& sequence, std::span<const std::byte> bytes, TextNumbers& texts, std::uint32_t no_text) {
    type = 0;
    track_uuid = sequence.default_track;
    name = nullptr;
    name_text = {};
    is_thence = false;
    category = no_text;
    callstack = correlation = 0;
    value = {};
    has_value = false;
    annotations.clear();
    flows.clear();
    ended_flows.clear();
    extra_values.clear();
    extra_tracks.clear();
    keys_ = text_keys_ = 0;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      const std::uint32_t field = reader.field();
      if (field - kFirstKey < kKeyCount) {
        take_key(field - kFirstKey, reader);
        continue;
      }
      switch (field) {
        case track_event::kType: type = reader.varint(); break;
        case track_event::kTrackUuid: track_uuid = reader.varint(); break;
        case track_event::kNameIid:
          name = sequence.names.find(reader.varint());
          if (sequence.ours && is_edge()) return {};
          break;
        case track_event::kName: name_text = reader.text(); break;
        case track_event::kCategoryIids:
          if (const EventCategory* known = sequence.categories.find(reader.varint()); known != nullptr) {
            is_thence = known->is_thence;
            category = known->text;
          }
          break;
        case track_event::kCategories: category = texts.number_of(reader.text()); break;
        case track_event::kCorrelationId: correlation = reader.varint(); break;
        case track_event::kExtraCounterValues:
          if (extra_values.size() < kMaxExtraCounters) extra_values.push_back(reader.varint());
          break;
        case track_event::kExtraCounterTrackUuids:
          if (extra_tracks.size() < kMaxExtraCounters) extra_tracks.push_back(reader.varint());
          break;
        case track_event::kDebugAnnotations: annotations.push_back(reader.bytes()); break;
        case track_event::kCounterValue:
          has_value = true;
          value = number(reader.varint());
          break;
        case track_event::kDoubleCounterValue:
          has_value = true;
          value = Value::of(reader.real());
          break;
        case track_event::kFlowIds:
        case track_event::kFlowIdsOld: flows.push_back(reader.varint()); break;
        case track_event::kTerminatingFlowIds:
        case track_event::kTerminatingFlowIdsOld: ended_flows.push_back(reader.varint()); break;
        case track_event::kCallstackIid: callstack = reader.varint(); break;
        default: break;
      }
    }
    return reader.expected();
  }

  [[nodiscard]] Word word() const noexcept { return name == nullptr ? Word::kOther : name->word; }
  [[nodiscard]] bool is_edge() const noexcept { return type == track_event::kInstant && word() == Word::kEdge; }
  /// The tracks of `extra_values`.
  [[nodiscard]] const std::vector<std::uint64_t>& tracks_of_extra_values(const Sequence& sequence) const noexcept {
    return extra_tracks.empty() ? sequence.extra_counters : extra_tracks;
  }

  [[nodiscard]] bool has(Key key) const noexcept { return (keys_ >> static_cast<unsigned>(key) & 1) != 0; }
  /// A key's number; 0: it is not there.
  [[nodiscard]] std::uint64_t uint(Key key) const noexcept { return has(key) ? key_bits_[static_cast<std::size_t>(key)] : 0; }
  [[nodiscard]] std::string_view text(Key key) const noexcept {
    return (text_keys_ >> static_cast<unsigned>(key) & 1) != 0 ? key_texts_[static_cast<std::size_t>(key)] : std::string_view{};
  }
  template <class E>
  [[nodiscard]] E enumerator(Key key, E last, E unknown) const noexcept {
    return has(key) && uint(key) <= static_cast<std::uint64_t>(last) ? static_cast<E>(uint(key)) : unknown;
  }
  [[nodiscard]] Actor actor(Key key) const noexcept { return enumerator(key, Actor::kExternal, Actor::kUnknown); }
  [[nodiscard]] PauseKind pause() const noexcept { return enumerator(Key::kPause, PauseKind::kGcWeakCallbacks, PauseKind::kOther); }
  [[nodiscard]] ResourceId resource(Key key) const noexcept { return static_cast<ResourceId>(uint(key) & Event::kIdMask); }
  [[nodiscard]] RootId root() const noexcept { return static_cast<RootId>(uint(Key::kRoot) & Event::kRootMask); }
  [[nodiscard]] LaneId lane(Key key) const noexcept { return static_cast<LaneId>(static_cast<std::uint32_t>(uint(key))); }
  [[nodiscard]] Timestamp time_at(Key key) const noexcept { return static_cast<Timestamp>(uint(key)); }

  /// A varint as a counter's value: int64 on the wire, whose upper half is taken for a negative number.
  [[nodiscard]] static Value number(std::uint64_t varint) noexcept {
    const auto value = static_cast<std::int64_t>(varint);
    return value < 0 ? Value::of(value) : Value::of(varint);
  }

 private:
  void take_key(std::size_t key, const ProtobufReader& reader) noexcept {
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
  }

  std::uint64_t keys_ = 0;       // that it has, by number
  std::uint64_t text_keys_ = 0;  // of those the ones that are texts
  std::array<std::uint64_t, kKeyCount> key_bits_{};
  std::array<std::string_view, kKeyCount> key_texts_{};
  static_assert(kKeyCount <= 64);
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
