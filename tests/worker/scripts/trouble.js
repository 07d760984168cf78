// SPDX-License-Identifier: MIT
// What scripts do wrong, and what clients do to them.
import { explode } from './lib/explode.js';

let late = 'nothing';
let cancelled_ran = false;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const ms = Number(searchParams.get('ms') ?? 0);
    switch (pathname) {
      case '/ok': return new Response('ok');
      case '/throw': return explode();
      case '/throw-later': await sleep(5); return explode();
      case '/throw-string': throw 'just a string';
      case '/reject': Promise.reject(new Error('nobody listens')); return new Response('answered');
      case '/handled-late': { const p = Promise.reject(new Error('handled in time')); p.catch(() => {}); return new Response('answered'); }
      case '/timer-throws': setTimeout(() => explode(), 0); await sleep(20); return new Response('answered');
      case '/microtask-throws': queueMicrotask(() => explode()); await sleep(1); return new Response('answered');
      case '/loop': for (;;);
      case '/loop-and-microtask': queueMicrotask(() => {}); for (;;);
      case '/loop-later': await sleep(1); for (;;);
      case '/microtask-loop': { const again = () => Promise.resolve().then(again); again(); return new Response('never sent'); }
      case '/no-response': return 42;
      case '/used-body': { const r = new Response('x'); await r.text(); return r; }
      case '/never': return new Promise(() => {});
      case '/sleep': await sleep(ms); return new Response('slept');
      case '/sleep-and-tell': await sleep(ms); cancelled_ran = true; return new Response('slept');
      case '/told': return new Response(String(cancelled_ran));
      case '/later': ctx.waitUntil(sleep(ms).then(() => { late = searchParams.get('say'); })); return new Response('answered');
      case '/later-throws': ctx.waitUntil(Promise.reject(new Error('waited for nothing'))); return new Response('answered');
      case '/late': return new Response(late);
      case '/over': setTimeout(() => { late = 'ran after the end'; }, ms); return new Response('answered');
      case '/log': console.log('a line', { a: [1, 'two'], e: undefined }, new Map([[1, { deep: { deeper: { deepest: { hidden: 1 } } } }]])); console.error(new Error('logged')); console.warn('careful'); console.info('by the way'); return new Response('ok');
      case '/mark': {             // the request's own marker must come back after every kind of wait
        const mark = searchParams.get('m');
        await env.KV.put(`mark:${mark}`, mark);
        const steps = [];
        await sleep(Number(mark) % 7);
        steps.push(await env.KV.get(`mark:${mark}`));
        const [a, b] = await Promise.all([fetch(new URL(`/number?n=${mark}`, request.url)).then((r) => r.text()), sleep(3).then(() => mark)]);
        console.log(`mark ${mark}`);
        steps.push(a, b);
        return Response.json(steps);
      }
      case '/number': return new Response(searchParams.get('n'));
      case '/kv-put': await env.KV.put('kept', searchParams.get('v')); return new Response('put');
      case '/kv-get': return new Response(await env.KV.get('kept'));
    }
    return new Response('?', { status: 404 });
  },
};
