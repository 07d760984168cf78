// SPDX-License-Identifier: MIT
// hot_path.cpp: what each call of a tracer costs, as a ratio to the floor: a reading of the processor's counter and a store
// of 32 bytes into a ring of the same size.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "support/paired.hpp"
#include "thence/capture/frame_pointers.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/storage/resource_registry.hpp"

namespace {

using namespace thence;
using thence_bench::Base;
using thence_bench::measured;

constexpr std::size_t kBatch = 2048;

/// A reading of the clock and a 32-byte store: no event costs less.
class Floor {
 public:
  explicit Floor(std::size_t slots) : slots_(slots), mask_(slots - 1) {}
  void operator()() noexcept {
    std::uint64_t at = at_;
    Event* const slots = slots_.data();
    for (std::size_t n = 0; n != kBatch; ++n) {
      const auto ticks = static_cast<std::uint64_t>(__builtin_ia32_rdtsc());
      slots[at++ & mask_] = Event{n, ticks, at, 0};
      asm volatile("" : : : "memory");
    }
    at_ = at;
  }

 private:
  std::vector<Event> slots_;
  std::size_t mask_;
  std::uint64_t at_ = 0;
};

struct PlainPolicies : DefaultPolicies {
  using Stacks = NoStacks;
};
struct NativePolicies : DefaultPolicies {
  using Stacks = FramePointerStacks;
};

template <class Policies>
struct Traced {
  explicit Traced(std::size_t slots) : tracer(link, BestClock(), {}, {}, HeapStorage(slots)) { tracer.set_epoch(1); }
  void drain() {
    tracer.ring().drain([](const RecordView&) {});
  }
  TracerLink link;
  BasicTracer<Policies> tracer;
};

/// Reads and discards on another core, looking every `period`.
template <class Tracer>
class Consumer {
 public:
  Consumer(Tracer& tracer, std::chrono::microseconds period)
      : thread_([this, &tracer, period] {
          thence_bench::pin_to(1);
          while (!stop_.load(std::memory_order_relaxed)) {
            tracer.ring().drain([](const RecordView& record) { benchmark::DoNotOptimize(record.head().ticks); });
            if (period.count() != 0) std::this_thread::sleep_for(period);
          }
        }) {}
  ~Consumer() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Calls `call` kBatch times.
template <class Call>
auto batch(Call call) {
  return [call]() mutable {
    for (std::size_t n = 0; n != kBatch; ++n) {
      call();
      asm volatile("" : : : "memory");
    }
  };
}

template <class Policies>
void calls(const std::string& group, std::size_t slots, std::shared_ptr<Traced<Policies>> traced, auto between) {
  auto& tracer = traced->tracer;
  const auto floor = [&] { return Base{std::string("the floor"), Floor(slots), kBatch}; };
  const Resource root = tracer.begin_root();
  const Resource other = tracer.create(ResourceType::kFetch);
  tracer.enter(root);
  const auto add = [&](const char* name, std::size_t events, auto call) {
    measured(group + name, floor(), kBatch * events, batch(call), between);
  };
  add("enter or exit", 2, [&tracer, other] { tracer.enter(other); tracer.exit(other); });
  add("create", 1, [&tracer] { benchmark::DoNotOptimize(tracer.create(ResourceType::kFetch)); });
  add("schedule", 1, [&tracer, other] { tracer.schedule(other); });
  add("settle", 1, [&tracer, other] { tracer.settle(other, Outcome::kFulfilled); });
  add("destroy", 1, [&tracer, other] { tracer.destroy(other); });
  add("link", 1, [&tracer, other, root] { tracer.link(root, other); });
  add("annotate", 1, [&tracer, other] { tracer.annotate(other, "url", "https://a.b/c"); });
  add("annotate number", 1, [&tracer, other] { tracer.annotate(other, "status", 200); });
  add("life", 1, [&tracer] {
    const Resource one = tracer.create(ResourceType::kFetch);
    tracer.schedule(one);
    tracer.enter(one);
    tracer.exit(one);
    tracer.settle(one, Outcome::kFulfilled);
    tracer.destroy(one);
  });
  add("life, sharing moments", 1, [&tracer] {
    const auto born = tracer.at(tracer.now());
    const Resource one = born.create(ResourceType::kFetch);
    born.schedule(one);
    tracer.enter(one);
    const auto end = tracer.at(tracer.now());
    end.settle(one, Outcome::kFulfilled);
    end.exit(one);
    end.destroy(one);
  });
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  constexpr std::size_t kSlots = 16384;
  auto alone = std::make_shared<Traced<PlainPolicies>>(kSlots);
  calls("alone/", kSlots, alone, [alone] { alone->drain(); });
  auto sites = std::make_shared<Traced<DefaultPolicies>>(kSlots);
  measured("alone/create, call site", Base{std::string("the floor"), Floor(kSlots), kBatch}, kBatch,
           batch([sites] { benchmark::DoNotOptimize(sites->tracer.create(ResourceType::kFetch)); }), [sites] { sites->drain(); });
  auto stopped = std::make_shared<Traced<DefaultPolicies>>(kSlots);
  stopped->tracer.set_epoch(0);
  measured("stopped/enter+exit, each", Base{std::string("the floor"), Floor(kSlots), kBatch}, kBatch,
           batch([stopped] { stopped->tracer.enter({ResourceId{5}, RootId{1}}); stopped->tracer.exit({ResourceId{5}, RootId{1}}); }), [] {});
  measured("stopped/create", Base{std::string("the floor"), Floor(kSlots), kBatch}, kBatch,
           batch([stopped] { benchmark::DoNotOptimize(stopped->tracer.create(ResourceType::kFetch)); }), [] {});
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
