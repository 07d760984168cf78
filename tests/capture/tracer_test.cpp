// SPDX-License-Identifier: MIT
#include "thence/capture/tracer.hpp"

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <type_traits>

#include "capture/support.hpp"
#include "thence/storage/flight_recorder.hpp"

using namespace thence;
using namespace thence_test;

namespace {
constexpr Resource kNothing{};
constexpr Resource kUntraced{ResourceId::kNone, RootId::kUntraced};

SourceSite site_of_this_line(SourceSite site = SourceSite::current()) { return site; }
}  // namespace

TEST_CASE("what nothing triggered has no trigger, no root, and its own id") {
  Traced<> traced;
  traced.time = 77;
  const Resource first = traced.tracer.create(ResourceType::kTimer);
  const Resource second = traced.tracer.create(ResourceType::kFetch);
  CHECK(number(first.id) == 1);
  CHECK(number(second.id) == 2);
  CHECK(first.root == RootId::kNone);
  const std::vector<Raw> all = traced.drained();
  REQUIRE(all.size() == 2);
  CHECK(all[0].kind == EventKind::kCreated);
  CHECK(all[0].resource == 1);
  CHECK(all[0].ticks == 77);
  CHECK(all[0].other == 0);
  CHECK(all[0].root == 0);
  CHECK(all[0].type == static_cast<unsigned>(ResourceType::kTimer));
  CHECK(all[1].type == static_cast<unsigned>(ResourceType::kFetch));
}

TEST_CASE("what is created in a callback is triggered by it and belongs to its root") {
  Traced<> traced;
  const Resource root = traced.tracer.begin_root();
  CHECK(root.root != RootId::kNone);
  traced.tracer.enter(root);
  const Resource child = traced.tracer.create(ResourceType::kKvGet);
  traced.tracer.enter(child);
  const Resource grandchild = traced.tracer.create(ResourceType::kTimer);
  traced.tracer.exit(child);
  const Resource sibling = traced.tracer.create(ResourceType::kTimer);
  traced.tracer.exit(root);
  const Resource stranger = traced.tracer.create(ResourceType::kTimer);
  CHECK(child.root == root.root);
  CHECK(grandchild.root == root.root);
  CHECK(sibling.root == root.root);
  CHECK(stranger.root == RootId::kNone);

  std::vector<Raw> all = traced.drained();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> triggers;
  for (const Raw& raw : all) {
    if (raw.kind == EventKind::kCreated) triggers.emplace_back(raw.resource, raw.other);
  }
  const auto id = [](Resource resource) { return number(resource.id); };
  CHECK(triggers == std::vector<std::pair<std::uint64_t, std::uint64_t>>{{id(root), 0},
                                                                         {id(child), id(root)},
                                                                         {id(grandchild), id(child)},
                                                                         {id(sibling), id(root)},
                                                                         {id(stranger), 0}});
  CHECK(all.front().root == number(root.root));
}

TEST_CASE("a host may name the trigger itself, also that there is none") {
  Traced<> traced;
  const Resource one = traced.tracer.begin_root();
  const Resource two = traced.tracer.begin_root();
  CHECK(one.root != two.root);
  traced.tracer.enter(one);
  traced.drained();
  const Resource named = traced.tracer.create(ResourceType::kTimer, {.trigger = two});
  CHECK(named.root == two.root);
  CHECK(traced.one().other == number(two.id));
  const Resource none = traced.tracer.create(ResourceType::kTimer, {.trigger = kNothing});
  CHECK(none.root == RootId::kNone);
  CHECK(traced.one().other == 0);
}

TEST_CASE("who made a thing happen is the current callback, or the outside world where nothing runs") {
  Traced<> traced;
  const Resource worker = traced.tracer.create(ResourceType::kMicrotask);
  const Resource waited = traced.tracer.create(ResourceType::kJsPromise);
  traced.drained();

  traced.tracer.schedule(waited);
  Raw raw = traced.one();
  CHECK(raw.kind == EventKind::kScheduled);
  CHECK(static_cast<Actor>(raw.flags) == Actor::kExternal);
  CHECK(raw.other == 0);
  traced.tracer.settle(waited, Outcome::kRejected);
  raw = traced.one();
  CHECK(raw.kind == EventKind::kSettled);
  CHECK(raw.flags == (static_cast<unsigned>(Outcome::kRejected) | static_cast<unsigned>(Actor::kExternal) << 4));
  CHECK(raw.other == 0);

  traced.tracer.enter(worker);
  traced.drained();
  traced.tracer.schedule(waited);
  raw = traced.one();
  CHECK(static_cast<Actor>(raw.flags) == Actor::kInvocation);
  CHECK(raw.other == number(worker.id));
  traced.tracer.settle(waited, Outcome::kFulfilled);
  raw = traced.one();
  CHECK(raw.flags == (static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kInvocation) << 4));
  CHECK(raw.other == number(worker.id));

  // The host's own word goes before what is current.
  traced.tracer.schedule(waited, Actor::kExternal);
  raw = traced.one();
  CHECK(static_cast<Actor>(raw.flags) == Actor::kExternal);
  CHECK(raw.other == 0);
  traced.tracer.settle(waited, Outcome::kUnknown, Actor::kUnknown);
  raw = traced.one();
  CHECK(raw.flags == 0);
  CHECK(raw.other == 0);
  traced.tracer.at(static_cast<Ticks>(123)).settle(waited, Outcome::kCancelled, Actor::kInvocation, worker.id);
  raw = traced.one();
  CHECK(raw.ticks == 123);
  CHECK(raw.other == number(worker.id));
}

