// SPDX-License-Identifier: MIT
// What LightTracer promises: each of the host's operations has its root and its trigger, and no promise was followed. The
// oracle is the script: its operations are named after the request they are for, "a2" for "A".
#include "thence/adapters/v8/light_tracer.hpp"

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "adapters/v8/v8_program.hpp"
#include "support/catch.hpp"

using namespace thence_test;
using thence::CallbackScope;
using thence::EventKind;
using thence::Resource;
using thence::ResourceId;
using thence::ResourceType;
using thence::RootId;

namespace {

struct Known {
  std::string trigger;
  std::string root;
  friend bool operator==(const Known&, const Known&) = default;
};
[[maybe_unused]] std::ostream& operator<<(std::ostream& out, const Known& known) {
  return out << "in " << known.trigger << " of " << known.root;
}

/// A host whose script has op('a1'): an operation and the promise of it, settled by settle("a1").
template <class Light = v8a::LightTracer>
class Host : public Program {
 public:
  explicit Host(v8a::LightOptions options = {}, bool start = true)
      : Program(Options{.promises = {.stacks = {.mode = v8a::StackMode::kNone}, .gc_pauses = false}, .follow = false, .start = start}),
        light(isolate(), tracer(), promises.get(), options) {
    expose(context, "op", &begin);
    expose(context, "tag", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
      info.GetReturnValue().Set(self(info).light.host_value(info.GetIsolate()->GetCurrentContext()));
    });
  }

  Resource request(const char* name) {
    const Resource root = tracer().begin_root();
    known[root.id] = name;
    roots[root.root] = name;
    return root;
  }
  /// Calls the script in a callback of `resource`, and lets the microtasks run.
  void call(Resource resource, std::string_view source) {
    const CallbackScope scope{tracer(), resource};
    {
      const typename Light::Carry carry{light, context};
      run(source);
    }
    drain();
  }
  void drain() {
    const typename Light::Microtasks each_its_own{light, context};
    microtasks();
  }
  /// An operation is done: its promise is resolved in its callback, and the microtasks run.
  void settle(const std::string& name) { settle(name, v8::Undefined(isolate())); }
  template <class Way = typename Light::Settling>
  void settle(const std::string& name, v8::Local<v8::Value> value) {
    const CallbackScope scope{tracer(), operations.at(name)};
    {
      const auto way = way_to<Way>();
      pending.at(name).Get(isolate())->Resolve(context, value).Check();
    }
    drain();
  }
  /// Who is told to have begun each operation.
  std::map<std::string, Known> begun() {
    promises->flush();
    session.stop();
    session.start();
    std::map<std::string, Known> out;
    for (const RecordedEvent& event : recording.events) {
      if (event.kind != EventKind::kCreated) continue;
      roots_of[event.resource] = event.root;
      if (!known.contains(event.resource)) known[event.resource] = "a promise";
    }
    const auto called = [](const auto& names, auto id) {
      const auto found = names.find(id);
      return found == names.end() ? std::string("nobody") : found->second;
    };
    for (const auto& [name, resource] : operations) {
      for (const RecordedEvent& event : recording.events) {
        if (event.kind == EventKind::kCreated && event.resource == resource.id)
          out[name] = {called(known, event.other), called(roots, event.root)};
      }
    }
    return out;
  }
  [[nodiscard]] std::size_t promises_created() const { return promises->counts().created; }

  Light light;
  std::map<ResourceId, std::string> known;
  std::map<RootId, std::string> roots;
  std::map<ResourceId, RootId> roots_of;
  std::map<std::string, Resource> operations;
  Resource looked;

