// SPDX-License-Identifier: MIT
// http.hpp: KJ's HTTP. A client's requests become `fetch` resources; a service's requests become roots, a trace each.
//
//   TracedHttpClient client{tracer, *inner_client};
//   TracedHttpService service{tracer, inner_service};             // every request is a root
//   kj::HttpServer server(timer, table, service);
//
//   fetch            created at request(), settled when the response's head is there; url, method, status
//     other          its first phase (`phase` = first-byte): connecting, sending, waiting for the head. A traced network's
//                    socket-connect is created under it
//     stream-read    its second phase (`phase` = body): until the body's end; entered for every read; bytes
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/compat/http.h>

#include <cstdint>
#include <string_view>

#include "thence/adapters/kj/loop_scope.hpp"
#include "thence/adapters/kj/network.hpp"
#include "thence/adapters/kj/stream.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/adapters/kj/version.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/sampling.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

/// A response's body as one resource that goes on from read to read.
///   Lifetime  as the stream's; dropped before its end it is cancelled
template <class TracerT>
class TracedBody final : public ::kj::AsyncInputStream {
 public:
  TracedBody(TracerT& tracer, Resource resource, ::kj::Own<::kj::AsyncInputStream> inner)
      : tracer_(tracer), resource_(resource), inner_(::kj::mv(inner)) {
    KJ_IF_MAYBE (length, inner_->tryGetLength()) {
      left_ = *length;
      if (left_ == 0) finish(Outcome::kFulfilled);
    }
  }
  ~TracedBody() noexcept(false) {
    if (!finished_) finish(Outcome::kCancelled);
    tracer_.destroy(resource_);
  }

  using ::kj::AsyncInputStream::read;
  ::kj::Promise<std::size_t> read(void* buffer, std::size_t min, std::size_t max) override {
    return follow(inner_->read(buffer, min, max), min);
  }
  ::kj::Promise<std::size_t> tryRead(void* buffer, std::size_t min, std::size_t max) override {
    return follow(inner_->tryRead(buffer, min, max), min);
  }
  ::kj::Maybe<std::uint64_t> tryGetLength() override { return inner_->tryGetLength(); }
  ::kj::Promise<std::uint64_t> pumpTo(::kj::AsyncOutputStream& output, std::uint64_t amount = ::kj::maxValue) override {
    return follow(inner_->pumpTo(detail::inner_of<TracerT>(output), amount), amount);
  }
  void registerAncillaryMessageHandler(::kj::Function<void(::kj::ArrayPtr<::kj::AncillaryMessage>)> fn) override {
    inner_->registerAncillaryMessageHandler(::kj::mv(fn));
  }
  THENCE_KJ_1X(::kj::Maybe<::kj::Own<::kj::AsyncInputStream>> tryTee(std::uint64_t limit = ::kj::maxValue)
                   override { return inner_->tryTee(limit); })

 private:
  template <class Count>
  ::kj::Promise<Count> follow(::kj::Promise<Count>&& promise, std::uint64_t wanted) {
    return watched(tracer_,
                   promise.then(
                       [this, wanted](Count count) {
                         bytes_ += count;
                         left_ -= count < left_ ? count : left_;
                         if (count < wanted || left_ == 0) finish(Outcome::kFulfilled);
                         return count;
                       },
                       [this](::kj::Exception&& exception) {
                         finish(Outcome::kRejected);
                         return ::kj::_::PropagateException()(::kj::mv(exception));
                       }),
                   resource_, {.source = Source::kOutside, .one_of_many = true});
  }
  void finish(Outcome outcome) {
    if (finished_) return;
    finished_ = true;
    tracer_.annotate(resource_, "bytes", bytes_);
    const ResourceId by = tracer_.current().id;
    const Actor nobody = outcome == Outcome::kCancelled ? Actor::kUnknown : Actor::kExternal;
    tracer_.settle(resource_, outcome, by == ResourceId::kNone ? nobody : Actor::kInvocation, by);
  }

