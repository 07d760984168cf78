// SPDX-License-Identifier: MIT
// protobuf_reader_test.cpp: the pull reader for protobuf, on bytes counted out by hand.
#include "thence/wire/protobuf_reader.hpp"

#include <initializer_list>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace thence;

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// All fields as text, then what was wrong.
std::string fields(const std::vector<std::byte>& bytes) {
  ProtobufReader reader{bytes};
  std::string out;
  while (reader.next()) {
    out += std::to_string(reader.field());
    out += reader.is(WireType::kBytes) ? "='" + std::string(reader.text()) + "' " : "=" + std::to_string(reader.varint()) + " ";
  }
  if (reader.damaged()) out += "at " + std::to_string(reader.offset()) + " expected " + std::string(reader.expected());
  return out;
}

}  // namespace

TEST_CASE("fields of every wire type are read") {
  CHECK(fields(bytes_of({0x08, 0x96, 0x01, 0x12, 0x02, 'h', 'i', 0x19, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x25, 2, 0, 0, 0})) ==
        "1=150 2='hi' 3=9223372036854775809 4=2 ");
  CHECK(fields({}) == "");
  CHECK(fields(bytes_of({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})) == "1=18446744073709551615 ");
}

TEST_CASE("a varint of each length reads the same as the last bytes there are and before others") {
  for (unsigned length = 1; length <= 10; ++length) {
    for (const std::uint64_t digit : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x55}, std::uint64_t{0x7f}}) {
      // Each byte bears its own seven bits; the tenth only one.
      std::vector<std::byte> bytes = bytes_of({0x08});
      std::uint64_t expected = 0;
      for (unsigned at = 0; at < length; ++at) {
        const std::uint64_t bits = (digit + at) & (at == 9 ? 1 : 0x7f);
        expected |= bits << (7 * at);
        bytes.push_back(static_cast<std::byte>(bits | (at + 1 < length ? 0x80 : 0)));
      }
      const std::string alone = "1=" + std::to_string(expected) + " ";
      INFO(length << " bytes");
      CHECK(fields(bytes) == alone);
      for (unsigned more = 1; more < 12; ++more) {
        bytes.insert(bytes.end(), {std::byte{0x10}, std::byte{0x07}});
        std::string all = alone;
        for (unsigned at = 0; at < more; ++at) all += "2=7 ";
        CHECK(fields(bytes) == all);
      }
    }
  }
  // Ten bytes that all go on, with room behind them.
  std::vector<std::byte> endless(30, std::byte{0xff});
  endless[0] = std::byte{0x08};
  CHECK(fields(endless) == "at 1 expected another byte of a varint");
  // Of the tenth byte one bit counts.
  CHECK(fields(bytes_of({0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 0x10, 0x01})) == "1=9223372036854775808 2=1 ");
}

TEST_CASE("each kind of bad protobuf has its own word and place") {
  CHECK(fields(bytes_of({0x08})) == "at 1 expected another byte of a varint");
  CHECK(fields(bytes_of({0x08, 0x80})) == "at 1 expected another byte of a varint");
  CHECK(fields(bytes_of({0x80})) == "at 0 expected another byte of a varint");
  CHECK(fields(bytes_of({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})) ==
        "at 1 expected another byte of a varint");
  CHECK(fields(bytes_of({0x08, 1, 0x12, 5, 'h'})) == "1=1 at 3 expected a length within its message");
  CHECK(fields(bytes_of({0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})) ==
        "at 1 expected a length within its message");
  CHECK(fields(bytes_of({0x19, 1, 2, 3})) == "at 1 expected eight bytes of a number");
  CHECK(fields(bytes_of({0x25, 1, 2, 3})) == "at 1 expected four bytes of a number");
  CHECK(fields(bytes_of({0x00, 1})) == "at 0 expected a field number");
  CHECK(fields(bytes_of({0x0b})) == "at 0 expected a wire type that is in use");
  CHECK(fields(bytes_of({0x0e})) == "at 0 expected a wire type that is in use");
}

TEST_CASE("a field read as another type is nothing, never a crash") {
  const auto bytes = bytes_of({0x08, 0x05, 0x12, 0x01, 'x'});
  ProtobufReader reader{bytes};
  REQUIRE(reader.next());
  CHECK(reader.bytes().empty());
  CHECK(reader.text().empty());
  CHECK(reader.real() == 0);
  REQUIRE(reader.next());
  CHECK(reader.varint() == 0);
  CHECK(reader.int64() == 0);
  CHECK_FALSE(reader.boolean());
}
