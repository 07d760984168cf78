// SPDX-License-Identifier: MIT
// tracing.hpp: all that the worker has to do with thence. The rest of it says what happens in the words below.
//
//   Tracing tracing("out", TraceWhen::kAll);          // exists only with --trace
//   Trace trace(tracing);                             // a handle; Trace{} traces nothing
//   Resource get = trace.begin(ResourceType::kKvGet); // in a call from JavaScript: its stack, its trigger
//   trace.annotate(get, "key", key);
//   promise = trace.follow(kj::mv(promise), get);     // settled, and entered when its consumer runs
//
// Where the worker crosses from KJ into JavaScript, a Trace::Scope says on whose behalf; what JavaScript creates there, and in
// the microtasks that run before the scope ends, is caused by it.
#pragma once

#include <kj/async.h>
#include <v8.h>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "options.hpp"
#include "thence/adapters/kj/event_port.hpp"
#include "thence/adapters/kj/fulfiller.hpp"
#include "thence/adapters/kj/node.hpp"
#include "thence/adapters/v8/light_tracer.hpp"
#include "thence/adapters/v8/promise_tracer.hpp"
#include "thence/session/session.hpp"
#include "thence/thence.hpp"

namespace worker {

using thence::Outcome;
using thence::Resource;
using thence::ResourceType;

/// One recording, from the start of the worker to its end: OUT/trace.pftrace and OUT/request-<n>.json.
///   Threads   the KJ thread is the one lane; the session drains on a thread of its own
///   Errors    a folder or file that cannot be written is logged; the worker goes on
///   Lifetime  outlives the runtime; unfollow() comes before the engine goes
class Tracing {
 public:
  /// Writes a JSON file for each of the first `json_requests` traced requests; all of them are in the Perfetto trace.
  Tracing(const std::string& folder, TraceWhen when, TraceMode mode, std::uint64_t json_requests);
  ~Tracing();
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

  /// Follows the script's requests through the context from now on; every promise of it, with stacks, in full mode.
  void follow(v8::Isolate* isolate, v8::Local<v8::Context> context);
  void unfollow();
  /// For the host's PromiseRejectCallback.
  void note_rejection(const v8::PromiseRejectMessage& message);

  thence::Tracer& tracer() { return lane_.tracer(); }
  /// The microtasks have run.
  void checkpoint_done();
  Resource resource_of(v8::Local<v8::Promise> promise);
  v8::Local<v8::Promise::Resolver> make_resolver(v8::Local<v8::Context> context, Resource& resource);
  v8::Maybe<bool> resolve(v8::Local<v8::Context> context, v8::Local<v8::Promise::Resolver> resolver, Resource promise,
                          v8::Local<v8::Value> value);

  // ---- what Trace asks for; out of line, so that its callers carry no more of it than the branch

