// SPDX-License-Identifier: MIT
// figures.hpp: the figures of a program whose work is too long for batches: whole runs in turns, a few rounds of them.
//
// They are printed, and with --benchmark_out=FILE written as Google Benchmark writes its own, for report.py.
//   Figures figures(count, arguments);                    // takes its option out of the arguments
//   figures.add("reading/pftrace", times, "a pass over its bytes", floors);
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "support/median.hpp"

namespace thence_bench {

class Figures {
 public:
  Figures(int& count, char** arguments) {
    int kept = 0;
    for (int at = 0; at != count; ++at) {
      const std::string_view argument = arguments[at];
      constexpr std::string_view kOut = "--benchmark_out=";
      if (argument.starts_with(kOut)) {
        path_ = argument.substr(kOut.size());
      } else if (argument != "--benchmark_out_format=json") {
        arguments[kept++] = arguments[at];
      }
    }
    count = kept;
  }
  Figures(const Figures&) = delete;
  Figures& operator=(const Figures&) = delete;
  ~Figures() {
    if (path_.empty()) return;
    std::FILE* const file = std::fopen(path_.c_str(), "w");
    if (file == nullptr) {
      std::perror(path_.c_str());
      return;
    }
    std::fprintf(file, "{\"benchmarks\": [%s\n]}\n", rows_.c_str());
    std::fclose(file);
  }

  /// `times` and `floors`: nanoseconds of one operation, round by round. `bytes`: what it leaves in a file; 0: there is none.
  void add(const std::string& name, const std::vector<double>& times, const std::string& of, const std::vector<double>& floors,
           double bytes = 0) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round != times.size(); ++round) ratios.push_back(times[round] / floors[round]);
    char text[1024];
    std::snprintf(text, sizeof text,
                  "%s\n {\"name\": \"%s\", \"label\": \"of %s\", \"ns\": %.6g, \"of_ns\": %.6g, \"ratio\": %.6g, \"ratio_p10\": %.6g, "
                  "\"ratio_p90\": %.6g",
                  rows_.empty() ? "" : ",", name.c_str(), of.c_str(), median(times), median(floors), median(ratios),
                  median(ratios, 0.1), median(ratios, 0.9));
    rows_ += text;
    std::printf("%-52s %9.2f ns %8.2f M/s %8.2f x %s", name.c_str(), median(times), 1e3 / median(times), median(ratios), of.c_str());
    if (bytes != 0) {
      std::snprintf(text, sizeof text, ", \"bytes\": %.6g", bytes);
      rows_ += text;
      std::printf(", %.2f bytes", bytes);
    }
    rows_ += "}";
    std::printf("\n");
  }

 private:
  std::string path_, rows_;
};

}  // namespace thence_bench
