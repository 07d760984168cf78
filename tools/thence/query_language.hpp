// SPDX-License-Identifier: MIT
// query_language.hpp: the filter language of `thence query`.
//
//   type:fetch wait>50ms            terms beside each other must all hold
//   type:fetch | type:timer         either side of |; binds less than the space
//   status:open|rejected            alternatives within a term: | without spaces
//   -type:timer                     not
//   checkout                        text anywhere: type, frames, annotations; case does not matter; quotes keep spaces
//   /get(user|cart)/                a regular expression (POSIX extended), likewise
//   #123                            the resource with this id
//   type: frame: url: ann.KEY: status: request: lane: trigger:       type takes * for anything
//   wait exec total delay created  > >= < <= =  a duration           depth invocations: a number
// docs/thence.md has the table.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "thence/formats/resource_rows.hpp"
#include "thence/model/trace_model.hpp"

namespace tool {

/// One resource, as terms ask for it.
struct QuerySubject {
  const thence::TraceModel& model;
  const thence::ResourceRow& row;
  std::uint32_t resource;      ///< its row in the model
  std::uint32_t request;       ///< from 1; 0: none
};

/// What is asked for.
class Query {
 public:
  using Term = std::function<bool(const QuerySubject&)>;

  /// Throws Failure(kUsage) that names the term that is not understood.
  [[nodiscard]] static Query parse(std::string_view text);

  [[nodiscard]] bool matches(const QuerySubject& subject) const;

 private:
  std::vector<std::vector<Term>> either_;  // or of ands; empty: everything
};

/// "open", "fulfilled", "rejected", "cancelled", "settled", "destroyed", "finished" or "ran".
[[nodiscard]] std::string_view status_of(const thence::ResourceRow& row);

/// One frame as text.
[[nodiscard]] std::string frame_text(const thence::TraceModel& model, const thence::TraceModel::Frame& frame);

}  // namespace tool
