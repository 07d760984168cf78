// SPDX-License-Identifier: MIT
// Hook calls that V8 makes seldom or after 2^29 promises, made by hand; and resources packed for private fields.
#include "thence/adapters/v8/promise_events.hpp"

#include <string>
#include <vector>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"
#include "thence/adapters/v8/packed_resource.hpp"

using namespace thence_test;
using thence::Resource;
using thence::ResourceId;
using thence::RootId;

namespace {

/// Notes what is recorded, and hands out ids from a first one on.
class NotingTracer {
 public:
  [[maybe_unused]] static constexpr bool kRecords = true;

  explicit NotingTracer(std::uint64_t first_id = 1, std::uint64_t root = 0)
      : next_(first_id), root_(static_cast<RootId>(root)) {}

  bool active() const noexcept { return true; }
  std::size_t depth() const noexcept { return current_.size(); }
  Resource current() const noexcept { return current_.empty() ? Resource{ResourceId::kNone, root_} : current_.back(); }
  thence::Ticks now() const noexcept { return {}; }
  static thence::Ticks quick_now() noexcept { return {}; }
  template <class Type>
  Resource create(Type, thence::CreateOptions) noexcept {
    const Resource made{static_cast<ResourceId>(next_++), root_};
    note("created", made);
    return made;
  }
  template <class Type>
  Resource quick_create(Type type, ResourceId awaited, thence::StackId, thence::Ticks) noexcept {
    const Resource made = create(type, {});
    if (awaited != ResourceId::kNone) link({awaited, root_}, made, thence::LinkKind::kAwaits);
    return made;
  }
  bool quick_enter(Resource resource, ResourceId settled, thence::Ticks) noexcept {
    if (!resource) return false;
    enter(resource, {thence::CauseKind::kSettled, settled});
    return true;
  }
  void enter(Resource resource, thence::Cause cause = {}) noexcept {
    current_.push_back(resource);
    note("entered", resource);
    if (cause.kind == thence::CauseKind::kSettled)
      events.back() += " after " + std::to_string(thence::number(cause.by));
  }
  void exit(Resource resource) noexcept {
    note("exited", resource);
    CHECK(current_.back() == resource);
    current_.pop_back();
  }
  bool quick_settle_and_exit(Resource resource, thence::Outcome outcome, thence::Ticks) noexcept {
    if (!(current() == resource) || !resource) return false;
    settle(resource, outcome, thence::Actor::kInvocation, resource.id);
    exit(resource);
    return true;
  }
  bool quick_settle(Resource resource, thence::Outcome outcome, thence::Ticks) noexcept {
    if (!resource) return false;
    if (!current()) return false;
    settle(resource, outcome);
    return true;
  }
  NotingTracer& at(thence::Ticks) noexcept { return *this; }
  void settle(Resource resource, thence::Outcome outcome) noexcept {
    settle(resource, outcome, thence::Actor::kInvocation, current().id);
  }
  void settle(Resource resource, thence::Outcome, thence::Actor, ResourceId by) noexcept {
    note("settled", resource);
    events.back() += " by " + std::to_string(thence::number(by));
  }
  void link(Resource cause, Resource effect, thence::LinkKind) noexcept {
    note("awaits", effect);
    events.back() += " " + std::to_string(thence::number(cause.id));
  }
  template <class T>
  void annotate(Resource, std::string_view, const T&) noexcept {}
  void begin_pause(thence::PauseKind) noexcept {}
  void end_pause(thence::PauseKind) noexcept {}
  thence::StackId intern_script_stack(std::span<const thence::ScriptFrame>) noexcept { return thence::StackId::kNone; }

  Lines events;

 private:
  void note(const char* what, Resource resource) {
    CHECK(resource.root == root_);
    events.push_back(std::to_string(thence::number(resource.id)) + " " + what);
  }

  std::uint64_t next_;
  RootId root_;
  std::vector<Resource> current_;
};

constexpr bool comes_back(Resource resource) {
  const auto packed = v8a::PackedResource::of(resource);
  return packed.resource() == resource && packed.id < 1 << 29 && packed.root < 1 << 29 && packed.high < 1 << 30 &&
         packed.id >= 0 && packed.root >= 0 && packed.high >= 0;
}
constexpr Resource resource(std::uint64_t id, std::uint64_t root) {
  return {static_cast<ResourceId>(id), static_cast<RootId>(root)};
}

constexpr std::uint64_t kLastId = (std::uint64_t{1} << 48) - 1;
constexpr std::uint64_t kLastRoot = (std::uint64_t{1} << 40) - 2;

}  // namespace

TEST_CASE("every resource comes back from the small integers that are kept on its promise") {
  for (const std::uint64_t id :
       {std::uint64_t{0}, std::uint64_t{1}, (std::uint64_t{1} << 29) - 1, std::uint64_t{1} << 29, (std::uint64_t{1} << 30) - 1,
        std::uint64_t{1} << 30, (std::uint64_t{1} << 30) + 1, std::uint64_t{0x123456789abc}, kLastId}) {
    for (const std::uint64_t root :
         {std::uint64_t{0}, std::uint64_t{1}, (std::uint64_t{1} << 29) - 2, (std::uint64_t{1} << 29) - 1, (std::uint64_t{1} << 30) - 1,
          std::uint64_t{1} << 30, std::uint64_t{0x123456789a}, kLastRoot}) {
      CAPTURE(id, root);
      CHECK(comes_back(resource(id, root)));
    }
    CHECK(comes_back({static_cast<ResourceId>(id), RootId::kUntraced}));
  }
  // The usual ones need no third number.
  CHECK(v8a::PackedResource::of(resource(5, 7)).high == 0);
  CHECK(v8a::PackedResource::of({ResourceId::kNone, RootId::kUntraced}).high == 0);
}

