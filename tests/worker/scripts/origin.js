// SPDX-License-Identifier: MIT
// What the traced scripts fetch from: it answers with what it was asked for, after a delay.
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    await new Promise((resolve) => setTimeout(resolve, Number(searchParams.get('ms') ?? 0)));
    return new Response(searchParams.get('say'));
  },
};
