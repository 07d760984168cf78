// SPDX-License-Identifier: MIT
// One path, one observation of the web API; worker_test.py holds what each must be.
const fails = (f) => { try { f(); return 'no error'; } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
const fails_later = async (f) => { try { await f(); return 'no error'; } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
const kind = async (f) => (await fails_later(f)).split(':')[0];
const parts = (u) => [u.href, u.origin, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash];

const observations = {
  // URL
  url_parts: () => parts(new URL('HTTP://user:p%20w@EXAMPLE.com:8080/a b/../c/./d?q=1&r=%41#top')),
  url_default_port: () => new URL('http://h:80/').href,
  url_relative: () => ['../x', '/y', '?z', '#f', '//o/p', 'k/l'].map((r) => new URL(r, 'http://h/a/b/c?d#e').href),
  url_ipv4: () => new URL('http://0x7f.1/').host,
  url_ipv6: () => new URL('http://[2001:db8:0:0:1:0:0:1]/').host,
  url_idn: () => new URL('http://münchen.de/ß').href,
  url_bad: () => ['http://', 'nothing', 'http://a b/', 'http://h:99999/', 'http://256.256.256.256/'].map((u) => URL.canParse(u)),
  url_error: () => fails(() => new URL('nothing')),
  url_setters: () => {
    const url = new URL('http://h/p?a=1#f');
    url.hostname = 'x'; url.port = '81'; url.pathname = '/q r'; url.hash = 'g h'; url.protocol = 'https:'; url.username = 'u';
    url.searchParams.append('b', '2 3');
    return [url.href, JSON.stringify({ url })];
  },
  url_special_backslash: () => new URL('http:\\\\h\\p').href,
  url_opaque: () => parts(new URL('mailto:someone@example.org')),
  params: () => {
    const p = new URLSearchParams('?a=1&b=2&a=3&c=%20+x');
    p.set('b', 'ä'); p.delete('c'); p.append('z', '&='); p.sort();
    return [p.toString(), p.get('a'), p.getAll('a'), p.has('zz'), p.size, [...new URLSearchParams({ k: 'v' })], [...new URLSearchParams([['m', 'n']])]];
  },

  // Headers
  headers: () => {
    const h = new Headers({ 'X-B': '1', 'x-a': ' 2 ' });
    h.append('x-b', '3'); h.append('set-cookie', 'a=1'); h.append('set-cookie', 'b=2'); h.set('x-c', 'c'); h.delete('x-a');
    return [[...h], h.get('X-B'), h.get('none'), h.has('x-c'), h.getSetCookie(), [...h.keys()]];
  },
  headers_bad: () => [fails(() => new Headers({ 'a b': '1' })), fails(() => new Headers({ a: 'x\ny' })), fails(() => new Headers([['a']]))].map((t) => t.split(':')[0]),

  // Request and Response
  request: async () => {
    const r = new Request('http://h/p', { method: 'post', body: 'text', headers: { a: 'b' } });
    const copy = r.clone();
    return [r.method, r.url, r.headers.get('content-type'), r.headers.get('a'), await r.text(), r.bodyUsed, await copy.text(), await kind(() => r.text())];
  },
  request_bad: async () => [await kind(() => new Request('/relative')), await kind(() => new Request('http://h', { body: 'x' })), await kind(() => new Request('http://h', { method: 'BREW' }))],
  response: async () => {
    const r = new Response('ä', { status: 201, statusText: 'Made', headers: { a: '1' } });
    return [r.status, r.statusText, r.ok, r.headers.get('content-type'), (await r.clone().arrayBuffer()).byteLength, await r.text()];
  },
  response_json: async () => { const r = Response.json({ a: [1, null] }, { status: 202 }); return [r.status, r.headers.get('content-type'), await r.text()]; },
  response_redirect: () => { const r = Response.redirect('http://h/x', 307); return [r.status, r.headers.get('location'), r.body]; },
  response_bodies: async () => [await new Response(new Uint8Array([104, 105])).text(), await new Response(new URLSearchParams({ a: 'b c' })).text(), await new Response(null).text(), await new Response('{"a":1}').json(), await new Response(new Response('token').body).text()],
  response_bad: async () => [await kind(() => new Response('x', { status: 204 })), await kind(() => new Response('', { status: 99 })), await kind(() => new Response('{').json()), await kind(() => Response.json(undefined)), await kind(() => Response.redirect('http://h', 200))],

  // encoding, crypto
  encoding: () => [[...new TextEncoder().encode('aä€😀')], new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xc3, 0xa4])), new TextDecoder().decode(new Uint8Array([0x61, 0xff])), fails(() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([0xff]))).split(':')[0], fails(() => new TextDecoder('latin1')).split(':')[0]],
  uuid: () => [/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), crypto.randomUUID() !== crypto.randomUUID()],

  // timers and microtasks
  timeout: () => new Promise((resolve) => setTimeout((...a) => resolve(a), 1, 'x', 2)),
  interval: () => new Promise((resolve) => { let n = 0; const id = setInterval(() => { if (++n === 3) { clearInterval(id); resolve(n); } }, 1); }),
  cleared: async () => { let ran = false; const id = setTimeout(() => { ran = true; }, 1); clearTimeout(id); clearTimeout(undefined); clearTimeout(12345); await new Promise((r) => setTimeout(r, 20)); return ran; },
  timer_order: async () => { const seen = []; await Promise.all([30, 10, 20].map((ms) => new Promise((r) => setTimeout(() => { seen.push(ms); r(); }, ms)))); return seen; },
  microtasks: async () => { const seen = []; setTimeout(() => seen.push('timer'), 0); queueMicrotask(() => seen.push('microtask')); Promise.resolve().then(() => seen.push('then')); seen.push('now'); await new Promise((r) => setTimeout(r, 20)); return seen; },
  timer_bad: () => fails(() => setTimeout('alert()')).split(':')[0],

  // caches.default
  cache: async () => {
    const cache = caches.default;
    const key = 'http://cache.test/a';
    const before = await cache.match(key);
    await cache.put(key, new Response('kept', { status: 203, headers: { 'cache-control': 'public, max-age=60', 'x-a': 'b' } }));
    const hit = await cache.match(new Request(key));
    const again = await cache.match(key);
    return [before === undefined, hit.status, hit.headers.get('x-a'), hit.headers.has('age'), await hit.text(), await again.text(), await cache.delete(key), await cache.delete(key), (await cache.match(key)) === undefined];
  },
  cache_not_kept: async () => {
    const results = [];
    for (const value of ['no-store', 'private', 'max-age=0', 'max-age=9, s-maxage=0']) {
      const key = `http://cache.test/${encodeURIComponent(value)}`;
      await caches.default.put(key, new Response('x', { headers: { 'cache-control': value } }));
      results.push((await caches.default.match(key)) === undefined);
    }
    return results;
  },
  cache_expires: async () => {
    const key = 'http://cache.test/short';
    await caches.default.put(key, new Response('x', { headers: { 'cache-control': 'max-age=1' } }));
    const fresh = (await caches.default.match(key)) !== undefined;
    await new Promise((r) => setTimeout(r, 1100));
    return [fresh, (await caches.default.match(key)) === undefined];
  },
  cache_bad: async () => [await kind(() => caches.default.put(new Request('http://h', { method: 'POST' }), new Response(''))), await kind(() => caches.default.put('http://h', new Response('', { status: 206 })))],

  // env
  env: (request, env) => [env.GREETING, env.WITH_EQUALS, Object.keys(env).sort()],
  kv: async (request, env) => {
    for (const name of ['user:1', 'user:2', 'user:3', 'other', 'us%', 'user']) await env.KV.put(name, `value of ${name}`);
    const first = await env.KV.list({ prefix: 'user:', limit: 2 });
    const rest = await env.KV.list({ prefix: 'user:', limit: 2, cursor: first.cursor });
    await env.KV.put('bytes', new Uint8Array([0, 255]));
    await env.KV.put('json', '{"a":[1]}');
    await env.KV.delete('other');
    await env.KV.delete('never there');
    return [first, rest, await env.KV.get('user:1'), await env.KV.get('other'), [...new Uint8Array(await env.KV.get('bytes', 'arrayBuffer'))], await env.KV.get('json', { type: 'json' }), (await env.KV.list({ prefix: 'us%' })).keys.length];
  },
  kv_expires: async (request, env) => { await env.KV.put('brief', 'x', { expirationTtl: 0.3 }); const now = await env.KV.get('brief'); await new Promise((r) => setTimeout(r, 500)); return [now, await env.KV.get('brief')]; },
  kv_bad: async (request, env) => [await kind(() => env.KV.get('')), await kind(() => env.KV.put('k', { an: 'object' })), await kind(() => env.KV.get('k', 'stream')), await kind(() => env.KV.list({ limit: 0 })), await kind(() => env.KV.get('k'.repeat(513)))],

  // fetch
  fetch_errors: async () => [await fails_later(() => fetch('https://example.org/')), await fails_later(() => fetch('http://127.0.0.1:1/')), await kind(() => fetch('not a url')), await kind(() => fetch('http://no-such-host.invalid/'))],
  fetch_get: async (request) => { const r = await fetch(new URL('/plain', request.url)); return [r.status, r.ok, r.headers.get('x-plain'), r.url === new URL('/plain', request.url).href, await r.text()]; },
  fetch_post: async (request) => { const r = await fetch(new URL('/echo', request.url), { method: 'POST', body: 'é'.repeat(3), headers: { 'x-from': 'me' } }); return [await r.json(), await kind(() => r.text())]; },
  fetch_redirect: async (request) => { const r = await fetch(new URL('/to-plain', request.url)); return [r.status, r.redirected, new URL(r.url).pathname, await r.text()]; },
  fetch_redirect_manual: async (request) => { const r = await fetch(new URL('/to-plain', request.url), { redirect: 'manual' }); return [r.status, r.redirected]; },
  fetch_redirect_error: (request) => kind(() => fetch(new URL('/to-plain', request.url), { redirect: 'error' })),
  fetch_redirect_loop: (request) => fails_later(() => fetch(new URL('/round', request.url))).then((text) => text.split(',')[0]),
  fetch_head: async (request) => { const r = await fetch(new URL('/plain', request.url), { method: 'HEAD' }); return [r.status, r.body, await r.text()]; },
  fetch_big: async (request) => { const r = await fetch(new URL('/big', request.url)); const bytes = await r.bytes(); return [bytes.length, bytes.every((b, i) => b === i % 251)]; },
  fetch_many: async (request) => (await Promise.all(Array.from({ length: 40 }, (_, i) => fetch(new URL(`/number?n=${i}`, request.url)).then((r) => r.text())))).map(Number).every((n, i) => n === i),

  globals: () => ['process', 'require', 'native', 'window', 'eval', 'self'].map((name) => typeof globalThis[name]),
  dynamic_import: async () => (await import('./lib/twice.js')).default(21),
  import_meta: () => import.meta.url.endsWith('/scripts/api.js'),
  shared_state: () => ++counter,
};
let counter = 0;

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    switch (pathname) {
      case '/plain': return new Response('plain text', { headers: { 'x-plain': 'yes' } });
      case '/to-plain': return new Response(null, { status: 302, headers: { location: '/plain' } });
      case '/round': return Response.redirect(request.url);
      case '/echo': return Response.json([request.method, await request.text(), request.headers.get('x-from'), request.headers.get('content-type')]);
      case '/mirror': return new Response(request.body, { headers: { 'content-type': request.headers.get('content-type') ?? '' } });
      case '/big': return new Response(Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251));
      case '/through': return fetch(new URL('/big', request.url));
      case '/number': return new Response(searchParams.get('n'));
      case '/status': return new Response(null, { status: Number(searchParams.get('code')) });
      case '/cookies': return new Response('', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] });
      case '/latin': return new Response(request.headers.get('x-latin') === 'caf\u00e9', { headers: { 'x-latin': 'caf\u00e9' } });
    }
    const observe = observations[pathname.slice(1)];
    if (!observe) return new Response('no such observation', { status: 404 });
    return Response.json(await observe(request, env, ctx));
  },
};
