// SPDX-License-Identifier: MIT
#include "thence/wire/byte_sink.hpp"

#include <cstddef>
#include <span>
#include <string>

#include "support/catch.hpp"
#include "thence/wire/json_writer.hpp"

namespace {

using namespace thence;

/// Takes `room` bytes and refuses what does not fit whole, like a disk that is full.
struct SmallDisk {
  std::size_t room;
  std::string kept;
  int refusals = 0;
  bool write(std::span<const std::byte> bytes) {
    if (kept.size() + bytes.size() > room) {
      ++refusals;
      return false;
    }
    kept.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  }
};

}  // namespace

TEST_CASE("after the first refusal nothing more reaches a sink, and what did not is counted") {
  SmallDisk disk{10, {}, 0};
  SinkGate gate(disk);
  const std::string six = "abcdef", three = "xyz";
  CHECK(gate.write(std::as_bytes(std::span(six))));
  CHECK_FALSE(gate.write(std::as_bytes(std::span(six))));
  CHECK_FALSE(gate.write(std::as_bytes(std::span(three))));  // it would fit, but the file has a hole before it
  CHECK(disk.kept == "abcdef");
  CHECK(disk.refusals == 1);
  CHECK(gate.failed());
  CHECK(gate.written() == 6);
  CHECK(gate.refused() == 9);
}

TEST_CASE("a JSON writer whose sink refuses says so") {
  SmallDisk disk{100, {}, 0};
  JsonWriter json(disk, 32);
  json.begin_array();
  for (int n = 0; n < 100; ++n) json.value("0123456789");
  json.end_array();
  CHECK_FALSE(json.flush());
  CHECK_FALSE(json.ok());
  CHECK(disk.kept.size() <= 100);
  CHECK(disk.refusals == 1);
}
