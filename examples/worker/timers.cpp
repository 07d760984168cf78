// SPDX-License-Identifier: MIT
#include "timers.hpp"

#include "log.hpp"
#include "versions.hpp"

namespace worker {

namespace {
std::uint32_t next_id = 1;  // across requests, so that one cannot clear another's by accident; there is one thread
}  // namespace

Timers::Timers(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t request)
    : engine_(engine), timer_(timer), trace_(trace), request_(request), discarded_(kj::READY_NOW) {}

Timers::~Timers() noexcept(false) {
  for (const auto& [id, entry] : entries_) end(*entry, Outcome::kCancelled);
}

std::uint32_t Timers::set(v8::Local<v8::Function> callback, double milliseconds, bool repeat,
                          v8::Local<v8::Array> arguments) {
  const std::uint32_t id = next_id++;
  auto entry = kj::heap<Entry>();
  entry->callback.Reset(engine_.isolate(), callback);
  entry->arguments.Reset(engine_.isolate(), arguments);
  entry->delay = static_cast<std::int64_t>(milliseconds * 1000) * kj::MICROSECONDS;
  entry->repeat = repeat;
  entry->resource = trace_.begin(ResourceType::kTimer);
  if (trace_) {
    trace_.annotate(entry->resource, "delay", milliseconds);
    if (repeat) trace_.annotate(entry->resource, "repeats", true);
  }
  Entry& stored = *entry;
  entries_[id] = kj::mv(entry);
  stored.task = run(id).eagerlyEvaluate(
      [this](kj::Exception&& exception) { log(request_, "error", exception.getDescription()); });
  return id;
}

void Timers::clear(std::uint32_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  if (id == running_) {
    found->second->cleared = true;  // a promise may not be destroyed by its own continuation
  } else {
    end(*found->second, Outcome::kCancelled);
    entries_.erase(found);
  }
}

kj::Promise<void> Timers::run(std::uint32_t id) {
  return timer_.afterDelay(entries_.at(id)->delay).then([this, id]() -> kj::Promise<void> {
    Entry& entry = *entries_.at(id);
    running_ = id;
    fire(entry);
    running_ = 0;
    if (entry.repeat && !entry.cleared) return run(id);
    end(entry, entry.repeat ? Outcome::kCancelled : Outcome::kFulfilled);
    discard(id);
    return kj::READY_NOW;
  });
}

void Timers::fire(Entry& entry) {
  const Trace::Scope scope(trace_, entry.resource, thence::Cause::external());
  auto error = engine_.enter(request_, [&] {
    v8::Isolate* isolate = engine_.isolate();
    const v8::Local<v8::Context> context = isolate->GetCurrentContext();
    const v8::Local<v8::Array> array = entry.arguments.Get(isolate);
    std::vector<v8::Local<v8::Value>> arguments(array->Length());
    for (std::uint32_t i = 0; i < array->Length(); ++i) {
      if (!array->Get(context, i).ToLocal(&arguments[i])) return;
    }
    [[maybe_unused]] const auto result = entry.callback.Get(isolate)->Call(
        context, context->Global(), static_cast<int>(arguments.size()), arguments.data());
  });
  if (const auto* what = if_some(error); what != nullptr && !what->stopped)
    log(request_, "uncaught in a timer", what->text);
}

void Timers::end(const Entry& entry, Outcome outcome) {
  trace_.settle(entry.resource, outcome);
  trace_.destroy(entry.resource);
}

void Timers::discard(std::uint32_t id) {
  auto node = entries_.extract(id);
  discarded_ = discarded_.then([entry = kj::mv(node.mapped())] {}).eagerlyEvaluate(nullptr);
}

}  // namespace worker
