// SPDX-License-Identifier: MIT
#include "thence/formats/run_map.hpp"

#include <cstdint>
#include <random>
#include <unordered_map>

#include "support/catch.hpp"

using namespace thence;

TEST_CASE("ids of any distance are found at their places until they are erased") {
  for (const std::uint64_t spread : {std::uint64_t{40}, std::uint64_t{5000}, ~std::uint64_t{0}}) {
    RunMap map;
    std::unordered_map<std::uint64_t, std::uint32_t> expected;
    std::mt19937_64 random(spread);
    for (int step = 0; step < 20'000; ++step) {
      const std::uint64_t id = 1 + random() % spread;
      const std::uint64_t act = random() % 3;
      const auto known = expected.find(id);
      if (act == 0 && known == expected.end()) {
        const auto place = static_cast<std::uint32_t>(random() % 1000);
        map.insert(id, place);
        expected.emplace(id, place);
      } else if (act == 1) {
        map.erase(id);
        expected.erase(id);
      }
      const auto now = expected.find(id);
      REQUIRE(map.find(id) == (now == expected.end() ? RunMap::kAbsent : now->second));
      REQUIRE(map.size() == expected.size());
    }
    for (const auto& [id, place] : expected) REQUIRE(map.find(id) == place);
  }
}

TEST_CASE("an id whose page is used again for others is not found") {
  RunMap map;
  map.insert(16, 1);
  map.erase(16);
  map.insert(160, 2);  // in the memory of the first page
  CHECK(map.find(16) == RunMap::kAbsent);
  CHECK(map.find(161) == RunMap::kAbsent);
  CHECK(map.find(160) == 2);
  map.erase(161);
  CHECK(map.size() == 1);
  map.insert(~std::uint64_t{0}, 3);
  CHECK(map.find(~std::uint64_t{0}) == 3);
}
