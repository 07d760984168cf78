// SPDX-License-Identifier: MIT
// hook_places.hpp: what the place tells from which V8 calls a promise hook.
//
// A hook is told a promise, and not what becomes of it: resolve() is called alike for one that is fulfilled and one that is
// rejected, init() alike for an await, which waits for the parent, and for the wrapper of an awaited plain value, which does not.
// Waiting for the next hook call shows it, at a price. But V8 has each of these calls once in each built-in function that makes it,
// and built-in functions never move: the hook's return address tells at once which one it was.
//
//   places.calibrate(isolate, context, walker);      // a script does each of these things, and its hooks note the places
//   if (places.fulfils(hook)) ...                    // `hook`: the frame of the hook
//
// A place counts only if it is V8's built-in code and does one of these things alone. Where none is found (or frames cannot be read: see
// FrameWalker), nothing is known, and the next hook call is waited for. A debugger makes V8 call the hooks from C++: no place either.
// Layer: adapters/v8 (includes config/, V8).
#pragma once

#include <v8.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/adapters/v8/frame_walker.hpp"
#include "thence/adapters/v8/packed_resource.hpp"
#include "thence/adapters/v8/v8_version.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// The places of one isolate.
///   Threads   the isolate's
///   Cost      calibrate: one call of JavaScript, once; it leaves some reactions without effect to the next
///             checkpoint. Then a few compares
///   Errors    a place that is not known is none: on other processors than x86-64 all of them, and those of an isolate that is calibrated
///             while a debugger is attached
class HookPlaces {
 public:
  [[nodiscard]] bool is_calibrated() const noexcept { return is_calibrated_; }

  /// Sets promise hooks on `context`, which must be ours alone, and clears them: V8 then needs those of other contexts set anew.
  void calibrate(::v8::Isolate* isolate, ::v8::Local<::v8::Context> context, const FrameWalker& walker) {
    if (is_calibrated_ || walker.problem() != nullptr) return;
    const ::v8::HandleScope handles(isolate);
    const ::v8::Context::Scope entered(context);
    const NoMicrotasks no_microtasks(isolate, context);
    const ::v8::TryCatch caught(isolate);
    Noted noted{walker, {}};
    ::v8::Local<::v8::String> source;
    ::v8::Local<::v8::Script> script;
    ::v8::Local<::v8::Value> factory;
    ::v8::Local<::v8::Function> probe;
    ::v8::Local<::v8::Value> made;
    if (!::v8::String::NewFromUtf8(isolate, kScript.data(), ::v8::NewStringType::kNormal, static_cast<int>(kScript.size()))
             .ToLocal(&source) ||
        !::v8::Script::Compile(context, source).ToLocal(&script) || !script->Run(context).ToLocal(&factory) ||
        !::v8::Function::New(context, &note, ::v8::External::New(isolate, &noted)).ToLocal(&probe)) {
      return;
    }
    ::v8::Local<::v8::Value> arguments[] = {probe};
    if (!factory.As<::v8::Function>()->Call(context, ::v8::Undefined(isolate), 1, arguments).ToLocal(&made)) return;
    std::array<::v8::Local<::v8::Value>, 3> functions;
    for (std::uint32_t i = 0; i < functions.size(); ++i)
      if (!made.As<::v8::Object>()->Get(context, i).ToLocal(&functions[i])) return;
    context->SetPromiseHooks(functions[0].As<::v8::Function>(), {}, {}, functions[1].As<::v8::Function>());
    is_calibrated_ = !functions[2].As<::v8::Function>()->Call(context, ::v8::Undefined(isolate), 0, nullptr).IsEmpty();
    context->SetPromiseHooks({}, {}, {}, {});
    if (is_calibrated_) learn(noted);
  }

