// SPDX-License-Identifier: MIT
// Compiled by a cross compiler, never run: what is there for arm64 is valid and satisfies its concepts.
#include "thence/config/platform.hpp"

static_assert(thence::kIsArm64 && !thence::kIsX86_64);

#include "thence/capture/frame_pointers.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/clock.hpp"
#include "thence/storage/flight_recorder.hpp"

static_assert(thence::Clock<thence::ArmCounterClock>);

struct ArmPolicies : thence::DefaultPolicies {
  using Clock = thence::ArmCounterClock;
  using Stacks = thence::FramePointerStacks;
  using Buffer = thence::FlightRecorder<thence::HeapStorage>;
};
static_assert(thence::TracerPolicies<ArmPolicies>);

thence::Ticks read_clock() { return thence::ArmCounterClock{}.now(); }

thence::Resource every_part(thence::BasicTracer<ArmPolicies>& tracer) {
  const thence::Resource created = tracer.create(thence::ResourceType::kTimer);
  thence::CallbackScope scope{tracer, created};
  tracer.annotate(created, "key", 1);
  return created;
}
