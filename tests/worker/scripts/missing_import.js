// SPDX-License-Identifier: MIT
import x from "./lib/no_such_file.js";
export default { fetch() { return x; } };
