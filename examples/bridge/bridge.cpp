// SPDX-License-Identifier: MIT
// bridge.cpp: a script that sleeps on KJ's timer: a promise goes from KJ to JavaScript, and its result back to KJ.
//
//   bridge out.pftrace        then open the file in https://ui.perfetto.dev
#include <kj/async-io.h>
#include <libplatform/libplatform.h>
#include <v8.h>

#include <cstdio>
#include <memory>

#include "thence/adapters/kj_v8.hpp"
#include "thence/thence.hpp"

namespace kja = thence::kj_adapter;
using Bridge = thence::kj_v8_adapter::Bridge<thence::Tracer>;

namespace {

struct Host {
  kj::Timer& timer;
  Bridge& bridge;
};

/// sleep(ms): a JavaScript promise that is KJ's timer.
void sleep(const v8::FunctionCallbackInfo<v8::Value>& info) {
  auto& host = *static_cast<Host*>(info.Data().As<v8::External>()->Value());
  const auto context = info.GetIsolate()->GetCurrentContext();
  const auto ms = info[0]->Int32Value(context).FromMaybe(0);
  v8::Local<v8::Promise> promise;
  if (host.bridge
          .kj_to_js(context, host.timer.afterDelay(ms * kj::MILLISECONDS),
                    [](v8::Isolate* isolate, v8::Local<v8::Context>) -> v8::Local<v8::Value> {
                      return v8::Undefined(isolate);
                    })
          .ToLocal(&promise)) {
    info.GetReturnValue().Set(promise);
  }
}

void run(kj::AsyncIoContext& io, thence::Tracer& tracer, v8::Isolate* isolate) {
  const v8::Isolate::Scope in_isolate(isolate);
  const v8::HandleScope handles(isolate);
  const auto context = v8::Context::New(isolate);
  const v8::Context::Scope in_context(context);

  thence::v8_adapter::PromiseTracer promises{isolate, tracer};
  promises.follow(context);
  Bridge bridge{isolate, tracer, &promises};
  kja::TracedTimer timer{tracer, io.provider->getTimer()};
  Host host{timer, bridge};
  const auto text = [&](const char* words) { return v8::String::NewFromUtf8(isolate, words).ToLocalChecked(); };
  context->Global()
      ->Set(context, text("sleep"),
            v8::Function::New(context, sleep, v8::External::New(isolate, &host)).ToLocalChecked())
      .Check();

  const auto root = tracer.begin_root();
  kj::Promise<int> result = nullptr;
  {
    const kja::LoopScope scope{tracer, root};
    const auto script = text("(async () => { await Promise.all([sleep(1), sleep(2)]); await sleep(1); return 42 })()");
    const auto promise = v8::Script::Compile(context, script).ToLocalChecked()->Run(context).ToLocalChecked();
    result = bridge.js_to_kj<int>(context, promise.As<v8::Promise>(),
                                  [](v8::Isolate*, v8::Local<v8::Context> in, v8::Local<v8::Value> value) {
                                    return value->Int32Value(in).FromMaybe(0);
                                  });
    isolate->PerformMicrotaskCheckpoint();
  }
  std::printf("the script says %d\n", result.wait(io.waitScope));
  tracer.finish_root(root);
  kja::leave_loop(tracer);
}

}  // namespace

int main(int argc, char** argv) {
  thence::Session session;
  session.add_sink(thence::PerfettoFile{argc > 1 ? argv[1] : "bridge.pftrace"});
  session.start();
  auto lane = session.attach("event loop");
  auto io = kj::setupAsyncIo();
  const kja::ParkWatch park_watch{lane.tracer()};

  const auto platform = v8::platform::NewDefaultPlatform(1);
  v8::V8::InitializePlatform(platform.get());
  v8::V8::Initialize();
  v8::Isolate::CreateParams parameters;
  parameters.array_buffer_allocator_shared.reset(v8::ArrayBuffer::Allocator::NewDefaultAllocator());
  v8::Isolate* const isolate = v8::Isolate::New(parameters);
  isolate->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  run(io, lane.tracer(), isolate);
  isolate->Dispose();
  v8::V8::Dispose();
  v8::V8::DisposePlatform();
}
