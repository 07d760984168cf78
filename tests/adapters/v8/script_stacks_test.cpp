// SPDX-License-Identifier: MIT
// The stacks of created promises: right by V8's own answer, over as many ways to call JavaScript as there are.
#include "thence/adapters/v8/script_stacks.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;
using thence::EventKind;

namespace {

/// Creates promises from every kind of frame; each round from 200 places or so, at depths that vary.
constexpr const char* kMix = R"js(
  const make = () => new Promise((resolve) => resolve(1));
  const made_in = (n) => n > 0 ? made_in(n - 1) : make();
  function sum(n) { if (n <= 0) { make(); return 0 } return 1 + sum(n - 1) }
  class Base { constructor() { this.p = make() } get value() { make(); return 1 } set value(v) { make() } static of() { return new this() } }
  class Derived extends Base { #hidden = make(); constructor() { super(); make() } method() { return super.value } }
  function* numbers() { make(); yield 1; make(); yield 2 }
  async function* later() { make(); yield 1; await make(); yield 2 }
  const proxy = new Proxy({}, { get() { make(); return 1 }, has() { make(); return true }, apply() { return make() } });
  const bound = sum.bind(null, 3);
  const evaluated = new Function('make', 'return make()');
  const tagged = (strings, ...values) => { make(); return values.length };
  const wasm = typeof WebAssembly === 'undefined' ? null : new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 2, 7, 1, 1, 97, 1, 98, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 99, 0, 1, 10, 6, 1, 4, 0, 16, 0, 11])),
    { a: { b: () => { make() } } }).exports.c;
  function inlined_a(x) { return inlined_b(x) + 1 }
  function inlined_b(x) { return inlined_c(x) + 1 }
  function inlined_c(x) { if (x % 3 === 0) make(); else if (x % 3 === 1) { make() } return x }
  function polymorphic(o) { return o.go() }
  const shapes = [{ go() { return make() } }, { a: 1, go() { return make() } }, { b: 1, go: () => make() }, new (class { go() { return made_in(2) } })];
  function many_arguments() { make(); return arguments.length }
  const deep = { toJSON() { make(); return 1 }, toString() { make(); return 'x' }, valueOf() { make(); return 2 }, [Symbol.toPrimitive]() { make(); return 3 } };
  async function step(i) { await null; make(); if (i % 7 === 0) await made_in(i % 5); try { await (i % 4 === 0 ? Promise.reject(i) : make()) } catch { make() } return i }
  async function round(i) {
    make(); made_in(i % 11); sum(i % 25); bound(); evaluated(make); tagged`${i}`;
    [3, 1, 2].sort((a, b) => { make(); return a - b });
    [1, 2].forEach(function (x) { make(); [x].map((y) => make()) });
    [1, 2, 3].reduce((a, b) => { make(); return a + b }); [1].find(() => { make(); return true }); [[1]].flatMap(() => [make()]);
    'abc'.replace(/b/, () => { make(); return 'x' }); JSON.stringify(deep); `${deep}`; +deep;
    JSON.parse('[1]', (k, v) => { make(); return v });
    Reflect.apply(sum, null, [2]); Reflect.construct(Derived, []); new Derived().method(); Derived.of().value = 1;
    for (const n of numbers()) make(); for (const x of new Set([1])) make(); new Map([[1, 2]]).forEach(() => make());
    proxy.x; 'y' in proxy; for (const s of shapes) polymorphic(s);
    many_arguments(1, 2, 3, i); many_arguments(); many_arguments.apply(null, [1, 2]); many_arguments.call(null, ...[1, 2, 3]);
    for (let k = 0; k < 6; k++) inlined_a(i + k);
    (() => { try { throw make() } catch { make() } finally { make() } })();
    (0, eval)('make()'); eval('make()');
    if (wasm !== null && i % 16 === 0) wasm();
    Object.assign({ set x(v) { make() } }, { get x() { make(); return 1 } }); Array.from([1], () => make()); Array.from({ length: 2 }, (_, k) => made_in(k));
    new (class { static s = make(); f = make(); static { make() } })();
    await step(i); await Promise.all([step(i), made_in(1).then(() => make()).finally(() => { make() })]);
    for await (const x of later()) make();
    await { then(done) { make(); done() } }; await Promise.race([make(), step(1)]); await Promise.allSettled([Promise.reject(1), make()]);
    queueMicrotask_(() => make()); void i;
  }
  const queueMicrotask_ = (f) => Promise.resolve().then(f);
  globalThis.rounds = async (from, count) => { for (let i = from; i < from + count; i++) await round(i) };
)js";

