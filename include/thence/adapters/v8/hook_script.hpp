// SPDX-License-Identifier: MIT
// hook_script.hpp: the promise hooks of the context way, as V8 runs them.
//
// JavaScript hooks are several times cheaper than C++ ones: V8 calls them without leaving JavaScript, and the optimiser
// sees them whole. What they keep on a promise is in private class fields, put there by a base class whose constructor
// returns the promise: no property, symbol or proxy shows it, and frozen promises have it too (a promise is stamped before
// the script gets hold of it). The script uses no property of any built-in object, so that a program may patch or break
// Object, Array, Function or Promise as it likes.
//
// The outcome of a promise is not known when its resolve hook is called (it is pending still): the promise is held and handed
// to the next call, which looks at its state. Hooks call native functions directly: a helper would be one more frame.
//
// Layer: adapters/v8 (includes config/).
#pragma once

#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// The name under which the hooks' own frames appear to V8; frames of this script are no part of any stack in a trace.
inline constexpr std::string_view kHookScriptName = "thence:promise-hooks";

/// What native.init answers.
inline constexpr int kStamp = 0;       ///< the promise's stamp is in `shared`
inline constexpr int kDoNotStamp = 1;  ///< nothing is recorded now
inline constexpr int kAskSlowly = 2;   ///< something is needed that a fast call must not do

/// The words of `shared`, an Int32Array over memory that both sides know: a stamp for a new promise, and, once a number has
/// high bits (until then they are zero, and not written), those of what a hook hands on.
enum SharedWord : unsigned {
  kSharedId, kSharedRoot, kSharedParent, kSharedHigh, kSharedForgetParent, kSharedOwnHigh, kSharedParentHigh, kSharedWords
};

/// (native, block, shared) => [init, before, after, resolve, take, identify]
///   native.init(block, parent, grandparent, held); native.initSlowly(the same, lastParent)
///   native.before(block, id, root, parent, held), native.after(block, id, root, held),
///   native.resolve(block, id, root, held) -> not 0: it never waited for its parent; an id of -1: a promise that was never seen
///   #parent is 0: none (known); -1: its first callback has begun
/// Written for V8's optimiser: `var` needs no check for use before its definition, and a field that is a small integer from the
/// first is read without one. A derived class that returns an object makes none of its own. `open` is kept young (initSlowly
/// makes it anew): V8 has nothing to remember about a young object that another one is stored in.
inline constexpr std::string_view kHookScript = R"js((native, block, shared) => {
  'use strict';
  var wide = false, open = { held: undefined, lastParent: undefined };
  class Identity extends null { constructor(object) { return object } }
  class Wide extends Identity {
    #high = 0; #parentHigh = 0;
    constructor(promise, high, parentHigh) { super(promise); this.#high = high; this.#parentHigh = parentHigh }
    static high(promise) { return #high in promise ? promise.#high : 0 }
    static parentHigh(promise) { return #high in promise ? promise.#parentHigh : 0 }
  }
  class Stamp extends Identity {
    #id = 0; #root = 0; #parent = 0;
    constructor(promise, id, root, parent) { super(promise); this.#id = id; this.#root = root; this.#parent = parent }
    static hooks() {
      return [
        (promise, parent) => {
          var parentId = 0, grandparent = 0;
          if (parent !== undefined && #id in parent) {
            parentId = parent.#id;
            grandparent = parent.#parent;
            if (wide === true) shared[6] = Wide.high(parent);
          } else if (wide === true) {
            shared[6] = 0;
          }
          var last = open.held;
          if (last !== undefined) open.held = undefined;
          var answer = native.init(block, parentId, grandparent, last);
          if (answer !== 0) {
            if (answer === 1) return;
            answer = native.initSlowly(block, parentId, grandparent, last, open.lastParent);
            open = { held: undefined, lastParent: open.lastParent };
            if (answer !== 0) return;
            if (shared[4] !== 0) parent.#parent = 0;
          }
          new Stamp(promise, shared[0], shared[1], shared[2]);
          if (shared[3] !== 0 || shared[6] !== 0) {
            wide = true;
            new Wide(promise, shared[3], shared[6]);
          }
          if (parent !== undefined) open.lastParent = parent;
        },
        (promise) => {
          var last = open.held;
          if (last !== undefined) open.held = undefined;
          if (#id in promise) {
            if (wide === true) {
              shared[5] = Wide.high(promise);
              shared[6] = Wide.parentHigh(promise);
            }
            native.before(block, promise.#id, promise.#root, promise.#parent, last);
            promise.#parent = -1;
          } else {
            native.before(block, -1, 0, 0, last);
          }
        },
        (promise) => {
          var last = open.held;
          if (last !== undefined) open.held = undefined;
          if (#id in promise) {
            if (wide === true) shared[5] = Wide.high(promise);
            native.after(block, promise.#id, promise.#root, last);
          } else {
            native.after(block, -1, 0, last);
          }
        },
        (promise) => {
          if (!(#id in promise)) return;
          var last = open.held;
          if (wide === true) shared[5] = Wide.high(promise);
          if (native.resolve(block, promise.#id, promise.#root, last) !== 0) promise.#parent = 0;
          open.held = promise;
        },
        () => {
          var last = open.held;
          open = { held: undefined, lastParent: undefined };
          return last;
        },
        (promise) => {
          if (!(#id in promise)) return -1;
          shared[1] = promise.#root;
          shared[3] = wide === true ? Wide.high(promise) : 0;
          return promise.#id;
        }];
    }
  }
  return Stamp.hooks();
})js";

/// The places of the functions in the array that the script returns.
enum HookFunction : unsigned { kInitHook, kBeforeHook, kAfterHook, kResolveHook, kTakeFunction, kIdentifyFunction };

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
