// SPDX-License-Identifier: MIT
// Promises whose graph is known: expected edges, settlers and causes, line by line.
#include "thence/adapters/kj/traced.hpp"

#include <kj/debug.h>
#include <kj/thread.h>
#include <kj/timer.h>

#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "adapters/kj/transcript.hpp"
#include "support/catch.hpp"
#include "thence/adapters/kj/fulfiller.hpp"
#include "thence/adapters/kj/task_set.hpp"
#include "thence/adapters/kj/timer.hpp"

using namespace thence;
using namespace thence::kj_adapter;
using thence_test::Lines;
using thence_test::Traced;

namespace {

/// A loop with a clock that the test moves.
struct Loop {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};

  void at(int milliseconds) {
    scope.poll();
    timer.advanceTo(kj::origin<kj::TimePoint>() + milliseconds * kj::MILLISECONDS);
    scope.poll();
  }
};

struct IgnoreErrors : kj::TaskSet::ErrorHandler {
  void taskFailed(kj::Exception&& exception) override { failures.push_back(exception.getDescription().cStr()); }
  std::vector<std::string> failures;
};

/// An operation of the test's own: what a continuation created, and under whom.
void mark(Traced& traced, const char* name) { traced.name(traced.tracer.create(ResourceType::kOther), name); }

}  // namespace

TEST_CASE("a promise's continuation runs in its invocation, and what it creates is caused by it") {
  Traced traced;
  {
    Loop loop;
    auto promise = kj_adapter::traced(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kFetch,
                                      {.source = Source::kOutside})
                       .then([&]() { mark(traced, "effect"); })
                       .eagerlyEvaluate(nullptr);
    loop.at(1);
    promise.wait(loop.scope);
  }
  CHECK(traced.transcript() == Lines{"fetch1 created by -", "fetch1 fulfilled by outside",
                                     "fetch1 scheduled by outside", "fetch1 entered from outside", "fetch1 destroyed",
                                     "effect created by fetch1", "fetch1 exited"});
}

TEST_CASE("who settled a promise of untraced make is unknown, never guessed") {
  Traced traced;
  {
    Loop loop;
    auto promise = kj_adapter::traced(traced.tracer, kj::evalLater([]() { return 1; })).eagerlyEvaluate(nullptr);
    CHECK(promise.wait(loop.scope) == 1);
  }
  CHECK(traced.transcript() == Lines{"kj-promise1 created by -", "kj-promise1 fulfilled by unknown",
                                     "kj-promise1 scheduled by unknown", "kj-promise1 entered", "kj-promise1 destroyed",
                                     "kj-promise1 exited"});
}

TEST_CASE("a chain of tracked promises: each awaits the one before and is settled in its invocation") {
  Traced traced;
  {
    Loop loop;
    auto first = tracked(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer,
                         {.source = Source::kOutside});
    auto second = first.then([&]() { return 2; });
    auto third = second.then([&](int value) { return value + 1; });
    auto result = kj::Promise<int>(kj::mv(third)).eagerlyEvaluate(nullptr);
    loop.at(1);
    CHECK(result.wait(loop.scope) == 3);
  }
  CHECK(traced.transcript() == Lines{"timer1 created by -",
                                     "kj-promise1 created by -",
                                     "kj-promise1 awaits timer1",
                                     "kj-promise2 created by -",
                                     "kj-promise2 awaits kj-promise1",
                                     "timer1 fulfilled by outside",
                                     "timer1 scheduled by outside",
                                     "timer1 entered from outside",
                                     "timer1 destroyed",
                                     "kj-promise1 fulfilled by timer1",
                                     "kj-promise1 scheduled by timer1",
                                     "timer1 exited",
                                     "kj-promise1 entered woken by timer1",
                                     "kj-promise1 destroyed",
                                     "kj-promise2 fulfilled by kj-promise1",
                                     "kj-promise2 scheduled by kj-promise1",
                                     "kj-promise1 exited",
                                     "kj-promise2 entered woken by kj-promise1",
                                     "kj-promise2 destroyed",
                                     "kj-promise2 exited"});
}

TEST_CASE("what a step of a chain puts off to the end of the queue is still the step's, when the chain has gone on") {
  Traced traced;
  {
    Loop loop;
    kj::Promise<void> later = nullptr;
    auto first = tracked(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer,
                         {.source = Source::kOutside});
    auto second = first.then([&]() {
      later = kj::evalLater([&]() {
                { auto unused = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE), ResourceType::kKvGet); }
              }).eagerlyEvaluate(nullptr);
    });
    auto third = second.then([]() {});
    auto result = kj::Promise<void>(kj::mv(third)).eagerlyEvaluate(nullptr);
    loop.at(1);
    result.wait(loop.scope);
    later.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"created", "entered", "exited"}) ==
        Lines{"timer1 created by -", "kj-promise1 created by -", "kj-promise2 created by -", "timer1 entered from outside", "timer1 exited",
              "kj-promise1 entered woken by timer1", "kj-promise1 exited", "kj-promise2 entered woken by kj-promise1",
              "kj-promise2 exited", "timer1 entered woken by timer1", "kv-get1 created by timer1", "timer1 exited"});
}

TEST_CASE("what a continuation makes ready is its own, and what it puts off too, when the promise that it fulfilled has gone on") {
  Traced traced;
  {
    Loop loop;
    auto plain = kj::newPromiseAndFulfiller<void>();
    auto next = traced_promise_and_fulfiller<void>(traced.tracer, ResourceType::kDoCall);
    kj::Promise<void> later = nullptr, much_later = nullptr;
    auto readied = plain.promise.then([&]() { mark(traced, "readied"); }).eagerlyEvaluate(nullptr);
    auto woken = next.promise
                     .then([&]() {
                       mark(traced, "woken");
                       much_later = kj::evalLater([&]() { mark(traced, "put off"); }).eagerlyEvaluate(nullptr);
                     })
                     .eagerlyEvaluate(nullptr);
    auto first = kj_adapter::traced(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer,
                                    {.source = Source::kOutside})
                     .then([&]() {
                       later = kj::evalLater([&]() { mark(traced, "later"); }).eagerlyEvaluate(nullptr);
                       plain.fulfiller->fulfill();
                       next.fulfiller->fulfill();
                     })
                     .eagerlyEvaluate(nullptr);
    loop.at(1);
    mark(traced, "after all");
  }
  CHECK(Traced::with(traced.transcript(), {"entered", "exited", "readied", "woken", "later", "put off", "after all"}) ==
        Lines{"timer1 entered from outside", "readied created by timer1", "timer1 exited", "do-call1 entered woken by timer1",
              "woken created by do-call1", "do-call1 exited", "timer1 entered woken by timer1", "later created by timer1",
              "timer1 exited", "do-call1 entered woken by do-call1", "put off created by do-call1", "do-call1 exited",
              "after all created by -"});
}

TEST_CASE("what a continuation makes ready is its own, also where its result is a traced promise") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto plain = kj::newPromiseAndFulfiller<void>();
    auto readied = plain.promise.then([&]() { mark(traced, "readied"); }).eagerlyEvaluate(nullptr);
    auto done = kj_adapter::traced(traced.tracer, timer.afterDelay(1 * kj::MILLISECONDS).then([&]() { plain.fulfiller->fulfill(); }))
                    .eagerlyEvaluate(nullptr);
    loop.at(1);
  }
  CHECK(Traced::with(traced.transcript(), {"readied"}) == Lines{"readied created by timer1"});
}