 private:
  template <class Way>
  Way way_to() {
    if constexpr (std::is_constructible_v<Way, Light&>) return Way{light};
    else return Way{light, context};
  }
  static Host& self(const v8::FunctionCallbackInfo<v8::Value>& info) {
    return static_cast<Host&>(*static_cast<Program*>(info.Data().As<v8::External>()->Value()));
  }
  static void begin(const v8::FunctionCallbackInfo<v8::Value>& info) {
    Host& host = self(info);
    const auto context = info.GetIsolate()->GetCurrentContext();
    const typename Light::Caller caller{host.light, context};
    const v8::String::Utf8Value text(info.GetIsolate(), info[0]);
    const std::string name = *text;
    const Resource resource = host.tracer().create(ResourceType::kFetch);
    host.operations[name] = resource;
    host.known[resource.id] = name;
    const auto resolver = v8::Promise::Resolver::New(context).ToLocalChecked();
    host.pending[name].Reset(info.GetIsolate(), resolver);
    info.GetReturnValue().Set(resolver->GetPromise());
  }

  std::map<std::string, v8::Global<v8::Promise::Resolver>> pending;
};

constexpr const char* kHandler = R"js(
  globalThis.shared = new Promise((resolve) => globalThis.release = resolve);
  globalThis.handle = async (name) => {
    await op(name + 1);
    await null;
    const nested = async () => { await op(name + 2); return op(name + 3) };
    await nested();
    await shared;
    await Promise.all([op(name + 4), new Promise((resolve) => resolve()).then(() => op(name + 5))]);
    for await (const value of (async function* () { yield op(name + 6) })()) op(name + 7);
  })js";

}  // namespace

TEST_CASE("two requests that interleave have each operation under its own request, and no promise is followed") {
  Host host;
  host.run(kHandler);
  const Resource a = host.request("A");
  const Resource b = host.request("B");
  host.call(a, "handle('a')");
  host.call(b, "handle('b')");
  for (const char* name : {"b1", "a1", "b2", "a2", "a3", "b3"}) host.settle(name);
  host.call(a, "release()");  // both go on in A's checkpoint
  for (const char* name : {"b5", "a4", "b4", "a5", "a6", "b6"}) host.settle(name);

  const auto begun = host.begun();
  CHECK(begun.size() == 14);
  for (const auto& [name, known] : begun) {
    const std::string request = name.front() == 'a' ? "A" : "B";
    CHECK(known == Known{request, request});
  }
  CHECK(host.promises_created() == 0);
  CHECK(host.light.counts().unknown == 0);
  CHECK(host.tracer().depth() == 0);
  CHECK(host.tracer().misuse().exits_crossed == 0);
}

TEST_CASE("what a timer's callback begins has the timer as its trigger, after any number of awaits, and the timer its request") {
  Host host;
  const Resource a = host.request("A");
  host.call(a, "op('timer')");
  host.call(host.operations.at("timer"), "(async () => { op('at once'); await null; await op('waited for'); op('after it') })()");
  host.settle("waited for");
  CHECK(host.begun() == std::map<std::string, Known>{{"timer", {"A", "A"}},
                                                     {"at once", {"timer", "A"}},
                                                     {"waited for", {"timer", "A"}},
                                                     {"after it", {"timer", "A"}}});
}

TEST_CASE("a script that V8 runs while the host settles a promise begins in the operation that is settled") {
  Host host;
  const auto thenable = [&](const std::string& name) {
    return host.run("({ get then() { op('" + name + "'); (async () => { await null; op('" + name + " later') })(); return 0 } })");
  };
  const Resource a = host.request("A");
  host.call(a, "op('first'); op('second')");
  host.settle("first", thenable("settling"));
  host.template settle<v8a::LightTracer::Carry>("second", thenable("carried"));
  CHECK(host.tracer().depth() == 0);
  CHECK(host.light.counts().unknown == 1);
  CHECK(host.begun() == std::map<std::string, Known>{{"first", {"A", "A"}},
                                                     {"second", {"A", "A"}},
                                                     {"settling", {"first", "A"}},
                                                     {"settling later", {"nobody", "nobody"}},  // as it says
                                                     {"carried", {"second", "A"}},
                                                     {"carried later", {"second", "A"}}});
}

