// SPDX-License-Identifier: MIT
#include "analyse.hpp"

#include <malloc.h>

#include <climits>

namespace tool {

std::unique_ptr<thence::Analysis> analyse(const thence::TraceModel& model) {
  // Columns come and go by the hundred: what is given back to the kernel in between comes back as pages to be cleared, a seventh
  // of the time. Not before: while a trace is read, columns grow, and what they leave behind would stay.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, INT_MAX);
  ::mallopt(M_TOP_PAD, 64 << 20);
  return std::make_unique<thence::Analysis>(model);
}

}  // namespace tool
