// SPDX-License-Identifier: MIT
// v8.cpp: an embedder with one isolate, a script that waits for timers of the host's, and a trace of both.
//
// Every promise of the script is followed by itself. What the host adds is what only it knows: that there is a request, and that
// sleep() is a timer which settles its promise from outside.
//
//   v8 out.pftrace                 then open the file in https://ui.perfetto.dev
#include <libplatform/libplatform.h>
#include <v8.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "thence/adapters/v8.hpp"
#include "thence/thence.hpp"

namespace {

constexpr const char* kScript = R"js(
  async function fetch_part(name, ms) {
    await sleep(ms);
    return name;
  }
  async function handle() {
    const user = await fetch_part('user', 20);
    const parts = await Promise.all([fetch_part('orders', 30), fetch_part('offers', 10)]);
    return [user, ...parts].join(', ');
  }
  handle();
)js";

using Clock = std::chrono::steady_clock;

/// The host: timers, and the loop that waits for them.
class Host {
 public:
  Host(v8::Isolate* isolate, thence::Tracer& tracer) : isolate_(isolate), tracer_(tracer) {}

  /// sleep(ms) -> promise
  static void sleep(const v8::FunctionCallbackInfo<v8::Value>& info) {
    Host& self = *static_cast<Host*>(info.Data().As<v8::External>()->Value());
    const auto context = info.GetIsolate()->GetCurrentContext();
    const auto ms = info[0]->IntegerValue(context).FromMaybe(0);
    const auto resolver = v8::Promise::Resolver::New(context).ToLocalChecked();
    Timer timer{self.tracer_.create(thence::ResourceType::kTimer), {info.GetIsolate(), resolver}};
    self.tracer_.annotate(timer.resource, "delay_ms", ms);
    self.timers_.emplace(Clock::now() + std::chrono::milliseconds(ms), std::move(timer));
    info.GetReturnValue().Set(resolver->GetPromise());
  }

  void run(v8::Local<v8::Context> context) {
    isolate_->PerformMicrotaskCheckpoint();
    while (!timers_.empty()) {
      const auto next = timers_.begin();
      tracer_.park();
      std::this_thread::sleep_until(next->first);
      tracer_.unpark();
      Timer timer = std::move(next->second);
      timers_.erase(next);
      {
        // The promise is settled by the timer: the script's promises that wait for it know why they run.
        const thence::CallbackScope scope{tracer_, timer.resource, thence::Cause::external()};
        timer.resolver.Get(isolate_)->Resolve(context, v8::Undefined(isolate_)).Check();
      }
      tracer_.settle(timer.resource, thence::Outcome::kFulfilled);
      isolate_->PerformMicrotaskCheckpoint();
    }
  }

 private:
  struct Timer {
    thence::Resource resource;
    v8::Global<v8::Promise::Resolver> resolver;
  };

  v8::Isolate* isolate_;
  thence::Tracer& tracer_;
  std::multimap<Clock::time_point, Timer> timers_;
};

struct DisposeIsolate {
  void operator()(v8::Isolate* isolate) const { isolate->Dispose(); }
};

}  // namespace

int main(int argc, char** argv) {
  const auto platform = v8::platform::NewDefaultPlatform(1);
  v8::V8::SetFlagsFromString("--turbo-fast-api-calls");  // off by default before V8 12; a hook costs half with it
  v8::V8::InitializePlatform(platform.get());
  v8::V8::Initialize();

  thence::Session session;
  session.add_sink(thence::PerfettoFile{argc > 1 ? argv[1] : "v8.pftrace"});
  session.start();
  auto lane = session.attach("isolate");
  thence::Tracer& tracer = lane.tracer();

  const std::unique_ptr<v8::ArrayBuffer::Allocator> memory{v8::ArrayBuffer::Allocator::NewDefaultAllocator()};
  v8::Isolate::CreateParams params;
  params.array_buffer_allocator = memory.get();
  const std::unique_ptr<v8::Isolate, DisposeIsolate> isolate{v8::Isolate::New(params)};
  isolate->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  bool finished = false;
  {
    const v8::Isolate::Scope in_isolate(isolate.get());
    const v8::HandleScope handles(isolate.get());
    const auto context = v8::Context::New(isolate.get());
    const v8::Context::Scope in_context(context);
    Host host{isolate.get(), tracer};
    const auto sleep =
        v8::Function::New(context, &Host::sleep, v8::External::New(isolate.get(), &host)).ToLocalChecked();
    context->Global()->Set(context, v8::String::NewFromUtf8Literal(isolate.get(), "sleep"), sleep).Check();

    thence::v8_adapter::PromiseTracer promises{isolate.get(), tracer};
    if (!promises.follow(context)) return 1;

    const thence::Resource request = tracer.begin_root();
    v8::Local<v8::Value> answer;
    {
      const thence::CallbackScope scope{tracer, request};
      const auto source = v8::String::NewFromUtf8(isolate.get(), kScript).ToLocalChecked();
      answer = v8::Script::Compile(context, source).ToLocalChecked()->Run(context).ToLocalChecked();
    }
    host.run(context);
    const auto promise = answer.As<v8::Promise>();
    finished = promise->State() == v8::Promise::kFulfilled;
    tracer.settle(request, finished ? thence::Outcome::kFulfilled : thence::Outcome::kUnknown);
    tracer.finish_root(request);

    std::printf("answer: %s\n", finished ? *v8::String::Utf8Value(isolate.get(), promise->Result()) : "none");
    std::printf("promises followed: %llu\n", static_cast<unsigned long long>(promises.counts().created));
    std::printf("stacks: %s\n", promises.stacks().mode() == thence::v8_adapter::StackMode::kFingerprint
                                    ? "by their words"
                                    : std::string(promises.stacks().why()).c_str());
  }
  session.close();
  return finished ? 0 : 1;
}
