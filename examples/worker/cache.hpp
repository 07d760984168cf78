// SPDX-License-Identifier: MIT
// cache.hpp: what is behind caches.default: responses in memory, for as long as their Cache-Control allows.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/string.h>
#include <kj/time.h>

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace worker {

/// A response as it is stored; shared, so that a reader keeps it while it is replaced.
struct StoredResponse {
  unsigned status = 200;
  std::string status_text;
  std::vector<std::string> headers;  // name, value, name, value
  std::vector<kj::byte> body;
};

/// How long a response may be kept, from its headers.
struct Freshness {
  bool storable = true;             // false: no-store, private, no-cache, a cookie, or max-age=0
  kj::Maybe<std::int64_t> seconds;  // s-maxage or max-age; absent: until there is no room
};
Freshness freshness_of(const std::vector<std::string>& headers);

/// Stores responses by URL, the least recently used making room.
///   Shape     at most `capacity` bytes of bodies and headers
///   Threads   one
///   Cost      a hash look-up; a response is never copied
///   When full the least recently used entries go; a response larger than the whole cache is not stored
class Cache {
 public:
  explicit Cache(std::size_t capacity = 64 << 20) : capacity_(capacity) {}

  struct Hit {
    std::shared_ptr<const StoredResponse> response;  // null: there is none, or it has expired
    std::int64_t age = 0;                            // seconds since it was stored
  };
  Hit get(const std::string& url, kj::TimePoint now);
  /// Stores it if its headers allow; says whether.
  bool put(const std::string& url, StoredResponse response, kj::TimePoint now);
  bool remove(const std::string& url);

 private:
  struct Entry {
    std::string url;
    std::shared_ptr<const StoredResponse> response;
    kj::TimePoint stored;
    kj::Maybe<kj::TimePoint> expires;
    std::size_t bytes;
  };
  using Entries = std::list<Entry>;  // the most recently used first
  void erase(Entries::iterator entry);

  std::size_t capacity_;
  std::size_t bytes_ = 0;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_url_;
};

}  // namespace worker
