// SPDX-License-Identifier: MIT
#include "request.hpp"

#include <kj/debug.h>

#include "log.hpp"

namespace worker {

Request::Request(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t number, Resource root)
    : Request(engine, timer, trace, number, root, kj::newPromiseAndFulfiller<void>()) {}

Request::Request(Engine& engine, kj::Timer& timer, Trace trace, std::uint32_t number, Resource root,
                 kj::PromiseFulfillerPair<void> abort)
    : trace_(trace),
      number_(number),
      root_(root),
      abort_(kj::mv(abort.fulfiller)),
      aborted_(abort.promise.fork()),
      tasks_(*this),
      timers_(engine, timer, trace, number) {}

Request::~Request() noexcept(false) {
  while (!bodies_.empty()) drop_body(bodies_.begin()->first);
}

std::uint32_t Request::add_body(Body body) {
  const std::uint32_t handle = next_body_++;
  bodies_[handle] = kj::mv(body);
  return handle;
}

Request::Body Request::take_body(std::uint32_t handle) {
  const auto found = bodies_.find(handle);
  if (found == bodies_.end()) return {};
  Body body = kj::mv(found->second);
  bodies_.erase(found);
  return body;
}

void Request::drop_body(std::uint32_t handle) {
  const Body body = take_body(handle);
  trace_.settle(body.resource, Outcome::kCancelled);
  trace_.destroy(body.resource);
}

kj::Promise<kj::Array<kj::byte>> Request::read_incoming_body() {
  if (incoming_ == nullptr) return KJ_EXCEPTION(FAILED, "the body of the request is gone: its response is out");
  return incoming_reads_.wrap(incoming_->readAllBytes(kMaxBody));
}

void Request::abort(kj::Exception reason) { abort_->reject(kj::mv(reason)); }

void Request::response_done() {
  response_open_ = false;
  incoming_ = nullptr;
  incoming_reads_.cancel("the response is out");
}

void Request::taskFailed(kj::Exception&& exception) { log(number_, "error", exception.getDescription()); }

}  // namespace worker
