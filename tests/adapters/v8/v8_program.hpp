// SPDX-License-Identifier: MIT
// v8_program.hpp: an isolate with a script in it, traced, and what was recorded as lines that a test can spell out.
//
//   Program program{{.hooks = Hooks::kContext}};
//   program.run("name(Promise.resolve(1), 'p').then(() => {})");
//   program.microtasks();
//   CHECK(program.lines() == Lines{"p created", "p fulfilled by outside", "1 created", "1 awaits p", ...});
//
// A promise is called as the script named it, else by its place among the unnamed ones, in order of creation.
#pragma once

#include <libplatform/libplatform.h>
#include <v8.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/recording_sink.hpp"
#include "thence/adapters/v8.hpp"
#include "thence/session/session.hpp"

namespace thence_test {

namespace v8a = thence::v8_adapter;
using Lines = std::vector<std::string>;

/// V8's flags for this program: fast API calls as in a host that wants them (the default since V8 12), and gc().
#ifndef THENCE_TEST_V8_FLAGS
#define THENCE_TEST_V8_FLAGS "--turbo-fast-api-calls --expose-gc"
#endif

/// How many stacks a test that compares them with V8's own takes at least: THENCE_TEST_CAPTURES, else `usual`.
[[nodiscard]] inline std::uint64_t captures_wanted(std::uint64_t usual) {
  const char* const asked = std::getenv("THENCE_TEST_CAPTURES");
  return asked == nullptr ? usual : std::strtoull(asked, nullptr, 10);
}

/// V8 for the whole process, started at its first use.
class Engine {
 public:
  static void start() { static const Engine engine; }

 private:
  Engine() : platform_(v8::platform::NewDefaultPlatform(1)) {
    v8::V8::SetFlagsFromString(THENCE_TEST_V8_FLAGS);
    v8::V8::InitializePlatform(platform_.get());
    v8::V8::Initialize();
  }
  ~Engine() {
    v8::V8::Dispose();
    v8::V8::DisposePlatform();
  }

  std::unique_ptr<v8::Platform> platform_;
};

struct DisposeIsolate {
  void operator()(v8::Isolate* isolate) const { isolate->Dispose(); }
};
using IsolateOwner = std::unique_ptr<v8::Isolate, DisposeIsolate>;

[[nodiscard]] inline std::shared_ptr<v8::ArrayBuffer::Allocator> allocator() {
  static const std::shared_ptr<v8::ArrayBuffer::Allocator> shared{v8::ArrayBuffer::Allocator::NewDefaultAllocator()};
  return shared;
}

[[nodiscard]] inline IsolateOwner make_isolate() {
  Engine::start();
  v8::Isolate::CreateParams params;
  params.array_buffer_allocator_shared = allocator();
  IsolateOwner isolate{v8::Isolate::New(params)};
  isolate->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  return isolate;
}

#if V8_MAJOR_VERSION < 11
/// A host whose objects of two internal fields are wrappers of its own, to which the collector leads it: it is told their fields. Until
/// V8 12 a CppHeap is told in the same way, and reads where the first one points.
class WrapperTracer final : public v8::EmbedderHeapTracer {
 public:
  explicit WrapperTracer(v8::Isolate* isolate) : isolate_(isolate) { isolate->SetEmbedderHeapTracer(this); }
  ~WrapperTracer() override { isolate_->SetEmbedderHeapTracer(nullptr); }
  WrapperTracer(const WrapperTracer&) = delete;
  WrapperTracer& operator=(const WrapperTracer&) = delete;

  /// How many wrappers there are.
  [[nodiscard]] std::size_t collect() {
    wrappers_ = 0;
    isolate_->RequestGarbageCollectionForTesting(v8::Isolate::kFullGarbageCollection);
    return wrappers_;
  }

 private:
  void RegisterV8References(const std::vector<std::pair<void*, void*>>& fields) override { wrappers_ += fields.size(); }
  bool AdvanceTracing(double) override { return true; }
  bool IsTracingDone() override { return true; }
  void EnterFinalPause(EmbedderStackState) override {}

  v8::Isolate* isolate_;
  std::size_t wrappers_ = 0;
};
#endif

class Program {
 public:
  struct Options {
    v8a::PromiseOptions promises = {};
    bool follow = true;
    bool start = true;
    bool keep = true;  ///< what is recorded; else it is drained by the session's thread and thrown away
    std::size_t ring_events = 1 << 18;
  };

