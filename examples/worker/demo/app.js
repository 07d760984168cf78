// SPDX-License-Identifier: MIT
// The app of the demo: a small shop in front of the origin (env.ORIGIN). Its pages wait in the ways that real ones do.
import { get_json, cached_json } from './lib/origin.js';
import { within, sleep } from './lib/time.js';

// One after another: each fetch needs what the one before it brought.
async function account(id, env) {
  const user = await get_json(env, `user/${id}`);
  const { orders } = await get_json(env, `orders/${user.id}`);
  const first = await get_json(env, `product/${orders[0]}`);
  return { user: user.name, orders: orders.length, first: first.title };
}

// All at once: the page takes as long as its slowest part. The reviews may be late: then it goes without them.
async function product(id, env) {
  const [item, price, stock, reviews] = await Promise.all([
    cached_json(env, `product/${id}`),
    cached_json(env, `price/${id}`),
    get_json(env, `stock/${id}`),
    within(50, get_json(env, `reviews/${id}`), { reviews: [] }),
  ]);
  return { title: item.title, cents: price.cents, left: stock.left, reviews: reviews.reviews.length };
}

// The key-value store: read, change, write, list; a view is counted after the response.
async function cart(id, env, ctx) {
  const key = `cart:${id}`;
  const items = (await env.KV.get(key, 'json')) ?? [];
  items.push(1 + items.length);
  await env.KV.put(key, JSON.stringify(items));
  ctx.waitUntil(count_view(id, env));
  const carts = await env.KV.list({ prefix: 'cart:' });
  return { items: items.length, carts: carts.keys.length };
}

async function count_view(id, env) {
  await sleep(10);
  const views = Number(await env.KV.get(`views:${id}`)) + 1;
  await env.KV.put(`views:${id}`, String(views));
}

// A loop that awaits each item in turn, where it could have asked for all: look for it in the trace.
async function checkout(id, env) {
  const { orders } = await get_json(env, `orders/${id}`);
  let cents = 0;
  for (const order of orders) cents += (await get_json(env, `price/${order}`)).cents;
  const shipping = await get_json(env, `shipping/${id}`);
  queueMicrotask(() => console.info(`order of ${id}: ${cents} cents`));
  return { cents, days: shipping.days };
}

const pages = { account, product, cart, checkout };

export default {
  async fetch(request, env, ctx) {
    const [, page, id] = new URL(request.url).pathname.split('/');
    if (!Object.hasOwn(pages, page)) return new Response('there is no such page', { status: 404 });
    return Response.json(await pages[page](Number(id), env, ctx));
  },
};
