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
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"
#include "thence/formats/run_map.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"

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
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it; `end` writes the rest.
template <ByteSink Sink>
class PerfettoEncoder {
 public:
  using Options = PerfettoOptions;

  explicit PerfettoEncoder(Sink& sink, const Options& options = {}) : options_(options), writer_(sink, options.writer) {
    if (options_.spans == PerfettoSpans::kRequests) options_.max_depth = 0;
    cut_key_ = writer_.intern_key(perfetto::kCutKey);
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
    ends_ = writer_.open_sequence(0);
    static_cast<void>(process_of(info.process_id));
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
    reach(clocks.boottime);
    clocks_ = clocks;
    writer_.prepare(async_);
    if (announced_ == writer_.generation(async_)) {
      writer_.clock_snapshot(async_, clocks);
    } else {
      announce_trace();  // which says it
    }
    if (stats_due_) write_stats({});
  }

  void take(std::span<const TraceEvent> events) {
    start();
    for (std::size_t at = 0; at < events.size(); ++at) {
      if (events[at].kind == EventKind::kCounter) [[unlikely]] {
        at = take_with_counters(events, at);
      } else if (at + 1 < events.size() && events[at + 1].kind == EventKind::kCounter) {
        at = take_with_counters(events, at);
      } else {
        take_one(events[at]);
      }
    }
    if (keys_described_ != announced_ && writer_.bytes_since_start(async_) >= kKeysAfter) [[unlikely]] describe_keys();
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
    writer_.mark_dropped(async_);
    writer_.mark_dropped(ends_);
  }

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
    write_all_wakes();
    write_summary(summary);
    if (keys_described_ != announced_) describe_keys();
    write_stats(summary);
    writer_.flush(true);
  }

  [[nodiscard]] bool failed() const noexcept { return writer_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return writer_.written(); }
  /// Bytes of packets that have not been handed to the sink.
  [[nodiscard]] std::size_t bytes_waiting() const noexcept { return writer_.waiting(); }
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
  using Packet = typename PerfettoWriter<Sink>::Event;
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
    std::uint32_t generation = 0;     // of the lane's sequence in which it began
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
    std::int64_t last = 0;
    bool whole = false;  // `last` is what the track shows
  };
  /// The counters that ride on the packets of a sequence.
  struct Riders {
    std::uint32_t generation = 0;
    std::uint32_t count = 0;
    std::uint8_t counters[PerfettoWriter<Sink>::kMaxExtraCounters] = {};  // index in Lane::counters
  };

  struct Lane {
    LaneId id = LaneId::kNone;
    std::uint32_t sequence = 0;
    std::uint32_t generation = 0;  // in which its track was last described
    std::uint32_t park_sequence = 0;  // kNever: none yet
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
    Riders riders;
    Riders park_riders;
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

  /// At full speed those of the last 10 ms are more than a core's caches hold: two lines of cache each, and no third.
  struct alignas(32) OpenResource {
    std::uint64_t id = 0;  // 0: free
    std::uint64_t created_at = 0;
    std::uint64_t settled_at = 0;
    std::uint64_t busy_until = 0;  // its last exit, or its finish if that is later
    std::uint64_t destroyed_at = 0;
    std::uint64_t settler = 0;
    std::uint32_t settled_on = 0;
    std::uint32_t destroyed_on = 0;
    std::uint32_t generation = 0;  // of the resources' sequence in which its slice began
    std::uint32_t root = 0;
    std::uint32_t previous = kNone;  // in its root
    std::uint32_t next = kNone;
    std::uint32_t track = kNone;  // kNone: the slot's own
    std::uint32_t name = 0;
    Life life;
    Outcome outcome = Outcome::kUnknown;
    Actor settled_by = Actor::kUnknown;
    bool settle_held : 1 = false;      // the settling is said by the end of the slice
    bool destroy_written : 1 = false;  // the destruction is a record already
    bool queued : 1 = false;
    bool shown : 1 = true;  // it has a slice
    bool annotated : 1 = false;
  };
  static_assert(sizeof(OpenResource) == 96);

  /// What was heard of a resource before its creation, for as long as that may come late.
  struct Early {
    std::uint64_t id = 0;
    std::uint64_t time = 0;
    std::uint32_t lane = 0;
    EventKind kind = EventKind::kPayload;
    std::uint8_t flags = 0;
  };
  static constexpr std::size_t kMaxEarly = 512;

  /// A wake for which the invocation that it leads to is awaited. With flows it has been written; else it is held.
  struct Wake {
    std::uint64_t root = 0;
    std::uint64_t at = 0;
    std::uint64_t waker = 0;
    std::uint64_t flow = 0;
    std::uint32_t lane = 0;  // index
    Actor actor = Actor::kUnknown;
    bool late = false;
  };
  static constexpr std::size_t kWakes = 1024;  // a power of two

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
  /// One after the other from a base of 64 bits: unique as that is, and they compress. 0 where flows are off.
  [[nodiscard]] std::uint64_t next_flow() noexcept {
    if (!options_.flows) return 0;
    const std::uint64_t flow = flow_base_ + ++flows_;
    return flow == 0 ? flow_base_ + ++flows_ : flow;
  }
  /// Different for each count under one base, spread over 64 bits, and not 0.
  [[nodiscard]] static std::uint64_t unique(std::uint64_t base, std::uint64_t count) noexcept {
    const std::uint64_t value = mix64(base + count);
    return value == 0 ? 1 : value;
  }
  void reach(std::uint64_t time) noexcept {
    if (time <= now_) return;
    now_ = time;
    writer_.reach(time);
  }
  void write_uuid() {
    writer_.packet(async_, [&](ProtobufWriter& writer) {
      const auto uuid = writer.message(perfetto::trace_packet::kTraceUuid);
      writer.varint(perfetto::trace_uuid::kMsb, mix64(salt_ ^ 1));
      writer.varint(perfetto::trace_uuid::kLsb, mix64(salt_ ^ 2));
    });
  }

  std::uint32_t process_of(std::int32_t id) {
    for (std::uint32_t at = 0; at < processes_.size(); ++at) {
      if (processes_[at].id == id) return at;
    }
    processes_.push_back({id, next_uuid(), 0});
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
    lane.uuid = next_uuid();
    lane.process_id = info_process_id_;
    lane.sequence = writer_.open_sequence(lane.uuid);
    lane.park_sequence = kNever;
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

  [[gnu::always_inline]] inline void describe_lane(Lane& lane) {
    writer_.prepare(lane.sequence);
    if (lane.generation != writer_.generation(lane.sequence)) [[unlikely]] describe_lane_anew(lane);
  }
  [[gnu::noinline]] void describe_lane_anew(Lane& lane) {
    lane.generation = writer_.generation(lane.sequence);
    lane.announce = true;
    describe_lane_track(lane, lane.sequence);
  }
  void describe_lane_track(Lane& lane, std::uint32_t sequence) {
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
  [[gnu::always_inline]] inline std::uint64_t describe_track(const OpenResource& resource) {
    writer_.prepare(async_);
    if (const std::uint32_t now = writer_.generation(async_); resource.generation == now && announced_ == now) [[likely]] {
      // Its slice has begun there.
      return resource.track == kNone ? slots_[roots_[resource.root].slot].main.uuid : tracks_[resource.track].uuid;
    }
    return describe_track_anew(resource);
  }
  [[gnu::noinline]] std::uint64_t describe_track_anew(const OpenResource& resource) {
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
    write_uuid();
    if (clocks_.boottime != 0) writer_.clock_snapshot(async_, clocks_);
    write_trace(async_);
    writer_.count_from_here(async_);
  }
  void write_trace(std::uint32_t sequence) {
    Packet packet = writer_.event(sequence, now_, perfetto::track_event::kInstant, processes_[0].uuid);
    put_name(packet, Word::kTrace);
    put_category(packet, Category::kThence);
    packet.say(Key::kVersion, perfetto::kFormatVersion);
    packet.say(Key::kSalt, salt_);
    say_int(packet, Key::kProcessId, info_process_id_);
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
    using namespace perfetto;
    keys_described_ = announced_;
    writer_.packet(async_, [](ProtobufWriter& writer) {
      const auto extension = writer.message(trace_packet::kExtensionDescriptor);
      const auto set = writer.message(extension_descriptor::kExtensionSet);
      const auto file = writer.message(file_set::kFile);
      writer.string(file_descriptor::kName, "thence.proto");
      writer.string(file_descriptor::kPackage, "thence");
      const auto add_enum = [&](std::string_view name, unsigned count, auto&& spell) {
        const auto descriptor = writer.message(file_descriptor::kEnumType);
        writer.string(enum_descriptor::kName, name);
        for (unsigned at = 0; at < count; ++at) {
          const auto value = writer.message(enum_descriptor::kValue);
          writer.string(enum_value::kName, spell(at));
          writer.varint(enum_value::kNumber, at);
        }
      };
      add_enum("Outcome", 5, [](unsigned at) { return word(static_cast<Outcome>(at)); });
      add_enum("Actor", 3, [](unsigned at) { return word(static_cast<Actor>(at)); });
      add_enum("Cause", 5, [](unsigned at) { return word(static_cast<CauseKind>(at)); });
      add_enum("Link", 2, [](unsigned at) { return word(static_cast<LinkKind>(at)); });
      add_enum("Seal", 4, [](unsigned at) { return word(static_cast<SealReason>(at)); });
      add_enum("Pause", 5, [](unsigned at) { return word(static_cast<PauseKind>(at)); });
      add_enum("Sample", 2, [](unsigned at) { return word(static_cast<SampleKind>(at)); });
      for (std::size_t at = 0; at < kKeyCount; ++at) {
        const KeyInfo& key = kKeys[at];
        const auto field = writer.message(file_descriptor::kExtension);
        char name[64] = "thence_";
        key.name.copy(name + 7, sizeof name - 7);
        writer.string(field_descriptor::kName, {name, 7 + key.name.size()});
        writer.string(field_descriptor::kExtendee, ".perfetto.protos.TrackEvent");
        writer.varint(field_descriptor::kNumber, field_of(static_cast<perfetto::Key>(at)));
        writer.varint(field_descriptor::kLabel, field_descriptor::kOptional);
        const auto is_enum = [&](std::string_view type) {
          writer.varint(field_descriptor::kType, field_descriptor::kEnum);
          writer.string(field_descriptor::kTypeName, type);
        };
        switch (key.type) {
          case KeyType::kUint: writer.varint(field_descriptor::kType, field_descriptor::kUint64); break;
          case KeyType::kInt: writer.varint(field_descriptor::kType, field_descriptor::kInt64); break;
          case KeyType::kBool: writer.varint(field_descriptor::kType, field_descriptor::kBool); break;
          case KeyType::kText: writer.varint(field_descriptor::kType, field_descriptor::kString); break;
          case KeyType::kOutcome: is_enum(".thence.Outcome"); break;
          case KeyType::kActor: is_enum(".thence.Actor"); break;
          case KeyType::kCause: is_enum(".thence.Cause"); break;
          case KeyType::kLink: is_enum(".thence.Link"); break;
          case KeyType::kSeal: is_enum(".thence.Seal"); break;
          case KeyType::kPause: is_enum(".thence.Pause"); break;
          case KeyType::kSample: is_enum(".thence.Sample"); break;
        }
      }
    });
  }

  [[gnu::always_inline]] inline void announce_lane(Lane& lane, std::uint64_t time) {
    if (!lane.announce) [[likely]] return;
    lane.announce = false;
    write_lane(lane, time, lane.sequence);
  }
  [[gnu::noinline]] void write_lane(Lane& lane, std::uint64_t time, std::uint32_t sequence) {
    Packet packet = writer_.event(sequence, time, perfetto::track_event::kInstant, sequence == lane.sequence ? 0 : lane.uuid);
    put_name(packet, Word::kLane);
    put_category(packet, Category::kThence);
    packet.say(Key::kLane, number(lane.id));
    say_int(packet, Key::kProcessId, lane.process_id);
    say_int(packet, Key::kThreadId, lane.thread_id);
    packet.say(Key::kName, lane.name);
    packet.end();
  }
  static void say_int(Packet& packet, Key key, std::int64_t value) { packet.say(key, static_cast<std::uint64_t>(value)); }

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
    if (name == 0) name = name_of(Word::kUnknown);  // the dictionary is full
    return name;
  }

  // -- tracks, slots, roots -------------------------------------------------------------------------------------------

  std::uint32_t take_slot(bool rootless, std::uint64_t time) {
    std::uint32_t index = first_free_slot_;
    if (!rootless && index != kNone && slots_[index].main.free_since + options_.quarantine_ns <= time) {
      first_free_slot_ = slots_[index].next_free;
      if (first_free_slot_ == kNone) last_free_slot_ = kNone;
      if (options_.track_per_resource) {
        slots_[index].main = {};
        slots_[index].main.uuid = next_uuid();
      }
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
    if (!options_.track_per_resource && pool.first != kNone && tracks_[pool.first].free_since + options_.quarantine_ns <= time) {
      const std::uint32_t index = pool.first;
      pool.first = tracks_[index].next_free;
      if (pool.first == kNone) {
        pool.last = kNone;
      } else {
        prefetch(&tracks_[pool.first]);
      }
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
    if (options_.track_per_resource) return index;  // its place in the table is used again, it is not
    track.next_in_slot = slot.first_track;
    slot.first_track = index;
    return index;
  }

  void give_track(std::uint32_t index, std::uint64_t time) {
    Track& track = tracks_[index];
    if (options_.track_per_resource) {
      track.next_free = unused_track_;
      unused_track_ = index;
      return;
    }
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

  [[nodiscard]] std::uint32_t find_root(RootId id) noexcept {
    // Events come in runs of one root.
    if (last_root_key_ != number(id) + 1) {
      const std::uint32_t index = root_by_id_.find(number(id) + 1);
      if (index == kNone) return kNone;
      last_root_key_ = number(id) + 1;
      last_root_ = index;
    }
    return last_root_;
  }

  /// That of an event of `resource`, which mostly is the resource's own; nullptr: nothing was created of it.
  Root* root_at(const OpenResource* resource, RootId id) noexcept {
    if (resource != nullptr && roots_[resource->root].id == number(id)) [[likely]] return &roots_[resource->root];
    const std::uint32_t index = find_root(id);
    return index == kNone ? nullptr : &roots_[index];
  }
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
      if (free_resource_ != kNone) prefetch(&resources_[free_resource_]);
    } else {
      index = static_cast<std::uint32_t>(resources_.size());
      resources_.emplace_back();
    }
    OpenResource& resource = resources_[index];
    resource = OpenResource{};
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
    if (last_found_id_ == resource.id) last_found_id_ = 0;
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
    // Events come in runs of one resource.
    if (last_found_id_ != number(id)) {
      const std::uint32_t index = by_id_.find(number(id));
      if (index == kNone) return nullptr;
      last_found_id_ = number(id);
      last_found_ = index;
    }
    return &resources_[last_found_];
  }
  OpenResource* find_shown(ResourceId id) noexcept {
    OpenResource* const resource = find(id);
    return resource != nullptr && resource->shown ? resource : nullptr;
  }
  [[nodiscard]] std::uint32_t index_of(const OpenResource& resource) const noexcept {
    return static_cast<std::uint32_t>(&resource - resources_.data());
  }

  // -- events on tracks -----------------------------------------------------------------------------------------------

  /// Opens an instant on a lane, at its own time.
  [[nodiscard]] Packet lane_instant(Lane& lane, std::uint64_t time, Word word) {
    describe_lane(lane);
    announce_lane(lane, time);
    Packet packet = writer_.event(lane.sequence, time, perfetto::track_event::kInstant);
    put_name(packet, word);
    return packet;
  }
  [[nodiscard]] Packet resource_instant(OpenResource& resource, std::uint64_t time, Word word) {
    const std::uint64_t track = describe_track(resource);
    Packet packet = writer_.event(async_, time, perfetto::track_event::kInstant, track);
    put_name(packet, word);
    return packet;
  }
  void edge_on_lane(Lane& lane, std::uint64_t time, Word word, std::uint64_t flow) {
    Packet packet = lane_instant(lane, time, word);
    packet.flow(flow);
    packet.end();
  }
  void edge_on_resource(OpenResource& resource, std::uint64_t time, Word word, std::uint64_t flow) {
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

  void take_one(const TraceEvent& event) {
    reach(ns_of(event.time));
    if (next_expiry_ < now_) expire();
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
    const bool kept = find(event.resource) == nullptr && by_id_.size() < options_.max_open_resources;
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
    const std::uint32_t index = new_resource(number(event.resource), root);
    const std::uint32_t slot_index = roots_[root].slot;
    OpenResource& resource = resources_[index];
    resource.created_at = time;
    resource.name = name;
    resource.life.type = event.type;
    resource.life.created = true;
    resource.shown = shown;
    if (shown) {
      Slot& slot = slots_[slot_index];
      if ((event.type == type_id(ResourceType::kRoot) || event.other == ResourceId::kNone) && !slot.main_taken && !slot.rootless) {
        slot.main_taken = true;
      } else {
        resource.track = take_track(slot_index, name, time);
      }
      const std::uint64_t track = describe_track(resource);
      resource.generation = writer_.generation(async_);
      Packet packet = writer_.event(async_, time, perfetto::track_event::kSliceBegin, track);
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

  /// Where the wake of this resource is, if there is one: then `wake_ids_` says the resource's id there.
  [[nodiscard]] static std::size_t wake_place(std::uint64_t id) noexcept { return mix64(id) % kWakes; }

  /// With flows a wake is an instant with an arrow to the invocation that follows. Without, it waits for that invocation,
  /// which says it in fewer bytes; it becomes an instant if none follows.
  void scheduled(const TraceEvent& event) {
    const std::uint64_t id = number(event.resource);
    const std::size_t place = wake_place(id);
    const bool awaited = id != 0 && wake_ids_[place] != id;
    Wake made;
    fill(made, event);
    if (!awaited || options_.flows) {
      if (awaited && made.actor == Actor::kInvocation) made.flow = next_flow();
      write_wake(id, made);
      if (!awaited) return;
    }
    if (wake_ids_[place] != 0) drop_wake(place);
    wake_ids_[place] = id;
    wakes_[place] = made;
    if (!options_.flows && made.root != 0) ++rooted_wakes_;
  }
  void fill(Wake& wake, const TraceEvent& event) {
    wake.root = find_shown(event.resource) == nullptr ? number(event.root) : 0;
    wake.at = ns_of(event.time);
    wake.waker = number(event.other);
    wake.lane = lane_index(event.lane);
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
      if (wake.root != 0) --rooted_wakes_;
      write_wake(wake_ids_[place], wake);
    } else if (wake.flow != 0) {
      edge_on_lane(lanes_[wake.lane], std::max(now_, wake.at), Word::kUnheeded, wake.flow);
    }
    wake_ids_[place] = 0;
  }
  void drop_wake_of(std::uint64_t id) {
    const std::size_t place = wake_place(id);
    if (wake_ids_[place] == id) [[unlikely]] drop_wake(place);
  }
  void write_all_wakes() {
    for (std::size_t place = 0; place != kWakes; ++place) {
      if (wake_ids_[place] != 0) drop_wake(place);
    }
  }

  // -- invocations ----------------------------------------------------------------------------------------------------

  void entered(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    OpenResource* const resource = find(event.resource);
    const Wake* wake = nullptr;  // that this invocation says
    std::uint64_t wake_flow = 0, cause_flow = 0;
    if (const std::size_t place = wake_place(number(event.resource));
        event.resource != ResourceId::kNone && wake_ids_[place] == number(event.resource)) {
      const Wake& known = wakes_[place];
      if (options_.flows) {
        if (known.at <= time) {
          wake_flow = known.flow;
        } else {  // a flow points forward in time
          drop_wake(place);
        }
      } else {
        if (known.root != 0) --rooted_wakes_;
        if (known.at <= time && !known.late && !event.late) {
          wake = &known;
        } else {
          write_wake(number(event.resource), known);
        }
      }
      wake_ids_[place] = 0;
    }
    const std::uint32_t lane_at = lane_index(event.lane);
    if (lanes_[lane_at].stack.size() >= options_.max_depth) {
      Packet packet = loose_record(event, Word::kEntered);
      put_cause(packet, event);
      put_folded(packet, wake, time, lane_at);
      put_flow(packet, wake_flow);
      put_stack(packet, event);
      packet.end();
      if (std::uint64_t exit = 0; event.late && take_early_exit(event, exit)) return;
      add_deep(lanes_[lane_at], {number(event.resource), number(event.root), ++entries_, false});
      has_entered(resource, event.root);
      return;
    }
    if (options_.flows) cause_flow = cause_edge(event, resource, time);
    Lane& lane = lanes_[lane_at];
    // An exit of the same resource that is held back is to be read before this entry.
    if (lane.pending != 0 && has_ended(lane, number(event.resource))) write_pending_exits(lane);
    Invocation& invocation = lane.stack.emplace_back();
    invocation.resource = number(event.resource);
    invocation.root = number(event.root);
    invocation.entry = ++entries_;
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
    has_entered(resource, event.root);
    if (event.late) recall_exit(lane_at, event);
  }
  /// The end, in the past, of the arrow from what released this invocation. 0: none.
  std::uint64_t cause_edge(const TraceEvent& event, OpenResource* resource, std::uint64_t time) {
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
        if (OpenResource* cause = find_shown(event.other);
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
    if (Root* const root = root_at(resource, root_id)) ++root->running;
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
    if (found.entry != 0 && !found.deep) [[likely]] {
      end_invocation(lanes_[found.lane], found.at, time, false);
      return;
    }
    loose_record(event, Word::kExited).end();
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
    resource->busy_until = std::max(resource->busy_until, time);
    if (resource->life.ended()) queue(*resource);
  }

  // -- settling and destruction ---------------------------------------------------------------------------------------

  void settled(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    OpenResource* const resource = find(event.resource);
    if (resource == nullptr || !resource->shown) {
      Packet packet = loose_record(event, Word::kSettled);
      put_settle(packet, event.outcome(), event.settled_by(), number(event.other));
      put_stack(packet, event);
      packet.end();
      if (resource == nullptr) return remember_early(event);
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
  void write_held_settle(OpenResource& resource) {
    if (!resource.settle_held) return;
    resource.settle_held = false;
    Packet packet = resource_instant(resource, resource.settled_at, Word::kSettled);
    packet.correlate(resource.id);
    packet.say(Key::kLane, resource.settled_on);
    put_settle(packet, resource.outcome, resource.settled_by, resource.settler);
    packet.end();
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
    OpenResource* const resource = find(event.resource);
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
      resource->destroy_written = true;
      Packet packet = lane_instant(lane_of(static_cast<LaneId>(resource->destroyed_on)), resource->destroyed_at, Word::kDestroyed);
      packet.correlate(resource->id);
      put_id(packet, Key::kRoot, roots_[resource->root].id);
      packet.end();
    }
    loose_record(event, Word::kDestroyed).end();
    if (resource == nullptr) return remember_early(event);
    if (resource->life.ended()) queue(*resource);
  }

  void linked(const TraceEvent& event) {
    const std::uint64_t time = ns_of(event.time);
    const bool bridge = event.link() == LinkKind::kBridge;
    OpenResource* const effect = find_shown(event.resource);
    OpenResource* const cause = find_shown(event.other);
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
    OpenResource* const resource = find_shown(event.resource);
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

  /// Kept for the end of the slice, where it becomes an argument of the slice: name number, name length (only where there
  /// is no number), kind, cut, 8 bytes of value (a string's length), text.
  bool keep_annotation(OpenResource& resource, const Annotation& annotation) {
    const Value& value = annotation.value;
    const bool text = value.kind == ValueKind::kString;
    const std::uint32_t name = writer_.intern_key(annotation.key);
    const std::size_t size = 20 + (name == 0 ? annotation.key.size() : 0) + (text ? value.text.size() : 0);
    const std::uint32_t index = index_of(resource);
    if (annotations_.size() <= index) annotations_.resize(resources_.size());
    ByteBuffer& out = annotations_[index];
    if (!resource.annotated) out.clear();
    if (out.size() + size > options_.max_annotation_bytes) return false;
    resource.annotated = true;
    const auto key_length = static_cast<std::uint32_t>(name == 0 ? annotation.key.size() : 0);
    std::uint64_t bits = 0;
    switch (value.kind) {
      case ValueKind::kString: bits = value.text.size(); break;
      case ValueKind::kInt: bits = static_cast<std::uint64_t>(value.integer); break;
      case ValueKind::kUint: bits = value.uinteger; break;
      case ValueKind::kDouble: bits = std::bit_cast<std::uint64_t>(value.real); break;
      case ValueKind::kBool: bits = value.boolean ? 1 : 0; break;
    }
    out.append(&name, sizeof name);
    out.append(&key_length, sizeof key_length);
    out.push(static_cast<std::byte>(value.kind));
    out.push(static_cast<std::byte>(value.cut ? 1 : 0));
    out.append(&bits, sizeof bits);
    out.append(annotation.key.data(), key_length);
    if (text) out.append(value.text);
    return true;
  }
  void put_annotations(Packet& packet, OpenResource& resource) {
    resource.annotated = false;
    const std::string_view bytes = annotations_[index_of(resource)].text();
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
      put_annotation(packet, name, name == 0 ? in_full : writer_.key_text(name), value);
    }
  }

  void sampled(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const std::uint64_t time = ns_of(event.time);
    describe_lane(lane);
    announce_lane(lane, time);
    plan_riders(lane, lane.riders, lane.sequence, time);
    Packet packet = writer_.event(lane.sequence, time, perfetto::track_event::kInstant);
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
    OpenResource* const resource = find(event.resource);
    if (resource == nullptr || !resource->shown) {
      loose_record(event, Word::kFinished).end();
      if (resource == nullptr) return remember_early(event);
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
    if (rooted_wakes_ != 0) {
      for (std::size_t place = 0; place != kWakes; ++place) {
        if (wake_ids_[place] != 0 && wakes_[place].root == number(event.root)) drop_wake(place);
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
    }
    writer_.prepare(async_);
    announce_trace();
    if (index != kNone && options_.spans != PerfettoSpans::kLanes) {
      Slot& slot = slots_[roots_[index].slot];
      describe_slot(slot);
      track = slot.main.uuid;
    } else {
      describe_process(processes_[0]);
      track = processes_[0].uuid;
    }
    Packet packet = writer_.event(async_, ns_of(event.time), perfetto::track_event::kInstant, track);
    put_name(packet, Word::kSealed);
    packet.say(Key::kRoot, number(event.root));
    put_enum(packet, Key::kSealReason, event.seal_reason());
    packet.say(Key::kOpenResources, open);
    packet.end();
    if (index == kNone) return;
    root_by_id_.erase(number(event.root) + 1);
    last_root_key_ = 0;
    give_slot(roots_[index].slot);
    roots_[index].next_free = free_root_;
    free_root_ = index;
  }

  // -- the end of a resource ------------------------------------------------------------------------------------------

  void queue(OpenResource& resource) {
    if (resource.queued) return;
    resource.queued = true;
    if (next_expiry_ == kNoExpiry) {
      queue_.clear();
      queue_first_ = 0;
      next_expiry_ = now_ + options_.quarantine_ns;
    }
    if (queue_first_ > 4096 && queue_first_ * 2 > queue_.size()) {
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_first_));
      queue_first_ = 0;
    }
    queue_.push_back({resource.id, now_ + options_.quarantine_ns, index_of(resource)});
  }

  /// Ends what has been in quarantine for long enough. It was touched last that long ago: memory is asked for it some
  /// endings ahead, then for what lies behind it.
  [[gnu::noinline]] void expire() {
    while (next_expiry_ < now_) {
      if (queue_.size() - queue_first_ > kExpiryAhead) {
        prefetch(&resources_[queue_[queue_first_ + kExpiryAhead].index]);
        const OpenResource& soon = resources_[queue_[queue_first_ + kExpiryAhead / 2].index];
        if (soon.track != kNone) prefetch(&tracks_[soon.track]);
      }
      const Closing closing = queue_[queue_first_++];
      next_expiry_ = queue_first_ == queue_.size() ? kNoExpiry : queue_[queue_first_].deadline;
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
  static constexpr std::size_t kExpiryAhead = 8;

  template <class T>
  [[gnu::always_inline]] static inline void prefetch(const T* what) noexcept {
    __builtin_prefetch(what, 1);
    if constexpr (sizeof(T) > 64) __builtin_prefetch(reinterpret_cast<const std::byte*>(what) + 64, 1);
  }

  [[nodiscard]] static std::uint64_t end_of(const OpenResource& resource) noexcept {
    const std::uint64_t end = std::max(resource.created_at, resource.busy_until);
    if (resource.life.settled) return std::max(end, resource.settled_at);
    return resource.life.destroyed && !resource.life.finished ? std::max(end, resource.destroyed_at) : end;
  }

  void close(std::uint32_t index) {
    drop_wake_of(resources_[index].id);
    OpenResource& resource = resources_[index];
    if (resource.shown) {
      const std::uint64_t end = end_of(resource);
      const std::uint64_t track = describe_track(resource);
      // Who has seen a slice begin is to see it end: this sequence starts again wherever that of the beginnings does.
      if (ends_follow_ != writer_.generation(async_)) [[unlikely]] {
        ends_follow_ = writer_.generation(async_);
        writer_.start_again(ends_);
      }
      writer_.prepare(ends_);
      if (ends_announced_ != writer_.generation(ends_)) [[unlikely]] {
        ends_announced_ = writer_.generation(ends_);
        write_trace(ends_);
      }
      Packet packet = writer_.event(ends_, end, perfetto::track_event::kSliceEnd, track);
      if (resource.generation != writer_.generation(async_)) {  // a file that begins here has not seen it begin
        packet.correlate(resource.id);
        put_id(packet, Key::kRoot, roots_[resource.root].id);
      }
      put_last_words(packet, resource, end);
      packet.end();
      if (resource.track != kNone) give_track(resource.track, end);
    }
    free_resource(index);
  }
  /// What was kept for the end of a slice, or for the moment at which it is left open.
  void put_last_words(Packet& packet, OpenResource& resource, std::uint64_t time) {
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
  void leave_open(std::uint32_t index) {
    drop_wake_of(resources_[index].id);
    OpenResource& resource = resources_[index];
    if (resource.shown) {
      const std::uint64_t time = std::max({now_, resource.created_at, resource.settled_at});
      Packet packet = resource_instant(resource, time, Word::kOpen);
      packet.correlate(resource.id);
      put_id(packet, Key::kRoot, roots_[resource.root].id);
      packet.say(Key::kOpen, 1);
      put_last_words(packet, resource, time);
      packet.end();
      slots_[roots_[resource.root].slot].leaves_open = true;
      if (options_.track_per_resource && resource.track != kNone) give_track(resource.track, time);
    }
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
        resource.busy_until = std::max(resource.busy_until, early.time);
      } else if (early.kind == EventKind::kDestroyed) {
        resource.life.destroyed = resource.destroy_written = true;
        resource.destroyed_at = early.time;
        resource.destroyed_on = early.lane;
      } else if (early.kind == EventKind::kRootFinished) {
        resource.life.finished = true;
        resource.busy_until = std::max(resource.busy_until, early.time);
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

  /// Opens the slice of the invocation that is on top of the lane's stack, and leaves its event open.
  [[gnu::always_inline]] [[nodiscard]] inline Packet begin_slice(Lane& lane, std::uint64_t time) {
    describe_lane(lane);
    announce_lane(lane, time);
    Invocation& invocation = lane.stack.back();
    invocation.begin = time;
    invocation.written_begin = std::max(time, lane.clock);
    invocation.begin_order = ++lane.order;
    invocation.generation = lane.generation;
    lane.clock = invocation.written_begin;
    plan_riders(lane, lane.riders, lane.sequence, invocation.written_begin);
    Packet packet = writer_.event(lane.sequence, invocation.written_begin, perfetto::track_event::kSliceBegin);
    packet.name(invocation.name);
    if (invocation.pause) put_category(packet, Category::kPause);
    if (invocation.written_begin != time) packet.say(Key::kTrueBegin, time);
    put_riders(packet);
    return packet;
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
    OpenResource* const resource = find(static_cast<ResourceId>(invocation.resource));
    if (Root* const root = root_at(resource, static_cast<RootId>(invocation.root)); root != nullptr && root->running != 0) {
      --root->running;
    }
    if (resource == nullptr) return;
    if (resource->life.running != 0) --resource->life.running;
    resource->busy_until = std::max(resource->busy_until, invocation.end);
    if (!invocation.end_unknown) resource->life.ran = true;
    if (resource->life.ended()) queue(*resource);
  }

  [[nodiscard]] static bool has_ended(const Lane& lane, std::uint64_t resource) noexcept {
    for (const Invocation& invocation : lane.stack) {
      if (invocation.end_order != 0 && !invocation.pause && invocation.resource == resource) return true;
    }
    return false;
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
        Packet packet = writer_.event(lane.sequence, ending.written_end, perfetto::track_event::kSliceBegin);
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
      stack.erase(stack.begin() + static_cast<std::ptrdiff_t>(at));
      --lane.pending;
    }
    lane.last_pending_order = 0;
  }

  void write_slice_end(Lane& lane, const Invocation& invocation, std::uint64_t time, bool end_known) {
    describe_lane(lane);
    announce_lane(lane, time);
    plan_riders(lane, lane.riders, lane.sequence, time);
    Packet packet = writer_.event(lane.sequence, time, perfetto::track_event::kSliceEnd);
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

  static void put_split(Packet& packet, const Invocation& invocation) {
    packet.say(Key::kSplit, 1);
    packet.say(Key::kPart, invocation.part);
    packet.say(Key::kInvocation, invocation.entry);
    packet.say(Key::kTrueBegin, invocation.begin);
  }

  void pause_began(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    Invocation& pause = lane.stack.emplace_back();
    pause.pause = true;
    pause.entry = ++entries_;
    pause.resource = number(event.resource);
    pause.name = writer_.intern_name(word(event.pause()));
    if (pause.name == 0) pause.name = name_of(Word::kUnknown);
    Packet packet = begin_slice(lane, ns_of(event.time));
    packet.say(Key::kPause, pause.resource);
    put_late(packet, event);
    packet.end();
  }
  void pause_ended(const TraceEvent& event) {
    Lane& lane = lane_of(event.lane);
    const Running found = innermost(lane_index(event.lane), number(event.resource), true);
    if (found.entry != 0) return end_invocation(lane, found.at, ns_of(event.time), false);
    Packet packet = lane_instant(lane, ns_of(event.time), Word::kPauseEnded);
    packet.say(Key::kPause, number(event.resource));
    packet.end();
  }

  // -- lanes ----------------------------------------------------------------------------------------------------------

  /// The track below a lane for the time when it had nothing to run, with a sequence of its own.
  void describe_park(Lane& lane) {
    if (lane.park_sequence == kNever) [[unlikely]] {
      lane.park_uuid = next_uuid();
      lane.park_sequence = writer_.open_sequence(lane.park_uuid);
    }
    writer_.prepare(lane.park_sequence);
    if (lane.park_generation == writer_.generation(lane.park_sequence)) [[likely]] return;
    lane.park_generation = writer_.generation(lane.park_sequence);
    describe_lane_track(lane, lane.park_sequence);
    writer_.track_descriptor(lane.park_sequence, lane.park_uuid, [&](ProtobufWriter& writer) {
      writer.varint(perfetto::track_descriptor::kParentUuid, lane.uuid);
      writer.string(perfetto::track_descriptor::kName, "parked");
    });
    write_lane(lane, std::max(now_, lane.clock), lane.park_sequence);
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
    plan_riders(lane, lane.park_riders, lane.park_sequence, time);
    Packet packet = writer_.event(lane.park_sequence, time,
                                  begins ? perfetto::track_event::kSliceBegin : perfetto::track_event::kSliceEnd);
    if (begins) put_name(packet, Word::kParked);
    put_riders(packet);
    packet.end();
  }

  // -- counters -------------------------------------------------------------------------------------------------------

  // A counter that is read at the moment of an event of its lane rides on that event's packet, as Perfetto's extra counter
  // values: two bytes and the value, where a packet of its own takes 25.

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
  std::size_t take_with_counters(std::span<const TraceEvent> events, std::size_t at) {
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
    for (std::size_t next = at; next < last && riding_count_ < std::size(riding_); ++next) {
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
  [[gnu::always_inline]] inline void plan_riders(Lane& lane, Riders& riders, std::uint32_t sequence, std::uint64_t time) {
    plan_.count = 0;
    if (riding_count_ != 0) [[unlikely]] plan_these_riders(lane, riders, sequence, time);
  }
  [[gnu::noinline]] void plan_these_riders(Lane& lane, Riders& riders, std::uint32_t sequence, std::uint64_t time) {
    if (riding_[0]->lane != lane.id || ns_of(riding_[0]->time) != time) return;
    if (riders.generation != writer_.generation(sequence)) {
      riders = {};
      riders.generation = writer_.generation(sequence);
    }
    const TraceEvent* taken[PerfettoWriter<Sink>::kMaxExtraCounters] = {};
    const TraceEvent* left[std::size(riding_)];
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
      LaneCounter& counter = lane.counters[riders.counters[place]];
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
    std::copy_n(left, left_count, riding_);
    riding_count_ = left_count;
  }
  [[gnu::always_inline]] inline void put_riders(Packet& packet) {
    if (plan_.count == 0) [[likely]] return;
    for (std::uint32_t place = 0; place < plan_.count; ++place) packet.counter(plan_.values[place]);
    if (plan_.mask != (std::uint64_t{1} << plan_.count) - 1) packet.say(Key::kCounters, plan_.mask);
    plan_.count = 0;
  }
  std::uint32_t rider_place(Lane& lane, Riders& riders, std::uint32_t sequence, CounterId id) {
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
    for (std::uint32_t at = 0; at < lane.counters.size(); ++at) {
      if (lane.counters[at].id == id) return at;
    }
    lane.counters.push_back({id, next_uuid(), 0, 0, false});
    return static_cast<std::uint32_t>(lane.counters.size() - 1);
  }

  void counted(const TraceEvent& event) {
    if (event.annotation == nullptr || event.annotation->value.kind == ValueKind::kString) {
      ++malformed_;
      return;
    }
    Lane& lane = lane_of(event.lane);
    describe_lane(lane);
    announce_lane(lane, ns_of(event.time));
    LaneCounter& counter = lane.counters[counter_index(lane, event.counter)];
    if (counter.generation != lane.generation) {
      counter.generation = lane.generation;
      describe_counter(lane, counter, lane.sequence);
    }
    const Value& value = event.annotation->value;
    counter.whole = whole_value(value, counter.last);
    Packet packet = writer_.event(lane.sequence, ns_of(event.time), perfetto::track_event::kCounter, counter.uuid);
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
  void describe_counter(Lane& lane, const LaneCounter& counter, std::uint32_t sequence) {
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
      describe_park(lane);
      Packet packet = writer_.event(lane.park_sequence, ns_of(range.first), perfetto::track_event::kSliceEnd);
      packet.say(Key::kEndUnknown, 1);
      packet.end();
    }
    lane.lost += range.count;
    if (lane.generation == 0) describe_lane(lane);
    writer_.mark_dropped(lane.sequence);
    Packet packet = lane_instant(lane, ns_of(range.first), Word::kLost);
    put_category(packet, Category::kThence);
    packet.say(Key::kLane, number(lane.id));
    packet.say(Key::kCount, range.count);
    packet.say(Key::kFirst, ns_of(range.first));
    packet.say(Key::kLast, ns_of(range.last));
    packet.end();
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
      map(ends_, 0);
      for (std::size_t at = 0; at < lanes_.size(); ++at) {
        map(lanes_[at].sequence, at + 1);
        if (lanes_[at].park_sequence != kNever) map(lanes_[at].park_sequence, at + 1);
      }
    });
  }

  void write_summary(const TraceSummary& summary) {
    for (const LaneSummary& known : summary.lanes) {
      Lane& lane = lane_of(known.lane);
      Packet packet = lane_instant(lane, std::max(now_, lane.clock), Word::kSummary);
      put_category(packet, Category::kThence);
      packet.say(Key::kLane, number(known.lane));
      packet.say(Key::kEvents, known.events);
      packet.say(Key::kLost, known.lost.count);
      if (known.lost.count != 0) {
        packet.say(Key::kFirst, ns_of(known.lost.first));
        packet.say(Key::kLast, ns_of(known.lost.last));
      }
      packet.say(Key::kExitWithoutEnter, known.misuse.exit_without_enter);
      packet.say(Key::kExitsCrossed, known.misuse.exits_crossed);
      packet.say(Key::kTooDeep, known.misuse.too_deep);
      packet.say(Key::kAnnotationsCut, known.misuse.annotations_cut);
      packet.say(Key::kStacksRefused, known.misuse.stacks_refused);
      packet.say(Key::kRootEndsLost, known.misuse.roots_ends_lost);
      packet.say(Key::kRingBytes, known.ring_bytes);
      packet.end();
    }
    writer_.prepare(async_);
    announce_trace();
    describe_process(processes_[0]);
    Packet packet = writer_.event(async_, now_, perfetto::track_event::kInstant, processes_[0].uuid);
    put_name(packet, Word::kSummary);
    put_category(packet, Category::kThence);
    packet.say(Key::kEvents, summary.events);
    packet.say(Key::kLost, summary.lost);
    packet.say(Key::kLateEvents, summary.late_events);
    packet.say(Key::kAfterSeal, summary.after_seal);
    packet.say(Key::kRootsSealed, summary.roots_sealed);
    packet.say(Key::kRootsAbandoned, summary.roots_abandoned);
    packet.say(Key::kDrainNs, summary.drain_ns);
    packet.say(Key::kBytes, summary.bytes_written);
    packet.say(Key::kStacksMissing, writer_.stacks_refused());
    packet.end();
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
  std::uint32_t async_ = 0;  // the resources' sequence
  std::uint32_t ends_ = 0;   // that of their ends, which are written in the past, in order
  std::uint32_t announced_ = 0;
  std::uint32_t ends_announced_ = 0;
  std::uint32_t ends_follow_ = 0;  // the generation of async_ in which ends_ was started
  std::uint32_t keys_described_ = 0;  // the generation in which they were
  ClockSnapshot clocks_;  // the last one, for those who come late
  std::uint32_t cut_key_ = 0;
  std::uint64_t rooted_wakes_ = 0;  // held, of resources that are not known, by root
  // Apart from the rest, so that the question whether a resource has one stays in the nearest cache.
  std::vector<std::uint64_t> wake_ids_ = std::vector<std::uint64_t>(kWakes);  // 0: free
  std::vector<Wake> wakes_ = std::vector<Wake>(kWakes);
  struct Plan {
    std::int64_t values[PerfettoWriter<Sink>::kMaxExtraCounters] = {};
    std::uint64_t mask = 0;  // which of them are samples
    std::uint32_t count = 0;
  } plan_;
  const TraceEvent* riding_[16] = {};
  std::size_t riding_count_ = 0;
  std::uint32_t words_[static_cast<unsigned>(Word::kEnd)] = {};
  std::uint32_t categories_[static_cast<unsigned>(Category::kEnd)] = {};
  std::vector<std::uint32_t> type_names_;
  std::vector<CounterName> counters_;
  std::vector<Process> processes_;
  std::vector<Lane> lanes_;
  IdMap lane_by_id_;
  std::uint64_t last_lane_key_ = 0;  // its number and one more
  std::uint32_t last_lane_ = 0;
  std::vector<Track> tracks_;
  std::uint32_t unused_track_ = kNone;
  std::vector<Slot> slots_;
  std::uint32_t first_free_slot_ = kNone;
  std::uint32_t last_free_slot_ = kNone;
  std::uint32_t unused_slot_ = kNone;
  std::vector<Root> roots_;
  std::uint32_t free_root_ = kNone;
  IdMap root_by_id_;  // by its number and one more: that of no root is 0
  std::uint64_t last_root_key_ = 0;
  std::uint32_t last_root_ = 0;
  std::vector<OpenResource> resources_;
  std::vector<ByteBuffer> annotations_;  // by a resource's place, where it has any
  std::uint32_t free_resource_ = kNone;
  std::uint64_t last_found_id_ = 0;
  std::uint32_t last_found_ = 0;
  RunMap by_id_;
  std::vector<Closing> queue_;
  std::size_t queue_first_ = 0;
  static constexpr std::uint64_t kNoExpiry = ~std::uint64_t{0};
  std::uint64_t next_expiry_ = kNoExpiry;  // the first one's deadline
  std::vector<Early> early_;
  std::size_t early_next_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
