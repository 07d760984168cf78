// SPDX-License-Identifier: MIT
#include "thence/session/lane_reader.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using namespace thence;

namespace {

struct RingAndReader {
  RingBuffer<> ring{HeapStorage(256)};
  LaneReader reader{LaneId{1}};
  BlockArena arena;

  void record(EventKind kind, std::uint64_t resource, std::uint64_t ticks) {
    ring.try_push({Event::head_of(static_cast<ResourceId>(resource), kind), ticks, 0, 0});
  }
  void annotate(std::uint64_t resource, std::uint64_t ticks, std::string_view key, std::string_view text) {
    const auto type = static_cast<TypeId>(key.size());
    ring.try_push({Event::head_of(static_cast<ResourceId>(resource), EventKind::kAnnotated), ticks,
                   Event::other_of(static_cast<ResourceId>(key.size() + text.size()), type), 0}, key, text);
  }
  void read() {
    ring.drain([&](const RecordView& record) { reader.add(record, time); });
  }
  TraceEvent next() {
    TraceEvent event;
    reader.next(event, time(reader.front()), arena, time, [](StackId stack) { return stack; }, [](std::string_view, std::string_view text) { return text; });
    return event;
  }
  static Timestamp time(Ticks ticks) { return static_cast<Timestamp>(count_of(ticks)); }
};

}  // namespace

TEST_CASE("what was recorded for an earlier moment leaves at its place in time, with all its slots") {
  RingAndReader lane;
  const std::string text(70, 'x');
  lane.record(EventKind::kEntered, 1, 10);
  lane.annotate(2, 30, "url", "0123456789abcdefghijklmnopqrstuvwxyz");
  lane.record(EventKind::kExited, 3, 40);
  lane.annotate(4, 20, "key", text);  // before an annotation, of several slots itself
  lane.record(EventKind::kSettled, 5, 30);  // of the same moment as an earlier record: behind it
  lane.read();
  std::vector<std::uint64_t> order;
  while (!lane.reader.empty()) {
    const TraceEvent event = lane.next();
    order.push_back(number(event.resource));
    if (order.back() == 2) CHECK(event.annotation->value.text == "0123456789abcdefghijklmnopqrstuvwxyz");
    if (order.back() == 4) {
      CHECK(event.annotation->key == "key");
      CHECK(event.annotation->value.text == text);
    }
  }
  CHECK(order == std::vector<std::uint64_t>{1, 4, 2, 5, 3});
  CHECK(lane.reader.records() == 5);
}

TEST_CASE("what waits stays in order while what was taken is forgotten") {
  RingAndReader lane;
  std::uint64_t recorded = 0, taken = 0;
  for (int round = 0; round < 50; ++round) {
    for (int n = 0; n < 100; ++n) {
      ++recorded;
      lane.record(EventKind::kEntered, recorded, recorded);
    }
    lane.read();
    while (taken + 30 < recorded) REQUIRE(number(lane.next().resource) == ++taken);
    lane.reader.recycle();
  }
  lane.reader.add_loss({7, static_cast<Ticks>(recorded), static_cast<Ticks>(recorded + 5)}, RingAndReader::time);
  while (taken != recorded) REQUIRE(number(lane.next().resource) == ++taken);
  const TraceEvent loss = lane.next();
  CHECK(loss.kind == EventKind::kLost);
  CHECK(loss.loss->count == 7);
  CHECK(lane.reader.marked_lost() == 7);
  CHECK(lane.reader.empty());
}
