// SPDX-License-Identifier: MIT
// traced.hpp: a kj::Promise becomes a resource of the trace.
//
//   using namespace thence::kj_adapter;
//   kj::Promise<Row> row = traced(tracer, database.query(sql), ResourceType::kD1Query);
//   return row.then([](Row&& row) { ... });       // runs in the query's invocation: what it creates is caused by it
//
// Whatever consumes the promise is seen: then(), coroutines, fibers, fork(), joinPromises(), TaskSet. A promise that is
// dropped before it was ready is recorded as cancelled, by whose callback dropped it.
//
//   created    here, under the current resource
//   settled    when the loop reaches the ready promise (a traced fulfiller: when it is fulfilled)
//   entered    its consumer runs, with all that the consumer makes ready in turn (turn.hpp)
//
// With THENCE_ENABLED=0 every function here returns the promise it was given.
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>

#include <utility>

#include "thence/adapters/kj/loop_scope.hpp"
#include "thence/adapters/kj/node.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/source_site.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// How a promise is traced.
struct TraceOptions {
  Source source = Source::kUnknown;
  /// Take KJ's asynchronous stack as the place of creation, in place of the call site. Not free: see async_stack(). For all
  /// that is created on a thread: take_async_stacks().
  bool async_stack = false;
  /// The resource that creates it. Unset: the current one.
  Resource trigger = {ResourceId::kNone, CreateOptions::kInheritRoot};
};

/// Creates a resource for an operation of KJ's. None while nothing is recorded.
template <class TracerT, ResourceTypeEnum Type>
[[nodiscard, gnu::always_inline]] inline Resource create_resource(TracerT& tracer, Type type, TraceOptions options = {},
                                                                  SourceSite site = SourceSite::current()) {
  if constexpr (TracerT::kRecords) {
    if (!tracer.active()) return {};
    if (auto* turn = detail::Turn<TracerT>::find(); turn != nullptr && turn->any()) turn->outlive_turn();
    CreateOptions create;
    create.trigger = options.trigger;
    if (options.async_stack || detail::Turn<TracerT>::async_stacks()) [[unlikely]] {
      if (const StackId stack = async_stack(tracer); stack != StackId::kNone) create.stack = stack;
    }
    return tracer.create(type, create, site);
  }
  return {};
}

namespace detail {
/// A resource whose operation is being started: if that throws, it is rejected and gone.
template <class TracerT>
class [[nodiscard]] Starting {
 public:
  Starting(TracerT& tracer, Resource resource) noexcept : tracer_(tracer), resource_(resource) {}
  ~Starting() {
    if (done_) return;
    tracer_.settle(resource_, Outcome::kRejected);
    tracer_.destroy(resource_);
  }
  Starting(const Starting&) = delete;
  Starting& operator=(const Starting&) = delete;

  [[nodiscard]] Resource resource() const noexcept { return resource_; }
  [[nodiscard]] Resource started() noexcept {
    done_ = true;
    return resource_;
  }

 private:
  TracerT& tracer_;
  Resource resource_;
  bool done_ = false;
};
}  // namespace detail

/// A promise and the resource it became, for those who link, annotate or join it. Converts to the plain promise.
///   Cost      as traced(); with THENCE_ENABLED=0 it is the promise
///   Lifetime  the tracer outlives it
template <class T, class TracerT>
class [[nodiscard]] Tracked {
 public:
  Tracked([[maybe_unused]] TracerT& tracer, ::kj::Promise<T>&& promise, [[maybe_unused]] Resource resource) noexcept
      : promise_(::kj::mv(promise)) {
    if constexpr (TracerT::kRecords) identity_ = {&tracer, resource};
  }

  [[nodiscard]] Resource resource() const noexcept {
    if constexpr (TracerT::kRecords) return identity_.resource;
    return {};
  }
  operator ::kj::Promise<T>() && { return ::kj::mv(promise_); }
  [[nodiscard]] ::kj::Promise<T> release() { return ::kj::mv(promise_); }