TEST_CASE("microtasks that run while the host settles a promise are those' that they were carried to, or nobody's") {
  Host host;
  const Resource a = host.request("A");
  host.call(a, "globalThis.p = new Promise((resolve) => globalThis.release = resolve); (async () => { await p; op('carried') })()");
  host.run("(async () => { await p; op('not carried') })(); release()");
  {
    const CallbackScope scope{host.tracer(), a};
    const v8a::LightTracer::Settling settling{host.light};
    host.drain();
  }
  CHECK(host.light.counts().unknown == 1);
  CHECK(host.begun() == std::map<std::string, Known>{{"carried", {"A", "A"}}, {"not carried", {"nobody", "nobody"}}});
}

TEST_CASE("what was suspended before anything was carried to it is begun by nobody known, whoever's callback runs") {
  Host host;
  host.run("(async () => { await op('early'); op('late') })()");
  host.microtasks();
  const Resource a = host.request("A");
  host.call(a, "globalThis.x = 1");
  {
    const CallbackScope scope{host.tracer(), a};
    host.settle("early");
  }
  CHECK(host.begun().at("late") == Known{"nobody", "nobody"});
  CHECK(host.light.counts().unknown == 1);
}

TEST_CASE("what an untraced request begins is untraced, also while a traced one's callback runs") {
  Host host;
  host.run("globalThis.p = new Promise((resolve) => globalThis.go = resolve)");
  host.session.set_sampling(thence::Sampling::none());
  const Resource untraced = host.tracer().begin_root();
  REQUIRE(untraced.root == RootId::kUntraced);
  host.call(untraced, "(async () => { await p; op('untraced') })()");
  host.session.set_sampling(thence::Sampling::all());
  const Resource a = host.request("A");
  host.call(a, "(async () => { await p; op('traced') })()");
  host.call(a, "go()");
  CHECK(host.begun() == std::map<std::string, Known>{{"traced", {"A", "A"}}});
  CHECK(host.tracer().misuse().exit_without_enter == 0);
}

TEST_CASE("a host changes between light and full while requests are in flight, and every operation stays in its request") {
  Host host;
  host.run("globalThis.handle = async (name) => { for (let i = 0; i < 8; i++) await op(name + i) }");
  const Resource a = host.request("A");
  const Resource b = host.request("B");
  host.call(a, "handle('a')");
  host.call(b, "handle('b')");
  const auto step = [&](int i) {
    for (const char* name : {"b", "a"}) host.settle(name + std::to_string(i));
  };
  step(0);
  step(1);
  host.follow(host.context);
  for (int i = 2; i < 5; ++i) step(i);
  host.promises->unfollow(host.context);
  for (int i = 5; i < 7; ++i) step(i);

  const auto begun = host.begun();
  REQUIRE(begun.size() == 16);
  for (const auto& [name, known] : begun) {
    const std::string request = name.front() == 'a' ? "A" : "B";
    CHECK(known.root == request);
    // The await that was reached before following is still light's when it goes on; what it reaches then is followed.
    const bool full = name[1] == '4' || name[1] == '5';
    CHECK(known.trigger == (full ? "a promise" : request));
  }
  CHECK(host.tracer().depth() == 0);
  CHECK(host.tracer().misuse().exit_without_enter == 0);
}

TEST_CASE("following that ends inside of a promise's callback leaves it, and what it begins then is its request's") {
  Host host;
  host.expose(host.context, "unfollow", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    auto& self = *static_cast<Program*>(info.Data().As<v8::External>()->Value());
    self.promises->unfollow(self.context);
  });
  const Resource a = host.request("A");
  const Resource b = host.request("B");
  host.follow(host.context);
  host.run("globalThis.p = new Promise((resolve) => globalThis.go = resolve)");
  host.call(b, "(async () => { await p; op('b') })()");
  host.call(a, "(async () => { await null; op('full'); unfollow(); op('light'); go() })()");
  const auto begun = host.begun();
  CHECK(begun.at("full") == Known{"a promise", "A"});
  CHECK(begun.at("light") == Known{"A", "A"});
  CHECK(begun.at("b") == Known{"B", "B"});
}

