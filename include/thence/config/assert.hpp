// SPDX-License-Identifier: MIT
// assert.hpp: THENCE_ASSERT checks our own invariants, never the host's behaviour (wrong use is counted, not asserted).
//
// Off where NDEBUG is set. A host that wants its own reporting defines THENCE_ASSERT(condition) before the first include.
// Layer: config (includes nothing of ours).
#pragma once

#ifndef THENCE_ASSERT
#include <cassert>
#define THENCE_ASSERT(condition) assert(condition)
#endif
