// SPDX-License-Identifier: MIT
// zlib_policies.hpp: the two policies that a host brings for compressed packets, made of zlib.
// Layer: tests.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <span>

#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"

namespace thence_test {

inline bool zlib_compress(thence::View<const std::byte> packets, thence::ByteBuffer& to) {
  uLongf size = ::compressBound(static_cast<uLong>(packets.size()));
  std::byte* const at = to.reserve(size);
  if (::compress2(reinterpret_cast<Bytef*>(at), &size, reinterpret_cast<const Bytef*>(packets.data()),
                  static_cast<uLong>(packets.size()), 6) != Z_OK) {
    return false;
  }
  to.advance(at + size);
  return true;
}

struct ZlibInflate {
  template <class Out>
  bool operator()(thence::Compression kind, std::span<const std::byte> bytes, Out&& out) {
    if (kind != thence::Compression::kDeflate) return false;
    z_stream stream{};
    if (::inflateInit(&stream) != Z_OK) return false;
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    int result = Z_OK;
    std::byte piece[16384];
    while (result == Z_OK) {
      stream.next_out = reinterpret_cast<Bytef*>(piece);
      stream.avail_out = sizeof piece;
      result = ::inflate(&stream, Z_NO_FLUSH);
      if ((result == Z_OK || result == Z_STREAM_END) && !out({piece, sizeof piece - stream.avail_out})) break;
    }
    ::inflateEnd(&stream);
    return result == Z_STREAM_END;
  }
};

}  // namespace thence_test
