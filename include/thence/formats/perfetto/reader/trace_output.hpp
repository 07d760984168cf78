// SPDX-License-Identifier: MIT
// trace_output.hpp: what a reader of Perfetto traces has told its sink so far.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/perfetto/reader/iid_table.hpp"
#include "thence/formats/perfetto/reader/sequence.hpp"
#include "thence/formats/perfetto/reader/track_table.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/formats/trace_stacks.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Hands a file's traces to a sink, and defines each type, stack, counter and lane before its first use in each of them.
///   Threads   one.
///   Cost      O(1) expected an event.
///   Errors    std::bad_alloc, and what the sink throws.
///   Lifetime  the sink and the texts outlive it.
template <EventSink Sink>
class TraceOutput {
 public:
  TraceOutput(Sink& sink, const TextNumbers& texts) : batch_(sink), texts_(texts) {}

  /// Traces that were begun.
  [[nodiscard]] std::uint64_t traces() const noexcept { return traces_; }
  /// Begins the file's next trace, and ends the one before where nobody has.
  void begin(const TraceInfo& info) {
    if (open_) end({});
    open_ = true;
    ++traces_;
    Sink& sink = batch_.sink();
    sink.begin(info);
    told_stacks_.clear();
    told_counters_.clear();
    told_lanes_.clear();
    // What was told of types before holds for a further trace in the same file, too.
    for (const ToldType& type : told_types_) sink.define_type(type.type, type.name);
    for (const ClockSnapshot& clock : waiting_clocks_) sink.synchronise(clock);
    waiting_clocks_.clear();
  }
  /// Says more of the trace that was begun.
  void begin_again(const TraceInfo& info) { batch_.sink().begin(info); }
  void end(const TraceSummary& summary) {
    open_ = false;
    batch_.sink().end(summary);
  }
  void hand_over() { batch_.hand_over(); }
  [[nodiscard]] std::uint64_t events() const noexcept { return batch_.events(); }

  /// A part of a file that can be read by itself says again what was said last: that is told once.
  void synchronise(const ClockSnapshot& clocks) {
    if (clocks.boottime == 0 || (clocks.boottime == last_clocks_.boottime && clocks.realtime == last_clocks_.realtime)) return;
    last_clocks_ = clocks;
    if (traces_ != 0) {
      batch_.sink().synchronise(clocks);
    } else {
      waiting_clocks_.push_back(clocks);
    }
  }

  [[nodiscard]] TypeId type(std::string_view name) {
    const TypeId type = types_.number_of(name);
    tell_types();
    return type;
  }
  [[nodiscard]] TypeId type(EventName& name) {
    if (!name.has_type) {
      name.type = static_cast<std::uint16_t>(type(texts_[name.text]));
      name.has_type = true;
    }
    return static_cast<TypeId>(name.type);
  }

  void define_stack(std::uint32_t id, std::span<const StoredFrame> frames) {
    if (!told_stacks_.add(id)) return;
    infos_.clear();
    for (const StoredFrame& frame : frames) {
      FrameInfo info;
      info.kind = frame.kind;
      info.function = texts_[frame.function];
      info.file = texts_[frame.file];
      info.build_id = texts_[frame.build_id];
      info.line = frame.line;
      info.column = frame.column;
      info.pc = frame.pc;
      info.relative_pc = frame.relative_pc;
      infos_.push_back(info);
    }
    batch_.sink().define_stack({static_cast<StackId>(id), infos_});
  }

  /// The counter of a track. kNone: there are more than there are numbers.
  [[nodiscard]] CounterId counter(const Track& track) {
    static constexpr std::string_view kOwn[] = {"queue-depth", "pending", "loop-lag"};
    const std::string_view name = texts_[track.name], unit = texts_[track.unit];
    auto number = static_cast<std::uint32_t>(track.counter);
    for (std::size_t own = 0; own < std::size(kOwn) && number == 0; ++own) {
      if (name == kOwn[own]) number = static_cast<std::uint32_t>(own) + 1;
    }
    if (number == 0) {
      scratch_.assign(name).append(1, '\0').append(unit);
      if (counters_.size() >= 60'000 && counters_.find(scratch_) == IdMap::kAbsent) return CounterId::kNone;
      number = counters_.number_of(scratch_) + static_cast<std::uint32_t>(CounterId::kFirstOfHost);
    }
    if (told_counters_.add(number)) batch_.sink().define_counter(static_cast<CounterId>(number), name, unit);
    return static_cast<CounterId>(number);
  }

  void define_lane(const LaneInfo& lane) {
    if (told_lanes_.add(number(lane.id))) batch_.sink().define_lane(lane);
  }

  /// Adds an event, made where it will lie; the reference is good up to the next one.
  TraceEvent& put(EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane) {
    TraceEvent& event = batch_.add();
    fill(event, kind, time, resource, root, lane);
    return event;
  }
  void annotate(std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane, std::string_view key, const Value& value) {
    TraceEvent event;
    fill(event, EventKind::kAnnotated, time, resource, root, lane);
    batch_.add(event, Annotation{key, value});
  }
  void count(std::uint64_t time, LaneId lane, CounterId counter, const Value& value) {
    TraceEvent event;
    fill(event, EventKind::kCounter, time, 0, RootId::kNone, lane);
    event.counter = counter;
    batch_.add(event, Annotation{{}, value});
  }
  void lose(const LossRange& lost, LaneId lane) {
    TraceEvent event;
    fill(event, EventKind::kLost, static_cast<std::uint64_t>(lost.first), 0, RootId::kNone, lane);
    batch_.add(event, lost);
  }

 private:
  struct ToldType {
    TypeId type = {};
    std::string name;
  };

  static void fill(TraceEvent& event, EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root, LaneId lane) noexcept {
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = static_cast<ResourceId>(resource & Event::kIdMask);
    event.root = root;
    event.lane = lane;
  }
  void tell_types() {
    if (!types_.untold()) [[likely]] return;
    Sink& sink = batch_.sink();
    types_.tell([&](TypeId type, std::string_view name) {
      told_types_.push_back({type, std::string(name)});
      sink.define_type(type, name);
    });
  }

  EventBatch<Sink> batch_;
  const TextNumbers& texts_;
  std::uint64_t traces_ = 0;
  bool open_ = false;
  TypeNumbers types_;
  std::vector<ToldType> told_types_;
  TextNumbers counters_;
  NumberSet told_stacks_;
  NumberSet told_counters_;
  NumberSet told_lanes_;
  std::vector<ClockSnapshot> waiting_clocks_;
  ClockSnapshot last_clocks_;
  std::vector<FrameInfo> infos_;
  std::string scratch_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
