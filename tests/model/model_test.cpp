// SPDX-License-Identifier: MIT
// model_test.cpp: the model keeps what it is told, in order, whatever the order in which it is told.
#include "thence/model/model_builder.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "formats/random_trace.hpp"
#include "model/dump.hpp"
#include "support/catch.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/replay.hpp"

namespace {

using namespace thence;
using thence_test::difference;
using thence_test::dump;

TraceEvent event(EventKind kind, std::uint64_t time, std::uint64_t resource, std::uint64_t other = 0, std::uint32_t lane = 1,
                 std::uint64_t root = 1) {
  TraceEvent made;
  made.kind = kind;
  made.time = static_cast<Timestamp>(time);
  made.resource = static_cast<ResourceId>(resource);
  made.other = static_cast<ResourceId>(other);
  made.lane = static_cast<LaneId>(lane);
  made.root = static_cast<RootId>(root);
  return made;
}
TraceEvent created(std::uint64_t time, std::uint64_t resource, std::uint64_t trigger,
                   ResourceType type = ResourceType::kJsPromise) {
  TraceEvent made = event(EventKind::kCreated, time, resource, trigger);
  made.type = type_id(type);
  return made;
}

TraceModel model_of(std::vector<TraceEvent> events) {
  ModelBuilder builder;
  builder.begin({});
  builder.take(events);
  builder.end({});
  return builder.build();
}

std::vector<std::uint64_t> ids(const TraceModel& model) { return model.id; }

}  // namespace

TEST_CASE("rows of resources are in order of creation, and ids find them") {
  const TraceModel model = model_of({created(30, 7, 0), created(10, 9, 0), created(20, 2, 9)});
  CHECK(ids(model) == std::vector<std::uint64_t>{9, 2, 7});
  CHECK(model.find(ResourceId{2}) == 1);
  CHECK(model.find(ResourceId{3}) == TraceModel::kNone);
  CHECK(model.trigger[1] == 0);
  CHECK(model.trigger[0] == TraceModel::kNone);
}

TEST_CASE("a resource that was only mentioned has a row and no creation") {
  const TraceModel model = model_of({created(10, 5, 4)});
  REQUIRE(model.resources() == 2);
  const std::uint32_t row = model.find(ResourceId{4});
  REQUIRE(row != TraceModel::kNone);
  CHECK_FALSE(model.has(row, ResourceFlag::kCreated));
  CHECK(model.type_name(row) == "unknown");
  CHECK(model.quality.unknown_creations == 1);
}

TEST_CASE("an exit ends the innermost invocation on its lane, else the innermost elsewhere, else it is kept as an extra") {
  const TraceModel model = model_of({created(1, 5, 0), event(EventKind::kEntered, 10, 5, 0, 1), event(EventKind::kEntered, 20, 5, 0, 2),
                                     event(EventKind::kExited, 30, 5, 0, 1), event(EventKind::kExited, 40, 5, 0, 3),
                                     event(EventKind::kExited, 50, 5, 0, 1)});
  REQUIRE(model.invocations.size() == 2);
  CHECK(model.invocations[0].end == 30);
  CHECK(model.invocations[0].exit_lane == TraceModel::kNone);
  CHECK(model.invocations[1].end == 40);
  CHECK(model.lanes[model.invocations[1].exit_lane].id == LaneId{3});
  REQUIRE(model.extras.size() == 1);
  CHECK(model.extras[0].kind == EventKind::kExited);
  CHECK(model.extras[0].time == 50);
  CHECK(model.quality.exits_unmatched == 1);
}

TEST_CASE("the first wake since the last invocation began is what made the next one ready; others stay wakes") {
  const TraceModel model = model_of({created(1, 5, 0), event(EventKind::kScheduled, 5, 5), event(EventKind::kScheduled, 7, 5),
                                     event(EventKind::kEntered, 10, 5), event(EventKind::kScheduled, 12, 5),
                                     event(EventKind::kExited, 15, 5), event(EventKind::kEntered, 20, 5),
                                     event(EventKind::kEntered, 30, 5), event(EventKind::kScheduled, 40, 5)});
  REQUIRE(model.invocations.size() == 3);
  REQUIRE(model.wakes.size() == 4);
  CHECK(model.wakes[model.invocations[0].wake].time == 5);
  CHECK(model.wakes[model.invocations[1].wake].time == 12);
  CHECK(model.invocations[2].wake == TraceModel::kNone);
  CHECK(model.wakes[1].invocation == TraceModel::kNone);
  CHECK(model.wakes[3].invocation == TraceModel::kNone);
}