TEST_CASE("what untraced code makes ready is nobody's, also where its result is a traced promise") {
  Traced traced;
  {
    Loop loop;
    auto plain = kj::newPromiseAndFulfiller<void>();
    auto readied = plain.promise.then([&]() { mark(traced, "readied"); }).eagerlyEvaluate(nullptr);
    auto done = kj_adapter::traced(traced.tracer, kj::evalLater([&]() { plain.fulfiller->fulfill(); })).eagerlyEvaluate(nullptr);
    loop.scope.poll();
  }
  CHECK(Traced::with(traced.transcript(), {"readied"}) == Lines{"readied created by -"});
}

TEST_CASE("what the code behind a wait() makes ready is of what it waited for, also where that was ready already") {
  Traced traced;
  {
    Loop loop;
    auto plain = kj::newPromiseAndFulfiller<void>();
    auto readied = plain.promise.then([&]() { mark(traced, "readied"); }).eagerlyEvaluate(nullptr);
    auto first = kj_adapter::traced(traced.tracer, kj::evalLater([]() {}), ResourceType::kFetch);
    CHECK(first.poll(loop.scope));
    leave_loop(traced.tracer);
    first.wait(loop.scope);
    mark(traced, "behind");
    plain.fulfiller->fulfill();
    loop.scope.poll();
  }
  CHECK(Traced::with(traced.transcript(), {"behind", "readied"}) == Lines{"behind created by fetch1", "readied created by fetch1"});
}

TEST_CASE("each time that a continuation puts something off takes the loop one turn more") {
  Traced traced;
  Loop loop;
  const auto turns = [&](kj::Promise<void>&& promise, int times) {
    std::vector<kj::Promise<void>> kept;
    std::function<void(int)> put_off = [&](int left) {
      if (left != 0) kept.push_back(kj::evalLater([&put_off, left]() { put_off(left - 1); }).eagerlyEvaluate(nullptr));
    };
    kept.push_back(promise.then([&]() { put_off(times); }).eagerlyEvaluate(nullptr));
    int count = 0;
    for (; loop.loop.isRunnable(); ++count) loop.loop.run(1);
    return count;
  };
  const auto more_turns = [&](int times) {
    return turns(kj_adapter::traced(traced.tracer, kj::evalLater([]() {})), times) - turns(kj::evalLater([]() {}), times);
  };
  CHECK(more_turns(0) == 0);
  CHECK(more_turns(1) == 2);
  CHECK(more_turns(9) == 10);
}

TEST_CASE("promises that are ready together are each over before the next, whatever else is queued") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    std::vector<kj::Promise<void>> all;
    for (int n = 0; n < 3; ++n) all.push_back(timer.afterDelay(1 * kj::MILLISECONDS).eagerlyEvaluate(nullptr));
    all.push_back(loop.timer.afterDelay(1 * kj::MILLISECONDS).then([&]() { mark(traced, "untraced"); }).eagerlyEvaluate(nullptr));
    loop.at(1);
  }
  CHECK(Traced::with(traced.transcript(), {"entered", "exited", "untraced"}) ==
        Lines{"timer1 entered from outside", "timer1 exited", "timer2 entered from outside", "timer2 exited",
              "timer3 entered from outside", "timer3 exited", "untraced created by -"});
}

TEST_CASE("a consumer that throws out of the loop ends its invocation all the same") {
  struct Throws final : kj_adapter::detail::LoopEvent {
    void traceEvent(kj::_::TraceBuilder&) override {}
    kj::Maybe<kj::Own<kj::_::Event>> fire() override { KJ_FAIL_REQUIRE("thrown out of the loop"); }
  };
  Traced traced;
  {
    Loop loop;
    Throws consumer;
    auto promise = kj_adapter::traced(traced.tracer, kj::evalLater([]() {}));
    kj::_::PromiseNode::from(promise).onReady(&consumer);
    CHECK_THROWS_AS(loop.scope.poll(), kj::Exception);
    loop.scope.poll();
    CHECK(traced.tracer.depth() == 0);
    kj_adapter::traced(traced.tracer, kj::evalLater([]() {}), ResourceType::kFetch).wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"entered", "exited"}) ==
        Lines{"kj-promise1 entered", "kj-promise1 exited", "fetch1 entered", "fetch1 exited"});
}

TEST_CASE("what a loop still holds when it goes is cancelled, whenever it was given to it") {
  Traced traced;
  {
    Loop loop;
    const auto never = [&]() { return kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE)); };
    never().detach([](kj::Exception&&) {});
    kj_adapter::traced(traced.tracer, kj::evalLater([]() {})).wait(loop.scope);
    never().detach([](kj::Exception&&) {});
    never().then([]() {}).detach([](kj::Exception&&) {});
    loop.scope.poll();
  }
  CHECK(Traced::with(traced.transcript(), {"cancelled"}).size() == 3);
  CHECK(loop_counts(traced.tracer).pending == 0);
}

TEST_CASE("traced promises that are pending when a loop's detached tasks are cancelled go on as others do") {
  // How they run, with `in_callback` called in a continuation and `outside` behind a wait(), and twice more at the end.
  const auto transcript = [](auto&& in_callback, auto&& outside) {
    Traced traced;
    {
      Loop loop;
      const auto never = [&]() { return kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE)); };
      const auto later = [&](ResourceType type) { return kj_adapter::traced(traced.tracer, kj::evalLater([]() { return 1; }), type); };
      auto fetch = kj::newPromiseAndFulfiller<void>();
      auto result = kj_adapter::traced(traced.tracer, kj::mv(fetch.promise), ResourceType::kFetch)
                        .then([&]() { return later(ResourceType::kKvGet); })
                        .eagerlyEvaluate(nullptr);
      auto dropped = never().eagerlyEvaluate(nullptr);
      never().detach([](kj::Exception&&) {});
      auto timer = later(ResourceType::kTimer).then([&](int value) {
        in_callback(traced, loop);
        return value;
      });
      kj_adapter::traced(traced.tracer, kj::mv(timer), ResourceType::kTimer).wait(loop.scope);
      outside(traced, loop);
      later(ResourceType::kD1Query).wait(loop.scope);
      fetch.fulfiller->fulfill();
      CHECK(result.wait(loop.scope) == 1);
      dropped = nullptr;
      outside(traced, loop);
      later(ResourceType::kKvPut).wait(loop.scope);
      auto to_the_end = never().eagerlyEvaluate(nullptr);
      outside(traced, loop);
    }
    CHECK(traced.tracer.depth() == 0);
    CHECK(loop_counts(traced.tracer).pending == 0);
    return Traced::with(traced.transcript(), {"entered", "exited", "fulfilled"});
  };
  const auto nothing = [](Traced&, Loop&) {};
  const auto cancel = [](Traced&, Loop& loop) { loop.scope.cancelAllDetached(); };
  CHECK(transcript(cancel, nothing) == transcript(nothing, nothing));
  CHECK(transcript(nothing, cancel) == transcript(nothing, [](Traced& traced, Loop&) { leave_loop(traced.tracer); }));
}

TEST_CASE("a promise that was ready when a loop's detached tasks were cancelled has its result") {
  Traced traced;
  Loop loop;
  auto ready = kj_adapter::traced(traced.tracer, kj::evalLater([]() { return 1; }));
  CHECK(ready.poll(loop.scope));
  loop.scope.cancelAllDetached();
  const auto waits = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE)).eagerlyEvaluate(nullptr);
  CHECK(ready.wait(loop.scope) == 1);
  leave_loop(traced.tracer);
  CHECK(traced.tracer.depth() == 0);
}

