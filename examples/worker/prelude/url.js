// SPDX-License-Identifier: MIT
// URL and URLSearchParams, after the URL Standard (url.spec.whatwg.org). International host names go
// through Punycode with lower-casing and NFC; the full IDNA tables are left out.
(function (native, globals) {
  'use strict';

  const kDefaultPort = { 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443', 'ftp:': '21', 'file:': '' };
  const is_special = (protocol) => Object.hasOwn(kDefaultPort, protocol);
  const utf8 = (text) => new Uint8Array(native.utf8_encode(text));

  // Percent-encodes what is not ASCII, the controls, and the characters in `extra`.
  function percent_encode(text, extra) {
    let out = '';
    for (const character of text) {
      const code = character.codePointAt(0);
      if (code > 0x20 && code < 0x7f && !extra.includes(character)) out += character;
      else if (code === 0x20 && !extra.includes(' ')) out += character;
      else for (const byte of utf8(character)) out += '%' + byte.toString(16).toUpperCase().padStart(2, '0');
    }
    return out;
  }
  const kFragment = ' "<>`';
  const kQuery = ' "#<>';
  const kSpecialQuery = kQuery + "'";
  const kPath = kQuery + '?`{}';
  const kUserinfo = kPath + '/:;=@[\\]^|';

  function percent_decode(text) {
    if (!text.includes('%')) return text;
    const bytes = [];
    const raw = utf8(text);
    for (let i = 0; i < raw.length; ++i) {
      const hex = raw[i] === 0x25 ? String.fromCharCode(raw[i + 1], raw[i + 2]) : '';
      if (/^[0-9a-f]{2}$/i.test(hex)) { bytes.push(parseInt(hex, 16)); i += 2; }
      else bytes.push(raw[i]);
    }
    return native.utf8_decode(new Uint8Array(bytes));
  }

  // ---- hosts -------------------------------------------------------------------------------------

  function punycode(label) {          // RFC 3492
    const points = Array.from(label, (c) => c.codePointAt(0));
    let out = points.filter((p) => p < 128).map((p) => String.fromCharCode(p)).join('');
    const basic = out.length;
    if (basic === points.length) return label;
    if (basic > 0) out += '-';
    let n = 128, delta = 0, bias = 72, handled = basic;
    while (handled < points.length) {
      const next = Math.min(...points.filter((p) => p >= n));
      delta += (next - n) * (handled + 1);
      n = next;
      for (const point of points) {
        if (point < n) ++delta;
        if (point !== n) continue;
        let q = delta;
        for (let k = 36; ; k += 36) {
          const threshold = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
          if (q < threshold) { out += String.fromCharCode(q + (q < 26 ? 97 : 22)); break; }
          const digit = threshold + ((q - threshold) % (36 - threshold));
          out += String.fromCharCode(digit + (digit < 26 ? 97 : 22));
          q = Math.floor((q - threshold) / (36 - threshold));
        }
        delta = handled === basic ? Math.floor(delta / 700) : delta >> 1;
        delta += Math.floor(delta / (handled + 1));
        let k = 0;
        for (; delta > 455; k += 36) delta = Math.floor(delta / 35);
        bias = k + Math.floor((36 * delta) / (delta + 38));
        delta = 0;
        ++handled;
      }
      ++delta;
      ++n;
    }
    return 'xn--' + out;
  }

  function parse_ipv4_number(text) {
    if (/^0x[0-9a-f]*$/i.test(text)) return text.length === 2 ? 0 : parseInt(text.slice(2), 16);
    if (/^0[0-7]+$/.test(text)) return parseInt(text, 8);
    return /^[0-9]+$/.test(text) && !/^0[0-9]/.test(text) ? parseInt(text, 10) : NaN;
  }

  // Returns the host in dotted form, null where it is no IPv4 address, undefined where it is a bad one.
  function parse_ipv4(host) {
    const parts = host.split('.');
    if (parts.at(-1) === '' && parts.length > 1) parts.pop();
    if (!/^([0-9]+|0x[0-9a-f]*)$/i.test(parts.at(-1))) return null;
    const numbers = parts.map(parse_ipv4_number);
    if (parts.length > 4 || numbers.some(Number.isNaN)) return undefined;
    const last = numbers.pop();
    if (numbers.some((n) => n > 255) || last >= 256 ** (4 - numbers.length)) return undefined;
    const value = numbers.reduce((sum, n, i) => sum + n * 256 ** (3 - i), last);
    return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
  }

  function parse_ipv6(text) {
    const v4 = /^(.*:)([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)$/.exec(text);
    if (v4) {
      const octets = v4[2].split('.').map(Number);
      if (octets.some((o) => o > 255)) return undefined;
      text = v4[1] + ((octets[0] << 8) | octets[1]).toString(16) + ':' + ((octets[2] << 8) | octets[3]).toString(16);
    }
    const halves = text.split('::');
    if (halves.length > 2) return undefined;
    const words = (half) => (half === '' ? [] : half.split(':'));
    const head = words(halves[0]);
    const tail = halves.length === 2 ? words(halves[1]) : [];
    const missing = 8 - head.length - tail.length;
    if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
    const all = [...head, ...Array(missing).fill('0'), ...tail];
    if (!all.every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return undefined;
    const pieces = all.map((word) => parseInt(word, 16).toString(16));
    let best = { start: -1, length: 1 };                 // the longest run of zeros becomes "::"
    for (let i = 0; i < 8; ++i) {
      let length = 0;
      while (i + length < 8 && pieces[i + length] === '0') ++length;
      if (length > best.length) best = { start: i, length };
    }
    if (best.start < 0) return pieces.join(':');
    return pieces.slice(0, best.start).join(':') + '::' + pieces.slice(best.start + best.length).join(':');
  }

  function parse_host(text, special) {                   // undefined: not a host
    if (text.startsWith('[')) {
      const address = text.endsWith(']') ? parse_ipv6(text.slice(1, -1)) : undefined;
      return address === undefined ? undefined : `[${address}]`;
    }
    if (!special) return /[\0\t\n\r #/:<>?@[\\\]^|]/.test(text) ? undefined : percent_encode(text, '');
    const host = percent_decode(text).normalize('NFC').toLowerCase().replace(/[\u3002\uff0e\uff61]/g, '.').split('.').map(punycode).join('.');
    if (host === '' || /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/.test(host)) return undefined;
    const address = parse_ipv4(host);
    return address === null ? host : address;
  }

  // ---- the parser --------------------------------------------------------------------------------

  function parse_port(text, protocol) {                  // undefined: not a port
    if (text === '') return '';
    if (!/^[0-9]+$/.test(text) || Number(text) > 65535) return undefined;
    const port = String(Number(text));
    return port === kDefaultPort[protocol] ? '' : port;
  }

  function normal_path(text, special, base = []) {
    const segments = [...base];
    const parts = text.split(special ? /[/\\]/ : '/');
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      if (/^(\.|%2e){2}$/i.test(part)) { segments.pop(); if (last) segments.push(''); }
      else if (/^(\.|%2e)$/i.test(part)) { if (last) segments.push(''); }
      else segments.push(percent_encode(part, kPath));
    });
    return segments;
  }

  const encode_query = (text, special) => percent_encode(text, special ? kSpecialQuery : kQuery);

  function parse(input, base) {                          // a record, or undefined where it is no URL
    let text = input.replace(/^[\0-\x20]+|[\0-\x20]+$/g, '').replace(/[\t\n\r]/g, '');
    const url = { protocol: '', username: '', password: '', host: null, port: '', path: [], opaque: null, query: null, fragment: null };
    const hash = text.indexOf('#');
    if (hash >= 0) { url.fragment = percent_encode(text.slice(hash + 1), kFragment); text = text.slice(0, hash); }
    const scheme = /^([a-z][a-z0-9+.-]*:)(.*)$/is.exec(text);
    let rest = text;
    let relative = !scheme;
    if (scheme) {
      url.protocol = scheme[1].toLowerCase();
      rest = scheme[2];
      if (base && is_special(url.protocol) && url.protocol === base.protocol && !/^[/\\]/.test(rest)) relative = true;
    }
    if (relative) {
      if (!base) return undefined;
      url.protocol = base.protocol;
      if (base.opaque !== null) {
        if (rest !== '' || hash < 0) return undefined;
        return { ...base, fragment: url.fragment };
      }
    }
    const special = is_special(url.protocol);
    const question = rest.indexOf('?');
    if (question >= 0) { url.query = encode_query(rest.slice(question + 1), special); rest = rest.slice(0, question); }
    const slash = special ? /^[/\\]/ : /^\//;
    const two_slashes = special ? /^[/\\]{2}/ : /^\/\//;
    const inherit = () => { url.username = base.username; url.password = base.password; url.host = base.host; url.port = base.port; };

    if (relative && !two_slashes.test(rest)) {
      inherit();
      if (rest === '') { url.path = [...base.path]; if (question < 0) url.query = base.query; }
      else if (slash.test(rest)) url.path = normal_path(rest.slice(1), special);
      else url.path = normal_path(rest, special, base.path.slice(0, -1));
      return url;
    }
    if (!special && !two_slashes.test(rest)) {
      if (rest.startsWith('/')) url.path = normal_path(rest.slice(1), false);
      else url.opaque = percent_encode(rest, '');
      return url;
    }
    if (special && url.protocol !== 'file:') rest = rest.replace(/^[/\\]*/, '');
    else if (two_slashes.test(rest)) rest = rest.slice(2);
    else { url.host = ''; url.path = normal_path(rest.replace(slash, ''), special); return url; }

    const end = rest.search(special ? /[/\\]/ : /\//);
    let authority = end < 0 ? rest : rest.slice(0, end);
    const at = authority.lastIndexOf('@');
    if (at >= 0) {
      const [, name, secret] = /^([^:]*):?(.*)$/s.exec(authority.slice(0, at));
      url.username = percent_encode(name, kUserinfo);
      url.password = percent_encode(secret, kUserinfo);
      authority = authority.slice(at + 1);
    }
    const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(authority) ?? [];
    if (host === undefined) return undefined;
    if (host === '' && (url.protocol === 'file:' || (!special && at < 0 && port === undefined))) url.host = '';
    else url.host = parse_host(host, special);
    url.port = parse_port(port ?? '', url.protocol);
    if (url.host === undefined || url.port === undefined) return undefined;
    if (url.protocol === 'file:' && url.host === 'localhost') url.host = '';
    if (end >= 0) url.path = normal_path(rest.slice(end + 1), special);
    else if (special) url.path = [''];
    return url;
  }

  const path_of = (url) => (url.opaque !== null ? url.opaque : url.path.length ? '/' + url.path.join('/') : '');

  function serialize(url) {
    let text = url.protocol;
    if (url.host !== null) {
      text += '//';
      if (url.username || url.password) text += url.username + (url.password ? ':' + url.password : '') + '@';
      text += url.host + (url.port ? ':' + url.port : '');
    }
    text += path_of(url);
    if (url.query !== null) text += '?' + url.query;
    if (url.fragment !== null) text += '#' + url.fragment;
    return text;
  }

  // ---- URLSearchParams ---------------------------------------------------------------------------

  const form_encode = (text) => {
    let out = '';
    for (const byte of utf8(text)) {
      const character = String.fromCharCode(byte);
      if (byte === 0x20) out += '+';
      else if (/[A-Za-z0-9*._-]/.test(character)) out += character;
      else out += '%' + byte.toString(16).toUpperCase().padStart(2, '0');
    }
    return out;
  };
  const form_decode = (text) => percent_decode(text.replaceAll('+', ' '));
  const well_formed = (value) => native.utf8_decode(utf8(String(value)));

  let attach;                                            // (params, owner): changes go to the URL
  class URLSearchParams {
    #list = [];
    #owner = null;
    static { attach = (params, owner) => { params.#owner = owner; }; }

    constructor(init = '') {
      if (typeof init === 'object' && init !== null) {
        if (typeof init[Symbol.iterator] === 'function') {
          for (const pair of init) {
            const [name, value, ...more] = pair;
            if (value === undefined || more.length) throw new TypeError('URLSearchParams: each entry must be a [name, value] pair');
            this.#list.push([well_formed(name), well_formed(value)]);
          }
        } else for (const [name, value] of Object.entries(init)) this.#list.push([well_formed(name), well_formed(value)]);
      } else this.#read(String(init).replace(/^\?/, ''));
    }
    #read(text) {
      this.#list = text.split('&').filter((part) => part !== '').map((part) => {
        const [, name, value] = /^([^=]*)=?(.*)$/s.exec(part);
        return [form_decode(name), form_decode(value)];
      });
    }
    #changed() { if (this.#owner) this.#owner.update(this.toString()); }
    reread(text) { if (this.#owner) this.#read(text); }
    get size() { return this.#list.length; }
    append(name, value) { this.#list.push([well_formed(name), well_formed(value)]); this.#changed(); }
    delete(name, value) {
      this.#list = this.#list.filter(([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)));
      this.#changed();
    }
    get(name) { return this.#list.find(([n]) => n === String(name))?.[1] ?? null; }
    getAll(name) { return this.#list.filter(([n]) => n === String(name)).map(([, v]) => v); }
    has(name, value) { return this.#list.some(([n, v]) => n === String(name) && (value === undefined || v === String(value))); }
    set(name, value) {
      const first = this.#list.findIndex(([n]) => n === String(name));
      if (first < 0) this.#list.push([well_formed(name), well_formed(value)]);
      else {
        this.#list[first][1] = well_formed(value);
        this.#list = this.#list.filter(([n], i) => n !== String(name) || i === first);
      }
      this.#changed();
    }
    sort() { this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); this.#changed(); }
    forEach(callback, self) { for (const [name, value] of this.#list) callback.call(self, value, name, this); }
    *entries() { for (const [name, value] of this.#list) yield [name, value]; }
    *keys() { for (const [name] of this.#list) yield name; }
    *values() { for (const [, value] of this.#list) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#list.map(([name, value]) => `${form_encode(name)}=${form_encode(value)}`).join('&'); }
    get [Symbol.toStringTag]() { return 'URLSearchParams'; }
  }

  // ---- URL ---------------------------------------------------------------------------------------

  class URL {
    #url;
    #params;
    constructor(input, base) {
      let base_record;
      if (base !== undefined) {
        base_record = parse(String(base));
        if (!base_record) throw new TypeError(`Invalid URL: base "${base}"`);
      }
      this.#url = parse(String(input), base_record);
      if (!this.#url) throw new TypeError(`Invalid URL: "${input}"`);
      this.#params = new URLSearchParams(this.#url.query ?? '');
      attach(this.#params, { update: (text) => { this.#url.query = text === '' ? null : text; } });
    }
    static canParse(input, base) { try { return Boolean(new URL(input, base)); } catch { return false; } }

    get href() { return serialize(this.#url); }
    set href(value) {
      const url = parse(String(value));
      if (!url) throw new TypeError(`Invalid URL: "${value}"`);
      this.#url = url;
      this.#params.reread(url.query ?? '');
    }
    get origin() { const u = this.#url; return is_special(u.protocol) && u.protocol !== 'file:' ? `${u.protocol}//${this.host}` : 'null'; }
    get protocol() { return this.#url.protocol; }
    set protocol(value) {
      const protocol = /^([a-z][a-z0-9+.-]*):?/i.exec(String(value))?.[1].toLowerCase() + ':';
      if (is_special(protocol) !== is_special(this.#url.protocol) || protocol === 'undefined:') return;
      this.#url.protocol = protocol;
      this.#url.port = parse_port(this.#url.port, protocol);
    }
    get username() { return this.#url.username; }
    set username(value) { if (this.#url.host) this.#url.username = percent_encode(String(value), kUserinfo); }
    get password() { return this.#url.password; }
    set password(value) { if (this.#url.host) this.#url.password = percent_encode(String(value), kUserinfo); }
    get host() { const u = this.#url; return (u.host ?? '') + (u.port ? ':' + u.port : ''); }
    set host(value) {
      const [, name, port] = /^(\[[^\]]*\]|[^:/?#\\]*)(?::([0-9]*))?/.exec(String(value));
      this.hostname = name;
      if (port) this.port = port;
    }
    get hostname() { return this.#url.host ?? ''; }
    set hostname(value) {
      const host = this.#url.opaque === null ? parse_host(String(value), is_special(this.#url.protocol)) : undefined;
      if (host !== undefined) this.#url.host = host;
    }
    get port() { return this.#url.port; }
    set port(value) {
      const digits = /^[0-9]+|^$/.exec(String(value))?.[0];
      const port = digits === undefined ? undefined : parse_port(digits, this.#url.protocol);
      if (this.#url.host && port !== undefined) this.#url.port = port;
    }
    get pathname() { return path_of(this.#url); }
    set pathname(value) {
      if (this.#url.opaque !== null) return;
      const special = is_special(this.#url.protocol);
      this.#url.path = normal_path(String(value).replace(special ? /^[/\\]/ : /^\//, ''), special);
    }
    get search() { return this.#url.query ? '?' + this.#url.query : ''; }
    set search(value) {
      const text = String(value);
      this.#url.query = text === '' ? null : encode_query(text.replace(/^\?/, ''), is_special(this.#url.protocol));
      this.#params.reread(this.#url.query ?? '');
    }
    get searchParams() { return this.#params; }
    get hash() { return this.#url.fragment ? '#' + this.#url.fragment : ''; }
    set hash(value) {
      const text = String(value).replace(/^#/, '');
      this.#url.fragment = text === '' ? null : percent_encode(text, kFragment);
    }
    toString() { return this.href; }
    toJSON() { return this.href; }
    get [Symbol.toStringTag]() { return 'URL'; }
  }

  Object.assign(globals, { URL, URLSearchParams });
})
