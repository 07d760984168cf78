// SPDX-License-Identifier: MIT
// promise_tracer.hpp: every promise of a V8 context as a resource, with its trigger, its settler and what it waits for.
//
//   v8_adapter::PromiseTracer promises{isolate, lane.tracer()};
//   promises.follow(context);                 // from here on, until unfollow() or the end of `promises`
//   ... run scripts and microtasks ...
//
// There are two ways to hear of promises. Context::SetPromiseHooks (Hooks::kContext) takes JavaScript functions and is the
// cheap one; a V8 built without V8_ENABLE_JAVASCRIPT_PROMISE_HOOKS ends the program when it is called, so it is never tried:
// the host says which way to take. Isolate::SetPromiseHook (Hooks::kIsolate) is in every V8, takes one function for the
// isolate (the host then cannot have one of its own) and costs several times as much. Both give the same events. docs/v8.md
// has the figures, and what neither of them can see.
//
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "thence/adapters/v8/gc_pauses.hpp"
#include "thence/adapters/v8/hook_places.hpp"
#include "thence/adapters/v8/hook_script.hpp"
#include "thence/adapters/v8/packed_resource.hpp"
#include "thence/adapters/v8/promise_events.hpp"
#include "thence/adapters/v8/script_stacks.hpp"
#include "thence/adapters/v8/v8_version.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// The way to hear of promises. Never probed: a wrong kContext ends the program inside V8.
enum class Hooks : std::uint8_t {
  kContext,  ///< needs a V8 with V8_ENABLE_JAVASCRIPT_PROMISE_HOOKS (Node.js's and Chromium's have it)
  kIsolate,  ///< any V8
};

struct PromiseOptions {
  Hooks hooks = Hooks::kContext;
  StackOptions stacks = {};
  bool gc_pauses = true;  ///< collections as pauses on the lane
  /// V8 says when the isolate's own microtasks have run. False: the host does, by checkpoint_done(), and spares V8 some 230 instructions
  /// each time.
  bool hears_checkpoints = true;
};

/// Follows the promises of one isolate's contexts.
///   Shape     one an isolate; any number of contexts
///   Threads   the isolate's. An isolate that goes on under another thread: rebind() there, before anything else
///   Cost      docs/v8.md. Once: a context of its own for the hooks, which no script can reach (about 1 ms). While the tracer
///             is stopped there are no hooks: they go with the first promise and come back with the next call into JavaScript
///   Errors    follow() says whether it could. Everything else is noexcept and counted (counts())
///   Lifetime  not movable. The tracer may go first after rebind(nullptr); the contexts at any time. It must go, or stop() be
///             called, before Isolate::Dispose(); where that is not possible, forget() first, after which nothing of V8's is touched
template <class TracerType>
class BasicPromiseTracer {
 public:
  BasicPromiseTracer(::v8::Isolate* isolate, TracerType& tracer, PromiseOptions options = {})
      : events_(isolate, &tracer),
        stacks_(isolate, options.stacks),
        isolate_(isolate),
        hooks_(options.hooks),
        hears_checkpoints_(options.hears_checkpoints) {
    if (options.gc_pauses) pauses_.emplace(isolate, &tracer);
  }
  ~BasicPromiseTracer() { stop(); }
  BasicPromiseTracer(const BasicPromiseTracer&) = delete;
  BasicPromiseTracer& operator=(const BasicPromiseTracer&) = delete;

  /// Traces the promises of `context` from now on. One that was suspended before resumes unseen (counts().unknown_entered).
  /// False where V8 could not run the hooks' script (execution is being terminated), or, by the isolate hook, where
  /// kMaxIsolates have one.
  bool follow(::v8::Local<::v8::Context> context) {
    if (isolate_ == nullptr) return false;
    ::v8::HandleScope handles(isolate_);
    if (is_followed(context)) return true;
    if (!prepare()) return false;
    if (hooks_ == Hooks::kContext || stacks_.mode() == StackMode::kFingerprint) stacks_.calibrate(own_context_.Get(isolate_));
    if (!take_slot() && hooks_ == Hooks::kIsolate) return false;
    drop_collected();
    hear_microtasks(true);
    followed_.emplace_back(isolate_, context);
    followed_.back().SetWeak();
    if (events_.is_active() || !can_pause()) {
      resume();
      learn_places();
      hook(context);
    } else {
      pause();
    }
    return true;
  }

  /// Hears nothing more of `context`. Its promises stay open in the trace.
  void unfollow(::v8::Local<::v8::Context> context) noexcept {
    if (isolate_ == nullptr) return;
    flush();
    ::v8::HandleScope handles(isolate_);
    drop_collected();
    for (std::size_t i = 0; i < followed_.size(); ++i) {
      if (!(followed_[i] == context)) continue;
      followed_.erase(followed_.begin() + static_cast<std::ptrdiff_t>(i));
      unhook(context);
      if (followed_.empty()) {
        events_.rebind(events_.tracer());  // no hook will tell what is left
        hear_microtasks(false);
      }
      return;
    }
  }

  /// The isolate goes on under another tracer, its thread's; nullptr: under none. Called on the new thread (or, for nullptr,
  /// on the old), outside of all callbacks.
  void rebind(TracerType* tracer) noexcept {
    flush();
    events_.rebind(tracer);
    choose_way();
    stacks_.moved_here();
    if (pauses_) pauses_->rebind(tracer);
    resume();
  }

  /// Records what waits for V8's next hook call: the outcome of the promise that was settled last, the link of the one that
  /// was created last. Done by itself at the end of each microtask checkpoint of the isolate's own queue, where V8 says so; for a host with
  /// queues of its own, and before a root is finished outside of a checkpoint. After tracing was stopped and has begun again, it
  /// puts the hooks back at once (else V8's next call into JavaScript does, or the end of the next checkpoint).
  void flush() noexcept {
    if (isolate_ == nullptr) return;
    resume();
    events_.decide(open_);
    if (!open_.held.is_held) return;
    ::v8::HandleScope handles(isolate_);
    ::v8::Local<::v8::Value> held = ::v8::Undefined(isolate_);
    if (hooks_ == Hooks::kIsolate) {
      if (!held_.IsEmpty()) held = held_.Get(isolate_);
    } else if (::v8::Local<::v8::Value> taken; call(functions_[kTakeFunction], 0, nullptr).ToLocal(&taken)) {
      held = taken;
    }
    look_at_held(held);
  }

