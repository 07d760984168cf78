// SPDX-License-Identifier: MIT
// callback_bytes.hpp: a ByteSink that is a function of the host's: a socket, a ring of its own, an upload.
// Layer: session (includes config/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Hands every piece to `take`, in order, on the draining thread.
///   Threads   one
///   Errors    `take` returns false when it can take no more: it is not called again, and failure() says so
class CallbackBytes {
 public:
  explicit CallbackBytes(std::function<bool(std::span<const std::byte>)> take, std::string name = "callback")
      : take_(std::move(take)), name_(std::move(name)) {}

  [[nodiscard]] bool write(std::span<const std::byte> bytes) {
    if (!failure_.empty()) return false;
    if (take_(bytes)) {
      written_ += bytes.size();
      return true;
    }
    failure_ = name_ + ": refused the bytes from " + std::to_string(written_) + " on";
    return false;
  }
  [[nodiscard]] bool flush() noexcept { return failure_.empty(); }
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return written_; }

 private:
  std::function<bool(std::span<const std::byte>)> take_;
  std::string name_;
  std::string failure_;
  std::uint64_t written_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
