// SPDX-License-Identifier: MIT
// main.cpp: `worker serve app.js`: reads the options, joins the parts, serves until it is told to stop.
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/compat/http.h>
#include <kj/debug.h>

#include <csignal>
#include <cstdio>
#include <optional>

#include "engine.hpp"
#include "log.hpp"
#include "options.hpp"
#include "runtime.hpp"
#include "server.hpp"
#include "tracing.hpp"
#include "versions.hpp"

namespace worker {
namespace {

kj::Promise<void> told_to_stop(kj::UnixEventPort& port) {
  return port.onSignal(SIGINT).ignoreResult().exclusiveJoin(port.onSignal(SIGTERM).ignoreResult());
}

int serve(const Options& options) {
  // Before any thread starts, so that all of them leave these signals to the event loop.
  kj::UnixEventPort::captureSignal(SIGINT);
  kj::UnixEventPort::captureSignal(SIGTERM);
  std::signal(SIGPIPE, SIG_IGN);

  auto io = kj::setupAsyncIo();
  kj::HttpHeaderTable::Builder table_builder;
  const kj::Own<kj::HttpHeaderTable> header_table = table_builder.build();
  const Providers providers{
      .timer = io.provider->getTimer(), .network = io.provider->getNetwork(), .port = io.unixEventPort};

  // Before the engine and the loop's other users, for it outlives it; without --trace there is none, and no hook in V8.
  std::optional<Tracing> tracing;
  if (options.trace_folder) tracing.emplace(*options.trace_folder, options.trace_when, options.trace_mode, options.trace_json);
  const Trace trace = tracing ? Trace(*tracing) : Trace();
  Engine engine(options.script_limit, options.v8_flags, trace);
  KJ_DEFER(if (tracing) tracing->unfollow());
  if (tracing) {
    engine.on_rejection = [&](const v8::PromiseRejectMessage& message) { tracing->note_rejection(message); };
    engine.enter(0, [&] { tracing->follow(engine.isolate(), engine.context()); });
  }
  Runtime runtime(options, engine, providers, *header_table, trace);
  runtime.load().wait(io.waitScope);

  Server server(runtime, providers, *header_table);
  auto address = providers.network.parseAddress(options.host.c_str(), options.port).wait(io.waitScope);
  auto port = address->listen();
  std::printf("worker: listening on http://%s:%u/\n", options.host.c_str(), port->getPort());
  std::fflush(stdout);

  server.serve(*port).exclusiveJoin(told_to_stop(io.unixEventPort)).wait(io.waitScope);
  port = nullptr;  // no more connections

  log(0, "info", kj::str("stopping; requests in flight: ", runtime.requests_in_flight()));
  auto in_time = server.drain().then([&] { return runtime.when_idle(); }).then([] { return true; });
  auto too_late = providers.timer.afterDelay(options.grace.count() * kj::MILLISECONDS)
                      .exclusiveJoin(told_to_stop(io.unixEventPort))
                      .then([] { return false; });
  if (!in_time.exclusiveJoin(kj::mv(too_late)).wait(io.waitScope)) {
    log(0, "warn", kj::str("cancelled after the grace: ", runtime.requests_in_flight()));
  }
  return 0;
}

}  // namespace
}  // namespace worker

int main(int argc, char** argv) {
  const worker::ParsedOptions parsed = worker::parse_options(argc, argv);
  if (!parsed.options) return parsed.exit_code;
  int result = 1;
  auto failed = kj::runCatchingExceptions([&] { result = worker::serve(*parsed.options); });
  if (const auto* exception = worker::if_some(failed)) worker::log(0, "error", exception->getDescription());
  return result;
}
