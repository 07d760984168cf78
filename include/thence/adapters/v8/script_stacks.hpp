// SPDX-License-Identifier: MIT
// script_stacks.hpp: where a promise was created, for some ten nanoseconds instead of some ten microseconds.
//
// StackTrace::CurrentStackTrace() walks, symbolises and allocates: 12-50 us. Almost every stack that a program shows has been
// seen before. So the raw words of the frames (frame_walker.hpp) are looked up first, and only a stack never seen pays.
//
// What makes it exact: the words themselves are kept and compared (a hash is no proof); whatever they point at moves or goes
// only in a collection of the old generation, whose end empties the cache; a stack captured while one ran is not kept.
// What is not exact is named: a function's name is the one that it had when its stack was first seen.
//
// Layer: adapters/v8 (includes capture/, V8).
#pragma once

#include <v8.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "thence/adapters/v8/frame_walker.hpp"
#include "thence/adapters/v8/v8_version.hpp"
#include "thence/capture/stack_words.hpp"
#include "thence/core/ids.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// Whether, and how, a promise gets the stack of its creation.
enum class StackMode : std::uint8_t {
  kNone,         ///< no stack
  kFingerprint,  ///< raw frames looked up; V8 is asked for those never seen. Falls back to kEvery, and says so
  kEvery,        ///< V8 is asked each time: right everywhere, 12-50 us a promise
};

struct StackOptions {
  StackMode mode = StackMode::kFingerprint;
  std::size_t frames = 16;  ///< of JavaScript, innermost first; at most kMaxFrames. Frames further out are cut
  std::size_t entries =
      1 << 13;  ///< distinct stacks kept between two collections; when full, all are forgotten (counted)
  std::size_t words = 1 << 17;  ///< raw words kept for them (8 bytes each), likewise
  /// V8 is asked at every hit too, and wrong ones are counted; by context hooks, what their places tell as well (PromiseCounts). For
  /// tests: it costs as kEvery.
  bool verify = false;
};

struct StackCounts {
  std::uint64_t captures = 0;
  std::uint64_t hits = 0;
  std::uint64_t symbolised = 0;   ///< V8 was asked
  std::uint64_t uncacheable = 0;  ///< Wasm frames, another stack, too long: V8 was asked, and nothing kept
  std::uint64_t emptied = 0;      ///< by a collection
  std::uint64_t full = 0;         ///< emptied because it was full
  std::uint64_t verified = 0;     ///< hits compared with V8's own answer
  std::uint64_t wrong = 0;        ///< of them, those that were wrong
};

/// The stacks of one isolate.
///   Threads   the isolate's
///   Cost      a hit: 10-30 ns, no allocation, no V8 call. A miss: CurrentStackTrace() once
///   When full everything is forgotten and learnt again; counted
///   Errors    where the frames cannot be read, every capture asks V8: mode() and why() say so
///   Lifetime  not movable. stop() or the destructor comes before Isolate::Dispose(); forget() where the isolate went first
class ScriptStacks {
 public:
  /// No stack has this id: V8 must be asked.
  static constexpr StackId kUnseen = static_cast<StackId>(~std::uint32_t{0});

  ScriptStacks(::v8::Isolate* isolate, StackOptions options)
      : mode_(options.mode), walker_(isolate), isolate_(isolate), options_(options) {
    options_.frames = std::clamp<std::size_t>(options_.frames, 1, kMaxFrames);
    options_.entries = std::bit_ceil(std::max<std::size_t>(options_.entries, 64));
    options_.words = std::max(options_.words, kFirstWord + 1 + FrameWalker::kMaxWords);
    if (mode_ == StackMode::kFingerprint) {
      table_ = std::make_unique<Entry[]>(options_.entries);
      words_ = std::make_unique<std::uint64_t[]>(options_.words);
      words_[0] = FrameWalker::kNoWords;
      isolate_->AddGCEpilogueCallback(&after_gc, this);
    }
  }
  ~ScriptStacks() { stop(); }
  ScriptStacks(const ScriptStacks&) = delete;
  ScriptStacks& operator=(const ScriptStacks&) = delete;

  /// How stacks are really taken, after the first calibrate().
  [[nodiscard]] StackMode mode() const noexcept { return mode_; }
  /// Why fingerprints were asked for and are not used; empty otherwise.
  [[nodiscard]] std::string_view why() const noexcept { return why_ == nullptr ? std::string_view{} : why_; }
  [[nodiscard]] StackCounts counts() const noexcept {
    StackCounts counts = counts_;
    counts.captures += hits_;
    counts.hits = hits_;
    return counts;
  }
  [[nodiscard]] bool verifies() const noexcept { return options_.verify; }
  [[nodiscard]] const FrameWalker& walker() const noexcept { return walker_; }

