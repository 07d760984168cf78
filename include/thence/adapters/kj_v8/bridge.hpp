// SPDX-License-Identifier: MIT
// bridge.hpp: a KJ promise becomes a JavaScript promise, and the other way round; in the trace, one operation.
//
//   kj_v8_adapter::Bridge bridge{isolate, tracer, &promises};
//   auto js = bridge.kj_to_js(context, database.query(sql), [](v8::Isolate* isolate, auto context, Row&& row) {
//     return to_object(isolate, context, row);                       // a Local or MaybeLocal value
//   });
//   kj::Promise<kj::String> text = bridge.js_to_kj<kj::String>(context, js_promise, [](auto* isolate, auto context, auto value) {
//     return to_text(isolate, value);
//   });
//
//   kj-to-js   created by the script that asks; is the KJ promise's resource and the JavaScript promise's (links `bridge`).
//              When KJ is done it is entered, settles the JavaScript promise and runs the microtasks
//   js-to-kj   the other way: is the JavaScript promise's resource; settled by the script's job that ran when that promise
//              was settled; entered for what continues on KJ's side
//
// Layer: adapters/kj_v8 (includes adapters/kj, adapters/v8, KJ, V8).
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/exception.h>
#include <v8.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "thence/adapters/kj/fulfiller.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/adapters/v8/promise_tracer.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/source_site.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_v8_adapter {

/// How a bridge goes into its isolate and translates failures. Derive and replace.
struct BridgePolicy {
  /// Runs `body` inside the isolate. A host that shares isolates among threads locks it here.
  template <class Body>
  void enter(::v8::Isolate* isolate, Body&& body) {
    const ::v8::Isolate::Scope scope(isolate);
    body();
  }

  /// After a JavaScript promise was settled: runs what waits for it. A host that does so at a time of its own leaves this
  /// empty; the jobs then run in whatever surrounds them.
  void checkpoint(::v8::Isolate* isolate, ::v8::Local<::v8::Context> context) {
    context->GetMicrotaskQueue()->PerformCheckpoint(isolate);
  }

  /// An Error with the exception's description as message, and its type (`failed`, `overloaded`, `disconnected`,
  /// `unimplemented`) as the property `kjType`.
  ::v8::Local<::v8::Value> to_js(::v8::Isolate* isolate, ::v8::Local<::v8::Context> context,
                                 const ::kj::Exception& exception) {
    const auto error = ::v8::Exception::Error(text(isolate, view_of(exception.getDescription())));
    if (error->IsObject()) {
      error.As<::v8::Object>()
          ->Set(context, text(isolate, "kjType"), text(isolate, view_of(::kj::str(exception.getType()))))
          .FromMaybe(false);
    }
    return error;
  }

  /// What to_js() made comes back as it was; any other value as FAILED with its text.
  ::kj::Exception to_kj(::v8::Isolate* isolate, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> reason) {
    const ::v8::TryCatch caught(isolate);
    auto type = ::kj::Exception::Type::FAILED;
    ::v8::Local<::v8::Value> described = reason;
    if (reason->IsNativeError()) {
      const auto error = reason.As<::v8::Object>();
      ::v8::Local<::v8::Value> name;
      if (error->Get(context, text(isolate, "kjType")).ToLocal(&name) && name->IsString()) {
        const ::v8::String::Utf8Value word(isolate, name);
        for (const auto each : {::kj::Exception::Type::FAILED, ::kj::Exception::Type::OVERLOADED,
                                ::kj::Exception::Type::DISCONNECTED, ::kj::Exception::Type::UNIMPLEMENTED}) {
          if (*word != nullptr && ::kj::str(each) == ::kj::StringPtr(*word)) type = each;
        }
        ::v8::Local<::v8::Value> message;
        if (error->Get(context, text(isolate, "message")).ToLocal(&message)) described = message;
      }
    }
    const ::v8::String::Utf8Value description(isolate, described);
    return ::kj::Exception(
        type, "javascript", 0,
        *description == nullptr ? ::kj::str("a value that cannot be shown") : ::kj::str(::kj::StringPtr(*description)));
  }

