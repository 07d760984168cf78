// SPDX-License-Identifier: MIT
// turn.hpp: which traced promise the KJ event loop is working for at this moment.
//
// KJ runs a continuation from its loop, with no word of whose it is. So a traced promise has an event of its own wait in its
// consumer's place, an Invocation. When its turn comes the promise is ready: its resource is entered, and the consumer is
// fired in this same turn of the loop. What there is to run, and in which order, is what it is without tracing.
//
// The invocation takes in what the consumer makes ready as well, directly or through any number of untraced promises,
// coroutines and fibers. All that is put at the head of the queue ("depth first") and runs before whatever waited already. So
// where the consumer has left nothing in the queue, the invocation is over when it returns. Else the same event is armed
// again, behind what was made ready: as a mark, whose turn comes when the invocation is over.
//
//   queue:   [A] [others ...]                                      A's promise is ready
//   then:    [others ...]                                          A was entered and exited: it has left nothing
//   or:      [what it made ready] [mark A] [others ...]            A is still running
//   later:   [B] [mark A] [others ...]                             A had nothing else to do, so it ends where B begins,
//            [what it made ready] [mark B] [others ...]            and its mark serves B on
//   or:      [B] [more] [mark A] [others ...]                      B is entered nested in A
//            [what it made ready] [mark B] [more] [mark A] [others ...]
//
// That an invocation ends where the next begins keeps a chain of a million promises flat.
//
// A result is fetched before its promise is entered, and an untraced continuation may run for it: in what was running, A, or in
// nobody's. What that makes ready is not B's, and runs before what B's consumer makes ready. Then A stays open for it, B ends
// when its consumer returns, and what that has made ready stands between two marks of B's, whose turn B is entered once more in:
//
//   queue:   [what fetching made ready] [mark A] [start B] [what B's consumer made ready] [mark B] [others ...]
//
// Some of what a callback makes ready goes to the end of the queue ("breadth first": evalLater(), a promise that is ready
// when it is asked for, such as a value that a continuation returns as a promise). So the invocation also leaves a mark at
// the queue's end when it begins and another when it ends. Where nothing came between them, as is mostly so, they are taken away,
// and where the queue was empty they are not needed. Else what stands between them is the invocation's: when the loop gets there,
// it is entered once more. Where it would get there next, one mark is enough:
//
//   queue:   [mark A] [what A put off]                             A ends, and is entered once more in the same turn
//   then:    [what A put off] [mark A]                             what that puts off in turn comes behind the mark
//
// Each type of tracer has its own invocations and marks. To one the promises of another are as untraced ones: it passes over the
// other's marks in the queue, and in a turn of the loop in which a promise of one is the consumer of another's, each goes on until all
// have run.
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "thence/adapters/kj/version.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/time.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// What one thread's loop did that its traces cannot show.
struct LoopCounts {
  /// Traced promises that are not settled yet.
  std::uint64_t pending = 0;
  /// Scopes still open when their turn was over: held across a co_await or a fiber's wait().
  std::uint64_t crossed_scopes = 0;
};

namespace detail {

/// A traced promise, as its invocation sees it.
class Watched : public ::kj::_::PromiseNode {
 public:
  /// What its consumer runs in, from which moment on.
  struct Entry {
    Resource resource;
    Cause cause;
    Ticks now;
  };
  /// It is ready: takes the result and records that it is settled.
  virtual Entry become_ready() = 0;
};

/// The calling thread's loop, from the first event of ours on.
inline constinit thread_local ::kj::EventLoop* known_loop = nullptr;

/// The loop's queue as the promises of one type of tracer see it: the marks of others are not there.
class QueueView {
 public:
  QueueView(const QueueView&) = delete;
  QueueView& operator=(const QueueView&) = delete;

 protected:
  QueueView() = default;
  ~QueueView() = default;

  /// Until leave_thread() this is one of the calling thread's.
  void join_thread() noexcept {
    next_ = std::exchange(first_, this);
    for (const QueueView* view = next_; view != nullptr; view = view->next_) turning_ = turning_ || view->turning_;
    know_others();
  }
  void leave_thread() noexcept {
    QueueView** at = &first_;
    while (*at != this) at = &(*at)->next_;
    *at = std::exchange(next_, nullptr);
    has_others_ = false;
    know_others();
    if (first_ == nullptr) known_loop = nullptr;
  }

