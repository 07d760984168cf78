// SPDX-License-Identifier: MIT
// processor_time.hpp: how long something took of one core.
#pragma once

#include <time.h>

namespace thence_bench {

/// Of the thread: what other programs take from the processor is not in it.
inline double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double seconds_of(auto&& run) {
  const double began = processor_seconds();
  run();
  return processor_seconds() - began;
}

}  // namespace thence_bench