  Resource begin_root(bool asked, thence::SourceSite site);
  void settle_root(Resource root, Outcome outcome);
  void finish_root(Resource root);
  Resource begin(ResourceType type);
  Resource begin(ResourceType type, std::string_view key, std::string_view value);
  Resource begin_part(Resource whole, ResourceType type, std::string_view phase, thence::SourceSite site);
  Resource begin_result(Resource operation, Resource promise);
  template <class T>
  [[gnu::noinline]] void annotate(Resource resource, std::string_view key, const T& value) {
    tracer().annotate(resource, key, value);
  }
  void settle(Resource resource, Outcome outcome);
  void settle_from_outside(Resource resource, Outcome outcome);
  void destroy(Resource resource);
  void link(Resource cause, Resource effect, thence::LinkKind kind);
  void enter(Resource resource, thence::Cause cause);
  void exit(Resource resource);
  void enter_with_result(Resource resource, Resource operation, Outcome outcome);
  /// Whether a request runs that is not traced.
  bool runs_untraced() { return tracer().current().root == thence::RootId::kUntraced; }
  template <class T>
  [[gnu::noinline]] kj::Promise<T> follow(kj::Promise<T> promise, Resource resource, thence::kj_adapter::WatchOptions options) {
    return thence::kj_adapter::watched(tracer(), kj::mv(promise), resource, options);
  }
  /// Settles the resource as the promise ends, and destroys it with what comes back.
  template <class T>
  [[gnu::noinline]] kj::Promise<T> end_with(kj::Promise<T> promise, Resource resource) {
    struct Ending {
      Ending(Tracing& of, Resource ends) : tracing(of), resource(ends) {}
      ~Ending() noexcept(false) {
        if (!settled) tracing.settle(resource, Outcome::kCancelled);
        tracing.destroy(resource);
      }
      void settle(Outcome outcome) {
        settled = true;
        tracing.settle(resource, outcome);
      }
      Tracing& tracing;
      Resource resource;
      bool settled = false;
    };
    auto owned = kj::heap<Ending>(*this, resource);
    Ending& ending = *owned;
    auto failed = [&ending](kj::Exception&& exception) -> T {
      ending.settle(Outcome::kRejected);
      kj::throwFatalException(kj::mv(exception));
    };
    if constexpr (std::is_void_v<T>) {
      return promise.then([&ending] { ending.settle(Outcome::kFulfilled); }, kj::mv(failed)).attach(kj::mv(owned));
    } else {
      return promise.then([&ending](T&& value) { return ending.settle(Outcome::kFulfilled), kj::mv(value); }, kj::mv(failed))
          .attach(kj::mv(owned));
    }
  }
  template <class T>
  [[gnu::noinline]] thence::kj_adapter::TracedFulfillerPair<T> promise_and_fulfiller(ResourceType type, thence::SourceSite site) {
    return thence::kj_adapter::traced_promise_and_fulfiller<T>(tracer(), type, {}, site);
  }

  using Light = thence::v8_adapter::LightTracerOf<thence::Tracer>;
  /// What carries the request through the script, in light mode; null before follow().
  Light* light() { return light_.get(); }
  v8::Local<v8::Value> host_value(v8::Local<v8::Context> context);

 private:
  bool is_light() const { return mode_ == TraceMode::kLight; }
  /// The stack of the script that has called us.
  thence::StackId script_stack();

  using Promises = thence::v8_adapter::PromiseTracerOf<thence::Tracer>;

  std::string folder_;
  TraceMode mode_;
  thence::Session session_;
  thence::Lane lane_;
  std::unique_ptr<thence::kj_adapter::ParkWatch<thence::Tracer>> park_watch_;
  std::unique_ptr<Promises> promises_;
  std::unique_ptr<Light> light_;
  std::unique_ptr<thence::v8_adapter::ScriptStacks> stacks_;
  struct Begun {
    thence::ResourceId id = thence::ResourceId::kNone;
    thence::StackId stack = thence::StackId::kNone;
  };
  Begun last_begun_;  // by the script
};

/// What happens, told to the tracer; nothing but a null check where there is none.
///   Threads   the KJ thread
///   Cost      without --trace: one branch a call. With THENCE_ENABLED=0: nothing
class Trace {
 public:
  Trace() = default;
  explicit Trace(Tracing& tracing) : tracing_(&tracing) {}

  explicit operator bool() const { return thence::kEnabled && tracing_ != nullptr; }
  /// Whether it traces the worker's own operations only, and follows no promise: not the script's, nor those between them and KJ's.
  bool is_light() const { return *this && tracing_->light() != nullptr; }

  // ---- requests

  Resource begin_root(bool asked, thence::SourceSite site = thence::SourceSite::current()) const {
    return *this ? tracing_->begin_root(asked, site) : Resource{};
  }
  /// The response is out, or will never be.
  void settle_root(Resource root, Outcome outcome) const {
    if (*this) tracing_->settle_root(root, outcome);
  }
  /// The response is out and all that the script wanted to wait for is done.
  void finish_root(Resource root) const {
    if (*this) tracing_->finish_root(root);
  }

  // ---- operations