TEST_CASE("the events of one moment bear its time, and say what the plain calls say") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource worker = tracer.begin_root();
  tracer.enter(worker);
  traced.drained();
  traced.time = 500;
  const auto moment = tracer.at(tracer.now());
  traced.time = 900;
  const Resource made = moment.create(ResourceType::kFetch);
  moment.link(worker, made);
  moment.schedule(made);
  moment.enter(made);
  CHECK(tracer.current() == made);
  moment.settle(made, Outcome::kRejected);
  moment.exit(made);
  CHECK(tracer.current() == worker);
  moment.destroy(made);
  CHECK(made.root == worker.root);
  using K = EventKind;
  const std::vector<K> kinds = {K::kCreated, K::kLinked, K::kScheduled, K::kEntered, K::kSettled, K::kExited, K::kDestroyed};
  const std::vector<std::uint64_t> others = {number(worker.id), number(worker.id), number(worker.id), 0, number(made.id), 0, 0};
  const std::vector<Raw> raws = traced.drained();
  REQUIRE(raws.size() == kinds.size());
  for (std::size_t at = 0; at != raws.size(); ++at) {
    CHECK(raws[at].kind == kinds[at]);
    CHECK(raws[at].resource == number(made.id));
    CHECK(raws[at].other == others[at]);
    CHECK(raws[at].root == number(worker.root));
    CHECK(raws[at].ticks == 500);
  }
  tracer.schedule(worker);
  CHECK(traced.one().ticks == 900);
}

TEST_CASE("the quick calls record what the usual ones do, where it is two events of one moment") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource worker = tracer.begin_root();
  const Resource waited = tracer.create(ResourceType::kFetch);
  tracer.enter(worker);
  traced.drained();
  const auto check_two = [&](Resource of, EventKind first, std::uint64_t other_of_first, EventKind second, std::uint64_t other_of_second) {
    const std::vector<Raw> raws = traced.drained();
    REQUIRE(raws.size() == 2);
    CHECK(raws[0].kind == first);
    CHECK(raws[0].other == other_of_first);
    CHECK(raws[1].kind == second);
    CHECK(raws[1].other == other_of_second);
    for (const Raw& raw : raws) {
      CHECK(raw.resource == number(of.id));
      CHECK(raw.root == number(worker.root));
      CHECK(raw.ticks == traced.time);
    }
  };
  traced.time = 500;
  const Resource made = tracer.quick_create(ResourceType::kJsPromise, waited.id, static_cast<StackId>(7), tracer.quick_now());
  CHECK(made.root == worker.root);
  check_two(made, EventKind::kCreated, number(worker.id), EventKind::kLinked, number(waited.id));

  const Resource alone = tracer.quick_create(ResourceType::kJsPromise, ResourceId::kNone, static_cast<StackId>(7), tracer.quick_now());
  const Raw created = traced.one();
  CHECK(created.kind == EventKind::kCreated);
  CHECK(created.resource == number(alone.id));
  CHECK(created.other == number(worker.id));
  CHECK(created.type == static_cast<unsigned>(ResourceType::kJsPromise));
  CHECK(created.stack == static_cast<StackId>(7));

  CHECK(tracer.quick_settle(alone, Outcome::kFulfilled, tracer.quick_now()));
  const Raw settled = traced.one();
  CHECK(settled.kind == EventKind::kSettled);
  CHECK(settled.other == number(worker.id));

  CHECK_FALSE(tracer.quick_settle_and_exit(made, Outcome::kFulfilled, tracer.quick_now()));  // it is not the innermost
  CHECK(traced.drained().empty());
  traced.time = 600;
  CHECK(tracer.quick_enter(made, waited.id, tracer.quick_now()));
  CHECK(tracer.current() == made);
  const Raw entered = traced.one();
  CHECK(entered.kind == EventKind::kEntered);
  CHECK(entered.flags == static_cast<unsigned>(CauseKind::kSettled));
  CHECK(entered.other == number(waited.id));
  traced.time = 700;
  CHECK(tracer.quick_settle_and_exit(made, Outcome::kFulfilled, tracer.quick_now()));
  CHECK(tracer.current() == worker);
  check_two(made, EventKind::kSettled, number(made.id), EventKind::kExited, 0);
}

