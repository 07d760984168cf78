// SPDX-License-Identifier: MIT
// fuzz_json.cpp: the JSON pull reader: never a crash, and the same tokens in one piece and in many.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "thence/wire/json_reader.hpp"

namespace {

std::string tokens(std::span<const std::byte> bytes, std::size_t piece) {
  thence::JsonReaderOptions options;
  options.many_values = true;
  options.max_depth = 64;
  options.max_token_bytes = 4096;
  thence::JsonReader json(options);
  std::string out;
  bool finished = false;
  for (;;) {
    const thence::JsonToken token = json.next();
    out += static_cast<char>('a' + static_cast<int>(token));
    switch (token) {
      case thence::JsonToken::kNeedMore: {
        out.pop_back();
        if (finished) std::abort();
        const std::size_t count = bytes.size() < piece ? bytes.size() : piece;
        if (count == 0) {
          json.finish();
          finished = true;
        }
        json.feed(bytes.first(count));
        bytes = bytes.subspan(count);
        break;
      }
      case thence::JsonToken::kEnd: return out;
      case thence::JsonToken::kDamaged:
        if (!json.damage() || json.damage().line == 0) std::abort();
        return out + std::to_string(json.damage().line) + std::string(json.damage().expected);
      case thence::JsonToken::kKey:
      case thence::JsonToken::kString: out += json.text(); break;
      case thence::JsonToken::kNumber: out += std::to_string(json.number().real); break;
      default: break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::string whole = tokens(bytes, size + 1);
  if (whole != tokens(bytes, 1) || whole != tokens(bytes, 7)) std::abort();
  return 0;
}