  /// An operation that the running script begins.
  Resource begin(ResourceType type) const { return *this ? tracing_->begin(type) : Resource{}; }
  Resource begin(ResourceType type, std::string_view key, std::string_view value) const {
    return *this ? tracing_->begin(type, key, value) : Resource{};
  }
  /// A part of another operation.
  Resource begin_part(Resource whole, ResourceType type, std::string_view phase,
                      thence::SourceSite site = thence::SourceSite::current()) const {
    return *this ? tracing_->begin_part(whole, type, phase, site) : Resource{};
  }
  /// The way of an operation's result to the script: the operation itself, as KJ knows it, and the script's promise, which the running
  /// call makes.
  Resource begin_result(Resource operation, Resource promise) const {
    return *this ? tracing_->begin_result(operation, promise) : Resource{};
  }
  template <class T>
  void annotate(Resource resource, std::string_view key, const T& value) const {
    if (*this) tracing_->annotate(resource, key, value);
  }
  void annotate(Resource resource, std::string_view key, const kj::String& value) const {
    if (*this) tracing_->annotate(resource, key, std::string_view(value.begin(), value.size()));
  }
  void settle(Resource resource, Outcome outcome) const {
    if (*this) tracing_->settle(resource, outcome);
  }
  void settle_from_outside(Resource resource, Outcome outcome) const {
    if (*this) tracing_->settle_from_outside(resource, outcome);
  }
  void destroy(Resource resource) const {
    if (*this) tracing_->destroy(resource);
  }
  void awaits(Resource cause, Resource effect) const {
    if (*this) tracing_->link(cause, effect, thence::LinkKind::kAwaits);
  }
  /// One operation, seen from KJ and from JavaScript.
  void same(Resource one, Resource other) const {
    if (*this) tracing_->link(one, other, thence::LinkKind::kBridge);
  }
  /// The script's microtasks have run.
  void checkpoint_done() const {
    if (*this) tracing_->checkpoint_done();
  }
  Resource resource_of(v8::Local<v8::Promise> promise) const {
    return *this ? tracing_->resource_of(promise) : Resource{};
  }
  /// A promise for the script, and its resource.
  v8::Local<v8::Promise::Resolver> make_resolver(v8::Local<v8::Context> context, Resource& resource) const {
    if (*this && !is_light()) return tracing_->make_resolver(context, resource);
    return v8::Promise::Resolver::New(context).ToLocalChecked();
  }
  v8::Maybe<bool> resolve(v8::Local<v8::Context> context, v8::Local<v8::Promise::Resolver> resolver, Resource promise,
                          v8::Local<v8::Value> value) const {
    return *this ? tracing_->resolve(context, resolver, promise, value) : resolver->Resolve(context, value);
  }

  // ---- KJ's promises

  // Of a request that is not traced nothing is followed, and in light mode no promise: each way into the script says on whose behalf
  // (Scope, Carry), and what is begun elsewhere is begun as a part of something.

  /// The promise's end is the resource's, and whatever consumes it runs in the resource's invocation (but in light mode).
  template <class T>
  kj::Promise<T> follow(kj::Promise<T> promise, Resource resource) const {
    if (!*this || !resource) return promise;
    if (is_light()) return tracing_->end_with(kj::mv(promise), resource);
    return tracing_->follow(kj::mv(promise), resource, {.source = thence::kj_adapter::Source::kOutside});
  }
  /// The same for what the script gets; in light mode the bridge itself says when it ends.
  template <class T>
  kj::Promise<T> follow_to_script(kj::Promise<T> promise, Resource resource) const {
    if (is_light()) return promise;
    return follow(kj::mv(promise), resource);
  }
  /// What consumes this promise is no part of the request, nor of any other.
  template <class T>
  kj::Promise<T> end_of_request(kj::Promise<T> promise, Resource root) const {
    if (!*this || is_light() || !root) return promise;
    return tracing_->follow(kj::mv(promise), {thence::ResourceId::kNone, thence::RootId::kUntraced}, {.ends_trace = true});
  }
  /// A promise that the script fulfils. In light mode it is no resource.
  template <class T>
  thence::kj_adapter::TracedFulfillerPair<T> promise_and_fulfiller(
      ResourceType type, thence::SourceSite site = thence::SourceSite::current()) const {
    if (*this && !is_light() && !tracing_->runs_untraced()) return tracing_->promise_and_fulfiller<T>(type, site);
    auto pair = kj::newPromiseAndFulfiller<T>();
    return {kj::mv(pair.promise), kj::mv(pair.fulfiller), {}};
  }

