// SPDX-License-Identifier: MIT
// trace_names.hpp: what a trace has called its lanes, types and counters, for encoders that write names instead of numbers.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Names by number; the latest definition holds.
///   Threads   one.
///   Cost      type: O(1). lane, counter: O(how many there are).
///   Errors    std::bad_alloc.
///   Lifetime  views are valid until the next definition.
class TraceNames {
 public:
  struct Lane {
    LaneId id = LaneId::kNone;
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    std::string name;
  };
  struct Counter {
    CounterId id = CounterId::kNone;
    std::string name;
    std::string unit;
  };

  void define_lane(const LaneInfo& info) {
    for (Lane& lane : lanes_) {
      if (lane.id != info.id) continue;
      lane = {info.id, info.process_id, info.thread_id, std::string(info.name)};
      return;
    }
    lanes_.push_back({info.id, info.process_id, info.thread_id, std::string(info.name)});
  }
  void define_type(TypeId type, std::string_view name) {
    const auto index = static_cast<std::size_t>(type);
    if (index >= types_.size()) types_.resize(index + 1);
    types_[index].assign(name);
  }
  void define_counter(CounterId id, std::string_view name, std::string_view unit) {
    for (Counter& counter : counters_) {
      if (counter.id != id) continue;
      counter = {id, std::string(name), std::string(unit)};
      return;
    }
    counters_.push_back({id, std::string(name), std::string(unit)});
  }

  /// As the trace named it, else as the built-in types are named.
  [[nodiscard]] std::string_view type(TypeId id) const noexcept {
    const auto index = static_cast<std::size_t>(id);
    if (index < types_.size() && !types_[index].empty()) return types_[index];
    return BuiltinTypes::name(id);
  }
  /// nullptr: not defined.
  [[nodiscard]] const Lane* lane(LaneId id) const noexcept {
    for (const Lane& lane : lanes_) {
      if (lane.id == id) return &lane;
    }
    return nullptr;
  }
  [[nodiscard]] const Counter* counter(CounterId id) const noexcept {
    for (const Counter& counter : counters_) {
      if (counter.id == id) return &counter;
    }
    return nullptr;
  }
  [[nodiscard]] const std::vector<Lane>& lanes() const noexcept { return lanes_; }

 private:
  std::vector<std::string> types_;
  std::vector<Lane> lanes_;
  std::vector<Counter> counters_;
};

}  // namespace THENCE_ABI
}  // namespace thence
