// SPDX-License-Identifier: MIT
// recorders.cpp: what others take for the same work: an event of two integers and a time, handed to another thread or to a
// file. Each is built in where its header is found.
#include <execinfo.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support/floor.hpp"
#include "thence/capture/tracer.hpp"

#if __has_include(<readerwriterqueue/readerwriterqueue.h>)
#include <readerwriterqueue/readerwriterqueue.h>
#define HAS_READERWRITERQUEUE 1
#elif __has_include(<readerwriterqueue.h>)
#include <readerwriterqueue.h>
#define HAS_READERWRITERQUEUE 1
#endif
#if __has_include(<boost/lockfree/spsc_queue.hpp>)
#include <boost/lockfree/spsc_queue.hpp>
#endif
#if __has_include(<spdlog/async.h>)
#include <spdlog/async.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#endif

namespace {

using thence::Event;
using thence_bench::floor_of;
using thence_bench::measured;
constexpr std::size_t kBatch = thence_bench::Floor::kBatch;

Event event(std::uint64_t n) { return {n, thence::count_of(thence::CounterClock{}.now()), n, 0}; }

template <class Push>
auto pushing(Push push) {
  return [push]() mutable {
    for (std::size_t n = 0; n != kBatch; ++n) push(n);
  };
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  {
    struct Locked {
      std::mutex mutex;
      std::vector<Event> events;
    };
    auto locked = std::make_shared<Locked>();
    locked->events.reserve(kBatch);
    measured("rivals/mutex and vector, no contention", floor_of(), kBatch, pushing([locked](std::uint64_t n) {
               const std::lock_guard lock(locked->mutex);
               locked->events.push_back(event(n));
             }), [locked] { locked->events.clear(); });
  }
#ifdef HAS_READERWRITERQUEUE
  {
    auto queue = std::make_shared<moodycamel::ReaderWriterQueue<Event>>(16'384);
    measured("rivals/moodycamel ReaderWriterQueue, alone", floor_of(), kBatch,
             pushing([queue](std::uint64_t n) { queue->try_enqueue(event(n)); }), [queue] {
               Event taken{};
               while (queue->try_dequeue(taken)) benchmark::DoNotOptimize(taken.ticks);
             });
  }
#endif
#if __has_include(<boost/lockfree/spsc_queue.hpp>)
  {
    using Queue = boost::lockfree::spsc_queue<Event, boost::lockfree::capacity<16'384>>;
    auto queue = std::make_shared<Queue>();
    measured("rivals/boost spsc_queue, alone", floor_of(), kBatch, pushing([queue](std::uint64_t n) { queue->push(event(n)); }),
             [queue] { queue->consume_all([](const Event& taken) { benchmark::DoNotOptimize(taken.ticks); }); });
  }
#endif
#if __has_include(<spdlog/async.h>)
  {
    spdlog::init_thread_pool(16'384, 1);
    auto logger = spdlog::create_async_nb<spdlog::sinks::null_sink_mt>("rival");
    measured("rivals/spdlog, asynchronous, to nowhere", floor_of(), kBatch,
             pushing([logger](std::uint64_t n) { logger->info("entered {} {}", n, n + 1); }), [] {}, 200);
  }
#endif
  measured("rivals/backtrace() of 16 frames", floor_of(), 16, [] {
    std::array<void*, 16> frames;
    for (int n = 0; n != 16; ++n) benchmark::DoNotOptimize(backtrace(frames.data(), static_cast<int>(frames.size())));
  }, [] {}, 500);
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
#if __has_include(<spdlog/async.h>)
  spdlog::shutdown();
#endif
}
