// SPDX-License-Identifier: MIT
// stack_numbers.hpp: the call stacks of a file, each once, whichever of its writers' dictionaries it stands in.
// Layer: formats (includes wire/ and core/ only).

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/formats/trace_stacks.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Call stacks numbered from 1 by what their frames are, innermost first, in the order in which they come.
///   Threads   one.
///   Cost      O(frames) expected.
///   When full it grows.
///   Errors    std::bad_alloc.
class StackNumbers {
 public:
  static constexpr std::uint32_t kNone = 0;

  [[nodiscard]] std::uint32_t number_of(std::span<const StoredFrame> frames) {
    scratch_.clear();
    for (const StoredFrame& frame : frames) {
      const std::uint64_t words[] = {std::uint64_t{frame.function} << 32 | frame.file, std::uint64_t{frame.build_id} << 32 | frame.line,
                                     std::uint64_t{frame.column} << 32 | static_cast<std::uint8_t>(frame.kind), frame.pc, frame.relative_pc};
      scratch_.append(reinterpret_cast<const char*>(words), sizeof words);
    }
    const std::uint32_t place = texts_.number_of(scratch_);
    if (place == stacks_.size()) stacks_.emplace_back(frames.begin(), frames.end());
    return place + 1;
  }
  /// Of a number that was given.
  [[nodiscard]] std::span<const StoredFrame> operator[](std::uint32_t number) const noexcept { return stacks_[number - 1]; }

 private:
  TextNumbers texts_;
  std::vector<std::vector<StoredFrame>> stacks_;
  std::string scratch_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
