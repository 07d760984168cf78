// SPDX-License-Identifier: MIT
// natives.hpp: the small native core below the web API, and the JavaScript prelude above it.
#pragma once

#include <v8.h>

namespace worker {

class Runtime;

/// The object whose members the prelude calls: fetch, read_body, set_timer, cache_get, kv_put, log and so on.
v8::Local<v8::Object> make_natives(Runtime& runtime);

/// A file of prelude/, embedded by the build.
struct PreludeFile {
  const char* name;
  const char* source;
};
/// In the order in which they are run: each is a function (native, globals) => void. The last has a null name.
extern const PreludeFile kPrelude[];

}  // namespace worker
