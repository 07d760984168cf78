// SPDX-License-Identifier: MIT
// url.hpp: when two URLs are the same, come from the same place, or differ in an id only.
//
//   normalised_url("HTTP://API.Example.com:80/a?b#c")      // "http://api.example.com/a?b"
//   origin_of("https://api.example.com/users/1")           // "https://api.example.com"
//   url_template("https://api.example.com/users/1?full")   // "https://api.example.com/users/{}?full"
//   key_prefix("perms:user:12345")                         // "perms:user:"
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "thence/analysis/characters.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

namespace detail {
/// Where the host and port of a URL end; npos: it has none.
[[nodiscard]] constexpr std::size_t authority_end(std::string_view url) noexcept {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return scheme;
  const std::size_t end = url.find_first_of("/?#", scheme + 3);
  return end == std::string_view::npos ? url.size() : end;
}
}  // namespace detail

/// Scheme and host in lower case, without the scheme's own port and the fragment; the query as it is, in its order. Without
/// `://` only the fragment goes.
[[nodiscard]] inline std::string normalised_url(std::string_view url) {
  std::string made;
  const std::size_t end = detail::authority_end(url);
  if (end != std::string_view::npos) {
    for (const char c : url.substr(0, end)) made += detail::lower(c);
    const std::size_t port = made.rfind(':');
    if (port > made.find("://") && port != std::string::npos) {
      const std::string_view number = std::string_view(made).substr(port + 1);
      const bool plain = made.starts_with("http://") || made.starts_with("ws://");
      const bool secure = made.starts_with("https://") || made.starts_with("wss://");
      if (number.empty() || (plain && number == "80") || (secure && number == "443")) made.resize(port);
    }
    url.remove_prefix(end);
    if (url.empty() || url.front() != '/') made += '/';
  }
  made.append(url.substr(0, url.find('#')));
  return made;
}

/// Scheme, host and port; empty: the URL does not say them.
[[nodiscard]] inline std::string origin_of(std::string_view url) {
  const std::size_t end = detail::authority_end(url);
  if (end == std::string_view::npos) return {};
  std::string made = normalised_url(url.substr(0, end));
  made.pop_back();  // the slash
  return made;
}

/// Whether a redaction has taken a part of it away: then two that look the same may differ.
[[nodiscard]] inline bool is_redacted(std::string_view url) noexcept { return url.find("***") != std::string_view::npos; }

/// With {} for what tells one thing from another of its kind: words of digits, of eight or more hexadecimal digits with at
/// least one decimal one, and UUIDs. A word is what stands between characters that are neither letters nor digits.
[[nodiscard]] inline std::string url_template(std::string_view text) {
  std::string made;
  std::size_t at = 0;
  const std::size_t authority = detail::authority_end(text);
  if (authority != std::string_view::npos) {  // a host's name has no ids
    made.append(text.substr(0, authority));
    at = authority;
  }
  const auto word_end = [&](std::size_t from) {
    while (from < text.size() && (detail::is_letter(text[from]) || detail::is_digit(text[from]))) ++from;
    return from;
  };
  const auto is_uuid = [&](std::size_t from) {
    constexpr std::size_t parts[] = {8, 4, 4, 4, 12};
    for (std::size_t part = 0; part < 5; ++part) {
      if (part != 0 && (from >= text.size() || text[from++] != '-')) return false;
      for (std::size_t k = 0; k < parts[part]; ++k, ++from) {
        if (from >= text.size() || !detail::is_hex(text[from])) return false;
      }
    }
    return word_end(from) == from;
  };
  while (at < text.size()) {
    const std::size_t end = word_end(at);
    if (end == at) {
      made += text[at++];
      continue;
    }
    if (is_uuid(at)) {
      made += "{}";
      at += 36;
      continue;
    }
    const std::string_view word = text.substr(at, end - at);
    bool digits = true;
    bool hex = word.size() >= 8;
    bool any = false;
    for (const char c : word) {
      digits = digits && detail::is_digit(c);
      hex = hex && detail::is_hex(c);
      any = any || detail::is_digit(c);
    }
    if (digits || (hex && any)) {
      made += "{}";
    } else {
      made.append(word);
    }
    at = end;
  }
  return made;
}

/// What keys of one kind have in common: up to the last : or / before the end, of a URL without its query.
[[nodiscard]] inline std::string_view key_prefix(std::string_view key) noexcept {
  const std::size_t scheme = key.find("://");
  const std::size_t query = key.find_first_of("?#");
  if (query != std::string_view::npos) key = key.substr(0, query);
  std::size_t cut = key.find_last_of(":/");
  if (cut == key.size() - 1 && cut != 0 && cut != std::string_view::npos) cut = key.find_last_of(":/", cut - 1);
  if (cut == std::string_view::npos) return key;
  if (scheme != std::string_view::npos && cut < scheme + 3) return key;
  return key.substr(0, cut + 1);
}

}  // namespace THENCE_ABI
}  // namespace thence
