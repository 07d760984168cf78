// SPDX-License-Identifier: MIT
// A host outside the repository: traces one operation and looks at what a sink of its own got.
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

#include <thence/thence.hpp>

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

int main() {
  std::uint64_t events = 0;
  thence::Session session;
  session.add_sink(CountingSink{&events});
  session.start();
  {
    auto lane = session.attach("main");
    auto& tracer = lane.tracer();
    const thence::Resource timer = tracer.create(thence::ResourceType::kTimer);
    const thence::CallbackScope scope{tracer, timer};
  }
  session.close();
  std::printf("consumer: thence %s, %llu events\n", THENCE_VERSION_STRING, static_cast<unsigned long long>(events));
  return events >= 3 ? 0 : 1;
}
