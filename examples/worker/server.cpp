// SPDX-License-Identifier: MIT
#include "server.hpp"

#include <kj/debug.h>
#include <poll.h>
#include <strings.h>
#include <unistd.h>

#include "log.hpp"
#include "versions.hpp"

namespace worker {

namespace {

kj::StringPtr reason_phrase(unsigned status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Payload Too Large";
    case 415: return "Unsupported Media Type";
    case 418: return "I'm a teapot";
    case 422: return "Unprocessable Entity";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Status";
  }
}

/// Tells when the peer has closed its side, also while nobody reads or writes. KJ's HTTP server does not look.
///   Cost      a second descriptor of the socket in the event loop's epoll set
class PeerWatch {
 public:
  PeerWatch(kj::UnixEventPort& port, int socket)
      : fd_(::dup(socket)), observer_(port, fd_, kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

  kj::Promise<void> gone() {
    pollfd state{.fd = fd_, .events = POLLRDHUP, .revents = 0};
    if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) return kj::READY_NOW;
    return observer_.whenBecomesReadable().then([this] { return gone(); });
  }

 private:
  kj::AutoCloseFd fd_;
  kj::UnixEventPort::FdObserver observer_;
};

bool carries(const kj::HttpHeaders& headers, kj::StringPtr name) {
  bool found = false;
  headers.forEach(
      [&](kj::StringPtr given, kj::StringPtr) { found = found || strcasecmp(given.cStr(), name.cStr()) == 0; });
  return found;
}

bool is_disconnect(const kj::Exception& exception) { return exception.getType() == kj::Exception::Type::DISCONNECTED; }

}  // namespace

