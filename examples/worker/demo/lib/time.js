// SPDX-License-Identifier: MIT
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What `promise` gives, or `otherwise` when it takes longer.
export function within(ms, promise, otherwise) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(() => resolve(otherwise), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
