// SPDX-License-Identifier: MIT
// version.hpp: what differs between the versions of KJ, and nothing else. Tested: 0.9.2, 1.1 and 1.5.
//
// KJ has no version macro of its own. Two families matter to us, told apart by a macro that came with the second:
//   0.9   promise nodes are held by kj::Own and made by kj::heap
//   1.x   promise nodes live in arenas (kj::_::OwnPromiseNode); coroutines; more optional virtuals on streams and HTTP
// The rest of the adapter is written once. Where a whole member exists in one family only, it stands in THENCE_KJ_09(...)
// or THENCE_KJ_1X(...), which expand to their argument or to nothing.
//
// What we use beyond KJ's documented interface is named here: kj::_::PromiseNode and kj::_::Event, of which every promise
// is made and which KJ's public headers define (its templates are instantiated in the host's code).
// Layer: adapters/kj (includes config/ and KJ).
#pragma once

#include <kj/async.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "thence/config/version.hpp"

#if defined(KJ_DISALLOW_COPY_AND_MOVE)
#define THENCE_KJ_09(...)
#define THENCE_KJ_1X(...) __VA_ARGS__
#else
#define THENCE_KJ_09(...) __VA_ARGS__
#define THENCE_KJ_1X(...)
#endif

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

THENCE_KJ_09(inline constexpr int kKjFamily = 9;)
THENCE_KJ_1X(inline constexpr int kKjFamily = 10;)