  /// The microtasks have run, outside of all callbacks: for a host that says so itself (PromiseOptions::hears_checkpoints). flush(), and
  /// callbacks that no hook told the end of are over.
  void checkpoint_done() noexcept {
    events_.leave_those_below(THENCE_V8_FRAME());
    flush();
  }

  /// The resource of a promise; the empty one where it has none. For what goes on outside of V8 with it (a bridge).
  [[nodiscard]] Resource resource_of(::v8::Local<::v8::Promise> promise) noexcept {
    if (isolate_ == nullptr || own_context_.IsEmpty()) return {};
    ::v8::HandleScope handles(isolate_);
    if (hooks_ == Hooks::kIsolate) return read_stamp(promise).resource;
    ::v8::Local<::v8::Value> arguments[] = {promise};
    ::v8::Local<::v8::Value> id;
    if (!call(functions_[kIdentifyFunction], 1, arguments).ToLocal(&id) || !id->IsInt32()) return {};
    const std::int32_t low = id.As<::v8::Int32>()->Value();
    return low < 0 ? Resource{} : PackedResource{low, shared(kSharedRoot), shared(kSharedHigh)}.resource();
  }

  /// A promise of the host's own and its resource, without resource_of()'s call into V8. Empty where V8 makes none any more.
  [[nodiscard]] ::v8::MaybeLocal<::v8::Promise::Resolver> make_resolver(::v8::Local<::v8::Context> context, Resource& resource) noexcept {
    const std::uint64_t created = counts().created;
    ::v8::Local<::v8::Promise::Resolver> resolver;
    if (!::v8::Promise::Resolver::New(context).ToLocal(&resolver)) return {};
    resource = counts().created == created + 1 ? events_.created_just_now() : resource_of(resolver->GetPromise());
    return resolver;
  }

  /// As resolver->Resolve(), of a promise of the host's own, which is `promise` in the trace: its outcome is looked at when V8 has returned,
  /// where that of another waits for V8's next hook call, as does this one where V8 runs microtasks before it returns (kAuto).
  ///   Lifetime  the promise tracer outlives the call; resolver->Resolve() may be called in its place at any time
  ::v8::Maybe<bool> resolve(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Promise::Resolver> resolver, Resource promise,
                            ::v8::Local<::v8::Value> value) noexcept {
    Resolving resolving{promise, {}, resolving_};
    if (promise && (isolate_->GetMicrotasksPolicy() != ::v8::MicrotasksPolicy::kAuto || ::v8::MicrotasksScope::IsRunningMicrotasks(isolate_)))
      resolving_ = &resolving;
    const auto done = resolver->Resolve(context, value);
    resolving_ = resolving.outer;
    if (resolving.held.is_held) events_.settled(resolving.held, resolver->GetPromise()->State());
    return done;
  }

  /// Whether the innermost callback is that of a promise: what is created now has it as its trigger.
  [[nodiscard]] bool runs_followed() const noexcept { return events_.runs_promise(); }

  /// For a host's own PromiseRejectCallback (V8 has one place for it, and it is the host's): notes on the promise that nobody
  /// handled its rejection, or that somebody did later. Settles are recorded without it.
  void note_rejection(const ::v8::PromiseRejectMessage& message) noexcept {
    if (isolate_ == nullptr || !events_.is_active()) return;
    switch (message.GetEvent()) {
      case ::v8::kPromiseRejectWithNoHandler:
      case ::v8::kPromiseHandlerAddedAfterReject: {
        const ::v8::HandleScope handles(isolate_);
        const auto promise = message.GetPromise();
        const Resource resource = resource_of(promise);
        if (resource && open_.held.is_held && open_.held.promise == resource) events_.settled(open_.held, promise->State());
        events_.tracer()->annotate(resource, "unhandled_rejection",
                                   message.GetEvent() == ::v8::kPromiseRejectWithNoHandler);
        break;
      }
      case ::v8::kPromiseRejectAfterResolved:
      case ::v8::kPromiseResolveAfterResolved: break;  // without effect on the promise
    }
  }

  /// Unfollows all, and leaves V8 as it was.
  void stop() noexcept {
    if (isolate_ == nullptr) return;
    flush();
    {
      ::v8::HandleScope handles(isolate_);
      while (!followed_.empty()) {
        const auto context = followed_.back().Get(isolate_);
        followed_.pop_back();
        unhook(context);
      }
    }
    release_slot();
    hear_microtasks(false);
    stacks_.stop();
    pauses_.reset();
    each_handle([](auto& handle) { handle.Reset(); });
    isolate_ = nullptr;
    events_.rebind(nullptr);
  }

  /// The isolate is gone already, or no script will run in it: nothing of V8's is touched any more, by this object or by its destructor.
  void forget() noexcept {
    if (isolate_ == nullptr) return;
    watches_calls_ = false;
    release_slot();
    for (auto& context : followed_) std::construct_at(&context);  // emptied without V8
    followed_.clear();
    stacks_.forget();
    if (pauses_) pauses_->forget();
    each_handle([](auto& handle) { std::construct_at(&handle); });
    isolate_ = nullptr;
    events_.rebind(nullptr);
  }

  [[nodiscard]] Hooks hooks() const noexcept { return hooks_; }
  [[nodiscard]] const PromiseCounts& counts() const noexcept { return events_.counts(); }
  [[nodiscard]] const ScriptStacks& stacks() const noexcept { return stacks_; }
  /// Whether V8 calls the after hook now. By context hooks it does not where nothing but awaits was seen for a while.
  [[nodiscard]] bool hooks_after() const noexcept { return hooks_ == Hooks::kIsolate || hooks_after_; }
  /// Hook calls that came by V8's fast API calls, and those that did not. Only the context way has the first.
  [[nodiscard]] std::uint64_t fast_calls() const noexcept { return fast_calls_; }
  [[nodiscard]] std::uint64_t slow_calls() const noexcept { return slow_calls_; }

  /// Isolates of a process that can be followed at a time by the isolate hook; beyond it the context way follows on, and its hooks
  /// stay while tracing is stopped.
  static constexpr std::size_t kMaxIsolates = 256;

 private:
  /// How often the hooks renew what they keep in V8's young generation.
  static constexpr std::uint32_t kHoldsUntilRenewal = 4096;
  /// Callbacks in a row whose end the resolve hook told, after which the after hook goes.
  static constexpr std::ptrdiff_t kQuietEnds = 256, kQuietEndsPerContext = 64;