TEST_CASE("a quick call that cannot be quick does nothing at all") {
  Traced<> traced(16);
  auto& tracer = traced.tracer;
  const auto check_none = [&](Resource innermost) {
    CHECK(tracer.quick_create(ResourceType::kJsPromise, ResourceId::kNone, StackId::kNone, tracer.quick_now()) == Resource{});
    CHECK_FALSE(tracer.quick_settle_and_exit(innermost, Outcome::kFulfilled, tracer.quick_now()));
    CHECK(tracer.current() == innermost);
  };
  check_none({});  // tracing began, and the tracer has not seen it
  const Resource worker = tracer.begin_root();
  tracer.enter(worker);
  traced.drained();
  SECTION("as the lap ends after one more event, and each of these may need two") {
    while (tracer.quick_create(ResourceType::kJsPromise, ResourceId::kNone, StackId::kNone, tracer.quick_now())) {}
    CHECK_FALSE(traced.drained().empty());
    check_none(worker);
    CHECK(tracer.quick_enter(worker, ResourceId::kNone, tracer.quick_now()));  // this one needs one
    CHECK_FALSE(tracer.quick_enter(worker, ResourceId::kNone, tracer.quick_now()));
    CHECK_FALSE(tracer.quick_settle(worker, Outcome::kFulfilled, tracer.quick_now()));
    CHECK(traced.one().kind == EventKind::kEntered);
    tracer.settle(worker, Outcome::kFulfilled);  // which looks after the ring
    CHECK(tracer.quick_settle_and_exit(worker, Outcome::kFulfilled, tracer.quick_now()));
  }
  SECTION("as tracing was stopped") {
    tracer.set_epoch(0);
    CHECK(tracer.quick_create(ResourceType::kJsPromise, worker.id, StackId::kNone, tracer.quick_now()) == Resource{});
    CHECK_FALSE(tracer.quick_enter(worker, ResourceId::kNone, tracer.quick_now()));
    CHECK_FALSE(tracer.quick_settle(worker, Outcome::kFulfilled, tracer.quick_now()));
    CHECK_FALSE(tracer.quick_settle_and_exit(worker, Outcome::kFulfilled, tracer.quick_now()));
    CHECK(traced.drained().empty());
  }
  SECTION("as what runs is not traced") {
    tracer.enter({ResourceId::kNone, thence::RootId::kUntraced});
    CHECK(tracer.quick_create(ResourceType::kJsPromise, worker.id, StackId::kNone, tracer.quick_now()) == Resource{});
    CHECK_FALSE(tracer.quick_settle(worker, Outcome::kFulfilled, tracer.quick_now()));
    CHECK(traced.drained().empty());
  }
  SECTION("as nesting is at its limit") {
    while (tracer.depth() != thence::Tracer::kMaxDepth) {
      tracer.enter(worker);
      traced.drained();
    }
    CHECK_FALSE(tracer.quick_enter(worker, ResourceId::kNone, tracer.quick_now()));
    CHECK(traced.drained().empty());
    CHECK(tracer.misuse().too_deep == 0);
  }
}

/// A counter that cannot be trusted on this machine: what it counts must never be seen.
struct Untrusted {
  static std::uint64_t system;
  [[nodiscard]] bool counts() const noexcept { return false; }
  [[nodiscard]] static Ticks counter() noexcept { return static_cast<Ticks>(666); }
  [[nodiscard]] Ticks now() const noexcept { return static_cast<Ticks>(system); }
  [[nodiscard]] std::uint64_t nanoseconds_per_tick() const noexcept { return 1; }
  [[nodiscard]] std::string_view name() const noexcept { return "untrusted"; }
};
std::uint64_t Untrusted::system = 0;
struct UntrustedPolicies : DefaultPolicies {
  using Clock = Untrusted;
};

TEST_CASE("where the processor's counter cannot be trusted, no event bears its time") {
  TracerLink link;
  BasicTracer<UntrustedPolicies> tracer(link, Untrusted(), {.max_stacks = 100, .max_frames = 1000},
                                        {.max_stacks = 100, .max_frames = 1000}, HeapStorage(64));
  tracer.set_epoch(1);
  std::vector<std::uint64_t> times;
  for (Untrusted::system = 1; Untrusted::system <= 200; ++Untrusted::system) {
    tracer.create(ResourceType::kTimer);
    if (Untrusted::system % 20 == 0) {
      tracer.ring().drain([&](const RecordView& record) { times.push_back(record.head().ticks); });
    }
  }
  REQUIRE(times.size() == 200);
  for (std::size_t at = 0; at != times.size(); ++at) CHECK(times[at] == at + 1);
}

/// One that can, and stands still.
struct Trusted : Untrusted {
  [[nodiscard]] bool counts() const noexcept { return true; }
  [[nodiscard]] static Ticks counter() noexcept { return static_cast<Ticks>(777); }
};
struct TrustedPolicies : DefaultPolicies {
  using Clock = Trusted;
};

TEST_CASE("a quick call bears the time that its hook has read, not that of its storing") {
  TracerLink link;
  BasicTracer<TrustedPolicies> tracer(link, Trusted(), {.max_stacks = 100, .max_frames = 1000}, {.max_stacks = 100, .max_frames = 1000},
                                      HeapStorage(64));
  tracer.set_epoch(1);
  const Resource worker = tracer.begin_root();
  tracer.enter(worker);
  CHECK(tracer.quick_now() == static_cast<Ticks>(777));
  tracer.ring().drain([](const RecordView&) {});
  const auto at = [](std::uint64_t when) { return static_cast<Ticks>(when); };
  const Resource made = tracer.quick_create(ResourceType::kJsPromise, worker.id, StackId::kNone, at(1));
  CHECK(tracer.quick_settle(made, Outcome::kFulfilled, at(2)));
  CHECK(tracer.quick_enter(made, worker.id, at(3)));
  CHECK(tracer.quick_settle_and_exit(made, Outcome::kFulfilled, at(4)));
  std::vector<std::uint64_t> times;
  tracer.ring().drain([&](const RecordView& record) { times.push_back(record.head().ticks); });
  CHECK(times == std::vector<std::uint64_t>{1, 1, 2, 3, 4, 4});
}

