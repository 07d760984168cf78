// SPDX-License-Identifier: MIT
// A promise that goes from KJ to JavaScript and back: one operation, known from both sides.
#include "thence/adapters/kj_v8/bridge.hpp"

#include <kj/timer.h>

#include <memory>
#include <optional>
#include <string>

#include "adapters/kj/transcript.hpp"
#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"
#include "thence/adapters/kj.hpp"

using namespace thence;
using kj_v8_adapter::BridgePolicy;
using thence_test::Lines;
using thence_test::Traced;

namespace {

using Bridge = kj_v8_adapter::Bridge<Tracer>;

/// Whether `wait` fails with these words.
template <class Wait>
bool fails_with(Wait&& wait, const char* words) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { wait(); })) {
    return std::string(exception->getDescription().cStr()).find(words) != std::string::npos;
  }
  return false;
}

/// A loop, an isolate with one context, and what a script may ask of them.
struct Worker {
  explicit Worker(Traced& traced_in, bool follow = true) : traced(traced_in) {
    in_isolate.emplace(isolate.get());
    handles.emplace(isolate.get());
    context = v8::Context::New(isolate.get());
    promises = std::make_unique<v8_adapter::PromiseTracer>(
        isolate.get(), traced.tracer,
        v8_adapter::PromiseOptions{.stacks = {.mode = v8_adapter::StackMode::kNone}, .gc_pauses = false});
    if (follow) REQUIRE(promises->follow(context));
    in_context.emplace(context);
    bridge.emplace(isolate.get(), traced.tracer, promises.get());
    expose("sleep", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      auto& worker = self(info);
      const auto ms = info[0].As<v8::Number>()->Value();
      info.GetReturnValue().Set(worker.to_js(
          worker.timer.afterDelay(static_cast<std::int64_t>(ms) * kj::MILLISECONDS).then([ms]() { return ms; })));
    });
    expose("timer", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      auto& worker = self(info);
      info.GetReturnValue().Set(worker.to_js_void(worker.timer.afterDelay(1 * kj::MILLISECONDS)));
    });
    expose("fail", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      info.GetReturnValue().Set(self(info).to_js(kj::Promise<double>(KJ_EXCEPTION(OVERLOADED, "too much"))));
    });
    expose("mark", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      const v8::String::Utf8Value name(info.GetIsolate(), info[0]);
      self(info).mark(*name);
    });
    expose("name", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      const v8::String::Utf8Value name(info.GetIsolate(), info[1]);
      self(info).traced.name(self(info).promises->resource_of(info[0].As<v8::Promise>()), *name);
      info.GetReturnValue().Set(info[0]);
    });
  }
  ~Worker() {
    bridge.reset();
    promises.reset();
    in_context.reset();
    handles.reset();
    in_isolate.reset();
  }

  void mark(const char* name) { traced.name(traced.tracer.create(ResourceType::kOther), name); }
  v8::Local<v8::Promise> to_js(kj::Promise<double>&& promise) {
    return bridge
        ->kj_to_js(context, kj::mv(promise),
                   [](v8::Isolate* in, v8::Local<v8::Context>, double value) {
                     return v8::Number::New(in, value).As<v8::Value>();
                   })
        .ToLocalChecked();
  }
  v8::Local<v8::Promise> to_js_void(kj::Promise<void>&& promise) {
    return bridge
        ->kj_to_js(context, kj::mv(promise),
                   [](v8::Isolate* in, v8::Local<v8::Context>) { return v8::Undefined(in).As<v8::Value>(); })
        .ToLocalChecked();
  }
  kj::Promise<double> to_kj(v8::Local<v8::Value> promise) {
    return bridge->js_to_kj<double>(context, promise.As<v8::Promise>(),
                                    [](v8::Isolate*, v8::Local<v8::Context> in, v8::Local<v8::Value> value) {
                                      return value->NumberValue(in).FromMaybe(0);
                                    });
  }
  v8::Local<v8::Value> run(const char* source) {
    const auto text = v8::String::NewFromUtf8(isolate.get(), source).ToLocalChecked();
    const auto value = v8::Script::Compile(context, text).ToLocalChecked()->Run(context).ToLocalChecked();
    isolate->PerformMicrotaskCheckpoint();
    return value;
  }
  std::string text(const char* source) {
    const v8::String::Utf8Value value(isolate.get(), run(source));
    return *value;
  }
  void at(int milliseconds) {
    scope.poll();
    clock.advanceTo(kj::origin<kj::TimePoint>() + milliseconds * kj::MILLISECONDS);
    scope.poll();
  }

  using Callback = void (*)(const v8::FunctionCallbackInfo<v8::Value>&);
  void expose(const char* name, Callback callback) {
    const auto function = v8::Function::New(context, callback, v8::External::New(isolate.get(), this)).ToLocalChecked();
    context->Global()->Set(context, v8::String::NewFromUtf8(isolate.get(), name).ToLocalChecked(), function).Check();
  }
  static Worker& self(const v8::FunctionCallbackInfo<v8::Value>& info) {
    return *static_cast<Worker*>(info.Data().As<v8::External>()->Value());
  }

  Traced& traced;
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl clock{kj::origin<kj::TimePoint>()};
  kj_adapter::TracedTimer<Tracer> timer{traced.tracer, clock};
  thence_test::IsolateOwner isolate = thence_test::make_isolate();
  std::optional<v8::Isolate::Scope> in_isolate;
  std::optional<v8::HandleScope> handles;
  v8::Local<v8::Context> context;
  std::unique_ptr<v8_adapter::PromiseTracer> promises;
  std::optional<v8::Context::Scope> in_context;
  std::optional<Bridge> bridge;
};

}  // namespace