  using Value = ::v8::Local<::v8::Value>;
  using Info = ::v8::FunctionCallbackInfo<::v8::Value>;
  using Native = ::v8::Local<::v8::Object>;

  // ---- the context way: what the hooks of hook_script.hpp call

  /// What the hooks and the tracer share. It lives as long as the hooks do; they hand its address to every call, as a number
  /// (of the same bits), which costs nothing to find it by.
  struct Block {
    std::array<std::int32_t, kSharedWords> words{};
    BasicPromiseTracer* owner = nullptr;  // null once that has gone: a hook that is running then finds nobody
    BasicPromiseTracer* quick = nullptr;  // the owner, where the hooks' short ways are open: see choose_way()
  };
  /// The bits of 2^52 over those of the address: no number of V8's is then subnormal, which some hosts have their processor
  /// take for zero.
  static constexpr std::uint64_t kNumberBits = 0x4330'0000'0000'0000;
  [[nodiscard]] static double number_of(Block* block) noexcept {
    return std::bit_cast<double>(std::uint64_t{reinterpret_cast<std::uintptr_t>(block)} ^ kNumberBits);
  }
  [[gnu::always_inline, nodiscard]] static inline Block& block_of(double number) noexcept {
    return *reinterpret_cast<Block*>(static_cast<std::uintptr_t>(std::bit_cast<std::uint64_t>(number) ^ kNumberBits));
  }
  /// The owner that a fast call is for, or a call by the slow way, whose other arguments follow.
  [[nodiscard]] static BasicPromiseTracer* owner_of(double block) noexcept {
    BasicPromiseTracer* const self = block_of(block).owner;
    if (self != nullptr) ++self->fast_calls_;
    return self;
  }
  [[nodiscard]] static BasicPromiseTracer* owner_of(const Info& info) noexcept {
    BasicPromiseTracer* const self = block_of(info[0].template As<::v8::Number>()->Value()).owner;
    if (self != nullptr) ++self->slow_calls_;
    return self;
  }
  [[nodiscard]] bool can_be_quick() const noexcept { return events_.tracer() != nullptr && !open_.undecided.promise; }
  /// The short ways are for when it can, and no number has high bits. To be called wherever that may end; where they are opened late, the
  /// long ones were taken meanwhile.
  void choose_way() noexcept {
    if (block_ != nullptr) block_->quick = can_be_quick() && !is_wide_ ? this : nullptr;
  }
  [[nodiscard]] static std::int32_t integer(const Info& info, int index) noexcept {
    return info[index].template As<::v8::Int32>()->Value();
  }
  [[gnu::always_inline, nodiscard]] inline std::int32_t shared(SharedWord word) const noexcept {
    return block_->words[word];
  }

  void look_at_held(Value held) noexcept {
    if (!open_.held.is_held) return;
    if (held->IsUndefined()) [[unlikely]] {
      events_.settled_somehow(open_.held);
    } else {
      events_.settled(open_.held, held.As<::v8::Promise>()->State());
    }
  }

  static std::int32_t close_fast(Native, double block, Value held) {
    BasicPromiseTracer* const self = block_of(block).owner;
    return self == nullptr ? 0 : self->close(held);
  }
  static void close_slowly(const Info& info) {
    if (BasicPromiseTracer* const self = owner_of(info)) info.GetReturnValue().Set(self->close(info[1]));
  }
  [[gnu::noinline]] std::int32_t close(Value held) noexcept {
    look_at_held(held);
    if (--holds_until_renewal_ != 0) return 0;
    holds_until_renewal_ = kHoldsUntilRenewal;
    return 1;
  }

  /// `hook`: the init hook's frame.
  [[nodiscard]] std::int32_t stamp(ResourceId parent, bool parent_is_derived, std::uintptr_t hook,
                                                              StackId stack) noexcept {
    ParentIs is = ParentIs::kUnknown;
    if (parent != ResourceId::kNone) {
      is = places_.parent(hook);
      if (is == ParentIs::kOwner) {
        parent = ResourceId::kNone;
        block_->words[kSharedParentHigh] = 0;
      }
    }
    const bool waits = is == ParentIs::kAwaited || is == ParentIs::kHandled;
    const Resource promise = events_.created(open_, parent, parent_is_derived, waits, stack);
    choose_way();
    return keep(promise, parent, is);
  }
  /// The stamp is for the hook to take.
  [[gnu::noinline, nodiscard]] std::int32_t keep(Resource resource, ResourceId parent, ParentIs is) noexcept {
    if (!resource && resource.root == RootId::kNone) return events_.is_active() || !can_pause() ? kDoNotStamp : kAskSlowly;
    const PackedResource packed = PackedResource::of(resource);
    block_->words[kSharedId] = packed.id;
    block_->words[kSharedRoot] = packed.root;
    block_->words[kSharedParent] = PackedParent::of(parent, is);
    std::int32_t answer = kStamp;
    if (packed.high != 0 || is_wide_) {
      block_->words[kSharedHigh] = packed.high;
      is_wide_ = true;
      choose_way();
      answer |= kStampWide;
    }
    if (parent != ResourceId::kNone && is == ParentIs::kUnknown) answer |= kKeepParent;
    return answer;
  }

  // Each of the hooks' fast calls has a short way that calls nothing, for what mostly is so, and another for all else.

