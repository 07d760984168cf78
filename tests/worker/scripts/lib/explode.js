// SPDX-License-Identifier: MIT
export function explode() {
  throw new Error('exploded on purpose');
}
