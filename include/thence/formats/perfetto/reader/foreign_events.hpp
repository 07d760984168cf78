// SPDX-License-Identifier: MIT
// foreign_events.hpp: makes resources of what others write into Perfetto traces: slices, instants, flows and counters.
//
// perfetto_reader.hpp has the table of what becomes what.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/reader/clock_readings.hpp"
#include "thence/formats/perfetto/reader/event_fields.hpp"
#include "thence/formats/perfetto/reader/sequence.hpp"
#include "thence/formats/perfetto/reader/stack_numbers.hpp"
#include "thence/formats/perfetto/reader/trace_output.hpp"
#include "thence/formats/perfetto/reader/track_table.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Events of others, held until they can be put in order.
///   Shape     about 100 bytes an event held, and its annotations.
///   Threads   one.
///   Cost      O(n log n) in the events held.
///   Errors    std::bad_alloc.
///   Lifetime  texts, stacks, tracks, clocks and output outlive it.
template <EventSink Sink>
class ForeignEvents {
 public:
  /// `max_open`: slices on one track.
  ForeignEvents(TextNumbers& texts, const StackNumbers& stacks, TrackTable& tracks, const ClockReadings& clocks, TraceOutput<Sink>& out,
                std::size_t max_open)
      : texts_(texts), stacks_(stacks), tracks_(tracks), clocks_(clocks), out_(out), max_open_(max_open), no_text_(texts.number_of({})) {}

