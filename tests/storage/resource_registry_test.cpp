// SPDX-License-Identifier: MIT
#include "thence/storage/resource_registry.hpp"

#include <map>
#include <random>
#include <unordered_map>
#include <vector>

#include "support/catch.hpp"

using namespace thence;

namespace {
ResourceRegistry::Entry entry(std::uint64_t n) {
  return {{static_cast<ResourceId>(n), static_cast<RootId>(n % 7)},
          static_cast<TypeId>(n % 36),
          static_cast<Ticks>(n * 10)};
}
bool same(const ResourceRegistry::Entry& a, const ResourceRegistry::Entry& b) {
  return a.resource == b.resource && a.type == b.type && a.created == b.created;
}
}  // namespace

TEST_CASE("a registry finds what was inserted, until it is removed") {
  ResourceRegistry registry{100};
  int one = 0, two = 0;
  CHECK(registry.insert(&one, entry(1)));
  CHECK(registry.insert(&two, entry(2)));
  REQUIRE(registry.find(&one) != nullptr);
  CHECK(same(*registry.find(&one), entry(1)));
  CHECK(same(*registry.find(&two), entry(2)));
  const auto removed = registry.remove(&one);
  REQUIRE(removed);
  CHECK(same(*removed, entry(1)));
  CHECK(registry.find(&one) == nullptr);
  CHECK(registry.find(&two) != nullptr);
  CHECK(registry.size() == 1);
}

TEST_CASE("a handle that is not there is counted when it is removed, also when it was removed before") {
  ResourceRegistry registry{10};
  registry.insert(std::uint64_t{1}, entry(1));
  CHECK(registry.remove(std::uint64_t{1}));
  CHECK_FALSE(registry.remove(std::uint64_t{1}));
  CHECK_FALSE(registry.remove(std::uint64_t{99}));
  CHECK(registry.find(std::uint64_t{99}) == nullptr);
  CHECK(registry.unknown() == 2);
}

TEST_CASE("a handle inserted again is the new object, and counted") {
  ResourceRegistry registry{10};
  registry.insert(std::uint64_t{1}, entry(1));
  CHECK(registry.insert(std::uint64_t{1}, entry(2)));
  CHECK(same(*registry.find(std::uint64_t{1}), entry(2)));
  CHECK(registry.size() == 1);
  CHECK(registry.replaced() == 1);
}

TEST_CASE("a full registry refuses, counts, and still knows all the others") {
  for (const std::size_t capacity :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{100}}) {
    ResourceRegistry registry{capacity};
    CHECK(registry.capacity() == capacity);
    for (std::uint64_t n = 0; n != capacity; ++n) REQUIRE(registry.insert(n * 64, entry(n)));
    CHECK_FALSE(registry.insert(std::uint64_t{1'000'000}, entry(1)));
    CHECK(registry.refused() == 1);
    CHECK(registry.find(std::uint64_t{1'000'000}) == nullptr);
    CHECK_FALSE(registry.remove(std::uint64_t{1'000'000}));
    for (std::uint64_t n = 0; n != capacity; ++n) REQUIRE(same(*registry.find(n * 64), entry(n)));
    if (capacity == 0) continue;
    CHECK(registry.insert(std::uint64_t{0}, entry(5)));  // there already: needs no room
    CHECK(registry.remove(std::uint64_t{0}));
    CHECK(registry.insert(std::uint64_t{1'000'000}, entry(1)));
  }
}

TEST_CASE("any handle may be used: null, all bits set, neighbours, multiples of a page") {
  ResourceRegistry registry{1000};
  std::vector<std::uint64_t> handles = {0, 1, 2, 3, ~std::uint64_t{0}, std::uint64_t{1} << 63};
  for (std::uint64_t n = 1; n != 200; ++n) handles.push_back(n * 4096);
  for (std::uint64_t n = 1; n != 200; ++n) handles.push_back(n << 40);
  for (std::uint64_t n = 0; n != handles.size(); ++n) REQUIRE(registry.insert(handles[n], entry(n)));
  for (std::uint64_t n = 0; n != handles.size(); ++n) REQUIRE(same(*registry.find(handles[n]), entry(n)));
  for (std::uint64_t n = 0; n != handles.size(); ++n) REQUIRE(same(*registry.remove(handles[n]), entry(n)));
  CHECK(registry.size() == 0);
}

TEST_CASE("what is pending is listed, with its type and since when") {
  ResourceRegistry registry{100};
  for (std::uint64_t n = 1; n <= 60; ++n) registry.insert(n * 16, entry(n));
  for (std::uint64_t n = 1; n <= 60; n += 2) registry.remove(n * 16);
  std::map<std::uint64_t, ResourceRegistry::Entry> pending;
  registry.for_each_pending(
      [&](std::uint64_t handle, const ResourceRegistry::Entry& found) { pending.emplace(handle, found); });
  REQUIRE(pending.size() == 30);
  for (std::uint64_t n = 2; n <= 60; n += 2) {
    REQUIRE(pending.count(n * 16) == 1);
    CHECK(same(pending[n * 16], entry(n)));
    CHECK(count_of(pending[n * 16].created) == n * 10);
  }
}

TEST_CASE("random inserts, finds and removals do what an unordered_map of that size does") {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const std::size_t capacity = 1 + random() % 300;
    ResourceRegistry registry{capacity};
    std::unordered_map<std::uint64_t, ResourceRegistry::Entry> expected;
    std::uint64_t refused = 0, unknown = 0, replaced = 0;
    // Few distinct handles, so that runs are long and removals happen inside them.
    const std::uint64_t handles = capacity * 3 / 2 + 1;
    const std::uint64_t stride = std::uint64_t{1} << (random() % 30);
    for (int step = 0; step != 20'000; ++step) {
      const std::uint64_t handle = random() % handles * stride;
      switch (random() % 4) {
        case 0:
        case 1: {
          const ResourceRegistry::Entry value = entry(random() % 1'000'000);
          const bool there = expected.count(handle) != 0;
          const bool fits = there || expected.size() < capacity;
          REQUIRE(registry.insert(handle, value) == fits);
          replaced += there;
          refused += !fits;
          if (fits) expected[handle] = value;
          break;
        }
        case 2: {
          const auto found = expected.find(handle);
          const auto removed = registry.remove(handle);
          REQUIRE(removed.has_value() == (found != expected.end()));
          if (removed) {
            REQUIRE(same(*removed, found->second));
            expected.erase(found);
          } else {
            ++unknown;
          }
          break;
        }
        default: {
          const auto found = expected.find(handle);
          const auto* const got = registry.find(handle);
          REQUIRE((got != nullptr) == (found != expected.end()));
          if (got != nullptr) REQUIRE(same(*got, found->second));
        }
      }
      REQUIRE(registry.size() == expected.size());
    }
    CHECK(registry.refused() == refused);
    CHECK(registry.unknown() == unknown);
    CHECK(registry.replaced() == replaced);
    std::size_t listed = 0;
    registry.for_each_pending([&](std::uint64_t handle, const ResourceRegistry::Entry& found) {
      ++listed;
      REQUIRE(expected.count(handle) == 1);
      REQUIRE(same(found, expected[handle]));
    });
    CHECK(listed == expected.size());
  }
}
