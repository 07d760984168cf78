// SPDX-License-Identifier: MIT
// shared_calls.cpp: a host that is a shared library, and is handed its tracer.
#include "capture/call_batches.hpp"

namespace thence_bench::shared {

void enter_and_exit(PlainTracer& tracer, thence::Resource resource, std::size_t times) {
  thence_bench::enter_and_exit(tracer, resource, times);
}
void create(PlainTracer& tracer, std::size_t times) { thence_bench::create(tracer, times); }
void live(PlainTracer& tracer, std::size_t times) { thence_bench::live(tracer, times); }

}  // namespace thence_bench::shared
