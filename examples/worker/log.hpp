// SPDX-License-Identifier: MIT
// log.hpp: one line (or block) to stderr, with the request that it is about.
#pragma once

#include <kj/string.h>

#include <cstdint>

namespace worker {

/// Writes "[request 3] level: text"; request 0 is the worker itself. One write, so that lines never mix.
void log(std::uint32_t request, kj::StringPtr level, kj::StringPtr text);

}  // namespace worker