TEST_CASE("a loop's detached tasks may be cancelled while a LoopScope is open") {
  Traced traced;
  for (int times = 0; times < 4; ++times) {  // memory comes again
    Loop loop;
    kj::Promise<int> after = nullptr;
    {
      const LoopScope scope{traced.tracer, traced.tracer.create(ResourceType::kD1Query)};
      loop.scope.cancelAllDetached();
      after = kj_adapter::traced(traced.tracer, kj::evalLater([]() { return 1; })).eagerlyEvaluate(nullptr);
    }
    CHECK(after.wait(loop.scope) == 1);
    leave_loop(traced.tracer);
    CHECK(traced.tracer.depth() == 0);
  }
}

TEST_CASE("a loop's detached tasks may be cancelled while the promises of two types of tracers turn") {
  struct Others : DefaultPolicies {};
  Traced traced;
  BasicSession<Others> session{{.drain_thread = false}};
  BasicLane<Others> lane = session.attach("loop");
  session.start();
  {
    Loop loop;
    auto first = kj::newPromiseAndFulfiller<void>(), second = kj::newPromiseAndFulfiller<void>();
    const auto waits = second.promise.then([]() {}).eagerlyEvaluate(nullptr);
    auto promise = kj_adapter::traced(traced.tracer, first.promise.then([&]() {
      loop.scope.cancelAllDetached();
      second.fulfiller->fulfill();
    }));
    const auto both = kj_adapter::traced(lane.tracer(), kj::mv(promise)).then([]() {}).eagerlyEvaluate(nullptr);
    loop.scope.poll();
    first.fulfiller->fulfill();
    for (int turns = 0; turns < 100 && loop.loop.isRunnable(); ++turns) loop.loop.run(1);
    CHECK_FALSE(loop.loop.isRunnable());  // it came to an end
    CHECK(traced.tracer.depth() == 0);
    CHECK(lane.tracer().depth() == 0);
    CHECK(loop_counts(traced.tracer).pending == 0);
    CHECK(loop_counts(lane.tracer()).pending == 0);
  }
}

TEST_CASE("a continuation may leave the loop's invocations") {
  Traced traced;
  {
    Loop loop;
    auto first = tracked(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer,
                         {.source = Source::kOutside});
    auto second = first.then([&]() { leave_loop(traced.tracer); });
    auto third = second.then([]() {});
    auto result = kj::Promise<void>(kj::mv(third)).eagerlyEvaluate(nullptr);
    loop.at(1);
    result.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"entered", "exited"}) ==
        Lines{"timer1 entered from outside", "timer1 exited", "kj-promise1 entered", "kj-promise1 exited",
              "kj-promise2 entered woken by kj-promise1", "kj-promise2 exited"});
}

TEST_CASE("a continuation that returns a promise: the chain is settled by the inner one") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto promise = kj_adapter::traced(traced.tracer, timer.afterDelay(1 * kj::MILLISECONDS).then([&]() {
                     return timer.afterDelay(1 * kj::MILLISECONDS);
                   })).eagerlyEvaluate(nullptr);
    loop.at(1);
    loop.at(2);
    promise.wait(loop.scope);
  }
  CHECK(traced.transcript() ==
        Lines{"timer1 created by -", "kj-promise1 created by -", "timer1 fulfilled by outside",
              "timer1 scheduled by outside", "timer1 entered from outside", "timer1 destroyed",
              "timer2 created by timer1", "timer1 exited", "timer2 fulfilled by outside", "timer2 scheduled by outside",
              "timer2 entered from outside", "kj-promise1 awaits timer2", "kj-promise1 fulfilled by timer2",
              "kj-promise1 scheduled by timer2", "timer2 exited", "kj-promise1 entered woken by timer2",
              "kj-promise1 destroyed", "timer2 destroyed", "kj-promise1 exited"});
}

TEST_CASE("a join awaits all its inputs and is settled by the one that came last") {
  Traced traced;
  {
    Loop loop;
    auto timer = [&](int ms) {
      return tracked(traced.tracer, loop.timer.afterDelay(ms * kj::MILLISECONDS), ResourceType::kTimer,
                     {.source = Source::kOutside});
    };
    auto inputs = kj::heapArrayBuilder<Tracked<void, Tracer>>(3);
    inputs.add(timer(3));
    inputs.add(timer(1));
    inputs.add(timer(2));
    auto all = joined(traced.tracer, inputs.finish());
    traced.name(all.resource(), "all");
    auto done = kj::Promise<void>(kj::mv(all)).then([&]() { mark(traced, "effect"); }).eagerlyEvaluate(nullptr);
    loop.at(1);
    loop.at(2);
    loop.at(3);
    done.wait(loop.scope);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"awaits"}) == Lines{"all awaits timer1", "all awaits timer2", "all awaits timer3"});
  CHECK(Traced::with(lines, {" by "}) ==
        Lines{"timer1 created by -", "timer2 created by -", "timer3 created by -", "all created by -",
              "timer2 fulfilled by outside", "timer2 scheduled by outside", "timer3 fulfilled by outside",
              "timer3 scheduled by outside", "timer1 fulfilled by outside", "timer1 scheduled by outside",
              "all fulfilled by timer1", "all scheduled by timer1", "all entered woken by timer1",
              "effect created by all"});
}

TEST_CASE("a plain join of traced promises gets its links when it is ready") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto inputs = kj::heapArrayBuilder<kj::Promise<void>>(2);
    inputs.add(timer.afterDelay(2 * kj::MILLISECONDS));
    inputs.add(timer.afterDelay(1 * kj::MILLISECONDS));
    auto all = kj_adapter::traced(traced.tracer, kj::joinPromises(inputs.finish())).eagerlyEvaluate(nullptr);
    loop.at(1);
    loop.at(2);
    all.wait(loop.scope);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"awaits", "kj-promise1 fulfilled"}) ==
        Lines{"kj-promise1 awaits timer1", "kj-promise1 awaits timer2", "kj-promise1 fulfilled by timer1"});
  // Each input is settled when it was ready, not when the join asked for it.
  CHECK(Traced::with(lines, {"fulfilled"}) ==
        Lines{"timer2 fulfilled by outside", "timer1 fulfilled by outside", "kj-promise1 fulfilled by timer1"});
}

TEST_CASE("a rejected input rejects the join") {
  Traced traced;
  {
    Loop loop;
    auto inputs = kj::heapArrayBuilder<Tracked<int, Tracer>>(2);
    inputs.add(tracked(traced.tracer, kj::Promise<int>(1)));
    inputs.add(tracked(traced.tracer, kj::Promise<int>(KJ_EXCEPTION(OVERLOADED, "no"))));
    auto all = joined(traced.tracer, inputs.finish());
    traced.name(all.resource(), "all");
    CHECK_THROWS_AS(all.wait(loop.scope), kj::Exception);
  }
  CHECK(Traced::with(traced.transcript(), {"fulfilled", "rejected"}) ==
        Lines{"kj-promise1 fulfilled by unknown", "kj-promise2 rejected by unknown", "all rejected by kj-promise2"});
}

TEST_CASE("exclusiveJoin: the winner cancels the loser and settles the join") {
  Traced traced;
  {
    Loop loop;
    auto timer = [&](int ms) {
      return tracked(traced.tracer, loop.timer.afterDelay(ms * kj::MILLISECONDS), ResourceType::kTimer,
                     {.source = Source::kOutside});
    };
    auto race = timer(5).exclusiveJoin(timer(1));
    traced.name(race.resource(), "race");
    auto done = kj::Promise<void>(kj::mv(race)).eagerlyEvaluate(nullptr);
    loop.at(1);
    done.wait(loop.scope);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"awaits", "fulfilled", "cancelled"}) ==
        Lines{"race awaits timer1", "race awaits timer2", "timer2 fulfilled by outside", "timer1 cancelled by timer2",
              "race fulfilled by timer2"});
}

