// SPDX-License-Identifier: MIT
// watchdog.hpp: stops JavaScript that runs too long.
// A script in an endless loop would hold the only thread for ever. A second thread watches the time since the isolate
// was entered and, past the limit, tells V8 to terminate; the host thread then goes on with the next request.
#pragma once

#include <v8.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace worker {

/// Stops what runs longer than `limit`.
///   Threads   start and finish: the isolate's thread, in turns
///   Cost      start, finish: one uncontended lock
///   Lifetime  its destructor joins the thread; the isolate outlives it
class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  Watchdog(v8::Isolate* isolate, std::chrono::milliseconds limit)
      : isolate_(isolate), limit_(limit), thread_([this] { watch(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void start() {
    const std::lock_guard lock(mutex_);
    running_ = true;
    deadline_ = Clock::now() + limit_;
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    running_ = false;
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!closing_) {
      // A quarter of the limit: a script is stopped at the latest at 1.25 times it.
      wake_.wait_for(lock, limit_ / 4 + std::chrono::milliseconds(1));
      if (running_ && Clock::now() >= deadline_) isolate_->TerminateExecution();
    }
  }

  v8::Isolate* isolate_;
  std::chrono::milliseconds limit_;
  std::mutex mutex_;  // held while terminating, so that only what overran is stopped
  std::condition_variable wake_;
  bool running_ = false;
  bool closing_ = false;
  Clock::time_point deadline_{};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace worker
