// SPDX-License-Identifier: MIT
// json_reader_test.cpp: the pull reader for JSON: every token, every error, in pieces of any size; numbers against the C library.
#include "thence/wire/json_reader.hpp"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "thence/wire/decimal.hpp"

namespace {

using namespace thence;

std::string number_text(const DecimalNumber& number) {
  char digits[64];
  switch (number.kind) {
    case DecimalNumber::Kind::kUint: return "u" + std::to_string(number.magnitude);
    case DecimalNumber::Kind::kInt: return "i" + std::to_string(number.integer);
    case DecimalNumber::Kind::kDouble: break;
  }
  std::snprintf(digits, sizeof digits, "d%.17g", number.real);
  return digits;
}

/// All tokens, and how it ended.
std::string tokens(std::string_view text, std::size_t piece = 1 << 16, JsonReaderOptions options = {}) {
  JsonReader json(options);
  std::string out;
  bool finished = false;
  for (;;) {
    switch (json.next()) {
      case JsonToken::kNeedMore:
        if (finished) return out + " needs more after the end";
        if (text.empty()) {
          json.finish();
          finished = true;
        } else {
          const std::string_view part = text.substr(0, piece);
          json.feed(std::as_bytes(std::span(part.data(), part.size())));
          text.remove_prefix(part.size());
        }
        break;
      case JsonToken::kEnd: return out;
      case JsonToken::kDamaged: return out + describe(json.damage(), "json", 0);
      case JsonToken::kBeginObject: out += "{"; break;
      case JsonToken::kEndObject: out += "}"; break;
      case JsonToken::kBeginArray: out += "["; break;
      case JsonToken::kEndArray: out += "]"; break;
      case JsonToken::kKey: out += std::string(json.text()) + ":"; break;
      case JsonToken::kString: out += "'" + std::string(json.text()) + "' "; break;
      case JsonToken::kNumber: out += number_text(json.number()) + " "; break;
      case JsonToken::kTrue: out += "T "; break;
      case JsonToken::kFalse: out += "F "; break;
      case JsonToken::kNull: out += "N "; break;
    }
  }
}

std::string error(std::string_view text, JsonReaderOptions options = {}) {
  const std::string all = tokens(text, 1 << 16, options);
  CHECK(tokens(text, 1, options) == all);  // in pieces it is the same
  CHECK(tokens(text, 3, options) == all);
  const std::size_t at = all.find("json: ");
  return at == std::string::npos ? "no error" : all.substr(at);
}

}  // namespace

TEST_CASE("JSON is read token by token, whatever the size of the pieces") {
  const std::string text = "\xef\xbb\xbf {\"a\": [1, -2, 3.5e1, true, false, null, \"x\\n\\u00e9\\ud83d\\ude00\\\"\"], \"\": {} , \"b\":[[]]}\n";
  const std::string expected = "{a:[u1 i-2 d35 T F N 'x\n\xc3\xa9\xf0\x9f\x98\x80\"' ]:{}b:[[]]}";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) CHECK(tokens(text, piece) == expected);
}

TEST_CASE("values may follow each other where that is asked for") {
  CHECK(tokens("{\"a\":1}\n{\"a\":2}\n7", 1 << 16, {.many_values = true}) == "{a:u1 }{a:u2 }u7 ");
  CHECK(tokens("", 1 << 16, {.many_values = true}).empty());
  CHECK(error("{} {}") == "json: damaged at byte 3, line 1: expected the end of the text; 0 events before it are good");
}

