// SPDX-License-Identifier: MIT
#include "natives.hpp"

#include <kj/debug.h>
#include <sys/random.h>

#include <string>
#include <type_traits>
#include <utility>

#include "log.hpp"
#include "runtime.hpp"
#include "versions.hpp"

namespace worker {

namespace {

/// The arguments of one call that only computes, read with the conversions that the prelude relies on.
class Call {
 public:
  Call(Runtime& host, const v8::FunctionCallbackInfo<v8::Value>& args) : runtime(host), args_(args) {}

  Runtime& runtime;

  v8::Isolate* isolate() const { return args_.GetIsolate(); }
  v8::Local<v8::Context> context() const { return isolate()->GetCurrentContext(); }
  v8::Local<v8::Value> operator[](int n) const { return args_[n]; }
  kj::String text(int n) const { return runtime.engine().text(args_[n]); }
  std::string std_string(int n) const { return text(n).cStr(); }
  double number(int n) const { return args_[n]->NumberValue(context()).FromMaybe(0); }
  std::uint32_t uint32(int n) const { return args_[n]->Uint32Value(context()).FromMaybe(0); }

  kj::Array<kj::byte> bytes(int n) const { return runtime.engine().bytes(args_[n]); }

  FlatHeaders headers(int n) const {
    FlatHeaders result;
    if (!args_[n]->IsArray()) return result;
    const auto array = args_[n].As<v8::Array>();
    for (std::uint32_t i = 0; i < array->Length(); ++i) {
      result.push_back(runtime.engine().latin1(array->Get(context(), i).ToLocalChecked()));
    }
    return result;
  }

  void returns(v8::Local<v8::Value> value) const { args_.GetReturnValue().Set(value); }

 private:
  const v8::FunctionCallbackInfo<v8::Value>& args_;
};

/// A call that begins, ends or settles something: on behalf of the request whose script runs.
class Action : public Call {
 public:
  Action(Runtime& host, const v8::FunctionCallbackInfo<v8::Value>& args) : Call(host, args), caller_(host.trace(), args.GetIsolate()) {}

  Trace trace() const { return runtime.trace(); }
  /// The operation that this call begins, with the one thing about it that everybody wants to see.
  Resource begin(ResourceType type, std::string_view key, std::string_view value) {
    static_cast<void>(request());  // throws before anything has begun
    return trace().begin(type, key, value);
  }
  Resource begin(ResourceType type, std::string_view key, const kj::String& value) {
    return begin(type, key, std::string_view(value.begin(), value.size()));
  }

  /// The request that is asking, where it has not ended.
  Request* find_request() {
    if (request_ == nullptr) request_ = runtime.find_request(Engine::request_in(caller_.value()));
    return request_;
  }
  /// Throws where it has ended: its I/O went with it.
  Request& request() {
    Request* const request = find_request();
    if (request == nullptr) {
      kj::throwFatalException(
          KJ_EXCEPTION(FAILED, "this request is over: it can start no more I/O (see ctx.waitUntil)"));
    }
    return *request;
  }

 private:
  const Trace::Caller caller_;
  Request* request_ = nullptr;
};

v8::Local<v8::Array> header_array(Engine& engine, kj::ArrayPtr<const kj::String> headers) {
  const auto array = v8::Array::New(engine.isolate(), static_cast<int>(headers.size()));
  for (std::uint32_t i = 0; i < headers.size(); ++i) {
    array->Set(engine.isolate()->GetCurrentContext(), i, engine.bytes_as_latin1(headers[i])).Check();
  }
  return array;
}

/// A plain object, member by member.
class ObjectBuilder {
 public:
  explicit ObjectBuilder(Engine& engine) : engine_(engine), object_(v8::Object::New(engine.isolate())) {}
  // Else the compiler inlines it or not by the size of the rest of this file, with tracing or without.
  [[gnu::always_inline]] ObjectBuilder& set(const char* name, v8::Local<v8::Value> value) {
    object_->Set(engine_.isolate()->GetCurrentContext(), engine_.string(name), value).Check();
    return *this;
  }
  v8::Local<v8::Object> done() const { return object_; }

