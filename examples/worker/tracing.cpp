// SPDX-License-Identifier: MIT
#include "tracing.hpp"

#include <kj/debug.h>

#include <filesystem>

#include "log.hpp"

namespace worker {

namespace {

thence::SessionOptions session_options(TraceWhen when) {
  thence::SessionOptions options;
  options.process_name = "worker";
  options.ring_events = std::size_t{1} << 18;  // 8 MB: half a second of a busy loop while the drain thread has no core
  options.sampling = when == TraceWhen::kHeader ? thence::Sampling::when_asked() : thence::Sampling::all();
  options.redact = thence::redact_urls;
  options.on_error = [](std::string_view message) {
    log(0, "trace", kj::str(kj::heapString(message.data(), message.size())));
  };
  return options;
}

/// Hands on the first requests only: a file for each is good to look at, and too much for a server's life.
template <class Sink>
class FirstRequests {
 public:
  FirstRequests(Sink sink, std::uint64_t requests) : sink_(std::move(sink)), last_(requests) {}

  void begin(const thence::TraceInfo& trace) { sink_.begin(trace); }
  void define_lane(const thence::LaneInfo& lane) { sink_.define_lane(lane); }
  void define_type(thence::TypeId type, std::string_view name) { sink_.define_type(type, name); }
  void define_counter(thence::CounterId counter, std::string_view name, std::string_view unit) {
    sink_.define_counter(counter, name, unit);
  }
  void define_stack(const thence::StackInfo& stack) { sink_.define_stack(stack); }
  void synchronise(const thence::ClockSnapshot& clock) { sink_.synchronise(clock); }
  void take(std::span<const thence::TraceEvent> events) {
    // Roots are numbered from 1 in the order in which they began, for there is one lane.
    const auto handed_on = [&](const thence::TraceEvent& event) { return thence::number(event.root) <= last_; };
    for (std::size_t begin = 0; begin < events.size();) {
      std::size_t end = begin;
      while (end < events.size() && handed_on(events[end])) ++end;
      if (end != begin) sink_.take(events.subspan(begin, end - begin));
      begin = end + 1;
    }
  }
  void flush() { sink_.flush(); }
  void end(const thence::TraceSummary& summary) { sink_.end(summary); }
  std::string_view failure() const { return sink_.failure(); }
  std::uint64_t bytes_written() const { return sink_.bytes_written(); }

 private:
  Sink sink_;
  std::uint64_t last_;
};

}  // namespace

Tracing::Tracing(const std::string& folder, TraceWhen when, TraceMode mode, std::uint64_t json_requests)
    : folder_(folder), mode_(mode), session_(session_options(when)) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    kj::throwFatalException(
        KJ_EXCEPTION(FAILED, "cannot create the folder for traces", folder.c_str(), error.message().c_str()));
  session_.add_sink(thence::PerfettoFile{folder + "/trace.pftrace"});
  session_.add_sink(FirstRequests(thence::JsonFolder{folder}, json_requests));
  session_.start();
  lane_ = session_.attach("event loop");
  park_watch_ = std::make_unique<thence::kj_adapter::ParkWatch<thence::Tracer>>(tracer());
}

Tracing::~Tracing() {
  park_watch_ = nullptr;
  thence::kj_adapter::leave_loop(tracer());
  lane_.detach();
  session_.close();
  const auto done = session_.statistics();
  log(0, "info",
      kj::str("trace: ", folder_.c_str(), "/trace.pftrace; requests: ", done.roots_sealed, "; events: ", done.events,
              "; lost events: ", done.lost));
}

void Tracing::follow(v8::Isolate* isolate, v8::Local<v8::Context> context) {
  stacks_ = std::make_unique<thence::v8_adapter::ScriptStacks>(isolate, thence::v8_adapter::StackOptions{});
  if (is_light()) {
    // Every entry into the script drains the microtasks before it returns (Engine::enter).
    light_ = std::make_unique<Light>(isolate, tracer(), nullptr, thence::v8_adapter::LightOptions{.drains_every_call = true});
  } else {
    // libnode's V8 has the context hooks, the cheap way (V8_ENABLE_JAVASCRIPT_PROMISE_HOOKS).
    promises_ = std::make_unique<Promises>(isolate, tracer(), thence::v8_adapter::PromiseOptions{.hears_checkpoints = false});
    KJ_REQUIRE(promises_->follow(context), "V8 cannot run the promise hooks");
  }
  stacks_->calibrate(context);
}

