// SPDX-License-Identifier: MIT
#include "thence/core/event.hpp"

#include <cstring>

#include "support/catch.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"

using namespace thence;

namespace {
constexpr auto kBiggestResource = static_cast<ResourceId>((std::uint64_t{1} << 48) - 1);
constexpr auto kBiggestRoot = static_cast<RootId>((std::uint64_t{1} << 40) - 2);
constexpr auto kBiggestStack = static_cast<StackId>((std::uint32_t{1} << 24) - 1);
}  // namespace

TEST_CASE("an event is 32 bytes, and its words stand where the format says") {
  const Event event{Event::head_of(static_cast<ResourceId>(0x0123'4567'89ab), EventKind::kSettled, 0x21),
                    0x1122'3344'5566'7788,
                    Event::other_of(static_cast<ResourceId>(0xcba9'8765'4321), static_cast<TypeId>(0xbeef)),
                    Event::context_of(static_cast<RootId>(0x12'3456'789a), static_cast<StackId>(0xfedcba))};
  // Counted out by hand, little endian: resource, kind 5, flags; ticks; other, type; root, stack.
  const unsigned char expected[32] = {0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x05, 0x21, 0x88, 0x77, 0x66,
                                      0x55, 0x44, 0x33, 0x22, 0x11, 0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb,
                                      0xef, 0xbe, 0x9a, 0x78, 0x56, 0x34, 0x12, 0xba, 0xdc, 0xfe};
  CHECK(std::memcmp(&event, expected, sizeof expected) == 0);
}

TEST_CASE("what is packed into an event comes out again, at the ends of every range") {
  for (const ResourceId resource : {ResourceId::kNone, static_cast<ResourceId>(1), kBiggestResource}) {
    for (const ResourceId other : {ResourceId::kNone, kBiggestResource}) {
      for (const RootId root : {RootId::kNone, kBiggestRoot, RootId::kUntraced}) {
        for (const StackId stack : {StackId::kNone, static_cast<StackId>(1), kBiggestStack}) {
          for (const unsigned type : {0u, 35u, 256u, 65'535u}) {
            const Event event{Event::head_of(resource, EventKind::kRootSealed, 255), ~std::uint64_t{0},
                              Event::other_of(other, static_cast<TypeId>(type)), Event::context_of(root, stack)};
            CHECK(event.resource() == resource);
            CHECK(event.kind() == EventKind::kRootSealed);
            CHECK(event.flags() == 255);
            CHECK(event.other_id() == other);
            CHECK(static_cast<unsigned>(event.type()) == type);
            CHECK(event.root() == root);
            CHECK(event.stack() == stack);
            CHECK(count_of(event.time()) == ~std::uint64_t{0});
          }
        }
      }
    }
  }
}

TEST_CASE("only an annotation has payload slots, 24 bytes in each") {
  const auto annotation = [](std::uint64_t bytes) {
    return Event{Event::head_of(static_cast<ResourceId>(1), EventKind::kAnnotated), 0,
                 Event::other_of(static_cast<ResourceId>(bytes)), 0};
  };
  CHECK(payload_slots(annotation(0)) == 0);
  CHECK(payload_slots(annotation(1)) == 1);
  CHECK(payload_slots(annotation(24)) == 1);
  CHECK(payload_slots(annotation(25)) == 2);
  CHECK(payload_slots(annotation(1088)) == 46);
  for (int kind = 0; kind <= static_cast<int>(EventKind::kRootSealed); ++kind) {
    if (static_cast<EventKind>(kind) == EventKind::kAnnotated) continue;
    const Event event{Event::head_of(static_cast<ResourceId>(1), static_cast<EventKind>(kind)), 0,
                      Event::other_of(static_cast<ResourceId>(500)), 0};
    CHECK(payload_slots(event) == 0);
  }
}

TEST_CASE("a resource without an id records nothing, whatever its root") {
  CHECK_FALSE(Resource{});
  CHECK_FALSE((Resource{ResourceId::kNone, RootId::kUntraced}));
  CHECK((Resource{static_cast<ResourceId>(1), RootId::kNone}));
}

TEST_CASE("a settled event tells its outcome and its settler's kind apart") {
  TraceEvent event;
  event.flags = static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kResolved) |
                                          static_cast<unsigned>(Actor::kExternal) << 4);
  CHECK(event.outcome() == Outcome::kResolved);
  CHECK(event.settled_by() == Actor::kExternal);
}

TEST_CASE("a time before another is a negative distance, also around zero") {
  const auto at = [](std::uint64_t ns) { return static_cast<Timestamp>(ns); };
  CHECK(ns_between(at(5), at(12)) == 7);
  CHECK(ns_between(at(12), at(5)) == -7);
  CHECK(ns_between(at(0), at(0)) == 0);
  CHECK(ns_between(at(1'700'000'000'000'000'000), at(1'700'000'000'000'000'001)) == 1);
}

TEST_CASE("a value keeps its kind and its bits") {
  CHECK(Value::of(std::string_view("text"), true).text == "text");
  CHECK(Value::of(std::string_view("text"), true).cut);
  CHECK(Value::of(std::int64_t{-3}).integer == -3);
  CHECK(Value::of(std::int64_t{-3}).kind == ValueKind::kInt);
  CHECK(Value::of(~std::uint64_t{0}).uinteger == 18'446'744'073'709'551'615u);
  CHECK(Value::of(0.25).real == 0.25);
  CHECK(Value::of(true).boolean);
  CHECK(Value::of(true).kind == ValueKind::kBool);
}
