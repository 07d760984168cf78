// SPDX-License-Identifier: MIT
// rotating_files.hpp: a ByteSink that is a row of files within a byte budget, the oldest of which go first.
//
//   RotatingFiles files{"out/trace", {.max_file_bytes = 8 << 20, .max_total_bytes = 64 << 20}};
//   files.write(packets); ...
//   files.seal();              // out/trace.active.pftrace is now out/trace-000001.pftrace; the next write begins another
// When to seal is its user's business: what is written after it must be readable without what went before.
// Layer: session (includes config/ only).
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/session/file_bytes.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct RotationOptions {
  /// A file is sealed when it has come near this. Smaller: less is lost with the oldest; larger: less is said twice.
  std::uint64_t max_file_bytes = std::uint64_t{64} << 20;
  /// All files together, the active one included, never exceed this: the oldest are deleted before a write that would. The
  /// files of earlier runs under the same name count, and go first.
  std::uint64_t max_total_bytes = std::uint64_t{1} << 30;
  /// A file is sealed also when it has lasted this long (of the trace's time). 0: by size only.
  std::uint64_t max_file_ns = 0;
};

/// `<stem>.active.pftrace`, and `<stem>-000001.pftrace` and so on, which have been sealed.
///   Threads   one
///   When full the oldest sealed file is deleted. Where a write does not fit even so, it is refused.
///   Errors    write(), flush() and seal() return false, then failure() says what; nothing is written after it
/// What a file is, is a parameter, so that this is compiled where it is used.
template <class File>
class BasicRotatingFiles {
 public:
  BasicRotatingFiles(std::string stem, const RotationOptions& options) : stem_(std::move(stem)), options_(options) { adopt(); }

  [[nodiscard]] bool write(View<const std::byte> bytes) {
    if (!failure_.empty()) return false;
    while (total() + bytes.size() > options_.max_total_bytes && !sealed_.empty()) remove_oldest();
    if (total() + bytes.size() > options_.max_total_bytes) {
      failure_ = active_name() + ": the budget of " + std::to_string(options_.max_total_bytes) + " bytes is too small for one more piece of " +
                 std::to_string(bytes.size());
      return false;
    }
    if (!active_) active_.emplace(active_name());
    return noted(active_->write(bytes));
  }
  [[nodiscard]] bool flush() { return failure_.empty() && (!active_ || noted(active_->flush())); }

  /// Gives the active file its number. Nothing happens where there is none.
  bool seal() {
    if (!flush()) return false;
    if (!active_) return true;
    const std::uint64_t bytes = active_->bytes_written();
    active_.reset();
    ++last_;
    if (std::rename(active_name().c_str(), name_of(last_).c_str()) != 0) {
      failure_ = active_name() + ": cannot be renamed to " + name_of(last_) + ": " + std::strerror(errno);
      return false;
    }
    sealed_.push_back({last_, bytes});
    written_ += bytes;
    return true;
  }

  /// Empty while all is well.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return written_ + active_bytes(); }
  [[nodiscard]] std::uint64_t active_bytes() const noexcept { return active_ ? active_->bytes_written() : 0; }
  /// Of all files that there are.
  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t bytes = active_bytes();
    for (const Sealed& file : sealed_) bytes += file.bytes;
    return bytes;
  }
  /// Files that were deleted to keep the budget.
  [[nodiscard]] std::uint64_t deleted() const noexcept { return deleted_; }
  [[nodiscard]] const RotationOptions& options() const noexcept { return options_; }

 private:
  struct Sealed {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
  };

  [[nodiscard]] std::string active_name() const { return stem_ + ".active.pftrace"; }
  [[nodiscard]] std::string name_of(std::uint64_t number) const {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%06llu", static_cast<unsigned long long>(number));
    return stem_ + "-" + digits + ".pftrace";
  }
  bool noted(bool good) {
    if (!good && failure_.empty()) failure_ = active_->failure();
    return good;
  }
  void remove_oldest() {
    ::unlink(name_of(sealed_.front().number).c_str());
    sealed_.erase(sealed_.begin());
    ++deleted_;
  }
  /// What earlier runs left under this name.
  void adopt() {
    const std::size_t slash = stem_.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : stem_.substr(0, slash + 1);
    const std::string prefix = (slash == std::string::npos ? stem_ : stem_.substr(slash + 1)) + "-";
    constexpr std::string_view kEnding = ".pftrace";
    DIR* const directory = ::opendir(folder.c_str());
    if (directory == nullptr) return;  // the first write says so
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (!name.starts_with(prefix) || !name.ends_with(kEnding) || name.size() <= prefix.size() + kEnding.size()) continue;
      const std::string_view digits = name.substr(prefix.size(), name.size() - prefix.size() - kEnding.size());
      if (digits.size() < 6 || digits.size() > 18) continue;
      std::uint64_t number = 0;
      for (const char digit : digits) {
        number = digit >= '0' && digit <= '9' ? number * 10 + static_cast<std::uint64_t>(digit - '0') : 0;
      }
      struct stat status {};
      if (number == 0 || ::stat(name_of(number).c_str(), &status) != 0) continue;
      auto at = sealed_.end();
      while (at != sealed_.begin() && at[-1].number > number) --at;
      sealed_.insert(at, {number, static_cast<std::uint64_t>(status.st_size)});
    }
    ::closedir(directory);
    if (!sealed_.empty()) last_ = sealed_.back().number;
  }

  std::string stem_;
  RotationOptions options_;
  std::optional<File> active_;
  detail::Vector<Sealed> sealed_;  // the oldest first
  std::string failure_;
  std::uint64_t last_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t deleted_ = 0;
};
using RotatingFiles = BasicRotatingFiles<FileBytes>;

}  // namespace THENCE_ABI
}  // namespace thence