  /// `kTakesStacks`: what called the hook is the stack.
  template <bool kTakesStacks>
  static std::int32_t init_fast(Native, double block, std::int32_t parent, std::int32_t grandparent) {
    const Ticks now = TracerType::quick_now();
    const std::uintptr_t hook = detail::load_word(THENCE_V8_FRAME());  // not in the lambda, which may have a frame of its own
    const auto rarely = [&] { return init_rarely<kTakesStacks>(block, parent, grandparent, hook); };
    BasicPromiseTracer* const self = block_of(block).quick;
    if (self == nullptr) [[unlikely]] return rarely();
    std::int32_t kept = parent;  // PackedParent::of() an awaited one, or of none
    if (parent != 0 && !self->places_.awaits(hook)) {
      if (!self->places_.handles(hook)) return rarely();
      kept |= PackedParent::kByThen;
    }
    StackId stack = StackId::kNone;
    if constexpr (kTakesStacks) {
      if (!self->stacks_.quick_look_up(hook, stack)) [[unlikely]] return rarely();
    }
    const auto waited_for = static_cast<ResourceId>(parent);
    const Resource promise = self->events_.quick_created(waited_for, stack, now);
    if (!promise) [[unlikely]] return rarely();
    ++self->fast_calls_;
    if constexpr (kTakesStacks) self->stacks_.count_hit();
    if (PackedResource::has_high(promise)) [[unlikely]]
      return self->keep(promise, waited_for, kept == parent ? ParentIs::kAwaited : ParentIs::kHandled);
    const PackedResource packed = PackedResource::again(promise);
    auto& words = block_of(block).words;
    words[kSharedId] = packed.id;
    words[kSharedRoot] = packed.root;
    words[kSharedParent] = kept;
    return kStamp;
  }
  template <bool kTakesStacks>
  [[gnu::noinline]] static std::int32_t init_rarely(double block, std::int32_t parent, std::int32_t grandparent,
                                                    std::uintptr_t hook) noexcept {
    BasicPromiseTracer* const self = owner_of(block);
    return self == nullptr ? kDoNotStamp : self->template init<kTakesStacks>(parent, grandparent, hook);
  }
  template <bool kTakesStacks>
  std::int32_t init(std::int32_t parent, std::int32_t grandparent, std::uintptr_t hook) noexcept {
    if (events_.tracer() == nullptr) [[unlikely]]
      return can_pause() ? kAskSlowly : kDoNotStamp;
    const ResourceId waited_for = handed_parent(parent);
    if (events_.must_decide_chain(open_, waited_for)) [[unlikely]]
      return kAskSlowly;
    StackId stack = StackId::kNone;
    if constexpr (kTakesStacks) {
      stack = stacks_.look_up(hook);
      if (stack == ScriptStacks::kUnseen) [[unlikely]]
        return kAskSlowly;
    }
    return stamp(waited_for, grandparent != 0, hook, stack);
  }
  /// The same from code that makes no fast calls. Only what needs the last parent's state is left to init_slowly().
  static void init_normally(const Info& info) {
    BasicPromiseTracer* const self = owner_of(info);
    std::int32_t answer = kDoNotStamp;
    if (self != nullptr) {
      const ResourceId parent = self->handed_parent(integer(info, 1));
      answer = self->events_.must_decide_chain(self->open_, parent) ? kAskSlowly
                                                                    : self->init_in_slow_call(parent, integer(info, 2) != 0);
    }
    info.GetReturnValue().Set(answer);
  }
  static void init_slowly(const Info& info) {
    BasicPromiseTracer* const self = owner_of(info);
    if (self == nullptr) return info.GetReturnValue().Set(static_cast<std::int32_t>(kDoNotStamp));
    const ResourceId parent = self->handed_parent(integer(info, 1));
    bool parent_is_derived = integer(info, 2) != 0;
    self->block_->words[kSharedForgetParent] = 0;
    if (self->events_.must_decide_chain(self->open_, parent) &&
        !self->events_.decide_chain(self->open_, state_of(info[3]))) {
      self->block_->words[kSharedForgetParent] = 1;
      parent_is_derived = false;
    }
    info.GetReturnValue().Set(self->init_in_slow_call(parent, parent_is_derived));
  }
  [[nodiscard]] std::int32_t init_in_slow_call(ResourceId parent, bool parent_is_derived) noexcept {
    if (!events_.is_active()) {
      pause();
      return kDoNotStamp;
    }
    const StackId stack = stacks_.capture(*events_.tracer(), script_id_);
    const std::int32_t answer = stamp(parent, parent_is_derived, calling_hook(), stack);
    if (answer != kAskSlowly) [[likely]]
      return answer;
    pause();  // another thread has stopped tracing meanwhile: what is in the shared words is another promise's
    return kDoNotStamp;
  }
  [[nodiscard]] static ParentState state_of(Value promise) noexcept {
    if (!promise->IsPromise()) return {};
    const auto it = promise.As<::v8::Promise>();
    return {it->State() == ::v8::Promise::kPending, it->HasHandler()};
  }

  static std::int32_t before_fast(Native, double block, std::int32_t id, std::int32_t root, std::int32_t parent) {
    const Ticks now = TracerType::quick_now();
    const std::uintptr_t frame = THENCE_V8_FRAME();
    BasicPromiseTracer* const self = block_of(block).quick;
    const Resource promise = PackedResource::resource_below_high(id, root);
    const auto rarely = [&] { return before_rarely(block, promise, parent, frame); };
    if (self == nullptr) [[unlikely]] return rarely();
    if (parent <= 0) return rarely();  // as that of a promise without a stamp is, whose id is none
    const auto waited_for = static_cast<ResourceId>(PackedParent::low_of(parent));
    if (!self->events_.quick_entered(promise, waited_for, frame, now)) [[unlikely]] return rarely();
    ++self->fast_calls_;
    return PackedParent::is_of_throwaway(parent) ? 0 : self->need_after();
  }
  [[gnu::noinline]] static std::int32_t before_rarely(double block, Resource low, std::int32_t parent, std::uintptr_t frame) noexcept {
    BasicPromiseTracer* const self = owner_of(block);
    const auto packed = PackedResource::again(low);
    return self == nullptr ? 0 : self->before(packed.id, packed.root, parent, frame);
  }
  static void before_slowly(const Info& info) {
    if (BasicPromiseTracer* const self = owner_of(info))
      info.GetReturnValue().Set(self->before(integer(info, 1), integer(info, 2), integer(info, 3), THENCE_V8_FRAME()));
  }
  [[nodiscard]] std::int32_t before(std::int32_t id, std::int32_t root, std::int32_t parent, std::uintptr_t frame) noexcept {
    const bool has_begun = parent == PackedParent::kBegun;
    const ResourceId waited_for = has_begun || id < 0 ? ResourceId::kNone : handed_parent(PackedParent::low_of(parent));
    const bool is_entered = events_.entered(open_, handed(id, root), id >= 0, waited_for, PackedParent::is_awaited(parent), frame);
    choose_way();
    return is_entered && PackedParent::is_of_throwaway(parent) ? 0 : need_after();
  }

