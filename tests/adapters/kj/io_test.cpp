// SPDX-License-Identifier: MIT
// Streams, sockets and HTTP: wrapping the providers once traces the program.
#include "thence/adapters/kj.hpp"

#include <kj/debug.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <string>
#include <typeinfo>
#include <vector>

#include "adapters/kj/transcript.hpp"
#include "support/catch.hpp"

using namespace thence;
using namespace thence::kj_adapter;
using thence_test::Lines;
using thence_test::Traced;

namespace {

struct Loop {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
};

void mark(Traced& traced, const char* name) { traced.name(traced.tracer.create(ResourceType::kOther), name); }

/// The names of the resources of each root, in the order of creation. After transcript().
std::vector<Lines> created_in_roots(const Traced& traced) {
  std::map<RootId, Lines> by_root;
  for (const auto& event : traced.recording.of_kind(EventKind::kCreated)) {
    if (event.root != RootId::kNone) by_root[event.root].push_back(traced.called(event.resource));
  }
  std::vector<Lines> roots;
  for (auto& [root, names] : by_root) roots.push_back(names);
  return roots;
}

/// The service of the tests: /slow waits for the timer, /fail throws, /echo gives the body back, else a fixed answer.
struct Service final : kj::HttpService {
  Service(const kj::HttpHeaderTable& table_in, kj::Timer& timer_in, Traced* traced_in)
      : table(table_in), timer(timer_in), traced(traced_in) {}

  kj::Promise<void> request(kj::HttpMethod, kj::StringPtr url, const kj::HttpHeaders&, kj::AsyncInputStream& body,
                            Response& response) override {
    if (url.endsWith("/throw")) KJ_FAIL_REQUIRE("thrown out of request()");
    if (url.endsWith("/fail")) return KJ_EXCEPTION(FAILED, "rejected");
    kj::Promise<void> ready = kj::READY_NOW;
    if (url.endsWith("/slow")) ready = timer.afterDelay(5 * kj::MILLISECONDS);
    return ready.then([&body]() { return body.readAllText(); }).then([this, &response](kj::String text) {
      if (traced != nullptr) created.push_back(traced->tracer.create(ResourceType::kCrypto));
      auto answer = kj::str("hello ", text);
      auto stream = response.send(200, "OK", kj::HttpHeaders(table), answer.size());
      auto promise = stream->write(answer.begin(), answer.size());
      return promise.attach(kj::mv(stream), kj::mv(answer));
    });
  }

  const kj::HttpHeaderTable& table;
  kj::Timer& timer;
  Traced* traced;
  std::vector<Resource> created;
};

}  // namespace

TEST_CASE("reads and writes of a stream are resources with their bytes; who writes settles who reads") {
  Traced traced;
  {
    Loop loop;
    auto pipe = kj::newTwoWayPipe();
    auto left = traced_stream(traced.tracer, kj::mv(pipe.ends[0]));
    auto right = traced_stream(traced.tracer, kj::mv(pipe.ends[1]));
    kj::byte buffer[16];
    auto read = right->tryRead(buffer, 1, sizeof buffer)
                    .then([&](std::size_t bytes) {
                      mark(traced, "effect");
                      return bytes;
                    })
                    .eagerlyEvaluate(nullptr);
    auto write = left->write("hello", 5).eagerlyEvaluate(nullptr);
    CHECK(read.wait(loop.scope) == 5);
    write.wait(loop.scope);
    left->shutdownWrite();
    CHECK(right->tryRead(buffer, 1, sizeof buffer).wait(loop.scope) == 0);
    CHECK_THROWS_AS(right->read(buffer, 1, 4).wait(loop.scope), kj::Exception);
  }
  const Lines lines = traced.transcript(true);
  CHECK(Traced::with(lines, {"bytes", "effect", "created by -", "rejected"}) ==
        Lines{"stream-read1 created by -", "stream-write1 created by -", "stream-write1 bytes=5",
              "stream-read1 bytes=5", "effect created by stream-read1", "stream-read2 bytes=0",
              "stream-read3 rejected by stream-read2"});
}

