// SPDX-License-Identifier: MIT
// frame_walker.hpp: V8's frames as raw words, without asking V8.
//
// What names a JavaScript stack exactly is, for each physical frame, its return address and, for an interpreted frame (whose
// return address is the interpreter's own), the bytecode array and the offset in it. All of them are on the machine's stack.
// Where, V8 itself publishes for debuggers and profilers, as the data symbols v8dbg_*. Two places it does not publish:
//
//   * the word of the isolate that holds the innermost exit frame (where JavaScript called C++), and
//   * the slot of an entry frame (where C++ called JavaScript) that holds the exit frame before it.
//
// Both are found by calibration: JavaScript calls us at many depths, and a word that each time points at a live exit frame,
// alone of all words, is the one. Where a symbol is missing, or the calibration does not end with exactly one candidate, the
// walker is not usable and says why: the caller then asks V8 each time.
//
// Layer: adapters/v8 (includes config/, V8).
#pragma once

#include <dlfcn.h>
#include <pthread.h>
#include <v8-unwinder.h>
#include <v8.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "thence/adapters/v8/v8_version.hpp"
#include "thence/config/platform.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// The address of the calling function's frame: [0] is its caller's. Forces a frame pointer in the function that says it.
#define THENCE_V8_FRAME() reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0))

namespace detail {
[[gnu::always_inline, nodiscard]] inline std::uintptr_t load_word(std::uintptr_t address) noexcept {
  return *reinterpret_cast<const std::uintptr_t*>(address);
}
}  // namespace detail

/// Walks one isolate's frames.
///   Threads   the isolate's; moved_here() after it went to another
///   Cost      calibrate: some ten calls of JavaScript, once. walk: about 2 ns a frame, no allocation
///   Errors    noexcept; a chain of frames that leaves this thread's stack (a fiber's) is no stack
class FrameWalker {
 public:
  static constexpr std::size_t kMaxWords = 160;
  static constexpr std::size_t kMaxPhysicalFrames = 64;

  explicit FrameWalker(::v8::Isolate* isolate) noexcept : isolate_(isolate) {
    if (!kIsX86_64) {
      problem_ = "not this processor";
      return;
    }
    read_metadata();
    moved_here();
  }

  /// Null when walk() may be used.
  [[nodiscard]] const char* problem() const noexcept { return problem_; }

  /// The stack of the calling thread is the one to walk from now on.
  void moved_here() noexcept {
    stack_top_ = 0;
    pthread_attr_t attributes;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return;
    void* base = nullptr;
    std::size_t size = 0;
    if (::pthread_attr_getstack(&attributes, &base, &size) == 0)
      stack_top_ = reinterpret_cast<std::uintptr_t>(base) + size;
    ::pthread_attr_destroy(&attributes);
  }

  /// Finds the two places. Runs JavaScript in `context`; the host's microtasks and promise hooks stay out of it.
  void calibrate(::v8::Local<::v8::Context> context) {
    if (problem_ == nullptr || problem_ == kNotCalibrated) problem_ = try_to_calibrate(context);
  }

  struct Walk {
    std::size_t words = 0;  ///< 0: no stack could be told
    bool complete = false;  ///< the words tell the innermost `frames` frames
  };