TEST_CASE("what happens a second time is kept as it was and counted") {
  std::vector<TraceEvent> events{created(1, 5, 0), created(2, 5, 0), event(EventKind::kSettled, 3, 5),
                                 event(EventKind::kSettled, 4, 5), event(EventKind::kDestroyed, 5, 5),
                                 event(EventKind::kDestroyed, 6, 5)};
  events[2].flags = static_cast<std::uint8_t>(Outcome::kRejected);
  const TraceModel model = model_of(events);
  CHECK(model.created[0] == 1);
  CHECK(model.settled[0] == 3);
  CHECK(model.outcome(0) == Outcome::kRejected);
  CHECK(model.destroyed[0] == 5);
  CHECK(model.extras.size() == 3);
  CHECK(model.quality.repeated == 3);
}

TEST_CASE("a resolving is no settling") {
  std::vector<TraceEvent> events{created(1, 5, 0), event(EventKind::kSettled, 3, 5), event(EventKind::kSettled, 4, 5)};
  events[1].flags = static_cast<std::uint8_t>(Outcome::kResolved);
  events[2].flags = static_cast<std::uint8_t>(Outcome::kFulfilled);
  const TraceModel model = model_of(events);
  CHECK(model.settled[0] == 4);
  CHECK(model.quality.repeated == 0);
  REQUIRE(model.extras.size() == 1);
  CHECK(model.extras[0].time == 3);
}

TEST_CASE("events without what their kind needs are counted, not kept") {
  std::vector<TraceEvent> events{event(EventKind::kEntered, 1, 0), event(EventKind::kAnnotated, 1, 5),
                                 event(EventKind::kCounter, 1, 0), event(EventKind::kPayload, 1, 1),
                                 event(EventKind::kRootSealed, 1, 0, 0, 1, 0)};
  const TraceModel model = model_of(events);
  CHECK(model.quality.malformed == 5);
  CHECK(model.quality.events == 5);
}

TEST_CASE("types have one number a name: built-in names theirs, others from 256") {
  ModelBuilder builder;
  builder.begin({});
  builder.define_type(TypeId{700}, "fetch");
  builder.define_type(TypeId{300}, "query");
  builder.define_type(TypeId{301}, "query");
  builder.define_type(TypeId{3}, "lock");
  std::vector<TraceEvent> events;
  std::uint64_t id = 0;
  for (const int type : {700, 300, 301, 3}) {
    ++id;
    events.push_back(created(id, id, 0));
    events.back().type = static_cast<TypeId>(type);
  }
  builder.take(events);
  const TraceModel model = builder.build();
  CHECK(model.type[0] == static_cast<std::uint16_t>(ResourceType::kFetch));
  CHECK(model.type[1] == 300);
  CHECK(model.type[2] == 300);
  CHECK(model.type[3] == 256);
  CHECK(model.type_name(3) == "lock");
}

