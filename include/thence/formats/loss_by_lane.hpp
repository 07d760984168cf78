// SPDX-License-Identifier: MIT
// loss_by_lane.hpp: what was lost, added up for each lane.
// Layer: formats (includes wire/ and core/ only).
#pragma once


#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How many events each lane has lost, and when.
class LossByLane {
 public:
  struct Lost {
    LaneId lane = LaneId::kNone;
    LossRange range;
  };
  void add(LaneId lane, const LossRange& more) {
    for (Lost& known : all_) {
      if (known.lane == lane) return known.range.add(more);
    }
    all_.push_back({lane, more});
  }
  [[nodiscard]] const detail::Vector<Lost>& all() const noexcept { return all_; }
  void clear() noexcept { all_.clear(); }

 private:
  detail::Vector<Lost> all_;
};

}  // namespace THENCE_ABI
}  // namespace thence
