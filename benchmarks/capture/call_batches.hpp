// SPDX-License-Identifier: MIT
// call_batches.hpp: calls of a tracer, many in a row. The program and a shared library compile the same source.
#pragma once

#include <cstddef>

#include "thence/capture/tracer.hpp"

namespace thence_bench {

/// No call site and no stack: the hot path itself.
struct PlainPolicies : thence::DefaultPolicies {
  using Stacks = thence::NoStacks;
};
using PlainTracer = thence::BasicTracer<PlainPolicies>;

/// Uses a handle as a host does that has it in registers. benchmark::DoNotOptimize stores it: as dear as a call that is off.
[[gnu::always_inline]] inline void use(thence::Resource resource) noexcept {
  asm volatile("" : : "r"(resource.id), "r"(resource.root));
}

/// Calls `call` so often that the compiler can move nothing out of the loop.
template <class Call>
[[gnu::always_inline]] inline void repeat(std::size_t times, Call call) {
  for (std::size_t n = 0; n != times; ++n) {
    call();
    asm volatile("" : : : "memory");
  }
}

[[gnu::always_inline]] inline void enter_and_exit(PlainTracer& tracer, thence::Resource resource, std::size_t times) {
  repeat(times, [&] {
    tracer.enter(resource);
    tracer.exit(resource);
  });
}
[[gnu::always_inline]] inline void create(PlainTracer& tracer, std::size_t times) {
  repeat(times, [&] { use(tracer.create(thence::ResourceType::kFetch)); });
}
[[gnu::always_inline]] inline void live(PlainTracer& tracer, std::size_t times) {
  repeat(times, [&] {
    const thence::Resource one = tracer.create(thence::ResourceType::kFetch);
    tracer.schedule(one);
    tracer.enter(one);
    tracer.exit(one);
    tracer.settle(one, thence::Outcome::kFulfilled);
    tracer.destroy(one);
  });
}

/// The same, compiled with -fPIC into a library of its own (shared_calls.cpp).
namespace shared {
void enter_and_exit(PlainTracer& tracer, thence::Resource resource, std::size_t times);
void create(PlainTracer& tracer, std::size_t times);
void live(PlainTracer& tracer, std::size_t times);
}  // namespace shared

}  // namespace thence_bench
