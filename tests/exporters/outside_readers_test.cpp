// SPDX-License-Identifier: MIT
// Each export is read by a reader that is not ours, and what it must say is computed a second time: check_exports.py.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "exporters/export_all.hpp"
#include "exporters/made_trace.hpp"
#include "support/catch.hpp"

namespace {

bool outside_readers_agree(const std::string& folder) {
  const std::string command = std::string(THENCE_PYTHON) + " " + THENCE_SOURCE_DIR "/tests/exporters/check_exports.py " + folder +
                              " " THENCE_SOURCE_DIR "/docs/events.schema.json";
  return std::system(command.c_str()) == 0;
}

std::string folder_named(const std::string& name) {
  const std::string folder = "outside_readers/" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace

TEST_CASE("what every exporter makes of a request is read, and understood alike, by readers that are not ours") {
  const std::string folder = folder_named("request");
  thence_test::export_all(folder, [](auto& sink) { thence_test::tell_request(sink); });
  CHECK(outside_readers_agree(folder));
}

TEST_CASE("traces made by chance, with crossings, pauses, losses and open ends, are read alike by readers that are not ours") {
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    const std::string folder = folder_named("chance-" + std::to_string(seed));
    thence_test::export_all(folder, [&](auto& sink) { thence_test::tell_by_chance(sink, seed, 600); });
    INFO("seed " << seed);
    CHECK(outside_readers_agree(folder));
  }
}
