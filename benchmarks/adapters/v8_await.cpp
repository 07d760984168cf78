// SPDX-License-Identifier: MIT
// v8_await.cpp: what an awaited async function costs when its promises are followed, as a ratio to the same loop in an
// isolate that has no hooks.
//   for (let i = 0; i < n; i++) s = await f(s)       two promises, five hook calls, seven events, five readings of the clock
// Beside it, on the same loop, the floors: what V8 takes for five hook calls that do nothing; for the same when each reads the clock
// and stores its one or two events of 32 bytes; and when they keep on the promise what these events need (the least that makes a trace).
#include <libplatform/libplatform.h>
#include <v8.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "support/paired.hpp"
#include "thence/adapters/v8.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/clock.hpp"

namespace {

using namespace thence;
namespace v8a = thence::v8_adapter;

constexpr std::size_t kAwaits = 3000;
constexpr std::size_t kSlots = 32'768;

/// The hooks of a floor: a script, (native) => [init, before, resolve], with native.record(events, id, other): one reading of the clock,
/// and so many events. A promise that has a parent waits for it (one event more), and is left when it is resolved (one more).
constexpr std::string_view kEmptyHooks = "(native) => [() => {}, () => {}, () => {}]";
constexpr std::string_view kRecordingHooks =
    "(native) => [(promise, parent) => { native.record(parent === undefined ? 1 : 2, 1, 2) },"
    "             () => { native.record(1, 1, 2) }, () => { native.record(1, 1, 2) }]";
constexpr std::string_view kStampingHooks = R"js((native) => {
  'use strict';
  var next = 1, root = 1;
  class Identity extends null { constructor(object) { return object } }
  class Stamp extends Identity {
    #id = 0; #root = 0; #parent = 0;
    constructor(promise, id, root, parent) { super(promise); this.#id = id; this.#root = root; this.#parent = parent }
    static hooks(Stamp) {
      return [(promise, parent) => {
                var id = next++ & 0xfffffff, waitsFor = parent !== undefined && #id in parent ? parent.#id : 0;
                new Stamp(promise, id, root, waitsFor);
                native.record(waitsFor === 0 ? 1 : 2, id, waitsFor);
              },
              (promise) => { if (#id in promise) native.record(1, promise.#id, promise.#root) },
              (promise) => { if (#id in promise) native.record(promise.#parent === 0 ? 1 : 2, promise.#id, promise.#root) }];
    }
  }
  return Stamp.hooks(Stamp);
})js";

struct FloorEvent {
  std::uint64_t ticks;
  std::uint64_t words[3];
};
FloorEvent floor_events[kSlots];
std::size_t floor_position = 0;
void record_floor(std::int32_t events, std::int32_t id, std::int32_t other) noexcept {
  const auto now = static_cast<std::uint64_t>(BestClock::counter());
  for (std::int32_t kind = 0; kind < events; ++kind) {
    FloorEvent& event = floor_events[floor_position++ % std::size(floor_events)];
    event = {now, {static_cast<std::uint64_t>(kind), static_cast<std::uint64_t>(id), static_cast<std::uint64_t>(other)}};
    benchmark::DoNotOptimize(event);  // nobody reads it: without this it would not be stored
  }
}
void record_floor_fast(v8::Local<v8::Object>, std::int32_t events, std::int32_t id, std::int32_t other) {
  record_floor(events, id, other);
}
void record_floor_slowly(const v8::FunctionCallbackInfo<v8::Value>& info) {
  const auto integer = [&](int at) { return info[at].As<v8::Int32>()->Value(); };
  record_floor(integer(0), integer(1), integer(2));
}

/// An isolate with the loop in it.
class Loop {
 public:
  Loop() {
    v8::Isolate::CreateParams params;
    params.array_buffer_allocator_shared.reset(v8::ArrayBuffer::Allocator::NewDefaultAllocator());
    isolate_ = v8::Isolate::New(params);
    isolate_->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
    const v8::Isolate::Scope entered(isolate_);
    const v8::HandleScope handles(isolate_);
    context_.Reset(isolate_, v8::Context::New(isolate_));
    const auto context = context_.Get(isolate_);
    const v8::Context::Scope in_context(context);
    const auto source = v8::String::NewFromUtf8Literal(
        isolate_, "async function f(s) { return s + 1 }\n"
                  "(async function run(n) { let s = 0; for (let i = 0; i < n; i++) s = await f(s); return s })");
    run_.Reset(isolate_, v8::Script::Compile(context, source).ToLocalChecked()->Run(context).ToLocalChecked().As<v8::Function>());
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Promises are followed from now on, by a tracer that records or was never started.
  void trace(v8a::PromiseOptions options, bool records = true) {
    const v8::Isolate::Scope entered(isolate_);
    const v8::HandleScope handles(isolate_);
    make_tracer();
    if (records) tracer_->set_epoch(1);
    promises_ = std::make_unique<v8a::BasicPromiseTracer<TracerType>>(isolate_, *tracer_, options);
    promises_->follow(context_.Get(isolate_));
  }
  /// The current resource is carried through the script; no promise is followed.
  void carry() {
    const v8::Isolate::Scope entered(isolate_);
    const v8::HandleScope handles(isolate_);
    make_tracer();
    tracer_->set_epoch(1);
    light_ = std::make_unique<v8a::BasicLightTracer<TracerType>>(isolate_, *tracer_);
    request_ = tracer_->begin_root();
  }
  /// A floor of carry(): an object without any meaning, which V8 carries just so.
  void carry_nothing() { carries_nothing_ = true; }
  void stop() { tracer_->set_epoch(0); }
  /// Hooks of a floor in place of the adapter's; with `remove` they go again at once.
  void hook(std::string_view hooks, bool remove = false) {
    const v8::Isolate::Scope entered(isolate_);
    const v8::HandleScope handles(isolate_);
    const auto context = context_.Get(isolate_);
    const v8::Context::Scope in_context(context);
    const auto text = [&](std::string_view of) {
      return v8::String::NewFromUtf8(isolate_, of.data(), v8::NewStringType::kNormal, static_cast<int>(of.size())).ToLocalChecked();
    };
    static const auto fast = v8a::fast_function(&record_floor_fast);
    v8::Local<v8::Value> native = v8::Object::New(isolate_);
    const auto record = v8a::function_template(isolate_, &record_floor_slowly, fast)->GetFunction(context).ToLocalChecked();
    native.As<v8::Object>()->Set(context, text("record"), record).Check();
    const auto factory = v8::Script::Compile(context, text(hooks)).ToLocalChecked()->Run(context).ToLocalChecked();
    const auto list = factory.As<v8::Function>()->Call(context, v8::Undefined(isolate_), 1, &native).ToLocalChecked().As<v8::Object>();
    const auto at = [&](std::uint32_t index) { return list->Get(context, index).ToLocalChecked().As<v8::Function>(); };
    context->SetPromiseHooks(at(0), at(1), {}, at(2));
    if (remove) context->SetPromiseHooks({}, {}, {}, {});
  }
  void untrace() {
    const v8::Isolate::Scope entered(isolate_);
    promises_->stop();
  }

  void operator()() {
    const v8::Isolate::Scope entered(isolate_);
    const v8::HandleScope handles(isolate_);
    const auto context = context_.Get(isolate_);
    const v8::Context::Scope in_context(context);
    v8::Local<v8::Value> count = v8::Integer::New(isolate_, static_cast<int>(kAwaits));
    const auto call = [&] { run_.Get(isolate_)->Call(context, v8::Undefined(isolate_), 1, &count).ToLocalChecked(); };
    if (light_ == nullptr) {
      if (carries_nothing_) v8a::set_continuation_data(isolate_, context, v8::Object::New(isolate_));
      call();
      isolate_->PerformMicrotaskCheckpoint();
      return;
    }
    const CallbackScope scope{*tracer_, request_};
    {
      const v8a::BasicLightTracer<TracerType>::Carry carry{*light_, context};
      call();
    }
    const v8a::BasicLightTracer<TracerType>::Microtasks each_its_own{*light_, context};
    isolate_->PerformMicrotaskCheckpoint();
  }
  void drain() {
    if (tracer_ == nullptr) return;
    tracer_->ring().drain([](const RecordView&) {});
    if (tracer_->ring().lost() != 0) std::abort();  // a figure with losses would be none
  }
  std::string calls() const {
    return promises_ == nullptr ? std::string()
                                : std::to_string(promises_->fast_calls()) + " fast, " + std::to_string(promises_->slow_calls());
  }

 private:
  using TracerType = BasicTracer<DefaultPolicies>;

  void make_tracer() {
    tracer_ = std::make_unique<TracerType>(link_, BestClock(), StackWords::Options(), StringDeduplicator::Options(),
                                           HeapStorage(kSlots));
  }

  v8::Isolate* isolate_;
  v8::Global<v8::Context> context_;
  v8::Global<v8::Function> run_;
  TracerLink link_;
  std::unique_ptr<TracerType> tracer_;
  std::unique_ptr<v8a::BasicPromiseTracer<TracerType>> promises_;
  std::unique_ptr<v8a::BasicLightTracer<TracerType>> light_;
  Resource request_;
  bool carries_nothing_ = false;
};

}  // namespace

int main(int count, char** arguments) {
  // V8's own flag decides whether C++ is called without leaving JavaScript; since V8 12 it is on.
  bool fast = true;
  for (int at = 1; at < count; ++at) fast = fast && std::string_view(arguments[at]) != "--default-v8-flags";
  const auto platform = v8::platform::NewDefaultPlatform(1);
  if (fast) v8::V8::SetFlagsFromString("--turbo-fast-api-calls");
  v8::V8::InitializePlatform(platform.get());
  v8::V8::Initialize();
  thence_bench::pin_to(0);

  const std::string of = "untraced awaits";
  const auto add = [&](const std::string& name, auto prepare) {
    auto traced = std::make_shared<Loop>();
    auto plain = std::make_shared<Loop>();
    prepare(*traced);
    thence_bench::measured("v8 " + std::string(v8::V8::GetVersion()) + (fast ? "" : ", default flags") + "/" + name,
                           thence_bench::Base{of, [plain] { (*plain)(); }, kAwaits}, kAwaits, [traced] { (*traced)(); },
                           [traced] { traced->drain(); }, 400);
  };
  using v8a::Hooks;
  using v8a::StackMode;
  add("two untraced isolates", [](Loop&) {});
  add("light: the request is carried", [](Loop& loop) { loop.carry(); });
  add("floor: a new object is carried", [](Loop& loop) { loop.carry_nothing(); });
  add("floor: hooks that were set once and removed", [](Loop& loop) { loop.hook(kEmptyHooks, true); });
  add("floor: five hook calls that do nothing", [](Loop& loop) { loop.hook(kEmptyHooks); });
  add("floor: five readings, six stores", [](Loop& loop) { loop.hook(kRecordingHooks); });
  add("floor: the same, and three fields on the promise", [](Loop& loop) { loop.hook(kStampingHooks); });
  add("context hooks", [](Loop& loop) { loop.trace({.hooks = Hooks::kContext, .stacks = {.mode = StackMode::kNone}}); });
  add("context hooks, a stack on every promise", [](Loop& loop) { loop.trace({.hooks = Hooks::kContext}); });
  add("context hooks, tracer never started", [](Loop& loop) { loop.trace({.hooks = Hooks::kContext}, false); });
  add("context hooks, tracer stopped", [](Loop& loop) {
    loop.trace({.hooks = Hooks::kContext});
    loop();
    loop.stop();
    loop.drain();
  });
  add("unfollowed", [](Loop& loop) {
    loop.trace({.hooks = Hooks::kContext});
    loop();
    loop.untrace();
    loop.drain();
  });
  add("isolate hook", [](Loop& loop) { loop.trace({.hooks = Hooks::kIsolate, .stacks = {.mode = StackMode::kNone}}); });
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