 private:
  static std::string_view view_of(::kj::StringPtr words) noexcept { return {words.begin(), words.size()}; }
  static ::v8::Local<::v8::String> text(::v8::Isolate* isolate, std::string_view words) {
    ::v8::Local<::v8::String> made;
    if (!::v8::String::NewFromUtf8(isolate, words.data(), ::v8::NewStringType::kNormal, static_cast<int>(words.size()))
             .ToLocal(&made)) {
      return ::v8::String::Empty(isolate);
    }
    return made;
  }
};

/// What a bridge did that nobody awaits.
struct BridgeCounts {
  std::uint64_t pending = 0;  ///< operations under way, both directions
  std::uint64_t unsettled =
      0;  ///< JavaScript promises that V8 would not settle any more (execution is being terminated)
  std::uint64_t collected = 0;  ///< JavaScript promises that were collected before they were settled
};

/// Turns promises of one isolate and one KJ loop into each other.
///   Shape     one an isolate; any number of its contexts
///   Threads   the loop's, which is the isolate's and the tracer's
///   Cost      kj_to_js: see kj_adapter::watched(), two handles, an allocation. js_to_kj: two functions, an object, two allocations
///   Errors    what a conversion throws, in either language, rejects the other side's promise. Nothing is lost: see counts()
///   Lifetime  not movable; tracer and promise tracer outlive it. Destroy it before Isolate::Dispose() and before the loop:
///             KJ operations that JavaScript waits for are then cancelled (their JavaScript promises stay pending), and KJ
///             promises that wait for JavaScript are rejected as DISCONNECTED. Where the isolate is gone already: forget() first
template <class TracerT, class Policy = BridgePolicy>
class Bridge final : private ::kj::TaskSet::ErrorHandler {
 public:
  using Promises = v8_adapter::PromiseTracerOf<TracerT>;

  /// `promises` knows the resources of JavaScript promises; without it the links to them are left out.
  Bridge(::v8::Isolate* isolate, TracerT& tracer, Promises* promises = nullptr, Policy policy = {})
      : isolate_(isolate),
        tracer_(tracer),
        promises_(promises),
        policy_(std::move(policy)),
        tasks_(::kj::heap<::kj::TaskSet>(static_cast<::kj::TaskSet::ErrorHandler&>(*this))) {}
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  ~Bridge() noexcept(false) { stop(); }

  /// `convert(isolate, context, value)` makes the JavaScript value, a Local or a MaybeLocal (for T = void it gets no value).
  /// It runs in the resource's invocation, inside `context`.
  /// Empty only where V8 makes no promise any more (execution is being terminated); the KJ promise is cancelled then.
  template <class T, class Convert>
  ::v8::MaybeLocal<::v8::Promise> kj_to_js(::v8::Local<::v8::Context> context, ::kj::Promise<T>&& promise,
                                           Convert convert, SourceSite site = SourceSite::current()) {
    if (isolate_ == nullptr) return {};
    ::v8::EscapableHandleScope handles(isolate_);
    const Resource known = kj_adapter::resource_of(tracer_, promise);
    const Resource resource = kj_adapter::create_resource(tracer_, ResourceType::kKjToJs, {}, site);
    kj_adapter::detail::Starting<TracerT> starting(tracer_, resource);
    ::v8::Local<::v8::Promise::Resolver> resolver;
    Resource js_resource;
    const auto made = promises_ == nullptr ? ::v8::Promise::Resolver::New(context) : promises_->make_resolver(context, js_resource);
    if (!made.ToLocal(&resolver)) return {};
    const auto js = resolver->GetPromise();
    tracer_.link(known, resource, LinkKind::kBridge);
    tracer_.link(resource, js_resource, LinkKind::kBridge);

    auto settling = ::kj::heap<Settling<Convert>>(*this, isolate_, context, resolver, js_resource, std::move(convert));
    auto* const to = settling.get();
    auto task =
        kj_adapter::watched(tracer_, ::kj::mv(promise), starting.started(), {.links_known = static_cast<bool>(known)});
    tasks_->add(continued(::kj::mv(task), to).attach(::kj::mv(settling)));
    return handles.Escape(js);
  }