void Tracing::unfollow() {
  light_ = nullptr;
  promises_ = nullptr;
  stacks_ = nullptr;
}

void Tracing::note_rejection(const v8::PromiseRejectMessage& message) {
  if (promises_) promises_->note_rejection(message);
}

thence::StackId Tracing::script_stack() { return stacks_ ? stacks_->capture(tracer(), 0) : thence::StackId::kNone; }

void Tracing::checkpoint_done() {
  if (promises_) promises_->checkpoint_done();
}

Resource Tracing::resource_of(v8::Local<v8::Promise> promise) {
  return promises_ ? promises_->resource_of(promise) : Resource{};
}

v8::Local<v8::Promise::Resolver> Tracing::make_resolver(v8::Local<v8::Context> context, Resource& resource) {
  return (promises_ ? promises_->make_resolver(context, resource) : v8::Promise::Resolver::New(context)).ToLocalChecked();
}

v8::Maybe<bool> Tracing::resolve(v8::Local<v8::Context> context, v8::Local<v8::Promise::Resolver> resolver, Resource promise,
                                 v8::Local<v8::Value> value) {
  return promises_ ? promises_->resolve(context, resolver, promise, value) : resolver->Resolve(context, value);
}

// ---- what Trace asks for

Resource Tracing::begin_root(bool asked, thence::SourceSite site) {
  const Resource root = tracer().begin_root(ResourceType::kRoot, {.asked = asked}, site);
  if (light_) light_->note(root);
  return root;
}

void Tracing::settle_root(Resource root, Outcome outcome) {
  if (!is_light()) return tracer().settle(root, outcome);
  tracer().settle(root, outcome, thence::Actor::kUnknown);  // the answer's way from the script to the client is not followed
}

void Tracing::finish_root(Resource root) {
  if (promises_) promises_->flush();
  tracer().destroy(root);
  tracer().finish_root(root);
}

Resource Tracing::begin(ResourceType type) {
  thence::CreateOptions options;
  if (!runs_untraced()) options.stack = script_stack();
  const Resource resource = tracer().create(type, options);
  last_begun_ = {resource.id, options.stack};
  return resource;
}

Resource Tracing::begin(ResourceType type, std::string_view key, std::string_view value) {
  const Resource resource = begin(type);
  tracer().annotate(resource, key, value);
  return resource;
}

Resource Tracing::begin_result(Resource operation, Resource promise) {
  if (runs_untraced()) return tracer().current();
  thence::CreateOptions options;
  options.stack = operation && operation.id == last_begun_.id ? last_begun_.stack : script_stack();  // begun by the same call
  const auto moment = tracer().at(tracer().now());
  const Resource result = moment.create(ResourceType::kKjToJs, options);
  moment.link(operation, result, thence::LinkKind::kBridge);
  moment.link(result, promise, thence::LinkKind::kBridge);
  return result;
}

Resource Tracing::begin_part(Resource whole, ResourceType type, std::string_view phase, thence::SourceSite site) {
  thence::CreateOptions options;
  options.trigger = whole;
  const Resource part = tracer().create(type, options, site);
  tracer().annotate(part, "phase", phase);
  return part;
}

void Tracing::settle(Resource resource, Outcome outcome) { tracer().settle(resource, outcome); }
void Tracing::settle_from_outside(Resource resource, Outcome outcome) {
  tracer().settle(resource, outcome, thence::Actor::kExternal);
}
void Tracing::destroy(Resource resource) { tracer().destroy(resource); }
void Tracing::link(Resource cause, Resource effect, thence::LinkKind kind) { tracer().link(cause, effect, kind); }
void Tracing::enter(Resource resource, thence::Cause cause) { tracer().enter(resource, cause); }
void Tracing::exit(Resource resource) { tracer().exit(resource); }
void Tracing::enter_with_result(Resource resource, Resource operation, Outcome outcome) {
  if (!resource) return tracer().enter(resource);
  const Resource running = tracer().current();
  const thence::Cause by_what_runs =
      running ? thence::Cause{thence::CauseKind::kScheduled, running.id} : thence::Cause::external();
  const auto moment = tracer().at(tracer().now());
  moment.settle(resource, outcome);
  moment.enter(resource, resource == operation ? by_what_runs : thence::Cause::settled(operation));
}

v8::Local<v8::Value> Tracing::host_value(v8::Local<v8::Context> context) { return light_->host_value(context); }

}  // namespace worker