  /// The words of the frames that called the frame at `fp`: return addresses, each with what it tells of its frame (Kind), and after an
  /// interpreted frame's its bytecode array and offset. Complete when all frames are told, or at least `wanted` of JavaScript's.
  [[nodiscard]] [[gnu::no_sanitize_address]] Walk walk(std::uintptr_t fp, std::size_t wanted,
                                                       std::span<std::uint64_t, kMaxWords> words) const noexcept {
    std::size_t script_frames = 0;
    std::size_t count = 0;
    if (!is_on_stack(fp, THENCE_V8_FRAME())) return {};
    for (std::size_t physical = 0; physical < kMaxPhysicalFrames && count + 3 <= kMaxWords; ++physical) {
      const std::uintptr_t return_address = detail::load_word(fp + 8);
      const std::uintptr_t caller = detail::load_word(fp);
      if (!is_on_stack(caller, fp)) return {count, false};
      fp = caller;
      std::uint64_t& word = words[count++];
      word = return_address;
      const auto marker = static_cast<std::intptr_t>(detail::load_word(fp - 8));
      if ((marker & 1) != 0) {  // a context: a frame of JavaScript
        if (is_in_builtins(return_address)) {
          if (is_interpreted(return_address)) {
            const std::uintptr_t array = detail::load_word(fp + bytecode_array_);
            const std::uintptr_t offset = detail::load_word(fp + bytecode_offset_);
            if (is_heap_object(array) && is_bytecode_offset(offset)) {
              word |= kInterpreted;
              words[count++] = array;
              words[count++] = offset;
              if (interpreter_return_ != 0) ++script_frames;
            }
          }
        } else {
          ++script_frames;
        }
        if (script_frames != wanted) continue;
        word |= kLast;
        return {count, true};
      }
      if (marker == entry_ || marker == construct_entry_) {
        const std::uintptr_t before = detail::load_word(fp - exit_slot_);
        word |= kEntry;
        if (before == 0) {
          word |= kLast;
          return {count, true};
        }
        if (!is_on_stack(before, fp)) return {count, false};
        fp = before;
        continue;
      }
      if (is_wasm(marker)) return {count, false};  // its code is freed at times of its own
    }
    return {count, false};
  }

  /// Whether the frame at `fp` is on the stack of the calling thread.
  [[gnu::always_inline, nodiscard]] inline bool is_here(std::uintptr_t fp) const noexcept {
    return is_on_stack(fp, THENCE_V8_FRAME());
  }
  /// Matches no frames.
  static constexpr std::uint64_t kNoWords = 0;
  /// Whether walk() would be complete, with just these words, which a complete one gave, for a frame that is_here(). No word is stored;
  /// a frame that returns to where the one before did is of the same kind, and that is not asked again.
  [[gnu::always_inline, nodiscard]] [[gnu::no_sanitize_address]] inline bool matches(std::uintptr_t fp,
                                                                                     const std::uint64_t* words) const noexcept {
    for (;; ++words) {
      const std::uintptr_t return_address = detail::load_word(fp + 8);
      fp = detail::load_word(fp);
      if (*words == return_address) continue;
      const std::uint64_t kinds = std::rotr(*words ^ return_address, kKindShift);  // lowest; what else differs is above
      if (kinds > kKinds >> kKindShift) return false;
      if ((kinds & kInterpreted >> kKindShift) != 0) {
        if (detail::load_word(fp + bytecode_array_) != words[1] || detail::load_word(fp + bytecode_offset_) != words[2]) return false;
        words += 2;
      }
      if ((kinds & kEntry >> kKindShift) != 0) {
        const std::uintptr_t before = detail::load_word(fp - exit_slot_);
        if ((kinds & kLast >> kKindShift) != 0) return before == 0;
        if (!is_on_stack(before, fp)) return false;
        fp = before;
        continue;
      }
      if ((kinds & kLast >> kKindShift) != 0) return true;
    }
  }

  /// A number that differs for most stacks, from the innermost frames alone, for a frame of V8's that is_here().
  [[gnu::always_inline, nodiscard]] [[gnu::no_sanitize_address]] inline std::uint64_t clue(std::uintptr_t fp) const noexcept {
    const std::uintptr_t caller = detail::load_word(fp);
    const std::uintptr_t outer_return = detail::load_word(caller + 8);
    std::uint64_t mixed = (detail::load_word(fp + 8) ^ fp << 8) + (outer_return << 5);
    // What stands there in the frame of another function is of no meaning, and may be different each time.
    if (outer_return == interpreter_return_) mixed ^= detail::load_word(detail::load_word(caller) + bytecode_offset_) >> 25;
    return mixed * 0x9E3779B97F4A7C15u;
  }

