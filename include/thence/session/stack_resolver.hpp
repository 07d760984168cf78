// SPDX-License-Identifier: MIT
// stack_resolver.hpp: from the words in a tracer's stack table to frames with names, each distinct stack once a session.
// Layer: session (includes capture/, formats/, core/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "thence/capture/stack_words.hpp"
#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/session/native_symbols.hpp"
#include "thence/storage/stack_deduplicator.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Numbers the stacks of all lanes of a session by their content.
///   Threads   one
///   Cost      resolve: symbol look-ups and a string a stack; called on first sight only
class StackResolver {
 public:
  struct Resolved {
    StackId id = StackId::kNone;
    bool is_new = false;
  };
  /// The session's id of a lane's stack, and whether it is new: then `frames()` shows it until the next call.
  Resolved resolve(View<const std::uint64_t> words, const StringDeduplicator& strings) {
    frames_.clear();
    key_.clear();
    if (words.size() < 2) return {};
    switch (static_cast<StackFormat>(words[0])) {
      case StackFormat::kNative:
        for (const std::uint64_t pc : words.subspan(1)) add_native(pc);
        break;
      case StackFormat::kScript:
        for (std::size_t at = 1; at + 1 < words.size(); at += 2) {
          FrameInfo frame;
          frame.kind = FrameKind::kScript;
          frame.function = text_of(strings, static_cast<StringId>(words[at] & 0xffff'ffffu));
          frame.file = text_of(strings, static_cast<StringId>(words[at] >> 32));
          frame.line = static_cast<std::uint32_t>(words[at + 1]);
          frame.column = static_cast<std::uint32_t>(words[at + 1] >> 32);
          frames_.push_back(frame);
        }
        break;
      case StackFormat::kSource: {
        if (words.size() < 4) return {};
        FrameInfo frame;
        frame.kind = FrameKind::kSource;
        frame.file = literal(words[1]);
        frame.function = literal(words[2]);
        frame.line = static_cast<std::uint32_t>(words[3]);
        frames_.push_back(frame);
        break;
      }
    }
    for (const FrameInfo& frame : frames_) append_key(frame);
    const std::size_t next = keys_.end();
    const std::uint32_t id = keys_.intern(key_);
    return {static_cast<StackId>(id), id == next};
  }
  [[nodiscard]] View<const FrameInfo> frames() const noexcept { return frames_; }

 private:
  [[nodiscard]] static std::string_view literal(std::uint64_t pointer) noexcept {
    const auto* text = reinterpret_cast<const char*>(static_cast<std::uintptr_t>(pointer));
    return text == nullptr ? std::string_view() : std::string_view(text);
  }

  void add_native(std::uint64_t pc) {
    const NativeSymbol symbol = symbols_.resolve(pc);
    FrameInfo frame;
    frame.kind = FrameKind::kNative;
    frame.function = symbol.function;
    frame.file = symbol.module;
    frame.build_id = symbol.build_id;
    frame.pc = pc;
    frame.relative_pc = symbol.relative_pc;
    frames_.push_back(frame);
  }

  void append_key(const FrameInfo& frame) {
    const std::uint64_t numbers[] = {static_cast<std::uint64_t>(frame.kind), frame.line, frame.column, frame.pc};
    key_.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
    key_.append(frame.function).push_back('\0');
    key_.append(frame.file).push_back('\0');
  }

  NativeSymbols symbols_;
  detail::Vector<FrameInfo> frames_;
  std::string key_;
  TraceStrings keys_{~std::uint32_t{0} - 1, ~std::size_t{0}};
};

}  // namespace THENCE_ABI
}  // namespace thence