TEST_CASE("in an untraced callback who did it is unknown, never the outside world") {
  Traced<> traced;
  const Resource waited = traced.tracer.create(ResourceType::kJsPromise);
  traced.tracer.enter(kUntraced);
  traced.drained();
  traced.tracer.settle(waited, Outcome::kFulfilled);
  Raw raw = traced.one();
  CHECK(static_cast<Actor>(raw.flags >> 4) == Actor::kUnknown);
  CHECK(raw.other == 0);
  traced.tracer.schedule(waited);
  CHECK(static_cast<Actor>(traced.one().flags) == Actor::kUnknown);
}

TEST_CASE("an invocation says what made it runnable, where the host knows") {
  Traced<> traced;
  const Resource a = traced.tracer.create(ResourceType::kTimer);
  const Resource b = traced.tracer.create(ResourceType::kTimer);
  const auto entered = [&](Cause cause) {
    traced.drained();
    traced.tracer.enter(a, cause);
    const Raw raw = traced.one();
    traced.tracer.exit(a);
    CHECK(raw.kind == EventKind::kEntered);
    return std::pair{static_cast<CauseKind>(raw.flags), raw.other};
  };
  CHECK(entered({}) == std::pair{CauseKind::kUnspecified, std::uint64_t{0}});
  CHECK(entered(Cause::settled(b)) == std::pair{CauseKind::kSettled, number(b.id)});
  CHECK(entered(Cause::external()) == std::pair{CauseKind::kExternal, std::uint64_t{0}});
  CHECK(entered(Cause::external(b)) == std::pair{CauseKind::kExternal, number(b.id)});
}

TEST_CASE("every call writes the event that its name says, with resource and root") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource root = tracer.begin_root();
  const Resource a = tracer.create(ResourceType::kTimer, {.trigger = root});
  const Resource b = tracer.create(ResourceType::kTimer, {.trigger = root});
  traced.drained();
  const auto expect = [&](EventKind kind, Resource resource, std::uint64_t other = 0, std::uint8_t flags = 0) {
    const Raw raw = traced.one();
    CHECK(raw.kind == kind);
    CHECK(raw.resource == number(resource.id));
    CHECK(raw.root == number(root.root));
    CHECK(raw.other == other);
    CHECK(raw.flags == flags);
  };
  tracer.enter(a);
  expect(EventKind::kEntered, a);
  tracer.exit(a);
  expect(EventKind::kExited, a);
  tracer.destroy(a);
  expect(EventKind::kDestroyed, a);
  tracer.link(a, b);
  expect(EventKind::kLinked, b, number(a.id), static_cast<std::uint8_t>(LinkKind::kAwaits));
  tracer.link(a, b, LinkKind::kBridge);
  expect(EventKind::kLinked, b, number(a.id), static_cast<std::uint8_t>(LinkKind::kBridge));
  tracer.finish_root(root);
  expect(EventKind::kRootFinished, root);

  tracer.counter(CounterId::kPending, -7);
  Raw raw = traced.one();
  CHECK(raw.kind == EventKind::kCounter);
  CHECK(raw.resource == static_cast<std::uint64_t>(CounterId::kPending));
  CHECK(static_cast<std::int64_t>(raw.word) == -7);
  CHECK(static_cast<ValueKind>(raw.flags) == ValueKind::kInt);
  tracer.counter(CounterId::kLoopLag, 0.5);
  raw = traced.one();
  CHECK(raw.word == 0x3fe0'0000'0000'0000u);  // 0.5 as IEEE 754 has it
  CHECK(static_cast<ValueKind>(raw.flags) == ValueKind::kDouble);
  tracer.counter(CounterId::kPending, ~std::uint64_t{0});
  raw = traced.one();
  CHECK(raw.word == ~std::uint64_t{0});
  CHECK(static_cast<ValueKind>(raw.flags) == ValueKind::kUint);
  tracer.queue_depth(12);
  raw = traced.one();
  CHECK(raw.resource == static_cast<std::uint64_t>(CounterId::kQueueDepth));
  CHECK(raw.word == 12);

  tracer.park();
  CHECK(traced.one().kind == EventKind::kParked);
  tracer.unpark();
  CHECK(traced.one().kind == EventKind::kUnparked);
  tracer.begin_pause(PauseKind::kGcMajor);
  raw = traced.one();
  CHECK(raw.kind == EventKind::kPauseBegan);
  CHECK(raw.resource == static_cast<std::uint64_t>(PauseKind::kGcMajor));
  tracer.end_pause(PauseKind::kGcMajor);
  CHECK(traced.one().kind == EventKind::kPauseEnded);
}