  /// Whether `event` is what runs next.
  [[nodiscard]] bool is_next(::kj::_::Event& event) const noexcept {
    return *head_of(*loop_) == &event || (has_others_ && behind_others(head_of(*loop_), place_of(event)) == place_of(event));
  }
  /// Whether nothing of what is armed breadth first came after `event`, which is armed.
  [[nodiscard]] bool is_last(::kj::_::Event& event) const noexcept { return is_nothing(place_behind(event), breadth_first_of(*loop_)); }
  /// Whether `second` comes directly behind `first`. Both are armed.
  [[nodiscard]] bool follows(::kj::_::Event& first, ::kj::_::Event& second) const noexcept {
    return is_nothing(place_behind(first), place_of(second));
  }
  /// Whether nothing is queued, but for what waits until the loop has nothing else to do (evalLast()).
  [[nodiscard]] bool is_empty() const noexcept { return is_nothing(head_of(*loop_), breadth_first_of(*loop_)); }
  /// Whether what is armed depth first would run next: nothing of that kind has come to the queue since the loop's turn began.
  [[nodiscard]] bool is_at_head() const noexcept { return is_nothing(head_of(*loop_), depth_first_of(*loop_)); }

  /// A turn of the loop that promises are consumed in. False where it has begun: the one that is consumed now is the consumer, or part of
  /// it, of another type's.
  [[gnu::noinline]] bool begin_for_all() {
    if (turning_) return false;
    for (QueueView* view = first_; view != nullptr; view = view->next_) {
      view->apart_ = view != this && view->is_consuming();
      view->turning_ = true;
      if (!view->apart_) view->begin();
    }
    return true;
  }
  /// A result is about to be fetched in it, for a promise of this type: what that makes ready is of those that run by now.
  [[gnu::noinline]] void fetch_for_all() {
    for (QueueView* view = first_; view != nullptr; view = view->next_) {
      if (view->consumed_ || view->apart_) view->mark_share();
    }
    consumed_ = true;
  }
  [[gnu::noinline]] void end_for_all() {
    for (QueueView* view = first_; view != nullptr; view = view->next_) {
      if (!view->apart_) view->end(std::exchange(view->consumed_, false));
      view->turning_ = false;
    }
  }

  ::kj::EventLoop* loop_ = nullptr;  // from the first event of ours on; it outlives this
  bool has_others_ = false;          // on its thread
  bool turning_ = false;             // between begin_for_all() and end_for_all()

 private:
  [[nodiscard]] virtual bool is_consuming() const noexcept = 0;
  virtual void begin() = 0;
  virtual void mark_share() = 0;
  virtual void end(bool consumed) = 0;  // where none of this type's was consumed, it only looked on
  [[nodiscard]] virtual bool is_mark(::kj::_::Event& event) const noexcept = 0;

  static void know_others() noexcept {
    for (QueueView* view = first_; view != nullptr; view = view->next_) view->has_others_ = first_->next_ != nullptr;
  }
  [[nodiscard]] bool is_nothing(Place from, Place to) const noexcept {
    return from == to || (has_others_ && behind_others(from, to) == to);
  }
  /// `from`, or behind the others' marks there.
  [[nodiscard, gnu::noinline]] Place behind_others(Place from, Place to) const noexcept {
    while (from != to && *from != nullptr && is_others(**from)) from = place_behind(**from);
    return from;
  }
  [[nodiscard]] bool is_others(::kj::_::Event& event) const noexcept {
    for (const QueueView* view = first_; view != nullptr; view = view->next_) {
      if (view != this && view->is_mark(event)) return true;
    }
    return false;
  }

  static inline constinit thread_local QueueView* first_ = nullptr;
  QueueView* next_ = nullptr;
  bool consumed_ = false;  // one of this type's, in this turn
  bool apart_ = false;     // it began when there were no others, and ends by itself
};

/// What a thread's loop does for the traced promises of one type of tracer.
template <class TracerT>
class Turn final : private QueueView {
 public:
  class Invocation;

