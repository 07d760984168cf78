// SPDX-License-Identifier: MIT
// locations.hpp: which code made each resource, as a small number, for tables by location.
//
// A location is the first frame of the user's code, by function, file and line: two stacks that end there are one place. A
// task that was made before the trace began may say its place in an annotation (`spawn_loc`). Where nothing is known the
// type stands for it, so that a trace without stacks still has a table by type.
//   const Locations where = locations_of(model, visible);
//   where.entries[where.of[row]].text                        // "loadUser @ src/db.js:41", "js-promise (location unknown)"
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thence/analysis/finding.hpp"
#include "thence/analysis/visibility.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Numbered in order of the first resource there.
///   Cost      locations_of: O(resources + annotations), and a text for each frame that is used.
///   Lifetime  stands alone; rows mean something with their model.
struct Locations {
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  struct Entry {
    std::uint32_t frame = kNone;  ///< row of `frames`; kNone: the text alone says it
    std::string text;
    bool known = false;           ///< false: only the type is
  };
  std::vector<Entry> entries;
  std::vector<std::uint32_t> of;  ///< by resource

  [[nodiscard]] const Entry& operator[](std::uint32_t resource) const noexcept { return entries[of[resource]]; }
};

/// `file:line` of `file:line:column`.
[[nodiscard]] constexpr std::string_view without_column(std::string_view text) noexcept {
  const auto before_digits = [](std::string_view of) {
    std::size_t at = of.size();
    while (at != 0 && of[at - 1] >= '0' && of[at - 1] <= '9') --at;
    return at == 0 || at == of.size() || of[at - 1] != ':' ? std::string_view::npos : at - 1;
  };
  const std::size_t column = before_digits(text);
  if (column == std::string_view::npos || before_digits(text.substr(0, column)) == std::string_view::npos) return text;
  return text.substr(0, column);
}

[[nodiscard]] inline Locations locations_of(const TraceModel& model, const Visibility& visible) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  Locations where;
  where.of.assign(model.resources(), kNone);
  TextNumbers numbers;
  std::vector<std::uint32_t> by_frame(model.frames.size(), kNone);
  std::vector<std::uint32_t> by_type(model.type_names.size() + 1, kNone);
  const auto entry = [&](std::string_view text, std::uint32_t frame, bool known) {
    const std::uint32_t at = numbers.number_of(text);
    if (at == where.entries.size()) where.entries.push_back({frame, std::string(text), known});
    return at;
  };
  std::uint32_t spawn_key = 0;
  bool has_spawn_key = false;
  for (const TraceModel::Note& note : model.notes) {
    if (has_spawn_key ? note.key != spawn_key : model.text(note.key) != "spawn_loc") continue;
    has_spawn_key = true;
    spawn_key = note.key;
    if (note.kind == ValueKind::kString && where.of[note.resource] == kNone && visible.user_frame(model, note.resource) == kNone) {
      where.of[note.resource] = entry(without_column(note.text), kNone, true);
    }
  }
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (where.of[row] != kNone) continue;
    const std::uint32_t frame = visible.user_frame(model, row);
    if (frame != kNone) {
      if (by_frame[frame] == kNone) by_frame[frame] = entry(location_text(model, frame), frame, true);
      where.of[row] = by_frame[frame];
      continue;
    }
    const bool created = model.has(row, ResourceFlag::kCreated);
    const std::size_t type = created && model.type[row] < model.type_names.size() ? model.type[row] : model.type_names.size();
    if (by_type[type] == kNone) {
      std::string text(created ? model.type_name(row) : std::string_view("unknown"));
      text += " (location unknown)";
      by_type[type] = entry(text, kNone, false);
    }
    where.of[row] = by_type[type];
  }
  return where;
}

}  // namespace THENCE_ABI
}  // namespace thence
