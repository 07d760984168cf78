// SPDX-License-Identifier: MIT
// TextEncoder and TextDecoder (UTF-8), and crypto.randomUUID / getRandomValues.
(function (native, globals) {
  'use strict';

  function bytes_of(value, what) {
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    throw new TypeError(`${what} must be an ArrayBuffer or a view on one`);
  }

  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') { return new Uint8Array(native.utf8_encode(String(text))); }
  }

  class TextDecoder {
    #fatal;
    #keep_bom;
    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      if (!/^\s*(utf-?8|unicode-1-1-utf-8)\s*$/i.test(label)) throw new RangeError(`TextDecoder knows utf-8 only, not "${label}"`);
      this.#fatal = Boolean(fatal);
      this.#keep_bom = Boolean(ignoreBOM);
    }
    get encoding() { return 'utf-8'; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#keep_bom; }
    decode(input = new Uint8Array(0), { stream = false } = {}) {
      if (stream) throw new TypeError('TextDecoder: {stream: true} is not supported');
      let bytes = bytes_of(input, 'TextDecoder.decode: the input');
      if (!this.#keep_bom && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
      const text = native.utf8_decode(bytes);
      // The decoder puts U+FFFD for each malformed sequence; encoding again shows whether it had to.
      if (this.#fatal && text.includes('\ufffd')) {
        const again = new Uint8Array(native.utf8_encode(text));
        if (again.length !== bytes.length || again.some((byte, i) => byte !== bytes[i])) {
          throw new TypeError('TextDecoder.decode: the input is not valid UTF-8');
        }
      }
      return text;
    }
  }

  const crypto = Object.freeze({
    getRandomValues(view) {
      bytes_of(view, 'crypto.getRandomValues: the argument').set(new Uint8Array(native.random_bytes(view.byteLength)));
      return view;
    },
    randomUUID() {
      const bytes = new Uint8Array(native.random_bytes(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    },
  });

  native.bytes_of = bytes_of;
  Object.assign(globals, { TextEncoder, TextDecoder, crypto });
})
