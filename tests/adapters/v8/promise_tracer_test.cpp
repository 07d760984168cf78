// SPDX-License-Identifier: MIT
// What PromiseTracer promises about contexts, isolates, lifetimes, hostile scripts, and what it did not see.
#include "thence/adapters/v8/promise_tracer.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;
using thence::CallbackScope;
using thence::EventKind;
using thence::Resource;
using thence::ResourceId;
using thence::ResourceType;

namespace {

constexpr v8a::Hooks kBothWays[] = {v8a::Hooks::kContext, v8a::Hooks::kIsolate};

Program::Options without_stacks(v8a::Hooks hooks) {
  Program::Options options;
  options.promises.hooks = hooks;
  options.promises.stacks.mode = v8a::StackMode::kNone;
  options.promises.gc_pauses = false;
  return options;
}

/// The program that tells whether all is in order.
constexpr const char* kPlain = "name((async () => { await name(Promise.resolve(1), 'p') })(), 'f')";
const Lines kPlainGraph{"f created",         "p created",        "p fulfilled by outside", "1 created", "1 awaits p",
                        "1 entered after p", "f fulfilled by 1", "1 fulfilled by 1",       "1 exited"};

}  // namespace

TEST_CASE("two requests that interleave on one isolate stay in their own roots, also across what they share") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("globalThis.handle = async (own, shared) => { await own; await shared }");
    program.run("globalThis.shared = host('shared')");
    thence::Tracer& tracer = program.tracer();
    const Resource a = tracer.begin_root();
    const Resource b = tracer.begin_root();
    program.call_it(a, "A");
    program.call_it(b, "B");
    {
      const CallbackScope scope{tracer, a};
      program.run("handle(host('own a'), shared)");
    }
    {
      const CallbackScope scope{tracer, b};
      program.run("handle(host('own b'), shared)");
    }
    program.microtasks();
    program.resolve("own b");
    program.microtasks();
    program.resolve("own a");
    program.microtasks();
    program.resolve("shared");
    program.microtasks();
    program.promises->flush();
    program.session.stop();

    std::map<ResourceId, thence::RootId> roots;
    int of_a = 0, of_b = 0, entered = 0;
    for (const RecordedEvent& event : program.recording.events) {
      if (event.kind == EventKind::kCreated) roots[event.resource] = event.root;
      if (event.kind == EventKind::kCreated && event.resource != a.id && event.resource != b.id) {
        of_a += event.root == a.root;
        of_b += event.root == b.root;
      }
      CHECK(event.root == roots[event.resource]);  // all of a resource's events are in its root
      if (event.kind == EventKind::kEntered && event.resource != a.id && event.resource != b.id) {
        ++entered;
        CHECK(event.root != thence::RootId::kNone);
      }
    }
    // Each: its own promise, the function's, two throwaways. Shared has no root.
    CHECK(of_a == 4);
    CHECK(of_b == 4);
    CHECK(entered == 4);
  }
}

TEST_CASE("what is created under an untraced root is untraced, and settles others by nobody known") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("globalThis.p = new Promise((resolve) => globalThis.done = resolve)");
    program.session.set_sampling(thence::Sampling::none());
    const Resource untraced = program.tracer().begin_root();
    REQUIRE(untraced.root == thence::RootId::kUntraced);
    {
      const CallbackScope scope{program.tracer(), untraced};
      program.run("(async () => { await null; await new Promise((r) => r()); done() })()");
    }
    program.microtasks();
    CHECK(program.lines() == Lines{"1 created", "1 fulfilled by unknown"});
    CHECK(program.promises->counts().unknown_entered == 0);
  }
}

TEST_CASE("awaits that were suspended when tracing began resume as unknown, and nothing is invented for them") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program::Options options = without_stacks(hooks);
    options.follow = false;
    Program program{options};
    program.run(
        "globalThis.p = new Promise((resolve) => globalThis.go = resolve);"
        "(async () => { await p; name(new Promise(() => {}), 'made'); await null; })()");
    program.microtasks();
    program.follow(program.context);
    program.run("go()");
    program.microtasks();
    // V8 calls no hook for such a callback: what it creates has no trigger, what it settles is settled by nobody known.
    CHECK(program.lines() == Lines{"made created", "1 created", "1 fulfilled by unknown", "2 created", "2 awaits 1",
                                   "2 entered after 1", "2 fulfilled by 2", "2 exited"});
    CHECK(program.promises->counts().unknown_entered == 0);
    CHECK(program.promises->counts().exits_unmatched == 0);
    CHECK(program.tracer().misuse().exit_without_enter == 0);
  }
}

