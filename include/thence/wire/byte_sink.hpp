// SPDX-License-Identifier: MIT
// byte_sink.hpp: where encoded bytes go: a file, a descriptor, a host's callback, a buffer in memory.
//
// An encoder knows nothing of files. It hands whole pieces to a `ByteSink` and remembers when one was refused:
//   struct StdoutSink {
//     bool write(std::span<const std::byte> bytes) noexcept {
//       return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
//     }
//   };
// Layer: wire (includes core/ only).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Takes bytes in order. `write` takes all of them and returns true, or returns false; after a false, or where it throws,
/// nothing more comes, so that what was written before remains readable.
template <class S>
concept ByteSink = requires(S& sink, View<const std::byte> bytes) {
  { sink.write(bytes) } -> std::same_as<bool>;
};

/// Any ByteSink, through one pointer: an encoder that writes in large pieces need not be compiled anew for each kind.
///   Cost      an indirect call a piece
///   Lifetime  the sink outlives it
class ByteSinkRef {
 public:
  template <ByteSink Sink>
    requires(!std::same_as<Sink, ByteSinkRef>)
  explicit ByteSinkRef(Sink& sink) noexcept
      : sink_(&sink),
        write_([](void* to, View<const std::byte> bytes) -> bool { return static_cast<Sink*>(to)->write(bytes); }) {}

  [[nodiscard]] bool write(View<const std::byte> bytes) { return write_(sink_, bytes); }

 private:
  void* sink_;
  bool (*write_)(void* sink, View<const std::byte> bytes);
};
static_assert(ByteSink<ByteSinkRef>);

/// Keeps everything in memory.
class BufferSink {
 public:
  [[nodiscard]] bool write(View<const std::byte> bytes) {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  }
  [[nodiscard]] View<const std::byte> bytes() const noexcept {
    return {reinterpret_cast<const std::byte*>(text_.data()), text_.size()};
  }
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  void clear() noexcept { text_.clear(); }

 private:
  std::string text_;
};
static_assert(ByteSink<BufferSink>);

/// Takes everything and keeps nothing but how much there was: what an encoder itself costs.
class NullByteSink {
 public:
  [[nodiscard]] bool write(View<const std::byte> bytes) noexcept {
    bytes_ += bytes.size();
    return true;
  }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::uint64_t bytes_ = 0;
};
static_assert(ByteSink<NullByteSink>);

/// The end of an encoder that meets a sink: counts what went out, and after the first refusal lets nothing more through.
///   Threads   one.
///   When full the sink says so by false: `failed()` is then true for good and `refused()` counts the bytes since.
///   Lifetime  the sink outlives it.
template <ByteSink Sink>
class SinkGate {
 public:
  explicit SinkGate(Sink& sink) noexcept : sink_(&sink) {}

  bool write(View<const std::byte> bytes) {
    if (bytes.empty()) return !failed_;
    if (failed_) {
      refused_ += bytes.size();
      return false;
    }
    // Where the sink throws it has failed as well: nobody knows what it took.
    failed_ = true;
    refused_ += bytes.size();
    if (!sink_->write(bytes)) return false;
    failed_ = false;
    refused_ -= bytes.size();
    written_ += bytes.size();
    return true;
  }

  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  Sink* sink_;
  std::uint64_t written_ = 0;
  std::uint64_t refused_ = 0;
  bool failed_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