TEST_CASE("a pump is one resource with its bytes, whichever side starts it") {
  Traced traced;
  {
    Loop loop;
    auto source = kj::newOneWayPipe();
    auto sink = kj::newOneWayPipe();
    auto in = traced_stream(traced.tracer, kj::mv(source.in));
    auto out = traced_stream(traced.tracer, kj::mv(sink.out));
    auto pump = in->pumpTo(*out)
                    .then([&](std::uint64_t bytes) {
                      out = nullptr;
                      return bytes;
                    })
                    .eagerlyEvaluate(nullptr);
    auto text = sink.in->readAllText().eagerlyEvaluate(nullptr);
    source.out->write("some bytes", 10).wait(loop.scope);
    source.out = nullptr;
    CHECK(pump.wait(loop.scope) == 10);
    CHECK(text.wait(loop.scope) == "some bytes");
  }
  CHECK(Traced::with(traced.transcript(true), {"created", "bytes"}) ==
        Lines{"stream-pipe-to1 created by -", "stream-pipe-to1 bytes=10"});
}

TEST_CASE("a traced stream forwards what is special about the one it wraps") {
  Traced traced;
  auto io = kj::setupAsyncIo();
  int fds[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  auto stream = traced_stream(traced.tracer,
                              io.lowLevelProvider->wrapSocketFd(fds[0], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP));
  auto other = io.lowLevelProvider->wrapSocketFd(fds[1], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP);
  KJ_IF_MAYBE (fd, stream->getFd()) {
    CHECK(*fd == fds[0]);
  } else {
    FAIL("getFd() was not forwarded");
  }
  int type = 0;
  kj::uint length = sizeof type;
  stream->getsockopt(SOL_SOCKET, SO_TYPE, &type, &length);
  CHECK(type == SOCK_STREAM);
  stream->setsockopt(SOL_SOCKET, SO_RCVBUF, &type, length);
  CHECK(stream->tryGetLength() == nullptr);
  auto disconnected = stream->whenWriteDisconnected();
  CHECK_FALSE(disconnected.poll(io.waitScope));
  stream->abortRead();
  other = nullptr;
  disconnected.wait(io.waitScope);
}

TEST_CASE("an idle loop is parked: by a port of the host's, and behind setupAsyncIo()") {
  Traced traced;
  struct Port final : kj::EventPort {
    bool wait() override {
      ++waits;
      fulfiller->fulfill();
      return false;
    }
    bool poll() override { return false; }
    void setRunnable(bool) override { ++runnable; }
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
    int waits = 0, runnable = 0;
  } port;
  {
    TracedEventPort traced_port(traced.tracer, port);
    kj::EventLoop loop(traced_port);
    kj::WaitScope scope(loop);
    auto pair = kj::newPromiseAndFulfiller<void>();
    port.fulfiller = kj::mv(pair.fulfiller);
    pair.promise.wait(scope);
  }
  CHECK(port.waits == 1);
  CHECK(port.runnable > 0);
  {
    auto io = kj::setupAsyncIo();
    ParkWatch watch(traced.tracer);
    TracedTimer timer(traced.tracer, io.provider->getTimer());
    timer.afterDelay(1 * kj::MICROSECONDS).wait(io.waitScope);
  }
  {
    auto io = kj::setupAsyncIo();
    { ParkWatch watch(traced.tracer); }
    io.provider->getTimer().afterDelay(1 * kj::MICROSECONDS).wait(io.waitScope);  // the loop has its own port
  }
  const Lines lines = traced.transcript();
  REQUIRE(lines.size() > 5);
  CHECK(Lines(lines.begin(), lines.begin() + 5) ==
        Lines{"parked", "unparked", "timer1 created by -", "parked", "unparked"});
  const auto pending = traced.recording.of_kind(EventKind::kCounter);
  REQUIRE(pending.size() >= 2);
  CHECK(pending[0].value.integer == 0);
  CHECK(pending[1].value.integer == 1);
}

TEST_CASE("sockets: resolve, connect, accept, read and write are traced once the provider is wrapped") {
  Traced traced;
  {
    auto io = kj::setupAsyncIo();
    TracedAsyncIoProvider provider(traced.tracer, *io.provider);
    auto address = provider.getNetwork().parseAddress("127.0.0.1").wait(io.waitScope);
    leave_loop(traced.tracer);
    auto listener = address->listen();
    auto server = listener->accept()
                      .then([](kj::Own<kj::AsyncIoStream> stream) {
                        auto promise = stream->write("hi", 2);
                        return promise.attach(kj::mv(stream));
                      })
                      .eagerlyEvaluate(nullptr);
    auto client = provider.getNetwork()
                      .parseAddress("127.0.0.1", listener->getPort())
                      .then([](kj::Own<kj::NetworkAddress> to) {
                        auto promise = to->connect();
                        return promise.attach(kj::mv(to));
                      })
                      .then([](kj::Own<kj::AsyncIoStream> stream) {
                        auto promise = stream->readAllText();
                        return promise.attach(kj::mv(stream));
                      })
                      .eagerlyEvaluate(nullptr);
    CHECK(client.wait(io.waitScope) == "hi");
    server.wait(io.waitScope);
    auto clone = address->clone();
    CHECK(clone->toString() == address->toString());
  }
  const Lines lines = traced.transcript(true);
  const Lines created = Traced::with(lines, {"created by"});
  const auto has = [&](const char* line) { return std::count(lines.begin(), lines.end(), line) == 1; };
  CHECK(has("other1 operation=resolve"));
  CHECK(has("other2 operation=accept"));
  CHECK(has("other3 operation=resolve"));
  CHECK(has("socket-connect1 created by other3"));
  CHECK(has("stream-write1 created by other2"));
  CHECK(has("stream-write1 bytes=2"));
  CHECK(has("stream-read1 created by socket-connect1"));
  CHECK(has("socket-connect1 fulfilled by other3"));
  CHECK(has("stream-read1 fulfilled by outside"));
  CHECK(std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
          return line.find("socket-connect1 address=127.0.0.1:") == 0;
        }) == 1);
}

