// SPDX-License-Identifier: MIT
// engine.hpp: the V8 isolate, and the one way into JavaScript.
// Whatever calls a script (a request, a timer, a promise settled by I/O) goes through Engine::enter(). It marks whose
// work it is, lets no script run for ever, runs the microtasks before it returns, and tells what went wrong.
//   kj::Maybe<ScriptError> error = engine.enter(request, [&] { callback->Call(...); });
#pragma once

#include <kj/common.h>
#include <kj/exception.h>
#include <kj/function.h>
#include <kj/string.h>
#include <v8.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tracing.hpp"
#include "watchdog.hpp"

namespace worker {

/// What a script did wrong, as text for the log: the stack where there is one.
struct ScriptError {
  kj::String text;
  bool stopped = false;  // it ran longer than the limit and was stopped
};

/// Owns V8 in this process: the platform, one isolate, one context.
///   Threads   the thread that made it
///   Errors    a script's errors are returned; V8 itself out of memory ends the process
///   Lifetime  one at a time; it outlives every handle
class Engine {
 public:
  /// Where there is a trace, V8 may call C++ straight from compiled code, for the tracer's hooks.
  Engine(std::chrono::milliseconds script_limit, const std::string& v8_flags, Trace trace);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  v8::Isolate* isolate() const { return isolate_; }
  v8::Local<v8::Context> context() const { return context_.Get(isolate_); }  // needs a HandleScope

  enum class Body { kCallsScript, kSettles };  // settles promises, and calls no script
  /// Runs `body` inside the isolate and the context, as part of the request with this number (0: none), and then the
  /// microtasks. An exception that leaves `body` is returned. Entering again from inside `body` is an error.
  kj::Maybe<ScriptError> enter(std::uint32_t request, kj::FunctionParam<void()> body, Body what = Body::kCallsScript);

  /// The request that the running JavaScript belongs to, also after any number of awaits; 0 where there is none.
  std::uint32_t current_request() const;

  /// What V8 carries along for a request (see Trace::Carry), and the request that a value it has carried is of.
  v8::Local<v8::Value> value_of(std::uint32_t request) const { return v8::Integer::NewFromUnsigned(isolate_, request); }
  static std::uint32_t request_in(v8::Local<v8::Value> value);

  /// Called after an entry for each rejection that nobody handles.
  std::function<void(std::uint32_t request, kj::String text)> on_unhandled_rejection;
  /// Called as V8 tells of rejections, each a first or a changed word on one promise.
  std::function<void(const v8::PromiseRejectMessage& message)> on_rejection;
  /// Called when an entry was stopped at the limit. Where that was among its microtasks, V8 has dropped those that were left.
  std::function<void(std::uint32_t request, bool in_microtasks)> on_stopped;

  /// Lets V8 do its own background work (finalisers, WebAssembly); called now and then from the event loop.
  void run_platform_tasks();

  /// A thrown value as text: its stack, or the value itself. Needs a HandleScope and the context entered.
  kj::String describe(v8::Local<v8::Value> thrown);
  /// The same for something that V8 reports with a place: "file:line:column: message", the source line, the stack.
  kj::String describe(const v8::TryCatch& caught);

  // Small conversions; need a HandleScope.
  v8::Local<v8::String> string(kj::StringPtr utf8) const;
  v8::Local<v8::String> bytes_as_latin1(kj::StringPtr bytes) const;
  kj::String text(v8::Local<v8::Value> value) const;
  /// Header text: in JavaScript one character a byte, on the wire the bytes themselves.
  kj::String latin1(v8::Local<v8::Value> value) const;
  /// A copy of the bytes of an ArrayBuffer or a view on one; none for anything else.
  kj::Array<kj::byte> bytes(v8::Local<v8::Value> value) const;
  v8::Local<v8::ArrayBuffer> array_buffer(kj::ArrayPtr<const kj::byte> bytes) const;

 private:
  struct Rejection {
    v8::Global<v8::Promise> promise;
    v8::Global<v8::Value> reason;
    std::uint32_t request;
  };
  void set_current_request(std::uint32_t request);
  static void promise_rejected(v8::PromiseRejectMessage message);
  void report_rejections();

  std::unique_ptr<v8::Platform> platform_;
  std::unique_ptr<v8::ArrayBuffer::Allocator> allocator_;
  v8::Isolate* isolate_ = nullptr;
  v8::Global<v8::Context> context_;
  std::vector<Rejection> rejections_;
  std::unique_ptr<Watchdog> watchdog_;
  Trace trace_;
  bool entered_ = false;
};

}  // namespace worker
