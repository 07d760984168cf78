// SPDX-License-Identifier: MIT
#include "input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "terminal.hpp"
#include "tool.hpp"

namespace tool {
namespace {

constexpr std::size_t kChunk = std::size_t{256} * 1024;
constexpr std::size_t kPeek = std::size_t{64} * 1024;
/// No honest trace has these: real ones are at 10 : 1, gzip ends at 1032 : 1.
constexpr std::uint64_t kBombBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kBombRatio = 500;

}  // namespace

struct Input::State {
  int descriptor = -1;
  bool owned = false;
  bool at_end = false;
  bool decided = false;
  bool frame_open = false;   // within a gzip member or a zstd frame
  Compression compression = Compression::kNone;
  std::uint64_t size = 0;
  std::uint64_t raw_read = 0;
  std::uint64_t plain_bytes = 0;
  bool (*stop)() = nullptr;
  std::function<void(std::span<const std::byte>)> watcher;
  std::vector<std::byte> raw, plain;
  std::size_t raw_begin = 0, raw_end = 0;
  std::vector<std::byte> peeked;
  std::size_t peeked_begin = 0;
  thence::Damage damage;
  z_stream gzip{};
  bool gzip_open = false;
  ZSTD_DStream* zstd = nullptr;

  ~State() {
    if (gzip_open) ::inflateEnd(&gzip);
    if (zstd != nullptr) ::ZSTD_freeDStream(zstd);
    if (owned && descriptor >= 0) ::close(descriptor);
  }

  /// More compressed or plain bytes of the file behind those that are there. False at the end.
  bool fill(const std::string& name) {
    if (raw_begin == raw_end) raw_begin = raw_end = 0;
    if (raw_end == raw.size()) {
      if (raw_begin == 0) raw.resize(raw.size() + kChunk);
      std::memmove(raw.data(), raw.data() + raw_begin, raw_end - raw_begin);
      raw_end -= raw_begin;
      raw_begin = 0;
    }
    while (!at_end) {
      const ssize_t count = ::read(descriptor, raw.data() + raw_end, raw.size() - raw_end);
      if (count < 0) {
        if (errno == EINTR) {
          if (stop != nullptr && stop()) return false;
          continue;
        }
        throw Failure(kNoInput, name + ": cannot be read beyond byte " + grouped(raw_read) + ": " + std::strerror(errno));
      }
      if (count > 0) {
        raw_end += static_cast<std::size_t>(count);
        raw_read += static_cast<std::uint64_t>(count);
        return true;
      }
      if (stop == nullptr || stop()) {
        at_end = true;
        break;
      }
      struct stat now{};
      if (::fstat(descriptor, &now) == 0 && S_ISREG(now.st_mode) && static_cast<std::uint64_t>(now.st_size) < raw_read) {
        throw Failure(kDamaged, name + ": has become shorter while it was followed");
      }
      const timespec pause{0, 50'000'000};
      ::nanosleep(&pause, nullptr);
    }
    return false;
  }

  void decide(const std::string& name) {
    decided = true;
    while (raw_end - raw_begin < 4 && fill(name)) {
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data() + raw_begin);
    const std::size_t there = raw_end - raw_begin;
    if (there >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) {
      compression = Compression::kGzip;
    } else if (there >= 4 && bytes[0] == 0x28 && bytes[1] == 0xb5 && bytes[2] == 0x2f && bytes[3] == 0xfd) {
      compression = Compression::kZstd;
    }
    if (compression == Compression::kGzip) {
      if (::inflateInit2(&gzip, 15 + 16) != Z_OK) throw Failure(kInternal, "zlib cannot be started");
      gzip_open = true;
    } else if (compression == Compression::kZstd) {
      zstd = ::ZSTD_createDStream();
      if (zstd == nullptr) throw Failure(kInternal, "zstd cannot be started");
    }
    if (compression != Compression::kNone) plain.resize(kChunk);
  }

  [[nodiscard]] std::uint64_t consumed() const noexcept { return raw_read - (raw_end - raw_begin); }

  std::span<const std::byte> next(const std::string& name) {
    const auto bytes = next_unseen(name);
    if (watcher && !bytes.empty()) watcher(bytes);
    return bytes;
  }

