// SPDX-License-Identifier: MIT
// The bytes were counted out by hand from protobuf's encoding rules.
#include "thence/wire/protobuf_writer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace {

using namespace thence;

std::string hex(const ByteBuffer& buffer) {
  std::string out;
  for (const std::byte byte : buffer.bytes()) {
    if (!out.empty()) out += ' ';
    const auto value = static_cast<unsigned>(byte);
    out += "0123456789abcdef"[value >> 4];
    out += "0123456789abcdef"[value & 15];
  }
  return out;
}

template <class Fill>
std::string written(Fill&& fill) {
  ByteBuffer buffer;
  ProtobufWriter writer{buffer};
  fill(writer);
  return hex(buffer);
}

}  // namespace

TEST_CASE("a varint has seven bits a byte, the least significant first") {
  CHECK(written([](auto& w) { w.varint(1, 0); }) == "08 00");
  CHECK(written([](auto& w) { w.varint(1, 1); }) == "08 01");
  CHECK(written([](auto& w) { w.varint(1, 127); }) == "08 7f");
  CHECK(written([](auto& w) { w.varint(1, 128); }) == "08 80 01");
  CHECK(written([](auto& w) { w.varint(1, 300); }) == "08 ac 02");
  CHECK(written([](auto& w) { w.varint(1, std::numeric_limits<std::uint64_t>::max()); }) ==
        "08 ff ff ff ff ff ff ff ff ff 01");
  for (const std::uint64_t value : {0ull, 127ull, 128ull, 16383ull, 16384ull, ~0ull}) {
    std::byte bytes[kMaxVarintBytes];
    CHECK(static_cast<std::size_t>(put_varint(bytes, value) - bytes) == varint_size(value));
  }
}

TEST_CASE("a tag is the field number and the wire type, and grows with the number") {
  CHECK(written([](auto& w) { w.varint(15, 1); }) == "78 01");
  CHECK(written([](auto& w) { w.varint(16, 1); }) == "80 01 01");
  CHECK(written([](auto& w) { w.fixed64(47, 1); }) == "f9 02 01 00 00 00 00 00 00 00");
  CHECK(written([](auto& w) { w.string(7303, "a"); }) == "ba c8 03 01 61");
}

TEST_CASE("a negative int64 takes ten bytes of two's complement") {
  CHECK(written([](auto& w) { w.int64(4, -1); }) == "20 ff ff ff ff ff ff ff ff ff 01");
  CHECK(written([](auto& w) { w.int64(4, -300); }) == "20 d4 fd ff ff ff ff ff ff ff 01");
  CHECK(written([](auto& w) { w.int64(4, std::numeric_limits<std::int64_t>::min()); }) ==
        "20 80 80 80 80 80 80 80 80 80 01");
}

TEST_CASE("fixed64 and doubles are little-endian") {
  CHECK(written([](auto& w) { w.fixed64(1, 0x0102030405060708u); }) == "09 08 07 06 05 04 03 02 01");
  CHECK(written([](auto& w) { w.real(5, 1.0); }) == "29 00 00 00 00 00 00 f0 3f");
  CHECK(written([](auto& w) { w.real(5, -2.5); }) == "29 00 00 00 00 00 00 04 c0");
  CHECK(written([](auto& w) { w.boolean(2, true); }) == "10 01");
  CHECK(written([](auto& w) { w.boolean(2, false); }) == "10 00");
}

TEST_CASE("a string is its length and its bytes, an empty one too") {
  CHECK(written([](auto& w) { w.string(2, "testing"); }) == "12 07 74 65 73 74 69 6e 67");
  CHECK(written([](auto& w) { w.string(2, ""); }) == "12 00");
  CHECK(written([](auto& w) { w.string(2, std::string_view("a\0b", 3)); }) == "12 03 61 00 62");
}

TEST_CASE("a nested message gets its length when it closes") {
  CHECK(written([](auto& w) {
          const auto outer = w.message(3);
          w.varint(1, 150);
        }) == "1a 03 08 96 01");
  CHECK(written([](auto& w) {
          const auto outer = w.message(1);
          w.varint(8, 5);
          {
            const auto inner = w.message(11);
            w.varint(9, 3);
          }
          w.varint(10, 7);
        }) == "0a 08 40 05 5a 02 48 03 50 07");
  CHECK(written([](auto& w) { w.message(3).close(); }) == "1a 00");
}