TEST_CASE("timeoutAfter on a traced timer: whichever comes first cancels the other") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto slow =
        timer.timeoutAfter(1 * kj::MILLISECONDS,
                           kj_adapter::traced(traced.tracer, kj::Promise<int>(kj::NEVER_DONE), ResourceType::kFetch));
    auto quick = timer.timeoutAfter(9 * kj::MILLISECONDS,
                                    kj_adapter::traced(traced.tracer, kj::Promise<int>(7), ResourceType::kKvGet));
    loop.at(1);
    CHECK_THROWS_AS(slow.wait(loop.scope), kj::Exception);
    CHECK(quick.wait(loop.scope) == 7);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"fulfilled", "cancelled", "rejected"}) ==
        Lines{"kv-get1 fulfilled by unknown", "timer2 cancelled by kv-get1", "timer1 fulfilled by outside",
              "fetch1 cancelled by timer1"});
}

TEST_CASE("dropping a promise before it ran cancels it, by the callback that dropped it") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto victim = kj::heap(kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE), ResourceType::kFetch));
    auto killer = timer.afterDelay(1 * kj::MILLISECONDS).then([&]() { victim = nullptr; }).eagerlyEvaluate(nullptr);
    loop.at(1);
    killer.wait(loop.scope);
    leave_loop(traced.tracer);
    { auto unused = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE), ResourceType::kKvGet); }
  }
  CHECK(Traced::with(traced.transcript(), {"cancelled", "destroyed"}) ==
        Lines{"timer1 destroyed", "fetch1 cancelled by timer1", "fetch1 destroyed", "kv-get1 cancelled by unknown",
              "kv-get1 destroyed"});
}

TEST_CASE("fork: every branch awaits the hub and is settled by it") {
  Traced traced;
  {
    Loop loop;
    auto source = tracked(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer,
                          {.source = Source::kOutside});
    auto forked = source.fork();
    auto one = kj::Promise<void>(forked.addBranch()).then([&]() { mark(traced, "one"); }).eagerlyEvaluate(nullptr);
    auto two = kj::Promise<void>(forked.addBranch()).then([&]() { mark(traced, "two"); }).eagerlyEvaluate(nullptr);
    loop.at(1);
    one.wait(loop.scope);
    two.wait(loop.scope);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"awaits", "fulfilled", "one", "two"}) ==
        Lines{"kj-promise1 awaits timer1", "kj-promise2 awaits timer1", "timer1 fulfilled by outside",
              "kj-promise1 fulfilled by timer1", "one created by kj-promise1", "kj-promise2 fulfilled by timer1",
              "two created by kj-promise2"});
}

TEST_CASE(
    "what runs behind eagerlyEvaluate, a plain fork or an untraced fulfiller still belongs to the promise that set it "
    "off") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto untraced = kj::newPromiseAndFulfiller<void>();
    auto waiting = untraced.promise.then([&]() { mark(traced, "fulfilled"); }).eagerlyEvaluate(nullptr);
    auto forked = timer.afterDelay(1 * kj::MILLISECONDS).eagerlyEvaluate(nullptr).fork();
    auto one = forked.addBranch().then([&]() { mark(traced, "one"); }).eagerlyEvaluate(nullptr);
    auto two = forked.addBranch().then([&]() { untraced.fulfiller->fulfill(); }).eagerlyEvaluate(nullptr);
    auto other = timer.afterDelay(1 * kj::MILLISECONDS).then([&]() { mark(traced, "other"); }).eagerlyEvaluate(nullptr);
    loop.at(1);
    one.wait(loop.scope);
    two.wait(loop.scope);
    waiting.wait(loop.scope);
    other.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"one", "fulfilled created", "other"}) ==
        Lines{"one created by timer1", "fulfilled created by timer1", "other created by timer2"});
}

TEST_CASE("a traced fulfiller is settled when it is fulfilled: by the callback that does it, or from outside") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto inside = traced_promise_and_fulfiller<int>(traced.tracer, ResourceType::kDoCall);
    auto outside = traced_promise_and_fulfiller<void>(traced.tracer, ResourceType::kQueueSend);
    auto broken = traced_promise_and_fulfiller<void>(traced.tracer, ResourceType::kCrypto);
    auto seen = inside.promise
                    .then([&](int value) {
                      mark(traced, "effect");
                      CHECK(value == 5);
                    })
                    .eagerlyEvaluate(nullptr);
    auto by = timer.afterDelay(1 * kj::MILLISECONDS)
                  .then([&]() {
                    inside.fulfiller->fulfill(5);
                    inside.fulfiller->fulfill(6);
                    mark(traced, "after");
                  })
                  .eagerlyEvaluate(nullptr);
    loop.at(1);
    seen.wait(loop.scope);
    by.wait(loop.scope);
    leave_loop(traced.tracer);
    outside.fulfiller->fulfill();
    broken.fulfiller = nullptr;
    outside.promise.wait(loop.scope);
    leave_loop(traced.tracer);
    CHECK_THROWS_AS(broken.promise.wait(loop.scope), kj::Exception);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"fulfilled", "rejected", "do-call1 scheduled", "effect", "after", "woken"}) ==
        Lines{"timer1 fulfilled by outside", "do-call1 fulfilled by timer1", "do-call1 scheduled by timer1",
              "after created by timer1", "do-call1 entered woken by timer1", "effect created by do-call1",
              "queue-send1 fulfilled by outside", "crypto1 rejected by outside"});
}

namespace {
struct Later {
  Later(kj::PromiseFulfiller<int>& fulfiller, kj::PromiseFulfiller<int>*& out) : fulfiller_(fulfiller) {
    out = &fulfiller_;
  }
  kj::PromiseFulfiller<int>& fulfiller_;
};
}  // namespace

TEST_CASE("a traced adapted promise is settled by whoever calls its fulfiller") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    kj::PromiseFulfiller<int>* fulfiller = nullptr;
    auto promise = traced_adapted_promise<int, Later>(traced.tracer, ResourceType::kDoGet, fulfiller);
    auto by = timer.afterDelay(1 * kj::MILLISECONDS).then([&]() { fulfiller->fulfill(5); }).eagerlyEvaluate(nullptr);
    loop.at(1);
    CHECK(promise.wait(loop.scope) == 5);
  }
  CHECK(Traced::with(traced.transcript(), {"do-get1 fulfilled"}) == Lines{"do-get1 fulfilled by timer1"});
}

TEST_CASE("a promise that another thread fulfils is settled from outside") {
  Traced traced;
  {
    Loop loop;
    auto pair = kj::newPromiseAndCrossThreadFulfiller<int>();
    auto promise =
        kj_adapter::traced(traced.tracer, kj::mv(pair.promise), ResourceType::kDoCall, {.source = Source::kOutside});
    kj::Thread thread([&pair]() { pair.fulfiller->fulfill(3); });
    CHECK(promise.wait(loop.scope) == 3);
  }
  CHECK(Traced::with(traced.transcript(), {"do-call1"}) ==
        Lines{"do-call1 created by -", "do-call1 fulfilled by outside", "do-call1 scheduled by outside",
              "do-call1 entered from outside", "do-call1 destroyed", "do-call1 exited"});
}

