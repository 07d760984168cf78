// SPDX-License-Identifier: MIT
// The rest of a script's world: timers, queueMicrotask, console, caches, env, ctx; and the dispatch of a
// request to the script's fetch().
(function (native, globals) {
  'use strict';
  const { Headers, Request, Response, URL, TextEncoder, TextDecoder } = globals;

  // ---- console -----------------------------------------------------------------------------------

  function inspect(value, depth = 3, seen = []) {
    if (typeof value === 'string') return depth === 3 ? value : JSON.stringify(value);
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value === 'function') return `[function ${value.name || 'anonymous'}]`;
    if (typeof value !== 'object' || value === null) return String(value);
    if (value instanceof Error) return value.stack ?? String(value);
    if (seen.includes(value)) return '[circular]';
    const inner = (item) => inspect(item, depth - 1, [...seen, value]);
    if (depth < 0) return Array.isArray(value) ? '[…]' : '{…}';
    if (Array.isArray(value)) return `[${value.map(inner).join(', ')}]`;
    if (value instanceof Map) return `Map {${[...value].map(([k, v]) => `${inner(k)} => ${inner(v)}`).join(', ')}}`;
    if (value instanceof Set) return `Set {${[...value].map(inner).join(', ')}}`;
    if (value instanceof Date || value instanceof RegExp || value instanceof URL) return String(value);
    if (value instanceof Promise) return 'Promise {}';
    if (value instanceof Headers) return `Headers {${[...value].map(([k, v]) => `${k}: ${inner(v)}`).join(', ')}}`;
    if (value instanceof Request) return `Request {${value.method} ${value.url}}`;
    if (value instanceof Response) return `Response {${value.status}}`;
    if (value instanceof ArrayBuffer) return `ArrayBuffer {${value.byteLength} bytes}`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name} {${value.byteLength} bytes}`;
    const name = value.constructor?.name;
    const members = Object.entries(value).map(([k, v]) => `${k}: ${inner(v)}`).join(', ');
    return `${name && name !== 'Object' ? name + ' ' : ''}{${members}}`;
  }
  native.inspect = (value) => inspect(value);
  const logger = (level) => (...values) => native.log(level, values.map((value) => inspect(value)).join(' '));
  const console = { log: logger('log'), info: logger('info'), warn: logger('warn'), error: logger('error'), debug: logger('debug') };

  // ---- timers and microtasks ---------------------------------------------------------------------

  function timer(name, repeat) {
    return (callback, delay = 0, ...args) => {
      if (typeof callback !== 'function') throw new TypeError(`${name}: the first argument must be a function`);
      const ms = Number(delay);
      return native.set_timer(callback, ms >= 0 ? Math.min(ms, 0x7fffffff) : 0, repeat, args);
    };
  }
  const setTimeout = timer('setTimeout', false);
  const setInterval = timer('setInterval', true);
  const clearTimeout = (id) => { if (typeof id === 'number') native.clear_timer(id); };
  const clearInterval = clearTimeout;
  const queueMicrotask = (callback) => {
    if (typeof callback !== 'function') throw new TypeError('queueMicrotask: the argument must be a function');
    native.queue_microtask(callback);
  };

  // ---- caches.default ----------------------------------------------------------------------------

  const as_request = (key) => (key instanceof Request ? key : new Request(key));

  class Cache {
    async match(key) {
      const request = as_request(key);
      if (request.method !== 'GET') return undefined;
      const stored = await native.cache_get(request.url);
      return stored ? native.stored_response(stored) : undefined;
    }
    async put(key, response) {
      const request = as_request(key);
      if (request.method !== 'GET') throw new TypeError(`cache.put: only a GET request can be a key, not ${request.method}`);
      if (!(response instanceof Response)) throw new TypeError('cache.put: the second argument must be a Response');
      if (response.status === 206) throw new TypeError('cache.put: a 206 response cannot be stored');
      if (response.headers.get('vary')?.includes('*')) throw new TypeError('cache.put: a response with "vary: *" cannot be stored');
      const body = native.bytes_at_hand(response) ?? await response.bytes();
      await native.cache_put(request.url, response.status, response.statusText, native.flat_headers(response.headers), body);
    }
    async delete(key) {
      const request = as_request(key);
      return request.method === 'GET' && native.cache_delete(request.url);
    }
  }
  const caches = Object.freeze({ default: new Cache() });

  // ---- env.KV ------------------------------------------------------------------------------------

  const kMaxKeyBytes = 512;
  function kv_key(key) {
    const text = String(key);
    if (text === '') throw new TypeError('KV: the key is empty');
    if (new TextEncoder().encode(text).length > kMaxKeyBytes) throw new TypeError(`KV: a key has at most ${kMaxKeyBytes} bytes`);
    return text;
  }

  class KvNamespace {
    async get(key, options) {
      const type = (typeof options === 'string' ? options : options?.type) ?? 'text';
      if (!['text', 'json', 'arrayBuffer'].includes(type)) throw new TypeError(`KV.get: the type must be text, json or arrayBuffer, not "${type}"`);
      const buffer = await native.kv_get(kv_key(key));
      if (buffer === null || type === 'arrayBuffer') return buffer;
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(buffer);
      return type === 'json' ? JSON.parse(text) : text;
    }
    async put(key, value, { expirationTtl = 0 } = {}) {
      let bytes;
      if (typeof value === 'string') bytes = new TextEncoder().encode(value);
      else if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) bytes = native.bytes_of(value);
      else throw new TypeError('KV.put: the value must be a string, an ArrayBuffer or a view on one');
      if (!(expirationTtl >= 0)) throw new TypeError('KV.put: expirationTtl must be a number of seconds');
      await native.kv_put(kv_key(key), bytes, Number(expirationTtl));
    }
    async delete(key) { await native.kv_delete(kv_key(key)); }
    async list({ prefix = '', limit = 1000, cursor = '' } = {}) {
      const most = Number(limit);
      if (!Number.isInteger(most) || most < 1 || most > 1000) throw new TypeError('KV.list: the limit must be 1 to 1000');
      const names = await native.kv_list(String(prefix ?? ''), most + 1, String(cursor ?? ''));
      const complete = names.length <= most;
      const keys = names.slice(0, most).map((name) => ({ name }));
      return complete ? { keys, list_complete: true } : { keys, list_complete: false, cursor: keys.at(-1).name };
    }
  }

  // ---- dispatch ----------------------------------------------------------------------------------

  class ExecutionContext {
    waitUntil(promise) { native.wait_until(Promise.resolve(promise)); }
    passThroughOnException() {}
  }

  let env = {};
  native.make_env = (vars) => { env = Object.freeze({ ...vars, KV: new KvNamespace() }); };

  native.dispatch = (handler, method, url, headers, handle) =>
    (async () => native.answer(await handler.fetch(native.new_request(method, url, headers, handle), env, new ExecutionContext())))();

  // Tells the bridge how a promise ends.
  native.watch = (promise, id) => { promise.then((value) => native.fulfilled(id, value), (reason) => native.rejected(id, reason)); };

  Object.assign(globals, { console, setTimeout, setInterval, clearTimeout, clearInterval, queueMicrotask, caches });
  globals.self = globals.globalThis;
})
