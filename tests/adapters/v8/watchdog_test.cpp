// SPDX-License-Identifier: MIT
// The watchdog: what blocks is caught while it blocks, and nobody else is accused.
#include "thence/adapters/v8/watchdog.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"
#include "thence/analysis/analysis.hpp"
#include "thence/model/model_builder.hpp"

using namespace thence_test;
using thence::EventKind;

namespace {

using Clock = std::chrono::steady_clock;

void spin(std::chrono::milliseconds time) {
  for (const auto end = Clock::now() + time; Clock::now() < end;) {
  }
}

/// A look from another thread, at a moment that the test chooses.
void look(v8a::Watchdog& dog) {
  std::thread([&] { dog.look(); }).join();
}

/// The functions of a sample's stack, innermost first.
std::vector<std::string> functions(const Program& program, const RecordedEvent& sample) {
  std::vector<std::string> names;
  const auto found = program.recording.stacks.find(sample.stack);
  if (found == program.recording.stacks.end()) return names;
  for (const RecordedFrame& frame : found->second) names.push_back(frame.function);
  return names;
}

/// Script functions that spin, and that let the test look.
struct Watched {
  explicit Watched(v8a::WatchdogOptions options)
      : program({.promises = {.stacks = {.mode = v8a::StackMode::kNone}, .gc_pauses = false}}),
        dog(std::make_unique<v8a::Watchdog>(program.isolate(), program.tracer(), options)) {
    const auto data = v8::External::New(program.isolate(), this);
    const auto expose = [&](const char* name, v8::FunctionCallback callback) {
      const auto function = v8::Function::New(program.context, callback, data).ToLocalChecked();
      program.context->Global()->Set(program.context, program.text(name), function).Check();
    };
    expose("native_spin", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      spin(std::chrono::milliseconds(info[0].As<v8::Int32>()->Value()));
    });
    expose("look", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      look(*static_cast<Watched*>(info.Data().As<v8::External>()->Value())->dog);
    });
    program.run(R"js(
      function go_on() { let sum = 0; for (let i = 0; i < 1000; ++i) sum += i; return sum }
      function grind(ms) { const end = Date.now() + ms; while (Date.now() < end) go_on() }
      function handler(ms) { grind(ms) }
    )js");
  }
  std::vector<RecordedEvent> samples() {
    program.promises->flush();
    program.session.stop();
    return program.recording.of_kind(EventKind::kSample);
  }

  Program program;
  std::unique_ptr<v8a::Watchdog> dog;
};

}  // namespace

TEST_CASE("a call that blocks for 300 ms is found with the stack that blocked, in the resource that was running") {
  Watched watched({.after_ns = 50'000'000, .again_ns = 50'000'000});
  std::atomic<bool> done = false;
  std::thread host([&] {
    while (!done) {
      watched.dog->look();
      std::this_thread::sleep_for(watched.dog->look_every());
    }
  });
  watched.program.run("name(Promise.resolve(300).then(handler), 'handled')");
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    watched.program.microtasks();
  }
  done = true;
  host.join();
  const auto samples = watched.samples();
  REQUIRE(!samples.empty());
  CHECK(samples.size() <= 6);
  const auto entered = watched.program.recording.of_kind(EventKind::kEntered);
  REQUIRE(entered.size() == 1);
  const auto exited = watched.program.recording.of_kind(EventKind::kExited);
  REQUIRE(exited.size() == 1);
  std::size_t with_stack = 0;
  for (const RecordedEvent& sample : samples) {
    CHECK(sample.sample() == thence::SampleKind::kCpu);
    CHECK(sample.resource == entered[0].resource);
    CHECK(sample.time > entered[0].time);
    CHECK(sample.time < exited[0].time);
    const auto names = functions(watched.program, sample);
    const bool grinds = std::find(names.begin(), names.end(), "grind") != names.end();
    if (grinds && std::find(names.begin(), names.end(), "handler") != names.end()) ++with_stack;
  }
  // Where the machine takes the processor away before the first line of the handler, the turn is already too long there.
  CHECK(with_stack >= 1);
  CHECK(with_stack + 1 >= samples.size());
  CHECK(watched.dog->counts().sampled == samples.size());
  CHECK(watched.dog->counts().missed == 0);
}