  /// Where C++ was called from JavaScript last; 0 where it was not.
  [[nodiscard]] [[gnu::no_sanitize_address]] std::uintptr_t innermost_exit() const noexcept {
    return detail::load_word(reinterpret_cast<std::uintptr_t>(isolate_) + exit_offset_);
  }
  /// The place in V8's built-in code that called the frame at `fp`; 0 where that was C++, or script.
  [[nodiscard]] [[gnu::no_sanitize_address]] std::uintptr_t builtin_caller(std::uintptr_t fp) const noexcept {
    const std::uintptr_t caller = caller_of(fp);
    if (!is_on_stack(caller, fp)) return 0;
    const std::uintptr_t outer = detail::load_word(caller);  // C++ calls by the entry's trampoline, whose caller is the entry
    if (!is_on_stack(outer, caller)) return 0;
    const auto marker = static_cast<std::intptr_t>(detail::load_word(outer - 8));
    const std::uintptr_t return_address = detail::load_word(fp + 8);
    return marker == entry_ || marker == construct_entry_ || !is_in_builtins(return_address) ? 0 : return_address;
  }
  /// The frame that called the frame at `fp`, which must be on this thread's stack; 0 else.
  [[nodiscard]] [[gnu::no_sanitize_address]] std::uintptr_t caller_of(std::uintptr_t fp) const noexcept {
    if (!is_on_stack(fp, THENCE_V8_FRAME())) return 0;
    return detail::load_word(fp);
  }

 private:
  static constexpr const char* kNotCalibrated = "not calibrated";
  static constexpr std::size_t kIsolateWords = 4096;
  static constexpr std::size_t kEntrySlots = 24;
  static constexpr std::size_t kMaxCodeRanges = 64;

  /// Markers of frame types, which are small integers, doubled. One bit each.
  struct Markers {
    std::uint64_t types = 0;
    /// False: too large to be kept.
    [[nodiscard]] bool add(std::intptr_t marker) noexcept {
      const auto type = static_cast<std::uintptr_t>(marker) >> 1;
      if (type >= 64) return false;
      types |= std::uint64_t{1} << type;
      return true;
    }
    [[nodiscard]] bool has(std::intptr_t marker) const noexcept {
      const auto type = static_cast<std::uintptr_t>(marker) >> 1;
      return type < 64 && (types >> type & 1) != 0;
    }
  };

  struct Range {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    [[nodiscard]] bool has(std::uintptr_t address) const noexcept { return address >= begin && address < end; }
  };

  /// What a return address has told of its frame, in the bits that no address has.
  enum Kind : std::uint64_t {
    kInterpreted = std::uint64_t{1} << 61,  ///< its bytecode array and offset follow
    kEntry = std::uint64_t{1} << 62,        ///< C++ called JavaScript here
    kLast = std::uint64_t{1} << 63,         ///< nothing further out is told
    kKinds = kInterpreted | kEntry | kLast,
  };
  static constexpr int kKindShift = std::countr_zero(std::uint64_t{kKinds});

  [[nodiscard]] bool is_on_stack(std::uintptr_t fp, std::uintptr_t above) const noexcept {
    return fp > above && fp < stack_top_ && fp % sizeof(void*) == 0;
  }
  [[nodiscard]] bool is_in_builtins(std::uintptr_t pc) const noexcept { return builtins_.has(pc); }
  [[nodiscard]] static bool is_heap_object(std::uintptr_t word) noexcept { return (word & 1) != 0; }
  /// Whether the frame may be an interpreted one. While the interpreter's address is not known, frames of built-in functions
  /// are taken for such: words more than needed make a stack be seen less often again, never wrongly.
  [[nodiscard]] bool is_interpreted(std::uintptr_t return_address) const noexcept {
    return interpreter_return_ == 0 || return_address == interpreter_return_ || begins_builtin(return_address);
  }
  /// Whether a built-in function begins here: there is int3 between them. No call returns to a beginning: the deoptimiser has
  /// put a frame here that goes on in the interpreter.
  [[nodiscard]] [[gnu::no_sanitize_address]] static bool begins_builtin(std::uintptr_t address) noexcept {
    return *reinterpret_cast<const unsigned char*>(address - 1) == 0xCC;
  }
  /// A small integer: in the upper half of the word, or, with compressed pointers, twice the value in the lower.
  [[nodiscard]] static bool is_bytecode_offset(std::uintptr_t word) noexcept {
    const bool is_full_smi = (word & 0xffffffffu) == 0 && word >> 32 < (1u << 24);
    const bool is_half_smi = (word & 1) == 0 && word < (1u << 25);
    return is_full_smi || is_half_smi;
  }
  [[nodiscard]] bool is_wasm(std::intptr_t marker) const noexcept { return wasm_.has(marker); }

  /// A data symbol that V8 publishes: an int.
  [[nodiscard]] static const int* published(const char* name) noexcept {
    return static_cast<const int*>(::dlsym(RTLD_DEFAULT, name));
  }

