// SPDX-License-Identifier: MIT
// Headers, Request, Response and fetch(), after the Fetch Standard. A body is read whole: text(), json(),
// arrayBuffer(), bytes(); response.body is a token that can be given to another Request or Response.
(function (native, globals) {
  'use strict';
  const { URL, URLSearchParams, TextEncoder, TextDecoder } = globals;

  // ---- Headers -----------------------------------------------------------------------------------

  function header_name(value) {
    const name = String(value).toLowerCase();
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw new TypeError(`"${value}" is not a header name`);
    return name;
  }
  function header_value(name, value) {
    const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
    if (/[\0\n\r]/.test(text) || /[^\x00-\xff]/.test(text)) throw new TypeError(`the value of the header "${name}" has a character that no header may have`);
    return text;
  }

  class Headers {
    #list = [];                                          // [name, value], names in lower case
    constructor(init) {
      if (init === undefined || init === null) return;
      if (typeof init !== 'object') throw new TypeError('Headers: the init must be an object, an iterable of pairs, or Headers');
      const pairs = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init);
      for (const pair of pairs) {
        const [name, value, ...more] = pair;
        if (value === undefined || more.length) throw new TypeError('Headers: each entry must be a [name, value] pair');
        this.append(name, value);
      }
    }
    static from_flat(flat) {
      const headers = new Headers();
      for (let i = 0; i < flat.length; i += 2) headers.#list.push([flat[i].toLowerCase(), flat[i + 1]]);
      return headers;
    }
    to_flat() { return this.#list.flat(); }
    append(name, value) { const key = header_name(name); this.#list.push([key, header_value(key, value)]); }
    delete(name) { const key = header_name(name); this.#list = this.#list.filter(([n]) => n !== key); }
    get(name) {
      const key = header_name(name);
      const values = this.#list.filter(([n]) => n === key).map(([, v]) => v);
      return values.length ? values.join(', ') : null;
    }
    getSetCookie() { return this.#list.filter(([n]) => n === 'set-cookie').map(([, v]) => v); }
    has(name) { const key = header_name(name); return this.#list.some(([n]) => n === key); }
    set(name, value) {
      const key = header_name(name);
      const checked = header_value(key, value);
      const first = this.#list.findIndex(([n]) => n === key);
      if (first < 0) this.#list.push([key, checked]);
      else {
        this.#list[first][1] = checked;
        this.#list = this.#list.filter(([n], i) => n !== key || i === first);
      }
    }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    *entries() {
      for (const name of [...new Set(this.#list.map(([n]) => n))].sort()) {
        if (name === 'set-cookie') for (const value of this.getSetCookie()) yield [name, value];
        else yield [name, this.get(name)];
      }
    }
    *keys() { for (const [name] of this) yield name; }
    *values() { for (const [, value] of this) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    get [Symbol.toStringTag]() { return 'Headers'; }
  }
  const from_flat = Headers.from_flat;                   // the runtime's own; a script does not see them
  const flat_of = Headers.prototype.to_flat;
  const to_flat = (headers) => flat_of.call(headers);
  delete Headers.from_flat;
  delete Headers.prototype.to_flat;

  // ---- bodies ------------------------------------------------------------------------------------

  // Where the bytes of a body come from: memory, or a native stream that is read once. Clones share it.
  class BodySource {
    bytes = null;
    handle = 0;
    shared = false;
    reading = null;
    type = null;
    static of_bytes(bytes, type = null) { return Object.assign(new BodySource(), { bytes, type }); }
    static of_handle(handle) { return Object.assign(new BodySource(), { handle }); }
    static of(init) {
      if (init === null || init === undefined) return null;
      if (init instanceof BodyToken) return init.take();
      if (init instanceof ArrayBuffer || ArrayBuffer.isView(init)) return BodySource.of_bytes(native.bytes_of(init).slice());
      if (init instanceof URLSearchParams) return BodySource.of_bytes(new TextEncoder().encode(init), 'application/x-www-form-urlencoded;charset=UTF-8');
      return BodySource.of_bytes(new TextEncoder().encode(String(init)), 'text/plain;charset=UTF-8');
    }
    read() {                                             // a promise of the bytes; a private copy where shared
      if (this.bytes) return Promise.resolve(this.shared ? this.bytes.slice() : this.bytes);
      this.reading ??= native.read_body(this.handle).then((buffer) => (this.bytes = new Uint8Array(buffer)));
      return this.reading.then((bytes) => (this.shared ? bytes.slice() : bytes));
    }
  }

  class BodyToken {
    #owner;
    constructor(owner) { this.#owner = owner; }
    take() { return take_source(this.#owner); }
    get locked() { return this.#owner.bodyUsed; }
  }

  let take_source, peek_source;
  class Body {
    #source = null;
    #used = false;
    #token = null;
    static {
      take_source = (body) => body.#take();
      peek_source = (body) => body.#source;
    }
    constructor(source) { this.#source = source; }
    #take() {
      if (this.#used) throw new TypeError('the body has already been used');
      if (this.#source) this.#used = true;
      return this.#source;
    }
    clone_source() {
      if (this.#used) throw new TypeError('clone(): the body has already been used');
      if (this.#source) this.#source.shared = true;
      return this.#source;
    }
    get bodyUsed() { return this.#used; }
    get body() { return this.#source === null ? null : (this.#token ??= new BodyToken(this)); }
    async bytes() { return (await this.#take()?.read()) ?? new Uint8Array(0); }
    async arrayBuffer() {
      const bytes = await this.bytes();
      return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
    }
    async text() { return new TextDecoder().decode(await this.bytes()); }
    async json() { return JSON.parse(await this.text()); }
  }
  const clone_source = Body.prototype.clone_source;
  delete Body.prototype.clone_source;

  // ---- Request and Response ----------------------------------------------------------------------

  const kMethods = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH'];
  const adopted = Symbol('adopted');                     // [adopted]: built by the runtime, nothing to check

  class Request extends Body {
    #method = 'GET';
    #url;
    #headers;
    #redirect = 'follow';
    constructor(input, init = {}) {
      if (init[adopted]) {
        super(init.source);
        this.#method = init.method;
        this.#url = input;
        this.#headers = init.headers;
        this.#redirect = init.redirect ?? 'follow';
        return;
      }
      const from = input instanceof Request ? input : null;
      const method = String(init.method ?? from?.method ?? 'GET');
      const upper = kMethods.includes(method.toUpperCase()) ? method.toUpperCase() : method;
      const given = init.body !== undefined && init.body !== null;
      if (given && (upper === 'GET' || upper === 'HEAD')) throw new TypeError(`Request: a ${upper} request cannot have a body`);
      const source = given ? BodySource.of(init.body) : from ? take_source(from) : null;
      super(source);
      if (!kMethods.includes(upper)) throw new TypeError(`Request: the method "${method}" is not supported`);
      this.#method = upper;
      this.#url = from ? from.url : new URL(input).href;
      this.#headers = new Headers(init.headers ?? from?.headers);
      this.#redirect = init.redirect ?? from?.redirect ?? 'follow';
      if (!['follow', 'manual', 'error'].includes(this.#redirect)) throw new TypeError(`Request: redirect must be follow, manual or error, not "${init.redirect}"`);
      if (given && source.type && !this.#headers.has('content-type')) this.#headers.set('content-type', source.type);
    }
    get method() { return this.#method; }
    get url() { return this.#url; }
    get headers() { return this.#headers; }
    get redirect() { return this.#redirect; }
    clone() {
      return new Request(this.#url, { [adopted]: true, source: clone_source.call(this), method: this.#method, headers: new Headers(this.#headers), redirect: this.#redirect });
    }
    get [Symbol.toStringTag]() { return 'Request'; }
  }

  const kNoBody = [204, 205, 304];

  class Response extends Body {
    #status = 200;
    #status_text = '';
    #headers;
    #url = '';
    #redirected = false;
    constructor(body, init = {}) {
      if (init[adopted]) {
        super(init.source);
        this.#status = init.status;
        this.#status_text = init.statusText;
        this.#headers = init.headers;
        this.#url = init.url ?? '';
        this.#redirected = init.redirected ?? false;
        return;
      }
      const source = BodySource.of(body);
      super(source);
      init ??= {};
      const status = init.status === undefined ? 200 : Number(init.status);
      if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`Response: status must be 200 to 599, not ${init.status}`);
      if (source && kNoBody.includes(status)) throw new TypeError(`Response: a ${status} response cannot have a body`);
      this.#status = status;
      this.#status_text = header_value('status', init.statusText ?? '');
      this.#headers = new Headers(init.headers);
      if (source?.type && !this.#headers.has('content-type')) this.#headers.set('content-type', source.type);
    }
    static json(value, init = {}) {
      const text = JSON.stringify(value);
      if (text === undefined) throw new TypeError('Response.json: the value cannot be written as JSON');
      const headers = new Headers(init.headers);
      if (!headers.has('content-type')) headers.set('content-type', 'application/json');
      return new Response(text, { ...init, headers });
    }
    static redirect(url, status = 302) {
      if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`Response.redirect: ${status} is not a redirect status`);
      return new Response(null, { status, headers: { location: new URL(url).href } });
    }
    static error() { throw new TypeError('Response.error is not supported'); }
    get status() { return this.#status; }
    get statusText() { return this.#status_text; }
    get ok() { return this.#status >= 200 && this.#status < 300; }
    get headers() { return this.#headers; }
    get url() { return this.#url; }
    get redirected() { return this.#redirected; }
    clone() {
      return new Response(null, { [adopted]: true, source: clone_source.call(this), status: this.#status, statusText: this.#status_text,
                                  headers: new Headers(this.#headers), url: this.#url, redirected: this.#redirected });
    }
    get [Symbol.toStringTag]() { return 'Response'; }
  }

  // ---- fetch -------------------------------------------------------------------------------------

  const kMaxRedirects = 20;

  // An error of the network is made anew here, where V8 knows the stack of those who await it.
  async function send(method, url, headers, body) {
    try {
      return await native.fetch(method, url.href, url.host, url.pathname + url.search, to_flat(headers), body);
    } catch (error) {
      throw new TypeError(error.message);
    }
  }

  async function fetch(input, init) {
    const request = new Request(input, init);
    let body = peek_source(request) ? await request.bytes() : null;
    let method = request.method;
    let url = new URL(request.url);
    const headers = new Headers(request.headers);
    for (let hops = 0; ; ++hops) {
      if (url.protocol !== 'http:') throw new TypeError(`fetch: ${url.protocol}// is not supported, only http:// (${url.href})`);
      url.hash = '';
      const answer = await send(method, url, headers, body);
      const reply = from_flat(answer.headers);
      const location = reply.get('location');
      if (request.redirect !== 'manual' && [301, 302, 303, 307, 308].includes(answer.status) && location !== null) {
        native.drop_body(answer.body);
        if (request.redirect === 'error') throw new TypeError(`fetch: ${url.href} redirects, and redirect is "error"`);
        if (hops >= kMaxRedirects) throw new TypeError(`fetch: more than ${kMaxRedirects} redirects, the last from ${url.href}`);
        const next = new URL(location, url);
        if (next.origin !== url.origin) headers.delete('authorization');
        if ((answer.status === 303 && method !== 'HEAD') || (answer.status < 303 && method === 'POST')) {
          method = 'GET';
          body = null;
          headers.delete('content-type');
        }
        url = next;
        continue;
      }
      const empty = method === 'HEAD' || kNoBody.includes(answer.status);
      if (empty) native.drop_body(answer.body);
      return new Response(null, { [adopted]: true, source: empty ? null : BodySource.of_handle(answer.body), status: answer.status,
                                  statusText: answer.status_text, headers: reply, url: url.href, redirected: hops > 0 });
    }
  }

  // ---- what the runtime itself calls -------------------------------------------------------------

  native.new_request = (method, url, headers, handle) =>
    new Request(url, { [adopted]: true, method, headers: from_flat(headers), source: handle ? BodySource.of_handle(handle) : null, redirect: 'manual' });

  native.stored_response = (stored) =>
    new Response(null, { [adopted]: true, source: BodySource.of_bytes(new Uint8Array(stored.body)), status: stored.status,
                         statusText: stored.status_text, headers: from_flat(stored.headers) });

  // The bytes of a body that is in memory, taken; null where they are still to be read.
  native.bytes_at_hand = (response) => {
    const source = peek_source(response);
    if (source !== null && source.bytes === null) return null;
    return take_source(response)?.bytes ?? new Uint8Array(0);
  };
  native.flat_headers = to_flat;

  // The answer that goes to the client: bytes, or the handle of a fetched stream that is passed on unread (1 is the
  // request's own body, which goes when the response begins).
  native.answer = async (response) => {
    if (!(response instanceof Response)) throw new TypeError(`fetch() must return a Response, not ${native.inspect(response)}`);
    if (response.bodyUsed) throw new TypeError('fetch() returned a Response whose body has already been used');
    const source = take_source(response);
    let body = null;
    if (source) body = source.handle > 1 && !source.shared && !source.reading ? source.handle : await source.read();
    return { status: response.status, status_text: response.statusText, headers: to_flat(response.headers), body };
  };

  Object.assign(globals, { Headers, Request, Response, fetch });
})
