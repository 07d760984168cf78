// SPDX-License-Identifier: MIT
// resource_type.hpp: what kind of operation a resource is.
//
// In files a type is an open, interned name; in memory it is 16 bits. The built-in types below take the numbers under
// kFirstHostType. A host brings its own by a `ResourceTypes` policy (its enum starts at kFirstHostType):
//
//   enum class MyType : std::uint16_t { kQuery = thence::kFirstHostType, kLock };
//   struct MyTypes {
//     static constexpr std::string_view name(thence::TypeId type) noexcept {
//       switch (static_cast<MyType>(type)) { case MyType::kQuery: return "query"; case MyType::kLock: return "lock"; }
//       return thence::BuiltinTypes::name(type);
//     }
//   };
//   struct MyPolicies : thence::DefaultPolicies { using Types = MyTypes; };
//
// Layer: core (includes config/ only).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A resource type as events carry it: a ResourceType or a value of the host's own enum.
enum class TypeId : std::uint16_t {};

enum class ResourceType : std::uint16_t {
  kRoot, kJsPromise, kKjPromise, kKjToJs, kJsToKj, kFetch, kCacheGet, kCachePut, kKvGet, kKvPut, kKvDelete, kKvList,
  kDoGet, kDoPut, kDoDelete, kDoList, kDoCall, kR2Get, kR2Put, kR2Delete, kR2List, kD1Query, kQueueSend, kTimer,
  kMicrotask, kStreamRead, kStreamWrite, kStreamPipeTo, kStreamPipeThrough, kSocketConnect, kSocketStarttls,
  kSocketClose, kWebsocket, kCrypto, kAiInference, kOther,
};

inline constexpr std::uint16_t kFirstHostType = 256;

/// The names of the built-in types, as files spell them, indexed by ResourceType.
inline constexpr std::array<std::string_view, 36> kResourceTypeNames = {
    "root",         "js-promise",   "kj-promise",  "kj-to-js",       "js-to-kj",
    "fetch",        "cache-get",    "cache-put",   "kv-get",         "kv-put",
    "kv-delete",    "kv-list",      "do-get",      "do-put",         "do-delete",
    "do-list",      "do-call",      "r2-get",      "r2-put",         "r2-delete",
    "r2-list",      "d1-query",     "queue-send",  "timer",          "microtask",
    "stream-read",  "stream-write", "stream-pipe-to", "stream-pipe-through", "socket-connect",
    "socket-starttls", "socket-close", "websocket", "crypto",        "ai-inference",
    "other"};
static_assert(kResourceTypeNames[static_cast<unsigned>(ResourceType::kOther)] == "other");

/// An enum whose values can be the type of a resource.
template <class E>
concept ResourceTypeEnum = std::is_enum_v<E> && sizeof(E) <= sizeof(TypeId);

template <ResourceTypeEnum E>
[[nodiscard]] constexpr TypeId type_id(E type) noexcept {
  return static_cast<TypeId>(static_cast<std::uint16_t>(type));
}

/// Names types in the files: `name` of a number it does not know is "other".
template <class T>
concept ResourceTypes = requires(TypeId type) {
  { T::name(type) } noexcept -> std::same_as<std::string_view>;
};

struct BuiltinTypes {
  [[nodiscard]] static constexpr std::string_view name(TypeId type) noexcept {
    const auto index = static_cast<std::uint16_t>(type);
    return index < kResourceTypeNames.size() ? kResourceTypeNames[index] : kResourceTypeNames.back();
  }
};
static_assert(ResourceTypes<BuiltinTypes>);

}  // namespace THENCE_ABI
}  // namespace thence
