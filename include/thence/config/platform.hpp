// SPDX-License-Identifier: MIT
// platform.hpp: what the processor and the language mode offer, as values. With version.hpp the only home of #if.
// Layer: config (includes nothing of ours).
#pragma once

#include "thence/config/version.hpp"

#if defined(__x86_64__)
#define THENCE_ARCH_X86_64 1
#else
#define THENCE_ARCH_X86_64 0
#endif

#if defined(__aarch64__)
#define THENCE_ARCH_ARM64 1
#else
#define THENCE_ARCH_ARM64 0
#endif

/// try and catch (...), also where exceptions are off: then nothing is caught.
#if defined(__cpp_exceptions)
#define THENCE_TRY try
#define THENCE_CATCH_ALL catch (...)
#else
#define THENCE_TRY if constexpr (true)
#define THENCE_CATCH_ALL else
#endif

namespace thence {
inline namespace THENCE_ABI {

inline constexpr bool kIsX86_64 = THENCE_ARCH_X86_64 != 0;
inline constexpr bool kIsArm64 = THENCE_ARCH_ARM64 != 0;

/// What keeps a producer's and a consumer's data from sharing a line: two lines, for the adjacent-line prefetcher.
inline constexpr unsigned kCacheLine = 64;

}  // namespace THENCE_ABI
}  // namespace thence