  TracerT& tracer_;
  Resource resource_;
  ::kj::Own<::kj::AsyncInputStream> inner_;
  std::uint64_t bytes_ = 0;
  std::uint64_t left_ = ::kj::maxValue;  // maxValue: the stream does not say
  bool finished_ = false;
};

/// receive() is `stream-read`, send(), close() and pumps `stream-write`; each with `operation` = websocket.
template <class TracerT>
class TracedWebSocket final : public ::kj::WebSocket {
 public:
  TracedWebSocket(TracerT& tracer, ::kj::Own<::kj::WebSocket> inner) : tracer_(tracer), inner_(::kj::mv(inner)) {}

  ::kj::Promise<void> send(::kj::ArrayPtr<const ::kj::byte> message) override {
    return operation(ResourceType::kStreamWrite, message.size(), [&]() { return inner_->send(message); });
  }
  ::kj::Promise<void> send(::kj::ArrayPtr<const char> message) override {
    return operation(ResourceType::kStreamWrite, message.size(), [&]() { return inner_->send(message); });
  }
  ::kj::Promise<void> close(std::uint16_t code, ::kj::StringPtr reason) override {
    return operation(ResourceType::kStreamWrite, 0, [&]() { return inner_->close(code, reason); });
  }
  ::kj::Promise<void> disconnect() override { return inner_->disconnect(); }
  void abort() override { inner_->abort(); }
  ::kj::Promise<void> whenAborted() override { return inner_->whenAborted(); }
  ::kj::Promise<Message> receive(std::size_t max_size = SUGGESTED_MAX_MESSAGE_SIZE) override {
    return operation(ResourceType::kStreamRead, 0, [&]() { return inner_->receive(max_size); });
  }
  ::kj::Promise<void> pumpTo(::kj::WebSocket& other) override {
    return operation(ResourceType::kStreamPipeTo, 0, [&]() { return inner_->pumpTo(inner_of(other)); });
  }
  ::kj::Maybe<::kj::Promise<void>> tryPumpFrom(::kj::WebSocket& other) override {
    return inner_->tryPumpFrom(inner_of(other));
  }
  std::uint64_t sentByteCount() override { return inner_->sentByteCount(); }
  std::uint64_t receivedByteCount() override { return inner_->receivedByteCount(); }
  THENCE_KJ_1X(::kj::Maybe<::kj::String> getPreferredExtensions(ExtensionsContext context)
                   override { return inner_->getPreferredExtensions(context); })

 private:
  static ::kj::WebSocket& inner_of(::kj::WebSocket& socket) {
    KJ_IF_MAYBE (traced, ::kj::dynamicDowncastIfAvailable<TracedWebSocket>(socket)) return *traced->inner_;
    return socket;
  }

  template <class Start>
  auto operation(ResourceType type, std::size_t bytes, Start&& start) {
    return detail::traced_operation(tracer_, type, nullptr, [&](Resource resource) {
      tracer_.annotate(resource, "operation", "websocket");
      if (bytes != 0) tracer_.annotate(resource, "bytes", bytes);
      return start();
    });
  }

  TracerT& tracer_;
  ::kj::Own<::kj::WebSocket> inner_;
};

/// Traces what the program asks of others.
///   Threads   the loop's
///   Cost      three resources a request
///   Errors    the inner client's, as they are
///   Lifetime  tracer and inner client outlive it and what it returned
template <class TracerT>
class TracedHttpClient final : public ::kj::HttpClient {
 public:
  TracedHttpClient(TracerT& tracer, ::kj::HttpClient& inner) : tracer_(tracer), inner_(inner) {}
  TracedHttpClient(TracerT& tracer, ::kj::Own<::kj::HttpClient> inner)
      : tracer_(tracer), inner_(*inner), owned_(::kj::mv(inner)) {}

