// SPDX-License-Identifier: MIT
#include "thence/wire/json_writer.hpp"

#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace {

using namespace thence;
using namespace std::string_view_literals;

template <class Fill>
std::string written(Fill&& fill, std::size_t chunk = 1024) {
  BufferSink sink;
  JsonWriter json(sink, chunk);
  fill(json);
  CHECK(json.flush());
  CHECK(json.complete());
  return std::string(sink.text());
}

std::string string_of(std::string_view text) {
  return written([&](auto& json) { json.value(text); });
}

}  // namespace

TEST_CASE("objects and arrays nest, with commas where they belong") {
  CHECK(written([](auto& json) {
          json.begin_object();
          json.member("a", 1);
          json.key("b");
          json.begin_array();
          json.end_array();
          json.key("c");
          json.begin_array();
          json.value(true);
          json.null();
          json.begin_object();
          json.end_object();
          json.begin_object();
          json.member("d", "e");
          json.end_object();
          json.end_array();
          json.member("f", false);
          json.end_object();
        }) == R"({"a":1,"b":[],"c":[true,null,{},{"d":"e"}],"f":false})");
}

TEST_CASE("control characters, quotes and backslashes are escaped") {
  CHECK(string_of("plain") == R"("plain")");
  CHECK(string_of("") == R"("")");
  CHECK(string_of("a\"b\\c/") == R"("a\"b\\c/")");
  CHECK(string_of("\b\f\n\r\t") == R"("\b\f\n\r\t")");
  CHECK(string_of("\x01\x1f\x7f"sv) == "\"\\u0001\\u001f\x7f\"");
  CHECK(string_of("a\0b"sv) == R"("a\u0000b")");
  CHECK(written([](auto& json) {
          json.begin_object();
          json.member("k\n\"", 1);
          json.end_object();
        }) == R"({"k\n\"":1})");
}

TEST_CASE("well-formed UTF-8 stays as it is") {
  for (const std::string_view text : {"\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv, "\xed\x9f\xbf"sv, "\xee\x80\x80"sv, "\xef\xbf\xbf"sv,
                                      "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv, "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80"sv}) {
    CHECK(string_of(text) == "\"" + std::string(text) + "\"");
  }
}

TEST_CASE("each maximal ill-formed part becomes one U+FFFD") {
  const std::string bad = "\xef\xbf\xbd";
  const auto same = [&](std::string_view text, const std::string& expected) { CHECK(string_of(text) == "\"" + expected + "\""); };
  same("\x80"sv, bad);
  same("a\xff\xfe z"sv, "a" + bad + bad + " z");
  same("\xc0\x80"sv, bad + bad);                   // overlong: neither byte can start or go on
  same("\xe0\x80\x80"sv, bad + bad + bad);
  same("\xed\xa0\x80"sv, bad + bad + bad);         // a surrogate
  same("\xf4\x90\x80\x80"sv, bad + bad + bad + bad);
  same("\xe2\x82"sv, bad);                         // cut short at the end
  same("\xe2\x82z"sv, bad + "z");
  same("\xf0\x9f\x98"sv, bad);
  same("\xf0\x9f\x98\xe2\x82\xac"sv, bad + "\xe2\x82\xac");
  same("\xc3\"\xc3"sv, bad + "\\\"" + bad);
}

TEST_CASE("64-bit integers are written digit for digit") {
  CHECK(written([](auto& json) { json.value(std::numeric_limits<std::uint64_t>::max()); }) == "18446744073709551615");
  CHECK(written([](auto& json) { json.value(std::numeric_limits<std::int64_t>::min()); }) == "-9223372036854775808");
  CHECK(written([](auto& json) { json.value(std::uint64_t{9'007'199'254'740'993}); }) == "9007199254740993");
  CHECK(written([](auto& json) { json.value(0); }) == "0");
}

TEST_CASE("a double reads back as the same double; what JSON cannot say is null") {
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -2.5, 123456789012345680.0, 1e22}) {
    const std::string text = written([&](auto& json) { json.value(value); });
    CHECK(std::strtod(text.c_str(), nullptr) == value);
  }
  CHECK(written([](auto& json) { json.value(0.1); }) == "0.1");
  CHECK(written([](auto& json) { json.value(std::nan("")); }) == "null");
  CHECK(written([](auto& json) { json.value(std::numeric_limits<double>::infinity()); }) == "null");
  CHECK(written([](auto& json) { json.value(-std::numeric_limits<double>::infinity()); }) == "null");
}

TEST_CASE("the locale changes nothing") {
  const char* known = std::setlocale(LC_ALL, "de_DE.UTF-8");
  if (known == nullptr) known = std::setlocale(LC_ALL, "fr_FR.UTF-8");
  CHECK(written([](auto& json) { json.value(1.5); }) == "1.5");
  std::setlocale(LC_ALL, "C");
}

TEST_CASE("a text larger than the chunk goes out in pieces, whole") {
  const std::string text = written(
      [](auto& json) {
        json.begin_array();
        for (int n = 0; n < 1000; ++n) json.value(n);
        json.value(std::string(500, 'x'));
        json.end_array();
      },
      64);
  std::string expected = "[";
  for (int n = 0; n < 1000; ++n) expected += std::to_string(n) + ",";
  CHECK(text == expected + "\"" + std::string(500, 'x') + "\"]");
}
