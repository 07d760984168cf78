// SPDX-License-Identifier: MIT
// recording_sink.hpp: an EventSink that keeps all that it is told, for tests to look at.
//
//   RecordingSink recorded;
//   session.add_sink(std::ref(recorded).get()) ...   or   recorded.take_from(tracer)  without a session
//
// Layer: tests.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/core/trace_event.hpp"

namespace thence_test {

/// A TraceEvent whose views are owned.
struct RecordedEvent : thence::TraceEvent {
  std::string key;
  std::string text;
  thence::Value value;
  thence::LossRange lost;
};

struct RecordedFrame {
  thence::FrameKind kind{};
  std::string function, file, build_id;
  std::uint32_t line = 0, column = 0;
  std::uint64_t pc = 0, relative_pc = 0;
};

/// What was recorded, shared by all copies of a RecordingSink.
struct Recording {
  bool began = false;
  bool ended = false;
  int flushes = 0;
  thence::TraceInfo trace;
  std::string process_name, overflow_policy, clock, sampling;
  std::map<thence::LaneId, std::string> lanes;
  std::map<thence::TypeId, std::string> types;
  std::map<thence::CounterId, std::string> counters;
  std::map<thence::StackId, std::vector<RecordedFrame>> stacks;
  std::vector<thence::ClockSnapshot> clocks;
  std::vector<RecordedEvent> events;
  std::vector<thence::LaneSummary> lane_summaries;
  thence::TraceSummary summary;

  [[nodiscard]] std::vector<RecordedEvent> of_kind(thence::EventKind kind) const {
    std::vector<RecordedEvent> found;
    for (const RecordedEvent& event : events)
      if (event.kind == kind) found.push_back(event);
    return found;
  }
  [[nodiscard]] std::vector<RecordedEvent> of(thence::ResourceId resource) const {
    std::vector<RecordedEvent> found;
    for (const RecordedEvent& event : events)
      if (event.resource == resource) found.push_back(event);
    return found;
  }
  [[nodiscard]] std::string type_name(const RecordedEvent& event) const {
    const auto found = types.find(event.type);
    return found == types.end() ? std::string("undefined") : found->second;
  }
};

class RecordingSink {
 public:
  explicit RecordingSink(Recording& recording) : out_(&recording) {}

  void begin(const thence::TraceInfo& trace) {
    out_->began = true;
    out_->trace = trace;
    out_->process_name = trace.process_name;
    out_->overflow_policy = trace.overflow_policy;
    out_->clock = trace.clock;
    out_->sampling = trace.sampling;
    out_->trace.process_name = out_->trace.overflow_policy = out_->trace.clock = out_->trace.sampling = {};
  }
  void define_lane(const thence::LaneInfo& lane) { out_->lanes[lane.id] = std::string(lane.name); }
  void define_type(thence::TypeId type, std::string_view name) { out_->types[type] = std::string(name); }
  void define_counter(thence::CounterId counter, std::string_view name, std::string_view) {
    out_->counters[counter] = std::string(name);
  }
  void define_stack(const thence::StackInfo& stack) {
    auto& frames = out_->stacks[stack.id];
    frames.clear();
    for (const thence::FrameInfo& frame : stack.frames) {
      frames.push_back({frame.kind, std::string(frame.function), std::string(frame.file), std::string(frame.build_id),
                        frame.line, frame.column, frame.pc, frame.relative_pc});
    }
  }
  void synchronise(const thence::ClockSnapshot& clock) { out_->clocks.push_back(clock); }
  void take(std::span<const thence::TraceEvent> events) {
    for (const thence::TraceEvent& event : events) {
      RecordedEvent recorded{};
      static_cast<thence::TraceEvent&>(recorded) = event;
      recorded.annotation = nullptr;
      recorded.loss = nullptr;
      if (event.annotation != nullptr) {
        recorded.key = std::string(event.annotation->key);
        recorded.text = std::string(event.annotation->value.text);
        recorded.value = event.annotation->value;
        recorded.value.text = {};
      }
      if (event.loss != nullptr) recorded.lost = *event.loss;
      out_->events.push_back(std::move(recorded));
    }
  }
  void flush() { ++out_->flushes; }
  void end(const thence::TraceSummary& summary) {
    out_->ended = true;
    out_->lane_summaries.assign(summary.lanes.begin(), summary.lanes.end());
    out_->summary = summary;
    out_->summary.lanes = out_->lane_summaries;
  }

 private:
  Recording* out_;
};
static_assert(thence::EventSink<RecordingSink>);

}  // namespace thence_test
