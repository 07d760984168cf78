// SPDX-License-Identifier: MIT
// replay.hpp: hands a model to any EventSink, event by event, in order of time.
//
//   replay(model, PerfettoEncoder{file});     // and so to any other format
// What is replayed gives the same model again. At one moment: ends before beginnings, then what is created, linked,
// settled, made ready, entered; a resource's creation precedes all else of it. Annotations, whose time no format keeps,
// follow the creation.
// Layer: model (includes formats/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// One step of a replay: which record, of which table, when.
struct ReplayStep {
  std::uint64_t time;
  std::uint32_t row;
  std::uint32_t rank;  // kind of record, in the order in which those of one moment come
};

enum class ReplayRank : std::uint32_t {
  kClock, kExit, kExtraExit, kCreated, kAnnotated, kExtraCreated, kLinked, kResolved, kSettled, kScheduled, kLane, kEntered,
  kSample, kCounter, kExitAtOnce, kDestroyed, kLost, kFinished, kSealed, kExtra,
};

}  // namespace detail

/// Replays `model` into `sink`.
///   Cost      O(n log n) in events; 16 bytes of memory an event.
///   Errors    std::bad_alloc, and what the sink throws.
template <EventSink Sink>
void replay(const TraceModel& model, Sink&& sink) {
  using Rank = detail::ReplayRank;
  constexpr std::uint32_t kNone = TraceModel::kNone;

  const TraceModel::Source& source = model.sources.front();
  TraceInfo info;
  info.salt = source.salt;
  info.process_id = source.process_id;
  info.process_name = model.text(source.process_name);
  info.overflow_policy = model.text(source.overflow_policy);
  info.clock = model.text(source.clock);
  info.sampling = model.text(source.sampling);
  sink.begin(info);
  for (const TraceModel::Lane& lane : model.lanes) {
    // Where there are several processes each lane says its own.
    const std::int32_t process = lane.process_id != 0 ? lane.process_id
                                 : model.sources.size() > 1 ? model.sources[lane.source].process_id : 0;
    sink.define_lane({lane.id, process, lane.thread_id, model.text(lane.name)});
  }
  for (std::size_t type = 0; type < model.type_names.size(); ++type) {
    if (model.type_names[type] != 0) sink.define_type(static_cast<TypeId>(type), model.text(model.type_names[type]));
  }
  for (const TraceModel::Counter& counter : model.counters) {
    sink.define_counter(counter.id, model.text(counter.name), model.text(counter.unit));
  }
  std::vector<FrameInfo> frames;
  for (std::uint32_t row = 0; row < model.stacks.size(); ++row) {
    if (!model.stacks[row].defined) continue;
    frames.clear();
    for (const std::uint32_t at : model.frames_of(row)) {
      const TraceModel::Frame& frame = model.frames[at];
      frames.push_back({frame.kind, model.text(frame.function), model.text(frame.file), frame.line, frame.column, frame.pc,
                        frame.relative_pc, model.text(frame.build_id)});
    }
    sink.define_stack({model.stacks[row].id, frames});
  }

  std::vector<detail::ReplayStep> steps;
  steps.reserve(model.resources() * std::size_t{3} + model.invocations.size() * 2 + model.wakes.size() + model.links.size() +
                model.notes.size() + model.lane_events.size() + model.counter_samples.size() + model.samples.size());
  const auto add = [&](std::uint64_t time, Rank rank, std::uint32_t row) {
    steps.push_back({time, row, static_cast<std::uint32_t>(rank)});
  };
  const auto add_all = [&](const auto& rows, Rank rank) {
    for (std::uint32_t row = 0; row < rows.size(); ++row) add(rows[row].time, rank, row);
  };
  for (std::uint32_t row = 0; row < model.clocks.size(); ++row) add(model.clocks[row].boottime, Rank::kClock, row);
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (model.has(row, ResourceFlag::kCreated)) add(model.created[row], Rank::kCreated, row);
    if (model.has(row, ResourceFlag::kSettled)) add(model.settled[row], Rank::kSettled, row);
    if (model.has(row, ResourceFlag::kDestroyed)) add(model.destroyed[row], Rank::kDestroyed, row);
  }
  for (std::uint32_t row = 0; row < model.notes.size(); ++row) add(model.created[model.notes[row].resource], Rank::kAnnotated, row);
  for (std::uint32_t row = 0; row < model.invocations.size(); ++row) {
    const TraceModel::Invocation& invocation = model.invocations[row];
    add(invocation.start, Rank::kEntered, row);
    // The innermost, which began last, ends first.
    if (invocation.ended) add(invocation.end, invocation.end > invocation.start ? Rank::kExit : Rank::kExitAtOnce, ~row);
  }
  add_all(model.wakes, Rank::kScheduled);
  add_all(model.links, Rank::kLinked);
  add_all(model.lane_events, Rank::kLane);
  add_all(model.counter_samples, Rank::kCounter);
  add_all(model.samples, Rank::kSample);
  for (std::uint32_t row = 0; row < model.extras.size(); ++row) {
    const TraceModel::Extra& extra = model.extras[row];
    const bool resolved = extra.kind == EventKind::kSettled && static_cast<Outcome>(extra.flags & 0xf) == Outcome::kResolved;
    add(extra.time,
        resolved                              ? Rank::kResolved
        : extra.kind == EventKind::kExited    ? Rank::kExtraExit
        : extra.kind == EventKind::kCreated   ? Rank::kExtraCreated
                                              : Rank::kExtra,
        row);
  }
  for (std::uint32_t row = 0; row < model.losses.size(); ++row) add(model.losses[row].first, Rank::kLost, row);
  for (std::uint32_t row = 0; row < model.roots.size(); ++row) {
    if (model.roots[row].has_finished) add(model.roots[row].finished, Rank::kFinished, row);
    if (model.roots[row].has_sealed) add(model.roots[row].sealed, Rank::kSealed, row);
  }
  std::sort(steps.begin(), steps.end(), [](const detail::ReplayStep& a, const detail::ReplayStep& b) {
    if (a.time != b.time) return a.time < b.time;
    return a.rank != b.rank ? a.rank < b.rank : a.row < b.row;
  });

  constexpr std::size_t kBatch = 256;
  std::vector<TraceEvent> batch(kBatch);
  std::vector<Annotation> annotations(kBatch);
  std::vector<LossRange> losses(kBatch);
  std::size_t count = 0;
  const auto hand_over = [&] {
    if (count != 0) sink.take(std::span<const TraceEvent>(batch.data(), count));
    count = 0;
  };
  const auto lane_id = [&](std::uint32_t row) { return row == kNone ? LaneId::kNone : model.lanes[row].id; };
  const auto stack_id = [&](std::uint32_t row) { return row == kNone ? StackId::kNone : model.stacks[row].id; };
  const auto root_id = [&](std::uint32_t row) { return row == kNone ? RootId::kNone : model.roots[row].id; };
  const auto root_of = [&](std::uint32_t row) { return row == kNone ? RootId::kNone : root_id(model.root[row]); };

  for (const detail::ReplayStep& step : steps) {
    const auto rank = static_cast<Rank>(step.rank);
    if (rank == Rank::kClock) {
      hand_over();
      sink.synchronise(model.clocks[step.row]);
      continue;
    }
    TraceEvent& event = batch[count];
    event = {};
    event.time = static_cast<Timestamp>(step.time);
    std::uint32_t row = step.row;
    switch (rank) {
      case Rank::kClock: break;
      case Rank::kCreated:
        event.kind = EventKind::kCreated;
        event.resource = model.id_of(row);
        event.other = model.id_of(model.trigger[row]);
        event.root = root_of(row);
        event.lane = lane_id(model.created_lane[row]);
        event.stack = stack_id(model.stack[row]);
        event.type = static_cast<TypeId>(model.type[row]);
        break;
      case Rank::kAnnotated: {
        const TraceModel::Note& note = model.notes[row];
        event.kind = EventKind::kAnnotated;
        event.resource = model.id_of(note.resource);
        event.root = root_of(note.resource);
        event.lane = lane_id(model.created_lane[note.resource]);
        annotations[count] = {model.text(note.key), TraceModel::value_of(note)};
        event.annotation = &annotations[count];
        break;
      }
      case Rank::kLinked: {
        const TraceModel::Link& link = model.links[row];
        event.kind = EventKind::kLinked;
        event.resource = model.id_of(link.effect);
        event.other = model.id_of(link.cause);
        event.root = root_of(link.effect);
        event.lane = lane_id(link.lane);
        event.stack = stack_id(link.stack);
        event.flags = static_cast<std::uint8_t>(link.kind);
        break;
      }
      case Rank::kSettled:
        event.kind = EventKind::kSettled;
        event.resource = model.id_of(row);
        event.other = model.id_of(model.settler[row]);
        event.root = root_of(row);
        event.lane = lane_id(model.settled_lane[row]);
        event.stack = stack_id(model.settle_stack(row));
        event.flags = static_cast<std::uint8_t>(static_cast<unsigned>(model.outcome(row)) |
                                                static_cast<unsigned>(model.settled_by(row)) << 4);
        break;
      case Rank::kDestroyed:
        event.kind = EventKind::kDestroyed;
        event.resource = model.id_of(row);
        event.root = root_of(row);
        event.lane = lane_id(model.destroyed_lane[row]);
        break;
      case Rank::kScheduled: {
        const TraceModel::Wake& wake = model.wakes[row];
        event.kind = EventKind::kScheduled;
        event.resource = model.id_of(wake.resource);
        event.other = model.id_of(wake.by);
        event.root = root_of(wake.resource);
        event.lane = lane_id(wake.lane);
        event.flags = static_cast<std::uint8_t>(wake.actor);
        break;
      }
      case Rank::kEntered: {
        const TraceModel::Invocation& invocation = model.invocations[row];
        event.kind = EventKind::kEntered;
        event.resource = model.id_of(invocation.resource);
        event.other = model.id_of(invocation.cause_by);
        event.root = root_of(invocation.resource);
        event.lane = lane_id(invocation.lane);
        event.stack = stack_id(invocation.stack);
        event.flags = static_cast<std::uint8_t>(invocation.cause);
        break;
      }
      case Rank::kExit:
      case Rank::kExitAtOnce: {
        const TraceModel::Invocation& invocation = model.invocations[~row];
        event.kind = EventKind::kExited;
        event.resource = model.id_of(invocation.resource);
        event.root = root_of(invocation.resource);
        event.lane = lane_id(invocation.exit_lane == kNone ? invocation.lane : invocation.exit_lane);
        break;
      }
      case Rank::kLane: {
        const TraceModel::LaneEvent& what = model.lane_events[row];
        event.kind = what.kind;
        event.lane = lane_id(what.lane);
        if (what.kind == EventKind::kPauseBegan || what.kind == EventKind::kPauseEnded) {
          event.resource = static_cast<ResourceId>(what.pause);
        }
        break;
      }
      case Rank::kCounter: {
        const TraceModel::CounterSample& sample = model.counter_samples[row];
        event.kind = EventKind::kCounter;
        event.lane = lane_id(sample.lane);
        event.counter = model.counters[sample.counter].id;
        annotations[count] = {{}, TraceModel::value_of(sample.kind, sample.bits)};
        event.annotation = &annotations[count];
        break;
      }
      case Rank::kSample: {
        const TraceModel::Sample& sample = model.samples[row];
        event.kind = EventKind::kSample;
        event.resource = model.id_of(sample.resource);
        event.root = root_of(sample.resource);
        event.lane = lane_id(sample.lane);
        event.stack = stack_id(sample.stack);
        event.flags = static_cast<std::uint8_t>(sample.kind);
        break;
      }
      case Rank::kExtraExit:
      case Rank::kExtraCreated:
      case Rank::kResolved:
      case Rank::kExtra: {
        const TraceModel::Extra& extra = model.extras[row];
        event.kind = extra.kind;
        event.resource = model.id_of(extra.resource);
        event.other = model.id_of(extra.other);
        event.root = root_id(extra.root);
        event.lane = lane_id(extra.lane);
        event.stack = stack_id(extra.stack);
        event.type = static_cast<TypeId>(extra.type);
        event.flags = extra.flags;
        break;
      }
      case Rank::kLost: {
        const TraceModel::Loss& loss = model.losses[row];
        event.kind = EventKind::kLost;
        event.lane = lane_id(loss.lane);
        losses[count] = {loss.count, static_cast<Timestamp>(loss.first), static_cast<Timestamp>(loss.last)};
        event.loss = &losses[count];
        break;
      }
      case Rank::kFinished: {
        const TraceModel::Root& root = model.roots[row];
        event.kind = EventKind::kRootFinished;
        event.resource = model.id_of(root.resource);
        event.root = root.id;
        event.lane = lane_id(root.finished_lane);
        break;
      }
      case Rank::kSealed:
        event.kind = EventKind::kRootSealed;
        event.root = model.roots[row].id;
        event.flags = static_cast<std::uint8_t>(model.roots[row].reason);
        break;
    }
    if (++count == kBatch) hand_over();
  }
  hand_over();

  std::vector<LaneSummary> lanes;
  for (const TraceModel::LaneTotals& totals : model.lane_totals) {
    lanes.push_back({lane_id(totals.lane), totals.events, totals.lost, totals.misuse, totals.ring_bytes});
  }
  TraceSummary summary = model.summary;
  summary.lanes = lanes;
  sink.end(summary);
}

}  // namespace THENCE_ABI
}  // namespace thence
