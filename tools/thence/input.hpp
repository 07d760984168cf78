// SPDX-License-Identifier: MIT
// input.hpp: bytes of a file or of stdin, inflated where they are compressed, whatever the file is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/wire/damage.hpp"

namespace tool {

/// One input, read once from its beginning to its end.
///   Shape     one buffer of compressed, one of plain bytes.
///   Errors    Failure where it cannot be opened or read. Damage of the compression: damage(), after what was good.
class Input {
 public:
  enum class Compression { kNone, kGzip, kZstd };

  /// "-" is stdin. Throws Failure(kNoInput).
  explicit Input(const std::string& path);
  Input(Input&&) noexcept;
  Input& operator=(Input&&) noexcept;
  ~Input();

  /// The next plain bytes; empty at the end, and where the compressed bytes are damaged. Valid until the next call.
  [[nodiscard]] std::span<const std::byte> read();
  /// The first bytes (up to 64 KB, fewer only where the input ends), which `read` will still return.
  [[nodiscard]] std::span<const std::byte> peek();

  /// What messages call it.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Compression compression() const noexcept;
  [[nodiscard]] std::string_view compression_name() const noexcept;
  [[nodiscard]] std::uint64_t bytes_read() const noexcept;   ///< of the file
  [[nodiscard]] std::uint64_t bytes_in_all() const noexcept; ///< of the file; 0: not known
  [[nodiscard]] const thence::Damage& damage() const noexcept;

  /// Shows all plain bytes to somebody else, once each, as they are read.
  void watch(std::function<void(std::span<const std::byte>)> watcher);

  /// At the end of the file waits for more instead, until `stop` says so or the file has become shorter.
  void follow(bool (*stop)());

 private:
  struct State;
  std::string name_;
  std::unique_ptr<State> state_;
};

}  // namespace tool
