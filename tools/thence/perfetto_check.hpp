// SPDX-License-Identifier: MIT
// perfetto_check.hpp: whether the packets of a Perfetto trace keep the rules by which it is read: what the trace processor
// would drop, most of it without a word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tool {

/// A rule, and how often it was broken.
struct Promise {
  std::string name;        ///< one word
  std::string text;        ///< what holds
  std::uint64_t looked = 0;  ///< at how many
  std::uint64_t broken = 0;
  std::string first;       ///< what was wrong the first time
  std::string excuse;      ///< why a trace may have this and be sound; empty: it may not

  void fail(std::string what) {
    if (broken++ == 0) first = std::move(what);
  }
};

/// Looks at the packets as they come.
///   Shape     20 bytes an event, and what the dictionaries and flows need.
///   Errors    std::bad_alloc. Bytes that are no packets end it: whoever reads the trace says so.
class PerfettoCheck {
 public:
  PerfettoCheck();
  ~PerfettoCheck();
  void feed(std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<Promise> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tool
