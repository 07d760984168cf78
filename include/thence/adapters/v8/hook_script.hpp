// SPDX-License-Identifier: MIT
// hook_script.hpp: the promise hooks of the context way, as V8 runs them.
//
// JavaScript hooks are several times cheaper than C++ ones: V8 calls them without leaving JavaScript, and the optimiser
// sees them whole. What they keep on a promise is in private class fields, put there by a base class whose constructor
// returns the promise: no property, symbol or proxy shows it, and frozen promises have it too (a promise is stamped before
// the script gets hold of it). The script uses no property of any built-in object, so that a program may patch or break
// Object, Array, Function or Promise as it likes.
//
// The outcome of a promise is not written on it yet when its resolve hook is called: it is known by the place of the call
// (hook_places.hpp), or the promise is held and handed to the next call, which looks at its state. Hooks call native functions
// directly: a helper would be one more frame.
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

/// What native.init answers: one of the first three, or some of the others, which is a stamp as well.
inline constexpr int kStamp = 0;       ///< the promise's stamp is in `shared`
inline constexpr int kDoNotStamp = 1;  ///< nothing is recorded now
inline constexpr int kAskSlowly = 2;   ///< something is needed that a fast call must not do
inline constexpr int kStampWide = 4;   ///< the stamp has high bits
inline constexpr int kKeepParent = 8;  ///< the next init may have to look at this one's parent

/// What native.resolve answers: none, or some. native.before answers the last of them, or none.
inline constexpr int kNeverWaited = 1;  ///< for its parent
inline constexpr int kHold = 2;         ///< the next call looks at its state
inline constexpr int kLeft = 4;         ///< its callback ends with it: after() has nothing to say
inline constexpr int kHookAnew = 8;     ///< the after hook is needed from now on, or no more

/// The words of `shared`, an Int32Array over memory that both sides know: a stamp for a new promise, and, once a number has
/// high bits (until then they are zero, and not written), those of what a hook hands on.
enum SharedWord : unsigned {
  kSharedId, kSharedRoot, kSharedParent, kSharedHigh, kSharedForgetParent, kSharedOwnHigh, kSharedParentHigh, kSharedWords
};

/// (native, block, shared) => [init, before, after, resolve, take, identify]
///   native.init(block, parent, grandparent); native.initSlowly(the same, lastParent)
///   native.before(block, id, root, parent), native.after(block, id, root); an id of -1: a promise that was never seen
///   native.resolve(block, id, root); native.hookAnew(block): where an answer asks for it
///   native.close(block, held) -> not 0: `open` is to be made anew
///   #parent is 0: none (known); -1: its first callback has begun; below: one that it may not wait for (PackedParent)
/// Written for V8's optimiser: `var` needs no check for use before its definition, and a field that is a small integer from the
/// first is read without one. A derived class that returns an object makes none of its own; as an argument it is known not to change. `open` is kept young (made
/// anew when native.close says so, and with initSlowly): V8 has nothing to remember about a young object that another one is stored
/// in. `holds`: open.held is a promise. `wide`: some ids have high bits. `rare`: one of the two, so that mostly one check does.
inline constexpr std::string_view kHookScript = R"js((native, block, shared) => {
  'use strict';
  var rare = false, wide = false, holds = false, left = -1, open = { held: undefined, lastParent: undefined };
  var close = () => {
    if (holds === false) return;
    var last = open.held;
    holds = false;
    rare = wide;
    open.held = undefined;
    if (native.close(block, last) !== 0) open = { held: undefined, lastParent: open.lastParent };
  };
  class Identity extends null { constructor(object) { return object } }
  class Wide extends Identity {
    #high = 0; #parentHigh = 0;
    constructor(promise, high, parentHigh) { super(promise); this.#high = high; this.#parentHigh = parentHigh }
    static high(promise) { return #high in promise ? promise.#high : 0 }
    static parentHigh(promise) { return #high in promise ? promise.#parentHigh : 0 }
    static forgetParent(promise) { if (#high in promise) promise.#parentHigh = 0 }
  }
  class Stamp extends Identity {
    #id = 0; #root = 0; #parent = 0;
    constructor(promise, id, root, parent) { super(promise); this.#id = id; this.#root = root; this.#parent = parent }
    static hooks(Stamp) {
      return [
        (promise, parent) => {
          var parentId = 0, grandparent = 0;
          if (parent !== undefined && #id in parent) {
            parentId = parent.#id;
            grandparent = parent.#parent;
          }
          if (rare === true) {
            close();
            if (wide === true) shared[6] = parent === undefined ? 0 : Wide.high(parent);
          }
          var answer = native.init(block, parentId, grandparent);
          if (answer !== 0) {
            if (answer === 1) return;
            if (answer === 2) {
              answer = native.initSlowly(block, parentId, grandparent, open.lastParent);
              open = { held: undefined, lastParent: open.lastParent };
              if (answer === 1) return;
              if (shared[4] !== 0) {
                parent.#parent = 0;
                if (wide === true) Wide.forgetParent(parent);
              }
            }
            if ((answer & 4) !== 0) {
              rare = wide = true;
              new Wide(promise, shared[3], shared[6]);
            }
            if ((answer & 8) !== 0) open.lastParent = parent;
          }
          new Stamp(promise, shared[0], shared[1], shared[2]);
        },
        (promise) => {
          var known = #id in promise;
          if (rare === true) {
            close();
            if (wide === true && known) {
              shared[5] = Wide.high(promise);
              shared[6] = Wide.parentHigh(promise);
            }
          }
          if (known) {
            var waitedFor = promise.#parent;
            promise.#parent = -1;
            if (native.before(block, promise.#id, promise.#root, waitedFor) !== 0) native.hookAnew(block);
          } else {
            if (native.before(block, -1, 0, 0) !== 0) native.hookAnew(block);
          }
        },
        (promise) => {
          var known = #id in promise;
          if (known && promise.#id === left) {
            left = -1;
            return;
          }
          if (rare === true) {
            close();
            if (wide === true && known) shared[5] = Wide.high(promise);
          }
          if (known) {
            native.after(block, promise.#id, promise.#root);
          } else {
            native.after(block, -1, 0);
          }
        },
        (promise) => {
          if (!(#id in promise)) return;
          if (rare === true) {
            close();
            if (wide === true) shared[5] = Wide.high(promise);
          }
          var answer = native.resolve(block, promise.#id, promise.#root);
          if (answer === 4) {
            left = promise.#id;
          } else if (answer !== 0) {
            if ((answer & 1) !== 0) {
              promise.#parent = 0;
              if (wide === true) Wide.forgetParent(promise);
            }
            if ((answer & 2) !== 0) {
              open.held = promise;
              rare = holds = true;
            }
            if ((answer & 4) !== 0) left = promise.#id;
            if ((answer & 8) !== 0) native.hookAnew(block);
          }
        },
        () => {
          var last = open.held;
          holds = false;
          rare = wide;
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
  return Stamp.hooks(Stamp);
})js";

/// The places of the functions in the array that the script returns.
enum HookFunction : unsigned { kInitHook, kBeforeHook, kAfterHook, kResolveHook, kTakeFunction, kIdentifyFunction };

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
