// SPDX-License-Identifier: MIT
// A V8 host outside the repository: the adapter's header compiles, and the V8 that was linked is the one of the headers.
#include <cstdio>
#include <cstring>

#include <v8.h>

#include <thence/adapters/v8/promise_tracer.hpp>
#include <thence/thence.hpp>

int main() {
  char compiled[32];
  std::snprintf(compiled, sizeof compiled, "%d.%d.%d", V8_MAJOR_VERSION, V8_MINOR_VERSION, V8_BUILD_NUMBER);
  const char* linked = v8::V8::GetVersion();
  std::printf("consumer: V8 %s, headers %s\n", linked, compiled);
  return std::strncmp(linked, compiled, std::strlen(compiled)) == 0 ? 0 : 1;
}