  void read_metadata() noexcept {
    const int* const array = published("v8dbg_off_fp_bytecode_array");
    const int* const offset = published("v8dbg_off_fp_bytecode_offset");
    const int* const entry = published("v8dbg_frametype_EntryFrame");
    const int* const construct_entry = published("v8dbg_frametype_ConstructEntryFrame");
    if (array == nullptr || offset == nullptr || entry == nullptr || construct_entry == nullptr) {
      problem_ = "V8 does not publish its frames (v8dbg_* symbols)";
      return;
    }
    bytecode_array_ = static_cast<std::uintptr_t>(static_cast<std::intptr_t>(*array));
    bytecode_offset_ = static_cast<std::uintptr_t>(static_cast<std::intptr_t>(*offset));
    entry_ = marker_of(*entry);
    construct_entry_ = marker_of(*construct_entry);
    // Which exit and Wasm frames there are depends on the version.
    bool are_kept = true;
    for (const char* name : {"v8dbg_frametype_ExitFrame", "v8dbg_frametype_BuiltinExitFrame",
                             "v8dbg_frametype_ApiCallbackExitFrame", "v8dbg_frametype_ApiAccessorExitFrame"}) {
      if (const int* const value = published(name)) are_kept &= exits_.add(marker_of(*value));
    }
    for (const char* name : {"v8dbg_frametype_WasmFrame", "v8dbg_frametype_WasmToJsFrame",
                             "v8dbg_frametype_WasmToJsFunctionFrame", "v8dbg_frametype_JsToWasmFrame",
                             "v8dbg_frametype_WasmCompileLazyFrame", "v8dbg_frametype_WasmLiftoffSetupFrame",
                             "v8dbg_frametype_WasmDebugBreakFrame", "v8dbg_frametype_WasmExitFrame",
                             "v8dbg_frametype_WasmInterpreterEntryFrame", "v8dbg_frametype_WasmSegmentStartFrame",
                             "v8dbg_frametype_CWasmEntryFrame", "v8dbg_frametype_StackSwitchFrame"}) {
      if (const int* const value = published(name)) are_kept &= wasm_.add(marker_of(*value));
    }
    problem_ = are_kept ? kNotCalibrated : "V8 has more types of frames than are kept apart";
  }
  [[nodiscard]] static std::intptr_t marker_of(int frame_type) noexcept { return std::intptr_t{frame_type} * 2; }

  // ---- calibration

  struct Calibration {
    FrameWalker* walker = nullptr;
    int rounds = 0;
    int nested_rounds = 0;
    std::uintptr_t outer_exit = 0;
    std::array<std::uint16_t, kIsolateWords> hits{};
    std::array<std::uint16_t, kEntrySlots> slot_hits{};
    std::array<Range, kMaxCodeRanges> code{};
    std::size_t code_ranges = 0;
  };