  /// A callback of `resource` runs from here to the end of the block.
  class [[nodiscard]] Scope {
   public:
    Scope(Trace trace, Resource resource, thence::Cause cause = {})
        : tracing_(trace ? trace.tracing_ : nullptr), resource_(resource) {
      if (tracing_ != nullptr) tracing_->enter(resource, cause);
    }
    /// The script gets the result of `operation`, which is the resource itself where it is not followed: the resource is settled.
    static Scope of_result(Trace trace, Resource resource, Resource operation, Outcome outcome) {
      return {trace, resource, operation, outcome};
    }
    ~Scope() {
      if (tracing_ != nullptr) tracing_->exit(resource_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Scope(Trace trace, Resource resource, Resource operation, Outcome outcome)
        : tracing_(trace ? trace.tracing_ : nullptr), resource_(resource) {
      if (tracing_ != nullptr) tracing_->enter_with_result(resource, operation, outcome);
    }

    Tracing* tracing_;
    Resource resource_;
  };

  // ---- through the script, with the worker's own value in V8's continuation data, in which the tracer's may be too

  /// The worker calls the script (Carry) or runs its microtasks (Microtasks), to the end of the block.
  template <class Way>
  class [[nodiscard]] Into {
   public:
    Into(Trace trace, v8::Isolate* isolate, v8::Local<v8::Context> context, v8::Local<v8::Value> value)
        : way_(trace.is_light() ? go(*trace.tracing_->light(), context, value) : std::optional<Way>()) {
      if constexpr (std::same_as<Way, Tracing::Light::Carry>) {  // it is the microtasks' too
        if (!way_) thence::v8_adapter::set_continuation_data(isolate, context, value);
      }
    }

   private:
    [[gnu::noinline]] static std::optional<Way> go(Tracing::Light& light, v8::Local<v8::Context> context, v8::Local<v8::Value> value) {
      return std::optional<Way>(std::in_place, light, context, value);
    }

    std::optional<Way> way_;
  };
  using Carry = Into<Tracing::Light::Carry>;
  using Microtasks = Into<Tracing::Light::Microtasks>;

  /// The worker settles promises, and calls no script.
  class [[nodiscard]] Settling {
   public:
    Settling(Trace trace, v8::Isolate* isolate, v8::Local<v8::Context> context, v8::Local<v8::Value> value) {
      if (trace.is_light()) way_.emplace(*trace.tracing_->light());
      thence::v8_adapter::set_continuation_data(isolate, context, value);
    }

   private:
    std::optional<Tracing::Light::Settling> way_;
  };

  /// The script calls the worker, to the end of the block.
  class [[nodiscard]] Caller {
   public:
    Caller(Trace trace, v8::Isolate* isolate)
        : isolate_(isolate), way_(trace.is_light() ? go(*trace.tracing_->light(), isolate) : std::optional<Tracing::Light::Caller>()) {}
    v8::Local<v8::Value> value() const {
      if (way_) return way_->host_value();
      return thence::v8_adapter::continuation_data(isolate_, isolate_->GetCurrentContext());
    }

   private:
    [[gnu::noinline]] static std::optional<Tracing::Light::Caller> go(Tracing::Light& light, v8::Isolate* isolate) {
      return std::optional<Tracing::Light::Caller>(std::in_place, light, isolate->GetCurrentContext());
    }

    v8::Isolate* isolate_;
    std::optional<Tracing::Light::Caller> way_;
  };

  /// The worker's value, wherever it is asked for.
  v8::Local<v8::Value> continuation_value(v8::Isolate* isolate, v8::Local<v8::Context> context) const {
    if (is_light()) return tracing_->host_value(context);
    return thence::v8_adapter::continuation_data(isolate, context);
  }

 private:
  Tracing* tracing_ = nullptr;
};

}  // namespace worker