  Program() : Program(Options{}) {}
  explicit Program(v8a::Hooks hooks)
      : Program(Options{.promises = {.hooks = hooks, .stacks = {.mode = v8a::StackMode::kNone}, .gc_pauses = false}}) {}
  explicit Program(Options options) : session(session_options(options)), isolate_(make_isolate()) {
    if (options.keep) session.add_sink(RecordingSink(recording));
    if (options.start) session.start();
    lane = session.attach("script");
    in_isolate_.emplace(isolate_.get());
    handles_.emplace(isolate_.get());
    context = new_context();
    promises = std::make_unique<v8a::PromiseTracer>(isolate_.get(), lane.tracer(), options.promises);
    if (options.follow) follow(context);
    in_context_.emplace(context);
  }
  ~Program() {
    promises.reset();
    resolvers_.clear();
    in_context_.reset();
    handles_.reset();
    in_isolate_.reset();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] v8::Isolate* isolate() const { return isolate_.get(); }
  [[nodiscard]] thence::Tracer& tracer() { return lane.tracer(); }

  v8::Local<v8::Context> new_context() {
    const auto made = v8::Context::New(isolate());
    made->SetSecurityToken(v8::Integer::New(isolate(), 1));  // all may touch each other
    const v8::Context::Scope scope(made);
    expose(made, "name", &name_promise);
    expose(made, "host", &host_promise);
    expose(made, "checkpoint", &checkpoint);
    return made;
  }
  void follow(v8::Local<v8::Context> which) {
    if (!promises->follow(which)) throw std::runtime_error("could not follow");
  }
  void expose(v8::Local<v8::Context> where, const char* name, v8::FunctionCallback callback) {
    const auto function = v8::Function::New(where, callback, v8::External::New(isolate(), this)).ToLocalChecked();
    where->Global()->Set(where, text(name), function).Check();
  }
  [[nodiscard]] v8::Local<v8::String> text(std::string_view characters) const {
    return v8::String::NewFromUtf8(isolate(), characters.data(), v8::NewStringType::kNormal,
                                   static_cast<int>(characters.size()))
        .ToLocalChecked();
  }

  /// The value of the script; throws what it throws, as text.
  v8::Local<v8::Value> run(std::string_view source) { return run_in(context, source); }
  v8::Local<v8::Value> run_in(v8::Local<v8::Context> where, std::string_view source) {
    const v8::Context::Scope scope(where);
    v8::TryCatch caught(isolate());
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> value;
    if (!v8::Script::Compile(where, text(source)).ToLocal(&script) || !script->Run(where).ToLocal(&value)) {
      const v8::String::Utf8Value message(isolate(), caught.Exception());
      throw std::runtime_error(*message == nullptr ? "exception" : *message);
    }
    return value;
  }
  [[nodiscard]] std::string text_of(std::string_view source) {
    const v8::String::Utf8Value value(isolate(), run(source));
    return *value == nullptr ? "" : *value;
  }
  void microtasks() { isolate()->PerformMicrotaskCheckpoint(); }

  /// The promise that host('x') made in the script, settled by the host.
  void resolve(const std::string& name, v8::Local<v8::Value> value) {
    resolvers_.at(name).Get(isolate())->Resolve(context, value).Check();
  }
  void resolve(const std::string& name) { resolve(name, v8::Undefined(isolate())); }
  void reject(const std::string& name) { resolvers_.at(name).Get(isolate())->Reject(context, text("no")).Check(); }

  void call_it(thence::Resource resource, std::string name) { names_[resource.id] = std::move(name); }

  /// Everything recorded so far.
  [[nodiscard]] Lines lines() {
    promises->flush();
    session.stop();
    Lines out;
    int unnamed = 0;
    for (const RecordedEvent& event : recording.events) {
      if (event.kind == thence::EventKind::kCreated && !names_.contains(event.resource)) {
        names_[event.resource] = std::to_string(++unnamed);
      }
    }
    for (const RecordedEvent& event : recording.events) out.push_back(line(event));
    recording.events.clear();
    session.start();
    return out;
  }
  /// Those about one resource.
  [[nodiscard]] static Lines about(const Lines& lines, std::string_view name) {
    Lines out;
    for (const std::string& one : lines)
      if (one.starts_with(std::string(name) + " ")) out.push_back(one);
    return out;
  }

