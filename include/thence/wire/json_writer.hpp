// SPDX-License-Identifier: MIT
// json_writer.hpp: JSON (RFC 8259), streamed into a ByteSink.
//
//   JsonWriter json{sink};
//   json.begin_object();
//   json.member("requestDurationNs", duration);
//   json.key("resources");
//   json.begin_array();
//   ...
//   json.end_array();
//   json.end_object();
//   json.flush();
// Integers of 64 bits are written as numbers, digit for digit; doubles in the shortest form that reads back as the same
// double, whatever the locale. NaN and the infinities have no JSON: they become null. Bytes that are not UTF-8 become
// U+FFFD; control characters are escaped.
// Layer: wire (includes core/ only).
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/assert.hpp"
#include "thence/config/version.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/utf8.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Appends `text` to `out` as a JSON string, quotes and all.
inline void append_json_string(ByteBuffer& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push(std::byte{'"'});
  std::size_t plain = 0;  // what stands before `at` and is not yet written
  std::size_t at = 0;
  const auto put_plain = [&] { out.append(text.data() + plain, at - plain); };
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= 0x80) {
      const Utf8Part part = first_utf8_part(text.substr(at));
      if (!part.valid) {
        put_plain();
        out.append(std::string_view("\xef\xbf\xbd"));
        at += part.length;
        plain = at;
      } else {
        at += part.length;
      }
      continue;
    }
    if (c >= 0x20 && c != '"' && c != '\\') {
      ++at;
      continue;
    }
    put_plain();
    char escape[6] = {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
    std::size_t length = 2;
    switch (c) {
      case '"': escape[1] = '"'; break;
      case '\\': escape[1] = '\\'; break;
      case '\b': escape[1] = 'b'; break;
      case '\f': escape[1] = 'f'; break;
      case '\n': escape[1] = 'n'; break;
      case '\r': escape[1] = 'r'; break;
      case '\t': escape[1] = 't'; break;
      default: length = 6; break;
    }
    out.append(escape, length);
    plain = ++at;
  }
  put_plain();
  out.push(std::byte{'"'});
}

/// Writes one JSON text.
///   Shape     a buffer of `chunk` bytes; at most 64 levels of nesting.
///   Threads   one.
///   Cost      O(bytes); no allocation once the buffer has grown (a single string longer than a chunk grows it).
///   When full the sink says so: see ok(); what comes after is dropped.
///   Errors    those of ByteBuffer. Wrong nesting is the caller's bug: asserted.
///   Lifetime  the sink outlives it. Nothing is written on destruction: call flush().
template <ByteSink Sink>
class JsonWriter {
 public:
  explicit JsonWriter(Sink& sink, std::size_t chunk = 16 * 1024) : gate_(sink), out_(chunk), chunk_(chunk) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  void key(std::string_view name) {
    separate();
    append_json_string(out_, name);
    out_.push(std::byte{':'});
    after_key_ = true;
  }

  void value(std::string_view text) {
    separate();
    append_json_string(out_, text);
    drain();
  }
  void value(const char* text) { value(std::string_view(text)); }
  template <std::integral I>
  void value(I number) {
    if constexpr (std::same_as<I, bool>) {
      literal(number ? "true" : "false");
    } else {
      print(number);
    }
  }
  void value(double number) {
    if (!__builtin_isfinite(number)) return null();
    print(number);
  }
  void null() { literal("null"); }

  /// key and value.
  template <class V>
  void member(std::string_view name, const V& what) {
    key(name);
    value(what);
  }

  /// Starts a new line in front of the next value or key: white space for the human reader of a large file.
  void new_line() { line_ = true; }

  /// Hands everything to the sink. Returns ok().
  bool flush() {
    gate_.write(out_.bytes());
    out_.clear();
    return ok();
  }
  [[nodiscard]] bool ok() const noexcept { return !gate_.failed(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return gate_.written(); }
  /// Whether every object and array is closed.
  [[nodiscard]] bool complete() const noexcept { return depth_ == 0; }

 private:
  void separate() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if ((filled_ >> depth_ & 1) != 0) out_.push(std::byte{','});
    filled_ |= std::uint64_t{1} << depth_;
    if (line_) {
      out_.push(std::byte{'\n'});
      line_ = false;
    }
  }
  void open(char bracket) {
    separate();
    out_.push(static_cast<std::byte>(bracket));
    THENCE_ASSERT(depth_ < 63);
    ++depth_;
    filled_ &= ~(std::uint64_t{1} << depth_);
  }
  void close(char bracket) {
    THENCE_ASSERT(depth_ > 0 && !after_key_);
    --depth_;
    if (line_) {
      out_.push(std::byte{'\n'});
      line_ = false;
    }
    out_.push(static_cast<std::byte>(bracket));
    drain();
  }
  void literal(std::string_view text) {
    separate();
    out_.append(text);
    drain();
  }
  template <class N>
  void print(N number) {
    separate();
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    const auto count = static_cast<std::size_t>(end - digits);
    if (count > sizeof digits) __builtin_unreachable();  // g++ 12 at -O3 warns of a copy beyond `digits` otherwise
    out_.append(digits, count);
    drain();
  }
  void drain() {
    if (out_.size() >= chunk_) [[unlikely]] flush();
  }

  SinkGate<Sink> gate_;
  ByteBuffer out_;
  std::size_t chunk_;
  std::uint64_t filled_ = 0;  // bit n: level n has a value already
  unsigned depth_ = 0;
  bool after_key_ = false;
  bool line_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
