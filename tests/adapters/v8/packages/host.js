// SPDX-License-Identifier: MIT
// What the packages expect of a host and a bare isolate does not have. Time does not pass: a timer is due at once.
const later = (callback, _delay, ...values) => {
  let cancelled = false;
  Promise.resolve().then(() => { if (!cancelled) callback(...values) });
  return { cancel() { cancelled = true }, ref() { return this }, unref() { return this } };
};
const cancel = (timer) => timer?.cancel?.();
Object.assign(globalThis, {
  self: globalThis, setTimeout: later, clearTimeout: cancel, setImmediate: (callback, ...values) => later(callback, 0, ...values),
  clearImmediate: cancel, setInterval: () => ({}), clearInterval: cancel, queueMicrotask: (callback) => { Promise.resolve().then(callback) },
  console: { log() {}, warn() {}, error() {}, info() {}, debug() {} }, performance: { now: () => 0, mark() {}, measure() {} },
  DOMException: class DOMException extends Error {},
  process: { env: {}, argv: [], nextTick: (callback, ...values) => { Promise.resolve().then(() => callback(...values)) }, cwd: () => '/' },
});
