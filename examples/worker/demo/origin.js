// SPDX-License-Identifier: MIT
// The origin of the demo: a small back end whose answers take their time. Each path has a delay of its own.
const kDelayMs = { user: 20, orders: 35, product: 15, price: 25, stock: 40, reviews: 60, shipping: 30 };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const answers = {
  user: (id) => ({ id, name: ['Ada', 'Grace', 'Edsger', 'Barbara'][id % 4] }),
  orders: (id) => ({ user: id, orders: [id * 10 + 1, id * 10 + 2, id * 10 + 3] }),
  product: (id) => ({ id, title: `Product ${id}` }),
  price: (id) => ({ id, cents: 995 + 100 * (id % 7) }),
  stock: (id) => ({ id, left: id % 5 }),
  reviews: (id) => ({ id, reviews: Array.from({ length: 40 }, (_, n) => ({ stars: 1 + ((id + n) % 5), text: 'Would trace again. '.repeat(10) })) }),
  shipping: (id) => ({ id, days: 1 + (id % 3) }),
};

export default {
  async fetch(request) {
    const [, what, id] = new URL(request.url).pathname.split('/');
    const answer = answers[what];
    if (!answer) return new Response('there is no such thing here', { status: 404 });
    await sleep(kDelayMs[what]);
    return Response.json(answer(Number(id)), { headers: { 'cache-control': 'max-age=60' } });
  },
};
