// SPDX-License-Identifier: MIT
// served_requests.hpp: the trace of a server that reading and size measure: requests of 50 resources each, of which each is
// created by the one before it, entered and exited once, settled by its own callback and destroyed; 1 in 10 bears an
// annotation.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"

namespace thence_bench {

/// Hands the events of so many resources to `sink` (a thence::EventSink), request by request.
template <class Sink>
void serve(Sink& sink, std::uint64_t resources) {
  using namespace thence;
  TraceInfo info;
  info.salt = 99;
  info.process_id = 1000;
  info.process_name = "server";
  sink.begin(info);
  sink.define_lane({LaneId{1}, 1000, 1001, "loop"});
  const FrameInfo frame{FrameKind::kScript, "handle", "worker.js", 10, 3, 0, 0, {}};
  sink.define_stack({StackId{1}, std::span<const FrameInfo>(&frame, 1)});
  std::uint64_t time = 1'000'000'000, id = 0;
  std::vector<TraceEvent> batch;
  const Annotation url{"url", Value::of(std::string_view("https://example.com/items"))};
  const auto add = [&](EventKind kind, std::uint64_t resource, std::uint64_t other, std::uint64_t root) -> TraceEvent& {
    batch.push_back({});
    TraceEvent& event = batch.back();
    event.kind = kind;
    event.time = static_cast<Timestamp>(time += 700);
    event.resource = static_cast<ResourceId>(resource);
    event.other = static_cast<ResourceId>(other);
    event.root = static_cast<RootId>(root);
    event.lane = LaneId{1};
    return event;
  };
  for (std::uint64_t root = 1; id < resources; ++root) {
    const std::uint64_t first = id + 1;
    for (unsigned n = 0; n < 50 && id < resources; ++n) {
      const std::uint64_t trigger = n == 0 ? 0 : id;
      TraceEvent& created = add(EventKind::kCreated, ++id, trigger, root);
      created.type = type_id(n == 0 ? ResourceType::kRoot : n % 10 == 5 ? ResourceType::kFetch : ResourceType::kJsPromise);
      created.stack = StackId{1};
      if (n % 10 == 5) add(EventKind::kAnnotated, id, 0, root).annotation = &url;
    }
    for (std::uint64_t at = first; at <= id; ++at) {
      add(EventKind::kEntered, at, 0, root);
      add(EventKind::kSettled, at, at, root).flags = static_cast<std::uint8_t>(Outcome::kFulfilled) | 1 << 4;
      add(EventKind::kExited, at, 0, root);
      add(EventKind::kDestroyed, at, 0, root);
    }
    add(EventKind::kRootFinished, first, 0, root);
    add(EventKind::kRootSealed, 0, 0, root);
    sink.take(batch);
    batch.clear();
  }
  sink.end(TraceSummary{});
}

}  // namespace thence_bench
