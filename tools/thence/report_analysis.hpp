// SPDX-License-Identifier: MIT
// report_analysis.hpp: what `thence analyze` says of a trace, as a report for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "report.hpp"
#include "thence/analysis/analysis.hpp"

namespace tool {

struct AnalysisReportOptions {
  std::string name;                      ///< of the file
  std::vector<std::uint32_t> requests;   ///< rows of run.requests that are shown in detail
  std::size_t findings = 20;             ///< at most so many are shown
  std::size_t rows = 10;                 ///< of a table
};

void put_analysis(Report& report, const thence::Analysis& analysis, const AnalysisReportOptions& options);

/// Which requests `--request` means: a number from 1, "slowest", "p99" (or another percentile), "all". Throws Failure(kUsage).
[[nodiscard]] std::vector<std::uint32_t> chosen_requests(const thence::Analysis& analysis, const std::string& which);

}  // namespace tool