TEST_CASE("a promise beyond 2^29, in a root beyond 2^29, is followed like the first") {
  const std::uint64_t first = (std::uint64_t{1} << 29) - 3;  // the graph crosses the border
  for (const std::uint64_t root : {std::uint64_t{0}, (std::uint64_t{1} << 33) + 12345}) {
    for (const v8a::Hooks hooks : {v8a::Hooks::kContext, v8a::Hooks::kIsolate}) {
      const IsolateOwner isolate = make_isolate();
      const v8::Isolate::Scope scope(isolate.get());
      const v8::HandleScope handles(isolate.get());
      const auto context = v8::Context::New(isolate.get());
      const v8::Context::Scope entered(context);
      NotingTracer tracer{first, root};
      v8a::PromiseOptions options;
      options.hooks = hooks;
      options.stacks.mode = v8a::StackMode::kNone;
      options.gc_pauses = false;
      v8a::BasicPromiseTracer<NotingTracer> promises{isolate.get(), tracer, options};
      REQUIRE(promises.follow(context));
      v8::Script::Compile(context,
                          v8::String::NewFromUtf8Literal(
                              isolate.get(), "(async () => { await Promise.resolve(1); await Promise.resolve(2) })()"))
          .ToLocalChecked()
          ->Run(context)
          .ToLocalChecked();
      isolate->PerformMicrotaskCheckpoint();
      const auto id = [&](std::uint64_t n) { return std::to_string(first + n); };
      CHECK(tracer.events == Lines{id(0) + " created", id(1) + " created", id(1) + " settled by 0", id(2) + " created",
                                   id(2) + " awaits " + id(1), id(2) + " entered after " + id(1), id(3) + " created",
                                   id(3) + " settled by " + id(2), id(4) + " created", id(4) + " awaits " + id(3),
                                   id(2) + " settled by " + id(2), id(2) + " exited", id(4) + " entered after " + id(3),
                                   id(0) + " settled by " + id(4), id(4) + " settled by " + id(4), id(4) + " exited"});
    }
  }
}

TEST_CASE("a callback whose end was never told is left when the stack has shrunk below it") {
  const IsolateOwner isolate = make_isolate();
  NotingTracer tracer;
  v8a::PromiseEvents<NotingTracer> events{isolate.get(), &tracer};
  v8a::OpenEnds open;
  const Resource a = resource(1, 0), b = resource(2, 0);
  events.entered(open, a, true, ResourceId::kNone, false, 1000);
  events.entered(open, b, true, ResourceId::kNone, false, 1000);  // where a was: a is gone
  CHECK(events.counts().exits_missed == 1);
  CHECK(tracer.current() == b);
  events.exited(open, b);
  CHECK(tracer.depth() == 0);
  CHECK(tracer.events == Lines{"1 entered", "1 exited", "2 entered", "2 exited"});
}

TEST_CASE("a callback inside of another is no missed end, and the outer's end takes what it left open with it") {
  const IsolateOwner isolate = make_isolate();
  NotingTracer tracer;
  v8a::PromiseEvents<NotingTracer> events{isolate.get(), &tracer};
  v8a::OpenEnds open;
  const Resource a = resource(1, 0), b = resource(2, 0);
  events.entered(open, a, true, ResourceId::kNone, false, 2000);
  events.entered(open, b, true, ResourceId::kNone, false, 1000);  // deeper: another queue's microtasks
  CHECK(events.counts().exits_missed == 0);
  events.exited(open, a);
  CHECK(events.counts().exits_missed == 1);
  CHECK(tracer.depth() == 0);
  events.exited(open, a);
  CHECK(events.counts().exits_unmatched == 1);
  CHECK(tracer.events == Lines{"1 entered", "2 entered", "2 exited", "1 exited"});
}

TEST_CASE("the end of a checkpoint leaves every callback that began in it") {
  const IsolateOwner isolate = make_isolate();
  NotingTracer tracer;
  v8a::PromiseEvents<NotingTracer> events{isolate.get(), &tracer};
  v8a::OpenEnds open;
  events.entered(open, resource(1, 0), true, ResourceId::kNone, false, 5000);
  events.entered(open, resource(2, 0), true, ResourceId::kNone, false, 1000);
  events.leave_those_below(3000);
  CHECK(tracer.current() == resource(1, 0));
  CHECK(events.counts().exits_missed == 1);
}

TEST_CASE("callbacks nested beyond what is kept are counted and not entered, and the others end as they began") {
  const IsolateOwner isolate = make_isolate();
  NotingTracer tracer;
  v8a::PromiseEvents<NotingTracer> events{isolate.get(), &tracer};
  v8a::OpenEnds open;
  constexpr std::uint64_t kDepth = v8a::PromiseEvents<NotingTracer>::kMaxDepth;
  for (std::uint64_t n = 1; n <= kDepth + 3; ++n)
    events.entered(open, resource(n, 0), true, ResourceId::kNone, false, 100'000 - n);
  CHECK(events.counts().too_deep == 3);
  for (std::uint64_t n = kDepth + 3; n >= 1; --n) events.exited(open, resource(n, 0));
  CHECK(tracer.depth() == 0);
}

TEST_CASE("a held promise that cannot be looked at is settled, its outcome unknown") {
  const IsolateOwner isolate = make_isolate();
  NotingTracer tracer;
  v8a::PromiseEvents<NotingTracer> events{isolate.get(), &tracer};
  v8a::OpenEnds open;
  (void)events.resolved(open, resource(1, 0), false);
  events.settled_somehow(open.held);
  events.settled_somehow(open.held);
  CHECK(events.counts().outcomes_unknown == 1);
  CHECK(tracer.events == Lines{"1 settled by 0"});
}