TEST_CASE("a session that is started while a callback runs sees its end as unmatched, and all that follows as it is") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program::Options options = without_stacks(hooks);
    options.start = false;
    Program program{options};
    program.expose(program.context, "start", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      Program& self = *static_cast<Program*>(info.Data().As<v8::External>()->Value());
      self.session.start();
      self.promises->flush();  // else the hooks are back with the next call into JavaScript only
    });
    program.run("Promise.resolve().then(() => { start(); name(Promise.resolve(1), 'p').then(() => {}) })");
    program.microtasks();
    CHECK(program.lines() == Lines{"p created", "p fulfilled by unknown", "1 created", "1 awaits p",
                                   "1 entered after p", "1 fulfilled by 1", "1 exited"});
    CHECK(program.promises->counts().exits_unmatched == 1);
    CHECK(program.tracer().misuse().exit_without_enter == 0);
    CHECK(program.tracer().depth() == 0);
  }
}

TEST_CASE("a session that is stopped and started again goes on with the promises that it knows") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("name((async () => { await host('h') })(), 'f')");
    program.microtasks();
    const Lines before = program.lines();  // stops and starts
    program.resolve("h");
    program.microtasks();
    CHECK(program.lines() ==
          Lines{"h fulfilled by outside", "1 entered after h", "f fulfilled by 1", "1 fulfilled by 1", "1 exited"});
  }
}

TEST_CASE("while tracing is stopped no hook is called, and the next call into JavaScript after it began again is followed") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program::Options options = without_stacks(hooks);
    options.start = false;
    Program program{options};
    const auto calls = [&] { return program.promises->fast_calls() + program.promises->slow_calls(); };
    const auto work = [&] {
      program.run("(async () => { await null })()");
      program.microtasks();
    };
    work();
    CHECK(calls() == 0);  // never started: there was no hook
    for (int round = 0; round < 3; ++round) {
      program.session.start();
      program.run(kPlain);
      program.microtasks();
      CHECK(program.lines() == kPlainGraph);
      program.session.stop();
      work();  // the first promise finds it out
      const auto before = calls();
      for (int i = 0; i < 10; ++i) work();
      CHECK(calls() == before);
    }
    CHECK(program.promises->counts().exits_missed == 0);
    CHECK(program.promises->counts().exits_unmatched == 0);
  }
}

TEST_CASE("while another thread stops and starts tracing, no promise gets the id of another") {
  // Each stack is asked of V8, inside of the hook: time enough to be stopped between its questions.
  Program::Options options = without_stacks(v8a::Hooks::kContext);
  options.promises.stacks.mode = v8a::StackMode::kEvery;
  options.keep = false;
  Program program{options};
  std::atomic<bool> is_done = false;
  std::atomic<int> stops = 0;
  std::thread other([&] {
    const auto spin = [](std::chrono::microseconds time) {
      for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
      }
    };
    for (std::uint32_t epoch = 1'000; !is_done; ++epoch) {
      program.tracer().set_epoch(0);
      spin(std::chrono::microseconds(20));  // as long as V8 takes for a stack
      program.tracer().set_epoch(epoch);
      spin(std::chrono::microseconds(150));
      ++stops;
    }
  });
  program.run("var make = () => Array.from({ length: 20 }, () => new Promise(() => {}))");
  std::size_t known = 0;
  std::set<ResourceId> ids;
  for (int round = 0; round < 20'000 && stops < 3'000; ++round) {
    const v8::HandleScope handles(program.isolate());
    const auto made = program.run("make()").As<v8::Array>();
    for (std::uint32_t at = 0; at < made->Length(); ++at) {
      const auto promise = made->Get(program.context, at).ToLocalChecked().As<v8::Promise>();
      const Resource resource = program.promises->resource_of(promise);
      if (!resource) continue;
      ++known;
      ids.insert(resource.id);
    }
  }
  is_done = true;
  other.join();
  CHECK(ids.size() == known);
}

TEST_CASE("a promise that the host makes has the resource that a look-up finds") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    const auto made = [&] {
      const v8::HandleScope handles(program.isolate());
      Resource resource{};
      const auto resolver = program.promises->make_resolver(program.context, resource).ToLocalChecked();
      CHECK(resource == program.promises->resource_of(resolver->GetPromise()));
      return resource;
    };
    const Resource root = program.tracer().begin_root();
    const Resource alone = made();
    {
      const thence::CallbackScope scope{program.tracer(), root};
      const Resource inside = made();
      CHECK(inside.id > alone.id);
      CHECK(inside.root == root.root);
    }
    CHECK(alone.root == thence::RootId::kNone);
    {
      const thence::CallbackScope scope{program.tracer(), Resource{thence::ResourceId::kNone, thence::RootId::kUntraced}};
      CHECK_FALSE(made());
    }
    program.session.stop();
    CHECK_FALSE(made());
    program.session.start();
    program.run("0");  // the hooks are back
    CHECK(made());
    program.promises->unfollow(program.context);
    CHECK_FALSE(made());
  }
}

