// SPDX-License-Identifier: MIT
// callback_scope.hpp: a resource's callback runs from here to the end of the block.
//
//   { CallbackScope scope{tracer, operation};
//     callback(); }                              // entered and exited, also when callback() throws
//
// Layer: capture (includes core/).
#pragma once

#include <concepts>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Takes the two ends of an invocation.
template <class R>
concept EventRecorder = requires(R& recorder, Resource resource, Cause cause) {
  { recorder.enter(resource, cause) } noexcept;
  { recorder.exit(resource) } noexcept;
};

/// Records kEntered now and kExited at the end of the block, in the presence of exceptions too.
///   Threads   those of the recorder: its own
///   Cost      two events; with a NullTracer nothing
///   Errors    noexcept. Scopes may nest to any depth; one that ends out of turn (a coroutine's) is counted as crossed.
///   Lifetime  a local variable; the recorder outlives it
template <EventRecorder Recorder>
class [[nodiscard]] CallbackScope {
 public:
  CallbackScope(Recorder& recorder, Resource resource, Cause cause = {}) noexcept
      : recorder_(recorder), resource_(resource) {
    recorder_.enter(resource, cause);
  }
  ~CallbackScope() { recorder_.exit(resource_); }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;

 private:
  Recorder& recorder_;
  Resource resource_;
};

}  // namespace THENCE_ABI
}  // namespace thence
