// SPDX-License-Identifier: MIT
// request_order.hpp: the order in which the requests of a trace are counted.
//
//   const std::vector<std::uint32_t> requests = requests_of(model);
//   model.roots[requests[n - 1]]                     // what people call request n
// Layer: model (includes formats/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Rows of `roots` in the order in which they began; where the beginning was lost, by their first resource. O(n log n).
[[nodiscard]] inline std::vector<std::uint32_t> requests_of(const TraceModel& model) {
  std::vector<std::uint32_t> rows(model.roots.size());
  std::vector<std::uint64_t> began(model.roots.size(), ~std::uint64_t{0});
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    rows[row] = row;
    const std::uint32_t resource = model.roots[row].resource;
    if (resource != TraceModel::kNone) {
      began[row] = model.created[resource];
    } else {
      for (const std::uint32_t one : model.resources_by_root[row]) began[row] = std::min(began[row], model.created[one]);
    }
  }
  std::stable_sort(rows.begin(), rows.end(), [&](std::uint32_t a, std::uint32_t b) {
    return began[a] != began[b] ? began[a] < began[b] : number(model.roots[a].id) < number(model.roots[b].id);
  });
  return rows;
}

}  // namespace THENCE_ABI
}  // namespace thence
