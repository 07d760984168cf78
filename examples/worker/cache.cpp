// SPDX-License-Identifier: MIT
#include "cache.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>

#include "versions.hpp"

namespace worker {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

Freshness freshness_of(const std::vector<std::string>& headers) {
  Freshness result;
  bool shared = false;  // s-maxage was seen, and wins over max-age
  for (std::size_t i = 0; i + 1 < headers.size(); i += 2) {
    const std::string name = lower(headers[i]);
    if (name == "set-cookie") result.storable = false;
    if (name != "cache-control") continue;
    const std::string value = lower(headers[i + 1]);
    for (std::size_t begin = 0; begin <= value.size();) {
      const std::size_t end = std::min(value.find(',', begin), value.size());
      const std::string_view directive = trim(std::string_view(value).substr(begin, end - begin));
      begin = end + 1;
      const std::string_view key = trim(directive.substr(0, directive.find('=')));
      if (key == "no-store" || key == "no-cache" || key == "private") result.storable = false;
      if (key != "max-age" && key != "s-maxage") continue;
      if (key == "max-age" && shared) continue;
      shared = key == "s-maxage";
      std::string_view digits = directive.size() > key.size() ? trim(directive.substr(directive.find('=') + 1)) : "";
      if (digits.size() > 1 && digits.front() == '"') digits = digits.substr(1, digits.size() - 2);
      std::int64_t seconds = 0;  // not a number: stale at once, as RFC 9111 (4.2.1) encourages
      std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
      result.seconds = std::clamp<std::int64_t>(seconds, 0, 10LL * 365 * 24 * 3600);
    }
  }
  if (const auto* seconds = if_some(result.seconds); seconds != nullptr && *seconds == 0) result.storable = false;
  return result;
}

Cache::Hit Cache::get(const std::string& url, kj::TimePoint now) {
  const auto found = by_url_.find(url);
  if (found == by_url_.end()) return {};
  Entry& entry = *found->second;
  if (const auto* expires = if_some(entry.expires); expires != nullptr && now >= *expires) {
    erase(found->second);
    return {};
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  return {.response = entry.response, .age = (now - entry.stored) / kj::SECONDS};
}

namespace {
constexpr std::size_t kEntryBytes = 512;  // what an entry takes beside its texts, roundly
}  // namespace

bool Cache::put(const std::string& url, StoredResponse response, kj::TimePoint now) {
  Freshness freshness = freshness_of(response.headers);
  remove(url);
  std::size_t bytes = kEntryBytes + 2 * url.size() + response.body.size();
  for (const std::string& header : response.headers) bytes += sizeof(header) + header.size();
  if (!freshness.storable || bytes > capacity_) return false;
  Entry entry{.url = url,
              .response = std::make_shared<const StoredResponse>(std::move(response)),
              .stored = now,
              .expires = freshness.seconds.map([&](std::int64_t seconds) { return now + seconds * kj::SECONDS; }),
              .bytes = bytes};
  entries_.push_front(std::move(entry));
  by_url_[url] = entries_.begin();
  bytes_ += bytes;
  while (bytes_ > capacity_) erase(std::prev(entries_.end()));
  return true;
}

bool Cache::remove(const std::string& url) {
  const auto found = by_url_.find(url);
  if (found == by_url_.end()) return false;
  erase(found->second);
  return true;
}

void Cache::erase(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  by_url_.erase(entry->url);
  entries_.erase(entry);
}

}  // namespace worker
