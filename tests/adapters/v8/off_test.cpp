// SPDX-License-Identifier: MIT
// The adapter in a program that was built without tracing.
#include <type_traits>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;

static_assert(!thence::kEnabled);
static_assert(std::is_same_v<v8a::PromiseTracer, v8a::NullPromiseTracer>);
static_assert(std::is_empty_v<v8a::PromiseTracer>);

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
  promises.unfollow(context);
  promises.stop();
  promises.forget();
}
