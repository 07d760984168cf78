// SPDX-License-Identifier: MIT
// network.hpp: KJ's network and I/O provider. Wrap the ones the program uses and every socket is traced.
//
//   TracedAsyncIoProvider io{tracer, *context.provider};      // or TracedNetwork{tracer, context.provider->getNetwork()}
//   auto client = kj::newHttpClient(io.getTimer(), table, io.getNetwork(), nullptr);
//
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async-io.h>

#include <string_view>

#include "thence/adapters/kj/stream.hpp"
#include "thence/adapters/kj/timer.hpp"
#include "thence/adapters/kj/traced.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

namespace detail {
inline std::string_view view_of(::kj::StringPtr text) noexcept { return {text.begin(), text.size()}; }

/// A promise of a connection or an address, with what comes of it wrapped.
template <class TracerT, class Start, class Wrap>
auto traced_opening(TracerT& tracer, Resource resource, Start&& start, Wrap&& wrap) {
  Starting<TracerT> starting(tracer, resource);
  auto promise = start().then(::kj::fwd<Wrap>(wrap));
  return watched(tracer, ::kj::mv(promise), starting.started(), {.source = Source::kOutside});
}
}  // namespace detail

/// accept() is `other`, with `operation` = accept and, while it lasts, the wait for a client.
template <class TracerT>
class TracedConnectionReceiver final : public ::kj::ConnectionReceiver {
 public:
  TracedConnectionReceiver(TracerT& tracer, ::kj::Own<::kj::ConnectionReceiver> inner)
      : tracer_(tracer), inner_(::kj::mv(inner)) {}

  ::kj::Promise<::kj::Own<::kj::AsyncIoStream>> accept() override {
    return detail::traced_opening(
        tracer_, begin(), [this]() { return inner_->accept(); },
        [&tracer = tracer_](::kj::Own<::kj::AsyncIoStream>&& stream) {
          return traced_stream(tracer, ::kj::mv(stream));
        });
  }
  ::kj::Promise<::kj::AuthenticatedStream> acceptAuthenticated() override {
    return detail::traced_opening(
        tracer_, begin(), [this]() { return inner_->acceptAuthenticated(); },
        [&tracer = tracer_](::kj::AuthenticatedStream&& stream) {
          stream.stream = traced_stream(tracer, ::kj::mv(stream.stream));
          return ::kj::mv(stream);
        });
  }
  ::kj::uint getPort() override { return inner_->getPort(); }
  void getsockopt(int level, int option, void* value, ::kj::uint* length) override {
    inner_->getsockopt(level, option, value, length);
  }
  void setsockopt(int level, int option, const void* value, ::kj::uint length) override {
    inner_->setsockopt(level, option, value, length);
  }
  void getsockname(struct sockaddr* address, ::kj::uint* length) override { inner_->getsockname(address, length); }

 private:
  Resource begin() {
    const Resource resource = create_resource(tracer_, ResourceType::kOther, {}, SourceSite{});
    tracer_.annotate(resource, "operation", "accept");
    return resource;
  }

  TracerT& tracer_;
  ::kj::Own<::kj::ConnectionReceiver> inner_;
};

/// connect() is `socket-connect`, with `address`. Datagram ports are not traced.
template <class TracerT>
class TracedNetworkAddress final : public ::kj::NetworkAddress {
 public:
  TracedNetworkAddress(TracerT& tracer, ::kj::Own<::kj::NetworkAddress> inner)
      : tracer_(tracer), inner_(::kj::mv(inner)) {}

  ::kj::Promise<::kj::Own<::kj::AsyncIoStream>> connect() override {
    return detail::traced_opening(
        tracer_, begin(), [this]() { return inner_->connect(); },
        [&tracer = tracer_](::kj::Own<::kj::AsyncIoStream>&& stream) {
          return traced_stream(tracer, ::kj::mv(stream));
        });
  }
  ::kj::Promise<::kj::AuthenticatedStream> connectAuthenticated() override {
    return detail::traced_opening(
        tracer_, begin(), [this]() { return inner_->connectAuthenticated(); },
        [&tracer = tracer_](::kj::AuthenticatedStream&& stream) {
          stream.stream = traced_stream(tracer, ::kj::mv(stream.stream));
          return ::kj::mv(stream);
        });
  }
  ::kj::Own<::kj::ConnectionReceiver> listen() override {
    return ::kj::heap<TracedConnectionReceiver<TracerT>>(tracer_, inner_->listen());
  }
  ::kj::Own<::kj::DatagramPort> bindDatagramPort() override { return inner_->bindDatagramPort(); }
  ::kj::Own<::kj::NetworkAddress> clone() override {
    return ::kj::heap<TracedNetworkAddress>(tracer_, inner_->clone());
  }
  ::kj::String toString() override { return inner_->toString(); }