  Recording recording;
  thence::Session session;
  thence::Lane lane;
  v8::Local<v8::Context> context;
  std::unique_ptr<v8a::PromiseTracer> promises;

 private:
  static thence::SessionOptions session_options(const Options& program) {
    thence::SessionOptions options;
    options.drain_thread = !program.keep;
    options.ring_events = program.ring_events;
    return options;
  }

  [[nodiscard]] std::string called(thence::ResourceId id) const {
    if (id == thence::ResourceId::kNone) return "nothing";
    const auto found = names_.find(id);
    return found == names_.end() ? "?" : found->second;
  }
  [[nodiscard]] std::string line(const RecordedEvent& event) const {
    using enum thence::EventKind;
    const std::string who = called(event.resource);
    const std::string other = called(event.other);
    switch (event.kind) {
      case kCreated: return who + " created" + (event.other == thence::ResourceId::kNone ? "" : " in " + other);
      case kLinked: return who + " awaits " + other;
      case kEntered: return who + " entered" + (event.cause() == thence::CauseKind::kSettled ? " after " + other : "");
      case kExited: return who + " exited";
      case kSettled: {
        static const std::map<thence::Outcome, std::string> outcomes{{thence::Outcome::kUnknown, "settled"},
                                                                     {thence::Outcome::kFulfilled, "fulfilled"},
                                                                     {thence::Outcome::kRejected, "rejected"},
                                                                     {thence::Outcome::kCancelled, "cancelled"},
                                                                     {thence::Outcome::kResolved, "resolved"}};
        const std::string by = event.settled_by() == thence::Actor::kInvocation ? other
                               : event.settled_by() == thence::Actor::kExternal ? "outside"
                                                                                : "unknown";
        return who + " " + outcomes.at(event.outcome()) + " by " + by + (event.late ? " (late)" : "");
      }
      case kAnnotated: return who + " " + event.key + "=" + (event.value.boolean ? "true" : "false");
      case kRootFinished: return who + " finished";
      case kPauseBegan: return "pause " + std::to_string(thence::number(event.resource));
      case kPauseEnded: return "go on " + std::to_string(thence::number(event.resource));
      default: return who + " " + std::to_string(static_cast<int>(event.kind));
    }
  }

  static Program& self(const v8::FunctionCallbackInfo<v8::Value>& info) {
    return *static_cast<Program*>(info.Data().As<v8::External>()->Value());
  }
  static std::string argument(const v8::FunctionCallbackInfo<v8::Value>& info, int index) {
    const v8::String::Utf8Value text(info.GetIsolate(), info[index]);
    return *text == nullptr ? "" : *text;
  }
  static void name_promise(const v8::FunctionCallbackInfo<v8::Value>& info) {
    Program& program = self(info);
    const thence::Resource resource = program.promises->resource_of(info[0].As<v8::Promise>());
    if (resource) program.names_[resource.id] = argument(info, 1);
    info.GetReturnValue().Set(info[0]);
  }
  static void host_promise(const v8::FunctionCallbackInfo<v8::Value>& info) {
    Program& program = self(info);
    const auto resolver = v8::Promise::Resolver::New(info.GetIsolate()->GetCurrentContext()).ToLocalChecked();
    const std::string name = argument(info, 0);
    program.resolvers_[name].Reset(info.GetIsolate(), resolver);
    program.call_it(program.promises->resource_of(resolver->GetPromise()), name);
    info.GetReturnValue().Set(resolver->GetPromise());
  }
  static void checkpoint(const v8::FunctionCallbackInfo<v8::Value>& info) {
    v8::MicrotasksScope::PerformCheckpoint(info.GetIsolate());
  }

  IsolateOwner isolate_;
  std::optional<v8::Isolate::Scope> in_isolate_;
  std::optional<v8::HandleScope> handles_;
  std::optional<v8::Context::Scope> in_context_;
  std::map<std::string, v8::Global<v8::Promise::Resolver>> resolvers_;
  std::map<thence::ResourceId, std::string> names_;
};

}  // namespace thence_test