  /// Runs `func` in this resource's invocation. What comes of it is a resource that awaits this one.
  template <class Func, class ErrorFunc = ::kj::_::PropagateException, ResourceTypeEnum Type = ResourceType>
  auto then(Func&& func, ErrorFunc&& on_error = ErrorFunc(), Type type = ResourceType::kKjPromise,
            SourceSite site = SourceSite::current()) {
    return follow(promise_.then(::kj::fwd<Func>(func), ::kj::fwd<ErrorFunc>(on_error)), type, site);
  }
  template <class ErrorFunc, ResourceTypeEnum Type = ResourceType>
  Tracked catch_(ErrorFunc&& on_error, Type type = ResourceType::kKjPromise, SourceSite site = SourceSite::current()) {
    return follow(promise_.catch_(::kj::fwd<ErrorFunc>(on_error)), type, site);
  }
  /// The first of the two to be ready; the other is cancelled by it.
  template <ResourceTypeEnum Type = ResourceType>
  Tracked exclusiveJoin(Tracked&& other, Type type = ResourceType::kKjPromise,
                        SourceSite site = SourceSite::current()) {
    const Resource second = other.resource();
    return follow(promise_.exclusiveJoin(::kj::mv(other.promise_)), type, site, second);
  }
  template <class... Attachments>
  Tracked attach(Attachments&&... attachments) {
    promise_ = promise_.attach(::kj::fwd<Attachments>(attachments)...);
    return ::kj::mv(*this);
  }
  template <class ErrorFunc>
  Tracked eagerlyEvaluate(ErrorFunc&& on_error) {
    promise_ = promise_.eagerlyEvaluate(::kj::fwd<ErrorFunc>(on_error));
    return ::kj::mv(*this);
  }
  T wait(::kj::WaitScope& scope) { return promise_.wait(scope); }
  bool poll(::kj::WaitScope& scope) { return promise_.poll(scope); }
  template <class ErrorFunc>
  void detach(ErrorFunc&& on_error) {
    promise_.detach(::kj::fwd<ErrorFunc>(on_error));
  }

  class Forked;
  /// Each branch is a resource that awaits this one.
  [[nodiscard]] Forked fork() { return Forked(*this); }

 private:
  template <class, class>
  friend class Tracked;
  template <class U, class AnyTracer, ResourceTypeEnum Type>
  friend Tracked<::kj::Array<U>, AnyTracer> joined(AnyTracer&, ::kj::Array<Tracked<U, AnyTracer>>&&, Type, SourceSite);
  template <class AnyTracer, ResourceTypeEnum Type>
  friend Tracked<void, AnyTracer> joined(AnyTracer&, ::kj::Array<Tracked<void, AnyTracer>>&&, Type, SourceSite);

  struct Identity {
    TracerT* tracer = nullptr;
    Resource resource;
  };
  struct Nothing {};

  template <class U, ResourceTypeEnum Type>
  Tracked<U, TracerT> follow(::kj::Promise<U>&& promise, Type type, SourceSite site, Resource second = {}) {
    if constexpr (TracerT::kRecords) {
      TracerT& tracer = *identity_.tracer;
      const Resource effect = create_resource(tracer, type, {}, site);
      tracer.link(identity_.resource, effect);
      tracer.link(second, effect);
      return {tracer, watched(tracer, ::kj::mv(promise), effect, {.links_known = true}), effect};
    } else {
      return Tracked<U, TracerT>(::kj::mv(promise));
    }
  }

  explicit Tracked(::kj::Promise<T>&& promise) noexcept : promise_(::kj::mv(promise)) {}

  ::kj::Promise<T> promise_;
  [[no_unique_address]] std::conditional_t<TracerT::kRecords, Identity, Nothing> identity_;
};

template <class T, class TracerT>
class Tracked<T, TracerT>::Forked {
 public:
  explicit Forked(Tracked& source) : forked_(source.promise_.fork()), identity_(source.identity_) {}

  template <ResourceTypeEnum Type = ResourceType>
  auto addBranch(Type type = ResourceType::kKjPromise, SourceSite site = SourceSite::current()) {
    auto branch = forked_.addBranch();
    using Value = typename decltype(detail_value(branch))::Value;
    if constexpr (TracerT::kRecords) {
      TracerT& tracer = *identity_.tracer;
      const Resource effect = create_resource(tracer, type, {}, site);
      tracer.link(identity_.resource, effect);
      return Tracked<Value, TracerT>(tracer, watched(tracer, ::kj::mv(branch), effect, {.links_known = true}), effect);
    } else {
      return Tracked<Value, TracerT>(::kj::mv(branch));
    }
  }
  [[nodiscard]] bool hasBranches() { return forked_.hasBranches(); }

 private:
  template <class U>
  struct ValueOf {
    using Value = U;
  };
  template <class U>
  static ValueOf<U> detail_value(::kj::Promise<U>&);

