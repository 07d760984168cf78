// SPDX-License-Identifier: MIT
// event_port.hpp: when the loop has nothing to run and waits for the outside world.
//
// A host that makes its own loop puts TracedEventPort in front of its port:
//
//   kj::UnixEventPort port;
//   TracedEventPort traced_port{tracer, port};
//   kj::EventLoop loop{traced_port};
//
// kj::setupAsyncIo() makes port and loop itself and hides the loop. There, ParkWatch puts itself before the port of the loop
// that it finds running:
//
//   auto io = kj::setupAsyncIo();
//   ParkWatch park_watch{tracer};
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>

#include <cstdint>

#include "thence/adapters/kj/loop_scope.hpp"
#include "thence/adapters/kj/version.hpp"
#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// Records the lane as parked while it waits, and how many traced promises are pending then. poll() does not wait and is
/// forwarded as it is. KJ does not tell how long its queue is: where the loop waits it is empty, else it is unknown.
///   Threads   the loop's; wake() any
///   Cost      three events a wait
///   Lifetime  inner port and tracer outlive it; it outlives the loop
template <class TracerT>
class TracedEventPort final : public ::kj::EventPort {
 public:
  TracedEventPort(TracerT& tracer, ::kj::EventPort& inner) : tracer_(tracer), inner_(inner) {}
  TracedEventPort(const TracedEventPort&) = delete;
  TracedEventPort& operator=(const TracedEventPort&) = delete;

  bool wait() override {
    if constexpr (TracerT::kRecords) {
      if (tracer_.active()) {
        tracer_.counter(CounterId::kPending, static_cast<std::int64_t>(loop_counts(tracer_).pending));
      }
    }
    tracer_.park();
    const bool woken = inner_.wait();
    tracer_.unpark();
    return woken;
  }
  bool poll() override { return inner_.poll(); }
  void setRunnable(bool runnable) override { inner_.setRunnable(runnable); }
  void wake() const override { inner_.wake(); }

  [[nodiscard]] ::kj::EventPort& inner() const noexcept { return inner_; }

 private:
  TracerT& tracer_;
  ::kj::EventPort& inner_;
};

/// TracedEventPort for a loop that the host cannot reach. It takes effect in the loop's next turn.
///   Errors    a loop without a port stays as it is
///   Lifetime  made and destroyed while the loop is the thread's (after setupAsyncIo(), before the context it gave). Gives
///             the loop its own port back
template <class TracerT>
class ParkWatch {
 public:
  explicit ParkWatch(TracerT& tracer) {
    if constexpr (TracerT::kRecords) {
      install_ = ::kj::evalLater([this, &tracer]() { install(tracer); }).eagerlyEvaluate(nullptr);
    }
  }
  ParkWatch(const ParkWatch&) = delete;
  ParkWatch& operator=(const ParkWatch&) = delete;
  ~ParkWatch() {
    if (loop_ == nullptr) return;
    KJ_IF_MAYBE (port, port_) detail::port_of(*loop_) = port->inner();
  }

 private:
  class Probe final : public detail::LoopEvent {
   public:
    void traceEvent(::kj::_::TraceBuilder&) override {}

   protected:
    ::kj::Maybe<::kj::Own<::kj::_::Event>> fire() override { return nullptr; }
  };

  void install(TracerT& tracer) {
    Probe probe;  // this is the first thing in its turn: an event that is armed now stands at the head of the queue
    auto* loop = &detail::loop_of(probe);
    auto& hidden = detail::port_of(*loop);
    KJ_IF_MAYBE (port, hidden) {
      auto& traced = port_.emplace(tracer, *port);
      hidden = traced;
      loop_ = loop;
    }
  }

  ::kj::EventLoop* loop_ = nullptr;
  ::kj::Maybe<TracedEventPort<TracerT>> port_;
  ::kj::Promise<void> install_ = nullptr;
};

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
