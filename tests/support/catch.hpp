// SPDX-License-Identifier: MIT
// catch.hpp: Catch2 by one name, version 2 (Debian 12) or 3 (Debian 13).
//   #include "support/catch.hpp"
// In both, `Approx` is found unqualified, and the matchers in Catch::Matchers.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
