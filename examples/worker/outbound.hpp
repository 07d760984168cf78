// SPDX-License-Identifier: MIT
// outbound.hpp: what is behind fetch(): HTTP requests over real sockets, connections reused.
#pragma once

#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <map>
#include <string>
#include <vector>

#include "tracing.hpp"

namespace worker {

/// Header names and values, alternating, as they were on the wire.
using FlatHeaders = std::vector<kj::String>;

struct OutboundRequest {
  kj::HttpMethod method = kj::HttpMethod::GET;
  kj::String url;   // whole, for messages and traces
  kj::String host;  // "example.org:8080"
  kj::String path;  // "/index?page=2"
  FlatHeaders headers;
  kj::Maybe<kj::Array<kj::byte>> body;
  Resource resource = {};  // the fetch in the trace: its phases are parts of it
};

struct OutboundResponse {
  unsigned status;
  kj::String status_text;
  FlatHeaders headers;
  kj::Own<kj::AsyncInputStream> body;
  Resource body_phase = {};  // in the trace
};

/// Makes requests; the providers that it is given may be wrapped by a tracer.
///   Errors    the promise is rejected with a description that names the URL
///   Traced    each phase is a part of the fetch's resource
///   Lifetime  outlives its requests and their bodies; dropping a promise or a body cancels
class Outbound {
 public:
  Outbound(kj::Timer& timer, kj::Network& network, const kj::HttpHeaderTable& headers, Trace trace);

  kj::Promise<OutboundResponse> fetch(OutboundRequest request);

 private:
  /// The phases of one fetch, for the trace: resolve, connect, first byte, body.
  struct Phases : kj::Refcounted {
    Trace trace;
    Resource fetch;
    Resource connect;
    Resource first_byte;
    bool connects = false;
    bool over = false;

    void wait_for_first_byte();
    void end(Outcome outcome);  // of the wait for the first byte; the first call counts
  };
  class TracedAddress;
  /// One "host:port": its addresses and a client that keeps its connections.
  struct Host : kj::Refcounted {
    kj::Own<kj::NetworkAddress> address;
    kj::Own<kj::HttpClient> client;
    kj::TimePoint resolved = kj::origin<kj::TimePoint>();
  };
  kj::Promise<kj::Own<Host>> host_for(kj::StringPtr name, Resource fetch);
  kj::Promise<OutboundResponse> send(kj::Own<Host> host, OutboundRequest request);

  kj::Timer& timer_;
  kj::Network& network_;
  const kj::HttpHeaderTable& header_table_;
  Trace trace_;
  Phases* starting_ = nullptr;  // of the request that is being started: KJ connects for it now, or reuses a connection
  std::map<std::string, kj::Own<Host>, std::less<>> hosts_;
};

/// Adds what a script may say: the headers that KJ itself decides (length, connection, host) are left out.
void add_headers(kj::HttpHeaders& to, const FlatHeaders& from);
FlatHeaders copy_headers(const kj::HttpHeaders& from);

}  // namespace worker
