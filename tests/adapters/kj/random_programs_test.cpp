// SPDX-License-Identifier: MIT
// Random programs of KJ promises: what they do, and in which order, must not depend on who traces them. The oracle is the
// same program without a tracer.
//
//   THENCE_TEST_PROGRAMS=1000000 kj.random_programs      as many programs; a failure names the seed
#include "thence/adapters/kj/traced.hpp"

#include <kj/async.h>
#include <kj/debug.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/recording_sink.hpp"
#include "thence/adapters/kj/fulfiller.hpp"
#include "thence/adapters/kj/loop_scope.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/session/session.hpp"

using namespace thence;
using namespace thence::kj_adapter;

namespace {

using Lines = std::vector<std::string>;
using Promise = kj::Promise<int>;
using Fulfiller = kj::Own<kj::PromiseFulfiller<int>>;

/// What a program's tracing is to it. This is none: the oracle.
struct Untraced {
  Promise watch(Promise&& promise, unsigned) { return kj::mv(promise); }
  std::pair<Promise, Fulfiller> promise_and_fulfiller(unsigned) {
    auto pair = kj::newPromiseAndFulfiller<int>();
    return {kj::mv(pair.promise), kj::mv(pair.fulfiller)};
  }
  void note(unsigned) {}
};

/// By one of two tracers, each time; `choice` is a random number.
template <class One, class Other>
struct TracedBy {
  One& one;
  Other& other;

  Promise watch(Promise&& promise, unsigned choice) {
    return by_one_of_them(choice, [&](auto& tracer) -> Promise {
      if (choice % 8 < 3) return kj::mv(promise);
      if (choice / 16 % 4 == 0) return watched(tracer, kj::mv(promise), create_resource(tracer, ResourceType::kOther), {.ends_trace = true});
      if (choice % 8 > 3) return traced(tracer, kj::mv(promise));
      LoopScope scope{tracer, Resource{}};
      return traced(tracer, kj::mv(promise));
    });
  }
  std::pair<Promise, Fulfiller> promise_and_fulfiller(unsigned choice) {
    return by_one_of_them(choice, [&](auto& tracer) -> std::pair<Promise, Fulfiller> {
      if (choice % 2 == 0) return Untraced{}.promise_and_fulfiller(choice);
      auto pair = traced_promise_and_fulfiller<int>(tracer);
      return {kj::mv(pair.promise), kj::mv(pair.fulfiller)};
    });
  }
  void note(unsigned choice) {
    by_one_of_them(choice, [&](auto& tracer) {
      if (choice % 8 == 0) return leave_loop(tracer);
      static_cast<void>(create_resource(tracer, ResourceType::kOther));
    });
  }

 private:
  template <class Function>
  decltype(auto) by_one_of_them(unsigned choice, Function&& function) {
    return choice / 8 % 2 == 0 ? function(one) : function(other);
  }
};

/// A program that follows from its seed. It keeps to KJ's rules: no callback drops the promise that it is part of. Where a
/// promise is an input of a join, or polled, it is evaluated eagerly, since a traced one's result is fetched when it is ready
/// (docs/kj.md).
template <class Tracing>
class Program : public kj::TaskSet::ErrorHandler {
 public:
  Program(std::uint64_t seed, Tracing tracing, Lines& effects)
      : effects_(effects),
        random_(seed),
        tracing_(tracing),
        throws_from_loop_(pick(3) == 0 && kKjFamily == 9),
        set_(kj::heap<kj::TaskSet>(*this)) {
    scope_.setBusyPollInterval(kMostTurns);
    kept_.reserve(kMostKept);
  }

  void run() {
    for (unsigned count = 1 + pick(5); count != 0; --count) start(4);
    for (int step = 0; step != 25 && ends_; ++step) {
      effect("step");
      switch (pick(8)) {
        case 0:
        case 1: turn_until_idle(); break;
        case 2:
        case 3: fulfil_one(); break;
        case 4: drop_one(kNoTask); break;
        case 5: start(3); break;
        case 6: poll_one(); break;
        default: wait_for_one(); break;
      }
    }
    if (ends_) turn_until_idle();
    ending_ = true;
    for (std::size_t at = 0; at < fulfillers_.size(); at += 2) fulfillers_[at]->fulfill(1);
    if (ends_) turn_until_idle();
    effect("drops all");
    for (Kept& kept : kept_) kept.promise.reset();
    set_ = nullptr;
    fulfillers_.clear();
    if (ends_) turn_until_idle();
    effect("ends");
  }

