// SPDX-License-Identifier: MIT
#include "outbound.hpp"

#include <kj/debug.h>

#include <strings.h>

#include <utility>

#include "versions.hpp"

namespace worker {

namespace {

constexpr std::size_t kMaxHosts = 256;           // past this, what was resolved is forgotten; open requests go on
constexpr auto kResolvedFor = 60 * kj::SECONDS;  // then the name is looked up again
constexpr auto kIdleFor = 2 * kj::SECONDS;       // less than servers wait (5 s is common): none closes as we ask again

bool decided_by_kj(kj::StringPtr name) {
  for (const char* taken :
       {"connection", "keep-alive", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "host"}) {
    if (strcasecmp(name.cStr(), taken) == 0) return true;
  }
  return false;
}

kj::Exception failed(kj::StringPtr url, const kj::Exception& reason) {
  return kj::Exception(reason.getType(), __FILE__, __LINE__,
                       kj::str("fetch failed: ", url, ": ", reason.getDescription()));
}

}  // namespace

void add_headers(kj::HttpHeaders& to, const FlatHeaders& from) {
  for (std::size_t i = 0; i + 1 < from.size(); i += 2) {
    if (!decided_by_kj(from[i])) to.add(kj::str(from[i]), kj::str(from[i + 1]));
  }
}

FlatHeaders copy_headers(const kj::HttpHeaders& from) {
  FlatHeaders result;
  from.forEach([&](kj::StringPtr name, kj::StringPtr value) {
    result.push_back(kj::str(name));
    result.push_back(kj::str(value));
  });
  return result;
}

/// An address whose connections are a phase of the fetch that needs one.
class Outbound::TracedAddress final : public kj::NetworkAddress {
 public:
  TracedAddress(Outbound& outbound, kj::Own<kj::NetworkAddress> inner) : outbound_(outbound), inner_(kj::mv(inner)) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override {
    if (outbound_.starting_ == nullptr) return inner_->connect();
    const Trace trace = outbound_.trace_;
    kj::Own<Phases> phases = kj::addRef(*outbound_.starting_);
    phases->connects = true;
    phases->connect = trace.begin_part(phases->fetch, ResourceType::kSocketConnect, "connect");
    trace.annotate(phases->connect, "address", inner_->toString());
    const Resource connect = phases->connect;
    return trace.follow(inner_->connect(), connect)
        .then([phases = kj::mv(phases)](kj::Own<kj::AsyncIoStream>&& stream) mutable {
          phases->wait_for_first_byte();
          return kj::mv(stream);
        });
  }
  kj::Own<kj::ConnectionReceiver> listen() override { return inner_->listen(); }
  kj::Own<kj::NetworkAddress> clone() override { return kj::heap<TracedAddress>(outbound_, inner_->clone()); }
  kj::String toString() override { return inner_->toString(); }

 private:
  Outbound& outbound_;
  kj::Own<kj::NetworkAddress> inner_;
};

void Outbound::Phases::wait_for_first_byte() {
  if (over) return;  // the fetch was cancelled; the connection serves another
  first_byte = trace.begin_part(fetch, ResourceType::kOther, "first-byte");
  trace.awaits(connect, first_byte);
}

void Outbound::Phases::end(Outcome outcome) {
  if (std::exchange(over, true)) return;
  trace.settle_from_outside(first_byte, outcome);
  trace.awaits(first_byte, fetch);
  trace.destroy(first_byte);
}

Outbound::Outbound(kj::Timer& timer, kj::Network& network, const kj::HttpHeaderTable& headers, Trace trace)
    : timer_(timer), network_(network), header_table_(headers), trace_(trace) {}

kj::Promise<kj::Own<Outbound::Host>> Outbound::host_for(kj::StringPtr name, Resource fetch) {
  const auto found = hosts_.find(name.cStr());
  if (found != hosts_.end()) {
    if (timer_.now() - found->second->resolved < kResolvedFor) return kj::addRef(*found->second);
    hosts_.erase(found);
  }
  const Resource resolve = trace_.begin_part(fetch, ResourceType::kOther, "resolve");
  return trace_.follow(network_.parseAddress(name, 80), resolve)
      .then([this, name = kj::str(name)](kj::Own<kj::NetworkAddress> address) {
        auto host = kj::refcounted<Host>();
        host->address =
            trace_ ? kj::Own<kj::NetworkAddress>(kj::heap<TracedAddress>(*this, kj::mv(address))) : kj::mv(address);
        kj::HttpClientSettings settings;
        settings.idleTimeout = kIdleFor;
        host->client = kj::newHttpClient(timer_, header_table_, *host->address, kj::mv(settings));
        host->resolved = timer_.now();
        if (hosts_.size() >= kMaxHosts) hosts_.clear();
        hosts_[name.cStr()] = kj::addRef(*host);
        return host;
      });
}

kj::Promise<OutboundResponse> Outbound::fetch(OutboundRequest request) {
  const kj::String name = kj::str(request.host);
  kj::String url = kj::str(request.url);
  return host_for(name, request.resource)
      .then(
          [this, request = kj::mv(request)](kj::Own<Host> host) mutable { return send(kj::mv(host), kj::mv(request)); })
      .catch_([url = kj::mv(url)](kj::Exception&& exception) -> kj::Promise<OutboundResponse> {
        return failed(url, exception);
      });
}

kj::Promise<OutboundResponse> Outbound::send(kj::Own<Host> host, OutboundRequest request) {
  kj::HttpHeaders headers(header_table_);
  headers.set(kj::HttpHeaderId::HOST, kj::str(request.host));
  add_headers(headers, request.headers);

  kj::Array<kj::byte> body;
  if (auto* given = if_some(request.body)) body = kj::mv(*given);
  kj::Maybe<uint64_t> length;
  if (request.method != kj::HttpMethod::GET && request.method != kj::HttpMethod::HEAD) length = body.size();

  auto phases = kj::refcounted<Phases>();
  phases->trace = trace_;
  phases->fetch = request.resource;
  starting_ = phases.get();
  auto sent = host->client->request(request.method, request.path, headers, length);
  starting_ = nullptr;
  if (!phases->connects) phases->wait_for_first_byte();

  kj::Promise<void> writing = kj::READY_NOW;
  if (body.size() != 0) {
    writing = write_all(*sent.body, body).attach(kj::mv(sent.body), kj::mv(body));
    writing = writing.eagerlyEvaluate([](kj::Exception&&) {});  // the response says what happened
  }
  sent.body = nullptr;
  Phases& wait = *phases;
  return sent.response.attach(kj::mv(writing))
      .then(
          [this, &wait, host = kj::mv(host)](kj::HttpClient::Response&& response) mutable {
            wait.end(Outcome::kFulfilled);
            trace_.annotate(wait.fetch, "status", static_cast<unsigned>(response.statusCode));
            return OutboundResponse{.status = response.statusCode,
                                    .status_text = kj::str(response.statusText),
                                    .headers = copy_headers(*response.headers),
                                    .body = response.body.attach(kj::mv(host)),
                                    .body_phase = trace_.begin_part(wait.fetch, ResourceType::kStreamRead, "body")};
          },
          [&wait](kj::Exception&& exception) -> OutboundResponse {
            wait.end(Outcome::kRejected);
            kj::throwFatalException(kj::mv(exception));
          })
      .attach(kj::defer([phases = kj::mv(phases)]() mutable { phases->end(Outcome::kCancelled); }));
}

}  // namespace worker
