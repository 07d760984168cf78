// SPDX-License-Identifier: MIT
// json_out.hpp: the answers of --json: one JSON text on stdout, with a line break at its end.
#pragma once

#include <string>
#include <string_view>

#include "formats.hpp"
#include "output.hpp"
#include "thence/wire/json_writer.hpp"

namespace CLI {
class App;
}

namespace tool {

using JsonText = thence::JsonWriter<Output>;

/// Owns stdout while it lives; finish() when the text is whole.
class JsonOut {
 public:
  JsonOut() : out_("-"), json_(out_) {}
  JsonText* operator->() noexcept { return &json_; }
  JsonText& operator*() noexcept { return json_; }
  void finish() {
    json_.flush();
    static_cast<void>(out_.write(std::as_bytes(std::span(std::string_view("\n")))));
    out_.finish();
  }

 private:
  Output out_;
  JsonText json_;
};

/// The member "damage": {"at", "line", "expected", "cut_off", "message"}, or null.
inline void put_damage(JsonText& json, const ReadResult& result) {
  json.key("damage");
  if (result.good()) {
    json.null();
    return;
  }
  json.begin_object();
  json.member("at", result.damage.offset);
  if (result.damage.line != 0) json.member("line", result.damage.line);
  json.member("expected", result.damage.expected);
  json.member("cut_off", result.damage.cut_off);
  json.member("message", std::string_view(result.message));
  json.end_object();
}

}  // namespace tool
