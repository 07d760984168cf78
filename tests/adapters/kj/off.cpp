// SPDX-License-Identifier: MIT
// What off_test.py compiles: functions of a host on KJ. With INSTRUMENTED they trace their promises, without, the same
// functions never heard of it.
#include <kj/async.h>
#include <kj/timer.h>
#if INSTRUMENTED
#include "thence/adapters/kj/task_set.hpp"
#include "thence/adapters/kj/traced.hpp"
#define TRACED(promise) thence::kj_adapter::traced(tracer, promise)
#define WITH_TRACER(...) __VA_ARGS__
#else
#define TRACED(promise) promise
#define WITH_TRACER(...)
#endif

kj::Promise<int> query(int number);
int convert(int value);

WITH_TRACER(extern thence::Tracer tracer;)
WITH_TRACER(static_assert(thence::kEnabled ||
                          sizeof(thence::kj_adapter::Tracked<int, thence::Tracer>) == sizeof(kj::Promise<int>));)

kj::Promise<int> one(int number) { return TRACED(query(number)); }

kj::Promise<int> chained(int number) {
  return TRACED(query(number)).then([](int value) { return convert(value); });
}

int waited(int number, kj::WaitScope& scope) {
  WITH_TRACER(thence::kj_adapter::LoopScope in_request(tracer, thence::Resource{});)
  return TRACED(query(number)).wait(scope);
}

void dropped(int number) { auto promise = TRACED(query(number)); }

kj::Promise<void> timed(kj::Timer& timer) { return TRACED(timer.afterDelay(5 * kj::MILLISECONDS)); }
