// SPDX-License-Identifier: MIT
// request.hpp: all that belongs to one request: its I/O, its timers, its bodies, what waits for it.
// A request lives until its response is out and its waitUntil() promises have settled. Then everything that it still
// has pending (a timer, a fetch that nobody awaited) is cancelled: nothing outlives its request.
#pragma once

#include <kj/async-io.h>
#include <kj/async.h>
#include <kj/timer.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "engine.hpp"
#include "timers.hpp"

namespace worker {

/// One request, or (number 0) the script's top level, which lasts as long as the worker.
///   Threads   the KJ thread
///   Lifetime  heap; made and retired by Runtime, never while JavaScript runs
class Request final : private kj::TaskSet::ErrorHandler {
 public:
  Request(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t number, Resource root = {});
  ~Request() noexcept(false);

  std::uint32_t number() const { return number_; }
  /// The request in the trace; empty where it is not traced.
  Resource root() const { return root_; }
  Timers& timers() { return timers_; }

  /// Work that ends with the request.
  void add_task(kj::Promise<void> task) { tasks_.add(kj::mv(task)); }

  // ---- bodies: streams that scripts know by a number -----------------------------------------------

  static constexpr std::uint32_t kNoBody = 0;
  static constexpr std::uint32_t kIncomingBody = 1;

  /// The body of the request itself is KJ's, and gone when the response is out.
  void set_incoming_body(kj::AsyncInputStream& body) { incoming_ = &body; }
  struct Body {
    kj::Own<kj::AsyncInputStream> stream;  // null: it was read, or never was
    Resource resource = {};                // its arrival, in the trace
  };
  std::uint32_t add_body(Body body);
  /// The stream itself, to be read or passed on.
  Body take_body(std::uint32_t handle);
  /// Nobody will read it.
  void drop_body(std::uint32_t handle);
  /// All the bytes of the request's own body.
  kj::Promise<kj::Array<kj::byte>> read_incoming_body();

  static constexpr std::uint64_t kMaxBody = 100 << 20;  // bytes that a script may have in memory at once, a body

  // ---- the life of a request -----------------------------------------------------------------------

  /// Rejected when the script had to be stopped: the response will never come.
  kj::Promise<void> when_aborted() { return aborted_.addBranch(); }
  void abort(kj::Exception reason);

  void waiting() { ++waits_; }
  void waited() { --waits_; }
  /// The response is out, or its client has gone.
  void response_done();
  bool is_over() const { return !response_open_ && waits_ == 0; }
  bool is_response_open() const { return response_open_; }

 private:
  void taskFailed(kj::Exception&& exception) override;
  Request(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t number, Resource root,
          kj::PromiseFulfillerPair<void> abort);

  Trace trace_;
  std::uint32_t number_;
  Resource root_;
  bool response_open_ = true;
  unsigned waits_ = 0;
  kj::AsyncInputStream* incoming_ = nullptr;
  std::uint32_t next_body_ = kIncomingBody + 1;
  kj::Canceler incoming_reads_;
  kj::Own<kj::PromiseFulfiller<void>> abort_;
  kj::ForkedPromise<void> aborted_;  // goes first: while it waits, KJ takes a stack trace where its fulfiller is dropped
  std::map<std::uint32_t, Body> bodies_;
  kj::TaskSet tasks_;
  Timers timers_;
};

}  // namespace worker
