// SPDX-License-Identifier: MIT
#include "runtime.hpp"

#include <kj/debug.h>

#include <iterator>
#include <utility>

#include "log.hpp"
#include "natives.hpp"
#include "versions.hpp"

namespace worker {

namespace {

constexpr auto kWaitUntilLimit = 30 * kj::SECONDS;  // after the response; what still waits is then cancelled
constexpr auto kPlatformTasksEvery = 200 * kj::MILLISECONDS;

kj::Exception script_exception(ScriptError& error) {
  return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::mv(error.text));
}

}  // namespace

Runtime::Runtime(const Options& options, Engine& engine, Providers providers, const kj::HttpHeaderTable& header_table,
                 Trace trace)
    : engine_(engine),
      trace_(trace),
      providers_(providers),
      modules_(engine, options.script),
      bridge_(engine, trace),
      kv_(providers.port, options.kv_file),
      outbound_(providers.timer, providers.network, header_table, trace),
      top_level_(engine, providers.timer, trace, 0),
      tasks_(*this) {
  engine_.on_unhandled_rejection = [](std::uint32_t request, const kj::String& text) {
    log(request, "unhandled rejection", text);
  };
  engine_.on_stopped = [this](std::uint32_t number, bool in_microtasks) {
    if (in_microtasks) drop_microtasks();  // as V8 did with its queue
    const auto found = requests_.find(number);
    if (found == requests_.end()) {
      log(0, "error", "the script ran longer than the limit and was stopped");
      return;
    }
    found->second->abort(KJ_EXCEPTION(FAILED, "the script ran longer than the limit and was stopped"));
  };
  install_web_api(options);
  tasks_.add(platform_tasks());
}

Runtime::~Runtime() noexcept(false) {
  engine_.on_unhandled_rejection = nullptr;
  engine_.on_stopped = nullptr;
}

void Runtime::install_web_api(const Options& options) {
  auto error = engine_.enter(0, [&] {
    v8::Isolate* isolate = engine_.isolate();
    const v8::Local<v8::Context> context = isolate->GetCurrentContext();
    v8::Local<v8::Object> natives = make_natives(*this);
    natives_.Reset(isolate, natives);
    for (const PreludeFile* file = kPrelude; file->name != nullptr; ++file) {
      v8::ScriptOrigin origin = origin_of(isolate, engine_.string(kj::str("workerd-internal:", file->name)), false);
      v8::ScriptCompiler::Source source(engine_.string(file->source), origin);
      v8::Local<v8::Script> script;
      v8::Local<v8::Value> function;
      if (!v8::ScriptCompiler::Compile(context, &source).ToLocal(&script) || !script->Run(context).ToLocal(&function))
        return;
      v8::Local<v8::Value> arguments[] = {natives, context->Global()};
      if (function.As<v8::Function>()->Call(context, v8::Undefined(isolate), 2, arguments).IsEmpty()) return;
    }
    const v8::Local<v8::Object> vars = v8::Object::New(isolate);
    for (const auto& [name, value] : options.env) {
      vars->Set(context, engine_.string(name.c_str()), engine_.string(value.c_str())).Check();
    }
    v8::Local<v8::Value> arguments[] = {vars};
    if (native_function("make_env").As<v8::Function>()->Call(context, v8::Undefined(isolate), 1, arguments).IsEmpty())
      return;
    bridge_.set_watch(native_function("watch").As<v8::Function>());
  });
  if (auto* what = if_some(error)) kj::throwFatalException(script_exception(*what));
}

v8::Local<v8::Value> Runtime::native_function(const char* name) {
  return natives_.Get(engine_.isolate())
      ->Get(engine_.isolate()->GetCurrentContext(), engine_.string(name))
      .ToLocalChecked();
}

