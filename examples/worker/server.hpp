// SPDX-License-Identifier: MIT
// server.hpp: the HTTP server in front of a script.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/compat/http.h>

#include <memory>

#include "runtime.hpp"

namespace worker {

/// Takes requests from sockets, gives each to the script, and sends what it answers; a script that fails is a 500.
///   Threads   the KJ thread
///   Errors    a failing script or client ends its own request only
///   Lifetime  the runtime outlives it; destroying it cancels what is in flight
class Server final : private kj::HttpServerErrorHandler, private kj::TaskSet::ErrorHandler {
 public:
  Server(Runtime& runtime, Providers providers, const kj::HttpHeaderTable& header_table);
  ~Server() noexcept(false);

  /// Serves until the promise is dropped.
  kj::Promise<void> serve(kj::ConnectionReceiver& port);
  /// Takes no more; resolved when what is in flight has been answered.
  kj::Promise<void> drain() { return http_.drain(); }

 private:
  class Connection;
  kj::Promise<void> handleApplicationError(kj::Exception exception,
                                           kj::Maybe<kj::HttpService::Response&> response) override;
  void taskFailed(kj::Exception&& exception) override;
  kj::HttpServerSettings settings();

  Runtime& runtime_;
  Providers providers_;
  const kj::HttpHeaderTable& header_table_;
  kj::HttpServer http_;
  kj::TaskSet connections_;
};

}  // namespace worker
