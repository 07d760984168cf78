// SPDX-License-Identifier: MIT
// kj.cpp: a small HTTP server on KJ, traced by wrapping its providers once: the network, the timer and the service.
//
// It asks itself for two pages at once; each request waits a little and answers. Two traces come of it, one a request.
//
//   kj out.pftrace        then open the file in https://ui.perfetto.dev
#include <kj/async-io.h>
#include <kj/compat/http.h>

#include <cstdio>

#include "thence/adapters/kj.hpp"
#include "thence/thence.hpp"

namespace kja = thence::kj_adapter;

namespace {

/// Waits for the timer, then says hello.
struct Hello final : kj::HttpService {
  Hello(kj::Timer& timer_in, const kj::HttpHeaderTable& table_in) : timer(timer_in), table(table_in) {}

  kj::Promise<void> request(kj::HttpMethod, kj::StringPtr url, const kj::HttpHeaders&, kj::AsyncInputStream&,
                            Response& response) override {
    auto text = kj::str("hello, ", url, "\n");
    return timer.afterDelay(2 * kj::MILLISECONDS).then([this, &response, text = kj::mv(text)]() mutable {
      auto body = response.send(200, "OK", kj::HttpHeaders(table), text.size());
      auto written = body->write(text.begin(), text.size());
      return written.attach(kj::mv(body), kj::mv(text));
    });
  }

  kj::Timer& timer;
  const kj::HttpHeaderTable& table;
};

kj::Promise<void> show(kj::HttpClient& client, kj::StringPtr url, const kj::HttpHeaders& headers) {
  return client.request(kj::HttpMethod::GET, url, headers)
      .response
      .then([](kj::HttpClient::Response&& response) {
        auto text = response.body->readAllText();
        return text.attach(kj::mv(response.body));
      })
      .then([](kj::String text) { std::fputs(text.cStr(), stdout); });
}

}  // namespace

int main(int argc, char** argv) {
  thence::Session session;
  session.add_sink(thence::PerfettoFile{argc > 1 ? argv[1] : "kj.pftrace"});
  session.start();
  auto lane = session.attach("event loop");
  auto& tracer = lane.tracer();

  auto io = kj::setupAsyncIo();
  kja::ParkWatch park_watch{tracer};                          // when the loop has nothing to do
  kja::TracedAsyncIoProvider provider{tracer, *io.provider};  // sockets and timers

  kj::HttpHeaderTable::Builder builder;
  auto table = builder.build();
  Hello hello{provider.getTimer(), *table};
  kja::TracedHttpService service{tracer, hello};  // a trace a request
  kj::HttpServer server{provider.getTimer(), *table, service};
  auto address = provider.getNetwork().parseAddress("127.0.0.1").wait(io.waitScope);
  auto listener = address->listen();
  auto listening = server.listenHttp(*listener).eagerlyEvaluate(nullptr);

  auto to = provider.getNetwork().parseAddress("127.0.0.1", listener->getPort()).wait(io.waitScope);
  auto connections = kj::newHttpClient(provider.getTimer(), *table, *to);
  kja::TracedHttpClient client{tracer, *connections};
  const kj::HttpHeaders headers{*table};
  auto pages = kj::heapArrayBuilder<kj::Promise<void>>(2);
  pages.add(show(client, "/one", headers));
  pages.add(show(client, "/two", headers));
  kj::joinPromises(pages.finish()).wait(io.waitScope);
}
