// SPDX-License-Identifier: MIT
#include "engine.hpp"

#include <kj/debug.h>
#include <kj/vector.h>
#include <libplatform/libplatform.h>

#include <cstring>

#include "versions.hpp"

namespace worker {

namespace {
constexpr std::size_t kYoungGenerationBytes = 24 << 20;
Engine* the_engine = nullptr;  // V8's rejection callback carries no data of the host's
}  // namespace

Engine::Engine(std::chrono::milliseconds script_limit, const std::string& v8_flags, Trace trace)
    : platform_(v8::platform::NewDefaultPlatform(1)),
      allocator_(v8::ArrayBuffer::Allocator::NewDefaultAllocator()),
      trace_(trace) {
  KJ_REQUIRE(the_engine == nullptr, "one engine a process");
  the_engine = this;
  if (trace) v8::V8::SetFlagsFromString("--turbo-fast-api-calls");
  v8::V8::SetFlagsFromString(v8_flags.data(), v8_flags.size());
  v8::V8::InitializePlatform(platform_.get());
  v8::V8::Initialize();

  v8::Isolate::CreateParams params;
  params.array_buffer_allocator = allocator_.get();
  // At its full size from the beginning: V8 would grow it by doubling over minutes, which looks like a leak and is none.
  params.constraints.set_initial_young_generation_size_in_bytes(kYoungGenerationBytes);
  params.constraints.set_max_young_generation_size_in_bytes(kYoungGenerationBytes);
  isolate_ = v8::Isolate::New(params);
  isolate_->Enter();
  isolate_->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  isolate_->SetPromiseRejectCallback(&promise_rejected);
  v8::HandleScope handles(isolate_);
  context_.Reset(isolate_, v8::Context::New(isolate_));
  if (script_limit.count() > 0) watchdog_ = std::make_unique<Watchdog>(isolate_, script_limit);
}

Engine::~Engine() {
  watchdog_ = nullptr;
  rejections_.clear();
  context_.Reset();
  isolate_->Exit();
  isolate_->Dispose();
  v8::V8::Dispose();
  v8::V8::DisposePlatform();
  the_engine = nullptr;
}

kj::Maybe<ScriptError> Engine::enter(std::uint32_t request, kj::FunctionParam<void()> body, Body what) {
  KJ_REQUIRE(!entered_, "the isolate is entered already");
  v8::HandleScope handles(isolate_);
  const v8::Local<v8::Context> context = this->context();
  const v8::Context::Scope context_scope(context);
  const v8::Local<v8::Value> whose = value_of(request);
  entered_ = true;
  if (watchdog_) watchdog_->start();

  kj::Maybe<ScriptError> error;
  bool stopped = false, in_microtasks = false;
  {
    const v8::TryCatch caught(isolate_);
    if (what == Body::kSettles) {
      const Trace::Settling settling(trace_, isolate_, context, whose);
      body();
    } else {
      const Trace::Carry carry(trace_, isolate_, context, whose);
      body();
    }
    stopped = caught.HasTerminated();
    if (caught.HasCaught() && !stopped) error = ScriptError{.text = describe(caught)};
  }
  if (!stopped) {
    const v8::TryCatch caught(isolate_);
    const Trace::Microtasks each_its_own(trace_, isolate_, context, whose);
    isolate_->PerformMicrotaskCheckpoint();
    trace_.checkpoint_done();
    stopped = in_microtasks = caught.HasTerminated();
  }

  if (watchdog_) watchdog_->finish();
  stopped = stopped || isolate_->IsExecutionTerminating();
  isolate_->CancelTerminateExecution();  // no termination may reach the next entry
  if (stopped) {
    error = ScriptError{.text = kj::str("the script ran longer than the limit and was stopped"), .stopped = true};
  }
  if (!rejections_.empty()) report_rejections();
  set_current_request(0);
  entered_ = false;
  if (stopped && on_stopped) on_stopped(request, in_microtasks);
  return error;
}

std::uint32_t Engine::current_request() const {
  return request_in(trace_.continuation_value(isolate_, isolate_->GetCurrentContext()));
}

std::uint32_t Engine::request_in(v8::Local<v8::Value> value) {
  return !value.IsEmpty() && value->IsUint32() ? value.As<v8::Uint32>()->Value() : 0;
}

void Engine::set_current_request(std::uint32_t request) {
  thence::v8_adapter::set_continuation_data(isolate_, context(), value_of(request));
}

void Engine::run_platform_tasks() {
  enter(0, [&] {
    while (v8::platform::PumpMessageLoop(platform_.get(), isolate_)) {
    }
  });
}

// ---- rejections --------------------------------------------------------------------------------------

void Engine::promise_rejected(v8::PromiseRejectMessage message) {
  Engine& self = *the_engine;
  const v8::Local<v8::Promise> promise = message.GetPromise();
  if (self.on_rejection) self.on_rejection(message);
  switch (message.GetEvent()) {
    case v8::kPromiseRejectWithNoHandler: {
      Rejection rejection;
      rejection.promise.Reset(self.isolate_, promise);
      rejection.reason.Reset(self.isolate_, message.GetValue());
      rejection.request = self.current_request();
      self.rejections_.push_back(std::move(rejection));
      break;
    }
    case v8::kPromiseHandlerAddedAfterReject:
      std::erase_if(self.rejections_, [&](const Rejection& rejection) { return rejection.promise == promise; });
      break;
    case v8::kPromiseRejectAfterResolved:
    case v8::kPromiseResolveAfterResolved: break;
  }
}

void Engine::report_rejections() {
  const auto rejections = std::exchange(rejections_, {});
  for (const Rejection& rejection : rejections) {
    set_current_request(rejection.request);  // describing it may run getters of the script
    if (on_unhandled_rejection) on_unhandled_rejection(rejection.request, describe(rejection.reason.Get(isolate_)));
  }
}

// ---- texts -------------------------------------------------------------------------------------------

kj::String Engine::describe(v8::Local<v8::Value> thrown) {
  const v8::TryCatch ignore(isolate_);  // a getter of the script's may throw
  if (thrown->IsObject()) {
    v8::Local<v8::Value> stack;
    if (thrown.As<v8::Object>()->Get(isolate_->GetCurrentContext(), string("stack")).ToLocal(&stack) &&
        stack->IsString()) {
      return text(stack);
    }
  }
  return text(thrown);
}

kj::String Engine::describe(const v8::TryCatch& caught) {
  const v8::Local<v8::Context> context = isolate_->GetCurrentContext();
  const v8::Local<v8::Value> thrown = caught.Exception();
  if (thrown.IsEmpty()) return kj::str("stopped");
  const v8::Local<v8::Message> message = caught.Message();
  if (message.IsEmpty()) return describe(thrown);
  const kj::String place =
      kj::str(text(message->GetScriptResourceName()), ":", message->GetLineNumber(context).FromMaybe(0), ":",
              message->GetStartColumn(context).FromMaybe(-1) + 1, ": ");
  // The stack of a SyntaxError does not say where: the place does, and the source line shows it.
  if (thrown->IsNativeError() && describe(thrown).startsWith("SyntaxError")) {
    v8::Local<v8::String> line;
    kj::String source = message->GetSourceLine(context).ToLocal(&line) ? text(line) : kj::String();
    kj::String caret = kj::str(
        kj::repeat(' ', static_cast<kj::uint>(std::max(0, message->GetStartColumn(context).FromMaybe(0)))), "^");
    const kj::String what = describe(thrown);
    const size_t end = what.asPtr().findFirst('\n').orDefault(what.size());
    return kj::str(place, what.slice(0, end), "\n  ", source, "\n  ", caret);
  }
  return kj::str(place, describe(thrown));
}

v8::Local<v8::String> Engine::string(kj::StringPtr utf8) const {
  v8::Local<v8::String> result;
  if (v8::String::NewFromUtf8(isolate_, utf8.begin(), v8::NewStringType::kNormal, static_cast<int>(utf8.size()))
          .ToLocal(&result)) {
    return result;
  }
  return v8::String::Empty(isolate_);  // longer than V8 allows
}

v8::Local<v8::String> Engine::bytes_as_latin1(kj::StringPtr bytes) const {
  v8::Local<v8::String> result;
  if (v8::String::NewFromOneByte(isolate_, reinterpret_cast<const std::uint8_t*>(bytes.begin()),
                                 v8::NewStringType::kNormal, static_cast<int>(bytes.size()))
          .ToLocal(&result)) {
    return result;
  }
  return v8::String::Empty(isolate_);
}

kj::String Engine::text(v8::Local<v8::Value> value) const {
  const v8::TryCatch ignore(isolate_);
  const v8::String::Utf8Value utf8(isolate_, value);
  if (*utf8 == nullptr) return kj::str("(a value that cannot be shown)");
  return kj::heapString(*utf8, static_cast<size_t>(utf8.length()));
}

kj::String Engine::latin1(v8::Local<v8::Value> value) const {
  const kj::String utf8 = text(value);
  kj::Vector<char> out(utf8.size() + 1);
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    if (byte >= 0xc0 && i + 1 < utf8.size()) {  // two bytes of UTF-8 are one character up to U+00FF
      out.add(static_cast<char>(((byte & 0x03U) << 6U) | (static_cast<unsigned char>(utf8[++i]) & 0x3fU)));
    } else {
      out.add(utf8[i]);
    }
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

kj::Array<kj::byte> Engine::bytes(v8::Local<v8::Value> value) const {
  if (value->IsArrayBufferView()) {
    const auto view = value.As<v8::ArrayBufferView>();
    auto copy = kj::heapArray<kj::byte>(view->ByteLength());
    view->CopyContents(copy.begin(), copy.size());
    return copy;
  }
  if (value->IsArrayBuffer()) {
    const auto buffer = value.As<v8::ArrayBuffer>();
    return kj::heapArray(static_cast<const kj::byte*>(buffer->Data()), buffer->ByteLength());
  }
  return {};
}

v8::Local<v8::ArrayBuffer> Engine::array_buffer(kj::ArrayPtr<const kj::byte> bytes) const {
  const v8::Local<v8::ArrayBuffer> buffer = v8::ArrayBuffer::New(isolate_, bytes.size());
  if (bytes.size() != 0) std::memcpy(buffer->Data(), bytes.begin(), bytes.size());
  return buffer;
}

}  // namespace worker
