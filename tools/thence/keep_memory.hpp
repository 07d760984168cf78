// SPDX-License-Identifier: MIT
// keep_memory.hpp: what a process gives back it keeps for itself.
#pragma once

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <climits>

namespace tool {

/// Columns of analyses come and go by the hundred: what is given back to the kernel in between comes back as pages to be
/// cleared, a seventh of the time. Not before a trace is read: columns grow then, and what they leave behind would stay.
inline void keep_memory() noexcept {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, INT_MAX);
  ::mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace tool