  /// The calling thread's, made on first use. It belongs to the loop: KJ destroys it with the loop's detached tasks. Where those went and
  /// the loop goes on (WaitScope::cancelAllDetached()), another is made.
  static Turn& here() {
    if (here_ == nullptr) [[unlikely]] make();
    return *here_;
  }
  /// Null where no traced promise was ever waited for on this loop.
  static Turn* find() noexcept { return here_; }
  static LoopCounts& counts() noexcept { return counts_; }
  /// Whether what is created on this thread takes KJ's asynchronous stack.
  static bool& async_stacks() noexcept { return async_stacks_; }

  [[nodiscard]] bool any() const noexcept { return innermost_ != nullptr; }

  /// The event that waits for `promise` in place of `consumer`. It is the promise's until its turn has come or it is abandoned.
  [[nodiscard]] Invocation& wait_for(TracerT& tracer, Watched& promise, ::kj::_::Event* consumer) {
    Invocation& invocation = take(tracer);
    ++waiting_;
    invocation.promise_ = &promise;
    invocation.consumer_ = consumer;
    return invocation;
  }
  /// The promise is dropped before it was ready.
  static void abandon(Invocation& invocation) {
    Turn& turn = *invocation.turn_;
    invocation.promise_ = nullptr;
    turn.drop(invocation);
    turn.waits_for_one_less();
  }

  /// The consumer of `promise` has its result.
  void taken(const Watched& promise) noexcept {
    if (untaken_ == &promise) untaken_ = nullptr;
  }
  /// The invocation of a consumer that came when its promise was ready already, and so has a turn of its own: this one.
  void open(TracerT& tracer, const Watched::Entry& entry) {
    if (loop_ == nullptr) return;  // it was ready before the detached tasks were cancelled, and nothing has come to its turn since
    Invocation& opened = take(tracer);
    opened.begin(entry);
    opened.start_->armBreadthFirst();
    arm_behind_next(*loop_, *opened.end_);
  }

  /// To be called where it may be so that wait() has come back, or is about to: continuations it runs by itself, and the code
  /// behind it, go on in the invocation until the loop turns again. The scopes of that code are its own.
  void outlive_turn() noexcept {
    if (loop_ == nullptr || is_turning(*loop_)) return;
    for (Invocation* open = innermost_; open != nullptr; open = open->outer_) open->outside_ = true;
  }
  /// Ends all that is open and forgets what was to go on.
  void close_all() {
    while (innermost_ != nullptr) {
      innermost_->leave(innermost_->tracer_->depth(), innermost_->tracer_->now());
      drop(*innermost_);
    }
    for (Invocation* at = resting_; at != nullptr;) {
      Invocation& closed = *std::exchange(at, at->outer_);
      if (is_armed(*closed.end_) || &closed == soon_) drop(closed);  // else it is of a LoopScope that is not over
    }
  }

  /// What the loop is given to do between begin_share() and end_share() is the resource's, at the head of the queue and at
  /// its end.
  struct Share {
    Turn* turn = nullptr;
    Invocation* soon = nullptr;
    Invocation* later = nullptr;
    std::uint64_t retirements = 0;
  };
  [[nodiscard]] Share begin_share(TracerT& tracer, Resource resource) {
    Invocation& soon = take(tracer);
    Invocation& later = take(tracer);
    soon.resource_ = later.resource_ = resource;
    soon.start_->armDepthFirst();
    later.start_->armBreadthFirst();
    soon.rest();
    later.rest();
    return {this, &soon, &later, retirements_};
  }
  static void end_share(Share share) {
    if (share.turn == nullptr || share.retirements != retirements_) return;  // the loop went meanwhile, and took it along
    share.soon->end_->armDepthFirst();
    share.later->end_->armBreadthFirst();
    for (Invocation* part : {share.soon, share.later}) share.turn->drop_if_empty(*part);
  }

