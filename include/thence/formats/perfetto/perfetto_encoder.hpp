// SPDX-License-Identifier: MIT
// perfetto_encoder.hpp: a trace as one Perfetto file (.pftrace), event by event, in memory that what is open bounds.
//
// The file opens as it is in the Perfetto UI and in SQL, and a reader gets every record back from it; docs/formats.md has
// the tables. In short:
//   - a lane is its thread's track: invocations and pauses are slices on it. Where invocations cross, the later one is
//     split at the crossing and each part bears the true interval;
//   - a request is a track under the process; below it lie its resources, on tracks by type that are taken from a pool, so
//     that no slice ever overlaps its neighbour. Without a request: the same under "no request";
//   - trigger, wake, settle, release, awaits and bridge are flows, one id an edge. A flow id cannot be added to a slice
//     that is already in the file, so each end that is an invocation is an instant inside it at the moment of the
//     act, written, in the past if need be, when the other end is there: no flow has one end only;
//   - a record that has no slice to stand on is an instant on its lane: nothing is left out.
// A resource's slice ends when it was settled (destroyed, if it never was), or when the last of its invocations ended,
// if that is later; words.hpp has the rule. What is open when its root is sealed stays open in the picture.
//
//   FileSink file{"trace.pftrace"};
//   PerfettoEncoder encoder{file};       // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/encoder/early_events.hpp"
#include "thence/formats/perfetto/encoder/encoded_lane.hpp"
#include "thence/formats/perfetto/encoder/extension_descriptor.hpp"
#include "thence/formats/perfetto/encoder/kept_annotations.hpp"
#include "thence/formats/perfetto/encoder/open_resources.hpp"
#include "thence/formats/perfetto/encoder/quarantine.hpp"
#include "thence/formats/perfetto/encoder/track_pool.hpp"
#include "thence/formats/perfetto/encoder/wake_table.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/protobuf_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Which slices a trace shows. All records are in the file whichever: what has no slice is an instant on its lane.
enum class PerfettoSpans : std::uint8_t {
  kBoth,
  kRequests,  ///< requests and their resources; entering and leaving are instants
  kLanes,     ///< what each lane ran; creations and ends are instants
};

struct PerfettoOptions {
  PerfettoWriterOptions writer = {};
  /// Arrows for triggers, wakes, settles, releases and links. Without: a third less bytes; a wake is said by the invocation
  /// that follows it, a settling by the end of its slice, and who caused what only by number.
  bool flows = true;
  PerfettoSpans spans = PerfettoSpans::kBoth;
  /// Each resource on a track of its own instead of one from the pool. Perfetto then needs a kilobyte a resource, and one
  /// can be pinned and searched for by its track.
  bool track_per_resource = false;
  /// For how long after its end a resource still takes late events, and its track is not given to another. Less: events
  /// that a preempted thread publishes late stand beside their slice instead of on it, and a continuation that runs so
  /// long after the settling is not covered by the slice. More: more tracks, and memory for what has just ended.
  std::uint64_t quarantine_ns = 10'000'000;
  /// Resources that may be open at once. The creation of one beyond is written as an instant, and so is all else of it.
  std::size_t max_open_resources = std::size_t{1} << 20;
  /// Annotations kept for the end of a resource's slice, in bytes; further ones become instants.
  std::size_t max_annotation_bytes = 8 * 1024;
  /// Exits that wait, on one lane, for the exit of an invocation that they crossed. With more, the parts written so far
  /// bear the true begin only.
  std::size_t max_pending_exits = 64;
  /// Nested slices on a lane; Perfetto drops slices deeper than 512. An invocation beyond is written as two instants.
  std::size_t max_depth = 500;
};

/// Writes events as a Perfetto trace.
///   Shape     state for each lane, each open root, each open resource, and for the names and stacks of the trace.
///   Threads   one at a time.
///   Cost      about two thirds of a packet an event without flows, one with them; no allocation in the steady state.
///   When full see PerfettoOptions: what exceeds a bound is written in a plainer form, never dropped. A sink that refuses
///             ends the file at the last whole write: failed().
///   Errors    std::bad_alloc, and what the sink throws. Of what `take` was given, the event at which it threw and those after
///             it are lost: the file says of each lane how many, and when, as of what a ring has lost; an arrow to one of them
///             leads nowhere. `begin` and `end` may be called again, and go on where they threw; else texts that `begin` was
///             given may be missing, and what `end` had yet to write is not counted: then the file has no summary.
///   Lifetime  the sink outlives it; `end` writes the rest.
template <ByteSink Sink>
class PerfettoEncoder {
 public:
  using Options = PerfettoOptions;

  explicit PerfettoEncoder(Sink& sink, const Options& options = {})
      : options_(options),
        writer_(sink, options.writer),
        tracks_(options.quarantine_ns, options.track_per_resource),
        annotations_(options.max_annotation_bytes) {
    if (options_.spans == PerfettoSpans::kRequests) options_.max_depth = 0;
    cut_key_ = writer_.intern_key(perfetto::kCutKey);
  }
  PerfettoEncoder(const PerfettoEncoder&) = delete;
  PerfettoEncoder& operator=(const PerfettoEncoder&) = delete;

  void begin(const TraceInfo& info) {
    if (begun_) return;
    salt_ = info.salt;
    info_process_id_ = info.process_id;
    process_name_ = info.process_name;
    overflow_policy_ = info.overflow_policy;
    clock_ = info.clock;
    sampling_ = info.sampling;
    open_trace();
  }

  void define_lane(const LaneInfo& info) {
    start();
    const std::uint32_t index = lane_index(info.id);
    Lane& lane = lanes_[index];
    lane.process = process_of(info.process_id == 0 ? info_process_id_ : info.process_id);
    lane.process_id = info.process_id == 0 ? info_process_id_ : info.process_id;
    lane.thread_id = info.thread_id;
    lane.name = info.name;
    lane.generation = 0;  // described (again) before its next event
    describe_lane(lane);
    torn_ = false;
  }

