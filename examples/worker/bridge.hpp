// SPDX-License-Identifier: MIT
// bridge.hpp: the two places where a promise passes between KJ and JavaScript.
// A KJ promise becomes a JavaScript one in to_js(), a JavaScript promise becomes a KJ one in to_kj(), and nowhere else:
// a tracer that follows both sides has one place for each.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <v8.h>

#include <cstdint>
#include <unordered_map>

#include "engine.hpp"
#include "request.hpp"
#include "tracing.hpp"

namespace worker {

/// Makes the JavaScript value of a KJ result; called inside the isolate.
using MakeValue = kj::Function<v8::Local<v8::Value>()>;

/// Converts promises, each for the request that it belongs to.
///   Threads   the KJ thread
///   Lifetime  outlives the requests
class Bridge {
 public:
  Bridge(Engine& engine, Trace trace) : engine_(engine), trace_(trace) {}

  /// A JavaScript promise that settles as `promise` does; a KJ exception arrives as a TypeError. It never settles
  /// after its request has ended. `operation` is what KJ does, in the trace. Needs the isolate entered.
  v8::Local<v8::Promise> to_js(Request& request, Resource operation, kj::Promise<MakeValue> promise);

  /// A KJ promise that settles as `promise` does; `read` takes the value out while the isolate is entered. A rejection
  /// arrives as a kj::Exception with the stack as its description. Needs the isolate entered.
  template <class T, class Read>
  kj::Promise<T> to_kj(Request& request, v8::Local<v8::Promise> promise, Read read,
                       thence::SourceSite site = thence::SourceSite::current()) {
    auto pair = trace_.promise_and_fulfiller<T>(ResourceType::kJsToKj, site);
    trace_.same(trace_.resource_of(promise), pair.resource);
    watch(request, promise, kj::heap<Waiter<T, Read>>(kj::mv(pair.fulfiller), kj::mv(read)));
    return kj::mv(pair.promise);
  }

  /// The prelude's function (promise, id) => promise.then(fulfilled(id), rejected(id)).
  void set_watch(v8::Local<v8::Function> watch) { watch_.Reset(engine_.isolate(), watch); }
  void fulfilled(std::uint64_t id, v8::Local<v8::Value> value);
  void rejected(std::uint64_t id, v8::Local<v8::Value> reason);
  /// Forgets whom to tell: the request is over.
  void drop(std::uint32_t request);
  void release() { watch_.Reset(); }

 private:
  class Target;
  class Settler {
   public:
    virtual ~Settler() noexcept(false) = default;
    virtual void fulfilled(v8::Local<v8::Value> value) = 0;
    virtual void rejected(kj::Exception reason) = 0;
  };
  template <class T, class Read>
  class Waiter final : public Settler {
   public:
    Waiter(kj::Own<kj::PromiseFulfiller<T>> fulfiller, Read read)
        : fulfiller_(kj::mv(fulfiller)), read_(kj::mv(read)) {}
    void fulfilled(v8::Local<v8::Value> value) override {
      if (!fulfiller_->isWaiting()) return;  // what the value names stays the request's, and ends with it
      fulfiller_->rejectIfThrows([&] { fulfiller_->fulfill(read_(value)); });
    }
    void rejected(kj::Exception reason) override { fulfiller_->reject(kj::mv(reason)); }

   private:
    kj::Own<kj::PromiseFulfiller<T>> fulfiller_;
    Read read_;
  };
  struct Waiting {
    std::uint32_t request;
    kj::Own<Settler> settler;
  };
  void watch(Request& request, v8::Local<v8::Promise> promise, kj::Own<Settler> settler);
  kj::Own<Settler> take(std::uint64_t id);

  Engine& engine_;
  Trace trace_;
  v8::Global<v8::Function> watch_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, Waiting> waiting_;
};

}  // namespace worker
