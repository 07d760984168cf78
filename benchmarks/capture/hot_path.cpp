// SPDX-License-Identifier: MIT
// hot_path.cpp: what each call of a tracer costs, as a ratio to the floor: a reading of the processor's counter and a store
// of 32 bytes into a ring of the same size.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "capture/call_batches.hpp"
#include "support/beside_reader.hpp"
#include "thence/capture/frame_pointers.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/resource_registry.hpp"

namespace {

using namespace thence;
using thence_bench::floor_of;
using thence_bench::measured;
using thence_bench::measured_beside_reader;
using thence_bench::PlainPolicies;
using thence_bench::use;

constexpr std::size_t kBatch = thence_bench::Floor::kBatch;

struct NativePolicies : DefaultPolicies {
  using Stacks = FramePointerStacks;
};

struct SpillPolicies : PlainPolicies {
  using Overflow = SpillOnce;
};
struct FlightPolicies : PlainPolicies {
  using Buffer = FlightRecorder<HeapStorage>;
};
struct SystemClockPolicies : PlainPolicies {
  using Clock = BoottimeClock;
};

template <class Policies>
struct Traced {
  template <class... More>
  explicit Traced(std::size_t slots, More... more) : tracer(link, {}, {}, {}, HeapStorage(slots), HeapStorage(more)...) {
    tracer.set_epoch(1);
  }
  void drain() {
    tracer.ring().drain([](const RecordView&) {});
  }
  TracerLink link;
  BasicTracer<Policies> tracer;
};

/// Calls `call` kBatch times.
template <class Call>
auto batch(Call call) {
  return [call]() mutable { thence_bench::repeat(kBatch, call); };
}

template <class Policies>
void calls(const std::string& group, std::shared_ptr<Traced<Policies>> traced, auto between) {
  auto& tracer = traced->tracer;
  const Resource root = tracer.begin_root();
  const Resource other = tracer.create(ResourceType::kFetch);
  tracer.enter(root);
  const auto add = [&](const char* name, std::size_t events, auto call) {
    measured(group + name, floor_of(), kBatch * events, batch(call), between);
  };
  add("enter or exit", 2, [&tracer, other] { tracer.enter(other); tracer.exit(other); });
  add("create", 1, [&tracer] { use(tracer.create(ResourceType::kFetch)); });
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

/// Sixteen frames deep, each with its frame pointer.
template <int Depth, class Call>
[[gnu::noinline]] void deep(Call& call) {
  if constexpr (Depth == 0) {
    call();
  } else {
    deep<Depth - 1>(call);
    asm volatile("" : : : "memory");  // no tail call
  }
}

/// A lane that is entered and left, by this program or by a shared library, while another core reads and discards.
struct EnteredAndExited : Traced<PlainPolicies> {
  using Calls = void(thence_bench::PlainTracer&, Resource, std::size_t);
  EnteredAndExited(std::size_t slots, Calls* calls_) : Traced(slots), calls(calls_) {}
  void run() { calls(tracer, {ResourceId{5}, RootId{1}}, kBatch); }
  void read() {
    tracer.ring().drain([](const RecordView& record) { thence_bench::read(record.head()); });
  }
  std::size_t waiting() { return tracer.ring().fill(); }
  std::uint64_t lost() { return tracer.ring().lost(); }
  Calls* calls;
};

/// A reader that looks rarely needs a ring for what comes in between.
void with_reader(const std::string& group, EnteredAndExited::Calls* calls, std::size_t slots, unsigned microseconds) {
  const std::chrono::microseconds period(microseconds);
  const std::string name = group + "enter or exit, ring of " + std::to_string(slots * sizeof(Event) >> 20) + " MiB, a reader " +
                           thence_bench::looking(period);
  measured_beside_reader(name, slots, 2, period, [calls](std::size_t size) { return std::make_unique<EnteredAndExited>(size, calls); });
}
void enter_and_exit_here(thence_bench::PlainTracer& tracer, Resource resource, std::size_t times) {
  thence_bench::enter_and_exit(tracer, resource, times);
}

/// The same source, compiled into this program and into a shared library.
void from_a_shared_library() {
  namespace shared = thence_bench::shared;
  const auto add = [](const std::string& name, std::size_t events, auto call) {
    auto traced = std::make_shared<Traced<PlainPolicies>>(16'384);
    measured("shared library/" + name, floor_of(), kBatch * events, [traced, call] { call(traced->tracer); },
             [traced] { traced->drain(); });
  };
  const Resource one{ResourceId{5}, RootId{1}};
  add("enter or exit", 2, [one](auto& tracer) { shared::enter_and_exit(tracer, one, kBatch); });
  add("enter or exit, in the program", 2, [one](auto& tracer) { thence_bench::enter_and_exit(tracer, one, kBatch); });
  add("create", 1, [](auto& tracer) { shared::create(tracer, kBatch); });
  add("create, in the program", 1, [](auto& tracer) { thence_bench::create(tracer, kBatch); });
  add("life", 1, [](auto& tracer) { shared::live(tracer, kBatch); });
  add("life, in the program", 1, [](auto& tracer) { thence_bench::live(tracer, kBatch); });
  with_reader("shared library/", &shared::enter_and_exit, 32'768, 100);
}

/// What another choice costs; `more`: the slots of a reserve.
template <class Policies>
void policy(const std::string& name, auto... more) {
  auto traced = std::make_shared<Traced<Policies>>(std::size_t{16'384}, std::size_t{more}...);
  measured("policies/" + name + ": enter or exit", floor_of(), kBatch * 2, [traced] {
    thence_bench::repeat(kBatch, [&] {
      traced->tracer.enter({ResourceId{5}, RootId{1}});
      traced->tracer.exit({ResourceId{5}, RootId{1}});
    });
  }, [traced] { traced->drain(); });
}

void components() {
  auto registry = std::make_shared<ResourceRegistry>(65'536);
  auto nodes = std::make_shared<std::vector<std::uint64_t>>(10'000);
  for (std::size_t at = 0; at != nodes->size(); ++at) registry->insert(nodes->data() + at, {{ResourceId{at + 1}, RootId{1}}, {}, {}});
  measured("hot path/registry: find, one of 10 000", floor_of(), kBatch, [registry, nodes, at = std::size_t{0}]() mutable {
    for (std::size_t n = 0; n != kBatch; ++n) {
      at = (at + 617) % nodes->size();
      benchmark::DoNotOptimize(registry->find(nodes->data() + at));
    }
  }, [] {});
  auto words = std::make_shared<StackWords>();
  std::vector<std::uint64_t> frames(17, 0x5555'0000);
  for (std::size_t at = 0; at != frames.size(); ++at) frames[at] += at * 4099;
  measured("hot path/a stack of 16 frames, found again", floor_of(), kBatch, [words, frames] {
    for (std::size_t n = 0; n != kBatch; ++n) {
      asm volatile("" : : : "memory");
      benchmark::DoNotOptimize(words->intern(frames));
    }
  }, [] {});
  auto native = std::make_shared<Traced<NativePolicies>>(16384);
  measured("hot path/create with a native stack of 16 frames", floor_of(), kBatch, [native] {
    auto call = batch([native] { use(native->tracer.create(ResourceType::kFetch)); });
    deep<12>(call);
  }, [native] { native->drain(); });
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  constexpr std::size_t kSlots = 16384;
  auto alone = std::make_shared<Traced<PlainPolicies>>(kSlots);
  calls("hot path/", alone, [alone] { alone->drain(); });
  auto sites = std::make_shared<Traced<DefaultPolicies>>(kSlots);
  measured("hot path/create, with its call site", floor_of(), kBatch,
           batch([sites] { use(sites->tracer.create(ResourceType::kFetch)); }), [sites] { sites->drain(); });
  auto stopped = std::make_shared<Traced<DefaultPolicies>>(kSlots);
  stopped->tracer.set_epoch(0);
  measured("stopped/enter or exit", floor_of(), kBatch * 2, batch([stopped] {
             stopped->tracer.enter({ResourceId{5}, RootId{1}});
             stopped->tracer.exit({ResourceId{5}, RootId{1}});
           }), [] {});
  measured("stopped/create", floor_of(), kBatch,
           batch([stopped] { use(stopped->tracer.create(ResourceType::kFetch)); }), [] {});
  components();
  policy<PlainPolicies>("DropNewest");
  policy<SpillPolicies>("SpillOnce", 65'536u);
  policy<FlightPolicies>("FlightRecorder");
  policy<SystemClockPolicies>("BoottimeClock (clock_gettime)");
  from_a_shared_library();
  for (const unsigned period : {0u, 100u}) with_reader("live reader/", &enter_and_exit_here, 32'768, period);
  for (const unsigned period : {0u, 100u, 500u}) with_reader("live reader/", &enter_and_exit_here, 131'072, period);
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
