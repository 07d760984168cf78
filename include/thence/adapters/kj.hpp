// SPDX-License-Identifier: MIT
// kj.hpp: everything for hosts on KJ. docs/kj.md shows what the adapter sees and what it cannot.
//
//   auto io = kj::setupAsyncIo();
//   thence::kj_adapter::TracedAsyncIoProvider provider{tracer, *io.provider};     // sockets and timers
//   thence::kj_adapter::TracedHttpService service{tracer, my_service};            // a trace a request
//   auto row = thence::kj_adapter::traced(tracer, database.query(sql), ResourceType::kD1Query);
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include "thence/adapters/kj/event_port.hpp"
#include "thence/adapters/kj/fulfiller.hpp"
#include "thence/adapters/kj/http.hpp"
#include "thence/adapters/kj/loop_scope.hpp"
#include "thence/adapters/kj/network.hpp"
#include "thence/adapters/kj/node.hpp"
#include "thence/adapters/kj/stream.hpp"
#include "thence/adapters/kj/task_set.hpp"
#include "thence/adapters/kj/timer.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/adapters/kj/turn.hpp"
#include "thence/adapters/kj/version.hpp"
