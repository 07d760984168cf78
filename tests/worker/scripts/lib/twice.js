// SPDX-License-Identifier: MIT
export default (x) => 2 * x;
