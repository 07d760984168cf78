// SPDX-License-Identifier: MIT
#include "analyse.hpp"

namespace tool {

std::unique_ptr<thence::Analysis> analyse(const thence::TraceModel& model) { return std::make_unique<thence::Analysis>(model); }

}  // namespace tool
