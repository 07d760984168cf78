// SPDX-License-Identifier: MIT
// options.hpp: options that several subcommands take.
#pragma once

#include "formats.hpp"
#include "select.hpp"

namespace CLI {
class App;
}

namespace tool {

void add_selection(CLI::App& command, Selection& selection);  ///< --request, --range, --type
void add_reading(CLI::App& command, ReadOptions& options);    ///< --from

}  // namespace tool
