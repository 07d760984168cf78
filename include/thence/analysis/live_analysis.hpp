// SPDX-License-Identifier: MIT
// live_analysis.hpp: a host learns what was wrong with its own request as soon as it is over, without a file.
//
//   LiveAnalysis live{[](Analysis& request, std::uint64_t missing) {
//     for (const Finding& found : request.findings)
//       if (found.severity == Severity::kHigh) alert(found.summary, found.location);
//   }};
//   session.add_sink(std::ref(live) ...);             // an EventSink
// The events of each request are kept until it is sealed, then made into a model of this request alone, analysed, handed to
// the callback, and freed. So contention with other requests is not explained by it (a lane that others held shows as
// scheduling); the trace in a file has that. It runs where the session drains, never in the host's hot path.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/analysis.hpp"
#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/model/model_builder.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct LiveAnalysisOptions {
  AnalysisSettings settings = {};
  /// Of one request. One with more is not analysed: it is counted in `too_large`, and its events are freed.
  std::size_t max_events = 200'000;
  /// Of all requests that are open. What would be beyond is not kept: its request counts as `too_large`.
  std::size_t max_events_in_all = 2'000'000;
};

/// An EventSink that analyses each request when it is over. `Callback` takes (Analysis&, std::uint64_t missing): the
/// request is the only one of the analysis; `missing` events of its session were lost or came too late while it ran.
///   Shape     some 100 bytes an event of the requests that are open; the definitions of the session.
///   Threads   one at a time; the callback is called there too.
///   Cost      O(1) an event; at the end of a request what its analysis costs (some microseconds a resource).
///   When full see LiveAnalysisOptions.
///   Errors    std::bad_alloc, and what the callback throws.
template <class Callback>
class LiveAnalysis {
 public:
  explicit LiveAnalysis(Callback callback, LiveAnalysisOptions options = {})
      : callback_(std::move(callback)), options_(std::move(options)) {}

  // -- the EventSink --------------------------------------------------------------------------------------------------

