// SPDX-License-Identifier: MIT
// block_arena.hpp: memory that is taken piece by piece and given back at once.
// Layer: session (includes core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Memory in blocks: for what events point to, and for texts that live as long as their owner.
///   Threads   one
///   Cost      an allocation a block
///   Errors    take() and keep() may throw std::bad_alloc
///   Lifetime  what was taken stays where it is until clear()
class BlockArena {
 public:
  [[nodiscard]] std::byte* take(std::size_t bytes) {
    bytes = (bytes + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
    if (blocks_.empty() || size_ - used_ < bytes) add_block(bytes);
    std::byte* const result = blocks_.back().data() + used_;
    used_ += bytes;
    return result;
  }
  /// A copy of `text`.
  [[nodiscard]] std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    auto* const kept = reinterpret_cast<char*>(take(text.size()));
    std::memcpy(kept, text.data(), text.size());
    return text_at(kept, text.size());
  }
  /// Forgets all that was taken; its memory is kept where that was one block.
  void clear() noexcept {
    if (blocks_.size() > 1) blocks_.clear();
    used_ = 0;
  }

 private:
  static constexpr std::size_t kBlock = 64 * 1024;
  void add_block(std::size_t bytes) {
    const std::size_t size = std::max(bytes, kBlock);
    detail::Vector<std::byte> block;
    block.reserve(size);
    blocks_.push_back(std::move(block));
    size_ = size;
    used_ = 0;
  }

  detail::Vector<detail::Vector<std::byte>> blocks_;  // all is capacity, none size
  std::size_t size_ = 0;  // of the last block
  std::size_t used_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
