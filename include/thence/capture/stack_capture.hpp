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

using StackWords = StackDeduplicator<std::uint64_t>;

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

  StackId capture(StackWords& table, const SourceSite& site) noexcept {
    const auto file = reinterpret_cast<std::uintptr_t>(site.file);
    Entry& entry = cache_[(file ^ site.line) % kEntries];
    if (entry.file == file && entry.line == site.line) [[likely]] return entry.id;
    return look_up(table, site, entry);
  }

 private:
  static constexpr std::size_t kEntries = 64;
  struct Entry {
    std::uintptr_t file = 0;
    std::uint32_t line = 0;
    StackId id = StackId::kNone;
  };

  [[gnu::noinline]] static StackId look_up(StackWords& table, const SourceSite& site, Entry& entry) noexcept {
    if (site.file == nullptr) return StackId::kNone;
    const std::uint64_t words[] = {static_cast<std::uint64_t>(StackFormat::kSource),
                                   reinterpret_cast<std::uintptr_t>(site.file),
                                   reinterpret_cast<std::uintptr_t>(site.function), site.line};
    const StackId id = table.intern(words);
    if (id != StackId::kNone) entry = {reinterpret_cast<std::uintptr_t>(site.file), site.line, id};
    return id;
  }

  Entry cache_[kEntries];
};
static_assert(StackCapture<CallSites>);

}  // namespace THENCE_ABI
}  // namespace thence
