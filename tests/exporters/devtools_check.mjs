// SPDX-License-Identifier: MIT
// devtools_check.mjs: what the Performance panel of Chromium's DevTools makes of a Chrome trace must be what stands in it.
//   node devtools_check.mjs <npm package @paulirish/trace_engine> <chrome.json>
// The package is the panel's own trace engine. It is asked for what it builds of any trace: processes, threads with their
// names, and each thread's tree of calls. Says what differs and ends with 1, or with 0.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , package_, file] = process.argv;
globalThis.window = globalThis;
globalThis.DOMRect ??= class {
  constructor(x = 0, y = 0, width = 0, height = 0) {
    Object.assign(this, { x, y, width, height });
  }
};
const main = JSON.parse(fs.readFileSync(path.join(package_, 'package.json'), 'utf8')).main;
const engine = await import(pathToFileURL(path.join(package_, main)));
const { traceEvents } = JSON.parse(fs.readFileSync(file, 'utf8'));

const processor = engine.Processor.TraceProcessor.createWithAllHandlers();
await processor.parse(structuredClone(traceEvents), {});
const { Renderer, Meta } = processor.data ?? processor.parsedTrace;

let problems = 0;
function check(truth, what) {
  if (truth) return;
  problems++;
  console.log(`${path.basename(file)}: ${what}`);
}

// The same from the file, by hand: microseconds with three digits are whole nanoseconds.
const ns = (us) => Math.round(us * 1000);
const threads = new Map();
for (const event of traceEvents) {
  const key = `${event.pid}/${event.tid}`;
  if (event.ph === 'X') {
    if (!threads.has(key)) threads.set(key, []);
    threads.get(key).push([ns(event.ts), ns(event.ts) + ns(event.dur), event.name]);
  }
}
const names = new Map(traceEvents.filter((e) => e.ph === 'M' && e.name === 'thread_name').map((e) => [`${e.pid}/${e.tid}`, e.args.name]));

let seen = 0;
for (const [pid, process_] of Renderer.processes) {
  for (const [tid, thread] of process_.threads) {
    const key = `${pid}/${tid}`;
    const expected = (threads.get(key) ?? []).sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    seen += expected.length;
    const found = thread.entries.map((e) => [ns(e.ts), ns(e.ts) + ns(e.dur), e.name]);
    check(found.length === expected.length, `thread ${key}: ${found.length} calls, ${expected.length} in the file`);
    check(JSON.stringify(found.slice().sort()) === JSON.stringify(expected.slice().sort()), `thread ${key}: other calls than in the file`);
    if (names.has(key)) check(thread.name === names.get(key), `thread ${key} is called ${thread.name}, not ${names.get(key)}`);
    // Its tree against the intervals: a call's parent is the innermost one that was open.
    const parent = new Map();
    const pending = [...thread.tree.roots].map((root) => [root, null]);
    while (pending.length !== 0) {
      const [node, above] = pending.pop();
      parent.set(`${ns(node.entry.ts)} ${node.entry.name}`, above === null ? null : `${ns(above.entry.ts)} ${above.entry.name}`);
      for (const child of node.children) pending.push([child, node]);
    }
    const open = [];
    for (const [begin, end, name] of expected) {
      while (open.length !== 0 && open[open.length - 1][1] <= begin) open.pop();
      const above = open.length === 0 ? null : `${open[open.length - 1][0]} ${open[open.length - 1][2]}`;
      check(open.length === 0 || end <= open[open.length - 1][1], `thread ${key}: ${name} at ${begin} ns ends after what it lies in`);
      check(parent.get(`${begin} ${name}`) === above, `thread ${key}: ${name} at ${begin} ns lies in ${parent.get(`${begin} ${name}`)}, not in ${above}`);
      open.push([begin, end, name]);
    }
  }
}
const all = [...threads.values()].reduce((sum, calls) => sum + calls.length, 0);
check(seen === all && all !== 0, `${seen} calls are shown, ${all} are in the file`);
const times = traceEvents.filter((e) => e.ph !== 'M' && e.ts !== 0).map((e) => ns(e.ts));
check(ns(Meta.traceBounds.min) >= Math.min(...times), `begins at ${Meta.traceBounds.min}`);
process.exit(problems === 0 ? 0 : 1);
