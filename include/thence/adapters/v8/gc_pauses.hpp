// SPDX-License-Identifier: MIT
// gc_pauses.hpp: V8's collections as pauses on the lane.
//
// A collection stops JavaScript: what seems a slow callback may be a fast one and a collection. V8 calls at both ends of
// each on the isolate's thread; concurrent and idle-time work on other threads is no pause and is not seen.
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include "thence/adapters/v8/v8_version.hpp"
#include "thence/config/version.hpp"
#include "thence/core/event.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

[[nodiscard]] constexpr PauseKind pause_kind(::v8::GCType type) noexcept {
  if (type == ::v8::kGCTypeScavenge || type == kMinorMarkingGc) return PauseKind::kGcScavenge;
  if (type == ::v8::kGCTypeMarkSweepCompact) return PauseKind::kGcMajor;
  if (type == ::v8::kGCTypeIncrementalMarking) return PauseKind::kGcIncremental;
  if (type == ::v8::kGCTypeProcessWeakCallbacks) return PauseKind::kGcWeakCallbacks;
  return PauseKind::kOther;
}

/// Records begin and end of each collection on the tracer's lane.
///   Threads   the isolate's
///   Cost      two events a collection
///   Lifetime  not movable. stop() or the destructor comes before Isolate::Dispose(); forget() where the isolate went first
template <class TracerType>
class GcPauses {
 public:
  GcPauses(::v8::Isolate* isolate, TracerType* tracer) noexcept : isolate_(isolate), tracer_(tracer) {
    isolate_->AddGCPrologueCallback(&begin, this);
    isolate_->AddGCEpilogueCallback(&end, this);
  }
  ~GcPauses() { stop(); }
  GcPauses(const GcPauses&) = delete;
  GcPauses& operator=(const GcPauses&) = delete;

  void rebind(TracerType* tracer) noexcept { tracer_ = tracer; }
  void stop() noexcept {
    if (isolate_ == nullptr) return;
    isolate_->RemoveGCPrologueCallback(&begin, this);
    isolate_->RemoveGCEpilogueCallback(&end, this);
    isolate_ = nullptr;
  }
  void forget() noexcept { isolate_ = nullptr; }

 private:
  static void begin(::v8::Isolate*, ::v8::GCType type, ::v8::GCCallbackFlags, void* self) {
    if (TracerType* const tracer = static_cast<GcPauses*>(self)->tracer_) tracer->begin_pause(pause_kind(type));
  }
  static void end(::v8::Isolate*, ::v8::GCType type, ::v8::GCCallbackFlags, void* self) {
    if (TracerType* const tracer = static_cast<GcPauses*>(self)->tracer_) tracer->end_pause(pause_kind(type));
  }

  ::v8::Isolate* isolate_;
  TracerType* tracer_;
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