/// The requests of one connection, one after another.
class Server::Connection final : public kj::HttpService {
 public:
  Connection(Server& server, kj::AsyncIoStream& stream) : server_(server) {
    stream.getFd().map([&](int socket) {
      peer_ = kj::heap<PeerWatch>(server.providers_.port, socket);
      return true;
    });
  }

  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders& headers,
                            kj::AsyncInputStream& body, Response& response) override {
    Runtime& runtime = server_.runtime_;
    worker::Request& request = runtime.begin_request(runtime.trace() && carries(headers, "x-thence-trace"));
    auto sending = kj::heap<Sending>(
        Sending{.connection = *this, .response = response, .number = request.number(), .root = request.root()});
    Sending& state = *sending;

    const kj::StringPtr host = headers.get(kj::HttpHeaderId::HOST).orDefault("localhost");
    const kj::String whole = url.startsWith("/") ? kj::str("http://", host, url) : kj::str(url);
    const kj::String verb = kj::str(method);
    const bool has_body = body.tryGetLength().orDefault(1) != 0;
    if (has_body) request.set_incoming_body(body);
    if (const Trace trace = runtime.trace()) {
      trace.annotate(request.root(), "request", request.number());
      trace.annotate(request.root(), "method", verb);
      trace.annotate(request.root(), "url", whole);
    }
    const FlatHeaders flat = copy_headers(headers);  // they are gone as soon as the body is read

    kj::Promise<void> done =
        runtime.dispatch(request, verb, whole, flat, has_body)
            .then([&state](Answer&& answer) { return state.send(kj::mv(answer)); })
            .then([&state] { state.outcome = Outcome::kFulfilled; })
            .catch_([&state](kj::Exception&& exception) { return state.send_failure(kj::mv(exception)); });
    if (peer_.get() != nullptr) {
      done = done.exclusiveJoin(peer_->gone().then([number = request.number()]() -> kj::Promise<void> {
        log(number, "info", "the client has gone; the request is cancelled");
        return KJ_EXCEPTION(DISCONNECTED, "the client has gone");
      }));
    }
    done = done.attach(kj::defer(
        [&runtime, &request, sending = kj::mv(sending)] { runtime.response_done(request, sending->outcome); }));
    return runtime.trace().end_of_request(kj::mv(done), state.root);
  }

 private:
  /// The way of one answer to the client.
  struct Sending {
    Connection& connection;
    Response& response;
    std::uint32_t number;
    Resource root;
    bool begun = false;
    Outcome outcome = Outcome::kCancelled;  // unless it comes to its end

    const Trace& trace() const { return connection.server_.runtime_.trace(); }

    kj::Promise<void> send(Answer answer) {
      kj::HttpHeaders headers(connection.server_.header_table_);
      add_headers(headers, answer.headers);
      const kj::StringPtr reason =
          answer.status_text.size() != 0 ? answer.status_text.asPtr() : reason_phrase(answer.status);
      begun = true;
      trace().annotate(root, "status", answer.status);
      if (answer.passed_on.stream.get() != nullptr) {
        auto stream = kj::mv(answer.passed_on.stream);
        auto out = response.send(answer.status, reason, headers, stream->tryGetLength());
        auto pumped = stream->pumpTo(*out).ignoreResult().attach(kj::mv(out), kj::mv(stream));
        return trace().follow(kj::mv(pumped), answer.passed_on.resource);
      }
      auto bytes = kj::mv(answer.bytes);
      auto out = response.send(answer.status, reason, headers, bytes.size());
      if (bytes.size() == 0) return kj::READY_NOW;
      auto written = write_all(*out, bytes);
      return written.attach(kj::mv(out), kj::mv(bytes));
    }

    kj::Promise<void> send_failure(kj::Exception exception) {
      if (begun) {  // too late for another answer: the connection ends
        if (!is_disconnect(exception)) log(number, "error", exception.getDescription());
        return kj::mv(exception);
      }
      log(number, "error", exception.getDescription());
      outcome = Outcome::kRejected;
      trace().annotate(root, "error",
                       std::string_view(exception.getDescription().begin(), exception.getDescription().size()));
      Answer answer;
      answer.status = 500;
      answer.headers.push_back(kj::str("content-type"));
      answer.headers.push_back(kj::str("text/plain;charset=UTF-8"));
      const kj::String text =
          kj::str("Internal Server Error: the worker's log has the stack of request ", number, "\n");
      answer.bytes = kj::heapArray(text.asBytes());
      return send(kj::mv(answer));
    }
  };

  Server& server_;
  kj::Own<PeerWatch> peer_;
};

Server::Server(Runtime& runtime, Providers providers, const kj::HttpHeaderTable& header_table)
    : runtime_(runtime),
      providers_(providers),
      header_table_(header_table),
      http_(
          providers.timer, header_table,
          [this](kj::AsyncIoStream& stream) -> kj::Own<kj::HttpService> { return kj::heap<Connection>(*this, stream); },
          settings()),
      connections_(*this) {}

Server::~Server() noexcept(false) = default;

kj::Promise<void> Server::serve(kj::ConnectionReceiver& port) {
  return port.accept().then([this, &port](kj::Own<kj::AsyncIoStream>&& stream) {
    connections_.add(http_.listenHttp(kj::mv(stream)));
    return serve(port);
  });
}

void Server::taskFailed(kj::Exception&& exception) {
  if (!is_disconnect(exception)) log(0, "info", kj::str("a connection was cut: ", exception.getDescription()));
}

kj::HttpServerSettings Server::settings() {
  kj::HttpServerSettings settings;
  settings.pipelineTimeout = 15 * kj::SECONDS;
  settings.errorHandler = static_cast<kj::HttpServerErrorHandler&>(*this);
  return settings;
}

kj::Promise<void> Server::handleApplicationError(kj::Exception exception,
                                                 kj::Maybe<kj::HttpService::Response&> response) {
  if (is_disconnect(exception)) return kj::READY_NOW;  // nobody is there to be told
  return kj::HttpServerErrorHandler::handleApplicationError(kj::mv(exception), response);
}

}  // namespace worker
