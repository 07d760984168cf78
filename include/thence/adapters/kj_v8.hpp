// SPDX-License-Identifier: MIT
// kj_v8.hpp: the bridge between KJ and V8, and both adapters. docs/kj_v8.md is its manual.
// Layer: adapters/kj_v8 (umbrella).
#pragma once

#include "thence/adapters/kj.hpp"
#include "thence/adapters/kj_v8/bridge.hpp"
#include "thence/adapters/v8.hpp"