TEST_CASE("a promise that the host resolves is settled as V8 says when it has returned, also around another, and nothing is held") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    const v8::HandleScope handles(program.isolate());
    Resource plain{}, outer{}, inner{}, locked{};
    const auto make = [&](Resource& resource) { return program.promises->make_resolver(program.context, resource).ToLocalChecked(); };
    const auto resolve = [&](v8::Local<v8::Promise::Resolver> resolver, Resource resource, v8::Local<v8::Value> value) {
      CHECK(program.promises->resolve(program.context, resolver, resource, value).FromMaybe(false));
    };
    const auto as_plain = make(plain), as_outer = make(outer), as_inner = make(inner), as_locked = make(locked);

    resolve(as_plain, plain, v8::Null(program.isolate()));
    // V8 reads `then` of the object: the getter has the host resolve another promise meanwhile.
    struct Inner {
      Program& program;
      v8::Local<v8::Promise::Resolver> resolver;
      Resource resource;
    } of_getter{program, as_inner, inner};
    const auto object = v8::Object::New(program.isolate());
    const auto getter = [](v8::Local<v8::Name>, const v8::PropertyCallbackInfo<v8::Value>& info) {
      auto& inside = *static_cast<Inner*>(info.Data().As<v8::External>()->Value());
      CHECK(inside.program.promises->resolve(inside.program.context, inside.resolver, inside.resource, v8::Null(info.GetIsolate()))
                .FromMaybe(false));
    };
    object->SetNativeDataProperty(program.context, program.text("then"), getter, nullptr, v8::External::New(program.isolate(), &of_getter)).Check();
    resolve(as_outer, outer, object);
    // Locked in to a promise that stays pending: not settled.
    resolve(as_locked, locked, program.run("new Promise(() => {})"));

    CHECK(as_outer->GetPromise()->State() == v8::Promise::kFulfilled);
    program.session.stop();
    std::vector<ResourceId> fulfilled;
    for (const RecordedEvent& event : program.recording.events)
      if (event.kind == thence::EventKind::kSettled) {
        CHECK(event.outcome() == thence::Outcome::kFulfilled);
        fulfilled.push_back(event.resource);
      }
    std::sort(fulfilled.begin(), fulfilled.end());
    CHECK(fulfilled == std::vector{plain.id, outer.id, inner.id});
    CHECK(program.promises->counts().settles_withdrawn == (hooks == v8a::Hooks::kIsolate ? 1 : 0));  // V8 calls no other hook for it
  }
}

TEST_CASE("a promise that the host resolves is settled before what waits for it runs, also where V8 runs that before it returns") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.isolate()->SetMicrotasksPolicy(v8::MicrotasksPolicy::kAuto);
    Resource promise;
    const auto resolver = program.promises->make_resolver(program.context, promise).ToLocalChecked();
    program.context->Global()->Set(program.context, program.text("p"), resolver->GetPromise()).Check();
    program.run("p.then(() => { globalThis.ran = true })");
    program.promises->resolve(program.context, resolver, promise, v8::Null(program.isolate())).Check();
    CHECK(program.text_of("ran") == "true");
    program.session.stop();
    std::vector<thence::EventKind> kinds;
    for (const RecordedEvent& event : program.recording.events) {
      if (event.kind == thence::EventKind::kEntered || (event.kind == thence::EventKind::kSettled && event.resource == promise.id))
        kinds.push_back(event.kind);
    }
    CHECK(kinds == std::vector{thence::EventKind::kSettled, thence::EventKind::kEntered});
  }
}

TEST_CASE("the end of a checkpoint is V8's word, or the host's where it says so itself") {
  enum End { kOfV8s, kUnsaid, kOfHosts };
  for (const v8a::Hooks hooks : kBothWays) {
    for (const End end : {kOfV8s, kUnsaid, kOfHosts}) {
      CAPTURE(end);
      Program program{Program::Options{.promises = {
          .hooks = hooks, .stacks = {.mode = v8a::StackMode::kNone}, .gc_pauses = false, .hears_checkpoints = end == kOfV8s}}};
      program.run("var refuse; new Promise((_, reject) => { refuse = reject })");
      program.run("refuse(1)");  // its outcome waits for V8's next hook call
      program.microtasks();
      if (end == kOfHosts) program.promises->checkpoint_done();
      program.session.stop();
      const auto& events = program.recording.events;
      CHECK(std::count_if(events.begin(), events.end(), [](const RecordedEvent& event) { return event.kind == EventKind::kSettled; }) ==
            (end == kUnsaid ? 0 : 1));
    }
  }
}