TEST_CASE("the order in which events come does not matter") {
  for (const std::uint64_t seed : {1u, 2u, 3u, 4u, 5u, 6u}) {
    thence_test::RandomTraceOptions options;
    options.seed = seed;
    options.steps = 1500;
    thence_test::RandomTrace trace(options);
    // Each event alone, so that they can be shuffled; what they point to is kept.
    struct Collect : IgnoringSink {
      std::vector<TraceEvent> events;
      std::vector<std::unique_ptr<Annotation>> annotations;
      std::vector<std::unique_ptr<std::string>> texts;
      std::vector<std::unique_ptr<LossRange>> losses;
      std::string_view keep(std::string_view text) {
        texts.push_back(std::make_unique<std::string>(text));
        return *texts.back();
      }
      void take(std::span<const TraceEvent> all) {
        for (TraceEvent one : all) {
          if (one.annotation != nullptr) {
            annotations.push_back(std::make_unique<Annotation>(*one.annotation));
            annotations.back()->key = keep(one.annotation->key);
            annotations.back()->value.text = keep(one.annotation->value.text);
            one.annotation = annotations.back().get();
          }
          if (one.loss != nullptr) {
            losses.push_back(std::make_unique<LossRange>(*one.loss));
            one.loss = losses.back().get();
          }
          events.push_back(one);
        }
      }
    } collected;
    trace.play(collected);
    // In order of time (late ones in their place): what a sorted and a shuffled feeding must agree on. Equal times are
    // left out: there, order means something.
    std::stable_sort(collected.events.begin(), collected.events.end(),
                     [](const TraceEvent& a, const TraceEvent& b) { return a.time < b.time; });
    std::vector<TraceEvent> distinct;
    std::uint64_t shift = 0;
    for (TraceEvent one : collected.events) {
      one.time = static_cast<Timestamp>(ns_of(one.time) + ++shift);
      distinct.push_back(one);
    }
    // The annotations of one resource keep the order in which they come; first settlings and creations are first come.
    std::vector<TraceEvent> moved;
    std::vector<TraceEvent> fixed;
    for (const TraceEvent& one : distinct) {
      const bool moves = one.kind == EventKind::kEntered || one.kind == EventKind::kExited || one.kind == EventKind::kScheduled ||
                         one.kind == EventKind::kLinked || one.kind == EventKind::kCounter || one.kind == EventKind::kParked ||
                         one.kind == EventKind::kUnparked || one.kind == EventKind::kPauseBegan || one.kind == EventKind::kPauseEnded;
      (moves ? moved : fixed).push_back(one);
    }
    const TraceModel straight = model_of(distinct);
    std::mt19937_64 random(seed);
    std::shuffle(moved.begin(), moved.end(), random);
    std::vector<TraceEvent> shuffled;
    std::size_t a = 0, b = 0;
    while (a < moved.size() || b < fixed.size()) {
      const bool take_moved = b == fixed.size() || (a < moved.size() && random() % 2 == 0);
      shuffled.push_back(take_moved ? moved[a++] : fixed[b++]);
    }
    CHECK(difference(dump(straight), dump(model_of(shuffled))) == "");
  }
}

TEST_CASE("a replayed model gives the same model") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    thence_test::RandomTraceOptions options;
    options.seed = seed;
    thence_test::RandomTrace trace(options);
    ModelBuilder builder;
    trace.play(builder);
    const TraceModel model = builder.build();
    REQUIRE(model.resources() > 100);
    ModelBuilder again;
    replay(model, again);
    INFO("seed " << seed);
    CHECK(difference(dump(model, {.stack_ids = true}), dump(again.build(), {.stack_ids = true})) == "");
  }
}

TEST_CASE("two processes in one model keep their resources apart; one process in two files shares them") {
  ModelBuilder builder;
  const auto one = [&](std::uint64_t salt, std::uint64_t time, std::uint64_t id) {
    TraceInfo info;
    info.salt = salt;
    builder.begin(info);
    builder.define_lane({LaneId{1}, static_cast<std::int32_t>(salt), 1, "lane"});
    const TraceEvent made = created(time, id, 0);
    builder.take({&made, 1});
    builder.end({});
  };
  one(11, 10, 1);
  one(22, 20, 1);
  one(11, 30, 2);
  one(0, 40, 1);  // nobody says what process these two are of
  one(0, 50, 1);
  const TraceModel model = builder.build();
  CHECK(model.sources.size() == 4);
  CHECK(model.lanes.size() == 4);
  CHECK(ids(model) == std::vector<std::uint64_t>{1, 3, 2, 4, 5});
  CHECK(model.quality.repeated == 0);
}

TEST_CASE("the indexes hold each row once, in order") {
  thence_test::RandomTrace trace({.seed = 42});
  ModelBuilder builder;
  trace.play(builder);
  const TraceModel model = builder.build();
  std::size_t seen = 0;
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    std::uint64_t last = 0;
    for (const std::uint32_t at : model.invocations_of(row)) {
      CHECK(model.invocations[at].resource == row);
      CHECK(model.invocations[at].start >= last);
      last = model.invocations[at].start;
      ++seen;
    }
    for (const auto& note : model.notes_of(row)) CHECK(note.resource == row);
  }
  CHECK(seen == model.invocations.size());
  seen = 0;
  for (std::uint32_t lane = 0; lane <= model.lanes.size(); ++lane) seen += model.invocations_by_lane[lane].size();
  CHECK(seen == model.invocations.size());
}

