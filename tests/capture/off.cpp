// SPDX-License-Identifier: MIT
// What off_test.py compiles: functions as a host writes them. With INSTRUMENTED they call the tracer, in the ways that hosts do;
// without, the same functions never heard of it.
#if INSTRUMENTED
#include "thence/capture/tracer.hpp"
#define TRACED(...) __VA_ARGS__
#else
#define TRACED(...)
#endif

/// The host's own; nothing of it can be seen through.
extern "C" {
int run_callback(void* node);
void enqueue(void* node);
void log_url(const char* url, unsigned long length);
}

TRACED(using namespace thence;)

/// The tracer is a member of the host's loop, and takes no room.
struct Loop {
  void* head;
  unsigned depth;
  TRACED([[no_unique_address]] Tracer tracer;)
};
TRACED(static_assert(kEnabled || sizeof(Loop) == 2 * sizeof(void*), "the tracer takes room in the host's object");)

extern "C" int run_one(Loop* loop, void* node) {
  TRACED(const Resource resource = loop->tracer.create(ResourceType::kMicrotask);)
  TRACED(CallbackScope scope{loop->tracer, resource};)
  --loop->depth;
  TRACED(loop->tracer.queue_depth(loop->depth);)
  const int result = run_callback(node);  // may throw
  TRACED(loop->tracer.settle(resource, result == 0 ? Outcome::kFulfilled : Outcome::kRejected);)
  return result + 1;
}

extern "C" int run_all([[maybe_unused]] Loop* loop, void** nodes, int count) {
  int failed = 0;
  for (int at = 0; at != count; ++at) {
    TRACED(loop->tracer.unpark();)
    try {
      TRACED(CallbackScope scope{loop->tracer, loop->tracer.current(), Cause::external()};)
      failed += run_callback(nodes[at]) != 0;
    } catch (...) {
      ++failed;
      TRACED(loop->tracer.settle(loop->tracer.current(), Outcome::kRejected, Actor::kUnknown);)
    }
    TRACED(loop->tracer.park();)
  }
  return failed;
}

extern "C" void fetch([[maybe_unused]] Loop* loop, void* node, const char* url, unsigned long length) {
  TRACED(const Resource root = loop->tracer.begin_root(ResourceType::kRoot, {.asked = length > 3});)
  TRACED(const Resource request = loop->tracer.create(ResourceType::kFetch, {.trigger = root});)
  TRACED(loop->tracer.annotate(request, "url", std::string_view(url, length));)
  TRACED(loop->tracer.annotate(request, "length", length);)
  log_url(url, length);
  TRACED(if (loop->tracer.active()) log_url("traced", 6);)
  TRACED(loop->tracer.link(root, request, LinkKind::kAwaits);)
  TRACED(loop->tracer.schedule(request);)
  enqueue(node);
  TRACED(loop->tracer.counter(CounterId::kPending, 1.5);)
  TRACED(loop->tracer.destroy(request);)
  TRACED(loop->tracer.finish_root(root);)
}

extern "C" int collect(Loop* loop, int rounds) {
  int freed = 0;
  TRACED(loop->tracer.begin_pause(PauseKind::kGcMajor);)
  while (rounds-- > 0) freed += run_callback(loop->head);
  TRACED(loop->tracer.end_pause(PauseKind::kGcMajor);)
  TRACED(const ScriptFrame frame{"function", "file.js", 1, 2};)
  TRACED(const StackId stack = loop->tracer.intern_script_stack({&frame, 1});)
  TRACED(const Resource last = loop->tracer.create(ResourceType::kOther, {.trigger = {}, .stack = stack});)
  TRACED(loop->tracer.schedule(last, Actor::kExternal);)
  TRACED(loop->tracer.at(loop->tracer.now()).settle(last, Outcome::kUnknown, Actor::kUnknown);)
  TRACED(freed += static_cast<int>(loop->tracer.depth() + loop->tracer.misuse().too_deep);)
  return freed;
}
