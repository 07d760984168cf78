// SPDX-License-Identifier: MIT
// A session that writes a file keeps no more of a long trace than of a short one.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "support/catch.hpp"
#include "thence/session/session.hpp"
#include "thence/session/trace_files.hpp"

namespace {
std::size_t live_bytes = 0;  // one thread only
std::size_t peak_bytes = 0;
}  // namespace

void* operator new(std::size_t size) {
  void* const made = std::malloc(size == 0 ? 1 : size);
  if (made == nullptr) std::abort();
  live_bytes += ::malloc_usable_size(made);
  peak_bytes = std::max(peak_bytes, live_bytes);
  return made;
}
void* operator new[](std::size_t size) { return ::operator new(size); }
// A sanitizer's own would not match the deletes below.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return ::operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return ::operator new(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto align = static_cast<std::size_t>(alignment);
  void* const made = std::aligned_alloc(align, (size + align - 1) / align * align);
  if (made == nullptr) std::abort();
  live_bytes += ::malloc_usable_size(made);
  peak_bytes = std::max(peak_bytes, live_bytes);
  return made;
}
void operator delete(void* made) noexcept {
  if (made != nullptr) live_bytes -= ::malloc_usable_size(made);
  std::free(made);
}
void operator delete[](void* made) noexcept { ::operator delete(made); }
void operator delete(void* made, std::size_t) noexcept { ::operator delete(made); }
void operator delete[](void* made, std::size_t) noexcept { ::operator delete(made); }
void operator delete(void* made, std::align_val_t) noexcept { ::operator delete(made); }
void operator delete(void* made, std::size_t, std::align_val_t) noexcept { ::operator delete(made); }

using namespace thence;

namespace {

std::uint64_t trace_time = 1'000'000'000;

/// A lane with three million events a second.
struct PacedPolicies : DefaultPolicies {
  using Clock = ManualClock;
};

constexpr unsigned kOperations = 19;
constexpr std::uint64_t kEventsOfRequest = 6 + 6 * kOperations;

void record_request(BasicTracer<PacedPolicies>& tracer) {
  const auto next = [&]() -> auto& {
    trace_time += 300;
    return tracer;
  };
  const Resource root = next().begin_root();
  Resource operations[kOperations];
  next().enter(root);
  for (Resource& operation : operations) operation = next().create(ResourceType::kFetch);
  next().exit(root);
  for (const Resource operation : operations) {
    next().schedule(operation);
    next().enter(operation);
    next().settle(operation, Outcome::kFulfilled);
    next().exit(operation);
    next().destroy(operation);
  }
  next().settle(root, Outcome::kFulfilled);
  next().destroy(root);
  next().finish_root(root);
}

}  // namespace

TEST_CASE("memory of a session with a file does not depend on how long the trace is") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t kMost = 1'000'000;
#else
  constexpr std::uint64_t kMost = 10'000'000;
#endif
  const char* const path = "session_memory.pftrace";
  SessionOptions options;
  options.drain_thread = false;
  BasicSession<PacedPolicies> session(options, ManualClock(&trace_time));
  session.add_sink(PerfettoFile(path));
  session.start();
  auto lane = session.attach("loop");
  std::uint64_t events = 0;
  const auto record_until = [&](std::uint64_t wanted) {
    while (events < wanted) {
      for (unsigned request = 0; request < 40; ++request) record_request(lane.tracer());
      events += 40 * kEventsOfRequest;
      session.drain();
    }
    return peak_bytes;
  };
  const std::size_t short_peak = record_until(10'000);
  // Requests that have ended wait for what may come late: 10 ms, here 33 000 events.
  const std::size_t steady_peak = record_until(200'000);
  const std::size_t long_peak = record_until(kMost);
  session.close();
  std::printf("peak of memory: %zu KB after 10 000 events, %zu KB after 200 000, %zu KB after %llu\n", short_peak / 1024, steady_peak / 1024,
              long_peak / 1024, static_cast<unsigned long long>(events));
  CHECK(session.statistics().lost == 0);
  CHECK(long_peak <= steady_peak + 4096);
  CHECK(long_peak <= short_peak + (std::size_t{4} << 20));
  ::unlink(path);
}