  Request request(::kj::HttpMethod method, ::kj::StringPtr url, const ::kj::HttpHeaders& headers,
                  ::kj::Maybe<std::uint64_t> body_size = nullptr) override {
    const Resource fetch = create_resource(tracer_, ResourceType::kFetch, {}, SourceSite{});
    if (!must_watch(fetch)) return inner_.request(method, url, headers, body_size);
    detail::Starting<TracerT> fetching(tracer_, fetch);
    tracer_.annotate(fetch, "url", detail::view_of(url));
    tracer_.annotate(fetch, "method", detail::view_of(::kj::toCharSequence(method)));
    detail::Starting<TracerT> head(tracer_, phase_of(fetch, ResourceType::kOther, "first-byte"));
    auto request = [&]() {
      LoopScope scope{tracer_, head.resource()};
      return inner_.request(method, url, headers, body_size);
    }();
    auto response = watched(tracer_, ::kj::mv(request.response), head.started(), {.source = Source::kOutside})
                        .then([this, fetch](Response&& got) {
                          tracer_.annotate(fetch, "status", got.statusCode);
                          got.body = traced_body(fetch, ::kj::mv(got.body));
                          return ::kj::mv(got);
                        });
    request.response = watched(tracer_, ::kj::mv(response), fetching.started(), {.source = Source::kOutside});
    return request;
  }

  ::kj::Promise<WebSocketResponse> openWebSocket(::kj::StringPtr url, const ::kj::HttpHeaders& headers) override {
    detail::Starting<TracerT> socket(tracer_, create_resource(tracer_, ResourceType::kWebsocket, {}, SourceSite{}));
    if (!must_watch(socket.resource())) return inner_.openWebSocket(url, headers);
    tracer_.annotate(socket.resource(), "url", detail::view_of(url));
    detail::Starting<TracerT> head(tracer_, phase_of(socket.resource(), ResourceType::kOther, "first-byte"));
    auto promise = [&]() {
      LoopScope scope{tracer_, head.resource()};
      return inner_.openWebSocket(url, headers);
    }();
    auto response =
        watched(tracer_, ::kj::mv(promise), head.started(), {.source = Source::kOutside})
            .then([this, resource = socket.resource()](WebSocketResponse&& got) {
              tracer_.annotate(resource, "status", got.statusCode);
              if (got.webSocketOrBody.template is<::kj::Own<::kj::WebSocket>>()) {
                ::kj::Own<::kj::WebSocket> opened = ::kj::heap<TracedWebSocket<TracerT>>(
                    tracer_, ::kj::mv(got.webSocketOrBody.template get<::kj::Own<::kj::WebSocket>>()));
                got.webSocketOrBody = ::kj::mv(opened);
              } else {
                got.webSocketOrBody = traced_body(
                    resource, ::kj::mv(got.webSocketOrBody.template get<::kj::Own<::kj::AsyncInputStream>>()));
              }
              return ::kj::mv(got);
            });
    return watched(tracer_, ::kj::mv(response), socket.started(), {.source = Source::kOutside});
  }

  THENCE_KJ_09(::kj::Promise<::kj::Own<::kj::AsyncIoStream>> connect(::kj::StringPtr host) override {
    return detail::traced_opening(
        tracer_, connecting(host), [&]() { return inner_.connect(host); },
        [this](::kj::Own<::kj::AsyncIoStream>&& stream) { return traced_stream(tracer_, ::kj::mv(stream)); });
  })
  THENCE_KJ_1X(ConnectRequest connect(::kj::StringPtr host, const ::kj::HttpHeaders& headers,
                                      ::kj::HttpConnectSettings settings) override {
    detail::Starting<TracerT> starting(tracer_, connecting(host));
    auto request = [&]() {
      LoopScope scope{tracer_, starting.resource()};
      return inner_.connect(host, headers, ::kj::mv(settings));
    }();
    if (!must_watch(starting.resource())) return request;
    auto status = request.status.then([this, resource = starting.resource()](ConnectRequest::Status&& got) {
      tracer_.annotate(resource, "status", got.statusCode);
      return ::kj::mv(got);
    });
    request.status = watched(tracer_, ::kj::mv(status), starting.started(), {.source = Source::kOutside});
    request.connection = traced_stream(tracer_, ::kj::mv(request.connection));
    return request;
  })

