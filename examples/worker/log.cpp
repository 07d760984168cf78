// SPDX-License-Identifier: MIT
#include "log.hpp"

#include <cstdio>

namespace worker {

void log(std::uint32_t request, kj::StringPtr level, kj::StringPtr text) {
  const kj::String who = request == 0 ? kj::str("worker") : kj::str("request ", request);
  const kj::String line = kj::str("[", who, "] ", level, ": ", text, "\n");
  std::fwrite(line.begin(), 1, line.size(), stderr);
}

}  // namespace worker