TEST_CASE("values, move-only values, attachments and exceptions pass through unchanged") {
  Traced traced;
  Loop loop;
  auto owned = kj_adapter::traced(traced.tracer, kj::Promise<kj::Own<int>>(kj::heap(5))).wait(loop.scope);
  CHECK(*owned == 5);
  kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::READY_NOW)).wait(loop.scope);

  auto fail = []() -> kj::Promise<int> {
    kj::Exception exception(kj::Exception::Type::DISCONNECTED, "file.c", 12, kj::str("gone"));
    exception.wrapContext("context.c", 3, kj::str("while testing"));
    return kj::Promise<int>(kj::mv(exception)).then([](int value) { return value; });
  };
  kj::Maybe<kj::Exception> plain, through;
  auto keep = [](kj::Maybe<kj::Exception>& where) {
    return [&where](kj::Exception&& exception) {
      where = kj::mv(exception);
      return 0;
    };
  };
  auto same = [](int value) { return value; };
  fail().then(same).catch_(keep(plain)).wait(loop.scope);
  kj_adapter::traced(traced.tracer, fail()).then(same).catch_(keep(through)).wait(loop.scope);
  KJ_IF_MAYBE (left, plain) {
    KJ_IF_MAYBE (right, through) {
      CHECK(right->getType() == left->getType());
      CHECK(right->getDescription() == left->getDescription());
      CHECK(kj::StringPtr(right->getFile()) == kj::StringPtr(left->getFile()));
      CHECK(right->getLine() == left->getLine());
      CHECK(right->getContext() != nullptr);
      CHECK(right->getStackTrace().size() == left->getStackTrace().size());
    } else {
      FAIL("the exception did not arrive");
    }
  }

  struct Note {
    std::vector<std::string>& log;
    const char* text;
    Note(std::vector<std::string>& log_in, const char* text_in) : log(log_in), text(text_in) {}
    ~Note() { log.push_back(text); }
  };
  auto run = [&](auto&& wrap) {
    std::vector<std::string> log;
    wrap(kj::Promise<void>(kj::READY_NOW).attach(kj::heap<Note>(log, "attachment gone")))
        .then([&]() { log.push_back("continuation"); })
        .wait(loop.scope);
    return log;
  };
  CHECK(run([&](kj::Promise<void> promise) { return kj_adapter::traced(traced.tracer, kj::mv(promise)); }) ==
        run([](kj::Promise<void> promise) { return promise; }));
}

TEST_CASE("tracing changes neither what is evaluated nor in which order") {
  Traced traced;
  Loop loop;
  const auto run = [&](auto&& wrap) {
    std::vector<int> order;
    auto step = [&order](int number) { return [&order, number]() { order.push_back(number); }; };
    auto paf = kj::newPromiseAndFulfiller<void>();
    auto forked = paf.promise.fork();
    std::vector<kj::Promise<void>> all;
    all.push_back(wrap(forked.addBranch()).then(step(1)).eagerlyEvaluate(nullptr));
    all.push_back(forked.addBranch().then(step(2)).eagerlyEvaluate(nullptr));
    all.push_back(wrap(wrap(forked.addBranch()).then(step(3))).then(step(4)).eagerlyEvaluate(nullptr));
    all.push_back(wrap(kj::evalLater(step(5))).then(step(6)).eagerlyEvaluate(nullptr));
    all.push_back(kj::evalLater(step(7)).then(step(8)).eagerlyEvaluate(nullptr));
    all.push_back(wrap(kj::evalLast(step(9))).then(step(10)).eagerlyEvaluate(nullptr));
    auto never = wrap(kj::Promise<void>(kj::READY_NOW).then(step(98))).then(step(99));  // nobody waits for it
    paf.fulfiller->fulfill();
    for (auto& promise : all) promise.wait(loop.scope);
    return order;
  };
  const auto plain = run([](kj::Promise<void> promise) { return promise; });
  const auto through =
      run([&](kj::Promise<void> promise) { return kj_adapter::traced(traced.tracer, kj::mv(promise)); });
  CHECK(through == plain);
  CHECK(plain.size() == 10);
}

TEST_CASE("poll() works on a traced promise, and what is consumed later still runs in its invocation") {
  Traced traced;
  {
    Loop loop;
    auto pair = kj::newPromiseAndFulfiller<void>();
    auto promise = kj_adapter::traced(traced.tracer, kj::mv(pair.promise), ResourceType::kFetch);
    CHECK_FALSE(promise.poll(loop.scope));
    CHECK_FALSE(promise.poll(loop.scope));
    pair.fulfiller->fulfill();
    CHECK(promise.poll(loop.scope));
    loop.scope.poll();
    auto done = promise.then([&]() { mark(traced, "effect"); }).eagerlyEvaluate(nullptr);
    done.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"effect"}) == Lines{"effect created by fetch1"});
}

TEST_CASE("two requests that interleave on one loop never mix") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    std::vector<kj::Promise<void>> requests;
    auto step = [&timer]() { return timer.afterDelay(1 * kj::MILLISECONDS); };
    for (int n = 0; n < 3; ++n) {
      const Resource root = traced.tracer.begin_root();
      CallbackScope scope{traced.tracer, root};
      requests.push_back(step()
                             .then(step)
                             .then(step)
                             .then([&traced, root]() {
                               const Resource last = traced.tracer.create(ResourceType::kOther);
                               CHECK(last.root == root.root);
                               traced.tracer.finish_root(root);
                             })
                             .eagerlyEvaluate(nullptr));
    }
    for (int ms = 1; ms < 6; ++ms) loop.at(ms);
    for (auto& request : requests) request.wait(loop.scope);
  }
  traced.transcript();
  std::map<RootId, int> per_root;
  std::map<ResourceId, RootId> root_of;
  for (const auto& event : traced.recording.of_kind(EventKind::kCreated)) {
    ++per_root[event.root];
    root_of[event.resource] = event.root;
    if (event.other != ResourceId::kNone) CHECK(root_of.at(event.other) == event.root);
  }
  REQUIRE(per_root.size() == 3);
  for (const auto& [root, count] : per_root) CHECK(count == 5);  // the root, three timers, the last mark
}

TEST_CASE("of a request that is not traced nothing is recorded, also behind its promises") {
  Traced traced(Sampling::none());
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    const Resource root = traced.tracer.begin_root();
    kj::Promise<void> done = nullptr;
    {
      CallbackScope scope{traced.tracer, root};
      done = timer.afterDelay(1 * kj::MILLISECONDS)
                 .then([&]() {
                   mark(traced, "effect");
                   return timer.afterDelay(1 * kj::MILLISECONDS);
                 })
                 .then([&]() { mark(traced, "effect"); })
                 .eagerlyEvaluate(nullptr);
    }
    loop.at(1);
    loop.at(2);
    done.wait(loop.scope);
  }
  CHECK(traced.transcript() == Lines{});
}

TEST_CASE("while nothing is recorded a promise is not wrapped") {
  Traced traced;
  traced.session.stop();
  Loop loop;
  auto promise = kj::evalLater([]() { return 3; });
  auto* before = &kj::_::PromiseNode::from(promise);
  auto after = kj_adapter::traced(traced.tracer, kj::mv(promise));
  CHECK(&kj::_::PromiseNode::from(after) == before);
  CHECK(after.wait(loop.scope) == 3);
}