 private:
  static constexpr unsigned kMostTurns = 100'000;  // at once; the longest programs need a few hundred
  static constexpr std::size_t kMostKept = 400;
  static constexpr unsigned kNoTask = 0;

  /// A loop without an outside world.
  struct Nowhere : kj::EventPort {
    bool wait() override { KJ_FAIL_REQUIRE("waits for what never comes"); }
    bool poll() override {
      KJ_REQUIRE(!busy, "never ends");
      return false;
    }
    bool busy = false;  // whoever asks has had kMostTurns events to run
  };
  struct Kept {
    unsigned task;
    std::optional<Promise> promise;
  };

  unsigned number() {  // splitmix64
    std::uint64_t z = random_ += 0x9e37'79b9'7f4a'7c15u;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9u;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebu;
    return static_cast<unsigned>(z >> 33);
  }
  unsigned pick(std::size_t below) { return number() % static_cast<unsigned>(below); }
  void effect(const char* what) { effects_.emplace_back(what); }
  void effect(const char* what, unsigned of) { effects_.push_back(what + std::to_string(of)); }

  // -- what the code around the loop does -----------------------------------------------------------------------------

  template <class Function>
  void note_exception(Function&& function) {
    try {
      function();
    } catch (const kj::Exception& exception) {
      effects_.emplace_back(exception.getDescription().cStr());
    }
  }
  void turn_until_idle() {
    note_exception([&] {
      loop_.run(kMostTurns);
      ends_ = !loop_.isRunnable();
    });
    if (!ends_) effect("never ends");
  }
  int wait(Promise&& promise) {
    port_.busy = true;
    KJ_DEFER(port_.busy = false);
    return promise.wait(scope_);
  }
  void wait_for_one() {
    const unsigned id = ++ids_;
    note_exception([&] {
      const int value = wait(watch(kj::evalLater([this, id] { return act(id, kNoTask); }).eagerlyEvaluate(nullptr)));
      effect("waited for ", static_cast<unsigned>(value));
    });
  }
  void poll_one() {
    turn_until_idle();
    if (!ends_ || kept_.empty()) return;
    Kept& from = kept_[pick(kept_.size())];
    if (!from.promise) return;
    const unsigned task = from.task;
    Promise promise = watch(kj::mv(*from.promise).eagerlyEvaluate(nullptr));
    from.promise.reset();  // so that no callback drops it
    note_exception([&] {
      if (promise.poll(scope_)) {
        effect("is ready");
        wait(kj::mv(promise));
        return;
      }
      effect("is not ready");
      if (pick(2) == 0) return keep(task, kj::mv(promise));
      keep(task, promise.then([this](int value) { return effect("late"), value; }).eagerlyEvaluate(nullptr));
    });
  }
  void fulfil_one() {
    if (!fulfillers_.empty()) fulfillers_[pick(fulfillers_.size())]->fulfill(1);
  }
  /// Not one of `task`, whose callback this is.
  void drop_one(unsigned task) {
    if (kept_.empty()) return;
    Kept& dropped = kept_[pick(kept_.size())];
    if (dropped.task == task || !dropped.promise) return;
    effect("drops");
    const bool before = std::exchange(dropping_, true);
    dropped.promise.reset();
    dropping_ = before;
  }
  void keep(unsigned task, Promise&& promise) { kept_.push_back({task, kj::mv(promise)}); }
  void taskFailed(kj::Exception&& exception) override {
    effect("task failed");
    if (throws_from_loop_) kj::throwFatalException(kj::mv(exception));
  }

  // -- promises -------------------------------------------------------------------------------------------------------

  /// A random promise, and what becomes of it.
  void start(unsigned depth) {
    if (kept_.size() + 20 > kMostKept) return;
    const unsigned task = ++tasks_;
    Promise promise = pick(6) == 0 ? fiber(task) : make(depth, task);
    switch (pick(6)) {
      case 0: return keep(task, kj::mv(promise));
      case 1: return set_->add(promise.then([](int) {}));
      case 2: return promise.then([](int) {}).detach([this, task](kj::Exception&&) { effect("detached fails", task); });
      default:
        return keep(task, promise.then([this, task](int) { return effect("done ", task), 0; },
                                       [this, task](kj::Exception&&) { return effect("failed ", task), 0; })
                              .eagerlyEvaluate(nullptr));
    }
  }
  Promise watch(Promise&& promise) { return tracing_.watch(kj::mv(promise), number()); }

