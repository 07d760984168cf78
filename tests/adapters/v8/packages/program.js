// SPDX-License-Identifier: MIT
// Other people's code, called in as many of its ways as there are callbacks, each of which makes a promise: compilers, parsers,
// templates, collections, schedulers, a transpiled generator runtime, validators that compile themselves.
import './host.js';
import * as acorn from 'acorn';
import Ajv from 'ajv';
import * as flows from 'async';
import Bluebird from 'bluebird';
import handlebars from 'handlebars';
import { List, Map as ImmutableMap, Range, Seq, Set as ImmutableSet } from 'immutable';
import * as _ from 'lodash-es';
import { Marked } from 'marked';
import { all, create as createMath } from 'mathjs/number';
import pLimit from 'p-limit';
import PQueue from 'p-queue';
import * as prettier from 'prettier/standalone';
import * as prettierBabel from 'prettier/plugins/babel';
import * as prettierEstree from 'prettier/plugins/estree';
import regenerator from 'regenerator-runtime';
import * as rx from 'rxjs';
import { minify } from 'terser';
import * as z from 'zod';

const make = (value) => new Promise((resolve) => resolve(value));
const made = (value) => { make(value); return value };

const source = (i) => `
export async function load${i}(url, { retries = ${i % 5} } = {}) {
  for (let attempt = 0; attempt <= retries; attempt++) { try { const answer = await fetch(url); if (answer.ok) return answer.json() } catch (error) { if (attempt === retries) throw error } }
  return [1, 2, ${i}].map((x) => x ** 2).filter(Boolean).reduce((a, b) => a + b, 0) ?? null
}
class Thing${i} extends Base { #secret = ${i}; static make(...args) { return new this(...args) } get secret() { return this.#secret } *[Symbol.iterator]() { yield* [this.#secret] } }
`;

const validate = (() => {
  const ajv = new Ajv({ allErrors: true });
  ajv.addKeyword({ keyword: 'isKnown', async: true, type: 'number', validate: async (_schema, data) => { await make(data); return data > 0 } });
  return ajv.compile({
    $async: true, type: 'object', required: ['id', 'name'],
    properties: { id: { type: 'number', isKnown: true }, name: { type: 'string' }, tags: { type: 'array', items: { type: 'string', maxLength: 8 } } },
  });
})();
const person = z.object({
  name: z.string().transform(async (name) => { await make(); return name.trim() }),
  age: z.number().refine(async (age) => { await make(); return age < 150 }),
  tags: z.array(z.string().refine((tag) => made(tag.length > 0))),
});
const template = (() => {
  const own = handlebars.create();
  own.registerHelper('loud', (text) => made(String(text).toUpperCase()));
  own.registerHelper('each_made', (items, options) => items.map((item) => made(options.fn(item))).join(''));
  return own.compile('<h1>{{loud title}}</h1>{{#each items}}<li>{{loud this}}{{@index}}</li>{{/each}}{{#each_made items}}{{this}}{{/each_made}}');
})();
const marked = new Marked({ async: true, walkTokens: async (token) => { await make(token.type) }, renderer: { link({ text }) { return made(`<a>${text}</a>`) } } });
const math = createMath({ ...all });
math.import({ made });
const events = regenerator.mark(function numbers(n) {
  return regenerator.wrap(function (context) {
    for (;;) switch (context.prev = context.next) {
      case 0: context.t0 = 0;
      case 1: if (!(context.t0 < n)) { context.next = 4; break } context.next = 3; return made(context.t0);
      case 3: context.t0++; context.next = 1; break;
      case 4: case 'end': return context.stop();
    }
  }, numbers);
});
const transpiled = (n) => regenerator.async(function (context) {
  for (;;) switch (context.prev = context.next) {
    case 0: context.next = 2; return regenerator.awrap(make(n));
    case 2: make(context.sent); return context.abrupt('return', context.sent);
    case 4: case 'end': return context.stop();
  }
}, null, null, null, Promise);
const callback_style = (value, done) => { make(value).then((v) => done(null, v), done) };

