// SPDX-License-Identifier: MIT
// A KJ host outside the repository: a traced promise gives its value.
#include <cstdio>

#include <kj/async.h>

#include <thence/adapters/kj/traced.hpp>
#include <thence/thence.hpp>

int main() {
  thence::Session session;
  session.start();
  auto lane = session.attach("main");
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  const int answer =
      thence::kj_adapter::traced(lane.tracer(), kj::evalLater([]() { return 42; }), thence::ResourceType::kOther).wait(scope);
  std::printf("consumer: KJ says %d\n", answer);
  return answer == 42 ? 0 : 1;
}