  /// `depth` deep; all its callbacks are of `task`.
  Promise make(unsigned depth, unsigned task) {
    const unsigned id = ++ids_;
    switch (pick(depth == 0 ? 5 : 17)) {
      case 0:
      case 1: {
        auto [promise, fulfiller] = tracing_.promise_and_fulfiller(number());
        fulfillers_.push_back(kj::mv(fulfiller));
        return watch(kj::mv(promise));
      }
      case 2: return watch(kj::evalLater(callback(id, task)));
      case 3: return watch(kj::evalLast(callback(id, task)));
      case 4: return watch(Promise(static_cast<int>(id)));
      case 5:
      case 6:
      case 7: return watch(make(depth - 1, task).then(callback(id, task)));
      case 8:
      case 9:
        return watch(make(depth - 1, task).then([this, depth, id, task](int) {
          act(id, task);
          return make(depth - 1, task);
        }));
      case 10: {
        auto hub = make(depth - 1, task).fork();
        for (unsigned more = pick(3); more != 0 && kept_.size() < kMostKept; --more) {
          keep(task, watch(hub.addBranch()).then(callback(id, task)).eagerlyEvaluate(nullptr));
        }
        return watch(hub.addBranch());
      }
      case 11: {
        auto inputs = kj::heapArrayBuilder<Promise>(2 + pick(2));
        while (!inputs.isFull()) inputs.add(make(depth - 1, task).eagerlyEvaluate(nullptr));
        return watch(kj::joinPromises(inputs.finish()).then([this, id, task](kj::Array<int>) { return act(id, task); }));
      }
      case 12:
      case 13: {
        Promise one = make(depth - 1, task).eagerlyEvaluate(nullptr);
        return watch(one.exclusiveJoin(make(depth - 1, task).eagerlyEvaluate(nullptr)));
      }
      case 14: return watch(make(depth - 1, task).eagerlyEvaluate(nullptr));
      case 15: return watch(make(depth - 1, task).catch_([this, id, task](kj::Exception&&) { return act(id, task); }));
      default: return watch(make(depth - 1, task).attach(kj::defer([this, id] { effect("gone ", id); })));
    }
  }
  /// Only whole tasks are fibers: KJ begins one that is dropped before it began, and then must not be waited in.
  Promise fiber(unsigned task) {
    const unsigned id = ++ids_;
    return watch(kj::startFiber(kFiberBytes, [this, id, task](kj::WaitScope& scope) {
      if (dropping_ || ending_) return 0;
      act(id, task);
      make(2, task).wait(scope);
      effect("fiber goes on ", id);
      return make(2, task).wait(scope);
    }));
  }
  static constexpr std::size_t kFiberBytes = std::size_t{1} << 18;

  auto callback(unsigned id, unsigned task) {
    return [this, id, task](int = 0) { return act(id, task); };
  }
  int act(unsigned id, unsigned task) {
    effect("", id);
    for (unsigned count = ending_ ? 0 : pick(3); count != 0; --count) {
      switch (pick(7)) {
        case 0:
        case 1: fulfil_one(); break;
        case 2:
          if (!fulfillers_.empty()) fulfillers_[pick(fulfillers_.size())]->reject(KJ_EXCEPTION(FAILED, "rejected"));
          break;
        case 3:
          if (to_start_ != 0) --to_start_, start(2);
          break;
        case 4: drop_one(task); break;
        default: tracing_.note(number()); break;
      }
    }
    if (!ending_ && pick(8) == 0) kj::throwFatalException(KJ_EXCEPTION(FAILED, "thrown"));
    return static_cast<int>(id);
  }