TEST_CASE("tracing that stops inside of a callback leaves nothing open, and begins anew with what is called then") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.expose(program.context, "stop", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      static_cast<Program*>(info.Data().As<v8::External>()->Value())->session.stop();
    });
    program.run("Promise.resolve().then(async () => { stop(); await null; await null })");
    program.microtasks();
    program.session.start();
    CHECK(program.lines().size() == 6);  // three created, one settled, one link, one entered: the rest is after the stop
    program.run(kPlain);
    program.microtasks();
    CHECK(program.lines() == kPlainGraph);
    CHECK(program.promises->counts().exits_missed == 0);
    CHECK(program.promises->counts().exits_unmatched == 0);
    CHECK(program.tracer().depth() == 0);
    CHECK(program.tracer().misuse().exit_without_enter == 0);
  }
}

TEST_CASE("a promise from an untraced context is awaited without a cause, and its context is not traced") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    const auto other = program.new_context();
    program.run_in(other, "globalThis.far = new Promise((resolve) => globalThis.done = resolve); far.then(() => {})");
    program.context->Global()
        ->Set(program.context, program.text("far"), other->Global()->Get(other, program.text("far")).ToLocalChecked())
        .Check();
    program.run("name((async () => { await far })(), 'f')");
    program.run_in(other, "done(); (async () => { await null })()");
    program.microtasks();
    // The await of another context's promise wraps it: the wrapper is resolved with a thenable.
    const Lines lines = program.lines();
    CAPTURE(lines);
    CHECK(Program::about(lines, "f").size() == 2);
    CHECK(Program::about(lines, "f").front() == "f created");
    CHECK(Program::about(lines, "f").back().starts_with("f fulfilled by "));
    for (const std::string& line : lines) CHECK(line.find('?') == std::string::npos);
    CHECK(program.tracer().depth() == 0);
    CHECK(program.tracer().misuse().exit_without_enter == 0);
  }
}

TEST_CASE("a promise that goes from one followed context to another is known in both") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    const auto other = program.new_context();
    program.follow(other);
    program.run_in(other, "globalThis.far = host('far')");
    const auto far = other->Global()->Get(other, program.text("far")).ToLocalChecked();
    program.context->Global()->Set(program.context, program.text("far"), far).Check();
    program.run("globalThis.then = Promise.prototype.then; name(then.call(far, () => {}), 't')");
    program.microtasks();
    program.resolve("far");
    program.microtasks();
    const Lines lines = program.lines();
    CHECK(Program::about(lines, "far") == Lines{"far created", "far fulfilled by outside"});
    REQUIRE(program.promises->counts().unknown_entered == 0);
    // then() of one realm on a promise of another makes the derived promise by the latter's constructor.
    CHECK(Program::about(lines, "t").back() == "t exited");
    CHECK(Program::about(lines, "t").front() == "t created");
  }
}

TEST_CASE("a context that is unfollowed is heard no more, and the others still are") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    const auto other = program.new_context();
    program.follow(other);
    program.promises->unfollow(program.context);
    program.run("Promise.resolve().then(() => {})");
    program.microtasks();
    CHECK(program.lines().empty());
    program.run_in(other, kPlain);
    program.microtasks();
    CHECK(program.lines() == kPlainGraph);
    program.promises->unfollow(other);
    program.run_in(other, kPlain);
    program.microtasks();
    CHECK(program.lines().empty());
  }
}

TEST_CASE("a context may be collected while it is followed") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    for (int i = 0; i < 3; ++i) {
      const v8::HandleScope handles(program.isolate());
      const auto other = v8::Context::New(program.isolate());
      program.follow(other);
      program.run_in(other, "Promise.resolve().then(() => {})");
      program.microtasks();
    }
    program.run("gc()");
    program.run("gc()");
    const auto other = program.new_context();
    program.follow(other);
    (void)program.lines();
    program.run(kPlain);
    program.microtasks();
    CHECK(program.lines() == kPlainGraph);
  }
}

TEST_CASE("to unfollow the last context that there is ends its callback, whatever else was followed and is gone") {
  Program program;
  {
    const v8::HandleScope handles(program.isolate());
    program.follow(v8::Context::New(program.isolate()));
  }
  program.run("gc()");
  program.run("gc()");
  program.expose(program.context, "unfollow", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    auto& self = *static_cast<Program*>(info.Data().As<v8::External>()->Value());
    CHECK(self.tracer().depth() == 2);
    self.promises->unfollow(self.context);
    CHECK(self.tracer().depth() == 1);
  });
  const thence::CallbackScope scope{program.tracer(), program.tracer().begin_root()};
  program.run("(async () => { await null; unfollow() })()");
  program.microtasks();
  CHECK(program.tracer().depth() == 1);
}