TEST_CASE(
    "KJ to JavaScript: the operation is the KJ promise's and the JavaScript promise's, and it settles the latter") {
  Traced traced;
  {
    Worker worker(traced);
    worker.run("name(timer(), 'js').then(() => mark('effect'))");
    worker.at(1);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"timer1", "kj-to-js1", "js ", "effect"}) ==
        Lines{"timer1 created by -", "kj-to-js1 created by -", "js created by -", "kj-to-js1 is timer1",
              "js is kj-to-js1", "timer1 fulfilled by outside", "timer1 scheduled by outside",
              "timer1 entered from outside", "kj-to-js1 fulfilled by timer1", "kj-to-js1 scheduled by timer1",
              "timer1 exited", "kj-to-js1 entered woken by timer1", "kj-to-js1 destroyed", "timer1 destroyed",
              "js fulfilled by kj-to-js1", "js-promise2 entered as js settled", "effect created by js-promise2",
              "kj-to-js1 exited"});
}

TEST_CASE("JavaScript to KJ: the operation is the JavaScript promise's, settled by the job that saw it settled") {
  Traced traced;
  {
    Worker worker(traced);
    auto done =
        worker.to_kj(worker.run("globalThis.resolve = null; name(new Promise(done => { resolve = done }), 'js')"))
            .then([&](double value) {
              CHECK(value == 7);
              worker.mark("effect");
            })
            .eagerlyEvaluate(nullptr);
    worker.scope.poll();
    worker.run("resolve(7)");
    done.wait(worker.scope);
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"js-to-kj1", "js ", "effect"}) ==
        Lines{"js created by -", "js-to-kj1 created by -", "js-to-kj1 is js", "js fulfilled by outside",
              "js-promise2 entered as js settled", "js-to-kj1 fulfilled by js-promise2",
              "js-to-kj1 scheduled by js-promise2", "js-to-kj1 entered woken by js-promise2", "js-to-kj1 destroyed",
              "effect created by js-to-kj1", "js-to-kj1 exited"});
}

