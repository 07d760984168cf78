// SPDX-License-Identifier: MIT
// recorders.cpp: what others take for the same work: an event of two integers and a time, handed to another thread. Ours
// stands beside them. Each is built in where its header is found.
#include <execinfo.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "capture/call_batches.hpp"
#include "support/beside_reader.hpp"

#if __has_include(<readerwriterqueue/readerwriterqueue.h>)
#include <readerwriterqueue/readerwriterqueue.h>
#define HAS_READERWRITERQUEUE 1
#elif __has_include(<readerwriterqueue.h>)
#include <readerwriterqueue.h>
#define HAS_READERWRITERQUEUE 1
#endif
#if __has_include(<boost/lockfree/spsc_queue.hpp>)
#include <boost/lockfree/spsc_queue.hpp>
#define HAS_BOOST_LOCKFREE 1
#endif
#if __has_include(<spdlog/async.h>)
#include <spdlog/async.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#define HAS_SPDLOG 1
#endif

namespace {

using namespace thence;
using thence_bench::floor_of;
using thence_bench::measured;
using thence_bench::measured_beside_reader;
constexpr std::size_t kBatch = thence_bench::Floor::kBatch;

Event event(std::uint64_t n) { return {n, count_of(CounterClock{}.now()), n, 0}; }

template <class Push>
auto pushing(Push push) {
  return [push]() mutable {
    for (std::size_t n = 0; n != kBatch; ++n) push(n);
  };
}

/// A queue of events: push, take all, and how much waits at least. This one, the floor, has room without asking.
struct Unchecked {
  explicit Unchecked(std::size_t size) : slots(size) {}
  bool push(std::uint64_t n) noexcept {
    const std::uint64_t at = end.load(std::memory_order_relaxed);
    slots[at & (slots.size() - 1)] = event(n);
    end.store(at + 1, std::memory_order_release);  // pairs with take()
    return true;
  }
  void take() {
    const std::uint64_t to = end.load(std::memory_order_acquire);
    for (std::uint64_t at = begin.load(std::memory_order_relaxed); at != to; ++at) thence_bench::read(slots[at & (slots.size() - 1)]);
    begin.store(to, std::memory_order_release);  // pairs with waiting()
  }
  std::size_t waiting() { return end.load(std::memory_order_relaxed) - begin.load(std::memory_order_acquire); }
  std::vector<Event> slots;
  alignas(128) std::atomic<std::uint64_t> end{0};
  alignas(128) std::atomic<std::uint64_t> begin{0};
};
struct OurTracer {
  explicit OurTracer(std::size_t slots) : tracer(link, BestClock(), {}, {}, HeapStorage(slots)) { tracer.set_epoch(1); }
  bool push(std::uint64_t n) noexcept {
    tracer.schedule({ResourceId{n + 1}, RootId{1}});
    return true;
  }
  void take() {
    tracer.ring().drain([](const RecordView& record) { thence_bench::read(record.head()); });
  }
  std::size_t waiting() { return tracer.ring().fill(); }
  std::uint64_t lost() { return tracer.ring().lost(); }
  TracerLink link;
  thence_bench::PlainTracer tracer;
};
struct OurRing {
  explicit OurRing(std::size_t slots) : ring(HeapStorage(slots)) {}
  bool push(std::uint64_t n) noexcept { return ring.try_push(event(n)); }
  void take() {
    ring.drain([](const RecordView& record) { thence_bench::read(record.head()); });
  }
  std::size_t waiting() { return ring.fill(); }
  std::uint64_t lost() { return ring.lost(); }
  RingBuffer<> ring;
};
#ifdef HAS_READERWRITERQUEUE
struct Moodycamel {
  explicit Moodycamel(std::size_t slots) : queue(slots) {}
  bool push(std::uint64_t n) { return queue.try_enqueue(event(n)); }
  void take() {
    Event taken{};
    while (queue.try_dequeue(taken)) thence_bench::read(taken);
  }
  std::size_t waiting() { return queue.size_approx(); }
  moodycamel::ReaderWriterQueue<Event> queue;
};
#endif
#ifdef HAS_BOOST_LOCKFREE
struct BoostLockfree {
  explicit BoostLockfree(std::size_t slots) : queue(slots) {}
  bool push(std::uint64_t n) { return queue.push(event(n)); }
  void take() {
    queue.consume_all([](const Event& taken) { thence_bench::read(taken); });
  }
  std::size_t waiting() { return queue.read_available(); }
  boost::lockfree::spsc_queue<Event> queue;
};
#endif

/// A queue that is filled while another core takes from it.
template <class Queue>
struct Filled {
  explicit Filled(std::size_t slots) : queue(slots) {}
  void run() {
    for (std::size_t n = 0; n != kBatch; ++n) refused += queue.push(n) ? 0u : 1u;
  }
  void read() { queue.take(); }
  std::size_t waiting() { return queue.waiting(); }
  std::uint64_t lost() {
    if constexpr (requires { queue.lost(); }) return queue.lost();
    return refused;
  }
  Queue queue;
  std::uint64_t refused = 0;
};

/// The three ways to read: by the same core between batches, by another that spins, by another that looks now and then.
template <class Queue>
void recorder(const std::string& name) {
  auto queue = std::make_shared<Queue>(16'384);
  measured("recorders, alone/" + name, floor_of(), kBatch, pushing([queue](std::uint64_t n) { queue->push(n); }),
           [queue] { queue->take(); });
  for (const unsigned microseconds : {0u, 100u}) {
    const std::chrono::microseconds period(microseconds);
    measured_beside_reader("recorders, a reader " + thence_bench::looking(period) + "/" + name, 32'768, 1, period,
                           [](std::size_t slots) { return std::make_unique<Filled<Queue>>(slots); });
  }
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  recorder<Unchecked>("floor: a ring that never asks if it is full");
  recorder<OurTracer>("thence's tracer");
  recorder<OurRing>("thence's ring");
#ifdef HAS_READERWRITERQUEUE
  recorder<Moodycamel>("moodycamel ReaderWriterQueue (rival)");
#endif
#ifdef HAS_BOOST_LOCKFREE
  recorder<BoostLockfree>("Boost.Lockfree spsc_queue (rival)");
#endif
  {
    struct Locked {
      std::mutex mutex;
      std::vector<Event> events;
    };
    auto locked = std::make_shared<Locked>();
    locked->events.reserve(kBatch);
    measured("recorders, alone/mutex and vector (rival)", floor_of(), kBatch, pushing([locked](std::uint64_t n) {
               const std::lock_guard lock(locked->mutex);
               locked->events.push_back(event(n));
             }), [locked] { locked->events.clear(); });
  }
#ifdef HAS_SPDLOG
  {
    spdlog::init_thread_pool(16'384, 1);
    auto logger = spdlog::create_async_nb<spdlog::sinks::null_sink_mt>("rival");
    measured("recorders, alone/spdlog (rival), asynchronous, to nowhere", floor_of(), kBatch,
             pushing([logger](std::uint64_t n) { logger->info("entered {} {}", n, n + 1); }), [] {}, 200);
  }
#endif
  measured("hot path/backtrace() of 16 frames (rival)", floor_of(), 16, [] {
    std::array<void*, 16> frames;
    for (int n = 0; n != 16; ++n) benchmark::DoNotOptimize(backtrace(frames.data(), static_cast<int>(frames.size())));
  }, [] {}, 500);
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
#ifdef HAS_SPDLOG
  spdlog::shutdown();
#endif
}
