// SPDX-License-Identifier: MIT
// kj_continuation.cpp: what a continuation costs when its promise is traced, as a ratio to the same one untraced; and to the same one
// with six readings of the clock and stores beside it, the least that its six events can cost.
#include <kj/async-io.h>
#include <kj/async.h>
#include <kj/timer.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "support/floor.hpp"
#include "support/paired.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/capture/tracer.hpp"

namespace {

using namespace thence;
using TracerType = BasicTracer<DefaultPolicies>;

constexpr std::size_t kBatch = 1024;  // x kEvents is a whole number of the floor's batches
constexpr int kRounds = 400, kWarmUp = 20;
constexpr std::size_t kSteps = 10;   // of a chain
constexpr std::size_t kEvents = 6;   // created, settled, scheduled, entered, exited, destroyed
constexpr std::size_t kSlots = 131'072;

/// The two ways of making a promise.
struct Untraced {
  template <class T>
  kj::Promise<T> operator()(kj::Promise<T>&& promise) const {
    return kj::mv(promise);
  }
};
struct Traced {
  TracerType& tracer;
  template <class T>
  kj::Promise<T> operator()(kj::Promise<T>&& promise) const {
    return kj_adapter::traced(tracer, kj::mv(promise), ResourceType::kKjPromise, {.source = kj_adapter::Source::kOutside});
  }
};

int sum = 0;

/// Fulfilled by somebody, and consumed: two events of the loop.
struct Fulfilled {
  static constexpr std::size_t kPromises = 1;
  kj::WaitScope& loop;
  template <class Way>
  void operator()(const Way& way) const {
    auto pair = kj::newPromiseAndFulfiller<int>();
    auto done = way(kj::mv(pair.promise)).then([](int n) { return n + 1; }).eagerlyEvaluate(nullptr);
    pair.fulfiller->fulfill(1);
    sum += done.wait(loop);
  }
};
/// Put off to the end of the loop's queue.
struct Later {
  static constexpr std::size_t kPromises = 1;
  kj::WaitScope& loop;
  template <class Way>
  void operator()(const Way& way) const {
    sum += way(kj::evalLater([] { return 1; })).then([](int n) { return n + 1; }).wait(loop);
  }
};
/// A whole turn: the loop looks at the system, finds a timer that is due, and runs what waited for it.
struct Timer {
  static constexpr std::size_t kPromises = 1;
  kj::WaitScope& loop;
  kj::Timer& timer;
  template <class Way>
  void operator()(const Way& way) const {
    way(timer.afterDelay(0 * kj::NANOSECONDS)).then([] { ++sum; }).wait(loop);
  }
};
/// A byte through a socket of the system's: written, waited for, read.
struct Byte {
  static constexpr std::size_t kPromises = 1;
  kj::WaitScope& loop;
  kj::AsyncIoStream& near;
  kj::AsyncIoStream& far;
  template <class Way>
  void operator()(const Way& way) const {
    char in = 0;
    auto read = way(far.read(&in, 1, 1)).then([](std::size_t n) { sum += static_cast<int>(n); }).eagerlyEvaluate(nullptr);
    near.write("x", 1).wait(loop);
    read.wait(loop);
  }
};
/// A chain that is ready at once.
struct Chain {
  static constexpr std::size_t kPromises = kSteps;
  kj::WaitScope& loop;
  template <class Way>
  void operator()(const Way& way) const {
    kj::Promise<int> promise = 1;
    for (std::size_t step = 0; step != kSteps; ++step) promise = way(kj::mv(promise)).then([](int n) { return n + 1; });
    sum += promise.wait(loop);
  }
};

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  auto io = kj::setupAsyncIo();
  auto pipe = io.provider->newTwoWayPipe();
  TracerLink link;
  TracerType tracer(link, BestClock(), StackWords::Options(), StringDeduplicator::Options(), HeapStorage(kSlots));
  std::uint32_t epoch = 1;
  tracer.set_epoch(epoch);

  std::uint64_t events = 0;
  const auto add = [&](const std::string& name, auto work) {
    const std::size_t promises = kBatch * work.kPromises;
    const auto untraced = [work] {
      for (std::size_t n = 0; n != kBatch; ++n) work(Untraced{});
    };
    const auto traced = [work, &tracer] {
      for (std::size_t n = 0; n != kBatch; ++n) {
        work(Traced{tracer});
        kj_adapter::leave_loop(tracer);  // else what comes after wait() is the continuation's
      }
    };
    const auto drain = [&tracer, &events] {
      events += tracer.ring().drain([](const RecordView&) {});
      if (tracer.ring().lost() != 0) std::abort();
    };
    const auto count_events = [&events](benchmark::State& state) {
      state.counters["events"] = static_cast<double>(events) / static_cast<double>(kBatch * decltype(work)::kPromises * (kRounds + kWarmUp));
      events = 0;
    };
    const auto floor = std::make_shared<thence_bench::Floor>(kSlots);
    thence_bench::measured("kj/" + name + ", traced", thence_bench::Base{"untraced", untraced, promises}, promises, traced, drain, kRounds,
                           count_events);
    thence_bench::measured("kj/" + name + ", floor", thence_bench::Base{"untraced", untraced, promises}, promises, [=] {
      untraced();
      for (std::size_t n = 0; n < promises * kEvents; n += thence_bench::Floor::kBatch) (*floor)();
    }, [] {}, kRounds);
    thence_bench::measured("kj/" + name + ", stopped", thence_bench::Base{"untraced", untraced, promises}, promises, [=, &tracer, &epoch] {
      tracer.set_epoch(0);
      traced();
      tracer.set_epoch(++epoch);
    }, drain, kRounds);
  };
  add("a byte through a socket", Byte{io.waitScope, *pipe.ends[0], *pipe.ends[1]});
  add("a timer that is due", Timer{io.waitScope, io.provider->getTimer()});
  add("fulfilled and consumed", Fulfilled{io.waitScope});
  add("evalLater", Later{io.waitScope});
  add("a step of a chain that is ready", Chain{io.waitScope});
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