TEST_CASE("an annotation keeps its key and its value of any kind") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource a = tracer.create(ResourceType::kFetch);
  traced.drained();
  const auto annotated = [&](std::string_view key, const auto& value) {
    tracer.annotate(a, key, value);
    Raw raw = traced.one();
    CHECK(raw.kind == EventKind::kAnnotated);
    CHECK(raw.resource == number(a.id));
    CHECK(raw.flags == 0);
    CHECK(raw.key == key);
    return raw;
  };
  const auto kind = [](const Raw& raw) { return static_cast<ValueKind>(raw.type >> 12); };
  Raw raw = annotated("url", "http://example.com/");
  CHECK(kind(raw) == ValueKind::kString);
  CHECK(raw.value == "http://example.com/");
  CHECK(annotated("text", std::string(1000, 'x')).value == std::string(1000, 'x'));
  CHECK(annotated("view", std::string_view("a\0b", 3)).value == std::string("a\0b", 3));
  CHECK(annotated("", "").value.empty());
  // Whatever of it fits one slot of the ring, and a little more.
  const std::string text = "abcdefghijklmnopqrstuvwxyz";
  for (std::size_t key = 0; key <= text.size(); ++key) {
    for (std::size_t size = 0; size <= text.size(); ++size) {
      const std::string_view value = std::string_view(text).substr(text.size() - size);
      CHECK(annotated(std::string_view(text).substr(0, key), value).value == value);
    }
  }
  CHECK(annotated("null", static_cast<const char*>(nullptr)).value.empty());
  raw = annotated("delay", -5);
  CHECK(kind(raw) == ValueKind::kInt);
  CHECK(bits_as<std::int64_t>(raw.value) == -5);
  raw = annotated("rows", std::size_t{7});
  CHECK(kind(raw) == ValueKind::kUint);
  CHECK(bits_as<std::uint64_t>(raw.value) == 7);
  raw = annotated("ratio", 0.25F);
  CHECK(kind(raw) == ValueKind::kDouble);
  CHECK(bits_as<double>(raw.value) == 0.25);
  raw = annotated("hit", true);
  CHECK(kind(raw) == ValueKind::kBool);
  CHECK(bits_as<std::uint64_t>(raw.value) == 1);
  CHECK(tracer.misuse().annotations_cut == 0);
}

TEST_CASE("what is too long for an annotation is cut, marked and counted") {
  Traced<> traced;
  const Resource a = traced.tracer.create(ResourceType::kFetch);
  traced.drained();
  traced.tracer.annotate(a, std::string(64, 'k'), std::string(1024, 'v'));
  Raw raw = traced.one();
  CHECK(raw.flags == 0);
  CHECK(raw.value.size() == 1024);
  traced.tracer.annotate(a, "body", std::string(1024, 'v') + "lost");
  raw = traced.one();
  CHECK(raw.flags == 1);
  CHECK(raw.key == "body");
  CHECK(raw.value == std::string(1024, 'v'));
  traced.tracer.annotate(a, std::string(65, 'k'), 5);
  raw = traced.one();
  CHECK(raw.flags == 1);
  CHECK(raw.key == std::string(64, 'k'));
  CHECK(bits_as<std::int64_t>(raw.value) == 5);
  CHECK(traced.tracer.misuse().annotations_cut == 2);
}

TEST_CASE("the current resource is the innermost entered one") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource a = tracer.create(ResourceType::kTimer), b = tracer.create(ResourceType::kTimer);
  CHECK(tracer.current() == kNothing);
  CHECK(tracer.depth() == 0);
  tracer.enter(a);
  CHECK(tracer.current() == a);
  tracer.enter(b);
  CHECK(tracer.current() == b);
  CHECK(tracer.depth() == 2);
  tracer.enter(a);  // again, inside itself
  CHECK(tracer.current() == a);
  tracer.exit(a);
  CHECK(tracer.current() == b);
  tracer.exit(b);
  tracer.exit(a);
  CHECK(tracer.current() == kNothing);
  CHECK(tracer.misuse().exits_crossed == 0);
  CHECK(tracer.misuse().exit_without_enter == 0);
}

TEST_CASE("a callback that ends out of turn is taken out of the middle and counted") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource a = tracer.create(ResourceType::kTimer), b = tracer.create(ResourceType::kTimer),
                 c = tracer.create(ResourceType::kTimer);
  tracer.enter(a);
  tracer.enter(b);
  tracer.enter(c);
  traced.drained();
  tracer.exit(a);
  CHECK(traced.one().resource == number(a.id));
  CHECK(tracer.current() == c);
  CHECK(tracer.depth() == 2);
  CHECK(tracer.misuse().exits_crossed == 1);
  tracer.exit(c);
  CHECK(tracer.current() == b);
  tracer.exit(b);
  CHECK(tracer.current() == kNothing);
  CHECK(tracer.misuse().exits_crossed == 1);
}

