// SPDX-License-Identifier: MIT
// promise_events.hpp: V8's words about promises, translated. The only place where a hook call becomes an event.
//
// V8 calls a hook at four moments of a promise: init, before, after, resolve. What they say is less than it seems:
//
//   init(p, parent)  p is created. Its parent is the promise on which then() was called or which is awaited; but the promise
//                    that wraps an awaited plain value is given the async function's own promise as its parent, and
//                    does not wait for it at all. Which of the two it is the hook's place tells (HookPlaces), or it shows in
//                    the next call (`Undecided`).
//   before, after    a reaction of p runs, or p was resolved with a thenable and the thenable's then() is being called
//   resolve(p)       p will be fulfilled or rejected at once; it is still pending. By the isolate hook also: p was resolved
//                    with another promise and stays pending. The hook's place tells that it is fulfilled (HookPlaces), or
//                    the next call can tell (`Held`).
//
// Both ways of hooking (PromiseTracer) come here, so both give the same events. docs/v8.md has the table.
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "thence/adapters/v8/v8_version.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// What an isolate's hooks could not say, or said wrongly. Nothing is invented in its place.
struct PromiseCounts {
  std::uint64_t created = 0;  ///< promises that were given an id
  std::uint64_t unknown_entered = 0;  ///< callbacks of promises without an id: made before tracing, or in an untraced context
  /// `after` without `before`, where V8 calls it: tracing began in between, or the before hook failed.
  std::uint64_t exits_unmatched = 0;
  std::uint64_t exits_missed = 0;  ///< before without after (a stack overflow inside a hook); left when that was seen
  std::uint64_t too_deep = 0;      ///< callbacks nested too deep: not entered
  std::uint64_t links_unsure = 0;  ///< an await of a thenable or a chain of then(): no link, rather than a wrong one
  std::uint64_t outcomes_unknown = 0;   ///< settled, and the promise could not be looked at
  std::uint64_t settles_withdrawn = 0;  ///< resolved with another promise: not settled yet
  std::uint64_t places_verified = 0;    ///< StackOptions::verify: fulfilled by the hook's place, and looked at afterwards
  std::uint64_t places_wrong = 0;       ///< of them, those that were not fulfilled
};

/// The outcome of a promise that is settled.
[[nodiscard]] constexpr Outcome outcome_of(::v8::Promise::PromiseState state) noexcept {
  switch (state) {
    case ::v8::Promise::kFulfilled: return Outcome::kFulfilled;
    case ::v8::Promise::kRejected: return Outcome::kRejected;
    case ::v8::Promise::kPending: return Outcome::kResolved;
  }
  return Outcome::kUnknown;  // a value V8 does not have
}

/// What one context's last hook call left open until its next.
struct OpenEnds {
  /// A resolve whose outcome is not known yet.
  struct Held {
    Resource promise;
    Ticks when{};
    Actor by = Actor::kUnknown;
    ResourceId settler = ResourceId::kNone;
    bool is_held = false;
    bool is_known = false;  ///< and recorded: this is to verify it
  } held;
  /// A promise with a parent that it waits for, or does not.
  struct Undecided {
    Resource promise;
    Ticks created{};
    ResourceId parent = ResourceId::kNone;
    bool parent_is_derived = false;  ///< the parent has itself a parent: it is no async function's own promise
    bool parent_is_younger = false;  ///< the parent was created in the invocation that runs now, or none runs
  } undecided;
};

/// What is known of the parent when it is looked at.
struct ParentState {
  bool is_pending = true;
  bool has_handler = true;
};

/// Turns one isolate's hook calls into events of the tracer.
///   Threads   the isolate's
///   Cost      what the tracer's calls cost; no allocation, no lock
///   When full a callback nested beyond kMaxDepth is not entered, and counted
///   Errors    noexcept; what does not fit together is counted (PromiseCounts)
template <class TracerType>
class PromiseEvents {
 public:
  static constexpr std::size_t kMaxDepth = 64;

  PromiseEvents(::v8::Isolate* isolate, TracerType* tracer) noexcept : tracer_(tracer), isolate_(isolate) { innermost_ = entered_.data(); }