  /// Before the first capture; runs JavaScript in `context`. Does nothing the second time.
  void calibrate(::v8::Local<::v8::Context> context) {
    if (is_calibrated_) return;
    is_calibrated_ = true;
    walker_.calibrate(context);
    if (mode_ != StackMode::kFingerprint) return;
    if (walker_.problem() == nullptr) {
      is_quick_ = !options_.verify;
      return;
    }
    why_ = walker_.problem();
    mode_ = StackMode::kEvery;
  }

  /// The isolate runs on the calling thread from now on, and its stacks go to another tracer: ids are learnt anew.
  void moved_here() noexcept {
    walker_.moved_here();
    empty();
  }

  /// The stack that called the frame at `fp`, if it is the one that was seen last at the same place, as it mostly is: its words are
  /// compared while the frames are walked, and neither copied nor hashed. Whoever uses the answer counts it.
  [[gnu::always_inline, nodiscard]] [[gnu::no_sanitize_address]] inline bool quick_look_up(std::uintptr_t fp, StackId& stack) noexcept {
    if (!is_quick_ || !walker_.is_here(fp)) [[unlikely]] return false;
    const std::uint64_t* const words = words_.get() + recent(fp);
    if (!walker_.matches(fp, words)) [[unlikely]] return false;
    stack = static_cast<StackId>(words[-1]);
    return true;
  }
  [[gnu::always_inline]] inline void count_hit() noexcept { ++hits_; }
  /// The stack that called the frame at `fp`, if it was seen before; kUnseen else. Makes no V8 call.
  [[gnu::noinline, nodiscard]] StackId look_up(std::uintptr_t fp) noexcept {
    if (mode_ == StackMode::kNone) return StackId::kNone;
    if (mode_ == StackMode::kEvery) return kUnseen;
    const StackId found = find(fp);
    if (options_.verify) {
      expected_ = found;
      if (found != kUnseen) walk_.complete = true;
      return kUnseen;
    }
    if (found != kUnseen) count_hit();
    return found;
  }

  /// The current stack, by a look-up first and V8's answer then. Called from C++ that JavaScript has called, or that V8 has
  /// called on JavaScript's behalf. `hook_script`: the innermost frame is a hook of ours, of this script, and left out; 0: none.
  template <class TracerType>
  [[nodiscard]] StackId capture(TracerType& tracer, int hook_script) noexcept {
    if (mode_ == StackMode::kNone) return StackId::kNone;
    const StackId from_fast_call = std::exchange(expected_, kUnseen);
    if (mode_ == StackMode::kFingerprint) {
      std::uintptr_t fp = walker_.innermost_exit();
      if (fp == 0 && hook_script == 0) return StackId::kNone;  // no JavaScript below
      if (hook_script != 0) fp = walker_.caller_of(fp);
      StackId found;
      if (quick_look_up(fp, found)) [[likely]] {
        count_hit();
        return found;
      }
      found = look_up(fp);
      if (found != kUnseen) return found;
    }
    ++counts_.captures;
    const StackId from_slow_call = std::exchange(expected_, kUnseen);
    const std::uint64_t collections = collections_;
    const StackId answer = symbolise(tracer, hook_script);
    check(from_fast_call, answer);
    check(from_slow_call, answer);
    if (mode_ == StackMode::kFingerprint) {
      if (!walk_.complete) {
        ++counts_.uncacheable;
      } else if (collections == collections_ && from_slow_call == kUnseen) {
        keep(answer);
      }
    }
    return answer;
  }

