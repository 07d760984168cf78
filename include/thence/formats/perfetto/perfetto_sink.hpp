// SPDX-License-Identifier: MIT
// perfetto_sink.hpp: a trace as one Perfetto file (.pftrace), event by event, in memory that what is open bounds.
//
// The file opens as it is in the Perfetto UI and in SQL, and a reader gets every record back from it; docs/formats.md has
// the tables. In short:
//   - a lane is its thread's track: invocations and pauses are slices on it. Where invocations cross, the later one is
//     split at the crossing and each part bears the true interval;
//   - a request is a track under the process; below it lie its resources, on tracks by type that are taken from a pool, so
//     that no slice ever overlaps its neighbour. Without a request: the same under "no request";
//   - trigger, wake, settle, release, awaits and bridge are flows, one id an edge. A flow id cannot be added to a slice
//     that is already in the file, so each end that is an invocation is an instant inside it (category "edge") at the
//     moment of the act, written, in the past if need be, when the other end is there: no flow has one end only;
//   - a record that has no slice to stand on is an instant (category "record") on its lane: nothing is left out.
// A resource's slice ends when it was settled (destroyed, if it never was), or when the last of its invocations ended,
// if that is later; words.hpp has the rule. What is open when its root is sealed stays open in the picture.
//
//   FileSink file{"trace.pftrace"};
//   PerfettoEncoder encoder{file};       // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct PerfettoOptions {
  PerfettoWriterOptions writer = {};
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

namespace perfetto {

/// Our keys of debug annotations; all others are the host's.
enum class Key : unsigned {
  kId, kRoot, kTrigger, kLane, kLate, kType, kOutcome, kSettledBy, kSettler, kDestroyedAt, kDestroyedOn, kScheduledBy,
  kWaker, kReadyAt, kCause, kCauseBy, kOpen, kEndUnknown, kSplit, kPart, kTrueBegin, kTrueEnd, kExitLane, kLink, kLinkCause,
  kCut, kSealReason, kOpenResources, kCount, kFirst, kLast, kProcessId, kThreadId, kName, kVersion, kSalt, kClock,
  kOverflow, kSampling, kEvents, kLost, kLateEvents, kAfterSeal, kRootsSealed, kRootsAbandoned, kDrainNs, kBytes,
  kExitWithoutEnter, kExitsCrossed, kTooDeep, kAnnotationsCut, kStacksRefused, kRootEndsLost, kRingBytes, kStack, kPause,
  kStacksMissing, kValue, kTypeId, kSample, kInvocation,
};
inline constexpr std::string_view kKeyNames[] = {
    "thence.id",            "thence.root",          "thence.trigger",        "thence.lane",          "thence.late",
    "thence.type",          "thence.outcome",       "thence.settled_by",     "thence.settler",       "thence.destroyed_at",
    "thence.destroyed_on",  "thence.scheduled_by",  "thence.waker",          "thence.ready_at",      "thence.cause",
    "thence.cause_by",      "thence.open",          "thence.end_unknown",    "thence.split",         "thence.part",
    "thence.true_begin",    "thence.true_end",      "thence.exit_lane",      "thence.link",          "thence.link_cause",
    "thence.cut",           "thence.seal_reason",   "thence.open_resources", "thence.count",         "thence.first",
    "thence.last",          "thence.process_id",    "thence.thread_id",      "thence.name",          "thence.version",
    "thence.salt",          "thence.clock",         "thence.overflow_policy", "thence.sampling",     "thence.events",
    "thence.lost",          "thence.late_events",   "thence.after_seal",     "thence.roots_sealed",  "thence.roots_abandoned",
    "thence.drain_ns",      "thence.bytes_written", "thence.exit_without_enter", "thence.exits_crossed", "thence.too_deep",
    "thence.annotations_cut", "thence.stacks_refused", "thence.root_ends_lost", "thence.ring_bytes", "thence.stack",
    "thence.pause",         "thence.stacks_missing", "thence.value",         "thence.type_id",       "thence.sample", "thence.invocation"};
static_assert(std::size(kKeyNames) == static_cast<unsigned>(Key::kInvocation) + 1);

/// The version of what the annotations mean; a reader refuses what it does not know.
inline constexpr std::uint64_t kFormatVersion = 1;

}  // namespace perfetto

/// Writes events as a Perfetto trace.
///   Shape     state for each lane, each open root, each open resource, and for the names and stacks of the trace.
///   Threads   one at a time.
///   Cost      about 2 packets an event; no allocation in the steady state.
///   When full see PerfettoOptions: what exceeds a bound is written in a plainer form, never dropped. A sink that refuses
///             ends the file at the last whole write: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it; `end` writes the rest.
template <ByteSink Sink>
class PerfettoEncoder {
 public:
  using Options = PerfettoOptions;

  explicit PerfettoEncoder(Sink& sink, const Options& options = {}) : options_(options), writer_(sink, options.writer) {
    for (std::size_t at = 0; at < std::size(perfetto::kKeyNames); ++at) {
      keys_[at] = writer_.intern_key(perfetto::kKeyNames[at]);
    }
  }
  PerfettoEncoder(const PerfettoEncoder&) = delete;
  PerfettoEncoder& operator=(const PerfettoEncoder&) = delete;