  /// The resolve hook tells the end of a throwaway's callback, and most callbacks are such: V8 calls the after hook only from the first
  /// one on whose end may not be told so, until so many in a row were that telling V8 again is cheap beside them, and nothing else
  /// is entered.
  [[nodiscard]] std::int32_t need_after() noexcept {
    quiet_ends_wanted_ = enough_quiet_ends();
    return hooks_after_ ? 0 : kHookAnew;
  }
  [[nodiscard]] std::int32_t ended_quietly() noexcept {
    if (!hooks_after_) [[likely]] return 0;
    return --quiet_ends_wanted_ <= 0 && events_.nothing_runs() ? kHookAnew : kLeft;
  }
  /// V8 is told for each context by itself.
  [[nodiscard]] std::ptrdiff_t enough_quiet_ends() const noexcept {
    return std::max(kQuietEnds, kQuietEndsPerContext * static_cast<std::ptrdiff_t>(followed_.size()));
  }
  static void hook_anew_slowly(const Info& info) {
    BasicPromiseTracer* const self = owner_of(info);
    if (self == nullptr || self->is_paused_) return;
    self->hooks_after_ = self->quiet_ends_wanted_ > 0;
    self->hook_all();
  }

  static void after_fast(Native, double block, std::int32_t id, std::int32_t root) {
    if (BasicPromiseTracer* const self = owner_of(block)) self->after(id, root);
  }
  static void after_slowly(const Info& info) {
    if (BasicPromiseTracer* const self = owner_of(info)) self->after(integer(info, 1), integer(info, 2));
  }
  [[gnu::noinline]] void after(std::int32_t id, std::int32_t root) noexcept {
    quiet_ends_wanted_ = enough_quiet_ends();
    events_.exited(open_, handed(id, root));
  }

  /// `kVerifies`: what the place tells is compared with what the promise has become by the next call.
  template <bool kVerifies>
  static std::int32_t resolve_fast(Native, double block, std::int32_t id, std::int32_t root) {
    const Ticks now = TracerType::quick_now();
    const std::uintptr_t frame = THENCE_V8_FRAME();
    const Resource promise = PackedResource::resource_below_high(id, root);
    const auto rarely = [&] { return resolve_rarely<kVerifies>(block, promise, detail::load_word(frame)); };
    BasicPromiseTracer* const self = block_of(block).quick;
    if (self == nullptr) [[unlikely]] return rarely();
    if (!self->places_.fulfils(detail::load_word(frame))) return rarely();
    bool ends;
    if (!self->events_.quick_fulfilled(promise, ends, now)) [[unlikely]] return rarely();
    ++self->fast_calls_;
    return self->template fulfilled<kVerifies>(promise, ends);
  }
  template <bool kVerifies>
  [[gnu::noinline]] static std::int32_t resolve_rarely(double block, Resource low, std::uintptr_t hook) noexcept {
    BasicPromiseTracer* const self = owner_of(block);
    const auto packed = PackedResource::again(low);
    return self == nullptr ? 0 : self->template resolve<kVerifies>(packed.id, packed.root, hook);
  }
  template <bool kVerifies>
  static void resolve_slowly(const Info& info) {
    if (BasicPromiseTracer* const self = owner_of(info)) {
      info.GetReturnValue().Set(self->template resolve<kVerifies>(integer(info, 1), integer(info, 2), self->calling_hook()));
    }
  }
  template <bool kVerifies>
  [[nodiscard]] std::int32_t resolve(std::int32_t id, std::int32_t root, std::uintptr_t hook) noexcept {
    const Resource promise = handed(id, root);
    const bool fulfils = hook != 0 && places_.fulfils(hook);
    bool ends;
    if (!fulfils || !can_be_quick() || !events_.quick_fulfilled(promise, ends, TracerType::quick_now()))
      return resolved(promise, fulfils);
    return fulfilled<kVerifies>(promise, ends);
  }
  template <bool kVerifies>
  [[gnu::always_inline, nodiscard]] inline std::int32_t fulfilled(Resource promise, bool ends) noexcept {
    if constexpr (kVerifies) {
      open_.held.promise = promise;
      open_.held.is_known = open_.held.is_held = true;
    }
    return (ends ? ended_quietly() : 0) | (kVerifies ? kHold : 0);
  }
  [[nodiscard]] std::int32_t resolved(Resource promise, bool fulfils) noexcept {
    const bool never_waited = events_.resolved(open_, promise, fulfils);
    choose_way();
    const std::int32_t answer = (never_waited ? kNeverWaited : 0) | (events_.runs(promise) ? need_after() : 0);
    return fulfils || is_looked_at_by_resolve(promise) ? answer : answer | kHold;
  }
  /// Whether it is resolve() that looks at the promise which was just held.
  [[nodiscard]] bool is_looked_at_by_resolve(Resource promise) noexcept {
    if (resolving_ == nullptr || !(resolving_->promise == promise)) return false;
    resolving_->held = std::exchange(open_.held, {});
    return true;
  }

  /// The frame of the hook that a slow call comes from.
  [[nodiscard]] std::uintptr_t calling_hook() const noexcept {
    const FrameWalker& walker = stacks_.walker();
    return walker.problem() == nullptr ? walker.caller_of(walker.innermost_exit()) : 0;
  }

  [[nodiscard]] Resource handed(std::int32_t id, std::int32_t root) const noexcept {
    return id < 0 ? Resource{} : PackedResource{id, root, shared(kSharedOwnHigh)}.resource();
  }
  /// Its parent, likewise; `low` are the low bits of its id.
  [[gnu::always_inline, nodiscard]] inline ResourceId handed_parent(std::int32_t low) const noexcept {
    if (is_wide_) [[unlikely]] return PackedResource::id_of(low, shared(kSharedParentHigh));
    return PackedResource::id_of(low, 0);
  }

  [[nodiscard]] ::v8::Local<::v8::String> text(std::string_view characters) const {
    return ::v8::String::NewFromUtf8(isolate_, characters.data(), ::v8::NewStringType::kInternalized,
                                     static_cast<int>(characters.size()))
        .ToLocalChecked();
  }

  /// The hooks live in a context of their own. One set of hooks serves all contexts of the isolate, so that a promise which
  /// goes from one to another is known in both.
  [[nodiscard]] bool prepare() {
    if (!own_context_.IsEmpty()) return true;
    const auto context = ::v8::Context::New(isolate_);
    if (context.IsEmpty()) return false;
    ::v8::Context::Scope entered(context);
    NoMicrotasks no_microtasks(isolate_, context);
    ::v8::TryCatch caught(isolate_);
    if (hooks_ == Hooks::kContext ? !make_hooks(context) : !make_stamps()) return false;
    own_context_.Reset(isolate_, context);
    return true;
  }

