// SPDX-License-Identifier: MIT
// Scripts whose trace is known: trace_test.py says what must be in it. `m` marks all that a request does.
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ask = async (env, m, say, ms = 0) => (await fetch(`${env.ORIGIN}/${m}/${say}?say=${say}&ms=${ms}`)).text();

const pages = {
  async sequential(env, m) { return (await ask(env, m, 'first')) + (await ask(env, m, 'second')); },
  async parallel(env, m) { return (await Promise.all([ask(env, m, 'left', 20), ask(env, m, 'right', 20)])).join(); },
  // The same three questions, each asked when the one before is answered, and all at once; `m` is how long an answer takes.
  async in_turn(env, m) { let all = ''; for (const say of ['a', 'b', 'c']) all += await ask(env, m, say, m); return all; },
  async together(env, m) { return (await Promise.all(['a', 'b', 'c'].map((say) => ask(env, m, say, m)))).join(''); },
  async kv(env, m) {
    await env.KV.put(`${m}:key`, 'value');
    const value = await env.KV.get(`${m}:key`);
    const { keys } = await env.KV.list({ prefix: `${m}:` });
    await env.KV.delete(`${m}:key`);
    return value + keys.length;
  },
  async cache(env, m) {
    const key = `http://cache.test/${m}`;
    const before = await caches.default.match(key);
    await caches.default.put(key, new Response('cached'));
    return (before === undefined) + (await (await caches.default.match(key)).text());
  },
  async timers(env, m) {
    const cleared = setTimeout(() => {}, 10_000);
    await new Promise((resolve) => { let n = 0; const id = setInterval(() => { if (++n === 3) { clearInterval(id); resolve(); } }, 2); });
    await sleep(5);
    clearTimeout(cleared);
    return 'timers';
  },
  async microtask() { return new Promise((resolve) => queueMicrotask(() => resolve('microtask'))); },
  async throwing() { await sleep(1); throw new Error('thrown on purpose'); },
  async rejecting() { Promise.reject(new Error('nobody listens')); return 'answered'; },
  async unread(env, m) { await fetch(`${env.ORIGIN}/${m}?say=${'x'.repeat(100)}`); return 'not read'; },
  async refused() { try { await fetch('http://127.0.0.1:1/'); } catch (error) { return error.constructor.name; } },
  async waiting(env, m, ctx) { ctx.waitUntil(sleep(100).then(() => env.KV.put(`${m}:late`, 'x'))); return 'answered'; },
  async abandoned(env, m) { await sleep(30_000); return 'never'; },
  async forgotten(env, m) { setTimeout(() => {}, 30_000); fetch(`${env.ORIGIN}/${m}?say=x&ms=20000`).catch(() => {}); return 'answered'; },
  async loop() { for (;;); },
  // All of it at once, for many requests side by side.
  async everything(env, m) {
    await env.KV.put(`${m}:key`, m);
    const [a, b, c] = await Promise.all([ask(env, m, m, Number(m) % 5), env.KV.get(`${m}:key`), sleep(Number(m) % 3).then(() => m)]);
    await caches.default.put(`http://cache.test/${m}`, new Response(m));
    const d = await (await caches.default.match(`http://cache.test/${m}`)).text();
    await Promise.all([caches.default.delete(`http://cache.test/${m}`), env.KV.delete(`${m}:key`)]);
    return [a, b, c, d].join();
  },
};

let shared;
export default {
  async fetch(request, env, ctx) {
    const [, page, m] = new URL(request.url).pathname.split('/');
    if (page === 'through') return fetch(`${env.ORIGIN}/${m}?say=through`);
    if (page === 'body') return new Response(await request.text());
    if (page === 'shared') {      // one request waits for another's work
      shared ??= sleep(50).then(() => env.KV.put('shared:key', 'x')).then(() => 'shared');
      return new Response(await shared);
    }
    return new Response(await pages[page](env, m, ctx));
  },
};
