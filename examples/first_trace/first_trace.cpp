// SPDX-License-Identifier: MIT
// first_trace.cpp: a host with a promise type of its own, traced.
//
// The host is a queue of callbacks. It reports four moments: a promise is made, it is settled, its callback starts, and ends.
//
//   first_trace out.pftrace        then open the file in https://ui.perfetto.dev
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>

#include "thence/thence.hpp"

namespace {

struct Promise {
  thence::Resource resource;
  std::function<void()> then;
};

struct Loop {
  thence::Tracer& tracer;
  std::deque<std::shared_ptr<Promise>> ready = {};

  std::shared_ptr<Promise> promise(std::function<void()> then) {
    return std::make_shared<Promise>(Promise{tracer.create(thence::ResourceType::kOther), std::move(then)});
  }
  void resolve(const std::shared_ptr<Promise>& promise) {
    tracer.settle(promise->resource, thence::Outcome::kFulfilled);
    tracer.schedule(promise->resource);
    ready.push_back(promise);
  }
  void run() {
    for (; !ready.empty(); ready.pop_front()) {
      const thence::CallbackScope scope{tracer, ready.front()->resource};
      ready.front()->then();
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  thence::Session session;
  session.add_sink(thence::PerfettoFile{argc > 1 ? argv[1] : "first_trace.pftrace"});
  session.start();
  auto lane = session.attach("loop");
  Loop loop{lane.tracer()};

  loop.resolve(loop.promise([&] {
    std::puts("first");
    loop.resolve(loop.promise([] { std::puts("second, which the first one led to"); }));
  }));
  loop.run();
}