TEST_CASE("a promise that goes from KJ to JavaScript and back keeps one chain of causes, and its request") {
  Traced traced;
  Resource root;
  {
    Worker worker(traced);
    root = traced.tracer.begin_root();
    kj::Promise<void> done = nullptr;
    {
      kj_adapter::LoopScope scope{traced.tracer, root};
      done = worker.to_kj(worker.run("(async () => { const ms = await sleep(2); mark('script'); return ms + 1 })()"))
                 .then([&](double value) {
                   CHECK(value == 3);
                   worker.mark("back");
                 })
                 .eagerlyEvaluate(nullptr);
    }
    worker.at(2);
    done.wait(worker.scope);
    traced.tracer.finish_root(root);
  }
  const Lines lines = traced.transcript();
  for (const auto& event : traced.recording.of_kind(EventKind::kCreated)) {
    CAPTURE(traced.called(event.resource));
    CHECK(event.root == root.root);
  }
  // sleep()'s then() stands between the timer and the bridge, which thus awaits the timer and is not the timer itself.
  CHECK(lines == Lines{"root1 created by -",
                       "root1 entered",
                       "js-promise1 created by root1",
                       "timer1 created by root1",
                       "kj-to-js1 created by root1",
                       "js-promise2 created by root1",
                       "js-promise2 is kj-to-js1",
                       "js-promise3 created by root1",
                       "js-promise3 awaits js-promise2",
                       "js-to-kj1 created by root1",
                       "js-to-kj1 is js-promise1",
                       "js-promise4 created by root1",
                       "js-promise4 awaits js-promise1",
                       "root1 exited",
                       "timer1 fulfilled by outside",
                       "timer1 scheduled by outside",
                       "timer1 entered from outside",
                       "kj-to-js1 awaits timer1",
                       "timer1 destroyed",
                       "kj-to-js1 fulfilled by timer1",
                       "kj-to-js1 scheduled by timer1",
                       "timer1 exited",
                       "kj-to-js1 entered woken by timer1",
                       "kj-to-js1 destroyed",
                       "js-promise2 fulfilled by kj-to-js1",
                       "js-promise3 entered as js-promise2 settled",
                       "script created by js-promise3",
                       "js-promise1 fulfilled by js-promise3",
                       "js-promise3 fulfilled by js-promise3",
                       "js-promise3 exited",
                       "js-promise4 entered as js-promise1 settled",
                       "js-to-kj1 fulfilled by js-promise4",
                       "js-to-kj1 scheduled by js-promise4",
                       "js-promise4 fulfilled by js-promise4",
                       "js-promise4 exited",
                       "kj-to-js1 exited",
                       "js-to-kj1 entered woken by js-promise4",
                       "js-to-kj1 destroyed",
                       "back created by js-to-kj1",
                       "js-to-kj1 exited",
                       "root1 finished"});
}

TEST_CASE("rejections go over in both directions, with their type and words") {
  Traced traced;
  {
    Worker worker(traced);
    CHECK(worker.text("globalThis.seen = ''; fail().catch(e => { seen = e.message + '/' + e.kjType + '/' + (e "
                      "instanceof Error) }); seen") == "");
    worker.scope.poll();
    CHECK(worker.text("seen") == "too much/overloaded/true");

    const auto rejection = [&](const char* source) {
      kj::Maybe<kj::Exception> caught;
      auto promise = worker.to_kj(worker.run(source))
                         .then([](double) {}, [&](kj::Exception&& exception) { caught = kj::mv(exception); })
                         .eagerlyEvaluate(nullptr);
      worker.run("0");
      worker.at(0);
      promise.wait(worker.scope);
      KJ_IF_MAYBE (exception, caught)
        return std::string(kj::str(exception->getType(), "/", exception->getDescription()).cStr());
      return std::string("none");
    };
    CHECK(rejection("fail()") == "overloaded/too much");
    CHECK(rejection("Promise.reject(new TypeError('bad'))") == "failed/TypeError: bad");
    CHECK(rejection("Promise.reject(42)") == "failed/42");
    CHECK(rejection("Promise.reject({ toString() { throw 1 } })") == "failed/a value that cannot be shown");
  }
  const Lines lines = traced.transcript();
  CHECK(Traced::with(lines, {"kj-to-js1 rejected", "kj-to-js2 rejected", "js-to-kj1 rejected"}).size() == 3);
}

TEST_CASE("what a conversion throws rejects the other side's promise") {
  Traced traced;
  Worker worker(traced);
  auto js = worker.bridge
                ->kj_to_js(worker.context, kj::Promise<int>(1),
                           [](v8::Isolate* in, v8::Local<v8::Context>, int) -> v8::MaybeLocal<v8::Value> {
                             in->ThrowException(v8::String::NewFromUtf8Literal(in, "thrown in JavaScript"));
                             return {};
                           })
                .ToLocalChecked();
  auto other = worker.bridge
                   ->kj_to_js(worker.context, kj::Promise<int>(1),
                              [](v8::Isolate*, v8::Local<v8::Context>, int) -> v8::Local<v8::Value> {
                                kj::throwFatalException(KJ_EXCEPTION(FAILED, "thrown in C++"));
                              })
                   .ToLocalChecked();
  js->MarkAsHandled();
  other->MarkAsHandled();
  worker.scope.poll();
  CHECK(js->State() == v8::Promise::kRejected);
  CHECK(std::string(*v8::String::Utf8Value(worker.isolate.get(), js->Result())) == "thrown in JavaScript");
  CHECK(other->State() == v8::Promise::kRejected);
  CHECK(std::string(*v8::String::Utf8Value(worker.isolate.get(), other->Result())) == "Error: thrown in C++");

  auto back = worker.bridge->js_to_kj<int>(worker.context, worker.run("Promise.resolve(1)").As<v8::Promise>(),
                                           [](v8::Isolate* in, v8::Local<v8::Context>, v8::Local<v8::Value>) {
                                             in->ThrowException(v8::String::NewFromUtf8Literal(in, "not a row"));
                                             return 0;
                                           });
  auto again = worker.bridge->js_to_kj<void>(worker.context, worker.run("Promise.resolve(1)").As<v8::Promise>(),
                                             [](v8::Isolate*, v8::Local<v8::Context>, v8::Local<v8::Value>) {
                                               kj::throwFatalException(KJ_EXCEPTION(UNIMPLEMENTED, "no such row"));
                                             });
  worker.run("0");
  CHECK(fails_with([&]() { back.then([](int) {}).wait(worker.scope); }, "not a row"));
  CHECK(fails_with([&]() { again.wait(worker.scope); }, "no such row"));
  CHECK(worker.bridge->counts().pending == 0);
}