const chapters = {
  collections(i) {
    const numbers = _.range(i % 13 + 3);
    _.chunk(_.map(numbers, made), 3).forEach((part) => _.sumBy(part, made));
    _.sortBy(_.shuffle(numbers), [made]); _.groupBy(numbers, (n) => made(n % 3)); _.memoize(made)(i); _.flow([made, made])(i); _.curry((a, b, c) => made(a + b + c))(1)(2)(3);
    _.cloneDeepWith({ a: [i, { b: new Map([[1, 2]]) }] }, (value) => { made(value) }); _.mergeWith({ a: [1] }, { a: [2] }, (a, b) => made(_.isArray(a) ? a.concat(b) : undefined)); _.template('<%= made(x) %>', { imports: { made } })({ x: i });
    List(numbers).map(made).filter((n) => made(n % 2 === 0)).groupBy(made).toJS(); ImmutableMap({ a: 1, b: 2 }).update('a', made).withMutations((m) => { m.set('c', made(3)) }).sortBy(made);
    Seq(Range(0, 50)).filter((n) => made(n) % 2).map(made).take(3).toArray(); ImmutableSet.of(3, 1, 2).sort((a, b) => made(a - b)).reduce((a, b) => made(a + b));
    return numbers.length;
  },
  async queues(i) {
    let attempts = i;
    const limit = pLimit(2), queue = new PQueue({ concurrency: 3 });
    await Promise.all(_.times(5, (k) => limit(async () => { await make(k); return made(k) })));
    await queue.addAll(_.times(4, (k) => async () => { make(k); await make(); return k })); await queue.onIdle();
    await flows.mapLimit([1, 2, 3], 2, callback_style); await flows.auto({ a: flows.asyncify(async () => make(i)), b: ['a', flows.asyncify(async ({ a }) => made(a))] });
    await flows.waterfall([flows.asyncify(async () => make(1)), flows.asyncify(async (n) => make(n + 1))]);
    await flows.retry(3, flows.asyncify(async () => { if (made(++attempts) % 2) throw attempts; return i })).catch(made);
    await new Promise((done) => flows.parallel([(next) => next(null, made(1)), flows.asyncify(() => make(2))], () => done()));
    await Bluebird.map([1, 2, 3], (x) => made(x), { concurrency: 2 }); await Bluebird.reduce([1, 2], (a, b) => made(a + b), 0); await Bluebird.coroutine(function* () { yield make(1); return made(2) })(); await Bluebird.try(() => made(3)).delay(0).finally(() => { made(4) });
    return i;
  },
  async streams(i) {
    const seen = rx.from([1, 2, 3, i]).pipe(rx.map(made), rx.mergeMap((x) => rx.from(make(x))), rx.concatMap(async (x) => made(await make(x))), rx.scan((a, b) => made(a + b), 0), rx.retry(1), rx.shareReplay(1), rx.toArray());
    made((await rx.firstValueFrom(seen)).length);
    await rx.lastValueFrom(rx.combineLatest([rx.of(1), rx.defer(() => make(2))]).pipe(rx.switchMap(([a, b]) => rx.of(made(a + b))), rx.catchError(() => rx.of(0)), rx.finalize(() => made(0))));
    const subject = new rx.BehaviorSubject(0); const subscription = subject.pipe(rx.filter((x) => made(x) > 1), rx.distinctUntilChanged((a, b) => made(a === b))).subscribe({ next: made }); for (const x of events(3)) subject.next(x); subscription.unsubscribe();
    return transpiled(i);
  },
  async schemas(i) {
    await validate({ id: i + 1, name: 'a', tags: ['x', 'y'] }); await validate({ id: -1, name: 3 }).catch((error) => made(error.errors.length));
    await person.parseAsync({ name: ' a ', age: 40 + i % 7, tags: ['a', 'b'] }); made((await person.safeParseAsync({ name: 'a', age: 200, tags: [''] })).success);
    z.preprocess(made, z.union([z.number(), z.string()]).transform(made)).parse(i);
    return i;
  },
  async texts(i) {
    template({ title: 'a' + i % 5, items: _.range(i % 4 + 1) });
    await marked.parse(`# Title ${i}\n\n- a [link](x)\n- **b** \`c\`\n\n> quote\n\n| a | b |\n|---|---|\n| 1 | ${i} |\n`);
    math.evaluate('made(2) + sqrt(made(3)) * f(2)', { f: (x) => made(x * 2) }); math.parse('x^2 + made(x)').transform((node) => made(node)).evaluate({ x: i }); math.simplify('2 * x + x'); math.derivative('x^2 + sin(x)', 'x').evaluate({ x: made(1) });
    return i;
  },
  async compilers(i) {
    acorn.parse(source(i), { ecmaVersion: 2022, sourceType: 'module', onToken: made, onComment: made });
    if (i % 4 === 0) made((await minify(source(i), { module: true, compress: { passes: 1 + i % 2 }, mangle: true, output: { comments: (node, comment) => made(false) } })).code.length);
    if (i % 4 === 2) made((await prettier.format(source(i), { parser: 'babel', plugins: [prettierBabel, prettierEstree, { languages: [], parsers: {}, printers: {}, options: {} }] })).length);
    return i;
  },
};

globalThis.finished = 0;
globalThis.failure = '';
globalThis.rounds = (from, count) => {
  const run = async () => { for (let i = from; i < from + count; i++) for (const chapter of Object.values(chapters)) { await chapter(i); globalThis.finished++ } };
  run().catch((error) => { globalThis.failure = String(error?.stack ?? error) });
};
globalThis.chapters = Object.keys(chapters).length;