Program::Options with_stacks(v8a::Hooks hooks, v8a::StackOptions stacks) {
  Program::Options options;
  options.promises.hooks = hooks;
  options.promises.stacks = stacks;
  options.promises.gc_pauses = false;
  options.keep = false;
  return options;
}

/// At least `captures` promises of the mix, with collections of both generations in between.
void run_mix(Program& program, std::uint64_t captures) {
  program.run(kMix);
  int from = 0;
  while (program.promises->stacks().counts().captures < captures) {
    program.run("rounds(" + std::to_string(from) + ", 20)");
    program.microtasks();
    from += 20;
    if (from % 40 == 0) program.run("gc({type: 'minor'})");
    if (from % 100 == 0) program.run("gc()");
  }
}

std::vector<std::string> frames_of(Program& program, std::string_view named) {
  for (const RecordedEvent& event : program.recording.of_kind(EventKind::kCreated)) {
    std::vector<std::string> out;
    for (const RecordedFrame& frame : program.recording.stacks[event.stack]) {
      out.push_back(frame.function + " " + frame.file + ":" + std::to_string(frame.line) + ":" +
                    std::to_string(frame.column));
    }
    if (!out.empty() && out.front().starts_with(named)) return out;
  }
  return {};
}

}  // namespace

TEST_CASE("no stack that is found by its words differs from V8's own answer") {
  for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
    INFO((hooks == v8a::Hooks::kContext ? "context hooks" : "isolate hook"));
    Program program{with_stacks(hooks, {.mode = v8a::StackMode::kFingerprint, .verify = true})};
    REQUIRE(program.promises->stacks().why() == "");
    run_mix(program, captures_wanted(100'000));
    const v8a::StackCounts& counts = program.promises->stacks().counts();
    CHECK(counts.wrong == 0);
    CHECK(counts.verified > counts.captures / 2);
    CHECK(counts.emptied > 0);
    const v8a::PromiseCounts& promises = program.promises->counts();
    CHECK(promises.places_wrong == 0);
    CHECK((promises.places_verified > promises.created / 2) == (hooks == v8a::Hooks::kContext));
    WARN("outcomes told by the hook's place " << promises.places_verified << ", wrong " << promises.places_wrong);
    WARN("captures " << counts.captures << ", compared " << counts.verified << ", wrong " << counts.wrong
                     << ", uncacheable " << counts.uncacheable << ", by fast calls " << program.promises->fast_calls());
  }
}

TEST_CASE("almost every stack is found by its words") {
  for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
    Program program{with_stacks(hooks, {.mode = v8a::StackMode::kFingerprint})};
    run_mix(program, 100'000);
    const v8a::StackCounts& counts = program.promises->stacks().counts();
    WARN("captures " << counts.captures << ", hits " << counts.hits << ", V8 asked " << counts.symbolised
                     << ", uncacheable " << counts.uncacheable << ", emptied " << counts.emptied);
    CHECK(counts.hits + counts.symbolised == counts.captures);
    CHECK(counts.hits > counts.captures / 10 * 9);
  }
}

TEST_CASE("a stack names function, file, line and column, innermost first, and no frame of ours") {
  constexpr std::string_view kSource =
      "function inner() { return new Promise(() => {}) }\n"
      "function outer() {\n"
      "  return inner()\n"
      "}\n"
      "async function waits() { await null }\n"
      "outer(); outer(); waits(); waits();\n"
      "//# sourceURL=known.js\n";
  for (const v8a::StackMode mode : {v8a::StackMode::kFingerprint, v8a::StackMode::kEvery}) {
    for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
      Program::Options options = with_stacks(hooks, {.mode = mode});
      options.keep = true;
      Program program{options};
      CHECK(program.promises->stacks().mode() == mode);
      program.run(kSource);
      program.microtasks();
      program.promises->flush();
      program.session.stop();
      CHECK(frames_of(program, "inner") ==
            std::vector<std::string>{"inner known.js:1:27", "outer known.js:3:10", " known.js:6:1"});
      CHECK(frames_of(program, "waits").size() == 2);
    }
  }
}