  std::span<const std::byte> next_unseen(const std::string& name) {
    if (!decided) decide(name);
    if (compression == Compression::kNone) {
      if (raw_begin == raw_end && !fill(name)) return {};
      const std::span<const std::byte> bytes(raw.data() + raw_begin, raw_end - raw_begin);
      raw_begin = raw_end;
      return bytes;
    }
    while (!damage) {
      if (raw_begin == raw_end && !fill(name)) {
        if (frame_open) {
          damage = {consumed(), 0, compression == Compression::kGzip ? "more of the gzip data" : "more of the zstd data", true};
        }
        return {};
      }
      const std::size_t made = compression == Compression::kGzip ? inflate_some() : decompress_some();
      if (made == 0) continue;
      plain_bytes += made;
      if (plain_bytes > kBombBytes && plain_bytes / kBombRatio > consumed()) {
        damage = {consumed(), 0, "compressed data that expands less than 500 times", false};
      }
      return {plain.data(), made};
    }
    return {};
  }

  std::size_t inflate_some() {
    frame_open = true;
    gzip.next_in = reinterpret_cast<Bytef*>(raw.data() + raw_begin);
    gzip.avail_in = static_cast<uInt>(raw_end - raw_begin);
    gzip.next_out = reinterpret_cast<Bytef*>(plain.data());
    gzip.avail_out = static_cast<uInt>(plain.size());
    const int result = ::inflate(&gzip, Z_NO_FLUSH);
    raw_begin = raw_end - gzip.avail_in;
    if (result == Z_STREAM_END) {
      frame_open = false;  // another member may follow
      ::inflateReset(&gzip);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      damage = {consumed(), 0, "gzip data", false};
    }
    return plain.size() - gzip.avail_out;
  }
  std::size_t decompress_some() {
    ZSTD_inBuffer in{raw.data() + raw_begin, raw_end - raw_begin, 0};
    ZSTD_outBuffer out{plain.data(), plain.size(), 0};
    const std::size_t result = ::ZSTD_decompressStream(zstd, &out, &in);
    raw_begin += in.pos;
    if (::ZSTD_isError(result) != 0) {
      damage = {consumed(), 0, "zstd data", false};
    } else {
      frame_open = result != 0;
    }
    return out.pos;
  }
};

Input::Input(const std::string& path) : name_(path == "-" ? "standard input" : path), state_(std::make_unique<State>()) {
  if (path == "-") {
    state_->descriptor = STDIN_FILENO;
  } else {
    state_->descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (state_->descriptor < 0) throw Failure(kNoInput, path + ": cannot be opened: " + std::strerror(errno));
    state_->owned = true;
  }
  struct stat what{};
  if (::fstat(state_->descriptor, &what) == 0) {
    if (S_ISDIR(what.st_mode)) throw Failure(kNoInput, path + ": is a folder, not a trace");
    if (S_ISREG(what.st_mode)) state_->size = static_cast<std::uint64_t>(what.st_size);
  }
  state_->raw.resize(kChunk);
}
Input::Input(Input&&) noexcept = default;
Input& Input::operator=(Input&&) noexcept = default;
Input::~Input() = default;

std::span<const std::byte> Input::read() {
  State& state = *state_;
  if (state.peeked_begin < state.peeked.size()) {
    const std::span<const std::byte> bytes(state.peeked.data() + state.peeked_begin, state.peeked.size() - state.peeked_begin);
    state.peeked_begin = state.peeked.size();
    return bytes;
  }
  return state.next(name_);
}

std::span<const std::byte> Input::peek() {
  State& state = *state_;
  // A file that is followed may be short for now.
  while (state.peeked.size() < kPeek && (state.stop == nullptr || state.peeked.empty())) {
    const auto bytes = state.next(name_);
    if (bytes.empty()) break;
    state.peeked.insert(state.peeked.end(), bytes.begin(), bytes.end());
  }
  return std::span<const std::byte>(state.peeked).first(std::min(state.peeked.size(), kPeek));
}

Input::Compression Input::compression() const noexcept { return state_->compression; }
std::string_view Input::compression_name() const noexcept {
  switch (state_->compression) {
    case Compression::kNone: return "none";
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
  }
  return "none";
}
std::uint64_t Input::bytes_read() const noexcept { return state_->raw_read; }
std::uint64_t Input::bytes_in_all() const noexcept { return state_->size; }
const thence::Damage& Input::damage() const noexcept { return state_->damage; }
void Input::watch(std::function<void(std::span<const std::byte>)> watcher) { state_->watcher = std::move(watcher); }
void Input::follow(bool (*stop)()) { state_->stop = stop; }

}  // namespace tool
