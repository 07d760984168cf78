// SPDX-License-Identifier: MIT
// json_reader.hpp: JSON (RFC 8259) token by token, from chunks as they come.
//
// A trace of a gigabyte is read in the memory of its longest token. Whoever reads pulls tokens; when a token is not whole
// yet, the reader says so and goes on where it was once it has been fed.
//   JsonReader json;
//   json.feed(bytes);                          // and json.finish() after the last
//   for (;;) {
//     switch (json.next()) {
//       case JsonToken::kNeedMore: return;     // feed the next chunk
//       case JsonToken::kKey:      key = json.text(); break;      // valid until the next call
//       case JsonToken::kNumber:   value = json.number(); break;
//       case JsonToken::kDamaged:  return report(json.damage());
//       ...
// Layer: wire (includes core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/decimal.hpp"
#include "thence/wire/utf8.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class JsonToken : std::uint8_t {
  kNeedMore,     ///< the next token is not whole yet
  kEnd,          ///< the text is whole, and so was the last value
  kDamaged,      ///< see damage(); it stays so
  kBeginObject,
  kEndObject,
  kBeginArray,
  kEndArray,
  kKey,          ///< text()
  kString,       ///< text()
  kNumber,       ///< number(); text() is how it was spelt
  kTrue,
  kFalse,
  kNull,
};

struct JsonReaderOptions {
  /// Levels of nesting. Deeper is damage: nothing that anybody writes by hand or machine has so many.
  unsigned max_depth = 256;
  /// Bytes of the longest string or number. Longer is damage: this bounds the memory.
  std::size_t max_token_bytes = std::size_t{16} << 20;
  /// Values may follow each other, as in JSON lines; otherwise one value is the text.
  bool many_values = false;
};

/// Pulls tokens out of a JSON text.
///   Shape     what was fed and not yet read, and one bit a level.
///   Threads   one.
///   Cost      O(bytes). Integers of 64 bits are exact, doubles the nearest.
///   When full see JsonReaderOptions: damage.
///   Errors    damage(); std::bad_alloc.
///   Lifetime  text() is valid until the next call of next, feed or finish.
class JsonReader {
 public:
  using Options = JsonReaderOptions;

  explicit JsonReader(const Options& options = {}) : options_(options) {
    if (options_.max_depth > kMaxDepth) options_.max_depth = kMaxDepth;
  }

  /// Adds bytes. Large inputs are best fed in pieces of some 64 KB: they are copied.
  void feed(std::span<const std::byte> bytes) {
    drop_read();
    window_.append(bytes);
  }
  /// No more bytes come.
  void finish() noexcept { finished_ = true; }

  JsonToken next() {
    while (skipping_) {
      const JsonToken token = read_token();
      if (token == JsonToken::kNeedMore || token == JsonToken::kDamaged) return token;
      skipping_ = depth_ > skip_to_;
    }
    return read_token();
  }

  /// Passes over the value that `begun` is the first token of: next() goes on behind it.
  void skip(JsonToken begun) noexcept {
    skipping_ = begun == JsonToken::kBeginObject || begun == JsonToken::kBeginArray;
    skip_to_ = depth_ - 1;
  }

  /// The key, string or number last read.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  /// The number last read.
  [[nodiscard]] const DecimalNumber& number() const noexcept { return number_; }
  /// Objects and arrays that are open.
  [[nodiscard]] unsigned depth() const noexcept { return depth_; }
  [[nodiscard]] const Damage& damage() const noexcept { return damage_; }
  /// Where the last token began, from the input's start.
  [[nodiscard]] std::uint64_t offset() const noexcept { return dropped_ + token_; }
  /// Where the next token is looked for.
  [[nodiscard]] std::uint64_t position() const noexcept { return dropped_ + read_; }

  /// Says that the token last read, sound as JSON, is not what its place calls for.
  JsonToken reject(std::string_view expected) { return damaged_at(token_, expected, false); }
  /// Takes a cut-off input as it is: the caller knows of a format in which the end may be missing.
  void forgive() noexcept { damage_ = {}; }

 private:
  static constexpr unsigned kMaxDepth = 1024;
  enum class State : std::uint8_t { kStart, kValue, kFirstElement, kFirstKey, kKey, kColon, kAfterValue, kDone };

