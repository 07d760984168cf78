// SPDX-License-Identifier: MIT
// The stacks of created promises in other people's code: packages from npm (packages/program.js), bundled as they are written,
// and lowered to generators and minified. Each stack that is found by its words is compared with V8's own answer.
#include <fstream>
#include <iterator>
#include <string>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;

namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("in packages from npm no stack that is found by its words differs from V8's own answer") {
  constexpr int kRounds = 2;
  for (const char* const bundle : {"as_written", "lowered"}) {
    for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
      INFO(bundle << (hooks == v8a::Hooks::kContext ? ", context hooks" : ", isolate hook"));
      Program::Options options;
      options.promises.hooks = hooks;
      options.promises.stacks = {.mode = v8a::StackMode::kFingerprint, .verify = true};
      options.promises.gc_pauses = false;
      options.keep = false;
      Program program{options};
      REQUIRE(program.promises->stacks().why() == "");
      program.run(file_text(std::string(THENCE_BUNDLES) + "/" + bundle + ".js"));

      const auto counts = [&] { return program.promises->stacks().counts(); };
      int round = 0;
      while (counts().captures < captures_wanted(60'000)) {
        program.run("rounds(" + std::to_string(round) + ", " + std::to_string(kRounds) + ")");
        program.microtasks();
        REQUIRE(program.text_of("failure") == "");
        round += kRounds;
        REQUIRE(program.text_of("finished / chapters") == std::to_string(round));
        if (round % (2 * kRounds) == 0) program.run("gc({type: 'minor'})");
        if (round % (10 * kRounds) == 0) program.run("gc()");
      }
      CHECK(counts().wrong == 0);
      CHECK(counts().verified > counts().captures / 2);
      CHECK(counts().emptied > 0);
      CHECK(program.promises->counts().places_wrong == 0);
      CHECK(program.promises->counts().exits_missed == 0);
      CHECK(program.promises->counts().exits_unmatched == 0);
      CHECK(program.tracer().misuse().exits_crossed == 0);
      WARN(bundle << ": rounds " << round << ", captures " << counts().captures << ", compared " << counts().verified << ", wrong " << counts().wrong
                  << ", V8 asked " << counts().symbolised << ", uncacheable " << counts().uncacheable << ", full " << counts().full
                  << ", emptied " << counts().emptied << ", outcomes told by the hook's place " << program.promises->counts().places_verified);
    }
  }
}
