// SPDX-License-Identifier: MIT
// task_set.hpp: a kj::TaskSet whose tasks are resources.
//
//   TracedTaskSet tasks{tracer, error_handler};
//   tasks.add(flush_logs(), ResourceType::kOther);
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>

#include "thence/adapters/kj/traced.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/source_site.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// Runs promises to their end, as kj::TaskSet does; failures go to the handler, in the failed task's invocation.
///   Threads   the loop's
///   Cost      kj::TaskSet's and traced()'s
///   Errors    kj::TaskSet::ErrorHandler gets them
///   Lifetime  destroying it cancels what is outstanding, by whose callback destroys it. Handler and tracer outlive it
template <class TracerT>
class TracedTaskSet {
 public:
  TracedTaskSet(TracerT& tracer, ::kj::TaskSet::ErrorHandler& handler)
      : tracer_(tracer), handler_(handler), tasks_(::kj::heap<::kj::TaskSet>(handler)) {}
  TracedTaskSet(const TracedTaskSet&) = delete;
  TracedTaskSet& operator=(const TracedTaskSet&) = delete;

  template <ResourceTypeEnum Type = ResourceType>
  void add(::kj::Promise<void>&& promise, Type type = ResourceType::kKjPromise, TraceOptions options = {},
           SourceSite site = SourceSite::current()) {
    tasks_->add(traced(tracer_, ::kj::mv(promise), type, options, site));
  }

  [[nodiscard]] bool isEmpty() { return tasks_->isEmpty(); }
  [[nodiscard]] ::kj::String trace() { return tasks_->trace(); }

  /// Ready when no task is left, also by clear(). One at a time.
  [[nodiscard]] ::kj::Promise<void> onEmpty() {
    auto pair = ::kj::newPromiseAndFulfiller<void>();
    empty_ = ::kj::mv(pair.fulfiller);
    watch_ = tasks_->onEmpty().then([this]() { empty_->fulfill(); }).eagerlyEvaluate(nullptr);
    return ::kj::mv(pair.promise);
  }

  /// Cancels all tasks.
  void clear() {
    watch_ = nullptr;
    tasks_ = ::kj::heap<::kj::TaskSet>(handler_);
    if (empty_.get() != nullptr) empty_->fulfill();
    empty_ = nullptr;
  }

 private:
  TracerT& tracer_;
  ::kj::TaskSet::ErrorHandler& handler_;
  ::kj::Own<::kj::TaskSet> tasks_;
  ::kj::Own<::kj::PromiseFulfiller<void>> empty_;
  ::kj::Promise<void> watch_ = nullptr;
};

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
