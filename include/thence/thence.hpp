// SPDX-License-Identifier: MIT
// thence.hpp: everything that records: config .. session and the formats that a session writes. Not hosts, nor what reads: a
// trace (formats/*/..._reader.hpp), what a killed process left (storage/flight_file.hpp), analysis.
//
//   thence::Session session{{.process_name = "my-server"}};
//   session.add_sink(thence::PerfettoFile{"trace.pftrace"});
//   session.start();
//   auto lane = session.attach("loop");
//
//   thence::Resource op = lane.tracer().create(thence::ResourceType::kTimer);   // an operation begins
//   { thence::CallbackScope scope{lane.tracer(), op}; run_callback(); }         // its callback runs
//   lane.tracer().settle(op, thence::Outcome::kFulfilled);                      // its result is there
//
// README.md shows a whole host in 20 lines; docs/ has the pages on V8, on KJ and on the formats.
#pragma once

#include "thence/capture/callback_scope.hpp"
#include "thence/capture/frame_pointers.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/session/session.hpp"
#include "thence/session/trace_files.hpp"
#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/mapped_storage.hpp"
#include "thence/storage/resource_registry.hpp"
