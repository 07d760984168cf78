// SPDX-License-Identifier: MIT
#include "thence/core/resource_type.hpp"

#include <set>
#include <string_view>

#include "support/catch.hpp"

using namespace thence;

TEST_CASE("the built-in types have the names that stand in files, in this order") {
  const std::string_view names[] = {"root",
                                    "js-promise",
                                    "kj-promise",
                                    "kj-to-js",
                                    "js-to-kj",
                                    "fetch",
                                    "cache-get",
                                    "cache-put",
                                    "kv-get",
                                    "kv-put",
                                    "kv-delete",
                                    "kv-list",
                                    "do-get",
                                    "do-put",
                                    "do-delete",
                                    "do-list",
                                    "do-call",
                                    "r2-get",
                                    "r2-put",
                                    "r2-delete",
                                    "r2-list",
                                    "d1-query",
                                    "queue-send",
                                    "timer",
                                    "microtask",
                                    "stream-read",
                                    "stream-write",
                                    "stream-pipe-to",
                                    "stream-pipe-through",
                                    "socket-connect",
                                    "socket-starttls",
                                    "socket-close",
                                    "websocket",
                                    "crypto",
                                    "ai-inference",
                                    "other"};
  CHECK(std::size(names) == 36);
  std::set<std::string_view> distinct;
  for (std::uint16_t type = 0; type != std::size(names); ++type) {
    CHECK(BuiltinTypes::name(static_cast<TypeId>(type)) == names[type]);
    distinct.insert(names[type]);
  }
  CHECK(distinct.size() == 36);
  CHECK(BuiltinTypes::name(type_id(ResourceType::kStreamPipeThrough)) == "stream-pipe-through");
  CHECK(BuiltinTypes::name(type_id(ResourceType::kAiInference)) == "ai-inference");
}

TEST_CASE("a number that no one named is another type, not a crash") {
  CHECK(BuiltinTypes::name(static_cast<TypeId>(36)) == "other");
  CHECK(BuiltinTypes::name(static_cast<TypeId>(65'535)) == "other");
}

namespace {
enum class Mine : std::uint16_t { kQuery = kFirstHostType, kLock };
struct MyTypes {
  static constexpr std::string_view name(TypeId type) noexcept {
    switch (static_cast<Mine>(type)) {
      case Mine::kQuery: return "query";
      case Mine::kLock: return "lock";
    }
    return BuiltinTypes::name(type);
  }
};
static_assert(ResourceTypes<MyTypes> && ResourceTypeEnum<Mine>);
enum class TooWide : std::uint32_t { kOne };
static_assert(!ResourceTypeEnum<TooWide> && !ResourceTypeEnum<int>);
}  // namespace

TEST_CASE("a host's own types stand beside the built-in ones") {
  CHECK(MyTypes::name(type_id(Mine::kLock)) == "lock");
  CHECK(MyTypes::name(type_id(ResourceType::kTimer)) == "timer");
}
