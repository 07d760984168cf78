// SPDX-License-Identifier: MIT
// stack_capture.hpp: how a resource's place of creation is taken.
//
// NoStacks      nothing. Creation costs one event.
// CallSites     the line that called create(): free to take, found again in a small cache. The default.
// FramePointerStacks (frame_pointers.hpp)   the native call stack, where the program keeps frame pointers.
// A script engine's stacks come through its adapter, which passes a StackId to create() itself.
// Layer: capture (includes storage/, core/).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/capture/stack_words.hpp"
#include "thence/config/version.hpp"
#include "thence/core/source_site.hpp"
#include "thence/storage/stack_deduplicator.hpp"

namespace thence {
inline namespace THENCE_ABI {

using StackWords = StackDeduplicator<std::uint64_t, StackId, WordHash>;

/// Takes the stack of the calling code; called on the hot path of create(). kNone says that there is none.
template <class C>
concept StackCapture = requires(C& capture, StackWords& table, const SourceSite& site) {
  { C::kName } -> std::convertible_to<std::string_view>;
  { capture.capture(table, site) } noexcept -> std::same_as<StackId>;
};

struct NoStacks {
  static constexpr std::string_view kName = "none";
  StackId capture(StackWords&, const SourceSite&) noexcept { return StackId::kNone; }
};
static_assert(StackCapture<NoStacks>);

/// One frame: the SourceSite. Sites are told apart by the addresses of their literals; 64 of them are found at once.
class CallSites {
 public:
  static constexpr std::string_view kName = "call-sites";

  /// The stack of a place that was captured lately; else kNone.
  [[nodiscard]] StackId find(const char* file, std::uint32_t line) const noexcept {
    const Entry& entry = cache_[place_of(file, line)];
    return entry.file == file && entry.line == line ? entry.id : StackId::kNone;
  }

  StackId capture(StackWords& table, const SourceSite& site) noexcept {
    if (const StackId found = find(site.file, site.line); found != StackId::kNone) return found;
    if (site.file == nullptr) return StackId::kNone;
    const std::uint64_t words[] = {static_cast<std::uint64_t>(StackFormat::kSource),
                                   reinterpret_cast<std::uintptr_t>(site.file),
                                   reinterpret_cast<std::uintptr_t>(site.function), site.line};
    const StackId id = table.intern(words);
    if (id != StackId::kNone) cache_[place_of(site.file, site.line)] = {site.file, site.line, id};
    return id;
  }

 private:
  static constexpr std::size_t kEntries = 64;
  struct Entry {
    const char* file = nullptr;
    std::uint32_t line = 0;
    StackId id = StackId::kNone;
  };
  [[nodiscard]] static std::size_t place_of(const char* file, std::uint32_t line) noexcept {
    return (reinterpret_cast<std::uintptr_t>(file) ^ line) % kEntries;
  }

  Entry cache_[kEntries];
};
static_assert(StackCapture<CallSites>);

}  // namespace THENCE_ABI
}  // namespace thence