TEST_CASE("a KJ promise that is dropped before JavaScript settles it is cancelled, and the script goes on") {
  Traced traced;
  {
    Worker worker(traced);
    { auto unused = worker.to_kj(worker.run("globalThis.p = new Promise(done => { globalThis.finish = done }); p")); }
    CHECK(worker.text("globalThis.ran = ''; p.then(() => { ran = 'yes' }); finish(1); ran") == "");
    CHECK(worker.text("ran") == "yes");
    CHECK(worker.bridge->counts().pending == 0);
  }
  CHECK(Traced::with(traced.transcript(), {"js-to-kj1"}) == Lines{"js-to-kj1 created by -", "js-to-kj1 is js-promise1",
                                                                  "js-to-kj1 cancelled by unknown",
                                                                  "js-to-kj1 destroyed"});
}

TEST_CASE("a bridge that goes cancels what JavaScript waits for and rejects what waits for JavaScript") {
  Traced traced;
  {
    Worker worker(traced);
    const auto js = worker.run("timer()").As<v8::Promise>();
    auto waiting = worker.to_kj(worker.run("globalThis.p = new Promise(done => { globalThis.finish = done }); p"));
    CHECK(worker.bridge->counts().pending == 2);
    worker.bridge->stop();
    CHECK(worker.bridge->counts().pending == 0);
    worker.at(5);
    CHECK(js->State() == v8::Promise::kPending);
    worker.run("finish(1)");  // finds nobody
    CHECK(fails_with([&]() { waiting.wait(worker.scope); }, "isolate went"));
    CHECK(worker.bridge
              ->kj_to_js(worker.context, kj::Promise<void>(kj::READY_NOW),
                         [](auto* in, auto) { return v8::Undefined(in).template As<v8::Value>(); })
              .IsEmpty());
    CHECK_THROWS_AS(worker.to_kj(js).wait(worker.scope), kj::Exception);
  }
  CHECK(Traced::with(traced.transcript(), {"cancelled", "js-to-kj1 rejected"}) ==
        Lines{"kj-to-js1 cancelled by unknown", "timer1 cancelled by unknown", "js-to-kj1 rejected by outside"});
}

TEST_CASE("an isolate that went first is not touched any more") {
  Traced traced;
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto isolate = thence_test::make_isolate();
  Bridge bridge(isolate.get(), traced.tracer);
  kj::Promise<int> waiting = nullptr;
  {
    const v8::Isolate::Scope in_isolate(isolate.get());
    const v8::HandleScope handles(isolate.get());
    const auto context = v8::Context::New(isolate.get());
    const v8::Context::Scope in_context(context);
    auto js = bridge.kj_to_js(context, kj::Promise<int>(kj::NEVER_DONE),
                              [](auto* in, auto, int) { return v8::Undefined(in).template As<v8::Value>(); });
    waiting = bridge.js_to_kj<int>(context, js.ToLocalChecked(), [](auto*, auto, auto) { return 1; });
  }
  isolate.reset();
  bridge.forget();
  CHECK(bridge.counts().pending == 0);
  CHECK_THROWS_AS(waiting.wait(scope), kj::Exception);
}

