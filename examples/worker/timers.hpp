// SPDX-License-Identifier: MIT
// timers.hpp: setTimeout and setInterval of one request, on the KJ timer.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>
#include <v8.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine.hpp"
#include "tracing.hpp"

namespace worker {

/// The timers of one request; all are cancelled with it.
///   Threads   the KJ thread; set and clear also from inside a callback
///   Errors    what a callback throws goes to the log
class Timers {
 public:
  Timers(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t request);
  ~Timers() noexcept(false);

  std::uint32_t set(v8::Local<v8::Function> callback, double milliseconds, bool repeat, v8::Local<v8::Array> arguments);
  void clear(std::uint32_t id);

 private:
  struct Entry {
    v8::Global<v8::Function> callback;
    v8::Global<v8::Array> arguments;
    kj::Duration delay = 0 * kj::NANOSECONDS;
    bool repeat = false;
    bool cleared = false;
    Resource resource = {};  // one for all the callbacks of an interval
    kj::Promise<void> task = nullptr;
  };
  kj::Promise<void> run(std::uint32_t id);
  void fire(Entry& entry);
  void discard(std::uint32_t id);
  void end(const Entry& entry, Outcome outcome);

  Engine& engine_;
  kj::Timer& timer_;
  Trace trace_;
  std::uint32_t request_;
  std::uint32_t running_ = 0;  // the one whose callback is on the stack
  std::unordered_map<std::uint32_t, kj::Own<Entry>> entries_;
  kj::Promise<void> discarded_;  // finished tasks, freed when they are off the stack
};

}  // namespace worker
