// SPDX-License-Identifier: MIT
// versions.hpp: the few places where the supported versions of V8 (10.2, 11.3, 13.6) and KJ (0.9.2, 1.1, 1.5)
// are spelt differently. Everything else in the worker is written once.
#pragma once

#include <kj/async-io.h>
#include <v8.h>

namespace worker {

// ---- V8 ----------------------------------------------------------------------------------------------

/// Where a script or module comes from, as it will appear in stacks and messages.
inline v8::ScriptOrigin origin_of([[maybe_unused]] v8::Isolate* isolate, v8::Local<v8::String> name, bool is_module) {
#if V8_MAJOR_VERSION >= 12
  return v8::ScriptOrigin(name, 0, 0, false, -1, {}, false, false, is_module);
#else
  return v8::ScriptOrigin(isolate, name, 0, 0, false, -1, {}, false, false, is_module);
#endif
}

// ---- KJ ----------------------------------------------------------------------------------------------

/// A `kj::Maybe` as a pointer: KJ_IF_MAYBE and KJ_IF_SOME each exist in some of the versions only.
template <class T>
T* if_some(kj::Maybe<T>& maybe) {
  return maybe.map([](T& value) { return &value; }).orDefault(nullptr);
}

/// Writes all the bytes: `write` took a pointer and a length before it took an array.
template <class Stream>
kj::Promise<void> write_all(Stream& stream, kj::ArrayPtr<const kj::byte> bytes) {
  if constexpr (requires { stream.write(bytes.begin(), bytes.size()); }) {
    return stream.write(bytes.begin(), bytes.size());
  } else {
    return stream.write(bytes);
  }
}

}  // namespace worker