  /// Recursion and nothing else: no built-in object is touched, for the program may have changed them.
  static constexpr std::string_view kCalibration = R"js((probe) => {
    const dive = (depth) => { if (depth === 0) return probe(); dive(depth - 1); return 0 };
    for (let depth = 0; depth < 24; depth++) dive(depth);
    return 0;
  })js";

  const char* try_to_calibrate(::v8::Local<::v8::Context> context) {
    ::v8::HandleScope handles(isolate_);
    ::v8::Context::Scope entered(context);
    NoMicrotasks no_microtasks(isolate_, context);
    ::v8::TryCatch caught(isolate_);
    Calibration calibration;
    calibration.walker = this;
    if (!read_code_ranges(calibration)) return "the built-in code was not found";

    ::v8::Local<::v8::String> source;
    ::v8::Local<::v8::Script> script;
    ::v8::Local<::v8::Value> dive;
    if (!::v8::String::NewFromUtf8(isolate_, kCalibration.data(), ::v8::NewStringType::kNormal,
                                   static_cast<int>(kCalibration.size()))
             .ToLocal(&source) ||
        !::v8::Script::Compile(context, source).ToLocal(&script) || !script->Run(context).ToLocal(&dive)) {
      return "the calibration could not run";
    }
    const auto data = ::v8::External::New(isolate_, &calibration);
    const auto run = [&](::v8::FunctionCallback callback) {
      ::v8::Local<::v8::Function> probe;
      if (!::v8::Function::New(context, callback, data).ToLocal(&probe)) return false;
      ::v8::Local<::v8::Value> arguments[] = {probe};
      return !dive.As<::v8::Function>()->Call(context, ::v8::Undefined(isolate_), 1, arguments).IsEmpty();
    };
    if (!run(&look_at_isolate)) return "the calibration could not run";
    int candidates = 0;
    for (std::size_t i = 0; i < kIsolateWords; ++i) {
      if (calibration.hits[i] != calibration.rounds) continue;
      ++candidates;
      exit_offset_ = i * sizeof(void*);
    }
    if (calibration.rounds == 0 || candidates != 1) return "the isolate's exit frame was not found by calibration";

    // The same from within a call from C++, so that there are an exit and an entry frame further out.
    struct Nested {
      Calibration* calibration;
      ::v8::Local<::v8::Value> dive;
    } nested{&calibration, dive};
    const auto nested_data = ::v8::External::New(isolate_, &nested);
    const auto call_again = [](const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
      auto* const inner = static_cast<Nested*>(info.Data().As<::v8::External>()->Value());
      inner->calibration->outer_exit = inner->calibration->walker->innermost_exit();
      ::v8::Isolate* const isolate = info.GetIsolate();
      const auto current = isolate->GetCurrentContext();
      ::v8::Local<::v8::Function> probe;
      if (!::v8::Function::New(current, &look_at_entry, ::v8::External::New(isolate, inner->calibration))
               .ToLocal(&probe))
        return;
      ::v8::Local<::v8::Value> arguments[] = {probe};
      (void)inner->dive.As<::v8::Function>()->Call(current, ::v8::Undefined(isolate), 1, arguments).IsEmpty();
    };
    ::v8::Local<::v8::Function> again;
    if (!::v8::Function::New(context, call_again, nested_data).ToLocal(&again)) return "the calibration could not run";
    ::v8::Local<::v8::Value> arguments[] = {again};
    if (dive.As<::v8::Function>()->Call(context, ::v8::Undefined(isolate_), 1, arguments).IsEmpty()) {
      return "the calibration could not run";
    }
    candidates = 0;
    for (std::size_t i = 0; i < kEntrySlots; ++i) {
      if (calibration.slot_hits[i] != calibration.nested_rounds) continue;
      ++candidates;
      exit_slot_ = i * sizeof(void*);
    }
    if (calibration.nested_rounds == 0 || candidates != 1)
      return "the entry frame's exit slot was not found by calibration";
    learn_interpreter(context);
    return nullptr;
  }

  /// The one address to which calls from interpreted code return: that of two functions which run for the first time. Where it
  /// is not found (all code is compiled at once), interpreted frames are told as well, but do not count towards `wanted`.
  void learn_interpreter(::v8::Local<::v8::Context> context) {
    static constexpr std::string_view kTwoFrames =
        "(probe) => { const inner = () => { probe(); return 0 }; inner(); return 0 }";
    interpreter_return_ = 0;
    ::v8::Local<::v8::String> source;
    ::v8::Local<::v8::Script> script;
    ::v8::Local<::v8::Value> outer;
    ::v8::Local<::v8::Function> probe;
    if (!::v8::String::NewFromUtf8(isolate_, kTwoFrames.data(), ::v8::NewStringType::kNormal,
                                   static_cast<int>(kTwoFrames.size()))
             .ToLocal(&source) ||
        !::v8::Script::Compile(context, source).ToLocal(&script) || !script->Run(context).ToLocal(&outer) ||
        !::v8::Function::New(context, &look_at_interpreter, ::v8::External::New(isolate_, this)).ToLocal(&probe)) {
      return;
    }
    ::v8::Local<::v8::Value> arguments[] = {probe};
    (void)outer.As<::v8::Function>()->Call(context, ::v8::Undefined(isolate_), 1, arguments).IsEmpty();
  }

  bool read_code_ranges(Calibration& calibration) noexcept {
    std::array<::v8::MemoryRange, kMaxCodeRanges> pages;
    const std::size_t count = isolate_->CopyCodePages(pages.size(), pages.data());
    calibration.code_ranges = count < pages.size() ? count : pages.size();
    const auto entry = reinterpret_cast<std::uintptr_t>(isolate_->GetJSEntryStubs().js_entry_stub.code.start);
    builtins_ = {};
    for (std::size_t i = 0; i < calibration.code_ranges; ++i) {
      const auto begin = reinterpret_cast<std::uintptr_t>(pages[i].start);
      calibration.code[i] = {begin, begin + pages[i].length_in_bytes};
      if (calibration.code[i].has(entry)) builtins_ = calibration.code[i];
    }
    return builtins_.begin != 0;
  }

  // What calls V8's inline functions is apart from what reads frames: inlined into a function that AddressSanitizer leaves
  // alone, they would leave their marks on the stack.
  static void look_at_isolate(const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
    look_at_isolate(*static_cast<Calibration*>(info.Data().As<::v8::External>()->Value()));
  }
  [[gnu::no_sanitize_address]] static void look_at_isolate(Calibration& calibration) {
    const FrameWalker& walker = *calibration.walker;
    const std::uintptr_t here = THENCE_V8_FRAME();
    const auto words = reinterpret_cast<std::uintptr_t>(walker.isolate_);
    ++calibration.rounds;
    for (std::size_t i = 0; i < kIsolateWords; ++i) {
      const std::uintptr_t fp = detail::load_word(words + i * sizeof(void*));
      if (!walker.is_on_stack(fp, here) || fp >= here + 4096 || fp + 16 > walker.stack_top_) continue;
      const auto marker = static_cast<std::intptr_t>(detail::load_word(fp - 8));
      if (!walker.exits_.has(marker) || !walker.is_on_stack(detail::load_word(fp), fp)) continue;
      const std::uintptr_t return_address = detail::load_word(fp + 8);
      for (std::size_t range = 0; range < calibration.code_ranges; ++range) {
        if (!calibration.code[range].has(return_address)) continue;
        ++calibration.hits[i];
        break;
      }
    }
  }

  static void look_at_entry(const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
    look_at_entry(*static_cast<Calibration*>(info.Data().As<::v8::External>()->Value()));
  }
  [[gnu::no_sanitize_address]] static void look_at_entry(Calibration& calibration) {
    const FrameWalker& walker = *calibration.walker;
    ++calibration.nested_rounds;
    std::uintptr_t fp = walker.innermost_exit();
    for (std::size_t depth = 0; depth < kMaxPhysicalFrames; ++depth) {
      const std::uintptr_t caller = detail::load_word(fp);
      if (!walker.is_on_stack(caller, fp)) return;
      fp = caller;
      const auto marker = static_cast<std::intptr_t>(detail::load_word(fp - 8));
      if (marker == walker.entry_ || marker == walker.construct_entry_) break;
    }
    for (std::size_t i = 2; i < kEntrySlots; ++i)
      if (detail::load_word(fp - i * sizeof(void*)) == calibration.outer_exit) ++calibration.slot_hits[i];
  }

  static void look_at_interpreter(const ::v8::FunctionCallbackInfo<::v8::Value>& info) {
    look_at_interpreter(*static_cast<FrameWalker*>(info.Data().As<::v8::External>()->Value()));
  }
  [[gnu::no_sanitize_address]] static void look_at_interpreter(FrameWalker& walker) {
    const std::uintptr_t exit = walker.innermost_exit();
    const std::uintptr_t inner = walker.caller_of(exit);
    if (inner == 0 || walker.caller_of(inner) == 0) return;
    const std::uintptr_t from_inner = detail::load_word(exit + 8);
    const std::uintptr_t from_outer = detail::load_word(inner + 8);
    if (from_inner == from_outer && walker.is_in_builtins(from_inner)) walker.interpreter_return_ = from_inner;
  }

  // What matches() reads stands together.
  std::uintptr_t stack_top_ = 0;
  std::uintptr_t bytecode_array_ = 0;  // offsets from fp, modulo 2^64
  std::uintptr_t bytecode_offset_ = 0;
  std::uintptr_t interpreter_return_ = 0;
  std::uintptr_t exit_slot_ = 0;
  ::v8::Isolate* isolate_;
  std::uintptr_t exit_offset_ = 0;
  const char* problem_ = kNotCalibrated;
  Range builtins_;
  std::intptr_t entry_ = 0;
  std::intptr_t construct_entry_ = 0;
  Markers exits_;
  Markers wasm_;
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
