// SPDX-License-Identifier: MIT
// light_tracer.hpp: the host's own operations with their exact root and trigger, and no promise followed.
//
// V8 carries one value along every `await` and `then`: what it is where a script reaches one, it is again where the script goes
// on. A host that calls a script puts the current resource there, and finds it again when the script calls it: to begin a
// fetch, a timer, a read. An await costs nothing.
//
//   v8_adapter::LightTracer light{isolate, lane.tracer()};
//   { const CallbackScope scope{tracer, timer};                            // the host calls a script
//     { const LightTracer::Carry carry{light, context}; callback->Call(...); }
//     const LightTracer::Microtasks each_its_own{light, context};
//     isolate->PerformMicrotaskCheckpoint(); }
//   { const LightTracer::Caller caller{light, context};                    // the script calls the host
//     fetch = tracer.create(ResourceType::kFetch); }                 // its trigger: the timer, after any number of awaits
//
// A trace made so has no promises: note(root) says it in the trace. With a PromiseTracer beside it the two go together:
// where promises are followed they know better, and a host may follow() and unfollow() at any time. docs/v8.md has more.
//
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "thence/adapters/v8/promise_tracer.hpp"
#include "thence/adapters/v8/v8_version.hpp"
#include "thence/capture/callback_scope.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// Where the mark of a resource, an object of ours, is in V8's continuation data. `data` is what V8 has now. A mark may be given again,
/// and is not to be changed.
template <class P>
concept ContinuationPolicy =
    requires(P& policy, ::v8::Isolate* isolate, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> data,
             ::v8::Local<::v8::Object> mark) {
      { policy.with_mark(isolate, context, data, mark) } -> std::convertible_to<::v8::Local<::v8::Value>>;
      { policy.mark_in(isolate, context, data) } -> std::convertible_to<::v8::Local<::v8::Value>>;
    };

/// The data is the mark. A host that uses the data too keeps its value inside the mark: host_value(), set_host_value().
struct MarkIsData {
  static ::v8::Local<::v8::Value> with_mark(::v8::Isolate*, ::v8::Local<::v8::Context>, ::v8::Local<::v8::Value>,
                                            ::v8::Local<::v8::Object> mark) noexcept {
    return mark;
  }
  static ::v8::Local<::v8::Value> mark_in(::v8::Isolate*, ::v8::Local<::v8::Context>,
                                          ::v8::Local<::v8::Value> data) noexcept {
    return data;
  }
};
static_assert(ContinuationPolicy<MarkIsData>);

struct LightOptions {
  /// The host runs all microtasks after each of its calls, in the same resource's callback, before anything else. What runs in
  /// a Microtasks was then made runnable by that resource, and the trace says so (the cause of the caller's invocation). Else
  /// that is unknown.
  bool drains_every_call = false;
};

struct LightCounts {
  std::uint64_t carried = 0;  ///< calls into JavaScript that something was carried by
  std::uint64_t callers = 0;  ///< calls from JavaScript whose resource had to be looked up and entered
  std::uint64_t unknown = 0;  ///< of them, those that nothing was carried to: suspended before, or another context's
};

/// Carries the current resource through one isolate's scripts.
///   Threads   the isolate's
///   Cost      an await: nothing of ours; V8 takes 5 ns more for a value that is new (docs/v8.md). A Carry: an object of V8's (65 ns). A
///             Settling: two stores. A Caller: a look at it (35 ns), and two events where another resource than the current one is calling
///   Errors    what nothing was carried to is created by nobody known: no trigger, no root; counted
///   Lifetime  not movable; the tracer and the promise tracer outlive it. Before Isolate::Dispose(): it goes, or forget()
template <class TracerType, ContinuationPolicy Policy = MarkIsData>
class BasicLightTracer {
 public:
  using Promises = PromiseTracerOf<TracerType>;

