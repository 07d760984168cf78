// SPDX-License-Identifier: MIT
// Programs whose graph is known, and every event that they must leave, in order, by both ways of hooking.
//
// The graphs were written down from ECMA-262's promise jobs (27.2) and async functions (27.7), with V8's throwaway promise for
// each await: `f` is the function's own promise and is never entered, the numbered one is what is entered when it goes on.
#include "adapters/v8/v8_program.hpp"

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using namespace thence_test;

namespace {

Lines lines_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  Lines out;
  for (std::string line; std::getline(in, line);) {
    const auto begin = line.find_first_not_of(' ');
    if (begin != std::string::npos) out.push_back(line.substr(begin));
  }
  return out;
}

constexpr bool kFastCalls =
    v8a::kHasFastCalls && std::string_view(THENCE_TEST_V8_FLAGS).find("--turbo-fast-api-calls") == 0;

void run_until_optimised(Program& program) {
  for (int i = 0; i < (kFastCalls ? 200 : 5) && program.promises->fast_calls() < 1000; ++i) {
    program.run(
        "(async () => { for (let i = 0; i < 500; i++) { await i; await new Promise((r) => r()).then(() => {}) } })()");
    program.microtasks();
    (void)program.lines();
  }
}

/// Nothing but awaits: V8 is not asked to call the after hook any more.
void run_until_quiet(Program& program) {
  program.run("(async () => { for (let i = 0; i < 1000; i++) await i })()");
  program.microtasks();
  (void)program.lines();
  CHECK(!program.promises->hooks_after());
}

/// Runs the script, then settles the promises that it got by host(), in this order ("!x": rejects x), each followed by the
/// microtasks. By context hooks, by context hooks that V8 has optimised, by those without the after hook, and by the isolate hook.
void expect_graph(std::string_view script, const std::vector<std::string>& settled, std::string_view graph) {
  enum Way { kContext, kOptimised, kQuiet, kIsolate };
  for (const Way way : {kContext, kOptimised, kQuiet, kIsolate}) {
    static constexpr const char* kNames[] = {"context hooks", "context hooks, optimised", "context hooks, no after hook", "isolate hook"};
    INFO(kNames[way]);
    Program program{way == kIsolate ? v8a::Hooks::kIsolate : v8a::Hooks::kContext};
    if (way == kOptimised || way == kQuiet) run_until_optimised(program);
    if (way == kQuiet) run_until_quiet(program);
    program.run("{" + std::string(script) + "}");
    program.microtasks();
    for (const std::string& name : settled) {
      if (name.starts_with("!")) {
        program.reject(name.substr(1));
      } else {
        program.resolve(name);
      }
      program.microtasks();
    }
    CHECK(program.lines() == lines_of(graph));
    const v8a::PromiseCounts& counts = program.promises->counts();
    CHECK(counts.unknown_entered == 0);
    CHECK(counts.exits_unmatched == 0);
    CHECK(counts.exits_missed == 0);
    CHECK(counts.outcomes_unknown == 0);
    const thence::MisuseCounts misuse = program.tracer().misuse();
    CHECK(misuse.exit_without_enter == 0);
    CHECK(misuse.exits_crossed == 0);
    CHECK(program.tracer().depth() == 0);
  }
}

}  // namespace

TEST_CASE("hooks that were called often come by fast API calls where V8 has them") {
  Program program{v8a::Hooks::kContext};
  run_until_optimised(program);
  CHECK((program.promises->fast_calls() > 0) == kFastCalls);
}

