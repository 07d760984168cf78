// SPDX-License-Identifier: MIT
// fulfiller.hpp: promises that the program itself fulfils. Who fulfils is seen at the moment of fulfilling, not when the loop
// comes to the promise; what lies between is scheduling delay.
//
//   auto pair = traced_promise_and_fulfiller<int>(tracer, ResourceType::kDoCall);
//   ... pair.fulfiller->fulfill(42);          // settled by the callback that runs now, or from outside
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>

#include "thence/adapters/kj/node.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/source_site.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

namespace detail {

/// Records the settling, once.
template <class TracerT>
class Settler {
 public:
  Settler(TracerT& tracer, Resource resource, ::kj::Own<Settled> settled)
      : tracer_(tracer), resource_(resource), settled_(::kj::mv(settled)) {}

  void settle(Outcome outcome) noexcept {
    if (settled_->settled) return;
    settled_->settled = true;
    settled_->settler = tracer_.current().id;
    settled_->by = settled_->settler == ResourceId::kNone ? Actor::kExternal : Actor::kInvocation;
    if (!resource_) return;
    const auto moment = tracer_.at(tracer_.now());
    moment.settle(resource_, outcome, settled_->by, settled_->settler);
    moment.schedule(resource_, settled_->by);
  }

 private:
  TracerT& tracer_;
  Resource resource_;
  ::kj::Own<Settled> settled_;
};

/// A PromiseFulfiller that says when. `Inner` is a reference or a kj::Own to the real one.
template <class T, class TracerT, class Inner>
class SettlingFulfiller final : public ::kj::PromiseFulfiller<T> {
 public:
  SettlingFulfiller(Inner inner, Settler<TracerT> settler)
      : inner_(::kj::fwd<Inner>(inner)), settler_(::kj::mv(settler)) {}
  /// One that is dropped unused breaks its promise: KJ rejects it.
  ~SettlingFulfiller() noexcept(false) {
    if constexpr (!std::is_reference_v<Inner>) {
      if (inner_.get() != nullptr && inner_->isWaiting()) settler_.settle(Outcome::kRejected);
    }
  }

  void fulfill(::kj::_::FixVoid<T>&& value) override {
    if (inner().isWaiting()) settler_.settle(Outcome::kFulfilled);
    inner().fulfill(::kj::mv(value));
  }
  void reject(::kj::Exception&& exception) override {
    if (inner().isWaiting()) settler_.settle(Outcome::kRejected);
    inner().reject(::kj::mv(exception));
  }
  bool isWaiting() override { return inner().isWaiting(); }

 private:
  ::kj::PromiseFulfiller<T>& inner() {
    if constexpr (std::is_reference_v<Inner>) {
      return inner_;
    } else {
      return *inner_;
    }
  }

  Inner inner_;
  Settler<TracerT> settler_;
};

/// For kj::newAdaptedPromise: gives `Adapter` a fulfiller that says when.
template <class T, class TracerT, class Adapter>
class SettlingAdapter {
 public:
  template <class... Arguments>
  SettlingAdapter(::kj::PromiseFulfiller<T>& fulfiller, Settler<TracerT>&& settler, Arguments&&... arguments)
      : fulfiller_(fulfiller, ::kj::mv(settler)), adapter_(fulfiller_, ::kj::fwd<Arguments>(arguments)...) {}

 private:
  SettlingFulfiller<T, TracerT, ::kj::PromiseFulfiller<T>&> fulfiller_;
  Adapter adapter_;
};

}  // namespace detail

/// As kj::PromiseFulfillerPair, with the resource.
template <class T>
struct TracedFulfillerPair {
  ::kj::Promise<T> promise;
  ::kj::Own<::kj::PromiseFulfiller<T>> fulfiller;
  Resource resource;
};

/// kj::newPromiseAndFulfiller as a resource.
///   Threads   the loop's, both ends. For a kj::CrossThreadPromiseFulfiller trace the promise, with Source::kOutside
///   Lifetime  the tracer outlives both
template <class T, class TracerT, ResourceTypeEnum Type = ResourceType>
[[nodiscard]] TracedFulfillerPair<T> traced_promise_and_fulfiller(TracerT& tracer, Type type = ResourceType::kKjPromise,
                                                                  TraceOptions options = {},
                                                                  SourceSite site = SourceSite::current()) {
  auto pair = ::kj::newPromiseAndFulfiller<T>();
  if constexpr (TracerT::kRecords) {
    const Resource resource = create_resource(tracer, type, options, site);
    if (must_watch(resource)) {
      auto settled = ::kj::refcounted<detail::Settled>();
      detail::Settler<TracerT> settler(tracer, resource, ::kj::addRef(*settled));
      using Fulfiller = detail::SettlingFulfiller<T, TracerT, ::kj::Own<::kj::PromiseFulfiller<T>>>;
      return {detail::watch(tracer, ::kj::mv(pair.promise), resource, {}, ::kj::mv(settled)),
              ::kj::heap<Fulfiller>(::kj::mv(pair.fulfiller), ::kj::mv(settler)), resource};
    }
  }
  return {::kj::mv(pair.promise), ::kj::mv(pair.fulfiller), {}};
}

/// kj::newAdaptedPromise as a resource: `Adapter(fulfiller, arguments...)`.
template <class T, class Adapter, class TracerT, ResourceTypeEnum Type, class... Arguments>
[[nodiscard]] auto traced_adapted_promise(TracerT& tracer, Type type, Arguments&&... arguments) {
  if constexpr (TracerT::kRecords) {
    const Resource resource = create_resource(tracer, type, {}, SourceSite{});
    auto settled = ::kj::refcounted<detail::Settled>();
    auto promise = ::kj::newAdaptedPromise<T, detail::SettlingAdapter<T, TracerT, Adapter>>(
        detail::Settler<TracerT>(tracer, resource, ::kj::addRef(*settled)), ::kj::fwd<Arguments>(arguments)...);
    if (!must_watch(resource)) return promise;
    return detail::watch(tracer, ::kj::mv(promise), resource, {}, ::kj::mv(settled));
  } else {
    return ::kj::newAdaptedPromise<T, Adapter>(::kj::fwd<Arguments>(arguments)...);
  }
}

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