  [[nodiscard]] TracerType* tracer() const noexcept { return tracer_; }
  [[nodiscard]] bool is_active() const noexcept { return tracer_ != nullptr && tracer_->active(); }
  /// Whether what runs now is a promise's callback that is known.
  [[nodiscard]] bool runs_promise() const noexcept {
    if (innermost_ == entered_.data() || tracer_ == nullptr) return false;
    const Resource innermost = innermost_->promise;
    return !(innermost == Resource{}) && tracer_->current() == innermost;
  }
  [[nodiscard]] const PromiseCounts& counts() const noexcept { return counts_; }
  /// The promise that was created last, where that was here and now, by what runs.
  [[nodiscard]] Resource created_just_now() const noexcept { return {last_created_, tracer_->current().root}; }
  PromiseEvents(const PromiseEvents&) = delete;
  PromiseEvents& operator=(const PromiseEvents&) = delete;

  /// The isolate goes on under another tracer, or under none.
  void rebind(TracerType* tracer) noexcept {
    while (innermost_ != entered_.data()) leave_innermost();
    beyond_ = 0;
    tracer_ = tracer;
    last_created_ = at_enter_ = kNobodyKnows;
  }

  /// Whether the parent's own parent must be looked at before created() can say what this is (decide_chain).
  [[nodiscard]] bool must_decide_chain(const OpenEnds& open, ResourceId parent) const noexcept {
    return open.undecided.promise && parent == open.undecided.promise.id;
  }
  /// `grandparent`: the parent of the promise that is undecided. Returns whether the undecided promise waits for it.
  bool decide_chain(OpenEnds& open, ParentState grandparent) noexcept {
    const OpenEnds::Undecided& undecided = open.undecided;
    // A running async function's own promise is pending, is nobody's reaction, and bears no handler until the function was left once.
    const bool waits = undecided.parent_is_derived || !grandparent.is_pending ||
                       (grandparent.has_handler && undecided.parent_is_younger);
    if (waits) {
      decide(open);
      return true;
    }
    if (grandparent.has_handler) ++counts_.links_unsure;
    open.undecided.promise = {};
    return false;
  }

  // The quick ones need a tracer, and nothing undecided.

  /// init, where what it awaits is known (kNone: nothing), and where the tracer's quick call can say it. Empty: created() says it.
  [[gnu::always_inline]] inline Resource quick_created(ResourceId awaited, StackId stack, Ticks when) noexcept {
    const Resource promise = tracer_->quick_create(ResourceType::kJsPromise, awaited, stack, when);
    if (!promise) [[unlikely]] return {};
    ++counts_.created;
    last_created_ = promise.id;
    return promise;
  }
  /// init, under a tracer. The resource to keep on the promise; nothing to keep where its root is kNone and its id is. `waits`: it is
  /// known to wait for its parent; else that shows in the next call.
  Resource created(OpenEnds& open, ResourceId parent, bool parent_is_derived, bool waits, StackId stack) noexcept {
    decide(open);
    Resource promise;
    if (parent == ResourceId::kNone) {
      promise = tracer_->create(ResourceType::kJsPromise, CreateOptions{.stack = stack});
    } else if (waits) {
      auto&& moment = tracer_->at(tracer_->now());
      promise = moment.create(ResourceType::kJsPromise, CreateOptions{.stack = stack});
      moment.link(Resource{parent, promise.root}, promise, LinkKind::kAwaits);
    } else {
      promise = create_undecided(open, parent, parent_is_derived, stack);
    }
    if (!promise) return promise;
    ++counts_.created;
    last_created_ = promise.id;
    return promise;
  }