  JsonToken read_token() {
    if (damage_) return JsonToken::kDamaged;
    text_ = {};
    begin_ = reinterpret_cast<const char*>(window_.data());
    const char* const end = begin_ + window_.size();
    const char* at = begin_ + read_;
    for (;;) {
      while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
      read_ = static_cast<std::size_t>(at - begin_);
      if (at == end) {
        if (!finished_) return JsonToken::kNeedMore;
        if (state_ == State::kDone || (options_.many_values && depth_ == 0)) return JsonToken::kEnd;
        return cut(expected_here());
      }
      switch (state_) {
        case State::kStart:  // a byte order mark may precede the text
          if (*at == '\xef') {
            if (end - at < 3 && !finished_) return JsonToken::kNeedMore;
            if (end - at < 3 || at[1] != '\xbb' || at[2] != '\xbf') return damaged(at, "a value");
            at += 3;
          }
          state_ = State::kValue;
          continue;
        case State::kColon:
          if (*at != ':') return damaged(at, "':'");
          ++at;
          state_ = State::kValue;
          continue;
        case State::kAfterValue:
          if (*at == ',') {
            ++at;
            state_ = in_object() ? State::kKey : State::kValue;
            continue;
          }
          if (*at == (in_object() ? '}' : ']')) return close(at);
          return damaged(at, expected_here());
        case State::kFirstKey:
          if (*at == '}') return close(at);
          [[fallthrough]];
        case State::kKey:
          if (*at != '"') return damaged(at, expected_here());
          return string(at, end, JsonToken::kKey);
        case State::kFirstElement:
          if (*at == ']') return close(at);
          return value(at, end);
        case State::kValue: return value(at, end);
        case State::kDone:
          if (!options_.many_values) return damaged(at, "the end of the text");
          state_ = State::kValue;
          continue;
      }
    }
  }

