// SPDX-License-Identifier: MIT
export default {
  fetch() { return new Response("x" }
};