  /// `convert(isolate, context, value)` makes the KJ value. It runs in the script's job that sees the promise settled. The
  /// JavaScript promise counts as handled. Where it is settled already, the job waits for the next microtask checkpoint.
  template <class T, class Convert>
  [[nodiscard]] ::kj::Promise<T> js_to_kj(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Promise> promise,
                                          Convert convert, SourceSite site = SourceSite::current()) {
    if (isolate_ == nullptr) return gone();
    const ::v8::HandleScope handles(isolate_);
    const ::v8::Context::Scope in_context(context);
    auto pair = kj_adapter::traced_promise_and_fulfiller<T>(tracer_, ResourceType::kJsToKj, {}, site);
    tracer_.link(resource_of(promise), pair.resource, LinkKind::kBridge);

    auto waiting = std::make_unique<Waiting<T, Convert>>(*this, ::kj::mv(pair.fulfiller), std::move(convert));
    ::v8::Local<::v8::Object> holder;
    ::v8::Local<::v8::Function> fulfilled, rejected;
    ::v8::Local<::v8::Promise> derived;
    if (!make_holder(context, waiting.get()).ToLocal(&holder) ||
        !::v8::Function::New(context, &on_fulfilled, holder).ToLocal(&fulfilled) ||
        !::v8::Function::New(context, &on_rejected, holder).ToLocal(&rejected) ||
        !promise->Then(context, fulfilled, rejected).ToLocal(&derived)) {
      if (!holder.IsEmpty()) holder->SetAlignedPointerInInternalField(0, nullptr);
      waiting->refuse();
      return ::kj::mv(pair.promise);
    }
    waiting.release()->await_collection(isolate_, holder);
    return ::kj::mv(pair.promise);
  }

  /// As the destructor; the object then bridges nothing any more.
  void stop() {
    if (isolate_ == nullptr) return;
    policy_.enter(isolate_, [this]() {
      const ::v8::HandleScope handles(isolate_);
      tasks_ = nullptr;  // cancels what JavaScript waits for
      drop_waiting();
    });
    isolate_ = nullptr;
  }

  /// The isolate is gone already: nothing of V8's is touched any more, by this object or by its destructor.
  void forget() {
    if (isolate_ == nullptr) return;
    for (Held* held = held_; held != nullptr; held = held->next_) held->forget();
    std::construct_at(&shape_);
    tasks_ = nullptr;
    drop_waiting();
    isolate_ = nullptr;
  }