  [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }
  /// Events whose clock nothing relates to the trace's, slices that are too deep, counters without a value, and what is no event.
  [[nodiscard]] std::uint64_t skipped() const noexcept { return skipped_; }
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return unmatched_ends_; }
  /// Events that came after later ones had been handed over.
  [[nodiscard]] std::uint64_t disordered() const noexcept { return disordered_; }

  /// Holds an event of `sequence`, whose time is one of `clock`. Returns what was expected where an annotation is damaged, else nothing.
  [[nodiscard]] std::string_view hold(Sequence& sequence, const EventFields& event, std::uint64_t clock) {
    if (event.type < track_event::kSliceBegin || event.type > track_event::kCounter) {
      ++skipped_;
      return {};
    }
    Held held;
    held.time = event.time;
    held.clock = clock == 0 ? 0 : ClockReadings::key(clock, sequence.id);
    held.value = event.value;
    held.track = tracks_.of(event.track_uuid);
    held.type = static_cast<std::uint8_t>(event.type);
    held.name = event.name != nullptr ? event.name->text : texts_.number_of(event.name_text);
    held.category = event.category;
    if (const std::uint32_t* stack = event.callstack == 0 ? nullptr : sequence.stacks.find(event.callstack)) held.stack = *stack;
    held.flows = flows_.size();
    held.flow_ends = static_cast<std::uint16_t>(std::min(event.ended_flows.size(), kMaxFlows));
    held.flow_count = static_cast<std::uint16_t>(std::min(event.flows.size(), kMaxFlows) + held.flow_ends);
    flows_.insert(flows_.end(), event.flows.begin(), event.flows.begin() + (held.flow_count - held.flow_ends));
    flows_.insert(flows_.end(), event.ended_flows.begin(), event.ended_flows.begin() + held.flow_ends);
    held.notes = notes_.size();
    for (const std::span<const std::byte> annotation : event.annotations) {
      if (const std::string_view expected = flatten(sequence, annotation); !expected.empty()) return expected;
    }
    held.note_count = static_cast<std::uint32_t>(notes_.size() - held.notes);
    if (event.type == track_event::kCounter && !event.has_value) {
      ++skipped_;
    } else {
      held_.push_back(held);
    }
    const std::vector<std::uint64_t>& tracks = event.tracks_of_extra_values(sequence);
    for (std::size_t at = 0; at < event.extra_values.size() && at < tracks.size(); ++at) {
      Held counted;
      counted.time = held.time;
      counted.clock = held.clock;
      counted.value = EventFields::number(event.extra_values[at]);
      counted.track = tracks_.of(tracks[at]);
      counted.type = static_cast<std::uint8_t>(track_event::kCounter);
      counted.name = counted.category = no_text_;
      counted.notes = notes_.size();
      counted.flows = flows_.size();
      held_.push_back(counted);
    }
    return {};
  }

  /// Puts what is held in order and hands over the first `count`. `last`: no more of the file comes, that could relate a clock.
  void hand_over(std::size_t count, bool last) {
    if (held_.empty()) return;
    if (trace_ == 0 || trace_ != out_.traces()) begin();  // for the first time, or behind a trace of ours
    relate_clocks(last);
    std::stable_sort(held_.begin(), held_.end(), [](const Held& a, const Held& b) {
      if ((a.clock != 0) != (b.clock != 0)) return b.clock != 0;
      return a.time < b.time;
    });
    std::size_t done = 0;
    for (; done < std::min(count, held_.size()) && held_[done].clock == 0; ++done) {
      if (held_[done].time < handed_to_) {
        ++disordered_;
      } else {
        handed_to_ = held_[done].time;
      }
      take(held_[done]);
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(done));
    compact();
  }

 private:
  static constexpr std::size_t kMaxFlows = 1024;  // of either kind, of one event
  static constexpr std::size_t kMaxNotes = 0xffff'0000u;
  static constexpr std::size_t kMaxPath = 512;
  static constexpr std::size_t kMaxSkipped = 4096;  // slices that are too deep, whose ends are known

  struct Held {
    std::uint64_t time = 0;
    std::uint64_t clock = 0;  // not yet related to the trace's; 0: it is in the trace's
    Value value;              // of a counter
    std::size_t notes = 0;    // in notes_
    std::size_t flows = 0;    // in flows_
    std::uint32_t note_count = 0;
    std::uint32_t track = 0;  // its place
    std::uint32_t name = 0;   // text
    std::uint32_t category = 0;
    std::uint32_t stack = StackNumbers::kNone;
    std::uint16_t flow_count = 0;
    std::uint16_t flow_ends = 0;  // the last so many of them end
    std::uint8_t type = 0;
  };
  struct Note {
    std::uint32_t key = 0;  // text
    std::uint32_t text_size = 0;
    std::size_t text = 0;  // in note_texts_
    Value value;           // of a string: without it
  };

  // -- annotations ----------------------------------------------------------------------------------------------------

  /// An annotation and what is in it, to its depth, without recursion.
  [[nodiscard]] std::string_view flatten(Sequence& sequence, std::span<const std::byte> top) {
    struct Level {
      ProtobufReader reader;
      std::size_t path = 0;  // length of the path before this annotation's own name
      std::uint32_t elements = 0;
      bool element = false;
    };
    constexpr std::size_t kMaxLevels = 32;
    path_.clear();
    std::vector<Level> levels;
    levels.push_back({ProtobufReader{top}, 0, 0, false});
    while (!levels.empty()) {
      Level& level = levels.back();
      if (!level.reader.next()) {
        if (level.reader.damaged()) return level.reader.expected();
        path_.resize(level.path);
        levels.pop_back();
        continue;
      }
      const ProtobufReader& field = level.reader;
      switch (field.field()) {
        case debug_annotation::kNameIid:
        case debug_annotation::kName: {
          if (level.element) break;
          path_.resize(level.path);
          append_name(field.field() == debug_annotation::kName ? field.text() : text_of(sequence.keys.find(field.varint())));
          break;
        }
        case debug_annotation::kBool: note(Value::of(field.boolean())); break;
        case debug_annotation::kUint:
        case debug_annotation::kPointer: note(Value::of(field.varint())); break;
        case debug_annotation::kInt: note(Value::of(field.int64())); break;
        case debug_annotation::kDouble: note(Value::of(field.real())); break;
        case debug_annotation::kString:
        case debug_annotation::kJson: note(Value::of(field.text())); break;
        case debug_annotation::kStringIid: note(Value::of(text_of(sequence.values.find(field.varint())))); break;
        case debug_annotation::kDictEntries:
        case debug_annotation::kArrayValues: {
          if (levels.size() == kMaxLevels) break;
          const bool element = field.field() == debug_annotation::kArrayValues;
          const std::size_t path = path_.size();
          // An element has no name of its own: its path is whole, and goes with it.
          if (element && path < kMaxPath) path_ += "[" + std::to_string(level.elements++) + "]";
          levels.push_back({ProtobufReader{field.bytes()}, path, 0, element});
          break;
        }
        default: break;
      }
    }
    return {};
  }
  [[nodiscard]] std::string_view text_of(const std::uint32_t* known) const noexcept {
    return known == nullptr ? std::string_view{} : texts_[*known];
  }
  void append_name(std::string_view name) {
    if (path_.size() + name.size() >= kMaxPath) return;
    if (!path_.empty()) path_ += '.';
    path_ += name;
  }
  void note(const Value& value) {
    if (notes_.size() >= kMaxNotes) return;
    Note note;
    note.key = texts_.number_of(path_);
    note.value = value;
    note.value.text = {};
    note.text = note_texts_.size();
    note.text_size = static_cast<std::uint32_t>(value.text.size());
    note_texts_ += value.text;
    notes_.push_back(note);
  }
  void annotate(const Held& event, std::uint64_t id, LaneId lane) {
    for (std::size_t at = event.notes; at < event.notes + event.note_count; ++at) {
      const Note& note = notes_[at];
      Value value = note.value;
      value.text = std::string_view(note_texts_).substr(note.text, note.text_size);
      out_.annotate(event.time, id, RootId::kNone, lane, texts_[note.key], value);
    }
  }

  // -- what is held ---------------------------------------------------------------------------------------------------

  void relate_clocks(bool last) {
    for (Held& event : held_) {
      if (event.clock != 0 && clocks_.to_trace_clock(event.clock, event.time)) event.clock = 0;
    }
    if (last) skipped_ += std::erase_if(held_, [](const Held& event) { return event.clock != 0; });
  }

  /// What is left keeps its annotations and flows; theirs move to the front.
  void compact() {
    std::vector<Note> notes;
    std::vector<std::uint64_t> flows;
    std::string texts;
    for (Held& event : held_) {
      const std::size_t first_note = notes.size(), first_flow = flows.size();
      for (std::size_t at = event.notes; at < event.notes + event.note_count; ++at) {
        Note note = notes_[at];
        note.text = texts.size();
        texts.append(note_texts_, notes_[at].text, note.text_size);
        notes.push_back(note);
      }
      for (std::size_t at = event.flows; at < event.flows + event.flow_count; ++at) flows.push_back(flows_[at]);
      event.notes = first_note;
      event.flows = first_flow;
    }
    notes_ = std::move(notes);
    flows_ = std::move(flows);
    note_texts_ = std::move(texts);
  }

  // -- handing over ---------------------------------------------------------------------------------------------------

  void begin() {
    TraceInfo info;
    for (const Track& track : tracks_) {
      if (out_.traces() != 0 || !track.is_process || info.process_id != 0) continue;
      info.process_id = track.process_id;
      info.process_name = texts_[track.name];
    }
    out_.begin(info);
    trace_ = out_.traces();
  }

  /// The lane of a track: that of the thread it is, or lies below. kNone: of no thread.
  [[nodiscard]] LaneId lane_of(std::uint32_t at) {
    Track& track = tracks_[at];
    if (!track.thread_asked) {
      track.thread_asked = true;
      std::uint32_t up = at;
      for (unsigned steps = 0; steps < 100 && up != TrackTable::kNone && !tracks_[up].is_thread; ++steps) up = tracks_.parent_of(up);
      if (up != TrackTable::kNone && tracks_[up].is_thread) track.thread = up;
    }
    if (track.thread == TrackTable::kNone) return LaneId::kNone;
    Track& thread = tracks_[track.thread];
    if (thread.lane == LaneId::kNone) thread.lane = static_cast<LaneId>(++lanes_);
    out_.define_lane({thread.lane, thread.process_id, thread.thread_id, texts_[thread.name]});
    return thread.lane;
  }

  [[nodiscard]] StackId stack_of(const Held& event) {
    if (event.stack == StackNumbers::kNone) return StackId::kNone;
    out_.define_stack(event.stack, stacks_[event.stack]);
    return static_cast<StackId>(event.stack);
  }

  void take(const Held& event) {
    const LaneId lane = lane_of(event.track);
    switch (event.type) {
      case track_event::kCounter: return out_.count(event.time, lane, out_.counter(tracks_[event.track]), event.value);
      case track_event::kSliceBegin: return begin_slice(event, lane);
      case track_event::kSliceEnd: return end_slice(event, lane);
      default: out_.put(EventKind::kSettled, event.time, create(event, lane), RootId::kNone, lane); return;
    }
  }

  void begin_slice(const Held& event, LaneId lane) {
    if (std::vector<OpenSlice>& open = tracks_[event.track].open; open.size() >= max_open_) {
      ++skipped_;
      if (open.size() < max_open_ + kMaxSkipped) open.push_back({});
      return;
    }
    OpenSlice slice;
    slice.id = create(event, lane);
    tracks_[event.track].open.push_back(slice);
    if (tracks_[event.track].is_thread) out_.put(EventKind::kEntered, event.time, slice.id, RootId::kNone, lane);
  }
  void end_slice(const Held& event, LaneId lane) {
    Track& track = tracks_[event.track];
    if (track.open.empty()) {
      ++unmatched_ends_;
      return;
    }
    const std::uint64_t id = track.open.back().id;
    track.open.pop_back();
    if (id == 0) return;  // one that was too deep
    link_flows(event, id, lane, kNoTrigger);
    annotate(event, id, lane);
    out_.put(track.is_thread ? EventKind::kExited : EventKind::kSettled, event.time, id, RootId::kNone, lane);
  }

  /// The resource of a slice that begins, or of an instant.
  [[nodiscard]] std::uint64_t create(const Held& event, LaneId lane) {
    const std::uint64_t id = ++last_id_;
    const std::vector<OpenSlice>& open = tracks_[event.track].open;
    std::uint64_t trigger = open.empty() ? 0 : open.back().id;
    std::uint64_t by_flow = kNoTrigger;
    for (std::size_t at = event.flows; at < event.flows + event.flow_count && trigger == 0; ++at) {
      const std::uint32_t known = flow_by_id_.find(flow_key(flows_[at]));
      if (known != IdMap::kAbsent) trigger = by_flow = flow_ends_[known];
    }
    const TypeId type = out_.type(event.name == no_text_ ? std::string_view("slice") : texts_[event.name]);
    const StackId stack = stack_of(event);
    TraceEvent& created = out_.put(EventKind::kCreated, event.time, id, RootId::kNone, lane);
    created.other = static_cast<ResourceId>(trigger);
    created.type = type;
    created.stack = stack;
    if (event.category != no_text_) {
      out_.annotate(event.time, id, RootId::kNone, lane, "category", Value::of(texts_[event.category]));
    }
    annotate(event, id, lane);
    link_flows(event, id, lane, by_flow);
    return id;
  }

  /// Each use of a flow's id joins the slice of the use before to this one. `trigger`: what is the resource's trigger by a flow already.
  void link_flows(const Held& event, std::uint64_t id, LaneId lane, std::uint64_t trigger) {
    for (std::size_t at = 0; at < event.flow_count; ++at) {
      const std::uint64_t key = flow_key(flows_[event.flows + at]);
      const std::uint32_t known = flow_by_id_.find(key);
      const bool ends = at + event.flow_ends >= event.flow_count;
      if (known == IdMap::kAbsent) {
        if (ends) continue;
        flow_by_id_.insert(key, static_cast<std::uint32_t>(flow_ends_.size()));
        flow_ends_.push_back(id);
        continue;
      }
      const std::uint64_t cause = flow_ends_[known];
      if (cause != id && cause != trigger) {
        TraceEvent& linked = out_.put(EventKind::kLinked, event.time, id, RootId::kNone, lane);
        linked.other = static_cast<ResourceId>(cause);
        linked.flags = static_cast<std::uint8_t>(LinkKind::kAwaits);
      }
      if (ends) {
        flow_by_id_.erase(key);
      } else {
        flow_ends_[known] = id;
      }
    }
  }
  [[nodiscard]] static std::uint64_t flow_key(std::uint64_t id) noexcept { return id == 0 ? ~std::uint64_t{0} : id; }

  static constexpr std::uint64_t kNoTrigger = 0;

  TextNumbers& texts_;
  const StackNumbers& stacks_;
  TrackTable& tracks_;
  const ClockReadings& clocks_;
  TraceOutput<Sink>& out_;
  std::size_t max_open_;
  std::uint32_t no_text_;
  std::uint64_t trace_ = 0;  // theirs, of the file's; 0: not begun
  std::vector<Held> held_;
  std::vector<Note> notes_;
  std::string note_texts_;
  std::vector<std::uint64_t> flows_;
  std::string path_;
  IdMap flow_by_id_;
  std::vector<std::uint64_t> flow_ends_;
  std::uint64_t last_id_ = 0;
  std::uint32_t lanes_ = 0;
  std::uint64_t handed_to_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t unmatched_ends_ = 0;
  std::uint64_t disordered_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
