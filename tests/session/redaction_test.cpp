// SPDX-License-Identifier: MIT
#include "thence/session/redaction.hpp"

#include <string>
#include <string_view>

#include "support/catch.hpp"

TEST_CASE("of a URL the credentials and the query's values are gone, and the rest stays readable") {
  struct Case {
    std::string_view value, kept;
  };
  const Case cases[] = {
      {"https://example.test/path", "https://example.test/path"},
      {"https://user:secret@example.test/path", "https://***@example.test/path"},
      {"https://user@example.test", "https://***@example.test"},
      {"https://a.test/?q=1&token=abc", "https://a.test/?q=***&token=***"},
      {"https://a.test/?flag&x=", "https://a.test/?flag&x=***"},
      {"https://a.test/p?x=1#fragment=secret", "https://a.test/p?x=***"},
      {"https://a.test/p#access_token=secret", "https://a.test/p"},
      {"https://a.test/mail@host?to=b@c", "https://a.test/mail@host?to=***"},
      {"/search?q=private", "/search?q=***"},
      {"plain text with ? and @", "plain text with ? and @"},
      {"", ""},
  };
  std::string scratch;
  for (const Case& each : cases) CHECK(std::string(thence::redact_urls("url", each.value, scratch)) == each.kept);
}
