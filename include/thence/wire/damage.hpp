// SPDX-License-Identifier: MIT
// damage.hpp: where an input stops making sense, and what should have stood there.
//
// Bad input never crashes a reader and never goes unsaid. A reader stops at the first damage; all that it handed over
// before is good, and it says how much that was:
//   trace.pftrace: damaged at byte 118: expected another byte of a varint; 1,204 events before it are good
//   app.json: cut off at byte 9,001, line 40: expected ',' or ']'; 12 events before it are good
// Layer: wire (includes core/ only).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Nothing, or the first thing that is wrong with an input.
struct Damage {
  std::uint64_t offset = 0;       ///< bytes from the input's start (of the inflated bytes, where it was compressed)
  std::uint64_t line = 0;         ///< from 1; 0: a binary format
  std::string_view expected = {}; ///< what should stand there; of static storage; empty: no damage
  bool cut_off = false;           ///< the input ended too early: what is there is sound

  [[nodiscard]] explicit operator bool() const noexcept { return !expected.empty(); }
};

/// Appends a number in decimal, its thousands apart: 1,204.
inline void append_grouped(std::string& out, std::uint64_t number) {
  char digits[26];
  std::size_t at = sizeof digits;
  unsigned count = 0;
  do {
    if (count != 0 && count % 3 == 0) digits[--at] = ',';
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
    ++count;
  } while (number != 0);
  out.append(digits + at, sizeof digits - at);
}

/// The one sentence that a user reads. `good`: the events that were read before the damage.
[[nodiscard]] inline std::string describe(const Damage& damage, std::string_view input, std::uint64_t good) {
  std::string out(input);
  out += damage.cut_off ? ": cut off at byte " : ": damaged at byte ";
  append_grouped(out, damage.offset);
  if (damage.line != 0) {
    out += ", line ";
    append_grouped(out, damage.line);
  }
  out += ": expected ";
  out += damage.expected;
  out += "; ";
  append_grouped(out, good);
  out += good == 1 ? " event before it is good" : " events before it are good";
  return out;
}

}  // namespace THENCE_ABI
}  // namespace thence