namespace detail {

/// How KJ holds a promise's node.
THENCE_KJ_09(using OwnNode = ::kj::Own<::kj::_::PromiseNode>;)
THENCE_KJ_1X(using OwnNode = ::kj::_::OwnPromiseNode;)

/// A node that takes `dependency` as its first argument, in the dependency's own memory where there is room.
template <class Node, class... Arguments>
OwnNode make_node(OwnNode&& dependency, Arguments&&... arguments) {
  THENCE_KJ_09(return ::kj::heap<Node>(::kj::mv(dependency), ::kj::fwd<Arguments>(arguments)...);)
  THENCE_KJ_1X(return ::kj::_::appendPromise<Node>(::kj::mv(dependency), ::kj::fwd<Arguments>(arguments)...);)
}

/// An event of the current loop.
class LoopEvent : public ::kj::_::Event {
 public:
  THENCE_KJ_09(LoopEvent() = default;)
  THENCE_KJ_1X(LoopEvent() : ::kj::_::Event(::kj::SourceLocation{}){})
};

// The loop's queue is a list through the events' private `next` and `prev`; KJ does not let one look behind an event (1.x has
// isNext(), for the head only), fire it in another's turn, nor say whether the loop is turning. Naming a private member in an
// explicit instantiation is how C++ gives access all the same ([temp.spec.general]: it is not checked there).
template <class Tag, typename Tag::Type Member>
struct Exposed {
  friend constexpr typename Tag::Type member_of(Tag) { return Member; }
};
struct NextOfEvent {
  using Type = ::kj::_::Event* ::kj::_::Event::*;
  friend constexpr Type member_of(NextOfEvent);
};
struct PrevOfEvent {
  using Type = ::kj::_::Event** ::kj::_::Event::*;
  friend constexpr Type member_of(PrevOfEvent);
};
struct FiringOfEvent {
  using Type = bool ::kj::_::Event::*;
  friend constexpr Type member_of(FiringOfEvent);
};
struct FireOfEvent {
  using Type = ::kj::Maybe<::kj::Own<::kj::_::Event>> (::kj::_::Event::*)();
  friend constexpr Type member_of(FireOfEvent);
};
struct HeadOfLoop {
  using Type = ::kj::_::Event* ::kj::EventLoop::*;
  friend constexpr Type member_of(HeadOfLoop);
};
struct DepthFirstOfLoop {
  using Type = ::kj::_::Event** ::kj::EventLoop::*;
  friend constexpr Type member_of(DepthFirstOfLoop);
};
struct BreadthFirstOfLoop {
  using Type = ::kj::_::Event** ::kj::EventLoop::*;
  friend constexpr Type member_of(BreadthFirstOfLoop);
};
struct RunningOfLoop {
  using Type = bool ::kj::EventLoop::*;
  friend constexpr Type member_of(RunningOfLoop);
};
struct PortOfLoop {
  using Type = ::kj::Maybe<::kj::EventPort&>(::kj::EventLoop::*);
  friend constexpr Type member_of(PortOfLoop);
};
template struct Exposed<NextOfEvent, &::kj::_::Event::next>;
template struct Exposed<PrevOfEvent, &::kj::_::Event::prev>;
template struct Exposed<FiringOfEvent, &::kj::_::Event::firing>;
template struct Exposed<FireOfEvent, &::kj::_::Event::fire>;
template struct Exposed<HeadOfLoop, &::kj::EventLoop::head>;
template struct Exposed<DepthFirstOfLoop, &::kj::EventLoop::depthFirstInsertPoint>;
template struct Exposed<BreadthFirstOfLoop, &::kj::EventLoop::breadthFirstInsertPoint>;
template struct Exposed<RunningOfLoop, &::kj::EventLoop::running>;
template struct Exposed<PortOfLoop, &::kj::EventLoop::port>;

/// Whether `event` is queued.
inline bool is_armed(::kj::_::Event& event) noexcept { return event.*member_of(PrevOfEvent{}) != nullptr; }

/// Fires `event`, which is not queued, in the turn of another, as the loop would in one of its own.
inline ::kj::Maybe<::kj::Own<::kj::_::Event>> fire_now(::kj::_::Event& event) {
  event.*member_of(FiringOfEvent{}) = true;
  KJ_DEFER(event.*member_of(FiringOfEvent{}) = false);
  return (event.*member_of(FireOfEvent{}))();
}

/// A place in a loop's queue: what points to the event there, or to none.
using Place = ::kj::_::Event**;

/// Where `event` is; nowhere where it is not queued.
inline Place place_of(::kj::_::Event& event) noexcept { return event.*member_of(PrevOfEvent{}); }
inline Place place_behind(::kj::_::Event& event) noexcept { return &(event.*member_of(NextOfEvent{})); }
inline Place head_of(::kj::EventLoop& loop) noexcept { return &(loop.*member_of(HeadOfLoop{})); }
/// Where what is armed depth first comes: the head, until something of that kind has come there in the loop's turn.
inline Place depth_first_of(::kj::EventLoop& loop) noexcept { return loop.*member_of(DepthFirstOfLoop{}); }
/// Where what is armed breadth first comes: behind all but what waits until the loop has nothing else to do (evalLast()).
inline Place breadth_first_of(::kj::EventLoop& loop) noexcept { return loop.*member_of(BreadthFirstOfLoop{}); }

/// Whether two objects are of one class, also where there is no run-time type information: each begins with a pointer that is its
/// class's own.
inline bool are_of_one_class(const ::kj::_::Event& one, const ::kj::_::Event& other) noexcept {
  return std::memcmp(static_cast<const void*>(&one), static_cast<const void*>(&other), sizeof(void*)) == 0;
}

/// The loop of an event whose turn has just begun: it puts itself at the head of the queue for a moment.
inline ::kj::EventLoop& loop_of(::kj::_::Event& running) {
  running.armDepthFirst();
  ::kj::_::Event** const head = running.*member_of(PrevOfEvent{});
  running.disarm();
  return *reinterpret_cast<::kj::EventLoop*>(reinterpret_cast<char*>(head) - std::bit_cast<std::ptrdiff_t>(member_of(HeadOfLoop{})));
}

/// Arms `mark` depth first, but what is armed so after it goes before it.
inline void arm_behind_next(::kj::EventLoop& loop, ::kj::_::Event& mark) {
  mark.armDepthFirst();
  loop.*member_of(DepthFirstOfLoop{}) = mark.*member_of(PrevOfEvent{});
}

/// Arms `mark` to run next. What is armed depth first goes where it would have.
inline void arm_at_head(::kj::EventLoop& loop, ::kj::_::Event& mark) {
  ::kj::_::Event** const insert_point = loop.*member_of(DepthFirstOfLoop{});
  loop.*member_of(DepthFirstOfLoop{}) = &(loop.*member_of(HeadOfLoop{}));
  mark.armDepthFirst();
  loop.*member_of(DepthFirstOfLoop{}) = insert_point;
}

/// Where a loop waits for the outside world; none for a loop without a port.
inline ::kj::Maybe<::kj::EventPort&>& port_of(::kj::EventLoop& loop) noexcept { return loop.*member_of(PortOfLoop{}); }

/// Whether a callback of the loop is running, as opposed to the code around wait().
inline bool is_turning(::kj::EventLoop& loop) noexcept { return loop.*member_of(RunningOfLoop{}); }

}  // namespace detail
}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