 private:
  Resource phase_of(Resource operation, ResourceType type, std::string_view phase) {
    const Resource resource = create_resource(tracer_, type, {.trigger = operation}, SourceSite{});
    tracer_.annotate(resource, "phase", phase);
    return resource;
  }
  ::kj::Own<::kj::AsyncInputStream> traced_body(Resource operation, ::kj::Own<::kj::AsyncInputStream> body) {
    if (body.get() == nullptr) return body;
    return ::kj::heap<TracedBody<TracerT>>(tracer_, phase_of(operation, ResourceType::kStreamRead, "body"),
                                           ::kj::mv(body));
  }
  Resource connecting(::kj::StringPtr host) {
    const Resource resource = create_resource(tracer_, ResourceType::kSocketConnect, {}, SourceSite{});
    tracer_.annotate(resource, "address", detail::view_of(host));
    return resource;
  }

  TracerT& tracer_;
  ::kj::HttpClient& inner_;
  ::kj::Own<::kj::HttpClient> owned_;
};

/// Decides what of a service's requests is a root, and when it has ended.
template <class P, class TracerT>
concept RootPolicy = requires(P& policy, TracerT& tracer, std::string_view method, ::kj::StringPtr url,
                              const ::kj::HttpHeaders& headers, Resource root) {
  { policy.begin_root(tracer, method, url, headers) } -> std::same_as<Resource>;
  policy.answered(tracer, root);
};

/// Every request is a root, which ends when the service's promise is done. A host whose requests have work left then
/// (waitUntil) brings a policy of its own: its answered() does nothing, and the host calls finish_root() later.
struct RootPerRequest {
  /// A request that bears this header is one that was asked for (Sampling::when_asked()).
  ::kj::Maybe<::kj::HttpHeaderId> asked_by = nullptr;

  template <class TracerT>
  Resource begin_root(TracerT& tracer, std::string_view method, ::kj::StringPtr url, const ::kj::HttpHeaders& headers) {
    RootRequest request;
    KJ_IF_MAYBE (header, asked_by) request.asked = headers.get(*header) != nullptr;
    const Resource root = tracer.begin_root(ResourceType::kRoot, request, SourceSite{});
    tracer.annotate(root, "method", method);
    tracer.annotate(root, "url", detail::view_of(url));
    return root;
  }
  template <class TracerT>
  void answered(TracerT& tracer, Resource root) {
    tracer.finish_root(root);
  }
};

/// A service each of whose requests is a trace. The root bears method, url and status, is entered for request(), settled
/// when its promise is, and what the server does afterwards on the same connection is no part of it.
///   Threads   the loop's
///   Cost      a root and an allocation a request
///   Errors    the inner service's, as they are; what it throws out of request() rejects the root
///   Lifetime  tracer and inner service outlive it
template <class TracerT, class Policy = RootPerRequest>
class TracedHttpService final : public ::kj::HttpService {
 public:
  TracedHttpService(TracerT& tracer, ::kj::HttpService& inner, Policy policy = {})
      : tracer_(tracer), inner_(inner), policy_(::kj::mv(policy)) {}
  TracedHttpService(TracerT& tracer, ::kj::Own<::kj::HttpService> inner, Policy policy = {})
      : tracer_(tracer), inner_(*inner), owned_(::kj::mv(inner)), policy_(::kj::mv(policy)) {}

  ::kj::Promise<void> request(::kj::HttpMethod method, ::kj::StringPtr url, const ::kj::HttpHeaders& headers,
                              ::kj::AsyncInputStream& body, Response& response) override {
    if (!tracer_.active()) return inner_.request(method, url, headers, body, response);
    return root(detail::view_of(::kj::toCharSequence(method)), url, headers, [&](Resource root) {
      auto noting = ::kj::heap<NotingResponse>(tracer_, root, response);
      auto promise = inner_.request(method, url, headers, body, *noting);
      return promise.attach(::kj::mv(noting));
    });
  }