  /// before, of a promise that awaited `parent`, and is entered for the first time, where the tracer's quick call can say it. Else
  /// entered() says it.
  [[gnu::always_inline]] inline bool quick_entered(Resource promise, ResourceId parent, std::uintptr_t frame, Ticks when) noexcept {
    if (innermost_->frame <= frame || innermost_ == &entered_.back() || !tracer_->quick_enter(promise, parent, when)) [[unlikely]]
      return false;
    push(promise, true, frame);
    return true;
  }
  /// before. `promise` is empty where it was never seen. `is_reaction`: this is what it waited for its parent to do, and with it
  /// fulfilled it is over. `frame`: an address in the calling frame, on the stack. False: it is not among those that were entered.
  bool entered(OpenEnds& open, Resource promise, bool is_known, ResourceId parent, bool is_reaction, std::uintptr_t frame) noexcept {
    decide(open);
    leave_those_below(frame);
    if (!is_active()) return false;
    if (!is_known) [[unlikely]] ++counts_.unknown_entered;
    if (innermost_ == &entered_.back()) [[unlikely]] {
      ++counts_.too_deep;
      ++beyond_;
      return false;
    }
    push(promise, is_reaction, frame);
    tracer_->enter(promise, parent == ResourceId::kNone ? Cause{} : Cause{CauseKind::kSettled, parent});
    return true;
  }
  /// Whether it is the innermost of those that were entered and not left.
  [[nodiscard]] bool runs(Resource promise) const noexcept { return innermost_->promise == promise && !nothing_runs(); }
  [[nodiscard]] bool nothing_runs() const noexcept { return innermost_ == entered_.data(); }

  /// after.
  [[gnu::always_inline]] inline void exited(OpenEnds& open, Resource promise) noexcept {
    decide(open);
    if (innermost_->promise == promise && innermost_ != entered_.data()) [[likely]]
      return leave_innermost();
    exited_out_of_turn(promise);
  }
  [[gnu::noinline]] void exited_out_of_turn(Resource promise) noexcept {
    Entered* at = innermost_;
    while (at != entered_.data() && !(at->promise == promise)) --at;
    if (at == entered_.data()) {
      if (beyond_ != 0) {
        --beyond_;
      } else if (is_active()) {
        ++counts_.exits_unmatched;
      }
      return;
    }
    while (innermost_ != at) {
      ++counts_.exits_missed;
      leave_innermost();
    }
    leave_innermost();
  }

  /// resolve of a promise that V8 fulfils without fail and at once, where that is all there is to say, and the tracer's quick calls can
  /// say it. False: resolved() says more.
  /// A reaction is fulfilled as the last thing of its callback; nothing of the script's or the host's runs from there to after(): both are
  /// one moment, and said here. `ends`: this was one.
  [[gnu::always_inline]] inline bool quick_fulfilled(Resource promise, bool& ends, Ticks when) noexcept {
    ends = innermost_->promise.id == promise.id && innermost_->is_reaction;
    if (!ends) return tracer_->quick_settle(promise, Outcome::kFulfilled, when);
    if (!tracer_->quick_settle_and_exit(promise, Outcome::kFulfilled, when)) [[unlikely]] return false;
    --innermost_;
    at_enter_ = kNobodyKnows;
    return true;
  }
  /// resolve. `fulfils`: without fail and at once. Else it is held until the next call, which says what has become of it (settled or not).
  /// True: it is the wrapper of an awaited value, and never waited for its parent.
  bool resolved(OpenEnds& open, Resource promise, bool fulfils) noexcept {
    const bool is_wrapper = promise && open.undecided.promise.id == promise.id;
    if (is_wrapper) open.undecided.promise = {};
    decide(open);
    if (!is_active() || !promise) return is_wrapper;
    const Resource current = tracer_->current();
    Actor by = Actor::kExternal;
    if (current) {
      by = Actor::kInvocation;
    } else if (current.root == RootId::kUntraced || innermost_ != entered_.data() ||
               ::v8::MicrotasksScope::IsRunningMicrotasks(isolate_)) {
      by = Actor::kUnknown;  // something runs, but it is not known
    }
    if (fulfils) {
      tracer_->settle(promise, Outcome::kFulfilled, by, current.id);
      return is_wrapper;
    }
    OpenEnds::Held& held = open.held;
    held.promise = promise;
    held.by = by;
    held.settler = current.id;
    held.is_held = true;
    held.when = tracer_->now();
    return is_wrapper;
  }