TEST_CASE("a request to an HTTP service is a root of its own, with method, url and status; a fetch has its phases") {
  Traced traced;
  Loop loop;
  kj::HttpHeaderTable::Builder builder;
  auto table = builder.build();
  {
    TracedTimer timer(traced.tracer, loop.timer);
    Service inner(*table, timer, &traced);
    TracedHttpService service(traced.tracer, inner);
    kj::HttpServer server(loop.timer, *table, service);
    auto pipe = kj::newTwoWayPipe();
    auto listening = server.listenHttp(traced_stream(traced.tracer, kj::mv(pipe.ends[0]))).eagerlyEvaluate(nullptr);
    auto plain = kj::newHttpClient(*table, *pipe.ends[1]);
    TracedHttpClient client(traced.tracer, *plain);

    const Resource caller = traced.tracer.create(ResourceType::kOther);
    traced.name(caller, "caller");
    kj::Promise<void> done = nullptr;
    {
      CallbackScope scope{traced.tracer, caller};
      auto request = client.request(kj::HttpMethod::GET, "/plain", kj::HttpHeaders(*table));
      done = request.response
                 .then([&](kj::HttpClient::Response&& response) {
                   CHECK(response.statusCode == 200);
                   auto text = response.body->readAllText();
                   return text.attach(kj::mv(response.body));
                 })
                 .then([&](kj::String text) {
                   CHECK(text == "hello ");
                   mark(traced, "effect");
                 })
                 .eagerlyEvaluate(nullptr);
    }
    done.wait(loop.scope);
    plain = nullptr;
    pipe.ends[1] = nullptr;
    listening.wait(loop.scope);
  }
  const Lines lines = traced.transcript(true);
  CHECK(Traced::with(lines, {"root1 created", "root1 method", "root1 url", "root1 status", "root1 fulfilled",
                             "root1 destroyed", "root1 finished", "crypto1 created"}) ==
        Lines{"root1 created by -", "root1 method=GET", "root1 url=/plain", "crypto1 created by root1",
              "root1 status=200", "root1 fulfilled by stream-write2", "root1 destroyed", "root1 finished"});
  CHECK(created_in_roots(traced) == std::vector<Lines>{{"root1", "crypto1", "stream-write1", "stream-write2"}});
  CHECK(Traced::with(lines, {"fetch1 created", "fetch1 url", "fetch1 method", "fetch1 status", "fetch1 fulfilled",
                             "phase", "other2 created", "stream-read2 created", "stream-read2 fulfilled",
                             "stream-read2 bytes", "effect"}) ==
        Lines{"fetch1 created by caller", "fetch1 url=/plain", "fetch1 method=GET", "other2 created by fetch1",
              "other2 phase=first-byte", "fetch1 status=200", "stream-read2 created by fetch1",
              "stream-read2 phase=body", "fetch1 fulfilled by other2", "stream-read2 bytes=6",
              "stream-read2 fulfilled by fetch1", "effect created by stream-read2"});
}

namespace {

/// A traced service behind a server, with clients over in-process pipes.
struct Server {
  explicit Server(Traced& traced_in, RootPerRequest policy = {})
      : traced(traced_in),
        timer(traced.tracer, loop.timer),
        inner(*table, timer, &traced),
        service(traced.tracer, inner, policy),
        server(loop.timer, *table, service, settings(errors)) {}

