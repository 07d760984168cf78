// SPDX-License-Identifier: MIT
// v8.hpp: the adapter for V8, whole. docs/v8.md is its manual.
// Layer: adapters/v8 (umbrella).
#pragma once

#include "thence/adapters/v8/frame_walker.hpp"
#include "thence/adapters/v8/gc_pauses.hpp"
#include "thence/adapters/v8/hook_places.hpp"
#include "thence/adapters/v8/hook_script.hpp"
#include "thence/adapters/v8/light_tracer.hpp"
#include "thence/adapters/v8/packed_resource.hpp"
#include "thence/adapters/v8/promise_events.hpp"
#include "thence/adapters/v8/promise_tracer.hpp"
#include "thence/adapters/v8/script_stacks.hpp"
#include "thence/adapters/v8/v8_version.hpp"
#include "thence/adapters/v8/watchdog.hpp"
