// SPDX-License-Identifier: MIT
// any_sink.hpp: holds any EventSink behind one pointer, so that a session can feed several.
//
// A sink may have two more members: `failure()` (a message, empty while all is well: the session tells the host and feeds it
// no more) and `bytes_written()` (for thence's own cost in the trace).
// Layer: session (includes core/ only).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Owns one sink. Move-constructible; calls as EventSink says.
class AnySink {
 public:
  template <EventSink Sink>
  explicit AnySink(Sink sink) : sink_(new Held<Sink>(std::move(sink))) {}
  template <EventSink Sink>
  explicit AnySink(std::unique_ptr<Sink> sink) : sink_(new Owned<Sink>(std::move(sink))) {}
  AnySink(AnySink&& other) noexcept : sink_(std::exchange(other.sink_, nullptr)) {}
  AnySink& operator=(AnySink&&) = delete;
  ~AnySink() { delete sink_; }

  void begin(const TraceInfo& trace) { sink_->begin(trace); }
  void define_lane(const LaneInfo& lane) { sink_->define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { sink_->define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    sink_->define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) { sink_->define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) { sink_->synchronise(clock); }
  void take(View<const TraceEvent> events) { sink_->take(events); }
  void flush() { sink_->flush(); }
  void end(const TraceSummary& summary) { sink_->end(summary); }
  [[nodiscard]] std::string_view failure() const { return sink_->failure(); }
  [[nodiscard]] std::uint64_t bytes_written() const { return sink_->bytes_written(); }
  /// Lets go of the sink without running anything of it: for a child after fork, whose files belong to the parent.
  void abandon() noexcept { sink_ = nullptr; }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void begin(const TraceInfo&) = 0;
    virtual void define_lane(const LaneInfo&) = 0;
    virtual void define_type(TypeId, std::string_view) = 0;
    virtual void define_counter(CounterId, std::string_view, std::string_view) = 0;
    virtual void define_stack(const StackInfo&) = 0;
    virtual void synchronise(const ClockSnapshot&) = 0;
    virtual void take(View<const TraceEvent>) = 0;
    virtual void flush() = 0;
    virtual void end(const TraceSummary&) = 0;
    virtual std::string_view failure() const = 0;
    virtual std::uint64_t bytes_written() const = 0;
  };

  template <class Sink, class Derived>
  struct Calls : Base {
    Sink& sink() { return static_cast<Derived*>(this)->get(); }
    const Sink& sink() const { return const_cast<Calls*>(this)->sink(); }
    void begin(const TraceInfo& trace) override { sink().begin(trace); }
    void define_lane(const LaneInfo& lane) override { sink().define_lane(lane); }
    void define_type(TypeId type, std::string_view name) override { sink().define_type(type, name); }
    void define_counter(CounterId counter, std::string_view name, std::string_view unit) override {
      sink().define_counter(counter, name, unit);
    }
    void define_stack(const StackInfo& stack) override { sink().define_stack(stack); }
    void synchronise(const ClockSnapshot& clock) override { sink().synchronise(clock); }
    void take(View<const TraceEvent> events) override { sink().take(events); }
    void flush() override { sink().flush(); }
    void end(const TraceSummary& summary) override { sink().end(summary); }
    std::string_view failure() const override {
      if constexpr (requires(const Sink& s) { std::string_view(s.failure()); }) return sink().failure();
      return {};
    }
    std::uint64_t bytes_written() const override {
      if constexpr (requires(const Sink& s) { std::uint64_t{s.bytes_written()}; }) return sink().bytes_written();
      return 0;
    }
  };
  template <class Sink>
  struct Held final : Calls<Sink, Held<Sink>> {
    explicit Held(Sink sink) : held(std::move(sink)) {}
    Sink& get() { return held; }
    Sink held;
  };
  template <class Sink>
  struct Owned final : Calls<Sink, Owned<Sink>> {
    explicit Owned(std::unique_ptr<Sink> sink) : owned(std::move(sink)) {}
    Sink& get() { return *owned; }
    std::unique_ptr<Sink> owned;
  };

  Base* sink_;
};

}  // namespace THENCE_ABI
}  // namespace thence
