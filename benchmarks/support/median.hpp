// SPDX-License-Identifier: MIT
// median.hpp: the middle of what was measured, or any other share of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace thence_bench {

inline double median(std::vector<double> values, double at = 0.5) {
  if (values.empty()) return 0;
  const auto nth = values.begin() + std::lround(at * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace thence_bench
