// SPDX-License-Identifier: MIT
// output.hpp: a file or stdout as a ByteSink, compressed where its name says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tool {

/// One output. A file is written beside its place and takes it when it is whole: nobody ever sees half of one.
///   Errors    write() returns false, then failure() says why. finish() throws Failure(kCannotWrite).
class Output {
 public:
  /// "-" is stdout. `.gz` and `.zst` at the end of the name compress. Throws Failure(kCannotWrite).
  explicit Output(const std::string& path);
  Output(Output&&) noexcept;
  ~Output();

  [[nodiscard]] bool write(std::span<const std::byte> bytes);
  /// Hands over what is buffered (not what a compressor holds).
  [[nodiscard]] bool flush();
  /// All is written: the file takes its place. Without this it is removed again.
  void finish();

  [[nodiscard]] const std::string& failure() const noexcept;
  [[nodiscard]] std::uint64_t bytes_written() const noexcept;  ///< of the file: compressed ones
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  struct State;
  std::string name_;
  std::unique_ptr<State> state_;
};

/// Writes text to stdout at once. Throws Failure(kCannotWrite).
void print(const std::string& text);

}  // namespace tool