TEST_CASE("an exit without an enter is counted, records nothing and changes nothing") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource a = tracer.create(ResourceType::kTimer), b = tracer.create(ResourceType::kTimer);
  tracer.enter(a);
  traced.drained();
  tracer.exit(b);
  tracer.exit({static_cast<ResourceId>(999'999), RootId::kNone});  // an id that no one gave
  CHECK(traced.drained().empty());
  CHECK(tracer.current() == a);
  CHECK(tracer.misuse().exit_without_enter == 2);
  tracer.exit(a);
  tracer.exit(a);
  CHECK(tracer.misuse().exit_without_enter == 3);
}

TEST_CASE("nesting beyond the stack is counted, and comes back to where it was") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource root = tracer.begin_root();
  std::vector<Resource> all;
  for (int n = 0; n != 140; ++n) all.push_back(tracer.create(ResourceType::kTimer, {.trigger = root}));
  for (const Resource resource : all) tracer.enter(resource);
  CHECK(tracer.depth() == 140);
  CHECK(tracer.misuse().too_deep == 12);
  CHECK(tracer.current().id == ResourceId::kNone);  // which one is unknown, but not its root
  CHECK(tracer.current().root == root.root);
  traced.drained();
  CHECK(tracer.create(ResourceType::kTimer).root == root.root);
  CHECK(traced.one().other == 0);
  tracer.settle(all[0], Outcome::kFulfilled);
  CHECK(static_cast<Actor>(traced.one().flags >> 4) == Actor::kUnknown);
  for (std::size_t n = all.size(); n-- != 0;) {
    tracer.exit(all[n]);
    CHECK(tracer.depth() == n);
    if (n != 0 && n <= 128) CHECK(tracer.current() == all[n - 1]);
  }
  CHECK(traced.drained().size() == 140);  // each exit is recorded
  CHECK(tracer.misuse().exits_crossed == 0);
  CHECK(tracer.misuse().exit_without_enter == 0);
}

TEST_CASE("of an untraced root nothing is recorded, however deep") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  traced.link.set_sampling(Sampling::none());
  const Resource root = tracer.begin_root();
  CHECK(root == kUntraced);
  {
    CallbackScope scope{tracer, root};
    CHECK(tracer.current() == kUntraced);
    const Resource child = tracer.create(ResourceType::kFetch);
    CHECK(child == kUntraced);
    tracer.annotate(child, "key", "value");
    tracer.schedule(child);
    CallbackScope inner{tracer, child};
    CHECK(tracer.create(ResourceType::kTimer) == kUntraced);
    tracer.settle(child, Outcome::kFulfilled);
    tracer.link(child, root);
    tracer.destroy(child);
  }
  tracer.finish_root(root);
  CHECK(traced.drained().empty());
  CHECK(tracer.depth() == 0);
  // What belongs to no root is still recorded.
  CHECK(tracer.create(ResourceType::kTimer));
  CHECK(traced.drained().size() == 1);
}

TEST_CASE("the empty handle is accepted by every call and records nothing") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  tracer.schedule(kNothing);
  tracer.settle(kNothing, Outcome::kFulfilled);
  tracer.at(Ticks{}).settle(kNothing, Outcome::kFulfilled, Actor::kUnknown);
  tracer.destroy(kNothing);
  tracer.link(kNothing, kNothing);
  tracer.annotate(kNothing, "key", 1);
  tracer.finish_root(kNothing);
  tracer.enter(kNothing);
  CHECK(tracer.depth() == 1);
  tracer.exit(kNothing);
  CHECK(tracer.depth() == 0);
  CHECK(traced.drained().empty());
  CHECK(tracer.misuse().exit_without_enter == 0);
}

TEST_CASE("sampling decides for each root when it begins") {
  Traced<> traced;
  const auto traced_of = [&](int roots, bool asked = false) {
    int count = 0;
    for (int n = 0; n != roots; ++n)
      count += static_cast<bool>(traced.tracer.begin_root(ResourceType::kRoot, {.asked = asked}));
    return count;
  };
  CHECK(traced_of(100) == 100);
  traced.link.set_sampling(Sampling::none());
  CHECK(traced_of(100, true) == 0);
  traced.link.set_sampling(Sampling::one_in(10));
  CHECK(traced_of(100) == 10);
  CHECK(traced_of(95) == 10);
  traced.link.set_sampling(Sampling::when_asked());
  CHECK(traced_of(100) == 0);
  CHECK(traced_of(100, true) == 100);
  traced.link.set_sampling({Sampling::Mode::kOneIn, 0});  // one in none: one in one
  CHECK(traced_of(10) == 10);
  traced.link.set_sampling(Sampling::all());
  CHECK(traced_of(10) == 10);
}