  Lines& effects_;  // also of what ends with the loop
  std::uint64_t random_;
  Tracing tracing_;
  unsigned ids_ = 0;
  unsigned tasks_ = kNoTask;
  unsigned to_start_ = 60;  // by callbacks
  bool throws_from_loop_;  // out of a task set; KJ 1.x does not let one
  bool ends_ = true;
  bool ending_ = false;
  bool dropping_ = false;
  Nowhere port_;
  kj::EventLoop loop_{port_};
  kj::WaitScope scope_{loop_};
  std::vector<Fulfiller> fulfillers_;
  std::vector<Kept> kept_;
  kj::Own<kj::TaskSet> set_;
};

template <class Tracing>
Lines effects_of(std::uint64_t seed, Tracing tracing) {
  Lines effects;
  Program<Tracing>(seed, tracing, effects).run();
  return effects;
}

/// Where two programs part, with what came before; nothing where they do not.
std::string difference(const Lines& without, const Lines& with) {
  const auto [left, right] = std::mismatch(without.begin(), without.end(), with.begin(), with.end());
  if (left == without.end() && right == with.end()) return "";
  const auto around = [](const Lines& lines, Lines::const_iterator at) {
    std::string text;
    for (auto line = at - std::min<std::ptrdiff_t>(6, at - lines.begin()); line != lines.end() && line - at < 4; ++line) {
      text += (line == at ? " | " : " ") + *line + ";";
    }
    return text;
  };
  return "without tracing:" + around(without, left) + "\nwith tracing:   " + around(with, right);
}

/// What of a trace does not fit together: everything entered is exited, and each promise is settled once and destroyed once.
std::string disorder(const thence_test::Recording& recording) {
  long depth = 0;
  std::map<ResourceId, int> settled, destroyed;
  for (const auto& event : recording.events) {
    depth += event.kind == EventKind::kEntered ? 1 : event.kind == EventKind::kExited ? -1 : 0;
    if (depth < 0) return "an exit without an entry";
    settled[event.resource] += event.kind == EventKind::kSettled ? 1 : 0;
    destroyed[event.resource] += event.kind == EventKind::kDestroyed ? 1 : 0;
  }
  if (depth != 0) return "an entry without an exit";
  for (const auto& event : recording.of_kind(EventKind::kCreated)) {
    if (recording.type_name(event) == "other") continue;
    if (settled[event.resource] != 1) return "a promise is settled " + std::to_string(settled[event.resource]) + " times";
    if (destroyed[event.resource] != 1) return "a promise is destroyed " + std::to_string(destroyed[event.resource]) + " times";
  }
  return "";
}

/// The tracer of one short program, made quickly.
template <class Policies>
struct TracedLoop {
  thence_test::Recording recording;
  BasicSession<Policies> session{{.ring_events = std::size_t{1} << 14,
                                  .stacks = {.max_stacks = 16, .max_frames = 256},
                                  .strings = {.max_stacks = 16, .max_frames = 256},
                                  .drain_thread = false}};
  BasicLane<Policies> lane = start();
  BasicTracer<Policies>& tracer = lane.tracer();

  /// What of the trace does not fit together.
  std::string close() {
    session.close();
    return loop_counts(tracer).pending == 0 ? disorder(recording) : "promises are pending";
  }

 private:
  BasicLane<Policies> start() {
    session.add_sink(thence_test::RecordingSink(recording));
    session.start();
    return session.attach("loop");
  }
};

[[nodiscard]] std::uint64_t programs_wanted() {
  const char* const asked = std::getenv("THENCE_TEST_PROGRAMS");
  return asked == nullptr ? 1000 : std::strtoull(asked, nullptr, 10);
}

}  // namespace

TEST_CASE("a random program has the same effects in the same order with a tracer and without") {
  std::size_t effects = 0;
  for (std::uint64_t seed = 1; seed <= programs_wanted(); ++seed) {
    TracedLoop<DefaultPolicies> one;
    const Lines without = effects_of(seed, Untraced{});
    const Lines with = effects_of(seed, TracedBy<Tracer, Tracer>{one.tracer, one.tracer});
    INFO("seed " << seed);
    REQUIRE(difference(without, with) == "");
    REQUIRE(one.close() == "");
    effects += without.size();
  }
  CHECK(effects > 20 * programs_wanted());
}

TEST_CASE("a random program has the same effects in the same order with tracers of two types on its loop") {
  struct Others : DefaultPolicies {};
  for (std::uint64_t seed = 1; seed <= programs_wanted(); ++seed) {
    TracedLoop<DefaultPolicies> one;
    TracedLoop<Others> other;
    const Lines without = effects_of(seed, Untraced{});
    const Lines with = effects_of(seed, TracedBy<Tracer, BasicTracer<Others>>{one.tracer, other.tracer});
    INFO("seed " << seed);
    REQUIRE(difference(without, with) == "");
    REQUIRE(one.close() == "");
    REQUIRE(other.close() == "");
  }
}