  [[nodiscard]] const BridgeCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] Policy& policy() noexcept { return policy_; }

 private:
  /// Holds handles of the isolate, and is known to the bridge as long as it does.
  class Held {
   public:
    explicit Held(Bridge& bridge) : bridge_(bridge), next_(bridge.held_), link_(&bridge.held_) {
      if (next_ != nullptr) next_->link_ = &next_;
      bridge.held_ = this;
      ++bridge.counts_.pending;
    }
    virtual ~Held() noexcept(false) {
      *link_ = next_;
      if (next_ != nullptr) next_->link_ = link_;
      --bridge_.counts_.pending;
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    /// Lets go of the handles without a word to V8.
    virtual void forget() noexcept = 0;
    /// Of those that wait for JavaScript: the bridge goes. False for the others.
    virtual bool refuse() { return false; }
    virtual void settle(bool rejected, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> value) = 0;

   protected:
    Bridge& bridge_;

   private:
    friend class Bridge;
    Held* next_;
    Held** link_;
  };

  /// A JavaScript promise that KJ will settle.
  template <class Convert>
  class Settling final : public Held {
   public:
    Settling(Bridge& bridge, ::v8::Isolate* isolate, ::v8::Local<::v8::Context> context,
             ::v8::Local<::v8::Promise::Resolver> resolver, Resource promise, Convert&& convert)
        : Held(bridge), context_(isolate, context), resolver_(isolate, resolver), promise_(promise), convert_(std::move(convert)) {}

    template <class... Value>
    void resolve(Value&&... value) {
      finish([&](::v8::Isolate* isolate, ::v8::Local<::v8::Context> context,
                 ::v8::Local<::v8::Promise::Resolver> resolver) {
        ::v8::TryCatch caught(isolate);
        ::v8::Local<::v8::Value> converted;
        const bool made = to_local(convert_(isolate, context, std::forward<Value>(value)...), converted);
        if (made) return this->bridge_.resolve(context, resolver, promise_, converted);
        if (caught.HasTerminated()) return ::v8::Maybe<bool>(::v8::Nothing<bool>());
        const ::v8::Local<::v8::Value> reason =
            caught.HasCaught() ? caught.Exception() : ::v8::Undefined(isolate).template As<::v8::Value>();
        caught.Reset();  // else V8 takes the exception for one of the hooks' that Reject() calls
        return resolver->Reject(context, reason);
      });
    }
    void reject(const ::kj::Exception& exception) {
      finish([&](::v8::Isolate* isolate, ::v8::Local<::v8::Context> context,
                 ::v8::Local<::v8::Promise::Resolver> resolver) {
        return resolver->Reject(context, this->bridge_.policy_.to_js(isolate, context, exception));
      });
    }

    void forget() noexcept override {
      std::construct_at(&context_);
      std::construct_at(&resolver_);
    }
    void settle(bool, ::v8::Local<::v8::Context>, ::v8::Local<::v8::Value>) override {}

   private:
    static bool to_local(::v8::Local<::v8::Value> made, ::v8::Local<::v8::Value>& out) {
      out = made;
      return !made.IsEmpty();
    }
    template <class Value>
    static bool to_local(::v8::MaybeLocal<Value> made, ::v8::Local<::v8::Value>& out) {
      ::v8::Local<Value> value;
      if (!made.ToLocal(&value)) return false;
      out = value;
      return true;
    }

    template <class Settle>
    void finish(Settle&& settle) {
      Bridge& bridge = this->bridge_;
      bridge.policy_.enter(bridge.isolate_, [&]() {
        ::v8::Isolate* const isolate = bridge.isolate_;
        const ::v8::HandleScope handles(isolate);
        const auto context = context_.Get(isolate);
        const ::v8::Context::Scope in_context(context);
        const auto resolver = resolver_.Get(isolate);
        ::v8::Maybe<bool> settled = ::v8::Nothing<bool>();
        KJ_IF_MAYBE (exception, ::kj::runCatchingExceptions([&]() { settled = settle(isolate, context, resolver); })) {
          settled = resolver->Reject(context, bridge.policy_.to_js(isolate, context, *exception));
        }
        if (settled.IsNothing()) ++bridge.counts_.unsettled;
        if (bridge.promises_ != nullptr) bridge.promises_->flush();
        bridge.policy_.checkpoint(isolate, context);
        if (bridge.promises_ != nullptr) bridge.promises_->flush();
      });
    }

    ::v8::Global<::v8::Context> context_;
    ::v8::Global<::v8::Promise::Resolver> resolver_;
    Resource promise_;
    Convert convert_;
  };

  /// A KJ promise that JavaScript will settle. It belongs to the functions that wait in JavaScript, and goes with them.
  template <class T, class Convert>
  class Waiting final : public Held {
   public:
    Waiting(Bridge& bridge, ::kj::Own<::kj::PromiseFulfiller<T>> fulfiller, Convert&& convert)
        : Held(bridge), fulfiller_(::kj::mv(fulfiller)), convert_(std::move(convert)) {}

    void await_collection(::v8::Isolate* isolate, ::v8::Local<::v8::Object> holder) {
      holder_.Reset(isolate, holder);
      holder_.SetWeak(
          this,
          [](const ::v8::WeakCallbackInfo<Waiting>& info) {
            Waiting* const waiting = info.GetParameter();
            waiting->holder_.Reset();
            ++waiting->bridge_.counts_.collected;
            delete waiting;  // drops the fulfiller, of which V8 knows nothing: KJ rejects the promise
          },
          ::v8::WeakCallbackType::kParameter);
    }

    void settle(bool rejected, ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> value) override {
      if (!fulfiller_->isWaiting()) return;  // the KJ promise was dropped
      Bridge& bridge = this->bridge_;
      if (rejected) return fulfiller_->reject(bridge.policy_.to_kj(bridge.isolate_, context, value));
      // No exception passes through V8's frames.
      KJ_IF_MAYBE (exception, ::kj::runCatchingExceptions([&]() {
                     ::v8::TryCatch caught(bridge.isolate_);
                     if constexpr (std::is_void_v<T>) {
                       convert_(bridge.isolate_, context, value);
                       if (!rejected_by_script(caught, context)) fulfiller_->fulfill();
                     } else {
                       T converted = convert_(bridge.isolate_, context, value);
                       if (!rejected_by_script(caught, context)) fulfiller_->fulfill(::kj::mv(converted));
                     }
                   })) {
        fulfiller_->reject(::kj::mv(*exception));
      }
    }
    bool refuse() override {
      if (fulfiller_->isWaiting()) {
        fulfiller_->reject(KJ_EXCEPTION(DISCONNECTED, "the isolate went before the JavaScript promise was settled"));
      }
      if (!holder_.IsEmpty()) {
        holder_.Get(this->bridge_.isolate_)->SetAlignedPointerInInternalField(0, nullptr);
        holder_.Reset();
      }
      return true;
    }
    void forget() noexcept override { std::construct_at(&holder_); }

   private:
    bool rejected_by_script(::v8::TryCatch& caught, ::v8::Local<::v8::Context> context) {
      if (!caught.HasCaught()) return false;
      Bridge& bridge = this->bridge_;
      if (caught.HasTerminated()) {
        fulfiller_->reject(KJ_EXCEPTION(DISCONNECTED, "the script was terminated"));
        return true;
      }
      const auto reason = caught.Exception();
      caught.Reset();
      fulfiller_->reject(bridge.policy_.to_kj(bridge.isolate_, context, reason));
      return true;
    }

    ::kj::Own<::kj::PromiseFulfiller<T>> fulfiller_;
    Convert convert_;
    ::v8::Global<::v8::Object> holder_;
  };

  static void on_fulfilled(const ::v8::FunctionCallbackInfo<::v8::Value>& info) { on_settled(false, info); }
  static void on_rejected(const ::v8::FunctionCallbackInfo<::v8::Value>& info) { on_settled(true, info); }
  static void on_settled(bool rejected, const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
    const auto holder = info.Data().As<::v8::Object>();
    auto* const held = static_cast<Held*>(holder->GetAlignedPointerFromInternalField(0));
    if (held == nullptr) return;  // the bridge has gone
    holder->SetAlignedPointerInInternalField(0, nullptr);
    held->settle(rejected, info.GetIsolate()->GetCurrentContext(), info[0]);
    delete held;
  }

  template <class T, class To>
  static ::kj::Promise<void> continued(::kj::Promise<T>&& promise, To* to) {
    return promise.then([to](T&& value) { to->resolve(::kj::mv(value)); },
                        [to](::kj::Exception&& exception) { to->reject(exception); });
  }
  template <class To>
  static ::kj::Promise<void> continued(::kj::Promise<void>&& promise, To* to) {
    return promise.then([to]() { to->resolve(); }, [to](::kj::Exception&& exception) { to->reject(exception); });
  }

  static ::kj::Exception gone() { return KJ_EXCEPTION(DISCONNECTED, "the isolate has gone"); }

  [[nodiscard]] Resource resource_of(::v8::Local<::v8::Promise> promise) {
    return promises_ == nullptr ? Resource{} : promises_->resource_of(promise);
  }

  ::v8::Maybe<bool> resolve(::v8::Local<::v8::Context> context, ::v8::Local<::v8::Promise::Resolver> resolver, Resource promise,
                            ::v8::Local<::v8::Value> value) {
    return promises_ == nullptr ? resolver->Resolve(context, value) : promises_->resolve(context, resolver, promise, value);
  }

  ::v8::MaybeLocal<::v8::Object> make_holder(::v8::Local<::v8::Context> context, Held* held) {
    if (shape_.IsEmpty()) {
      const auto shape = ::v8::ObjectTemplate::New(isolate_);
      shape->SetInternalFieldCount(1);
      shape_.Reset(isolate_, shape);
    }
    ::v8::Local<::v8::Object> holder;
    if (!shape_.Get(isolate_)->NewInstance(context).ToLocal(&holder)) return {};
    holder->SetAlignedPointerInInternalField(0, held);
    return holder;
  }

  void drop_waiting() {
    // What KJ settles went with its task: what is left waits for JavaScript.
    while (held_ != nullptr) {
      Held* const held = held_;
      held->refuse();
      delete held;
    }
    shape_.Reset();
  }

  void taskFailed(::kj::Exception&& exception) override { KJ_LOG(ERROR, "a bridge's continuation failed", exception); }

  ::v8::Isolate* isolate_;
  TracerT& tracer_;
  Promises* promises_;
  Policy policy_;
  Held* held_ = nullptr;
  ::v8::Global<::v8::ObjectTemplate> shape_;
  BridgeCounts counts_;
  ::kj::Own<::kj::TaskSet> tasks_;
};

}  // namespace kj_v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