  static kj::HttpServerSettings settings(kj::HttpServerErrorHandler& errors) {
    kj::HttpServerSettings chosen;
    chosen.errorHandler = errors;
    return chosen;
  }
  kj::Own<kj::HttpClient> connect() {
    auto pipe = kj::newTwoWayPipe();
    listening.push_back(server.listenHttp(traced_stream(traced.tracer, kj::mv(pipe.ends[0]))).eagerlyEvaluate(nullptr));
    auto client = kj::newHttpClient(*table, *pipe.ends[1]);
    return client.attach(kj::mv(pipe.ends[1]));
  }
  kj::Promise<kj::String> get(kj::HttpClient& client, kj::StringPtr url, kj::HttpHeaders headers) {
    auto request = client.request(kj::HttpMethod::GET, url, headers);
    return request.response.then([](kj::HttpClient::Response&& response) {
      auto text = response.body->readAllText();
      return text.attach(kj::mv(response.body));
    });
  }
  kj::Promise<kj::String> get(kj::HttpClient& client, kj::StringPtr url) {
    return get(client, url, kj::HttpHeaders(*table));
  }
  void turn(int milliseconds) {
    loop.scope.poll();
    loop.timer.advanceTo(kj::origin<kj::TimePoint>() + milliseconds * kj::MILLISECONDS);
    loop.scope.poll();
  }

  struct Quiet final : kj::HttpServerErrorHandler {
    kj::Promise<void> handleApplicationError(kj::Exception, kj::Maybe<kj::HttpService::Response&> response) override {
      KJ_IF_MAYBE (answer, response) return answer->sendError(500, "Failed", kj::HttpHeaders(*table));
      return kj::READY_NOW;
    }
    kj::HttpHeaderTable* table = nullptr;
  } errors;

  Traced& traced;
  Loop loop;
  kj::HttpHeaderTable::Builder builder;
  kj::HttpHeaderId asked = builder.add("x-thence-trace");
  kj::Own<kj::HttpHeaderTable> table = prepare();
  TracedTimer<Tracer> timer;
  Service inner;
  TracedHttpService<Tracer> service;
  kj::HttpServer server;
  std::vector<kj::Promise<void>> listening;

 private:
  kj::Own<kj::HttpHeaderTable> prepare() {
    auto built = builder.build();
    errors.table = built.get();
    return built;
  }
};

}  // namespace

TEST_CASE("requests one after another on a kept connection, and several at once, never mix") {
  Traced traced;
  {
    Server server(traced);
    auto one = server.connect();
    auto two = server.connect();
    auto three = server.connect();
    CHECK(server.get(*one, "/first").wait(server.loop.scope) == "hello ");
    CHECK(server.get(*one, "/second").wait(server.loop.scope) == "hello ");
    leave_loop(traced.tracer);
    auto slow = server.get(*one, "/slow").eagerlyEvaluate(nullptr);
    auto slower = server.get(*two, "/slow").eagerlyEvaluate(nullptr);
    server.turn(1);
    CHECK(server.get(*three, "/quick").wait(server.loop.scope) == "hello ");
    server.turn(20);
    CHECK(slow.wait(server.loop.scope) == "hello ");
    CHECK(slower.wait(server.loop.scope) == "hello ");
    leave_loop(traced.tracer);
    CHECK(server.get(*one, "/last").wait(server.loop.scope) == "hello ");
  }
  const Lines lines = traced.transcript(true);
  const auto roots = created_in_roots(traced);
  REQUIRE(roots.size() == 6);
  for (const Lines& in_root : roots) {
    CAPTURE(in_root);
    const bool slow = std::count(lines.begin(), lines.end(), in_root[0] + " url=/slow") == 1;
    Lines types;
    for (const auto& name : in_root) types.push_back(name.substr(0, name.find_first_of("0123456789")));
    CHECK(types == (slow ? Lines{"root", "timer", "crypto", "stream-write", "stream-write"}
                         : Lines{"root", "crypto", "stream-write", "stream-write"}));
    CHECK(std::count(lines.begin(), lines.end(), in_root[0] + " status=200") == 1);
    CHECK(std::count(lines.begin(), lines.end(), in_root[0] + " finished") == 1);
  }
  // Nothing of a request happens after it has finished.
  CHECK(traced.recording.summary.after_seal == 0);
}

