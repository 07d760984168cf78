// SPDX-License-Identifier: MIT
// callback_bytes.hpp: ByteSinks that are a function of the host's: a socket, a ring of its own, an upload.
//
//   CallbackBytes{[](std::span<const std::byte> piece) { return send(piece); }}
//   ChunkBytes{[](std::uint64_t number, std::span<const std::byte> chunk) {
//     return socket.try_send(number, chunk) ? ChunkAnswer::kTaken : ChunkAnswer::kBusy;   // asked again later
//   }}
// Layer: session (includes wire/, core/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/wire/byte_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Hands every piece to `take`, in order, on the draining thread.
///   Threads   one
///   Errors    `take` returns false when it can take no more: it is not called again, and failure() says so
class CallbackBytes {
 public:
  explicit CallbackBytes(std::function<bool(View<const std::byte>)> take, std::string name = "callback")
      : take_(std::move(take)), name_(std::move(name)) {}

  [[nodiscard]] bool write(View<const std::byte> bytes) {
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
  std::function<bool(View<const std::byte>)> take_;
  std::string name_;
  std::string failure_;
  std::uint64_t written_ = 0;
};

enum class ChunkAnswer : std::uint8_t {
  kTaken,
  kBusy,  ///< not now: it is kept, and offered again with the next one or the next flush
  kStop,  ///< never again: the trace ends before this chunk
};

/// Hands on chunks with their numbers, from 1, each a run of whole packets, in order, and waits for a host that is busy.
///   Threads   one
///   When full what waits is kept; full() says when it exceeds `max_waiting_bytes`: PerfettoChunks then loses events,
///             counted, until all that waits was taken. Beyond twice that (overfull()) the ends of requests are, too.
///   Errors    after kStop nothing more is offered, and failure() says so; std::bad_alloc
class ChunkBytes {
 public:
  using Take = std::function<ChunkAnswer(std::uint64_t number, View<const std::byte> chunk)>;

  explicit ChunkBytes(Take take, std::string name = "callback", std::size_t max_waiting_bytes = std::size_t{8} << 20)
      : take_(std::move(take)), name_(std::move(name)), max_waiting_bytes_(max_waiting_bytes) {}

  [[nodiscard]] bool write(View<const std::byte> bytes) {
    if (!offer_waiting()) return false;
    if (nothing_waits() && offer(bytes)) return true;
    if (!failure_.empty()) return false;
    if (overfull()) return true;  // PerfettoChunks counts what it writes all the same
    ByteBuffer kept;
    kept.append(bytes);
    waiting_.push_back(std::move(kept));
    waiting_bytes_ += bytes.size();
    return true;
  }
  /// Offers what waits. False after kStop.
  [[nodiscard]] bool flush() { return offer_waiting(); }
  [[nodiscard]] bool full() const noexcept { return waiting_bytes_ > max_waiting_bytes_; }
  [[nodiscard]] bool overfull() const noexcept { return waiting_bytes_ > 2 * max_waiting_bytes_; }
  [[nodiscard]] std::size_t waiting_bytes() const noexcept { return waiting_bytes_; }
  /// Says that what still waits will not be offered again.
  void give_up() {
    if (nothing_waits() || !failure_.empty()) return;
    failure_ = name_ + ": was busy to the end, and did not take the last " + std::to_string(waiting_bytes_) + " bytes";
  }
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return written_; }

 private:
  [[nodiscard]] bool nothing_waits() const noexcept { return taken_ == waiting_.size(); }
  bool offer_waiting() {
    while (failure_.empty() && !nothing_waits() && offer(waiting_[taken_].bytes())) {
      waiting_bytes_ -= waiting_[taken_].size();
      waiting_[taken_++] = ByteBuffer();
    }
    if (taken_ * 2 > waiting_.size()) {
      waiting_.erase(waiting_.begin(), waiting_.begin() + taken_);
      taken_ = 0;
    }
    return failure_.empty();
  }
  bool offer(View<const std::byte> chunk) {
    switch (take_(number_ + 1, chunk)) {
      case ChunkAnswer::kTaken:
        ++number_;
        written_ += chunk.size();
        return true;
      case ChunkAnswer::kBusy: return false;
      case ChunkAnswer::kStop: break;
    }
    failure_ = name_ + ": stopped at chunk " + std::to_string(number_ + 1) + ", byte " + std::to_string(written_);
    return false;
  }

  Take take_;
  std::string name_;
  std::size_t max_waiting_bytes_;
  detail::Vector<ByteBuffer> waiting_;
  std::size_t taken_ = 0;  // of those, the first ones
  std::size_t waiting_bytes_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t written_ = 0;
  std::string failure_;
};

}  // namespace THENCE_ABI
}  // namespace thence
