// SPDX-License-Identifier: MIT
// json_tokens.hpp: the loop of every reader of a JSON format.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/json_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// Hands every token that is there to take(JsonToken), and then the events that came of them to the sink. False once the
/// input is damaged, or `take` has rejected a token.
template <EventSink Sink, class Take>
bool take_tokens(JsonReader& json, EventBatch<Sink>& out, Take&& take) {
  for (;;) {
    const JsonToken token = json.next();
    if (token == JsonToken::kDamaged) return false;
    if (token == JsonToken::kNeedMore || token == JsonToken::kEnd) {
      out.hand_over();
      return true;
    }
    if (!take(token)) return false;
  }
}

}  // namespace detail
}  // namespace THENCE_ABI
}  // namespace thence