TEST_CASE("two isolates on one thread share its tracer and keep apart") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program outer{hooks};
    const IsolateOwner second = make_isolate();
    std::function<void()> in_second;
    {
      const v8::Isolate::Scope scope(second.get());
      const v8::HandleScope handles(second.get());
      const auto context = v8::Context::New(second.get());
      v8a::PromiseOptions options;
      options.hooks = hooks;
      options.stacks.mode = v8a::StackMode::kNone;
      v8a::PromiseTracer promises{second.get(), outer.tracer(), options};
      REQUIRE(promises.follow(context));
      v8::Global<v8::Context> kept{second.get(), context};
      in_second = [&] {
        const v8::Isolate::Scope inner_scope(second.get());
        const v8::HandleScope inner_handles(second.get());
        const auto inner = kept.Get(second.get());
        const v8::Context::Scope entered(inner);
        const auto source = v8::String::NewFromUtf8Literal(second.get(), "Promise.resolve().then(() => {})");
        v8::Script::Compile(inner, source).ToLocalChecked()->Run(inner).ToLocalChecked();
        second->PerformMicrotaskCheckpoint();
      };
      const v8::Isolate::Scope back(outer.isolate());
      outer.context->Global()
          ->Set(outer.context, outer.text("elsewhere"),
                v8::Function::New(
                    outer.context,
                    [](const v8::FunctionCallbackInfo<v8::Value>& info) {
                      (*static_cast<std::function<void()>*>(info.Data().As<v8::External>()->Value()))();
                    },
                    v8::External::New(outer.isolate(), &in_second))
                    .ToLocalChecked())
          .Check();
      outer.run("name(name(Promise.resolve(1), 'p').then(() => { elsewhere() }), 't')");
      outer.microtasks();
      // Its first promise is created in t's callback, its reaction is entered inside of it.
      CHECK(outer.lines() == Lines{"p created", "p fulfilled by outside", "t created", "t awaits p",
                                   "t entered after p", "1 created in t", "1 fulfilled by t", "2 created in t",
                                   "2 awaits 1", "2 entered after 1", "2 fulfilled by 2", "2 exited",
                                   "t fulfilled by t", "t exited"});
      kept.Reset();
      outer.run("globalThis.elsewhere = undefined");
    }
  }
}

TEST_CASE("an isolate that moves to another thread goes on in that thread's lane") {
  for (const v8a::Hooks hooks : kBothWays) {
    Recording recording;
    thence::SessionOptions session_options;
    session_options.drain_thread = false;
    thence::Session session{session_options};
    session.add_sink(RecordingSink(recording));
    session.start();
    auto lane = session.attach("first");
    const IsolateOwner isolate = make_isolate();
    v8::Global<v8::Context> kept;
    std::unique_ptr<v8a::PromiseTracer> promises;
    const auto run = [&](const char* source) {
      const v8::HandleScope handles(isolate.get());
      const auto context = kept.Get(isolate.get());
      const v8::Context::Scope entered(context);
      v8::Script::Compile(context, v8::String::NewFromUtf8(isolate.get(), source).ToLocalChecked())
          .ToLocalChecked()
          ->Run(context)
          .ToLocalChecked();
      isolate->PerformMicrotaskCheckpoint();
    };
    {
      const v8::Locker locker(isolate.get());
      const v8::Isolate::Scope scope(isolate.get());
      {
        const v8::HandleScope handles(isolate.get());
        const auto context = v8::Context::New(isolate.get());
        kept.Reset(isolate.get(), context);
        v8a::PromiseOptions options;
        options.hooks = hooks;
        promises = std::make_unique<v8a::PromiseTracer>(isolate.get(), lane.tracer(), options);
        REQUIRE(promises->follow(context));
      }
      run("globalThis.go = null; (async function walk() { await new Promise((r) => { go = r }) })()");
      promises->rebind(nullptr);
    }
    std::thread other([&] {
      auto second = session.attach("second");
      const v8::Locker locker(isolate.get());
      const v8::Isolate::Scope scope(isolate.get());
      promises->rebind(&second.tracer());
      run("go(); (async function here() { await null })()");
      promises->stop();
    });
    other.join();
    promises.reset();
    {
      const v8::Locker locker(isolate.get());
      const v8::Isolate::Scope scope(isolate.get());
      kept.Reset();
    }
    session.close();
    // Created on the first lane, entered on the second.
    std::map<ResourceId, thence::LaneId> created;
    int moved = 0;
    bool stack_of_second = false;
    for (const RecordedEvent& event : recording.events) {
      if (event.kind == EventKind::kCreated) {
        created[event.resource] = event.lane;
        for (const RecordedFrame& frame : recording.stacks[event.stack]) stack_of_second |= frame.function == "here";
      }
      if (event.kind == EventKind::kEntered) {
        CHECK(recording.lanes[event.lane] == "second");
        moved += recording.lanes[created.at(event.resource)] == "first";
      }
    }
    CHECK(moved == 1);
    CHECK(stack_of_second);
  }
}

