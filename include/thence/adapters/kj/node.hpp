// SPDX-License-Identifier: MIT
// node.hpp: the promise node that watches one KJ promise and reports its life as a resource.
//
// It stands between a promise and whoever consumes it, is as lazy as what it watches (nothing is evaluated that nobody
// waits for), and passes on value and exception unchanged: its invocation (turn.hpp) waits for the watched promise in the
// consumer's place. The result is fetched when it is ready, as by eagerlyEvaluate(), and not when a consumer with several
// promises (a join) asks for it: only so is it known when it was settled.
//
//   ready      the promise is ready: the result is fetched
//   settled    fulfilled or rejected, by the resource whose invocation this happens in
//   scheduled  the consumer can run
//   entered    the consumer runs, and what it makes ready; until nothing of that is left
//   destroyed  the node is dropped. Before it was ready: settled as cancelled first
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>
#include <pthread.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "thence/adapters/kj/turn.hpp"
#include "thence/adapters/kj/version.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// Who settles a promise where no traced invocation does.
enum class Source : std::uint8_t {
  kUnknown,  ///< KJ does not say: the outside world, or continuations that are not traced. Recorded as unknown
  kOutside,  ///< the outside world: I/O, a timer, another thread
};

/// How a promise is watched.
struct WatchOptions {
  Source source = Source::kUnknown;
  /// What comes after this promise is no part of its trace (the server's loop after a request): it runs with no resource.
  bool ends_trace = false;
  /// The caller has linked what this promise awaits; else each traced promise whose result it is made of becomes a link
  /// when it is ready.
  bool links_known = false;
  /// One of many results of an operation that goes on (a read of a body): it wakes the resource and runs in it, and neither
  /// settles nor destroys it.
  bool one_of_many = false;
  /// Annotates the resource with the result under this key, where it is a number. A literal.
  const char* result_key = nullptr;
};

namespace detail {

/// A settling that was seen where it happened, before the loop came to the promise.
struct Settled : public ::kj::Refcounted {
  bool settled = false;
  Actor by = Actor::kUnknown;
  ResourceId settler = ResourceId::kNone;
};

constexpr Cause cause_of(Actor by, ResourceId settler) noexcept {
  switch (by) {
    case Actor::kInvocation: return {CauseKind::kScheduled, settler};
    case Actor::kExternal: return Cause::external();
    case Actor::kUnknown: return {};
  }
  return {};
}

template <class T, class TracerT>
class WatchNode final : public Watched {
 public:
  WatchNode(OwnNode&& dependency, TracerT& tracer, Resource resource, WatchOptions options, ::kj::Own<Settled> settled)
      : dependency_(::kj::mv(dependency)),
        tracer_(tracer),
        resource_(resource),
        settled_(::kj::mv(settled)),
        options_(options) {
    dependency_->setSelfPointer(&dependency_);
    ++Turn<TracerT>::counts().pending;
  }

  ~WatchNode() noexcept(false) {
    if (!ready_) --Turn<TracerT>::counts().pending;
    if (options_.one_of_many) return;
    if (!ready_) {
      if (settled_.get() == nullptr || !settled_->settled) {
        const ResourceId by = tracer_.current().id;
        tracer_.settle(resource_, Outcome::kCancelled, by == ResourceId::kNone ? Actor::kUnknown : Actor::kInvocation,
                       by);
      }
    }
    tracer_.destroy(resource_);
  }

  // 1.x has an arena for the nodes of a chain.
  THENCE_KJ_09(static void* operator new(std::size_t bytes) { return Turn<TracerT>::take_memory(bytes); })
  THENCE_KJ_09(static void operator delete(void* memory, std::size_t bytes) { Turn<TracerT>::give_memory(memory, bytes); })
  THENCE_KJ_09(static void* operator new(std::size_t bytes, std::align_val_t align) { return ::operator new(bytes, align); })
  THENCE_KJ_09(static void operator delete(void* memory, std::size_t, std::align_val_t align) { ::operator delete(memory, align); })
  THENCE_KJ_1X(void destroy() override { ::kj::_::freePromise(this); })