  BasicLightTracer(::v8::Isolate* isolate, TracerType& tracer, Promises* promises = nullptr, LightOptions options = {},
                   Policy policy = {})
      : isolate_(isolate), tracer_(&tracer), promises_(promises), options_(options), policy_(std::move(policy)) {
    const ::v8::HandleScope handles(isolate);
    const auto kind = ::v8::FunctionTemplate::New(isolate);
    kind->InstanceTemplate()->SetInternalFieldCount(kMarkFields);
    kind_.Reset(isolate, kind);
  }
  BasicLightTracer(const BasicLightTracer&) = delete;
  BasicLightTracer& operator=(const BasicLightTracer&) = delete;

  /// The host calls a script: what the script does from here to the end of the block, and all that follows from it by promises,
  /// belongs to what is current now. Needs a HandleScope that outlives it, and `context` entered.
  class [[nodiscard]] Carry {
   public:
    Carry(BasicLightTracer& light, ::v8::Local<::v8::Context> context) : Carry(light, context, light.current()) {}
    /// The same, and `host` is the host's own value in there. For MarkIsData.
    Carry(BasicLightTracer& light, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> host)
        : Carry(light, context, light.current(), host) {}
    ~Carry() {
      if (is_set_) set_continuation_data(light_.isolate_, context_, before_);
    }
    Carry(const Carry&) = delete;
    Carry& operator=(const Carry&) = delete;

   private:
    friend BasicLightTracer;
    Carry(BasicLightTracer& light, ::v8::Local<::v8::Context> context, Resource carried)
        : light_(light), context_(context), before_(continuation_data(light.isolate_, context)) {
      is_set_ = light.carry(context, before_, carried);
    }
    Carry(BasicLightTracer& light, ::v8::Local<::v8::Context> context, Resource carried, ::v8::Local<::v8::Value> host)
        : light_(light), context_(context), before_(continuation_data(light.isolate_, context)), is_set_(true) {
      light.carry_host(context, carried, host);
    }

    BasicLightTracer& light_;
    ::v8::Local<::v8::Context> context_;
    ::v8::Local<::v8::Value> before_;
    bool is_set_;
  };

  /// The host settles promises of its own, and calls no script: to the end of the block one runs only where V8 asks a value for its `then`
  /// and finds a getter. What that begins belongs to what is current now (or to the script that has called the host); what it suspends,
  /// and a `then` that V8 calls later, is nobody's. V8's data stays as it is, with the host's own value in it or none: so this costs two
  /// stores, and no mark.
  class [[nodiscard]] Settling {
   public:
    explicit Settling(BasicLightTracer& light) noexcept
        : light_(light), outer_(std::exchange(light.settles_for_, light.is_active() ? light.current() : Resource{})) {}
    ~Settling() { light_.settles_for_ = outer_; }
    Settling(const Settling&) = delete;
    Settling& operator=(const Settling&) = delete;

   private:
    BasicLightTracer& light_;
    Resource outer_;
  };

  /// The host runs the microtasks: each belongs to what was carried to it. V8 (10.2) leaves one that nothing was carried to with
  /// the value that it finds: from here to the end of the block that is nobody's.
  class [[nodiscard]] Microtasks {
   public:
    Microtasks(BasicLightTracer& light, ::v8::Local<::v8::Context> context)
        : light_(light), nobody_(light, context, Resource{}), outer_(std::exchange(light.drains_, light.current().id)) {
      nobody_.is_set_ |= light.is_active();  // V8 leaves nothing behind after a microtask that something was carried to
    }
    /// The same, and `host` is the host's own value up to the first microtask that something was carried to; what V8 leaves behind
    /// that is undefined (V8 12 on: for all microtasks). For MarkIsData.
    Microtasks(BasicLightTracer& light, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> host)
        : light_(light), nobody_(light, context, Resource{}, host), outer_(std::exchange(light.drains_, light.current().id)) {}
    ~Microtasks() {
      light_.drains_ = outer_;
      light_.settles_for_ = settles_for_;
    }
    Microtasks(const Microtasks&) = delete;
    Microtasks& operator=(const Microtasks&) = delete;

   private:
    BasicLightTracer& light_;
    Carry nobody_;
    ResourceId outer_;
    Resource settles_for_ = std::exchange(light_.settles_for_, Resource{});
  };

