// SPDX-License-Identifier: MIT
// lttng.cpp: an LTTng tracepoint of three integers. Without a session it is a load and a branch; in one (lttng_session starts
// it) it is recorded into shared memory.
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "rivals/lttng_tracepoints.hpp"

#include <cstdint>
#include <string>

#include "support/floor.hpp"

int main(int count, char** arguments) {
  using thence_bench::Floor;
  thence_bench::pin_to(0);
  const bool recorded = lttng_ust_tracepoint_enabled(thence_bench, three_integers);
  thence_bench::measured(
      recorded ? "recorders, alone/LTTng tracepoint (rival), in a session" : "stopped/LTTng tracepoint (rival), no session",
      thence_bench::floor_of(), Floor::kBatch,
      [] {
        for (std::uint64_t n = 0; n != Floor::kBatch; ++n) {
          lttng_ust_tracepoint(thence_bench, three_integers, n, n + 1, n + 2);
          asm volatile("" : : : "memory");
        }
      },
      [] {}, recorded ? 500 : 2000);
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