  [[nodiscard]] bool make_hooks(::v8::Local<::v8::Context> context) {
    const auto native = ::v8::Object::New(isolate_);
    const auto add = [&](std::string_view name, ::v8::FunctionCallback slow, const FastFunction* fast) {
      const auto made =
          fast != nullptr ? function_template(isolate_, slow, *fast) : ::v8::FunctionTemplate::New(isolate_, slow);
      ::v8::Local<::v8::Function> function;
      return made->GetFunction(context).ToLocal(&function) &&
             native->CreateDataProperty(context, text(name), function).FromMaybe(false);
    };
    static const FastFunction fast_close = fast_function(&close_fast);
    static const FastFunction fast_init[] = {fast_function(&init_fast<false>), fast_function(&init_fast<true>)};
    static const FastFunction fast_before = fast_function(&before_fast);
    static const FastFunction fast_after = fast_function(&after_fast);
    static const FastFunction fast_resolve[] = {fast_function(&resolve_fast<false>), fast_function(&resolve_fast<true>)};
    const bool takes_stacks = stacks_.mode() != StackMode::kNone;
    const bool verifies = stacks_.verifies();
    if (!add("close", &close_slowly, &fast_close) || !add("init", &init_normally, &fast_init[takes_stacks ? 1 : 0]) ||
        !add("initSlowly", &init_slowly, nullptr) || !add("before", &before_slowly, &fast_before) ||
        !add("after", &after_slowly, &fast_after) || !add("hookAnew", &hook_anew_slowly, nullptr) ||
        !add("resolve", verifies ? &resolve_slowly<true> : &resolve_slowly<false>, &fast_resolve[verifies ? 1 : 0])) {
      return false;
    }
    const auto memory = ::v8::ArrayBuffer::New(isolate_, sizeof(Block));
    shared_memory_ = memory->GetBackingStore();
    block_ = new (shared_memory_->Data()) Block{.owner = this};
    auto origin = script_origin(isolate_, text(kHookScriptName));
    ::v8::ScriptCompiler::Source source(text(kHookScript), origin);
    ::v8::Local<::v8::Script> script;
    Value factory;
    Value made;
    Value arguments[] = {native, ::v8::Number::New(isolate_, number_of(block_)), ::v8::Int32Array::New(memory, 0, kSharedWords)};
    if (!::v8::ScriptCompiler::Compile(context, &source).ToLocal(&script) || !script->Run(context).ToLocal(&factory) ||
        !factory.As<::v8::Function>()->Call(context, ::v8::Undefined(isolate_), 3, arguments).ToLocal(&made)) {
      return false;
    }
    const auto list = made.As<::v8::Object>();
    for (unsigned i = 0; i < functions_.size(); ++i) {
      Value function;
      if (!list->Get(context, i).ToLocal(&function) || !function->IsFunction()) return false;
      functions_[i].Reset(isolate_, function.As<::v8::Function>());
    }
    script_id_ = script->GetUnboundScript()->GetId();
    return true;
  }

  // ---- hooks come and go

  void hook(::v8::Local<::v8::Context> context) noexcept {
    if (hooks_ == Hooks::kIsolate) return isolate_->SetPromiseHook(&isolate_hook);
    const auto after = hooks_after_ ? functions_[kAfterHook].Get(isolate_) : ::v8::Local<::v8::Function>();
    context->SetPromiseHooks(functions_[kInitHook].Get(isolate_), functions_[kBeforeHook].Get(isolate_), after,
                             functions_[kResolveHook].Get(isolate_));
  }
  void hook_all() noexcept {
    for (auto& one : followed_)
      if (const auto followed = one.Get(isolate_); !followed.IsEmpty()) hook(followed);
  }
  void clear_hook(::v8::Local<::v8::Context> context) noexcept {
    if (hooks_ == Hooks::kIsolate) return isolate_->SetPromiseHook(nullptr);
    if (!context.IsEmpty()) context->SetPromiseHooks({}, {}, {}, {});
  }
  void unhook(::v8::Local<::v8::Context> context) noexcept {
    if (is_paused_) return;
    clear_hook(context);
    hook_all();  // V8 keeps one flag for all contexts of an isolate, and has just cleared it
  }

  /// Hooks that find nothing to do still double the time of an await: while tracing is stopped there are none. The first
  /// promise that is made then takes them out, and what calls JavaScript next after tracing began again puts them back.
  void pause() noexcept {
    if (is_paused_ || !can_pause()) return;
    is_paused_ = true;
    if (!watches_calls_) isolate_->AddBeforeCallEnteredCallback(&before_call);
    watches_calls_ = true;
    for (auto& one : followed_) clear_hook(one.Get(isolate_));
    open_ = {};
    events_.rebind(events_.tracer());  // no hook will tell what is left
  }
  void resume() noexcept {
    if (!is_paused_ || !events_.is_active()) [[likely]]
      return;
    is_paused_ = false;
    quiet_ends_wanted_ = enough_quiet_ends();
    hooks_after_ = true;  // what runs now began unseen
    const ::v8::HandleScope handles(isolate_);
    learn_places();
    hook_all();
  }
  /// Outside of the hooks: it runs JavaScript.
  void learn_places() noexcept {
    if (hooks_ == Hooks::kContext && !places_.is_calibrated()) places_.calibrate(isolate_, own_context_.Get(isolate_), stacks_.walker());
  }
  [[nodiscard]] bool can_pause() const noexcept { return slot_ != nullptr; }
  static void before_call(::v8::Isolate* isolate) {
    if (BasicPromiseTracer* const self = slot_owner(isolate)) self->resume();
  }

  /// V8 hands neither data nor the isolate to some of its callbacks: they find their owner here. Slots are never compacted.
  struct Slot {
    std::atomic<::v8::Isolate*> isolate{nullptr};
    std::atomic<BasicPromiseTracer*> owner{nullptr};
  };
  static inline std::array<Slot, kMaxIsolates> slots_;