TEST_CASE("a stopped tracer records nothing, and what was left unseen is not current when it starts again") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const Resource a = tracer.create(ResourceType::kTimer), b = tracer.create(ResourceType::kTimer);
  tracer.enter(a);
  traced.drained();
  CHECK(tracer.active());
  tracer.set_epoch(0);
  CHECK_FALSE(tracer.active());
  CHECK(tracer.current() == kNothing);
  CHECK(tracer.depth() == 0);
  CHECK(tracer.create(ResourceType::kTimer) == kNothing);
  CHECK(tracer.begin_root() == kUntraced);
  tracer.enter(b);
  tracer.settle(b, Outcome::kFulfilled);
  tracer.schedule(b);
  tracer.annotate(b, "key", 1);
  tracer.link(a, b);
  tracer.destroy(b);
  tracer.counter(CounterId::kPending, 1);
  tracer.park();
  tracer.unpark();
  tracer.begin_pause(PauseKind::kOther);
  tracer.end_pause(PauseKind::kOther);
  tracer.exit(b);
  tracer.exit(a);  // its exit is not seen
  tracer.finish_root(a);
  CHECK(traced.drained().empty());

  SECTION("the first call settles") {
    tracer.set_epoch(2);
    CHECK(tracer.current() == kNothing);
    tracer.settle(b, Outcome::kFulfilled);
    const Raw raw = traced.one();
    CHECK(raw.other == 0);
    CHECK(static_cast<Actor>(raw.flags >> 4) == Actor::kExternal);
  }
  SECTION("the first call wakes") {
    tracer.set_epoch(2);
    tracer.schedule(b);
    const Raw raw = traced.one();
    CHECK(raw.other == 0);
    CHECK(static_cast<Actor>(raw.flags) == Actor::kExternal);
  }
  SECTION("the first call creates") {
    tracer.set_epoch(2);
    CHECK(tracer.create(ResourceType::kTimer).root == RootId::kNone);
    CHECK(traced.one().other == 0);
    CHECK(tracer.depth() == 0);
  }
}

TEST_CASE("a tracer stopped from another thread records nothing after its next call") {
  Traced<DefaultPolicies> traced(64);  // small: its slow path runs often, which opens the ring again
  std::atomic<std::uint64_t> calls{0};
  std::atomic<bool> done{false};
  std::thread host([&] {
    while (!done.load(std::memory_order_relaxed)) {
      traced.tracer.create(ResourceType::kTimer);
      calls.fetch_add(1, std::memory_order_release);
    }
  });
  const auto after = [&](std::uint64_t more) {
    const std::uint64_t until = calls.load(std::memory_order_acquire) + more;
    while (calls.load(std::memory_order_acquire) < until) std::this_thread::yield();
  };
  std::uint64_t drained = 0;
  const auto drain = [&] {
    return traced.tracer.ring().drain([&](const RecordView&) { ++drained; });
  };
  for (std::uint32_t epoch = 1; epoch <= 300; ++epoch) {
    traced.tracer.set_epoch(epoch);
    for (int times = 0; times != 5; ++times) {
      drain();
      after(20);
    }
    traced.tracer.set_epoch(0);
    after(2);
    drain();
    const std::uint64_t lost = traced.tracer.ring().lost();
    after(20);
    CHECK(drain() == 0);
    CHECK(traced.tracer.ring().lost() == lost);
  }
  CHECK(drained > 300);
  done = true;
  host.join();
}