TEST_CASE("each await of a sequence is released by the promise it awaits, and creates the next") {
  expect_graph(R"js(name((async () => { await host('a'); await host('b') })(), 'f'))js", {"a", "b"},
               R"(
    f created
    a created
    1 created
    1 awaits a
    a fulfilled by outside
    1 entered after a
    b created in 1
    2 created in 1
    2 awaits b
    1 fulfilled by 1
    1 exited
    b fulfilled by outside
    2 entered after b
    f fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("parallel async functions are each released by their own promise, whatever the order") {
  expect_graph(R"js(const work = async (promise) => { await promise };
name((async () => {
  const x = name(work(host('a')), 'x'), y = name(work(host('b')), 'y');
  await x;
  await y;
})(), 'f'))js",
               {"b", "a"},
               R"(
    f created
    a created
    x created
    1 created
    1 awaits a
    b created
    y created
    2 created
    2 awaits b
    3 created
    3 awaits x
    b fulfilled by outside
    2 entered after b
    y fulfilled by 2
    2 fulfilled by 2
    2 exited
    a fulfilled by outside
    1 entered after a
    x fulfilled by 1
    1 fulfilled by 1
    1 exited
    3 entered after x
    4 created in 3
    4 awaits y
    3 fulfilled by 3
    3 exited
    4 entered after y
    f fulfilled by 4
    4 fulfilled by 4
    4 exited
)");
}

TEST_CASE("an awaited plain value is a promise of its own that waits for nothing") {
  expect_graph(R"js(name((async () => { await 1 })(), 'f'))js", {},
               R"(
    f created
    1 created
    1 fulfilled by outside
    2 created
    2 awaits 1
    2 entered after 1
    f fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("a settlement passes outwards through nested async functions, each settled by the continuation inside it") {
  expect_graph(R"js(const inner = async () => { await host('h'); return 1 };
const middle = async () => { await name(inner(), 'inner') };
name((async () => { await name(middle(), 'middle') })(), 'outer'))js",
               {"h"},
               R"(
    outer created
    middle created
    inner created
    h created
    1 created
    1 awaits h
    2 created
    2 awaits inner
    3 created
    3 awaits middle
    h fulfilled by outside
    1 entered after h
    inner fulfilled by 1
    1 fulfilled by 1
    1 exited
    2 entered after inner
    middle fulfilled by 2
    2 fulfilled by 2
    2 exited
    3 entered after middle
    outer fulfilled by 3
    3 fulfilled by 3
    3 exited
)");
}

TEST_CASE("Promise.all is settled by the reaction to its last input") {
  expect_graph(R"js(name(Promise.all([host('a'), host('b')]), 'all'))js", {"b", "a"},
               R"(
    a created
    b created
    all created
    1 created
    1 awaits a
    2 created
    2 awaits b
    b fulfilled by outside
    2 entered after b
    2 fulfilled by 2
    2 exited
    a fulfilled by outside
    1 entered after a
    all fulfilled by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("Promise.race is settled by the reaction to its first input, and the later one settles nothing") {
  expect_graph(R"js(name(Promise.race([host('a'), host('b')]), 'race'))js", {"b", "a"},
               R"(
    a created
    b created
    race created
    1 created
    1 awaits a
    2 created
    2 awaits b
    b fulfilled by outside
    2 entered after b
    race fulfilled by 2
    2 fulfilled by 2
    2 exited
    a fulfilled by outside
    1 entered after a
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("Promise.any is settled by the first input that is fulfilled") {
  expect_graph(R"js(name(Promise.any([host('a'), host('b')]), 'any'))js", {"!a", "b"},
               R"(
    a created
    b created
    any created
    1 created
    1 awaits a
    2 created
    2 awaits b
    a rejected by outside
    1 entered after a
    1 fulfilled by 1
    1 exited
    b fulfilled by outside
    2 entered after b
    any fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("Promise.allSettled is settled by the reaction to its last input, fulfilled or rejected") {
  expect_graph(R"js(name(Promise.allSettled([host('a'), host('b')]), 'all'))js", {"!a", "b"},
               R"(
    a created
    b created
    all created
    1 created
    1 awaits a
    2 created
    2 awaits b
    a rejected by outside
    1 entered after a
    1 fulfilled by 1
    1 exited
    b fulfilled by outside
    2 entered after b
    all fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("Promise.all is rejected by the reaction to the first input that is rejected") {
  expect_graph(R"js(name(Promise.all([host('a'), host('b')]), 'all').catch(() => {}))js", {"!b", "a"},
               R"(
    a created
    b created
    all created
    1 created
    1 awaits a
    2 created
    2 awaits b
    3 created
    3 awaits all
    b rejected by outside
    2 entered after b
    all rejected by 2
    2 fulfilled by 2
    2 exited
    3 entered after all
    3 fulfilled by 3
    3 exited
    a fulfilled by outside
    1 entered after a
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE(
    "a promise resolved with a thenable is entered to call its then(), and settled once, by what the thenable waits "
    "for") {
  expect_graph(R"js(name(new Promise((resolve) => resolve({then(done) { host('h').then(done) }})), 'p'))js", {"h"},
               R"(
    p created
    p entered
    h created in p
    1 created in p
    1 awaits h
    p exited
    h fulfilled by outside
    1 entered after h
    p fulfilled by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("an awaited thenable waits for itself, not for the function that awaits it") {
  expect_graph(R"js(name((async () => { await {then(done) { done(1) }} })(), 'f'))js", {},
               R"(
    f created
    1 created
    2 created
    2 awaits 1
    1 entered
    1 fulfilled by 1
    1 exited
    2 entered after 1
    f fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("an awaited thenable waits for itself also in a function that was resumed and is awaited") {
  expect_graph(R"js(name((async () => { await host('h'); await {then(done) { done(1) }} })(), 'f').then(() => {}))js",
               {"h"},
               R"(
    f created
    h created
    1 created
    1 awaits h
    2 created
    2 awaits f
    h fulfilled by outside
    1 entered after h
    3 created in 1
    4 created in 1
    4 awaits 3
    1 fulfilled by 1
    1 exited
    3 entered
    3 fulfilled by 3
    3 exited
    4 entered after 3
    f fulfilled by 4
    4 fulfilled by 4
    4 exited
    2 entered after f
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("what a thenable does after it has resolved is still its callback's") {
  expect_graph(R"js(name((async () => { await {then(done) { done(1); name(new Promise(() => {}), 'late') }} })(), 'f'))js", {},
               R"(
    f created
    1 created
    2 created
    2 awaits 1
    1 entered
    1 fulfilled by 1
    late created in 1
    1 exited
    2 entered after 1
    f fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("what a subclass's resolving function does after it has resolved is still the callback's") {
  expect_graph(R"js(
    let armed = false;
    class Late extends Promise {
      constructor(executor) {
        super((resolve, reject) => executor((value) => {
          resolve(value);
          if (armed) name(new Promise(() => {}), 'late');
        }, reject));
      }
    }
    name(name(new Late((resolve) => resolve()), 'p').then(() => { armed = true }), 'q');
  )js",
               {},
               R"(
    p created
    p fulfilled by outside
    q created
    q entered
    q fulfilled by q
    late created in q
    q exited
)");
}

TEST_CASE("a promise resolved with a promise is settled later, once, by the reaction to it") {
  expect_graph(R"js(name(new Promise((resolve) => resolve(host('inner'))), 'outer').then(() => {}))js", {"inner"},
               R"(
    outer created
    inner created
    1 created
    1 awaits outer
    outer entered
    2 created in outer
    2 awaits inner
    outer exited
    inner fulfilled by outside
    2 entered after inner
    outer fulfilled by 2
    2 fulfilled by 2
    2 exited
    1 entered after outer
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("a reaction that returns a promise is entered again to wait for it, and settled once") {
  expect_graph(R"js(name(name(Promise.resolve(), 'p').then(() => host('h')), 'q'))js", {"h"},
               R"(
    p created
    p fulfilled by outside
    q created
    q awaits p
    q entered after p
    h created in q
    q exited
    q entered
    1 created in q
    1 awaits h
    q exited
    h fulfilled by outside
    1 entered after h
    q fulfilled by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("an async function that returns a promise is settled by the reaction to it") {
  expect_graph(R"js(name((async () => host('h'))(), 'f'))js", {"h"},
               R"(
    f created
    h created
    f entered
    1 created in f
    1 awaits h
    f exited
    h fulfilled by outside
    1 entered after h
    f fulfilled by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("a rejection that is handled fulfils the handler's promise") {
  expect_graph(R"js(name(host('h').catch(() => {}), 'c'))js", {"!h"},
               R"(
    h created
    c created
    c awaits h
    h rejected by outside
    c entered after h
    c fulfilled by c
    c exited
)");
}

TEST_CASE("an async function that throws is rejected by its continuation") {
  expect_graph(R"js(name((async () => { await host('h'); throw 1 })(), 'f').catch(() => {}))js", {"h"},
               R"(
    f created
    h created
    1 created
    1 awaits h
    2 created
    2 awaits f
    h fulfilled by outside
    1 entered after h
    f rejected by 1
    1 fulfilled by 1
    1 exited
    2 entered after f
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("a rejected promise releases the function that catches it") {
  expect_graph(R"js(name((async () => { try { await host('h') } catch { } })(), 'f'))js", {"!h"},
               R"(
    f created
    h created
    1 created
    1 awaits h
    h rejected by outside
    1 entered after h
    f fulfilled by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("an unhandled rejection is a rejection like any other") {
  expect_graph(R"js(name((async () => { await host('h'); throw 1 })(), 'f'))js", {"h"},
               R"(
    f created
    h created
    1 created
    1 awaits h
    h fulfilled by outside
    1 entered after h
    f rejected by 1
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("finally() waits for its handler's result, and is settled once") {
  expect_graph(R"js(name(host('h').finally(() => {}), 'f'))js", {"h"},
               R"(
    h created
    f created
    f awaits h
    h fulfilled by outside
    f entered after h
    1 created in f
    1 fulfilled by f
    2 created in f
    2 awaits 1
    f exited
    2 entered after 1
    2 fulfilled by 2
    2 exited
    f entered
    3 created in f
    3 awaits 2
    f exited
    3 entered after 2
    f fulfilled by 3
    3 fulfilled by 3
    3 exited
)");
}

TEST_CASE("an async generator's requests are settled by its continuations") {
  expect_graph(R"js(async function* numbers() { yield 1; await host('h'); yield 2 }
name((async () => { for await (const n of numbers()) ; })(), 'f'))js",
               {"h"},
               R"(
    f created
    1 created
    2 created
    2 fulfilled by outside
    3 created
    3 awaits 2
    4 created
    4 awaits 1
    3 entered after 2
    1 fulfilled by 3
    3 fulfilled by 3
    3 exited
    4 entered after 1
    5 created in 4
    h created in 4
    6 created in 4
    6 awaits h
    7 created in 4
    7 awaits 5
    4 fulfilled by 4
    4 exited
    h fulfilled by outside
    6 entered after h
    8 created in 6
    8 fulfilled by 6
    9 created in 6
    9 awaits 8
    6 fulfilled by 6
    6 exited
    9 entered after 8
    5 fulfilled by 9
    9 fulfilled by 9
    9 exited
    7 entered after 5
    10 created in 7
    10 fulfilled by 7
    11 created in 7
    11 awaits 10
    7 fulfilled by 7
    7 exited
    11 entered after 10
    f fulfilled by 11
    11 fulfilled by 11
    11 exited
)");
}

TEST_CASE("a plain value awaited in an async generator is a promise of its own that waits for nothing") {
  expect_graph("async function* g() { await 0; try { await 1 } catch {} } name(g().next(), 'n')", {}, R"(
    n created
    1 created
    1 fulfilled by outside
    2 created
    2 awaits 1
    2 entered after 1
    3 created in 2
    3 fulfilled by 2
    4 created in 2
    4 awaits 3
    2 fulfilled by 2
    2 exited
    4 entered after 3
    n fulfilled by 4
    4 fulfilled by 4
    4 exited
  )");
}

TEST_CASE("requests that an async generator has queued are settled by the continuation that serves them") {
  expect_graph(R"js(const g = (async function* () { yield 1 })();
name(g.next(), 'n1'); name(g.next(), 'n2'))js",
               {},
               R"(
    n1 created
    1 created
    1 fulfilled by outside
    2 created
    2 awaits 1
    n2 created
    2 entered after 1
    n1 fulfilled by 2
    n2 fulfilled by 2
    2 fulfilled by 2
    2 exited
)");
}

TEST_CASE("a subclass's then() makes a promise without a parent, whose callback is known and whose cause is not") {
  expect_graph(R"js(class Mine extends Promise {}
name(name(new Mine((resolve) => resolve(1)), 'm').then(() => {}), 't'))js",
               {},
               R"(
    m created
    m fulfilled by outside
    t created
    t entered
    t fulfilled by t
    t exited
)");
}

TEST_CASE("a frozen promise is followed like any other") {
  expect_graph(R"js(const p = Object.freeze(host('h')); name(p.then(() => {}), 't'))js", {"h"},
               R"(
    h created
    t created
    t awaits h
    h fulfilled by outside
    t entered after h
    t fulfilled by t
    t exited
)");
}

TEST_CASE("an executor that throws rejects its promise") {
  expect_graph(R"js(name(new Promise(() => { throw 1 }), 'p').catch(() => {}))js", {},
               R"(
    p created
    p rejected by outside
    1 created
    1 awaits p
    1 entered after p
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("a promise is settled once though its executor does it twice") {
  expect_graph(R"js(name(new Promise((resolve, reject) => { resolve(1); reject(2) }), 'p'))js", {},
               R"(
    p created
    p fulfilled by outside
)");
}

TEST_CASE("a promise resolved with itself is rejected, once") {
  expect_graph(
      R"js(let done; const p = name(new Promise((resolve) => { done = resolve }), 'p'); done(p); p.catch(() => {}))js",
      {},
      R"(
    p created
    p rejected by outside
    1 created
    1 awaits p
    1 entered after p
    1 fulfilled by 1
    1 exited
)");
}

TEST_CASE("for await over plain values runs the wrapper's callback, whose cause V8 does not tell") {
  expect_graph(R"js(name((async () => { for await (const x of [1]) ; })(), 'f'))js", {},
               R"(
    f created
    1 created
    2 created
    2 fulfilled by outside
    3 created
    3 awaits 1
    1 entered
    1 fulfilled by 1
    1 exited
    3 entered after 1
    4 created in 3
    5 created in 3
    5 fulfilled by 3
    6 created in 3
    6 awaits 4
    3 fulfilled by 3
    3 exited
    4 entered
    4 fulfilled by 4
    4 exited
    6 entered after 4
    f fulfilled by 6
    6 fulfilled by 6
    6 exited
)");
}

TEST_CASE("a delegating async generator settles its requests through the inner one's") {
  // V8 10 awaits what the inner generator yields once more; later versions do not (ECMA-262 since 2022).
  constexpr std::string_view kUntil10 = R"(
    f created
    1 created
    2 created
    3 created
    3 fulfilled by outside
    4 created
    4 awaits 3
    5 created
    5 awaits 2
    6 created
    6 awaits 1
    4 entered after 3
    2 fulfilled by 4
    4 fulfilled by 4
    4 exited
    5 entered after 2
    7 created in 5
    7 fulfilled by 5
    8 created in 5
    8 awaits 7
    5 fulfilled by 5
    5 exited
    8 entered after 7
    1 fulfilled by 8
    8 fulfilled by 8
    8 exited
    6 entered after 1
    9 created in 6
    10 created in 6
    10 fulfilled by 6
    11 created in 6
    11 awaits 10
    12 created in 6
    12 awaits 9
    6 fulfilled by 6
    6 exited
    11 entered after 10
    9 fulfilled by 11
    11 fulfilled by 11
    11 exited
    12 entered after 9
    f fulfilled by 12
    12 fulfilled by 12
    12 exited
)";
  constexpr std::string_view kSince11 = R"(
    f created
    1 created
    2 created
    3 created
    3 fulfilled by outside
    4 created
    4 awaits 3
    5 created
    5 awaits 2
    6 created
    6 awaits 1
    4 entered after 3
    2 fulfilled by 4
    4 fulfilled by 4
    4 exited
    5 entered after 2
    1 fulfilled by 5
    5 fulfilled by 5
    5 exited
    6 entered after 1
    7 created in 6
    8 created in 6
    8 fulfilled by 6
    9 created in 6
    9 awaits 8
    10 created in 6
    10 awaits 7
    6 fulfilled by 6
    6 exited
    9 entered after 8
    7 fulfilled by 9
    9 fulfilled by 9
    9 exited
    10 entered after 7
    f fulfilled by 10
    10 fulfilled by 10
    10 exited
)";
  expect_graph(R"js(async function* a() { yield 1 }
async function* b() { yield* a() }
name((async () => { for await (const x of b()) ; })(), 'f'))js",
               {}, V8_MAJOR_VERSION > 10 ? kSince11 : kUntil10);
}
