// SPDX-License-Identifier: MIT
// turn.hpp: which traced promise the KJ event loop is working for at this moment.
//
// KJ runs a continuation from its loop, with no word of whose it is. But it runs them in a known order: what a callback
// makes ready is put at the head of the queue ("depth first") and runs before whatever waited already. So when a traced
// promise is ready, its node arms the consumer and, directly behind it, a mark. Everything that runs before the mark is the
// consumer or was made ready by it, directly or through any number of untraced promises, coroutines and fibers: it is the
// invocation of that promise's resource. When the mark's turn comes, the invocation is over.
//
//   queue:   [consumer of A] [mark A] [others ...]            A entered
//   later:   [what it made ready] [mark A] [others ...]       A still running
//   later:   [consumer of B] [mark B] [mark A] [others ...]   B entered, nested in A ...
//   or:      [consumer of B] [mark B] [others ...]            ... or after it: A had nothing else to do, so it ended there
//
// The second form keeps a chain of a million promises flat.
//
// Some of what a callback makes ready goes to the end of the queue ("breadth first": evalLater(), a promise that is ready
// when it is asked for, such as a value that a continuation returns as a promise). So the invocation also leaves a mark at
// the queue's end when it begins and another when it ends. Where they end up side by side, as they mostly do, both are taken
// away. Else what stands between them is the invocation's: when the loop gets there, it is entered once more.
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "thence/adapters/kj/version.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/time.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// What one thread's loop did that its traces cannot show.
struct LoopCounts {
  std::uint64_t pending = 0;  ///< traced promises that are not settled yet
  std::uint64_t crossed_scopes =
      0;  ///< scopes still open when their turn was over: held across a co_await or a fiber's wait()
};

namespace detail {

template <class TracerT>
class Turn {
  class Invocation;

 public:
  /// The calling thread's, made on first use. It belongs to the loop: KJ destroys it with the loop's detached tasks.
  static Turn& here() {
    if (here_ == nullptr) [[unlikely]]
      make();
    return *here_;
  }
  /// Null where no traced promise was ever used on this loop.
  static Turn* find() noexcept { return here_; }
  static LoopCounts& counts() noexcept { return counts_; }
  /// Whether what is created on this thread takes KJ's asynchronous stack.
  static bool& async_stacks() noexcept { return async_stacks_; }

  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() noexcept(false) {
    here_ = nullptr;
    close_all();
    delete spare_;
  }

  [[nodiscard]] bool any() const noexcept { return innermost_ != nullptr; }

  /// `running` is the event whose turn has just begun: is the innermost invocation done but for it?
  [[nodiscard]] bool innermost_is_done(::kj::_::Event& running) {
    know_loop(running);
    return any() && head_of(*loop_) == innermost_;
  }

  /// An invocation begins, and its mark is put behind what was armed last.
  void open(TracerT& tracer, Resource resource, Cause cause, Ticks now) {
    Invocation* const invocation = make_invocation(tracer, resource);
    invocation->begin(cause, now);
    invocation->armDepthFirst();
  }
  /// The innermost invocation is done. Where it leaves nothing in the queue, its marks stand where those of the next one would
  /// be put: then they stay, and the next one begins. False: it is closed, and the next one is to be opened.
  [[gnu::noinline, nodiscard]] bool follow_innermost(TracerT& tracer, Resource resource, Cause cause, Ticks now) {
    Invocation* const done = innermost_;
    if (done == nullptr) return false;  // the result's own continuation has left the loop
    if (&done->tracer_ != &tracer || !is_last(*loop_, done->first_)) [[unlikely]] {
      close_innermost(now);
      return false;
    }
    done->end(now);
    done->resource_ = resource;
    done->enter(cause, now);
    return true;
  }
  void close_innermost(Ticks now) {
    Invocation* const closed = innermost_;
    closed->disarm();
    closed->end(now);
    if (!closed->goes_on()) drop(closed);
  }
  /// To be called where it may be so that wait() has come back, or is about to: continuations it runs by itself, and the code behind it, go on in the invocation
  /// until the loop turns again. The scopes of that code are its own.
  void outlive_turn() noexcept {
    if (loop_ == nullptr || is_turning(*loop_)) return;
    for (Invocation* open = innermost_; open != nullptr; open = open->outer_) open->outside_ = true;
  }
  /// Ends all that is open and forgets what was to go on.
  void close_all() {
    while (innermost_ != nullptr) {
      Invocation* const closed = innermost_;
      closed->leave(closed->tracer_.now());
      closed->disarm();
      closed->first_.disarm();
      drop(closed);
    }
    while (resting_ != nullptr) delete resting_;
  }