  /// A script calls the host: what is created from here to the end of the block has the script's resource as its trigger. Does
  /// nothing where that is current already, and where a followed promise is.
  class [[nodiscard]] Caller {
   public:
    Caller(BasicLightTracer& light, ::v8::Local<::v8::Context> context) : light_(light), context_(context) {
      if (!light.is_active() || (light.promises_ != nullptr && light.promises_->runs_followed())) return;
      mark_ = light.mark_in(context, continuation_data(light.isolate_, context));
      light.enter_caller(light.caller_by(mark_), scope_);
    }

    /// The tracer's host_value() when the script called, whose mark has been found already.
    [[nodiscard]] ::v8::Local<::v8::Value> host_value() const {
      return mark_.IsEmpty() ? light_.host_value(context_) : host_in(mark_);
    }

   private:
    BasicLightTracer& light_;
    ::v8::Local<::v8::Context> context_;
    ::v8::Local<::v8::Object> mark_;
    std::optional<CallbackScope<TracerType>> scope_;
  };

  /// On whose behalf the script runs that runs now; none where nothing was carried to it.
  [[nodiscard]] Resource resource(::v8::Local<::v8::Context> context) {
    return caller_by(mark_in(context, continuation_data(isolate_, context)));
  }

  /// The host's own value in the continuation data, which goes the same way. For MarkIsData.
  [[nodiscard]] ::v8::Local<::v8::Value> host_value(::v8::Local<::v8::Context> context) {
    const auto data = continuation_data(isolate_, context);
    const auto mark = mark_in(context, data);
    return mark.IsEmpty() ? data : host_in(mark);
  }
  void set_host_value(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> value) {
    const auto data = continuation_data(isolate_, context);
    const auto mark = mark_in(context, data);
    ::v8::Local<::v8::Object> changed;
    if (mark.IsEmpty() || !make_mark(context, resource_in(mark), value).ToLocal(&changed)) {
      return set_continuation_data(isolate_, context, value);
    }
    set_continuation_data(isolate_, context, policy_.with_mark(isolate_, context, data, changed));
  }

  /// Says of a request that its promises are not followed. For each that begins, and for each in flight where following ends.
  void note(Resource root) noexcept {
    if (tracer_ != nullptr) tracer_->annotate(root, kTracingKey, kTracingLight);
  }

  /// The isolate goes on under another tracer, its thread's; nullptr: under none. Outside of all callbacks.
  void rebind(TracerType* tracer) noexcept { tracer_ = tracer; }
  /// The isolate is gone already: nothing of V8's is touched any more.
  void forget() noexcept {
    std::construct_at(&kind_);
    std::construct_at(&blank_);
    std::construct_at(&anonymous_);
    tracer_ = nullptr;
  }

  [[nodiscard]] const LightCounts& counts() const noexcept { return counts_; }

 private:
  enum MarkField : int { kMarkLow = kFirstField, kMarkHigh, kMarkHost, kMarkFields };

  [[nodiscard]] Resource current() const noexcept { return tracer_ == nullptr ? Resource{} : tracer_->current(); }
  [[nodiscard]] bool is_active() const noexcept { return tracer_ != nullptr && tracer_->active(); }

  [[nodiscard]] bool carry(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> data, Resource carried) {
    if (kind_.IsEmpty()) return false;
    const auto old = mark_in(context, data);
    if (old.IsEmpty() && (!is_active() || carried == Resource{})) return false;  // it is nobody's as it is
    ++counts_.carried;
    ::v8::Local<::v8::Object> mark;
    if (!make_mark(context, carried, old.IsEmpty() ? data : host_in(old)).ToLocal(&mark)) return false;
    set_continuation_data(isolate_, context, policy_.with_mark(isolate_, context, data, mark));
    return true;
  }

  /// What was there before need not be known.
  void carry_host(::v8::Local<::v8::Context> context, Resource carried, ::v8::Local<::v8::Value> host) {
    ::v8::Local<::v8::Object> mark;
    if (kind_.IsEmpty() || !is_active() || carried == Resource{} || !make_mark(context, carried, host).ToLocal(&mark)) {
      return set_continuation_data(isolate_, context, host);
    }
    ++counts_.carried;
    set_continuation_data(isolate_, context, mark);
  }