TEST_CASE("with tracing compiled out a promise is not wrapped, and a tracked one is just a promise") {
  NullTracer none;
  Loop loop;
  auto promise = kj::evalLater([]() { return 3; });
  auto* before = &kj::_::PromiseNode::from(promise);
  auto after = kj_adapter::traced(none, kj::mv(promise));
  CHECK(&kj::_::PromiseNode::from(after) == before);
  static_assert(sizeof(Tracked<int, NullTracer>) == sizeof(kj::Promise<int>));
  static_assert(std::is_same_v<decltype(after), kj::Promise<int>>);
  auto chain = tracked(none, kj::mv(after)).then([](int value) { return value + 1; });
  auto forked = chain.fork();
  CHECK(forked.addBranch().wait(loop.scope) == 4);
  auto pair = traced_promise_and_fulfiller<void>(none);
  pair.fulfiller->fulfill();
  pair.promise.wait(loop.scope);
}

TEST_CASE("a long exchange of promises stays flat") {
  Traced traced;
  std::size_t deepest = 0;
  {
    Loop loop;
    struct Player {
      Traced& traced;
      std::size_t& deepest;
      kj::Own<kj::PromiseFulfiller<void>> mine, theirs;

      kj::Promise<void> play(int rounds) {
        auto pair = traced_promise_and_fulfiller<void>(traced.tracer);
        mine = kj::mv(pair.fulfiller);
        return pair.promise.then([this, rounds]() -> kj::Promise<void> {
          deepest = std::max(deepest, traced.tracer.depth());
          if (rounds == 0) return kj::READY_NOW;
          return play(rounds - 1);
        });
      }
    };
    Player one{traced, deepest, {}, {}}, two{traced, deepest, {}, {}};
    auto first = one.play(2000).eagerlyEvaluate(nullptr);
    auto second = two.play(2000).eagerlyEvaluate(nullptr);
    for (int n = 0; n < 2001; ++n) {
      one.mine->fulfill();
      two.mine->fulfill();
      loop.scope.poll();
      if (n % 100 == 0) traced.session.drain();
    }
    first.wait(loop.scope);
    second.wait(loop.scope);

    // Each fulfils the other's next promise from its continuation: one unbroken chain of depth-first turns.
    std::function<kj::Promise<void>(int)> step = [&](int left) -> kj::Promise<void> {
      deepest = std::max(deepest, traced.tracer.depth());
      if (left == 0) return kj::READY_NOW;
      auto pair = traced_promise_and_fulfiller<void>(traced.tracer);
      auto next = pair.promise.then([&step, left]() { return step(left - 1); });
      if (left % 100 == 0) traced.session.drain();
      auto late = kj::evalNow([&]() { return kj::mv(next); }).eagerlyEvaluate(nullptr);
      pair.fulfiller->fulfill();
      return late;
    };
    step(3000).wait(loop.scope);

    // Each leaves something else to run before the next, which follows from either of the two.
    for (const bool from_other : {false, true}) {
      IgnoreErrors errors;
      kj::TaskSet tasks{errors};
      std::function<void(int)> hop = [&](int left) {
        deepest = std::max(deepest, traced.tracer.depth());
        if (left == 0) return;
        if (left % 100 == 0) traced.session.drain();
        auto next = kj::newPromiseAndFulfiller<void>(), other = kj::newPromiseAndFulfiller<void>();
        tasks.add(other.promise.then([&hop, from_other, left]() { if (from_other) hop(left - 1); }));
        auto promise = next.promise.then([fulfiller = kj::mv(other.fulfiller)]() mutable { fulfiller->fulfill(); });
        tasks.add(kj_adapter::traced(traced.tracer, kj::mv(promise)).then([&hop, from_other, left]() { if (!from_other) hop(left - 1); }));
        next.fulfiller->fulfill();
      };
      hop(3000);
      loop.scope.poll();
    }
  }
  CHECK(deepest <= 4);
  CHECK(traced.tracer.misuse().too_deep == 0);
  CHECK(traced.tracer.depth() == 0);
}

TEST_CASE("a loop that is destroyed while an invocation is open closes it") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto done = timer.afterDelay(1 * kj::MILLISECONDS).eagerlyEvaluate(nullptr);
    loop.timer.advanceTo(kj::origin<kj::TimePoint>() + 1 * kj::MILLISECONDS);
    done.wait(loop.scope);
    CHECK(traced.tracer.depth() == 1);
  }
  CHECK(traced.tracer.depth() == 0);
  CHECK(Traced::with(traced.transcript(), {"exited"}) == Lines{"timer1 exited"});
}

TEST_CASE("in_scope: a continuation of an untraced promise runs in the resource it is given") {
  Traced traced;
  {
    Loop loop;
    const Resource operation = traced.tracer.create(ResourceType::kD1Query);
    const int result = kj::evalLater([]() { return 4; })
                           .then(in_scope(traced.tracer, operation,
                                          [&](int value) {
                                            mark(traced, "effect");
                                            return value + 1;
                                          }))
                           .wait(loop.scope);
    CHECK(result == 5);
    auto failed = kj::Promise<int>(KJ_EXCEPTION(FAILED, "no"))
                      .then([](int value) { return value; }, in_scope(traced.tracer, operation, [&](kj::Exception&&) {
                              mark(traced, "handler");
                              return 0;
                            }));
    CHECK(failed.wait(loop.scope) == 0);
  }
  CHECK(traced.transcript() == Lines{"d1-query1 created by -", "d1-query1 entered", "effect created by d1-query1",
                                     "d1-query1 exited", "d1-query1 entered", "handler created by d1-query1",
                                     "d1-query1 exited"});
}

TEST_CASE("a LoopScope takes in what its block gives the loop to do; a CallbackScope does not") {
  Traced traced;
  {
    Loop loop;
    const Resource operation = traced.tracer.create(ResourceType::kD1Query);
    auto ready = kj::newPromiseAndFulfiller<void>();
    auto waiting = ready.promise.then([&]() { mark(traced, "readied"); }).eagerlyEvaluate(nullptr);
    kj::Promise<void> deferred = nullptr, plain = nullptr, none = nullptr;
    {
      LoopScope scope{traced.tracer, operation};
      deferred = kj::evalLater([&]() { mark(traced, "deferred"); }).eagerlyEvaluate(nullptr);
      ready.fulfiller->fulfill();
    }
    { LoopScope scope{traced.tracer, operation}; }
    {
      CallbackScope scope{traced.tracer, operation};
      plain = kj::evalLater([&]() { mark(traced, "plain"); }).eagerlyEvaluate(nullptr);
    }
    waiting.wait(loop.scope);
    deferred.wait(loop.scope);
    plain.wait(loop.scope);
  }
  CHECK(traced.transcript() == Lines{"d1-query1 created by -", "d1-query1 entered", "d1-query1 exited",
                                     "d1-query1 entered", "d1-query1 exited", "d1-query1 entered", "d1-query1 exited",
                                     "d1-query1 entered woken by d1-query1", "readied created by d1-query1",
                                     "d1-query1 exited", "d1-query1 entered woken by d1-query1",
                                     "deferred created by d1-query1", "d1-query1 exited", "plain created by -"});
}

TEST_CASE("leave_loop() within a LoopScope ends what was open before it") {
  Traced traced;
  {
    Loop loop;
    const Resource operation = traced.tracer.create(ResourceType::kD1Query);
    kj::Promise<void> deferred = nullptr;
    {
      LoopScope scope{traced.tracer, operation};
      deferred = kj::evalLater([&]() { mark(traced, "deferred"); }).eagerlyEvaluate(nullptr);
      leave_loop(traced.tracer);
    }
    deferred.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"deferred"}) == Lines{"deferred created by d1-query1"});
}