  /// What the loop is given to do between begin_share() and end_share() is the resource's, at the head of the queue and at
  /// its end.
  struct Share {
    Turn* turn = nullptr;
    Invocation* soon = nullptr;
    Invocation* later = nullptr;
  };
  [[nodiscard]] Share begin_share(TracerT& tracer, Resource resource) {
    auto* soon = new Invocation(*this, tracer, resource);
    auto* later = new Invocation(*this, tracer, resource);
    soon->first_.armDepthFirst();
    later->first_.armBreadthFirst();
    soon->rest();
    later->rest();
    return {this, soon, later};
  }
  static void end_share(Share share) {
    if (share.turn == nullptr || share.turn != here_) return;  // the loop went meanwhile, and took it along
    share.soon->armDepthFirst();
    share.later->armBreadthFirst();
    if (follows(share.soon->first_, *share.soon)) delete share.soon;
    if (follows(share.later->first_, *share.later)) delete share.later;
  }

  /// The node that is fetching its dependency's result: those it fetches it from are what it awaited.
  struct Fetch {
    TracerT* tracer;
    Resource effect;  // none: the edges are known already, or it is not traced
  };
  class [[nodiscard]] FetchScope {
   public:
    FetchScope(Turn& turn, Fetch& fetch) noexcept : turn_(turn), outer_(turn.fetch_) { turn.fetch_ = &fetch; }
    ~FetchScope() { turn_.fetch_ = outer_; }
    FetchScope(const FetchScope&) = delete;
    FetchScope& operator=(const FetchScope&) = delete;

   private:
    Turn& turn_;
    Fetch* outer_;
  };
  [[nodiscard]] Fetch* fetch() const noexcept { return fetch_; }

 private:
  /// The mark at an invocation's end; with `first_`, which stands where its breadth-first share of the queue begins. It is in
  /// one of the turn's two lists: of the open ones, innermost first, or of those that go on later.
  class Invocation final : public LoopEvent {
   public:
    Invocation(Turn& turn, TracerT& tracer, Resource resource)
        : first_(*this), turn_(turn), tracer_(tracer), resource_(resource) {}
    ~Invocation() noexcept(false) { unlink(); }

    void begin(Cause cause, Ticks now) {
      move_to(turn_.innermost_);
      enter(cause, now);
      first_.armBreadthFirst();
    }
    void enter(Cause cause, Ticks now) {
      depth_ = tracer_.depth();
      outside_ = false;
      tracer_.at(now).enter(resource_, cause);
    }
    void leave(Ticks now) {
      if (tracer_.depth() > depth_) tracer_.at(now).exit(resource_);  // else tracing was stopped: nothing is entered
    }
    /// With it ends whatever scope was left open in it. Else the next callback would run in that scope.
    void end(Ticks now) {
      for (std::size_t depth = tracer_.depth(); !outside_ && depth > depth_ + 1; --depth) {
        ++counts_.crossed_scopes;
        tracer_.at(now).exit(tracer_.current());
      }
      leave(now);
    }
    /// It has ended: is a share of the queue left to it? Then this event closes that share.
    bool goes_on() {
      if (is_last(*turn_.loop_, first_)) {
        first_.disarm();
        return false;
      }
      armBreadthFirst();
      rest();
      return true;
    }
    void rest() noexcept { move_to(turn_.resting_); }

    void traceEvent(::kj::_::TraceBuilder&) override {}

    class First final : public LoopEvent {
     public:
      explicit First(Invocation& invocation) : invocation_(invocation) {}
      void traceEvent(::kj::_::TraceBuilder&) override {}

