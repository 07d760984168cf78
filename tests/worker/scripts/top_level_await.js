// SPDX-License-Identifier: MIT
const ready = await new Promise((resolve) => setTimeout(() => resolve('ready'), 5));
export default { fetch: () => new Response(ready) };