TEST_CASE("a fiber's code after wait() runs in the invocation of what it waited for") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto fiber = kj_adapter::traced(traced.tracer, kj::startFiber(65536,
                                                                  [&](kj::WaitScope& scope) {
                                                                    timer.afterDelay(1 * kj::MILLISECONDS).wait(scope);
                                                                    mark(traced, "first");
                                                                    timer.afterDelay(1 * kj::MILLISECONDS).wait(scope);
                                                                    mark(traced, "second");
                                                                  }))
                     .eagerlyEvaluate(nullptr);
    loop.at(1);
    loop.at(2);
    fiber.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"first", "second", "timer2 created", "kj-promise1 fulfilled"}) ==
        Lines{"first created by timer1", "timer2 created by timer1", "second created by timer2",
              "kj-promise1 fulfilled by timer2"});
}

TEST_CASE("a scope held across a fiber's wait() is counted, and does not take in what runs meanwhile") {
  Traced traced;
  LoopCounts counts;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    const auto before = loop_counts(traced.tracer).crossed_scopes;
    auto fiber = kj::startFiber(65536, [&](kj::WaitScope& scope) {
                   timer.afterDelay(1 * kj::MILLISECONDS).wait(scope);
                   const Resource held = traced.tracer.create(ResourceType::kCrypto);
                   CallbackScope across{traced.tracer, held};
                   timer.afterDelay(2 * kj::MILLISECONDS).wait(scope);
                 }).eagerlyEvaluate(nullptr);
    loop.at(1);
    auto other = kj::evalLater([&]() { mark(traced, "meanwhile"); }).eagerlyEvaluate(nullptr);
    other.wait(loop.scope);
    loop.at(3);
    fiber.wait(loop.scope);
    counts = loop_counts(traced.tracer);
    CHECK(counts.crossed_scopes - before == 1);
  }
  CHECK(traced.tracer.misuse().exit_without_enter == 1);
  CHECK(Traced::with(traced.transcript(), {"meanwhile"}) == Lines{"meanwhile created by -"});
}

TEST_CASE("a traced task set cancels what is outstanding, reports failures in their task, and says when it is empty") {
  Traced traced;
  IgnoreErrors errors;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    TracedTaskSet tasks(traced.tracer, errors);
    CHECK(tasks.isEmpty());
    tasks.add(timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kOther);
    tasks.add(kj::Promise<void>(KJ_EXCEPTION(FAILED, "task broke")), ResourceType::kCrypto);
    auto empty = tasks.onEmpty();
    CHECK_FALSE(empty.poll(loop.scope));
    loop.at(1);
    CHECK(empty.poll(loop.scope));
    empty.wait(loop.scope);
    CHECK(tasks.isEmpty());
    leave_loop(traced.tracer);

    tasks.add(kj::Promise<void>(kj::NEVER_DONE), ResourceType::kFetch);
    auto cleared = tasks.onEmpty();
    tasks.clear();
    cleared.wait(loop.scope);
    tasks.add(kj::Promise<void>(kj::NEVER_DONE), ResourceType::kKvGet);
  }
  CHECK(errors.failures == std::vector<std::string>{"task broke"});
  CHECK(Traced::with(traced.transcript(), {"other1 fulfilled", "crypto1 rejected", "cancelled"}) ==
        Lines{"crypto1 rejected by unknown", "other1 fulfilled by timer1", "fetch1 cancelled by unknown",
              "kv-get1 cancelled by unknown"});
}

namespace {

/// Fulfils its promise when that is dropped.
struct FulfilsWhenDropped {
  explicit FulfilsWhenDropped(kj::PromiseFulfiller<void>& mine) : fulfiller(mine) {}
  ~FulfilsWhenDropped() { fulfiller.fulfill(); }
  kj::PromiseFulfiller<void>& fulfiller;
};
struct alignas(64) Wide {
  double values[8] = {};
};

/// What `program` notes, without tracing and with it.
template <class Program>
void same_with_and_without(Program&& program) {
  std::string plain, with;
  {
    Loop loop;
    program(loop, plain, [](auto&& promise) { return kj::mv(promise); });
  }
  Traced traced;
  {
    Loop loop;
    program(loop, with, [&](auto&& promise) { return kj_adapter::traced(traced.tracer, kj::mv(promise)); });
  }
  CHECK(plain == with);
}

}  // namespace

TEST_CASE("a promise that becomes ready as it is dropped leaves nothing behind in the loop") {
  Traced traced;
  {
    Loop loop;
    {
      auto dropped = kj_adapter::traced(traced.tracer, kj::newAdaptedPromise<void, FulfilsWhenDropped>()).eagerlyEvaluate(nullptr);
      loop.scope.poll();
    }
    bool ran = false;
    auto next = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::NEVER_DONE)).then([&] { ran = true; }).eagerlyEvaluate(nullptr);
    loop.scope.poll();
    CHECK_FALSE(ran);
  }
}

TEST_CASE("a promise that was polled in vain runs its continuation when it would have without tracing, and not unasked") {
  same_with_and_without([](Loop& loop, std::string& noted, auto&& watch) {
    auto first = kj::newPromiseAndFulfiller<void>();
    auto second = kj::newPromiseAndFulfiller<void>();
    auto promise = watch(kj::mv(first.promise));
    promise.poll(loop.scope);
    auto other = second.promise.then([&] { noted += "B"; }).eagerlyEvaluate(nullptr);
    first.fulfiller->fulfill();
    second.fulfiller->fulfill();
    auto late = promise.then([&] { noted += "A"; }).eagerlyEvaluate(nullptr);
    loop.scope.poll();
  });
  same_with_and_without([](Loop& loop, std::string& noted, auto&& watch) {
    auto source = kj::newPromiseAndFulfiller<void>();
    auto promise = watch(source.promise.then([&] { noted += "ran"; }));
    promise.poll(loop.scope);
    source.fulfiller->fulfill();
    loop.scope.poll();
  });
}

// UndefinedBehaviorSanitizer sees a node that lies wrongly.
TEST_CASE("a result of any alignment is kept at its alignment") {
  Traced traced;
  Loop loop;
  for (int n = 0; n != 5; ++n) {
    const Wide wide = kj_adapter::traced(traced.tracer, kj::evalLater([] { return Wide{}; })).wait(loop.scope);
    CHECK(wide.values[7] == 0);
  }
}

TEST_CASE("what comes behind the end of a trace is nobody's, whatever else was ready") {
  Traced traced;
  {
    Loop loop;
    kj::Promise<void> later = nullptr, more = nullptr, ended = nullptr;
    auto request = kj::newPromiseAndFulfiller<void>();
    auto other = kj::newPromiseAndFulfiller<void>();
    const Resource end = traced.tracer.create(ResourceType::kOther);
    traced.name(end, "end");
    ended = watched(traced.tracer, kj::mv(request.promise), end, {.ends_trace = true})
                .then([&] {
                  mark(traced, "at once");
                  later = kj::evalLater([&] { mark(traced, "later"); }).eagerlyEvaluate(nullptr);
                })
                .eagerlyEvaluate(nullptr);
    more = other.promise.then([&] { mark(traced, "more"); }).eagerlyEvaluate(nullptr);
    auto first = kj_adapter::traced(traced.tracer, loop.timer.afterDelay(1 * kj::MILLISECONDS), ResourceType::kTimer)
                     .then([&] {
                       request.fulfiller->fulfill();  // its end runs nested in the timer's invocation, which has more to do
                       other.fulfiller->fulfill();
                     })
                     .eagerlyEvaluate(nullptr);
    loop.at(1);
  }
  CHECK(Traced::with(traced.transcript(), {"at once", "later", "more"}) ==
        Lines{"at once created by -", "more created by timer1", "later created by -"});
}