  /// The held promise is in `state` now. Pending: it was only resolved with another.
  void settled(OpenEnds::Held& held, ::v8::Promise::PromiseState state) noexcept {
    if (!held.is_held) return;
    if (held.is_known) {
      ++counts_.places_verified;
      if (state != ::v8::Promise::kFulfilled) ++counts_.places_wrong;
      held.is_known = false;
    } else if (state == ::v8::Promise::kPending) {
      ++counts_.settles_withdrawn;
    } else {
      record_held(held, outcome_of(state));
    }
    held.is_held = false;
  }
  /// The held promise cannot be looked at.
  void settled_somehow(OpenEnds::Held& held) noexcept {
    if (!held.is_held) return;
    if (!held.is_known) {
      ++counts_.outcomes_unknown;
      record_held(held, Outcome::kUnknown);
    }
    held.is_held = held.is_known = false;
  }

  /// What waits for a next call that may not come is said now.
  [[gnu::always_inline]] inline void decide(OpenEnds& open) noexcept {
    if (open.undecided.promise) [[unlikely]]
      link_undecided(open);
  }

  /// Callbacks whose frames are gone: the stack has shrunk to `frame`, and no after came for them.
  [[gnu::always_inline]] inline void leave_those_below(std::uintptr_t frame) noexcept {
    if (innermost_->frame <= frame) [[unlikely]]
      leave_all_below(frame);
  }

 private:
  struct Entered {
    Resource promise;
    std::uintptr_t frame = ~std::uintptr_t{0};
    bool is_reaction = false;
  };

  [[gnu::always_inline]] inline void push(Resource promise, bool is_reaction, std::uintptr_t frame) noexcept {
    ++innermost_;
    innermost_->promise.id = promise.id;
    innermost_->promise.root = promise.root;
    innermost_->frame = frame;
    innermost_->is_reaction = is_reaction;
    at_enter_ = last_created_;
  }

  [[gnu::noinline]] Resource create_undecided(OpenEnds& open, ResourceId parent, bool parent_is_derived, StackId stack) noexcept {
    const Ticks now = tracer_->now();
    const Resource promise = tracer_->at(now).create(ResourceType::kJsPromise, CreateOptions{.stack = stack});
    if (!promise) return promise;
    const bool nothing_runs = innermost_ == entered_.data();
    // Member by member, here and below: a temporary is stored in words and loaded in pairs of them, which waits for the store.
    OpenEnds::Undecided& undecided = open.undecided;
    undecided.promise = promise;
    undecided.created = now;
    undecided.parent = parent;
    undecided.parent_is_derived = parent_is_derived;
    undecided.parent_is_younger = nothing_runs || number(parent) > number(at_enter_);
    return promise;
  }

  [[gnu::noinline]] void link_undecided(OpenEnds& open) noexcept {
    if (tracer_ != nullptr) {
      tracer_->at(open.undecided.created)
          .link(Resource{open.undecided.parent, open.undecided.promise.root}, open.undecided.promise, LinkKind::kAwaits);
    }
    open.undecided.promise = {};
  }

  [[gnu::noinline, gnu::cold]] void leave_all_below(std::uintptr_t frame) noexcept {
    while (innermost_->frame <= frame) {
      ++counts_.exits_missed;
      leave_innermost();
    }
  }

  [[gnu::always_inline]] inline void leave_innermost() noexcept {
    const Entered& left = *innermost_--;
    at_enter_ = kNobodyKnows;
    // Tracing stopped and began again in between: the tracer does not know of it any more.
    if (tracer_ != nullptr && tracer_->depth() != 0) tracer_->exit(left.promise);
  }

  void record_held(const OpenEnds::Held& held, Outcome outcome) noexcept {
    if (tracer_ != nullptr) tracer_->at(held.when).settle(held.promise, outcome, held.by, held.settler);
  }

  static constexpr auto kNobodyKnows = static_cast<ResourceId>(~std::uint64_t{0});

  // What the quick calls use stands together.
  TracerType* tracer_;
  Entered* innermost_ = nullptr;  // in entered_, which begins its life later
  ResourceId last_created_ = ResourceId::kNone;
  ResourceId at_enter_ = kNobodyKnows;  // the last promise created before the running invocation began
  PromiseCounts counts_;
  ::v8::Isolate* isolate_;
  std::size_t beyond_ = 0;
  std::array<Entered, kMaxDepth + 1> entered_{};  // [0] is below all
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
