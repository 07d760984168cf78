// SPDX-License-Identifier: MIT
// paired.hpp: what something costs, as a ratio to what else was measured in the same breath.
//
// Absolute times drift: the machine is shared, its clock changes, its neighbours wake. So a subject and what it is compared
// with run in turns, in short batches, and the figure is the median of the ratios of neighbouring batches.
//   measured("capture/enter", {"floor", [&] { floor.run(); }}, [&] { ... }, kBatch);
#pragma once

#include <benchmark/benchmark.h>
#include <sched.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "support/median.hpp"
#include "support/processor_time.hpp"

namespace thence_bench {

/// What a subject is compared with. `run` does `per_batch` operations.
template <class Run>
struct Base {
  std::string name;
  Run run;
  std::size_t per_batch;
};
template <class Run>
Base(std::string, Run, std::size_t) -> Base<Run>;

/// Pins the calling thread, so that a figure is one core's. Where there is one core only, nothing.
inline void pin_to(unsigned core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  sched_setaffinity(0, sizeof cores, &cores);
}

/// Registers `name`: the time of one of the `per_batch` operations of `run`, and its ratio to one of `base`.
/// `between` is not timed: it empties what the batch has filled. `after(state)` comes once, when all is measured.
template <class BaseRun, class Run, class Between, class After = void (*)(benchmark::State&)>
void measured(const std::string& name, Base<BaseRun> base, std::size_t per_batch, Run run, Between between, int rounds = 2000,
              After after = [](benchmark::State&) {}) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) mutable {
    std::vector<double> ratios, times, floors;
    for (unsigned warm = 0; warm != 20; ++warm) {
      base.run();
      run();
      between();
    }
    for (auto _ : state) {
      const double floor = seconds_of(base.run) / static_cast<double>(base.per_batch);
      const double time = seconds_of(run) / static_cast<double>(per_batch);
      between();
      state.SetIterationTime(time);
      ratios.push_back(time / floor);
      times.push_back(time);
      floors.push_back(floor);
    }
    after(state);
    state.SetLabel("of " + base.name);
    state.counters["ns"] = median(times) * 1e9;
    state.counters["of_ns"] = median(floors) * 1e9;
    state.counters["ratio"] = median(ratios);
    state.counters["ratio_p10"] = median(ratios, 0.1);
    state.counters["ratio_p90"] = median(ratios, 0.9);
  })->UseManualTime()->Iterations(rounds);
}

}  // namespace thence_bench
