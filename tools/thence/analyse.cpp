// SPDX-License-Identifier: MIT
#include "analyse.hpp"

#include "keep_memory.hpp"

namespace tool {

std::unique_ptr<thence::Analysis> analyse(const thence::TraceModel& model) {
  keep_memory();
  return std::make_unique<thence::Analysis>(model);
}

}  // namespace tool
