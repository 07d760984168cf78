// SPDX-License-Identifier: MIT
// redaction.hpp: what of an annotation's value may leave the process.
//
// Values pass through one function before any sink sees them. `redact_urls` is the ready-made one: of a URL the credentials
// and the query's values are replaced, the rest stays readable.
//
//   SessionOptions options;
//   options.redact = redact_urls;
//
// Layer: session (includes core/ only).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Called on the draining thread for every string value. Returns what to keep: `value`, a part of it, or `scratch`, which it
/// may fill (it is kept between calls).
using Redactor = std::function<std::string_view(std::string_view key, std::string_view value, std::string& scratch)>;

/// `https://user:secret@host/path?a=1&b=2#part` becomes `https://***@host/path?a=***&b=***`; the fragment goes, too.
/// What bears no `://` is kept, but for a query after a path that begins with `/`.
[[nodiscard]] inline std::string_view redact_urls(std::string_view, std::string_view value, std::string& scratch) {
  const std::size_t scheme = value.find("://");
  if (scheme == std::string_view::npos && !value.starts_with('/')) return value;
  const std::size_t authority = scheme == std::string_view::npos ? 0 : scheme + 3;
  const std::size_t authority_end = scheme == std::string_view::npos ? 0 : value.find_first_of("/?#", authority);
  const std::string_view host = value.substr(authority, authority_end == std::string_view::npos ? std::string_view::npos
                                                                                               : authority_end - authority);
  const std::size_t at = host.rfind('@');
  const std::size_t query = value.find_first_of("?#", authority);
  if (at == std::string_view::npos && query == std::string_view::npos) return value;

  scratch.assign(value.substr(0, authority));
  if (at != std::string_view::npos) scratch.append("***");
  const std::size_t from = at == std::string_view::npos ? authority : authority + at;
  scratch.append(value.substr(from, query == std::string_view::npos ? std::string_view::npos : query - from));
  if (query == std::string_view::npos || value[query] == '#') return scratch;

  std::string_view rest = value.substr(query + 1);
  rest = rest.substr(0, rest.find('#'));
  char separator = '?';
  while (true) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const std::size_t equals = pair.find('=');
    scratch.push_back(separator);
    scratch.append(pair.substr(0, equals));
    if (equals != std::string_view::npos) scratch.append("=***");
    if (end == std::string_view::npos) return scratch;
    rest = rest.substr(end + 1);
    separator = '&';
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
