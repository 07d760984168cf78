// SPDX-License-Identifier: MIT
// file_bytes.hpp: a ByteSink that is a file or a descriptor, buffered, and that can say in words what went wrong.
// Layer: session (includes wire/).
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/view.hpp"
#include "thence/wire/byte_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Writes to a descriptor through a buffer of its own.
///   Threads   one
///   Cost      write(): a system call whenever the file reaches a multiple of `buffer_bytes`, so that the kernel keeps it in few
///             large pieces (a fifth less of its time); flush(): one for what is left. Between flushes the file ends anywhere.
///   Errors    write() and flush() return false, then failure() says which file, at which byte, and why; what is in the file
///             before that byte is good. Nothing is written after a failure.
///   Lifetime  movable; the destructor flushes, and closes what it has opened
class FileBytes {
 public:
  /// Creates or empties `path`. Whether that worked is seen by failure().
  explicit FileBytes(std::string path, std::size_t buffer_bytes = 256 * 1024)
      : name_(std::move(path)), owned_(true), buffer_bytes_(std::max<std::size_t>(buffer_bytes, 1)) {
    descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail("cannot be created");
  }
  /// Writes to a descriptor of the host's, which stays open; `name` is what messages call it.
  FileBytes(int descriptor, std::string name, std::size_t buffer_bytes = 256 * 1024)
      : name_(std::move(name)), descriptor_(descriptor), buffer_bytes_(std::max<std::size_t>(buffer_bytes, 1)) {}
  FileBytes(FileBytes&& other) noexcept
      : name_(std::move(other.name_)),
        failure_(std::move(other.failure_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        owned_(other.owned_),
        buffer_bytes_(other.buffer_bytes_),
        written_(other.written_),
        buffer_(std::move(other.buffer_)) {}
  FileBytes& operator=(FileBytes&&) = delete;
  ~FileBytes() {
    static_cast<void>(flush());
    if (owned_ && descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] bool write(View<const std::byte> bytes) {
    if (!failure_.empty()) return false;
    if (const std::size_t room = buffer_bytes_ - beyond_multiple(bytes_written()); bytes.size() >= room) {
      if (!buffer_.empty()) {
        buffer_.append(bytes.first(room));
        if (!flush()) return false;
        bytes = bytes.subspan(room);
      }
      const std::size_t rest = beyond_multiple(written_ + bytes.size());
      if (!write_through(bytes.first(bytes.size() - rest))) return false;
      bytes = bytes.last(rest);
    }
    buffer_.append(bytes);
    return true;
  }
  [[nodiscard]] bool flush() {
    if (!failure_.empty() || descriptor_ < 0) return failure_.empty();
    const bool good = write_through(buffer_.bytes());
    buffer_.clear();
    return good;
  }

  /// Empty while all is well.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return written_ + buffer_.size(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  [[nodiscard]] std::size_t beyond_multiple(std::uint64_t at) const noexcept { return static_cast<std::size_t>(at % buffer_bytes_); }

  bool write_through(View<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
      if (count < 0) {
        if (errno == EINTR) continue;
        fail(("cannot be written beyond byte " + std::to_string(written_)).c_str());
        return false;
      }
      written_ += static_cast<std::uint64_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }

  void fail(const char* what) {
    const int error = errno;
    failure_ = name_ + ": " + what + ": " + std::strerror(error);
  }

  std::string name_;
  std::string failure_;
  int descriptor_ = -1;
  bool owned_ = false;
  std::size_t buffer_bytes_;
  std::uint64_t written_ = 0;
  ByteBuffer buffer_;
};

}  // namespace THENCE_ABI
}  // namespace thence
