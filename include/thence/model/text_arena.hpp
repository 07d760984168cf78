// SPDX-License-Identifier: MIT
// text_arena.hpp: the texts of a trace, in few large pieces of memory that never move.
//
// Names and annotation keys repeat: `intern` keeps each once and gives it a number. Values seldom do: `keep` only copies.
// A view that was handed out stays valid for as long as the arena, also when the arena is moved.
// Layer: model (includes formats/ and below).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Bytes in blocks.
///   Threads   one.
///   Cost      O(bytes); an allocation each 64 KB, or for each longer text.
///   When full it grows.
///   Errors    std::bad_alloc.
///   Lifetime  see above.
class TextArena {
 public:
  /// A text's number; 0 is the empty text.
  using Id = std::uint32_t;

  TextArena() { texts_.push_back({}); }

  [[nodiscard]] std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    char* const to = room(text.size());
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
  }

  [[nodiscard]] Id intern(std::string_view text) {
    if (text.empty()) return 0;
    const std::uint64_t hash = hash_of(text);
    const std::uint32_t first = map_.find(hash);
    for (std::uint32_t at = first; at != IdMap::kAbsent; at = next_[at]) {
      if (texts_[at] == text) return at;
    }
    if (next_.empty()) next_.push_back(IdMap::kAbsent);
    const auto id = static_cast<Id>(texts_.size());
    texts_.push_back(keep(text));
    next_.push_back(IdMap::kAbsent);
    if (first == IdMap::kAbsent) {
      map_.insert(hash, id);
    } else {
      next_[id] = next_[first];
      next_[first] = id;
    }
    return id;
  }

  [[nodiscard]] std::string_view view(Id id) const noexcept { return texts_[id]; }
  [[nodiscard]] std::size_t texts() const noexcept { return texts_.size(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t kBlock = 64 * 1024;

  [[nodiscard]] static std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t hash = text.size();
    std::size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
      std::uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      hash = (hash ^ word) * 0x9e37'79b9'7f4a'7c15u;
      hash ^= hash >> 29;
    }
    std::uint64_t word = 0;
    if (at != text.size()) std::memcpy(&word, text.data() + at, text.size() - at);
    return mix64(hash ^ word) | 1u;  // 0 is no key of the map
  }

  char* room(std::size_t count) {
    bytes_ += count;
    if (count > kBlock / 4) {  // a block of its own; the open one goes on being filled
      blocks_.push_back(std::unique_ptr<char[]>(new char[count]));
      return blocks_.back().get();
    }
    if (left_ < count) {
      blocks_.push_back(std::unique_ptr<char[]>(new char[kBlock]));
      at_ = blocks_.back().get();
      left_ = kBlock;
    }
    char* const to = at_;
    at_ += count;
    left_ -= count;
    return to;
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
  std::vector<std::string_view> texts_;
  std::vector<std::uint32_t> next_;  // of those with an equal hash
  IdMap map_;
};

}  // namespace THENCE_ABI
}  // namespace thence