TEST_CASE("stacks go on through a call from JavaScript to C++ and back") {
  for (const v8a::StackMode mode : {v8a::StackMode::kFingerprint, v8a::StackMode::kEvery}) {
    Program::Options options =
        with_stacks(v8a::Hooks::kContext, {.mode = mode, .verify = mode == v8a::StackMode::kFingerprint});
    options.keep = true;
    Program program{options};
    program.expose(program.context, "call", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      const auto context = info.GetIsolate()->GetCurrentContext();
      (void)info[0].As<v8::Function>()->Call(context, v8::Undefined(info.GetIsolate()), 0, nullptr).IsEmpty();
    });
    program.run(
        "const made = () => new Promise(() => {});\n"
        "function a() { call(made) }\n"
        "function b() { call(made) }\n"
        "for (let i = 0; i < 3; i++) { a(); b() }\n");
    program.promises->flush();
    program.session.stop();
    std::map<std::string, int> callers;
    for (const RecordedEvent& event : program.recording.of_kind(EventKind::kCreated)) {
      const auto& frames = program.recording.stacks[event.stack];
      REQUIRE(frames.size() == 3);
      CHECK(frames[0].function == "made");
      ++callers[frames[1].function];
    }
    CHECK(callers == std::map<std::string, int>{{"a", 3}, {"b", 3}});
    CHECK(program.promises->stacks().counts().wrong == 0);
  }
}

TEST_CASE("functions that share inlined code have stacks of their own after the deoptimiser has left both in the interpreter") {
  Program::Options options = with_stacks(v8a::Hooks::kContext, {.mode = v8a::StackMode::kFingerprint, .verify = true});
  options.keep = true;
  Program program{options};
  program.run(
      "const made = () => new Promise(() => {});\n"
      "let victim = null;\n"
      "function leave(now) { if (now) %DeoptimizeFunction(victim); return 0 }\n"
      "function shared(now) { leave(now); if (now) made(); return 1 }\n"
      "function a(now) { return shared(now) + 1 }\n"
      "function b(now) { return shared(now) + 1 }\n"
      "function call(f, now) { return f(now) }\n"
      "for (const f of [made, leave, call]) %NeverOptimizeFunction(f);\n"
      "%PrepareFunctionForOptimization(shared);\n"
      "for (const f of [a, b]) {\n"
      "  %PrepareFunctionForOptimization(f); f(false); f(false);\n"
      "  %OptimizeFunctionOnNextCall(f); f(false);\n"
      "}\n"
      "for (const f of [a, b]) { victim = f; call(f, true) }\n");
  program.promises->flush();
  program.session.stop();
  std::vector<std::string> callers;
  for (const RecordedEvent& event : program.recording.of_kind(EventKind::kCreated)) {
    const auto& frames = program.recording.stacks[event.stack];
    REQUIRE(frames.size() == 5);
    callers.push_back(frames[2].function);
  }
  CHECK(callers == std::vector<std::string>{"a", "b"});
  CHECK(program.promises->stacks().counts().wrong == 0);
}

TEST_CASE("frames beyond the wanted number are cut, and stacks that differ only there are one") {
  Program::Options options =
      with_stacks(v8a::Hooks::kContext, {.mode = v8a::StackMode::kFingerprint, .frames = 4, .verify = true});
  options.keep = true;
  Program program{options};
  program.run(
      "function down(n) { return n > 0 ? down(n - 1) : new Promise(() => {}) }\n"
      "for (let i = 0; i < 2000; i++) down(i % 40)");
  program.promises->flush();
  program.session.stop();
  for (const auto& [id, frames] : program.recording.stacks) CHECK(frames.size() <= 4);
  CHECK(program.promises->stacks().counts().wrong == 0);
  CHECK(program.promises->stacks().counts().verified > 1000);
}

TEST_CASE("a full cache forgets everything, counts it, and stays right") {
  Program program{with_stacks(v8a::Hooks::kContext,
                              {.mode = v8a::StackMode::kFingerprint, .entries = 64, .words = 512, .verify = true})};
  run_mix(program, 20'000);
  CHECK(program.promises->stacks().counts().full > 0);
  CHECK(program.promises->stacks().counts().wrong == 0);
}

TEST_CASE("a promise that the host makes with no script below has no stack") {
  for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
    Program::Options options = with_stacks(hooks, {.mode = v8a::StackMode::kFingerprint});
    options.keep = true;
    Program program{options};
    for (int i = 0; i < 3; ++i) (void)v8::Promise::Resolver::New(program.context).ToLocalChecked();
    program.session.stop();
    REQUIRE(program.recording.of_kind(EventKind::kCreated).size() == 3);
    for (const RecordedEvent& event : program.recording.of_kind(EventKind::kCreated))
      CHECK(event.stack == thence::StackId::kNone);
  }
}

TEST_CASE("without stacks nothing is captured") {
  Program program{with_stacks(v8a::Hooks::kContext, {.mode = v8a::StackMode::kNone})};
  program.run("Promise.resolve().then(() => {})");
  program.microtasks();
  CHECK(program.promises->stacks().counts().captures == 0);
  CHECK(program.promises->stacks().mode() == v8a::StackMode::kNone);
}