TEST_CASE("ids are unique over the tracers of a session and over their threads") {
  TracerLink link;
  std::vector<std::vector<std::uint64_t>> ids(4), roots(4);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread != 4; ++thread) {
    threads.emplace_back([&, thread] {
      Traced<> traced(64, &link);
      for (int n = 0; n != 5000; ++n) {
        const Resource root = traced.tracer.begin_root();
        ids[thread].push_back(number(root.id));
        roots[thread].push_back(number(root.root));
        ids[thread].push_back(number(traced.tracer.create(ResourceType::kTimer).id));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> all_ids, all_roots;
  for (const auto& some : ids) all_ids.insert(some.begin(), some.end());
  for (const auto& some : roots) all_roots.insert(some.begin(), some.end());
  CHECK(all_ids.size() == 4 * 10'000);
  CHECK(all_roots.size() == 4 * 5000);
  CHECK(all_ids.count(0) == 0);
  CHECK(all_roots.count(0) == 0);
}

TEST_CASE("a resource bears the line that created it, each line once in the table") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  traced.drained();
  const SourceSite here = site_of_this_line();
  for (int n = 0; n != 3; ++n) tracer.create(ResourceType::kTimer);  // three times one place
  const std::uint32_t line = here.line + 1;
  tracer.create(ResourceType::kTimer);
  const std::vector<Raw> all = traced.drained();
  REQUIRE(all.size() == 4);
  CHECK(all[0].stack != StackId::kNone);
  CHECK(all[1].stack == all[0].stack);
  CHECK(all[2].stack == all[0].stack);
  CHECK(all[3].stack != all[0].stack);
  const auto words = tracer.stacks().frames(all[0].stack);
  REQUIRE(words.size() == 4);
  CHECK(words[0] == static_cast<std::uint64_t>(StackFormat::kSource));
  CHECK(std::string_view(reinterpret_cast<const char*>(words[1])) == __FILE__);
  CHECK(words[3] == line);
  CHECK(tracer.stacks().size() == 2);
}

TEST_CASE("the lines of a file are told apart, and equal lines of two files") {
  Traced<> traced;
  static const char one[] = "one.cpp", two[] = "two.cpp";
  std::set<StackId> stacks;
  for (int turn = 0; turn != 2; ++turn) {
    for (std::uint32_t line = 1; line <= 90; line += 1 + line / 64 * 10) {
      for (const char* file : {one, two}) {
        traced.tracer.create(ResourceType::kTimer, SourceSite{file, "function", line});
        const StackId stack = traced.one().stack;
        const auto words = traced.tracer.stacks().frames(stack);
        if (stack == StackId::kNone) continue;  // the table has room for 100
        CHECK(std::string_view(reinterpret_cast<const char*>(words[1])) == file);
        CHECK(words[3] == line);
        stacks.insert(stack);
      }
    }
    CHECK(stacks.size() == 100);
  }
}

TEST_CASE("a site's function and line are the caller's, through defaults of any depth") {
  const SourceSite site = site_of_this_line();
  CHECK(site.line == __LINE__ - 1);
  CHECK(std::string_view(site.file) == __FILE__);
  CHECK(std::string_view(site.function) == __func__);
}

TEST_CASE("a stack that the host knows goes before the policy's") {
  Traced<> traced;
  auto& tracer = traced.tracer;
  const ScriptFrame frames[] = {{"inner", "app.js", 10, 5}, {"", "app.js", 20, 0}};
  const StackId stack = tracer.intern_script_stack(frames);
  REQUIRE(stack != StackId::kNone);
  CHECK(tracer.intern_script_stack(frames) == stack);
  tracer.create(ResourceType::kJsPromise, {.stack = stack});
  CHECK(traced.one().stack == stack);
  tracer.create(ResourceType::kJsPromise, {.stack = StackId::kNone});
  CHECK(traced.one().stack == StackId::kNone);

  const auto words = tracer.stacks().frames(stack);
  REQUIRE(words.size() == 5);
  CHECK(text_of(tracer.strings(), static_cast<StringId>(words[1] & 0xffff'ffff)) == "inner");
  CHECK(text_of(tracer.strings(), static_cast<StringId>(words[1] >> 32)) == "app.js");
  CHECK(words[2] == (std::uint64_t{5} << 32 | 10));
  CHECK((words[3] & 0xffff'ffff) == 0);  // an anonymous function
  CHECK(words[3] >> 32 == words[1] >> 32);

  const std::uint64_t pcs[] = {0x1000, 0x2000};
  const StackId native = tracer.intern_native_stack(pcs);
  CHECK(native != stack);
  CHECK(tracer.stacks().frames(native).size() == 3);
  CHECK(tracer.intern_native_stack({}) == StackId::kNone);
  CHECK(tracer.intern_script_stack({}) == StackId::kNone);
}

TEST_CASE("a full table of stacks is counted, and the event is recorded without one") {
  Traced<> traced;  // room for 100 stacks
  for (std::uint64_t n = 1; n <= 120; ++n) {
    const std::uint64_t pcs[] = {n};
    traced.tracer.intern_native_stack(pcs);
  }
  CHECK(traced.tracer.misuse().stacks_refused == 20);
  const Resource a = traced.tracer.create(ResourceType::kTimer);
  CHECK(a);
  CHECK(traced.one().stack == StackId::kNone);
  CHECK(traced.tracer.misuse().stacks_refused == 21);
}

TEST_CASE("a root's end has a place in a full ring, and its loss is counted apart") {
  Traced<> traced(32);  // two slots kept back
  const Resource root = traced.tracer.begin_root();
  for (int n = 0; n != 100; ++n) traced.tracer.create(ResourceType::kTimer);
  traced.tracer.finish_root(root);
  traced.tracer.finish_root(root);
  CHECK(traced.tracer.misuse().roots_ends_lost == 1);
  std::vector<Raw> all = traced.drained();
  CHECK(all.back().kind == EventKind::kRootFinished);
  CHECK(all.back().resource == number(root.id));
}

TEST_CASE("a flight recorder may stand in the ring's place") {
  struct Recording : ManualPolicies {
    using Buffer = FlightRecorder<HeapStorage>;
  };
  Traced<Recording> traced(64);
  static_assert(std::same_as<BasicTracer<Recording>::Ring, FlightRecorder<HeapStorage>>);
  Resource last;
  for (int n = 0; n != 1000; ++n) last = traced.tracer.create(ResourceType::kTimer);
  FlightSnapshot snapshot;
  traced.tracer.ring().snapshot(snapshot);
  std::uint64_t newest = 0;
  const std::size_t held =
      snapshot.for_each([&](const RecordView& record) { newest = number(record.head().resource()); });
  CHECK(newest == number(last.id));
  CHECK(held >= 56);
  CHECK(held + snapshot.overwritten() == 1000);
  const std::vector<Raw> all = traced.drained();
  CHECK(all[0].kind == EventKind::kLost);
  CHECK(all[0].resource == 1000 - held);
}

TEST_CASE("a type of the host's own is recorded by its number") {
  enum class Mine : std::uint16_t { kQuery = kFirstHostType };
  Traced<> traced;
  traced.tracer.create(Mine::kQuery);
  CHECK(traced.one().type == 256);
  traced.tracer.begin_root(Mine::kQuery);
  CHECK(traced.one().type == 256);
}

TEST_CASE("the tracer of a program without tracing answers everything with nothing") {
  NullTracer tracer;
  const Resource root = tracer.begin_root();
  CHECK_FALSE(root);
  CHECK_FALSE(tracer.create(ResourceType::kTimer));
  CHECK_FALSE(tracer.active());
  CHECK(tracer.current() == kNothing);
  CHECK(tracer.depth() == 0);
  tracer.annotate(root, "key", 1);
  tracer.counter(CounterId::kPending, 1);
  CallbackScope scope{tracer, root};
  static_assert(std::is_empty_v<NullTracer>);
}
