// SPDX-License-Identifier: MIT
// instructions <call> <times>: makes one call of a tracer so often. instructions_test.py counts what that takes.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "thence/session/session.hpp"

namespace {

using namespace thence;

/// As BestClock on a machine whose counter can be trusted, which valgrind does not say of its own. Its rate is not measured, as
/// that takes a different count of instructions each time.
struct TrustedClock : CounterClock {
  [[nodiscard]] static constexpr std::uint64_t nanoseconds_per_tick() noexcept { return 1; }
  [[nodiscard]] static constexpr bool counts() noexcept { return true; }
  [[nodiscard]] static Ticks counter() noexcept { return CounterClock{}.now(); }
};
struct Policies : DefaultPolicies {
  using Clock = TrustedClock;
};
using CountedTracer = BasicTracer<Policies>;

// Functions of their own, as in a host: nothing of a call is shared with the next one.
[[gnu::noinline]] void nothing(CountedTracer&, Resource) { __asm__ volatile(""); }
[[gnu::noinline]] void enter_exit(CountedTracer& tracer, Resource resource) {
  tracer.enter(resource);
  tracer.exit(resource);
}
[[gnu::noinline]] void create(CountedTracer& tracer, Resource) { static_cast<void>(tracer.create(ResourceType::kTimer)); }
[[gnu::noinline]] void schedule(CountedTracer& tracer, Resource resource) { tracer.schedule(resource); }
[[gnu::noinline]] void settle(CountedTracer& tracer, Resource resource) { tracer.settle(resource, Outcome::kFulfilled); }
[[gnu::noinline]] void annotate(CountedTracer& tracer, Resource resource) { tracer.annotate(resource, "url", "https://a.b/c"); }

struct Call {
  const char* name;
  void (*run)(CountedTracer&, Resource);
};
constexpr Call kCalls[] = {{"nothing", nothing},   {"enter_exit", enter_exit}, {"create", create},
                           {"schedule", schedule}, {"settle", settle},         {"annotate", annotate}};

}  // namespace

int main(int count, char** arguments) {
  const bool stopped = count > 3;
  for (const Call& call : kCalls) {
    if (count < 3 || std::strcmp(call.name, arguments[1]) != 0) continue;
    SessionOptions options;
    options.drain_thread = false;
    BasicSession<Policies> session(options);
    session.start();
    auto lane = session.attach("loop");
    const Resource root = lane.tracer().begin_root();
    const Resource resource = lane.tracer().create(ResourceType::kOther);
    if (stopped) session.stop();
    for (long n = std::atol(arguments[2]); n > 0; --n) call.run(lane.tracer(), resource);
    std::_Exit(root && lane.tracer().ring().lost() == 0 ? 0 : 1);  // reading the ring is not what is counted
  }
  std::fprintf(stderr, "usage: instructions <call> <times> [stopped]\n");
  return 2;
}
