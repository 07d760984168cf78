// SPDX-License-Identifier: MIT
// With tracing compiled out every wrapper is still there, and hands everything on.
#include "thence/adapters/kj.hpp"

#include "support/catch.hpp"

using namespace thence;

namespace thence::kj_adapter {
template class TracedTimer<NullTracer>;
template class TracedTaskSet<NullTracer>;
template class TracedEventPort<NullTracer>;
template class ParkWatch<NullTracer>;
template class LoopScope<NullTracer>;
template class TracedInputStream<NullTracer>;
template class TracedOutputStream<NullTracer>;
template class TracedIoStream<NullTracer>;
template class TracedConnectionReceiver<NullTracer>;
template class TracedNetworkAddress<NullTracer>;
template class TracedNetwork<NullTracer>;
template class TracedAsyncIoProvider<NullTracer>;
template class TracedBody<NullTracer>;
template class TracedWebSocket<NullTracer>;
template class TracedHttpClient<NullTracer>;
template class TracedHttpService<NullTracer>;
}  // namespace thence::kj_adapter

using namespace thence::kj_adapter;

TEST_CASE("with tracing compiled out the wrappers hand everything on") {
  NullTracer none;
  auto io = kj::setupAsyncIo();
  ParkWatch park_watch(none);
  TracedAsyncIoProvider provider(none, *io.provider);
  static_assert(sizeof(LoopScope<NullTracer>) == 1);
  auto pipe = kj::newOneWayPipe();
  auto* const inner = pipe.in.get();
  auto stream = traced_stream(none, kj::mv(pipe.in));
  CHECK(stream.get() == inner);
  auto read = stream->readAllText().eagerlyEvaluate(nullptr);
  auto text = kj::StringPtr("text");
  pipe.out->write(text.begin(), text.size()).wait(io.waitScope);
  pipe.out = nullptr;
  CHECK(read.wait(io.waitScope) == "text");
  provider.getTimer().afterDelay(1 * kj::NANOSECONDS).wait(io.waitScope);
  CHECK(loop_counts(none).pending == 0);
  leave_loop(none);
}