TEST_CASE("a stack overflow inside a hook costs its own event only: what follows is right") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.isolate()->AddMessageListener([](v8::Local<v8::Message>, v8::Local<v8::Value>) {});
    // Falls to the stack's end, and on the way back makes promises and runs microtasks at each of the last depths.
    program.run(
        "let budget = 0;"
        "const work = () => {"
        "  try { new Promise((r) => r()) } catch { }"
        "  try { Promise.resolve().then(() => new Promise(() => {})) } catch { }"
        "  try { (async () => { await null })() } catch { }"
        "  try { checkpoint() } catch { }"
        "};"
        "function fall() { try { fall() } catch { } if (budget-- > 0) { try { work() } catch { } } }"
        "function pad(n) { if (n > 0) pad(n - 1); else { budget = 2000; fall() } }");
    constexpr std::uint64_t kRounds = 3;
    std::uint64_t made = 0;
    for (std::uint64_t n = 0; n < kRounds; ++n) {
      program.run("pad(" + std::to_string(n) + ")");
      program.microtasks();
      (void)program.lines();
      made = program.promises->counts().created;
    }
    CHECK(made > 0);
    CHECK(made < kRounds * 2000 * 8);  // some hooks, or what they belong to, did fail
    CHECK(program.tracer().depth() == 0);
    CHECK(program.tracer().current() == Resource{});
    program.run(kPlain);
    program.microtasks();
    const Lines lines = program.lines();
    CHECK(Program::about(lines, "f").front() == "f created");
    CAPTURE(lines);
    CHECK(lines.size() == kPlainGraph.size());
    CHECK(program.tracer().misuse().exit_without_enter == 0);
  }
}

TEST_CASE("a callback is left when it ends, though many awaits ended inside of it by microtasks of another queue") {
  Program program{v8a::Hooks::kContext};
  const std::unique_ptr<v8::MicrotaskQueue> queue = v8::MicrotaskQueue::New(program.isolate(), v8::MicrotasksPolicy::kExplicit);
  const auto inner = v8::Context::New(program.isolate(), nullptr, {}, {}, {}, queue.get());
  inner->SetSecurityToken(program.context->GetSecurityToken());
  program.follow(inner);
  struct Inner {
    Program& program;
    v8::Local<v8::Context> context;
    v8::MicrotaskQueue& queue;
  } nested{program, inner, *queue};
  const auto run_inner = [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    const auto& in = *static_cast<Inner*>(info.Data().As<v8::External>()->Value());
    in.program.run_in(in.context, "(async () => { for (let i = 0; i < 1000; i++) await i })()");
    in.queue.PerformCheckpoint(in.program.isolate());
  };
  const auto function = v8::Function::New(program.context, run_inner, v8::External::New(program.isolate(), &nested)).ToLocalChecked();
  program.context->Global()->Set(program.context, program.text("runInner"), function).Check();
  // Without a settling at their ends: each resolves its promise with another that stays pending.
  program.run("const chain = Promise.resolve();"
              "name(chain.then(() => { runInner(); return new Promise(() => {}) }), 'a');"
              "name(chain.then(() => { runInner(); return new Promise(() => {}) }), 'b')");
  program.microtasks();
  CHECK(program.tracer().depth() == 0);
  const Lines lines = program.lines();
  for (const std::string name : {"a", "b"})
    CHECK(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) { return line == name + " exited"; }) == 2);
  CHECK(program.promises->counts().exits_missed == 0);
  CHECK(program.promises->counts().exits_unmatched == 0);
  CHECK(program.tracer().misuse().exits_crossed == 0);
}

TEST_CASE("the after hook goes where nothing but awaits runs, and is back for the first callback that needs it") {
  Program program{v8a::Hooks::kContext};
  CHECK(program.promises->hooks_after());
  for (int i = 0; i < 3; ++i) {
    program.run("(async () => { for (let i = 0; i < 1000; i++) await i })()");
    program.microtasks();
    CHECK(!program.promises->hooks_after());
    program.run("Promise.resolve().then(() => new Promise(() => {}))");
    program.microtasks();
    CHECK(program.promises->hooks_after());
    CHECK(program.tracer().depth() == 0);
  }
  CHECK(program.promises->counts().exits_missed == 0);
}