  void onReady(::kj::_::Event* event) noexcept override {
    if (ready_) {
      if (event != nullptr) event->armBreadthFirst();  // as for every promise of KJ's that is ready already
      return;
    }
    waiting_.abandon();  // after a poll(): its dependency sees the change of consumers as it would without us
    if (event == nullptr) return dependency_->onReady(nullptr);
    waiting_.event = &Turn<TracerT>::here().wait_for(tracer_, *this, event);
    dependency_->onReady(waiting_.event);
  }

  void get(::kj::_::ExceptionOrValue& output) noexcept override {
    using Result = ::kj::_::FixVoid<T>;
    output.as<Result>() = ::kj::mv(result_);
    auto* turn = Turn<TracerT>::find();
    if (turn == nullptr) return;
    turn->taken(*this);
    if (auto* fetch = turn->fetch()) {
      if (fetch->tracer == &tracer_) tracer_.link(resource_, fetch->effect);
    } else if (turn->any()) {
      turn->outlive_turn();
    } else {
      turn->open(tracer_, {after(), cause_, tracer_.now()});  // it was ready before anyone waited for it
    }
  }

  [[nodiscard]] Resource resource() const noexcept { return resource_; }

  void tracePromise(::kj::_::TraceBuilder& builder, bool stop_at_next_event) override {
    dependency_->tracePromise(builder, stop_at_next_event);
  }

  Entry become_ready() override {
    waiting_.event = nullptr;
    ready_ = true;
    --Turn<TracerT>::counts().pending;
    auto& turn = *Turn<TracerT>::find();
    {
      typename Turn<TracerT>::Fetch fetch{&tracer_, options_.links_known ? Resource{} : resource_};
      typename Turn<TracerT>::FetchScope scope(turn, fetch);
      dependency_->get(result_);
    }
    const Ticks now = tracer_.now();  // one moment: settled, its consumer can run, and does
    const auto moment = tracer_.at(now);
    if (settled_.get() != nullptr && settled_->settled) {
      cause_ = cause_of(settled_->by, settled_->settler);
    } else {
      ResourceId settler = tracer_.current().id;
      const Actor by = settler != ResourceId::kNone          ? Actor::kInvocation
                       : options_.source == Source::kOutside ? Actor::kExternal
                                                             : Actor::kUnknown;
      if (!options_.one_of_many) {
        annotate_result();
        moment.settle(resource_, result_.exception == nullptr ? Outcome::kFulfilled : Outcome::kRejected, by, settler);
      }
      moment.schedule(resource_, by);
      cause_ = cause_of(by, settler);
    }
    return {after(), cause_, now};
  }

 private:
  void annotate_result() {
    if constexpr (std::is_integral_v<T>) {
      if (options_.result_key == nullptr) return;
      KJ_IF_MAYBE (value, result_.value) tracer_.annotate(resource_, options_.result_key, *value);
    }
  }
  [[nodiscard]] Resource after() const noexcept { return options_.ends_trace ? Resource{} : resource_; }

  /// What waits in its consumer's place, from the first consumer on until it is ready. It outlives the dependency, which may become
  /// ready in its last moments (a fiber that is cancelled).
  struct Waiting {
    ~Waiting() noexcept(false) { abandon(); }
    void abandon() {
      if (event != nullptr) Turn<TracerT>::abandon(*event);
      event = nullptr;
    }
    typename Turn<TracerT>::Invocation* event = nullptr;
  };