  [[nodiscard]] bool take_slot() noexcept {
    if (slot_ != nullptr) return true;
    for (Slot& slot : slots_) {
      ::v8::Isolate* free = nullptr;
      if (!slot.isolate.compare_exchange_strong(free, isolate_, std::memory_order_acq_rel)) continue;
      slot.owner.store(this, std::memory_order_release);  // pairs with the acquire in slot_owner(), on a later thread
      slot_ = &slot;
      return true;
    }
    return false;
  }
  void release_slot() noexcept {
    if (watches_calls_) isolate_->RemoveBeforeCallEnteredCallback(&before_call);
    watches_calls_ = false;
    if (slot_ == nullptr) return;
    slot_->owner.store(nullptr, std::memory_order_relaxed);
    slot_->isolate.store(nullptr, std::memory_order_release);
    slot_ = nullptr;
  }
  [[nodiscard]] static BasicPromiseTracer* slot_owner(::v8::Isolate* isolate) noexcept {
    for (Slot& slot : slots_)
      if (slot.isolate.load(std::memory_order_relaxed) == isolate) return slot.owner.load(std::memory_order_acquire);
    return nullptr;
  }

  ::v8::MaybeLocal<::v8::Value> call(::v8::Global<::v8::Function>& function, int count, Value* arguments) noexcept {
    if (function.IsEmpty()) return {};
    const auto context = own_context_.Get(isolate_);
    ::v8::Context::Scope entered(context);
    NoMicrotasks no_microtasks(isolate_, context);
    ::v8::TryCatch caught(isolate_);
    return function.Get(isolate_)->Call(context, ::v8::Undefined(isolate_), count, arguments);
  }

  // ---- the isolate way

  /// What a promise bears: an object with three numbers in internal fields, under a private symbol.
  enum StampField : int { kStampId = kFirstField, kStampRoot, kStampParent, kStampFields };
  struct Stamp {
    Resource resource;
    ResourceId parent = ResourceId::kNone;
    bool has_begun = false;  ///< its first callback has
    ::v8::Local<::v8::Object> object;
  };

  [[nodiscard]] bool make_stamps() {
    const auto shape = ::v8::ObjectTemplate::New(isolate_);
    shape->SetInternalFieldCount(kStampFields);
    stamps_.Reset(isolate_, shape);
    key_.Reset(isolate_, ::v8::Private::New(isolate_));
    return true;
  }
  [[nodiscard]] ::v8::Local<::v8::Number> number_value(std::uint64_t value) const {
    return ::v8::Number::New(isolate_, static_cast<double>(value));  // exact: ids have 48 bits
  }
  [[nodiscard]] static double field(::v8::Local<::v8::Object> stamp, StampField index) {
    return stamp->GetInternalField(index).template As<::v8::Value>().template As<::v8::Number>()->Value();
  }
  [[nodiscard]] Stamp read_stamp(::v8::Local<::v8::Promise> promise) const noexcept {
    Stamp stamp;
    Value kept;
    if (!promise->GetPrivate(isolate_->GetCurrentContext(), key_.Get(isolate_)).ToLocal(&kept) || !kept->IsObject())
      return stamp;
    stamp.object = kept.As<::v8::Object>();
    const auto root = static_cast<std::uint64_t>(field(stamp.object, kStampRoot));
    stamp.resource = {static_cast<ResourceId>(static_cast<std::uint64_t>(field(stamp.object, kStampId))),
                      root == 0 ? RootId::kUntraced : static_cast<RootId>(root - 1)};
    const double parent = field(stamp.object, kStampParent);
    stamp.has_begun = parent < 0;
    if (!stamp.has_begun) stamp.parent = static_cast<ResourceId>(static_cast<std::uint64_t>(parent));
    return stamp;
  }
  void write_stamp(::v8::Local<::v8::Promise> promise, Resource resource, ResourceId parent) noexcept {
    const auto context = isolate_->GetCurrentContext();
    ::v8::Local<::v8::Object> stamp;
    if (!stamps_.Get(isolate_)->NewInstance(context).ToLocal(&stamp)) return;
    stamp->SetInternalField(kStampId, number_value(number(resource.id)));
    stamp->SetInternalField(kStampRoot,
                            number_value(resource.root == RootId::kUntraced ? 0 : number(resource.root) + 1));
    stamp->SetInternalField(kStampParent, number_value(number(parent)));
    (void)promise->SetPrivate(context, key_.Get(isolate_), stamp).IsNothing();
  }

  static void isolate_hook(::v8::PromiseHookType type, ::v8::Local<::v8::Promise> promise, Value parent) {
    ::v8::Isolate* const isolate = ::v8::Isolate::GetCurrent();
    BasicPromiseTracer* const self = slot_owner(isolate);
    if (self == nullptr) return;
    ::v8::HandleScope handles(isolate);
    if (!self->is_followed(isolate->GetCurrentContext())) return;
    ++self->slow_calls_;
    Value held = ::v8::Undefined(isolate);
    if (!self->held_.IsEmpty()) {
      held = self->held_.Get(isolate);
      self->held_.Reset();
    }
    switch (type) {
      case ::v8::PromiseHookType::kInit:
        self->look_at_held(held);
        self->isolate_init(promise, parent);
        break;
      case ::v8::PromiseHookType::kBefore: {
        self->look_at_held(held);
        const Stamp stamp = self->read_stamp(promise);
        const bool is_known = !stamp.object.IsEmpty();
        self->events_.entered(self->open_, stamp.resource, is_known, stamp.parent, false, THENCE_V8_FRAME());
        if (is_known && !stamp.has_begun) stamp.object->SetInternalField(kStampParent, ::v8::Integer::New(isolate, -1));
        break;
      }
      case ::v8::PromiseHookType::kAfter:
        self->look_at_held(held);
        self->events_.exited(self->open_, self->read_stamp(promise).resource);
        break;
      case ::v8::PromiseHookType::kResolve: {
        const Stamp stamp = self->read_stamp(promise);
        self->look_at_held(held);
        if (stamp.object.IsEmpty()) break;
        if (self->events_.resolved(self->open_, stamp.resource, false)) {
          stamp.object->SetInternalField(kStampParent, ::v8::Integer::New(isolate, 0));
        }
        if (!self->is_looked_at_by_resolve(stamp.resource)) self->held_.Reset(isolate, promise);
        break;
      }
    }
  }

