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

/// What native.init answers instead of an id.
inline constexpr int kDoNotStamp = -1;  ///< nothing is recorded now
inline constexpr int kAskSlowly = -2;   ///< something is needed that a fast call must not do

/// Where `shared` (an Int32Array over memory of the native side) has what native.init answers beside the id.
enum SharedWord : int { kSharedRoot = 0, kSharedHigh = 1, kSharedForgetParent = 2, kSharedWords = 4 };

/// (native, shared) => [init, before, after, resolve, take, identify]
///   native.init(parent, parentHigh, grandparent, held) -> id; native.initSlowly(the same, lastParent)
///   native.before(id, root, high, parent, parentHigh, held), native.after(id, root, high, held),
///   native.resolve(id, root, high, held) -> not 0: it never waited for its parent; an id of -1: a promise that was never seen
///   #parent is 0: none (known); -1: its first callback has begun
inline constexpr std::string_view kHookScript = R"js((native, shared) => {
  'use strict';
  let held, lastParent, wide = false;
  class Identity { constructor(object) { return object } }
  class Wide extends Identity {
    #high; #parentHigh;
    constructor(promise, high, parentHigh) { super(promise); this.#high = high; this.#parentHigh = parentHigh }
    static high(promise) { return #high in promise ? promise.#high : 0 }
    static parentHigh(promise) { return #high in promise ? promise.#parentHigh : 0 }
  }
  class Stamp extends Identity {
    #id; #root; #parent;
    constructor(promise, id, root, parent) { super(promise); this.#id = id; this.#root = root; this.#parent = parent }
    static hooks() {
      return [
        (promise, parent) => {
          let parentId = 0, parentHigh = 0, grandparent = 0;
          if (parent !== undefined && #id in parent) {
            parentId = parent.#id;
            grandparent = parent.#parent;
            if (wide) parentHigh = Wide.high(parent);
          }
          const last = held;
          if (last !== undefined) held = undefined;
          let id = native.init(parentId, parentHigh, grandparent, last);
          if (id < 0) {
            if (id === -1) return;
            id = native.initSlowly(parentId, parentHigh, grandparent, last, lastParent);
            if (id < 0) return;
            if (shared[2] !== 0) parent.#parent = 0;
          }
          new Stamp(promise, id, shared[0], parentId);
          if (shared[1] !== 0 || parentHigh !== 0) {
            wide = true;
            new Wide(promise, shared[1], parentHigh);
          }
          if (parent !== undefined) lastParent = parent;
        },
        (promise) => {
          const last = held;
          if (last !== undefined) held = undefined;
          if (#id in promise) {
            native.before(promise.#id, promise.#root, wide ? Wide.high(promise) : 0, promise.#parent,
                          wide ? Wide.parentHigh(promise) : 0, last);
            promise.#parent = -1;
          } else {
            native.before(-1, 0, 0, 0, 0, last);
          }
        },
        (promise) => {
          const last = held;
          if (last !== undefined) held = undefined;
          if (#id in promise) native.after(promise.#id, promise.#root, wide ? Wide.high(promise) : 0, last);
          else native.after(-1, 0, 0, last);
        },
        (promise) => {
          if (!(#id in promise)) return;
          const last = held;
          if (last !== undefined) held = undefined;
          if (native.resolve(promise.#id, promise.#root, wide ? Wide.high(promise) : 0, last) !== 0) promise.#parent = 0;
          held = promise;
        },
        () => {
          const last = held;
          held = undefined;
          lastParent = undefined;
          return last;
        },
        (promise) => {
          if (!(#id in promise)) return -1;
          shared[0] = promise.#root;
          shared[1] = wide ? Wide.high(promise) : 0;
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
