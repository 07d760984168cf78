// SPDX-License-Identifier: MIT
// own_records.hpp: what PerfettoEncoder made of events, made into events again.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
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

/// The inverse of mix64.
[[nodiscard]] constexpr std::uint64_t unmix64(std::uint64_t value) noexcept {
  const auto unshift = [](std::uint64_t x, unsigned by) {
    std::uint64_t result = x;
    for (unsigned done = by; done < 64; done += by) result = x ^ result >> by;
    return result;
  };
  value = unshift(value, 31) * 0x319642b2d24d8ec3u;
  value = unshift(value, 27) * 0x96de1b173f119089u;
  return unshift(value, 30);
}
static_assert(unmix64(mix64(1)) == 1 && unmix64(mix64(0x0123'4567'89ab'cdefu)) == 0x0123'4567'89ab'cdefu);

/// Our own traces: every record comes back as it was recorded, in the order of the file.
///   Threads   one.
///   Cost      O(1) expected an event.
///   Errors    take() and read_trace_uuid() return what was expected where the input is damaged, else nothing; std::bad_alloc.
///   Lifetime  texts, stacks, tracks and output outlive it.
template <EventSink Sink>
class OwnRecords {
 public:
  OwnRecords(TextNumbers& texts, const StackNumbers& stacks, TrackTable& tracks, TraceOutput<Sink>& out)
      : texts_(texts), stacks_(stacks), tracks_(tracks), out_(out), cut_key_(texts.number_of(kCutKey)) {}

  /// A trace of ours was begun and not ended.
  [[nodiscard]] bool open() const noexcept { return open_; }
  /// Events of no kind that we know, and counters without a value.
  [[nodiscard]] std::uint64_t skipped() const noexcept { return skipped_; }
  /// Ends of slices that do not say what they end, without a begin.
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return unmatched_ends_; }

  [[nodiscard]] std::string_view read_trace_uuid(std::span<const std::byte> bytes) {
    std::uint64_t high = 0, low = 0;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == trace_uuid::kMsb) high = reader.varint();
      if (reader.field() == trace_uuid::kLsb) low = reader.varint();
    }
    if (reader.damaged()) return reader.expected();
    // One of ours is made of the salt by a bijection. It comes again, for readers that come late.
    const std::uint64_t salt = unmix64(high) ^ 1;
    if (mix64(salt ^ 1) != high || mix64(salt ^ 2) != low || (open_ && !summed_up_ && salt == salt_)) return {};
    TraceInfo info;
    info.salt = salt;
    begin(info);
    return {};
  }

  [[nodiscard]] std::string_view take(Sequence& sequence, EventFields& event) {
    host_notes_.clear();
    if (!event.annotations.empty()) [[unlikely]] {
      if (const std::string_view expected = read_annotations(sequence, event); !expected.empty()) return expected;
    }
    const std::uint32_t at = tracks_.of(event.track_uuid);
    if (!open_ && event.word() != Word::kTrace) resume();
    switch (event.type) {
      case track_event::kSliceBegin: begin_slice(sequence, event, at); break;
      case track_event::kSliceEnd: end_slice(event, at); break;
      case track_event::kInstant:
        if (event.is_thence) return announcement(event, at);
        record(sequence, event, at);
        break;
      case track_event::kCounter:
        if (!event.has_value) {
          ++skipped_;
          break;
        }
        out_.count(event.time, tracks_.lane_of(at), out_.counter(tracks_[at]),
                   event.has(Key::kValue) ? Value::of(event.uint(Key::kValue)) : event.value);
        break;
      default: break;
    }
    if (!event.extra_values.empty()) take_counters(sequence, event);
    return {};
  }

  /// Events of others come between: ends the trace that is open. It goes on as a further one.
  void end() {
    if (!open_) return;
    out_.end(summary());
    lane_summaries_.clear();
    totals_ = {};
    open_ = false;
  }
  /// As the trace says it; its lanes are good until the next call.
  [[nodiscard]] TraceSummary summary() const noexcept {
    TraceSummary summary = totals_;
    summary.lanes = lane_summaries_;
    return summary;
  }

 private:
  /// An annotation of the host's.
  struct HostNote {
    std::string_view key;
    Value value;
  };

  void begin(const TraceInfo& info) {
    if ((info.salt != salt_ && salt_ != 0) || summed_up_) {
      end();
      // Of another trace: an invocation or a resource that is open stays open; what is held back by a track is forgotten.
      for (Track& track : tracks_) {
        if (!track.has_lane) continue;
        track.open.clear();
        track.ended.clear();
      }
    }
    salt_ = info.salt;
    summed_up_ = false;
    if (open_) return out_.begin_again(info);
    open_ = true;
    info_told_ = false;
    out_.begin(info);
  }
  /// Without an announcement: the trace goes on behind events of others, or its begin is not in the file.
  void resume() {
    TraceInfo info;
    info.salt = salt_;
    begin(info);
    for (const Track& track : tracks_) {
      if (track.has_lane) define_lane(track);
    }
  }
  void define_lane(const Track& track) {
    if (track.lane != LaneId::kNone) out_.define_lane({track.lane, track.process_id, track.thread_id, texts_[track.name]});
  }

  // -- annotations ----------------------------------------------------------------------------------------------------

  [[nodiscard]] std::string_view read_annotations(Sequence& sequence, const EventFields& event) {
    for (const std::span<const std::byte> bytes : event.annotations) {
      std::uint32_t key = IdMap::kAbsent;
      std::string_view key_text;
      Value value;
      bool has_value = false;
      const auto take_value = [&](const Value& taken) {
        value = taken;
        has_value = true;
      };
      ProtobufReader reader{bytes};
      while (reader.next()) {
        switch (reader.field()) {
          case debug_annotation::kNameIid:
            if (const std::uint32_t* known = sequence.keys.find(reader.varint()); known != nullptr) key = *known;
            break;
          case debug_annotation::kName: key_text = reader.text(); break;
          case debug_annotation::kUint: take_value(Value::of(reader.varint())); break;
          case debug_annotation::kInt: take_value(Value::of(reader.int64())); break;
          case debug_annotation::kBool: take_value(Value::of(reader.boolean())); break;
          case debug_annotation::kDouble: take_value(Value::of(reader.real())); break;
          case debug_annotation::kString: take_value(Value::of(reader.text())); break;
          case debug_annotation::kStringIid:
            if (const std::uint32_t* known = sequence.values.find(reader.varint()); known != nullptr) {
              take_value(Value::of(texts_[*known]));
            }
            break;
          default: break;
        }
      }
      if (reader.damaged()) return reader.expected();
      if (!has_value) continue;
      if (key == cut_key_ || (key == IdMap::kAbsent && key_text == kCutKey)) {  // it follows what it is of
        if (!host_notes_.empty()) host_notes_.back().value.cut = true;
        continue;
      }
      host_notes_.push_back({key == IdMap::kAbsent ? key_text : texts_[key], value});
    }
    return {};
  }
  void hand_over_notes(std::uint64_t id, RootId root, std::uint64_t time, LaneId lane) {
    for (const HostNote& note : host_notes_) out_.annotate(time, id, root, lane, note.key, note.value);
  }

  // -- slices ---------------------------------------------------------------------------------------------------------

  /// A slice on a lane's track is an invocation or a pause, on one below a lane the time it was parked, else a resource.
  [[nodiscard]] SliceKind kind_of(const EventFields& event, std::uint32_t at) noexcept {
    if (tracks_[at].has_lane) return event.has(Key::kPause) ? SliceKind::kPause : SliceKind::kInvocation;
    const std::uint32_t up = tracks_.parent_of(at);
    return up != TrackTable::kNone && tracks_[up].has_lane ? SliceKind::kPark : SliceKind::kResource;
  }

  void begin_slice(Sequence& sequence, EventFields& event, std::uint32_t at) {
    OpenSlice slice;
    slice.id = id_of(event);
    slice.root = event.root();
    slice.begin = event.time;
    slice.split = event.uint(Key::kPart) != 0;
    slice.invocation = event.uint(Key::kInvocation);
    slice.kind = kind_of(event, at);
    const std::uint64_t time = event.has(Key::kTrueBegin) ? event.uint(Key::kTrueBegin) : event.time;
    switch (slice.kind) {
      case SliceKind::kResource: {
        const TypeId type = event.name != nullptr ? out_.type(*event.name) : out_.type(event.name_text);
        created(sequence, event, type, event.lane(Key::kLane));
        break;
      }
      case SliceKind::kInvocation:
        if (!slice.split) entered(sequence, event, time, tracks_.lane_of(at));  // else it goes on
        break;
      case SliceKind::kPause:
        slice.pause = event.pause();
        if (slice.split) break;
        out_.put(EventKind::kPauseBegan, time, static_cast<std::uint64_t>(slice.pause), RootId::kNone, tracks_.lane_of(at));
        break;
      case SliceKind::kPark: out_.put(EventKind::kParked, event.time, 0, RootId::kNone, tracks_.lane_of(at)); break;
      case SliceKind::kOther: break;
    }
    // The parts of invocations that cross are written late: what is open stays in order of time.
    std::vector<OpenSlice>& open = tracks_[at].open;
    open.insert(open.begin() + static_cast<std::ptrdiff_t>(begun_by(open, slice.begin)), slice);
  }
  /// How many of the open slices had begun by `time`.
  [[nodiscard]] static std::size_t begun_by(const std::vector<OpenSlice>& open, std::uint64_t time) noexcept {
    std::size_t count = open.size();
    while (count != 0 && open[count - 1].begin > time) --count;
    return count;
  }

  void end_slice(const EventFields& event, std::uint32_t at) {
    Track& track = tracks_[at];
    OpenSlice slice;
    if (const std::size_t begun = begun_by(track.open, event.time); begun != 0) {  // it ends the one that began last
      slice = track.open[begun - 1];
      track.open.erase(track.open.begin() + static_cast<std::ptrdiff_t>(begun - 1));
    } else {
      // It began in a part of the file that is not there: then it says of what it is the end.
      slice.kind = kind_of(event, at);
      slice.id = id_of(event);
      slice.root = event.root();
      slice.pause = event.pause();
      if (slice.kind != SliceKind::kPark && slice.kind != SliceKind::kPause && slice.id == 0) {
        ++unmatched_ends_;
        return;
      }
    }
    switch (slice.kind) {
      case SliceKind::kResource: finish_resource(event, slice.id, slice.root); break;
      case SliceKind::kInvocation:
      case SliceKind::kPause: end_run(event, slice, at); break;
      case SliceKind::kPark:
        if (event.uint(Key::kEndUnknown) == 0) out_.put(EventKind::kUnparked, event.time, 0, RootId::kNone, tracks_.lane_of(at));
        break;
      case SliceKind::kOther: break;
    }
  }
  /// The end of an invocation or a pause, or of a part of one.
  void end_run(const EventFields& event, const OpenSlice& slice, std::uint32_t at) {
    const bool split = slice.split || event.has(Key::kSplit);
    if (event.uint(Key::kEndUnknown) != 0 || (split && !event.has(Key::kTrueEnd))) return;
    if (split) {  // each part that knows the end says it
      const std::uint64_t invocation = slice.split ? slice.invocation : event.uint(Key::kInvocation);
      std::vector<std::uint64_t>& ended = tracks_[at].ended;
      if (std::find(ended.begin(), ended.end(), invocation) != ended.end()) return;
      if (ended.size() >= 256) ended.erase(ended.begin(), ended.begin() + 128);
      ended.push_back(invocation);
    }
    const std::uint64_t time = event.has(Key::kTrueEnd) ? event.uint(Key::kTrueEnd) : event.time;
    const LaneId lane = event.has(Key::kExitLane) ? event.lane(Key::kExitLane) : tracks_.lane_of(at);
    if (slice.kind == SliceKind::kInvocation) {
      out_.put(EventKind::kExited, time, slice.id, slice.root, lane);
    } else {
      out_.put(EventKind::kPauseEnded, time, static_cast<std::uint64_t>(slice.pause), RootId::kNone, lane);
    }
  }
  /// What a resource's end says of it: its annotations, and when it was settled and destroyed.
  void finish_resource(const EventFields& event, std::uint64_t id, RootId root) {
    hand_over_notes(id, root, event.time, LaneId::kNone);
    if (event.has(Key::kSettledBefore)) {
      settled(event, event.time - std::min(event.uint(Key::kSettledBefore), event.time), id, root, event.lane(Key::kSettledOn),
              StackId::kNone);
    }
    if (event.has(Key::kDestroyedAfter)) {
      out_.put(EventKind::kDestroyed, event.time + event.uint(Key::kDestroyedAfter), id, root, event.lane(Key::kDestroyedOn));
    }
  }

  // -- records --------------------------------------------------------------------------------------------------------

  [[nodiscard]] static std::uint64_t id_of(const EventFields& event) noexcept { return event.correlation & Event::kIdMask; }
  /// To be asked before the event is put: it may be the stack's first use in its trace.
  [[nodiscard]] StackId stack_of(Sequence& sequence, const EventFields& event) {
    if (event.callstack == 0) return static_cast<StackId>(static_cast<std::uint32_t>(event.uint(Key::kStack)));
    const auto id = static_cast<std::uint32_t>(event.callstack);  // the iid is the stack's number
    const std::uint32_t* known = sequence.stacks.find(event.callstack);
    if (known == nullptr || id != event.callstack) return StackId::kNone;
    out_.define_stack(id, stacks_[*known]);
    return static_cast<StackId>(id);
  }

  void created(Sequence& sequence, const EventFields& event, TypeId type, LaneId lane) {
    const StackId stack = stack_of(sequence, event);
    TraceEvent& created = out_.put(EventKind::kCreated, event.time, event.correlation, event.root(), lane);
    created.other = event.resource(Key::kTrigger);
    created.type = type;
    created.stack = stack;
  }
  /// An entry, and the wake before it where it says that.
  void entered(Sequence& sequence, const EventFields& event, std::uint64_t time, LaneId lane) {
    if (event.has(Key::kWokenBefore)) {
      scheduled(event, time - std::min(event.uint(Key::kWokenBefore), time),
                event.has(Key::kWakeLane) ? event.lane(Key::kWakeLane) : lane);
    }
    const StackId stack = stack_of(sequence, event);
    TraceEvent& entered = out_.put(EventKind::kEntered, time, event.correlation, event.root(), lane);
    entered.other = event.resource(Key::kCauseBy);
    entered.flags = static_cast<std::uint8_t>(event.enumerator(Key::kCause, CauseKind::kExternal, CauseKind::kUnspecified));
    entered.stack = stack;
  }
  void scheduled(const EventFields& event, std::uint64_t time, LaneId lane) {
    TraceEvent& scheduled = out_.put(EventKind::kScheduled, time, event.correlation, event.root(), lane);
    scheduled.other = event.resource(Key::kWaker);
    const Actor unsaid = event.has(Key::kWaker) ? Actor::kInvocation : Actor::kUnknown;
    scheduled.flags = static_cast<std::uint8_t>(event.has(Key::kScheduledBy) ? event.actor(Key::kScheduledBy) : unsaid);
  }
  void settled(const EventFields& event, std::uint64_t time, std::uint64_t id, RootId root, LaneId lane, StackId stack) {
    TraceEvent& settled = out_.put(EventKind::kSettled, time, id, root, lane);
    settled.other = event.resource(Key::kSettler);
    settled.flags = static_cast<std::uint8_t>(
        static_cast<unsigned>(event.enumerator(Key::kOutcome, Outcome::kResolved, Outcome::kUnknown)) |
        static_cast<unsigned>(event.actor(Key::kSettledBy)) << 4);
    settled.stack = stack;
  }

  void record(Sequence& sequence, const EventFields& event, std::uint32_t at) {
    const std::uint64_t id = id_of(event);
    const RootId root = event.root();
    // On a resource's track the lane is said; on a lane's it is the lane's.
    const LaneId lane = event.has(Key::kLane) ? event.lane(Key::kLane) : tracks_.lane_of(at);
    const auto put = [&](EventKind kind) { out_.put(kind, event.time, id, root, lane); };
    switch (event.word()) {
      case Word::kCreated: return created(sequence, event, out_.type(event.text(Key::kType)), lane);
      case Word::kScheduled: return scheduled(event, event.time, lane);
      case Word::kEntered: return entered(sequence, event, event.time, lane);
      case Word::kExited: return put(EventKind::kExited);
      case Word::kSettled: return settled(event, event.time, id, root, lane, stack_of(sequence, event));
      case Word::kDestroyed: return put(EventKind::kDestroyed);
      case Word::kAwaits:
      case Word::kBridge: {
        const StackId stack = stack_of(sequence, event);
        TraceEvent& linked = out_.put(EventKind::kLinked, event.time, id, root, lane);
        linked.other = event.resource(Key::kLinkCause);
        linked.flags = static_cast<std::uint8_t>(event.enumerator(
            Key::kLink, LinkKind::kBridge, event.word() == Word::kBridge ? LinkKind::kBridge : LinkKind::kAwaits));
        linked.stack = stack;
        return;
      }
      case Word::kAnnotated: return hand_over_notes(id, root, event.time, lane);
      case Word::kFinished: return put(EventKind::kRootFinished);
      case Word::kSealed: {
        TraceEvent& sealed = out_.put(EventKind::kRootSealed, event.time, 0, root, LaneId::kNone);
        sealed.flags =
            static_cast<std::uint8_t>(event.enumerator(Key::kSealReason, SealReason::kSessionEnded, SealReason::kFinished));
        return;
      }
      case Word::kOpen: {
        // Its slice has no end; its track is not used again.
        std::vector<OpenSlice>& open = tracks_[at].open;
        const auto last = std::find_if(open.rbegin(), open.rend(), [&](const OpenSlice& slice) { return slice.id == id; });
        if (last != open.rend()) open.erase(std::next(last).base());
        return finish_resource(event, id, root);
      }
      case Word::kParked: out_.put(EventKind::kParked, event.time, 0, RootId::kNone, lane); return;
      case Word::kUnparked: out_.put(EventKind::kUnparked, event.time, 0, RootId::kNone, lane); return;
      case Word::kPauseEnded:
        out_.put(EventKind::kPauseEnded, event.time, static_cast<std::uint64_t>(event.pause()), RootId::kNone, lane);
        return;
      case Word::kSample: {
        const StackId stack = stack_of(sequence, event);
        TraceEvent& sample = out_.put(EventKind::kSample, event.time, id, root, lane);
        sample.flags = static_cast<std::uint8_t>(event.enumerator(Key::kSample, SampleKind::kOffCpu, SampleKind::kCpu));
        sample.stack = stack;
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

  /// Counters that rode on an event's packet; where not all of them are samples, a mask says which.
  void take_counters(Sequence& sequence, const EventFields& event) {
    const std::vector<std::uint64_t>& tracks = event.tracks_of_extra_values(sequence);
    const std::uint64_t mask = event.has(Key::kCounters) ? event.uint(Key::kCounters) : ~std::uint64_t{0};
    for (std::size_t at = 0; at < event.extra_values.size() && at < tracks.size(); ++at) {
      if ((mask >> at & 1) == 0) continue;
      const std::uint32_t track = tracks_.of(tracks[at]);
      out_.count(event.time, tracks_.lane_of(track), out_.counter(tracks_[track]), EventFields::number(event.extra_values[at]));
    }
  }

  // -- what is said of the trace itself -------------------------------------------------------------------------------

  [[nodiscard]] std::string_view announcement(const EventFields& event, std::uint32_t at) {
    switch (event.word()) {
      case Word::kTrace: {
        if (event.uint(Key::kVersion) > kFormatVersion) return "version 1 of thence's annotations";
        TraceInfo info;
        info.salt = event.uint(Key::kSalt);
        info.process_id = static_cast<std::int32_t>(event.uint(Key::kProcessId));
        info.process_name = event.text(Key::kName);
        info.clock = event.text(Key::kClock);
        info.overflow_policy = event.text(Key::kOverflow);
        info.sampling = event.text(Key::kSampling);
        if (info_told_ && open_ && !summed_up_ && info.salt == salt_) break;  // again, for readers that come late
        begin(info);
        info_told_ = true;
        break;
      }
      case Word::kLane: {
        Track& track = tracks_[at];
        track.has_lane = true;
        track.lane = event.lane(Key::kLane);
        track.process_id = static_cast<std::int32_t>(event.uint(Key::kProcessId));
        track.thread_id = static_cast<std::int32_t>(event.uint(Key::kThreadId));
        track.name = texts_.number_of(event.text(Key::kName));
        define_lane(track);
        break;
      }
      case Word::kLost: out_.lose(loss(event, Key::kCount), event.lane(Key::kLane)); break;
      case Word::kSummary: take_summary(event); break;
      default: break;
    }
    return {};
  }
  [[nodiscard]] static LossRange loss(const EventFields& event, Key count) noexcept {
    return {event.uint(count), event.time_at(Key::kFirst), event.time_at(Key::kLast)};
  }
  void take_summary(const EventFields& event) {
    if (event.has(Key::kLane)) {
      LaneSummary lane;
      lane.lane = event.lane(Key::kLane);
      lane.events = event.uint(Key::kEvents);
      lane.lost = loss(event, Key::kLost);
      lane.misuse.exit_without_enter = event.uint(Key::kExitWithoutEnter);
      lane.misuse.exits_crossed = event.uint(Key::kExitsCrossed);
      lane.misuse.too_deep = event.uint(Key::kTooDeep);
      lane.misuse.annotations_cut = event.uint(Key::kAnnotationsCut);
      lane.misuse.stacks_refused = event.uint(Key::kStacksRefused);
      lane.misuse.roots_ends_lost = event.uint(Key::kRootEndsLost);
      lane.ring_bytes = event.uint(Key::kRingBytes);
      lane_summaries_.push_back(lane);
      return;
    }
    summed_up_ = true;
    totals_.events = event.uint(Key::kEvents);
    totals_.lost = event.uint(Key::kLost);
    totals_.late_events = event.uint(Key::kLateEvents);
    totals_.after_seal = event.uint(Key::kAfterSeal);
    totals_.roots_sealed = event.uint(Key::kRootsSealed);
    totals_.roots_abandoned = event.uint(Key::kRootsAbandoned);
    totals_.drain_ns = event.uint(Key::kDrainNs);
    totals_.bytes_written = event.uint(Key::kBytes);
  }

  TextNumbers& texts_;
  const StackNumbers& stacks_;
  TrackTable& tracks_;
  TraceOutput<Sink>& out_;
  std::uint32_t cut_key_;
  bool open_ = false;
  bool info_told_ = false;
  bool summed_up_ = false;
  std::uint64_t salt_ = 0;
  std::vector<LaneSummary> lane_summaries_;
  TraceSummary totals_;
  std::vector<HostNote> host_notes_;
  std::uint64_t skipped_ = 0;
  std::uint64_t unmatched_ends_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