  void isolate_init(::v8::Local<::v8::Promise> promise, Value parent) noexcept {
    Stamp parents;
    if (parent->IsPromise()) parents = read_stamp(parent.As<::v8::Promise>());
    const ResourceId parent_id = parents.resource.id;
    bool parent_is_derived = parents.has_begun || parents.parent != ResourceId::kNone;
    if (events_.must_decide_chain(open_, parent_id) &&
        !events_.decide_chain(open_, last_parent_.IsEmpty() ? ParentState{} : state_of(last_parent_.Get(isolate_)))) {
      parents.object->SetInternalField(kStampParent, ::v8::Integer::New(isolate_, 0));
      parent_is_derived = false;
    }
    if (!events_.is_active()) return pause();
    const StackId stack = stacks_.capture(*events_.tracer(), 0);
    const Resource resource = events_.created(open_, parent_id, parent_is_derived, false, stack);
    if (!resource && resource.root == RootId::kNone) return;
    write_stamp(promise, resource, parent_id);
    if (parent->IsPromise()) last_parent_.Reset(isolate_, parent);
  }

  // ---- both

  [[nodiscard]] bool is_followed(::v8::Local<::v8::Context> context) const noexcept {
    for (const auto& followed : followed_)
      if (followed == context) return true;
    return false;
  }

  void drop_collected() noexcept {
    std::erase_if(followed_, [](const auto& one) { return one.IsEmpty(); });
  }
  void hear_microtasks(bool hear) noexcept {
    if (!hears_checkpoints_ || hear == hears_microtasks_) return;
    hears_microtasks_ = hear;
    if (hear) {
      isolate_->AddMicrotasksCompletedCallback(&after_microtasks, this);
    } else {
      isolate_->RemoveMicrotasksCompletedCallback(&after_microtasks, this);
    }
  }
  static void after_microtasks(::v8::Isolate*, void* data) {
    static_cast<BasicPromiseTracer*>(data)->checkpoint_done();
  }

  template <class Do>
  void each_handle(Do&& act) noexcept {
    act(own_context_);
    for (auto& function : functions_) act(function);
    act(key_);
    act(stamps_);
    act(held_);
    act(last_parent_);
    if (block_ != nullptr) block_->owner = block_->quick = nullptr;  // the hooks may keep it longer
    shared_memory_.reset();
    block_ = nullptr;
  }

  // What the hooks' short ways use stands together.
  Block* block_ = nullptr;
  std::uint64_t fast_calls_ = 0;
  std::ptrdiff_t quiet_ends_wanted_ = kQuietEnds;  // callbacks in a row whose end the resolve hook tells, until the after hook goes
  bool hooks_after_ = true;
  bool is_wide_ = false;  // some numbers have had high bits
  HookPlaces places_;
  OpenEnds open_;
  PromiseEvents<TracerType> events_;
  ScriptStacks stacks_;
  ::v8::Isolate* isolate_;
  Hooks hooks_;
  bool hears_checkpoints_;
  std::optional<GcPauses<TracerType>> pauses_;
  std::vector<::v8::Global<::v8::Context>> followed_;  // weak
  ::v8::Global<::v8::Context> own_context_;
  Slot* slot_ = nullptr;
  bool is_paused_ = false;
  bool watches_calls_ = false;
  bool hears_microtasks_ = false;
  // the context way
  std::array<::v8::Global<::v8::Function>, kIdentifyFunction + 1> functions_;
  std::shared_ptr<::v8::BackingStore> shared_memory_;
  std::uint32_t holds_until_renewal_ = kHoldsUntilRenewal;
  int script_id_ = 0;
  struct Resolving {
    Resource promise;
    OpenEnds::Held held;
    Resolving* outer;
  };
  Resolving* resolving_ = nullptr;  // the innermost resolve() that runs
  // the isolate way
  ::v8::Global<::v8::Private> key_;
  ::v8::Global<::v8::ObjectTemplate> stamps_;
  ::v8::Global<::v8::Promise> held_;
  ::v8::Global<::v8::Value> last_parent_;
  std::uint64_t slow_calls_ = 0;
};

/// The promise tracer of a program that was built without tracing: the same calls, and nothing behind them.
class NullPromiseTracer {
 public:
  struct NoStacks {
    [[nodiscard]] constexpr StackMode mode() const noexcept { return StackMode::kNone; }
    [[nodiscard]] constexpr std::string_view why() const noexcept { return "built without tracing"; }
    [[nodiscard]] constexpr StackCounts counts() const noexcept { return {}; }
  };

  template <class TracerType>
  NullPromiseTracer(::v8::Isolate*, TracerType&, const PromiseOptions& = {}) noexcept {}
  NullPromiseTracer(const NullPromiseTracer&) = delete;
  NullPromiseTracer& operator=(const NullPromiseTracer&) = delete;

  bool follow(::v8::Local<::v8::Context>) noexcept { return true; }
  void unfollow(::v8::Local<::v8::Context>) noexcept {}
  constexpr void rebind(void*) noexcept {}
  constexpr void flush() noexcept {}
  constexpr void checkpoint_done() noexcept {}
  [[nodiscard]] Resource resource_of(::v8::Local<::v8::Promise>) noexcept { return {}; }
  [[nodiscard]] ::v8::MaybeLocal<::v8::Promise::Resolver> make_resolver(::v8::Local<::v8::Context> context, Resource&) noexcept {
    return ::v8::Promise::Resolver::New(context);
  }
  ::v8::Maybe<bool> resolve(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Promise::Resolver> resolver, Resource,
                            ::v8::Local<::v8::Value> value) noexcept {
    return resolver->Resolve(context, value);
  }
  [[nodiscard]] constexpr bool runs_followed() const noexcept { return false; }
  void note_rejection(const ::v8::PromiseRejectMessage&) noexcept {}
  constexpr void stop() noexcept {}
  constexpr void forget() noexcept {}
  [[nodiscard]] constexpr Hooks hooks() const noexcept { return Hooks::kContext; }
  [[nodiscard]] constexpr PromiseCounts counts() const noexcept { return {}; }
  [[nodiscard]] constexpr NoStacks stacks() const noexcept { return {}; }
  [[nodiscard]] constexpr bool hooks_after() const noexcept { return false; }
  [[nodiscard]] constexpr std::uint64_t fast_calls() const noexcept { return 0; }
  [[nodiscard]] constexpr std::uint64_t slow_calls() const noexcept { return 0; }
};
static_assert(std::is_empty_v<NullPromiseTracer>);

/// For a tracer of this type: the empty one where the tracer is.
template <class TracerType>
using PromiseTracerOf = std::conditional_t<TracerType::kRecords, BasicPromiseTracer<TracerType>, NullPromiseTracer>;
using PromiseTracer = PromiseTracerOf<Tracer>;

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
