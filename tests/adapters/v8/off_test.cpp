// SPDX-License-Identifier: MIT
// The adapter in a program that was built without tracing.
#include <type_traits>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;

static_assert(!thence::kEnabled);
static_assert(std::is_same_v<v8a::PromiseTracer, v8a::NullPromiseTracer>);
static_assert(std::is_empty_v<v8a::PromiseTracer>);
static_assert(std::is_same_v<v8a::LightTracer, v8a::NullLightTracer>);

TEST_CASE("without tracing no hook is installed, and every call is there") {
  const IsolateOwner isolate = make_isolate();
  const v8::Isolate::Scope scope(isolate.get());
  const v8::HandleScope handles(isolate.get());
  const auto context = v8::Context::New(isolate.get());
  const v8::Context::Scope entered(context);
  thence::NullTracer tracer;
  v8a::PromiseTracer promises{isolate.get(), tracer};
  CHECK(promises.follow(context));
  const auto value = v8::Script::Compile(context, v8::String::NewFromUtf8Literal(isolate.get(), "Promise.resolve(1)"))
                         .ToLocalChecked()
                         ->Run(context)
                         .ToLocalChecked();
  CHECK_FALSE(promises.resource_of(value.As<v8::Promise>()));
  promises.flush();
  promises.rebind(nullptr);
  CHECK(promises.counts().created == 0);
  CHECK(promises.stacks().mode() == v8a::StackMode::kNone);
  CHECK_FALSE(promises.runs_followed());
  promises.unfollow(context);
  promises.stop();
  promises.forget();
}

TEST_CASE("without tracing the continuation data is the host's alone, and every call is there") {
  const IsolateOwner isolate = make_isolate();
  const v8::Isolate::Scope scope(isolate.get());
  const v8::HandleScope handles(isolate.get());
  const auto context = v8::Context::New(isolate.get());
  const v8::Context::Scope entered(context);
  thence::NullTracer tracer;
  v8a::LightTracer light{isolate.get(), tracer};
  light.set_host_value(context, v8::Integer::New(isolate.get(), 7));
  {
    const v8a::LightTracer::Carry carry{light, context};
    const v8a::LightTracer::Microtasks each_its_own{light, context};
    const v8a::LightTracer::Caller caller{light, context};
    CHECK(light.host_value(context)->StrictEquals(v8a::continuation_data(isolate.get(), context)));
    CHECK_FALSE(light.resource(context));
  }
  {
    const v8a::LightTracer::Carry carry{light, context, v8::Integer::New(isolate.get(), 8)};
    CHECK(v8a::LightTracer::Caller(light, context).host_value().As<v8::Int32>()->Value() == 8);
    const v8a::LightTracer::Microtasks each_its_own{light, context, v8::Integer::New(isolate.get(), 9)};
    CHECK(light.host_value(context).As<v8::Int32>()->Value() == 9);
  }
  CHECK(light.host_value(context).As<v8::Int32>()->Value() == 7);
  light.note({});
  light.rebind(nullptr);
  light.forget();
  CHECK(light.counts().carried == 0);
}