  [[nodiscard]] Resource caller_by(::v8::Local<::v8::Object> mark) const { return mark.IsEmpty() ? settles_for_ : resource_in(mark); }
  void enter_caller(Resource caller, std::optional<CallbackScope<TracerType>>& scope) {
    const Resource running = current();
    if (caller == running) return;
    ++counts_.callers;
    if (caller == Resource{}) ++counts_.unknown;
    const bool is_told = options_.drains_every_call && caller && running && running.id == drains_;
    scope.emplace(*tracer_, caller, is_told ? Cause{CauseKind::kScheduled, drains_} : Cause{});
  }

  [[nodiscard]] ::v8::MaybeLocal<::v8::Object> make_mark(::v8::Local<::v8::Context> context, Resource resource,
                                                         ::v8::Local<::v8::Value> host) {
    if (!resource) {
      // Of requests that are not traced most marks are alike.
      const auto last = anonymous_.Get(isolate_);
      if (!last.IsEmpty() && anonymous_root_ == resource.root && holds(last, host)) return last;
    }
    // A copy is cheaper than an instance, and brings along what it has in common with the mark before: the root and the host's value.
    const std::uint64_t id = number(resource.id);
    void* const high = as_pointer(id >> kHalfBits | number(resource.root) << kIdBitsInHigh);
    ::v8::Local<::v8::Object> blank = blank_.Get(isolate_);
    const bool is_new = blank.IsEmpty();
    if (is_new) {
      if (!kind_.Get(isolate_)->InstanceTemplate()->NewInstance(context).ToLocal(&blank)) return {};
      blank_.Reset(isolate_, blank);
      blank_.SetWeak();  // it keeps its context
    }
    if (is_new || high != blank_high_) set_aligned_pointer_in(blank, kMarkHigh, blank_high_ = high);
    if (!holds(blank, host)) blank->SetInternalField(kMarkHost, host);
    const ::v8::Local<::v8::Object> mark = blank->Clone();
    set_aligned_pointer_in(mark, kMarkLow, as_pointer(id & kLow));
    if (!resource) {
      anonymous_.Reset(isolate_, mark);
      anonymous_.SetWeak();
      anonymous_root_ = resource.root;
    }
    return mark;
  }
  // Id and root are two aligned pointers to V8: it neither allocates nor visits them, and reads them without a call. Of a pointer it
  // may keep 48 bits, so each has half of all, shifted to be even.
  static constexpr unsigned kHalfBits = (kResourceIdBits + kRootIdBits) / 2;
  static constexpr unsigned kIdBitsInHigh = kResourceIdBits - kHalfBits;
  static constexpr std::uint64_t kLow = (std::uint64_t{1} << kHalfBits) - 1;
  static_assert(sizeof(void*) == sizeof(std::uint64_t) && kHalfBits < 48);
  [[nodiscard]] static void* as_pointer(std::uint64_t half) noexcept { return reinterpret_cast<void*>(half << 1); }

  /// Empty where there is none.
  [[nodiscard]] ::v8::Local<::v8::Object> mark_in(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> data) {
    if (data.IsEmpty() || kind_.IsEmpty()) return {};
    const ::v8::Local<::v8::Value> mark = policy_.mark_in(isolate_, context, data);
    if (mark.IsEmpty()) return {};
    if (!have_one_shape(mark, blank_) && !kind_.Get(isolate_)->HasInstance(mark)) return {};
    return mark.As<::v8::Object>();
  }
  [[nodiscard]] static ::v8::Local<::v8::Value> host_in(::v8::Local<::v8::Object> mark) {
    return mark->GetInternalField(kMarkHost).template As<::v8::Value>();
  }
  [[nodiscard]] static bool holds(::v8::Local<::v8::Object> mark, ::v8::Local<::v8::Value> host) {
    return is_in_field(mark, kMarkHost, host) || host_in(mark) == host;
  }
  [[nodiscard]] static Resource resource_in(::v8::Local<::v8::Object> mark) {
    if (mark.IsEmpty()) return {};
    const auto half = [&](int index) { return reinterpret_cast<std::uint64_t>(aligned_pointer_in(mark, index)) >> 1; };
    const std::uint64_t high = half(kMarkHigh);
    const std::uint64_t id_high = high & ((std::uint64_t{1} << kIdBitsInHigh) - 1);
    return {static_cast<ResourceId>(half(kMarkLow) | id_high << kHalfBits), static_cast<RootId>(high >> kIdBitsInHigh)};
  }

