// SPDX-License-Identifier: MIT
// runtime.hpp: a script at work: joins the engine, the modules, the web API and the requests.
//   Runtime runtime(options, engine, providers, header_table);
//   runtime.load().wait(wait_scope);
//   Request& request = runtime.begin_request();
//   kj::Promise<Answer> answer = runtime.dispatch(request, ...);
//   ... send it ...
//   runtime.response_done(request);           // it is retired when its waitUntil() work is done too
#pragma once

#include <kj/async-unix.h>
#include <kj/compat/http.h>

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "bridge.hpp"
#include "cache.hpp"
#include "engine.hpp"
#include "kv.hpp"
#include "modules.hpp"
#include "options.hpp"
#include "outbound.hpp"
#include "request.hpp"

namespace worker {

/// Where the runtime gets time and sockets from. Each may be a tracer's wrapper.
struct Providers {
  kj::Timer& timer;
  kj::Network& network;
  kj::UnixEventPort& port;
};

/// What the script's fetch() returned.
struct Answer {
  unsigned status = 200;
  kj::String status_text;
  FlatHeaders headers;
  kj::Array<kj::byte> bytes;
  Request::Body passed_on;  // instead of the bytes: a fetched response, unread
};

/// One script, its world, and its requests.
///   Threads   the KJ thread
///   Errors    load() and dispatch() are rejected with the script's stack as the description
///   Lifetime  the engine outlives it; it outlives the server
class Runtime final : private kj::TaskSet::ErrorHandler {
 public:
  Runtime(const Options& options, Engine& engine, Providers providers, const kj::HttpHeaderTable& header_table,
          Trace trace);
  ~Runtime() noexcept(false);

  /// Runs the script's top level and finds its fetch().
  kj::Promise<void> load();

  /// A request begins here, and nowhere else: in the trace it is a root. `asked`: its client wants it traced.
  Request& begin_request(bool asked);

  /// Calls the script's fetch(). `url` is whole; the request's body, if any, has been set on `request`.
  kj::Promise<Answer> dispatch(Request& request, kj::StringPtr method, kj::StringPtr url, const FlatHeaders& headers,
                               bool has_body);

  /// The response is out (fulfilled; rejected where the script failed), or its client has gone (cancelled).
  void response_done(Request& request, Outcome outcome);

  /// Resolved when no request is left.
  kj::Promise<void> when_idle();
  std::size_t requests_in_flight() const { return requests_.size(); }

  // ---- for the functions that scripts call (natives.cpp) -------------------------------------------

  Engine& engine() { return engine_; }
  const Trace& trace() const { return trace_; }
  Bridge& bridge() { return bridge_; }
  Cache& cache() { return cache_; }
  KvStore& kv() { return kv_; }
  Outbound& outbound() { return outbound_; }
  kj::Timer& timer() { return providers_.timer; }
  /// Null when it is over.
  Request* find_request(std::uint32_t number);
  void queue_microtask(Request& request, v8::Local<v8::Function> callback);
  void wait_until(Request& request, v8::Local<v8::Promise> promise);

 private:
  struct Microtask {
    Runtime& runtime;
    std::uint32_t request;
    v8::Global<v8::Function> callback;
    Resource resource;
    std::list<Microtask>::iterator place{};
  };
  void install_web_api(const Options& options);
  void retire_if_over(Request& request);
  void retire(std::uint32_t number);
  static void run_microtask(void* microtask);
  void drop_microtasks();
  v8::Local<v8::Value> native_function(const char* name);
  Answer read_answer(Request& request, v8::Local<v8::Value> value);
  kj::Promise<void> platform_tasks();
  void taskFailed(kj::Exception&& exception) override;

  Engine& engine_;
  Trace trace_;
  Providers providers_;
  Modules modules_;
  Bridge bridge_;
  Cache cache_;
  KvStore kv_;
  Outbound outbound_;
  v8::Global<v8::Object> natives_;
  v8::Global<v8::Object> handler_;
  std::list<Microtask> microtasks_;  // that V8 will run; it knows each by its address
  std::uint32_t next_request_ = 1;
  Request top_level_;
  std::unordered_map<std::uint32_t, kj::Own<Request>> requests_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> idle_;
  kj::TaskSet tasks_;
};

}  // namespace worker