kj::Promise<void> Runtime::load() {
  kj::Maybe<kj::Promise<bool>> evaluated;
  v8::Global<v8::Module> main;
  auto error = engine_.enter(0, [&] {
    const v8::Local<v8::Context> context = engine_.isolate()->GetCurrentContext();
    v8::Local<v8::Module> module;
    v8::Local<v8::Value> result;
    if (!modules_.load_main().ToLocal(&module) || !module->Evaluate(context).ToLocal(&result)) return;
    main.Reset(engine_.isolate(), module);
    evaluated = bridge_.to_kj<bool>(top_level_, result.As<v8::Promise>(), [](v8::Local<v8::Value>) { return true; });
  });
  if (auto* what = if_some(error)) return script_exception(*what);
  return if_some(evaluated)->then([this, main = std::move(main)](bool) -> kj::Promise<void> {
    bool found = false;
    engine_.enter(0, [&] {
      v8::Isolate* isolate = engine_.isolate();
      const v8::Local<v8::Context> context = isolate->GetCurrentContext();
      const v8::Local<v8::Object> exported = main.Get(isolate)->GetModuleNamespace().As<v8::Object>();
      v8::Local<v8::Value> handler;
      v8::Local<v8::Value> function;
      if (!exported->Get(context, engine_.string("default")).ToLocal(&handler) || !handler->IsObject()) return;
      if (!handler.As<v8::Object>()->Get(context, engine_.string("fetch")).ToLocal(&function)) return;
      found = function->IsFunction();
      handler_.Reset(isolate, handler.As<v8::Object>());
    });
    if (!found)
      return KJ_EXCEPTION(
          FAILED, "the script has no fetch(): expected export default { async fetch(request, env, ctx) {...} }");
    return kj::READY_NOW;
  });
}

Request& Runtime::begin_request(bool asked) {
  const std::uint32_t number = next_request_++;
  auto request = kj::heap<Request>(engine_, providers_.timer, trace_, number, trace_.begin_root(asked));
  Request& result = *request;
  requests_[number] = kj::mv(request);
  return result;
}

kj::Promise<Answer> Runtime::dispatch(Request& request, kj::StringPtr method, kj::StringPtr url,
                                      const FlatHeaders& headers, bool has_body) {
  kj::Maybe<kj::Promise<Answer>> answer;
  const Trace::Scope scope(trace_, request.root(), thence::Cause::external());
  auto error = engine_.enter(request.number(), [&] {
    v8::Isolate* isolate = engine_.isolate();
    const v8::Local<v8::Context> context = isolate->GetCurrentContext();
    const auto flat = v8::Array::New(isolate, static_cast<int>(headers.size()));
    for (std::uint32_t i = 0; i < headers.size(); ++i)
      flat->Set(context, i, engine_.bytes_as_latin1(headers[i])).Check();
    v8::Local<v8::Value> arguments[] = {
        handler_.Get(isolate), engine_.string(method), engine_.string(url), flat,
        v8::Integer::NewFromUnsigned(isolate, has_body ? Request::kIncomingBody : Request::kNoBody)};
    v8::Local<v8::Value> result;
    if (!native_function("dispatch")
             .As<v8::Function>()
             ->Call(context, v8::Undefined(isolate), 5, arguments)
             .ToLocal(&result))
      return;
    answer = bridge_.to_kj<Answer>(request, result.As<v8::Promise>(), [this, &request](v8::Local<v8::Value> value) {
      return read_answer(request, value);
    });
  });
  if (auto* what = if_some(error)) return script_exception(*what);
  return request.when_aborted().then([]() -> Answer { KJ_UNREACHABLE; }).exclusiveJoin(kj::mv(*if_some(answer)));
}

Answer Runtime::read_answer(Request& request, v8::Local<v8::Value> value) {
  const v8::Local<v8::Context> context = engine_.isolate()->GetCurrentContext();
  const v8::Local<v8::Object> object = value.As<v8::Object>();
  const auto get = [&](const char* name) { return object->Get(context, engine_.string(name)).ToLocalChecked(); };
  Answer answer;
  answer.status = get("status")->Uint32Value(context).FromMaybe(500);
  answer.status_text = engine_.text(get("status_text"));
  const auto headers = get("headers").As<v8::Array>();
  for (std::uint32_t i = 0; i < headers->Length(); ++i) {
    answer.headers.push_back(engine_.latin1(headers->Get(context, i).ToLocalChecked()));
  }
  const v8::Local<v8::Value> body = get("body");
  if (body->IsUint32()) {
    answer.passed_on = request.take_body(body.As<v8::Uint32>()->Value());
    KJ_REQUIRE(answer.passed_on.stream.get() != nullptr,
               "the body of the response belongs to another request, or has been read");
  } else {
    answer.bytes = engine_.bytes(body);
  }
  return answer;
}