TEST_CASE("each kind of bad JSON has its own word, with byte and line") {
  CHECK(error("") == "json: cut off at byte 0, line 1: expected a value; 0 events before it are good");
  CHECK(error("{\"a\":\n  tru") == "json: cut off at byte 11, line 2: expected a value; 0 events before it are good");
  CHECK(error("{\"a\":\n  trux}") == "json: damaged at byte 8, line 2: expected a value; 0 events before it are good");
  CHECK(error("{\"a\" 1}") == "json: damaged at byte 5, line 1: expected ':'; 0 events before it are good");
  CHECK(error("{a:1}") == "json: damaged at byte 1, line 1: expected a key or '}'; 0 events before it are good");
  CHECK(error("{\"a\":1,}") == "json: damaged at byte 7, line 1: expected a key; 0 events before it are good");
  CHECK(error("{\"a\":1") == "json: cut off at byte 6, line 1: expected ',' or '}'; 0 events before it are good");
  CHECK(error("[1 2]") == "json: damaged at byte 3, line 1: expected ',' or ']'; 0 events before it are good");
  CHECK(error("[1,]") == "json: damaged at byte 3, line 1: expected a value; 0 events before it are good");
  CHECK(error("[1}") == "json: damaged at byte 2, line 1: expected ',' or ']'; 0 events before it are good");
  CHECK(error("[") == "json: cut off at byte 1, line 1: expected a value or ']'; 0 events before it are good");
  CHECK(error("\"abc") == "json: cut off at byte 4, line 1: expected '\"'; 0 events before it are good");
  CHECK(error("\"a\nb\"") == "json: damaged at byte 2, line 1: expected no control character in a string; 0 events before it are good");
  CHECK(error("\"\\q\"") == "json: damaged at byte 1, line 1: expected an escape that JSON knows; 0 events before it are good");
  CHECK(error("\"\\u12g4\"") == "json: damaged at byte 1, line 1: expected an escape that JSON knows; 0 events before it are good");
  CHECK(error("\"\xff\"") == "json: damaged at byte 1, line 1: expected UTF-8; 0 events before it are good");
  CHECK(error("\"\xed\xa0\x80\"") == "json: damaged at byte 1, line 1: expected UTF-8; 0 events before it are good");
  CHECK(error("01") == "json: damaged at byte 1, line 1: expected no digit after a leading 0; 0 events before it are good");
  CHECK(error("-") == "json: cut off at byte 1, line 1: expected a digit; 0 events before it are good");
  CHECK(error("-x") == "json: damaged at byte 1, line 1: expected a digit; 0 events before it are good");
  CHECK(error("1.") == "json: cut off at byte 2, line 1: expected a digit; 0 events before it are good");
  CHECK(error("1e+ ") == "json: damaged at byte 3, line 1: expected a digit; 0 events before it are good");
  CHECK(error("1e999") == "json: damaged at byte 0, line 1: expected a number that fits a double; 0 events before it are good");
  CHECK(error("nul") == "json: cut off at byte 3, line 1: expected a value; 0 events before it are good");
  CHECK(error("\xef\xbb ") == "json: damaged at byte 0, line 1: expected a value; 0 events before it are good");
}

TEST_CASE("nesting and tokens are bounded") {
  CHECK(error(std::string(300, '[')) == "json: damaged at byte 256, line 1: expected less nesting; 0 events before it are good");
  CHECK(error("[[[1]]]", {.max_depth = 3}) == "no error");
  CHECK(error("[[[1]]]", {.max_depth = 2}) == "json: damaged at byte 2, line 1: expected less nesting; 0 events before it are good");
  CHECK(error("\"" + std::string(2000, 'x') + "\"", {.max_token_bytes = 1000}) ==
        "json: damaged at byte 0, line 1: expected a shorter string; 0 events before it are good");
  CHECK(tokens(std::string(2'000'000, '[')).substr(256) == "json: damaged at byte 256, line 1: expected less nesting; 0 events before it are good");
}

TEST_CASE("a token is too long or not whatever the pieces in which it comes, and whatever else is wrong with it") {
  const JsonReaderOptions options{.max_token_bytes = 100};
  const std::string digits(2000, '1'), letters(2000, 'x');
  for (const std::string& text : {digits, digits + ",", "-" + digits, digits + ".5", digits + "x", "0." + digits, "1e" + digits}) {
    for (const std::size_t piece : {1u, 7u, 101u, 1u << 16}) {
      CHECK(tokens("[" + text, piece, options) == "[json: damaged at byte 1, line 1: expected a shorter number; 0 events before it are good");
    }
  }
  for (const std::string& text : {letters, letters + "\"", letters + "\n", letters + "\\q\"", letters.substr(0, 99) + "\xc3\xa9\""}) {
    for (const std::size_t piece : {1u, 7u, 101u, 1u << 16}) {
      CHECK(tokens("[\"" + text, piece, options) == "[json: damaged at byte 1, line 1: expected a shorter string; 0 events before it are good");
    }
  }
  for (const std::size_t piece : {1u, 7u, 101u, 1u << 16}) {
    CHECK(tokens("[\"" + letters.substr(0, 99) + "\"]", piece, options) == "['" + letters.substr(0, 99) + "' ]");
    CHECK(tokens("[" + digits.substr(0, 100) + "]", piece, options).substr(0, 4) == "[d1.");
    CHECK(tokens(digits.substr(0, 100), piece, options).substr(0, 3) == "d1.");
  }
}