TEST_CASE("what comes behind a join that the end of a trace completes is nobody's") {
  Traced traced;
  {
    Loop loop;
    auto request = kj::newPromiseAndFulfiller<void>();
    auto other = kj::newPromiseAndFulfiller<void>();
    auto parts = kj::heapArrayBuilder<kj::Promise<void>>(2);
    parts.add(kj_adapter::traced(traced.tracer, kj::mv(other.promise), ResourceType::kFetch));
    parts.add(watched(traced.tracer, kj::mv(request.promise), traced.tracer.create(ResourceType::kOther), {.ends_trace = true}));
    auto promise = kj::joinPromises(parts.finish()).then([&] { mark(traced, "behind it"); }).eagerlyEvaluate(nullptr);
    other.fulfiller->fulfill();
    loop.scope.poll();
    request.fulfiller->fulfill();
    promise.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"behind it"}) == Lines{"behind it created by -"});
}

TEST_CASE("a scope held across a wait behind the end of a trace is counted, and takes in nothing else") {
  Traced traced;
  {
    Loop loop;
    auto request = kj::newPromiseAndFulfiller<void>();
    auto other = kj::newPromiseAndFulfiller<void>();
    kj::Promise<void> unrelated = nullptr;
    const auto crossed = loop_counts(traced.tracer).crossed_scopes;
    const Resource end = traced.tracer.create(ResourceType::kOther), held = traced.tracer.create(ResourceType::kOther);
    traced.name(end, "end");
    traced.name(held, "held");
    auto fiber = kj::startFiber(64 * 1024, [&](kj::WaitScope& scope) {
      watched(traced.tracer, kj::mv(request.promise), end, {.ends_trace = true}).wait(scope);
      unrelated = kj::evalLater([&] { mark(traced, "unrelated"); }).eagerlyEvaluate(nullptr);
      const CallbackScope across{traced.tracer, held};
      other.promise.wait(scope);
    });
    request.fulfiller->fulfill();
    loop.scope.poll();
    CHECK(loop_counts(traced.tracer).crossed_scopes == crossed + 1);
    other.fulfiller->fulfill();
    fiber.wait(loop.scope);
  }
  CHECK(Traced::with(traced.transcript(), {"unrelated"}) == Lines{"unrelated created by -"});
}

TEST_CASE("KJ's asynchronous stack is taken as the place of creation where it is asked for") {
  Traced traced;
  {
    Loop loop;
    auto inner = kj::evalLater([&]() {
                   auto promise = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::READY_NOW),
                                                     ResourceType::kFetch, {.async_stack = true});
                   return promise;
                 }).then([]() {
                   }).eagerlyEvaluate(nullptr);
    inner.wait(loop.scope);
    take_async_stacks(traced.tracer, true);
    TracedTimer timer(traced.tracer, loop.timer);
    kj::evalLater([&]() { auto unused = timer.afterDelay(1 * kj::MILLISECONDS); })
        .eagerlyEvaluate(nullptr)
        .wait(loop.scope);
    auto outside = kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::READY_NOW), ResourceType::kKvGet);
    outside.wait(loop.scope);
    take_async_stacks(traced.tracer, false);
  }
  traced.transcript();
  for (const auto& event : traced.recording.of_kind(EventKind::kCreated)) {
    const auto& frames = traced.recording.stacks.at(event.stack);
    REQUIRE_FALSE(frames.empty());
    if (traced.recording.type_name(event) != "kv-get") {
      CHECK(frames[0].kind == FrameKind::kNative);
      CHECK(frames[0].pc != 0);
    } else {
      CHECK(frames[0].kind == FrameKind::kSource);  // outside the loop there is none: the call site stands in
    }
  }
}

TEST_CASE("a promise bears the line that traced it") {
  Traced traced;
  unsigned line = 0;
  {
    Loop loop;
    line = __LINE__ + 1;
    kj_adapter::traced(traced.tracer, kj::Promise<void>(kj::READY_NOW)).wait(loop.scope);
  }
  traced.transcript();
  const auto created = traced.recording.of_kind(EventKind::kCreated);
  REQUIRE(created.size() == 1);
  CHECK(traced.recording.stacks.at(created[0].stack)[0].line == line);
}

// g++ 14 (Debian 13) ends in an internal error on any co_await of a kj::Promise.
#if KJ_HAS_COROUTINE && (defined(__clang__) || __GNUC__ >= 15)

TEST_CASE("a coroutine's code after co_await runs in the invocation of what it awaited, and settles it") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto after = [&](int ms) { return timer.afterDelay(ms * kj::MILLISECONDS); };
    auto inner = [&]() -> kj::Promise<int> {
      mark(traced, "start");
      co_await after(1);
      mark(traced, "first");
      co_await after(1);
      mark(traced, "second");
      co_return 4;
    };
    auto outer = [&]() -> kj::Promise<int> {
      const int value = co_await kj_adapter::traced(traced.tracer, inner(), ResourceType::kDoCall);
      mark(traced, "outer");
      co_return value + 1;
    };
    auto done = kj_adapter::traced(traced.tracer, outer(), ResourceType::kCrypto);
    loop.at(1);
    auto eager = done.eagerlyEvaluate(nullptr);
    loop.at(2);
    CHECK(eager.wait(loop.scope) == 5);
  }
  CHECK(Traced::with(traced.transcript(), {"start", "first", "second", "outer", "fulfilled"}) ==
        Lines{"start created by -", "timer1 fulfilled by outside", "first created by timer1",
              "timer2 fulfilled by outside", "second created by timer2", "do-call1 fulfilled by timer2",
              "outer created by do-call1", "crypto1 fulfilled by do-call1"});
}

TEST_CASE("a scope held across co_await is counted, and does not take in what runs meanwhile") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto after = [&](int ms) { return timer.afterDelay(ms * kj::MILLISECONDS); };
    const auto before = loop_counts(traced.tracer).crossed_scopes;
    auto body = kj::coCapture([&]() -> kj::Promise<void> {
      co_await after(1);
      const Resource held = traced.tracer.create(ResourceType::kCrypto);
      CallbackScope across{traced.tracer, held};
      co_await after(2);
    });
    auto done = body().eagerlyEvaluate(nullptr);
    loop.at(1);
    auto other = kj::evalLater([&]() { mark(traced, "meanwhile"); }).eagerlyEvaluate(nullptr);
    other.wait(loop.scope);
    loop.at(3);
    done.wait(loop.scope);
    CHECK(loop_counts(traced.tracer).crossed_scopes - before == 1);
  }
  CHECK(traced.tracer.misuse().exit_without_enter == 1);
  CHECK(Traced::with(traced.transcript(), {"meanwhile"}) == Lines{"meanwhile created by -"});
}

TEST_CASE("a coroutine that is dropped while it is suspended cancels what it waits for") {
  Traced traced;
  {
    Loop loop;
    TracedTimer timer(traced.tracer, loop.timer);
    auto after = [&](int ms) { return timer.afterDelay(ms * kj::MILLISECONDS); };
    auto body = [&]() -> kj::Promise<void> { co_await after(1); };
    auto done = kj_adapter::traced(traced.tracer, body(), ResourceType::kCrypto);
    loop.at(0);
    done = nullptr;
  }
  CHECK(Traced::with(traced.transcript(), {"cancelled"}) ==
        Lines{"crypto1 cancelled by unknown", "timer1 cancelled by unknown"});
}

#endif