  void begin(const TraceInfo& info) {
    info_ = info;
    process_name_ = info.process_name;
    clock_ = info.clock;
    sampling_ = info.sampling;
    overflow_ = info.overflow_policy;
  }
  void define_lane(const LaneInfo& lane) {
    lanes_.push_back({lane, std::string(lane.name)});
  }
  void define_type(TypeId type, std::string_view name) { types_.push_back({type, std::string(name)}); }
  void define_counter(CounterId, std::string_view, std::string_view) noexcept {}
  void define_stack(const StackInfo& stack) {
    const std::uint64_t id = number(stack.id);
    if (id == 0 || stack_of_.find(id) != IdMap::kAbsent) return;
    stack_of_.insert(id, static_cast<std::uint32_t>(stacks_.size()));
    stacks_.push_back({static_cast<std::uint32_t>(frames_.size()), static_cast<std::uint32_t>(stack.frames.size())});
    for (const FrameInfo& frame : stack.frames) {
      frames_.push_back({frame, std::string(frame.function), std::string(frame.file), std::string(frame.build_id)});
    }
  }
  void synchronise(const ClockSnapshot&) noexcept {}
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) take_one(event);
  }
  void flush() noexcept {}
  void end(const TraceSummary&) {}

  [[nodiscard]] std::uint64_t analysed() const noexcept { return analysed_; }
  [[nodiscard]] std::uint64_t too_large() const noexcept { return too_large_; }
  /// Requests whose events are kept now, and how many events that are.
  [[nodiscard]] std::size_t open() const noexcept { return open_; }
  [[nodiscard]] std::size_t events_kept() const noexcept { return events_kept_; }

 private:
  struct Lane {
    LaneInfo info;
    std::string name;
  };
  struct Type {
    TypeId id;
    std::string name;
  };
  struct Frame {
    FrameInfo info;
    std::string function, file, build_id;
  };
  struct Stack {
    std::uint32_t first;
    std::uint32_t count;
  };
  struct Kept {
    TraceEvent event;
    std::uint32_t note;  // of `notes`; none: kNoNote
  };
  struct Note {
    std::string key;
    std::string text;
    Value value;
  };
  struct Request {
    std::vector<Kept> events;
    std::vector<Note> notes;
    std::uint64_t lost_before = 0;
    bool overflown = false;
  };
  static constexpr std::uint32_t kNoNote = ~std::uint32_t{0};

  void take_one(const TraceEvent& event) {
    if (event.kind == EventKind::kLost) {
      lost_ += event.loss == nullptr ? 0 : event.loss->count;
      return;
    }
    if (event.root == RootId::kNone || event.root == RootId::kUntraced) return;
    if (event.kind == EventKind::kRootSealed) return seal(event);
    Request& request = request_of(event.root);
    if (request.overflown) return;
    if (request.events.size() >= options_.max_events || events_kept_ >= options_.max_events_in_all) {
      events_kept_ -= request.events.size();
      request = Request{};
      request.overflown = true;
      return;
    }
    ++events_kept_;
    std::uint32_t note = kNoNote;
    if (event.annotation != nullptr) {
      note = static_cast<std::uint32_t>(request.notes.size());
      request.notes.push_back({std::string(event.annotation->key), std::string(event.annotation->value.text), event.annotation->value});
    }
    request.events.push_back({event, note});
    request.events.back().event.annotation = nullptr;
    request.events.back().event.loss = nullptr;
  }

  [[nodiscard]] Request& request_of(RootId root) {
    const std::uint32_t known = place_of_.find(number(root));
    if (known != IdMap::kAbsent) return requests_[known];
    std::uint32_t place = static_cast<std::uint32_t>(requests_.size());
    if (free_.empty()) {
      requests_.emplace_back();
    } else {
      place = free_.back();
      free_.pop_back();
    }
    place_of_.insert(number(root), place);
    requests_[place].lost_before = lost_;
    ++open_;
    return requests_[place];
  }

  void seal(const TraceEvent& event) {
    const std::uint32_t place = place_of_.find(number(event.root));
    if (place == IdMap::kAbsent) return;
    Request request = std::move(requests_[place]);
    requests_[place] = Request{};
    free_.push_back(place);
    place_of_.erase(number(event.root));
    --open_;
    if (request.overflown) {
      ++too_large_;
      return;
    }
    events_kept_ -= request.events.size();
    ModelBuilder builder;
    TraceInfo info = info_;
    info.process_name = process_name_;
    info.clock = clock_;
    info.sampling = sampling_;
    info.overflow_policy = overflow_;
    builder.begin(info);
    for (const Lane& lane : lanes_) {
      LaneInfo told = lane.info;
      told.name = lane.name;
      builder.define_lane(told);
    }
    for (const Type& type : types_) builder.define_type(type.id, type.name);
    IdMap told;
    std::vector<FrameInfo> frames;
    for (Kept& kept : request.events) {
      const std::uint64_t stack = number(kept.event.stack);
      if (stack != 0 && told.find(stack) == IdMap::kAbsent) {
        told.insert(stack, 0);
        define(builder, kept.event.stack, frames);
      }
      Annotation annotation;
      if (kept.note != kNoNote) {
        const Note& note = request.notes[kept.note];
        annotation.key = note.key;
        annotation.value = note.value;
        annotation.value.text = note.text;
        kept.event.annotation = &annotation;
      }
      builder.take(std::span<const TraceEvent>(&kept.event, 1));
    }
    builder.take(std::span<const TraceEvent>(&event, 1));
    builder.end(TraceSummary{});
    const TraceModel model = builder.build();
    Analysis analysis(model, options_.settings);
    ++analysed_;
    callback_(analysis, lost_ - request.lost_before);
  }

  void define(ModelBuilder& builder, StackId id, std::vector<FrameInfo>& frames) const {
    const std::uint32_t at = stack_of_.find(number(id));
    if (at == IdMap::kAbsent) return;
    frames.clear();
    for (std::uint32_t n = 0; n < stacks_[at].count; ++n) {
      const Frame& frame = frames_[stacks_[at].first + n];
      frames.push_back(frame.info);
      frames.back().function = frame.function;
      frames.back().file = frame.file;
      frames.back().build_id = frame.build_id;
    }
    builder.define_stack({id, frames});
  }

  Callback callback_;
  LiveAnalysisOptions options_;
  TraceInfo info_;
  std::string process_name_, clock_, sampling_, overflow_;
  std::vector<Lane> lanes_;
  std::vector<Type> types_;
  std::vector<Stack> stacks_;
  std::vector<Frame> frames_;
  IdMap stack_of_;
  std::vector<Request> requests_;
  std::vector<std::uint32_t> free_;
  IdMap place_of_;
  std::size_t open_ = 0;
  std::size_t events_kept_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t analysed_ = 0;
  std::uint64_t too_large_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