  void define_type(TypeId type, std::string_view name) {
    const auto index = static_cast<std::size_t>(type);
    if (index >= type_names_.size()) type_names_.resize(index + 1);
    type_names_[index] = writer_.intern_name(name);
  }

  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    for (CounterName& known : counters_) {
      if (known.id == counter) {
        known.name = name;
        known.unit = unit;
        return;
      }
    }
    counters_.push_back({counter, std::string(name), std::string(unit)});
  }

  void define_stack(const StackInfo& stack) { writer_.define_stack(stack); }

  void synchronise(const ClockSnapshot& clocks) {
    start();
    reach(clocks.boottime);
    clocks_ = clocks;
    writer_.prepare(*async_);
    if (announced_ == async_->generation()) {
      writer_.clock_snapshot(*async_, clocks);
    } else {
      announce_trace();  // which says it
    }
    if (stats_due_) write_stats({});
    torn_ = false;
  }

  void take(View<const TraceEvent> events) {
    NotTaken rest{*this, events};
    start();
    for (std::size_t& at = rest.at; at < events.size(); ++at) {
      if (events[at].kind == EventKind::kCounter) [[unlikely]] {
        at = take_with_counters(events, at);
      } else if (at + 1 < events.size() && events[at + 1].kind == EventKind::kCounter) {
        at = take_with_counters(events, at);
      } else {
        take_one(events[at]);
      }
    }
    if (keys_described_ != announced_ && writer_.bytes_since_start(*async_) >= kKeysAfter) [[unlikely]] describe_keys();
    torn_ = false;
  }

  /// Hands what is whole to the sink; where packets are compressed, what fills a run.
  void flush() { writer_.flush(); }
  /// Hands all to the sink, and makes what follows readable without what went before: a new file may begin here.
  void restart() {
    if (keys_described_ != announced_) describe_keys();
    writer_.flush(true);
    writer_.restart();
  }
  /// The same after events that were not handed to this encoder: the loss of each lane is then told by an event kLost.
  void restart_after_loss() {
    restart();
    writer_.mark_dropped(*async_);
    writer_.mark_dropped(*ends_);
  }

  void end(const TraceSummary& summary) {
    start();
    for (std::uint32_t index = 0; index < lanes_.size(); ++index) write_pending_exits(lanes_[index]);
    for (std::uint32_t place = 0; place < open_.places(); ++place) {
      if (open_[place].id == 0) continue;
      if (open_[place].life.ended()) {
        close(place);
      } else {
        leave_open(place);
      }
    }
    write_all_wakes();
    write_summary(summary);
    if (keys_described_ != announced_) describe_keys();
    write_stats(summary);
    writer_.flush(true);
    torn_ = false;
  }

  [[nodiscard]] bool failed() const noexcept { return writer_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return writer_.written(); }
  /// Bytes of packets that have not been handed to the sink.
  [[nodiscard]] std::size_t bytes_waiting() const noexcept { return writer_.waiting(); }
  [[nodiscard]] std::uint64_t bytes_refused() const noexcept { return writer_.refused(); }
  /// Resources that are open, or ended and in quarantine.
  [[nodiscard]] std::size_t open_resources() const noexcept { return open_.size(); }
  /// Tracks in use or in the pools: what a file's reader pays for.
  [[nodiscard]] std::uint64_t tracks_made() const noexcept { return tracks_.made(); }
  /// Events with a kind that has no meaning here, or without the data that their kind needs.
  [[nodiscard]] std::uint64_t malformed() const noexcept { return malformed_; }

 private:
  using Key = perfetto::Key;
  using Packet = typename PerfettoWriter<Sink>::Event;
  using Lane = perfetto::EncodedLane;
  using Sequence = perfetto::WrittenSequence;
  using Resource = perfetto::OpenResource;
  using Root = perfetto::OpenRoot;
  using Slot = perfetto::Slot;
  using Wake = perfetto::Wake;
  using Run = perfetto::RunSlice;
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  // -- state ----------------------------------------------------------------------------------------------------------

  struct Process {
    std::int32_t id = 0;
    std::uint64_t uuid = 0;
    std::uint32_t generation = 0;
  };

  struct CounterName {
    CounterId id;
    std::string name;
    std::string unit;
  };

  // -- start ----------------------------------------------------------------------------------------------------------

  void start() {
    if (!begun_) [[unlikely]] open_trace();
    if (torn_) [[unlikely]] mend();
    torn_ = true;
  }
  void open_trace() {
    tracks_.begin(salt_);
    flow_base_ = mix64(salt_ ^ 0x666c'6f7773u);
    if (async_ == nullptr) async_ = &writer_.open_sequence(0);
    if (ends_ == nullptr) ends_ = &writer_.open_sequence(0);
    static_cast<void>(process_of(info_process_id_));
    begun_ = true;
  }
  /// What is left of a batch where taking it throws is lost.
  struct NotTaken {
    [[gnu::always_inline]] inline ~NotTaken() {
      if (at < events.size()) [[unlikely]] encoder.not_taken(events.subspan(at));
    }
    PerfettoEncoder& encoder;
    View<const TraceEvent> events;
    std::size_t at = 0;
  };
  [[gnu::noinline]] void not_taken(View<const TraceEvent> events) noexcept {
    for (const TraceEvent& event : events) {
      const std::uint32_t lane = lane_by_id_.find(number(event.lane) + 1);
      const LossRange lost = event.loss != nullptr ? *event.loss : LossRange{1, event.time, event.time};
      (lane == kNone ? not_taken_ : lanes_[lane].not_taken).add(lost);
      if (event.loss != nullptr) continue;  // the session's summary has it
      (lane == kNone ? not_taken_in_all_ : lanes_[lane].not_taken_in_all).add(lost);
    }
  }
  /// After a call that threw: what it has left half done on the lanes is cut off, and said to be so; all is described anew.
  [[gnu::noinline]] void mend() {
    riding_count_ = 0;
    writer_.restart();
    if (not_taken_.count != 0) {
      Lane& lane = lane_of(LaneId::kNone);
      lane.not_taken.add(std::exchange(not_taken_, {}));
      lane.not_taken_in_all.add(std::exchange(not_taken_in_all_, {}));
    }
    for (Lane& lane : lanes_) {
      // The slice of the one on top may not have begun: then it is not to end.
      if (!lane.stack.empty() && lane.stack.back().generation == 0) {
        const Run run = lane.stack.back();
        if (!run.pause) add_loose(lane, {run.resource, run.root, run.entry, false});
        lane.stack.pop_back();
      }
      lane.pending = 0;
      for (const Run& run : lane.stack) {
        if (!run.ended()) continue;
        ++lane.pending;
        lane.last_pending_order = std::max(lane.last_pending_order, run.end_order);
      }
      cut_runs(lane, lane.not_taken.count != 0 ? ns_of(lane.not_taken.first) : now_);
      write_pending_exits(lane);
      if (lane.not_taken.count == 0) continue;
      say_lost(lane, lane.not_taken);
      lane.not_taken = {};
    }
    for (std::uint32_t place = 0; place < open_.places(); ++place) {
      if (open_[place].id != 0 && open_[place].life.ended()) queue(open_[place]);
    }
  }

  /// One after the other from a base of 64 bits: unique as that is, and they compress. 0 where flows are off.
  [[nodiscard]] std::uint64_t next_flow() noexcept {
    if (!options_.flows) return 0;
    const std::uint64_t flow = flow_base_ + ++flows_;
    return flow == 0 ? flow_base_ + ++flows_ : flow;
  }
  void reach(std::uint64_t time) noexcept {
    if (time <= now_) return;
    now_ = time;
    writer_.reach(time);
  }
  void write_uuid() {
    writer_.packet(*async_, [&](ProtobufWriter& writer) {
      const auto uuid = writer.message(perfetto::trace_packet::kTraceUuid);
      writer.varint(perfetto::trace_uuid::kMsb, mix64(salt_ ^ 1));
      writer.varint(perfetto::trace_uuid::kLsb, mix64(salt_ ^ 2));
    });
  }

  std::uint32_t process_of(std::int32_t id) {
    for (std::uint32_t at = 0; at < processes_.size(); ++at) {
      if (processes_[at].id == id) return at;
    }
    processes_.push_back({id, tracks_.next_uuid(), 0});
    return static_cast<std::uint32_t>(processes_.size() - 1);
  }

  /// Events come in runs of one lane.
  [[gnu::always_inline]] inline std::uint32_t lane_index(LaneId id) {
    if (last_lane_key_ != number(id) + std::uint64_t{1}) [[unlikely]] {
      last_lane_ = find_lane(id);
      last_lane_key_ = number(id) + std::uint64_t{1};
    }
    return last_lane_;
  }
  [[gnu::noinline]] std::uint32_t find_lane(LaneId id) {
    const std::uint32_t found = lane_by_id_.find(number(id) + 1);
    if (found != kNone) return found;
    const auto index = static_cast<std::uint32_t>(lanes_.size());
    Lane lane;
    lane.id = id;
    lane.uuid = tracks_.next_uuid();
    lane.process_id = info_process_id_;
    lane.sequence = &writer_.open_sequence(lane.uuid);
    lane.name = id == LaneId::kNone ? "no lane" : "lane " + std::to_string(number(id));
    if (lanes_.size() == lanes_.capacity()) lanes_.reserve(2 * lanes_.size() + 1);  // so that it is there with its number, or not at all
    lane_by_id_.insert(number(id) + 1, index);
    lanes_.push_back(std::move(lane));
    return index;
  }
  Lane& lane_of(LaneId id) { return lanes_[lane_index(id)]; }

  // -- descriptors ----------------------------------------------------------------------------------------------------

  void describe_process(Process& process) {
    writer_.prepare(*async_);
    if (process.generation == async_->generation()) return;
    process.generation = async_->generation();
    writer_.track_descriptor(*async_, process.uuid, [&](ProtobufWriter& writer) {
      if (process.id == 0) {  // not known: a plain track
        writer.string(perfetto::track_descriptor::kName, process_name_.empty() ? std::string_view("process") : process_name_);
        return;
      }
      const auto descriptor = writer.message(perfetto::track_descriptor::kProcess);
      writer.int64(perfetto::process_descriptor::kPid, process.id);
      if (!process_name_.empty()) writer.string(perfetto::process_descriptor::kProcessName, process_name_);
    });
  }

  [[gnu::always_inline]] inline void describe_lane(Lane& lane) {
    writer_.prepare(*lane.sequence);
    if (lane.generation != lane.sequence->generation()) [[unlikely]] describe_lane_anew(lane);
  }
  [[gnu::noinline]] void describe_lane_anew(Lane& lane) {
    lane.generation = lane.sequence->generation();
    lane.announce = true;
    describe_lane_track(lane, *lane.sequence);
  }
  void describe_lane_track(Lane& lane, Sequence& sequence) {
    describe_process(processes_[lane.process]);
    writer_.track_descriptor(sequence, lane.uuid, [&](ProtobufWriter& writer) {
      using namespace perfetto;
      writer.varint(track_descriptor::kParentUuid, processes_[lane.process].uuid);
      if (lane.thread_id == 0 || lane.process_id == 0) {  // not a thread that the system knows: a plain track
        writer.string(track_descriptor::kName, lane.name);
        return;
      }
      const auto thread = writer.message(track_descriptor::kThread);
      writer.int64(thread_descriptor::kPid, lane.process_id);
      writer.int64(thread_descriptor::kTid, lane.thread_id);
      writer.string(thread_descriptor::kThreadName, lane.name);
    });
  }

  void describe_slot(Slot& slot) {
    if (slot.main.generation == async_->generation()) [[likely]] return;
    describe_process(processes_[0]);
    slot.main.generation = async_->generation();
    writer_.track_descriptor(*async_, slot.main.uuid, [&](ProtobufWriter& writer) {
      using namespace perfetto;
      writer.varint(track_descriptor::kParentUuid, processes_[0].uuid);
      writer.string(track_descriptor::kName, slot.rootless ? "no request" : "request");
      // Requests that run at once stay apart, each with its resources below it.
      writer.varint(track_descriptor::kSiblingMergeBehavior, track_descriptor::kMergeNone);
    });
  }

  /// Makes the track of a resource ready for an event and returns its uuid.
  [[gnu::always_inline]] inline std::uint64_t describe_track(const Resource& resource) {
    writer_.prepare(*async_);
    if (const std::uint32_t now = async_->generation(); resource.generation == now && announced_ == now) [[likely]] {
      // Its slice has begun there.
      return resource.track == kNone ? slot_of(resource).main.uuid : tracks_.track(resource.track).uuid;
    }
    return describe_track_anew(resource);
  }
  [[gnu::noinline]] std::uint64_t describe_track_anew(const Resource& resource) {
    announce_trace();
    Slot& slot = slot_of(resource);
    describe_slot(slot);
    if (resource.track == kNone) return slot.main.uuid;
    perfetto::PooledTrack& track = tracks_.track(resource.track);
    if (track.generation != async_->generation()) {
      track.generation = async_->generation();
      writer_.track_descriptor(*async_, track.uuid, slot.main.uuid, name_text(track.name));
    }
    return track.uuid;
  }

  /// What the trace is a trace of: an instant, again after each point from which a cut file is readable.
  void announce_trace() {
    if (announced_ == async_->generation()) [[likely]] return;
    announced_ = async_->generation();
    Process& process = processes_[0];
    describe_process(process);
    write_uuid();
    if (clocks_.boottime != 0) writer_.clock_snapshot(*async_, clocks_);
    write_trace(*async_);
    writer_.count_from_here(*async_);
  }
  void write_trace(Sequence& sequence) {
    Packet packet = writer_.event(sequence, now_, perfetto::track_event::kInstant, processes_[0].uuid);
    put_name(packet, Word::kTrace);
    put_category(packet, Category::kThence);
    say_all(packet, {{Key::kVersion, perfetto::kFormatVersion}, {Key::kSalt, salt_}, {Key::kProcessId, number_of(info_process_id_)}});
    packet.say(Key::kName, process_name_);
    packet.say(Key::kClock, clock_);
    packet.say(Key::kOverflow, overflow_policy_);
    packet.say(Key::kSampling, sampling_);
    packet.end();
  }

  /// Names the keys for Perfetto, so that it shows them as arguments. That takes 4 KB, and readers look at it before they
  /// show an event: it comes when there is something that it is worth for, or at the end.
  static constexpr std::uint64_t kKeysAfter = 16 * 1024;
  void describe_keys() {
    writer_.packet(*async_, [](ProtobufWriter& writer) { perfetto::write_extension_descriptor(writer); });
    keys_described_ = announced_;
  }

  [[gnu::always_inline]] inline void announce_lane(Lane& lane, std::uint64_t time) {
    if (!lane.announce) [[likely]] return;
    lane.announce = false;
    write_lane(lane, time, *lane.sequence);
  }
  [[gnu::noinline]] void write_lane(Lane& lane, std::uint64_t time, Sequence& sequence) {
    Packet packet = writer_.event(sequence, time, perfetto::track_event::kInstant, &sequence == lane.sequence ? 0 : lane.uuid);
    put_name(packet, Word::kLane);
    put_category(packet, Category::kThence);
    say_all(packet, {{Key::kLane, number(lane.id)}, {Key::kProcessId, number_of(lane.process_id)}, {Key::kThreadId, number_of(lane.thread_id)}});
    packet.say(Key::kName, lane.name);
    packet.end();
  }
  struct Said {
    Key key;
    std::uint64_t value;
  };
  /// For packets that are rare: a loop, where each Packet::say would be inlined.
  [[gnu::noinline]] static void say_all(Packet& packet, std::initializer_list<Said> all) {
    for (const Said& one : all) packet.say(one.key, one.value);
  }
  [[nodiscard]] static std::uint64_t number_of(std::int64_t value) noexcept { return static_cast<std::uint64_t>(value); }

  // -- names ----------------------------------------------------------------------------------------------------------

  enum class Word : unsigned {
    kTrace, kLane, kLost, kSummary, kCreate, kSettle, kRelease, kReady, kAwaited, kBridged, kUnheeded, kBridge, kCreated,
    kScheduled, kEntered,
    kExited, kSettled, kDestroyed, kAwaits, kAnnotated, kFinished, kSealed, kOpen, kParked, kUnparked, kPauseEnded, kUnknown,
    kCounter, kSample, kEnd,
  };
  static constexpr std::string_view kWords[] = {
      "thence.trace", "thence.lane", "thence.lost", "thence.summary", "create", "settle", "release", "ready", "awaited",
      "bridged", "unheeded", "bridge", "created", "scheduled", "entered", "exited", "settled", "destroyed", "awaits", "annotated", "finished",
      "sealed", "open", "parked", "unparked", "pause ended", "unknown", "counter", "sample"};
  static_assert(std::size(kWords) == static_cast<unsigned>(Word::kEnd));

  /// What else lies on a track tells itself by the track: a resource, an invocation, a record.
  enum class Category : unsigned { kPause, kThence, kEnd };
  static constexpr std::string_view kCategories[] = {"pause", "thence"};
  static_assert(std::size(kCategories) == static_cast<unsigned>(Category::kEnd));

  std::uint32_t name_of(Word word) {
    std::uint32_t& name = words_[static_cast<unsigned>(word)];
    if (name == 0) name = writer_.intern_name(kWords[static_cast<unsigned>(word)]);
    return name;
  }
  void put_category(Packet& packet, Category category) {
    std::uint32_t& name = categories_[static_cast<unsigned>(category)];
    if (name == 0) name = writer_.intern_name(kCategories[static_cast<unsigned>(category)]);
    packet.category(name);
  }
  [[gnu::always_inline]] inline void put_name(Packet& packet, Word word) { packet.name(name_of(word)); }
  [[nodiscard]] std::string_view name_text(std::uint32_t name) const { return writer_.name_text(name); }

  std::uint32_t type_name(TypeId type) {
    const auto index = static_cast<std::size_t>(type);
    if (index >= type_names_.size()) type_names_.resize(index + 1);
    std::uint32_t& name = type_names_[index];
    if (name == 0) name = writer_.intern_name(BuiltinTypes::name(type));
    return name;
  }

  // -- roots and resources --------------------------------------------------------------------------------------------

  /// The place of a root, which is opened where it is new.
  std::uint32_t root_of(RootId id, std::uint64_t time) {
    const std::uint32_t known = open_.find_root(id);
    return known != kNone ? known : open_.add_root(id, tracks_.take_slot(id == RootId::kNone, time));
  }
  [[nodiscard]] Slot& slot_of(const Resource& resource) noexcept { return tracks_.slot(open_.root_of(resource).slot); }
  Resource* find_shown(ResourceId id) noexcept {
    Resource* const resource = open_.find(id);
    return resource != nullptr && resource->shown ? resource : nullptr;
  }

  // -- events on tracks -----------------------------------------------------------------------------------------------

  /// Opens an instant on a lane, at its own time.
  [[nodiscard]] Packet lane_instant(Lane& lane, std::uint64_t time, Word word) {
    describe_lane(lane);
    announce_lane(lane, time);
    Packet packet = writer_.event(*lane.sequence, time, perfetto::track_event::kInstant);
    put_name(packet, word);
    return packet;
  }
  [[nodiscard]] Packet resource_instant(Resource& resource, std::uint64_t time, Word word) {
    const std::uint64_t track = describe_track(resource);
    Packet packet = writer_.event(*async_, time, perfetto::track_event::kInstant, track);
    put_name(packet, word);
    return packet;
  }
  void edge_on_lane(Lane& lane, std::uint64_t time, Word word, std::uint64_t flow) {
    Packet packet = lane_instant(lane, time, word);
    packet.flow(flow);
    packet.end();
  }
  void edge_on_resource(Resource& resource, std::uint64_t time, Word word, std::uint64_t flow) {
    Packet packet = resource_instant(resource, time, word);
    packet.flow(flow);
    packet.end();
  }
  /// A record without a slice to stand on.
  [[nodiscard]] Packet loose_record(const TraceEvent& event, Word word) {
    Packet packet = lane_instant(lane_of(event.lane), ns_of(event.time), word);
    packet.correlate(number(event.resource));
    if (event.root != RootId::kNone) packet.say(Key::kRoot, number(event.root));
    put_late(packet, event);
    return packet;
  }
  [[gnu::always_inline]] static inline void put_late(Packet& packet, const TraceEvent& event) {
    if (event.late) packet.say(Key::kLate, 1);
  }
  template <class E>
  [[gnu::always_inline]] static inline void put_enum(Packet& packet, Key key, E value) {
    packet.say(key, static_cast<std::uint64_t>(value));
  }
  [[gnu::always_inline]] static inline void put_id(Packet& packet, Key key, std::uint64_t id) {
    if (id != 0) packet.say(key, id);
  }
  [[gnu::always_inline]] static inline void put_stack(Packet& packet, const TraceEvent& event) {
    if (event.stack == StackId::kNone) return;
    if (!packet.callstack(event.stack)) packet.say(Key::kStack, number(event.stack));
  }
  [[gnu::always_inline]] static inline void put_flow(Packet& packet, std::uint64_t flow) {
    if (flow != 0) packet.flow(flow);
  }

  // -- one event ------------------------------------------------------------------------------------------------------

  /// What comes often and is short is inlined here.
  void take_one(const TraceEvent& event) {
    reach(ns_of(event.time));
    if (quarantine_.due(now_)) expire();
    switch (event.kind) {
      case EventKind::kCreated: return created(event);
      case EventKind::kScheduled: return scheduled(event);
      case EventKind::kEntered: return entered(event);
      case EventKind::kExited: return exited(event);
      case EventKind::kSettled: return settled(event);
      case EventKind::kDestroyed: return destroyed(event);
      case EventKind::kLinked: return linked(event);
      case EventKind::kAnnotated: return annotated(event);
      case EventKind::kCounter: return counted(event);
      case EventKind::kParked: return park(event, true);
      case EventKind::kUnparked: return park(event, false);
      case EventKind::kPauseBegan: return pause_began(event);
      case EventKind::kPauseEnded: return pause_ended(event);
      case EventKind::kRootFinished: return root_finished(event);
      case EventKind::kLost: return lost(event);
      case EventKind::kRootSealed: return root_sealed(event);
      case EventKind::kSample: return sampled(event);
      case EventKind::kPayload: break;
    }
    ++malformed_;
  }

  void created(const TraceEvent& event) {
    if (event.resource == ResourceId::kNone) {
      ++malformed_;
      return;
    }
    const std::uint64_t time = ns_of(event.time);
    const std::uint32_t name = type_name(event.type);
    const bool shown = options_.spans != PerfettoSpans::kLanes;
    const bool kept = open_.find(event.resource) == nullptr && open_.size() < options_.max_open_resources;
    if (!kept || !shown) {
      Packet packet = loose_record(event, Word::kCreated);
      packet.say(Key::kType, name_text(name));
      packet.say(Key::kTypeId, static_cast<std::uint16_t>(event.type));
      put_id(packet, Key::kTrigger, number(event.other));
      put_stack(packet, event);
      packet.end();
      if (!kept) return;
    }
    std::uint64_t flow = 0;
    if (shown && event.other != ResourceId::kNone) {
      flow = next_flow();
      if (flow != 0) edge_on_lane(lane_of(event.lane), time, Word::kCreate, flow);
    }
    const std::uint32_t root = root_of(event.root, time);
    const std::uint32_t slot_place = open_.root(root).slot;
    std::uint32_t track_place = kNone;
    if (shown) {
      Slot& slot = tracks_.slot(slot_place);
      if ((event.type == type_id(ResourceType::kRoot) || event.other == ResourceId::kNone) && !slot.main_taken && !slot.rootless) {
        slot.main_taken = true;
      } else {
        track_place = tracks_.take_track(slot_place, name, time);
      }
    }
    Resource& resource = open_[open_.add(event.resource, root)];
    resource.track = track_place;
    resource.created_at = time;
    resource.name = name;
    resource.life.type = event.type;
    resource.life.created = true;
    resource.shown = shown;
    if (shown) {
      const std::uint64_t track = describe_track(resource);
      resource.generation = async_->generation();
      Packet packet = writer_.event(*async_, time, perfetto::track_event::kSliceBegin, track);
      packet.name(name);
      put_flow(packet, flow);
      packet.correlate(number(event.resource));
      if (event.root != RootId::kNone) packet.say(Key::kRoot, number(event.root));
      put_id(packet, Key::kTrigger, number(event.other));
      packet.say(Key::kLane, number(event.lane));
      put_late(packet, event);
      put_stack(packet, event);
      packet.end();
    }
    if (event.late) recall_early(resource);
  }

  // -- wakes ----------------------------------------------------------------------------------------------------------

  /// With flows a wake is an instant with an arrow to the invocation that follows. Without, it waits for that invocation,
  /// which says it in fewer bytes; it becomes an instant if none follows.
  [[gnu::always_inline]] inline void scheduled(const TraceEvent& event) {
    const std::uint64_t id = number(event.resource);
    const std::size_t place = perfetto::WakeTable::place_of(id);
    const bool awaited = id != 0 && wakes_.resource_at(place) != id;
    const std::uint64_t root = find_shown(event.resource) == nullptr ? number(event.root) : 0;
    const std::uint32_t lane = lane_index(event.lane);
    if (!awaited || options_.flows) {
      Wake made;
      made.root = root;
      fill(made, event, lane);
      if (awaited && made.actor == Actor::kInvocation) made.flow = next_flow();
      write_wake(id, made);
      if (!awaited) return;
      if (wakes_.resource_at(place) != 0) drop_wake(place);
      wakes_.put(place, id, root) = made;
    } else {
      if (wakes_.resource_at(place) != 0) drop_wake(place);
      fill(wakes_.put(place, id, root), event, lane);
    }
  }
  /// All but the root and the flow.
  static void fill(Wake& wake, const TraceEvent& event, std::uint32_t lane) noexcept {
    wake.at = ns_of(event.time);
    wake.waker = number(event.other);
    wake.lane = lane;
    wake.actor = event.scheduled_by();
    wake.late = event.late;
  }
  void write_wake(std::uint64_t id, const Wake& wake) {
    Packet packet = lane_instant(lanes_[wake.lane], wake.at, Word::kScheduled);
    put_flow(packet, wake.flow);
    packet.correlate(id);
    put_id(packet, Key::kRoot, wake.root);
    put_waker(packet, wake);
    if (wake.late) packet.say(Key::kLate, 1);
    packet.end();
  }
  /// Who woke; an actor who is not said is an invocation if a waker is, else unknown.
  [[gnu::always_inline]] static inline void put_waker(Packet& packet, const Wake& wake) {
    put_id(packet, Key::kWaker, wake.waker);
    if (wake.actor != (wake.waker != 0 ? Actor::kInvocation : Actor::kUnknown)) put_enum(packet, Key::kScheduledBy, wake.actor);
  }
  /// Ends the wait for an invocation. An arrow that was begun then leads to an instant that says so.
  void drop_wake(std::size_t place) {
    const Wake& wake = wakes_[place];
    if (!options_.flows) {
      write_wake(wakes_.resource_at(place), wake);
    } else if (wake.flow != 0) {
      edge_on_lane(lanes_[wake.lane], std::max(now_, wake.at), Word::kUnheeded, wake.flow);
    }
    wakes_.free(place);
  }
  void drop_wake_of(std::uint64_t id) {
    if (wakes_.has(id)) [[unlikely]] drop_wake(perfetto::WakeTable::place_of(id));
  }
  void write_all_wakes() {
    for (std::size_t place = 0; place != perfetto::WakeTable::kPlaces; ++place) {
      if (wakes_.resource_at(place) != 0) drop_wake(place);
    }
  }

  // -- invocations ----------------------------------------------------------------------------------------------------

  void entered(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    Resource* const resource = open_.find(event.resource);
    const Wake* wake = nullptr;  // that this invocation says
    std::uint64_t wake_flow = 0, cause_flow = 0;
    if (wakes_.has(number(event.resource))) {
      const std::size_t place = perfetto::WakeTable::place_of(number(event.resource));
      const Wake& known = wakes_[place];
      if (options_.flows && known.at > time) {  // a flow points forward in time
        drop_wake(place);
      } else {
        if (options_.flows) {
          wake_flow = known.flow;
        } else if (known.at <= time && !known.late && !event.late) {
          wake = &known;
        } else {
          write_wake(number(event.resource), known);
        }
        if (wake == nullptr) wakes_.free(place);  // else it is held until this invocation has said it
      }
    }
    const std::uint32_t lane_at = lane_index(event.lane);
    if (lanes_[lane_at].stack.size() >= options_.max_depth) {
      Packet packet = loose_record(event, Word::kEntered);
      put_cause(packet, event);
      put_folded(packet, wake, time, lane_at);
      put_flow(packet, wake_flow);
      put_stack(packet, event);
      packet.end();
      if (wake != nullptr) wakes_.free(wakes_.place_of(*wake));
      if (std::uint64_t exit = 0; event.late && early_.take_exit(event, exit)) return;
      add_loose(lanes_[lane_at], {number(event.resource), number(event.root), ++entries_, false});
      has_entered(resource, event.root);
      return;
    }
    if (options_.flows) cause_flow = cause_edge(event, resource, time);
    Lane& lane = lanes_[lane_at];
    // An exit of the same resource that is held back is to be read before this entry.
    if (lane.has_pending(number(event.resource))) write_pending_exits(lane);
    Run& invocation = lane.stack.emplace_back();
    invocation.resource = number(event.resource);
    invocation.root = number(event.root);
    invocation.entry = ++entries_;
    has_entered(resource, event.root);
    invocation.name = resource != nullptr ? resource->name : name_of(Word::kUnknown);
    Packet packet = begin_slice(lane, time);
    put_flow(packet, wake_flow);
    put_flow(packet, cause_flow);
    packet.correlate(number(event.resource));
    if (resource == nullptr && event.root != RootId::kNone) packet.say(Key::kRoot, number(event.root));
    put_cause(packet, event);
    put_folded(packet, wake, time, lane_at);
    put_late(packet, event);
    put_stack(packet, event);
    packet.end();
    invocation.generation = lane.generation;
    if (wake != nullptr) wakes_.free(wakes_.place_of(*wake));
    if (event.late) recall_exit(lane_at, event);
  }
  /// The end, in the past, of the arrow from what released this invocation. 0: none.
  std::uint64_t cause_edge(const TraceEvent& event, Resource* resource, std::uint64_t time) {
    switch (event.cause()) {
      case CauseKind::kCreated:
        if (resource != nullptr && resource->shown && resource->created_at <= time) {
          const std::uint64_t flow = next_flow();
          edge_on_resource(*resource, resource->created_at, Word::kReady, flow);
          return flow;
        }
        break;
      case CauseKind::kSettled:
      case CauseKind::kExternal:
        if (Resource* cause = find_shown(event.other);
            cause != nullptr && cause->life.settled && cause->settled_at <= time) {
          const std::uint64_t flow = next_flow();
          edge_on_resource(*cause, cause->settled_at, Word::kRelease, flow);
          return flow;
        }
        break;
      case CauseKind::kScheduled:
      case CauseKind::kUnspecified: break;
    }
    return 0;
  }
  /// The exit of what has just been entered may have been published before: it is a record already, so that the slice
  /// gets its end in the picture, and a reader has it from there.
  void recall_exit(std::uint32_t lane_at, const TraceEvent& event) {
    std::uint64_t exit = 0;
    if (!early_.take_exit(event, exit)) return;
    if (Lane& lane = lanes_[lane_at]; !lane.stack.empty()) end_invocation(lane, lane.stack.size() - 1, exit, true);
  }
  void has_entered(Resource* resource, RootId root_id) noexcept {
    if (resource != nullptr) ++resource->life.running;
    if (Root* const root = open_.find_root(resource, root_id)) ++root->running;
  }

  [[gnu::always_inline]] static inline void put_cause(Packet& packet, const TraceEvent& event) {
    if (event.cause() != CauseKind::kUnspecified) put_enum(packet, Key::kCause, event.cause());
    put_id(packet, Key::kCauseBy, number(event.other));
  }
  [[gnu::always_inline]] inline void put_folded(Packet& packet, const Wake* wake, std::uint64_t time, std::uint32_t lane_at) const {
    if (wake == nullptr) return;
    packet.say(Key::kWokenBefore, time - wake->at);
    put_waker(packet, *wake);
    if (wake->lane != lane_at) packet.say(Key::kWakeLane, number(lanes_[wake->lane].id));
  }

  [[gnu::always_inline]] inline void exited(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    const std::uint64_t id = number(event.resource);
    perfetto::FoundRun found = innermost(lane_index(event.lane), id, false);
    if (found.entry == 0) {
      // A coroutine may go on elsewhere than it began.
      for (std::uint32_t other = 0; other < lanes_.size(); ++other) {
        const perfetto::FoundRun there = innermost(other, id, false);
        if (there.entry > found.entry) found = there;
      }
      if (found.entry != 0 && !found.loose) {
        lanes_[found.lane].stack[found.at].exit_lane = static_cast<std::uint32_t>(number(event.lane));
      }
    }
    if (found.entry != 0 && !found.loose) [[likely]] {
      end_invocation(lanes_[found.lane], found.at, time, false);
      return;
    }
    loose_record(event, Word::kExited).end();
    if (found.loose) {
      detail::Vector<perfetto::LooseRun>& loose = lanes_[found.lane].loose;
      Run invocation;
      invocation.resource = id;
      invocation.root = loose[found.at].root;
      invocation.end = time;
      const bool cut = loose[found.at].cut;
      loose.erase(loose.begin() + static_cast<std::ptrdiff_t>(found.at));
      if (!cut) return left(invocation);
    } else {
      early_.add(event);
    }
    Resource* resource = open_.find(event.resource);
    if (resource == nullptr) return;
    resource->life.ran = true;
    resource->busy_until = std::max(resource->busy_until, time);
    if (resource->life.ended()) queue(*resource);
  }

  // -- settling and destruction ---------------------------------------------------------------------------------------

  void settled(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    Resource* const resource = open_.find(event.resource);
    if (resource == nullptr || !resource->shown) {
      Packet packet = loose_record(event, Word::kSettled);
      put_settle(packet, event.outcome(), event.settled_by(), number(event.other));
      put_stack(packet, event);
      packet.end();
      if (resource == nullptr) return early_.add(event);
      return apply_settle(*resource, event.outcome(), time);
    }
    if (!options_.flows && !event.late && !resource->life.settled && event.outcome() != Outcome::kResolved &&
        event.stack == StackId::kNone) {
      // The end of its slice says it.
      resource->settle_held = true;
      resource->settler = number(event.other);
      resource->settled_by = event.settled_by();
      resource->settled_on = static_cast<std::uint32_t>(number(event.lane));
      return apply_settle(*resource, event.outcome(), time);
    }
    write_held_settle(*resource);  // what came first is read first
    std::uint64_t flow = 0;
    if (event.settled_by() == Actor::kInvocation) {
      flow = next_flow();
      if (flow != 0) edge_on_lane(lane_of(event.lane), time, Word::kSettle, flow);
    }
    Packet packet = resource_instant(*resource, time, Word::kSettled);
    put_flow(packet, flow);
    packet.correlate(number(event.resource));
    packet.say(Key::kLane, number(event.lane));
    put_settle(packet, event.outcome(), event.settled_by(), number(event.other));
    put_late(packet, event);
    put_stack(packet, event);
    packet.end();
    apply_settle(*resource, event.outcome(), time);
  }
  [[gnu::always_inline]] static inline void put_settle(Packet& packet, Outcome outcome, Actor by, std::uint64_t settler) {
    put_enum(packet, Key::kOutcome, outcome);
    if (by != Actor::kUnknown) put_enum(packet, Key::kSettledBy, by);
    put_id(packet, Key::kSettler, settler);
  }
  void write_held_settle(Resource& resource) {
    if (!resource.settle_held) return;
    Packet packet = resource_instant(resource, resource.settled_at, Word::kSettled);
    packet.correlate(resource.id);
    packet.say(Key::kLane, resource.settled_on);
    put_settle(packet, resource.outcome, resource.settled_by, resource.settler);
    packet.end();
    resource.settle_held = false;
  }
  void apply_settle(Resource& resource, Outcome outcome, std::uint64_t time) {
    if (outcome == Outcome::kResolved) {
      resource.life.resolved = true;
      return;
    }
    if (resource.life.settled && resource.settled_at <= time) return;  // the first one counts, also where it came late
    resource.life.settled = true;
    resource.settled_at = time;
    resource.outcome = outcome;
    if (resource.life.ended()) queue(resource);
  }

  [[gnu::always_inline]] inline void destroyed(const TraceEvent& event) {
    Resource* const resource = open_.find(event.resource);
    if (resource != nullptr && !resource->life.destroyed) {
      resource->life.destroyed = true;
      resource->destroyed_at = ns_of(event.time);
      resource->destroyed_on = static_cast<std::uint32_t>(number(event.lane));
      if (resource->shown) {
        if (resource->life.ended()) queue(*resource);
        return;
      }
    } else if (resource != nullptr && resource->shown && !resource->destroy_written) {
      // A second one: the first is written before it, so that it is read first.
      Packet packet = lane_instant(lane_of(static_cast<LaneId>(resource->destroyed_on)), resource->destroyed_at, Word::kDestroyed);
      packet.correlate(resource->id);
      put_id(packet, Key::kRoot, open_.root_of(*resource).id);
      packet.end();
      resource->destroy_written = true;
    }
    loose_record(event, Word::kDestroyed).end();
    if (resource == nullptr) return early_.add(event);
    if (resource->life.ended()) queue(*resource);
  }

  void linked(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    const bool bridge = event.link() == LinkKind::kBridge;
    Resource* const effect = find_shown(event.resource);
    Resource* const cause = find_shown(event.other);
    std::uint64_t flow = 0;
    if (effect != nullptr && cause != nullptr && cause != effect) {
      flow = next_flow();
      if (flow != 0) edge_on_resource(*cause, time, bridge ? Word::kBridged : Word::kAwaited, flow);
    }
    const Word word = bridge ? Word::kBridge : Word::kAwaits;
    Packet packet = effect == nullptr ? loose_record(event, word) : resource_instant(*effect, time, word);
    if (effect != nullptr) {
      packet.correlate(number(event.resource));
      packet.say(Key::kLane, number(event.lane));
      put_late(packet, event);
    }
    put_stack(packet, event);
    put_flow(packet, flow);
    if (event.link() != LinkKind::kAwaits && event.link() != LinkKind::kBridge) put_enum(packet, Key::kLink, event.link());
    put_id(packet, Key::kLinkCause, number(event.other));
    packet.end();
  }

  // -- annotations ----------------------------------------------------------------------------------------------------

  void annotated(const TraceEvent& event) {
    if (event.annotation == nullptr) {
      ++malformed_;
      return;
    }
    const Annotation& annotation = *event.annotation;
    Resource* const resource = find_shown(event.resource);
    if (resource != nullptr && keep_annotation(*resource, annotation)) return;
    const std::uint32_t key = writer_.intern_key(annotation.key);
    Packet packet = resource == nullptr ? loose_record(event, Word::kAnnotated)
                                        : resource_instant(*resource, ns_of(event.time), Word::kAnnotated);
    if (resource != nullptr) packet.correlate(number(event.resource));
    put_annotation(packet, key, annotation.key, annotation.value);
    packet.end();
  }
  void put_annotation(Packet& packet, std::uint32_t name, std::string_view name_text, const Value& value) {
    packet.annotate(name, name_text, value);
    if (value.cut) packet.annotate(cut_key_, perfetto::kCutKey, Value::of(name_text));
  }

  /// Kept for the end of the slice, where it becomes an argument of the slice.
  bool keep_annotation(Resource& resource, const Annotation& annotation) {
    if (!annotations_.add(open_.place_of(resource), !resource.annotated, writer_.intern_key(annotation.key), annotation)) return false;
    resource.annotated = true;
    return true;
  }
  void put_annotations(Packet& packet, const Resource& resource) {
    annotations_.each(open_.place_of(resource), [&](std::uint32_t key, std::string_view key_text, const Value& value) {
      put_annotation(packet, key, key == 0 ? key_text : writer_.key_text(key), value);
    });
  }

  void sampled(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const std::uint64_t time = ns_of(event.time);
    describe_lane(lane);
    announce_lane(lane, time);
    plan_riders(lane, lane.riders, *lane.sequence, time);
    Packet packet = writer_.event(*lane.sequence, time, perfetto::track_event::kInstant);
    put_name(packet, Word::kSample);
    if (event.resource != ResourceId::kNone) packet.correlate(number(event.resource));
    if (event.root != RootId::kNone) packet.say(Key::kRoot, number(event.root));
    if (event.sample() != SampleKind::kCpu) put_enum(packet, Key::kSample, event.sample());
    put_late(packet, event);
    put_stack(packet, event);
    put_riders(packet);
    packet.end();
  }

  void root_finished(const TraceEvent& event) {
    Resource* const resource = open_.find(event.resource);
    if (resource == nullptr || !resource->shown) {
      loose_record(event, Word::kFinished).end();
      if (resource == nullptr) return early_.add(event);
    } else {
      Packet packet = resource_instant(*resource, ns_of(event.time), Word::kFinished);
      packet.correlate(number(event.resource));
      if (event.root != RootId::kNone) packet.say(Key::kRoot, number(event.root));
      packet.say(Key::kLane, number(event.lane));
      put_late(packet, event);
      packet.end();
    }
    if (!resource->life.finished) {
      resource->life.finished = true;
      resource->busy_until = std::max(resource->busy_until, ns_of(event.time));
      if (resource->life.ended()) queue(*resource);
    }
  }

  void root_sealed(const TraceEvent& event) {
    const std::uint32_t place = open_.find_root(event.root);
    if (event.root == RootId::kNone) {
      ++malformed_;
      return;
    }
    // Nothing more comes of this root: what runs of it on a lane has an end that we shall not hear.
    if (place == kNone || open_.root(place).running != 0) {
      for (Lane& lane : lanes_) {
        for (std::size_t at = lane.stack.size(); at-- != 0;) {
          if (at < lane.stack.size() && !lane.stack[at].ended() && !lane.stack[at].pause &&
              lane.stack[at].root == number(event.root)) {
            end_invocation(lane, at, now_, true);
          }
        }
        lane.loose.erase_if([&](const perfetto::LooseRun& run) { return run.root == number(event.root); });
      }
    }
    if (!options_.flows && wakes_.rooted() != 0) {
      for (std::size_t wake = 0; wake != perfetto::WakeTable::kPlaces; ++wake) {
        if (wakes_.resource_at(wake) != 0 && wakes_[wake].root == number(event.root)) drop_wake(wake);
      }
    }
    std::uint64_t open = 0;
    std::uint64_t track = 0;
    if (place != kNone) {
      for (std::uint32_t at = open_.root(place).first; at != kNone;) {
        const std::uint32_t next = open_[at].next;
        // An invocation whose exit went unheard is why it may still count as running.
        if (open_[at].life.ended()) {
          close(at);
        } else {
          ++open;
          leave_open(at);
        }
        at = next;
      }
    }
    writer_.prepare(*async_);
    announce_trace();
    if (place != kNone && options_.spans != PerfettoSpans::kLanes) {
      Slot& slot = tracks_.slot(open_.root(place).slot);
      describe_slot(slot);
      track = slot.main.uuid;
    } else {
      describe_process(processes_[0]);
      track = processes_[0].uuid;
    }
    Packet packet = writer_.event(*async_, ns_of(event.time), perfetto::track_event::kInstant, track);
    put_name(packet, Word::kSealed);
    packet.say(Key::kRoot, number(event.root));
    put_enum(packet, Key::kSealReason, event.seal_reason());
    packet.say(Key::kOpenResources, open);
    packet.end();
    if (place == kNone) return;
    tracks_.give_slot(open_.root(place).slot, now_);
    open_.remove_root(place);
  }

  // -- the end of a resource ------------------------------------------------------------------------------------------

  void queue(Resource& resource) {
    if (resource.queued) return;
    quarantine_.make_room();
    resource.queued = true;
    quarantine_.add({resource.id, now_ + options_.quarantine_ns, open_.place_of(resource)});
  }

  /// Ends what has been in quarantine for long enough. It was touched last that long ago: memory is asked for it some
  /// endings ahead, then for what lies behind it.
  [[gnu::noinline]] void expire() {
    while (quarantine_.due(now_)) {
      if (const auto* const far = quarantine_.ahead(kExpiryAhead)) {
        open_.prefetch_resource(far->place);
        const Resource& soon = open_[quarantine_.ahead(kExpiryAhead / 2)->place];
        if (soon.track != kNone) tracks_.prefetch_track(soon.track);
      }
      const auto ended = quarantine_.take();
      Resource& resource = open_[ended.place];
      if (resource.id != ended.resource) continue;  // closed with its root
      resource.queued = false;
      if (!resource.life.ended()) continue;  // entered again: queued when that ends
      if (resource.end() + options_.quarantine_ns >= now_) {
        queue(resource);
      } else {
        close(ended.place);
      }
    }
  }
  static constexpr std::size_t kExpiryAhead = 8;

  void close(std::uint32_t place) {
    Resource& resource = open_[place];
    drop_wake_of(resource.id);
    if (resource.shown) {
      const std::uint64_t end = resource.end();
      const std::uint64_t track = describe_track(resource);
      // Who has seen a slice begin is to see it end: this sequence starts again wherever that of the beginnings does.
      if (ends_follow_ != async_->generation()) [[unlikely]] {
        ends_follow_ = async_->generation();
        writer_.start_again(*ends_);
      }
      writer_.prepare(*ends_);
      if (ends_announced_ != ends_->generation()) [[unlikely]] {
        ends_announced_ = ends_->generation();
        write_trace(*ends_);
      }
      Packet packet = writer_.event(*ends_, end, perfetto::track_event::kSliceEnd, track);
      if (resource.generation != async_->generation()) {  // a file that begins here has not seen it begin
        packet.correlate(resource.id);
        put_id(packet, Key::kRoot, open_.root_of(resource).id);
      }
      put_last_words(packet, resource, end);
      packet.end();
      if (resource.track != kNone) tracks_.give_track(resource.track, end);
    }
    open_.remove(place);
  }
  /// What was kept for the end of a slice, or for the moment at which it is left open.
  void put_last_words(Packet& packet, Resource& resource, std::uint64_t time) {
    if (resource.settle_held) {
      put_settle(packet, resource.outcome, resource.settled_by, resource.settler);
      packet.say(Key::kSettledBefore, time - resource.settled_at);
      packet.say(Key::kSettledOn, resource.settled_on);
    } else if (resource.life.settled) {
      put_enum(packet, Key::kOutcome, resource.outcome);
    }
    if (resource.life.destroyed && !resource.destroy_written) {
      packet.say(Key::kDestroyedAfter, resource.destroyed_at - time);  // of two's complement
      packet.say(Key::kDestroyedOn, resource.destroyed_on);
    }
    if (resource.annotated) [[unlikely]] put_annotations(packet, resource);
  }

  /// Forgets a resource that is open: its slice has no end. An instant says so, and what was kept for the end.
  void leave_open(std::uint32_t place) {
    Resource& resource = open_[place];
    drop_wake_of(resource.id);
    if (resource.shown) {
      const std::uint64_t time = std::max({now_, resource.created_at, resource.settled_at});
      Packet packet = resource_instant(resource, time, Word::kOpen);
      packet.correlate(resource.id);
      put_id(packet, Key::kRoot, open_.root_of(resource).id);
      packet.say(Key::kOpen, 1);
      put_last_words(packet, resource, time);
      packet.end();
      slot_of(resource).leaves_open = true;
      if (options_.track_per_resource && resource.track != kNone) tracks_.give_track(resource.track, time);
    }
    open_.remove(place);
  }

  void recall_early(Resource& resource) {
    early_.recall(resource.id, resource.created_at, [&](const perfetto::EarlyEvents::Early& early) {
      if (early.kind == EventKind::kSettled) {
        apply_settle(resource, early.outcome(), early.time);
      } else if (early.kind == EventKind::kExited) {
        resource.life.ran = true;
        resource.busy_until = std::max(resource.busy_until, early.time);
      } else if (early.kind == EventKind::kDestroyed) {
        resource.life.destroyed = resource.destroy_written = true;
        resource.destroyed_at = early.time;
        resource.destroyed_on = early.lane;
      } else if (early.kind == EventKind::kRootFinished) {
        resource.life.finished = true;
        resource.busy_until = std::max(resource.busy_until, early.time);
      }
    });
    if (resource.life.ended()) queue(resource);
  }

  // -- slices on a lane -----------------------------------------------------------------------------------------------

  static constexpr std::size_t kMaxLoose = 4096;

  void add_loose(Lane& lane, const perfetto::LooseRun& run) {
    if (lane.loose.size() == kMaxLoose) {  // the oldest one's exit was lost, most likely
      if (!lane.loose.front().cut) {
        Run invocation;
        invocation.resource = lane.loose.front().resource;
        invocation.root = lane.loose.front().root;
        invocation.end_unknown = true;
        left(invocation);
      }
      lane.loose.erase(lane.loose.begin());
    }
    lane.loose.push_back(run);
  }

  [[nodiscard]] perfetto::FoundRun innermost(std::uint32_t lane, std::uint64_t resource, bool pause) const noexcept {
    return lanes_[lane].innermost(lane, resource, pause);
  }

  /// Opens the slice of the invocation that is on top of the lane's stack, and leaves its event open.
  [[gnu::always_inline]] [[nodiscard]] inline Packet begin_slice(Lane& lane, std::uint64_t time) {
    describe_lane(lane);
    announce_lane(lane, time);
    Run& invocation = lane.stack.back();
    invocation.begin = time;
    invocation.written_begin = std::max(time, lane.clock);
    invocation.begin_order = ++lane.order;
    lane.clock = invocation.written_begin;
    plan_riders(lane, lane.riders, *lane.sequence, invocation.written_begin);
    Packet packet = writer_.event(*lane.sequence, invocation.written_begin, perfetto::track_event::kSliceBegin);
    packet.name(invocation.name);
    if (invocation.pause) put_category(packet, Category::kPause);
    if (invocation.written_begin != time) packet.say(Key::kTrueBegin, time);
    put_riders(packet);
    return packet;
  }

  void end_invocation(Lane& lane, std::size_t at, std::uint64_t time, bool unknown) {
    Run& invocation = lane.stack[at];
    invocation.end = time;
    invocation.end_unknown = unknown;
    invocation.written_end = std::max(time, lane.clock);
    invocation.end_order = ++lane.order;
    lane.clock = invocation.written_end;
    if (!invocation.pause) left(invocation);
    const bool innermost = at + 1 == lane.stack.size();
    if (innermost && (lane.pending == 0 || invocation.begin_order > lane.last_pending_order)) [[likely]] {
      write_slice_end(lane, invocation, invocation.written_end, true);
      lane.stack.pop_back();
      write_resolved(lane);
      return;
    }
    // It crosses another: its end, and the split of the other, are written when the other's end is known. What is
    // written meanwhile must sort behind it.
    ++lane.pending;
    lane.last_pending_order = invocation.end_order;
    ++lane.clock;
    write_resolved(lane);
    if (lane.pending > options_.max_pending_exits) write_pending_exits(lane);
  }

  /// An invocation has ended, as far as its resource and its root are concerned.
  void left(const Run& invocation) {
    Resource* const resource = open_.find(static_cast<ResourceId>(invocation.resource));
    if (Root* const root = open_.find_root(resource, static_cast<RootId>(invocation.root)); root != nullptr && root->running != 0) {
      --root->running;
    }
    if (resource == nullptr) return;
    if (resource->life.running != 0) --resource->life.running;
    resource->busy_until = std::max(resource->busy_until, invocation.end);
    if (!invocation.end_unknown) resource->life.ran = true;
    if (resource->life.ended()) queue(*resource);
  }

  /// Writes the crossings at the top of the stack if all that take part in them have ended.
  void write_resolved(Lane& lane) {
    if (lane.pending == 0) [[likely]] return;
    std::size_t first = lane.stack.size();
    while (first != 0 && lane.stack[first - 1].ended()) --first;
    if (lane.stack.size() - first == lane.pending) write_pending_exits(lane);
  }

  /// Writes the ends that were held back, in their order; whatever began before such an end and lies above it is split.
  void write_pending_exits(Lane& lane) {
    if (lane.pending == 0) return;
    describe_lane(lane);
    detail::Vector<Run>& stack = lane.stack;
    while (lane.pending != 0) {
      std::size_t at = stack.size();
      for (std::size_t other = 0; other < stack.size(); ++other) {
        if (stack[other].ended() && (at == stack.size() || stack[other].end_order < stack[at].end_order)) at = other;
      }
      const Run ending = stack[at];
      const auto reaches_over = [&](const Run& other) { return other.begin_order < ending.end_order; };
      for (std::size_t above = stack.size(); above-- != at + 1;) {
        if (!reaches_over(stack[above])) continue;
        stack[above].split = true;
        write_slice_end(lane, stack[above], ending.written_end, stack[above].ended());
        ++stack[above].part;
      }
      write_slice_end(lane, ending, ending.written_end, true);
      stack.erase(stack.begin() + static_cast<std::ptrdiff_t>(at));  // at once: where what follows throws, it is not written again
      --lane.pending;
      for (std::size_t above = at; above < stack.size(); ++above) {
        const Run& other = stack[above];
        if (!reaches_over(other)) continue;
        Packet packet = writer_.event(*lane.sequence, ending.written_end, perfetto::track_event::kSliceBegin);
        packet.name(other.name);
        if (other.pause) {
          put_category(packet, Category::kPause);
          packet.say(Key::kPause, other.resource);
        } else {
          packet.correlate(other.resource);
        }
        put_split(packet, other);
        packet.end();
      }
    }
    lane.last_pending_order = 0;
  }

  void write_slice_end(Lane& lane, const Run& invocation, std::uint64_t time, bool end_known) {
    describe_lane(lane);
    announce_lane(lane, time);
    plan_riders(lane, lane.riders, *lane.sequence, time);
    Packet packet = writer_.event(*lane.sequence, time, perfetto::track_event::kSliceEnd);
    if (invocation.generation != lane.generation) [[unlikely]] {  // a file that begins here has not seen it begin
      if (invocation.pause) {
        packet.say(Key::kPause, invocation.resource);
      } else {
        packet.correlate(invocation.resource);
        put_id(packet, Key::kRoot, invocation.root);
      }
    }
    const bool moved = invocation.written_begin != invocation.begin ||
                       (end_known && invocation.written_end != invocation.end);
    if (invocation.split && invocation.part == 0) {  // later parts say it where they begin
      put_split(packet, invocation);
    }
    if ((invocation.split || moved) && end_known && !invocation.end_unknown) {
      packet.say(Key::kTrueEnd, invocation.end);
    }
    if (end_known && invocation.end_unknown) packet.say(Key::kEndUnknown, 1);
    if (end_known && invocation.exit_lane != 0) packet.say(Key::kExitLane, invocation.exit_lane);
    put_riders(packet);
    packet.end();
  }

  static void put_split(Packet& packet, const Run& invocation) {
    packet.say(Key::kSplit, 1);
    packet.say(Key::kPart, invocation.part);
    packet.say(Key::kInvocation, invocation.entry);
    packet.say(Key::kTrueBegin, invocation.begin);
  }

  void pause_began(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    Run& pause = lane.stack.emplace_back();
    pause.pause = true;
    pause.entry = ++entries_;
    pause.resource = number(event.resource);
    pause.name = writer_.intern_name(word(event.pause()));
    Packet packet = begin_slice(lane, ns_of(event.time));
    packet.say(Key::kPause, pause.resource);
    put_late(packet, event);
    packet.end();
    pause.generation = lane.generation;
  }
  void pause_ended(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const perfetto::FoundRun found = innermost(lane_index(event.lane), number(event.resource), true);
    if (found.entry != 0) return end_invocation(lane, found.at, ns_of(event.time), false);
    Packet packet = lane_instant(lane, ns_of(event.time), Word::kPauseEnded);
    packet.say(Key::kPause, number(event.resource));
    packet.end();
  }

  // -- lanes ----------------------------------------------------------------------------------------------------------

  /// The track below a lane for the time when it had nothing to run, with a sequence of its own.
  void describe_park(Lane& lane) {
    if (lane.park_sequence == nullptr) [[unlikely]] {
      lane.park_uuid = tracks_.next_uuid();
      lane.park_sequence = &writer_.open_sequence(lane.park_uuid);
    }
    writer_.prepare(*lane.park_sequence);
    if (lane.park_generation == lane.park_sequence->generation()) [[likely]] return;
    lane.park_generation = lane.park_sequence->generation();
    describe_lane_track(lane, *lane.park_sequence);
    writer_.track_descriptor(*lane.park_sequence, lane.park_uuid, [&](ProtobufWriter& writer) {
      writer.varint(perfetto::track_descriptor::kParentUuid, lane.uuid);
      writer.string(perfetto::track_descriptor::kName, "parked");
    });
    write_lane(lane, std::max(now_, lane.clock), *lane.park_sequence);
  }
  void park(const TraceEvent& event, bool begins) {
    Lane& lane = lane_of(event.lane);
    const std::uint64_t time = ns_of(event.time);
    if (lane.parked == begins) {  // the other half was lost
      lane_instant(lane, time, begins ? Word::kParked : Word::kUnparked).end();
      return;
    }
    lane.parked = begins;
    describe_lane(lane);
    announce_lane(lane, time);
    describe_park(lane);
    plan_riders(lane, lane.park_riders, *lane.park_sequence, time);
    Packet packet = writer_.event(*lane.park_sequence, time,
                                  begins ? perfetto::track_event::kSliceBegin : perfetto::track_event::kSliceEnd);
    if (begins) put_name(packet, Word::kParked);
    put_riders(packet);
    packet.end();
  }

  // -- counters -------------------------------------------------------------------------------------------------------

  // A counter that is read at the moment of an event of its lane rides on that event's packet, as Perfetto's extra counter
  // values: two bytes and the value, where a packet of its own takes 25.

  static constexpr std::size_t kMaxRiding = 16;

  /// Whether an event of this kind is one packet on its lane, at its own time.
  [[nodiscard]] static constexpr bool carries(EventKind kind) noexcept {
    return kind == EventKind::kEntered || kind == EventKind::kExited || kind == EventKind::kParked ||
           kind == EventKind::kUnparked || kind == EventKind::kSample;
  }
  [[nodiscard]] static bool together(const TraceEvent& a, const TraceEvent& b) noexcept {
    return a.lane == b.lane && a.time == b.time && !a.late && !b.late;
  }
  /// Takes the event at `at`, the counters before and after it that are of its moment, or the counters alone; returns the
  /// place of the last one taken.
  std::size_t take_with_counters(View<const TraceEvent> events, std::size_t at) {
    const TraceEvent& first = events[at];
    std::size_t carrier = at;
    while (carrier < events.size() && events[carrier].kind == EventKind::kCounter && together(first, events[carrier])) ++carrier;
    if (carrier == events.size() || !carries(events[carrier].kind) || !together(first, events[carrier])) {
      if (carrier == at) ++carrier;
      for (std::size_t next = at; next < carrier; ++next) take_one(events[next]);
      return carrier - 1;
    }
    std::size_t last = carrier + 1;
    while (last < events.size() && events[last].kind == EventKind::kCounter && together(first, events[last])) ++last;
    riding_count_ = 0;
    for (std::size_t next = at; next < last && riding_count_ < kMaxRiding; ++next) {
      if (next != carrier && events[next].annotation != nullptr) riding_[riding_count_++] = &events[next];
    }
    const std::size_t offered = riding_count_;
    take_one(events[carrier]);
    for (std::size_t next = 0; next < riding_count_; ++next) counted(*riding_[next]);
    riding_count_ = 0;
    // What there was no room for, and what lacks its value.
    std::size_t seen = 0;
    for (std::size_t next = at; next < last; ++next) {
      if (next != carrier && (events[next].annotation == nullptr || seen++ >= offered)) take_one(events[next]);
    }
    return last - 1;
  }
  [[nodiscard]] static bool whole_value(const Value& value, std::int64_t& whole) noexcept {
    if (value.kind == ValueKind::kInt) {
      whole = value.integer;
      return value.integer < 0;  // a positive one is read as unsigned
    }
    if (value.kind != ValueKind::kUint || value.uinteger >> 63 != 0) return false;
    whole = static_cast<std::int64_t>(value.uinteger);
    return true;
  }
  /// Which counters go on the packet of `sequence` that is about to be written at `time`.
  [[gnu::always_inline]] inline void plan_riders(Lane& lane, perfetto::Riders& riders, Sequence& sequence, std::uint64_t time) {
    plan_.count = 0;
    if (riding_count_ != 0) [[unlikely]] plan_these_riders(lane, riders, sequence, time);
  }
  [[gnu::noinline]] void plan_these_riders(Lane& lane, perfetto::Riders& riders, Sequence& sequence, std::uint64_t time) {
    if (riding_[0]->lane != lane.id || ns_of(riding_[0]->time) != time) return;
    if (riders.generation != sequence.generation()) {
      riders = {};
      riders.generation = sequence.generation();
    }
    const TraceEvent* taken[perfetto::kMaxExtraCounters] = {};
    const TraceEvent* left[kMaxRiding];
    std::size_t left_count = 0;
    std::uint32_t count = 0;
    for (std::size_t at = 0; at < riding_count_; ++at) {
      const TraceEvent& event = *riding_[at];
      std::int64_t value = 0;
      std::uint32_t place = kNone;
      if (whole_value(event.annotation->value, value)) place = rider_place(lane, riders, sequence, event.counter);
      if (place == kNone || taken[place] != nullptr) {
        left[left_count++] = &event;
        continue;
      }
      taken[place] = &event;
      plan_.values[place] = value;
      count = std::max(count, place + 1);
    }
    // They are told apart by their order: those between say again what they said last.
    plan_.mask = 0;
    for (std::uint32_t place = 0; place < count; ++place) {
      perfetto::LaneCounter& counter = lane.counters[riders.counters[place]];
      if (taken[place] == nullptr) {
        if (!counter.whole) {
          for (std::uint32_t beyond = place; beyond < count; ++beyond) {
            if (taken[beyond] != nullptr) left[left_count++] = taken[beyond];
          }
          break;
        }
        plan_.values[place] = counter.last;
      } else {
        plan_.mask |= std::uint64_t{1} << place;
        counter.last = plan_.values[place];
        counter.whole = true;
      }
      plan_.count = place + 1;
    }
    while (plan_.count != 0 && (plan_.mask >> (plan_.count - 1) & 1) == 0) --plan_.count;
    std::memcpy(riding_, left, left_count * sizeof *left);
    riding_count_ = left_count;
  }
  [[gnu::always_inline]] inline void put_riders(Packet& packet) {
    if (plan_.count == 0) [[likely]] return;
    for (std::uint32_t place = 0; place < plan_.count; ++place) packet.counter(plan_.values[place]);
    if (plan_.mask != (std::uint64_t{1} << plan_.count) - 1) packet.say(Key::kCounters, plan_.mask);
    plan_.count = 0;
  }
  std::uint32_t rider_place(Lane& lane, perfetto::Riders& riders, Sequence& sequence, CounterId id) {
    const std::uint32_t index = counter_index(lane, id);
    if (index > 255) return kNone;
    for (std::uint32_t place = 0; place < riders.count; ++place) {
      if (riders.counters[place] == index) return place;
    }
    if (riders.count == std::size(riders.counters)) return kNone;
    describe_counter(lane, lane.counters[index], sequence);
    writer_.add_extra_counter(sequence, lane.counters[index].uuid);
    riders.counters[riders.count] = static_cast<std::uint8_t>(index);
    return riders.count++;
  }
  std::uint32_t counter_index(Lane& lane, CounterId id) {
    const std::uint32_t at = lane.find_counter(id);
    if (at == lane.counters.size()) lane.counters.push_back({id, tracks_.next_uuid(), 0, 0, false});
    return at;
  }

  void counted(const TraceEvent& event) {
    if (event.annotation == nullptr || event.annotation->value.kind == ValueKind::kString) {
      ++malformed_;
      return;
    }
    Lane& lane = lane_of(event.lane);
    describe_lane(lane);
    announce_lane(lane, ns_of(event.time));
    perfetto::LaneCounter& counter = lane.counters[counter_index(lane, event.counter)];
    if (counter.generation != lane.generation) {
      counter.generation = lane.generation;
      describe_counter(lane, counter, *lane.sequence);
    }
    const Value& value = event.annotation->value;
    counter.whole = whole_value(value, counter.last);
    Packet packet = writer_.event(*lane.sequence, ns_of(event.time), perfetto::track_event::kCounter, counter.uuid);
    switch (value.kind) {
      case ValueKind::kInt: packet.counter_value(value.integer); break;
      case ValueKind::kUint:
        if (value.uinteger <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          packet.counter_value(static_cast<std::int64_t>(value.uinteger));
        } else {  // beyond what a counter holds: the picture rounds it, the key does not
          packet.counter_value(static_cast<double>(value.uinteger));
          packet.say(Key::kValue, value.uinteger);
        }
        break;
      case ValueKind::kDouble: packet.counter_value(value.real); break;
      case ValueKind::kBool: packet.counter_value(std::int64_t{value.boolean ? 1 : 0}); break;
      case ValueKind::kString: break;
    }
    packet.end();
  }
  void describe_counter(Lane& lane, const perfetto::LaneCounter& counter, Sequence& sequence) {
    writer_.track_descriptor(sequence, counter.uuid, [&](ProtobufWriter& writer) {
      using namespace perfetto;
      const CounterName* known = nullptr;
      for (const CounterName& name : counters_) {
        if (name.id == counter.id) known = &name;
      }
      writer.varint(track_descriptor::kParentUuid, lane.uuid);
      if (known != nullptr && !known->name.empty()) {
        writer.string(track_descriptor::kName, known->name);
      } else {
        writer.string(track_descriptor::kName, "counter " + std::to_string(number(counter.id)));
      }
      const auto descriptor = writer.message(track_descriptor::kCounter);
      if (known != nullptr && !known->unit.empty()) writer.string(counter_descriptor::kUnitName, known->unit);
      writer.varint(thence_fields::kCounterId, number(counter.id));
    });
  }

  void lost(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const LossRange range = event.loss != nullptr ? *event.loss : LossRange{0, event.time, event.time};
    cut_runs(lane, ns_of(range.first));
    say_lost(lane, range);
  }
  /// Whatever runs may have ended among what was lost. The slices are known up to `time`; should an exit come after all, it is
  /// a record of its own.
  [[gnu::noinline]] void cut_runs(Lane& lane, std::uint64_t time) {
    for (std::size_t at = lane.stack.size(); at-- != 0;) {
      if (at < lane.stack.size() && !lane.stack[at].ended()) {
        const Run& cut = lane.stack[at];
        if (!cut.pause) add_loose(lane, {cut.resource, cut.root, cut.entry, true});
        end_invocation(lane, at, time, true);
      }
    }
    for (perfetto::LooseRun& run : lane.loose) {
      if (run.cut) continue;
      run.cut = true;
      Run invocation;
      invocation.resource = run.resource;
      invocation.root = run.root;
      invocation.end = time;
      invocation.end_unknown = true;
      left(invocation);
    }
    if (!lane.parked) return;
    lane.parked = false;
    describe_lane(lane);
    describe_park(lane);
    Packet packet = writer_.event(*lane.park_sequence, time, perfetto::track_event::kSliceEnd);
    packet.say(Key::kEndUnknown, 1);
    packet.end();
  }
  [[gnu::noinline]] void say_lost(Lane& lane, const LossRange& range) {
    if (lane.generation == 0) describe_lane(lane);
    writer_.mark_dropped(*lane.sequence);
    Packet packet = lane_instant(lane, ns_of(range.first), Word::kLost);
    put_category(packet, Category::kThence);
    say_all(packet, {{Key::kLane, number(lane.id)}, {Key::kCount, range.count}, {Key::kFirst, ns_of(range.first)}, {Key::kLast, ns_of(range.last)}});
    packet.end();
    lane.lost += range.count;
    stats_due_ = true;
  }

  // -- the last words -------------------------------------------------------------------------------------------------

  /// Perfetto shows a sequence's losses in `stats` only where a TraceStats after them maps the sequence to a buffer.
  void write_stats(const TraceSummary& summary) {
    stats_due_ = false;
    writer_.packet(*async_, [&](ProtobufWriter& writer) {
      using namespace perfetto;
      const auto stats = writer.message(trace_packet::kTraceStats);
      {  // buffer 0: the resources' sequence
        const auto buffer = writer.message(trace_stats::kBufferStats);
        writer.varint(buffer_stats::kBytesWritten, writer_.written());
      }
      for (const Lane& lane : lanes_) {
        const auto buffer = writer.message(trace_stats::kBufferStats);
        std::uint64_t ring_bytes = 0;
        std::uint64_t lost = lane.lost;
        for (const LaneSummary& known : summary.lanes) {
          if (known.lane != lane.id) continue;
          ring_bytes = known.ring_bytes;
          lost = std::max(lost, known.lost.count);
        }
        if (ring_bytes != 0) writer.varint(buffer_stats::kBufferSize, ring_bytes);
        if (lost != 0) writer.varint(buffer_stats::kTraceWriterPacketLoss, lost);
      }
      const auto map = [&](const Sequence& sequence, std::uint64_t buffer) {
        const auto entry = writer.message(trace_stats::kWriterStats);
        writer.varint(writer_stats::kSequenceId, sequence.id());
        writer.varint(writer_stats::kBuffer, buffer);
      };
      map(*async_, 0);
      map(*ends_, 0);
      for (std::size_t at = 0; at < lanes_.size(); ++at) {
        map(*lanes_[at].sequence, at + 1);
        if (lanes_[at].park_sequence != nullptr) map(*lanes_[at].park_sequence, at + 1);
      }
    });
  }

  void write_summary(const TraceSummary& summary) {
    std::uint64_t not_taken = 0;
    for (const Lane& lane : lanes_) not_taken += lane.not_taken_in_all.count;
    for (const LaneSummary& known : summary.lanes) {
      Lane& lane = lane_of(known.lane);
      LossRange lost = known.lost;
      lost.add(lane.not_taken_in_all);
      Packet packet = lane_instant(lane, std::max(now_, lane.clock), Word::kSummary);
      put_category(packet, Category::kThence);
      say_all(packet, {{Key::kLane, number(known.lane)}, {Key::kEvents, known.events}, {Key::kLost, lost.count}});
      if (lost.count != 0) say_all(packet, {{Key::kFirst, ns_of(lost.first)}, {Key::kLast, ns_of(lost.last)}});
      say_all(packet, {{Key::kExitWithoutEnter, known.misuse.exit_without_enter},
                       {Key::kExitsCrossed, known.misuse.exits_crossed},
                       {Key::kTooDeep, known.misuse.too_deep},
                       {Key::kAnnotationsCut, known.misuse.annotations_cut},
                       {Key::kStacksRefused, known.misuse.stacks_refused},
                       {Key::kRootEndsLost, known.misuse.roots_ends_lost},
                       {Key::kRingBytes, known.ring_bytes}});
      packet.end();
    }
    writer_.prepare(*async_);
    announce_trace();
    describe_process(processes_[0]);
    Packet packet = writer_.event(*async_, now_, perfetto::track_event::kInstant, processes_[0].uuid);
    put_name(packet, Word::kSummary);
    put_category(packet, Category::kThence);
    say_all(packet, {{Key::kEvents, summary.events},
                     {Key::kLost, summary.lost + not_taken},
                     {Key::kLateEvents, summary.late_events},
                     {Key::kAfterSeal, summary.after_seal},
                     {Key::kRootsSealed, summary.roots_sealed},
                     {Key::kRootsAbandoned, summary.roots_abandoned},
                     {Key::kDrainNs, summary.drain_ns},
                     {Key::kBytes, summary.bytes_written},
                     {Key::kStacksMissing, writer_.stacks_refused()}});
    packet.end();
  }

  Options options_;
  PerfettoWriter<Sink> writer_;
  bool begun_ = false;
  bool stats_due_ = false;
  bool torn_ = false;     // a call is under way, or has thrown
  LossRange not_taken_, not_taken_in_all_;  // of lanes that are not known yet
  std::uint64_t salt_ = 0;
  std::uint64_t flow_base_ = 0;
  std::uint64_t flows_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t entries_ = 0;
  std::int32_t info_process_id_ = 0;
  std::string process_name_, overflow_policy_, clock_, sampling_;
  Sequence* async_ = nullptr;  // the resources' sequence
  Sequence* ends_ = nullptr;   // that of their ends, which are written in the past, in order
  std::uint32_t announced_ = 0;
  std::uint32_t ends_announced_ = 0;
  std::uint32_t ends_follow_ = 0;  // the generation of async_ in which ends_ was started
  std::uint32_t keys_described_ = 0;  // the generation in which they were
  ClockSnapshot clocks_;  // the last one, for those who come late
  std::uint32_t cut_key_ = 0;
  perfetto::WakeTable wakes_;
  struct Plan {
    std::int64_t values[perfetto::kMaxExtraCounters] = {};
    std::uint64_t mask = 0;  // which of them are samples
    std::uint32_t count = 0;
  } plan_;
  const TraceEvent* riding_[kMaxRiding] = {};
  std::size_t riding_count_ = 0;
  std::uint32_t words_[static_cast<unsigned>(Word::kEnd)] = {};
  std::uint32_t categories_[static_cast<unsigned>(Category::kEnd)] = {};
  detail::Vector<std::uint32_t> type_names_;
  detail::Vector<CounterName> counters_;
  detail::Vector<Process> processes_;
  detail::Vector<Lane> lanes_;
  IdMap lane_by_id_;
  std::uint64_t last_lane_key_ = 0;  // its number and one more
  std::uint32_t last_lane_ = 0;
  perfetto::TrackPool tracks_;
  perfetto::OpenResources open_;
  perfetto::KeptAnnotations annotations_;
  perfetto::Quarantine quarantine_;
  perfetto::EarlyEvents early_;
};

}  // namespace THENCE_ABI
}  // namespace thence
