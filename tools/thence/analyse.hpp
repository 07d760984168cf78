// SPDX-License-Identifier: MIT
// analyse.hpp: all analyses of a trace, compiled in one unit for all subcommands.
#pragma once

#include <memory>

#include "thence/analysis/analysis.hpp"
#include "thence/model/trace_model.hpp"

namespace tool {

/// The model outlives it.
[[nodiscard]] std::unique_ptr<thence::Analysis> analyse(const thence::TraceModel& model);

}  // namespace tool
