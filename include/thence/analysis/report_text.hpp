// SPDX-License-Identifier: MIT
// report_text.hpp: numbers as the reports print them, the same on every machine: no locale, no floating point.
//
//   report::duration_text(12'345'678)      "12.3 ms"
//   report::percent_text(125)              "12.5 %"
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace report {

[[nodiscard]] inline std::string number_text(std::uint64_t value) {
  char digits[20];
  std::size_t at = sizeof digits;
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return {digits + at, sizeof digits - at};
}

/// Three digits or a few more, in the unit in which it is at least 1: 1.23 us, 12.3 ms, 512 ms, 1,234 s cut to 1234 s.
[[nodiscard]] inline std::string duration_text(std::uint64_t ns) {
  if (ns < 1000) return number_text(ns) + " ns";
  const std::uint64_t unit = ns < 1'000'000 ? 1000 : ns < 1'000'000'000 ? 1'000'000 : 1'000'000'000;
  const std::uint64_t whole = ns / unit;
  const std::uint64_t thousandths = ns % unit / (unit / 1000);
  std::string text = number_text(whole);
  if (whole < 100) {
    text += '.';
    text += static_cast<char>('0' + thousandths / 100);
    if (whole < 10) text += static_cast<char>('0' + thousandths / 10 % 10);
  }
  text += unit == 1000 ? " us" : unit == 1'000'000 ? " ms" : " s";
  return text;
}

/// Rounded to the nearest; 0 of nothing.
[[nodiscard]] constexpr std::uint32_t permille(std::uint64_t part, std::uint64_t whole) noexcept {
  while (part > ~std::uint64_t{0} / 2000) {
    part /= 2;
    whole /= 2;
  }
  return whole == 0 ? 0 : static_cast<std::uint32_t>((part * 1000 + whole / 2) / whole);
}

/// 12.5 %
[[nodiscard]] inline std::string percent_text(std::uint64_t thousandths) {
  return number_text(thousandths / 10) + "." + static_cast<char>('0' + thousandths % 10) + " %";
}

/// A lane's name, or its number.
[[nodiscard]] inline std::string lane_text(const TraceModel& model, std::uint32_t lane) {
  if (lane >= model.lanes.size()) return "a thread that is not named";
  const std::string_view name = model.text(model.lanes[lane].name);
  return name.empty() ? "lane " + number_text(number(model.lanes[lane].id)) : std::string(name);
}

}  // namespace report
}  // namespace THENCE_ABI
}  // namespace thence
