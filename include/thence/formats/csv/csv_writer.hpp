// SPDX-License-Identifier: MIT
// csv_writer.hpp: comma-separated values as RFC 4180 has them, and what a cell says where there is nothing to say.
//
//   CsvWriter csv{sink};
//   csv.text("id"); csv.text("name"); csv.end_row();
//   csv.number(7);  csv.absent();     csv.end_row();       // 7,<CRLF>
// An absent value is an empty field; an empty text is "". Fields with a comma, a quote, CR, LF, or a space at either end
// are quoted, quotes in them doubled. Rows end with CRLF. Bytes that are not UTF-8 become U+FFFD.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/utf8.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Writes rows.
///   Shape     a buffer of `chunk` bytes.
///   Threads   one.
///   Cost      O(bytes); no allocation once the buffer has grown.
///   When full the sink says so: failed(); what comes after is dropped.
///   Errors    those of ByteBuffer.
///   Lifetime  the sink outlives it; call flush().
template <ByteSink Sink>
class CsvWriter {
 public:
  explicit CsvWriter(Sink& sink, std::size_t chunk = 64 * 1024) : gate_(sink), chunk_(chunk) {}

  void absent() { separate(); }
  void text(std::string_view value) {
    separate();
    if (!value.empty() && value.find_first_of(",\"\r\n") == std::string_view::npos && value.front() != ' ' && value.back() != ' ') {
      return put(value);
    }
    out_.push(std::byte{'"'});
    while (!value.empty()) {
      const std::size_t quote = value.find('"');
      if (quote == std::string_view::npos) {
        put(value);
        break;
      }
      put(value.substr(0, quote + 1));
      out_.push(std::byte{'"'});
      value.remove_prefix(quote + 1);
    }
    out_.push(std::byte{'"'});
  }
  template <class N>
    requires(std::integral<N> && !std::same_as<N, bool>) || std::same_as<N, double>
  void number(N value) {
    separate();
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out_.append(digits, static_cast<std::size_t>(end - digits));
  }
  void boolean(bool value) { text(value ? "true" : "false"); }

  void end_row() {
    out_.append(std::string_view("\r\n"));
    first_ = true;
    if (out_.size() >= chunk_) [[unlikely]] flush();
  }
  void flush() {
    gate_.write(out_.bytes());
    out_.clear();
  }
  [[nodiscard]] bool failed() const noexcept { return gate_.failed(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return gate_.written(); }

 private:
  void separate() {
    if (!first_) out_.push(std::byte{','});
    first_ = false;
  }
  void put(std::string_view value) {
    while (!value.empty()) {
      std::size_t plain = 0;
      while (plain < value.size() && static_cast<unsigned char>(value[plain]) < 0x80) ++plain;
      out_.append(value.substr(0, plain));
      value.remove_prefix(plain);
      if (value.empty()) break;
      const Utf8Part part = first_utf8_part(value);
      out_.append(part.valid ? value.substr(0, part.length) : std::string_view("\xef\xbf\xbd"));
      value.remove_prefix(part.length);
    }
  }

  SinkGate<Sink> gate_;
  ByteBuffer out_;
  std::size_t chunk_;
  bool first_ = true;
};

}  // namespace THENCE_ABI
}  // namespace thence