TEST_CASE("no script can see the ids") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run(
        "globalThis.seen = []; globalThis.p = Promise.resolve(1);"
        "globalThis.q = (async () => { await p })(); globalThis.proxy = new Proxy(p, { get(t, k) { seen.push(k) }, "
        "has(t, k) { seen.push(k) } })");
    program.microtasks();
    for (const char* promise : {"p", "q"}) {
      const std::string p = promise;
      CHECK(program.text_of("Reflect.ownKeys(" + p + ").length") == "0");
      CHECK(program.text_of("Object.getOwnPropertyNames(" + p + ").length") == "0");
      CHECK(program.text_of("Object.getOwnPropertySymbols(" + p + ").length") == "0");
      CHECK(program.text_of("(() => { let n = 0; for (const k in " + p + ") n++; return n })()") == "0");
      CHECK(program.text_of("JSON.stringify(" + p + ")") == "{}");
      CHECK(program.text_of("Object.getPrototypeOf(" + p + ") === Promise.prototype") == "true");
      CHECK(program.text_of("Object.isExtensible(" + p + ")") == "true");
      CHECK(program.text_of("Object.keys(Object.getOwnPropertyDescriptors(" + p + ")).length") == "0");
      CHECK(program.text_of("JSON.stringify({..." + p + "})") == "{}");
    }
    CHECK(program.text_of("seen.length") == "0");
    // Nor any stack that a script takes of itself.
    CHECK(program.text_of(
              "(() => { let s; new Promise(() => { s = new Error().stack }); return s.includes('thence') })()") ==
          "false");
    CHECK(program.text_of(
              "Object.getOwnPropertyNames(globalThis).some((n) => n.includes('thence') || n === 'native')") == "false");
  }
}

#if V8_MAJOR_VERSION < 11
TEST_CASE("the collector takes nothing that a promise bears for a wrapper of the host's") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    WrapperTracer wrappers(program.isolate());
    program.run("globalThis.p = Promise.resolve(1); globalThis.q = (async () => { await p; await new Promise(() => {}) })()");
    program.microtasks();
    CHECK(wrappers.collect() == 0);
    CHECK(program.promises->resource_of(program.run("q").As<v8::Promise>()));
  }
}
#endif

TEST_CASE("a script that breaks every built-in object is followed as if it had not") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run(R"js(
        globalThis.f = async () => { await name(Promise.resolve(1), 'p') };
        const die = () => { throw new Error('touched') };
        const define = Object.defineProperty, keys_of = Reflect.ownKeys;
        const names = ['id', '#id', 'init', 'before', 'after', 'resolve', 'held', 'initSlowly', '0', '1', '2', 'high', 'hooks'];
        const lists = [Function.prototype, Array.prototype, Int32Array.prototype, Object.getPrototypeOf(Int32Array.prototype)];
        const targets = [];
        for (let i = 0; i < lists.length; i++) targets[i] = keys_of(lists[i]);
        const trap = {__proto__: null, get: die, configurable: true};
        for (let i = 0; i < lists.length; i++) {
          for (let k = 0; k < targets[i].length; k++) {
            try { if (targets[i][k] !== 'constructor') define(lists[i], targets[i][k], trap) } catch { }
          }
        }
        for (let i = 0; i < names.length; i++) define(Object.prototype, names[i], {__proto__: null, get: die, set: die, configurable: true});
        define(globalThis, 'Promise', {__proto__: null, value: Promise, writable: false});
    )js");
    (void)program.lines();
    program.run("name(f(), 'f')");
    program.microtasks();
    CHECK(program.lines() == kPlainGraph);
  }
}

TEST_CASE("a script that replaces Promise.prototype.then is followed as the engine's own awaits go") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run(
        "const real = Promise.prototype.then;"
        "Promise.prototype.then = function (...all) { return real.apply(this, all) };");
    program.run("name(name(Promise.resolve(1), 'p').then(() => {}), 't')");
    program.microtasks();
    CHECK(program.lines() == Lines{"p created", "p fulfilled by outside", "t created", "t awaits p",
                                   "t entered after p", "t fulfilled by t", "t exited"});
  }
}

TEST_CASE("an isolate hook of the host's own changes nothing of what the context hooks tell") {
  Program program{v8a::Hooks::kContext};
  program.isolate()->SetPromiseHook([](v8::PromiseHookType, v8::Local<v8::Promise>, v8::Local<v8::Value>) {});
  program.run("name(new Promise((resolve) => resolve(host('inner'))), 'outer')");
  program.microtasks();
  program.resolve("inner");
  program.microtasks();
  CHECK(program.lines() == Lines{"outer created", "inner created", "outer entered", "1 created in outer",
                                 "1 awaits inner", "outer exited", "inner fulfilled by outside",
                                 "1 entered after inner", "outer fulfilled by 1", "1 fulfilled by 1", "1 exited"});
  CHECK(program.promises->counts().settles_withdrawn == 0);
}

TEST_CASE("a pending promise's last link and a settle outside of microtasks are recorded by flush()") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("name(host('h').then(() => {}), 't')");
    CHECK(program.lines() == Lines{"h created", "t created", "t awaits h"});
    program.resolve("h");
    CHECK(program.lines() == Lines{"h fulfilled by outside"});
  }
}

