// SPDX-License-Identifier: MIT
// timer.hpp: a kj::Timer whose delays are resources. Wrap the one the program uses; timeoutAt() and timeoutAfter() are made
// of these two, so they are traced with it: the loser of the race is recorded as cancelled by the winner.
//
//   TracedTimer timer{tracer, io.provider->getTimer()};
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/timer.h>

#include "thence/adapters/kj/traced.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// Annotates its resources (`timer`) with `delay` in milliseconds.
///   Lifetime  tracer and inner timer outlive it
template <class TracerT>
class TracedTimer final : public ::kj::Timer {
 public:
  TracedTimer(TracerT& tracer, ::kj::Timer& inner) : tracer_(tracer), inner_(inner) {}

  ::kj::TimePoint now() const override { return inner_.now(); }
  ::kj::Promise<void> atTime(::kj::TimePoint time) override {
    if (!tracer_.active()) return inner_.atTime(time);
    return traced_timer(inner_.atTime(time), time - inner_.now());
  }
  ::kj::Promise<void> afterDelay(::kj::Duration delay) override {
    if (!tracer_.active()) return inner_.afterDelay(delay);
    return traced_timer(inner_.afterDelay(delay), delay);
  }

 private:
  ::kj::Promise<void> traced_timer(::kj::Promise<void>&& promise, ::kj::Duration delay) {
    const Resource resource = create_resource(tracer_, ResourceType::kTimer, {}, SourceSite{});
    tracer_.annotate(resource, "delay", static_cast<double>(delay / ::kj::NANOSECONDS) / 1e6);
    return watched(tracer_, ::kj::mv(promise), resource, {.source = Source::kOutside});
  }

  TracerT& tracer_;
  ::kj::Timer& inner_;
};

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