TEST_CASE("the host's own value goes the same way, and what it was before a call it is again after it") {
  Host host;
  const auto number = [&](int value) { return v8::Integer::New(host.isolate(), value); };
  v8a::set_continuation_data(host.isolate(), host.context, number(7));
  const Resource a = host.request("A");
  host.call(a, "globalThis.seen = [tag()]; (async () => { await null; seen.push(tag()) })()");
  CHECK(host.text_of("seen.join()") == "7,7");
  CHECK(v8a::continuation_data(host.isolate(), host.context)->StrictEquals(number(7)));
  {
    const CallbackScope scope{host.tracer(), a};
    const v8a::LightTracer::Carry carry{host.light, host.context};
    host.light.set_host_value(host.context, number(8));
    host.run("(async () => { await null; seen.push(tag()); op('after') })()");
    host.drain();
  }
  CHECK(host.text_of("seen.join()") == "7,7,8");
  CHECK(host.begun().at("after") == Known{"A", "A"});
  CHECK(v8a::continuation_data(host.isolate(), host.context)->StrictEquals(number(7)));
  host.light.set_host_value(host.context, number(9));  // outside of all: the value itself
  CHECK(v8a::continuation_data(host.isolate(), host.context)->StrictEquals(number(9)));
}

TEST_CASE("a value that the host gives with its call is there in the script and in what follows, and no longer after the call") {
  Host host;
  const auto number = [&](int value) { return v8::Integer::New(host.isolate(), value); };
  const auto is_now = [&](int value) {
    return v8a::continuation_data(host.isolate(), host.context)->StrictEquals(number(value));
  };
  host.run("globalThis.seen = []; globalThis.step = async (name) => { seen.push(tag()); await null; seen.push(tag()); op(name) }");
  v8a::set_continuation_data(host.isolate(), host.context, number(7));
  const auto call = [&](Resource resource, int value, const char* source) {
    const CallbackScope scope{host.tracer(), resource};
    {
      const v8a::LightTracer::Carry carry{host.light, host.context, number(value)};
      host.run(source);
    }
    CHECK(is_now(7));
    {
      const v8a::LightTracer::Microtasks each_its_own{host.light, host.context, number(value)};
      CHECK(is_now(value));
      host.microtasks();
    }
    CHECK(is_now(7));
  };
  call(host.request("A"), 8, "step('a')");
  call(host.request("B"), 9, "step('b')");
  CHECK(host.text_of("seen.join()") == "8,8,9,9");
  call(Resource{}, 10, "seen.push(tag())");  // of nobody: the value all the same
  CHECK(host.text_of("seen.pop()") == "10");
  host.session.stop();
  call(Resource{}, 11, "seen.push(tag())");
  CHECK(host.text_of("seen.pop()") == "11");
  CHECK(host.begun() == std::map<std::string, Known>{{"a", {"A", "A"}}, {"b", {"B", "B"}}});
}

TEST_CASE("a script that calls the host has the resource that was carried to it, whatever the bits of its ids") {
  Host host;
  host.expose(host.context, "look", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    auto& self = static_cast<Host<>&>(*static_cast<Program*>(info.Data().As<v8::External>()->Value()));
    const v8a::LightTracer::Caller caller{self.light, self.context};
    self.looked = self.light.resource(self.context);
    info.GetReturnValue().Set(caller.host_value());
  });
  for (const std::uint64_t id : {std::uint64_t{1}, std::uint64_t{1} << 43, std::uint64_t{1} << 44, 0xA5A5'A5A5'A5A5u, (std::uint64_t{1} << 48) - 1}) {
    for (const std::uint64_t root : {std::uint64_t{1}, std::uint64_t{1} << 39, 0xA5'A5A5'A5A5u, (std::uint64_t{1} << 40) - 2}) {
      const Resource resource{static_cast<ResourceId>(id), static_cast<RootId>(root)};
      const CallbackScope scope{host.tracer(), resource};
      const v8a::LightTracer::Carry carry{host.light, host.context, v8::Integer::New(host.isolate(), 7)};
      CHECK(host.text_of("look()") == "7");
      CHECK(host.looked == resource);
    }
  }
}