 private:
  Engine& engine_;
  v8::Local<v8::Object> object_;
};

MakeValue undefined(Engine& engine) {
  return [&engine]() -> v8::Local<v8::Value> { return v8::Undefined(engine.isolate()); };
}

// ---- fetch and bodies --------------------------------------------------------------------------------

void fetch(Action& call) {  // (method, url, host, path, headers, body) -> promise of {status, status_text, headers, body}
  Request& request = call.request();
  OutboundRequest out;
  const kj::String method = call.text(0);
  out.method = kj::tryParseHttpMethod(method).orDefault(kj::HttpMethod::GET);
  out.url = call.text(1);
  out.host = call.text(2);
  out.path = call.text(3);
  out.headers = call.headers(4);
  if (!call[5]->IsNullOrUndefined()) out.body = call.bytes(5);
  out.resource = call.begin(ResourceType::kFetch, "url", out.url);
  call.trace().annotate(out.resource, "method", method);
  Engine& engine = call.runtime.engine();
  const Resource resource = out.resource;
  auto fetched =
      call.runtime.outbound().fetch(kj::mv(out)).then([&engine, &request](OutboundResponse&& response) -> MakeValue {
        const std::uint32_t body = request.add_body({.stream = kj::mv(response.body), .resource = response.body_phase});
        return [&engine, response = kj::mv(response), body]() -> v8::Local<v8::Value> {
          v8::Isolate* isolate = engine.isolate();
          return ObjectBuilder(engine)
              .set("status", v8::Integer::NewFromUnsigned(isolate, response.status))
              .set("status_text", engine.bytes_as_latin1(response.status_text))
              .set("headers", header_array(engine, kj::arrayPtr(response.headers.data(), response.headers.size())))
              .set("body", v8::Integer::NewFromUnsigned(isolate, body))
              .done();
        };
      });
  call.returns(call.runtime.bridge().to_js(request, resource, kj::mv(fetched)));
}

void read_body(Action& call) {  // (handle) -> promise of an ArrayBuffer
  Request& request = call.request();
  const std::uint32_t handle = call.uint32(0);
  Resource resource;
  kj::Promise<kj::Array<kj::byte>> bytes = nullptr;
  if (handle == Request::kIncomingBody) {
    resource = call.begin(ResourceType::kStreamRead, "body", "of the request");
    bytes = request.read_incoming_body();
  } else {
    Request::Body body = request.take_body(handle);
    if (body.stream.get() == nullptr) {
      kj::throwFatalException(KJ_EXCEPTION(FAILED, "the body has been read, or belongs to another request"));
    }
    resource = body.resource;
    bytes = body.stream->readAllBytes(Request::kMaxBody).attach(kj::mv(body.stream));
  }
  Engine& engine = call.runtime.engine();
  const Trace trace = call.trace();
  call.returns(call.runtime.bridge().to_js(
      request, resource, bytes.then([&engine, trace, resource](kj::Array<kj::byte>&& all) -> MakeValue {
        trace.annotate(resource, "bytes", all.size());
        return [&engine, all = kj::mv(all)]() -> v8::Local<v8::Value> { return engine.array_buffer(all); };
      })));
}

void drop_body(Action& call) { call.request().drop_body(call.uint32(0)); }  // (handle)

// ---- timers and microtasks ---------------------------------------------------------------------------

void set_timer(Action& call) {  // (callback, milliseconds, repeat, arguments) -> id
  const std::uint32_t id = call.request().timers().set(call[0].As<v8::Function>(), call.number(1), call[2]->IsTrue(),
                                                       call[3].As<v8::Array>());
  call.returns(v8::Integer::NewFromUnsigned(call.isolate(), id));
}

void clear_timer(Action& call) {  // (id)
  Request* request = call.find_request();
  if (request != nullptr) request->timers().clear(call.uint32(0));
}

void queue_microtask(Action& call) {  // (callback)
  call.runtime.queue_microtask(call.request(), call[0].As<v8::Function>());
}

// ---- caches.default ----------------------------------------------------------------------------------

void cache_get(Action& call) {  // (url) -> promise of {status, status_text, headers, body}, or undefined
  Runtime& runtime = call.runtime;
  Engine& engine = runtime.engine();
  std::string key = call.std_string(0);
  const Resource resource = call.begin(ResourceType::kCacheGet, "key", key);
  call.returns(runtime.bridge().to_js(
      call.request(), resource, kj::evalLater([&runtime, &engine, resource, url = std::move(key)]() -> MakeValue {
        Cache::Hit hit = runtime.cache().get(url, runtime.timer().now());
        runtime.trace().annotate(resource, "hit", hit.response != nullptr);
        if (hit.response == nullptr) return undefined(engine);
        runtime.trace().annotate(resource, "bytes", hit.response->body.size());
        return [&engine, hit = std::move(hit)]() -> v8::Local<v8::Value> {
          const StoredResponse& stored = *hit.response;
          kj::Vector<kj::String> headers;
          for (const std::string& text : stored.headers) headers.add(kj::heapString(text.data(), text.size()));
          headers.add(kj::str("age"));
          headers.add(kj::str(hit.age));
          return ObjectBuilder(engine)
              .set("status", v8::Integer::NewFromUnsigned(engine.isolate(), stored.status))
              .set("status_text", engine.bytes_as_latin1(stored.status_text.c_str()))
              .set("headers", header_array(engine, headers))
              .set("body", engine.array_buffer(kj::arrayPtr(stored.body.data(), stored.body.size())))
              .done();
        };
      })));
}

void cache_put(Action& call) {  // (url, status, status_text, headers, body) -> promise of nothing
  Runtime& runtime = call.runtime;
  StoredResponse stored;
  stored.status = call.uint32(1);
  stored.status_text = call.std_string(2);
  for (const kj::String& text : call.headers(3)) stored.headers.emplace_back(text.cStr());
  const kj::Array<kj::byte> body = call.bytes(4);
  stored.body.assign(body.begin(), body.end());
  std::string key = call.std_string(0);
  const Resource resource = call.begin(ResourceType::kCachePut, "key", key);
  runtime.trace().annotate(resource, "bytes", body.size());
  call.returns(runtime.bridge().to_js(
      call.request(), resource,
      kj::evalLater([&runtime, resource, url = std::move(key), stored = std::move(stored)]() mutable -> MakeValue {
        const bool kept = runtime.cache().put(url, std::move(stored), runtime.timer().now());
        runtime.trace().annotate(resource, "stored", kept);
        return undefined(runtime.engine());
      })));
}

void cache_delete(Action& call) {  // (url) -> promise of whether it was there
  Runtime& runtime = call.runtime;
  std::string key = call.std_string(0);
  const Resource resource = call.begin(ResourceType::kOther, "cache_delete", key);
  call.returns(runtime.bridge().to_js(
      call.request(), resource, kj::evalLater([&runtime, url = std::move(key)]() -> MakeValue {
        const bool there = runtime.cache().remove(url);
        return
            [&runtime, there]() -> v8::Local<v8::Value> { return v8::Boolean::New(runtime.engine().isolate(), there); };
      })));
}

// ---- env.KV ------------------------------------------------------------------------------------------

void kv_get(Action& call) {  // (key) -> promise of an ArrayBuffer or null
  Engine& engine = call.runtime.engine();
  const Trace trace = call.trace();
  kj::String key = call.text(0);
  const Resource resource = call.begin(ResourceType::kKvGet, "key", key);
  auto value = call.runtime.kv()
                   .get(kj::mv(key))
                   .then([&engine, trace, resource](kj::Maybe<kj::Array<kj::byte>>&& found) -> MakeValue {
                     const auto* bytes = if_some(found);
                     trace.annotate(resource, "rows", bytes == nullptr ? 0 : 1);
                     if (bytes != nullptr) trace.annotate(resource, "bytes", bytes->size());
                     return [&engine, found = kj::mv(found)]() mutable -> v8::Local<v8::Value> {
                       const auto* all = if_some(found);
                       if (all == nullptr) return v8::Null(engine.isolate());
                       return engine.array_buffer(*all);
                     };
                   });
  call.returns(call.runtime.bridge().to_js(call.request(), resource, kj::mv(value)));
}

void kv_put(Action& call) {  // (key, bytes, seconds to live; 0: for ever) -> promise of nothing
  Engine& engine = call.runtime.engine();
  kj::String key = call.text(0);
  kj::Array<kj::byte> bytes = call.bytes(1);
  const Resource resource = call.begin(ResourceType::kKvPut, "key", key);
  call.trace().annotate(resource, "bytes", bytes.size());
  auto done =
      call.runtime.kv().put(kj::mv(key), kj::mv(bytes), call.number(2)).then([&engine] { return undefined(engine); });
  call.returns(call.runtime.bridge().to_js(call.request(), resource, kj::mv(done)));
}

void kv_delete(Action& call) {  // (key) -> promise of nothing
  Engine& engine = call.runtime.engine();
  const Trace trace = call.trace();
  kj::String key = call.text(0);
  const Resource resource = call.begin(ResourceType::kKvDelete, "key", key);
  auto done = call.runtime.kv().remove(kj::mv(key)).then([&engine, trace, resource](bool there) {
    trace.annotate(resource, "rows", there ? 1 : 0);
    return undefined(engine);
  });
  call.returns(call.runtime.bridge().to_js(call.request(), resource, kj::mv(done)));
}

void kv_list(Action& call) {  // (prefix, limit, after) -> promise of an array of names
  Engine& engine = call.runtime.engine();
  const Trace trace = call.trace();
  kj::String prefix = call.text(0);
  const Resource resource = call.begin(ResourceType::kKvList, "prefix", prefix);
  auto names = call.runtime.kv()
                   .list(kj::mv(prefix), call.uint32(1), call.text(2))
                   .then([&engine, trace, resource](kj::Array<kj::String>&& all) -> MakeValue {
                     trace.annotate(resource, "rows", all.size());
                     return [&engine, all = kj::mv(all)]() -> v8::Local<v8::Value> {
                       const auto array = v8::Array::New(engine.isolate(), static_cast<int>(all.size()));
                       for (std::uint32_t i = 0; i < all.size(); ++i) {
                         array->Set(engine.isolate()->GetCurrentContext(), i, engine.string(all[i])).Check();
                       }
                       return array;
                     };
                   });
  call.returns(call.runtime.bridge().to_js(call.request(), resource, kj::mv(names)));
}

// ---- the rest ----------------------------------------------------------------------------------------

void wait_until(Action& call) { call.runtime.wait_until(call.request(), call[0].As<v8::Promise>()); }  // (promise)

void write_log(Call& call) {  // (level, text)
  log(call.runtime.engine().current_request(), call.text(0), call.text(1));
}

void utf8_encode(Call& call) {  // (string) -> ArrayBuffer
  const v8::String::Utf8Value utf8(call.isolate(), call[0]);
  call.returns(call.runtime.engine().array_buffer(
      kj::arrayPtr(reinterpret_cast<const kj::byte*>(*utf8), static_cast<std::size_t>(utf8.length()))));
}

void utf8_decode(Call& call) {  // (bytes) -> string; U+FFFD for what is malformed
  const kj::Array<kj::byte> bytes = call.bytes(0);
  v8::Local<v8::String> text;
  if (v8::String::NewFromUtf8(call.isolate(), reinterpret_cast<const char*>(bytes.begin()), v8::NewStringType::kNormal,
                              static_cast<int>(bytes.size()))
          .ToLocal(&text)) {
    call.returns(text);
  }
}

void random_bytes(Call& call) {  // (count) -> ArrayBuffer
  auto bytes = kj::heapArray<kj::byte>(call.uint32(0) & 0xffffU);
  KJ_SYSCALL(getrandom(bytes.begin(), bytes.size(), 0));
  call.returns(call.runtime.engine().array_buffer(bytes));
}

void fulfilled(Action& call) {  // (id, value)
  call.runtime.bridge().fulfilled(static_cast<std::uint64_t>(call.number(0)), call[1]);
}
void rejected(Action& call) {  // (id, reason)
  call.runtime.bridge().rejected(static_cast<std::uint64_t>(call.number(0)), call[1]);
}

template <class CallOfIt>
std::type_identity<CallOfIt> argument_of(void (*)(CallOfIt&));

/// From V8 to the function above. What it throws becomes a TypeError: no C++ exception passes through V8.
template <auto kFunction>
void enter_native(const v8::FunctionCallbackInfo<v8::Value>& args) {
  Runtime& runtime = *static_cast<Runtime*>(args.Data().As<v8::External>()->Value());
  typename decltype(argument_of(kFunction))::type call(runtime, args);
  auto thrown = kj::runCatchingExceptions([&] { kFunction(call); });
  if (const auto* exception = if_some(thrown)) {
    args.GetIsolate()->ThrowException(v8::Exception::TypeError(runtime.engine().string(exception->getDescription())));
  }
}

}  // namespace

v8::Local<v8::Object> make_natives(Runtime& runtime) {
  Engine& engine = runtime.engine();
  v8::Isolate* isolate = engine.isolate();
  const v8::Local<v8::Context> context = isolate->GetCurrentContext();
  const v8::Local<v8::External> data = v8::External::New(isolate, &runtime);
  ObjectBuilder natives(engine);
  const auto add = [&](const char* name, v8::FunctionCallback callback) {
    natives.set(name, v8::Function::New(context, callback, data, 0, v8::ConstructorBehavior::kThrow).ToLocalChecked());
  };
  add("fetch", &enter_native<&fetch>);
  add("read_body", &enter_native<&read_body>);
  add("drop_body", &enter_native<&drop_body>);
  add("set_timer", &enter_native<&set_timer>);
  add("clear_timer", &enter_native<&clear_timer>);
  add("queue_microtask", &enter_native<&queue_microtask>);
  add("cache_get", &enter_native<&cache_get>);
  add("cache_put", &enter_native<&cache_put>);
  add("cache_delete", &enter_native<&cache_delete>);
  add("kv_get", &enter_native<&kv_get>);
  add("kv_put", &enter_native<&kv_put>);
  add("kv_delete", &enter_native<&kv_delete>);
  add("kv_list", &enter_native<&kv_list>);
  add("wait_until", &enter_native<&wait_until>);
  add("log", &enter_native<&write_log>);
  add("utf8_encode", &enter_native<&utf8_encode>);
  add("utf8_decode", &enter_native<&utf8_decode>);
  add("random_bytes", &enter_native<&random_bytes>);
  add("fulfilled", &enter_native<&fulfilled>);
  add("rejected", &enter_native<&rejected>);
  return natives.done();
}

}  // namespace worker
