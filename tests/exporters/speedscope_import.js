// SPDX-License-Identifier: MIT
// speedscope_import.js: what speedscope's own importer makes of a file, as JSON on stdout.
//   node speedscope_import.js <npm package speedscope> <file>
// The package ships the application as one bundle. Its importer is a module in there; the bundle is run up to the point
// where it has been made (the rest wants a browser).
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [, , package_, file] = process.argv;
const release = path.join(package_, 'dist', 'release');
const name = fs.readdirSync(release).find((n) => /^speedscope-.*\.js$/.test(n));
let bundle = fs.readFileSync(path.join(release, name), 'utf8');

const module_ = /(\w+|\$\w+)=\{\};[\w$]+\(\1,\{[^}]*importProfileGroupFromText:/.exec(bundle);
if (!module_) throw new Error('the importer is not where it was in this version of speedscope');
const escaped = module_[1].replace('$', '\\$');
const promise = new RegExp('=(Promise\\.resolve\\(\\)\\.then\\(\\(\\)=>\\([\\w$]+\\(\\),' + escaped + '\\)\\))');
if (!promise.test(bundle)) throw new Error('the importer is not loaded as it was in this version of speedscope');
bundle = bundle.replace(promise, '=globalThis.importer=$1');

const context = {
  console: { log() {}, error() {}, warn() {}, info() {}, debug() {} },
  TextDecoder, TextEncoder, URL, Promise, setTimeout, clearTimeout, performance, Uint8Array, ArrayBuffer,
  requestAnimationFrame() {}, navigator: { userAgent: '', platform: '' }, location: { hash: '', href: '', protocol: 'file:' },
  alert(text) { context.alerts.push(String(text)); }, alerts: [],
};
context.window = context.self = context.globalThis = context;
vm.createContext(context);
try {
  vm.runInContext(bundle, context, { filename: name });
} catch (error) {
  if (!context.importer) throw error;
}

context.importer
  .then((importer) => importer.importProfileGroupFromText(path.basename(file), fs.readFileSync(file, 'utf8')))
  .then((group) => {
    if (!group) throw new Error('speedscope does not know this format');
    const profiles = group.profiles.map((profile) => {
      const self = {};
      const calls = [];
      const open = [];
      profile.forEachFrame((frame) => {
        self[frame.name] = (self[frame.name] || 0) + frame.getSelfWeight();
      });
      profile.forEachCall(
        (node, value) => open.push([node.frame.name, value]),
        (node, value) => {
          const [openedName, begin] = open.pop();
          calls.push([openedName, open.length, begin, value]);
        });
      return { name: profile.getName(), unit: profile.getWeightUnit(), total: profile.getTotalWeight(), self, calls };
    });
    process.stdout.write(JSON.stringify({ name: group.name, alerts: context.alerts, profiles }));
  })
  .catch((error) => {
    process.stderr.write(String((error && error.stack) || error) + '\n');
    process.exit(1);
  });