     protected:
      ::kj::Maybe<::kj::Own<::kj::_::Event>> fire() override {
        invocation_.begin({CauseKind::kScheduled, invocation_.resource_.id}, invocation_.tracer_.now());
        return nullptr;
      }

     private:
      Invocation& invocation_;
    };

    Invocation* outer_ = nullptr;
    First first_;
    bool outside_ = false;  // the code around wait() ran in it

   protected:
    ::kj::Maybe<::kj::Own<::kj::_::Event>> fire() override {
      turn_.know_loop(*this);
      const Ticks now = tracer_.now();
      while (turn_.innermost_ != this) turn_.close_innermost(now);  // marks are queued in the order of nesting
      end(now);
      if (goes_on()) return nullptr;
      unlink();
      return ::kj::Own<::kj::_::Event>(this, keeper_);  // KJ disposes of it when it has returned
    }

   private:
    friend Turn;
    class Keeper final : public ::kj::Disposer {
     protected:
      void disposeImpl(void* pointer) const override {
        auto* const invocation = static_cast<Invocation*>(pointer);  // KJ gives the whole object's address
        invocation->turn_.drop(invocation);
      }
    };
    static inline const Keeper keeper_{};

    void unlink() noexcept {
      if (at_ == nullptr) return;
      *at_ = outer_;
      if (outer_ != nullptr) outer_->at_ = at_;
      at_ = nullptr;
    }
    void move_to(Invocation*& list) noexcept {
      unlink();
      outer_ = list;
      if (outer_ != nullptr) outer_->at_ = &outer_;
      list = this;
      at_ = &list;
    }

    Invocation** at_ = nullptr;  // what points to this one
    Turn& turn_;
    TracerT& tracer_;
    Resource resource_;
    std::size_t depth_ = 0;  // of the tracer, before the invocation
  };

  Turn() = default;

  /// `running` is an event whose turn has just begun.
  void know_loop(::kj::_::Event& running) {
    if (loop_ == nullptr) [[unlikely]] loop_ = &loop_of(running);
  }

  /// Of those that are done one is kept: the next to begin mostly does so when the last has just ended.
  Invocation* make_invocation(TracerT& tracer, Resource resource) {
    Invocation* const spare = spare_;
    if (spare == nullptr || &spare->tracer_ != &tracer) return new Invocation(*this, tracer, resource);
    spare_ = nullptr;
    spare->resource_ = resource;
    return spare;
  }
  void drop(Invocation* invocation) {
    if (spare_ != nullptr) {
      delete invocation;
      return;
    }
    invocation->unlink();
    spare_ = invocation;
  }

  [[gnu::noinline]] static void make() {
    struct Anchor {
      explicit Anchor(::kj::Own<Turn> turn) : turn_(::kj::mv(turn)) {}
      ::kj::Own<Turn> turn_;
    };
    ::kj::Own<Turn> turn(new Turn, ::kj::_::HeapDisposer<Turn>::instance);
    here_ = turn.get();
    // Detached tasks end before the loop looks whether an event was left in its queue.
    ::kj::Promise<void>(::kj::NEVER_DONE).attach(::kj::heap<Anchor>(::kj::mv(turn))).detach([](::kj::Exception&&) {});
  }

  static inline constinit thread_local Turn* here_ = nullptr;
  static inline constinit thread_local LoopCounts counts_{};
  static inline constinit thread_local bool async_stacks_ = false;

  Invocation* innermost_ = nullptr;
  Invocation* resting_ = nullptr;
  Invocation* spare_ = nullptr;
  ::kj::EventLoop* loop_ = nullptr;  // from the first event of ours on; it outlives this
  Fetch* fetch_ = nullptr;
};

}  // namespace detail

/// A CallbackScope for code on a KJ loop: what the block makes ready or defers in the loop runs in the resource as well.
/// (After a CallbackScope that would run in whatever surrounds it.) For a host's own roots and operations.
///   Threads   the loop's
///   Cost      two allocations and up to four events of the loop more than a CallbackScope; nothing with a NullTracer
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
