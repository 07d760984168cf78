// SPDX-License-Identifier: MIT
#include "thence/core/sampling.hpp"

#include "support/catch.hpp"

using namespace thence;

TEST_CASE("one root in none is one in one, never a division by zero") {
  CHECK(Sampling::one_in(0).every == 1);
  CHECK(Sampling::one_in(100).every == 100);
  CHECK(Sampling::one_in(100).mode == Sampling::Mode::kOneIn);
  CHECK(Sampling{}.mode == Sampling::Mode::kAll);
  CHECK_FALSE(RootRequest{}.asked);
}