TEST_CASE("normalising gives orphans and impossible children to their request, and counts them") {
  // 1 is the root; 2's trigger is not there; 3's was created after it; 4 and 5 name each other.
  const TraceModel model = model_of({created(10, 1, 0, ResourceType::kRoot), created(20, 2, 99), created(30, 3, 6),
                                     created(40, 4, 5), created(40, 5, 4), created(50, 6, 1), created(60, 7, 7)});
  const Normalised normal = normalise(model);
  const auto parent = [&](std::uint64_t id) {
    const std::uint32_t up = normal.parent[model.find(static_cast<ResourceId>(id))];
    return up == TraceModel::kNone ? 0 : model.id[up];
  };
  CHECK(parent(1) == 0);
  CHECK(parent(2) == 1);
  CHECK(parent(3) == 1);
  CHECK(parent(4) == 1);
  CHECK(parent(5) == 4);
  CHECK(parent(6) == 1);
  CHECK(parent(7) == 1);
  CHECK(normal.orphans == 1);
  CHECK(normal.edges_dropped == 3);
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    CHECK((normal.parent[row] == TraceModel::kNone || normal.parent[row] < row));
  }
}

TEST_CASE("normalising ends what did not end at its request's end, and counts times that go backwards") {
  std::vector<TraceEvent> events{created(10, 1, 0, ResourceType::kRoot), created(50, 2, 1),
                                 event(EventKind::kEntered, 40, 2),  // before it was created
                                 event(EventKind::kExited, 60, 2), event(EventKind::kEntered, 70, 2),
                                 event(EventKind::kDestroyed, 45, 2), event(EventKind::kRootFinished, 100, 1)};
  const TraceModel model = model_of(events);
  const Normalised normal = normalise(model);
  CHECK(normal.skew == 2);
  CHECK(normal.open_invocations == 1);
  CHECK(normal.start[0] == 50);
  CHECK(normal.end[0] == 60);
  CHECK(normal.end[1] == 100);
}

TEST_CASE("wakes are inferred only where the trace tells no cause at all, and by the rule") {
  const std::vector<TraceEvent> plain{created(0, 1, 0, ResourceType::kRoot), created(10, 2, 1), created(11, 3, 1, ResourceType::kKjToJs),
                                      created(12, 4, 1),
                                      event(EventKind::kEntered, 100'000, 2), event(EventKind::kExited, 200'000, 2),
                                      event(EventKind::kEntered, 210'000, 3), event(EventKind::kExited, 220'000, 3),
                                      event(EventKind::kEntered, 230'000, 4), event(EventKind::kExited, 240'000, 4),
                                      event(EventKind::kEntered, 900'000, 1), event(EventKind::kExited, 910'000, 1)};
  const TraceModel model = model_of(plain);
  const Normalised normal = normalise(model);
  CHECK(normal.inferred);
  REQUIRE(normal.inferred_wake.size() == 4);
  CHECK(normal.inferred_wake[0] == TraceModel::kNone);
  CHECK(normal.inferred_wake[1] == 0);
  CHECK(normal.inferred_wake[2] == 0);  // not the bridge's own invocation, which ended last
  CHECK(normal.inferred_wake[3] == TraceModel::kNone);  // more than 200 us later
  CHECK(normal.inferred_wakes == 2);

  std::vector<TraceEvent> told = plain;
  told.push_back(event(EventKind::kScheduled, 95'000, 2));
  CHECK_FALSE(normalise(model_of(told)).inferred);
}

TEST_CASE("an empty model is replayed and normalised") {
  ModelBuilder builder;
  const TraceModel model = builder.build();
  ModelBuilder again;
  replay(model, again);
  CHECK(again.build().resources() == 0);
  CHECK(normalise(model).parent.empty());
}
