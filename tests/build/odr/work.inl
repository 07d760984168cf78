// SPDX-License-Identifier: MIT
// work.inl: the body of both units. Included by each, after the switch was set for it.
#include <span>
#include <string_view>

#include "odr/unit.hpp"
#include "thence/thence.hpp"

namespace {

struct CountingSink {
  std::uint64_t* events;
  void begin(const thence::TraceInfo&) {}
  void define_lane(const thence::LaneInfo&) {}
  void define_type(thence::TypeId, std::string_view) {}
  void define_counter(thence::CounterId, std::string_view, std::string_view) {}
  void define_stack(const thence::StackInfo&) {}
  void synchronise(const thence::ClockSnapshot&) {}
  void take(std::span<const thence::TraceEvent> taken) { *events += taken.size(); }
  void flush() {}
  void end(const thence::TraceSummary&) {}
};

UnitReport work() {
  UnitReport report;
  report.enabled = *static_cast<const volatile bool*>(&thence::kEnabled);
  report.tracer_bytes = sizeof(thence::Tracer);
  thence::SessionOptions options;
  options.process_name = "odr";
  options.drain_thread = false;
  thence::Session session{options};
  session.add_sink(CountingSink{&report.events});
  report.session_started = session.start();
  {
    auto lane = session.attach("lane");
    auto& tracer = lane.tracer();
    const thence::Resource timer = tracer.create(thence::ResourceType::kTimer);
    report.handle_given = static_cast<bool>(timer);
    {
      const thence::CallbackScope scope{tracer, timer};
      report.depth_inside = tracer.depth();
    }
    tracer.settle(timer, thence::Outcome::kFulfilled);
    tracer.destroy(timer);
  }
  session.close();
  return report;
}

}  // namespace