  ::kj::ForkedPromise<T> forked_;
  [[no_unique_address]] decltype(Tracked::identity_) identity_;
};

/// The resource that a promise is, where it is a traced one as it came from traced() or a wrapper; none for any other, also
/// for what then() made of it. Needs run-time type information, as KJ does for more than one thing; without it: none.
template <class TracerT, class T>
[[nodiscard]] Resource resource_of(const TracerT&, ::kj::Promise<T>& promise) {
  if constexpr (TracerT::kRecords) {
    using Node = detail::WatchNode<T, TracerT>;
    KJ_IF_MAYBE (node, ::kj::dynamicDowncastIfAvailable<Node>(::kj::_::PromiseNode::from(promise)))
      return node->resource();
  }
  return {};
}

/// As traced(), keeping hold of the resource.
template <class TracerT, class T, ResourceTypeEnum Type = ResourceType>
Tracked<T, TracerT> tracked(TracerT& tracer, ::kj::Promise<T>&& promise, Type type = ResourceType::kKjPromise,
                            TraceOptions options = {}, SourceSite site = SourceSite::current()) {
  const Resource resource = create_resource(tracer, type, options, site);
  return {tracer, watched(tracer, ::kj::mv(promise), resource, {.source = options.source}), resource};
}

/// Makes `promise` a resource, created now under the current one. Use what comes back in its place.
///   Threads   the loop's, which is the tracer's
///   Cost      see watched(); while nothing is recorded a load and a branch; with THENCE_ENABLED=0 nothing
///   Errors    none of its own: value, exception and its trace pass through as they are
///   Lifetime  the tracer outlives the promise
template <class TracerT, class T, ResourceTypeEnum Type = ResourceType>
[[nodiscard]] PromiseFor<T, TracerT> traced([[maybe_unused]] TracerT& tracer, ::kj::Promise<T>&& promise,
                                            [[maybe_unused]] Type type = ResourceType::kKjPromise,
                                            [[maybe_unused]] TraceOptions options = {},
                                            [[maybe_unused]] SourceSite site = SourceSite::current()) {
  if constexpr (TracerT::kRecords) {
    const Resource resource = create_resource(tracer, type, options, site);
    return watched(tracer, ::kj::mv(promise), resource, {.source = options.source});
  } else {
    return ::kj::mv(promise);
  }
}

/// kj::joinPromises as a resource that awaits each of its inputs; settled by the one that came last.
template <class T, class TracerT, ResourceTypeEnum Type = ResourceType>
Tracked<::kj::Array<T>, TracerT> joined(TracerT& tracer, ::kj::Array<Tracked<T, TracerT>>&& inputs,
                                        Type type = ResourceType::kKjPromise, SourceSite site = SourceSite::current()) {
  const Resource resource = create_resource(tracer, type, {}, site);
  auto promises = ::kj::heapArrayBuilder<::kj::Promise<T>>(inputs.size());
  for (auto& input : inputs) {
    tracer.link(input.resource(), resource);
    promises.add(::kj::mv(input.promise_));
  }
  return {tracer, watched(tracer, ::kj::joinPromises(promises.finish()), resource, {.links_known = true}), resource};
}
template <class TracerT, ResourceTypeEnum Type = ResourceType>
Tracked<void, TracerT> joined(TracerT& tracer, ::kj::Array<Tracked<void, TracerT>>&& inputs,
                              Type type = ResourceType::kKjPromise, SourceSite site = SourceSite::current()) {
  const Resource resource = create_resource(tracer, type, {}, site);
  auto promises = ::kj::heapArrayBuilder<::kj::Promise<void>>(inputs.size());
  for (auto& input : inputs) {
    tracer.link(input.resource(), resource);
    promises.add(::kj::mv(input.promise_));
  }
  return {tracer, watched(tracer, ::kj::joinPromises(promises.finish()), resource, {.links_known = true}), resource};
}

/// A continuation that runs in `resource`'s invocation, for promises that are not traced themselves.
template <class TracerT, class Func>
[[nodiscard]] auto in_scope(TracerT& tracer, Resource resource, Func&& func) {
  return [&tracer, resource, body = ::kj::fwd<Func>(func)](auto&&... arguments) mutable -> decltype(auto) {
    LoopScope scope{tracer, resource};
    return body(::kj::fwd<decltype(arguments)>(arguments)...);
  };
}

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