TEST_CASE("what was carried stays with what it was carried to, however alike what is carried before and after it") {
  struct Carried {
    Resource resource;
    int value;
    bool operator==(const Carried&) const = default;
  };
  static std::map<int, Carried> seen;
  seen.clear();
  Host host;
  host.expose(host.context, "look", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    auto& self = static_cast<Host<>&>(*static_cast<Program*>(info.Data().As<v8::External>()->Value()));
    seen[info[0].As<v8::Int32>()->Value()] = {self.light.resource(self.context),
                                              self.light.host_value(self.context).As<v8::Int32>()->Value()};
  });
  host.run("globalThis.waiting = new Promise((resolve) => globalThis.release = resolve);"
           "globalThis.step = async (number) => { await waiting; look(number) }");
  const Resource a = host.request("A"), b = host.request("B"), untraced{ResourceId::kNone, RootId::kUntraced};
  const Carried all[] = {{a, 1}, {a, 1}, {a, 2}, {b, 2}, {untraced, 2}, {untraced, 2}, {untraced, 3}, {a, 3}, {untraced, 3},
                         {untraced, 1}, {b, 1}, {untraced, 1}, {{}, 1}, {untraced, 1}};
  int number = 0;
  for (const Carried& one : all) {
    const CallbackScope around{host.tracer(), one.resource == Resource{} ? a : one.resource};
    const v8a::LightTracer::Carry carry{host.light, host.context, v8::Integer::New(host.isolate(), one.value)};
    const CallbackScope scope{host.tracer(), one.resource};
    const v8a::LightTracer::Carry inner{host.light, host.context};
    host.run("step(" + std::to_string(number) + ")");
    if (++number % 4 == 0) host.run("gc()");
  }
  host.run("release()");
  host.drain();
  CHECK(seen.size() == std::size(all));
  for (int n = 0; n != number; ++n) CHECK(seen[n] == all[n]);
}

namespace {

/// A host with frames of its own, an object each, of which each new one inherits; ours rides in them unseen by scripts.
struct InFrames {
  static v8::Local<v8::Private> key(v8::Isolate* isolate) {
    return v8::Private::ForApi(isolate, v8::String::NewFromUtf8Literal(isolate, "mark"));
  }
  static v8::Local<v8::Value> with_mark(v8::Isolate* isolate, v8::Local<v8::Context> context, v8::Local<v8::Value> data,
                                        v8::Local<v8::Object> mark) {
    const auto frame = v8::Object::New(isolate);
    if (data->IsObject()) frame->SetPrototype(context, data).Check();
    frame->SetPrivate(context, key(isolate), mark).Check();
    return frame;
  }
  static v8::Local<v8::Value> mark_in(v8::Isolate* isolate, v8::Local<v8::Context> context, v8::Local<v8::Value> data) {
    if (!data->IsObject()) return {};
    return data.As<v8::Object>()->GetPrivate(context, key(isolate)).ToLocalChecked();
  }
};

}  // namespace