  ::v8::Isolate* isolate_;
  TracerType* tracer_;
  Promises* promises_;
  LightOptions options_;
  [[no_unique_address]] Policy policy_;
  ::v8::Global<::v8::FunctionTemplate> kind_;
  ::v8::Global<::v8::Object> blank_;  // what marks are copied from
  void* blank_high_ = nullptr;        // its kMarkHigh
  ::v8::Global<::v8::Object> anonymous_;  // the last mark without a resource
  RootId anonymous_root_ = RootId::kNone;  // its root
  ResourceId drains_ = ResourceId::kNone;  // in whose callback the microtasks run
  Resource settles_for_;                   // whose promises are settled now
  LightCounts counts_;
};

/// The light tracer of a program that was built without tracing: the same calls, and the host's value alone in the data.
class NullLightTracer {
 public:
  template <class TracerType, class... Options>
  NullLightTracer(::v8::Isolate* isolate, TracerType&, Options&&...) noexcept : isolate_(isolate) {}
  NullLightTracer(const NullLightTracer&) = delete;
  NullLightTracer& operator=(const NullLightTracer&) = delete;

  class [[nodiscard]] Carry {
   public:
    Carry(NullLightTracer&, ::v8::Local<::v8::Context>) noexcept {}
    Carry(NullLightTracer& light, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> host)
        : isolate_(light.isolate_), context_(context), before_(continuation_data(isolate_, context)) {
      set_continuation_data(isolate_, context, host);
    }
    ~Carry() {
      if (isolate_ != nullptr) set_continuation_data(isolate_, context_, before_);
    }
    Carry(const Carry&) = delete;
    Carry& operator=(const Carry&) = delete;

   private:
    ::v8::Isolate* isolate_ = nullptr;
    ::v8::Local<::v8::Context> context_;
    ::v8::Local<::v8::Value> before_;
  };
  struct [[nodiscard]] Settling {
    explicit Settling(NullLightTracer&) noexcept {}
    Settling(const Settling&) = delete;
    Settling& operator=(const Settling&) = delete;
  };
  struct [[nodiscard]] Microtasks : Carry {
    using Carry::Carry;
  };
  class [[nodiscard]] Caller {
   public:
    Caller(NullLightTracer& light, ::v8::Local<::v8::Context> context) noexcept : light_(light), context_(context) {}
    [[nodiscard]] ::v8::Local<::v8::Value> host_value() const { return light_.host_value(context_); }

   private:
    NullLightTracer& light_;
    ::v8::Local<::v8::Context> context_;
  };
  [[nodiscard]] Resource resource(::v8::Local<::v8::Context>) noexcept { return {}; }
  [[nodiscard]] ::v8::Local<::v8::Value> host_value(::v8::Local<::v8::Context> context) {
    return continuation_data(isolate_, context);
  }
  void set_host_value(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> value) {
    set_continuation_data(isolate_, context, value);
  }
  void note(Resource) noexcept {}
  void rebind(void*) noexcept {}
  void forget() noexcept {}
  [[nodiscard]] LightCounts counts() const noexcept { return {}; }

 private:
  ::v8::Isolate* isolate_;
};

/// For a tracer of this type: the empty one where the tracer is.
template <class TracerType, ContinuationPolicy Policy = MarkIsData>
using LightTracerOf = std::conditional_t<TracerType::kRecords, BasicLightTracer<TracerType, Policy>, NullLightTracer>;
using LightTracer = LightTracerOf<Tracer>;

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