TEST_CASE("a busy program of short turns is not accused, and each long turn among them is found") {
  Watched watched({.after_ns = 50'000'000, .again_ns = 0});
  std::atomic<bool> done = false;
  std::thread host([&] {
    while (!done) {
      watched.dog->look();
      std::this_thread::sleep_for(watched.dog->look_every());
    }
  });
  // What the test's own clock says of each turn is the oracle: the machine may take the processor away in a short one.
  unsigned over = 0, accused = 0, falsely = 0, found = 0, long_ones = 0;
  for (int turn = 0; turn < 300; ++turn) {
    const bool is_long = turn % 60 == 30;
    const std::uint64_t before = watched.dog->counts().sampled;
    const auto start = Clock::now();
    {
      const v8a::Watchdog::Turn in_turn(*watched.dog);
      watched.program.run(is_long ? "grind(150)" : "grind(2)");
    }
    const auto took = Clock::now() - start;
    const bool sampled = watched.dog->counts().sampled != before;
    over += took >= std::chrono::milliseconds(50) ? 1 : 0;
    accused += sampled ? 1 : 0;
    falsely += sampled && took < std::chrono::milliseconds(50) ? 1 : 0;
    long_ones += is_long ? 1 : 0;
    found += is_long && sampled ? 1 : 0;
  }
  done = true;
  host.join();
  std::printf("300 turns, %u over the threshold, %u sampled, of them %u falsely (%u of %u long ones found)\n", over, accused, falsely,
              found, long_ones);
  CHECK(falsely == 0);
  CHECK(found == long_ones);
  CHECK(watched.samples().size() == accused);
}

TEST_CASE("an interrupt that V8 serves in a later turn is counted as missed and accuses nobody") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    spin(std::chrono::milliseconds(3));
    look(*watched.dog);  // no JavaScript runs in the rest of this turn
  }
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    watched.program.run("go_on()");
  }
  CHECK(watched.dog->counts().asked == 1);
  CHECK(watched.dog->counts().missed == 1);
  CHECK(watched.samples().empty());
}

TEST_CASE("below the threshold, and outside of a turn, nothing is asked") {
  Watched watched({.after_ns = 3'600'000'000'000, .again_ns = 0});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    watched.program.run("look(); go_on()");
  }
  look(*watched.dog);
  watched.program.run("look(); go_on()");
  CHECK(watched.dog->counts().asked == 0);
  CHECK(watched.dog->counts().turns == 1);
  CHECK(watched.samples().empty());
}

TEST_CASE("a long turn is sampled again and again, and not more often than allowed; turns nest") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 1'000'000, .samples_a_turn = 3});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    const v8a::Watchdog::Turn inner(*watched.dog);
    watched.program.run("function part() { native_spin(2); look(); go_on() } for (let i = 0; i < 6; ++i) part()");
  }
  const auto samples = watched.samples();
  REQUIRE(samples.size() == 3);
  for (const RecordedEvent& sample : samples) {
    const auto names = functions(watched.program, sample);
    CHECK(std::find(names.begin(), names.end(), "part") != names.end());
  }
  CHECK(watched.dog->counts().turns == 1);
  CHECK(watched.dog->counts().no_stack == 0);
}

TEST_CASE("a turn ends with the outermost, and what has ended is not looked into") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    { const v8a::Watchdog::Turn inner(*watched.dog); }
    spin(std::chrono::milliseconds(2));
  }
  look(*watched.dog);
  CHECK(watched.dog->counts().asked == 0);
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    { const v8a::Watchdog::Turn inner(*watched.dog); }
    spin(std::chrono::milliseconds(2));
    look(*watched.dog);
  }
  CHECK(watched.dog->counts().asked == 1);
}

TEST_CASE("while V8 has not served an interrupt, no other is asked for") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 1'000'000});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    for (int n = 0; n < 3; ++n) {
      spin(std::chrono::milliseconds(2));
      look(*watched.dog);
    }
    watched.program.run("go_on()");
  }
  CHECK(watched.dog->counts().asked == 1);
  CHECK(watched.dog->counts().sampled == 1);
}

TEST_CASE("a sample has as many frames as allowed, the innermost") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0, .frames = 2});
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    watched.program.run("function inner() { native_spin(2); look(); go_on() } function outer() { inner() } outer()");
  }
  const auto samples = watched.samples();
  REQUIRE(samples.size() == 1);
  CHECK(functions(watched.program, samples[0]).size() == 2);
}

TEST_CASE("the other thread may sleep for a quarter of what it is to notice, and never less than 100 us") {
  using std::chrono::nanoseconds;
  Watched watched({});
  const auto look_every = [&](std::uint64_t after, std::uint64_t again) {
    watched.dog = std::make_unique<v8a::Watchdog>(watched.program.isolate(), watched.program.tracer(),
                                                  v8a::WatchdogOptions{.after_ns = after, .again_ns = again});
    return watched.dog->look_every();
  };
  CHECK(look_every(50'000'000, 50'000'000) == nanoseconds(12'500'000));
  CHECK(look_every(50'000'000, 20'000'000) == nanoseconds(5'000'000));
  CHECK(look_every(20'000'000, 50'000'000) == nanoseconds(5'000'000));
  CHECK(look_every(50'000'000, 0) == nanoseconds(12'500'000));
  CHECK(look_every(10'000, 10'000) == nanoseconds(100'000));
}

TEST_CASE("under another tracer the samples go to its lane, with stacks that it knows") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0});
  const auto turn = [&] {
    const v8a::Watchdog::Turn in_turn(*watched.dog);
    watched.program.run("function place() { native_spin(2); look(); go_on() } place()");
  };
  turn();
  thence::Lane other = watched.program.session.attach("other");
  watched.dog->rebind(other.tracer());
  turn();
  watched.dog->rebind(watched.program.tracer());
  const auto samples = watched.samples();
  REQUIRE(samples.size() == 2);
  CHECK(samples[0].lane != samples[1].lane);
  for (const RecordedEvent& sample : samples) CHECK(watched.program.recording.lanes.count(sample.lane) == 1);
}