TEST_CASE("the mark rides in a host's own frame where the policy says so, and the host finds its frame unchanged") {
  using Light = v8a::BasicLightTracer<thence::Tracer, InFrames>;
  Host<Light> host;
  const auto store = host.run("({ user: 'ada' })");
  v8a::set_continuation_data(host.isolate(), host.context, store);
  host.expose(host.context, "frame", [](const v8::FunctionCallbackInfo<v8::Value>& info) {
    info.GetReturnValue().Set(v8a::continuation_data(info.GetIsolate(), info.GetIsolate()->GetCurrentContext()));
  });
  const Resource a = host.request("A");
  host.call(a, "(async () => { await null; globalThis.user = frame().user; op('after') })()");
  CHECK(host.text_of("user") == "ada");
  CHECK(host.begun().at("after") == Known{"A", "A"});
  CHECK(v8a::continuation_data(host.isolate(), host.context)->StrictEquals(store));
}

TEST_CASE("where every call runs its microtasks, what runs in them was made runnable by the call; else nobody is named") {
  for (const bool told : {true, false}) {
    Host host{{.drains_every_call = told}};
    const Resource a = host.request("A");
    host.call(a, "(async () => { await op('first'); op('second') })()");
    host.settle("first");
    const auto begun = host.begun();
    CHECK(begun.at("second") == Known{"A", "A"});
    int entered = 0;
    for (const RecordedEvent& event : host.recording.events) {
      if (event.kind != EventKind::kEntered || event.resource != a.id) continue;
      if (++entered == 1) continue;  // the host's own call
      CHECK(event.cause() == (told ? thence::CauseKind::kScheduled : thence::CauseKind::kUnspecified));
      CHECK(event.other == (told ? host.operations.at("first").id : ResourceId::kNone));
    }
    CHECK(entered == 2);
  }
}

TEST_CASE("a request can be noted as light") {
  Host host;
  const Resource a = host.request("A");
  host.light.note(a);
  host.session.stop();
  int noted = 0;
  for (const RecordedEvent& event : host.recording.events) {
    if (event.kind != EventKind::kAnnotated) continue;
    ++noted;
    CHECK(event.resource == a.id);
    CHECK(event.key == "tracing");
    CHECK(event.text == "light");
  }
  CHECK(noted == 1);
}

TEST_CASE("while tracing is stopped nothing is carried, and what was carried before is known when it goes on") {
  Host host;
  const Resource a = host.request("A");
  host.call(a, "(async () => { await op('before'); op('after') })()");
  host.session.stop();
  const auto carried = host.light.counts().carried;
  host.call(a, "op('while stopped')");
  CHECK(host.light.counts().carried == carried);
  host.session.start();
  host.settle("before");
  CHECK(host.begun().at("after") == Known{"A", "A"});
}

#if V8_MAJOR_VERSION < 11
TEST_CASE("the collector takes nothing that is carried for a wrapper of the host's") {
  Host host;
  WrapperTracer wrappers(host.isolate());
  const Resource a = host.request("A");
  host.call(a, "globalThis.waits = (async () => { await op('a1'); await op('a2'); op('a3') })()");
  host.settle("a1");
  CHECK(host.light.counts().carried != 0);
  CHECK(wrappers.collect() == 0);
  host.settle("a2");
  CHECK(host.begun().at("a3") == Known{"A", "A"});

  // It is told of one that is.
  const auto shape = v8::ObjectTemplate::New(host.isolate());
  shape->SetInternalFieldCount(2);
  const auto wrapper = shape->NewInstance(host.context).ToLocalChecked();
  wrapper->SetAlignedPointerInInternalField(0, &host);
  wrapper->SetAlignedPointerInInternalField(1, &host);
  CHECK(wrappers.collect() == 1);
}
#endif

TEST_CASE("a light tracer that was told to forget its isolate may outlive it") {
  std::unique_ptr<v8a::LightTracer> light;
  thence::Session session;
  thence::Lane lane = session.attach("script");
  {
    const IsolateOwner isolate = make_isolate();
    const v8::Isolate::Scope in_isolate(isolate.get());
    light = std::make_unique<v8a::LightTracer>(isolate.get(), lane.tracer());
    light->forget();
  }
  light.reset();
  SUCCEED();
}