  [[nodiscard]] bool in_object() const noexcept {
    return depth_ != 0 && (objects_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64) & 1) != 0;
  }
  [[nodiscard]] std::string_view expected_here() const noexcept {
    switch (state_) {
      case State::kStart:
      case State::kValue: return "a value";
      case State::kFirstElement: return "a value or ']'";
      case State::kFirstKey: return "a key or '}'";
      case State::kKey: return "a key";
      case State::kColon: return "':'";
      case State::kAfterValue: return in_object() ? "',' or '}'" : "',' or ']'";
      case State::kDone: return "the end of the text";
    }
    return "a value";
  }

  void after_value() noexcept { state_ = depth_ == 0 ? State::kDone : State::kAfterValue; }

  JsonToken took(const char* token, const char* after, JsonToken what) noexcept {
    token_ = static_cast<std::size_t>(token - begin_);
    read_ = static_cast<std::size_t>(after - begin_);
    scanned_ = 0;
    return what;
  }

  JsonToken value(const char* at, const char* end) {
    switch (*at) {
      case '{':
      case '[': {
        const bool object = *at == '{';
        if (depth_ >= options_.max_depth) return damaged(at, "less nesting");
        const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
        std::uint64_t& word = objects_[depth_ / 64];
        word = object ? word | bit : word & ~bit;
        ++depth_;
        state_ = object ? State::kFirstKey : State::kFirstElement;
        return took(at, at + 1, object ? JsonToken::kBeginObject : JsonToken::kBeginArray);
      }
      case '"': return string(at, end, JsonToken::kString);
      case 't': return literal(at, end, "true", JsonToken::kTrue);
      case 'f': return literal(at, end, "false", JsonToken::kFalse);
      case 'n': return literal(at, end, "null", JsonToken::kNull);
      default: break;
    }
    if (*at == '-' || (*at >= '0' && *at <= '9')) return numeral(at, end);
    return damaged(at, expected_here());
  }

  JsonToken close(const char* at) noexcept {
    --depth_;
    after_value();
    return took(at, at + 1, *at == '}' ? JsonToken::kEndObject : JsonToken::kEndArray);
  }

  JsonToken literal(const char* at, const char* end, std::string_view word, JsonToken what) {
    const auto there = static_cast<std::size_t>(end - at);
    const std::size_t compared = std::min(there, word.size());
    if (std::memcmp(at, word.data(), compared) != 0) return damaged(at, expected_here());
    if (there < word.size()) return finished_ ? cut(expected_here()) : JsonToken::kNeedMore;
    after_value();
    return took(at, at + word.size(), what);
  }

  JsonToken numeral(const char* at, const char* window_end) {
    // Not beyond what a token may have: the verdict on a longer one is the same however its bytes come.
    const char* const end = token_limit(at, window_end);
    const bool last = finished_ && !too_long(at, end);
    const char* to = at;
    const auto digit = [&] { return to != end && *to >= '0' && *to <= '9'; };
    const auto incomplete = [&] { return to == end && !last; };
    if (*to == '-') ++to;
    if (incomplete()) return wait(at, end);
    if (!digit()) return ended_or(to, end, "a digit");
    if (*to == '0') {
      ++to;
      if (digit()) return damaged(to, "no digit after a leading 0");
    } else {
      // The common case: a whole number of up to 19 digits.
      std::uint64_t whole = 0;
      while (digit()) {
        whole = whole * 10 + static_cast<unsigned>(*to - '0');
        ++to;
      }
      if (to != end && *at != '-' && to - at <= 19 && *to != '.' && *to != 'e' && *to != 'E') [[likely]] {
        number_.kind = DecimalNumber::Kind::kUint;
        number_.magnitude = whole;
        number_.real = static_cast<double>(whole);
        text_ = {at, static_cast<std::size_t>(to - at)};
        after_value();
        return took(at, to, JsonToken::kNumber);
      }
    }
    if (incomplete()) return wait(at, end);
    if (to != end && *to == '.') {
      ++to;
      if (incomplete()) return wait(at, end);
      if (!digit()) return ended_or(to, end, "a digit");
      while (digit()) ++to;
      if (incomplete()) return wait(at, end);
    }
    if (to != end && (*to == 'e' || *to == 'E')) {
      ++to;
      if (incomplete()) return wait(at, end);
      if (to != end && (*to == '+' || *to == '-')) ++to;
      if (incomplete()) return wait(at, end);
      if (!digit()) return ended_or(to, end, "a digit");
      while (digit()) ++to;
      if (incomplete()) return wait(at, end);
    }
    text_ = {at, static_cast<std::size_t>(to - at)};
    number_ = parse_decimal(text_);
    if (number_.real > std::numeric_limits<double>::max() || number_.real < -std::numeric_limits<double>::max()) {
      return damaged(at, "a number that fits a double");
    }
    after_value();
    return took(at, to, JsonToken::kNumber);
  }

  JsonToken string(const char* at, const char* window_end, JsonToken what) {
    const char* const end = token_limit(at, window_end);
    const bool last = finished_ && !too_long(at, end);
    const char* to = at + 1 + scanned_;  // what an earlier call saw is not looked at again
    bool escapes = scanned_ != 0 && escaped_;
    for (;;) {
      while (to != end && plain(*to)) ++to;
      if (to == end) {
        escaped_ = escapes;
        scanned_ = static_cast<std::size_t>(to - at) - 1;
        return last ? cut("'\"'") : wait(at, end);
      }
      const char c = *to;
      if (c == '"') break;
      if (c == '\\') {
        if (end - to < 2) {
          escaped_ = escapes;
          scanned_ = static_cast<std::size_t>(to - at) - 1;
          return last ? cut("'\"'") : wait(at, end);
        }
        escapes = true;
        to += 2;
        continue;
      }
      if (static_cast<unsigned char>(c) < 0x20) return damaged(to, "no control character in a string");
      const Utf8Part part = first_utf8_part({to, std::min<std::size_t>(4, static_cast<std::size_t>(end - to))});
      if (!part.valid) {
        if (end - to < 4 && to + part.length == end && !last) {  // perhaps the rest is on its way
          escaped_ = escapes;
          scanned_ = static_cast<std::size_t>(to - at) - 1;
          return wait(at, end);
        }
        return damaged(to, "UTF-8");
      }
      to += part.length;
    }
    text_ = {at + 1, static_cast<std::size_t>(to - at) - 1};
    if (escapes && !unescape(at + 1, to)) return JsonToken::kDamaged;
    if (what == JsonToken::kKey) {
      state_ = State::kColon;
    } else {
      after_value();
    }
    return took(at, to + 1, what);
  }

  [[nodiscard]] static bool plain(char c) noexcept {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
  }

  bool unescape(const char* at, const char* end) {
    scratch_.clear();
    while (at != end) {
      const auto* const backslash = static_cast<const char*>(std::memchr(at, '\\', static_cast<std::size_t>(end - at)));
      if (backslash == nullptr) {
        scratch_.append(at, end);
        break;
      }
      scratch_.append(at, backslash);
      at = backslash + 2;
      switch (backslash[1]) {
        case '"': scratch_ += '"'; break;
        case '\\': scratch_ += '\\'; break;
        case '/': scratch_ += '/'; break;
        case 'b': scratch_ += '\b'; break;
        case 'f': scratch_ += '\f'; break;
        case 'n': scratch_ += '\n'; break;
        case 'r': scratch_ += '\r'; break;
        case 't': scratch_ += '\t'; break;
        case 'u': {
          std::uint32_t unit = 0, low = 0;
          if (!hex(at, end, unit)) return escape_damaged(backslash);
          at += 4;
          // Half a pair stands for no character.
          if (unit >= 0xd800 && unit <= 0xdbff && end - at >= 6 && at[0] == '\\' && at[1] == 'u' && hex(at + 2, end, low) &&
              low >= 0xdc00 && low <= 0xdfff) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
          } else if (unit >= 0xd800 && unit <= 0xdfff) {
            unit = 0xfffd;
          }
          put_utf8(unit);
          break;
        }
        default: return escape_damaged(backslash);
      }
    }
    text_ = scratch_;
    return true;
  }
  bool escape_damaged(const char* at) {
    static_cast<void>(damaged(at, "an escape that JSON knows"));
    return false;
  }
  [[nodiscard]] static bool hex(const char* at, const char* end, std::uint32_t& unit) noexcept {
    if (end - at < 4) return false;
    unit = 0;
    for (int digit = 0; digit < 4; ++digit) {
      const char c = at[digit];
      unsigned value = 0;
      if (c >= '0' && c <= '9') {
        value = static_cast<unsigned>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        value = static_cast<unsigned>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        value = static_cast<unsigned>(c - 'A') + 10;
      } else {
        return false;
      }
      unit = unit << 4 | value;
    }
    return true;
  }
  void put_utf8(std::uint32_t unit) {
    if (unit < 0x80) {
      scratch_ += static_cast<char>(unit);
    } else if (unit < 0x800) {
      scratch_ += static_cast<char>(0xc0 | unit >> 6);
      scratch_ += static_cast<char>(0x80 | (unit & 0x3f));
    } else if (unit < 0x10000) {
      scratch_ += static_cast<char>(0xe0 | unit >> 12);
      scratch_ += static_cast<char>(0x80 | (unit >> 6 & 0x3f));
      scratch_ += static_cast<char>(0x80 | (unit & 0x3f));
    } else {
      scratch_ += static_cast<char>(0xf0 | unit >> 18);
      scratch_ += static_cast<char>(0x80 | (unit >> 12 & 0x3f));
      scratch_ += static_cast<char>(0x80 | (unit >> 6 & 0x3f));
      scratch_ += static_cast<char>(0x80 | (unit & 0x3f));
    }
  }

  /// Where the bytes end that a token from `at` may have, and one more.
  [[nodiscard]] const char* token_limit(const char* at, const char* end) const noexcept {
    return static_cast<std::size_t>(end - at) > options_.max_token_bytes ? at + options_.max_token_bytes + 1 : end;
  }
  [[nodiscard]] bool too_long(const char* at, const char* end) const noexcept {
    return static_cast<std::size_t>(end - at) > options_.max_token_bytes;
  }
  JsonToken wait(const char* at, const char* end) {
    if (too_long(at, end)) {
      return damaged(at, *at == '"' ? "a shorter string" : "a shorter number");
    }
    return JsonToken::kNeedMore;
  }
  JsonToken ended_or(const char* at, const char* end, std::string_view expected) {
    return at == end ? cut(expected) : damaged(at, expected);
  }
  JsonToken damaged(const char* at, std::string_view expected) {
    return damaged_at(static_cast<std::size_t>(at - begin_), expected, false);
  }
  JsonToken cut(std::string_view expected) { return damaged_at(window_.size(), expected, true); }
  JsonToken damaged_at(std::size_t at, std::string_view expected, bool cut_off) {
    damage_ = {dropped_ + at, lines_ + lines_in(at) + 1, expected, cut_off};
    return JsonToken::kDamaged;
  }

  [[nodiscard]] std::uint64_t lines_in(std::size_t count) const noexcept {
    const std::string_view bytes = window_.text().substr(0, count);
    return static_cast<std::uint64_t>(std::count(bytes.begin(), bytes.end(), '\n'));
  }
  void drop_read() {
    if (read_ == 0) return;
    lines_ += lines_in(read_);
    dropped_ += read_;
    token_ = 0;
    const std::size_t rest = window_.size() - read_;
    std::byte* const data = window_.data();
    if (rest != 0) std::memmove(data, data + read_, rest);
    window_.clear();
    window_.advance(data + rest);
    read_ = 0;
  }

  Options options_;
  ByteBuffer window_{1};
  const char* begin_ = nullptr;
  std::size_t read_ = 0;     // of the window
  std::size_t token_ = 0;    // where the last token began in it
  std::size_t scanned_ = 0;  // of a string that is not whole
  std::uint64_t dropped_ = 0;
  std::uint64_t lines_ = 0;
  unsigned depth_ = 0;
  bool skipping_ = false;
  unsigned skip_to_ = 0;
  State state_ = State::kStart;
  bool finished_ = false;
  bool escaped_ = false;
  std::string_view text_;
  std::string scratch_;
  DecimalNumber number_;
  Damage damage_;
  std::uint64_t objects_[kMaxDepth / 64] = {};  // bit n: level n is an object
};

}  // namespace THENCE_ABI
}  // namespace thence