  /// Whether the resolve hook whose frame is at `hook` is called by what fulfils the promise, without fail and at once.
  [[gnu::always_inline, nodiscard]] inline bool fulfils(std::uintptr_t hook) const noexcept {
    if constexpr (!kIsX86_64) return false;
    return place_of(hook) == fulfilling_;
  }
  /// Whether the init hook whose frame is at `hook` is called by an async function's await, or by a then(): parent() of the two that
  /// are most frequent.
  [[gnu::always_inline, nodiscard]] inline bool awaits(std::uintptr_t hook) const noexcept {
    if constexpr (!kIsX86_64) return false;
    return place_of(hook) == awaiting_[0] || place_of(hook) == awaiting_[1];
  }
  [[gnu::always_inline, nodiscard]] inline bool handles(std::uintptr_t hook) const noexcept {
    if constexpr (!kIsX86_64) return false;
    return place_of(hook) == handling_;
  }
  [[nodiscard]] ParentIs parent(std::uintptr_t hook) const noexcept {
    if constexpr (!kIsX86_64) return ParentIs::kUnknown;
    const std::uintptr_t place = hook == 0 ? 0 : place_of(hook);
    if (std::find(awaiting_.begin(), awaiting_.end(), place) != awaiting_.end()) return ParentIs::kAwaited;
    if (place == handling_) return ParentIs::kHandled;
    return std::find(wrapping_.begin(), wrapping_.end(), place) != wrapping_.end() ? ParentIs::kOwner : ParentIs::kUnknown;
  }

 private:
  static constexpr std::uintptr_t kNowhere = 1;  // no return address

  enum What : unsigned { kAwaits, kHandles, kWraps, kFulfils, kRejects, kWhats };
  static constexpr std::size_t kMaxPlaces = 8;
  using Places = std::array<std::uintptr_t, kMaxPlaces>;

  struct Noted {
    const FrameWalker& walker;
    std::array<Places, kWhats> places;
  };

  /// The four ways of await are built-in functions of their own. Nothing settles `never`; of what is left to a checkpoint none has an effect.
  static constexpr std::string_view kScript = R"js((probe) => {
    var own, fulfil, reject;
    const never = new Promise(() => {}), handled = new Promise(() => {});
    const kept = new Promise((resolve) => { fulfil = resolve });
    const broken = new Promise((_, refuse) => { reject = refuse });
    broken.then(undefined, () => {});
    return [
      (promise, parent) => {
        if (parent === undefined) own = promise;
        else if (parent === never) probe(0);
        else if (parent === handled) probe(1);
        else if (parent === own) probe(2);
      },
      (promise) => {
        if (promise === kept) probe(3);
        else if (promise === broken) probe(4);
      },
      () => {
        (async () => { await never })();
        (async () => { try { await never } catch {} })();
        handled.then();
        (async function* () { await never })().next();
        (async function* () { try { await never } catch {} })().next();
        (async () => { await 0 })();
        (async () => { try { await 0 } catch {} })();
        (async function* () { await 0 })().next();
        (async function* () { try { await 0 } catch {} })().next();
        fulfil();
        reject();
      }];
  })js";

  static void note(const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
    auto& noted = *static_cast<Noted*>(info.Data().As<::v8::External>()->Value());
    Places& places = noted.places[info[0].As<::v8::Uint32>()->Value()];
    const FrameWalker& walker = noted.walker;
    const std::uintptr_t place = walker.builtin_caller(walker.caller_of(walker.innermost_exit()));
    const auto free = std::find_if(places.begin(), places.end(), [&](std::uintptr_t one) { return one == 0 || one == place; });
    if (free != places.end()) *free = place;
  }

  void learn(const Noted& noted) noexcept {
    const auto learn_one = [&](What what, std::uintptr_t place) {
      if (place == 0) return kNowhere;
      for (unsigned other = 0; other < kWhats; ++other)
        if (other != what && std::find(noted.places[other].begin(), noted.places[other].end(), place) != noted.places[other].end())
          return kNowhere;
      return place;
    };
    fulfilling_ = learn_one(kFulfils, noted.places[kFulfils][0]);
    handling_ = learn_one(kHandles, noted.places[kHandles][0]);
    for (std::size_t i = 0; i < kMaxPlaces; ++i) {
      awaiting_[i] = learn_one(kAwaits, noted.places[kAwaits][i]);
      wrapping_[i] = learn_one(kWraps, noted.places[kWraps][i]);
    }
  }

  [[gnu::always_inline, nodiscard]] [[gnu::no_sanitize_address]] static inline std::uintptr_t place_of(std::uintptr_t hook) noexcept {
    return detail::load_word(hook + 8);
  }
  static constexpr Places nowhere() noexcept {
    Places places{};
    places.fill(kNowhere);
    return places;
  }

  std::uintptr_t fulfilling_ = kNowhere;
  std::uintptr_t handling_ = kNowhere;
  Places awaiting_ = nowhere();  // those of async functions first
  Places wrapping_ = nowhere();
  bool is_calibrated_ = false;
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