TEST_CASE("a request that fails, throws or is abandoned ends its root as rejected or cancelled") {
  Traced traced;
  {
    Server server(traced);
    auto client = server.connect();
    server.get(*client, "/fail").wait(server.loop.scope);
    client = server.connect();
    server.get(*client, "/throw").wait(server.loop.scope);
    client = server.connect();
    auto slow = server.get(*client, "/slow").eagerlyEvaluate(nullptr);
    server.turn(1);
    leave_loop(traced.tracer);
    server.listening.clear();
    slow = nullptr;
  }
  const Lines lines = traced.transcript();
  const auto about = [&](const char* root) {
    return Traced::with(
        lines, {std::string(root) + " rejected", std::string(root) + " cancelled", std::string(root) + " finished"});
  };
  CHECK(about("root1").size() == 2);
  CHECK(about("root1")[0].find("root1 rejected by ") == 0);
  CHECK(about("root2").size() == 2);
  CHECK(about("root2")[0].find("root2 rejected by ") == 0);
  CHECK(about("root3") == Lines{"root3 cancelled by unknown", "root3 finished"});
  CHECK(Traced::with(lines, {"timer1 cancelled"}) == Lines{"timer1 cancelled by unknown"});
}

TEST_CASE("only requests that bear the header are traced, and of the others nothing is") {
  Traced traced(Sampling::when_asked());
  {
    kj::HttpHeaderTable::Builder other;
    RootPerRequest policy;
    Server probe(traced);
    policy.asked_by = probe.asked;
    TracedHttpService service(traced.tracer, probe.inner, policy);
    kj::HttpServer server(probe.loop.timer, *probe.table, service);
    auto pipe = kj::newTwoWayPipe();
    auto listening = server.listenHttp(kj::mv(pipe.ends[0])).eagerlyEvaluate(nullptr);
    auto client = kj::newHttpClient(*probe.table, *pipe.ends[1]);
    probe.get(*client, "/no").wait(probe.loop.scope);
    kj::HttpHeaders headers(*probe.table);
    headers.set(probe.asked, "1");
    probe.get(*client, "/yes", kj::mv(headers)).wait(probe.loop.scope);
    probe.get(*client, "/no").wait(probe.loop.scope);
  }
  const Lines lines = traced.transcript(true);
  CHECK(Traced::with(lines, {"url"}) == Lines{"root1 url=/yes"});
  CHECK(Traced::with(lines, {"created"}) == Lines{"root1 created by -", "crypto1 created by root1"});
}

TEST_CASE("a web socket: its opening, messages sent and received, and its close") {
  Traced traced;
  {
    Loop loop;
    kj::HttpHeaderTable::Builder builder;
    auto table = builder.build();
    struct Echo final : kj::HttpService {
      explicit Echo(const kj::HttpHeaderTable& table_in) : table(table_in) {}
      kj::Promise<void> request(kj::HttpMethod, kj::StringPtr, const kj::HttpHeaders&, kj::AsyncInputStream&,
                                Response& response) override {
        auto socket = response.acceptWebSocket(kj::HttpHeaders(table));
        auto& to = *socket;
        return to.pumpTo(to).attach(kj::mv(socket));
      }
      const kj::HttpHeaderTable& table;
    } echo(*table);
    auto plain = kj::newHttpClient(echo);
    TracedHttpClient client(traced.tracer, *plain);
    auto opened = client.openWebSocket("/chat", kj::HttpHeaders(*table)).wait(loop.scope);
    REQUIRE(opened.webSocketOrBody.is<kj::Own<kj::WebSocket>>());
    auto socket = kj::mv(opened.webSocketOrBody.get<kj::Own<kj::WebSocket>>());
    auto sending = socket->send(kj::StringPtr("hello").asArray()).eagerlyEvaluate(nullptr);
    auto received = socket->receive().wait(loop.scope);
    CHECK(received.get<kj::String>() == "hello");
    sending.wait(loop.scope);
    auto closing = socket->close(1000, "bye").eagerlyEvaluate(nullptr);
    CHECK(socket->receive().wait(loop.scope).is<kj::WebSocket::Close>());
    closing.wait(loop.scope);
    CHECK(socket->sentByteCount() > 0);
  }
  const Lines lines = traced.transcript(true);
  CHECK(Traced::with(lines, {"url", "status", "bytes", "websocket1 fulfilled"}) ==
        Lines{"websocket1 url=/chat", "websocket1 status=101", "websocket1 fulfilled by other1",
              "stream-write1 bytes=5"});
}

TEST_CASE("wrappers of a stopped tracer hand the inner promises on as they are") {
  Traced traced;
  traced.session.stop();
  Loop loop;
  TracedTimer timer(traced.tracer, loop.timer);
  auto promise = timer.afterDelay(1 * kj::MILLISECONDS);
  auto plain = loop.timer.afterDelay(1 * kj::MILLISECONDS);
  const auto& node = kj::_::PromiseNode::from(promise);
  const auto& plain_node = kj::_::PromiseNode::from(plain);
  CHECK(typeid(node) == typeid(plain_node));
}
