// SPDX-License-Identifier: MIT
#include "output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "terminal.hpp"
#include "tool.hpp"

namespace tool {

struct Output::State {
  std::string path;       // where it will be
  std::string temporary;  // where it is now; empty: at its place
  int descriptor = -1;
  bool owned = false;
  bool finished = false;
  std::uint64_t written = 0;
  std::string failure;
  std::vector<std::byte> buffer;
  std::vector<std::byte> packed;
  z_stream gzip{};
  bool gzip_open = false;
  ZSTD_CStream* zstd = nullptr;

  ~State() {
    if (gzip_open) ::deflateEnd(&gzip);
    if (zstd != nullptr) ::ZSTD_freeCStream(zstd);
    if (owned && descriptor >= 0) ::close(descriptor);
    if (!finished && !temporary.empty()) ::unlink(temporary.c_str());
  }

  bool write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
      if (count < 0) {
        if (errno == EINTR) continue;
        failure = path + ": cannot be written beyond byte " + grouped(written) + ": " + std::strerror(errno);
        return false;
      }
      written += static_cast<std::uint64_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }

  bool pass(std::span<const std::byte> bytes, bool last) {
    if (gzip_open) {
      gzip.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
      gzip.avail_in = static_cast<uInt>(bytes.size());
      for (;;) {
        gzip.next_out = reinterpret_cast<Bytef*>(packed.data());
        gzip.avail_out = static_cast<uInt>(packed.size());
        const int result = ::deflate(&gzip, last ? Z_FINISH : Z_NO_FLUSH);
        if (!write_through({packed.data(), packed.size() - gzip.avail_out})) return false;
        if (last ? result == Z_STREAM_END : gzip.avail_out != 0) return true;
      }
    }
    if (zstd != nullptr) {
      ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
      for (;;) {
        ZSTD_outBuffer out{packed.data(), packed.size(), 0};
        const std::size_t left = ::ZSTD_compressStream2(zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (!write_through({packed.data(), out.pos})) return false;
        if (last ? left == 0 : in.pos == in.size) return true;
      }
    }
    return write_through(bytes);
  }

  bool flush(bool last) {
    const bool good = pass(buffer, last);
    buffer.clear();
    return good;
  }
};

namespace {

constexpr std::size_t kBuffer = std::size_t{256} * 1024;

bool ends_with(const std::string& text, std::string_view end) { return std::string_view(text).ends_with(end); }

}  // namespace

Output::Output(const std::string& path) : name_(path == "-" ? "standard output" : path), state_(std::make_unique<State>()) {
  State& state = *state_;
  state.path = name_;
  if (path == "-") {
    state.descriptor = STDOUT_FILENO;
  } else {
    state.owned = true;
    struct stat there{};
    const bool special = ::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode);
    if (special && S_ISDIR(there.st_mode)) throw Failure(kCannotWrite, path + ": is a folder");
    if (!special) state.temporary = path + ".part";
    const std::string& opened = special ? path : state.temporary;
    state.descriptor = ::open(opened.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (state.descriptor < 0) {
      const std::string why = std::strerror(errno);
      state.temporary.clear();
      throw Failure(kCannotWrite, path + ": cannot be created: " + why);
    }
  }
  // No name and no time goes into the header: the same content gives the same bytes.
  if (path != "-" && ends_with(path, ".gz")) {
    if (::deflateInit2(&state.gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw Failure(kInternal, "zlib cannot be started");
    }
    state.gzip_open = true;
  } else if (path != "-" && ends_with(path, ".zst")) {
    state.zstd = ::ZSTD_createCStream();
    if (state.zstd == nullptr) throw Failure(kInternal, "zstd cannot be started");
    ::ZSTD_CCtx_setParameter(state.zstd, ZSTD_c_compressionLevel, 3);
    ::ZSTD_CCtx_setParameter(state.zstd, ZSTD_c_checksumFlag, 1);
  }
  state.packed.resize(kBuffer);
}
Output::Output(Output&&) noexcept = default;
Output::~Output() = default;

bool Output::write(std::span<const std::byte> bytes) {
  State& state = *state_;
  if (!state.failure.empty()) return false;
  if (state.buffer.size() + bytes.size() > kBuffer && !state.flush(false)) return false;
  if (bytes.size() >= kBuffer) return state.pass(bytes, false);
  state.buffer.insert(state.buffer.end(), bytes.begin(), bytes.end());
  return true;
}

bool Output::flush() { return state_->failure.empty() && state_->flush(false); }

void Output::finish() {
  State& state = *state_;
  if (state.failure.empty()) static_cast<void>(state.flush(true));
  if (!state.failure.empty()) throw Failure(kCannotWrite, state.failure);
  if (state.owned) {
    const int closed = ::close(std::exchange(state.descriptor, -1));
    if (closed != 0) throw Failure(kCannotWrite, state.path + ": cannot be written: " + std::strerror(errno));
    if (!state.temporary.empty() && ::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
      throw Failure(kCannotWrite, state.path + ": cannot be created: " + std::strerror(errno));
    }
  }
  state.finished = true;
}

const std::string& Output::failure() const noexcept { return state_->failure; }
std::uint64_t Output::bytes_written() const noexcept { return state_->written; }

void print(const std::string& text) {
  Output out("-");
  static_cast<void>(out.write(std::as_bytes(std::span(text))));
  out.finish();
}

}  // namespace tool
