// SPDX-License-Identifier: MIT
#include "bridge.hpp"

#include <kj/debug.h>

#include "versions.hpp"

namespace worker {

/// The JavaScript side of one KJ promise, until it has settled or been dropped. In light mode, where no promise is followed, it is
/// what sees the operation end.
class Bridge::Target {
 public:
  Target(Engine& engine, Trace trace, std::uint32_t request, Resource operation,
         v8::Local<v8::Promise::Resolver> resolver, Resource promise)
      : engine_(engine),
        trace_(trace),
        request_(request),
        operation_(operation),
        promise_(promise) {
    resolver_.Reset(engine.isolate(), resolver);
    if (trace_) note_made();
  }
  ~Target() {
    if (trace_) note_gone();
  }

  void fulfil(MakeValue& make) {
    settle(Outcome::kFulfilled, [&](v8::Local<v8::Context> context, v8::Local<v8::Promise::Resolver> resolver) {
      trace_.resolve(context, resolver, promise_, make()).Check();
    });
  }
  void reject(const kj::Exception& exception) {
    settle(Outcome::kRejected, [&](v8::Local<v8::Context> context, v8::Local<v8::Promise::Resolver> resolver) {
      resolver->Reject(context, v8::Exception::TypeError(engine_.string(exception.getDescription()))).Check();
    });
  }

 private:
  // Out of line: what is not traced carries only the branch.
  [[gnu::noinline]] void note_made() {
    if (trace_.is_light()) {
      resource_ = operation_;
      return;
    }
    resource_ = trace_.begin_result(operation_, promise_);
  }
  [[gnu::noinline]] void note_gone() {
    if (!settled_) trace_.settle(resource_, Outcome::kCancelled);
    trace_.destroy(resource_);
  }
  template <class Settle>
  void settle(Outcome outcome, Settle&& settle_promise) {
    settled_ = true;
    const Trace::Scope scope = Trace::Scope::of_result(trace_, resource_, operation_, outcome);
    engine_.enter(
        request_, [&] { settle_promise(engine_.isolate()->GetCurrentContext(), resolver_.Get(engine_.isolate())); },
        Engine::Body::kSettles);
  }

  Engine& engine_;
  Trace trace_;
  std::uint32_t request_;
  Resource operation_;
  Resource promise_;
  Resource resource_;
  bool settled_ = false;
  v8::Global<v8::Promise::Resolver> resolver_;
};

v8::Local<v8::Promise> Bridge::to_js(Request& request, Resource operation, kj::Promise<MakeValue> promise) {
  Resource made;
  const auto resolver = trace_.make_resolver(engine_.isolate()->GetCurrentContext(), made);
  auto owned = kj::heap<Target>(engine_, trace_, request.number(), operation, resolver, made);
  Target& target = *owned;
  request.add_task(trace_.follow_to_script(kj::mv(promise), operation)
                       .then([&target](MakeValue&& make) { target.fulfil(make); },
                             [&target](kj::Exception&& exception) { target.reject(exception); })
                       .attach(kj::mv(owned)));
  return resolver->GetPromise();
}

void Bridge::watch(Request& request, v8::Local<v8::Promise> promise, kj::Own<Settler> settler) {
  v8::Isolate* isolate = engine_.isolate();
  const v8::Local<v8::Context> context = isolate->GetCurrentContext();
  const std::uint64_t id = next_id_++;
  waiting_.emplace(id, Waiting{.request = request.number(), .settler = kj::mv(settler)});
  v8::Local<v8::Value> arguments[] = {promise, v8::Number::New(isolate, static_cast<double>(id))};
  [[maybe_unused]] const auto result = watch_.Get(isolate)->Call(context, v8::Undefined(isolate), 2, arguments);
}

kj::Own<Bridge::Settler> Bridge::take(std::uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return {};
  auto settler = kj::mv(found->second.settler);
  waiting_.erase(found);
  return settler;
}

void Bridge::fulfilled(std::uint64_t id, v8::Local<v8::Value> value) {
  auto settler = take(id);
  if (settler.get() != nullptr) settler->fulfilled(value);
}

void Bridge::rejected(std::uint64_t id, v8::Local<v8::Value> reason) {
  auto settler = take(id);
  if (settler.get() == nullptr) return;
  settler->rejected(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, engine_.describe(reason)));
}

void Bridge::drop(std::uint32_t request) {
  std::erase_if(waiting_, [&](const auto& item) { return item.second.request == request; });
}

}  // namespace worker