 private:
  Resource begin() {
    const Resource resource = create_resource(tracer_, ResourceType::kSocketConnect, {}, SourceSite{});
    if (resource) tracer_.annotate(resource, "address", detail::view_of(inner_->toString()));
    return resource;
  }

  TracerT& tracer_;
  ::kj::Own<::kj::NetworkAddress> inner_;
};

/// parseAddress() is `other`, with `operation` = resolve and `address`.
///   Lifetime  tracer and inner network outlive it and its addresses
template <class TracerT>
class TracedNetwork final : public ::kj::Network {
 public:
  TracedNetwork(TracerT& tracer, ::kj::Network& inner) : tracer_(tracer), inner_(inner) {}
  TracedNetwork(TracerT& tracer, ::kj::Own<::kj::Network> inner)
      : tracer_(tracer), inner_(*inner), owned_(::kj::mv(inner)) {}

  ::kj::Promise<::kj::Own<::kj::NetworkAddress>> parseAddress(::kj::StringPtr address,
                                                              ::kj::uint port_hint = 0) override {
    const Resource resource = create_resource(tracer_, ResourceType::kOther, {}, SourceSite{});
    tracer_.annotate(resource, "operation", "resolve");
    tracer_.annotate(resource, "address", detail::view_of(address));
    return detail::traced_opening(
        tracer_, resource, [&]() { return inner_.parseAddress(address, port_hint); },
        [&tracer = tracer_](::kj::Own<::kj::NetworkAddress>&& parsed) -> ::kj::Own<::kj::NetworkAddress> {
          return ::kj::heap<TracedNetworkAddress<TracerT>>(tracer, ::kj::mv(parsed));
        });
  }
  ::kj::Own<::kj::NetworkAddress> getSockaddr(const void* address, ::kj::uint length) override {
    return ::kj::heap<TracedNetworkAddress<TracerT>>(tracer_, inner_.getSockaddr(address, length));
  }
  ::kj::Own<::kj::Network> restrictPeers(::kj::ArrayPtr<const ::kj::StringPtr> allow,
                                         ::kj::ArrayPtr<const ::kj::StringPtr> deny = nullptr) override {
    return ::kj::heap<TracedNetwork>(tracer_, inner_.restrictPeers(allow, deny));
  }

 private:
  TracerT& tracer_;
  ::kj::Network& inner_;
  ::kj::Own<::kj::Network> owned_;
};

/// The whole of a program's I/O: network, timer, pipes. Capability pipes and pipe threads are handed on untraced.
///   Lifetime  tracer and inner provider outlive it
template <class TracerT>
class TracedAsyncIoProvider final : public ::kj::AsyncIoProvider {
 public:
  TracedAsyncIoProvider(TracerT& tracer, ::kj::AsyncIoProvider& inner)
      : tracer_(tracer), inner_(inner), network_(tracer, inner.getNetwork()), timer_(tracer, inner.getTimer()) {}

  ::kj::OneWayPipe newOneWayPipe() override {
    auto pipe = inner_.newOneWayPipe();
    return {traced_stream(tracer_, ::kj::mv(pipe.in)), traced_stream(tracer_, ::kj::mv(pipe.out))};
  }
  ::kj::TwoWayPipe newTwoWayPipe() override {
    auto pipe = inner_.newTwoWayPipe();
    return {{traced_stream(tracer_, ::kj::mv(pipe.ends[0])), traced_stream(tracer_, ::kj::mv(pipe.ends[1]))}};
  }
  ::kj::CapabilityPipe newCapabilityPipe() override { return inner_.newCapabilityPipe(); }
  ::kj::Network& getNetwork() override { return network_; }
  PipeThread newPipeThread(
      ::kj::Function<void(::kj::AsyncIoProvider&, ::kj::AsyncIoStream&, ::kj::WaitScope&)> start) override {
    return inner_.newPipeThread(::kj::mv(start));
  }
  ::kj::Timer& getTimer() override { return timer_; }

 private:
  TracerT& tracer_;
  ::kj::AsyncIoProvider& inner_;
  TracedNetwork<TracerT> network_;
  TracedTimer<TracerT> timer_;
};

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
