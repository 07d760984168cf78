// SPDX-License-Identifier: MIT
// beside_reader.hpp: what recording costs while another core reads what was recorded, and loses nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "support/floor.hpp"

namespace thence_bench {

/// Calls `read` on core 1, every `period`, until it is destroyed.
class Reader {
 public:
  template <class Read>
  Reader(Read read, std::chrono::microseconds period)
      : thread_([this, read, period] {
          pin_to(1);
          while (!stop_.load(std::memory_order_relaxed)) {
            read();
            if (period.count() != 0) std::this_thread::sleep_for(period);
          }
        }) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Reads an event that a recorder hands over. benchmark::DoNotOptimize is content with its address.
inline void read(const thence::Event& event) { asm volatile("" : : "r"(event.ticks)); }

/// How often a reader looks, in words.
inline std::string looking(std::chrono::microseconds period) {
  return period.count() == 0 ? "that spins" : "every " + std::to_string(period.count()) + " us";
}

/// As `measured`, of a Work made by `make(slots)`, while another core reads:
///   void run();                   Floor::kBatch times `per_call` events
///   void read();                  the other core: takes and discards what is there
///   std::size_t waiting() const;  what has not been read, at least
///   std::uint64_t lost() const;   any: there is no figure
template <class Make>
void measured_beside_reader(const std::string& name, std::size_t slots, std::size_t per_call, std::chrono::microseconds period,
                            Make make) {
  using Work = typename decltype(make(slots))::element_type;
  struct Live {
    std::unique_ptr<Work> work;
    Reader reader;
  };
  // Made when it runs, so that no other figure has a second thread beside it.
  auto live = std::make_shared<std::unique_ptr<Live>>();
  measured(
      name, floor_of(slots), Floor::kBatch * per_call,
      [=] {
        if (*live == nullptr) {
          auto work = make(slots);
          Work* const at = work.get();
          live->reset(new Live{std::move(work), {[at] { at->read(); }, period}});
        }
        (*live)->work->run();
      },
      [=] {
        // Not timed: a reader that was not given its core catches up.
        while ((*live)->work->waiting() > slots / 2) std::this_thread::yield();
      },
      2000,
      [=](benchmark::State& state) {
        if ((*live)->work->lost() != 0) state.SkipWithError("events were lost");
        live->reset();
      });
}

}  // namespace thence_bench