  void stop() noexcept {
    if (isolate_ != nullptr && table_ != nullptr) isolate_->RemoveGCEpilogueCallback(&after_gc, this);
    isolate_ = nullptr;
  }
  void forget() noexcept { isolate_ = nullptr; }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t first_word = 0;
    std::uint32_t words = 0;  // 0: free
  };

  static void after_gc(::v8::Isolate*, ::v8::GCType type, ::v8::GCCallbackFlags, void* data) {
    if (!may_move_code(type)) return;
    auto& self = *static_cast<ScriptStacks*>(data);
    ++self.collections_;
    ++self.counts_.emptied;
    self.empty();
  }

  void empty() noexcept {
    expected_ = kUnseen;
    if (used_entries_ == 0) return;
    std::fill_n(table_.get(), options_.entries, Entry{});
    recent_.fill(0);
    used_entries_ = 0;
    used_words_ = kFirstWord;
  }

  [[nodiscard]] static std::uint64_t hash_of(std::span<const std::uint64_t> words) noexcept {
    std::uint64_t hash = words.size();
    for (const std::uint64_t word : words) {
      hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    }
    return hash;
  }

  [[gnu::always_inline, nodiscard]] inline std::uint32_t& recent(std::uintptr_t fp) noexcept {
    return recent_[walker_.clue(fp) >> (64 - kRecentBits)];
  }

  /// In verify mode the stack that was seen last at the same place answers here, too.
  [[gnu::no_sanitize_address]] [[nodiscard]] StackId find(std::uintptr_t fp) noexcept {
    if (!walker_.is_here(fp)) [[unlikely]] {
      walk_ = {};
      return kUnseen;
    }
    std::uint32_t& seen_last = recent(fp);
    if (const std::uint64_t* const words = words_.get() + seen_last; walker_.matches(fp, words)) return static_cast<StackId>(words[-1]);
    walk_ = walker_.walk(fp, options_.frames, buffer_);
    if (!walk_.complete) return kUnseen;
    hash_ = hash_of({buffer_.data(), walk_.words});
    const std::size_t mask = options_.entries - 1;
    for (std::size_t at = hash_ & mask; table_[at].words != 0; at = (at + 1) & mask) {
      const Entry& entry = table_[at];
      if (entry.hash == hash_ && entry.words == walk_.words &&
          std::equal(buffer_.data(), buffer_.data() + walk_.words, words_.get() + entry.first_word)) {
        seen_last = entry.first_word;
        return id_of(entry);
      }
    }
    return kUnseen;
  }
  [[nodiscard]] StackId id_of(const Entry& entry) const noexcept { return static_cast<StackId>(words_[entry.first_word - 1]); }

  void keep(StackId id) noexcept {
    if (used_entries_ >= options_.entries / 4 * 3 || used_words_ + 1 + walk_.words > options_.words) {
      ++counts_.full;
      empty();
    }
    const std::size_t mask = options_.entries - 1;
    std::size_t at = hash_ & mask;
    while (table_[at].words != 0) at = (at + 1) & mask;
    words_[used_words_++] = number(id);
    std::copy_n(buffer_.data(), walk_.words, words_.get() + used_words_);
    table_[at] = {hash_, static_cast<std::uint32_t>(used_words_), static_cast<std::uint32_t>(walk_.words)};
    used_words_ += walk_.words;
    ++used_entries_;
  }

  void check(StackId cached, StackId answer) noexcept {
    if (cached == kUnseen) return;
    ++counts_.verified;
    if (cached != answer) ++counts_.wrong;
  }

  template <class TracerType>
  [[gnu::noinline]] StackId symbolise(TracerType& tracer, int hook_script) noexcept {
    ++counts_.symbolised;
    ::v8::HandleScope handles(isolate_);
    const auto wanted = static_cast<int>(options_.frames);
    const auto trace = ::v8::StackTrace::CurrentStackTrace(isolate_, wanted + 1, kStackDetail);
    std::array<ScriptFrame, kMaxFrames> frames;
    std::array<char, 16 * 1024> text;  // of all names; what does not fit is cut
    std::size_t used = 0;
    const auto copy = [&](::v8::Local<::v8::String> string) -> std::string_view {
      if (string.IsEmpty() || string->Length() == 0) return {};
      const ::v8::String::Utf8Value utf8(isolate_, string);
      if (*utf8 == nullptr) return {};
      const std::size_t size = std::min(static_cast<std::size_t>(utf8.length()), text.size() - used);
      char* const start = text.data() + used;
      std::copy_n(*utf8, size, start);
      used += size;
      return {start, size};
    };
    std::size_t count = 0;
    for (int i = 0; i < trace->GetFrameCount() && count < options_.frames; ++i) {
      const auto frame = trace->GetFrame(isolate_, static_cast<std::uint32_t>(i));
      if (i == 0 && hook_script != 0 && frame->GetScriptId() == hook_script) continue;
      frames[count++] = {copy(frame->GetFunctionName()), copy(frame->GetScriptNameOrSourceURL()),
                         static_cast<std::uint32_t>(std::max(frame->GetLineNumber(), 0)),
                         static_cast<std::uint32_t>(std::max(frame->GetColumn(), 0))};
    }
    return count == 0 ? StackId::kNone : tracer.intern_script_stack({frames.data(), count});
  }

  static constexpr std::size_t kFirstWord = 1;  // behind those that match nothing
  static constexpr unsigned kRecentBits = 10;

  // What quick_look_up() reads stands together.
  bool is_quick_ = false;
  bool is_calibrated_ = false;
  StackMode mode_;
  FrameWalker walker_;
  std::unique_ptr<std::uint64_t[]> words_;  // of each stack, behind its id
  std::uint64_t hits_ = 0;
  std::array<std::uint32_t, std::size_t{1} << kRecentBits> recent_{};  // by clue, where the words begin of the stack seen last
  ::v8::Isolate* isolate_;
  StackOptions options_;
  const char* why_ = nullptr;
  FrameWalker::Walk walk_;
  std::uint64_t hash_ = 0;
  StackId expected_ = kUnseen;  // verify: what the cache said, until V8 has said it too
  std::array<std::uint64_t, FrameWalker::kMaxWords> buffer_{};
  std::unique_ptr<Entry[]> table_;
  std::size_t used_entries_ = 0;
  std::size_t used_words_ = kFirstWord;
  std::uint64_t collections_ = 0;
  StackCounts counts_;
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