TEST_CASE("beyond the watchdogs of a process one does not watch, and who leaves makes room") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0});
  std::vector<std::unique_ptr<v8a::Watchdog>> others;
  const auto make = [&] {
    others.push_back(std::make_unique<v8a::Watchdog>(watched.program.isolate(), watched.program.tracer(), v8a::WatchdogOptions{.after_ns = 1'000'000}));
    return others.back()->is_watching();
  };
  CHECK(watched.dog->is_watching());
  for (std::size_t n = 1; n < v8a::Watchdog::kMaxWatchdogs; ++n) REQUIRE(make());
  CHECK_FALSE(make());
  {
    const v8a::Watchdog::Turn turn(*others.back());
    spin(std::chrono::milliseconds(2));
    look(*others.back());
  }
  CHECK(others.back()->counts().asked == 0);
  others.erase(others.begin());
  CHECK(make());
}

TEST_CASE("an interrupt that outlives its watchdog finds nobody, and the next watchdog is not taken for it") {
  Watched watched({.after_ns = 1'000'000, .again_ns = 0});
  watched.dog->begin_turn();
  spin(std::chrono::milliseconds(2));
  look(*watched.dog);
  CHECK(watched.dog->counts().asked == 1);
  watched.dog.reset();
  watched.dog = std::make_unique<v8a::Watchdog>(watched.program.isolate(), watched.program.tracer());
  {
    const v8a::Watchdog::Turn turn(*watched.dog);
    watched.program.run("go_on()");
  }
  CHECK(watched.dog->counts().sampled == 0);
  CHECK(watched.dog->counts().missed == 0);
  CHECK(watched.samples().empty());
}

TEST_CASE("in the analysis the blocking call bears the stack that blocked, and the loop's lag is what the host measured") {
  Watched watched({.after_ns = 20'000'000, .again_ns = 20'000'000});
  // The host's clock around each turn against what the trace says of it. The machine may take the processor away between the
  // two readings, so it is the closest of several turns that must agree; none may be longer than what the host saw.
  std::vector<std::uint64_t> measured;
  for (int turn = 0; turn < 6; ++turn) {
    watched.program.run("Promise.resolve(300).then(function blocking(ms) { grind(60); look(); go_on(); grind(60) })");
    const auto start = Clock::now();
    {
      const v8a::Watchdog::Turn in_turn(*watched.dog);
      watched.program.microtasks();
    }
    measured.push_back(static_cast<std::uint64_t>((Clock::now() - start).count()));
  }
  watched.program.promises->flush();
  watched.program.session.stop();
  thence::ModelBuilder builder;
  builder.begin(thence::TraceInfo{});
  for (const auto& [id, name] : watched.program.recording.lanes) builder.define_lane({id, 1, 1, name});
  for (const auto& [id, frames] : watched.program.recording.stacks) {
    std::vector<thence::FrameInfo> infos;
    for (const RecordedFrame& frame : frames) infos.push_back({frame.kind, frame.function, frame.file, frame.line, frame.column, frame.pc, frame.relative_pc, frame.build_id});
    builder.define_stack({id, infos});
  }
  for (const RecordedEvent& event : watched.program.recording.events) {
    if (event.kind == EventKind::kAnnotated || event.kind == EventKind::kCounter || event.kind == EventKind::kLost) continue;
    const thence::TraceEvent plain = event;
    builder.take(std::span(&plain, 1));
  }
  builder.end(thence::TraceSummary{});
  const thence::TraceModel model = builder.build();
  const thence::Analysis all(model);
  REQUIRE(all.loop.lags.size() == measured.size());
  std::vector<std::uint64_t> lags;
  for (const thence::EventLoop::Lag& lag : all.loop.lags) lags.push_back(lag.lag_ns);
  std::sort(lags.begin(), lags.end());
  std::sort(measured.begin(), measured.end());
  std::uint64_t closest = ~std::uint64_t{0};
  for (std::size_t turn = 0; turn < lags.size(); ++turn) {
    CHECK(lags[turn] <= measured[turn]);
    closest = std::min(closest, measured[turn] - lags[turn]);
  }
  std::printf("lag: the closest of %zu turns differs by %llu ns\n", lags.size(), static_cast<unsigned long long>(closest));
  CHECK(closest < 1'000'000);
  REQUIRE(all.loop.calls.size() == measured.size());
  for (const thence::EventLoop::Call& call : all.loop.calls) {
    CHECK(call.blocking);
    CHECK(call.stack_of == thence::EventLoop::StackOf::kSampled);
    bool found = false;
    for (const std::uint32_t frame : model.frames_of(call.stack)) found = found || model.text(model.frames[frame].function) == "blocking";
    CHECK(found);
  }
}