  void begin(const TraceInfo& info) {
    if (begun_) return;
    begun_ = true;
    salt_ = info.salt;
    uuid_base_ = mix64(salt_ ^ 0x7472'61636b73u);
    flow_base_ = mix64(salt_ ^ 0x666c'6f7773u);
    info_process_id_ = info.process_id;
    process_name_ = info.process_name;
    overflow_policy_ = info.overflow_policy;
    clock_ = info.clock;
    sampling_ = info.sampling;
    async_ = writer_.open_sequence(0);
    static_cast<void>(process_of(info.process_id));
    writer_.prepare(async_);
    writer_.packet(async_, [&](ProtobufWriter& writer) {
      const auto uuid = writer.message(perfetto::trace_packet::kTraceUuid);
      writer.varint(perfetto::trace_uuid::kMsb, mix64(salt_ ^ 1));
      writer.varint(perfetto::trace_uuid::kLsb, mix64(salt_ ^ 2));
    });
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
    now_ = std::max(now_, clocks.boottime);
    writer_.prepare(async_);
    writer_.clock_snapshot(async_, clocks);
    if (stats_due_) write_stats({});
  }

  void take(std::span<const TraceEvent> events) {
    start();
    for (const TraceEvent& event : events) take_one(event);
  }

  /// Hands what is whole to the sink.
  void flush() { writer_.flush(); }

  void end(const TraceSummary& summary) {
    start();
    for (std::uint32_t index = 0; index < lanes_.size(); ++index) write_pending_exits(lanes_[index]);
    for (std::uint32_t index = 0; index < resources_.size(); ++index) {
      if (resources_[index].id == 0) continue;
      if (resources_[index].life.ended()) {
        close(index);
      } else {
        leave_open(index);
      }
    }
    write_summary(summary);
    write_stats(summary);
    writer_.flush();
  }

  [[nodiscard]] bool failed() const noexcept { return writer_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return writer_.written(); }
  [[nodiscard]] std::uint64_t bytes_refused() const noexcept { return writer_.refused(); }
  [[nodiscard]] std::uint64_t packets() const noexcept { return writer_.packets(); }
  /// Resources that are open, or ended and in quarantine.
  [[nodiscard]] std::size_t open_resources() const noexcept { return by_id_.size(); }
  /// Tracks in use or in the pools: what a file's reader pays for.
  [[nodiscard]] std::uint64_t tracks_made() const noexcept { return tracks_made_; }
  /// Events with a kind that has no meaning here, or without the data that their kind needs.
  [[nodiscard]] std::uint64_t malformed() const noexcept { return malformed_; }

 private:
  using Key = perfetto::Key;
  static constexpr std::uint32_t kNone = IdMap::kAbsent;
  static constexpr std::uint32_t kNever = ~std::uint32_t{0};

  // -- state ----------------------------------------------------------------------------------------------------------

  struct Process {
    std::int32_t id = 0;
    std::uint64_t uuid = 0;
    std::uint32_t generation = 0;
  };

  struct Invocation {
    std::uint64_t resource = 0;
    std::uint64_t root = 0;
    std::uint64_t begin = 0;        // as recorded
    std::uint64_t end = 0;
    std::uint64_t written_begin = 0;  // as written: on a lane, times never go back
    std::uint64_t written_end = 0;
    std::uint64_t begin_order = 0;
    std::uint64_t end_order = 0;      // 0: has not ended
    std::uint64_t entry = 0;          // its place among all entries, of whatever lane
    std::uint32_t name = 0;
    std::uint32_t part = 0;           // parts written before this one
    std::uint32_t exit_lane = 0;
    bool pause = false;
    bool end_unknown = false;
    bool split = false;
  };

  /// An invocation whose exit will be a record of its own: it has no slice, as too many lie around it, or its slice was
  /// cut at a loss.
  struct Deep {
    std::uint64_t resource = 0;
    std::uint64_t root = 0;
    std::uint64_t entry = 0;
    bool cut = false;  // its resource counts it as left
  };

  struct LaneCounter {
    CounterId id = CounterId::kNone;
    std::uint64_t uuid = 0;
    std::uint32_t generation = 0;
  };

  struct Lane {
    LaneId id = LaneId::kNone;
    std::uint32_t sequence = 0;
    std::uint32_t generation = 0;  // in which its track was last described
    std::uint32_t park_generation = 0;
    std::uint32_t process = 0;
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    std::uint64_t uuid = 0;
    std::uint64_t park_uuid = 0;
    std::uint64_t clock = 0;  // no slice begins or ends before this any more
    std::uint64_t order = 0;
    std::uint64_t last_pending_order = 0;
    std::size_t pending = 0;  // invocations on the stack that have ended
    std::vector<Deep> deep;
    bool parked = false;
    bool announce = true;
    std::uint64_t lost = 0;
    std::string name;
    std::vector<Invocation> stack;
    std::vector<LaneCounter> counters;
  };

  struct CounterName {
    CounterId id;
    std::string name;
    std::string unit;
  };

  struct Track {
    std::uint64_t uuid = 0;
    std::uint64_t free_since = 0;
    std::uint32_t generation = 0;
    std::uint32_t slot = 0;
    std::uint32_t name = 0;
    std::uint32_t next_free = kNone;
    std::uint32_t next_in_slot = kNone;
  };

  /// Tracks of one type in one slot that are free, the one free for longest first.
  struct Pool {
    std::uint32_t name = 0;
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
  };

  /// A track for a request and what lies below it; the next request takes it when this one has gone.
  struct Slot {
    Track main;
    bool rootless = false;
    bool main_taken = false;
    bool leaves_open = false;
    std::uint32_t first_track = kNone;
    std::uint32_t next_free = kNone;
    std::vector<Pool> pools;
  };

  struct Root {
    std::uint64_t id = 0;
    std::uint32_t slot = 0;
    std::uint32_t first = kNone;  // its open resources
    std::uint32_t running = 0;    // invocations on the lanes' stacks
    std::uint32_t next_free = kNone;
  };

  struct OpenResource {
    std::uint64_t id = 0;  // 0: free
    std::uint64_t created_at = 0;
    std::uint64_t settled_at = 0;
    std::uint64_t finished_at = 0;
    std::uint64_t destroyed_at = 0;
    std::uint64_t last_exit = 0;
    std::uint64_t wake_at = 0;
    std::uint64_t waker = 0;
    std::uint32_t wake_lane = 0;
    std::uint32_t destroyed_on = 0;
    std::uint32_t root = 0;
    std::uint32_t previous = kNone;  // in its root
    std::uint32_t next = kNone;
    std::uint32_t track = kNone;  // kNone: the slot's own
    std::uint32_t name = 0;
    Life life;
    Outcome outcome = Outcome::kUnknown;
    Actor wake_actor = Actor::kUnknown;
    bool woken = false;  // wake_at .. wake_actor are set and not yet written
    bool queued = false;
    ByteBuffer annotations;
  };

  /// What was heard of a resource before its creation, for as long as that may come late.
  struct Early {
    std::uint64_t id = 0;
    std::uint64_t time = 0;
    std::uint32_t lane = 0;
    EventKind kind = EventKind::kPayload;
    std::uint8_t flags = 0;
  };
  static constexpr std::size_t kMaxEarly = 512;

  struct Closing {
    std::uint64_t id = 0;
    std::uint64_t deadline = 0;
    std::uint32_t index = 0;
  };

  // -- start ----------------------------------------------------------------------------------------------------------

  void start() {
    if (!begun_) [[unlikely]] begin({});
  }

  [[nodiscard]] std::uint64_t next_uuid() noexcept {
    ++tracks_made_;
    return unique(uuid_base_, ++uuids_);
  }
  [[nodiscard]] std::uint64_t next_flow() noexcept { return unique(flow_base_, ++flows_); }
  /// Different for each count under one base, spread over 64 bits, and not 0.
  [[nodiscard]] static std::uint64_t unique(std::uint64_t base, std::uint64_t count) noexcept {
    const std::uint64_t value = mix64(base + count);
    return value == 0 ? 1 : value;
  }
  [[nodiscard]] std::uint32_t key(Key which) const noexcept { return keys_[static_cast<unsigned>(which)]; }

  std::uint32_t process_of(std::int32_t id) {
    for (std::uint32_t at = 0; at < processes_.size(); ++at) {
      if (processes_[at].id == id) return at;
    }
    processes_.push_back({id, next_uuid(), 0});
    return static_cast<std::uint32_t>(processes_.size() - 1);
  }

  std::uint32_t lane_index(LaneId id) {
    const std::uint32_t found = lane_by_id_.find(number(id) + 1);
    if (found != kNone) return found;
    const auto index = static_cast<std::uint32_t>(lanes_.size());
    Lane lane;
    lane.id = id;
    lane.uuid = next_uuid();
    lane.process_id = info_process_id_;
    lane.sequence = writer_.open_sequence(lane.uuid);
    lane.name = id == LaneId::kNone ? "no lane" : "lane " + std::to_string(number(id));
    lanes_.push_back(std::move(lane));
    lane_by_id_.insert(number(id) + 1, index);
    return index;
  }
  Lane& lane_of(LaneId id) { return lanes_[lane_index(id)]; }

  // -- descriptors ----------------------------------------------------------------------------------------------------

  void describe_process(Process& process) {
    writer_.prepare(async_);
    if (process.generation == writer_.generation(async_)) return;
    process.generation = writer_.generation(async_);
    writer_.track_descriptor(async_, process.uuid, [&](ProtobufWriter& writer) {
      if (process.id == 0) {  // not known: a plain track
        writer.string(perfetto::track_descriptor::kName, process_name_.empty() ? std::string_view("process") : process_name_);
        return;
      }
      const auto descriptor = writer.message(perfetto::track_descriptor::kProcess);
      writer.int64(perfetto::process_descriptor::kPid, process.id);
      if (!process_name_.empty()) writer.string(perfetto::process_descriptor::kProcessName, process_name_);
    });
  }

  void describe_lane(Lane& lane) {
    writer_.prepare(lane.sequence);
    if (lane.generation == writer_.generation(lane.sequence)) [[likely]] return;
    describe_process(processes_[lane.process]);
    lane.generation = writer_.generation(lane.sequence);
    lane.announce = true;
    writer_.track_descriptor(lane.sequence, lane.uuid, [&](ProtobufWriter& writer) {
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
    if (slot.main.generation == writer_.generation(async_)) [[likely]] return;
    describe_process(processes_[0]);
    slot.main.generation = writer_.generation(async_);
    writer_.track_descriptor(async_, slot.main.uuid, [&](ProtobufWriter& writer) {
      using namespace perfetto;
      writer.varint(track_descriptor::kParentUuid, processes_[0].uuid);
      writer.string(track_descriptor::kName, slot.rootless ? "no request" : "request");
      // Requests that run at once stay apart, each with its resources below it.
      writer.varint(track_descriptor::kSiblingMergeBehavior, track_descriptor::kMergeNone);
    });
  }

  /// Makes the track of a resource ready for an event and returns its uuid.
  std::uint64_t describe_track(const OpenResource& resource) {
    writer_.prepare(async_);
    announce_trace();
    Slot& slot = slots_[roots_[resource.root].slot];
    describe_slot(slot);
    if (resource.track == kNone) return slot.main.uuid;
    Track& track = tracks_[resource.track];
    if (track.generation != writer_.generation(async_)) {
      track.generation = writer_.generation(async_);
      writer_.track_descriptor(async_, track.uuid, [&](ProtobufWriter& writer) {
        writer.varint(perfetto::track_descriptor::kParentUuid, slot.main.uuid);
        writer.string(perfetto::track_descriptor::kName, name_text(track.name));
      });
    }
    return track.uuid;
  }

  /// What the trace is a trace of: an instant, again after each point from which a cut file is readable.
  void announce_trace() {
    if (announced_ == writer_.generation(async_)) [[likely]] return;
    announced_ = writer_.generation(async_);
    Process& process = processes_[0];
    describe_process(process);
    writer_.begin_event(async_, now_, perfetto::track_event::kInstant, process.uuid);
    put_name(Word::kTrace, Category::kThence);
    writer_.annotate(key(Key::kVersion), perfetto::kFormatVersion);
    writer_.annotate(key(Key::kSalt), salt_);
    writer_.annotate(key(Key::kProcessId), static_cast<std::int64_t>(info_process_id_));
    writer_.annotate_text(key(Key::kName), process_name_);
    writer_.annotate_text(key(Key::kClock), clock_);
    writer_.annotate_text(key(Key::kOverflow), overflow_policy_);
    writer_.annotate_text(key(Key::kSampling), sampling_);
    writer_.end_event();
  }

  void announce_lane(Lane& lane, std::uint64_t time) {
    if (!lane.announce) [[likely]] return;
    lane.announce = false;
    writer_.begin_event(lane.sequence, time, perfetto::track_event::kInstant);
    put_name(Word::kLane, Category::kThence);
    writer_.annotate(key(Key::kLane), number(lane.id));
    writer_.annotate(key(Key::kProcessId), static_cast<std::int64_t>(lane.process_id));
    writer_.annotate(key(Key::kThreadId), static_cast<std::int64_t>(lane.thread_id));
    writer_.annotate_text(key(Key::kName), lane.name);
    writer_.end_event();
  }

  // -- names ----------------------------------------------------------------------------------------------------------

  enum class Word : unsigned {
    kTrace, kLane, kLost, kSummary, kCreate, kSettle, kRelease, kReady, kAwaited, kBridge, kCreated, kScheduled, kEntered,
    kExited, kSettled, kDestroyed, kAwaits, kAnnotated, kFinished, kSealed, kOpen, kParked, kUnparked, kPauseEnded, kUnknown,
    kCounter, kSample, kEnd,
  };
  static constexpr std::string_view kWords[] = {
      "thence.trace", "thence.lane", "thence.lost", "thence.summary", "create", "settle", "release", "ready", "awaited",
      "bridge", "created", "scheduled", "entered", "exited", "settled", "destroyed", "awaits", "annotated", "finished",
      "sealed", "open", "parked", "unparked", "pause ended", "unknown", "counter", "sample"};
  static_assert(std::size(kWords) == static_cast<unsigned>(Word::kEnd));

  enum class Category : unsigned { kResource, kInvocation, kPause, kPark, kEdge, kRecord, kThence, kEnd };
  static constexpr std::string_view kCategories[] = {"resource", "invocation", "pause", "park", "edge", "record", "thence"};
  static_assert(std::size(kCategories) == static_cast<unsigned>(Category::kEnd));

  std::uint32_t name_of(Word word) {
    std::uint32_t& name = words_[static_cast<unsigned>(word)];
    if (name == 0) name = writer_.intern_name(kWords[static_cast<unsigned>(word)]);
    return name;
  }
  void put_category(Category category) {
    std::uint32_t& name = categories_[static_cast<unsigned>(category)];
    if (name == 0) name = writer_.intern_name(kCategories[static_cast<unsigned>(category)]);
    writer_.category(name);
  }
  void put_name(Word word, Category category) {
    writer_.name(name_of(word));
    put_category(category);
  }
  void put_type(std::uint32_t name) { writer_.name(name); }
  [[nodiscard]] std::string_view name_text(std::uint32_t name) const { return writer_.name_text(name); }

  std::uint32_t type_name(TypeId type) {
    const auto index = static_cast<std::size_t>(type);
    if (index >= type_names_.size()) type_names_.resize(index + 1);
    std::uint32_t& name = type_names_[index];
    if (name == 0) name = writer_.intern_name(BuiltinTypes::name(type));
    if (name == 0) name = name_of(Word::kUnknown);  // the dictionary is full
    return name;
  }

  // -- tracks, slots, roots -------------------------------------------------------------------------------------------

  std::uint32_t take_slot(bool rootless, std::uint64_t time) {
    std::uint32_t index = first_free_slot_;
    if (!rootless && index != kNone && slots_[index].main.free_since + options_.quarantine_ns <= time) {
      first_free_slot_ = slots_[index].next_free;
      if (first_free_slot_ == kNone) last_free_slot_ = kNone;
    } else if (unused_slot_ != kNone) {
      index = unused_slot_;
      unused_slot_ = slots_[index].next_free;
      slots_[index].main = {};
      slots_[index].main.uuid = next_uuid();
    } else {
      index = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
      slots_[index].main.uuid = next_uuid();
    }
    Slot& slot = slots_[index];
    slot.rootless = rootless;
    slot.main_taken = false;
    slot.leaves_open = false;
    slot.next_free = kNone;
    return index;
  }

  /// Gives a slot back. One with an open slice never carries another request: its uuids are not used again.
  void give_slot(std::uint32_t index) {
    Slot& slot = slots_[index];
    if (!slot.leaves_open) {
      slot.main.free_since = now_;
      if (last_free_slot_ == kNone) {
        first_free_slot_ = index;
      } else {
        slots_[last_free_slot_].next_free = index;
      }
      last_free_slot_ = index;
      return;
    }
    for (std::uint32_t at = slot.first_track; at != kNone;) {
      const std::uint32_t next = tracks_[at].next_in_slot;
      tracks_[at].next_free = unused_track_;
      unused_track_ = at;
      at = next;
    }
    slot.first_track = kNone;
    slot.pools.clear();
    slot.next_free = unused_slot_;
    unused_slot_ = index;
  }

  Pool& pool_of(Slot& slot, std::uint32_t name) {
    for (Pool& pool : slot.pools) {
      if (pool.name == name) return pool;
    }
    slot.pools.push_back({name, kNone, kNone});
    return slot.pools.back();
  }

  std::uint32_t take_track(std::uint32_t slot_index, std::uint32_t name, std::uint64_t time) {
    Slot& slot = slots_[slot_index];
    Pool& pool = pool_of(slot, name);
    if (pool.first != kNone && tracks_[pool.first].free_since + options_.quarantine_ns <= time) {
      const std::uint32_t index = pool.first;
      pool.first = tracks_[index].next_free;
      if (pool.first == kNone) pool.last = kNone;
      tracks_[index].next_free = kNone;
      return index;
    }
    std::uint32_t index = unused_track_;
    if (index != kNone) {
      unused_track_ = tracks_[index].next_free;
      tracks_[index] = {};
    } else {
      index = static_cast<std::uint32_t>(tracks_.size());
      tracks_.emplace_back();
    }
    Track& track = tracks_[index];
    track.uuid = next_uuid();
    track.slot = slot_index;
    track.name = name;
    track.next_in_slot = slot.first_track;
    slot.first_track = index;
    return index;
  }

  void give_track(std::uint32_t index, std::uint64_t time) {
    Track& track = tracks_[index];
    track.free_since = time;
    track.next_free = kNone;
    Pool& pool = pool_of(slots_[track.slot], track.name);
    if (pool.last == kNone) {
      pool.first = index;
    } else {
      tracks_[pool.last].next_free = index;
    }
    pool.last = index;
  }

  [[nodiscard]] std::uint32_t find_root(RootId id) const noexcept { return root_by_id_.find(number(id) + 1); }

  std::uint32_t root_of(RootId id, std::uint64_t time) {
    std::uint32_t index = find_root(id);
    if (index != kNone) return index;
    index = free_root_;
    if (index != kNone) {
      free_root_ = roots_[index].next_free;
      roots_[index] = {};
    } else {
      index = static_cast<std::uint32_t>(roots_.size());
      roots_.emplace_back();
    }
    roots_[index].id = number(id);
    const std::uint32_t slot = take_slot(id == RootId::kNone, time);
    roots_[index].slot = slot;
    root_by_id_.insert(number(id) + 1, index);
    return index;
  }

  std::uint32_t new_resource(std::uint64_t id, std::uint32_t root) {
    std::uint32_t index = free_resource_;
    if (index != kNone) {
      free_resource_ = resources_[index].next;
    } else {
      index = static_cast<std::uint32_t>(resources_.size());
      resources_.emplace_back();
    }
    OpenResource& resource = resources_[index];
    ByteBuffer annotations = std::move(resource.annotations);
    annotations.clear();
    resource = OpenResource{};
    resource.annotations = std::move(annotations);
    resource.id = id;
    resource.root = root;
    resource.next = roots_[root].first;
    if (resource.next != kNone) resources_[resource.next].previous = index;
    roots_[root].first = index;
    by_id_.insert(id, index);
    return index;
  }

  void free_resource(std::uint32_t index) {
    OpenResource& resource = resources_[index];
    by_id_.erase(resource.id);
    if (resource.previous != kNone) {
      resources_[resource.previous].next = resource.next;
    } else {
      roots_[resource.root].first = resource.next;
    }
    if (resource.next != kNone) resources_[resource.next].previous = resource.previous;
    resource.id = 0;
    resource.next = free_resource_;
    free_resource_ = index;
  }

  OpenResource* find(ResourceId id) noexcept {
    if (id == ResourceId::kNone) return nullptr;
    const std::uint32_t index = by_id_.find(number(id));
    return index == kNone ? nullptr : &resources_[index];
  }
  [[nodiscard]] std::uint32_t index_of(const OpenResource& resource) const noexcept {
    return static_cast<std::uint32_t>(&resource - resources_.data());
  }

  // -- events on tracks -----------------------------------------------------------------------------------------------

  /// Opens an instant on a lane, at its own time.
  void begin_lane_instant(Lane& lane, std::uint64_t time, Word word, Category category) {
    describe_lane(lane);
    announce_lane(lane, time);
    writer_.begin_event(lane.sequence, time, perfetto::track_event::kInstant);
    put_name(word, category);
  }
  void begin_resource_instant(OpenResource& resource, std::uint64_t time, Word word, Category category) {
    const std::uint64_t track = describe_track(resource);
    writer_.begin_event(async_, time, perfetto::track_event::kInstant, track);
    put_name(word, category);
  }
  void edge_on_lane(Lane& lane, std::uint64_t time, Word word, std::uint64_t flow) {
    begin_lane_instant(lane, time, word, Category::kEdge);
    writer_.flow(flow);
    writer_.end_event();
  }
  void edge_on_resource(OpenResource& resource, std::uint64_t time, Word word, std::uint64_t flow) {
    begin_resource_instant(resource, time, word, Category::kEdge);
    writer_.flow(flow);
    writer_.end_event();
  }
  /// A record without a slice to stand on.
  void begin_loose_record(const TraceEvent& event, Word word) {
    begin_lane_instant(lane_of(event.lane), ns_of(event.time), word, Category::kRecord);
    writer_.annotate(key(Key::kId), number(event.resource));
    if (event.root != RootId::kNone) writer_.annotate(key(Key::kRoot), number(event.root));
    put_late(event);
  }
  void put_late(const TraceEvent& event) {
    if (event.late) writer_.annotate(key(Key::kLate), true);
  }
  /// A value of one of our enums, by its word.
  template <class E>
  void put_word(Key which, E value) {
    const auto index = static_cast<std::size_t>(value);
    if (index >= kWordsOfEnum) return writer_.annotate_word(key(which), word(value));
    std::uint32_t& name = enum_words_[enum_index(value)][index];
    if (name == 0) name = writer_.intern_name(word(value));
    if (name == 0) return writer_.annotate_word(key(which), word(value));  // the dictionary is full
    writer_.annotate_name(key(which), name);
  }
  static constexpr std::size_t kWordsOfEnum = 8;
  static constexpr std::size_t enum_index(Outcome) noexcept { return 0; }
  static constexpr std::size_t enum_index(Actor) noexcept { return 1; }
  static constexpr std::size_t enum_index(CauseKind) noexcept { return 2; }
  static constexpr std::size_t enum_index(LinkKind) noexcept { return 3; }
  static constexpr std::size_t enum_index(SealReason) noexcept { return 4; }
  static constexpr std::size_t enum_index(PauseKind) noexcept { return 5; }
  static constexpr std::size_t enum_index(SampleKind) noexcept { return 6; }
  void put_id(Key which, std::uint64_t id) {
    if (id != 0) writer_.annotate(key(which), id);
  }
  void put_stack(const TraceEvent& event) {
    if (event.stack == StackId::kNone) return;
    if (!writer_.callstack(event.stack)) writer_.annotate(key(Key::kStack), number(event.stack));
  }

  // -- one event ------------------------------------------------------------------------------------------------------

  void take_one(const TraceEvent& event) {
    now_ = std::max(now_, ns_of(event.time));
    if (queue_first_ != queue_.size()) expire();
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
      case EventKind::kParked: return parked(event);
      case EventKind::kUnparked: return unparked(event);
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
    if (find(event.resource) != nullptr || by_id_.size() >= options_.max_open_resources) {
      begin_loose_record(event, Word::kCreated);
      writer_.annotate_word(key(Key::kType), name_text(name));
      writer_.annotate(key(Key::kTypeId), std::uint64_t{static_cast<std::uint16_t>(event.type)});
      put_id(Key::kTrigger, number(event.other));
      put_stack(event);
      writer_.end_event();
      return;
    }
    std::uint64_t flow = 0;
    if (event.other != ResourceId::kNone) {
      flow = next_flow();
      edge_on_lane(lane_of(event.lane), time, Word::kCreate, flow);
    }
    const std::uint32_t root = root_of(event.root, time);
    const std::uint32_t index = new_resource(number(event.resource), root);
    const std::uint32_t slot_index = roots_[root].slot;
    OpenResource& resource = resources_[index];
    resource.created_at = time;
    resource.name = name;
    resource.life.type = event.type;
    resource.life.created = true;
    Slot& slot = slots_[slot_index];
    if ((event.type == type_id(ResourceType::kRoot) || event.other == ResourceId::kNone) && !slot.main_taken && !slot.rootless) {
      slot.main_taken = true;
    } else {
      resource.track = take_track(slot_index, name, time);
    }
    const std::uint64_t track = describe_track(resource);
    writer_.begin_event(async_, time, perfetto::track_event::kSliceBegin, track);
    put_type(name);
    put_category(Category::kResource);
    if (flow != 0) writer_.flow(flow);
    writer_.annotate(key(Key::kId), number(event.resource));
    if (event.root != RootId::kNone) writer_.annotate(key(Key::kRoot), number(event.root));
    put_id(Key::kTrigger, number(event.other));
    writer_.annotate(key(Key::kLane), number(event.lane));
    put_late(event);
    put_stack(event);
    writer_.end_event();
    if (event.late) recall_early(resource);
  }

  void scheduled(const TraceEvent& event) {
    OpenResource* resource = find(event.resource);
    if (resource != nullptr && !resource->woken) {
      resource->woken = true;
      resource->wake_at = ns_of(event.time);
      resource->waker = number(event.other);
      resource->wake_lane = lane_index(event.lane);
      resource->wake_actor = event.scheduled_by();
      return;
    }
    begin_loose_record(event, Word::kScheduled);
    put_actor(Key::kScheduledBy, event.scheduled_by());
    put_id(Key::kWaker, number(event.other));
    writer_.end_event();
  }

  /// Writes a wake that was held back until it is known whether an invocation follows. Returns its flow, if it has one.
  std::uint64_t write_wake(OpenResource& resource, bool joined) {
    if (!resource.woken) return 0;
    resource.woken = false;
    const std::uint64_t flow = joined && resource.wake_actor == Actor::kInvocation ? next_flow() : 0;
    begin_lane_instant(lanes_[resource.wake_lane], resource.wake_at, Word::kScheduled, Category::kRecord);
    if (flow != 0) writer_.flow(flow);
    writer_.annotate(key(Key::kId), resource.id);
    put_actor(Key::kScheduledBy, resource.wake_actor);
    put_id(Key::kWaker, resource.waker);
    writer_.end_event();
    return flow;
  }

  void entered(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    OpenResource* resource = find(event.resource);
    std::uint64_t wake_flow = 0, cause_flow = 0, ready_at = 0;
    bool ready = false;
    if (resource != nullptr) {
      ready = resource->woken;
      ready_at = resource->wake_at;
      wake_flow = write_wake(*resource, ready_at <= time);  // a flow points forward in time
    }
    const std::uint32_t lane_at = lane_index(event.lane);
    if (lanes_[lane_at].stack.size() >= options_.max_depth) {
      begin_loose_record(event, Word::kEntered);
      put_cause(event, ready, ready_at);
      if (wake_flow != 0) writer_.flow(wake_flow);
      put_stack(event);
      writer_.end_event();
      if (std::uint64_t exit = 0; event.late && take_early_exit(event, exit)) return;
      add_deep(lanes_[lane_at], {number(event.resource), number(event.root), ++entries_, false});
      has_entered(resource, event.root);
      return;
    }
    switch (event.cause()) {
      case CauseKind::kCreated:
        if (resource != nullptr && resource->created_at <= time) {
          cause_flow = next_flow();
          edge_on_resource(*resource, resource->created_at, Word::kReady, cause_flow);
        }
        break;
      case CauseKind::kSettled:
      case CauseKind::kExternal:
        if (OpenResource* cause = find(event.other); cause != nullptr && cause->life.settled && cause->settled_at <= time) {
          cause_flow = next_flow();
          edge_on_resource(*cause, cause->settled_at, Word::kRelease, cause_flow);
        }
        break;
      case CauseKind::kScheduled:
      case CauseKind::kUnspecified: break;
    }
    Lane& lane = lanes_[lane_at];
    Invocation invocation;
    invocation.resource = number(event.resource);
    invocation.root = number(event.root);
    invocation.entry = ++entries_;
    invocation.name = resource != nullptr ? resource->name : name_of(Word::kUnknown);
    begin_slice(lane, time, invocation, Category::kInvocation);
    if (wake_flow != 0) writer_.flow(wake_flow);
    if (cause_flow != 0) writer_.flow(cause_flow);
    writer_.annotate(key(Key::kId), number(event.resource));
    if (resource == nullptr && event.root != RootId::kNone) writer_.annotate(key(Key::kRoot), number(event.root));
    put_cause(event, ready, ready_at);
    put_late(event);
    put_stack(event);
    writer_.end_event();
    has_entered(resource, event.root);
    if (event.late) recall_exit(lane_at, event);
  }
  /// The exit of what has just been entered may have been published before: it is a record already, so that the slice
  /// gets its end in the picture, and a reader has it from there.
  void recall_exit(std::uint32_t lane_at, const TraceEvent& event) {
    std::uint64_t exit = 0;
    if (!take_early_exit(event, exit)) return;
    if (Lane& lane = lanes_[lane_at]; !lane.stack.empty()) end_invocation(lane, lane.stack.size() - 1, exit, true);
  }
  bool take_early_exit(const TraceEvent& event, std::uint64_t& time) noexcept {
    Early* exit = nullptr;
    for (Early& early : early_) {
      if (early.id != number(event.resource) || early.kind != EventKind::kExited || early.time < ns_of(event.time)) continue;
      if (exit == nullptr || early.time < exit->time) exit = &early;
    }
    if (exit == nullptr) return false;
    exit->id = 0;
    time = exit->time;
    return true;
  }
  void has_entered(OpenResource* resource, RootId root_id) noexcept {
    if (resource != nullptr) ++resource->life.running;
    if (const std::uint32_t root = find_root(root_id); root != kNone) ++roots_[root].running;
  }

  void put_cause(const TraceEvent& event, bool ready, std::uint64_t ready_at) {
    if (event.cause() != CauseKind::kUnspecified) put_word(Key::kCause, event.cause());
    put_id(Key::kCauseBy, number(event.other));
    if (ready) writer_.annotate(key(Key::kReadyAt), ready_at);
  }
  void put_actor(Key which, Actor actor) { put_word(which, actor); }

  void exited(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    const std::uint64_t id = number(event.resource);
    Running found = innermost(lane_index(event.lane), id, false);
    if (found.entry == 0) {
      // A coroutine may go on elsewhere than it began.
      for (std::uint32_t other = 0; other < lanes_.size(); ++other) {
        const Running there = innermost(other, id, false);
        if (there.entry > found.entry) found = there;
      }
      if (found.entry != 0 && !found.deep) {
        lanes_[found.lane].stack[found.at].exit_lane = static_cast<std::uint32_t>(number(event.lane));
      }
    }
    if (found.entry != 0 && !found.deep) {
      end_invocation(lanes_[found.lane], found.at, time, false);
      return;
    }
    begin_loose_record(event, Word::kExited);
    writer_.end_event();
    if (found.deep) {
      std::vector<Deep>& deep = lanes_[found.lane].deep;
      Invocation invocation;
      invocation.resource = id;
      invocation.root = deep[found.at].root;
      invocation.end = time;
      const bool cut = deep[found.at].cut;
      deep.erase(deep.begin() + static_cast<std::ptrdiff_t>(found.at));
      if (!cut) return left(invocation);
    } else {
      remember_early(event);
    }
    OpenResource* resource = find(event.resource);
    if (resource == nullptr) return;
    resource->life.ran = true;
    resource->last_exit = std::max(resource->last_exit, time);
    if (resource->life.ended()) queue(*resource);
  }

  void settled(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    OpenResource* resource = find(event.resource);
    if (resource == nullptr) {
      begin_loose_record(event, Word::kSettled);
      put_settle(event);
      writer_.end_event();
      remember_early(event);
      return;
    }
    std::uint64_t flow = 0;
    if (event.settled_by() == Actor::kInvocation) {
      flow = next_flow();
      edge_on_lane(lane_of(event.lane), time, Word::kSettle, flow);
    }
    begin_resource_instant(*resource, time, Word::kSettled, Category::kRecord);
    if (flow != 0) writer_.flow(flow);
    writer_.annotate(key(Key::kId), number(event.resource));
    writer_.annotate(key(Key::kLane), number(event.lane));
    put_settle(event);
    put_late(event);
    put_stack(event);
    writer_.end_event();
    apply_settle(*resource, event.outcome(), time);
  }
  void put_settle(const TraceEvent& event) {
    put_word(Key::kOutcome, event.outcome());
    put_actor(Key::kSettledBy, event.settled_by());
    put_id(Key::kSettler, number(event.other));
  }
  void apply_settle(OpenResource& resource, Outcome outcome, std::uint64_t time) {
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

  void destroyed(const TraceEvent& event) {
    OpenResource* resource = find(event.resource);
    if (resource == nullptr || resource->life.destroyed) {
      begin_loose_record(event, Word::kDestroyed);
      writer_.end_event();
      if (resource == nullptr) remember_early(event);
      return;
    }
    resource->life.destroyed = true;
    resource->destroyed_at = ns_of(event.time);
    resource->destroyed_on = static_cast<std::uint32_t>(number(event.lane));
    if (resource->life.ended()) queue(*resource);
  }

  void linked(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    const bool bridge = event.link() == LinkKind::kBridge;
    OpenResource* effect = find(event.resource);
    OpenResource* cause = find(event.other);
    std::uint64_t flow = 0;
    if (effect == nullptr) {
      begin_loose_record(event, bridge ? Word::kBridge : Word::kAwaits);
    } else {
      if (cause != nullptr && cause != effect) {
        flow = next_flow();
        edge_on_resource(*cause, time, bridge ? Word::kBridge : Word::kAwaited, flow);
      }
      begin_resource_instant(*effect, time, bridge ? Word::kBridge : Word::kAwaits, Category::kRecord);
      writer_.annotate(key(Key::kId), number(event.resource));
      writer_.annotate(key(Key::kLane), number(event.lane));
      put_late(event);
      put_stack(event);
    }
    if (flow != 0) writer_.flow(flow);
    put_word(Key::kLink, event.link());
    put_id(Key::kLinkCause, number(event.other));
    writer_.end_event();
  }

  void annotated(const TraceEvent& event) {
    if (event.annotation == nullptr) {
      ++malformed_;
      return;
    }
    const Annotation& annotation = *event.annotation;
    OpenResource* resource = find(event.resource);
    if (resource != nullptr && keep_annotation(*resource, annotation)) return;
    if (resource != nullptr) {
      begin_resource_instant(*resource, ns_of(event.time), Word::kAnnotated, Category::kRecord);
      writer_.annotate(key(Key::kId), number(event.resource));
    } else {
      begin_loose_record(event, Word::kAnnotated);
    }
    put_annotation(writer_.intern_key(annotation.key), annotation.key, annotation.value);
    writer_.end_event();
  }
  void put_annotation(std::uint32_t name, std::string_view name_text, const Value& value) {
    writer_.annotate_value(name, name_text, value);
    if (value.cut) writer_.annotate_text(key(Key::kCut), name_text);
  }

  /// Kept for the end of the slice, where it becomes an argument of the slice: name number, name length (only where there
  /// is no number), kind, cut, 8 bytes of value (a string's length), text.
  bool keep_annotation(OpenResource& resource, const Annotation& annotation) {
    const Value& value = annotation.value;
    const bool text = value.kind == ValueKind::kString;
    const std::uint32_t name = writer_.intern_key(annotation.key);
    const std::size_t size = 20 + (name == 0 ? annotation.key.size() : 0) + (text ? value.text.size() : 0);
    if (resource.annotations.size() + size > options_.max_annotation_bytes) return false;
    const auto key_length = static_cast<std::uint32_t>(name == 0 ? annotation.key.size() : 0);
    std::uint64_t bits = 0;
    switch (value.kind) {
      case ValueKind::kString: bits = value.text.size(); break;
      case ValueKind::kInt: bits = static_cast<std::uint64_t>(value.integer); break;
      case ValueKind::kUint: bits = value.uinteger; break;
      case ValueKind::kDouble: bits = std::bit_cast<std::uint64_t>(value.real); break;
      case ValueKind::kBool: bits = value.boolean ? 1 : 0; break;
    }
    ByteBuffer& out = resource.annotations;
    out.append(&name, sizeof name);
    out.append(&key_length, sizeof key_length);
    out.push(static_cast<std::byte>(value.kind));
    out.push(static_cast<std::byte>(value.cut ? 1 : 0));
    out.append(&bits, sizeof bits);
    out.append(annotation.key.data(), key_length);
    if (text) out.append(value.text);
    return true;
  }
  void put_annotations(OpenResource& resource) {
    const std::string_view bytes = resource.annotations.text();
    std::size_t at = 0;
    const auto read = [&](void* to, std::size_t count) {
      std::memcpy(to, bytes.data() + at, count);
      at += count;
    };
    while (at < bytes.size()) {
      std::uint32_t name = 0, key_length = 0;
      std::uint8_t kind = 0, cut = 0;
      std::uint64_t bits = 0;
      read(&name, sizeof name);
      read(&key_length, sizeof key_length);
      read(&kind, 1);
      read(&cut, 1);
      read(&bits, sizeof bits);
      const std::string_view in_full = bytes.substr(at, key_length);
      at += key_length;
      Value value;
      value.kind = static_cast<ValueKind>(kind);
      value.cut = cut != 0;
      switch (value.kind) {
        case ValueKind::kString:
          value.text = bytes.substr(at, static_cast<std::size_t>(bits));
          at += static_cast<std::size_t>(bits);
          break;
        case ValueKind::kInt: value.integer = static_cast<std::int64_t>(bits); break;
        case ValueKind::kUint: value.uinteger = bits; break;
        case ValueKind::kDouble: value.real = std::bit_cast<double>(bits); break;
        case ValueKind::kBool: value.boolean = bits != 0; break;
      }
      put_annotation(name, name == 0 ? in_full : writer_.key_text(name), value);
    }
    resource.annotations.clear();
  }

  void sampled(const TraceEvent& event) {
    begin_loose_record(event, Word::kSample);
    put_word(Key::kSample, event.sample());
    put_stack(event);
    writer_.end_event();
  }

  void root_finished(const TraceEvent& event) {
    OpenResource* resource = find(event.resource);
    if (resource == nullptr) {
      begin_loose_record(event, Word::kFinished);
      writer_.end_event();
      remember_early(event);
      return;
    }
    begin_resource_instant(*resource, ns_of(event.time), Word::kFinished, Category::kRecord);
    writer_.annotate(key(Key::kId), number(event.resource));
    if (event.root != RootId::kNone) writer_.annotate(key(Key::kRoot), number(event.root));
    writer_.annotate(key(Key::kLane), number(event.lane));
    put_late(event);
    writer_.end_event();
    if (!resource->life.finished) {
      resource->life.finished = true;
      resource->finished_at = ns_of(event.time);
      if (resource->life.ended()) queue(*resource);
    }
  }

  void root_sealed(const TraceEvent& event) {
    const std::uint32_t index = find_root(event.root);
    if (event.root == RootId::kNone) {
      ++malformed_;
      return;
    }
    // Nothing more comes of this root: what runs of it on a lane has an end that we shall not hear.
    if (index == kNone || roots_[index].running != 0) {
      for (Lane& lane : lanes_) {
        for (std::size_t at = lane.stack.size(); at-- != 0;) {
          if (at < lane.stack.size() && lane.stack[at].end_order == 0 && !lane.stack[at].pause &&
              lane.stack[at].root == number(event.root)) {
            end_invocation(lane, at, now_, true);
          }
        }
        std::erase_if(lane.deep, [&](const Deep& deep) { return deep.root == number(event.root); });
      }
    }
    std::uint64_t open = 0;
    std::uint64_t track = 0;
    if (index != kNone) {
      for (std::uint32_t at = roots_[index].first; at != kNone;) {
        const std::uint32_t next = resources_[at].next;
        // An invocation whose exit went unheard is why it may still count as running.
        if (resources_[at].life.ended()) {
          close(at);
        } else {
          ++open;
          leave_open(at);
        }
        at = next;
      }
      writer_.prepare(async_);
      announce_trace();
      Slot& slot = slots_[roots_[index].slot];
      describe_slot(slot);
      track = slot.main.uuid;
    } else {
      writer_.prepare(async_);
      announce_trace();
      describe_process(processes_[0]);
      track = processes_[0].uuid;
    }
    writer_.begin_event(async_, ns_of(event.time), perfetto::track_event::kInstant, track);
    put_name(Word::kSealed, Category::kRecord);
    writer_.annotate(key(Key::kRoot), number(event.root));
    put_word(Key::kSealReason, event.seal_reason());
    writer_.annotate(key(Key::kOpenResources), open);
    writer_.end_event();
    if (index == kNone) return;
    root_by_id_.erase(number(event.root) + 1);
    give_slot(roots_[index].slot);
    roots_[index].next_free = free_root_;
    free_root_ = index;
  }

  // -- the end of a resource ------------------------------------------------------------------------------------------

  void queue(OpenResource& resource) {
    if (resource.queued) return;
    resource.queued = true;
    if (queue_first_ == queue_.size()) {
      queue_.clear();
      queue_first_ = 0;
    }
    if (queue_first_ > 4096 && queue_first_ * 2 > queue_.size()) {
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_first_));
      queue_first_ = 0;
    }
    queue_.push_back({resource.id, now_ + options_.quarantine_ns, index_of(resource)});
  }

  void expire() {
    while (queue_first_ != queue_.size() && queue_[queue_first_].deadline < now_) {
      const Closing closing = queue_[queue_first_++];
      OpenResource& resource = resources_[closing.index];
      if (resource.id != closing.id) continue;  // closed with its root
      resource.queued = false;
      if (!resource.life.ended()) continue;  // entered again: queued when that ends
      if (end_of(resource) + options_.quarantine_ns >= now_) {
        queue(resource);
      } else {
        close(closing.index);
      }
    }
  }

  [[nodiscard]] static std::uint64_t end_of(const OpenResource& resource) noexcept {
    std::uint64_t end = std::max(resource.created_at, resource.last_exit);
    if (resource.life.settled || resource.life.finished) {
      if (resource.life.settled) end = std::max(end, resource.settled_at);
      if (resource.life.finished) end = std::max(end, resource.finished_at);
    } else if (resource.life.destroyed) {
      end = std::max(end, resource.destroyed_at);
    }
    return end;
  }

  void close(std::uint32_t index) {
    write_wake(resources_[index], false);
    OpenResource& resource = resources_[index];
    const std::uint64_t end = end_of(resource);
    const std::uint64_t track = describe_track(resource);
    writer_.begin_event(async_, end, perfetto::track_event::kSliceEnd, track);
    if (resource.life.settled) put_word(Key::kOutcome, resource.outcome);
    put_destroyed(resource);
    put_annotations(resource);
    writer_.end_event();
    if (resource.track != kNone) give_track(resource.track, end);
    free_resource(index);
  }
  void put_destroyed(const OpenResource& resource) {
    if (!resource.life.destroyed) return;
    writer_.annotate(key(Key::kDestroyedAt), resource.destroyed_at);
    writer_.annotate(key(Key::kDestroyedOn), std::uint64_t{resource.destroyed_on});
  }

  /// Forgets a resource that is open: its slice has no end. An instant says so, and what was kept for the end.
  void leave_open(std::uint32_t index) {
    write_wake(resources_[index], false);
    OpenResource& resource = resources_[index];
    begin_resource_instant(resource, std::max(now_, resource.created_at), Word::kOpen, Category::kRecord);
    writer_.annotate(key(Key::kId), resource.id);
    writer_.annotate(key(Key::kOpen), true);
    put_destroyed(resource);
    put_annotations(resource);
    writer_.end_event();
    slots_[roots_[resource.root].slot].leaves_open = true;
    free_resource(index);
  }

  void remember_early(const TraceEvent& event) {
    if (early_.size() < kMaxEarly) early_.resize(kMaxEarly);
    early_[early_next_++ % kMaxEarly] = {number(event.resource), ns_of(event.time),
                                         static_cast<std::uint32_t>(number(event.lane)), event.kind, event.flags};
  }
  void recall_early(OpenResource& resource) {
    for (Early& early : early_) {
      if (early.id != resource.id || early.time < resource.created_at) continue;
      // An exit also waits for its enter.
      if (early.kind != EventKind::kExited) early.id = 0;
      if (early.kind == EventKind::kSettled) {
        apply_settle(resource, static_cast<Outcome>(early.flags & 0xf), early.time);
      } else if (early.kind == EventKind::kExited) {
        resource.life.ran = true;
        resource.last_exit = std::max(resource.last_exit, early.time);
      } else if (early.kind == EventKind::kDestroyed) {
        resource.life.destroyed = true;
        resource.destroyed_at = early.time;
        resource.destroyed_on = early.lane;
      } else if (early.kind == EventKind::kRootFinished) {
        resource.life.finished = true;
        resource.finished_at = early.time;
      }
    }
    if (resource.life.ended()) queue(resource);
  }

  // -- slices on a lane -----------------------------------------------------------------------------------------------

  static constexpr std::size_t kMaxDeep = 4096;

  void add_deep(Lane& lane, const Deep& deep) {
    if (lane.deep.size() == kMaxDeep) {  // the oldest one's exit was lost, most likely
      if (!lane.deep.front().cut) {
        Invocation invocation;
        invocation.resource = lane.deep.front().resource;
        invocation.root = lane.deep.front().root;
        invocation.end_unknown = true;
        left(invocation);
      }
      lane.deep.erase(lane.deep.begin());
    }
    lane.deep.push_back(deep);
  }

  /// An invocation that has not ended: on the stack of its lane, or in its list of those too deep.
  struct Running {
    std::uint32_t lane = 0;
    std::size_t at = 0;
    std::uint64_t entry = 0;  // 0: none was found
    bool deep = false;
  };

  /// The one entered last.
  [[nodiscard]] Running innermost(std::uint32_t lane_at, std::uint64_t resource, bool pause) const noexcept {
    const Lane& lane = lanes_[lane_at];
    Running found;
    for (std::size_t at = lane.stack.size(); at-- != 0;) {
      const Invocation& invocation = lane.stack[at];
      if (invocation.end_order == 0 && invocation.pause == pause && invocation.resource == resource) {
        found = {lane_at, at, invocation.entry, false};
        break;
      }
    }
    for (std::size_t at = lane.deep.size(); !pause && at-- != 0;) {
      if (lane.deep[at].resource == resource && lane.deep[at].entry > found.entry) {
        found = {lane_at, at, lane.deep[at].entry, true};
        break;
      }
    }
    return found;
  }

  /// Opens a slice and leaves its event open for annotations.
  void begin_slice(Lane& lane, std::uint64_t time, Invocation invocation, Category category) {
    describe_lane(lane);
    announce_lane(lane, time);
    invocation.begin = time;
    invocation.written_begin = std::max(time, lane.clock);
    invocation.begin_order = ++lane.order;
    lane.clock = invocation.written_begin;
    lane.stack.push_back(invocation);
    writer_.begin_event(lane.sequence, invocation.written_begin, perfetto::track_event::kSliceBegin);
    put_type(invocation.name);
    put_category(category);
    if (invocation.written_begin != time) writer_.annotate(key(Key::kTrueBegin), time);
  }

  void end_invocation(Lane& lane, std::size_t at, std::uint64_t time, bool unknown) {
    Invocation& invocation = lane.stack[at];
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
  void left(const Invocation& invocation) {
    if (const std::uint32_t root = find_root(static_cast<RootId>(invocation.root)); root != kNone && roots_[root].running != 0) {
      --roots_[root].running;
    }
    OpenResource* resource = find(static_cast<ResourceId>(invocation.resource));
    if (resource == nullptr) return;
    if (resource->life.running != 0) --resource->life.running;
    resource->last_exit = std::max(resource->last_exit, invocation.end);
    if (!invocation.end_unknown) resource->life.ran = true;
    if (resource->life.ended()) queue(*resource);
  }

  /// Writes the crossings at the top of the stack if all that take part in them have ended.
  void write_resolved(Lane& lane) {
    if (lane.pending == 0) [[likely]] return;
    std::size_t first = lane.stack.size();
    while (first != 0 && lane.stack[first - 1].end_order != 0) --first;
    if (lane.stack.size() - first == lane.pending) write_pending_exits(lane);
  }

  /// Writes the ends that were held back, in their order; whatever began before such an end and lies above it is split.
  void write_pending_exits(Lane& lane) {
    if (lane.pending == 0) return;
    describe_lane(lane);
    std::vector<Invocation>& stack = lane.stack;
    while (lane.pending != 0) {
      std::size_t at = stack.size();
      for (std::size_t other = 0; other < stack.size(); ++other) {
        if (stack[other].end_order != 0 && (at == stack.size() || stack[other].end_order < stack[at].end_order)) at = other;
      }
      const Invocation ending = stack[at];
      const auto reaches_over = [&](const Invocation& other) { return other.begin_order < ending.end_order; };
      for (std::size_t above = stack.size(); above-- != at + 1;) {
        if (!reaches_over(stack[above])) continue;
        stack[above].split = true;
        write_slice_end(lane, stack[above], ending.written_end, stack[above].end_order != 0);
        ++stack[above].part;
      }
      write_slice_end(lane, ending, ending.written_end, true);
      for (std::size_t above = at + 1; above < stack.size(); ++above) {
        const Invocation& other = stack[above];
        if (!reaches_over(other)) continue;
        writer_.begin_event(lane.sequence, ending.written_end, perfetto::track_event::kSliceBegin);
        put_type(other.name);
        put_category(other.pause ? Category::kPause : Category::kInvocation);
        if (!other.pause) writer_.annotate(key(Key::kId), other.resource);
        put_split(other);
        writer_.end_event();
      }
      stack.erase(stack.begin() + static_cast<std::ptrdiff_t>(at));
      --lane.pending;
    }
    lane.last_pending_order = 0;
  }

  void write_slice_end(Lane& lane, const Invocation& invocation, std::uint64_t time, bool end_known) {
    describe_lane(lane);
    writer_.begin_event(lane.sequence, time, perfetto::track_event::kSliceEnd);
    const bool moved = invocation.written_begin != invocation.begin ||
                       (end_known && invocation.written_end != invocation.end);
    if (invocation.split && invocation.part == 0) {  // later parts say it where they begin
      put_split(invocation);
    }
    if ((invocation.split || moved) && end_known && !invocation.end_unknown) {
      writer_.annotate(key(Key::kTrueEnd), invocation.end);
    }
    if (end_known && invocation.end_unknown) writer_.annotate(key(Key::kEndUnknown), true);
    if (end_known && invocation.exit_lane != 0) writer_.annotate(key(Key::kExitLane), std::uint64_t{invocation.exit_lane});
    writer_.end_event();
  }

  void put_split(const Invocation& invocation) {
    writer_.annotate(key(Key::kSplit), true);
    writer_.annotate(key(Key::kPart), std::uint64_t{invocation.part});
    writer_.annotate(key(Key::kInvocation), invocation.entry);
    writer_.annotate(key(Key::kTrueBegin), invocation.begin);
  }

  void pause_began(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    Invocation pause;
    pause.pause = true;
    pause.entry = ++entries_;
    pause.resource = number(event.resource);
    pause.name = writer_.intern_name(word(event.pause()));
    if (pause.name == 0) pause.name = name_of(Word::kUnknown);
    begin_slice(lane, ns_of(event.time), pause, Category::kPause);
    put_word(Key::kPause, event.pause());
    put_late(event);
    writer_.end_event();
  }
  void pause_ended(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const Running found = innermost(lane_index(event.lane), number(event.resource), true);
    if (found.entry != 0) return end_invocation(lane, found.at, ns_of(event.time), false);
    begin_lane_instant(lane, ns_of(event.time), Word::kPauseEnded, Category::kRecord);
    put_word(Key::kPause, event.pause());
    writer_.end_event();
  }

  // -- lanes ----------------------------------------------------------------------------------------------------------

  void parked(const TraceEvent& event) { park(event, true); }
  void unparked(const TraceEvent& event) { park(event, false); }
  void park(const TraceEvent& event, bool begins) {
    Lane& lane = lane_of(event.lane);
    if (lane.parked == begins) {  // the other half was lost
      begin_lane_instant(lane, ns_of(event.time), begins ? Word::kParked : Word::kUnparked, Category::kRecord);
      writer_.end_event();
      return;
    }
    lane.parked = begins;
    describe_lane(lane);
    announce_lane(lane, ns_of(event.time));
    if (lane.park_uuid == 0) lane.park_uuid = next_uuid();
    if (lane.park_generation != lane.generation) {
      lane.park_generation = lane.generation;
      writer_.track_descriptor(lane.sequence, lane.park_uuid, [&](ProtobufWriter& writer) {
        writer.varint(perfetto::track_descriptor::kParentUuid, lane.uuid);
        writer.string(perfetto::track_descriptor::kName, "parked");
      });
    }
    writer_.begin_event(lane.sequence, ns_of(event.time),
                        begins ? perfetto::track_event::kSliceBegin : perfetto::track_event::kSliceEnd, lane.park_uuid);
    if (begins) put_name(Word::kParked, Category::kPark);
    writer_.end_event();
  }

  void counted(const TraceEvent& event) {
    if (event.annotation == nullptr || event.annotation->value.kind == ValueKind::kString) {
      ++malformed_;
      return;
    }
    Lane& lane = lane_of(event.lane);
    describe_lane(lane);
    announce_lane(lane, ns_of(event.time));
    LaneCounter* counter = nullptr;
    for (LaneCounter& known : lane.counters) {
      if (known.id == event.counter) counter = &known;
    }
    if (counter == nullptr) {
      lane.counters.push_back({event.counter, next_uuid(), 0});
      counter = &lane.counters.back();
    }
    if (counter->generation != lane.generation) {
      counter->generation = lane.generation;
      describe_counter(lane, *counter);
    }
    const Value& value = event.annotation->value;
    writer_.begin_event(lane.sequence, ns_of(event.time), perfetto::track_event::kCounter, counter->uuid);
    switch (value.kind) {
      case ValueKind::kInt: writer_.counter_value(value.integer); break;
      case ValueKind::kUint:
        if (value.uinteger <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          writer_.counter_value(static_cast<std::int64_t>(value.uinteger));
        } else {  // beyond what a counter holds: the picture rounds it, the annotation does not
          writer_.counter_value(static_cast<double>(value.uinteger));
          writer_.annotate(key(Key::kValue), value.uinteger);
        }
        break;
      case ValueKind::kDouble: writer_.counter_value(value.real); break;
      case ValueKind::kBool: writer_.counter_value(std::int64_t{value.boolean ? 1 : 0}); break;
      case ValueKind::kString: break;
    }
    writer_.end_event();
  }
  void describe_counter(Lane& lane, const LaneCounter& counter) {
    writer_.track_descriptor(lane.sequence, counter.uuid, [&](ProtobufWriter& writer) {
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
    });
  }

  void lost(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const LossRange range = event.loss != nullptr ? *event.loss : LossRange{0, event.time, event.time};
    // Whatever runs may have ended among what was lost. The slices are known up to here; should an exit come after all, it
    // is a record of its own.
    for (std::size_t at = lane.stack.size(); at-- != 0;) {
      if (at < lane.stack.size() && lane.stack[at].end_order == 0) {
        const Invocation& cut = lane.stack[at];
        if (!cut.pause) add_deep(lane, {cut.resource, cut.root, cut.entry, true});
        end_invocation(lane, at, ns_of(range.first), true);
      }
    }
    for (Deep& deep : lane.deep) {
      if (deep.cut) continue;
      deep.cut = true;
      Invocation invocation;
      invocation.resource = deep.resource;
      invocation.root = deep.root;
      invocation.end = ns_of(range.first);
      invocation.end_unknown = true;
      left(invocation);
    }
    if (lane.parked) {
      lane.parked = false;
      describe_lane(lane);
      writer_.begin_event(lane.sequence, ns_of(range.first), perfetto::track_event::kSliceEnd, lane.park_uuid);
      writer_.annotate(key(Key::kEndUnknown), true);
      writer_.end_event();
    }
    lane.lost += range.count;
    if (lane.generation == 0) describe_lane(lane);
    writer_.mark_dropped(lane.sequence);
    begin_lane_instant(lane, ns_of(range.first), Word::kLost, Category::kThence);
    writer_.annotate(key(Key::kLane), number(lane.id));
    writer_.annotate(key(Key::kCount), range.count);
    writer_.annotate(key(Key::kFirst), ns_of(range.first));
    writer_.annotate(key(Key::kLast), ns_of(range.last));
    writer_.end_event();
    stats_due_ = true;
  }

  // -- the last words -------------------------------------------------------------------------------------------------

  /// Perfetto shows a sequence's losses in `stats` only where a TraceStats after them maps the sequence to a buffer.
  void write_stats(const TraceSummary& summary) {
    stats_due_ = false;
    writer_.packet(async_, [&](ProtobufWriter& writer) {
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
      const auto map = [&](std::uint32_t sequence, std::uint64_t buffer) {
        const auto entry = writer.message(trace_stats::kWriterStats);
        writer.varint(writer_stats::kSequenceId, writer_.sequence_id(sequence));
        writer.varint(writer_stats::kBuffer, buffer);
      };
      map(async_, 0);
      for (std::size_t at = 0; at < lanes_.size(); ++at) map(lanes_[at].sequence, at + 1);
    });
  }

  void write_summary(const TraceSummary& summary) {
    for (const LaneSummary& known : summary.lanes) {
      Lane& lane = lane_of(known.lane);
      begin_lane_instant(lane, std::max(now_, lane.clock), Word::kSummary, Category::kThence);
      writer_.annotate(key(Key::kLane), number(known.lane));
      writer_.annotate(key(Key::kEvents), known.events);
      writer_.annotate(key(Key::kLost), known.lost.count);
      if (known.lost.count != 0) {
        writer_.annotate(key(Key::kFirst), ns_of(known.lost.first));
        writer_.annotate(key(Key::kLast), ns_of(known.lost.last));
      }
      writer_.annotate(key(Key::kExitWithoutEnter), known.misuse.exit_without_enter);
      writer_.annotate(key(Key::kExitsCrossed), known.misuse.exits_crossed);
      writer_.annotate(key(Key::kTooDeep), known.misuse.too_deep);
      writer_.annotate(key(Key::kAnnotationsCut), known.misuse.annotations_cut);
      writer_.annotate(key(Key::kStacksRefused), known.misuse.stacks_refused);
      writer_.annotate(key(Key::kRootEndsLost), known.misuse.roots_ends_lost);
      writer_.annotate(key(Key::kRingBytes), known.ring_bytes);
      writer_.end_event();
    }
    writer_.prepare(async_);
    announce_trace();
    describe_process(processes_[0]);
    writer_.begin_event(async_, now_, perfetto::track_event::kInstant, processes_[0].uuid);
    put_name(Word::kSummary, Category::kThence);
    writer_.annotate(key(Key::kEvents), summary.events);
    writer_.annotate(key(Key::kLost), summary.lost);
    writer_.annotate(key(Key::kLateEvents), summary.late_events);
    writer_.annotate(key(Key::kAfterSeal), summary.after_seal);
    writer_.annotate(key(Key::kRootsSealed), summary.roots_sealed);
    writer_.annotate(key(Key::kRootsAbandoned), summary.roots_abandoned);
    writer_.annotate(key(Key::kDrainNs), summary.drain_ns);
    writer_.annotate(key(Key::kBytes), summary.bytes_written);
    writer_.annotate(key(Key::kStacksMissing), writer_.stacks_refused());
    writer_.end_event();
  }

  Options options_;
  PerfettoWriter<Sink> writer_;
  bool begun_ = false;
  bool stats_due_ = false;
  std::uint64_t salt_ = 0;
  std::uint64_t uuid_base_ = 0;
  std::uint64_t flow_base_ = 0;
  std::uint64_t uuids_ = 0;
  std::uint64_t flows_ = 0;
  std::uint64_t tracks_made_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t entries_ = 0;
  std::int32_t info_process_id_ = 0;
  std::string process_name_, overflow_policy_, clock_, sampling_;
  std::uint32_t async_ = 0;
  std::uint32_t announced_ = 0;
  std::uint32_t keys_[std::size(perfetto::kKeyNames)] = {};
  std::uint32_t words_[static_cast<unsigned>(Word::kEnd)] = {};
  std::uint32_t categories_[static_cast<unsigned>(Category::kEnd)] = {};
  std::uint32_t enum_words_[7][kWordsOfEnum] = {};
  std::vector<std::uint32_t> type_names_;
  std::vector<CounterName> counters_;
  std::vector<Process> processes_;
  std::vector<Lane> lanes_;
  IdMap lane_by_id_;
  std::vector<Track> tracks_;
  std::uint32_t unused_track_ = kNone;
  std::vector<Slot> slots_;
  std::uint32_t first_free_slot_ = kNone;
  std::uint32_t last_free_slot_ = kNone;
  std::uint32_t unused_slot_ = kNone;
  std::vector<Root> roots_;
  std::uint32_t free_root_ = kNone;
  IdMap root_by_id_;
  std::vector<OpenResource> resources_;
  std::uint32_t free_resource_ = kNone;
  IdMap by_id_;
  std::vector<Closing> queue_;
  std::size_t queue_first_ = 0;
  std::vector<Early> early_;
  std::size_t early_next_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
