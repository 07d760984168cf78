// SPDX-License-Identifier: MIT
// fork_guard.hpp: after fork the child records nothing and writes nothing until it makes a session of its own.
//
// The child has the parent's memory, open files and locks, but not its drain thread. Every live session is told, between
// fork and the child's first instruction of its own, to let go.
// Layer: session (includes config/ only).
#pragma once

#include <pthread.h>

#include <mutex>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Base of what must hear of a fork.
///   Threads   before_fork and after_fork_in_parent hold and release the session's locks; after_fork_in_child runs alone
class ForkAware {
 public:
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

 protected:
  ForkAware() = default;
  ~ForkAware() = default;
  void watch_forks() { registry().add(this); }
  void unwatch_forks() noexcept { registry().remove(this); }

 private:
  virtual void before_fork() noexcept = 0;
  virtual void after_fork_in_parent() noexcept = 0;
  virtual void after_fork_in_child() noexcept = 0;

  /// A list that is linked through the sessions themselves: joining and leaving allocate nothing.
  class Registry {
   public:
    Registry() {
      ::pthread_atfork([] { registry().prepare(); }, [] { registry().resume(false); }, [] { registry().resume(true); });
    }
    void add(ForkAware* session) {
      const std::lock_guard lock(mutex_);
      session->next_ = first_;
      first_ = session;
    }
    void remove(ForkAware* session) noexcept {
      const std::lock_guard lock(mutex_);
      for (ForkAware** at = &first_; *at != nullptr; at = &(*at)->next_) {
        if (*at != session) continue;
        *at = session->next_;
        return;
      }
    }

   private:
    void prepare() noexcept {
      mutex_.lock();
      for (ForkAware* session = first_; session != nullptr; session = session->next_) session->before_fork();
    }
    void resume(bool child) noexcept {
      for (ForkAware* session = first_; session != nullptr; session = session->next_) {
        child ? session->after_fork_in_child() : session->after_fork_in_parent();
      }
      if (child) first_ = nullptr;
      mutex_.unlock();
    }
    std::mutex mutex_;
    ForkAware* first_ = nullptr;
  };
  /// Never destroyed: a session may end, and a process fork, while statics are being torn down.
  static Registry& registry() {
    static auto* const instance = new Registry;
    return *instance;
  }

  ForkAware* next_ = nullptr;  // the registry's
};

}  // namespace THENCE_ABI
}  // namespace thence
