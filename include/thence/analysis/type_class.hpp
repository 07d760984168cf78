// SPDX-License-Identifier: MIT
// type_class.hpp: what a resource's type says of it: is it work outside of the program, and of which kind.
//
// A request's time is spent running or waiting, and what it waited for is a matter of the operation's type: a fetch, a read
// of storage, a timer. Types are open names; the built-in ones have a class here, a host names those of its own
// (AnalysisSettings::types), and a type that nobody knows is of class kOther: an operation only where the trace says that
// it was settled from outside.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class TypeClass : std::uint8_t {
  kOther,      ///< nothing is known of it
  kRoot,       ///< stands for a request
  kPromise,    ///< a promise, a coroutine, a task: settled by the program's own callbacks
  kBridge,     ///< one operation seen from two promise systems
  kMicrotask,
  kNetwork,    ///< from here on: operations, completed by external work
  kStorage,
  kCache,
  kTimer,
  kStream,
  kSocket,
  kQueue,
  kCrypto,     ///< and other work handed to a thread pool
  kAi,
  kLock,       ///< a lock, a gate, a semaphore
};

[[nodiscard]] constexpr bool is_operation(TypeClass which) noexcept { return which >= TypeClass::kNetwork; }

[[nodiscard]] constexpr std::string_view word(TypeClass which) noexcept {
  switch (which) {
    case TypeClass::kOther: return "other";
    case TypeClass::kRoot: return "root";
    case TypeClass::kPromise: return "promise";
    case TypeClass::kBridge: return "bridge";
    case TypeClass::kMicrotask: return "microtask";
    case TypeClass::kNetwork: return "network";
    case TypeClass::kStorage: return "storage";
    case TypeClass::kCache: return "cache";
    case TypeClass::kTimer: return "timer";
    case TypeClass::kStream: return "stream";
    case TypeClass::kSocket: return "socket";
    case TypeClass::kQueue: return "queue";
    case TypeClass::kCrypto: return "crypto";
    case TypeClass::kAi: return "ai";
    case TypeClass::kLock: return "lock";
  }
  return "other";
}

/// The class of a built-in type, and of names that other tools use.
[[nodiscard]] constexpr TypeClass class_of_type(std::string_view name) noexcept {
  const auto begins = [&](std::string_view with) { return name.substr(0, with.size()) == with; };
  if (name == "root") return TypeClass::kRoot;
  if (name == "js-promise" || name == "kj-promise" || name == "tokio-task") return TypeClass::kPromise;
  if (name == "kj-to-js" || name == "js-to-kj") return TypeClass::kBridge;
  if (name == "microtask") return TypeClass::kMicrotask;
  if (name == "fetch" || name == "do-call") return TypeClass::kNetwork;
  if (begins("cache-")) return TypeClass::kCache;
  if (begins("kv-") || begins("do-") || begins("r2-") || begins("d1-")) return TypeClass::kStorage;
  if (name == "timer") return TypeClass::kTimer;
  if (begins("stream-")) return TypeClass::kStream;
  if (begins("socket-") || name == "websocket") return TypeClass::kSocket;
  if (begins("queue-")) return TypeClass::kQueue;
  if (name == "crypto") return TypeClass::kCrypto;
  if (begins("ai-")) return TypeClass::kAi;
  if (name == "lock" || name == "gate" || name == "mutex" || name == "semaphore") return TypeClass::kLock;
  return TypeClass::kOther;
}

}  // namespace THENCE_ABI
}  // namespace thence
