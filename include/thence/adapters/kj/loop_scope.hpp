// SPDX-License-Identifier: MIT
// loop_scope.hpp: what a host says to the KJ loop of its thread: in which resource its own code runs, and where that ends.
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <type_traits>

#include "thence/adapters/kj/turn.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// A CallbackScope for code on a KJ loop: what the block makes ready or defers in the loop runs in the resource as well.
/// (After a CallbackScope that would run in whatever surrounds it.) For a host's own roots and operations.
///   Threads   the loop's
///   Cost      up to four events of the loop more than a CallbackScope; nothing with a NullTracer
///   Lifetime  a local variable, within one callback or outside of wait()
template <class TracerT>
class [[nodiscard]] LoopScope {
 public:
  LoopScope([[maybe_unused]] TracerT& tracer, [[maybe_unused]] Resource resource, [[maybe_unused]] Cause cause = {}) {
    if constexpr (TracerT::kRecords) {
      tracer.enter(resource, cause);
      state_ = {&tracer, resource, {}};
      if (tracer.active()) state_.share = detail::Turn<TracerT>::here().begin_share(tracer, resource);
    }
  }
  ~LoopScope() noexcept(false) {
    if constexpr (TracerT::kRecords) {
      state_.tracer->exit(state_.resource);
      detail::Turn<TracerT>::end_share(state_.share);
    }
  }
  LoopScope(const LoopScope&) = delete;
  LoopScope& operator=(const LoopScope&) = delete;

 private:
  struct Recording {
    TracerT* tracer;
    Resource resource;
    typename detail::Turn<TracerT>::Share share;
  };
  struct Nothing {};
  [[no_unique_address]] std::conditional_t<TracerT::kRecords, Recording, Nothing> state_{};
};

/// Ends the invocations that are still open on this thread. Code after a `promise.wait()` runs in the invocation of what it
/// waited for, as a coroutine does after co_await; call this where it turns to something else.
template <class TracerT>
void leave_loop(TracerT&) {
  if constexpr (TracerT::kRecords) {
    if (auto* turn = detail::Turn<TracerT>::find()) turn->close_all();
  }
}

/// From now on what this adapter creates on this thread bears KJ's asynchronous stack, also in the wrappers of timers,
/// streams and HTTP. Off to begin with; see async_stack() for its price.
template <class TracerT>
void take_async_stacks(TracerT&, [[maybe_unused]] bool take) noexcept {
  if constexpr (TracerT::kRecords) detail::Turn<TracerT>::async_stacks() = take;
}

/// This thread's counts for promises of this tracer's type.
template <class TracerT>
[[nodiscard]] LoopCounts loop_counts(const TracerT&) noexcept {
  if constexpr (TracerT::kRecords) return detail::Turn<TracerT>::counts();
  return {};
}

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