TEST_CASE("a JavaScript promise that is collected before it was settled breaks the KJ promise") {
  Traced traced;
  Worker worker(traced);
  kj::Promise<double> waiting = nullptr;
  {
    const v8::HandleScope handles(worker.isolate.get());
    waiting = worker.to_kj(worker.run("new Promise(() => {})"));
  }
  worker.run("Promise.resolve().then(() => {})");  // V8's hooks remember the last promise that they saw
  for (int n = 0; n < 3; ++n) worker.isolate->LowMemoryNotification();
  CHECK(worker.bridge->counts().collected == 1);
  CHECK_THROWS_AS(waiting.wait(worker.scope), kj::Exception);
}

TEST_CASE("a host that runs microtasks itself: the bridge settles, the host's checkpoint runs what waits") {
  struct Manual : BridgePolicy {
    void checkpoint(v8::Isolate*, v8::Local<v8::Context>) {}
  };
  Traced traced;
  Worker worker(traced);
  kj_v8_adapter::Bridge<Tracer, Manual> bridge(worker.isolate.get(), traced.tracer, worker.promises.get());
  const auto js =
      bridge
          .kj_to_js(worker.context, kj::Promise<int>(1),
                    [](auto* in, auto, int value) { return v8::Number::New(in, value).template As<v8::Value>(); })
          .ToLocalChecked();
  worker.context->Global()->Set(worker.context, v8::String::NewFromUtf8Literal(worker.isolate.get(), "p"), js).Check();
  worker.run("globalThis.ran = 0; p.then(value => { ran = value })");
  worker.scope.poll();
  CHECK(js->State() == v8::Promise::kFulfilled);
  CHECK(worker.context->Global()
            ->Get(worker.context, v8::String::NewFromUtf8Literal(worker.isolate.get(), "ran"))
            .ToLocalChecked()
            ->IsNumber());
  CHECK(worker.text("ran") == "0");  // read before the checkpoint at this script's end
  CHECK(worker.text("ran") == "1");
}

TEST_CASE("requests that interleave across KJ and JavaScript never mix") {
  Traced traced;
  {
    Worker worker(traced);
    worker.run(
        "globalThis.handle = async (a, b) => { await sleep(a); mark('m' + a + b); await Promise.all([sleep(b), "
        "sleep(a)]); return a * 100 + b }");
    std::vector<kj::Promise<void>> requests;
    for (int n = 1; n <= 4; ++n) {
      const Resource root = traced.tracer.begin_root();
      kj_adapter::LoopScope scope{traced.tracer, root};
      const std::string call = "handle(" + std::to_string(5 - n) + ", " + std::to_string(n) + ")";
      requests.push_back(worker.to_kj(worker.run(call.c_str()))
                             .then([&worker, root, n](double value) {
                               CHECK(value == (5 - n) * 100 + n);
                               CHECK(worker.traced.tracer.current().root == root.root);
                               worker.traced.tracer.finish_root(root);
                             })
                             .eagerlyEvaluate(nullptr));
    }
    for (int ms = 1; ms < 12; ++ms) worker.at(ms);
    for (auto& request : requests) request.wait(worker.scope);
  }
  traced.transcript();
  std::map<RootId, int> per_root;
  std::map<ResourceId, RootId> root_of;
  for (const auto& event : traced.recording.of_kind(EventKind::kCreated)) {
    root_of[event.resource] = event.root;
    if (event.root == RootId::kNone) continue;
    ++per_root[event.root];
    if (event.other != ResourceId::kNone) CHECK(root_of.at(event.other) == event.root);
  }
  REQUIRE(per_root.size() == 4);
  for (const auto& [root, count] : per_root) CHECK(count == per_root.begin()->second);
  for (const auto& event : traced.recording.of_kind(EventKind::kLinked))
    CHECK(root_of.at(event.resource) == root_of.at(event.other));
}

TEST_CASE("with tracing compiled out a bridge still bridges") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto isolate = thence_test::make_isolate();
  {
    const v8::Isolate::Scope in_isolate(isolate.get());
    const v8::HandleScope handles(isolate.get());
    const auto context = v8::Context::New(isolate.get());
    const v8::Context::Scope in_context(context);
    NullTracer none;
    kj_v8_adapter::Bridge<NullTracer> bridge(isolate.get(), none);
    auto js = bridge.kj_to_js(context, kj::Promise<int>(5), [](auto* in, auto, int value) {
      return v8::Number::New(in, value).template As<v8::Value>();
    });
    auto back = bridge.js_to_kj<int>(context, js.ToLocalChecked(),
                                     [](auto*, auto in, auto value) { return value->Int32Value(in).FromMaybe(0); });
    CHECK(back.wait(scope) == 5);
  }
}