TEST_CASE("a settle bears the time at which it happened, though its outcome is learnt later") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("host('h')");
    program.resolve("h");
    const thence::Ticks after_settle = program.tracer().now();
    while (program.tracer().now() < static_cast<thence::Ticks>(thence::count_of(after_settle) + 1'000'000)) {
    }
    const Resource later = program.tracer().create(ResourceType::kOther);
    program.run("new Promise(() => {})");
    program.session.stop();
    thence::Timestamp created{}, settled{};
    for (const RecordedEvent& event : program.recording.events) {
      if (event.kind == EventKind::kCreated && event.resource == later.id) created = event.time;
      if (event.kind == EventKind::kSettled) settled = event.time;
    }
    CHECK(settled < created);
  }
}

TEST_CASE("the rejection that nobody handles is noted, and taken back when somebody does") {
  for (const v8a::Hooks hooks : kBothWays) {
    static Program* current = nullptr;
    Program program{hooks};
    current = &program;
    program.isolate()->SetPromiseRejectCallback(
        [](v8::PromiseRejectMessage message) { current->promises->note_rejection(message); });
    program.run("globalThis.p = name(Promise.reject(1), 'p')");
    program.run("name(p, 'p'); p.catch(() => {})");
    program.microtasks();
    const Lines about = Program::about(program.lines(), "p");
    CHECK(about ==
          Lines{"p created", "p rejected by outside", "p unhandled_rejection=true", "p unhandled_rejection=false"});
  }
}

TEST_CASE("collections are pauses on the lane") {
  Program::Options options;
  options.promises.stacks.mode = v8a::StackMode::kNone;
  Program program{options};
  program.run("gc()");
  const Lines lines = program.lines();
  const auto begins =
      std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("pause "); });
  const auto ends =
      std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("go on "); });
  CHECK(begins >= 1);
  CHECK(begins == ends);
  const std::string major = std::to_string(static_cast<int>(thence::PauseKind::kGcMajor));
  CHECK(std::count(lines.begin(), lines.end(), "pause " + major) >= 1);
}

TEST_CASE("the promise tracer may go while its hooks run, and the script goes on") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.expose(program.context, "stop", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      static_cast<Program*>(info.Data().As<v8::External>()->Value())->promises->stop();
    });
    program.run(
        "globalThis.done = 0; (async () => { await null; stop(); await null; await Promise.resolve(1).then(() => {}); "
        "done = 1 })()");
    program.microtasks();
    CHECK(program.text_of("done") == "1");
    CHECK_FALSE(program.promises->follow(program.context));
    program.promises->stop();
    program.promises->flush();
  }
}

TEST_CASE("the tracer may go first after rebind(nullptr)") {
  for (const v8a::Hooks hooks : kBothWays) {
    Program program{hooks};
    program.run("globalThis.p = (async () => { await null })()");
    program.promises->rebind(nullptr);
    program.lane.detach();
    program.run("p.then(() => {}); Promise.reject(1).catch(() => {})");
    program.microtasks();
    CHECK(program.promises->counts().exits_unmatched == 0);
  }
}

TEST_CASE("a promise tracer that was told to forget its isolate may outlive it") {
  for (const v8a::Hooks hooks : kBothWays) {
    thence::SessionOptions options;
    options.drain_thread = false;
    thence::Session session{options};
    session.start();
    auto lane = session.attach("script");
    std::unique_ptr<v8a::PromiseTracer> promises;
    {
      const IsolateOwner isolate = make_isolate();
      const v8::Isolate::Scope scope(isolate.get());
      const v8::HandleScope handles(isolate.get());
      const auto context = v8::Context::New(isolate.get());
      v8a::PromiseOptions promise_options;
      promise_options.hooks = hooks;
      promises = std::make_unique<v8a::PromiseTracer>(isolate.get(), lane.tracer(), promise_options);
      REQUIRE(promises->follow(context));
      const v8::Context::Scope in_context(context);
      const auto run = [&](std::string_view text) {
        auto source = v8::String::NewFromUtf8(isolate.get(), text.data(), v8::NewStringType::kNormal, static_cast<int>(text.size()));
        v8::Script::Compile(context, source.ToLocalChecked()).ToLocalChecked()->Run(context).ToLocalChecked();
        isolate->PerformMicrotaskCheckpoint();
      };
      run("const one = async () => { for (let i = 0; i < 20000; i++) await i }; one()");  // until V8 has compiled the hooks
      promises->forget();
      run("one()");  // V8 still calls them
    }
    promises->forget();
    promises->flush();
    promises->stop();
    promises.reset();
    CHECK(session.running());
  }
}

TEST_CASE("hooks are installed and removed many times without a trace in the isolate") {
  Program program{v8a::Hooks::kContext};
  for (int i = 0; i < 50; ++i) {
    program.promises->unfollow(program.context);
    program.follow(program.context);
  }
  program.run(kPlain);
  program.microtasks();
  CHECK(program.lines() == kPlainGraph);
}
