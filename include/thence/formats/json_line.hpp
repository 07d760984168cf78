// SPDX-License-Identifier: MIT
// json_line.hpp: one small JSON object after another, built in a buffer: a line of JSONL, an event of a Chrome trace.
//
//   JsonLine line{buffer};
//   line.begin();
//   line.text("event", "created");
//   line.number("time", ns);
//   line.end();                       // the object is whole; what follows it is the caller's
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/json_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Appends the members of one object, and of objects and arrays in it.
///   Threads   one.
///   Cost      O(bytes); no allocation once the buffer has grown.
///   Errors    those of ByteBuffer.
///   Lifetime  the buffer outlives it.
class JsonLine {
 public:
  explicit JsonLine(ByteBuffer& out) noexcept : out_(&out) {}

  void begin() { open('{'); }
  void end() { close('}'); }
  void begin(std::string_view key) {
    put_key(key);
    open('{');
  }
  void begin_array(std::string_view key) {
    put_key(key);
    open('[');
  }
  void end_array() { close(']'); }
  /// An object that is an array's element.
  void begin_element() {
    comma();
    open('{');
  }

  void text(std::string_view key, std::string_view value) {
    put_key(key);
    append_json_string(*out_, value);
  }
  template <std::integral I>
  void number(std::string_view key, I value) {
    put_key(key);
    put(value);
  }
  void boolean(std::string_view key, bool value) {
    put_key(key);
    out_->append(std::string_view(value ? "true" : "false"));
  }
  /// NaN and the infinities have no JSON: null.
  void real(std::string_view key, double value) {
    put_key(key);
    if (__builtin_isfinite(value)) {
      put(value);
    } else {
      out_->append(std::string_view("null"));
    }
  }
  /// A value of 64 bits of which all matter: in hexadecimal, as text.
  void hexadecimal(std::string_view key, std::uint64_t value) {
    put_key(key);
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
    out_->append(std::string_view("\"0x"));
    out_->append(digits, static_cast<std::size_t>(end - digits));
    out_->push(std::byte{'"'});
  }
  /// Nanoseconds as microseconds, exactly: three digits after the point.
  void microseconds(std::string_view key, std::uint64_t ns) {
    put_key(key);
    put(ns / 1000);
    const auto rest = static_cast<unsigned>(ns % 1000);
    const char digits[4] = {'.', static_cast<char>('0' + rest / 100), static_cast<char>('0' + rest / 10 % 10),
                            static_cast<char>('0' + rest % 10)};
    out_->append(digits, sizeof digits);
  }
  void value(std::string_view key, const Value& value) {
    switch (value.kind) {
      case ValueKind::kString: return text(key, value.text);
      case ValueKind::kInt: return number(key, value.integer);
      case ValueKind::kUint: return number(key, value.uinteger);
      case ValueKind::kDouble: return real(key, value.real);
      case ValueKind::kBool: return boolean(key, value.boolean);
    }
  }

 private:
  void comma() {
    if (filled_) out_->push(std::byte{','});
    filled_ = true;
  }
  void put_key(std::string_view key) {
    comma();
    append_json_string(*out_, key);
    out_->push(std::byte{':'});
  }
  template <class N>
  void put(N value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out_->append(digits, static_cast<std::size_t>(end - digits));
  }
  void open(char bracket) {
    out_->push(static_cast<std::byte>(bracket));
    filled_ = false;
  }
  void close(char bracket) {
    out_->push(static_cast<std::byte>(bracket));
    filled_ = true;
  }

  ByteBuffer* out_;
  bool filled_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