TEST_CASE("the length of a message of 128 bytes takes two bytes, that of 16384 takes three, at every level") {
  for (const std::size_t size : {std::size_t{125}, std::size_t{126}, std::size_t{127}, std::size_t{16381}, std::size_t{20000}}) {
    const std::string text(size, 'x');
    ByteBuffer buffer;
    ProtobufWriter writer{buffer};
    {
      const auto outer = writer.message(1);
      const auto inner = writer.message(2);
      writer.string(3, text);
      writer.varint(4, 1);
    }
    // From the inside out: tag, length, text, then tag and value of field 4.
    const auto length_bytes = [](std::size_t n) -> std::size_t { return n < 128 ? 1 : n < 16384 ? 2 : 3; };
    const std::size_t inner_length = 1 + length_bytes(size) + size + 2;
    const std::size_t outer_length = 1 + length_bytes(inner_length) + inner_length;
    REQUIRE(buffer.size() == 1 + length_bytes(outer_length) + outer_length);
    const auto read = [&](std::size_t& at) {
      std::size_t value = 0;
      for (unsigned shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(buffer.text()[at++]);
        value |= std::size_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    std::size_t at = 0;
    CHECK(buffer.text()[at++] == 0x0a);
    CHECK(read(at) == outer_length);
    CHECK(buffer.text()[at++] == 0x12);
    CHECK(read(at) == inner_length);
    CHECK(buffer.text()[at++] == 0x1a);
    CHECK(read(at) == size);
    CHECK(buffer.text().substr(at, size) == text);
    CHECK(buffer.text().substr(at + size) == std::string_view("\x20\x01", 2));
  }
}

TEST_CASE("sixteen messages in each other close without asking for memory, however little of the buffer is left") {
  for (std::size_t size = 128; size != 5000; ++size) {
    ByteBuffer buffer;
    ProtobufWriter writer(buffer);
    std::size_t capacity = 0;
    const auto nest = [&](auto& deeper, int depth) -> void {
      if (depth == 0) {
        writer.string(3, std::string(size, 'x'));
        writer.varint(2047, ~std::uint64_t{0});
        capacity = buffer.capacity();
        return;
      }
      const auto message = writer.message(1);
      deeper(deeper, depth - 1);
    };
    nest(nest, 16);
    REQUIRE(buffer.capacity() == capacity);
  }
}

TEST_CASE("a buffer that is cleared keeps its memory and forgets its content") {
  ByteBuffer buffer;
  ProtobufWriter writer{buffer};
  writer.string(1, std::string(1000, 'y'));
  const std::size_t capacity = buffer.capacity();
  buffer.clear();
  CHECK(buffer.empty());
  for (int round = 0; round < 100; ++round) {
    writer.string(1, std::string(900, 'z'));
    buffer.clear();
  }
  CHECK(buffer.capacity() == capacity);
  writer.varint(1, 1);
  CHECK(hex(buffer) == "08 01");
}

TEST_CASE("roomy and wide varints have the bytes of a varint, whatever its length") {
  const auto check = [](std::uint64_t value) {
    std::byte plain[kMaxVarintBytes], wide[kMaxVarintBytes];
    const auto size = static_cast<std::size_t>(put_varint(plain, value) - plain);
    REQUIRE(size == static_cast<std::size_t>(put_wide_varint(wide, value) - wide));
    REQUIRE(std::equal(wide, wide + size, plain));
    REQUIRE(size == static_cast<std::size_t>(put_roomy_varint(wide, value) - wide));
    REQUIRE(std::equal(wide, wide + size, plain));
  };
  for (unsigned bit = 0; bit != 64; ++bit) {
    const std::uint64_t power = std::uint64_t{1} << bit;
    for (const std::uint64_t value : {power, power - 1, power + 1, ~power, power | 1, power | power >> 1 | power >> 9}) check(value);
  }
  check(0);
  check(~std::uint64_t{0});
}
