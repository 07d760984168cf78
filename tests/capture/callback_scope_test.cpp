// SPDX-License-Identifier: MIT
#include "thence/capture/callback_scope.hpp"

#include <stdexcept>

#include "capture/support.hpp"

using namespace thence;
using namespace thence_test;

TEST_CASE("a scope enters at its line and exits at the end of the block") {
  Traced<> traced;
  const Resource a = traced.tracer.create(ResourceType::kTimer);
  traced.drained();
  {
    traced.time = 10;
    CallbackScope scope{traced.tracer, a, Cause::external()};
    CHECK(traced.tracer.current() == a);
    traced.time = 20;
  }
  CHECK(traced.tracer.depth() == 0);
  const std::vector<Raw> all = traced.drained();
  REQUIRE(kinds(all) == std::vector{EventKind::kEntered, EventKind::kExited});
  CHECK(all[0].ticks == 10);
  CHECK(static_cast<CauseKind>(all[0].flags) == CauseKind::kExternal);
  CHECK(all[1].ticks == 20);
  CHECK(all[1].resource == number(a.id));
}

TEST_CASE("scopes that an exception unwinds exit in order, once each") {
  Traced<> traced;
  const Resource a = traced.tracer.create(ResourceType::kTimer), b = traced.tracer.create(ResourceType::kTimer);
  traced.drained();
  const auto thrower = [&](int levels, const auto& self) -> void {
    CallbackScope scope{traced.tracer, levels % 2 == 0 ? a : b};
    if (levels == 0) throw std::runtime_error("callback failed");
    self(levels - 1, self);
  };
  CHECK_THROWS_AS(thrower(3, thrower), std::runtime_error);
  const std::vector<Raw> all = traced.drained();
  REQUIRE(kinds(all) == std::vector{EventKind::kEntered, EventKind::kEntered, EventKind::kEntered, EventKind::kEntered,
                                    EventKind::kExited, EventKind::kExited, EventKind::kExited, EventKind::kExited});
  const std::uint64_t b_a_b_a[] = {number(b.id), number(a.id), number(b.id), number(a.id)};
  for (std::size_t n = 0; n != 4; ++n) {
    CHECK(all[n].resource == b_a_b_a[n]);
    CHECK(all[7 - n].resource == b_a_b_a[n]);
  }
  CHECK(traced.tracer.depth() == 0);
  CHECK(traced.tracer.misuse().exits_crossed == 0);
}

TEST_CASE("a scope made while another exception unwinds is right too") {
  Traced<> traced;
  const Resource outer = traced.tracer.create(ResourceType::kTimer),
                 cleanup = traced.tracer.create(ResourceType::kTimer);
  struct Cleanup {
    Traced<>& traced;
    Resource resource;
    ~Cleanup() {
      try {
        CallbackScope scope{traced.tracer, resource};
        throw std::runtime_error("inside the destructor");
      } catch (const std::runtime_error&) {
      }
    }
  };
  try {
    CallbackScope scope{traced.tracer, outer};
    Cleanup at_end{traced, cleanup};
    throw std::runtime_error("first");
  } catch (const std::runtime_error& error) {
    CHECK(std::string(error.what()) == "first");
  }
  std::vector<std::uint64_t> order;
  for (const Raw& raw : traced.drained()) {
    if (raw.kind == EventKind::kEntered) order.push_back(raw.resource);
    if (raw.kind == EventKind::kExited) order.push_back(raw.resource + 100);
  }
  CHECK(order == std::vector<std::uint64_t>{number(outer.id), number(cleanup.id), number(cleanup.id) + 100,
                                            number(outer.id) + 100});
  CHECK(traced.tracer.depth() == 0);
}

TEST_CASE("a scope that outlives another's block, as a coroutine's does, is counted as crossed") {
  Traced<> traced;
  const Resource a = traced.tracer.create(ResourceType::kTimer), b = traced.tracer.create(ResourceType::kTimer);
  using Scope = CallbackScope<std::remove_reference_t<decltype(traced.tracer)>>;
  auto* first = new Scope(traced.tracer, a);
  auto* second = new Scope(traced.tracer, b);
  delete first;
  CHECK(traced.tracer.current() == b);
  delete second;
  CHECK(traced.tracer.depth() == 0);
  CHECK(traced.tracer.misuse().exits_crossed == 1);
}

TEST_CASE("a scope can be neither copied nor moved, and does not throw") {
  using Scope = CallbackScope<Tracer>;
  static_assert(!std::is_copy_constructible_v<Scope> && !std::is_move_constructible_v<Scope>);
  static_assert(std::is_nothrow_constructible_v<Scope, Tracer&, Resource>);
  static_assert(std::is_nothrow_destructible_v<Scope>);
}