  THENCE_KJ_09(::kj::Promise<::kj::Own<::kj::AsyncIoStream>> connect(::kj::StringPtr host)
                   override { return inner_.connect(host); })
  THENCE_KJ_1X(::kj::Promise<void> connect(::kj::StringPtr host, const ::kj::HttpHeaders& headers,
                                           ::kj::AsyncIoStream& connection, ConnectResponse& response,
                                           ::kj::HttpConnectSettings settings) override {
    if (!tracer_.active()) return inner_.connect(host, headers, connection, response, ::kj::mv(settings));
    return root("CONNECT", host, headers, [&](Resource root) {
      auto noting = ::kj::heap<NotingConnectResponse>(tracer_, root, response);
      auto promise = inner_.connect(host, headers, connection, *noting, ::kj::mv(settings));
      return promise.attach(::kj::mv(noting));
    });
  })

 private:
  static_assert(RootPolicy<Policy, TracerT>);

  class NotingResponse final : public Response {
   public:
    NotingResponse(TracerT& tracer, Resource root, Response& inner) : tracer_(tracer), root_(root), inner_(inner) {}

    ::kj::Own<::kj::AsyncOutputStream> send(::kj::uint status, ::kj::StringPtr text, const ::kj::HttpHeaders& headers,
                                            ::kj::Maybe<std::uint64_t> body_size = nullptr) override {
      tracer_.annotate(root_, "status", status);
      return inner_.send(status, text, headers, body_size);
    }
    ::kj::Own<::kj::WebSocket> acceptWebSocket(const ::kj::HttpHeaders& headers) override {
      tracer_.annotate(root_, "status", 101u);
      return inner_.acceptWebSocket(headers);
    }

   private:
    TracerT& tracer_;
    Resource root_;
    Response& inner_;
  };
  // clang-format off
  THENCE_KJ_1X(
  class NotingConnectResponse final : public ConnectResponse {
   public:
    NotingConnectResponse(TracerT& tracer, Resource root, ConnectResponse& inner)
        : tracer_(tracer), root_(root), inner_(inner) {}

    void accept(::kj::uint status, ::kj::StringPtr text, const ::kj::HttpHeaders& headers) override {
      tracer_.annotate(root_, "status", status);
      inner_.accept(status, text, headers);
    }
    ::kj::Own<::kj::AsyncOutputStream> reject(::kj::uint status, ::kj::StringPtr text, const ::kj::HttpHeaders& headers,
                                              ::kj::Maybe<std::uint64_t> body_size = nullptr) override {
      tracer_.annotate(root_, "status", status);
      return inner_.reject(status, text, headers, body_size);
    }

   private:
    TracerT& tracer_;
    Resource root_;
    ConnectResponse& inner_;
  };
  )
  // clang-format on

  /// Says that the root is answered, when the promise and all that is attached to it are gone.
  class Answered {
   public:
    Answered(TracerT& tracer, Policy& policy, Resource root) : tracer_(tracer), policy_(policy), root_(root) {}
    ~Answered() noexcept(false) { policy_.answered(tracer_, root_); }
    Answered(const Answered&) = delete;
    Answered& operator=(const Answered&) = delete;

   private:
    TracerT& tracer_;
    Policy& policy_;
    Resource root_;
  };

  template <class Start>
  ::kj::Promise<void> root(std::string_view method, ::kj::StringPtr url, const ::kj::HttpHeaders& headers,
                           Start&& start) {
    const Resource root = policy_.begin_root(tracer_, method, url, headers);
    auto answered = ::kj::heap<Answered>(tracer_, policy_, root);
    detail::Starting<TracerT> starting(tracer_, root);
    auto promise = [&]() {
      LoopScope scope{tracer_, root};
      return start(root);
    }();
    return watched(tracer_, ::kj::mv(promise), starting.started(), {.ends_trace = true}).attach(::kj::mv(answered));
  }

  TracerT& tracer_;
  ::kj::HttpService& inner_;
  ::kj::Own<::kj::HttpService> owned_;
  Policy policy_;
};

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