TEST_CASE("half a surrogate pair stands for no character") {
  CHECK(tokens("[\"\\ud800\", \"\\udc00x\", \"\\ud800\\u0041\"]") == "['\xef\xbf\xbd' '\xef\xbf\xbdx' '\xef\xbf\xbd" "A' ]");
}

TEST_CASE("integers of 64 bits are exact, and what is beyond is the nearest double") {
  CHECK(tokens("[18446744073709551615, 18446744073709551616, -9223372036854775808, -9223372036854775809, 0, -0]") ==
        "[u18446744073709551615 d1.8446744073709552e+19 i-9223372036854775808 d-9.2233720368547758e+18 u0 d-0 ]");
  CHECK(tokens("[9007199254740993, 1.0, 1e3]") == "[u9007199254740993 d1 d1000 ]");
}

TEST_CASE("doubles are those of the C library, to the last bit") {
  const char* hard[] = {"2.2250738585072011e-308", "2.2250738585072014e-308", "4.9406564584124654e-324", "2.4703282292062327e-324",
                        "2.4703282292062328e-324", "1.7976931348623157e308", "1.7976931348623158e308", "9007199254740993.0",
                        "9007199254740992.99999999999999999999", "0.1", "0.30000000000000004", "123456789012345678901234567890",
                        "1e22", "1e23", "8.5e22", "6.631236846766476e-316", "3.237883913302901e-319", "5e-324", "1e-400", "0e999",
                        "179769313486231580793728971405301e277", "7.2057594037927933e16", "0.000000000000000000000000000000123e30"};
  for (const char* text : hard) {
    INFO(text);
    CHECK(std::bit_cast<std::uint64_t>(parse_decimal(text).real) == std::bit_cast<std::uint64_t>(std::strtod(text, nullptr)));
  }
  std::mt19937_64 random(5);
  char text[1200];
  for (int round = 0; round < 20'000; ++round) {
    const double value = std::bit_cast<double>(random());
    if (!(value - value == 0)) continue;
    std::snprintf(text, sizeof text, "%.*g", static_cast<int>(1 + random() % 40), value);
    if (std::bit_cast<std::uint64_t>(parse_decimal(text).real) != std::bit_cast<std::uint64_t>(std::strtod(text, nullptr))) FAIL(text);
    if (round % 50 != 0) continue;
    // Half way between two doubles: a tie, and just beside it.
    std::snprintf(text, sizeof text, "%.1100e", value);
    std::string exact(text);
    if (std::bit_cast<std::uint64_t>(parse_decimal(exact).real) != std::bit_cast<std::uint64_t>(value)) FAIL(exact);
  }
  // 2^53 + 1 is a tie; one part in 10^900 above it is not.
  std::string tie = "9007199254740993." + std::string(900, '0');
  CHECK(parse_decimal(tie).real == 9007199254740992.0);
  CHECK(parse_decimal(tie + "1").real == 9007199254740994.0);
}

TEST_CASE("a value is skipped whole, also across pieces") {
  const std::string text = "{\"skip\": {\"a\": [1, {\"b\": [[], {}]}], \"c\": \"}\"}, \"keep\": 5}";
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    JsonReader json;
    std::string_view rest = text;
    std::string seen;
    for (bool done = false; !done;) {
      const JsonToken token = json.next();
      if (token == JsonToken::kNeedMore) {
        const std::string_view part = rest.substr(0, piece);
        if (part.empty()) json.finish();
        json.feed(std::as_bytes(std::span(part.data(), part.size())));
        rest.remove_prefix(part.size());
        continue;
      }
      if (token == JsonToken::kKey) seen += std::string(json.text()) + " ";
      if (token == JsonToken::kBeginObject && json.depth() == 2) json.skip(token);
      if (token == JsonToken::kEnd || token == JsonToken::kDamaged) done = true;
    }
    CHECK(seen == "skip keep ");
    CHECK_FALSE(json.damage());
  }
}