// ---- the end of a request ----------------------------------------------------------------------------

void Runtime::response_done(Request& request, Outcome outcome) {
  request.response_done();
  trace_.settle_root(request.root(), outcome);
  if (!request.is_over()) {
    request.add_task(providers_.timer.afterDelay(kWaitUntilLimit).then([this, number = request.number()] {
      log(number, "warn", "waitUntil() took longer than 30 s after the response; what was left is cancelled");
      retire(number);
    }));
  }
  retire_if_over(request);
}

void Runtime::retire_if_over(Request& request) {
  if (request.is_over()) retire(request.number());
}

void Runtime::retire(std::uint32_t number) {
  auto node = requests_.extract(number);
  if (node.empty()) return;
  bridge_.drop(number);
  // Later: the continuation that called this may belong to the request.
  tasks_.add(kj::evalLater([this, request = kj::mv(node.mapped())]() mutable {
    const Resource root = request->root();
    request = nullptr;  // what is still pending is cancelled, and seen to be
    trace_.finish_root(root);
    if (!requests_.empty()) return;
    if (auto* idle = if_some(idle_)) (*idle)->fulfill();
  }));
}

kj::Promise<void> Runtime::when_idle() {
  if (requests_.empty()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  idle_ = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

// ---- for the natives ---------------------------------------------------------------------------------

Request* Runtime::find_request(std::uint32_t number) {
  if (number == 0) return &top_level_;
  const auto found = requests_.find(number);
  return found == requests_.end() ? nullptr : found->second.get();
}

void Runtime::queue_microtask(Request& request, v8::Local<v8::Function> callback) {
  Microtask& task = microtasks_.emplace_back(Microtask{.runtime = *this,
                                                       .request = request.number(),
                                                       .callback = v8::Global<v8::Function>(engine_.isolate(), callback),
                                                       .resource = trace_.begin(ResourceType::kMicrotask)});
  task.place = std::prev(microtasks_.end());
  engine_.isolate()->EnqueueMicrotask(&run_microtask, &task);
}

void Runtime::drop_microtasks() {
  for (const Microtask& task : microtasks_) {
    trace_.settle(task.resource, Outcome::kCancelled);
    trace_.destroy(task.resource);
  }
  microtasks_.clear();
}

void Runtime::run_microtask(void* microtask) {
  Runtime& self = static_cast<Microtask*>(microtask)->runtime;
  v8::Isolate* isolate = self.engine_.isolate();
  const v8::HandleScope handles(isolate);
  const v8::Local<v8::Context> context = self.engine_.context();
  const v8::Context::Scope context_scope(context);
  std::list<Microtask> running;
  running.splice(running.end(), self.microtasks_, static_cast<Microtask*>(microtask)->place);
  const Microtask& task = running.front();
  self.trace_.settle(task.resource, Outcome::kFulfilled);
  KJ_DEFER(self.trace_.destroy(task.resource));
  const Trace::Scope scope(self.trace_, task.resource);
  const Trace::Carry carry(self.trace_, isolate, context, self.engine_.value_of(task.request));
  const v8::TryCatch caught(isolate);
  [[maybe_unused]] const auto result = task.callback.Get(isolate)->Call(context, v8::Undefined(isolate), 0, nullptr);
  if (caught.HasCaught() && !caught.HasTerminated())
    log(task.request, "uncaught in a microtask", self.engine_.describe(caught));
}

void Runtime::wait_until(Request& request, v8::Local<v8::Promise> promise) {
  if (request.number() == 0) return;
  request.waiting();
  const std::uint32_t number = request.number();
  request.add_task(bridge_.to_kj<bool>(request, promise, [](v8::Local<v8::Value>) { return true; })
                       .then([](bool) {},
                             [number](kj::Exception&& exception) {
                               log(number, "rejected in waitUntil", exception.getDescription());
                             })
                       .then([this, &request] {
                         request.waited();
                         retire_if_over(request);
                       }));
}

kj::Promise<void> Runtime::platform_tasks() {
  return providers_.timer.afterDelay(kPlatformTasksEvery).then([this] {
    engine_.run_platform_tasks();
    return platform_tasks();
  });
}

void Runtime::taskFailed(kj::Exception&& exception) { log(0, "error", exception.getDescription()); }

}  // namespace worker
