// SPDX-License-Identifier: MIT
const a = undefined;
a.b();
export default { fetch() {} };
