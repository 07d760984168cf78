// SPDX-License-Identifier: MIT
// frame_pointers.hpp: the native call stack of create(), by the chain of frame pointers.
//
// Where a program keeps frame pointers (-fno-omit-frame-pointer), its callers are a linked list on the stack: a few loads a
// frame, no unwind tables, no lock. Where it does not, the list is not there, and this says so instead of guessing.
//
//   struct MyPolicies : thence::DefaultPolicies { using Stacks = thence::FramePointerStacks; };
//
// Layer: capture (includes storage/, core/).
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/capture/stack_capture.hpp"
#include "thence/capture/stack_words.hpp"
#include "thence/config/platform.hpp"
#include "thence/core/source_site.hpp"

namespace thence {
inline namespace THENCE_ABI {

namespace detail {

/// What a frame pointer points to, on x86-64 (after push rbp) and on arm64 (the frame record) alike.
struct FrameRecord {
  const FrameRecord* caller;
  std::uintptr_t return_address;
};

/// Without the signature that arm64 may put into a return address; unchanged elsewhere.
[[nodiscard]] inline std::uintptr_t without_signature(std::uintptr_t address) noexcept {
#if THENCE_ARCH_ARM64
  register std::uintptr_t link asm("x30") = address;
  asm("hint #7" : "+r"(link));  // xpaclri; does nothing on processors without pointer authentication
  return link;
#else
  return address;
#endif
}

/// The three of them stand for any chain of calls in a program: does the one in the middle keep its frame pointer?
struct FrameProbe {
  [[gnu::noinline]] static bool outer(std::uintptr_t stack_end) noexcept {
    const auto* const own = static_cast<const FrameRecord*>(__builtin_frame_address(0));
    const bool kept = middle(own, stack_end);
    asm volatile("" : : : "memory");  // no tail call
    return kept;
  }
  [[gnu::noinline]] static bool middle(const FrameRecord* outer_frame, std::uintptr_t stack_end) noexcept {
    const bool kept = inner(outer_frame, stack_end);
    asm volatile("" : : : "memory");
    return kept;
  }
  [[gnu::noinline]] static bool inner(const FrameRecord* outer_frame, std::uintptr_t stack_end) noexcept {
    const auto* const own = static_cast<const FrameRecord*>(__builtin_frame_address(0));
    const auto between = reinterpret_cast<std::uintptr_t>(own->caller);
    return between > reinterpret_cast<std::uintptr_t>(own) && between < reinterpret_cast<std::uintptr_t>(outer_frame) &&
           between % alignof(FrameRecord) == 0 && between + sizeof(FrameRecord) <= stack_end &&
           reinterpret_cast<const FrameRecord*>(between)->caller == outer_frame;
  }
};

}  // namespace detail

/// Takes up to 32 frames, innermost first, each as an address inside the call instruction.
///   Threads   the tracer's. The limits of the stack are asked for when this is made; if that was on another thread, once
///             more at the first capture. Calls from a stack that is not the thread's (a fiber's) give none, counted.
///   Cost      some nanoseconds a frame, and one hash of them. The first capture on another thread than the constructor's
///             asks the system for the limits, once.
///   Errors    noexcept. Never reads outside the thread's stack. A chain that passes through code without frame pointers
///             ends there or misses callers: its innermost frame is right in any case.
class FramePointerStacks {
 public:
  static constexpr std::string_view kName = "frame-pointers";
  static constexpr std::size_t kMaxDepth = 32;

  /// Whether the program keeps frame pointers: found out by a probe, compiled with the unit that made this.
  enum class Mode : std::uint8_t { kUnavailable = 0, kFramePointers = 1 };

  FramePointerStacks() noexcept { find_stack(); }

  [[nodiscard]] Mode mode() const noexcept { return mode_; }
  [[nodiscard]] std::string_view mode_name() const noexcept {
    return mode_ == Mode::kFramePointers ? "frame pointers"
                                         : "unavailable: the program was built without frame pointers";
  }
  /// Captures from a stack that is not this thread's own.
  [[nodiscard]] std::uint64_t foreign_stacks() const noexcept { return foreign_; }

  [[gnu::noinline]] StackId capture(StackWords& table, const SourceSite&) noexcept {
    if (mode_ == Mode::kUnavailable) return StackId::kNone;
    const auto own = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    if (!on_stack(own) && !find_stack_again(own)) {
      ++foreign_;
      return StackId::kNone;
    }
    std::uint64_t words[1 + kMaxDepth];
    WordHash hash;
    words[0] = static_cast<std::uint64_t>(StackFormat::kNative);
    hash.add(words[0]);
    std::size_t count = 1;
    const std::uintptr_t last = stack_end_ - sizeof(detail::FrameRecord);
    for (std::uintptr_t at = own; count != 1 + kMaxDepth;) {
      const auto* const frame = reinterpret_cast<const detail::FrameRecord*>(at);
      const std::uintptr_t address = detail::without_signature(frame->return_address);
      if (address < kFirstPage) break;
      words[count++] = address - 1;  // inside the call, whose line is the caller's
      hash.add(address - 1);
      const auto caller = reinterpret_cast<std::uintptr_t>(frame->caller);
      // Callers lie further up, in the same stack; so this ends.
      if (caller <= at || caller > last || caller % alignof(detail::FrameRecord) != 0) break;
      at = caller;
    }
    return count == 1 ? StackId::kNone : table.intern({words, count}, hash.value());
  }

 private:
  static constexpr std::uintptr_t kFirstPage = 4096;

  /// A whole frame record lies here, inside the stack.
  [[nodiscard]] bool on_stack(std::uintptr_t at) const noexcept {
    return at >= stack_begin_ && at % alignof(detail::FrameRecord) == 0 && at < stack_end_ &&
           stack_end_ - at >= sizeof(detail::FrameRecord);
  }

  [[gnu::noinline, gnu::cold]] bool find_stack_again(std::uintptr_t frame) noexcept {
    if (looked_again_) return false;
    looked_again_ = true;
    find_stack();
    return on_stack(frame);
  }

  void find_stack() noexcept {
    stack_begin_ = stack_end_ = 0;
    mode_ = Mode::kUnavailable;
    ::pthread_attr_t attributes;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return;
    void* lowest = nullptr;
    std::size_t size = 0;
    if (::pthread_attr_getstack(&attributes, &lowest, &size) == 0) {
      stack_begin_ = reinterpret_cast<std::uintptr_t>(lowest);
      stack_end_ = stack_begin_ + size;
    }
    ::pthread_attr_destroy(&attributes);
    if constexpr (kIsX86_64 || kIsArm64) {
      if (detail::FrameProbe::outer(stack_end_)) mode_ = Mode::kFramePointers;
    }
  }

  std::uintptr_t stack_begin_ = 0;
  std::uintptr_t stack_end_ = 0;
  std::uint64_t foreign_ = 0;
  Mode mode_ = Mode::kUnavailable;
  bool looked_again_ = false;
};
static_assert(StackCapture<FramePointerStacks>);

}  // namespace THENCE_ABI
}  // namespace thence