  Waiting waiting_;
  OwnNode dependency_;
  TracerT& tracer_;
  Resource resource_;
  Cause cause_;
  ::kj::Own<Settled> settled_;
  WatchOptions options_;
  bool ready_ = false;
  ::kj::_::ExceptionOr<::kj::_::FixVoid<T>> result_;
};

template <class T, class TracerT>
::kj::Promise<T> watch(TracerT& tracer, ::kj::Promise<T>&& promise, Resource resource, WatchOptions options,
                       ::kj::Own<Settled> settled) {
  return ::kj::_::PromiseNode::to<::kj::Promise<T>>(make_node<WatchNode<T, TracerT>>(
      ::kj::_::PromiseNode::from(::kj::mv(promise)), tracer, resource, options, ::kj::mv(settled)));
}

/// Whether the calling code runs on its thread's own stack, as opposed to a fiber's.
[[nodiscard]] inline bool on_thread_stack() noexcept {
  struct Bounds {
    std::uintptr_t low = 0, size = 0;
    Bounds() noexcept {
      pthread_attr_t attributes;
      if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return;
      void* start = nullptr;
      std::size_t bytes = 0;
      if (::pthread_attr_getstack(&attributes, &start, &bytes) == 0) {
        low = reinterpret_cast<std::uintptr_t>(start);
        size = bytes;
      }
      ::pthread_attr_destroy(&attributes);
    }
  };
  static thread_local const Bounds bounds;
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) - bounds.low < bounds.size;
}

}  // namespace detail

/// Whether a promise under this resource must be watched at all: an untraced one too, so that what follows it is untraced.
[[nodiscard]] constexpr bool must_watch(Resource resource) noexcept {
  return static_cast<bool>(resource) || resource.root == RootId::kUntraced;
}

/// KJ's own asynchronous stack (who waits for what, from the running callback outwards) as a stack of the trace; kNone
/// outside a turn, and on a fiber's stack, where kj::getAsyncTrace() does not work.
///   Cost      walks the chain of promises that waits for the running callback, at most 32 of them, and looks the stack up in
///             the tracer's table. docs/kj.md has the figures.
///   Errors    KJ itself follows a stale pointer where the chain ends in a fiber whose wait() KJ has shortened: leave it off
///             in programs with fibers
template <class TracerT>
[[nodiscard]] StackId async_stack(TracerT& tracer) noexcept {
  if constexpr (TracerT::kRecords) {
    if (!detail::on_thread_stack()) return StackId::kNone;
    std::array<void*, 32> space;
    const auto trace = ::kj::getAsyncTrace(::kj::arrayPtr(space.data(), space.size()));
    std::array<std::uint64_t, 32> pcs;
    for (std::size_t at = 0; at < trace.size(); ++at) pcs[at] = reinterpret_cast<std::uintptr_t>(trace[at]);
    return tracer.intern_native_stack({pcs.data(), trace.size()});
  }
  return StackId::kNone;
}

/// What comes back for a promise: a promise. With a tracer that records nothing it is the one that was given, as an rvalue,
/// so that not even a move is left of the call: initialise a promise with it, never an `auto&&`.
template <class T, class TracerT>
using PromiseFor = std::conditional_t<TracerT::kRecords, ::kj::Promise<T>, ::kj::Promise<T>&&>;

/// Reports the life of `promise` as that of `resource`, which the caller has created. The promise that comes back is to be
/// used in its place.
///   Threads   the loop's, which is the tracer's
///   Cost      five records; an allocation, for which KJ 1.x's arena or a node that is gone mostly has the room. Where the
///             continuation leaves something in the loop's queue, up to two events of the loop; four where the promise itself did
///             so as its result was fetched; and one each time that what it put off puts off more
///   Errors    none of its own; the promise's pass through as they are
///   Lifetime  the tracer outlives the promise
template <class TracerT, class T>
[[nodiscard]] PromiseFor<T, TracerT> watched([[maybe_unused]] TracerT& tracer, ::kj::Promise<T>&& promise,
                                             [[maybe_unused]] Resource resource,
                                             [[maybe_unused]] WatchOptions options = {}) {
  if constexpr (TracerT::kRecords) {
    if (must_watch(resource)) return detail::watch(tracer, ::kj::mv(promise), resource, options, {});
  }
  return ::kj::mv(promise);
}

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
