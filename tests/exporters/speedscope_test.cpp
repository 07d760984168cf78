// SPDX-License-Identifier: MIT
// speedscope's own importer reads the folded stacks and the Chrome trace, and has every nanosecond where it belongs.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "exporters/export_all.hpp"
#include "exporters/made_trace.hpp"
#include "support/catch.hpp"

TEST_CASE("speedscope reads folded stacks and Chrome traces with the times that stand in them") {
  for (std::uint32_t seed = 0; seed <= 4; ++seed) {
    const std::string folder = "speedscope/" + std::to_string(seed);
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    if (seed == 0) {
      thence_test::export_all(folder, [](auto& sink) { thence_test::tell_request(sink); });
    } else {
      thence_test::export_all(folder, [&](auto& sink) { thence_test::tell_by_chance(sink, seed, 600); });
    }
    const std::string command = std::string(THENCE_PYTHON) + " " + THENCE_SOURCE_DIR "/tests/exporters/speedscope_check.py " +
                                THENCE_NODE " " THENCE_SPEEDSCOPE " " + folder;
    INFO("seed " << seed << " (0: the request made by hand)");
    CHECK(std::system(command.c_str()) == 0);
  }
}