  /// Memory for nodes, of those that are gone: theirs is too large for the allocator's own fastest path.
  [[nodiscard]] static void* take_memory(std::size_t bytes) {
    if (bytes > kNodeBytes) return ::operator new(bytes);
    if (here_ == nullptr || here_->node_memory_ == nullptr) return ::operator new(kNodeBytes);
    --here_->node_memories_;
    return std::exchange(here_->node_memory_, *static_cast<void**>(here_->node_memory_));
  }
  static void give_memory(void* memory, std::size_t bytes) noexcept {
    if (bytes > kNodeBytes || here_ == nullptr || here_->node_memories_ == kMostNodeMemories) return ::operator delete(memory);
    ++here_->node_memories_;
    *static_cast<void**>(memory) = std::exchange(here_->node_memory_, memory);
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

  /// An event that waits for a promise in its consumer's place. Then, with a second one, the marks of its invocation: where it ends,
  /// and where its share of the queue's end starts. It is a promise's, or in one of the turn's lists: of the open ones, innermost
  /// first; of those that rest until the loop comes to their share; of the spare ones.
  class Invocation final : public LoopEvent {
   public:
    explicit Invocation(Turn& turn) : second_(*this), turn_(&turn) {}

    void traceEvent(::kj::_::TraceBuilder& builder) override {
      if (consumer_ != nullptr) {
        consumer_->traceEvent(builder);
      } else if (promise_ != nullptr) {
        promise_->tracePromise(builder, true);
      }
    }

   protected:
    ::kj::Maybe<::kj::Own<::kj::_::Event>> fire() override {
      if (promise_ == nullptr) return pass(*this);
      if (turn_->firing_ == nullptr) return consume();
      turn_->next_ = this;
      return nullptr;
    }

   private:
    friend Turn;

    class Second final : public LoopEvent {
     public:
      explicit Second(Invocation& invocation) : invocation_(invocation) {}
      void traceEvent(::kj::_::TraceBuilder&) override {}

     protected:
      ::kj::Maybe<::kj::Own<::kj::_::Event>> fire() override {
        return invocation_.pass(*this);
      }

     private:
      Invocation& invocation_;
    };

    // Two functions, so that what a mark needs is not behind what a promise does.
    [[gnu::noinline]] ::kj::Maybe<::kj::Own<::kj::_::Event>> consume() { return turn_->consume(*this); }
    /// The loop has come to a mark.
    [[gnu::noinline]] ::kj::Maybe<::kj::Own<::kj::_::Event>> pass(::kj::_::Event& mark) {
      turn_->know_loop(mark);
      if (rests_) {
        begin(once_more(tracer_->now()));
        if (!turn_->is_last(*end_)) start_->armBreadthFirst();
        return nullptr;
      }
      // Marks are queued in the order of nesting.
      while (turn_->innermost_ != this) turn_->close(*turn_->innermost_, tracer_->now());
      if (*head_of(*turn_->loop_) == start_) start_->disarm();
      if (is_armed(*start_) || &mark != end_ || turn_->is_empty()) {
        turn_->close(*this, tracer_->now());
      } else {  // all that is queued is its share: it goes on
        go_on();
        mark.armBreadthFirst();
      }
      return nullptr;
    }
    void go_on() {
      if (!resource_ && tracer_->depth() == depth_ + 1 && tracer_->current() == resource_) {
        outside_ = false;
        return;  // nobody's: nothing is to be recorded
      }
      const Ticks now = tracer_->now();
      end(now);
      enter(once_more(now));
    }
    [[nodiscard]] Watched::Entry once_more(Ticks now) const noexcept {
      return {resource_, {CauseKind::kScheduled, resource_.id}, now};
    }
    void begin(const Watched::Entry& entry) {
      rests_ = false;
      move_to(turn_->innermost_);
      enter(entry);
    }
    void enter(const Watched::Entry& entry) {
      resource_ = entry.resource;
      depth_ = tracer_->depth();
      outside_ = false;
      tracer_->at(entry.now).enter(entry.resource, entry.cause);
    }
    /// `depth`: the tracer's.
    void leave(std::size_t depth, Ticks now) {
      if (depth > depth_) tracer_->at(now).exit(resource_);  // else tracing was stopped: nothing is entered
    }
    /// With it ends whatever scope was left open in it. Else the next callback would run in that scope.
    void end(Ticks now) {
      const std::size_t depth = tracer_->depth();
      if (depth > depth_ + 1 && !outside_) [[unlikely]] end_scopes(now);
      leave(depth, now);
    }
    [[gnu::noinline]] void end_scopes(Ticks now) {
      for (std::size_t depth = tracer_->depth(); depth > depth_ + 1; --depth) {
        ++counts_.crossed_scopes;
        tracer_->at(now).exit(tracer_->current());
      }
    }
    /// Whether anything came to the queue's end since it began. Where that is not marked, the queue was empty then, or its own mark was last.
    [[nodiscard]] bool has_share() noexcept {
      if (is_armed(*start_)) return !turn_->is_last(*start_);
      return is_armed(*end_) ? !turn_->is_last(*end_) : !turn_->is_empty();
    }

    void rest() noexcept {
      rests_ = true;
      move_to(turn_->resting_);
    }
    void move_to(Invocation*& list) noexcept {
      unlink();
      outer_ = list;
      if (outer_ != nullptr) outer_->at_ = &outer_;
      list = this;
      at_ = &list;
    }
    void unlink() noexcept {
      if (at_ == nullptr) return;
      *at_ = outer_;
      if (outer_ != nullptr) outer_->at_ = at_;
      at_ = nullptr;
    }

    Second second_;
    ::kj::_::Event* end_ = this;        // the mark where it ends
    ::kj::_::Event* start_ = &second_;  // the mark where its share of the queue's end starts
    Turn* turn_;
    TracerT* tracer_ = nullptr;
    Watched* promise_ = nullptr;           // that it waits for
    ::kj::_::Event* consumer_ = nullptr;   // that it waits in place of, and fires
    Invocation* outer_ = nullptr;          // the next in its list
    Invocation** at_ = nullptr;            // what points to this one
    Resource resource_;
    std::size_t depth_ = 0;  // of the tracer, before the invocation
    bool rests_ = false;
    bool outside_ = false;  // the code around wait() ran in it
  };

 private:
  Turn() = default;
  ~Turn() = default;

  /// The turn of `ready`, whose promise is. Its consumer may be the event of a further promise: that one's turn is when this one
  /// is entered, in this same turn of the loop, so that neither the stack nor the nesting grows with the chain.
  [[gnu::always_inline]] inline ::kj::Maybe<::kj::Own<::kj::_::Event>> consume(Invocation& ready) {
    if (loop_ == nullptr) [[unlikely]] {
      if (retired_) return hand_over(ready);
      know_loop(ready);
    }
    const Consumption consumption(*this, ready);
    ::kj::Maybe<::kj::Own<::kj::_::Event>> spent;
    for (Invocation* at = &ready; at != nullptr;) {
      ::kj::_::Event* const consumer = at->consumer_;
      enter(*at);
      ready.consumer_ = consumer;  // it is `ready` that KJ asks for its trace
      next_ = nullptr;
      if (consumer != nullptr) spent = fire_now(*consumer);
      at = next_;
      if (at != nullptr) consumption.fetch_more();
    }
    return spent;
  }
  void enter(Invocation& at) {
    Watched& promise = *at.promise_;
    const Watched::Entry entry = promise.become_ready();
    untaken_ = &promise;
    at.promise_ = nullptr;
    --waiting_;
    if (!is_at_head()) [[unlikely]] return enter_behind(at, entry);
    if (running_ != nullptr && running_->tracer_ == at.tracer_ && !running_->has_share()) {
      running_->end(entry.now);
      running_->enter(entry);
      if (&at != firing_) recycle(at);
      return;
    }
    if (running_ != nullptr) close(*running_, entry.now);
    at.begin(entry);
    if (*head_of(*loop_) != nullptr) at.start_->armBreadthFirst();
    running_ = &at;
  }
  /// Likewise where this turn has made something ready already, which is not its own: that stays with what was running.
  [[gnu::noinline]] void enter_behind(Invocation& at, const Watched::Entry& entry) {
    if (soon_ != nullptr) {
      end_soon();
      close(*running_, entry.now);
    } else if (running_ != nullptr) {
      running_->end_->disarm();  // to be directly behind it, so that one does not come to nest in another for ever
      running_->end_->armDepthFirst();
      if (!is_armed(*running_->start_)) arm_behind_next(*loop_, *running_->start_);
    }
    at.begin(entry);
    at.start_->armBreadthFirst();
    running_ = &at;
    soon_ = &take(*at.tracer_);
    soon_->resource_ = entry.resource;
    soon_->start_->armDepthFirst();
    soon_->rest();
  }
  void end_soon() {
    Invocation& soon = *std::exchange(soon_, nullptr);
    soon.end_->armDepthFirst();
    drop_if_empty(soon);
  }
  [[gnu::noinline]] void leave_behind(Invocation& running) {
    end_soon();
    if (untaken_ == nullptr) return close(running, running.tracer_->now());
    arm_at_head(*loop_, *running.end_);  // for the code behind a wait(), which what it makes ready goes before
  }

  /// While a consumer runs, also where it throws.
  struct Consumption {
    Consumption(Turn& in, Invocation& event) : turn(in), ready(event), among_others(in.has_others_) {
      turn.firing_ = &ready;
      if (among_others) [[unlikely]] {
        is_first = turn.begin_for_all();
        turn.fetch_for_all();
      } else {
        turn.begin_alone();
      }
    }
    [[gnu::always_inline]] ~Consumption() noexcept(false) {
      if (!among_others) [[likely]] {
        turn.end_alone();
      } else if (is_first) {
        turn.end_for_all();
      }
      turn.firing_ = nullptr;
      ready.consumer_ = nullptr;
      if (ready.at_ == nullptr) turn.recycle(ready);
      if (turn.unanchored_) [[unlikely]] turn.anchor();
    }
    /// For the consumer, a further promise: what that makes ready is of what runs by now.
    void fetch_more() const {
      if (among_others) [[unlikely]] return turn.fetch_for_all();
      turn.mark_share();
    }
    Turn& turn;
    Invocation& ready;
    const bool among_others;
    bool is_first = false;
  };

  void begin_alone() noexcept {
    if (any() && is_next(*innermost_->end_)) running_ = innermost_;  // it is done but for this
  }
  [[gnu::noinline]] void end_alone() {
    if (running_ != nullptr) leave(*running_);
    running_ = nullptr;
    untaken_ = nullptr;
  }
  [[nodiscard]] bool is_consuming() const noexcept override { return firing_ != nullptr; }
  void begin() override { begin_alone(); }
  void mark_share() override {
    if (running_ != nullptr && !is_armed(*running_->start_)) running_->start_->armBreadthFirst();
  }
  void end(bool consumed) override {
    if (!consumed) running_ = nullptr;
    end_alone();
    if (unanchored_) [[unlikely]] anchor();
  }
  [[nodiscard]] bool is_mark(::kj::_::Event& event) const noexcept override {
    if (are_of_one_class(event, example_)) return static_cast<Invocation&>(event).promise_ == nullptr;
    return are_of_one_class(event, example_.second_);
  }

  /// The consumer has returned. A result that it has not taken yet will be, when wait() has come back or a join has all its parts.
  void leave(Invocation& running) {
    ::kj::_::Event* const head = *head_of(*loop_);
    const bool nothing_queued = head == nullptr || (head == running.start_ && is_last(*running.start_));
    if (untaken_ != nullptr || !nothing_queued) {
      if (soon_ != nullptr) [[unlikely]] return leave_behind(running);
      if (!is_armed(*running.end_)) running.end_->armDepthFirst();
      if (untaken_ != nullptr || !is_next(*running.end_) || running.has_share()) return;
    }
    running.end(running.tracer_->now());
    drop(running);
  }

  /// It has ended. Where a share of the queue is left to it, it rests until the loop comes there.
  void close(Invocation& closed, Ticks now) {
    closed.end(now);
    if (!closed.has_share()) return drop(closed);
    if (is_armed(*closed.start_)) {
      closed.end_->disarm();
    } else {
      if (!is_armed(*closed.end_)) closed.end_->armDepthFirst();  // it is the mark's turn
      std::swap(closed.start_, closed.end_);
    }
    closed.end_->armBreadthFirst();
    closed.rest();
    if (running_ == &closed) running_ = nullptr;
  }

  [[nodiscard]] Invocation& take(TracerT& tracer) {
    Invocation* const taken = spare_ == nullptr ? new Invocation(*this) : spare_;
    if (taken == spare_) spare_ = taken->outer_;
    taken->tracer_ = &tracer;
    return *taken;
  }
  /// Out of the queue and of its list.
  void drop(Invocation& dropped) {
    if (is_armed(dropped)) dropped.disarm();
    if (is_armed(dropped.second_)) dropped.second_.disarm();
    dropped.unlink();
    if (running_ == &dropped) running_ = nullptr;
    if (soon_ == &dropped) soon_ = nullptr;
    if (firing_ != &dropped) recycle(dropped);
  }
  /// A share that nothing came to.
  void drop_if_empty(Invocation& share) {
    if (follows(*share.start_, *share.end_)) drop(share);
  }
  void recycle(Invocation& spare) {
    if (retired_) {
      delete &spare;
      return;
    }
    spare.consumer_ = nullptr;
    spare.outer_ = spare_;
    spare_ = &spare;
  }

  /// `running` is an event whose turn has just begun; or it is fired as a consumer, and then the loop is known.
  void know_loop(::kj::_::Event& running) {
    if (loop_ != nullptr) [[likely]] return;
    if (known_loop == nullptr) known_loop = &loop_of(running);
    loop_ = known_loop;
  }

  [[gnu::noinline]] static void make() {
    here_ = new Turn;
    here_->join_thread();
    here_->anchor();
  }
  void anchor() {
    struct Anchor {
      explicit Anchor(Turn& turn) : turn_(turn) {}
      ~Anchor() noexcept(false) { turn_.retire(); }
      Turn& turn_;
    };
    unanchored_ = false;
    // Detached tasks end before the loop looks whether an event was left in its queue.
    ::kj::Promise<void>(::kj::NEVER_DONE).attach(::kj::heap<Anchor>(*this)).detach([](::kj::Exception&&) {});
  }
  /// The loop's detached tasks go: the loop does, or they are cancelled. In a consumer they can only be cancelled; this then goes on, and is
  /// anchored anew at the end of the turn. Promises that are dropped after the loop still have their events.
  void retire() {
    if (firing_ != nullptr || turning_) {
      unanchored_ = true;
      return;
    }
    here_ = nullptr;
    ++retirements_;
    leave_thread();
    close_all();
    while (resting_ != nullptr) drop(*resting_);
    while (spare_ != nullptr) delete std::exchange(spare_, spare_->outer_);
    while (node_memory_ != nullptr) ::operator delete(std::exchange(node_memory_, *static_cast<void**>(node_memory_)));
    retired_ = true;
    loop_ = nullptr;
    if (waiting_ == 0) delete this;
  }
  /// The loop has not gone: what is left here waits under the turn that it has now.
  [[gnu::noinline, gnu::cold]] static ::kj::Maybe<::kj::Own<::kj::_::Event>> hand_over(Invocation& ready) {
    Turn& from = *std::exchange(ready.turn_, &here());
    ++ready.turn_->waiting_;
    from.waits_for_one_less();
    return ready.fire();
  }
  void waits_for_one_less() {
    if (--waiting_ == 0 && retired_) delete this;
  }

  static inline constinit thread_local Turn* here_ = nullptr;
  static inline constinit thread_local std::uint64_t retirements_ = 0;
  static inline constinit thread_local LoopCounts counts_{};
  static inline constinit thread_local bool async_stacks_ = false;

  Invocation* innermost_ = nullptr;
  Invocation* resting_ = nullptr;
  Invocation* spare_ = nullptr;       // as many as ever waited at once, until the loop goes
  Invocation* firing_ = nullptr;      // whose turn of the loop it is: a consumer runs
  Invocation* running_ = nullptr;     // what it runs in, as long as that is open
  Invocation* soon_ = nullptr;        // its share of the head of the queue, where that is marked
  Invocation* next_ = nullptr;        // the consumer was this one
  const Watched* untaken_ = nullptr;  // the promise that was entered last, until its result is taken
  std::size_t waiting_ = 0;           // events that are a promise's
  static constexpr std::size_t kNodeBytes = 640, kMostNodeMemories = 256;
  void* node_memory_ = nullptr;  // each begins with the next
  std::size_t node_memories_ = 0;
  bool retired_ = false;
  bool unanchored_ = false;  // a consumer has cancelled the loop's detached tasks
  Fetch* fetch_ = nullptr;
  Invocation example_{*this};  // of its class: never queued
};

}  // namespace detail
}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
